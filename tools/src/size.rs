//! Sizes as people write them: `100MiB` <-> bytes.
//!
//! In: text from the command line. Out: bytes, and back for messages. Never: guesses; what is not understood is refused.
//!
//! `K M G T` and `KiB MiB GiB TiB` are powers of 1024, as in `dd` and `java -Xmx`; `KB MB GB TB` are powers of 1000.

/// Bytes of `text`: a number, maybe with a fraction, and a unit.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let value: f64 = number.parse().map_err(|_| SizeError::NoNumber)?;
    let unit = unit.trim();
    let unit_bytes = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "K" | "KIB" => 1024.0,
        "M" | "MIB" => 1024f64.powi(2),
        "G" | "GIB" => 1024f64.powi(3),
        "T" | "TIB" => 1024f64.powi(4),
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return Err(SizeError::UnknownUnit { unit: unit.to_owned() }),
    };
    let bytes = value * unit_bytes;
    // Above it not every number of bytes is a float; nobody has so many.
    const BYTES_MAX: f64 = (1u64 << 53) as f64;
    if bytes > BYTES_MAX { Err(SizeError::TooLarge) } else { Ok(bytes.round() as u64) }
}

/// `bytes` in powers of 1000, as disks and networks are counted.
pub fn show(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `count` with a comma between thousands.
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `count` to three digits or so, for a line that changes: "1.2 M".
pub fn show_about(count: u64) -> String {
    const UNITS: [&str; 5] = ["", " k", " M", " G", " T"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { count.to_string() } else { format!("{value:.1}{}", UNITS[unit]) }
}

/// `count` and what is counted: "1 row", "2 rows".
pub fn show_rows(count: u64) -> String {
    format!("{} {}", show_count(count), if count == 1 { "row" } else { "rows" })
}

/// Why a text is no size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("a size starts with a number, as 100MiB, 4G or 64KB do")]
    NoNumber,
    #[error("{unit:?} is no unit; K, M, G, T and KiB, MiB, GiB, TiB count in 1024, KB, MB, GB, TB in 1000")]
    UnknownUnit { unit: String },
    #[error("larger than 8 PiB")]
    TooLarge,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17b", 17),
            ("1K", 1 << 10),
            ("64KB", 64_000),
            ("100MiB", 100 << 20),
            ("1.5 GiB", 3 << 29),
            ("4G", 4 << 30),
            ("50mb", 50_000_000),
            ("2T", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.2.3K", "."] {
            assert_eq!(parse(text), Err(SizeError::NoNumber), "{text}");
        }
        assert!(matches!(parse("4Q"), Err(SizeError::UnknownUnit { unit }) if unit == "Q"));
        assert_eq!(parse("9000000T"), Err(SizeError::TooLarge));
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([show(999), show(1_000), show(50_000_000)], ["999 B", "1.0 kB", "50.0 MB"]);
        assert_eq!([show_count(7), show_count(1_234), show_count(1_000_000)], ["7", "1,234", "1,000,000"]);
        assert_eq!([show_about(999), show_about(1_234_567)], ["999", "1.2 M"]);
        assert_eq!([show_rows(1), show_rows(0)], ["1 row", "0 rows"]);
    }
}
