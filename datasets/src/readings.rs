//! Readings of stations, in no order: lines of `station,second,value`, as for a secondary sort.
//!
//! In: a number of readings and a seed. Out: a text file. Never: other bytes for the same number and seed; two readings of a station in one second
//! with different values.

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
};

use crate::{
    error::DatasetError,
    output::{Output, Written},
    random::{SplitMix64, below},
};

const STATIONS: u32 = 10_000;
const SECONDS: u32 = 365 * 24 * 60 * 60;

/// How many readings, and where.
#[derive(Clone, Debug)]
pub struct ReadingsOptions {
    /// Lines.
    pub readings: u64,
    /// Chooses the readings; all values are good.
    pub seed: u64,
    /// The file; its folder is made if it is missing.
    pub out: PathBuf,
    /// Whether a file in that place is replaced instead of refused.
    pub overwrite: bool,
}

/// Writes the readings.
///
/// # Errors
/// [`DatasetError::Exists`] and the errors of files and folders; the output is then as it was before.
pub fn write_readings(options: &ReadingsOptions) -> Result<Written, DatasetError> {
    let (output, file) = Output::create(&options.out, options.overwrite)?;
    let mut random = SplitMix64::new(options.seed);
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut write = || -> std::io::Result<()> {
        for _ in 0..options.readings {
            let (station, second) = (random.draw_below(STATIONS), random.draw_below(SECONDS));
            // Of station and second alone: the same reading twice is the same line twice.
            let value =
                below(SplitMix64::after(options.seed, u64::from(station) << 32 | u64::from(second)).draw(), 800);
            writeln!(file, "s{station:04},{second},{}", i64::from(value) - 400)?;
        }
        file.flush()
    };
    write().map_err(|source| DatasetError::Write { path: output.path().into(), source })?;
    drop(file);
    output.publish(options.readings)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn readings_are_lines_of_three_fields() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let options = ReadingsOptions { readings: 1000, seed: 7, out: folder.path().join(name), overwrite: false };
            write_readings(&options).unwrap();
            fs::read_to_string(options.out).unwrap()
        };
        let text = write("one.txt");
        assert_eq!(text.lines().count(), 1000);
        assert!(text.lines().all(|line| line.split(',').count() == 3 && line.starts_with('s')));
        assert_eq!(write("two.txt"), text);
    }
}
