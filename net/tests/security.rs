//! Who is not let in, and what each side is told.
//!
//! In: peers with wrong papers, wrong roles, wrong versions, garbage. Out: typed errors on both sides, within a second;
//! the network goes on. Never: a sleep.

#![allow(clippy::unwrap_used, clippy::panic)] // As in `support/mod.rs`.

#[path = "support/stranger.rs"]
mod stranger;
mod support;

use std::{
    net::UdpSocket,
    time::{Duration, Instant, SystemTime},
};

use stranger::{Stranger, hello};
use support::*;
use windrow_net::{
    Authority, CertificateFlaw, Identity, MESSAGE_VERSION, MessageError, MessageKind, NetError, Options, Refusal, Role,
    Wait, encode,
};

const PROTOCOL: &[u8] = b"windrow/1";
const KIND: MessageKind = MessageKind(1);

/// What both sides are told of a link that must not come up, and that they are told within a second.
fn told(dialer: Options, listener: Options, expected: Role) -> (NetError, NetError) {
    let (dialer, listener) = (Station::start(dialer), Station::start(listener));
    let began = Instant::now();
    let link = dialer.network.link(listener.network.local_address(), expected);
    let (down, dialed) = dialer.down();
    assert_eq!(down, link);
    let accepted = listener.refused();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    dialer.none_within(Duration::from_millis(1));
    listener.none_within(Duration::from_millis(1));
    (dialed, accepted)
}

fn worker(authority: &Authority) -> Options {
    options(identity(authority, Role::Worker, "w"))
}

fn flaw_of(error: &NetError) -> (&CertificateFlaw, bool) {
    match error {
        NetError::Certificate { flaw, .. } => (flaw, true),
        NetError::RefusedByPeer { refusal: Refusal::Certificate { flaw }, .. } => (flaw, false),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_certificate_nobody_comes_in() {
    let listener = Station::start(worker(&authority()));
    let stranger = Stranger::new(None, PROTOCOL);
    // A client may think itself connected before the server looked at its certificate.
    if let Ok(connection) = stranger.connect(listener.network.local_address()) {
        stranger.closed(&connection);
    }
    let refused = listener.refused();
    assert_eq!(flaw_of(&refused), (&CertificateFlaw::Missing, true));
    assert_eq!(listener.network.counters().refused.certificate, 1);
}

#[test]
fn another_protocol_is_not_spoken() {
    let authority = authority();
    let listener = Station::start(worker(&authority));
    let stranger = Stranger::new(Some(&identity(&authority, Role::Worker, "s")), b"h3");
    assert!(stranger.connect(listener.network.local_address()).is_err());
    listener.refused();
}

#[test]
fn another_authority_is_unknown_even_with_the_same_name() {
    let (dialed, accepted) = told(worker(&authority()), worker(&authority()), Role::Worker);
    assert_eq!(flaw_of(&dialed), (&CertificateFlaw::UnknownAuthority, true));
    assert_eq!(flaw_of(&accepted), (&CertificateFlaw::UnknownAuthority, false));
    let meadow = Authority::create("meadow").unwrap();
    let (dialed, accepted) = told(worker(&authority()), worker(&meadow), Role::Worker);
    assert_eq!(flaw_of(&dialed).0, &CertificateFlaw::UnknownAuthority);
    assert_eq!(flaw_of(&accepted).0, &CertificateFlaw::UnknownAuthority);
}

#[test]
fn a_certificate_of_another_authority_does_not_get_a_dialer_in() {
    // The dialer trusts both, so that it is the listener who judges.
    let (ours, theirs) = (authority(), authority());
    let stranger = options(identity(&theirs, Role::Worker, "s").trusting(&ours));
    let (dialed, accepted) = told(stranger, worker(&ours), Role::Worker);
    assert_eq!(flaw_of(&dialed), (&CertificateFlaw::UnknownAuthority, false));
    assert_eq!(flaw_of(&accepted), (&CertificateFlaw::UnknownAuthority, true));
}

#[test]
fn dates_are_kept_on_both_sides() {
    let authority = authority();
    let now = SystemTime::now();
    let dated = |from, until| options(authority.issue_between(Role::Worker, "d", &[], from, until).unwrap());
    let hour = Duration::from_secs(3600);
    let cases = [
        (dated(now - 2 * hour, now - hour), CertificateFlaw::Expired),
        (dated(now + hour, now + 2 * hour), CertificateFlaw::NotYetValid),
    ];
    for (outdated, flaw) in cases {
        let (dialed, accepted) = told(worker(&authority), outdated.clone(), Role::Worker);
        assert_eq!(flaw_of(&dialed), (&flaw, true));
        assert_eq!(flaw_of(&accepted), (&CertificateFlaw::OutOfDate, false));
        let (dialed, accepted) = told(outdated, worker(&authority), Role::Worker);
        assert_eq!(flaw_of(&dialed), (&CertificateFlaw::OutOfDate, false));
        assert_eq!(flaw_of(&accepted), (&flaw, true));
    }
}

#[test]
fn a_role_that_is_not_accepted_is_told() {
    let authority = authority();
    let listener = Options { accepts: vec![Role::Coordinator, Role::Client], ..worker(&authority) };
    let (dialed, accepted) = told(worker(&authority), listener, Role::Worker);
    assert!(matches!(dialed, NetError::RefusedByPeer { refusal: Refusal::Role, .. }), "{dialed:?}");
    let NetError::Role { peer, allowed, .. } = accepted else { panic!("{accepted:?}") };
    assert_eq!((peer.role, allowed), (Role::Worker, vec![Role::Coordinator, Role::Client]));
}

#[test]
fn a_client_cannot_serve() {
    let authority = authority();
    let client = options(identity(&authority, Role::Client, "c"));
    let (dialed, accepted) = told(worker(&authority), client, Role::Worker);
    assert!(matches!(&dialed, NetError::Role { peer, .. } if peer.role == Role::Client), "{dialed:?}");
    assert!(matches!(accepted, NetError::RefusedByPeer { refusal: Refusal::Role, .. }), "{accepted:?}");
    assert_eq!(
        dialed.to_string().split_once(" is ").unwrap().1,
        "client c of cluster field, and here only worker is let in"
    );
}

#[test]
fn who_accepts_nobody_says_so_at_once() {
    let authority = authority();
    let listener = Station::start(Options { accepts: vec![], ..worker(&authority) });
    let dialer = Station::start(worker(&authority));
    dialer.network.link(listener.network.local_address(), Role::Worker);
    let cause = dialer.down().1;
    assert!(matches!(cause, NetError::RefusedByPeer { refusal: Refusal::Busy, .. }), "{cause:?}");
    assert!(holds_soon(|| listener.network.counters().refused.busy == 1));
}

#[test]
fn another_version_is_refused_and_both_are_named() {
    let authority = authority();
    let next = Options { program_version: VERSION + 1, ..worker(&authority) };
    let (dialed, accepted) = told(worker(&authority), next, Role::Worker);
    for (told, expected) in [(dialed, (VERSION, VERSION + 1)), (accepted, (VERSION + 1, VERSION))] {
        let NetError::Version { ours, theirs, .. } = told else { panic!("{told:?}") };
        assert_eq!((ours, theirs), expected);
    }
}

#[test]
fn where_nobody_listens_the_deadline_holds() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let authority = authority();
    let mut own = worker(&authority);
    own.limits.connect = Duration::from_millis(200);
    let dialer = Station::start(own);
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), closed] {
        let began = Instant::now();
        let link = dialer.network.link(address, Role::Worker);
        let after = Duration::from_millis(200);
        assert_eq!(dialer.down(), (link, NetError::Deadline { address, wait: Wait::Handshake, after }));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[test]
fn a_dial_can_be_given_up() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dialer = Station::start(worker(&authority()));
    let link = dialer.network.link(silent.local_addr().unwrap(), Role::Worker);
    dialer.network.close(link);
    assert_eq!(dialer.down(), (link, NetError::ClosedHere));
}

#[test]
fn garbage_is_ignored() {
    let authority = authority();
    let listener = Station::start(worker(&authority));
    let address = listener.network.local_address();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut seed = 1u64;
    let mut garbage = [0; 1400];
    for round in 0..20_000usize {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round as u64);
        garbage[round % 1400] = (seed >> 56) as u8;
        garbage[0] = (seed >> 48) as u8; // Long and short headers, and neither.
        // A full socket of ours or theirs is no fault.
        let _ = socket.send_to(&garbage[..1 + (seed >> 33) as usize % 1400], address);
    }
    let dialer = Station::start(worker(&authority));
    let (link, _) = dialer.join(&listener, Role::Worker);
    dialer.network.send(link, KIND, vec![1]).unwrap();
    assert_eq!(listener.message().1.payload, [1]);
    assert_eq!(listener.network.counters().links_accepted, 1);
}

#[test]
fn a_crowd_proves_its_addresses_and_is_let_in() {
    let authority = authority();
    let mut crowded = worker(&authority);
    crowded.limits.handshakes_unproven = 0;
    let listener = Station::start(crowded);
    let dialer = Station::start(worker(&authority));
    dialer.join(&listener, Role::Worker);
}

#[test]
fn there_are_no_more_links_than_allowed() {
    let authority = authority();
    let mut few = worker(&authority);
    few.limits.links_max = 2;
    let (listener, dialer) = (Station::start(few.clone()), Station::start(worker(&authority)));
    let (first, _) = dialer.join(&listener, Role::Worker);
    dialer.join(&listener, Role::Worker);
    dialer.network.link(listener.network.local_address(), Role::Worker);
    let cause = dialer.down().1;
    assert!(matches!(cause, NetError::RefusedByPeer { refusal: Refusal::Busy, .. }), "{cause:?}");
    assert!(cause.is_retryable());
    assert!(matches!(listener.refused(), NetError::TooManyLinks { limit: 2, .. }));
    // A place that is free again is given again.
    dialer.network.close(first);
    dialer.down();
    listener.down();
    dialer.join(&listener, Role::Worker);
    // Our own dials count too.
    let other = Station::start(few);
    for _ in 0..2 {
        other.network.link(listener.network.local_address(), Role::Worker);
    }
    let over = other.network.link(listener.network.local_address(), Role::Worker);
    let downs: Vec<_> = (0..3).map(|_| other.down()).collect();
    assert!(downs.iter().any(|(link, cause)| *link == over && matches!(cause, NetError::TooManyLinks { .. })));
}

#[test]
fn a_peer_that_says_no_hello_is_closed() {
    let authority = authority();
    let mut impatient = worker(&authority);
    impatient.limits.hello = Duration::from_millis(100);
    let listener = Station::start(impatient);
    let stranger = Stranger::new(Some(&identity(&authority, Role::Worker, "s")), PROTOCOL);
    let connection = stranger.connect(listener.network.local_address()).unwrap();
    stranger.closed(&connection);
    assert!(matches!(listener.refused(), NetError::Deadline { wait: Wait::Hello, .. }));
    assert_eq!(listener.network.counters().refused.deadline, 1);
}

#[test]
fn what_is_no_hello_is_closed() {
    let authority = authority();
    let listener = Station::start(worker(&authority));
    let stranger = Stranger::new(Some(&identity(&authority, Role::Worker, "s")), PROTOCOL);
    let mut damaged = hello(VERSION);
    damaged[5] ^= 1;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &damaged, &[0; 12]] {
        let connection = stranger.connect(listener.network.local_address()).unwrap();
        let _stream = stranger.say(&connection, bytes);
        stranger.closed(&connection);
        assert!(matches!(listener.refused(), NetError::Protocol { .. }));
    }
}

#[test]
fn messages_over_the_limit_or_damaged_end_the_link() {
    let authority = authority();
    let listener = Station::start(worker(&authority));
    let stranger = Stranger::new(Some(&identity(&authority, Role::Worker, "s")), PROTOCOL);
    let mut good = Vec::new();
    encode(KIND, b"payload", &mut good).unwrap();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        message
    };
    for length in [u32::MAX, 1 << 31, 17 << 20] {
        let mut bomb = good.clone();
        bomb[8..12].copy_from_slice(&length.to_le_bytes());
        let checksum = twox_hash::XxHash3_64::oneshot(&bomb[..12]) as u32;
        bomb[12..16].copy_from_slice(&checksum.to_le_bytes());
        let error = end_of_link(&listener, &stranger, &bomb);
        assert_eq!(error, MessageError::TooLong { bytes: length as usize, limit: windrow_net::PAYLOAD_BYTES_MAX });
    }
    let damaged = end_of_link(&listener, &stranger, &with(|message| message[25] ^= 4));
    assert!(matches!(damaged, MessageError::PayloadChecksum { .. }));
    let other = end_of_link(&listener, &stranger, &with(|message| message[4] += 1));
    assert!(matches!(other, MessageError::Version { found, .. } if found == MESSAGE_VERSION + 1));
}

fn end_of_link(listener: &Station, stranger: &Stranger, bytes: &[u8]) -> MessageError {
    let connection = stranger.connect(listener.network.local_address()).unwrap();
    let _stream = stranger.say(&connection, &[hello(VERSION), bytes.to_vec()].concat());
    stranger.closed(&connection);
    listener.up();
    match listener.down().1 {
        NetError::Message { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_that_are_none_are_reset_and_the_link_goes_on() {
    let authority = authority();
    let mut impatient = worker(&authority);
    impatient.limits.request = Duration::from_millis(100);
    let listener = Station::start(impatient);
    let stranger = Stranger::new(Some(&identity(&authority, Role::Worker, "s")), PROTOCOL);
    let connection = stranger.connect(listener.network.local_address()).unwrap();
    let _stream = stranger.say(&connection, &hello(VERSION));
    listener.up();
    let mut good = Vec::new();
    encode(KIND, b"payload", &mut good).unwrap();
    // Nothing, garbage, one and a half, and one that never ends.
    for (bytes, ends) in [(&[][..], true), (&[7; 40], true), (&[good.clone(), vec![1]].concat(), true), (&good, false)]
    {
        let code = stranger.runtime.block_on(async {
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(bytes).await.unwrap();
            if ends {
                send.finish().unwrap();
            }
            tokio::time::timeout(LONG, recv.read_to_end(1 << 20)).await.expect("no answer")
        });
        assert!(matches!(code, Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(_)))), "{code:?}");
    }
    assert_eq!(listener.network.counters().asked, 0);
    assert_eq!(listener.network.counters().links, 1);
}

#[test]
fn a_peer_that_dies_is_down_within_the_idle_time() {
    let authority = authority();
    let mut watchful = worker(&authority);
    watchful.limits.idle = Duration::from_millis(600);
    watchful.limits.keep_alive = Duration::from_millis(200);
    let listener = Station::start(watchful);
    let mut stranger = Stranger::new(Some(&identity(&authority, Role::Worker, "s")), PROTOCOL);
    let connection = stranger.connect(listener.network.local_address()).unwrap();
    let _stream = stranger.say(&connection, &hello(VERSION));
    let (link, _) = listener.up();
    let mut pull = listener.network.ask(link, KIND, vec![], 1 << 20);
    stranger.die();
    let began = Instant::now();
    let (down, cause) = listener.down();
    assert_eq!(down, link);
    assert!(matches!(cause, NetError::Lost { .. }), "{cause:?}");
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    assert!(matches!(pull.read(LONG), Err(NetError::Lost { .. })));
}

#[test]
fn a_new_identity_is_shown_from_now_on() {
    let (old, next) = (authority(), authority());
    let listener = Station::start(worker(&old));
    let dialer = Station::start(worker(&old));
    let (link, _) = dialer.join(&listener, Role::Worker);
    // First everyone trusts both authorities, then they take certificates of the next.
    let both: Identity = identity(&next, Role::Worker, "w").trusting(&old);
    listener.network.renew(&both).unwrap();
    dialer.network.renew(&both).unwrap();
    dialer.join(&listener, Role::Worker);
    dialer.network.send(link, KIND, vec![2]).unwrap();
    assert_eq!(listener.message().1.payload, [2]);
    // Once the old one is trusted no more, it does not come in.
    listener.network.renew(&identity(&next, Role::Worker, "w")).unwrap();
    let late = Station::start(options(identity(&old, Role::Worker, "late").trusting(&next)));
    late.network.link(listener.network.local_address(), Role::Worker);
    assert_eq!(flaw_of(&late.down().1), (&CertificateFlaw::UnknownAuthority, false));
    let other = listener.network.renew(&identity(&next, Role::Worker, "other"));
    assert!(matches!(other, Err(NetError::Name { .. })));
}
