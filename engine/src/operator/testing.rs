//! A fake upstream and downstream: drives one role by hand, with as many thread parts as a test wants.
//!
//! In: batches, and a seed that decides how they are cut, which part gets what and in which order tasks run. Out: what the role
//! gave. Never: a real thread; the interleavings that matter to the parts' states are those of whole calls.

use std::sync::Arc;

use super::{JobContext, Morsel, Outcome, Sink, Source, Transform};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray},
        datatypes::{DataType, Date32Type, Float64Type, Int32Type, Int64Type},
    },
    error::Result,
    memory::Governor,
    settings::Settings,
    shuffle::Runs,
};

/// A context of a job with morsels of so many rows and memory enough.
pub fn context(rows_per_morsel: usize) -> JobContext {
    context_of(rows_per_morsel, 1 << 40)
}

/// A context of a job with so much memory.
pub fn context_of(rows_per_morsel: usize, memory_bytes: u64) -> JobContext {
    context_with(Settings { threads: 2, memory_bytes, rows_per_morsel, ..Settings::default() })
}

/// A context of a job with these settings.
pub fn context_with(settings: Settings) -> JobContext {
    JobContext {
        governor: Governor::of(&settings),
        runs: Runs::of(&settings),
        settings: Arc::new(settings),
        cancel: Default::default(),
        counters: Arc::default(),
        holding: None,
    }
}

/// A sequence of numbers that looks random and is the seed's alone (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// The next number, below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }
    /// True so many times of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
    /// `items` in another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// `batch` in pieces of random length, at most `rows_max` rows, in order.
pub fn cut(batch: &Batch, rows_max: usize, random: &mut Random) -> Vec<Morsel> {
    let mut morsels = Vec::new();
    let mut first = 0;
    while first < batch.num_rows() {
        let rows = (1 + random.below(rows_max)).min(batch.num_rows() - first);
        morsels.push(batch.slice(first, rows).into());
        first += rows;
        if random.chance(10) {
            morsels.push(batch.slice(0, 0).into());
        }
    }
    morsels
}

/// Gives `morsels` to `parts` threads of `sink`, which one at random, and runs what `finalize` leaves, in random order.
pub fn feed(sink: &Arc<dyn Sink>, morsels: Vec<Morsel>, parts: usize, random: &mut Random) -> Result<()> {
    let mut threads = (0..parts).map(|_| sink.thread().map(Some)).collect::<Result<Vec<_>>>()?;
    for morsel in morsels {
        let part = random.below(parts);
        let Some(thread) = &mut threads[part] else { continue };
        if let Outcome::Enough = thread.push(morsel)? {
            threads[part].take().map(|thread| thread.finish()).transpose()?;
        }
    }
    random.shuffle(&mut threads);
    for thread in threads.into_iter().flatten() {
        thread.finish()?;
    }
    let mut tasks = sink.finalize()?;
    random.shuffle(&mut tasks);
    tasks.into_iter().try_for_each(|task| task())
}

/// Sends `morsels` through `parts` threads of `transform`, which one at random; the consumer says `Enough` after `taken_max`.
pub fn pass(
    transform: &Arc<dyn Transform>,
    morsels: Vec<Morsel>,
    parts: usize,
    taken_max: usize,
    random: &mut Random,
) -> Result<Vec<Morsel>> {
    let mut given = Vec::new();
    let mut threads =
        (0..parts).map(|_| transform.thread().map(|thread| (thread, false))).collect::<Result<Vec<_>>>()?;
    let mut next = |morsel| {
        assert!(given.len() < taken_max, "a morsel after Enough");
        given.push(morsel);
        Ok(if given.len() == taken_max { Outcome::Enough } else { Outcome::More })
    };
    for morsel in morsels {
        let (thread, is_done) = &mut threads[random.below(parts)];
        if !*is_done {
            *is_done = matches!(thread.push(morsel, &mut next)?, Outcome::Enough);
        }
    }
    for (thread, is_done) in &mut threads {
        if !*is_done {
            thread.finish(&mut next)?;
        }
    }
    Ok(given)
}

/// What `parts` threads of `source` give, called in random order.
pub fn drain(source: &Arc<dyn Source>, parts: usize, random: &mut Random) -> Result<Vec<Morsel>> {
    let mut threads = (0..parts).map(|_| source.thread()).collect::<Result<Vec<_>>>()?;
    let mut given = Vec::new();
    while !threads.is_empty() {
        let part = random.below(threads.len());
        let (morsel, outcome) = threads[part].pull()?;
        given.extend(morsel);
        if let Outcome::Enough = outcome {
            threads.swap_remove(part);
        }
    }
    Ok(given)
}

/// A value as tests compare it; floats by their bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// NULL.
    Null,
    /// A truth.
    Bool(bool),
    /// An integer or a date.
    Int(i64),
    /// A double.
    Float(u64),
    /// A string.
    Text(String),
}

/// The rows of `morsels`, in their order.
pub fn rows_of(morsels: &[Morsel]) -> Vec<Vec<Cell>> {
    morsels.iter().flat_map(|morsel| rows_of_batch(&morsel.batch)).collect()
}

/// The rows of `batch`, in their order.
pub fn rows_of_batch(batch: &Batch) -> Vec<Vec<Cell>> {
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect()).collect()
}

fn cell(column: &ArrayRef, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Null;
    }
    match column.data_type() {
        DataType::Boolean => Cell::Bool(column.as_boolean().value(row)),
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => Cell::Int(i64::from(column.as_primitive::<Int32Type>().value(row))),
        DataType::Date32 => Cell::Int(i64::from(column.as_primitive::<Date32Type>().value(row))),
        DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Utf8View => Cell::Text(column.as_string_view().value(row).to_owned()),
        other => unreachable!("tests compare no {other}"),
    }
}
