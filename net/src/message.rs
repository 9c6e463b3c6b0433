//! The envelope of every message between peers: magic, version, kind, length, two checksums, payload.
//!
//! In: to [`encode`], a kind and a payload; to a [`Decoder`], chunks of a stream, cut anywhere. Out: bytes of one
//! message; the messages of a stream, in order. Never: a payload given out before its checksum was checked, memory
//! reserved for a length that was not checked, a look into the payload; no I/O (sans-IO, after quinn-proto: `handle_*`
//! takes, `poll_*` gives).
//!
//! All integers are little-endian, offsets and sizes in bytes:
//!
//! ```text
//!  0       4         6      8                12                16                 24
//!  ┌───────┬─────────┬──────┬────────────────┬─────────────────┬──────────────────┬───────────┐
//!  │ WNDM  │ version │ kind │ payload length │ header checksum │ payload checksum │ payload … │
//!  │ 4     │ u16     │ u16  │ u32            │ u32             │ u64              │           │
//!  └───────┴─────────┴──────┴────────────────┴─────────────────┴──────────────────┴───────────┘
//!  ╰──────────── covered by ────────────────╯ ◄── low 32 bits    ◄── XXH3-64 of ──╰───────────╯
//!                                                 of XXH3-64          the payload
//! ```
//!
//! Checks go in the order in which they can be trusted: the magic (is it ours at all), the version (every version has
//! magic and version in these places, nothing else is promised), the header's checksum (now kind and length mean
//! something), the length against its limit, and only then is memory reserved. XXH3 finds damage, not malice: that is
//! what TLS below is for.

use std::fmt;

use twox_hash::XxHash3_64;

use crate::{
    error::MessageError,
    limits::{HEADER_BYTES, PAYLOAD_BYTES_MAX},
};

/// The first four bytes of every message: Windrow message.
pub(crate) const MAGIC: [u8; 4] = *b"WNDM";

/// The version of the envelope that this crate writes and reads.
pub const MESSAGE_VERSION: u16 = 1;

/// Bytes at the head of the header that the header's checksum covers.
const COVERED_BYTES: usize = 12;

/// What a payload is, as a number of the protocol that uses this envelope. No number is reserved here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKind(pub u16);

impl fmt::Display for MessageKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// One message as it was encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the payload is.
    pub kind: MessageKind,
    /// The payload, `0..=PAYLOAD_BYTES_MAX` bytes, its checksum checked.
    pub payload: Vec<u8>,
}

/// Appends one message of `kind` with `payload` to `out`: [`HEADER_BYTES`] + `payload.len()` bytes.
///
/// # Errors
/// [`MessageError::TooLong`] if the payload has more than [`PAYLOAD_BYTES_MAX`] bytes; `out` is then as it was.
pub fn encode(kind: MessageKind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), MessageError> {
    let header = Header::of(kind, payload)?;
    out.reserve(HEADER_BYTES + payload.len());
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// The header alone of a message of `kind` with `payload`, for who sends the two without joining them.
///
/// # Errors
/// As [`encode`].
pub(crate) fn header_of(kind: MessageKind, payload: &[u8]) -> Result<[u8; HEADER_BYTES], MessageError> {
    Ok(Header::of(kind, payload)?.to_bytes())
}

/// Makes the chunks of one stream into messages again, holding at most one message.
///
/// The caller's loop, for each chunk that arrives:
///
/// ```
/// # use windrow_net::{Decoder, Message, MessageError};
/// fn messages_of(decoder: &mut Decoder, mut chunk: &[u8], out: &mut Vec<Message>) -> Result<(), MessageError> {
///     while !chunk.is_empty() {
///         chunk = &chunk[decoder.handle_bytes(chunk)..];
///         out.extend(decoder.poll_message()?);
///     }
///     Ok(())
/// }
/// ```
///
/// and once at the stream's end [`Decoder::finish`]. An error is final: the decoder repeats it and takes no further
/// message.
#[derive(Debug)]
pub struct Decoder {
    state: State,
}

/// `Header → Payload → Header → …`, one turn a message; from both to `Failed`, and never back.
#[derive(Debug)]
enum State {
    /// Invariant: `held < HEADER_BYTES`; a full header becomes one of the other states at once.
    Header {
        bytes: [u8; HEADER_BYTES],
        held: usize,
    },
    /// Invariant: `header` passed every check; `payload.len() <= header.payload_bytes`, equal means it waits to be
    /// polled.
    Payload {
        header: Header,
        payload: Vec<u8>,
    },
    Failed(MessageError),
}

impl State {
    const EMPTY: Self = Self::Header { bytes: [0; HEADER_BYTES], held: 0 };
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the beginning of a stream; holds no memory beyond itself yet.
    pub fn new() -> Self {
        Self { state: State::EMPTY }
    }

    /// Takes bytes from the front of `bytes`, at most to the end of the current message; returns how many were taken.
    ///
    /// That is the bound on memory: a message must be polled before bytes of the next one are taken, so 0 is returned
    /// while one waits. A failed decoder takes and drops all, so that the caller's loop reaches the poll that tells it.
    #[must_use = "bytes that were not taken must be given again after polling"]
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        if let State::Header { bytes: header, held } = &mut self.state {
            taken = bytes.len().min(HEADER_BYTES - *held);
            header[*held..*held + taken].copy_from_slice(&bytes[..taken]);
            *held += taken;
            if *held < HEADER_BYTES {
                return taken;
            }
            self.state = match Header::from_bytes(header) {
                Ok(header) => State::Payload { payload: Vec::with_capacity(header.payload_bytes), header },
                Err(error) => State::Failed(error),
            };
        }
        let rest = &bytes[taken..];
        match &mut self.state {
            State::Header { .. } => taken, // not reached: a full header has left this state above
            State::Payload { header, payload } => {
                let count = rest.len().min(header.payload_bytes - payload.len());
                payload.extend_from_slice(&rest[..count]);
                taken + count
            }
            State::Failed(_) => bytes.len(),
        }
    }

    /// The next message, or `None` while more bytes are needed.
    ///
    /// # Errors
    /// [`MessageError::NotOurs`], `Version`, `HeaderChecksum`, `TooLong` as soon as a whole header came,
    /// `PayloadChecksum` when the whole message came; from then on always the same error.
    pub fn poll_message(&mut self) -> Result<Option<Message>, MessageError> {
        match &mut self.state {
            State::Header { .. } => Ok(None),
            State::Failed(error) => Err(error.clone()),
            State::Payload { header, payload } if payload.len() < header.payload_bytes => Ok(None),
            State::Payload { header, payload } => match header.check(payload) {
                Ok(()) => {
                    let message = Message { kind: header.kind, payload: std::mem::take(payload) };
                    self.state = State::EMPTY;
                    Ok(Some(message))
                }
                Err(error) => {
                    self.state = State::Failed(error.clone());
                    Err(error)
                }
            },
        }
    }

    /// Ends the stream: was all that came given out?
    ///
    /// # Errors
    /// [`MessageError::Truncated`] if the stream ended inside a message, [`MessageError::NotPolled`] if one still
    /// waits, and the earlier error of a decoder that failed.
    pub fn finish(self) -> Result<(), MessageError> {
        match self.state {
            State::Header { held: 0, .. } => Ok(()),
            State::Header { held, .. } => Err(MessageError::Truncated { held, needed: HEADER_BYTES }),
            State::Failed(error) => Err(error),
            State::Payload { header, payload } if payload.len() < header.payload_bytes => {
                Err(MessageError::Truncated {
                    held: HEADER_BYTES + payload.len(),
                    needed: HEADER_BYTES + header.payload_bytes,
                })
            }
            State::Payload { header, payload } => {
                header.check(&payload)?;
                Err(MessageError::NotPolled { kind: header.kind, bytes: payload.len() })
            }
        }
    }
}

/// A header's fields; magic and version are implied, for there is one of each.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: MessageKind,
    /// Invariant: `<= PAYLOAD_BYTES_MAX`, whether made here or read.
    payload_bytes: usize,
    payload_checksum: u64,
}

impl Header {
    fn of(kind: MessageKind, payload: &[u8]) -> Result<Self, MessageError> {
        let payload_bytes = within_limit(payload.len())?;
        Ok(Self { kind, payload_bytes, payload_checksum: XxHash3_64::oneshot(payload) })
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&MESSAGE_VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.kind.0.to_le_bytes());
        // Lossless: the limit is below u32::MAX, proved in `limits.rs`.
        bytes[8..12].copy_from_slice(&(self.payload_bytes as u32).to_le_bytes());
        let checksum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.payload_checksum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, MessageError> {
        let magic = field::<4>(bytes, 0);
        if magic != MAGIC {
            return Err(MessageError::NotOurs { found: magic });
        }
        let version = u16::from_le_bytes(field(bytes, 4));
        if version != MESSAGE_VERSION {
            return Err(MessageError::Version { found: version, supported: MESSAGE_VERSION });
        }
        let (found, stated) = (header_checksum(bytes), u32::from_le_bytes(field(bytes, 12)));
        if found != stated {
            return Err(MessageError::HeaderChecksum { found, stated });
        }
        Ok(Self {
            kind: MessageKind(u16::from_le_bytes(field(bytes, 6))),
            payload_bytes: within_limit(u32::from_le_bytes(field(bytes, 8)) as usize)?,
            payload_checksum: u64::from_le_bytes(field(bytes, 16)),
        })
    }

    fn check(&self, payload: &[u8]) -> Result<(), MessageError> {
        if XxHash3_64::oneshot(payload) == self.payload_checksum {
            Ok(())
        } else {
            Err(MessageError::PayloadChecksum { kind: self.kind, bytes: payload.len() })
        }
    }
}

/// The same limit on both sides: what one peer may write, the other must read.
fn within_limit(payload_bytes: usize) -> Result<usize, MessageError> {
    if payload_bytes <= PAYLOAD_BYTES_MAX {
        Ok(payload_bytes)
    } else {
        Err(MessageError::TooLong { bytes: payload_bytes, limit: PAYLOAD_BYTES_MAX })
    }
}

/// The low half is kept, as the upper would do: all bits of XXH3-64 are equally mixed.
fn header_checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    XxHash3_64::oneshot(&bytes[..COVERED_BYTES]) as u32
}

/// `N` bytes at `offset`; the offsets are those of the drawing.
fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[offset..offset + N]);
    value
}
