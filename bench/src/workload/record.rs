//! Measurements kept by machine and day, and drawn.
//!
//! In: measurements. Out: lines of CSV at the end of `record/MACHINE/DATE.csv`; bars as SVG. Never: a line of another day changed.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use windrow::Result;

use crate::{BenchError, Measurement};

/// The file of this machine and day.
pub struct Record {
    path: PathBuf,
}

const HEAD: &str = "workload,engine,version,run,threads,workers,seconds,cpu_seconds,bytes_in,rows,bound_seconds,bound_fraction,peak_bytes,\
                    spilled_bytes,shuffled_bytes,digest\n";

impl Record {
    /// The file in `folder`, which is made if it is missing.
    pub fn of_today(folder: &Path) -> Record {
        Record { path: folder.join(machine()).join(format!("{}.csv", today())) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds lines.
    pub fn add(&self, measurements: &[Measurement]) -> Result<()> {
        let mut lines = String::new();
        for m in measurements {
            let bound = |number: Option<f64>| number.map_or(String::new(), |number| format!("{number:.4}"));
            // Writing to a string does not fail.
            let _ = writeln!(
                lines,
                "{},{},{},{},{},{},{:.4},{:.4},{},{},{},{},{},{},{},{}",
                m.name(),
                m.engine,
                m.version,
                m.run,
                m.threads,
                m.workers,
                m.seconds,
                m.cpu_seconds,
                m.bytes_in,
                m.rows,
                bound(m.bound_seconds),
                bound(m.bound_fraction),
                m.peak_bytes,
                m.spilled_bytes,
                m.shuffled_bytes,
                m.digest
            );
        }
        let written = self.append(&lines);
        Ok(written.map_err(|source| BenchError::File { doing: "recording in", path: self.path.clone(), source })?)
    }

    fn append(&self, lines: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        if file.metadata()?.len() == 0 {
            file.write_all(HEAD.as_bytes())?;
        }
        file.write_all(lines.as_bytes())
    }
}

/// The processor's name and how many of it there are, as the name of a folder.
fn machine() -> String {
    let facts = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        facts.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, model)| model));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let name = format!("{} {count}", model.unwrap_or(std::env::consts::ARCH)).to_lowercase();
    let parts =
        name.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.').filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// The day in UTC, `2026-11-22`.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = date_of(seconds as i64 / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a day counted from 1970-01-01, after Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

const BAR_PIXELS: usize = 22;
const WIDTH_PIXELS: f64 = 420.0;
const LABEL_PIXELS: usize = 170;

/// A bar for each engine: the seconds of its fastest run, as SVG.
pub fn chart(measurements: &[Measurement]) -> String {
    let mut bars: Vec<(String, f64)> = Vec::new();
    for m in measurements {
        let label = format!("{} {}", m.name(), m.engine);
        match bars.iter_mut().find(|(known, _)| *known == label) {
            Some((_, best)) => *best = best.min(m.seconds),
            None => bars.push((label, m.seconds)),
        }
    }
    let longest = bars.iter().map(|(_, seconds)| *seconds).fold(f64::MIN_POSITIVE, f64::max);
    let (width, height) = (LABEL_PIXELS + WIDTH_PIXELS as usize + 80, bars.len() * BAR_PIXELS + 10);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    for (place, (label, seconds)) in bars.iter().enumerate() {
        let (top, length) = (place * BAR_PIXELS + 5, seconds / longest * WIDTH_PIXELS);
        let colour = if label.ends_with("windrow") { "#3a7d44" } else { "#9aa0a6" };
        let (text, x, end) = (top + 14, LABEL_PIXELS, LABEL_PIXELS as f64 + length + 6.0);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{label}</text><rect x=\"{x}\" y=\"{top}\" width=\"{length:.1}\" \
             height=\"{}\" fill=\"{colour}\"/><text x=\"{end:.1}\" y=\"{text}\">{seconds:.3} s</text>",
            LABEL_PIXELS - 6,
            BAR_PIXELS - 4
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(
            [0, 59, 789, 19_782, 20_779].map(date_of),
            [(1970, 1, 1), (1970, 3, 1), (1972, 2, 29), (2024, 2, 29), (2026, 11, 22)]
        );
    }
}
