//! Merging sorted inputs: runs on disk and sorted piles in memory.
//!
//! In: inputs, each in order. Out: where the next rows of all of them together stand. Never: holds more of a run than the frame that is
//! being worked on; moves a row, that is for whoever takes what was picked.
//!
//! ```text
//!   run ──► frame ─┐ keys encoded again                       (batch, row)
//!   run ──► frame ─┼──► loser tree by (8 bytes, the rest of   (batch, row) ──► one copy of each row
//!   pile ─► rows ──┘    the key, content) ──► picks           …
//! ```
//! Keys are not kept in the runs: making them again from a frame that is in the cache costs a copy, keeping them would cost as much to
//! write, check and read, on a disk that is slower than that. The content of a frame's rows is encoded only when a key of its is met a
//! second time.

use std::{ops::Range, sync::Arc};

use super::{
    gather::Gather,
    keys::SortKeys,
    loser_tree::LoserTree,
    order::{Place, interleaved, prefix},
};
use crate::{
    batch::{Batch, CanonicalOrder, datatypes::SchemaRef, payload_bytes, row::Rows},
    error::{Result, bug},
    memory::Reservation,
    shuffle::{Run, RunReader},
};

/// Rows in order.
pub(super) enum Input {
    /// On disk, in part 0.
    Run(Arc<Run>),
    /// In memory.
    Pile(SortedPile),
}

/// Rows in memory, and where each of them stands in their order.
pub(super) struct SortedPile {
    pub(super) rows: Gather,
    pub(super) places: Vec<Place>,
    pub(super) reservation: Reservation,
}

impl Input {
    /// Bytes, about, and rows.
    pub(super) fn size(&self) -> (u64, u64) {
        match self {
            Input::Run(run) => (run.all_bytes(), run.all_rows()),
            Input::Pile(pile) => (pile.reservation.bytes(), pile.places.len() as u64),
        }
    }
}

/// What a merge needs to know.
pub(super) struct MergeOptions {
    pub(super) keys: SortKeys,
    /// How ties are broken; none when rows of equal keys are equal.
    pub(super) content: Option<CanonicalOrder>,
    /// Rows that are passed over at the beginning.
    pub(super) skip: usize,
    /// Most rows that are given after those.
    pub(super) fetch: usize,
    /// Rows of a pile that are put together at a time.
    pub(super) frame_rows: usize,
    /// What the frames that are being worked on take.
    pub(super) _reservation: Reservation,
}

/// A merge on its way.
pub(super) struct Merge {
    options: MergeOptions,
    cursors: Vec<Cursor>,
    tree: LoserTree,
}

/// Rows that come next, and the batches in which they stand.
pub(super) struct Picked {
    batches: Vec<Batch>,
    places: Vec<(usize, usize)>,
}

impl Merge {
    pub(super) fn new(inputs: Vec<Input>, mut options: MergeOptions) -> Result<Merge> {
        let mut cursors = Vec::with_capacity(inputs.len());
        for input in inputs {
            let stream = match input {
                Input::Run(run) => Stream::Run(run.read(0)),
                Input::Pile(pile) => Stream::Pile { pile, next: 0 },
            };
            let mut cursor = Cursor { stream, frame: None, prefix: 0, slot: None };
            cursor.refill(&options)?;
            cursors.push(cursor);
        }
        let tree = LoserTree::new(cursors.len(), |a, b| comes_before(&mut cursors, options.content.as_ref(), a, b))?;
        let skip = std::mem::take(&mut options.skip);
        let mut merge = Merge { options, cursors, tree };
        for _ in 0..skip {
            if merge.winner().is_none() {
                break;
            }
            merge.advance()?;
        }
        Ok(merge)
    }

    /// The next rows, at most so many; none of them are left when there are none.
    pub(super) fn pick(&mut self, rows_max: usize) -> Result<Picked> {
        let rows_max = rows_max.min(self.options.fetch);
        let mut picked = Picked { batches: Vec::new(), places: Vec::with_capacity(rows_max) };
        self.cursors.iter_mut().for_each(|cursor| cursor.slot = None);
        while picked.places.len() < rows_max {
            let Some(winner) = self.winner() else { break };
            let cursor = &mut self.cursors[winner];
            let Some(frame) = &cursor.frame else { return Err(bug("sort", "an input without rows has won")) };
            let slot = *cursor.slot.get_or_insert_with(|| {
                picked.batches.push(frame.batch.clone());
                picked.batches.len() - 1
            });
            picked.places.push((slot, frame.row));
            self.advance()?;
        }
        self.options.fetch -= picked.places.len();
        Ok(picked)
    }

    /// The input whose row comes next, if there is one.
    fn winner(&self) -> Option<usize> {
        let winner = self.tree.winner();
        self.cursors.get(winner)?.frame.as_ref().map(|_| winner)
    }

    /// The winner's row has been given.
    #[inline]
    fn advance(&mut self) -> Result<()> {
        let Merge { options, cursors, tree } = self;
        cursors[tree.winner()].advance(options)?;
        tree.replay(|a, b| comes_before(cursors, options.content.as_ref(), a, b))
    }
}

impl Picked {
    pub(super) fn rows(&self) -> usize {
        self.places.len()
    }

    /// The rows, each copied once.
    pub(super) fn batch(&self, schema: &SchemaRef) -> Result<Batch> {
        self.part(schema, 0..self.places.len())
    }

    /// Some of the rows, each copied once.
    pub(super) fn part(&self, schema: &SchemaRef, rows: Range<usize>) -> Result<Batch> {
        interleaved(schema, &self.batches, &self.places[rows])
    }

    /// Bytes of a row, about.
    pub(super) fn bytes_per_row(&self) -> u64 {
        let rows: usize = self.batches.iter().map(Batch::num_rows).sum();
        self.batches.iter().map(payload_bytes).sum::<u64>().div_ceil(rows.max(1) as u64)
    }
}

/// Does the row of input `a` come before that of `b`? One that has ended comes last.
#[inline]
fn comes_before(cursors: &mut [Cursor], content: Option<&CanonicalOrder>, a: usize, b: usize) -> Result<bool> {
    let (left, right) = (cursors[a].prefix, cursors[b].prefix);
    if left != right {
        return Ok(left < right);
    }
    let (Some(left), Some(right)) = (&cursors[a].frame, &cursors[b].frame) else {
        // Whoever has ended has the greatest prefix of all, which another one may have, too.
        return Ok(cursors[a].frame.is_some());
    };
    match (left.key().cmp(right.key()), content) {
        (std::cmp::Ordering::Equal, Some(content)) => {
            cursors[a].write_content(content)?;
            cursors[b].write_content(content)?;
            Ok(cursors[a].content() < cursors[b].content())
        }
        (order, _) => Ok(order.is_lt()),
    }
}

/// Where an input's rows come from.
enum Stream {
    Run(RunReader),
    Pile { pile: SortedPile, next: usize },
}

/// An input, and how far it has been merged.
struct Cursor {
    stream: Stream,
    /// The rows that are being worked on; none when the input has ended.
    frame: Option<Frame>,
    /// The first bytes of its row's key; the greatest number when the input has ended.
    prefix: u64,
    /// The frame's place among the batches that were picked from.
    slot: Option<usize>,
}

/// Rows of an input that are being worked on.
struct Frame {
    batch: Batch,
    keys: Rows,
    /// Their content, once there was a tie.
    contents: Option<Rows>,
    row: usize,
}

impl Frame {
    #[inline]
    fn key(&self) -> &[u8] {
        self.keys.row(self.row).data()
    }
}

impl Cursor {
    #[inline]
    fn advance(&mut self, options: &MergeOptions) -> Result<()> {
        if let Some(frame) = &mut self.frame
            && frame.row + 1 < frame.batch.num_rows()
        {
            frame.row += 1;
            self.prefix = prefix(frame.key());
            return Ok(());
        }
        self.refill(options)
    }

    /// Takes the next rows of the stream.
    fn refill(&mut self, options: &MergeOptions) -> Result<()> {
        (self.frame, self.slot, self.prefix) = (None, None, u64::MAX);
        let batch = match &mut self.stream {
            Stream::Run(reader) => reader.next()?,
            Stream::Pile { pile, next } => {
                let places = &pile.places[*next..(*next + options.frame_rows).min(pile.places.len())];
                *next += places.len();
                if places.is_empty() { None } else { Some(pile.rows.rows(places)?) }
            }
        };
        if let Some(batch) = batch.filter(|batch| batch.num_rows() > 0) {
            let keys = options.keys.encode(&batch)?;
            let frame = self.frame.insert(Frame { batch, keys, contents: None, row: 0 });
            self.prefix = prefix(frame.key());
        } else if let Stream::Pile { pile, .. } = &mut self.stream {
            pile.rows.clear();
            pile.places = Vec::new();
            pile.reservation.resize(0)?;
        }
        Ok(())
    }

    fn write_content(&mut self, content: &CanonicalOrder) -> Result<()> {
        if let Some(frame) = &mut self.frame
            && frame.contents.is_none()
        {
            frame.contents = Some(content.encode(&frame.batch)?);
        }
        Ok(())
    }

    fn content(&self) -> Option<&[u8]> {
        let frame = self.frame.as_ref()?;
        Some(frame.contents.as_ref()?.row(frame.row).data())
    }
}
