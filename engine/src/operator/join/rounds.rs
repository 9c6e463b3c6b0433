//! The rounds of a join whose build side went to disk: partition after partition, each with a table of its own.
//!
//! In: [`Round`]s, once all probe rows are on disk. Out: what the kind of join gives of them: pairs, probe rows, build rows. Never: two
//! tables at a time that memory does not hold; waits for memory while nobody would give it back.
//!
//! ```text
//!   waiting rounds ──take──┬─ its table fits ────────────► load ──► probe, frame by frame ──► rest of the build rows
//!                          ├─ not now, others are at work ─► Blocked, until one of them is done
//!                          ├─ not at all ────────────────► cut by the next bits of the hash ──► waiting rounds
//!                          └─ nor when it is cut: rows of ► load a piece ──► probe ──► rest ──┐
//!                             one key, or bits used up      ▲──────────── the next piece ◄────┘
//! ```
//! With pieces each is probed by all probe rows of the partition. Which of these have found a partner is kept from piece to piece, a bit a
//! row; those without one are given with the last piece. A build row meets all probe rows while its piece is there, so its piece gives it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use super::{
    build::BuildSide,
    directory::Partition,
    hash::HashJoin,
    outer,
    probe::{Prober, Turn},
    spill::{Share, ShareReader, Spilled, Split, cut},
    table::TableBuilder,
};
use crate::{
    batch::{Batch, Morsel, payload_bytes},
    error::{Result, bug},
    memory::Reservation,
    operator::{Outcome, SourceThread, Wake},
};

/// A partition of both sides.
pub(super) struct Round {
    /// By which bits it was told from the others.
    pub(super) split: Split,
    /// All build rows that can match have one hash.
    pub(super) is_one_hash: bool,
    pub(super) build: Share,
    pub(super) probe: Share,
}

/// The rounds that are left, for all threads.
#[derive(Default)]
pub(super) struct Rounds(Mutex<State>);

#[derive(Default)]
struct State {
    has_begun: bool,
    waiting: VecDeque<Round>,
    /// Rounds that are worked on.
    active: usize,
    sleepers: Vec<Wake>,
}

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A round is worked on; when this is dropped it no longer is, and those that waited look again.
struct Active(Arc<Rounds>);

impl Drop for Active {
    fn drop(&mut self) {
        let sleepers = {
            let mut state = self.0.lock();
            state.active -= 1;
            std::mem::take(&mut state.sleepers)
        };
        sleepers.iter().for_each(Wake::fire);
    }
}

/// A thread that works on rounds.
pub(super) struct RoundsThread {
    join: Arc<HashJoin>,
    spilled: Arc<Spilled>,
    work: Option<Box<Work>>,
    ready: VecDeque<Morsel>,
}

/// What came of asking for a round.
enum Taken {
    Work(Box<Work>),
    Wait(Wake),
    /// There are none left.
    End,
}

impl RoundsThread {
    pub(super) fn new(join: &Arc<HashJoin>, spilled: Arc<Spilled>) -> RoundsThread {
        let mut state = spilled.rounds.lock();
        if !state.has_begun {
            state.has_begun = true;
            if !join.gives_nothing() {
                state.waiting = spilled.rounds(join).into();
            }
        }
        drop(state);
        RoundsThread { join: Arc::clone(join), spilled, work: None, ready: VecDeque::new() }
    }

    fn take(&self) -> Result<Taken> {
        let rounds = &self.spilled.rounds;
        loop {
            let mut state = rounds.lock();
            let wait = |mut state: MutexGuard<'_, State>| {
                let wake = Wake::default();
                state.sleepers.push(wake.clone());
                Taken::Wait(wake)
            };
            let Some(round) = state.waiting.pop_front() else {
                // Whoever is at work may cut its round yet.
                return Ok(if state.active == 0 { Taken::End } else { wait(state) });
            };
            let is_alone = state.active == 0;
            let bytes = bytes_of(round.build.rows(), round.build.bytes()) + round.probe.rows().div_ceil(8);
            let mut reservation = self.join.context.reservation("hash join");
            if self.fits(&mut reservation, bytes, is_alone) {
                state.active += 1;
                drop(state);
                let active = Active(Arc::clone(rounds));
                return Ok(Taken::Work(Box::new(Work::new(&self.join, &round, reservation, u64::MAX, active))));
            }
            if !is_alone {
                state.waiting.push_front(round);
                return Ok(wait(state));
            }
            state.active += 1;
            drop(state);
            let active = Active(Arc::clone(rounds));
            if let Some(split) = round.split.next().filter(|_| !round.is_one_hash) {
                let smaller = cut(&self.join, &round, split)?;
                rounds.lock().waiting.extend(smaller);
                continue;
            }
            let piece_bytes = self.largest(&mut reservation, bytes)?;
            return Ok(Taken::Work(Box::new(Work::new(&self.join, &round, reservation, piece_bytes, active))));
        }
    }

    /// Is there memory for so much? Who is alone may take half of the headroom, the other half is for those that take its rows.
    fn fits(&self, reservation: &mut Reservation, bytes: u64, is_alone: bool) -> bool {
        let is_little = bytes <= self.join.context.governor.headroom_bytes() / 2;
        reservation.try_resize(bytes) || (is_alone && is_little && reservation.resize(bytes).is_ok())
    }

    /// Takes as much as there is for a piece of a table of so many bytes.
    fn largest(&self, reservation: &mut Reservation, bytes: u64) -> Result<u64> {
        let mut piece_bytes = bytes / 2;
        while piece_bytes > PIECE_BYTES_MIN {
            if self.fits(reservation, piece_bytes, true) {
                return Ok(piece_bytes);
            }
            piece_bytes /= 2;
        }
        reservation.resize(PIECE_BYTES_MIN)?;
        Ok(PIECE_BYTES_MIN)
    }
}

/// A piece of less is not worth reading the probe rows once more; who cannot have it is told so.
const PIECE_BYTES_MIN: u64 = 64 << 10;

/// Bytes of a table of so many rows that take so many bytes on disk: these, put together once; each row on its way into the directory and
/// there; the directory's buckets.
fn bytes_of(rows: u64, bytes: u64) -> u64 {
    const ROW_BYTES: u64 = 24;
    if rows == 0 { 0 } else { 2 * bytes + rows * ROW_BYTES + Partition::bytes(rows as usize) as u64 }
}

impl SourceThread for RoundsThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        loop {
            if let Some(morsel) = self.ready.pop_front() {
                return Ok((Some(morsel), Outcome::More));
            }
            let Some(work) = &mut self.work else {
                match self.take()? {
                    Taken::Work(work) => self.work = Some(work),
                    Taken::Wait(wake) => return Ok((None, Outcome::Blocked(wake))),
                    Taken::End => return Ok((None, Outcome::Enough)),
                }
                continue;
            };
            self.join.context.cancel.check()?;
            if work.step(&mut self.ready)? {
                self.work = None;
            }
        }
    }
}

/// A round on its way.
struct Work {
    join: Arc<HashJoin>,
    phase: Phase,
    build: ShareReader,
    /// A frame of the build rows that did not fit into the last piece.
    ahead: Option<Batch>,
    probe: Share,
    /// Bytes of a table.
    piece_bytes: u64,
    /// Which probe rows have found a partner; kept when there are several pieces and the kind of join asks.
    matched: Option<Bits>,
    reservation: Reservation,
    _active: Active,
}

/// `loading → probing → giving the rest → loading the next piece | over`.
enum Phase {
    Load,
    Probe(Box<Probing>),
    Rest { side: Arc<BuildSide>, first: usize, is_whole: bool },
}

/// A table that is being probed.
struct Probing {
    prober: Prober,
    side: Arc<BuildSide>,
    null_rows: Vec<u32>,
    reader: ShareReader,
    /// What is left of the frame.
    frame: Option<Batch>,
    /// Rows of the batch that the prober works on; 0: none.
    rows: usize,
    /// The number of its first row in the partition.
    first_row: usize,
    /// These are all build rows, or the last of them.
    is_whole: bool,
}

impl Work {
    fn new(join: &Arc<HashJoin>, round: &Round, reservation: Reservation, piece_bytes: u64, active: Active) -> Work {
        let keeps_matched = piece_bytes < u64::MAX && join.shape.rows.looks_at_probe_rows();
        Work {
            join: Arc::clone(join),
            phase: Phase::Load,
            build: round.build.read(),
            ahead: None,
            probe: round.probe.clone(),
            piece_bytes,
            matched: keeps_matched.then(|| Bits::new(round.probe.rows() as usize)),
            reservation,
            _active: active,
        }
    }

    /// Does a little of the work; true when the round is over.
    fn step(&mut self, ready: &mut VecDeque<Morsel>) -> Result<bool> {
        match std::mem::replace(&mut self.phase, Phase::Load) {
            Phase::Load => self.phase = Phase::Probe(Box::new(self.load()?)),
            Phase::Probe(mut probing) => {
                self.phase = if probing.turn(&self.join, self.matched.as_mut(), ready)? {
                    self.after(*probing)
                } else {
                    Phase::Probe(probing)
                };
            }
            Phase::Rest { side, first, is_whole } => {
                if first >= side.rows {
                    return Ok(is_whole);
                }
                ready.extend(outer::rest(&self.join.shape, &side, first)?.map(Morsel::from));
                self.phase = Phase::Rest { first: first + self.join.shape.rows_per_morsel, side, is_whole };
            }
        }
        Ok(false)
    }

    /// The table of the build rows that are left, or of as many as fit.
    fn load(&mut self) -> Result<Probing> {
        let mut table = TableBuilder::new(&self.join)?;
        let (mut rows, mut bytes) = (0, 0);
        while let Some(frame) = self.ahead.take().map_or_else(|| self.build.next(), |frame| Ok(Some(frame)))? {
            self.join.context.cancel.check()?;
            let (more_rows, more_bytes) = (rows + frame.num_rows() as u64, bytes + payload_bytes(&frame));
            let needed_bytes = bytes_of(more_rows, more_bytes);
            if needed_bytes > self.piece_bytes && rows > 0 {
                self.ahead = Some(frame);
                break;
            }
            if needed_bytes > self.reservation.bytes() {
                // A single frame, whose rows are large; or frames that take more in memory than on disk.
                self.reservation.resize(needed_bytes)?;
            }
            (rows, bytes) = (more_rows, more_bytes);
            table.add(&frame)?;
        }
        let built = Arc::new(table.finish()?);
        let (side, null_rows) = (Arc::clone(&built.side), built.null_rows.clone());
        Ok(Probing {
            prober: Prober::new(&self.join, built)?,
            side,
            null_rows,
            reader: self.probe.read(),
            frame: None,
            rows: 0,
            first_row: 0,
            is_whole: self.ahead.is_none(),
        })
    }

    /// What follows when the table has been probed.
    fn after(&self, probing: Probing) -> Phase {
        let Probing { side, null_rows, is_whole, .. } = probing;
        if let (true, Some(marks)) = (self.join.is_null_aware && self.join.saw_probe_rows.load(Relaxed), &side.marks) {
            // Neither in nor not in: as if they had a partner.
            null_rows.iter().for_each(|row| marks.set(*row));
        }
        let first = if side.marks.is_some() { 0 } else { side.rows };
        Phase::Rest { side, first, is_whole }
    }
}

impl Probing {
    /// A turn of the batch that is worked on, or of the next one; true when there is none.
    fn turn(&mut self, join: &HashJoin, matched: Option<&mut Bits>, ready: &mut VecDeque<Morsel>) -> Result<bool> {
        if self.rows == 0 && !self.begin(join, matched.as_deref())? {
            return Ok(true);
        }
        let mut next = |morsel: Morsel| {
            ready.push_back(morsel);
            Ok(Outcome::More)
        };
        let Turn { is_last, .. } = self.prober.turn(self.is_whole, &mut next)?;
        if is_last {
            if let Some(matched) = matched {
                matched.set(self.first_row, self.prober.matched());
            }
            self.first_row += std::mem::take(&mut self.rows);
        }
        Ok(false)
    }

    /// Begins the next batch; false when there is none that matters.
    fn begin(&mut self, join: &HashJoin, matched: Option<&Bits>) -> Result<bool> {
        if self.prober.is_decided() {
            return Ok(false);
        }
        let frame = match self.frame.take() {
            Some(frame) => frame,
            None => match self.reader.next()? {
                Some(frame) => frame,
                None => return Ok(false),
            },
        };
        self.rows = frame.num_rows().min(join.shape.rows_per_morsel);
        if self.rows == 0 {
            return Err(bug("join", "a frame without rows"));
        }
        let left = frame.num_rows() - self.rows;
        self.frame = (left > 0).then(|| frame.slice(self.rows, left));
        self.prober.begin(frame.slice(0, self.rows), None)?;
        if let Some(matched) = matched {
            self.prober.begin_again((self.first_row..self.first_row + self.rows).map(|row| matched.is_set(row)));
        }
        Ok(true)
    }
}

/// A bit for each probe row of a partition.
struct Bits(Vec<u64>);

impl Bits {
    fn new(rows: usize) -> Bits {
        Bits(vec![0; rows.div_ceil(64)])
    }

    fn set(&mut self, first: usize, rows: &[bool]) {
        for row in rows.iter().enumerate().filter(|(_, is_set)| **is_set).map(|(number, _)| first + number) {
            self.0[row / 64] |= 1 << (row % 64);
        }
    }

    fn is_set(&self, row: usize) -> bool {
        self.0[row / 64] & (1 << (row % 64)) != 0
    }
}
