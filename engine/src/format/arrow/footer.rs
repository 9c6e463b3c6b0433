//! The footer of an Arrow file: read with limits, and checked before it is believed.
//!
//! In: an open file. Out: its columns as Windrow knows them; where its batches are, and how many rows each has. Never: reserves memory by a
//! length that was not checked against the file's.

use std::{ops::Range, path::Path, sync::Arc};

use arrow::ipc::{Block, MetadataVersion, convert::fb_to_schema, root_as_footer, root_as_message};
use bytes::Bytes;

use super::{ArrowFailure, MAGIC, guarded};
use crate::{
    batch::{
        ArrowError,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::Result,
    limits,
    store::OpenFile,
};

/// What is known of one file.
#[derive(Clone, Debug)]
pub struct ArrowFooter {
    schema: SchemaRef,
    /// As they stand in the file.
    pub(super) of_file: SchemaRef,
    pub(super) version: MetadataVersion,
    pub(super) dictionaries: Arc<[Block]>,
    pub(super) batches: Arc<[Block]>,
    rows: Arc<[u64]>,
}

const TAIL_BYTES: u64 = 10;

impl ArrowFooter {
    /// Reads it from the end of `file`, which is `bytes` long, and the heads of the batches.
    pub fn read(file: &OpenFile, path: &Path, bytes: u64) -> Result<ArrowFooter> {
        let not_arrow = || ArrowFailure::NotArrow { path: path.to_owned() };
        if bytes < TAIL_BYTES + MAGIC.len() as u64 {
            return Err(not_arrow().into());
        }
        let tail = file.read(bytes - TAIL_BYTES..bytes)?;
        let (length, magic) = tail.split_at(4);
        if magic != MAGIC {
            return Err(not_arrow().into());
        }
        let footer_bytes = i64::from(i32::from_le_bytes([length[0], length[1], length[2], length[3]]));
        let limit_bytes = limits::ARROW_FOOTER_BYTES_MAX.min(bytes - TAIL_BYTES);
        let length = u64::try_from(footer_bytes).ok().filter(|length| *length <= limit_bytes);
        let too_long = || ArrowFailure::FooterTooLong { path: path.to_owned(), footer_bytes, limit_bytes };
        let offset = bytes - TAIL_BYTES - length.ok_or_else(too_long)?;
        let footer = file.read(offset..bytes - TAIL_BYTES)?;
        let mut read = guarded(path, offset, || parse(&footer))?;
        let blocks = read.dictionaries.iter().map(|block| ("a dictionary", block));
        for (what, block) in blocks.chain(read.batches.iter().map(|block| ("a batch", block))) {
            if range_of(block).is_none_or(|range| range.end > offset) {
                return Err(ArrowFailure::Beyond { path: path.to_owned(), what, offset: block.offset() }.into());
            }
        }
        let mut rows = Vec::with_capacity(read.batches.len());
        for block in read.batches.iter() {
            let start = block.offset() as u64;
            let head = file.read(start..start + block.metaDataLength() as u64)?;
            rows.push(guarded(path, start, || rows_of(&head))?);
        }
        read.rows = rows.into();
        Ok(read)
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many batches there are.
    pub fn batch_count(&self) -> usize {
        self.batches.len()
    }

    /// Rows of one batch.
    pub fn rows(&self, batch: usize) -> u64 {
        self.rows[batch]
    }

    /// Bytes that are read for one batch.
    pub fn bytes(&self, batch: usize) -> u64 {
        let blocks = self.dictionaries.iter().chain([&self.batches[batch]]);
        blocks.filter_map(range_of).map(|range| range.end - range.start).sum()
    }
}

/// Where a block stands; the metadata first, which has a length and a mark before it.
pub(super) fn range_of(block: &Block) -> Option<Range<u64>> {
    let start = u64::try_from(block.offset()).ok()?;
    let head = u64::try_from(block.metaDataLength()).ok().filter(|head| *head >= 8)?;
    let body = u64::try_from(block.bodyLength()).ok()?;
    Some(start..start.checked_add(head)?.checked_add(body)?)
}

fn parse(footer: &Bytes) -> Result<ArrowFooter, ArrowError> {
    let broken = |error| ArrowError::ParseError(format!("the footer is broken: {error:?}"));
    let footer = root_as_footer(footer).map_err(broken)?;
    let schema = footer.schema().ok_or_else(|| ArrowError::ParseError("the footer has no schema".to_owned()))?;
    if !schema.endianness().equals_to_target_endianness() {
        return Err(ArrowError::NotYetImplemented("numbers of the other byte order".to_owned()));
    }
    let of_file = Arc::new(fb_to_schema(schema));
    Ok(ArrowFooter {
        schema: known(&of_file),
        of_file,
        version: footer.version(),
        dictionaries: footer.dictionaries().iter().flatten().copied().collect(),
        batches: footer.recordBatches().iter().flatten().copied().collect(),
        rows: Arc::default(),
    })
}

/// The rows that a batch's head tells of.
fn rows_of(head: &Bytes) -> Result<u64, ArrowError> {
    let broken = |what: &str| ArrowError::ParseError(format!("the head of a batch {what}"));
    let rest = head.strip_prefix(&[0xff; 4]).unwrap_or(head).get(4..).ok_or_else(|| broken("is too short"))?;
    let message = root_as_message(rest).map_err(|error| broken(&format!("is broken: {error:?}")))?;
    let batch = message.header_as_record_batch().ok_or_else(|| broken("is that of something else"))?;
    u64::try_from(batch.length()).map_err(|_| broken("has a negative length"))
}

/// The columns as Windrow knows them: strings and bytes as views, values instead of codes.
fn known(of_file: &Schema) -> SchemaRef {
    fn known_type(data_type: &DataType) -> DataType {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            DataType::Dictionary(_, values) => known_type(values),
            other => other.clone(),
        }
    }
    let field = |field: &Arc<Field>| Field::clone(field).with_data_type(known_type(field.data_type()));
    Arc::new(Schema::new(of_file.fields().iter().map(field).collect::<Vec<_>>()))
}
