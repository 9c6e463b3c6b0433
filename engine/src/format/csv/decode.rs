//! Decodes the records of a split.
//!
//! In: the text of a split, and inside what the one before it ends. Out: where the fields of its records stand. Never: the header as a row.

use std::{ops::Range, path::PathBuf};

use super::{
    BYTE_ORDER_MARK, SHAPE,
    border::{first_record, follow},
    values::Csv,
    walk::walk,
};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    format::{
        Border, Decode,
        records::{Asked, Found, RecordDecoder, Records, Stretch, Walked},
        split_text::{Wrong, shown},
    },
};

/// Decodes the `columns`, in that order, of the records of `path` (of `file_bytes`) that start in `range`.
pub fn decoder(
    path: PathBuf,
    file_bytes: u64,
    range: Range<u64>,
    schema: &SchemaRef,
    columns: &[usize],
    rows_per_batch: usize,
) -> Result<impl Decode + use<>> {
    let records = Fields { columns: schema.fields().len(), has_header: false };
    RecordDecoder::new(records, Asked { path, file_bytes, range, schema, columns, rows_per_batch })
}

/// Fields between commas.
struct Fields {
    /// How many a record has.
    columns: usize,
    /// The next record is the header.
    has_header: bool,
}

impl Records for Fields {
    type Values = Csv;
    const SHAPE: &'static str = SHAPE;
    const FOLLOWS: bool = true;

    fn first(&self, _: Option<u8>, _: &[u8]) -> usize {
        0
    }

    fn follow(&mut self, border: Border, is_first: bool, text: &[u8]) -> (usize, Border) {
        self.has_header = border == Border::Start;
        let skipped = if is_first && text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        (skipped + first_record(border, &text[skipped..]), follow(border, &text[skipped..]))
    }

    fn walk(&mut self, mut stretch: Stretch<'_>, found: &mut Found) -> Walked {
        if self.has_header {
            let (next, is_broken) = walk(&Stretch { rows_max: 1, ..stretch }, self.columns, found);
            self.has_header = found.row_starts.is_empty();
            found.row_starts.clear();
            found.grid.clear();
            stretch.next = next;
            if is_broken || self.has_header || next >= stretch.starts_end {
                return Walked { next, wrong: is_broken.then(|| self.wrong(stretch.text, next)) };
            }
        }
        let (next, is_broken) = walk(&stretch, self.columns, found);
        Walked { next, wrong: is_broken.then(|| self.wrong(stretch.text, next)) }
    }
}

impl Fields {
    /// The record at `at` has not as many fields as the first.
    fn wrong(&self, text: &[u8], at: usize) -> (usize, Wrong) {
        let end = memchr::memchr2(b'\n', b'\r', &text[at..]).map_or(text.len(), |end| at + end);
        (at, Wrong::FieldCount { expected: self.columns, found: shown(&text[at..end]) })
    }
}
