//! The answering end of a bulk stream.
//!
//! In: a request that a peer asked. Out: pieces of bytes, or a refusal, by the one who answers, whenever it is ready.
//! Never: silence; an answer that is dropped tells the peer that it was abandoned.

use std::fmt;

use bytes::Bytes;
use tokio::sync::oneshot;

/// The pieces of an answer, oldest first; an `Err` is the reason why it breaks off.
pub(crate) type Pieces = Box<dyn Iterator<Item = Result<Bytes, String>> + Send>;

/// What the answering side decided.
pub(crate) enum Reply {
    Pieces(Pieces),
    Refusal { code: u32, payload: Vec<u8> },
}

/// A request waits for this. Dropping it ends the request with [`crate::NetError::Abandoned`] on the asking side.
pub struct Answer {
    reply: oneshot::Sender<Reply>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answer").field("is_wanted", &self.is_wanted()).finish()
    }
}

impl Answer {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Reply>) {
        let (reply, given) = oneshot::channel();
        (Self { reply }, given)
    }

    /// Whether the peer still waits; it may have cancelled, or be gone.
    pub fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Answers with pieces of bytes. The network thread pulls the iterator as the peer takes the bytes and sends them
    /// without a copy, so `next` must not block: its bytes are in memory or mapped. It is dropped as soon as the answer is
    /// sent or no longer wanted. An `Err` breaks the answer off; the peer gets its text.
    pub fn give<P>(self, pieces: P)
    where
        P: IntoIterator<Item = Result<Bytes, String>>,
        P::IntoIter: Send + 'static,
    {
        // An answer that nobody waits for is dropped here, as `is_wanted` would have said.
        let _ = self.reply.send(Reply::Pieces(Box::new(pieces.into_iter())));
    }

    /// Refuses, with the engine's code and reason (at most [`crate::REFUSAL_BYTES_MAX`] bytes, the rest is cut off).
    pub fn refuse(self, code: u32, payload: Vec<u8>) {
        let _ = self.reply.send(Reply::Refusal { code, payload });
    }
}
