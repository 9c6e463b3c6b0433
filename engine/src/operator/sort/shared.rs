//! What the threads of a sort or a top-k share, and how their rows become one sequence.
//!
//! In: of each thread rows in memory and runs on disk. Out: [`Sorted`], from which the source gives. Never: a sequence that depends on what
//! was spilled: whoever merges compares as whoever sorts.
//!
//! ```text
//!   nothing was spilled    piles of all threads ──► one pile, sorted by all threads at once ──► given from memory
//!   something was          each pile ──► sorted by one thread, in pieces ┐
//!                          runs ─────────────────────────────────────────┴─► merged by few, while there are too many of them
//!                                                                        ──► the last merge happens as its rows are asked for
//! ```
//! A piece is what can be sorted with the memory that is kept free for it (`Governor::least_spill_bytes` says how much that is), ties
//! included: breaking them takes about as much as the rows do.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    gather::Gather,
    keys::{SortKeys, SortSpec},
    merge::{Input, Merge, MergeOptions, SortedPile},
    order::{OrderOptions, Pile, Place},
    output::{Ordered, Output, Sorted},
};
use crate::{
    batch::{Batch, CanonicalOrder, payload_bytes, row::Rows},
    error::{Kind, Result},
    expression::Parameters,
    memory::{Reservation, Revocation},
    operator::{JobContext, Task},
    shuffle::{Run, RunWriter},
};

/// See above.
pub(super) struct Shared {
    pub(super) spec: SortSpec,
    pub(super) context: JobContext,
    parameters: Arc<Parameters>,
    /// Who asks for memory.
    holder: &'static str,
    ties: Ties,
    pub(super) revocation: Revocation,
    left: Mutex<Left>,
    pub(super) output: Output,
}

/// What becomes of rows whose keys are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// They are put in order by their content.
    Broken,
    /// Any order of theirs will do.
    Stay,
}

/// What the threads that have finished left.
#[derive(Default)]
struct Left {
    piles: Vec<(Pile, Reservation)>,
    inputs: VecDeque<Input>,
    /// Inputs that are being made, of piles or of other inputs.
    in_work: usize,
}

/// Rows of a run are written in frames of at most this; a merge holds one of each of its inputs.
const FRAME_BYTES_MAX: u64 = 256 << 10;
/// Where there is little memory frames are smaller, so that more inputs fit, but not so small that most of them is their head.
const FRAME_BYTES_MIN: u64 = 16 << 10;
/// A frame that is merged stands in memory with its keys and perhaps its content; its bytes are the system's, but for a pile's.
const COPIES_OF_A_FRAME: u64 = 3;
/// Most inputs of a merge: the disk reads frames of so many files in turn.
const INPUTS_MAX: u64 = 512;
/// So many times what a thread spills at least is sorted at once: ties included, all threads take the headroom then.
const SPILLS_PER_PIECE: u64 = 4;

impl Shared {
    pub(super) fn new(
        holder: &'static str,
        ties: Ties,
        spec: &SortSpec,
        context: &JobContext,
        parameters: &Arc<Parameters>,
    ) -> Result<Arc<Shared>> {
        // What a thread would fail with is known now.
        SortKeys::new(spec, parameters)?;
        Ok(Arc::new(Shared {
            spec: spec.clone(),
            context: context.clone(),
            parameters: Arc::clone(parameters),
            holder,
            ties,
            revocation: Revocation::default(),
            left: Mutex::default(),
            output: Output::default(),
        }))
    }

    /// One thread's part.
    pub(super) fn part(self: &Arc<Shared>) -> Result<Part> {
        Ok(Part {
            keys: SortKeys::new(&self.spec, &self.parameters)?,
            pile: Pile::default(),
            reservation: self.reservation(),
            told_bytes: 0,
            inputs: Vec::new(),
            shared: Arc::clone(self),
        })
    }

    /// All threads have finished.
    pub(super) fn finalize(self: &Arc<Shared>) -> Vec<Task> {
        let task = |work: fn(&Shared) -> Result<()>| -> Task {
            let shared = Arc::clone(self);
            Box::new(move || work(&shared))
        };
        if self.lock().inputs.is_empty() {
            return vec![task(Shared::sort_all)];
        }
        (0..self.context.settings.threads).map(|_| task(Shared::prepare_merge)).collect()
    }

    /// Everything is in memory: one sort by all threads.
    fn sort_all(&self) -> Result<()> {
        let (mut pile, mut reservation) = (Pile::default(), self.reservation());
        for (other, held) in std::mem::take(&mut self.lock().piles) {
            pile.extend(other);
            reservation.absorb(held);
        }
        let mut places = match pile.order(&self.order_options(true), &mut reservation) {
            Ok(places) => places,
            Err(error) if error.kind() == Kind::Limit => {
                // Nothing was refused until now, but there is no room to break the ties of so many rows at once.
                self.lock().piles.push((pile, reservation));
                return self.prepare_merge();
            }
            Err(error) => return Err(error),
        };
        places.truncate(self.wanted_rows());
        places.drain(..self.spec.skip.min(places.len()));
        let key_bytes = pile.keys.iter().map(|keys| keys.size() as u64).sum::<u64>();
        drop(pile.keys);
        let left_bytes = reservation.bytes().saturating_sub(key_bytes);
        reservation.resize(left_bytes)?;
        let rows = Gather::new(&self.spec.schema, pile.batches);
        self.output.set(Sorted::InMemory(Ordered::new(rows, places, self.rows_per_morsel(), reservation)));
        Ok(())
    }

    /// Sorts piles and merges inputs until one merge can take all that is left. In parallel; when the last call has returned it can.
    fn prepare_merge(&self) -> Result<()> {
        let inputs_max = self.inputs_max();
        let at_once = (inputs_max / self.context.settings.threads).max(2);
        loop {
            self.context.cancel.check()?;
            let mut left = self.lock();
            if let Some((pile, reservation)) = left.piles.pop() {
                left.in_work += 1;
                drop(left);
                self.done(self.sort_pile(pile, reservation)?);
                continue;
            }
            let count = left.inputs.len() + left.in_work;
            // A merge of n inputs leaves one.
            let merged = (count + 1).saturating_sub(inputs_max).min(at_once).min(left.inputs.len());
            if count <= inputs_max || merged < 2 {
                break;
            }
            let (merged, reservation) = self.room_for(merged)?;
            let group: Vec<Input> = left.inputs.drain(..merged).collect();
            left.in_work += 1;
            drop(left);
            self.done(vec![Input::Run(self.merge_to_run(group, reservation)?)]);
        }
        self.output.set(Sorted::to_be_merged());
        Ok(())
    }

    fn done(&self, inputs: Vec<Input>) {
        let mut left = self.lock();
        left.in_work -= 1;
        left.inputs.extend(inputs);
    }

    /// Sorts a pile in pieces. They stay in memory if what a merge takes is to be had besides; otherwise they go to disk.
    fn sort_pile(&self, pile: Pile, mut reservation: Reservation) -> Result<Vec<Input>> {
        let stays = self.reservation().try_grow(self.inputs_max() as u64 * self.input_bytes());
        let mut inputs = Vec::new();
        for (piece, held_bytes) in self.pieces(pile) {
            let mut places = piece.order(&self.order_options(false), &mut reservation)?;
            // What comes after so many rows of one piece comes after as many of all.
            places.truncate(self.wanted_rows());
            let mut own = reservation.split_off(held_bytes);
            if stays {
                let key_bytes: usize = piece.keys.iter().map(Rows::size).sum();
                own.resize(held_bytes.saturating_sub(key_bytes as u64))?;
                let rows = Gather::new(&self.spec.schema, piece.batches);
                inputs.push(Input::Pile(SortedPile { rows, places, reservation: own }));
            } else {
                inputs.push(Input::Run(self.write(&piece.batches, &places)?));
            }
        }
        Ok(inputs)
    }

    /// The pile cut between its batches, with the bytes that are held for each piece.
    fn pieces(&self, pile: Pile) -> Vec<(Pile, u64)> {
        let piece_bytes = self.context.governor.least_spill_bytes().saturating_mul(SPILLS_PER_PIECE);
        let mut pieces: Vec<(Pile, u64)> = Vec::new();
        for (batch, keys) in pile.batches.into_iter().zip(pile.keys) {
            let bytes = Pile::bytes_of(&batch, &keys);
            match pieces.last_mut() {
                Some((piece, held_bytes)) if *held_bytes + bytes <= piece_bytes => {
                    piece.add(batch, keys);
                    *held_bytes += bytes;
                }
                _ => pieces.push((Pile { batches: vec![batch], keys: vec![keys] }, bytes)),
            }
        }
        pieces
    }

    /// Writes rows in this order to a run.
    fn write(&self, batches: &[Batch], places: &[Place]) -> Result<Arc<Run>> {
        let bytes = batches.iter().map(payload_bytes).sum();
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let gather = Gather::new(&self.spec.schema, batches.to_vec());
        let mut writer = self.begin_run();
        for places in places.chunks(self.frame_rows(bytes, rows)) {
            self.context.cancel.check()?;
            writer.append(0, &gather.rows(places)?)?;
        }
        self.finish_run(writer)
    }

    /// Memory for a merge of so many inputs, or of fewer where there is less than there was; of two at least.
    fn room_for(&self, inputs: usize) -> Result<(usize, Reservation)> {
        let (mut inputs, mut reservation) = (inputs.max(2), self.reservation());
        while let Err(error) = reservation.grow(inputs as u64 * self.input_bytes()) {
            if inputs == 2 {
                return Err(error);
            }
            inputs = (inputs / 2).max(2);
        }
        Ok((inputs, reservation))
    }

    /// Merges inputs to one run.
    fn merge_to_run(&self, inputs: Vec<Input>, reservation: Reservation) -> Result<Arc<Run>> {
        let (bytes, rows) = inputs.iter().map(Input::size).fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        let frame_rows = self.frame_rows(bytes, rows);
        let options = MergeOptions { fetch: self.wanted_rows(), ..self.merge_options(frame_rows, reservation)? };
        let mut merge = Merge::new(inputs, options)?;
        let mut writer = self.begin_run();
        loop {
            self.context.cancel.check()?;
            let picked = merge.pick(frame_rows)?;
            if picked.rows() == 0 {
                return self.finish_run(writer);
            }
            writer.append(0, &picked.batch(&self.spec.schema)?)?;
        }
    }

    /// The merge of all that is left, which gives the rows that are wanted.
    pub(super) fn last_merge(&self) -> Result<Merge> {
        let mut inputs = std::mem::take(&mut self.lock().inputs);
        let mut room = self.room_for(inputs.len())?;
        while room.0 < inputs.len() {
            // Others have taken memory since there were few enough inputs.
            let group = inputs.drain(..room.0).collect();
            inputs.push_back(Input::Run(self.merge_to_run(group, room.1)?));
            room = self.room_for(inputs.len())?;
        }
        let (skip, fetch) = (self.spec.skip, self.spec.fetch.unwrap_or(usize::MAX));
        let options = self.merge_options(self.rows_per_morsel(), room.1)?;
        Merge::new(inputs.into(), MergeOptions { skip, fetch, ..options })
    }

    /// `reservation`: what the frames of all inputs take.
    fn merge_options(&self, frame_rows: usize, reservation: Reservation) -> Result<MergeOptions> {
        Ok(MergeOptions {
            keys: SortKeys::new(&self.spec, &self.parameters)?,
            content: if self.ties_stay() { None } else { Some(CanonicalOrder::new(&self.spec.schema)?) },
            skip: 0,
            fetch: usize::MAX,
            frame_rows,
            _reservation: reservation,
        })
    }

    /// Most inputs of a merge, of all threads together.
    fn inputs_max(&self) -> usize {
        (self.context.governor.headroom_bytes() / 2 / self.input_bytes()).clamp(2, INPUTS_MAX) as usize
    }

    /// What a merge holds of each input.
    fn input_bytes(&self) -> u64 {
        COPIES_OF_A_FRAME * self.frame_bytes()
    }

    fn frame_bytes(&self) -> u64 {
        // So that a hundred inputs and their copies fit into the headroom, or nearly.
        (self.context.governor.headroom_bytes() / 256).clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX)
    }

    /// Rows of a frame when so many rows have so many bytes.
    fn frame_rows(&self, bytes: u64, rows: u64) -> usize {
        (self.frame_bytes().saturating_mul(rows) / bytes.max(1)).clamp(1, 1 << 16) as usize
    }

    fn begin_run(&self) -> RunWriter {
        self.context.runs.begin(self.holder, &self.spec.schema)
    }

    fn finish_run(&self, writer: RunWriter) -> Result<Arc<Run>> {
        let run = writer.finish()?;
        self.context.add_spilled_bytes(run.all_bytes());
        Ok(Arc::new(run))
    }

    pub(super) fn order_options(&self, is_parallel: bool) -> OrderOptions<'_> {
        OrderOptions { schema: &self.spec.schema, keys_are_content: self.ties_stay(), is_parallel }
    }

    /// Rows of equal keys need no order among them.
    fn ties_stay(&self) -> bool {
        self.ties == Ties::Stay || self.spec.keys_are_content()
    }

    /// Rows that decide: those skipped and those given.
    pub(super) fn wanted_rows(&self) -> usize {
        self.spec.skip.saturating_add(self.spec.fetch.unwrap_or(usize::MAX))
    }

    pub(super) fn rows_per_morsel(&self) -> usize {
        self.context.settings.rows_per_morsel.max(1)
    }

    fn reservation(&self) -> Reservation {
        self.context.reservation(self.holder)
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's rows: in memory, and those that had to go.
pub(super) struct Part {
    pub(super) shared: Arc<Shared>,
    pub(super) keys: SortKeys,
    pub(super) pile: Pile,
    /// What the pile takes.
    pub(super) reservation: Reservation,
    /// What was told to the revocation.
    told_bytes: u64,
    inputs: Vec<Input>,
}

impl Part {
    /// Adds rows to the pile, if there is memory for them.
    pub(super) fn try_add(&mut self, batch: &Batch, keys: Rows) -> Result<(), Rows> {
        if !self.reservation.try_grow(Pile::bytes_of(batch, &keys)) {
            return Err(keys);
        }
        self.pile.add(batch.clone(), keys);
        self.tell();
        Ok(())
    }

    /// Adds rows to the pile. Where memory is refused the pile goes to disk first, if it is worth it.
    pub(super) fn add(&mut self, batch: &Batch, keys: Rows) -> Result<()> {
        let least_bytes = self.shared.context.governor.least_spill_bytes();
        if self.shared.revocation.take(self.reservation.bytes(), least_bytes) {
            self.spill()?;
        }
        let Err(keys) = self.try_add(batch, keys) else { return Ok(()) };
        if self.pile.rows() > 0 && self.reservation.bytes() >= least_bytes {
            self.spill()?;
            self.shared.revocation.answered();
        }
        self.reservation.grow(Pile::bytes_of(batch, &keys))?;
        self.pile.add(batch.clone(), keys);
        self.tell();
        Ok(())
    }

    /// The pile, sorted, goes to disk.
    pub(super) fn spill(&mut self) -> Result<()> {
        let pile = std::mem::take(&mut self.pile);
        for (piece, held_bytes) in self.shared.pieces(pile) {
            let mut places = piece.order(&self.shared.order_options(false), &mut self.reservation)?;
            places.truncate(self.shared.wanted_rows());
            self.inputs.push(Input::Run(self.shared.write(&piece.batches, &places)?));
            drop(piece);
            let left_bytes = self.reservation.bytes().saturating_sub(held_bytes);
            self.reservation.resize(left_bytes)?;
        }
        self.reservation.resize(0)?;
        self.tell();
        Ok(())
    }

    /// The pile goes to disk, if there is one.
    pub(super) fn relieve(&mut self) -> Result<bool> {
        if self.pile.rows() == 0 {
            return Ok(false);
        }
        self.spill()?;
        self.shared.revocation.answered();
        Ok(true)
    }

    /// The pile is another one, for which this much is held.
    pub(super) fn replace(&mut self, pile: Pile, bytes: u64) -> Result<()> {
        self.pile = pile;
        self.reservation.resize(bytes)?;
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        self.shared.revocation.hold(self.told_bytes, self.reservation.bytes());
        self.told_bytes = self.reservation.bytes();
    }

    pub(super) fn finish(mut self) {
        self.shared.revocation.hold(self.told_bytes, 0);
        let mut left = self.shared.lock();
        if self.pile.rows() > 0 {
            left.piles.push((std::mem::take(&mut self.pile), self.reservation));
        }
        left.inputs.append(&mut self.inputs.into());
    }
}
