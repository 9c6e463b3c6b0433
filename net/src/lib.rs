//! Bytes between peers over QUIC: identity, mutual TLS, links, messages, bulk streams.
//!
//! In: messages (a kind and a payload) and answers (pieces of bytes) on one side. Out: the same on the other side, in
//! order and whole, or a typed error within a deadline. Never: it knows no batch and no plan; a peer without a certificate
//! of the cluster's authority gets past the handshake; `async` outside of `quic/`.
//!
//! ```text
//!   Network ──► quic/ ──► endpoint.rs   one link: gates, hello, messages, deadlines     ┐
//!   (calls,     (quinn,   stream.rs     one answer: request, head, pieces, end          ├ values: no socket,
//!    events)     tokio)   message.rs    one message: its envelope                       ┘ no clock, no thread
//! ```
//!
//! `README.md` beside the crate shows how it is used. Three things differ from what one would expect of it: a peer that was not
//! let in is an event of its own ([`Event::Refused`]), as there is no link that could go down; an answer that breaks off ends
//! with a marked reason and not with a reset, which could carry no text; roles are judged right after TLS and not within,
//! so that both sides are told the reason.

#![forbid(unsafe_code)]

mod answer; // Answer: what a peer's request waits for
mod endpoint; // one end of a link as a value
mod error; // NetError and its parts, MessageError
mod limits; // Limits, HEADER_BYTES, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, …
pub mod measure; // how fast all of this is, between two processes
mod message; // encode, Decoder, Message, MessageKind, MESSAGE_VERSION
mod network; // Network, Options, Event, LinkId, Counters
mod peer; // Peer, Role
mod pull; // Pull, PullRead: an answer as it comes
mod quic; // the skin over quinn
pub mod simulated; // a network that is imagined, with a seed
mod stream; // a bulk stream as a value
mod tls; // Authority, Identity

pub use answer::Answer;
pub use error::{CertificateFlaw, MessageError, NetError, Refusal, Wait};
pub use limits::{
    HEADER_BYTES, Limits, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX, PIECE_BYTES_MAX, REASON_BYTES_MAX, REFUSAL_BYTES_MAX,
};
pub use message::{Decoder, MESSAGE_VERSION, Message, MessageKind, encode};
pub use network::{Counters, Event, LinkId, Network, Options, RefusedCounters};
pub use peer::{Peer, Role};
pub use pull::{Pull, PullRead};
pub use tls::{Authority, Identity};
