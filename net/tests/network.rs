//! Two networks on loopback: links, messages, answers, ends.
//!
//! In: nothing. Out: that what is sent arrives, whole and in order, and that every end is told. Never: a sleep.

mod support;

use std::{
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use bytes::Bytes;
use support::*;
use windrow_net::{Event, MessageKind, NetError, PullRead, Role};

const KIND: MessageKind = MessageKind(40);

#[test]
fn a_link_comes_up_on_both_sides_and_names_the_peers() {
    let authority = authority();
    let coordinator = Station::of(&authority, Role::Coordinator, "c1");
    let worker = Station::of(&authority, Role::Worker, "w1");
    let link = worker.network.link(coordinator.network.local_address(), Role::Coordinator);
    let (ours, peer) = worker.up();
    assert_eq!((ours, peer.uri().as_str()), (link, "windrow://field/coordinator/c1"));
    assert_eq!(coordinator.up().1.uri(), "windrow://field/worker/w1");
    assert_eq!((worker.network.counters().links, worker.network.counters().links_dialed), (1, 1));
    assert_eq!(coordinator.network.counters().links_accepted, 1);
}

#[test]
fn messages_come_in_their_order_both_ways() {
    let (first, second, ours, theirs) = pair();
    for number in 0..200u16 {
        first.network.send(ours, MessageKind(number), vec![number as u8; usize::from(number) * 50]).unwrap();
        second.network.send(theirs, MessageKind(number), number.to_le_bytes().to_vec()).unwrap();
    }
    for number in 0..200u16 {
        let (link, message) = second.message();
        assert_eq!((link, message.kind), (theirs, MessageKind(number)));
        assert_eq!(message.payload, vec![number as u8; usize::from(number) * 50]);
        assert_eq!(first.message().1.payload, number.to_le_bytes());
    }
    assert_eq!(first.network.counters().messages_sent, 200);
    assert_eq!(first.network.counters().messages_received, 200);
}

#[test]
fn a_message_of_the_largest_size_arrives() {
    let (first, second, ours, _) = pair();
    let payload = pattern(windrow_net::PAYLOAD_BYTES_MAX).to_vec();
    first.network.send(ours, KIND, payload.clone()).unwrap();
    assert!(second.message().1.payload == payload);
    let over = first.network.send(ours, KIND, vec![0; payload.len() + 1]);
    assert!(matches!(over, Err(NetError::Encode { .. })), "{over:?}");
    first.network.send(ours, KIND, vec![1]).unwrap();
    assert_eq!(second.message().1.payload, [1]);
}

#[test]
fn an_answer_is_pulled_whole() {
    let (first, second, ours, theirs) = pair();
    let mut pull = first.network.ask(ours, KIND, b"all of it".to_vec(), 1 << 20);
    let (link, peer, request, answer) = second.asked();
    assert_eq!((link, peer.name.as_str(), request.payload.as_slice()), (theirs, "first", &b"all of it"[..]));
    let whole = pattern(3_000_001);
    let pieces: Vec<_> =
        (0..whole.len()).step_by(70_000).map(|at| Ok(whole.slice(at..(at + 70_000).min(whole.len())))).collect();
    answer.give(pieces);
    let (bytes, end) = drain(&mut pull);
    assert!(bytes == whole);
    assert_eq!(end, Ok(()));
    assert_eq!(first.network.counters().bulk_bytes_received, 3_000_001);
    assert_eq!(second.network.counters().bulk_bytes_sent, 3_000_001);
}

#[test]
fn an_empty_answer_is_an_end() {
    let (first, second, ours, _) = pair();
    let mut pull = first.network.ask(ours, KIND, vec![], 1 << 20);
    second.asked().3.give([Ok(Bytes::new())]);
    assert_eq!(pull.read(LONG), Ok(None));
    assert_eq!(pull.try_read(), PullRead::End);
}

#[test]
fn a_refusal_comes_as_the_engine_gave_it() {
    let (first, second, ours, _) = pair();
    let mut pull = first.network.ask(ours, KIND, vec![], 1 << 20);
    second.asked().3.refuse(17, b"no such attempt".to_vec());
    let refused = NetError::Refused { code: 17, payload: b"no such attempt".to_vec() };
    assert_eq!(pull.read(LONG), Err(refused.clone()));
    assert_eq!(pull.try_read(), PullRead::Failed(refused));
}

#[test]
fn an_answer_that_breaks_off_says_why() {
    let (first, second, ours, _) = pair();
    let mut pull = first.network.ask(ours, KIND, vec![], 1 << 20);
    second.asked().3.give([Ok(pattern(100)), Err("the spool's disk is gone".to_owned()), Ok(pattern(100))]);
    let (bytes, end) = drain(&mut pull);
    assert_eq!(bytes, pattern(100));
    assert_eq!(end, Err(NetError::BrokenOff { reason: "the spool's disk is gone".to_owned() }));
}

#[test]
fn an_answer_that_is_dropped_is_told() {
    let (first, second, ours, _) = pair();
    let mut pull = first.network.ask(ours, KIND, vec![], 1 << 20);
    drop(second.asked().3);
    assert_eq!(pull.read(LONG), Err(NetError::Abandoned));
}

#[test]
fn an_answer_whose_pieces_panic_is_never_complete() {
    let (first, second, ours, _) = pair();
    let mut pull = first.network.ask(ours, KIND, vec![], 1 << 20);
    let pieces = (0..3).map(|number| if number == 2 { panic!("a bug of the engine") } else { Ok(pattern(10)) });
    second.asked().3.give(pieces);
    let (bytes, end) = drain(&mut pull);
    assert_eq!(bytes.len(), 20);
    assert!(end.is_err(), "{end:?}");
}

#[test]
fn a_reader_is_called_when_there_is_something() {
    let (first, second, ours, _) = pair();
    let mut pull = first.network.ask(ours, KIND, vec![], 1 << 20);
    assert_eq!(pull.try_read(), PullRead::Pending);
    let (told, hear) = channel();
    pull.when_ready(move || told.send(()).unwrap());
    let answer = second.asked().3;
    assert!(hear.try_recv().is_err());
    answer.give([Ok(pattern(5))]);
    hear.recv_timeout(LONG).unwrap();
    assert_eq!(pull.try_read(), PullRead::Chunk(pattern(5)));
}

#[test]
fn a_dropped_pull_stops_the_answer() {
    let (first, second, ours, _) = pair();
    let pull = first.network.ask(ours, KIND, vec![], 1 << 20);
    let (told, hear) = channel();
    struct Tell(std::sync::mpsc::Sender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let tell = Tell(told);
    let piece = pattern(1 << 20);
    second.asked().3.give(std::iter::from_fn(move || {
        let _ = &tell;
        Some(Ok(piece.clone()))
    }));
    drop(pull);
    hear.recv_timeout(LONG).expect("the pieces were kept");
    assert!(holds_soon(|| first.network.counters().pulls == 0));
    // The link is as good as before.
    let mut next = first.network.ask(ours, KIND, vec![], 1 << 20);
    second.asked().3.give([Ok(pattern(9))]);
    assert_eq!(drain(&mut next), (pattern(9).to_vec(), Ok(())));
}

#[test]
fn many_answers_at_once_keep_apart() {
    let (first, second, ours, _) = pair_with(|limits| limits.bulk_streams_max = 4);
    let pulls: Vec<_> = (0..20u8).map(|number| first.network.ask(ours, KIND, vec![number], 1 << 16)).collect();
    let readers: Vec<_> = pulls.into_iter().map(|mut pull| std::thread::spawn(move || drain(&mut pull))).collect();
    for _ in 0..20 {
        let (_, _, request, answer) = second.asked();
        answer.give(vec![Ok(Bytes::from(vec![request.payload[0]; 300_000])); 3]);
    }
    for (number, reader) in readers.into_iter().enumerate() {
        let (bytes, end) = reader.join().unwrap();
        assert_eq!((bytes.len(), end), (900_000, Ok(())));
        assert!(bytes.iter().all(|byte| usize::from(*byte) == number));
    }
}

#[test]
fn a_close_delivers_what_was_sent_before_it() {
    let (first, second, ours, theirs) = pair();
    for number in 0..50 {
        first.network.send(ours, KIND, vec![number; 10_000]).unwrap();
    }
    first.network.close(ours);
    assert!(matches!(first.network.send(ours, KIND, vec![]), Err(NetError::NotUp { .. })));
    for number in 0..50 {
        assert_eq!(second.message().1.payload, [number; 10_000]);
    }
    let (link, cause) = second.down();
    assert_eq!(link, theirs);
    assert!(matches!(cause, NetError::ClosedByPeer { .. }), "{cause:?}");
    assert_eq!(first.down(), (ours, NetError::ClosedHere));
    assert_eq!(first.network.counters().links, 0);
    assert!(matches!(first.network.send(ours, KIND, vec![]), Err(NetError::NotUp { .. })));
    let mut pull = first.network.ask(ours, KIND, vec![], 1);
    assert_eq!(pull.try_read(), PullRead::Failed(NetError::NotUp { link: ours }));
}

#[test]
fn a_shutdown_tells_every_link_once_and_at_once() {
    let (first, second, ours, _) = pair();
    let mut pull = second.network.ask(second_link(&second, &first), KIND, vec![], 1 << 20);
    let _answer = first.asked().3;
    let began = Instant::now();
    first.network.shutdown();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let mut downs: Vec<_> = [first.down(), first.down()].into();
    downs.sort_by_key(|down| down.0);
    assert_eq!(downs[0], (ours, NetError::ShutDown));
    assert_eq!(downs[1].1, NetError::ShutDown);
    first.none_within(Duration::from_millis(1));
    for _ in 0..2 {
        let cause = second.down().1;
        assert!(matches!(cause, NetError::ClosedByPeer { .. }), "{cause:?}");
    }
    let cut = pull.read(LONG);
    assert!(matches!(cut, Err(NetError::ClosedByPeer { .. })), "{cut:?}");
    first.network.shutdown();
    let mut late = first.network.ask(ours, KIND, vec![], 1);
    assert!(late.read(LONG).is_err());
}

/// A link the other way round beside the one that is there.
fn second_link(from: &Station, to: &Station) -> windrow_net::LinkId {
    from.join(to, Role::Worker).0
}

#[test]
fn a_network_can_be_shut_down_by_its_own_event() {
    let authority = authority();
    let (told, hear) = channel();
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None::<windrow_net::Network>));
    let own = std::sync::Arc::clone(&slot);
    let network = windrow_net::Network::start(options(identity(&authority, Role::Worker, "w")), move |event| {
        if let Event::Up { .. } = event
            && let Some(network) = own.lock().unwrap().take()
        {
            network.shutdown();
        }
        told.send(event).unwrap();
    })
    .unwrap();
    *slot.lock().unwrap() = Some(network.clone());
    let other = Station::of(&authority, Role::Worker, "other");
    other.network.link(network.local_address(), Role::Worker);
    let downs = std::iter::from_fn(|| hear.recv_timeout(LONG).ok()).take(2).last();
    assert!(matches!(downs, Some(Event::Down { cause: NetError::ShutDown, .. })), "{downs:?}");
}

#[test]
fn a_network_that_is_dropped_is_shut_down() {
    let (first, second, _, _) = pair();
    drop(first);
    let cause = second.down().1;
    assert!(matches!(cause, NetError::ClosedByPeer { .. }), "{cause:?}");
}

#[test]
fn a_link_that_is_closed_while_it_sends_says_so() {
    // The window is full of an answer that nobody reads, and of one that somebody reads as fast as it comes.
    for window in [1, 64 << 20] {
        let (first, second, ours, _) = pair();
        let mut pull = first.network.ask(ours, KIND, vec![], window);
        let piece = pattern(1 << 20);
        second.asked().3.give(std::iter::repeat_with(move || Ok(piece.clone())));
        assert!(matches!(pull.read(LONG), Ok(Some(_))));
        assert!(holds_soon(|| second.network.counters().bulk_bytes_sent > 2 << 20));
        let began = Instant::now();
        second.network.shutdown();
        let cause = first.down().1;
        assert!(matches!(cause, NetError::ClosedByPeer { .. }), "{cause:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let (_, end) = drain(&mut pull);
        assert!(matches!(end, Err(NetError::ClosedByPeer { .. })), "{end:?}");
    }
}
