//! A batch of one group as bytes: what a spool keeps and a stream carries.
//!
//! In: a batch and the numbers of the attempt that made it; or bytes that somebody sent. Out: a frame; or the batch,
//! its columns viewed where the bytes stand. Never: bytes decoded before their checksum agreed, memory asked for by an
//! unchecked length, an array that arrow has not fully validated, a schema (it comes once a stream, the caller knows
//! it).
//!
//! All numbers are little-endian. A frame is a multiple of 64 bytes, so that frames written one behind the other begin,
//! and all their columns stand, at multiples of 64 wherever the first does.
//!
//! ```text
//! offset  bytes  what
//!      0      4  magic "WNDF"
//!      4      2  version, 1
//!      6      2  flags, 0 (kept for compression)
//!      8      8  job
//!     16      4  epoch
//!     20      4  stage
//!     24      4  round
//!     28      4  task
//!     32      4  attempt
//!     36      2  group
//!     38      2  column count
//!     40      8  sequence: 0, 1, … within (attempt, group)
//!     48      4  rows
//!     52      4  array count a: the columns and all their children
//!     56      4  buffer count b
//!     60      4  head bytes h: from the magic to the end of the header checksum, a multiple of 64
//!     64      8  payload bytes p, a multiple of 64
//!     72      8  payload checksum: XXH3-64 of the payload, padding included
//!     80     8a  arrays, each followed by its children:
//!                    0  4  length in rows
//!                    4  1  layout, as below
//!                    5  1  1 when a validity bitmap is among its buffers, else 0
//!                    6  2  0
//!  80+8a     4b  buffers, in the order of the arrays, bytes of each without its padding
//!      …         zeros
//!    h−8      8  header checksum: XXH3-64 of the h − 8 bytes before it
//!      h      p  payload: the buffers, each padded to a multiple of 64
//! ```
//!
//! | layout | types | buffers, after the validity if it is there | children |
//! |---|---|---|---|
//! | 0 | null | | |
//! | 1 | boolean | bits | |
//! | 2 | numbers, dates, decimals …, fixed-size binary | values | |
//! | 3, 4 | string and binary, large string and large binary | offsets from 0, one more than rows; bytes | |
//! | 5 | string view, binary view | views; bytes of the long ones | |
//! | 6, 7 | list and map, large list | offsets from 0, one more than rows | elements |
//! | 8 | fixed-size list | | elements |
//! | 9 | struct | | one a field |
//! | 10 | dictionary | codes | values |
//!
//! A slice is written as if it were whole: bits from bit 0, offsets from 0, only the bytes that rows refer to, only the
//! used values of a dictionary that has more values than rows. The decoder takes nothing else: each length must be
//! exactly what layout and rows say. Unions, run-end encoding and list views are not carried (`Kind::Unsupported`).

use std::fmt;
use std::sync::Arc;

use crate::batch::ArrowError;
use crate::batch::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    UInt64Array, make_array,
};
use crate::batch::buffer::{Buffer, NullBuffer};
use crate::batch::compute::take;
use crate::batch::datatypes::{ByteViewType, DataType, SchemaRef};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Cause, Kind};

// Columns are written as they stand in memory.
#[cfg(target_endian = "big")]
compile_error!("windrow's frames need a processor that stores the low byte first");

const MAGIC: [u8; 4] = *b"WNDF";
const VERSION: u16 = 1;
/// Columns stand at multiples of this: a cache line, and the widest vector.
const ALIGNMENT_BYTES: usize = 64;

/// Where the fields of the head stand that are written or read apart from the others.
const PAYLOAD_CHECKSUM_AT: usize = 72;
/// The head up to its tables.
const FIXED_BYTES: usize = 80;
const ARRAY_ENTRY_BYTES: usize = 8;
const BUFFER_ENTRY_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 8;

/// Longest frame. They are cut at 256 KiB to 1 MiB; a single row of great values may need more.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Most columns of a frame.
pub const COLUMNS_MAX: usize = 4096;
/// Most arrays: columns with all their children.
pub const ARRAYS_MAX: usize = 8192;
/// Most buffers: no layout has more than a validity and two others.
pub const BUFFERS_MAX: usize = 3 * ARRAYS_MAX;
/// Most rows of a frame, and of each child: what needs no bytes at all (nulls, empty structs) must end too.
pub const ROWS_MAX: usize = 1 << 26;
/// Deepest nesting of a type: decoding recurses.
pub const DEPTH_MAX: usize = 32;

const HEAD_BYTES_MAX: usize = head_bytes(ARRAYS_MAX, BUFFERS_MAX);
const _: () = assert!(COLUMNS_MAX <= u16::MAX as usize && COLUMNS_MAX <= ARRAYS_MAX);
const _: () = assert!(ROWS_MAX <= u32::MAX as usize);
const _: () = assert!(FRAME_BYTES_MAX <= u32::MAX as usize && FRAME_BYTES_MAX.is_multiple_of(ALIGNMENT_BYTES));
// The tables stay small beside what they describe.
const _: () = assert!(HEAD_BYTES_MAX <= FRAME_BYTES_MAX / 64);

/// How long the head is with so many arrays and buffers.
const fn head_bytes(array_count: usize, buffer_count: usize) -> usize {
    let tables = ARRAY_ENTRY_BYTES * array_count + BUFFER_ENTRY_BYTES * buffer_count;
    (FIXED_BYTES + tables + CHECKSUM_BYTES).next_multiple_of(ALIGNMENT_BYTES)
}

/// A number with a name of its own, so that two cannot be swapped.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// Which job.
    JobId(u64)
}
number! {
    /// Which life of the worker or coordinator that wrote: what an older life wrote is fenced off.
    Epoch(u32)
}
number! {
    /// Which stage of the job's plan.
    StageId(u32)
}
number! {
    /// Which turn of a loop; 0 outside of loops.
    Round(u32)
}
number! {
    /// Which task of the stage.
    TaskId(u32)
}
number! {
    /// Which try at the task, from 0.
    AttemptId(u32)
}
number! {
    /// Which group of the exchange, from 0.
    GroupId(u16)
}
number! {
    /// Which frame of an attempt's group, from 0.
    Sequence(u64)
}

/// Whose rows a frame holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameHeader {
    /// Which job.
    pub job: JobId,
    /// Which life of the worker.
    pub epoch: Epoch,
    /// Which stage.
    pub stage: StageId,
    /// Which turn of a loop.
    pub round: Round,
    /// Which task.
    pub task: TaskId,
    /// Which try.
    pub attempt: AttemptId,
    /// Which group.
    pub group: GroupId,
    /// Which frame of the group.
    pub sequence: Sequence,
}

/// What a frame says of itself, its head's checksum compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Whose rows.
    pub header: FrameHeader,
    /// How many.
    pub rows: usize,
    /// How many columns.
    pub column_count: usize,
    /// From the magic to the payload.
    pub head_bytes: usize,
    /// From there to the end.
    pub payload_bytes: usize,
    array_count: usize,
    buffer_count: usize,
    payload_checksum: u64,
}

impl FrameHead {
    /// The whole frame.
    pub fn frame_bytes(&self) -> usize {
        self.head_bytes + self.payload_bytes
    }
}

/// What a reader accepts. It can ask for less than the engine's own bounds, not for more.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// Longest frame, at most [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: usize,
    /// Most columns, at most [`COLUMNS_MAX`].
    pub columns_max: usize,
    /// Most buffers, at most [`BUFFERS_MAX`].
    pub buffers_max: usize,
    /// Most rows of a frame and of each child, at most [`ROWS_MAX`].
    pub rows_max: usize,
}

impl Default for FrameLimits {
    fn default() -> FrameLimits {
        FrameLimits {
            frame_bytes_max: FRAME_BYTES_MAX,
            columns_max: COLUMNS_MAX,
            buffers_max: BUFFERS_MAX,
            rows_max: ROWS_MAX,
        }
    }
}

/// Why a batch is no frame, or bytes are none.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Fewer or more bytes than the frame's own.
    #[error("read a frame of {expected_bytes} bytes from {found_bytes} bytes")]
    Length {
        /// What there should be.
        expected_bytes: usize,
        /// What there is.
        found_bytes: usize,
    },
    /// Something else stands there.
    #[error("read a frame where none begins: found {found:02x?}")]
    Magic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// Written by another version.
    #[error(
        "read a frame of version {version} with flags {flags:#x}; this build reads version {VERSION} without flags"
    )]
    Version {
        /// Its version.
        version: u16,
        /// Its flags.
        flags: u16,
    },
    /// A bit has flipped.
    #[error("read a frame whose {part} has checksum {computed:#018x}, not {stored:#018x}")]
    Checksum {
        /// "head" or "payload".
        part: &'static str,
        /// What the bytes give.
        computed: u64,
        /// What the frame says.
        stored: u64,
    },
    /// A bound was reached.
    #[error("a frame with {found} {what}, more than {max}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: usize,
        /// How much may be.
        max: usize,
    },
    /// The head's numbers do not fit each other.
    #[error("read a frame whose {what} is {found}, not {expected}")]
    Shape {
        /// Which number.
        what: &'static str,
        /// What it is.
        found: usize,
        /// What follows from the others.
        expected: usize,
    },
    /// The frame is of another schema than the stream.
    #[error("read column {column} of a frame as {data_type}, but it is stored as layout {layout}")]
    Schema {
        /// Which column, from 0.
        column: usize,
        /// What the schema says.
        data_type: DataType,
        /// What the frame says.
        layout: u8,
    },
    /// Arrow refuses what the buffers hold: offsets that fall, text that is no UTF-8, codes beyond the dictionary.
    #[error("read column {column} of a frame")]
    Column {
        /// Which column, from 0.
        column: usize,
        /// Arrow's own.
        #[source]
        source: ArrowError,
    },
    /// The columns are no batch of the schema: a null where none may be.
    #[error("make a batch of a frame's columns")]
    Batch {
        /// Arrow's own.
        #[source]
        source: ArrowError,
    },
    /// No layout is defined for the type.
    #[error("column {column} has type {data_type}, which frames do not carry")]
    Unsupported {
        /// Which column, from 0.
        column: usize,
        /// The type, perhaps of a child.
        data_type: DataType,
    },
    /// Arrow could not gather the used values of a dictionary.
    #[error("write column {column} to a frame")]
    Gather {
        /// Which column, from 0.
        column: usize,
        /// Arrow's own.
        #[source]
        source: ArrowError,
    },
}

impl Cause for FrameError {
    fn kind(&self) -> Kind {
        match self {
            FrameError::TooLarge { .. } => Kind::Limit,
            FrameError::Unsupported { .. } => Kind::Unsupported,
            FrameError::Gather { .. } => Kind::Internal,
            FrameError::Length { .. }
            | FrameError::Magic { .. }
            | FrameError::Version { .. }
            | FrameError::Checksum { .. }
            | FrameError::Shape { .. }
            | FrameError::Schema { .. }
            | FrameError::Column { .. }
            | FrameError::Batch { .. } => Kind::Corrupt,
        }
    }
}

/// How the rows of a type stand in buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Null,
    Bits,
    Fixed { width_bytes: usize },
    Bytes,
    LargeBytes,
    Views,
    List,
    LargeList,
    FixedList { size: usize },
    Struct,
    Dictionary { width_bytes: usize },
}

impl Layout {
    /// The layout of a type; none when frames do not carry it.
    fn of(data_type: &DataType) -> Option<Layout> {
        Some(match data_type {
            DataType::Null => Layout::Null,
            DataType::Boolean => Layout::Bits,
            DataType::Utf8 | DataType::Binary => Layout::Bytes,
            DataType::LargeUtf8 | DataType::LargeBinary => Layout::LargeBytes,
            DataType::Utf8View | DataType::BinaryView => Layout::Views,
            DataType::FixedSizeBinary(width) => Layout::Fixed { width_bytes: usize::try_from(*width).ok()? },
            DataType::List(_) | DataType::Map(..) => Layout::List,
            DataType::LargeList(_) => Layout::LargeList,
            DataType::FixedSizeList(_, size) => Layout::FixedList { size: usize::try_from(*size).ok()? },
            DataType::Struct(_) => Layout::Struct,
            DataType::Dictionary(key, _) if key.is_dictionary_key_type() => {
                Layout::Dictionary { width_bytes: key.primitive_width()? }
            }
            other => Layout::Fixed { width_bytes: other.primitive_width()? },
        })
    }

    /// Its number in the frame.
    fn code(self) -> u8 {
        match self {
            Layout::Null => 0,
            Layout::Bits => 1,
            Layout::Fixed { .. } => 2,
            Layout::Bytes => 3,
            Layout::LargeBytes => 4,
            Layout::Views => 5,
            Layout::List => 6,
            Layout::LargeList => 7,
            Layout::FixedList { .. } => 8,
            Layout::Struct => 9,
            Layout::Dictionary { .. } => 10,
        }
    }
}

// ── writing ──

/// Appends the frame of `batch` to `out`; returns its length in bytes, a multiple of 64.
///
/// For its columns to be aligned, `out` should end at a multiple of 64, as it does after a frame. On an error `out` is
/// as it was.
pub fn encode_frame(header: &FrameHeader, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<usize, FrameError> {
    let mut parts = Parts::default();
    let rows = parts.check("rows", batch.num_rows(), ROWS_MAX)?;
    let column_count = parts.check("columns", batch.num_columns(), COLUMNS_MAX)?;
    for (column, array) in batch.columns().iter().enumerate() {
        parts.column = column;
        parts.add_array(array.as_ref(), 0)?;
    }
    let head_bytes = head_bytes(parts.arrays.len(), parts.buffers.len());
    let frame_bytes = parts.check("bytes", head_bytes + parts.payload_bytes, FRAME_BYTES_MAX)?;

    let start = out.len();
    out.reserve(frame_bytes);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&0u16.to_le_bytes());
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
    out.extend_from_slice(&(parts.payload_bytes as u64).to_le_bytes());
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    for array in &parts.arrays {
        out.extend_from_slice(&(array.length as u32).to_le_bytes());
        out.extend_from_slice(&[array.layout, u8::from(array.has_validity), 0, 0]);
    }
    for buffer in &parts.buffers {
        out.extend_from_slice(&(buffer.len() as u32).to_le_bytes());
    }
    out.resize(start + head_bytes, 0);
    for buffer in &parts.buffers {
        out.extend_from_slice(buffer);
        // Counted from the frame's own begin, wherever that stands.
        out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT_BYTES), 0);
    }
    seal(&mut out[start..], head_bytes);
    Ok(frame_bytes)
}

/// Writes both checksums of a frame.
fn seal(frame: &mut [u8], head_bytes: usize) {
    let payload = xxh3_64(&frame[head_bytes..]);
    frame[PAYLOAD_CHECKSUM_AT..][..CHECKSUM_BYTES].copy_from_slice(&payload.to_le_bytes());
    let head = xxh3_64(&frame[..head_bytes - CHECKSUM_BYTES]);
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

// ── reading ──

/// How long the frame is that begins with `prefix`, which holds at least its first 80 bytes.
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
    compare("head", xxh3_64(signed), u64::from_le_bytes(*stored))?;
    Ok(head)
}

/// The batch of a frame, `bytes` being all of it: its columns are views of `bytes`, where these are aligned for their
/// type.
///
/// `schema`: the stream's, of the batches that were written.
pub fn decode_frame(
    bytes: Buffer,
    schema: &SchemaRef,
    limits: &FrameLimits,
) -> Result<(FrameHeader, RecordBatch), FrameError> {
    let head = decode_header(&bytes, limits)?;
    if bytes.len() != head.frame_bytes() {
        return Err(FrameError::Length { expected_bytes: head.frame_bytes(), found_bytes: bytes.len() });
    }
    compare("payload", xxh3_64(&bytes[head.head_bytes..]), head.payload_checksum)?;
    let expected = schema.fields().len();
    if head.column_count != expected {
        return Err(FrameError::Shape { what: "column count", found: head.column_count, expected });
    }

    let mut tables = Tables { bytes, next_array: 0, next_buffer: 0, at: head.head_bytes, head, column: 0, limits };
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
    if version != VERSION || flags != 0 {
        return Err(FrameError::Version { version, flags });
    }
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
    let expected = self::head_bytes(array_count, buffer_count);
    if head_bytes != expected {
        return Err(FrameError::Shape { what: "length of the head", found: head_bytes, expected });
    }
    let header = FrameHeader { job, epoch, stage, round, task, attempt, group, sequence };
    Ok(FrameHead { header, rows, column_count, head_bytes, payload_bytes, array_count, buffer_count, payload_checksum })
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
        ArrayData::builder(data_type.clone())
            .len(length)
            .null_bit_buffer(validity)
            .buffers(buffers)
            .child_data(children)
            // Copies a buffer that is not aligned for its type, which happens only when the frame itself is not.
            .align_buffers(true)
            // Validates lengths, offsets, text, codes: the bytes are somebody else's.
            .build()
            .map_err(|source| FrameError::Column { column, source })
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

    /// The next buffer, of any length within the payload.
    fn take_any_buffer(&mut self) -> Result<Buffer, FrameError> {
        let index = self.next_buffer;
        self.next_buffer += 1;
        if index >= self.head.buffer_count {
            return Err(FrameError::Shape { what: "buffer count", found: self.head.buffer_count, expected: index + 1 });
        }
        let table_at = FIXED_BYTES + ARRAY_ENTRY_BYTES * self.head.array_count;
        let bytes = Fields(&self.bytes[table_at + BUFFER_ENTRY_BYTES * index..]).u32() as usize;
        let start = self.at;
        self.at += bytes.next_multiple_of(ALIGNMENT_BYTES);
        if self.at > self.head.frame_bytes() {
            let expected = self.head.frame_bytes() - start;
            return Err(FrameError::Shape { what: "length of a buffer", found: bytes, expected });
        }
        Ok(self.bytes.slice_with_length(start, bytes))
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use crate::batch::array::{DictionaryArray, Int32Array, Int64Array, ListArray, StringArray, StringViewArray};
    use crate::batch::datatypes::{Field, Fields as ArrowFields, Int32Type, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::{Random, cases, random_batch};
    use crate::shuffle::Digest;

    const HEADER: FrameHeader = FrameHeader {
        job: JobId(0x0102_0304_0506_0708),
        epoch: Epoch(2),
        stage: StageId(3),
        round: Round(4),
        task: TaskId(5),
        attempt: AttemptId(6),
        group: GroupId(255),
        sequence: Sequence(8),
    };

    /// Where in the head the numbers begin that the decoder goes by.
    const COLUMN_COUNT_AT: usize = 38;

    fn encode(batch: &RecordBatch) -> Vec<u8> {
        let mut out = Vec::new();
        let frame_bytes = encode_frame(&HEADER, batch, &mut out).unwrap();
        assert_eq!(out.len(), frame_bytes);
        out
    }

    fn decode(bytes: Vec<u8>, schema: &SchemaRef) -> Result<(FrameHeader, RecordBatch), FrameError> {
        decode_frame(Buffer::from_vec(bytes), schema, &FrameLimits::default())
    }

    /// Numbers, texts of both layouts, nulls, a dictionary and a list.
    fn small_batch() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("number", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
            ("text", Arc::new(StringArray::from(vec!["one", "", "three"]))),
            ("view", Arc::new(StringViewArray::from(vec!["short", "longer than twelve bytes", "π"]))),
            ("dictionary", Arc::new(vec!["a", "b", "a"].into_iter().collect::<DictionaryArray<Int32Type>>())),
            (
                "list",
                Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
                    Some(vec![Some(1)]),
                    None,
                    Some(vec![None, Some(2)]),
                ])),
            ),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    proptest! {
        #![proptest_config(cases(512))]

        /// Batches of any types come back as they were; several frames in one buffer too.
        #[test]
        fn what_was_written_is_read(seed: u64) {
            let mut random = Random::new(seed);
            let batch = random_batch(&mut random);
            let mut out = encode(&small_batch());
            let start = out.len();
            let frame_bytes = encode_frame(&HEADER, &batch, &mut out).unwrap();
            prop_assert_eq!(super::frame_bytes(&out[start..], &FrameLimits::default()).unwrap(), frame_bytes);
            let head = decode_header(&out[start..], &FrameLimits::default()).unwrap();
            prop_assert_eq!((head.header, head.rows), (HEADER, batch.num_rows()));

            let frame = Buffer::from_vec(out).slice(start);
            let (header, read) = decode_frame(frame, &batch.schema(), &FrameLimits::default()).unwrap();
            prop_assert_eq!(header, HEADER);
            prop_assert_eq!(Digest::of(&read).unwrap(), Digest::of(&batch).unwrap());
            prop_assert_eq!(read, batch);
        }

        /// Wherever a frame stands, also where nothing is aligned.
        #[test]
        fn a_frame_may_stand_anywhere(seed: u64, shift in 0usize..70) {
            let batch = random_batch(&mut Random::new(seed));
            let mut out = vec![0; shift];
            encode_frame(&HEADER, &batch, &mut out).unwrap();
            let frame = Buffer::from_vec(out).slice(shift);
            let (_, read) = decode_frame(frame, &batch.schema(), &FrameLimits::default()).unwrap();
            prop_assert_eq!(read, batch);
        }

        #[test]
        fn a_flipped_bit_is_found(seed: u64, place: prop::sample::Index, bit in 0u8..8) {
            let batch = random_batch(&mut Random::new(seed));
            let mut bytes = encode(&batch);
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert!(decode(bytes, &batch.schema()).is_err());
        }

        #[test]
        fn a_cut_or_longer_frame_is_refused(seed: u64, place: prop::sample::Index) {
            let batch = random_batch(&mut Random::new(seed));
            let mut bytes = encode(&batch);
            let error = decode(bytes[..place.index(bytes.len())].to_vec(), &batch.schema()).unwrap_err();
            let is_refused = matches!(error, FrameError::Length { .. });
            prop_assert!(is_refused, "{}", error);
            bytes.push(0);
            let is_refused = matches!(decode(bytes, &batch.schema()), Err(FrameError::Length { .. }));
            prop_assert!(is_refused);
        }

        /// Somebody changes a frame and makes its checksums right again: an error or a valid batch, never a panic.
        #[test]
        fn hostile_bytes_make_no_broken_batch(seed: u64) {
            let mut random = Random::new(seed);
            let batch = random_batch(&mut random);
            let mut bytes = encode(&batch);
            let head_bytes = decode_header(&bytes, &FrameLimits::default()).unwrap().head_bytes;
            for _ in 0..1 + random.below(4) {
                // In the head behind the identity, half of the time.
                let end = if random.chance(50) { head_bytes } else { bytes.len() };
                let place = COLUMN_COUNT_AT + random.below(end - COLUMN_COUNT_AT);
                bytes[place] = random.next() as u8;
            }
            seal(&mut bytes, head_bytes);
            if let Ok((_, read)) = decode(bytes, &batch.schema()) {
                for column in read.columns() {
                    column.to_data().validate_full().unwrap();
                }
                Digest::of(&read).unwrap();
            }
        }

        /// Bytes that are no frame at all, and those that begin like one.
        #[test]
        fn noise_is_refused(mut noise: Vec<u8>, begins_well: bool) {
            if begins_well && noise.len() >= 8 {
                noise[..4].copy_from_slice(&MAGIC);
                noise[4..8].copy_from_slice(&[1, 0, 0, 0]);
            }
            prop_assert!(decode(noise, &small_batch().schema()).is_err());
        }
    }

    #[test]
    fn every_single_bit_matters() {
        let batch = small_batch();
        let bytes = encode(&batch);
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                assert!(decode(flipped, &batch.schema()).is_err(), "bit {bit} of byte {place}");
            }
        }
    }

    #[test]
    fn the_bytes_are_fixed() {
        let batch = RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![7, -1])) as ArrayRef)]).unwrap();
        let bytes = encode(&batch);
        let mut expected = Vec::new();
        expected.extend_from_slice(b"WNDF\x01\0\0\0");
        expected.extend_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
        expected.extend_from_slice(&[2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 255, 0, 1, 0]);
        expected.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 128, 0, 0, 0]);
        expected.extend_from_slice(&[64, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[..72], &expected);
        assert_eq!(&bytes[80..92], &[2, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(&bytes[128..136], &[7, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(bytes.len(), 192);
        assert_eq!(u64::from_le_bytes(*bytes[72..].first_chunk().unwrap()), xxh3_64(&bytes[128..]));
        assert_eq!(u64::from_le_bytes(*bytes[120..].first_chunk().unwrap()), xxh3_64(&bytes[..120]));
    }

    #[test]
    fn columns_are_views_of_the_frame() {
        let batch = small_batch();
        let frame = Buffer::from_vec(encode(&batch));
        let within = frame.as_ptr() as usize..frame.as_ptr() as usize + frame.len();
        let (_, read) = decode_frame(frame, &batch.schema(), &FrameLimits::default()).unwrap();
        for column in read.columns() {
            for buffer in column.to_data().buffers() {
                assert!(within.contains(&(buffer.as_ptr() as usize)) || buffer.is_empty());
            }
        }
    }

    #[test]
    fn another_schema_is_refused() {
        let bytes = encode(&small_batch());
        let fields = small_batch().schema().fields().clone();
        let with = |column: usize, data_type: DataType, is_nullable: bool| {
            let mut fields: Vec<_> = fields.iter().cloned().collect();
            fields[column] = Arc::new(Field::new("other", data_type, is_nullable));
            decode(bytes.clone(), &Arc::new(Schema::new(fields))).unwrap_err()
        };
        assert!(matches!(with(0, DataType::Int32, true), FrameError::Shape { .. }));
        assert!(matches!(with(0, DataType::Boolean, true), FrameError::Schema { column: 0, layout: 2, .. }));
        assert!(matches!(with(1, DataType::Utf8View, true), FrameError::Schema { column: 1, layout: 3, .. }));
        assert!(matches!(with(0, DataType::Int64, false), FrameError::Batch { .. }));
        let fewer = Arc::new(Schema::new(ArrowFields::from(fields[..4].to_vec())));
        assert!(matches!(decode(bytes.clone(), &fewer), Err(FrameError::Shape { what: "column count", .. })));
    }

    #[test]
    fn the_limits_hold() {
        let batch = small_batch();
        let bytes = encode(&batch);
        let all = FrameLimits::default();
        for limits in [
            FrameLimits { frame_bytes_max: bytes.len() - 1, ..all },
            FrameLimits { columns_max: 4, ..all },
            FrameLimits { buffers_max: 5, ..all },
            FrameLimits { rows_max: 2, ..all },
        ] {
            let error = decode_frame(Buffer::from_slice_ref(&bytes), &batch.schema(), &limits).unwrap_err();
            assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
            assert_eq!(error.kind(), Kind::Limit);
        }
        // A length without limit is refused before anything is read by it.
        let mut huge = bytes.clone();
        huge[64..72].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(frame_bytes(&huge, &all), Err(FrameError::TooLarge { what: "bytes", .. })));
    }

    #[test]
    fn too_much_is_refused_when_written() {
        let mut out = vec![1, 2, 3];
        let fields: Vec<_> =
            (0..COLUMNS_MAX + 1).map(|index| Field::new(index.to_string(), DataType::Null, true)).collect();
        let wide = RecordBatch::new_empty(Arc::new(Schema::new(fields)));
        assert!(matches!(encode_frame(&HEADER, &wide, &mut out), Err(FrameError::TooLarge { what: "columns", .. })));

        let big: ArrayRef = Arc::new(Int64Array::from(vec![0; FRAME_BYTES_MAX / 8]));
        let big = RecordBatch::try_from_iter([("big", big)]).unwrap();
        assert!(matches!(encode_frame(&HEADER, &big, &mut out), Err(FrameError::TooLarge { what: "bytes", .. })));

        // A million views of the same bytes: what they stand for is never made.
        let text = "x".repeat(1 << 16);
        let shared = take(&StringViewArray::from(vec![text]), &UInt64Array::from(vec![0; 1 << 20]), None).unwrap();
        let shared = RecordBatch::try_from_iter([("shared", shared)]).unwrap();
        assert!(matches!(encode_frame(&HEADER, &shared, &mut out), Err(FrameError::TooLarge { what: "bytes", .. })));

        let mut deep = DataType::Int32;
        for _ in 0..=DEPTH_MAX {
            deep = DataType::List(Arc::new(Field::new("item", deep, true)));
        }
        let deep = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("deep", deep, true)])));
        let error = encode_frame(&HEADER, &deep, &mut out).unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { what: "levels of nesting", .. }));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn a_great_dictionary_leaves_its_unused_values_behind() {
        let values: Vec<String> = (0..10_000).map(|value| format!("value number {value}")).collect();
        let keys = Int32Array::from(vec![Some(9_999), None, Some(3), Some(9_999)]);
        let dictionary: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(values))));
        let batch = RecordBatch::try_from_iter([("dictionary", dictionary)]).unwrap();
        let bytes = encode(&batch);
        assert!(bytes.len() < 1024);
        let (_, read) = decode(bytes, &batch.schema()).unwrap();
        assert_eq!(read.column(0).as_any_dictionary().values().len(), 2);
        assert_eq!(Digest::of(&read).unwrap(), Digest::of(&batch).unwrap());
    }

    #[test]
    fn a_type_that_is_not_carried_is_told() {
        let runs = DataType::RunEndEncoded(
            Arc::new(Field::new("run_ends", DataType::Int32, false)),
            Arc::new(Field::new("values", DataType::Int32, true)),
        );
        let batch = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("runs", runs, true)])));
        let error = encode_frame(&HEADER, &batch, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, FrameError::Unsupported { column: 0, .. }));
        assert_eq!(error.kind(), Kind::Unsupported);
    }
}
