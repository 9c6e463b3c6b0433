//! What the engine sees of the network: links to peers, messages, answers pulled over them, and what happened, as events.
//!
//! In: calls from any thread. Out: [`Event`]s, on the network's own thread. Never: a call that waits (but for
//! [`Network::shutdown`] and [`crate::Pull::read`], which say so); `async`, which `quic.rs` keeps to itself.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::{
    answer::Answer,
    error::{NetError, Refusal, Wait},
    limits::Limits,
    message::{Message, MessageKind},
    peer::{Peer, Role},
    pull::Pull,
    quic::Engine,
    tls::Identity,
};

/// A link of one network, for its whole life; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) u64);

impl fmt::Display for LinkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// How a network is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who we are and whom we trust.
    pub identity: Identity,
    /// Where to listen, and from where to connect; port 0 for any.
    pub bind: SocketAddr,
    /// What may happen before we say no.
    pub limits: Limits,
    /// Version of the protocol that the messages' kinds and payloads belong to; peers must have the same.
    pub program_version: u32,
    /// Which roles may connect to us; empty for a network that only connects.
    pub accepts: Vec<Role>,
}

/// What happened. Events of one link come in their order.
#[derive(Debug)]
pub enum Event {
    /// Certificate, cluster, role and version of the peer are right; messages may be sent. Comes before all else of a link.
    Up {
        /// The link: one of ours, or a new one of a peer that connected.
        link: LinkId,
        /// Who it is, as the authority says.
        peer: Peer,
        /// Where it is.
        address: SocketAddr,
    },
    /// The peer sent a message.
    Message {
        /// Over this link.
        link: LinkId,
        /// The message.
        message: Message,
    },
    /// The peer asks for an answer.
    Asked {
        /// Over this link.
        link: LinkId,
        /// Who asks.
        peer: Peer,
        /// What it asks.
        request: Message,
        /// Where the answer goes.
        answer: Answer,
    },
    /// The link is over: also one that never came up. Exactly once for each [`Network::link`] and each [`Event::Up`].
    Down {
        /// The link.
        link: LinkId,
        /// Why.
        cause: NetError,
    },
    /// A peer connected and was not let in, or gave up before it was.
    Refused {
        /// Where it is.
        address: SocketAddr,
        /// Why.
        cause: NetError,
    },
}

/// One peer's end of all its links. Clones are the same network; it is shut down with the last of them.
#[derive(Clone)]
pub struct Network {
    engine: Arc<Engine>,
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Network").field("address", &self.local_address()).finish_non_exhaustive()
    }
}

impl Network {
    /// Binds a socket and starts the thread `windrow-net`.
    ///
    /// `on_event` is called on that thread and must not hold it up: everything else of the network waits meanwhile. It may
    /// call every method here but [`crate::Pull::read`]. If it holds a `Network` itself, end that with
    /// [`Network::shutdown`], as the two then keep each other alive.
    ///
    /// # Errors
    /// [`NetError::Limits`], [`NetError::Certify`], [`NetError::Start`].
    pub fn start(options: Options, on_event: impl Fn(Event) + Send + Sync + 'static) -> Result<Self, NetError> {
        options.limits.check()?;
        Ok(Self { engine: Arc::new(Engine::start(options, Box::new(on_event))?) })
    }

    /// Where this network listens.
    pub fn local_address(&self) -> SocketAddr {
        self.engine.local_address()
    }

    /// Connects in the background; [`Event::Up`] or [`Event::Down`] tells how it ended, within `connect` + `hello` of the
    /// [`Limits`]. A peer of another role than `expected` is not linked.
    pub fn link(&self, address: SocketAddr, expected: Role) -> LinkId {
        self.engine.link(address, expected)
    }

    /// Sends a message over a link. Messages arrive in the order of the calls, or the link goes down; they wait in a bounded
    /// queue until the peer takes them.
    ///
    /// # Errors
    /// [`NetError::NotUp`], [`NetError::QueueFull`], [`NetError::Encode`] (over the limit); the message is then not sent,
    /// and the link goes on.
    pub fn send(&self, link: LinkId, kind: MessageKind, payload: Vec<u8>) -> Result<(), NetError> {
        self.engine.send(link, kind, payload)
    }

    /// Asks the peer, over a stream of its own, and pulls its answer, of which at most `window_bytes` wait here unread (and
    /// at most `stream_window_bytes` of the [`Limits`] in QUIC behind them). What is wrong comes out of the [`Pull`].
    pub fn ask(&self, link: LinkId, kind: MessageKind, payload: Vec<u8>, window_bytes: usize) -> Pull {
        self.engine.ask(link, kind, payload, window_bytes)
    }

    /// Ends a link, once the peer has the messages sent before, or after `farewell` of the [`Limits`]. Answers under way
    /// are cut.
    pub fn close(&self, link: LinkId) {
        self.engine.close(link);
    }

    /// Shows another certificate from now on, and trusts by it; links that are up stay as they are.
    ///
    /// # Errors
    /// [`NetError::Certify`] if key and certificate do not fit, [`NetError::Name`] if it is of another peer.
    pub fn renew(&self, identity: &Identity) -> Result<(), NetError> {
        self.engine.renew(identity)
    }

    /// What was done until now.
    pub fn counters(&self) -> Counters {
        self.engine.counts().read()
    }

    /// Ends all links at once, tells the peers, and waits for the thread (not on the thread itself). Further calls do
    /// nothing; links get [`NetError::ShutDown`].
    pub fn shutdown(&self) {
        self.engine.shutdown();
    }
}

/// Counts since the start, but `links` and `pulls`, which are of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Links that are up.
    pub links: usize,
    /// Links of ours that came up.
    pub links_dialed: u64,
    /// Links of peers that came up.
    pub links_accepted: u64,
    /// Peers that connected and were not let in.
    pub refused: RefusedCounters,
    /// Messages taken to be sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Requests that we asked.
    pub asks: u64,
    /// Requests of peers.
    pub asked: u64,
    /// Answers being pulled.
    pub pulls: usize,
    /// Bytes of answers given to QUIC, without what frames them.
    pub bulk_bytes_sent: u64,
    /// Bytes of answers received, without what frames them.
    pub bulk_bytes_received: u64,
}

/// Peers that were not let in, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedCounters {
    /// Their certificate, or ours in their eyes.
    pub certificate: u64,
    /// Their role or cluster, or ours in their eyes.
    pub role: u64,
    /// Another version of the protocol.
    pub version: u64,
    /// Too many links or handshakes.
    pub busy: u64,
    /// Too slow.
    pub deadline: u64,
    /// Anything else.
    pub other: u64,
}

/// The counters while they run.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub links: AtomicUsize,
    pub links_dialed: AtomicU64,
    pub links_accepted: AtomicU64,
    pub messages_sent: AtomicU64,
    pub messages_received: AtomicU64,
    pub asks: AtomicU64,
    pub asked: AtomicU64,
    pub pulls: AtomicUsize,
    pub bulk_bytes_sent: AtomicU64,
    pub bulk_bytes_received: AtomicU64,
    refused: [AtomicU64; 6],
}

impl Counts {
    pub(crate) fn count_refused(&self, cause: &NetError) {
        let place = match cause {
            NetError::Certificate { .. } | NetError::RefusedByPeer { refusal: Refusal::Certificate { .. }, .. } => 0,
            NetError::Role { .. }
            | NetError::Cluster { .. }
            | NetError::RefusedByPeer { refusal: Refusal::Role | Refusal::Cluster, .. } => 1,
            NetError::Version { .. } => 2,
            NetError::TooManyLinks { .. } | NetError::TooManyHandshakes { .. } => 3,
            NetError::Deadline { wait: Wait::Handshake | Wait::Hello, .. } => 4,
            _ => 5,
        };
        self.refused[place].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Counters {
        let whole = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [certificate, role, version, busy, deadline, other] = self.refused.each_ref().map(whole);
        Counters {
            links: self.links.load(Ordering::Relaxed),
            links_dialed: whole(&self.links_dialed),
            links_accepted: whole(&self.links_accepted),
            refused: RefusedCounters { certificate, role, version, busy, deadline, other },
            messages_sent: whole(&self.messages_sent),
            messages_received: whole(&self.messages_received),
            asks: whole(&self.asks),
            asked: whole(&self.asked),
            pulls: self.pulls.load(Ordering::Relaxed),
            bulk_bytes_sent: whole(&self.bulk_bytes_sent),
            bulk_bytes_received: whole(&self.bulk_bytes_received),
        }
    }
}
