//! Windows, bounds and deadlines of a link under load.
//!
//! In: slow readers, peers that say nothing, queues that fill. Out: bounded memory, typed errors. Never: a sleep.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use support::*;
use windrow_net::{Limits, MessageKind, NetError, PullRead, Refusal, Wait};

const KIND: MessageKind = MessageKind(1);
const PIECE: usize = 64 << 10;

#[test]
fn a_slow_reader_makes_the_sender_wait() {
    let window = 1 << 20;
    let (first, second, ours, _) = pair_with(|limits| {
        limits.stream_window_bytes = 1 << 20;
        limits.send_window_bytes = 2 << 20;
    });
    let mut pull = first.network.ask(ours, KIND, vec![], window);
    let taken = Arc::new(AtomicUsize::new(0));
    let (count, piece) = (Arc::clone(&taken), pattern(PIECE));
    let total = 512;
    second.asked().3.give((0..total).map(move |_| {
        count.fetch_add(1, Relaxed);
        Ok(piece.clone())
    }));
    // Window here, window of the stream, window of the sender, and the piece in hand.
    let bound = (window + (1 << 20) + (2 << 20)) / PIECE + 2;
    assert!(holds_soon(|| taken.load(Relaxed) * PIECE >= window));
    second.none_within(Duration::from_millis(300));
    assert!(taken.load(Relaxed) <= bound, "{} pieces were taken, {bound} fit", taken.load(Relaxed));
    // Messages pass by the answer that waits.
    first.network.send(ours, KIND, vec![5]).unwrap();
    assert_eq!(second.message().1.payload, [5]);
    let (bytes, end) = drain(&mut pull);
    assert_eq!((bytes.len(), end), (total * PIECE, Ok(())));
    assert!(bytes.chunks(PIECE).all(|chunk| chunk == pattern(PIECE)));
}

#[test]
fn slow_readers_do_not_starve_another() {
    let (first, second, ours, _) = pair_with(|limits| {
        limits.stream_window_bytes = 128 << 10;
        limits.bulk_streams_max = 4;
    });
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(first.network.ask(ours, KIND, vec![], 1));
        let piece = pattern(PIECE);
        second.asked().3.give(std::iter::repeat_with(move || Ok(piece.clone())));
    }
    let mut quick = first.network.ask(ours, KIND, vec![], 1 << 20);
    second.asked().3.give(vec![Ok(pattern(PIECE)); 64]);
    assert_eq!(drain(&mut quick).1, Ok(()));
}

#[test]
fn there_are_no_more_streams_than_allowed() {
    let (first, second, ours, _) = pair_with(|limits| {
        limits.bulk_streams_max = 2;
        limits.silence = Duration::from_millis(200);
    });
    let held: Vec<_> = (0..2)
        .map(|_| {
            let pull = first.network.ask(ours, KIND, vec![], 1);
            let piece = pattern(PIECE);
            second.asked().3.give(std::iter::repeat_with(move || Ok(piece.clone())));
            pull
        })
        .collect();
    let mut third = first.network.ask(ours, KIND, vec![], 1);
    let late = third.read(LONG);
    assert!(matches!(late, Err(NetError::Deadline { wait: Wait::Answer, .. })), "{late:?}");
    second.none_within(Duration::from_millis(1));
    drop(held);
    let mut fourth = first.network.ask(ours, KIND, vec![], 1 << 20);
    second.asked().3.give([Ok(pattern(3))]);
    assert_eq!(drain(&mut fourth), (pattern(3).to_vec(), Ok(())));
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let (first, second, ours, _) = pair_with(|limits| limits.silence = Duration::from_millis(100));
    let mut pull = first.network.ask(ours, KIND, vec![], 1);
    let answer = second.asked().3;
    let late = pull.read(LONG);
    assert!(matches!(late, Err(NetError::Deadline { wait: Wait::Answer, .. })), "{late:?}");
    assert!(late.unwrap_err().is_retryable());
    assert!(holds_soon(|| !answer.is_wanted()));
}

#[test]
fn a_reader_that_stops_for_too_long_loses_its_answer() {
    let (first, second, ours, _) = pair_with(|limits| {
        limits.silence = Duration::from_millis(100);
        limits.stall = Duration::from_millis(300);
        limits.stream_window_bytes = 64 << 10;
        limits.send_window_bytes = 128 << 10;
    });
    let mut pull = first.network.ask(ours, KIND, vec![], 1);
    let (told, hear) = std::sync::mpsc::channel::<()>();
    let piece = pattern(PIECE);
    second.asked().3.give(std::iter::repeat_with(move || {
        let _ = &told;
        Ok(piece.clone())
    }));
    // The pieces are dropped once the sender has given up.
    assert_eq!(hear.recv_timeout(LONG), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    let (bytes, end) = drain(&mut pull);
    assert!(matches!(end, Err(NetError::RefusedByPeer { refusal: Refusal::Deadline, .. })), "{end:?}");
    assert!(bytes.len() < 1 << 20);
    assert_eq!(first.network.counters().links, 1);
}

#[test]
fn a_queue_that_is_full_says_so() {
    let authority = authority();
    let mut small = options(identity(&authority, windrow_net::Role::Worker, "small"));
    small.limits.queue_messages_max = 10;
    let (first, second) = (Station::start(small.clone()), Station::start(small));
    let (ours, _) = first.join(&second, windrow_net::Role::Worker);
    // Faster than any thread takes them.
    let full = (0..100_000).find_map(|_| first.network.send(ours, KIND, vec![0; 100]).err());
    assert!(matches!(full, Some(NetError::QueueFull { messages: 10, .. })), "{full:?}");
    second.message();
}

#[test]
fn a_link_lives_through_silence() {
    let (first, second, ours, _) = pair_with(|limits| {
        limits.idle = Duration::from_millis(600);
        limits.keep_alive = Duration::from_millis(150);
    });
    first.none_within(Duration::from_millis(1500));
    second.none_within(Duration::from_millis(1));
    first.network.send(ours, KIND, vec![1]).unwrap();
    assert_eq!(second.message().1.payload, [1]);
}

#[test]
fn limits_that_contradict_each_other_do_not_start() {
    let authority = authority();
    let mut wrong = options(identity(&authority, windrow_net::Role::Worker, "w"));
    wrong.limits = Limits { keep_alive: Duration::from_secs(60), ..Limits::default() };
    let started = windrow_net::Network::start(wrong, |_| {});
    assert!(matches!(started, Err(NetError::Limits { .. })));
}

#[test]
fn a_port_in_use_is_an_error() {
    let (first, _second, _, _) = pair();
    let authority = authority();
    let mut same = options(identity(&authority, windrow_net::Role::Worker, "w"));
    same.bind = first.network.local_address();
    let started = windrow_net::Network::start(same, |_| {});
    assert!(matches!(started, Err(NetError::Start { .. })), "{started:?}");
}

#[test]
fn a_window_of_nothing_still_moves() {
    let (first, second, ours, _) = pair();
    let mut pull = first.network.ask(ours, KIND, vec![], 0);
    second.asked().3.give(vec![Ok(pattern(PIECE)); 4]);
    assert_eq!(drain(&mut pull).0.len(), 4 * PIECE);
    assert_eq!(pull.try_read(), PullRead::End);
}
