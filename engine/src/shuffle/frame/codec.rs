//! Buffers made shorter: for slow disks and far links.
//!
//! In: a buffer as it stands in memory; or what a frame says it was made to. Out: fewer bytes, or none where there
//! would not be fewer; the buffer again. Never: asks for memory by a length that the caller has not checked; gives a
//! buffer of another length than the frame says.
//!
//! Each buffer is compressed alone, in the block form of its codec and without its lengths, which stand in the frame's
//! table. What does not fall under the next multiple of 64 stays as it is: numbers without a pattern cost one try.

use std::{fmt, io};

use lz4_flex::block::{self, CompressTable, DecompressError};
use zstd::bulk;

use crate::batch::buffer::{Buffer, MutableBuffer};

use super::{ALIGNMENT_BYTES, FrameError};

/// How the buffers of a frame are made shorter. Its number stands in the frame's flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all: they are viewed in place. Right for memory, a local disk, a near link.
    #[default]
    None,
    /// LZ4: cheap, for a link or disk that is slower than some hundred MB/s.
    Lz4,
    /// ZSTD at its fastest usual level: shorter, for a link or disk slower still.
    Zstd,
}

/// Level 1 is about twice as fast as the default level 3, for some percent of length.
const ZSTD_LEVEL: i32 = 1;

impl Codec {
    /// Its number in the flags.
    pub(super) fn flags(self) -> u16 {
        match self {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
        }
    }

    /// The codec of these flags, if this build knows them.
    pub(super) fn of_flags(flags: u16) -> Option<Codec> {
        [Codec::None, Codec::Lz4, Codec::Zstd].into_iter().find(|codec| codec.flags() == flags)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::None => "no codec",
            Codec::Lz4 => "LZ4",
            Codec::Zstd => "ZSTD",
        })
    }
}

/// Why compressed bytes are no buffer.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not LZ4's.
    #[error("read LZ4 bytes")]
    Lz4 {
        /// Its own.
        #[source]
        source: DecompressError,
    },
    /// Not ZSTD's.
    #[error("read ZSTD bytes")]
    Zstd {
        /// Its own.
        #[source]
        source: io::Error,
    },
    /// They end too early.
    #[error("read {found_bytes} bytes, not {expected_bytes}")]
    Length {
        /// What there is.
        found_bytes: usize,
        /// What the frame says.
        expected_bytes: usize,
    },
}

/// Shortens the buffers of one frame, with tables and room that they share.
pub(super) enum Compressor {
    None,
    Lz4 { table: CompressTable, room: Vec<u8> },
    Zstd { context: Box<bulk::Compressor<'static>>, room: Vec<u8> },
}

impl Compressor {
    pub(super) fn new(codec: Codec) -> Result<Compressor, FrameError> {
        Ok(match codec {
            Codec::None => Compressor::None,
            Codec::Lz4 => Compressor::Lz4 { table: CompressTable::default(), room: Vec::new() },
            Codec::Zstd => {
                let context =
                    bulk::Compressor::new(ZSTD_LEVEL).map_err(|source| FrameError::Compress { codec, source })?;
                Compressor::Zstd { context: Box::new(context), room: Vec::new() }
            }
        })
    }

    /// The buffer, shorter; none when it would not be.
    pub(super) fn shorten(&mut self, buffer: &[u8]) -> Option<&[u8]> {
        // Padded to the same length it would save nothing.
        if buffer.len() <= ALIGNMENT_BYTES {
            return None;
        }
        let (room, bytes) = match self {
            Compressor::None => return None,
            Compressor::Lz4 { table, room } => {
                let bytes_max = block::get_maximum_output_size(buffer.len());
                if room.len() < bytes_max {
                    room.resize(bytes_max, 0);
                }
                // The room suffices, which is all that can fail; a buffer that stays as it is would be right too.
                let bytes = block::compress_into_with_table(buffer, room, table).ok()?;
                (room, bytes)
            }
            Compressor::Zstd { context, room } => {
                room.clear();
                room.reserve(buffer.len());
                // Fails where it would be longer than what it was.
                let bytes = context.compress_to_buffer(buffer, room).ok()?;
                (room, bytes)
            }
        };
        let is_shorter = bytes.next_multiple_of(ALIGNMENT_BYTES) < buffer.len().next_multiple_of(ALIGNMENT_BYTES);
        if is_shorter { room.get(..bytes) } else { None }
    }
}

/// Makes the buffers of one frame what they were.
pub(super) enum Decompressor {
    None,
    Lz4,
    Zstd(bulk::Decompressor<'static>),
}

impl Decompressor {
    pub(super) fn new(codec: Codec) -> Result<Decompressor, FrameError> {
        Ok(match codec {
            Codec::None => Decompressor::None,
            Codec::Lz4 => Decompressor::Lz4,
            Codec::Zstd => {
                let context = bulk::Decompressor::new().map_err(|source| FrameError::Compress { codec, source })?;
                Decompressor::Zstd(context)
            }
        })
    }

    /// The buffer of exactly `bytes` bytes that `compressed` was made of. The caller has compared `bytes` with its
    /// limits.
    pub(super) fn restore(&mut self, compressed: &[u8], bytes: usize) -> Result<Buffer, CodecError> {
        // Both codecs write into a slice that is there: its zeros are the price of no unsafe.
        let mut buffer = MutableBuffer::from_len_zeroed(bytes);
        let found_bytes = match self {
            Decompressor::None => 0,
            Decompressor::Lz4 => {
                block::decompress_into(compressed, &mut buffer).map_err(|source| CodecError::Lz4 { source })?
            }
            Decompressor::Zstd(context) => context
                .decompress_to_buffer(compressed, buffer.as_slice_mut())
                .map_err(|source| CodecError::Zstd { source })?,
        };
        if found_bytes != bytes {
            return Err(CodecError::Length { found_bytes, expected_bytes: bytes });
        }
        Ok(buffer.into())
    }
}
