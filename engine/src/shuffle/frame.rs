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
//!      4      2  version, 2
//!      6      2  flags: 0, each buffer as it stands in memory; 1, shorter by LZ4 where that helps; 2, by ZSTD
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
//!     64      8  payload bytes p, as they stand here, a multiple of 64
//!     72      8  payload checksum: XXH3-64 of the payload as it stands here, padding included
//!     80      8  hash sum: the sum of its rows' partition hashes, for the ledger; 0 where nobody counts
//!     88     8a  arrays, each followed by its children:
//!                    0  4  length in rows
//!                    4  1  layout, as below
//!                    5  1  1 when a validity bitmap is among its buffers, else 0
//!                    6  2  0
//!  88+8a     eb  buffers, in the order of the arrays; e is 4 with flags 0, else 8:
//!                    0  4  bytes here, without the padding
//!                    4  4  bytes in memory, with other flags than 0 only: as many as here when the buffer stands as
//!                          it is, more when it was made shorter; never fewer
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
//! exactly what layout and rows say. A frame with flags 0 is viewed in place; with others, the buffers that were made
//! shorter get memory of their own, for all of them together no more than a frame may have, which is checked before the
//! first. Unions, run-end encoding and list views are not carried (`Kind::Unsupported`).

use std::{io, sync::Arc};

use crate::batch::ArrowError;
use crate::batch::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    UInt64Array, make_array,
};
use crate::batch::buffer::{Buffer, NullBuffer};
use crate::batch::compute::take;
use crate::batch::datatypes::{ByteViewType, DataType, SchemaRef};
use twox_hash::XxHash3_64;

pub use super::numbers::{AttemptId, Epoch, GroupId, JobId, Round, Sequence, StageId, TaskId};
use crate::error::{Cause, Kind};

mod codec; // Codec: None, Lz4, Zstd
mod decode; // frame_bytes, decode_header, check_frame, decode_frame
mod encode; // encode_frame, encode_frame_with
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

pub use codec::{Codec, CodecError};
pub use decode::{check_frame, decode_frame, decode_header, frame_bytes};
pub use encode::{encode_frame, encode_frame_with};

// Columns are written as they stand in memory.
#[cfg(target_endian = "big")]
compile_error!("windrow's frames need a processor that stores the low byte first");

const MAGIC: [u8; 4] = *b"WNDF";
const VERSION: u16 = 2;
/// Columns stand at multiples of this: a cache line, and the widest vector.
const ALIGNMENT_BYTES: usize = 64;

/// Where the fields of the head stand that are written or read apart from the others.
const PAYLOAD_BYTES_AT: usize = 64;
const PAYLOAD_CHECKSUM_AT: usize = PAYLOAD_BYTES_AT + 8;
/// The head up to its tables.
const FIXED_BYTES: usize = 88;
/// So many bytes of a frame tell how long it is.
pub const FRAME_PREFIX_BYTES: usize = FIXED_BYTES;
const ARRAY_ENTRY_BYTES: usize = 8;
/// With a codec: bytes here, bytes in memory. Without, only the first.
const BUFFER_ENTRY_BYTES_MAX: usize = 8;
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

const HEAD_BYTES_MAX: usize = head_bytes(ARRAYS_MAX, BUFFERS_MAX, BUFFER_ENTRY_BYTES_MAX);
const _: () = assert!(COLUMNS_MAX <= u16::MAX as usize && COLUMNS_MAX <= ARRAYS_MAX);
const _: () = assert!(ROWS_MAX <= u32::MAX as usize);
const _: () = assert!(FRAME_BYTES_MAX <= u32::MAX as usize && FRAME_BYTES_MAX.is_multiple_of(ALIGNMENT_BYTES));
// The tables stay small beside what they describe.
const _: () = assert!(HEAD_BYTES_MAX <= FRAME_BYTES_MAX / 64);

/// How long an entry of the table of buffers is.
fn buffer_entry_bytes(codec: Codec) -> usize {
    if codec == Codec::None { BUFFER_ENTRY_BYTES_MAX / 2 } else { BUFFER_ENTRY_BYTES_MAX }
}

/// How long the head is with so many arrays and buffers.
const fn head_bytes(array_count: usize, buffer_count: usize, buffer_entry_bytes: usize) -> usize {
    let tables = ARRAY_ENTRY_BYTES * array_count + buffer_entry_bytes * buffer_count;
    (FIXED_BYTES + tables + CHECKSUM_BYTES).next_multiple_of(ALIGNMENT_BYTES)
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
    /// The sum of its rows' partition hashes; 0 on an edge without keys, and where frames are not counted. Several
    /// frames of a group may have theirs in one of them: what counts is the group's.
    pub hash_sum: u64,
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
    /// What made its buffers shorter, if anything.
    pub codec: Codec,
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
        "read a frame of version {version} with flags {flags:#x}; this build reads version {VERSION}, flags 0 to 2"
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
    /// A compressed buffer is not what the codec makes of so many bytes.
    #[error("decompress column {column} of a frame by {codec}")]
    Decompress {
        /// Which column, from 0.
        column: usize,
        /// By which codec.
        codec: Codec,
        /// What is wrong.
        #[source]
        source: CodecError,
    },
    /// The codec cannot be set up: it has no memory for its tables.
    #[error("set up {codec} for a frame")]
    Compress {
        /// Which codec.
        codec: Codec,
        /// Its own.
        #[source]
        source: io::Error,
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
            FrameError::Unsupported { .. } | FrameError::Version { .. } => Kind::Unsupported,
            FrameError::Gather { .. } | FrameError::Compress { .. } => Kind::Internal,
            FrameError::Length { .. }
            | FrameError::Magic { .. }
            | FrameError::Decompress { .. }
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
