//! From the tables of all threads to one set of groups.
//!
//! In: one table a thread. Out: tables that have no group in common. Never: hashes a key again, or lets two tasks write to one table.
//!
//! ```text
//!   thread 0's groups, by part │ 0 │ 1 │ 2 │ … │ 63 │     part = the top bits of the hash
//!   thread 1's groups, by part │ 0 │ 1 │ 2 │ … │ 63 │
//!                                ▼   ▼   ▼       ▼
//!   tasks                      table 0 … one a part, of a size that stays in cache
//! ```
//! Each thread puts its groups in order of their parts when it finishes. Few groups are merged in one task. Tables that count values once
//! are merged with `parts`, too, in the order of these.

use std::sync::Arc;

use super::groups::{Groups, Scratch};
use crate::{error::Result, memory::Reservation};

/// Into so many parts many groups are cut: enough for the threads of a large machine, few enough to be put in order at once.
pub(super) const PARTS: usize = 64;
/// Fewer groups than this are merged in one task: it takes less than a millisecond.
pub(super) const GROUPS_MIN: usize = 10_000;

/// A thread's groups, put in order of their parts.
pub(super) struct Bucketed {
    groups: Groups,
    parts: Option<Parts>,
}

struct Parts {
    groups: Order,
    /// Of each input that counts values once, its pairs by their group's part.
    pairs: Vec<Order>,
}

/// Numbers in order of their parts: those of part k are `ids[ends[k]..ends[k + 1]]`.
struct Order {
    ids: Vec<u32>,
    ends: Vec<usize>,
}

impl Bucketed {
    /// Puts the groups in order if they are many.
    pub(super) fn new(groups: Groups) -> Result<Bucketed> {
        let mut bucketed = Bucketed { groups, parts: None };
        if bucketed.groups.len() >= GROUPS_MIN {
            bucketed.order(PARTS)?;
        }
        Ok(bucketed)
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// What its table holds.
    pub(super) fn bytes(&self) -> u64 {
        self.groups.bytes()
    }

    fn order(&mut self, part_count: usize) -> Result<()> {
        if self.parts.as_ref().is_some_and(|parts| parts.groups.ends.len() == part_count + 1) {
            return Ok(());
        }
        let hashes = self.groups.hashes();
        let part_of =
            |group: usize| if part_count == 1 { 0 } else { (hashes[group] >> (64 - part_count.ilog2())) as usize };
        let groups = Order::new(self.groups.len(), part_count, part_of);
        let mut pairs = Vec::new();
        for distinct in self.groups.distinct() {
            let mut group_of_pair = Vec::new();
            if let Some(distinct) = distinct {
                distinct.visit(&mut |groups, _| group_of_pair.extend_from_slice(groups))?;
            }
            pairs.push(Order::new(group_of_pair.len(), part_count, |pair| part_of(group_of_pair[pair] as usize)));
        }
        self.parts = Some(Parts { groups, pairs });
        Ok(())
    }
}

impl Bucketed {
    /// Puts the groups of tables in order of so many parts, with keys of one form.
    pub(super) fn align(tables: &mut [Bucketed], part_count: usize) -> Result<()> {
        let Some((first, others)) = tables.split_first() else { return Ok(()) };
        let mut levels = first.groups.levels();
        for table in others {
            for (level, other) in levels.iter_mut().zip(table.groups.levels()) {
                *level = (*level).max(other);
            }
        }
        for table in tables {
            table.groups.raise(&levels)?;
            table.order(part_count)?;
        }
        Ok(())
    }

    /// The groups, in no order.
    pub(super) fn into_groups(self) -> Groups {
        self.groups
    }

    /// No groups, in the form they have here.
    pub(super) fn empty_like(&self, reservation: &dyn Fn() -> Reservation) -> Result<Groups> {
        self.groups.like(reservation)
    }

    /// Groups of a part.
    pub(super) fn part_len(&self, part: usize) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.groups.part(part).len())
    }

    /// Takes the groups of a part into `merged`, which is of the same form.
    pub(super) fn merge_part_into(&self, merged: &mut Groups, part: usize, scratch: &mut Scratch) -> Result<()> {
        let Some(parts) = &self.parts else { return Ok(()) };
        let pairs: Vec<&[u32]> = parts.pairs.iter().map(|pairs| pairs.part(part)).collect();
        merged.merge(&self.groups, parts.groups.part(part), &pairs, scratch)
    }
}

impl Order {
    fn new(count: usize, part_count: usize, part_of: impl Fn(usize) -> usize) -> Order {
        let mut ends = vec![0; part_count + 1];
        (0..count).for_each(|id| ends[part_of(id) + 1] += 1);
        for part in 0..part_count {
            ends[part + 1] += ends[part];
        }
        let mut places = ends.clone();
        let mut ids = vec![0; count];
        for id in 0..count {
            let place = &mut places[part_of(id)];
            ids[*place] = id as u32;
            *place += 1;
        }
        Order { ids, ends }
    }

    fn part(&self, part: usize) -> &[u32] {
        &self.ids[self.ends[part]..self.ends[part + 1]]
    }
}

/// What is left to be merged, or nothing if there is one table only.
pub(super) enum Work {
    /// The groups, ready to be given out.
    Done(Box<Groups>),
    /// So many parts of these tables are to be merged, each by [`merge_part`].
    Merge(Arc<[Bucketed]>, usize),
}

/// Brings the tables into one form and says what is to be done. There is at least one table.
pub(super) fn prepare(mut tables: Vec<Bucketed>, empty: impl FnOnce() -> Result<Groups>) -> Result<Work> {
    // What has no group has nothing to say, unless it is the only one.
    let is_single = tables.first().is_some_and(|table| table.groups.is_single());
    tables.retain(|table| is_single || table.len() > 0);
    if tables.len() <= 1 {
        let mut groups = match tables.pop() {
            Some(table) => table.groups,
            None => empty()?,
        };
        groups.seal()?;
        return Ok(Work::Done(Box::new(groups)));
    }
    let group_count: usize = tables.iter().map(Bucketed::len).sum();
    let part_count = if group_count < GROUPS_MIN { 1 } else { PARTS };
    Bucketed::align(&mut tables, part_count)?;
    Ok(Work::Merge(tables.into(), part_count))
}

/// The groups of one part of all tables.
pub(super) fn merge_part(tables: &[Bucketed], part: usize, reservation: &dyn Fn() -> Reservation) -> Result<Groups> {
    let mut merged = tables[0].empty_like(reservation)?;
    let mut scratch = Scratch::default();
    // At most so many; if the threads saw the same groups the table has room left, but it never grows while it is filled.
    merged.reserve(tables.iter().map(|table| table.part_len(part)).sum())?;
    for table in tables {
        table.merge_part_into(&mut merged, part, &mut scratch)?;
    }
    merged.seal()?;
    Ok(merged)
}
