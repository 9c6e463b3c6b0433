//! Writing a frame: columns as they stand in memory, cut to their own part.
//!
//! In: a header, a batch, a codec. Out: the frame's bytes, appended and sealed with both checksums. Never: a length
//! beyond the limits.

use super::{codec::Compressor, *};

/// Appends the frame of `batch` to `out`, its buffers as they stand in memory; returns its length in bytes, a multiple
/// of 64.
///
/// For its columns to be aligned, `out` should end at a multiple of 64, as it does after a frame. On an error `out` is
/// as it was.
pub fn encode_frame(header: &FrameHeader, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<usize, FrameError> {
    encode_frame_with(header, batch, Codec::None, out)
}

/// As [`encode_frame`], with the buffers that `codec` makes shorter compressed.
pub fn encode_frame_with(
    header: &FrameHeader,
    batch: &RecordBatch,
    codec: Codec,
    out: &mut Vec<u8>,
) -> Result<usize, FrameError> {
    let mut parts = Parts::default();
    let rows = parts.check("rows", batch.num_rows(), ROWS_MAX)?;
    let column_count = parts.check("columns", batch.num_columns(), COLUMNS_MAX)?;
    for (column, array) in batch.columns().iter().enumerate() {
        parts.column = column;
        parts.add_array(array.as_ref(), 0)?;
    }
    let head_bytes = head_bytes(parts.arrays.len(), parts.buffers.len(), buffer_entry_bytes(codec));
    // Also with a codec: what was made shorter must fit when it is as long as it was.
    let bytes_max = parts.check("bytes", head_bytes + parts.payload_bytes, FRAME_BYTES_MAX)?;
    let mut compressor = Compressor::new(codec)?;

    let start = out.len();
    out.reserve(bytes_max);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&codec.flags().to_le_bytes());
    out.extend_from_slice(&header.job.0.to_le_bytes());
    out.extend_from_slice(&header.epoch.0.to_le_bytes());
    out.extend_from_slice(&header.stage.0.to_le_bytes());
    out.extend_from_slice(&header.round.0.to_le_bytes());
    out.extend_from_slice(&header.task.0.to_le_bytes());
    out.extend_from_slice(&header.attempt.0.to_le_bytes());
    out.extend_from_slice(&header.group.0.to_le_bytes());
    out.extend_from_slice(&(column_count as u16).to_le_bytes());
    out.extend_from_slice(&header.sequence.0.to_le_bytes());
    // The casts lose nothing: all are below bounds that are below u32::MAX, as the asserts above say.
    out.extend_from_slice(&(rows as u32).to_le_bytes());
    out.extend_from_slice(&(parts.arrays.len() as u32).to_le_bytes());
    out.extend_from_slice(&(parts.buffers.len() as u32).to_le_bytes());
    out.extend_from_slice(&(head_bytes as u32).to_le_bytes());
    // Payload bytes and their checksum come when they are known.
    out.extend_from_slice(&[0; 8 + CHECKSUM_BYTES]);
    out.extend_from_slice(&header.hash_sum.to_le_bytes());
    for array in &parts.arrays {
        out.extend_from_slice(&(array.length as u32).to_le_bytes());
        out.extend_from_slice(&[array.layout, u8::from(array.has_validity), 0, 0]);
    }
    let table_at = out.len();
    out.resize(start + head_bytes, 0);
    for (index, buffer) in parts.buffers.iter().enumerate() {
        let bytes = match compressor.shorten(buffer) {
            Some(shorter) => {
                out.extend_from_slice(shorter);
                shorter.len()
            }
            None => {
                out.extend_from_slice(buffer);
                buffer.len()
            }
        };
        // Counted from the frame's own begin, wherever that stands.
        out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT_BYTES), 0);
        let entry = [(bytes as u32).to_le_bytes(), (buffer.len() as u32).to_le_bytes()];
        let entry = &entry.as_flattened()[..buffer_entry_bytes(codec)];
        out[table_at + entry.len() * index..][..entry.len()].copy_from_slice(entry);
    }
    let frame = &mut out[start..];
    let payload_bytes = (frame.len() - head_bytes) as u64;
    frame[PAYLOAD_BYTES_AT..][..8].copy_from_slice(&payload_bytes.to_le_bytes());
    seal(frame, head_bytes);
    Ok(frame.len())
}

/// Writes both checksums of a frame.
pub(super) fn seal(frame: &mut [u8], head_bytes: usize) {
    let payload = XxHash3_64::oneshot(&frame[head_bytes..]);
    frame[PAYLOAD_CHECKSUM_AT..][..CHECKSUM_BYTES].copy_from_slice(&payload.to_le_bytes());
    let head = XxHash3_64::oneshot(&frame[..head_bytes - CHECKSUM_BYTES]);
    frame[head_bytes - CHECKSUM_BYTES..head_bytes].copy_from_slice(&head.to_le_bytes());
}

/// An array of the frame's table.
struct ArrayEntry {
    length: usize,
    layout: u8,
    has_validity: bool,
}

/// What a frame is made of, before it is written: nothing is copied that need not be.
#[derive(Default)]
struct Parts {
    arrays: Vec<ArrayEntry>,
    buffers: Vec<Buffer>,
    /// The buffers with their padding.
    payload_bytes: usize,
    /// The column that is worked on, for errors.
    column: usize,
}

impl Parts {
    fn check(&self, what: &'static str, found: usize, max: usize) -> Result<usize, FrameError> {
        if found > max { Err(FrameError::TooLarge { what, found, max }) } else { Ok(found) }
    }

    fn add_buffer(&mut self, buffer: Buffer) -> Result<(), FrameError> {
        let payload_bytes = self.payload_bytes.saturating_add(buffer.len()).next_multiple_of(ALIGNMENT_BYTES);
        self.payload_bytes = self.check("bytes", payload_bytes, FRAME_BYTES_MAX)?;
        self.check("buffers", self.buffers.len() + 1, BUFFERS_MAX)?;
        self.buffers.push(buffer);
        Ok(())
    }

    /// Adds an array, its buffers from row 0, and its children.
    fn add_array(&mut self, array: &dyn Array, depth: usize) -> Result<(), FrameError> {
        let data_type = array.data_type();
        let Some(layout) = Layout::of(data_type) else {
            return Err(FrameError::Unsupported { column: self.column, data_type: data_type.clone() });
        };
        let rows = self.check("rows of an array", array.len(), ROWS_MAX)?;
        self.check("levels of nesting", depth, DEPTH_MAX)?;
        self.check("arrays", self.arrays.len() + 1, ARRAYS_MAX)?;
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.arrays.push(ArrayEntry { length: rows, layout: layout.code(), has_validity: nulls.is_some() });
        if let Some(nulls) = nulls {
            self.add_buffer(bits(nulls.inner()))?;
        }
        match layout {
            Layout::Null => {}
            Layout::Bits => self.add_buffer(bits(array.as_boolean().values()))?,
            Layout::Fixed { width_bytes } => self.add_buffer(fixed_values(&array.to_data(), width_bytes))?,
            Layout::Bytes => {
                let data = array.to_data();
                self.add_bytes(&data.buffer::<i32>(0)[..rows + 1], &data.buffers()[1])?;
            }
            Layout::LargeBytes => {
                let data = array.to_data();
                self.add_bytes(&data.buffer::<i64>(0)[..rows + 1], &data.buffers()[1])?;
            }
            Layout::Views => match data_type {
                DataType::Utf8View => self.add_views(array.as_string_view(), nulls)?,
                _ => self.add_views(array.as_binary_view(), nulls)?,
            },
            Layout::List => match data_type {
                DataType::Map(..) => {
                    let maps = array.as_map();
                    self.add_list(maps.value_offsets(), maps.entries(), depth)?;
                }
                _ => {
                    let lists = array.as_list::<i32>();
                    self.add_list(lists.value_offsets(), lists.values().as_ref(), depth)?;
                }
            },
            Layout::LargeList => {
                let lists = array.as_list::<i64>();
                self.add_list(lists.value_offsets(), lists.values().as_ref(), depth)?;
            }
            Layout::FixedList { size } => {
                let elements = array.as_fixed_size_list().values();
                self.add_array(elements.slice(0, rows * size).as_ref(), depth + 1)?;
            }
            Layout::Struct => {
                for field in array.as_struct().columns() {
                    self.add_array(field.as_ref(), depth + 1)?;
                }
            }
            Layout::Dictionary { width_bytes } => {
                let dictionary = array.as_any_dictionary();
                let codes = fixed_values(&dictionary.keys().to_data(), width_bytes);
                let (codes, values) = if dictionary.values().len() > rows {
                    self.used_values(&codes, width_bytes, nulls, dictionary.values())?
                } else {
                    (codes, Arc::clone(dictionary.values()))
                };
                self.add_buffer(codes)?;
                self.add_array(values.as_ref(), depth + 1)?;
            }
        }
        Ok(())
    }

    fn add_bytes<O: OffsetSizeTrait>(&mut self, offsets: &[O], bytes: &Buffer) -> Result<(), FrameError> {
        self.add_buffer(from_zero(offsets))?;
        let (first, last) = ends(offsets);
        self.add_buffer(bytes.slice_with_length(first, last - first))
    }

    fn add_list<O: OffsetSizeTrait>(
        &mut self,
        offsets: &[O],
        elements: &dyn Array,
        depth: usize,
    ) -> Result<(), FrameError> {
        self.add_buffer(from_zero(offsets))?;
        let (first, last) = ends(offsets);
        self.add_array(elements.slice(first, last - first).as_ref(), depth + 1)
    }

    /// Views with the bytes of the long ones in a buffer of their own, so that nothing else of the old ones is written.
    fn add_views<T: ByteViewType + ?Sized>(
        &mut self,
        array: &GenericByteViewArray<T>,
        nulls: Option<&NullBuffer>,
    ) -> Result<(), FrameError> {
        let is_valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        let length_of = |view: u128| view as u32 as usize;
        let views = array.views();
        let long = views.iter().enumerate().filter(|(row, view)| length_of(**view) > 12 && is_valid(*row));
        let long_bytes = long.map(|(_, view)| length_of(*view)).fold(0, usize::saturating_add);
        // Several views may share their bytes, so this may be more than the buffers hold: it is asked for only if it
        // fits.
        self.check("bytes", self.payload_bytes.saturating_add(long_bytes), FRAME_BYTES_MAX)?;
        if long_bytes == 0 && nulls.is_none() {
            self.add_buffer(views.inner().clone())?;
            return self.add_buffer(Buffer::from_vec(Vec::<u8>::new()));
        }
        if let [bytes] = array.data_buffers()
            && bytes.len() == long_bytes
            && lie_in_order(views, is_valid)
        {
            self.add_buffer(views.inner().clone())?;
            return self.add_buffer(bytes.clone());
        }
        let mut moved: Vec<u128> = Vec::with_capacity(views.len());
        let mut bytes: Vec<u8> = Vec::with_capacity(long_bytes);
        for (row, view) in views.iter().enumerate() {
            let length = length_of(*view);
            moved.push(match (is_valid(row), length > 12) {
                // What stands under a null is not shown to anybody.
                (false, _) => 0,
                (true, false) => *view,
                (true, true) => {
                    let (buffer, start) = ((*view >> 64) as u32 as usize, (*view >> 96) as usize);
                    let place = (bytes.len() as u128) << 96;
                    bytes.extend_from_slice(&array.data_buffers()[buffer][start..start + length]);
                    *view & u128::from(u64::MAX) | place
                }
            });
        }
        self.add_buffer(Buffer::from_vec(moved))?;
        self.add_buffer(Buffer::from_vec(bytes))
    }

    /// The codes and values of a dictionary without the values that no row has.
    fn used_values(
        &self,
        codes: &Buffer,
        width_bytes: usize,
        nulls: Option<&NullBuffer>,
        values: &ArrayRef,
    ) -> Result<(Buffer, ArrayRef), FrameError> {
        let code_at = |row: usize| {
            let mut code = [0; 8];
            code[..width_bytes].copy_from_slice(&codes[row * width_bytes..][..width_bytes]);
            u64::from_le_bytes(code)
        };
        let rows = codes.len() / width_bytes;
        let valid = |row: &usize| nulls.is_none_or(|nulls| nulls.is_valid(*row));
        let mut used: Vec<u64> = (0..rows).filter(valid).map(code_at).collect();
        used.sort_unstable();
        used.dedup();
        let mut moved = Vec::with_capacity(codes.len());
        for row in 0..rows {
            // A used value moves towards the front, so its code fits; under a null any code will do.
            let code = used.binary_search(&code_at(row)).unwrap_or(0) as u64;
            moved.extend_from_slice(&code.to_le_bytes()[..width_bytes]);
        }
        let values = take(values.as_ref(), &UInt64Array::from(used), None)
            .map_err(|source| FrameError::Gather { column: self.column, source })?;
        Ok((Buffer::from_vec(moved), values))
    }
}

/// Are these the views that would be made anew: the long ones one after the other in buffer 0, and nothing under a NULL? So they come from a
/// shuffle's builders.
fn lie_in_order(views: &[u128], is_valid: impl Fn(usize) -> bool) -> bool {
    let mut end = 0_u64;
    let mut is_in_order = true;
    for (row, view) in views.iter().enumerate() {
        let length = *view as u32;
        if length > 12 {
            is_in_order &= *view >> 64 == u128::from(end) << 32 && is_valid(row);
            end += u64::from(length);
        } else {
            is_in_order &= is_valid(row) || *view == 0;
        }
    }
    is_in_order
}

/// The bits from bit 0.
fn bits(from: &crate::batch::buffer::BooleanBuffer) -> Buffer {
    from.sliced().slice_with_length(0, from.len().div_ceil(8))
}

/// The values of an array's only buffer, from its first row to its last.
fn fixed_values(data: &ArrayData, width_bytes: usize) -> Buffer {
    data.buffers()[0].slice_with_length(data.offset() * width_bytes, data.len() * width_bytes)
}

/// The offsets, moved to begin at 0.
fn from_zero<O: OffsetSizeTrait>(offsets: &[O]) -> Buffer {
    Buffer::from_vec(offsets.iter().map(|offset| *offset - offsets[0]).collect::<Vec<O>>())
}

/// The first and the last offset.
fn ends<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize())
}
