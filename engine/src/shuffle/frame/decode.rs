//! Reading a frame: everything is checked before it is believed, and then viewed in place.
//!
//! In: bytes from outside, a schema. Out: the header and a batch over those bytes. Never: reserves memory or slices
//! by a length that was not checked; never lets an array be made that arrow has not validated.

use super::{codec::Decompressor, *};
use crate::kernel::build_views;

/// How long the frame is that begins with `prefix`, which holds at least its first [`FRAME_PREFIX_BYTES`].
///
/// Nothing is proven by a checksum yet: the answer is good for reading so many bytes, within the limits, and no more.
pub fn frame_bytes(prefix: &[u8], limits: &FrameLimits) -> Result<usize, FrameError> {
    Ok(read_head(prefix, limits)?.frame_bytes())
}

/// Whose rows the frame at the front of `bytes` holds; its head must be complete and its checksum agree.
pub fn decode_header(bytes: &[u8], limits: &FrameLimits) -> Result<FrameHead, FrameError> {
    let head = read_head(bytes, limits)?;
    let Some((signed, stored)) =
        bytes.get(..head.head_bytes).and_then(|head| head.split_last_chunk::<CHECKSUM_BYTES>())
    else {
        return Err(FrameError::Length { expected_bytes: head.head_bytes, found_bytes: bytes.len() });
    };
    compare("head", XxHash3_64::oneshot(signed), u64::from_le_bytes(*stored))?;
    Ok(head)
}

/// What a frame says of itself, both checksums compared, `bytes` being all of it. Its columns are not looked at.
pub fn check_frame(bytes: &[u8], limits: &FrameLimits) -> Result<FrameHead, FrameError> {
    let head = decode_header(bytes, limits)?;
    if bytes.len() != head.frame_bytes() {
        return Err(FrameError::Length { expected_bytes: head.frame_bytes(), found_bytes: bytes.len() });
    }
    compare("payload", XxHash3_64::oneshot(&bytes[head.head_bytes..]), head.payload_checksum)?;
    Ok(head)
}

/// The batch of a frame, `bytes` being all of it: its columns are views of `bytes`, where these are aligned for their
/// type and were not made shorter.
///
/// `schema`: the stream's, of the batches that were written.
pub fn decode_frame(
    bytes: Buffer,
    schema: &SchemaRef,
    limits: &FrameLimits,
) -> Result<(FrameHeader, RecordBatch), FrameError> {
    let head = check_frame(&bytes, limits)?;
    let expected = schema.fields().len();
    if head.column_count != expected {
        return Err(FrameError::Shape { what: "column count", found: head.column_count, expected });
    }

    let decompressor = Decompressor::new(head.codec)?;
    let at = head.head_bytes;
    let mut tables = Tables { bytes, next_array: 0, next_buffer: 0, at, head, column: 0, limits, decompressor };
    tables.check_buffers()?;
    let mut columns = Vec::with_capacity(expected);
    for (column, field) in schema.fields().iter().enumerate() {
        tables.column = column;
        columns.push(make_array(tables.take_array(field.data_type(), Some(head.rows), 0)?));
    }
    tables.finish()?;
    let options = RecordBatchOptions::new().with_row_count(Some(head.rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|source| FrameError::Batch { source })?;
    Ok((head.header, batch))
}

fn compare(part: &'static str, computed: u64, stored: u64) -> Result<(), FrameError> {
    if computed == stored { Ok(()) } else { Err(FrameError::Checksum { part, computed, stored }) }
}

/// Reads the fixed part of a head and checks its numbers against the limits and each other, not against the checksum.
fn read_head(bytes: &[u8], limits: &FrameLimits) -> Result<FrameHead, FrameError> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Err(FrameError::Length { expected_bytes: FIXED_BYTES, found_bytes: bytes.len() });
    };
    let mut fields = Fields(fixed);
    let found = fields.take::<4>();
    if found != MAGIC {
        return Err(FrameError::Magic { found });
    }
    let (version, flags) = (fields.u16(), fields.u16());
    let codec = Codec::of_flags(flags).filter(|_| version == VERSION);
    let codec = codec.ok_or(FrameError::Version { version, flags })?;
    let job = JobId(fields.u64());
    let epoch = Epoch(fields.u32());
    let stage = StageId(fields.u32());
    let round = Round(fields.u32());
    let task = TaskId(fields.u32());
    let attempt = AttemptId(fields.u32());
    let group = GroupId(fields.u16());
    let column_count = usize::from(fields.u16());
    let sequence = Sequence(fields.u64());
    let rows = fields.u32() as usize;
    let array_count = fields.u32() as usize;
    let buffer_count = fields.u32() as usize;
    let head_bytes = fields.u32() as usize;
    let payload_bytes = usize::try_from(fields.u64()).unwrap_or(usize::MAX);
    let payload_checksum = fields.u64();
    let hash_sum = fields.u64();

    let frame_bytes = head_bytes.saturating_add(payload_bytes);
    for (what, found, max) in [
        ("columns", column_count, limits.columns_max.min(COLUMNS_MAX)),
        ("rows", rows, limits.rows_max.min(ROWS_MAX)),
        ("arrays", array_count, ARRAYS_MAX),
        ("buffers", buffer_count, limits.buffers_max.min(BUFFERS_MAX)),
        ("bytes", frame_bytes, limits.frame_bytes_max.min(FRAME_BYTES_MAX)),
    ] {
        if found > max {
            return Err(FrameError::TooLarge { what, found, max });
        }
    }
    let expected = self::head_bytes(array_count, buffer_count, buffer_entry_bytes(codec));
    if head_bytes != expected {
        return Err(FrameError::Shape { what: "length of the head", found: head_bytes, expected });
    }
    let header = FrameHeader { job, epoch, stage, round, task, attempt, group, sequence, hash_sum };
    Ok(FrameHead {
        header,
        rows,
        column_count,
        head_bytes,
        payload_bytes,
        codec,
        array_count,
        buffer_count,
        payload_checksum,
    })
}

/// Fields of the fixed head, one after the other. They end where it does, so there is always one more.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        let (field, rest) = self.0.split_first_chunk().map_or(([0; BYTES], &[][..]), |(field, rest)| (*field, rest));
        self.0 = rest;
        field
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// The tables of a frame, read in step with the schema.
struct Tables<'a> {
    /// The whole frame, of the length that the head says.
    bytes: Buffer,
    head: FrameHead,
    next_array: usize,
    next_buffer: usize,
    /// Where the next buffer begins.
    at: usize,
    /// The column that is worked on, for errors.
    column: usize,
    limits: &'a FrameLimits,
    decompressor: Decompressor,
}

impl Tables<'_> {
    /// The next array and its children. `rows`: how many it must have, where the parent knows.
    fn take_array(&mut self, data_type: &DataType, rows: Option<usize>, depth: usize) -> Result<ArrayData, FrameError> {
        let Some(layout) = Layout::of(data_type) else {
            return Err(FrameError::Unsupported { column: self.column, data_type: data_type.clone() });
        };
        if depth > DEPTH_MAX {
            return Err(FrameError::TooLarge { what: "levels of nesting", found: depth, max: DEPTH_MAX });
        }
        let (length, has_validity) = self.take_entry(layout, data_type, rows)?;
        let validity = if has_validity { Some(self.take_buffer(Some(length.div_ceil(8)))?) } else { None };
        let (buffers, children) = match layout {
            Layout::Null => (vec![], vec![]),
            Layout::Bits => (vec![self.take_buffer(Some(length.div_ceil(8)))?], vec![]),
            Layout::Fixed { width_bytes } => (vec![self.take_buffer(length.checked_mul(width_bytes))?], vec![]),
            Layout::Bytes => (vec![self.take_buffer(Some((length + 1) * 4))?, self.take_any_buffer()?], vec![]),
            Layout::LargeBytes => (vec![self.take_buffer(Some((length + 1) * 8))?, self.take_any_buffer()?], vec![]),
            Layout::Views => (vec![self.take_buffer(Some(length * 16))?, self.take_any_buffer()?], vec![]),
            Layout::List
            | Layout::LargeList
            | Layout::FixedList { .. }
            | Layout::Struct
            | Layout::Dictionary { .. } => self.take_nested(data_type, layout, length, depth)?,
        };
        let column = self.column;
        let builder = ArrayData::builder(data_type.clone())
            .len(length)
            .null_bit_buffer(validity)
            .buffers(buffers)
            .child_data(children)
            // Copies a buffer that is not aligned for its type, which happens only when the frame itself is not.
            .align_buffers(true);
        // Both validate lengths, offsets, text, codes: the bytes are somebody else's.
        let array = if layout == Layout::Views { build_views(builder) } else { builder.build() };
        array.map_err(|source| FrameError::Column { column, source })
    }

    /// The buffers and children of an array that has children.
    fn take_nested(
        &mut self,
        data_type: &DataType,
        layout: Layout,
        length: usize,
        depth: usize,
    ) -> Result<(Vec<Buffer>, Vec<ArrayData>), FrameError> {
        let mut buffers = vec![];
        let mut children = vec![];
        match (data_type, layout) {
            (DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _), _) => {
                let width_bytes = if layout == Layout::LargeList { 8 } else { 4 };
                buffers.push(self.take_buffer(Some((length + 1) * width_bytes))?);
                children.push(self.take_array(field.data_type(), None, depth + 1)?);
            }
            (DataType::FixedSizeList(field, _), Layout::FixedList { size }) => {
                children.push(self.take_array(field.data_type(), Some(length.saturating_mul(size)), depth + 1)?);
            }
            (DataType::Struct(fields), _) => {
                for field in fields {
                    children.push(self.take_array(field.data_type(), Some(length), depth + 1)?);
                }
            }
            (DataType::Dictionary(_, value), Layout::Dictionary { width_bytes }) => {
                buffers.push(self.take_buffer(Some(length * width_bytes))?);
                children.push(self.take_array(value, None, depth + 1)?);
            }
            _ => return Err(FrameError::Unsupported { column: self.column, data_type: data_type.clone() }),
        }
        Ok((buffers, children))
    }

    /// The next entry of the table of arrays: rows, and whether a validity is there.
    fn take_entry(
        &mut self,
        layout: Layout,
        data_type: &DataType,
        rows: Option<usize>,
    ) -> Result<(usize, bool), FrameError> {
        let index = self.next_array;
        self.next_array += 1;
        if index >= self.head.array_count {
            return Err(FrameError::Shape { what: "array count", found: self.head.array_count, expected: index + 1 });
        }
        let mut fields = Fields(&self.bytes[FIXED_BYTES + ARRAY_ENTRY_BYTES * index..][..ARRAY_ENTRY_BYTES]);
        let length = fields.u32() as usize;
        let [code, has_validity, zero_1, zero_2] = fields.take::<4>();
        if code != layout.code() {
            return Err(FrameError::Schema { column: self.column, data_type: data_type.clone(), layout: code });
        }
        let max = self.limits.rows_max.min(ROWS_MAX);
        if length > max {
            return Err(FrameError::TooLarge { what: "rows of an array", found: length, max });
        }
        if let Some(expected) = rows.filter(|rows| *rows != length) {
            return Err(FrameError::Shape { what: "rows of an array", found: length, expected });
        }
        // Null has no validity; nothing else has a byte that is not 0 or 1.
        let validity_max = if layout == Layout::Null { 0 } else { 1 };
        if has_validity > validity_max || zero_1 != 0 || zero_2 != 0 {
            return Err(FrameError::Shape { what: "flag of an array", found: has_validity.into(), expected: 0 });
        }
        Ok((length, has_validity == 1))
    }

    /// The next buffer, which must have so many bytes; none: more than can be.
    fn take_buffer(&mut self, expected: Option<usize>) -> Result<Buffer, FrameError> {
        let buffer = self.take_any_buffer()?;
        let expected = expected.unwrap_or(usize::MAX);
        if buffer.len() != expected {
            return Err(FrameError::Shape { what: "length of a buffer", found: buffer.len(), expected });
        }
        Ok(buffer)
    }

    /// How long a buffer is in the frame, and in memory.
    fn entry_of_buffer(&self, index: usize) -> (usize, usize) {
        let entry_bytes = buffer_entry_bytes(self.head.codec);
        let table_at = FIXED_BYTES + ARRAY_ENTRY_BYTES * self.head.array_count;
        let mut entry = Fields(&self.bytes[table_at + entry_bytes * index..][..entry_bytes]);
        let bytes_here = entry.u32() as usize;
        (bytes_here, if self.head.codec == Codec::None { bytes_here } else { entry.u32() as usize })
    }

    /// With a codec: no buffer becomes shorter, and together they become no longer than a frame may be. Nothing was
    /// decompressed before this.
    fn check_buffers(&self) -> Result<(), FrameError> {
        if self.head.codec == Codec::None {
            return Ok(());
        }
        let max = self.limits.frame_bytes_max.min(FRAME_BYTES_MAX);
        let mut found = self.head.head_bytes;
        for index in 0..self.head.buffer_count {
            let (bytes_here, bytes) = self.entry_of_buffer(index);
            if bytes < bytes_here {
                return Err(FrameError::Shape { what: "length of a buffer", found: bytes, expected: bytes_here });
            }
            // Both are below 2³², of at most BUFFERS_MAX buffers: no overflow.
            found += bytes.next_multiple_of(ALIGNMENT_BYTES);
        }
        if found > max {
            return Err(FrameError::TooLarge { what: "bytes when decompressed", found, max });
        }
        Ok(())
    }

    /// The next buffer, of any length within the payload.
    fn take_any_buffer(&mut self) -> Result<Buffer, FrameError> {
        let index = self.next_buffer;
        self.next_buffer += 1;
        if index >= self.head.buffer_count {
            return Err(FrameError::Shape { what: "buffer count", found: self.head.buffer_count, expected: index + 1 });
        }
        let (bytes_here, bytes) = self.entry_of_buffer(index);
        let start = self.at;
        self.at += bytes_here.next_multiple_of(ALIGNMENT_BYTES);
        if self.at > self.head.frame_bytes() {
            let expected = self.head.frame_bytes() - start;
            return Err(FrameError::Shape { what: "length of a buffer", found: bytes_here, expected });
        }
        let here = self.bytes.slice_with_length(start, bytes_here);
        if bytes == bytes_here {
            return Ok(here);
        }
        let (column, codec) = (self.column, self.head.codec);
        let restored = self.decompressor.restore(&here, bytes);
        restored.map_err(|source| FrameError::Decompress { column, codec, source })
    }

    /// All tables and the whole payload have been used.
    fn finish(&self) -> Result<(), FrameError> {
        for (what, found, expected) in [
            ("array count", self.head.array_count, self.next_array),
            ("buffer count", self.head.buffer_count, self.next_buffer),
            ("length of the frame", self.head.frame_bytes(), self.at),
        ] {
            if found != expected {
                return Err(FrameError::Shape { what, found, expected });
            }
        }
        Ok(())
    }
}
