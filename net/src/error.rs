//! What can go wrong between peers: [`NetError`], and [`MessageError`] for the bytes of one message.
//!
//! In: the facts at the place where the check failed. Out: a typed error, whose sentence says what was tried, on what
//! and why. Never: a payload's bytes or a key, which are secret; a cause as text only.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    message::{MAGIC, MessageKind},
    network::LinkId,
    peer::{Peer, Role},
};

/// Why something between peers did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Limits that contradict each other.
    #[error("these limits cannot hold: {rule}")]
    Limits {
        /// The rule that they break.
        rule: &'static str,
    },
    /// A name that cannot stand in a certificate's URI.
    #[error("could not name a {what} \"{name}\": a name has 1 to 63 small letters, digits, '-', '_' and '.'")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Keys and certificates could not be made.
    #[error("could not {tried}: {detail}")]
    Certify {
        /// What was tried.
        tried: &'static str,
        /// What the library of certificates says.
        detail: String,
    },
    /// A file of keys or certificates could not be written or read.
    #[error("could not {tried} {}: {detail}", path.display())]
    File {
        /// What was tried.
        tried: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// A key that others than its owner may read.
    #[error("the key {} may be read by others (its mode is {mode:o}): set it to 600, and take a new key if it was seen", path.display())]
    KeyIsOpen {
        /// The key's file.
        path: PathBuf,
        /// Its mode's permission bits.
        mode: u32,
    },
    /// The socket or the thread of the network could not be had.
    #[error("could not {tried} at {address}: {detail}")]
    Start {
        /// What was tried.
        tried: &'static str,
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        detail: String,
    },
    /// The peer's certificate was judged here, and did not hold.
    #[error("could not trust the peer at {address}: its certificate {flaw}")]
    Certificate {
        /// The peer's address.
        address: SocketAddr,
        /// What is wrong with it.
        flaw: CertificateFlaw,
    },
    /// The peer has a good certificate of another cluster.
    #[error("the peer at {address} is {peer}, this is cluster {cluster}")]
    Cluster {
        /// The peer's address.
        address: SocketAddr,
        /// Who it is.
        peer: Peer,
        /// Our cluster.
        cluster: String,
    },
    /// The peer has a good certificate for another role.
    #[error("the peer at {address} is {peer}, and here only {} is let in", words(allowed))]
    Role {
        /// The peer's address.
        address: SocketAddr,
        /// Who it is.
        peer: Peer,
        /// Who would have been let in.
        allowed: Vec<Role>,
    },
    /// The peer speaks another version of the protocol above.
    #[error("the peer at {address} speaks version {theirs} of the protocol, we speak version {ours}")]
    Version {
        /// The peer's address.
        address: SocketAddr,
        /// Our version.
        ours: u32,
        /// The peer's version.
        theirs: u32,
    },
    /// The peer judged us, and closed the link.
    #[error("the peer at {address} refused us: {refusal}")]
    RefusedByPeer {
        /// The peer's address.
        address: SocketAddr,
        /// What it holds against us.
        refusal: Refusal,
    },
    /// What the peer sent is not of this protocol.
    #[error("the peer at {address} broke the protocol: {detail}")]
    Protocol {
        /// The peer's address.
        address: SocketAddr,
        /// What was wrong.
        detail: &'static str,
    },
    /// A message of the peer could not be read.
    #[error("could not read a message from the peer at {address}")]
    Message {
        /// The peer's address.
        address: SocketAddr,
        /// What was wrong with it.
        #[source]
        source: MessageError,
    },
    /// A message to be sent could not be written.
    #[error("could not write a message")]
    Encode {
        /// What was wrong with it.
        #[source]
        source: MessageError,
    },
    /// Something did not come in time.
    #[error("waited {after:?} for {wait} of the peer at {address}")]
    Deadline {
        /// The peer's address.
        address: SocketAddr,
        /// What was waited for.
        wait: Wait,
        /// How long.
        after: Duration,
    },
    /// A reader's own deadline passed; nothing is lost, it may read again.
    #[error("nothing came within {after:?}")]
    NotInTime {
        /// How long was waited.
        after: Duration,
    },
    /// Nothing came from the peer any more: it died, or the path to it did.
    #[error("the link to {address} is lost: {detail}")]
    Lost {
        /// The peer's address.
        address: SocketAddr,
        /// What QUIC says.
        detail: String,
    },
    /// The peer closed the link, in good order.
    #[error("the peer at {address} closed the link")]
    ClosedByPeer {
        /// The peer's address.
        address: SocketAddr,
    },
    /// We closed the link, in good order.
    #[error("the link was closed here")]
    ClosedHere,
    /// The network was shut down.
    #[error("the network was shut down")]
    ShutDown,
    /// There is no room for a further link.
    #[error("could not link to {address}: there are {limit} links already")]
    TooManyLinks {
        /// The address of the peer that was to be linked.
        address: SocketAddr,
        /// How many links there may be.
        limit: usize,
    },
    /// Peers begin more handshakes than are let in.
    #[error("refused a handshake of {address}: there are {limit} {what} already")]
    TooManyHandshakes {
        /// The address that it came from.
        address: SocketAddr,
        /// How many there may be.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// The link is not up: not yet, or no more.
    #[error("link {link} is not up")]
    NotUp {
        /// The link.
        link: LinkId,
    },
    /// More waits to be sent over a link than may wait.
    #[error("link {link} has {messages} messages with {bytes} bytes waiting, no more may wait")]
    QueueFull {
        /// The link.
        link: LinkId,
        /// Messages that wait.
        messages: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The peer refused the request, with the engine's own reason.
    #[error("the peer refused the request with code {code}")]
    Refused {
        /// The engine's code.
        code: u32,
        /// The engine's reason, as it encoded it; at most [`crate::REFUSAL_BYTES_MAX`].
        payload: Vec<u8>,
    },
    /// The peer could not go on with its answer.
    #[error("the peer broke off its answer: {reason}")]
    BrokenOff {
        /// Why.
        reason: String,
    },
    /// The peer let the request fall without an answer.
    #[error("the peer gave no answer and abandoned the request")]
    Abandoned,
    /// The stream of an answer was reset for a reason of the transport.
    #[error("the stream of the answer was reset with code {code}")]
    Reset {
        /// QUIC's code.
        code: u64,
    },
}

impl NetError {
    /// Whether the same attempt may succeed later, with nobody changing a setting or a certificate.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Deadline { .. }
            | Self::NotInTime { .. }
            | Self::Lost { .. }
            | Self::ClosedByPeer { .. }
            | Self::TooManyLinks { .. }
            | Self::TooManyHandshakes { .. }
            | Self::QueueFull { .. }
            | Self::BrokenOff { .. }
            | Self::Abandoned
            | Self::Reset { .. }
            | Self::NotUp { .. } => true,
            Self::RefusedByPeer { refusal, .. } => matches!(refusal, Refusal::Busy | Refusal::Deadline),
            Self::Message { source, .. } => matches!(
                source,
                MessageError::HeaderChecksum { .. }
                    | MessageError::PayloadChecksum { .. }
                    | MessageError::Truncated { .. }
            ),
            _ => false,
        }
    }
}

/// What is wrong with a certificate; completes "its certificate …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFlaw {
    /// None was shown.
    #[error("was not shown")]
    Missing,
    /// It chains to another authority.
    #[error("is not signed by this cluster's authority")]
    UnknownAuthority,
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// Its time has not come.
    #[error("is not valid yet (do the clocks agree?)")]
    NotYetValid,
    /// One of the two above; TLS has one alert for both, and so a peer cannot tell us which.
    #[error("has expired or is not valid yet")]
    OutOfDate,
    /// It names no peer.
    #[error("names no peer as windrow://cluster/role/name")]
    NoPeerName,
    /// Anything else.
    #[error("does not hold: {detail}")]
    Other {
        /// What TLS says.
        detail: String,
    },
}

/// What a peer held against us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Our certificate.
    #[error("our certificate {flaw}")]
    Certificate {
        /// What it found wrong.
        flaw: CertificateFlaw,
    },
    /// Our role: it lets others in, or expected another.
    #[error("our role is not let in")]
    Role,
    /// Our cluster is not its cluster.
    #[error("we are of another cluster")]
    Cluster,
    /// It has as many links or handshakes as it may have, or lets nobody in at all.
    #[error("it accepts no more links")]
    Busy,
    /// We did not say in time what was due.
    #[error("we were too slow")]
    Deadline,
    /// What we sent is not of its protocol.
    #[error("it does not understand us: {detail}")]
    Protocol {
        /// What it says.
        detail: String,
    },
}

/// What was waited for; completes "waited for … of the peer".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wait {
    /// The first answer to a connect, and the handshake.
    #[error("the handshake")]
    Handshake,
    /// The hello after it.
    #[error("the hello")]
    Hello,
    /// The request of a bulk stream.
    #[error("the request")]
    Request,
    /// A free stream, or the next byte of an answer.
    #[error("the next byte of an answer")]
    Answer,
    /// The taking of a byte that we sent.
    #[error("the taking of what was sent")]
    Taking,
}

/// Roles in a sentence.
fn words(roles: &[Role]) -> String {
    if roles.is_empty() {
        return "nobody".to_owned();
    }
    roles.iter().map(Role::to_string).collect::<Vec<_>>().join(" or ")
}

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
