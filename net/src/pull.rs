//! The asking end of a bulk stream: bytes of an answer as they come, never more held than the reader has room for.
//!
//! In: from the network thread, chunks and the outcome. Out: to one reader, the chunks in order, and an end that differs
//! from every failure. Never: a chunk beyond the window while the reader holds still; a reader that waits without a
//! deadline.
//!
//! The network thread stops reading when `held` reaches the window, and the peer stops when QUIC's stream window behind
//! it is full too. The reader takes chunks in batches of a quarter of the window, so that one lock serves many chunks and
//! three quarters can be filled again while a batch is worked on; a batch counts as held until it is read.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::error::NetError;

/// What [`Pull::try_read`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullRead {
    /// The next bytes, not empty.
    Chunk(Bytes),
    /// Nothing yet; [`Pull::when_ready`] tells when to ask again.
    Pending,
    /// The answer is complete.
    End,
    /// There will be no more, and the answer is not complete. [`NetError::Refused`] is the peer's own refusal.
    Failed(NetError),
}

/// An answer that is being pulled. Dropping it cancels: the peer stops sending.
pub struct Pull {
    shared: Arc<Shared>,
    /// Taken out of `shared` together; counted as held until all of it is read and the reader comes for more.
    batch: VecDeque<Bytes>,
}

/// What the reader and the network thread share.
pub(crate) struct Shared {
    window_bytes: usize,
    state: Mutex<State>,
    /// Told with every change of `state` that a blocked reader could wait for.
    arrived: Condvar,
    /// Told when the window opens.
    room: Notify,
    /// Told when the reader is gone.
    cancelled: Notify,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks` and in the reader's batch.
    held: usize,
    /// Of them, those in the reader's batch.
    batch_bytes: usize,
    /// `Some` once nothing more will come; the chunks before it may still wait.
    outcome: Option<Result<(), NetError>>,
    actions: Vec<Box<dyn FnOnce() + Send>>,
    is_blocked: bool,
}

impl State {
    fn is_ready(&self) -> bool {
        !self.chunks.is_empty() || self.outcome.is_some()
    }
}

impl Shared {
    pub(crate) fn new(window_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            window_bytes: window_bytes.max(1),
            state: Mutex::default(),
            arrived: Condvar::new(),
            room: Notify::new(),
            cancelled: Notify::new(),
        })
    }

    /// How many bytes may come now; 0 means to wait for [`Shared::room`].
    pub(crate) fn room_bytes(&self) -> usize {
        self.window_bytes.saturating_sub(self.lock().held)
    }

    /// Told when the window opens; a permit is kept if nobody waits.
    pub(crate) fn room(&self) -> &Notify {
        &self.room
    }

    /// Told when the [`Pull`] is dropped; a permit is kept if nobody waits.
    pub(crate) fn cancelled(&self) -> &Notify {
        &self.cancelled
    }

    /// Puts chunks behind those that wait, and empties `chunks`.
    pub(crate) fn handle_chunks(&self, chunks: &mut Vec<Bytes>) {
        let mut state = self.lock();
        state.held += chunks.iter().map(Bytes::len).sum::<usize>();
        state.chunks.extend(chunks.drain(..));
        self.tell(state);
    }

    /// Nothing more will come; the first outcome stands.
    pub(crate) fn handle_outcome(&self, outcome: Result<(), NetError>) {
        let mut state = self.lock();
        state.outcome.get_or_insert(outcome);
        self.tell(state);
    }

    /// Runs what waited for the state to be ready, with the lock released.
    fn tell(&self, mut state: MutexGuard<'_, State>) {
        if !state.is_ready() {
            return;
        }
        let actions = std::mem::take(&mut state.actions);
        let is_blocked = state.is_blocked;
        drop(state);
        if is_blocked {
            self.arrived.notify_all();
        }
        for action in actions {
            action();
        }
    }

    /// The reader is done with its batch.
    fn give_back(&self, state: &mut State) {
        if state.batch_bytes == 0 {
            return;
        }
        let was_full = state.held >= self.window_bytes;
        state.held -= std::mem::take(&mut state.batch_bytes);
        if was_full && state.held < self.window_bytes {
            self.room.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pull {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        formatter.debug_struct("Pull").field("held", &state.held).field("outcome", &state.outcome).finish()
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.shared.cancelled.notify_one();
        // An action that was to tell the reader has nobody to tell; it may hold the reader's things.
        let actions = std::mem::take(&mut self.shared.lock().actions);
        drop(actions);
    }
}

impl Pull {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, batch: VecDeque::new() }
    }

    /// The next bytes, if they are here.
    pub fn try_read(&mut self) -> PullRead {
        if let Some(chunk) = self.batch.pop_front() {
            return PullRead::Chunk(chunk);
        }
        let shared = Arc::clone(&self.shared);
        let state = shared.lock();
        self.take_batch(state)
    }

    /// The next bytes, waiting for them at most as long as `deadline`; `None` at the end. Not to be called on the network
    /// thread, which would wait for itself.
    ///
    /// # Errors
    /// Why the answer is not complete, or [`NetError::NotInTime`] if nothing came; the latter changes nothing, the read may
    /// be tried again.
    pub fn read(&mut self, deadline: Duration) -> Result<Option<Bytes>, NetError> {
        let read = match self.batch.pop_front() {
            Some(chunk) => PullRead::Chunk(chunk),
            None => self.wait(deadline),
        };
        match read {
            PullRead::Chunk(chunk) => Ok(Some(chunk)),
            PullRead::End => Ok(None),
            PullRead::Failed(error) => Err(error),
            PullRead::Pending => Err(NetError::NotInTime { after: deadline }),
        }
    }

    /// Runs `action` once, as soon as [`Pull::try_read`] would not say [`PullRead::Pending`]: here and now if so already,
    /// else on the network thread, which it must not hold up. Dropped without being run if the pull is dropped.
    pub fn when_ready(&self, action: impl FnOnce() + Send + 'static) {
        if self.batch.is_empty() {
            let mut state = self.shared.lock();
            // Who waits for more has read what it took: the window must open, or nothing would come.
            self.shared.give_back(&mut state);
            if !state.is_ready() {
                state.actions.push(Box::new(action));
                return;
            }
        }
        action();
    }

    fn wait(&mut self, deadline: Duration) -> PullRead {
        let shared = Arc::clone(&self.shared);
        let until = Instant::now() + deadline;
        let mut state = shared.lock();
        // As above: what was taken is read.
        shared.give_back(&mut state);
        while !state.is_ready() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return PullRead::Pending;
            }
            state.is_blocked = true;
            (state, _) = shared.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state.is_blocked = false;
        }
        self.take_batch(state)
    }

    fn take_batch(&mut self, mut state: MutexGuard<'_, State>) -> PullRead {
        self.shared.give_back(&mut state);
        while state.batch_bytes <= self.shared.window_bytes / 4
            && let Some(chunk) = state.chunks.pop_front()
        {
            state.batch_bytes += chunk.len();
            self.batch.push_back(chunk);
        }
        match (self.batch.pop_front(), &state.outcome) {
            (Some(chunk), _) => PullRead::Chunk(chunk),
            (None, None) => PullRead::Pending,
            (None, Some(Ok(()))) => PullRead::End,
            (None, Some(Err(error))) => PullRead::Failed(error.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn pull(window: usize) -> (Arc<Shared>, Pull) {
        let shared = Shared::new(window);
        (Arc::clone(&shared), Pull::new(shared))
    }

    fn chunk(bytes: usize) -> Bytes {
        Bytes::from(vec![bytes as u8; bytes])
    }

    #[test]
    fn chunks_come_in_order_and_then_the_end() {
        let (shared, mut pull) = pull(100);
        assert_eq!(pull.try_read(), PullRead::Pending);
        shared.handle_chunks(&mut vec![chunk(1), chunk(2)]);
        shared.handle_chunks(&mut vec![chunk(3)]);
        shared.handle_outcome(Ok(()));
        shared.handle_outcome(Err(NetError::Abandoned));
        for bytes in 1..=3 {
            assert_eq!(pull.try_read(), PullRead::Chunk(chunk(bytes)));
        }
        assert_eq!(pull.try_read(), PullRead::End);
        assert_eq!(pull.read(LONG), Ok(None));
    }

    #[test]
    fn a_failure_comes_after_what_came_before_it() {
        let (shared, mut pull) = pull(100);
        shared.handle_chunks(&mut vec![chunk(1)]);
        shared.handle_outcome(Err(NetError::Abandoned));
        assert_eq!(pull.read(LONG), Ok(Some(chunk(1))));
        assert_eq!(pull.try_read(), PullRead::Failed(NetError::Abandoned));
        assert_eq!(pull.read(LONG), Err(NetError::Abandoned));
    }

    #[test]
    fn the_window_is_held_until_what_was_taken_is_read() {
        let (shared, mut pull) = pull(100);
        shared.handle_chunks(&mut vec![chunk(30), chunk(30), chunk(40)]);
        assert_eq!(shared.room_bytes(), 0);
        assert_eq!(pull.try_read(), PullRead::Chunk(chunk(30)));
        assert_eq!(shared.room_bytes(), 0, "the reader works on it");
        assert_eq!(pull.try_read(), PullRead::Chunk(chunk(30)));
        assert_eq!(shared.room_bytes(), 30);
        assert_eq!(pull.try_read(), PullRead::Chunk(chunk(40)));
        assert_eq!(pull.try_read(), PullRead::Pending);
        assert_eq!(shared.room_bytes(), 100);
    }

    #[test]
    fn an_action_runs_once_when_it_should() {
        let (shared, mut pull) = pull(100);
        let (told, hear) = mpsc::channel();
        let action = |word: &'static str| {
            let told = told.clone();
            move || told.send(word).unwrap()
        };
        pull.when_ready(action("first"));
        assert!(hear.try_recv().is_err());
        shared.handle_chunks(&mut vec![chunk(1)]);
        assert_eq!(hear.try_recv(), Ok("first"));
        pull.when_ready(action("at once"));
        assert_eq!(hear.try_recv(), Ok("at once"));
        pull.try_read();
        pull.when_ready(action("end"));
        assert!(hear.try_recv().is_err());
        shared.handle_outcome(Ok(()));
        assert_eq!(hear.try_recv(), Ok("end"));
        assert!(hear.try_recv().is_err());
    }

    #[test]
    fn a_blocked_reader_is_woken_and_waits_no_longer_than_its_deadline() {
        let (shared, mut pull) = pull(100);
        let short = Duration::from_millis(5);
        assert_eq!(pull.read(short), Err(NetError::NotInTime { after: short }));
        let reader = std::thread::spawn(move || (pull.read(LONG), pull.read(LONG)));
        shared.handle_chunks(&mut vec![chunk(8)]);
        shared.handle_outcome(Ok(()));
        assert_eq!(reader.join().unwrap(), (Ok(Some(chunk(8))), Ok(None)));
    }
}
