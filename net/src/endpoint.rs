//! One end of a link as a value: who may come in, the hello, messages in both directions, deadlines, farewell.
//!
//! In: bytes of the peer's control stream in any cut, messages to send, what became of the connection, the time. Out:
//! bytes for our control stream, [`SessionEvent`]s, the next deadline, a [`Farewell`] for the connection's end. Never: a
//! socket, a clock, a thread; `quic.rs` and the simulation drive the same code.
//!
//! Each side opens one stream to the other. The first thing on it is the hello, drawn here, then messages as drawn in
//! `message.rs`; all integers are little-endian:
//!
//! ```text
//!  0       4                  8                 12
//!  ┌───────┬──────────────────┬─────────────────┐
//!  │ WNDH  │ protocol version │ checksum        │   checksum: low 32 bits of XXH3-64 of bytes 0..8
//!  │ 4     │ u32              │ u32             │
//!  └───────┴──────────────────┴─────────────────┘
//! ```
//!
//! The version is that of the protocol above, which the envelopes carry; versions must be equal. Who the peer is says its
//! certificate alone, so the hello does not repeat it. The gates, in their order: certificate (`tls.rs`), cluster, role,
//! and with the hello the version; nothing of the peer reaches [`SessionEvent::Message`] before all four.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use bytes::Bytes;
use twox_hash::XxHash3_64;

use crate::{
    error::{NetError, Refusal, Wait},
    limits::{HEADER_BYTES, Limits},
    message::{Decoder, Message, MessageKind, header_of},
    network::LinkId,
    peer::{Peer, Role},
};

/// The first four bytes of a control stream: Windrow hello.
const HELLO_MAGIC: [u8; 4] = *b"WNDH";

/// Bytes of the hello.
const HELLO_BYTES: usize = 12;

/// What both ends of all our links have in common.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// Our cluster.
    pub cluster: String,
    /// Version of the protocol above.
    pub version: u32,
    /// Roles that may connect to us.
    pub accepts: Vec<Role>,
}

/// Who began the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// We did, towards a peer that should have this role.
    Dialed(Role),
    /// The peer did.
    Accepted,
}

/// What happened on a link, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionEvent {
    /// All gates are passed, messages flow. At most once, and first.
    Up(Peer),
    /// The peer sent a message.
    Message(Message),
    /// The link is over. Exactly once, and last.
    Down(NetError),
}

/// `Greeting → Up → Closing → Over`, or from any of them to `Over` at once.
#[derive(Debug)]
enum State {
    /// The peer's hello is awaited; `bytes[..held]` of it came.
    Greeting {
        bytes: [u8; HELLO_BYTES],
        held: usize,
    },
    Up,
    /// [`Session::close`] was called: what waits is sent, nothing new is taken, neither to send nor from the peer.
    Closing,
    Over(NetError),
}

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Session {
    link: LinkId,
    peer: Peer,
    address: SocketAddr,
    version: u32,
    limits: Limits,
    state: State,
    decoder: Decoder,
    /// Our hello, until it is given out.
    hello: Option<Bytes>,
    /// Invariant: at most `queue_messages_max` messages (a header and a payload each) with `queue_bytes_max` bytes.
    outbox: VecDeque<Bytes>,
    outbox_messages: usize,
    outbox_bytes: usize,
    events: VecDeque<SessionEvent>,
    /// Until when the hello must be here. `None` once it is.
    hello_due: Option<Duration>,
    /// Until when the peer must have taken what [`Session::poll_transmit`] gave last.
    taking_due: Option<Duration>,
    /// Until when a closing link waits for the peer.
    farewell_due: Option<Duration>,
}

impl Session {
    /// The end of a link whose handshake is done, with a peer whose certificate the cluster's authority signed.
    pub(crate) fn new(
        now: Duration,
        link: LinkId,
        gate: &Gate,
        side: Side,
        peer: Peer,
        address: SocketAddr,
        limits: &Limits,
    ) -> Self {
        let verdict = judge(gate, side, &peer, address);
        let mut session = Self {
            link,
            peer,
            address,
            version: gate.version,
            limits: limits.clone(),
            state: State::Greeting { bytes: [0; HELLO_BYTES], held: 0 },
            decoder: Decoder::new(),
            hello: Some(Bytes::copy_from_slice(&hello(gate.version))),
            outbox: VecDeque::new(),
            outbox_messages: 0,
            outbox_bytes: 0,
            events: VecDeque::new(),
            hello_due: Some(now + limits.hello),
            taking_due: None,
            farewell_due: None,
        };
        if let Err(cause) = verdict {
            session.end(cause);
        }
        session
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    /// Puts a message behind those that wait.
    ///
    /// # Errors
    /// [`NetError::NotUp`], [`NetError::QueueFull`], [`NetError::Encode`]; the message is then not sent, the link goes on.
    pub(crate) fn send(&mut self, kind: MessageKind, payload: Vec<u8>) -> Result<(), NetError> {
        if !matches!(self.state, State::Up) {
            return Err(NetError::NotUp { link: self.link });
        }
        let header = header_of(kind, &payload).map_err(|source| NetError::Encode { source })?;
        let bytes = HEADER_BYTES + payload.len();
        if self.outbox_messages == self.limits.queue_messages_max
            || self.outbox_bytes + bytes > self.limits.queue_bytes_max
        {
            return Err(NetError::QueueFull {
                link: self.link,
                messages: self.outbox_messages,
                bytes: self.outbox_bytes,
            });
        }
        self.outbox_messages += 1;
        self.outbox_bytes += bytes;
        self.outbox.push_back(Bytes::copy_from_slice(&header));
        self.outbox.push_back(Bytes::from(payload));
        Ok(())
    }

    /// Ends the link in good order: what waits is still sent, then [`Session::is_flushed`] holds.
    pub(crate) fn close(&mut self, now: Duration) {
        match self.state {
            State::Greeting { .. } => self.end(NetError::ClosedHere),
            State::Up => {
                self.state = State::Closing;
                self.farewell_due = Some(now + self.limits.farewell);
            }
            State::Closing | State::Over(_) => {}
        }
    }

    /// Whether a closing link has given out all that waited: finish the stream, and tell [`Session::handle_farewell`] once
    /// the peer has it.
    pub(crate) fn is_flushed(&self) -> bool {
        matches!(self.state, State::Closing) && self.hello.is_none() && self.outbox.is_empty()
    }

    /// The peer has all that a closing link sent.
    pub(crate) fn handle_farewell(&mut self) {
        self.end(NetError::ClosedHere);
    }

    /// The connection is gone, for this reason.
    pub(crate) fn handle_lost(&mut self, cause: NetError) {
        let cause = match (&self.state, cause) {
            // What came while we were leaving is not worth another word.
            (State::Closing, _) => NetError::ClosedHere,
            (_, cause) => cause,
        };
        self.end(cause);
    }

    /// Takes bytes of the peer's control stream.
    pub(crate) fn handle_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Greeting { .. } => self.greet(bytes),
                State::Up => self.receive(bytes),
                State::Closing | State::Over(_) => return,
            };
            bytes = &bytes[taken..];
        }
    }

    /// The peer's control stream ended: it closes in good order, unless it ended inside of something.
    pub(crate) fn handle_end(&mut self) {
        let cause = match self.state {
            State::Greeting { .. } => {
                NetError::Protocol { address: self.address, detail: "it closed its stream inside the hello" }
            }
            State::Up => match std::mem::take(&mut self.decoder).finish() {
                Ok(()) => NetError::ClosedByPeer { address: self.address },
                Err(source) => NetError::Message { address: self.address, source },
            },
            State::Closing | State::Over(_) => return,
        };
        self.end(cause);
    }

    /// When [`Session::handle_timeout`] wants to be called, if nothing else happens.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        if self.is_over() {
            return None;
        }
        [self.hello_due, self.taking_due, self.farewell_due].into_iter().flatten().min()
    }

    /// Ends the link if a deadline has passed.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        let is_past = |due: Option<Duration>| due.is_some_and(|due| due <= now);
        if is_past(self.farewell_due) {
            self.end(NetError::ClosedHere);
        } else if is_past(self.hello_due) {
            self.end(self.deadline(Wait::Hello, self.limits.hello));
        } else if is_past(self.taking_due) {
            self.end(self.deadline(Wait::Taking, self.limits.stall));
        }
    }

    /// The next bytes for our control stream. Once they are taken, say so with [`Session::handle_taken`].
    pub(crate) fn poll_transmit(&mut self, now: Duration) -> Option<Bytes> {
        if self.is_over() {
            return None;
        }
        let chunk = match self.hello.take() {
            Some(hello) => hello,
            None => {
                let chunk = self.outbox.pop_front()?;
                self.outbox_bytes -= chunk.len();
                // A header and a payload each: a message waits until its payload is given out.
                self.outbox_messages = self.outbox.len().div_ceil(2);
                chunk
            }
        };
        self.taking_due = Some(now + self.limits.stall);
        Some(chunk)
    }

    /// The connection took what was given out.
    pub(crate) fn handle_taken(&mut self) {
        self.taking_due = None;
    }

    /// What happened since, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// Why the session is over.
    pub(crate) fn cause(&self) -> Option<NetError> {
        match &self.state {
            State::Over(cause) => Some(cause.clone()),
            _ => None,
        }
    }

    /// With which code and reason the connection is to be closed, once the session is over.
    pub(crate) fn farewell(&self) -> Option<Farewell> {
        match &self.state {
            State::Over(cause) => Some(Farewell::of(cause)),
            _ => None,
        }
    }

    fn greet(&mut self, bytes: &[u8]) -> usize {
        let State::Greeting { bytes: hello, held } = &mut self.state else { return bytes.len() };
        let taken = bytes.len().min(HELLO_BYTES - *held);
        hello[*held..*held + taken].copy_from_slice(&bytes[..taken]);
        *held += taken;
        if *held == HELLO_BYTES {
            let hello = *hello;
            match read_hello(&hello, self.version, self.address) {
                Ok(()) => {
                    self.state = State::Up;
                    self.hello_due = None;
                    self.events.push_back(SessionEvent::Up(self.peer.clone()));
                }
                Err(cause) => self.end(cause),
            }
        }
        taken
    }

    fn receive(&mut self, bytes: &[u8]) -> usize {
        let taken = self.decoder.handle_bytes(bytes);
        match self.decoder.poll_message() {
            Ok(Some(message)) => self.events.push_back(SessionEvent::Message(message)),
            Ok(None) => {}
            Err(source) => self.end(NetError::Message { address: self.address, source }),
        }
        taken
    }

    fn end(&mut self, cause: NetError) {
        if self.is_over() {
            return;
        }
        self.events.push_back(SessionEvent::Down(cause.clone()));
        self.state = State::Over(cause);
        self.outbox.clear();
        self.decoder = Decoder::new();
    }

    fn deadline(&self, wait: Wait, after: Duration) -> NetError {
        NetError::Deadline { address: self.address, wait, after }
    }
}

/// Whether the peer may have this link, by what the authority says of it.
fn judge(gate: &Gate, side: Side, peer: &Peer, address: SocketAddr) -> Result<(), NetError> {
    if peer.cluster != gate.cluster {
        return Err(NetError::Cluster { address, peer: peer.clone(), cluster: gate.cluster.clone() });
    }
    let allowed = match side {
        Side::Dialed(expected) => vec![expected],
        Side::Accepted => gate.accepts.clone(),
    };
    if allowed.contains(&peer.role) { Ok(()) } else { Err(NetError::Role { address, peer: peer.clone(), allowed }) }
}

fn hello(version: u32) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    bytes[0..4].copy_from_slice(&HELLO_MAGIC);
    bytes[4..8].copy_from_slice(&version.to_le_bytes());
    let checksum = (XxHash3_64::oneshot(&bytes[..8]) as u32).to_le_bytes();
    bytes[8..12].copy_from_slice(&checksum);
    bytes
}

fn read_hello(bytes: &[u8; HELLO_BYTES], ours: u32, address: SocketAddr) -> Result<(), NetError> {
    let [magic @ .., v0, v1, v2, v3, _, _, _, _] = *bytes;
    if magic != HELLO_MAGIC {
        return Err(NetError::Protocol { address, detail: "it does not begin with a hello" });
    }
    let theirs = u32::from_le_bytes([v0, v1, v2, v3]);
    if *bytes != hello(theirs) {
        return Err(NetError::Protocol { address, detail: "its hello is damaged" });
    }
    if theirs == ours { Ok(()) } else { Err(NetError::Version { address, ours, theirs }) }
}

/// The last word on a connection: a code and a sentence, which both sides can make into the same kind of error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub code: u32,
    pub reason: String,
}

impl Farewell {
    const DONE: u32 = 0;
    const SHUT_DOWN: u32 = 1;
    const CLUSTER: u32 = 2;
    const ROLE: u32 = 3;
    const VERSION: u32 = 4;
    const PROTOCOL: u32 = 5;
    const DEADLINE: u32 = 6;

    /// What to tell the peer.
    pub(crate) fn of(cause: &NetError) -> Self {
        let (code, reason) = match cause {
            NetError::ClosedHere | NetError::ClosedByPeer { .. } => (Self::DONE, String::new()),
            NetError::ShutDown => (Self::SHUT_DOWN, String::new()),
            NetError::Cluster { .. } => (Self::CLUSTER, String::new()),
            NetError::Role { .. } => (Self::ROLE, String::new()),
            NetError::Version { ours, .. } => (Self::VERSION, ours.to_string()),
            NetError::Deadline { .. } => (Self::DEADLINE, String::new()),
            NetError::Message { source, .. } => (Self::PROTOCOL, source.to_string()),
            other => (Self::PROTOCOL, other.to_string()),
        };
        Self { code, reason }
    }

    /// What the peer told us.
    pub(crate) fn read(code: u64, reason: &[u8], ours: u32, address: SocketAddr) -> NetError {
        let refused = |refusal| NetError::RefusedByPeer { address, refusal };
        let detail = String::from_utf8_lossy(reason);
        match u32::try_from(code) {
            Ok(Self::DONE | Self::SHUT_DOWN) => NetError::ClosedByPeer { address },
            Ok(Self::CLUSTER) => refused(Refusal::Cluster),
            Ok(Self::ROLE) => refused(Refusal::Role),
            Ok(Self::DEADLINE) => refused(Refusal::Deadline),
            Ok(Self::VERSION) => match detail.parse() {
                Ok(theirs) => NetError::Version { address, ours, theirs },
                Err(_) => refused(Refusal::Protocol { detail: detail.into_owned() }),
            },
            _ => refused(Refusal::Protocol { detail: detail.into_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::encode;

    const NOW: Duration = Duration::from_secs(7);
    const KIND: MessageKind = MessageKind(9);

    fn address() -> SocketAddr {
        "127.0.0.1:4000".parse().unwrap()
    }

    fn gate(version: u32) -> Gate {
        Gate { cluster: "field".into(), version, accepts: vec![Role::Worker, Role::Client] }
    }

    fn peer(cluster: &str, role: Role) -> Peer {
        Peer { cluster: cluster.into(), role, name: "p".into() }
    }

    fn session(side: Side, peer: Peer) -> Session {
        Session::new(NOW, LinkId(1), &gate(3), side, peer, address(), &Limits::default())
    }

    fn up() -> Session {
        let mut session = session(Side::Accepted, peer("field", Role::Worker));
        session.handle_bytes(&hello(3));
        assert_eq!(session.poll_event(), Some(SessionEvent::Up(peer("field", Role::Worker))));
        session
    }

    fn down(session: &mut Session) -> NetError {
        let Some(SessionEvent::Down(cause)) = session.poll_event() else { panic!("the session is not down") };
        assert_eq!(session.poll_event(), None);
        assert_eq!(session.poll_transmit(NOW), None);
        assert_eq!(session.poll_timeout(), None);
        cause
    }

    #[test]
    fn only_the_right_cluster_and_role_come_in() {
        let cases = [
            (Side::Accepted, "field", Role::Worker, true),
            (Side::Accepted, "field", Role::Client, true),
            (Side::Accepted, "field", Role::Coordinator, false),
            (Side::Accepted, "meadow", Role::Worker, false),
            (Side::Dialed(Role::Worker), "field", Role::Worker, true),
            (Side::Dialed(Role::Worker), "field", Role::Client, false),
            (Side::Dialed(Role::Coordinator), "field", Role::Worker, false),
            (Side::Dialed(Role::Worker), "meadow", Role::Worker, false),
        ];
        for (side, cluster, role, is_let_in) in cases {
            let mut session = session(side, peer(cluster, role));
            assert_eq!(!session.is_over(), is_let_in, "{side:?} {cluster} {role}");
            if !is_let_in {
                // Nothing that the peer says can change it.
                session.handle_bytes(&hello(3));
                let cause = down(&mut session);
                assert!(matches!(cause, NetError::Role { .. } | NetError::Cluster { .. }));
                let code = session.farewell().unwrap().code;
                assert!([Farewell::ROLE, Farewell::CLUSTER].contains(&code));
            }
        }
    }

    #[test]
    fn a_role_by_role_matrix_of_who_may_dial_whom() {
        for ours in Role::ALL {
            for theirs in Role::ALL {
                let gate = Gate { accepts: vec![ours], ..gate(3) };
                let session = |side| {
                    Session::new(NOW, LinkId(1), &gate, side, peer("field", theirs), address(), &Limits::default())
                };
                assert_eq!(!session(Side::Accepted).is_over(), ours == theirs);
                assert_eq!(!session(Side::Dialed(ours)).is_over(), ours == theirs);
            }
        }
    }

    #[test]
    fn versions_must_be_equal_and_both_are_named() {
        let mut session = session(Side::Accepted, peer("field", Role::Worker));
        session.handle_bytes(&hello(4));
        assert_eq!(down(&mut session), NetError::Version { address: address(), ours: 3, theirs: 4 });
        let farewell = session.farewell().unwrap();
        let told = Farewell::read(farewell.code.into(), farewell.reason.as_bytes(), 4, address());
        assert_eq!(told, NetError::Version { address: address(), ours: 4, theirs: 3 });
    }

    #[test]
    fn no_message_comes_before_the_hello_whatever_the_cut() {
        let mut bytes = hello(3).to_vec();
        encode(KIND, b"one", &mut bytes).unwrap();
        encode(KIND, b"", &mut bytes).unwrap();
        for cut in 0..=bytes.len() {
            let mut session = session(Side::Accepted, peer("field", Role::Worker));
            session.handle_bytes(&bytes[..cut]);
            session.handle_bytes(&bytes[cut..]);
            assert!(matches!(session.poll_event(), Some(SessionEvent::Up(_))), "cut at {cut}");
            for payload in [&b"one"[..], b""] {
                let message = Message { kind: KIND, payload: payload.to_vec() };
                assert_eq!(session.poll_event(), Some(SessionEvent::Message(message)), "cut at {cut}");
            }
            assert_eq!(session.poll_event(), None);
            session.handle_end();
            assert_eq!(down(&mut session), NetError::ClosedByPeer { address: address() });
        }
    }

    #[test]
    fn every_damage_to_the_hello_is_found() {
        for bit in 0..HELLO_BYTES * 8 {
            let mut bytes = hello(3);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut session = session(Side::Accepted, peer("field", Role::Worker));
            session.handle_bytes(&bytes);
            assert!(matches!(down(&mut session), NetError::Protocol { .. }), "bit {bit}");
        }
    }

    #[test]
    fn a_stream_that_ends_inside_is_not_a_farewell() {
        let mut whole = Vec::new();
        encode(KIND, b"payload", &mut whole).unwrap();
        for length in 1..whole.len() {
            let mut session = up();
            session.handle_bytes(&whole[..length]);
            session.handle_end();
            assert!(matches!(down(&mut session), NetError::Message { .. }), "{length}");
        }
        let mut session = session(Side::Accepted, peer("field", Role::Worker));
        session.handle_bytes(&hello(3)[..5]);
        session.handle_end();
        assert!(matches!(down(&mut session), NetError::Protocol { .. }));
    }

    #[test]
    fn a_bad_message_ends_the_link_with_its_type() {
        let mut session = up();
        let mut bytes = Vec::new();
        encode(KIND, b"good", &mut bytes).unwrap();
        let good = bytes.len();
        encode(KIND, b"bad", &mut bytes).unwrap();
        bytes[good + HEADER_BYTES] ^= 1;
        encode(KIND, b"after", &mut bytes).unwrap();
        session.handle_bytes(&bytes);
        assert!(matches!(session.poll_event(), Some(SessionEvent::Message(_))));
        assert!(matches!(down(&mut session), NetError::Message { .. }));
        assert_eq!(session.farewell().unwrap().code, Farewell::PROTOCOL);
    }

    #[test]
    fn deadlines_hold() {
        let limits = Limits::default();
        let mut silent = session(Side::Dialed(Role::Worker), peer("field", Role::Worker));
        assert_eq!(silent.poll_timeout(), Some(NOW + limits.hello));
        silent.handle_timeout(NOW + limits.hello - Duration::from_nanos(1));
        assert!(!silent.is_over());
        silent.handle_timeout(NOW + limits.hello);
        let after = limits.hello;
        assert_eq!(down(&mut silent), NetError::Deadline { address: address(), wait: Wait::Hello, after });

        let mut stalled = up();
        assert_eq!(stalled.poll_transmit(NOW).unwrap(), hello(3)[..]);
        stalled.handle_taken();
        assert_eq!(stalled.poll_timeout(), None);
        stalled.send(KIND, vec![1]).unwrap();
        stalled.poll_transmit(NOW).unwrap();
        assert_eq!(stalled.poll_timeout(), Some(NOW + limits.stall));
        stalled.handle_timeout(NOW + limits.stall);
        assert!(matches!(down(&mut stalled), NetError::Deadline { wait: Wait::Taking, .. }));
    }

    #[test]
    fn the_queue_is_bounded_in_messages_and_bytes() {
        let limits = Limits { queue_messages_max: 3, ..Limits::default() };
        let mut few =
            Session::new(NOW, LinkId(1), &gate(3), Side::Accepted, peer("field", Role::Worker), address(), &limits);
        assert!(matches!(few.send(KIND, vec![]), Err(NetError::NotUp { .. })));
        few.handle_bytes(&hello(3));
        for _ in 0..3 {
            few.send(KIND, vec![0; 10]).unwrap();
        }
        let full = NetError::QueueFull { link: LinkId(1), messages: 3, bytes: 3 * (HEADER_BYTES + 10) };
        assert_eq!(few.send(KIND, vec![]), Err(full));
        // The hello, a header, a payload: one message less.
        for _ in 0..3 {
            few.poll_transmit(NOW).unwrap();
        }
        few.send(KIND, vec![]).unwrap();
        assert!(few.send(KIND, vec![]).is_err());

        let mut large = up();
        large.send(KIND, vec![0; crate::PAYLOAD_BYTES_MAX]).unwrap();
        large.send(KIND, vec![0; crate::PAYLOAD_BYTES_MAX]).unwrap();
        assert!(matches!(large.send(KIND, vec![]), Err(NetError::QueueFull { messages: 2, .. })));
        let long = large.send(KIND, vec![0; crate::PAYLOAD_BYTES_MAX + 1]);
        assert!(matches!(long, Err(NetError::Encode { .. })));
    }

    #[test]
    fn a_close_sends_what_waits_and_only_that() {
        let mut session = up();
        session.send(KIND, vec![1, 2]).unwrap();
        session.close(NOW);
        assert!(matches!(session.send(KIND, vec![]), Err(NetError::NotUp { .. })));
        let mut sent = Vec::new();
        while let Some(chunk) = session.poll_transmit(NOW) {
            assert!(!session.is_flushed() || session.outbox.is_empty());
            sent.extend_from_slice(&chunk);
            session.handle_taken();
        }
        let mut expected = hello(3).to_vec();
        encode(KIND, &[1, 2], &mut expected).unwrap();
        assert_eq!(sent, expected);
        assert!(session.is_flushed());
        session.handle_farewell();
        assert_eq!(down(&mut session), NetError::ClosedHere);
        assert_eq!(session.farewell().unwrap().code, Farewell::DONE);
    }

    #[test]
    fn a_close_waits_no_longer_than_its_deadline() {
        let mut session = up();
        session.close(NOW);
        assert_eq!(session.poll_timeout(), Some(NOW + Limits::default().farewell));
        session.handle_timeout(NOW + Limits::default().farewell);
        assert_eq!(down(&mut session), NetError::ClosedHere);
    }

    #[test]
    fn a_farewell_is_read_as_it_was_meant() {
        let at = address();
        let refused = |refusal| NetError::RefusedByPeer { address: at, refusal };
        let cases = [
            (NetError::ClosedHere, NetError::ClosedByPeer { address: at }),
            (NetError::ShutDown, NetError::ClosedByPeer { address: at }),
            (
                NetError::Role { address: at, peer: peer("field", Role::Client), allowed: vec![] },
                refused(Refusal::Role),
            ),
            (NetError::Deadline { address: at, wait: Wait::Hello, after: NOW }, refused(Refusal::Deadline)),
        ];
        for (cause, told) in cases {
            let farewell = Farewell::of(&cause);
            assert_eq!(Farewell::read(farewell.code.into(), farewell.reason.as_bytes(), 1, at), told);
        }
        assert!(matches!(
            Farewell::read(u64::MAX >> 2, b"\xff", 1, at),
            NetError::RefusedByPeer { refusal: Refusal::Protocol { .. }, .. }
        ));
    }
}
