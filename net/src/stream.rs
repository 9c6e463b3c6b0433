//! What travels on a bulk stream, as values: one request, then an answer in pieces.
//!
//! In: on the asking side, chunks of the answer in any cut; on the answering side, chunks of the request and the pieces of
//! the answer. Out: the bytes of the answer without a copy, or why there are none; the message; the pieces' headers.
//! Never: a socket, a clock, a copy of an answer's bytes.
//!
//! ```text
//! request:   one message (message.rs), end of stream
//! answer:    head ─► piece ─► piece ─► … ─► end ─► end of stream
//!
//!  head      one message: kind 0 "given", no payload
//!                     or: kind 1 "refused", payload = code u32 ─ the engine's refusal; then the end of the stream
//!  piece     ┌──────────────┬───────┐   length 1..=PIECE_BYTES_MAX
//!            │ length  u32  │ bytes │
//!            └──────────────┴───────┘
//!  end       a length of 0: the answer is complete
//!  broken    ┌──────────────┬────────────────┐   bit 31 is set, the rest is the length of the reason; then the
//!  off       │ 1 ─ length   │ reason  UTF-8  │   end of the stream
//!            └──────────────┴────────────────┘
//! ```
//!
//! The end is marked, as the end of a QUIC stream proves nothing: a sender that dies in the middle of an answer ends its
//! stream in the same way as one that is done. Pieces have no checksum: TLS keeps them whole, and what is in them has its
//! own.

use bytes::{Buf, Bytes};

use crate::{
    error::{MessageError, NetError},
    limits::{PIECE_BYTES_MAX, REASON_BYTES_MAX, REFUSAL_BYTES_MAX},
    message::{Decoder, Message, MessageKind, encode},
};

/// An answer follows.
const GIVEN: MessageKind = MessageKind(0);

/// No answer follows, and why.
const REFUSED: MessageKind = MessageKind(1);

/// Set in a length: not a piece but the reason why the answer broke off.
const BROKEN_OFF: u32 = 1 << 31;

/// Bytes of a refusal's code.
const CODE_BYTES: usize = 4;

/// The head of an answer that is given.
pub(crate) fn given() -> Result<Vec<u8>, MessageError> {
    let mut bytes = Vec::new();
    encode(GIVEN, &[], &mut bytes)?;
    Ok(bytes)
}

/// The whole answer to a request that is refused; what the payload has over its limit is cut off.
pub(crate) fn refused(code: u32, mut payload: Vec<u8>) -> Result<Vec<u8>, MessageError> {
    payload.truncate(REFUSAL_BYTES_MAX);
    payload.splice(0..0, code.to_le_bytes());
    let mut bytes = Vec::new();
    encode(REFUSED, &payload, &mut bytes)?;
    Ok(bytes)
}

/// The next piece of `bytes` with the header to send before it; `None` once nothing is left.
pub(crate) fn next_piece(bytes: &mut Bytes) -> Option<[Bytes; 2]> {
    if bytes.is_empty() {
        return None;
    }
    let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
    // Lossless: the limit is below bit 31, proved in `limits.rs`.
    Some([Bytes::copy_from_slice(&(piece.len() as u32).to_le_bytes()), piece])
}

/// The end of an answer that is complete.
pub(crate) fn end() -> Bytes {
    Bytes::from_static(&[0; 4])
}

/// The end of an answer that broke off.
pub(crate) fn broken_off(reason: &str) -> Bytes {
    let mut length = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(length) {
        length -= 1;
    }
    let mut bytes = (length as u32 | BROKEN_OFF).to_le_bytes().to_vec();
    bytes.extend_from_slice(&reason.as_bytes()[..length]);
    bytes.into()
}

/// Reads the request of a stream.
#[derive(Debug, Default)]
pub(crate) struct RequestReader {
    decoder: Decoder,
    request: Option<Message>,
}

impl RequestReader {
    /// Takes bytes of the stream.
    pub(crate) fn handle_bytes(&mut self, mut bytes: &[u8]) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            if self.request.is_some() {
                return Err(StreamError::Protocol { detail: "its request goes on after its end" });
            }
            bytes = &bytes[self.decoder.handle_bytes(bytes)..];
            self.request = self.decoder.poll_message()?;
        }
        Ok(())
    }

    /// The stream ended.
    pub(crate) fn finish(self) -> Result<Message, StreamError> {
        self.decoder.finish()?;
        self.request.ok_or(StreamError::Protocol { detail: "it opened a stream and asked nothing" })
    }
}

/// Reads an answer. An error is final.
#[derive(Debug)]
pub(crate) struct AnswerReader {
    state: State,
}

/// `Head → Length ⇄ Piece`, `Length → Ended`, `Length → Reason`, `Head → Refused`.
#[derive(Debug)]
enum State {
    Head(Decoder),
    /// Between two pieces; `bytes[..held]` of the next length came.
    Length {
        bytes: [u8; 4],
        held: usize,
    },
    /// Invariant: `left > 0`.
    Piece {
        left: usize,
    },
    /// The end mark came.
    Ended,
    /// Invariant: `held.len() <= length <= REASON_BYTES_MAX`.
    Reason {
        length: usize,
        held: Vec<u8>,
    },
    Refused(NetError),
}

/// Why a stream is of no use; the driver adds the peer's address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamError {
    /// The request or the head of the answer could not be read.
    Message(MessageError),
    /// The bytes are not of this protocol.
    Protocol { detail: &'static str },
    /// The peer said so itself.
    Said(NetError),
}

impl From<MessageError> for StreamError {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

const BETWEEN: State = State::Length { bytes: [0; 4], held: 0 };

impl AnswerReader {
    pub(crate) fn new() -> Self {
        Self { state: State::Head(Decoder::new()) }
    }

    /// Takes the next chunk; appends the answer's bytes in it to `out`, as slices of it.
    pub(crate) fn handle_chunk(&mut self, mut chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), StreamError> {
        while !chunk.is_empty() {
            match &mut self.state {
                State::Piece { left } => {
                    let piece = chunk.split_to(chunk.len().min(*left));
                    *left -= piece.len();
                    out.push(piece);
                    if *left == 0 {
                        self.state = BETWEEN;
                    }
                }
                State::Length { bytes, held } => {
                    let taken = chunk.len().min(bytes.len() - *held);
                    bytes[*held..*held + taken].copy_from_slice(&chunk[..taken]);
                    *held += taken;
                    chunk.advance(taken);
                    if *held == bytes.len() {
                        self.state = after_length(u32::from_le_bytes(*bytes))?;
                    }
                }
                State::Head(decoder) => {
                    let taken = decoder.handle_bytes(&chunk);
                    chunk.advance(taken);
                    if let Some(head) = decoder.poll_message()? {
                        self.state = after_head(head)?;
                    }
                }
                State::Reason { length, held } => {
                    let taken = chunk.len().min(*length - held.len());
                    held.extend_from_slice(&chunk[..taken]);
                    chunk.advance(taken);
                    if taken == 0 {
                        return Err(StreamError::Protocol { detail: "its answer goes on after it broke off" });
                    }
                }
                State::Ended | State::Refused(_) => {
                    return Err(StreamError::Protocol { detail: "its answer goes on after its end" });
                }
            }
        }
        Ok(())
    }

    /// The stream ended, and was not reset.
    pub(crate) fn finish(self) -> Result<(), StreamError> {
        match self.state {
            State::Ended => Ok(()),
            State::Length { .. } | State::Piece { .. } => {
                Err(StreamError::Protocol { detail: "its answer stops without an end" })
            }
            State::Head(decoder) => {
                decoder.finish()?;
                Err(StreamError::Said(NetError::Abandoned))
            }
            State::Reason { length, held } if held.len() == length => {
                let reason = String::from_utf8_lossy(&held).into_owned();
                Err(StreamError::Said(NetError::BrokenOff { reason }))
            }
            State::Reason { .. } => Err(StreamError::Protocol { detail: "its answer ends inside a reason" }),
            State::Refused(error) => Err(StreamError::Said(error)),
        }
    }
}

fn after_head(head: Message) -> Result<State, StreamError> {
    match (head.kind, head.payload.split_first_chunk::<CODE_BYTES>()) {
        (GIVEN, None) if head.payload.is_empty() => Ok(BETWEEN),
        (REFUSED, Some((code, payload))) if payload.len() <= REFUSAL_BYTES_MAX => {
            Ok(State::Refused(NetError::Refused { code: u32::from_le_bytes(*code), payload: payload.to_vec() }))
        }
        _ => Err(StreamError::Protocol { detail: "its answer has no head that we know" }),
    }
}

fn after_length(length: u32) -> Result<State, StreamError> {
    let is_broken_off = length & BROKEN_OFF != 0;
    match (is_broken_off, (length & !BROKEN_OFF) as usize) {
        (false, 0) => Ok(State::Ended),
        (false, left @ 1..=PIECE_BYTES_MAX) => Ok(State::Piece { left }),
        (true, length @ 0..=REASON_BYTES_MAX) => Ok(State::Reason { length, held: Vec::new() }),
        _ => Err(StreamError::Protocol { detail: "a piece of its answer has a length over the limit" }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `bytes` cut after each of `cuts`.
    fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Result<(), StreamError>) {
        let mut reader = AnswerReader::new();
        let mut out = Vec::new();
        let whole = Bytes::copy_from_slice(bytes);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
        ends.sort_unstable();
        let mut from = 0;
        for to in ends {
            if let Err(error) = reader.handle_chunk(whole.slice(from..to), &mut out) {
                return (out.concat(), Err(error));
            }
            from = to;
        }
        (out.concat(), reader.finish())
    }

    fn answer(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = unended(pieces);
        bytes.extend(end());
        bytes
    }

    fn unended(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = given().unwrap();
        for piece in pieces {
            let mut piece = Bytes::from(piece.clone());
            while let Some(parts) = next_piece(&mut piece) {
                bytes.extend(parts.concat());
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn an_answer_is_read_whole_in_any_cut(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let (bytes, outcome) = read(&answer(&pieces), &cuts);
            prop_assert_eq!(bytes, pieces.concat());
            prop_assert_eq!(outcome, Ok(()));
        }

        #[test]
        fn a_refusal_keeps_its_code_and_payload(
            code: u32,
            payload in prop::collection::vec(any::<u8>(), 0..40),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let (bytes, outcome) = read(&refused(code, payload.clone()).unwrap(), &cuts);
            prop_assert!(bytes.is_empty());
            prop_assert_eq!(outcome, Err(StreamError::Said(NetError::Refused { code, payload })));
        }

        #[test]
        fn a_broken_answer_gives_what_came_and_the_reason(
            piece in prop::collection::vec(any::<u8>(), 0..40),
            reason in ".{0,30}",
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let mut wire = unended(std::slice::from_ref(&piece));
            wire.extend(broken_off(&reason));
            let (bytes, outcome) = read(&wire, &cuts);
            prop_assert_eq!(bytes, piece);
            prop_assert_eq!(outcome, Err(StreamError::Said(NetError::BrokenOff { reason })));
        }

        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes, &[]).1.is_err());
            let mut wire = given().unwrap();
            wire.extend(bytes);
            let _ = read(&wire, &[]);
        }
    }

    #[test]
    fn an_answer_cut_short_is_never_an_end() {
        let whole = answer(&[vec![1; 5], vec![2; 3]]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length], &[]).1.is_err(), "{length}");
        }
        assert!(read(&whole, &[]).1.is_ok());
        assert!(matches!(read(&[whole, vec![0]].concat(), &[]).1, Err(StreamError::Protocol { .. })));
    }

    #[test]
    fn lengths_over_the_limit_are_refused_before_memory_is_asked_for() {
        for length in [PIECE_BYTES_MAX as u32 + 1, BROKEN_OFF - 1, BROKEN_OFF | 4097, u32::MAX] {
            let mut wire = given().unwrap();
            wire.extend(length.to_le_bytes());
            assert!(matches!(read(&wire, &[]).1, Err(StreamError::Protocol { .. })), "{length}");
        }
        let mut long = given().unwrap();
        encode(REFUSED, &[0; CODE_BYTES + REFUSAL_BYTES_MAX + 1], &mut long).unwrap();
        assert!(matches!(read(&long[given().unwrap().len()..], &[]).1, Err(StreamError::Protocol { .. })));
    }

    #[test]
    fn long_pieces_are_cut_and_long_reasons_shortened() {
        let mut large = Bytes::from(vec![7; 2 * PIECE_BYTES_MAX + 1]);
        let lengths: Vec<usize> = std::iter::from_fn(|| next_piece(&mut large)).map(|[_, piece]| piece.len()).collect();
        assert_eq!(lengths, [PIECE_BYTES_MAX, PIECE_BYTES_MAX, 1]);
        let reason = "é".repeat(REASON_BYTES_MAX);
        let mut wire = given().unwrap();
        wire.extend(broken_off(&reason));
        let expected = "é".repeat(REASON_BYTES_MAX / 2);
        assert_eq!(read(&wire, &[]).1, Err(StreamError::Said(NetError::BrokenOff { reason: expected })));
        let refusal = refused(1, vec![9; REFUSAL_BYTES_MAX + 5]).unwrap();
        let Err(StreamError::Said(NetError::Refused { payload, .. })) = read(&refusal, &[]).1 else { panic!() };
        assert_eq!(payload.len(), REFUSAL_BYTES_MAX);
    }

    #[test]
    fn a_request_is_one_message_and_then_the_end() {
        let mut wire = Vec::new();
        encode(MessageKind(4), b"what", &mut wire).unwrap();
        for cut in 0..=wire.len() {
            let mut reader = RequestReader::default();
            reader.handle_bytes(&wire[..cut]).unwrap();
            reader.handle_bytes(&wire[cut..]).unwrap();
            assert_eq!(reader.finish().unwrap(), Message { kind: MessageKind(4), payload: b"what".to_vec() });
            let mut short = RequestReader::default();
            short.handle_bytes(&wire[..cut]).unwrap();
            assert_eq!(short.finish().is_ok(), cut == wire.len());
        }
        wire.push(0);
        assert!(matches!(RequestReader::default().handle_bytes(&wire), Err(StreamError::Protocol { .. })));
    }
}
