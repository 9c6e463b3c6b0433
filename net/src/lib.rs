//! Bytes between peers: for now the envelope in which every message of the control plane travels.
//!
//! In: a kind (a number) and a payload (bytes) on one side, chunks of bytes in any cut on the other. Out: the same kind
//! and payload, or a typed error. Never: it knows no batch and no plan, opens no socket, reads no clock; QUIC comes as
//! a skin over these values.

#![forbid(unsafe_code)]

mod error; // MessageError
mod limits; // HEADER_BYTES, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX
mod message; // encode, Decoder, Message, MessageKind, MESSAGE_VERSION

pub use error::MessageError;
pub use limits::{HEADER_BYTES, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
pub use message::{Decoder, MESSAGE_VERSION, Message, MessageKind, encode};
