//! What the tests of the network share: peers on loopback that write down their events.
//!
//! In: roles, limits. Out: a [`Station`]: a network, and its events in their order. Never: a wait without a deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Not marked as tests, but only used in them.
#![allow(dead_code)] // Each test file uses its part.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use bytes::Bytes;
use windrow_net::{
    Answer, Authority, Event, Identity, Limits, LinkId, Message, NetError, Network, Options, Peer, Pull, Role,
};

/// Longer than anything here takes, shorter than patience.
pub const LONG: Duration = Duration::from_secs(20);

pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Version of the protocol that these tests speak.
pub const VERSION: u32 = 7;

pub fn authority() -> Authority {
    Authority::create("field").unwrap()
}

pub fn identity(authority: &Authority, role: Role, name: &str) -> Identity {
    authority.issue(role, name, &["127.0.0.1"], DAY).unwrap()
}

pub fn options(identity: Identity) -> Options {
    Options {
        identity,
        bind: "127.0.0.1:0".parse().unwrap(),
        limits: Limits::default(),
        program_version: VERSION,
        accepts: Role::ALL.to_vec(),
    }
}

/// A network and what happened to it.
pub struct Station {
    pub network: Network,
    pub events: Receiver<Event>,
}

impl Station {
    pub fn start(options: Options) -> Self {
        let (told, events) = channel();
        // The test may be over before the network is.
        let network = Network::start(options, move |event| drop(told.send(event))).unwrap();
        Self { network, events }
    }

    pub fn of(authority: &Authority, role: Role, name: &str) -> Self {
        Self::start(options(identity(authority, role, name)))
    }

    pub fn next(&self) -> Event {
        self.events.recv_timeout(LONG).expect("nothing happened")
    }

    /// The next event, which must not come.
    pub fn none_within(&self, time: Duration) {
        match self.events.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => {}
            other => panic!("{other:?}"),
        }
    }

    pub fn up(&self) -> (LinkId, Peer) {
        match self.next() {
            Event::Up { link, peer, .. } => (link, peer),
            other => panic!("{other:?}"),
        }
    }

    pub fn down(&self) -> (LinkId, NetError) {
        match self.next() {
            Event::Down { link, cause } => (link, cause),
            other => panic!("{other:?}"),
        }
    }

    pub fn refused(&self) -> NetError {
        match self.next() {
            Event::Refused { cause, .. } => cause,
            other => panic!("{other:?}"),
        }
    }

    pub fn message(&self) -> (LinkId, Message) {
        match self.next() {
            Event::Message { link, message } => (link, message),
            other => panic!("{other:?}"),
        }
    }

    pub fn asked(&self) -> (LinkId, Peer, Message, Answer) {
        match self.next() {
            Event::Asked { link, peer, request, answer } => (link, peer, request, answer),
            other => panic!("{other:?}"),
        }
    }

    /// Links to `other` and waits until both ends are up; our link, and the other's.
    pub fn join(&self, other: &Self, role: Role) -> (LinkId, LinkId) {
        let link = self.network.link(other.network.local_address(), role);
        let (ours, _) = self.up();
        assert_eq!(ours, link);
        (ours, other.up().0)
    }
}

/// Two workers with a link from the first to the second: `(first, second, first's link, second's link)`.
pub fn pair() -> (Station, Station, LinkId, LinkId) {
    pair_with(|_| {})
}

pub fn pair_with(change: impl Fn(&mut Limits)) -> (Station, Station, LinkId, LinkId) {
    let authority = authority();
    let station = |name| {
        let mut options = options(identity(&authority, Role::Worker, name));
        change(&mut options.limits);
        Station::start(options)
    };
    let (first, second) = (station("first"), station("second"));
    let (ours, theirs) = first.join(&second, Role::Worker);
    (first, second, ours, theirs)
}

/// All that a pull gives, and how it ends.
pub fn drain(pull: &mut Pull) -> (Vec<u8>, Result<(), NetError>) {
    let mut bytes = Vec::new();
    loop {
        match pull.read(LONG) {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

/// Bytes that differ from place to place.
pub fn pattern(length: usize) -> Bytes {
    (0..length).map(|place| (place * 31 + place / 251) as u8).collect::<Vec<_>>().into()
}

/// Whether `check` holds before the deadline; looks at it whenever the thread gets to run.
pub fn holds_soon(mut check: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + LONG;
    while Instant::now() < until {
        if check() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
