//! An output in order: what threads encode at the same time, in one file.
//!
//! In: morsels with their places, 0, 1, 2… each a split of its own, on any threads. Out: one file that has their rows in the order of the places.
//! Never: holds more than a few pieces: a thread that is too far ahead is told to wait.
//!
//! ```text
//!   thread A   morsel 4 ──► bytes ──┐  turn 3: waits beside the file
//!   thread B   morsel 3 ──► bytes ──┴─ turn 3: appended, and 4 behind it
//! ```
//! Only appending is done one after the other. A thread that holds a morsel never waits before it has given it, so the turn always comes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::write::Writing;
use crate::{
    batch::Morsel,
    error::{Result, bug},
    memory::Reservation,
    operator::{Outcome, Sink, SinkThread, Task, Wake},
    shuffle::digest::Digest,
    store::Appender,
};

/// Whose turn it is.
pub(super) struct InOrder(Mutex<Turns>);

struct Turns {
    /// The place whose bytes are appended next.
    next: u32,
    /// Of places behind it.
    waiting: BTreeMap<u32, Vec<u8>>,
    waiting_bytes: u64,
    reservation: Reservation,
    file: Option<(u32, Appender)>,
    /// Threads that were too far ahead.
    ahead: Vec<Wake>,
}

impl InOrder {
    pub(super) fn new(reservation: Reservation) -> InOrder {
        InOrder(Mutex::new(Turns {
            next: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            reservation,
            file: None,
            ahead: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a place, which are appended when it is its turn.
    fn add(&self, place: u32, bytes: Vec<u8>, writing: &Writing) -> Result<Outcome> {
        let mut turns = self.lock();
        turns.waiting_bytes += bytes.len() as u64;
        if turns.waiting.insert(place, bytes).is_some() || place < turns.next {
            return Err(bug("sink", "a place of an order twice"));
        }
        let mut has_room = true;
        while let Some(bytes) = turns.take_next() {
            if turns.file.is_none() {
                turns.file = Some(writing.open_file()?);
            }
            if let Some((_, file)) = &turns.file
                && !bytes.is_empty()
            {
                has_room = file.append(bytes)?;
            }
        }
        let held_bytes = turns.waiting_bytes;
        turns.reservation.resize(held_bytes)?;
        let woken = if turns.next > place { std::mem::take(&mut turns.ahead) } else { Vec::new() };
        let wake = Wake::default();
        if turns.waiting.len() > 2 * writing.threads() {
            turns.ahead.push(wake.clone());
        } else if let (false, Some((_, file))) = (has_room, &turns.file) {
            let rung = wake.clone();
            file.when_room(move || rung.fire());
        } else {
            wake.fire();
            drop(turns);
            woken.iter().for_each(Wake::fire);
            return Ok(Outcome::More);
        }
        drop(turns);
        woken.iter().for_each(Wake::fire);
        Ok(Outcome::Blocked(wake))
    }
}

impl Turns {
    /// The bytes whose turn it is.
    fn take_next(&mut self) -> Option<Vec<u8>> {
        let bytes = self.waiting.remove(&self.next)?;
        self.next += 1;
        self.waiting_bytes -= bytes.len() as u64;
        Some(bytes)
    }
}

/// [`Writing`] as a sink that keeps the order.
pub(super) struct OrderedSink(pub(super) Arc<Writing>);

impl Sink for OrderedSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(OrderedThread { shared: Arc::clone(&self.0), digest: Digest::default() }))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let mut turns = self.0.in_order()?.lock();
        if !turns.waiting.is_empty() {
            return Err(bug("sink", "an order has a gap"));
        }
        if let Some((number, file)) = turns.file.take() {
            self.0.add_file(String::new(), number, file);
        }
        drop(turns);
        self.0.tell_columns()?;
        Ok(Vec::new())
    }
}

struct OrderedThread {
    shared: Arc<Writing>,
    digest: Digest,
}

impl SinkThread for OrderedThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let place = morsel.position.ok_or_else(|| bug("sink", "a morsel of an order without its place"))?.split;
        self.digest.merge(&Digest::of(&morsel.batch)?);
        self.shared.count(morsel.batch.num_rows());
        let mut encoder = self.shared.encoder()?;
        encoder.push(&morsel.batch)?;
        self.shared.in_order()?.add(place, encoder.finish()?, &self.shared)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.shared.add_digest(&self.digest);
        Ok(())
    }
}
