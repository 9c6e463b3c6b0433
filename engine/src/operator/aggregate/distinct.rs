//! The values of each group that were seen, each once: for `count(distinct x)` and the like.
//!
//! In: groups and values, a batch at a time. Out: the same pairs, each once, when all have come. Never: counts before the sets of all
//! threads are one.
//!
//! A set of pairs is a table whose keys are a group's number and the values. When tables are merged their groups get new numbers, so
//! the pairs are hashed again under those.

use std::sync::Arc;

use super::{
    index::Index,
    keys::{RowKeys, Visit},
    spec::Input,
};
use crate::{
    batch::{
        array::{ArrayRef, AsArray, BooleanArray, UInt32Array},
        buffer::BooleanBuffer,
        canonical_floats, compute,
        datatypes::{DataType, UInt32Type},
    },
    error::Result,
    kernel,
    memory::Reservation,
};

/// Pairs that are given out at a time.
const PAIRS: usize = 16 << 10;

/// The pairs of group and values of one input.
pub(super) struct Distinct {
    index: Index,
    reservation: Reservation,
    keys: RowKeys,
    hashes: Vec<u64>,
    pairs: Vec<u32>,
}

impl Distinct {
    pub(super) fn new(input: &Input, reservation: Reservation) -> Result<Distinct> {
        let types: Arc<[DataType]> = std::iter::once(DataType::UInt32).chain(input.types.iter().cloned()).collect();
        Ok(Distinct::of(Index::new(&types)?, reservation))
    }

    /// An empty set whose pairs have the same form.
    pub(super) fn like(&self, reservation: Reservation) -> Result<Distinct> {
        Ok(Distinct::of(self.index.like()?, reservation))
    }

    fn of(index: Index, reservation: Reservation) -> Distinct {
        Distinct { index, reservation, keys: RowKeys::default(), hashes: Vec::new(), pairs: Vec::new() }
    }

    /// Takes in the rows of `valid`, or all.
    pub(super) fn insert(&mut self, groups: &[u32], values: &[ArrayRef], valid: Option<&BooleanBuffer>) -> Result<()> {
        let groups: ArrayRef = Arc::new(UInt32Array::from_iter_values(groups.iter().copied()));
        let mut columns = vec![groups];
        columns.extend(values.iter().map(canonical_floats));
        if let Some(valid) = valid {
            let mask = BooleanArray::new(valid.clone(), None);
            for column in &mut columns {
                *column = compute::filter(column, &mask)?;
            }
        }
        self.insert_columns(&columns)
    }

    fn insert_columns(&mut self, columns: &[ArrayRef]) -> Result<()> {
        kernel::hash_columns(columns, &mut self.hashes)?;
        let (per_pair, arena) = (self.index.bytes_per_group(), self.index.arena_bytes());
        let reservation = &mut self.reservation;
        let grow = &mut |pairs: usize| reservation.resize(pairs as u64 * per_pair + arena);
        let visit = Visit { hashes: &self.hashes, groups: &mut self.pairs, grow };
        self.index.assign(columns, &mut self.keys, visit)?;
        self.reservation.resize(self.index.capacity() as u64 * per_pair + self.index.arena_bytes())
    }

    /// Takes in the given pairs of `other`; a group's number there is the place of its number here in `into`.
    pub(super) fn merge(&mut self, other: &Distinct, pairs: &[u32], into: &[u32]) -> Result<()> {
        for pairs in pairs.chunks(PAIRS) {
            let mut columns = other.index.columns(pairs)?;
            let groups = columns[0].as_primitive::<UInt32Type>().unary::<_, UInt32Type>(|group| into[group as usize]);
            columns[0] = Arc::new(groups);
            self.insert_columns(&columns)?;
        }
        Ok(())
    }

    /// What taking in so many rows may ask for at most, where they have `row_bytes` together.
    pub(super) fn growth_bytes(&self, rows: usize, row_bytes: u64) -> u64 {
        let more = self.index.capacity_for(self.index.len() + rows) - self.index.capacity();
        more as u64 * self.index.bytes_per_group() + self.index.arena_bytes() + row_bytes
    }

    /// How many pairs there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// In which form the pairs are; sets of one level can be merged.
    pub(super) fn level(&self) -> usize {
        self.index.level()
    }

    /// Brings the pairs into the form of `level`.
    pub(super) fn raise(&mut self, level: usize) -> Result<()> {
        self.index.raise(level)
    }

    /// All pairs, some at a time: the groups and the columns of the values.
    pub(super) fn visit(&self, visit: &mut dyn FnMut(&[u32], &[ArrayRef])) -> Result<()> {
        let ids: Vec<u32> = (0..self.len() as u32).collect();
        for ids in ids.chunks(PAIRS) {
            let columns = self.index.columns(ids)?;
            visit(columns[0].as_primitive::<UInt32Type>().values(), &columns[1..]);
        }
        Ok(())
    }
}
