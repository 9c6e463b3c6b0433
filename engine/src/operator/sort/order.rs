//! The order of rows that are in memory.
//!
//! In: batches and their keys in row form. Out: where the first row stands, and the second… Never: moves a row.
//!
//! ```text
//!   1  bytes that all keys begin with are left out      (the byte that says "not NULL"; "Customer#0000…")
//!   2  the next 8 bytes as a u64 beside the place       most comparisons are one of integers
//!   3  sort; equal integers compare the rest of the keys
//!   4  runs of equal keys, if there are any: only their rows are written in canonical form, and sorted within the run
//! ```

use std::{cmp::Ordering, ops::Range};

use rayon::{
    iter::{IntoParallelIterator, ParallelIterator},
    slice::ParallelSliceMut,
};

use crate::{
    batch::{
        Batch, CanonicalOrder,
        array::{Array, ArrayRef, RecordBatchOptions},
        compute,
        datatypes::SchemaRef,
        payload_bytes,
        row::Rows,
    },
    error::Result,
    memory::Reservation,
};

/// Rows in memory with their keys: one [`Rows`] for each batch.
#[derive(Default)]
pub(super) struct Pile {
    pub(super) batches: Vec<Batch>,
    pub(super) keys: Vec<Rows>,
}

/// Where a row stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The key's first bytes after those that all keys share, big-endian, then zeros.
    prefix: u64,
    pub(super) batch: u32,
    pub(super) row: u32,
}

/// What [`Pile::order`] needs to know.
pub(super) struct OrderOptions<'a> {
    /// The columns, for ties.
    pub(super) schema: &'a SchemaRef,
    /// Rows of equal keys are equal: there are no ties to break.
    pub(super) keys_are_content: bool,
    /// Spread over the node's threads. Not while an operator's state is borrowed: a thread that waits for the others runs them.
    pub(super) is_parallel: bool,
}

/// Rows of ties that are written in canonical form at once.
const TIES_PER_CHUNK: usize = 1 << 14;

impl Pile {
    pub(super) fn rows(&self) -> usize {
        self.batches.iter().map(Batch::num_rows).sum()
    }

    /// What is to be asked for before these rows are added: themselves, their keys, and their places once they are ordered.
    pub(super) fn bytes_of(batch: &Batch, keys: &Rows) -> u64 {
        payload_bytes(batch) + (keys.size() + batch.num_rows() * size_of::<Place>()) as u64
    }

    pub(super) fn add(&mut self, batch: Batch, keys: Rows) {
        self.batches.push(batch);
        self.keys.push(keys);
    }

    /// Takes the rows of `other` in.
    pub(super) fn extend(&mut self, other: Pile) {
        self.batches.extend(other.batches);
        self.keys.extend(other.keys);
    }

    /// All rows, in order. `reservation` is asked for what the ties take meanwhile; what the places take was asked for with the rows.
    pub(super) fn order(&self, options: &OrderOptions<'_>, reservation: &mut Reservation) -> Result<Vec<Place>> {
        let Common { shared, is_exact } = self.common();
        let mut places = Vec::with_capacity(self.rows());
        for (batch, keys) in self.keys.iter().enumerate() {
            let place =
                |row| Place { prefix: prefix(&keys.row(row).data()[shared..]), batch: batch as u32, row: row as u32 };
            places.extend((0..keys.num_rows()).map(place));
        }
        let rest = |place: &Place| &self.key(place)[shared..];
        let compare = |a: &Place, b: &Place| match a.prefix.cmp(&b.prefix) {
            Ordering::Equal if !is_exact => rest(a).cmp(rest(b)),
            order => order,
        };
        match (options.is_parallel, is_exact) {
            (true, true) => places.par_sort_unstable_by_key(|place| place.prefix),
            (true, false) => places.par_sort_unstable_by(compare),
            (false, true) => places.sort_unstable_by_key(|place| place.prefix),
            (false, false) => places.sort_unstable_by(compare),
        }
        if !options.keys_are_content {
            let runs = runs_of_equals(&places, |a, b| compare(a, b) == Ordering::Equal);
            let before_bytes = reservation.bytes();
            let broken = self.break_ties(&mut places, &runs, options, reservation);
            reservation.resize(before_bytes)?;
            broken?;
        }
        Ok(places)
    }

    /// The key of the row.
    pub(super) fn key(&self, place: &Place) -> &[u8] {
        self.keys[place.batch as usize].row(place.row as usize).data()
    }

    /// Sorts each run of `places` by the content of the rows. What it asks `reservation` for is the caller's to give back.
    fn break_ties(
        &self,
        places: &mut [Place],
        runs: &[Range<usize>],
        options: &OrderOptions<'_>,
        reservation: &mut Reservation,
    ) -> Result<()> {
        if runs.is_empty() {
            return Ok(());
        }
        let canonical = CanonicalOrder::new(options.schema)?;
        let tied: Vec<Place> = runs.iter().flat_map(|run| &places[run.clone()]).copied().collect();
        reservation.grow((tied.len() * (size_of::<Place>() + size_of::<u32>())) as u64)?;
        let chunk = |chunk: &[Place]| canonical.encode(&rows_at(options.schema, &self.batches, chunk)?);
        let contents = tied.chunks(TIES_PER_CHUNK).collect::<Vec<_>>();
        let contents: Vec<Rows> = if options.is_parallel {
            contents.into_par_iter().map(chunk).collect::<Result<_>>()?
        } else {
            contents.into_iter().map(chunk).collect::<Result<_>>()?
        };
        reservation.grow(contents.iter().map(|rows| rows.size() as u64).sum())?;
        let content = |tie: &u32| contents[*tie as usize / TIES_PER_CHUNK].row(*tie as usize % TIES_PER_CHUNK);
        let mut first = 0;
        for run in runs {
            let mut ties: Vec<u32> = (first as u32..(first + run.len()) as u32).collect();
            if options.is_parallel && run.len() > TIES_PER_CHUNK {
                ties.par_sort_unstable_by(|a, b| content(a).cmp(&content(b)));
            } else {
                ties.sort_unstable_by(|a, b| content(a).cmp(&content(b)));
            }
            for (place, tie) in places[run.clone()].iter_mut().zip(ties) {
                *place = tied[tie as usize];
            }
            first += run.len();
        }
        Ok(())
    }

    /// What all keys have in common.
    fn common(&self) -> Common {
        let mut keys = self.keys.iter().flat_map(|rows| rows.iter());
        let Some(first) = keys.next() else { return Common { shared: 0, is_exact: true } };
        let first = first.data();
        let (mut shared, mut is_one_length) = (first.len(), true);
        for key in keys {
            let key = key.data();
            is_one_length &= key.len() == first.len();
            if key.get(..shared) != Some(&first[..shared]) {
                shared = key.iter().zip(first).take_while(|(a, b)| a == b).count();
            }
        }
        Common { shared, is_exact: is_one_length && first.len() - shared <= 8 }
    }
}

struct Common {
    /// Bytes that all keys begin with.
    shared: usize,
    /// The prefix is all there is after those.
    is_exact: bool,
}

/// The first 8 bytes, big-endian; zeros where there are fewer.
pub(super) fn prefix(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(padded)
        }
    }
}

/// The ranges of two and more neighbours that are equal.
fn runs_of_equals(places: &[Place], is_equal: impl Fn(&Place, &Place) -> bool) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut first = 0;
    for next in 1..=places.len() {
        if next == places.len() || !is_equal(&places[next - 1], &places[next]) {
            if next - first > 1 {
                runs.push(first..next);
            }
            first = next;
        }
    }
    runs
}

/// The rows at `places`, in their order, as one batch.
pub(super) fn rows_at(schema: &SchemaRef, batches: &[Batch], places: &[Place]) -> Result<Batch> {
    let places: Vec<(usize, usize)> = places.iter().map(|place| (place.batch as usize, place.row as usize)).collect();
    interleaved(schema, batches, &places)
}

/// As [`rows_at`], of places as (batch, row).
pub(super) fn interleaved(schema: &SchemaRef, batches: &[Batch], places: &[(usize, usize)]) -> Result<Batch> {
    let column = |number: usize| -> Result<ArrayRef> {
        let columns: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(number) as &dyn Array).collect();
        Ok(compute::interleave(&columns, places)?)
    };
    let columns = if batches.is_empty() {
        return Ok(Batch::new_empty(SchemaRef::clone(schema)));
    } else {
        (0..schema.fields().len()).map(column).collect::<Result<_>>()?
    };
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(Batch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?)
}
