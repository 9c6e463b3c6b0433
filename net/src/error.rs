//! What can be wrong with a message.
//!
//! In: the facts at the place where the check failed. Out: [`MessageError`], whose sentence says what was tried, on
//! what and why. Never: a payload's bytes, which may be secret; a cause as text only.

use crate::message::{MAGIC, MessageKind};

/// Why bytes were not made into a message, or a message not into bytes.
///
/// After any of them a stream of messages has no known next boundary: close it. A new connection may succeed after
/// `HeaderChecksum`, `PayloadChecksum` and `Truncated` (the path damaged or cut the bytes); the others will come again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes do not begin with the magic: the peer speaks something else.
    #[error(
        "could not decode a message: it begins with \"{}\" instead of \"{}\", so this is not a windrow peer",
        found.escape_ascii(),
        MAGIC.escape_ascii()
    )]
    NotOurs {
        /// The four bytes in the place of the magic.
        found: [u8; 4],
    },
    /// The peer is a windrow of another envelope version; nothing after the version field was looked at.
    #[error("could not decode a message: it has envelope version {found}, this windrow speaks version {supported}")]
    Version {
        /// The version that the message states.
        found: u16,
        /// The version of this crate.
        supported: u16,
    },
    /// A payload is over the limit, when it was to be encoded or as a header states it.
    #[error("a message payload of {bytes} bytes is over the limit of {limit} bytes")]
    TooLong {
        /// Bytes of the payload.
        bytes: usize,
        /// Bytes it may have, [`crate::PAYLOAD_BYTES_MAX`].
        limit: usize,
    },
    /// Kind, length or the header's checksum itself were damaged on the way.
    #[error("could not decode a message header: its checksum is {found:#010x}, it states {stated:#010x}")]
    HeaderChecksum {
        /// Checksum of the header's bytes as they came.
        found: u32,
        /// Checksum that the header states.
        stated: u32,
    },
    /// The payload, or its checksum in the header, was damaged on the way.
    #[error(
        "could not decode a message of kind {kind}: its payload of {bytes} bytes does not have the checksum it states"
    )]
    PayloadChecksum {
        /// The message's kind; trustworthy, the header's checksum held.
        kind: MessageKind,
        /// Bytes of the payload.
        bytes: usize,
    },
    /// The stream ended inside a message.
    #[error("could not decode a message: the stream ended after {held} of at least {needed} bytes")]
    Truncated {
        /// Bytes of the message that came, header included.
        held: usize,
        /// Bytes it has: the whole message if its header came, else the header's size.
        needed: usize,
    },
    /// The stream was closed over a complete message that nobody took: a mistake of the caller, told so that no message
    /// is lost in silence.
    #[error("a message of kind {kind} with {bytes} bytes was still waiting when its stream was finished")]
    NotPolled {
        /// The message's kind.
        kind: MessageKind,
        /// Bytes of its payload.
        bytes: usize,
    },
}
