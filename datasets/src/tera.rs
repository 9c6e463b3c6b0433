//! Records to be sorted, as of the TeraSort benchmark: 100 bytes, the first ten of which are the key.
//!
//! In: a number of records and a seed. Out: a file of exactly so many. Never: other bytes for the same number and seed.
//!
//! ```text
//!   0..10 key, random │ 10..42 the record's number, 32 hexadecimal digits │ 42..100 letters
//! ```

use std::{io::Write, path::PathBuf};

use crate::{
    error::DatasetError,
    output::{Output, Written},
    random::SplitMix64,
};

/// Bytes of a record.
pub const TERA_BYTES: usize = 100;
const KEY_BYTES: usize = 10;
const NUMBER_BYTES: usize = 32;
const RECORDS_PER_WRITE: u64 = 4096;

/// How many records, and where.
#[derive(Clone, Debug)]
pub struct TeraOptions {
    /// Records.
    pub records: u64,
    /// Chooses the keys; all values are good.
    pub seed: u64,
    /// The file; its folder is made if it is missing.
    pub out: PathBuf,
    /// Whether a file in that place is replaced instead of refused.
    pub overwrite: bool,
}

/// Writes the records, by number.
///
/// # Errors
/// [`DatasetError::Exists`] and the errors of files and folders; the output is then as it was before.
pub fn write_tera(options: &TeraOptions) -> Result<Written, DatasetError> {
    let (output, mut file) = Output::create(&options.out, options.overwrite)?;
    let mut bytes = Vec::with_capacity(RECORDS_PER_WRITE as usize * TERA_BYTES);
    for first in (0..options.records).step_by(RECORDS_PER_WRITE as usize) {
        bytes.clear();
        for number in first..options.records.min(first + RECORDS_PER_WRITE) {
            bytes.extend_from_slice(&tera_record(number, options.seed));
        }
        file.write_all(&bytes).map_err(|source| DatasetError::Write { path: output.path().into(), source })?;
    }
    drop(file);
    output.publish(options.records)
}

/// The record of this number.
pub fn tera_record(number: u64, seed: u64) -> [u8; TERA_BYTES] {
    let mut record = [0; TERA_BYTES];
    let mut random = SplitMix64::after(seed, 2 * number);
    record[..8].copy_from_slice(&random.draw().to_le_bytes());
    record[8..KEY_BYTES].copy_from_slice(&random.draw().to_le_bytes()[..2]);
    for (place, digit) in record[KEY_BYTES..KEY_BYTES + NUMBER_BYTES].iter_mut().enumerate() {
        let shift = 4 * (NUMBER_BYTES - 1 - place);
        *digit = b"0123456789ABCDEF"[if shift < 64 { (number >> shift) as usize % 16 } else { 0 }];
    }
    for (place, letter) in record[KEY_BYTES + NUMBER_BYTES..].iter_mut().enumerate() {
        *letter = b'A' + ((number + place as u64 / 8) % 26) as u8;
    }
    record
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_has_the_records_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let options = TeraOptions { records: 5000, seed: 7, out: folder.path().join("tera.bin"), overwrite: false };
        let written = write_tera(&options).unwrap();
        assert_eq!((written.rows, written.bytes), (5000, 500_000));
        let bytes = fs::read(&options.out).unwrap();
        for (number, record) in bytes.chunks(TERA_BYTES).enumerate() {
            assert_eq!(record, tera_record(number as u64, 7));
        }
        // Golden: these bytes are kept forever.
        assert_eq!(&bytes[10..50], b"00000000000000000000000000000000AAAAAAAA");
        assert_eq!(&bytes[100 + 10..100 + 50], b"00000000000000000000000000000001BBBBBBBB");
        assert_eq!(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>(), GOLDEN_SUM);
        assert!(matches!(write_tera(&options), Err(DatasetError::Exists { .. })));
    }

    const GOLDEN_SUM: u64 = 36_691_183;
}
