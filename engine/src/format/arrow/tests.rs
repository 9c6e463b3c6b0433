//! Arrow files: what was written is read, damage is told.
//!
//! In: random batches; files with bytes changed. Out: the same rows, or an error. Never: a panic, or memory by a length of a broken file.

use std::{fs, path::Path};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    batch::Batch,
    format::{Decode, Encode},
    kernel::{
        hash_columns,
        testing::{Random, cases, random_batch},
    },
    store::LocalFile,
};

fn written(batches: &[Batch]) -> Vec<u8> {
    let mut encoder = Box::new(ArrowEncoder::new(batches[0].schema_ref()).unwrap());
    let mut bytes = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        encoder.push(batch).unwrap();
        bytes.extend(if number % 2 == 0 { encoder.take() } else { encoder.relieve().unwrap() });
    }
    bytes.extend(encoder.finish().unwrap());
    bytes
}

fn read(path: &Path, rows_per_batch: usize) -> Result<Vec<Batch>> {
    let file = LocalFile::stat(path)?;
    let open = file.open()?;
    let footer = ArrowFooter::read(&open, path, file.bytes)?;
    let columns: Vec<usize> = (0..footer.schema().fields().len()).rev().collect();
    let mut found = Vec::new();
    for batch in 0..footer.batch_count() {
        let mut decoder = BatchDecoder::new(path.to_owned(), &footer, batch, &columns, rows_per_batch)?;
        while let Some(wanted) = decoder.wants() {
            let bytes = wanted.into_iter().map(|range| open.read(range)).collect::<Result<Vec<Bytes>>>()?;
            decoder.feed(bytes)?;
            while let Some(batch) = decoder.batch()? {
                assert!((1..=rows_per_batch).contains(&batch.num_rows()));
                found.push(batch);
            }
        }
        assert_eq!(decoder.rows_seen(), footer.rows(batch));
    }
    Ok(found)
}

/// A hash a row, sorted.
fn hashes_of(batches: &[Batch]) -> Vec<u64> {
    let mut all = Vec::new();
    for batch in batches {
        let mut hashes = Vec::new();
        hash_columns(batch.columns(), &mut hashes).unwrap();
        all.extend(hashes);
    }
    all.sort_unstable();
    all
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_was_written_is_read(seed: u64, rows_per_batch in 1usize..40) {
        let mut random = Random::new(seed);
        let batch = random_batch(&mut random);
        prop_assume!(batch.num_columns() > 0);
        let cut = random.below(batch.num_rows() + 1);
        let batches = [batch.slice(0, cut), batch.slice(cut, batch.num_rows() - cut)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.arrow");
        fs::write(&path, written(&batches)).unwrap();
        let columns: Vec<usize> = (0..batch.num_columns()).rev().collect();
        let found = read(&path, rows_per_batch).unwrap();
        prop_assert_eq!(hashes_of(&found), hashes_of(&[batch.project(&columns).unwrap()]));
    }

    #[test]
    fn damage_is_told(seed: u64, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut: prop::sample::Index) {
        let batch = random_batch(&mut Random::new(seed));
        prop_assume!(batch.num_columns() > 0);
        let mut bytes = written(&[batch]);
        changes.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
        if seed % 3 == 0 {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.arrow");
        fs::write(&path, bytes).unwrap();
        if let Err(error) = read(&path, 10) {
            prop_assert!(matches!(error.kind(), Kind::Corrupt | Kind::Unsupported), "{error:?}");
        }
    }
}
