//! TeraGen, TeraSort, TeraValidate: records of 100 bytes, of which the first ten are the key.
//!
//! In: a number of bytes, or files of records. Out: files of records, in order after the sort; or what a sum over the records is. Never: believes that
//! records are in order because somebody has sorted them.

use std::path::Path;

use windrow::{
    Record, Result, Session,
    dataset::asc,
    mapreduce::{Context, Job, Mapper},
    sink::Written,
};
use windrow_datasets::{TERA_BYTES, tera_record};

use crate::BenchError;

const KEY_BYTES: usize = 10;
/// Bytes of a record.
pub(super) const RECORD_BYTES: u64 = TERA_BYTES as u64;
/// Pieces that are made at the same time.
const PIECES: i64 = 32;

/// So many whole records as fit into `bytes`, the same for the same seed as `windrow_datasets::write_tera` writes, in some order.
pub fn tera_gen(session: &Session, bytes: u64, seed: u64, out: &Path) -> Result<Written> {
    let records = bytes as i64 / TERA_BYTES as i64;
    let mut pieces = session.from_vec(vec![0_i64])?;
    for piece in 1..PIECES {
        pieces = pieces.union(session.from_vec(vec![piece])?)?;
    }
    let made = pieces.flat_map::<Vec<u8>>(move |piece, out| {
        (piece * records / PIECES..(piece + 1) * records / PIECES)
            .for_each(|number| out.push(&tera_record(number as u64, seed)));
    });
    made.write_fixed(out)
}

/// The records of `input` in the order of their keys, as one file.
pub fn tera_sort(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    let records = session.read_fixed(&input.to_string_lossy(), TERA_BYTES as u32)?;
    let by_key = records.key_by(|record| record[..KEY_BYTES].to_vec());
    by_key.named(["key", "record"])?.sort_by([asc("key")])?.values().write_fixed(out)
}

/// What is known of records in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TeraSum {
    /// How many.
    pub records: u64,
    /// Of the CRC32 of each.
    pub sum: u64,
}

/// Looks whether the records of the files of `input`, one file after the other by name, are in the order of their keys; counts and sums them.
pub fn tera_validate(session: &Session, input: &Path) -> Result<TeraSum> {
    let records = session.read_fixed(&input.to_string_lossy(), TERA_BYTES as u32)?;
    let (mut stretches, _) = Job::new(records, Look::default()).collect()?;
    stretches.sort_by(|one, other| (&one.file, one.offset).cmp(&(&other.file, other.offset)));
    let mut sum = TeraSum { records: 0, sum: 0 };
    let mut last: &[u8] = &[];
    for stretch in &stretches {
        let before = sum.records as i64;
        if stretch.unordered >= 0 || *last > stretch.first[..] {
            let record = (before + stretch.unordered.max(0)) as u64;
            return Err(BenchError::NotInOrder { path: input.to_owned(), record }.into());
        }
        last = &stretch.last;
        sum.records += stretch.records as u64;
        sum.sum = sum.sum.wrapping_add(stretch.sum as u64);
    }
    Ok(sum)
}

/// What one life of the mapper has seen.
#[derive(Clone, Debug, Record)]
struct Stretch {
    file: String,
    offset: i64,
    records: i64,
    sum: i64,
    first: Vec<u8>,
    last: Vec<u8>,
    /// The first record whose key is less than that before it, counted from the stretch's first; -1 where there is none.
    unordered: i64,
}

/// Looks at a split.
#[derive(Clone, Default)]
struct Look(Option<Stretch>);

impl Mapper for Look {
    type In = Vec<u8>;
    type Out = Stretch;

    fn map(&mut self, record: &[u8], context: &mut Context<'_, Stretch>) -> Result<()> {
        let key = &record[..KEY_BYTES.min(record.len())];
        let stretch = self.0.get_or_insert_with(|| Stretch {
            file: context.input_file().unwrap_or(Path::new("")).to_string_lossy().into_owned(),
            offset: context.input_offset().unwrap_or(0) as i64,
            records: 0,
            sum: 0,
            first: key.to_vec(),
            last: Vec::new(),
            unordered: -1,
        });
        if stretch.unordered < 0 && stretch.last[..] > *key {
            stretch.unordered = stretch.records;
        }
        stretch.last.clear();
        stretch.last.extend_from_slice(key);
        stretch.records += 1;
        stretch.sum = stretch.sum.wrapping_add(i64::from(crc32fast::hash(record)));
        Ok(())
    }

    fn clean_up(&mut self, context: &mut Context<'_, Stretch>) -> Result<()> {
        if let Some(stretch) = self.0.take() {
            context.emit(stretch.as_view());
        }
        Ok(())
    }
}
