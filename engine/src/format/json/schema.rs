//! The columns of JSON files, from the first lines of each.
//!
//! In: the first bytes of each file, in order. Out: a schema: columns in the order in which their keys are first seen. Never: fails for a
//! value that only a later row holds.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    BYTE_ORDER_MARK, SHAPE,
    keys::Keys,
    values,
    walk::{after_space, object},
};
use crate::{
    batch::datatypes::{DataType, Field, Schema, SchemaRef},
    error::{Cause, Kind, Result},
    format::{
        cells::{Cell, Look},
        split_text::{Wrong, shown, wrong_in_sample},
    },
    limits,
};

/// What a column's values were, a bit each.
const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
const FLOAT: u8 = 4;
const TEXT: u8 = 8;

/// What was seen of the files until now.
#[derive(Default)]
pub struct Sample {
    keys: Keys,
    /// By number of the key.
    seen: Vec<u8>,
}

impl Sample {
    /// Looks at the first bytes of a file; all of them, if it is shorter than a sample.
    pub fn add(&mut self, path: &Path, sample: &[u8], is_whole: bool) -> Result<()> {
        let begin = if sample.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        if sample[begin..].trim_ascii_start().first() == Some(&b'[') {
            return Err(SampleError::Array { path: path.to_owned() }.into());
        }
        // The sample's last line may be cut.
        let last = memchr::memrchr(b'\n', sample);
        let text = match last {
            _ if is_whole => sample,
            Some(newline) => &sample[..newline],
            None => return Err(SampleError::LongRecord { path: path.to_owned(), bytes: sample.len() }.into()),
        };
        let (mut next, mut rows) = (begin, 0);
        while next < text.len() && rows < limits::SAMPLE_ROWS {
            let end = memchr::memchr(b'\n', &text[next..]).map_or(text.len(), |newline| next + newline);
            let line = &text[..end];
            if after_space(line, next) < end {
                rows += 1;
                self.add_row(path, line, next)?;
            }
            next = end + 1;
        }
        if self.keys.len() >= limits::JSON_KEYS_MAX {
            return Err(SampleError::ManyKeys { path: path.to_owned(), limit: limits::JSON_KEYS_MAX }.into());
        }
        Ok(())
    }

    fn add_row(&mut self, path: &Path, line: &[u8], start: usize) -> Result<()> {
        let Sample { keys, seen } = self;
        let mut misfit = None;
        let walked = object(line, start, keys, |key, cell| {
            let key = key as usize;
            if seen.len() <= key {
                seen.resize(key + 1, 0);
            }
            match kind(line, cell) {
                Some(kind) => seen[key] |= kind,
                None => misfit = misfit.or(Some(cell)),
            }
        });
        let wrong = match (walked, misfit) {
            (Err(broken), _) => Wrong::Unexpected { expected: broken.expected, found: shown(&line[broken.at..]) },
            (Ok(()), Some(cell)) => Wrong::Unexpected { expected: "a value", found: shown(cell.bytes(line)) },
            (Ok(()), None) => return Ok(()),
        };
        Err(wrong_in_sample(SHAPE, path, line, start, wrong))
    }

    /// The columns; `path` names the table in an error.
    pub fn schema(self, path: &Path) -> Result<SchemaRef> {
        let mut fields = Vec::new();
        for (name, seen) in self.keys.names().into_iter().zip(self.seen) {
            let name = String::from_utf8(name).map_err(|_| SampleError::KeyNotUtf8 { path: path.to_owned() })?;
            let data_type = match seen {
                BOOLEAN => DataType::Boolean,
                INTEGER => DataType::Int64,
                FLOAT => DataType::Float64,
                both if both == INTEGER | FLOAT => DataType::Float64,
                _ => DataType::Utf8View,
            };
            fields.push(Field::new(name, data_type, true));
        }
        if fields.is_empty() {
            return Err(SampleError::NoKeys { path: path.to_owned() }.into());
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// What the value is; nothing if it is NULL, `None` if it is no value of JSON.
fn kind(line: &[u8], cell: Cell) -> Option<u8> {
    Some(match cell.look() {
        Look::Missing => 0,
        Look::True | Look::False => BOOLEAN,
        Look::Number if !values::is_number(cell.bytes(line)) => return None,
        Look::Number if values::integer(cell.bytes(line)).is_some() => INTEGER,
        Look::Number => FLOAT,
        Look::Text | Look::Escaped | Look::Nested => TEXT,
    })
}

#[derive(Debug, thiserror::Error)]
enum SampleError {
    #[error("reading {} as JSON lines: it is one array, where an object on each line is expected", path.display())]
    Array { path: PathBuf },
    #[error("reading {} as JSON lines: the first record is longer than the {bytes} bytes that tell the columns", path.display())]
    LongRecord { path: PathBuf, bytes: usize },
    #[error("reading {} as JSON lines: its first rows have {limit} keys or more", path.display())]
    ManyKeys { path: PathBuf, limit: usize },
    #[error("reading {} as JSON lines: a key is not valid UTF-8", path.display())]
    KeyNotUtf8 { path: PathBuf },
    #[error("reading {} as JSON lines: no object with a key is there to name the columns", path.display())]
    NoKeys { path: PathBuf },
}

impl Cause for SampleError {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
    fn hint(&self) -> Option<String> {
        match self {
            SampleError::Array { path } => {
                Some(format!("put each object on a line of its own: jq -c '.[]' {} > lines.jsonl", path.display()))
            }
            _ => None,
        }
    }
}
