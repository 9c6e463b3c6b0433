//! The order of rows that are in memory.
//!
//! In: batches and their keys in row form. Out: where the first row stands, and the second… Never: moves a row.
//!
//! ```text
//!   1  bytes that all keys share are left out           (the bytes that say "not NULL", high bytes of small numbers; "Customer#0000…")
//!   2  the first 8 others as a u64 beside the place     most comparisons are one of integers
//!   3  sort; equal integers compare the rest of the keys
//!   4  runs of equal keys, if there are any: only their rows are written in canonical form, and sorted within the run
//! ```

use std::{cmp::Ordering, ops::Range};

use rayon::{
    iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator},
    slice::ParallelSliceMut,
};

use super::gather::Gather;
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
    /// The key's first bytes but for those that all keys share, big-endian, then zeros.
    pub(super) prefix: u64,
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
        let deciding = Deciding::of(&self.keys, options.is_parallel);
        let mut places = vec![Place { prefix: 0, batch: 0, row: 0 }; self.rows()];
        let mut rest = &mut places[..];
        let mut of_batches = Vec::with_capacity(self.keys.len());
        for (batch, keys) in self.keys.iter().enumerate() {
            let (own, others) = rest.split_at_mut(keys.num_rows());
            of_batches.push((batch as u32, keys, own));
            rest = others;
        }
        let fill = |(batch, keys, places): (u32, &Rows, &mut [Place])| {
            for (row, place) in places.iter_mut().enumerate() {
                *place = Place { prefix: deciding.prefix(keys.row(row).data()), batch, row: row as u32 };
            }
        };
        if options.is_parallel {
            of_batches.into_par_iter().for_each(fill);
        } else {
            of_batches.into_iter().for_each(fill);
        }
        let is_exact = deciding.is_exact;
        let compare = |a: &Place, b: &Place| match a.prefix.cmp(&b.prefix) {
            Ordering::Equal if !is_exact => self.key(a)[deciding.from..].cmp(&self.key(b)[deciding.from..]),
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
        let gather = Gather::new(options.schema, self.batches.clone());
        let chunk = |chunk: &[Place]| canonical.encode(&gather.rows(chunk)?);
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
}

/// Which bytes of keys decide their order: those that not all keys share. A byte that all keys have in the same place never does.
struct Deciding {
    /// The places of the first 8 of them, ascending; those that a key does not have count as 0.
    places: [usize; PREFIX],
    /// All keys are equal up to here.
    from: usize,
    /// There are no others.
    is_exact: bool,
}

/// Bytes of a prefix.
const PREFIX: usize = size_of::<u64>();
/// Bytes of a key that are looked at for being shared; those behind them count as not.
const LOOKED_AT: usize = 64;

impl Deciding {
    fn of(keys: &[Rows], is_parallel: bool) -> Deciding {
        let first = keys.iter().find(|rows| rows.num_rows() > 0);
        let Some(first) = first.map(|rows| rows.row(0)) else {
            return Deciding { places: [0; PREFIX], from: 0, is_exact: true };
        };
        let of_batch = |rows: &Rows| {
            let mut seen = Seen::of(first.data());
            rows.iter().for_each(|key| seen.see(first.data(), key.data()));
            seen
        };
        let none = || Seen::of(first.data());
        let seen = if is_parallel {
            keys.par_iter().map(of_batch).reduce(none, Seen::and)
        } else {
            keys.iter().map(of_batch).fold(none(), Seen::and)
        };
        let is_shared = |place: &usize| *place < seen.shortest.min(LOOKED_AT) && seen.differs[*place] == 0;
        let mut deciding = (0..).filter(|place| !is_shared(place));
        let mut places = [0; PREFIX];
        places.iter_mut().zip(&mut deciding).for_each(|(slot, place)| *slot = place);
        // Keys of one length of which no byte behind the prefix decides.
        let is_exact = seen.shortest == seen.longest && deciding.next().is_some_and(|next| next >= seen.longest);
        Deciding { places, from: places[0].min(seen.shortest), is_exact }
    }

    /// The deciding bytes, big-endian.
    #[inline]
    fn prefix(&self, key: &[u8]) -> u64 {
        let byte = |place: usize| key.get(place).copied().unwrap_or(0);
        u64::from_be_bytes(self.places.map(byte))
    }
}

/// What was seen of keys.
struct Seen {
    /// The bits in which a key differed from the first one, by place.
    differs: [u8; LOOKED_AT],
    shortest: usize,
    longest: usize,
}

impl Seen {
    fn of(first: &[u8]) -> Seen {
        Seen { differs: [0; LOOKED_AT], shortest: first.len(), longest: first.len() }
    }

    #[inline]
    fn see(&mut self, first: &[u8], key: &[u8]) {
        self.shortest = self.shortest.min(key.len());
        self.longest = self.longest.max(key.len());
        let pairs = first.iter().zip(key);
        self.differs.iter_mut().zip(pairs).for_each(|(differs, (first, key))| *differs |= first ^ key);
    }

    fn and(mut self, other: Seen) -> Seen {
        self.differs.iter_mut().zip(other.differs).for_each(|(own, other)| *own |= other);
        self.shortest = self.shortest.min(other.shortest);
        self.longest = self.longest.max(other.longest);
        self
    }
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

/// The rows of few batches at `places`, (batch, row), in their order.
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
