//! The envelope as its users see it: what is encoded comes back whole, whatever the cuts; what is damaged comes back as
//! an error.
//!
//! In: random and hand-made messages. Out: passed or failed. Never: a look at the decoder's inside; headers are made
//! here by hand, so that the format itself is tested and not only its agreement with itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use twox_hash::XxHash3_64;
use windrow_net::{
    Decoder, HEADER_BYTES, MESSAGE_BYTES_MAX, MESSAGE_VERSION, Message, MessageError, MessageKind, PAYLOAD_BYTES_MAX,
    encode,
};

fn encoded(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(MessageKind(kind), payload, &mut bytes).unwrap();
    bytes
}

/// Gives `stream` in chunks of the sizes in `cuts` (over and over), as the doc of `Decoder` tells its users to.
fn decoded(stream: &[u8], cuts: &[usize]) -> Result<Vec<Message>, MessageError> {
    let (mut decoder, mut messages, mut rest, mut cut) = (Decoder::new(), Vec::new(), stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let (mut chunk, after) = rest.split_at((*cut.next().unwrap()).clamp(1, rest.len()));
        rest = after;
        while !chunk.is_empty() {
            chunk = &chunk[decoder.handle_bytes(chunk)..];
            messages.extend(decoder.poll_message()?);
        }
    }
    decoder.finish()?;
    Ok(messages)
}

/// A header as the drawing in `message.rs` has it, written a second time.
fn header(version: u16, kind: u16, payload_bytes: u32, payload_checksum: u64) -> Vec<u8> {
    let mut bytes = b"WNDM".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(payload_bytes.to_le_bytes());
    bytes.extend((XxHash3_64::oneshot(&bytes) as u32).to_le_bytes());
    bytes.extend(payload_checksum.to_le_bytes());
    bytes
}

proptest! {
    #[test]
    fn a_stream_comes_back_whatever_its_cuts(
        sent in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..2_000)), 0..12),
        cuts in prop::collection::vec(1..600_usize, 1..20),
    ) {
        let message = |(kind, payload)| Message { kind: MessageKind(kind), payload };
        let sent: Vec<Message> = sent.into_iter().map(message).collect();
        let mut stream = Vec::new();
        for message in &sent {
            encode(message.kind, &message.payload, &mut stream).unwrap();
        }
        prop_assert_eq!(decoded(&stream, &cuts).unwrap(), sent);
    }

    #[test]
    fn bytes_that_are_not_ours_never_become_a_message(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        // Random bytes hit the magic once in 2^32: no message is the only right answer.
        prop_assert!(decoded(&stream, &[7]).map_or(true, |messages| messages.is_empty() && stream.is_empty()));
    }
}

#[test]
fn the_format_is_what_the_drawing_says() {
    let payload = b"a windrow is a row of mown grass";
    let mut expected = header(MESSAGE_VERSION, 0x0102, payload.len() as u32, XxHash3_64::oneshot(payload));
    expected.extend(payload);
    assert_eq!(encoded(0x0102, payload), expected);
    assert_eq!(HEADER_BYTES, 24);
    // Bytes written down once, so that a change of the checksum itself is seen too; the last eight are the known
    // XXH3-64 of no bytes, 0x2d06800538d394c2.
    let golden = "574e444d0100070000000000b8a80eb1c294d3380580062d";
    let hex: String = encoded(7, b"").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden);
}

#[test]
fn every_flipped_bit_is_an_error() {
    for payload in [&b""[..], b"x", b"threshed"] {
        let whole = encoded(7, payload);
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = decoded(&damaged, &[5]).expect_err("a flipped bit was not seen");
            let is_expected = match bit / 8 {
                0..4 => matches!(error, MessageError::NotOurs { .. }),
                4..6 => matches!(error, MessageError::Version { .. }),
                6..16 => matches!(error, MessageError::HeaderChecksum { .. }),
                _ => error == MessageError::PayloadChecksum { kind: MessageKind(7), bytes: payload.len() },
            };
            assert!(is_expected, "bit {bit}: {error}");
        }
    }
}

#[test]
fn a_truncated_message_waits_and_then_is_an_error() {
    let whole = encoded(7, b"threshed");
    for held in 0..whole.len() {
        let mut decoder = Decoder::new();
        let mut rest = &whole[..held];
        while !rest.is_empty() {
            rest = &rest[decoder.handle_bytes(rest)..];
        }
        assert_eq!(decoder.poll_message(), Ok(None), "{held} bytes");
        let needed = if held < HEADER_BYTES { HEADER_BYTES } else { whole.len() };
        let expected = if held == 0 { Ok(()) } else { Err(MessageError::Truncated { held, needed }) };
        assert_eq!(decoder.finish(), expected, "{held} bytes");
    }
}

#[test]
fn too_long_is_refused_before_it_is_read() {
    for bytes in [PAYLOAD_BYTES_MAX + 1, u32::MAX as usize] {
        let mut decoder = Decoder::new();
        let header = header(MESSAGE_VERSION, 7, bytes as u32, 0);
        assert_eq!(decoder.handle_bytes(&header), HEADER_BYTES);
        assert_eq!(decoder.poll_message(), Err(MessageError::TooLong { bytes, limit: PAYLOAD_BYTES_MAX }));
    }
}

#[test]
fn the_limit_holds_on_both_sides_and_is_itself_allowed() {
    let mut payload = vec![0xA5; PAYLOAD_BYTES_MAX];
    let whole = encoded(7, &payload);
    assert_eq!(whole.len(), MESSAGE_BYTES_MAX);
    assert_eq!(decoded(&whole, &[1 << 20]).unwrap(), [Message { kind: MessageKind(7), payload: payload.clone() }]);

    payload.push(0);
    let mut out = b"as it was".to_vec();
    let refused = encode(MessageKind(7), &payload, &mut out);
    assert_eq!(refused, Err(MessageError::TooLong { bytes: PAYLOAD_BYTES_MAX + 1, limit: PAYLOAD_BYTES_MAX }));
    assert_eq!(out, b"as it was");
}

#[test]
fn another_version_is_refused_without_reading_on() {
    // The checksum field is wrong for this version: another version may keep something else there.
    let mut bytes = encoded(7, b"threshed");
    bytes[4] = 2;
    assert_eq!(decoded(&bytes, &[100]), Err(MessageError::Version { found: 2, supported: 1 }));
}

#[test]
fn an_error_is_final() {
    let mut decoder = Decoder::new();
    let mut stream = b"GET / HTTP/1.1\r\nHost: windrow\r\n\r\n".to_vec();
    let expected = MessageError::NotOurs { found: *b"GET " };
    assert_eq!(decoder.handle_bytes(&stream), stream.len());
    assert_eq!(decoder.poll_message(), Err(expected.clone()));

    stream = encoded(7, b"a good message after a bad one");
    assert_eq!(decoder.handle_bytes(&stream), stream.len());
    assert_eq!(decoder.poll_message(), Err(expected.clone()));
    assert_eq!(decoder.poll_message(), Err(expected.clone()));
    assert_eq!(decoder.finish(), Err(expected));
}

#[test]
fn one_message_is_held_at_a_time_and_none_is_lost_in_silence() {
    let (first, second) = (encoded(1, b"first"), encoded(2, b"second"));
    let stream = [&first[..], &second[..]].concat();
    let mut decoder = Decoder::new();
    assert_eq!(decoder.handle_bytes(&stream), first.len());
    assert_eq!(decoder.handle_bytes(&stream[first.len()..]), 0, "the first one still waits");
    assert_eq!(decoder.poll_message().unwrap().unwrap().payload, b"first");
    assert_eq!(decoder.handle_bytes(&stream[first.len()..]), second.len());
    assert_eq!(decoder.finish(), Err(MessageError::NotPolled { kind: MessageKind(2), bytes: 6 }));
}

#[test]
fn errors_say_what_was_tried_on_what_and_why() {
    let sentence = decoded(b"\x16\x03\x01\x02 a client hello of TLS", &[100]).unwrap_err().to_string();
    assert_eq!(
        sentence,
        "could not decode a message: it begins with \"\\x16\\x03\\x01\\x02\" instead of \"WNDM\", so \
         this is not a windrow peer"
    );
}
