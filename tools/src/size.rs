//! Sizes and counts as people write them: `100MiB` <-> bytes, `100M` -> rows.
//!
//! In: text from the command line. Out: bytes, and back for messages. Never: guesses; what is not understood is refused.
//!
//! `K M G T` and `KiB MiB GiB TiB` are powers of 1024, as in `dd` and `java -Xmx`; `KB MB GB TB` are powers of 1000. In
//! a count `K M G` are powers of 1000: nobody means 1,048,576 rows by a million.

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

/// As [`parse`], of what is to be made: something.
pub fn parse_some(text: &str) -> Result<u64, SizeError> {
    match parse(text)? {
        0 => Err(SizeError::Nothing),
        bytes => Ok(bytes),
    }
}

/// A count of rows or keys: a number, maybe with a fraction, and `K`, `M` or `G`, which count in 1000 here.
pub fn parse_count(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, letter)) if letter.is_ascii_alphabetic() => (&text[..at], letter.to_ascii_uppercase()),
        _ => (text, ' '),
    };
    let factor: u64 = match unit {
        ' ' => 1,
        'K' => 1_000,
        'M' => 1_000_000,
        'G' => 1_000_000_000,
        other => return Err(SizeError::UnknownMultiple { unit: other }),
    };
    let digits: String = number.trim().chars().filter(|letter| *letter != '_').collect();
    if !digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.') {
        return Err(SizeError::NoCount);
    }
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(factor).ok_or(SizeError::TooMany);
    }
    // "1.5M"; what is no whole number at last is none.
    let (whole, fraction) = digits.split_once('.').ok_or(SizeError::NoCount)?;
    let places = u32::try_from(fraction.len()).ok().and_then(|places| 10_u64.checked_pow(places));
    let places = places.filter(|places| factor.is_multiple_of(*places)).ok_or(SizeError::NoCount)?;
    let parse = |digits: &str| digits.parse::<u64>().map_err(|_| SizeError::NoCount);
    let (whole, fraction) = (parse(whole)?, parse(fraction)?);
    let count = whole.checked_mul(factor).and_then(|count| count.checked_add(fraction * (factor / places)));
    count.ok_or(SizeError::TooMany)
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
    #[error("nothing; it is 1 byte at least, as 100MiB")]
    Nothing,
    #[error("a count is a whole number, as 5000, 1.5M or 100M are")]
    NoCount,
    #[error("{unit:?} is no multiple; K, M and G count in 1000")]
    UnknownMultiple { unit: char },
    #[error("more than can be counted")]
    TooMany,
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
        assert_eq!(
            [parse_some("0"), parse_some("0GB"), parse_some("1")],
            [Err(SizeError::Nothing), Err(SizeError::Nothing), Ok(1)]
        );
    }

    #[test]
    fn counts_as_people_write_them() {
        for (text, count) in
            [("0", 0), ("5000", 5_000), ("100M", 100_000_000), ("1.5k", 1_500), ("2g", 2_000_000_000), ("1_000", 1_000)]
        {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "M", "-1", "1.5", "1.0005K", ".5M", "1.M", "1.2.3M", "1.+5M"] {
            assert_eq!(parse_count(text), Err(SizeError::NoCount), "{text}");
        }
        assert_eq!(parse_count("1Q"), Err(SizeError::UnknownMultiple { unit: 'Q' }));
        assert_eq!(parse_count("99999999999G"), Err(SizeError::TooMany));
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([show(999), show(1_000), show(50_000_000)], ["999 B", "1.0 kB", "50.0 MB"]);
        assert_eq!([show_count(7), show_count(1_234), show_count(1_000_000)], ["7", "1,234", "1,000,000"]);
        assert_eq!([show_about(999), show_about(1_234_567)], ["999", "1.2 M"]);
        assert_eq!([show_rows(1), show_rows(0)], ["1 row", "0 rows"]);
    }
}
