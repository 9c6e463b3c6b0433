//! Decodes the lines of a split.
//!
//! In: the text of a split. Out: where the values of its lines stand. Never: looks for a line's end elsewhere than at a newline, which no
//! string of JSON holds.

use std::{ops::Range, path::PathBuf};

use super::{
    BYTE_ORDER_MARK, SHAPE,
    keys::Keys,
    values::Json,
    walk::{after_space, object},
};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    format::{
        Decode,
        records::{Asked, Found, RecordDecoder, Records, Stretch, Walked},
        split_text::{Wrong, shown},
    },
};

/// Decodes the `columns`, in that order, of the lines of `path` (of `file_bytes`) that start in `range`.
pub fn decoder(
    path: PathBuf,
    file_bytes: u64,
    range: Range<u64>,
    schema: &SchemaRef,
    columns: &[usize],
    rows_per_batch: usize,
) -> Result<impl Decode + use<>> {
    let keys = Keys::new(schema.fields().iter().map(|field| field.name().as_str()));
    RecordDecoder::new(Lines { keys }, Asked { path, file_bytes, range, schema, columns, rows_per_batch })
}

/// An object a line.
struct Lines {
    keys: Keys,
}

impl Records for Lines {
    type Values = Json;
    const SHAPE: &'static str = SHAPE;

    fn first(&self, before: Option<u8>, text: &[u8]) -> usize {
        match before {
            None if text.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
            None | Some(b'\n') => 0,
            Some(_) => memchr::memchr(b'\n', text).map_or(text.len(), |newline| newline + 1),
        }
    }

    fn walk(&mut self, stretch: Stretch<'_>, found: &mut Found) -> Walked {
        let Stretch { text, mut next, starts_end, is_last, rows_max } = stretch;
        let Found { grid, row_starts } = found;
        while next < starts_end && row_starts.len() < rows_max {
            let end = match memchr::memchr(b'\n', &text[next..]) {
                Some(newline) => next + newline,
                None if is_last => text.len(),
                None => break,
            };
            let line = &text[..end];
            if after_space(line, next) < end {
                let row = row_starts.len();
                if let Err(broken) = object(line, next, &mut self.keys, |key, cell| grid.put(row, key, cell)) {
                    let found = shown(&line[broken.at..]);
                    return Walked {
                        next,
                        wrong: Some((next, Wrong::Unexpected { expected: broken.expected, found })),
                    };
                }
                row_starts.push(next);
            }
            next = end + 1;
        }
        Walked { next, wrong: None }
    }
}
