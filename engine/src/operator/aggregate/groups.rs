//! One table of groups with its states: what a thread fills, and what comes of merging.
//!
//! In: batches, or groups of another table. Out: columns. Never: updates a state before the groups of the whole batch are known.
//!
//! Rows are counted once for all calls. Of each input only the rows that do *not* count are noted, NULLs and what a filter left out:
//! `count = rows − missing`, and where no value is NULL nothing is to be done.

use std::{cmp::Reverse, ops::Range, sync::Arc};

use super::{
    direct::Direct,
    distinct::Distinct,
    index::Index,
    keys::{RowKeys, Visit},
    spec::{AggregatePhase, Input, Plan},
    states::{self, Rows, State},
    table::ABSENT,
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray, Int64Array, RecordBatchOptions, UInt32Array, UInt64Array, new_null_array},
        array_bytes,
        buffer::BooleanBuffer,
        compute,
        datatypes::{DataType, UInt64Type},
    },
    error::{Result, bug},
    expression::AggregateFunction,
    kernel::{self, FewKeys},
    memory::Reservation,
};

/// Where more rows than this share have long strings, all groups are looked for in the index.
const FEW_LONG_SHARE: u64 = 16;

/// Groups and what is known of each.
pub(super) struct Groups {
    plan: Arc<Plan>,
    index: Index,
    /// Finds most groups before the index, where the keys have few values.
    direct: Option<Direct>,
    /// Finds most groups before the index, where few short strings have most rows and no new groups come.
    few: Option<FewKeys>,
    /// Rows of each group; empty if no call needs it.
    rows: Vec<u64>,
    seen: Vec<Seen>,
    states: Vec<Box<dyn State>>,
    reservation: Reservation,
    /// What is held even before it is needed, as of [`Groups::promise`].
    promised_bytes: u64,
}

/// How many values of an input each group has seen.
struct Seen {
    /// Rows that do not count, by group; groups at the end may be absent, they have none.
    missing: Vec<u64>,
    /// The values, for an input that counts each once.
    distinct: Option<Distinct>,
    /// Distinct values by group, once all tables are one.
    distinct_counts: Vec<u64>,
}

/// Buffers that are filled again for each batch.
#[derive(Default)]
pub(super) struct Scratch {
    hashes: Vec<u64>,
    keys: RowKeys,
    groups: Vec<u32>,
}

impl Scratch {
    /// The groups of the rows that were last taken in.
    pub(super) fn groups(&self) -> &[u32] {
        &self.groups
    }
}

impl Groups {
    /// No groups, or the one group of no keys. `reservation` gives an empty one.
    pub(super) fn new(plan: &Arc<Plan>, reservation: &dyn Fn() -> Reservation) -> Result<Groups> {
        let distinct = |input: &Input| match input.is_distinct {
            true => Distinct::new(input, reservation()).map(Some),
            false => Ok(None),
        };
        let distinct = plan.inputs.iter().map(distinct).collect::<Result<Vec<_>>>()?;
        Groups::of(plan, Index::new(&plan.key_types)?, distinct, reservation())
    }

    /// No groups, with keys in the form they have here.
    pub(super) fn like(&self, reservation: &dyn Fn() -> Reservation) -> Result<Groups> {
        let distinct = |seen: &Seen| seen.distinct.as_ref().map(|distinct| distinct.like(reservation())).transpose();
        let distinct = self.seen.iter().map(distinct).collect::<Result<Vec<_>>>()?;
        Groups::of(&self.plan, self.index.like()?, distinct, reservation())
    }

    fn of(plan: &Arc<Plan>, index: Index, distinct: Vec<Option<Distinct>>, reservation: Reservation) -> Result<Groups> {
        let seen = |distinct| Seen { missing: Vec::new(), distinct, distinct_counts: Vec::new() };
        let state = |spec: &super::spec::StateSpec| {
            let data_type = &plan.inputs[spec.input].types[0];
            states::new_state(spec.kind, data_type)
                .ok_or_else(|| bug("aggregate", "a state was planned that is not there"))
        };
        let mut groups = Groups {
            plan: Arc::clone(plan),
            index,
            direct: None,
            few: None,
            rows: Vec::new(),
            seen: distinct.into_iter().map(seen).collect(),
            states: plan.states.iter().map(state).collect::<Result<_>>()?,
            reservation,
            promised_bytes: 0,
        };
        groups.resize();
        Ok(groups)
    }

    /// The same table, which finds groups by place where there are at most so many places.
    pub(super) fn with_places(mut self, places_max: usize) -> Groups {
        self.direct = (!self.is_single()).then(|| Direct::new(places_max));
        self
    }

    /// From now on short strings are looked for at one place each, of `2^line_bits`, by [`Groups::push_known`], which may take one for none of a group.
    pub(super) fn look_for_few(&mut self, line_bits: u32) -> Result<()> {
        let mut groups: Vec<u32> = (0..self.len() as u32).collect();
        let rows = |group: &u32| self.row_counts().map_or(1, |rows| rows[*group as usize]);
        groups.sort_unstable_by_key(|group| Reverse(rows(group)));
        let all: u64 = groups.iter().map(rows).sum();
        groups.retain(|group| self.index.is_short(*group));
        let of_short: u64 = groups.iter().map(rows).sum();
        // Rows of the others go through.
        if (all - of_short) * FEW_LONG_SHARE <= all {
            self.few = self.index.few(&groups, line_bits);
        }
        self.account()
    }

    /// Bytes of the table and its states, as they were asked for.
    pub(super) fn bytes(&self) -> u64 {
        self.reservation.bytes()
    }

    /// Bytes of a table of so many groups, without what keys and states hold elsewhere.
    pub(super) fn bytes_of(&self, groups: usize) -> u64 {
        self.index.capacity_for(groups) as u64 * self.bytes_per_group()
    }

    /// Asks for room for so many groups more, whose strings have `far_bytes`, without an error when there is none.
    pub(super) fn try_reserve(&mut self, more_groups: usize, far_bytes: u64) -> bool {
        let groups = self.index.len() + more_groups;
        if groups <= self.index.capacity() && far_bytes == 0 {
            return true;
        }
        let bytes = self.bytes_of(groups) + self.far_bytes() + far_bytes;
        self.reservation.try_resize(bytes)
    }

    /// As `try_reserve`; what was granted is kept until [`Groups::keep_no_more`], though less may be needed for a while.
    pub(super) fn promise(&mut self, more_groups: usize, far_bytes: u64) -> bool {
        let is_granted = self.try_reserve(more_groups, far_bytes);
        if is_granted {
            self.promised_bytes = self.reservation.bytes();
        }
        is_granted
    }

    /// From now on no more is held than is needed.
    pub(super) fn keep_no_more(&mut self) -> Result<()> {
        self.promised_bytes = 0;
        self.account()
    }

    /// Bytes of strings of keys that taking in rows with these may ask for: what holds them doubles as it grows.
    pub(super) fn key_growth_bytes(&self, keys: &[ArrayRef]) -> u64 {
        let strings = keys.iter().filter(|keys| !keys.data_type().is_primitive());
        strings.map(array_bytes).sum::<u64>() + self.index.arena_bytes()
    }

    /// What taking in so many rows may ask for at most, where they have `row_bytes` together.
    pub(super) fn growth_bytes(&self, rows: usize, row_bytes: u64) -> u64 {
        let groups = (self.index.capacity_for(self.index.len() + rows) - self.index.capacity()) as u64;
        let sets: u64 = self.distinct().flatten().map(|distinct| distinct.growth_bytes(rows, row_bytes)).sum();
        // What strings take doubles, too.
        groups * self.bytes_per_group() + self.far_bytes() + row_bytes + sets
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The rows of each group, if a call asks for them.
    pub(super) fn row_counts(&self) -> Option<&[u64]> {
        self.plan.counts_rows().then_some(&self.rows[..])
    }

    /// There are no key columns.
    pub(super) fn is_single(&self) -> bool {
        self.index.is_single()
    }

    /// The hash of each group.
    pub(super) fn hashes(&self) -> &[u64] {
        self.index.hashes()
    }

    /// The sets of distinct values, by input.
    pub(super) fn distinct(&self) -> impl Iterator<Item = Option<&Distinct>> {
        self.seen.iter().map(|seen| seen.distinct.as_ref())
    }

    /// The forms of the keys and of each input's pairs.
    pub(super) fn levels(&self) -> Vec<usize> {
        let distinct = self.distinct().map(|distinct| distinct.map_or(0, Distinct::level));
        std::iter::once(self.index.level()).chain(distinct).collect()
    }

    /// Brings keys and pairs into the forms of `levels`, which are not lower.
    pub(super) fn raise(&mut self, levels: &[usize]) -> Result<()> {
        self.index.raise(levels[0])?;
        for (seen, level) in self.seen.iter_mut().zip(&levels[1..]) {
            if let Some(distinct) = &mut seen.distinct {
                distinct.raise(*level)?;
            }
        }
        self.account()
    }

    /// Takes rows of [`Plan::row_schema`] in.
    pub(super) fn push(&mut self, rows: &Batch, scratch: &mut Scratch) -> Result<()> {
        if self.plan.phase.takes_parts() {
            return self.push_partial(rows, scratch);
        }
        let plan = Arc::clone(&self.plan);
        self.assign(plan.keys_of(rows), rows.num_rows(), scratch)?;
        let groups = &scratch.groups;
        if plan.counts_rows() {
            count_rows(groups, &mut self.rows);
        }
        for (number, (_, columns, valid)) in plan.inputs_of(rows).enumerate() {
            self.push_input(number, groups, columns, valid.as_ref())?;
        }
        self.account()
    }

    /// Takes in those rows of [`Plan::row_schema`] whose group is found, and gives the others; nothing where the keys do not fit with those that
    /// are there, and then nothing is taken in. Not for what other tables know.
    pub(super) fn push_known(&mut self, rows: &Batch, scratch: &mut Scratch) -> Result<Option<Batch>> {
        let plan = Arc::clone(&self.plan);
        let Scratch { hashes, keys, groups } = scratch;
        let columns = plan.values_of_keys(plan.keys_of(rows))?;
        match (&self.few, columns.first().and_then(views_without_nulls)) {
            (Some(few), Some(views)) => few.find(views, groups),
            _ => {
                kernel::hash_columns(&columns, hashes)?;
                if !self.index.find(&columns, keys, hashes, groups)? {
                    return Ok(None);
                }
            }
        }
        let known = if plan.inputs.is_empty() { Vec::new() } else { rows_of_groups(groups) };
        let others = kernel::part_found(groups);
        let is_all = others.is_empty() || plan.inputs.is_empty();
        let others = compute::take_record_batch(rows, &UInt32Array::from(others))?;
        let rows = if is_all { rows.clone() } else { compute::take_record_batch(rows, &UInt32Array::from(known))? };
        if plan.counts_rows() {
            count_rows(groups, &mut self.rows);
        }
        for (number, (_, columns, valid)) in plan.inputs_of(&rows).enumerate() {
            self.push_input(number, groups, columns, valid.as_ref())?;
        }
        self.account()?;
        Ok(Some(others))
    }

    /// Takes in what another table knows of its groups, in the columns of [`Plan::partial_schema`].
    pub(super) fn push_partial(&mut self, batch: &Batch, scratch: &mut Scratch) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let mut columns = batch.columns().iter();
        let mut next = || columns.next().ok_or_else(|| bug("aggregate", "a part of a grouping lacks a column"));
        let keys = plan.key_types.iter().map(|_| next().cloned()).collect::<Result<Vec<_>>>()?;
        self.assign(&keys, batch.num_rows(), scratch)?;
        let groups = &scratch.groups;
        let add = |counts: &mut [u64], more: &ArrayRef| {
            let more = more.as_primitive::<UInt64Type>().values();
            groups.iter().zip(more).for_each(|(group, more)| counts[*group as usize] += more);
        };
        if plan.counts_rows() {
            add(&mut self.rows, next()?);
        }
        let group_count = self.index.len();
        for (seen, _) in self.seen.iter_mut().zip(&plan.inputs).filter(|(_, input)| input.may_miss()) {
            seen.missing.resize(group_count, 0);
            add(&mut seen.missing, next()?);
        }
        for state in &mut self.states {
            let partials = next()?;
            let valid = partials.nulls().map(|nulls| nulls.inner());
            state.absorb(&Rows { groups, valid, group_count }, partials)?;
        }
        self.account()
    }

    /// The group of each row, in `scratch.groups`; new keys become groups.
    fn assign(&mut self, columns: &[ArrayRef], rows: usize, scratch: &mut Scratch) -> Result<()> {
        let Scratch { hashes, keys, groups } = scratch;
        if self.is_single() {
            groups.clear();
            groups.resize(rows, 0);
            self.resize();
            return Ok(());
        }
        let need = self.need();
        let Groups { plan, index, direct, reservation, .. } = self;
        let mut find = |columns: &[ArrayRef], groups: &mut Vec<u32>| -> Result<()> {
            let columns = plan.values_of_keys(columns)?;
            kernel::hash_columns(&columns, hashes)?;
            let grow = &mut |groups: usize| reservation.resize(need.bytes(groups));
            index.assign(&columns, keys, Visit { hashes, groups, grow })
        };
        let is_found = match direct {
            Some(direct) => direct.assign(columns, groups, &mut find)?,
            None => false,
        };
        if !is_found {
            find(columns, groups)?;
        }
        self.resize();
        Ok(())
    }

    fn push_input(
        &mut self,
        number: usize,
        groups: &[u32],
        columns: &[ArrayRef],
        valid: Option<&BooleanBuffer>,
    ) -> Result<()> {
        let seen = &mut self.seen[number];
        if let Some(distinct) = &mut seen.distinct {
            return distinct.insert(groups, columns, valid);
        }
        let group_count = self.index.len();
        if let Some(valid) = valid {
            seen.missing.resize(group_count, 0);
            (!valid).set_indices().for_each(|row| seen.missing[groups[row] as usize] += 1);
        }
        let rows = Rows { groups, valid, group_count };
        for (spec, state) in self.plan.states.iter().zip(&mut self.states) {
            if spec.input == number {
                state.update(&rows, columns);
            }
        }
        Ok(())
    }

    /// Makes room for so many groups.
    pub(super) fn reserve(&mut self, groups: usize) -> Result<()> {
        let (need, reservation) = (self.need(), &mut self.reservation);
        self.index.reserve(groups, &mut |groups: usize| reservation.resize(need.bytes(groups)))
    }

    /// Two tables of these groups: those for which `is_first` is true, and the others. Not where values are counted once.
    pub(super) fn parted(
        &self,
        is_first: impl Fn(usize) -> bool,
        reservation: &dyn Fn() -> Reservation,
        scratch: &mut Scratch,
    ) -> Result<(Groups, Groups)> {
        let (first, others): (Vec<u32>, Vec<u32>) = (0..self.len() as u32).partition(|group| is_first(*group as usize));
        let pairs = vec![&[][..]; self.plan.inputs.len()];
        let mut of = |groups: &[u32], room: usize| -> Result<Groups> {
            let mut table = self.like(reservation)?;
            table.reserve(groups.len() * room)?;
            table.merge(self, groups, &pairs, scratch)?;
            Ok(table)
        };
        // The first are looked for among rows of all groups: with empty slots between, a row that is none of theirs is told at once.
        Ok((of(&first, 2)?, of(&others, 1)?))
    }

    /// Takes in `groups` of `other`, and of each input's pairs there those of `pairs`. The forms of both tables are the same.
    pub(super) fn merge(
        &mut self,
        other: &Groups,
        groups: &[u32],
        pairs: &[&[u32]],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let Scratch { hashes, keys, groups: into } = scratch;
        if self.is_single() {
            into.clear();
            into.push(0);
        } else {
            hashes.clear();
            hashes.extend(groups.iter().map(|group| other.hashes()[*group as usize]));
            let (need, reservation) = (self.need(), &mut self.reservation);
            let grow = &mut |groups: usize| reservation.resize(need.bytes(groups));
            self.index.assign_from(&other.index, groups, keys, Visit { hashes, groups: into, grow })?;
        }
        self.resize();
        if self.plan.counts_rows() {
            for (from, into) in groups.iter().zip(into.iter()) {
                self.rows[*into as usize] += other.rows[*from as usize];
            }
        }
        for (state, other) in self.states.iter_mut().zip(&other.states) {
            state.merge(other.as_ref(), groups, into)?;
        }
        let len = self.len();
        for ((seen, other_seen), pairs) in self.seen.iter_mut().zip(&other.seen).zip(pairs) {
            if let (Some(distinct), Some(other_distinct)) = (&mut seen.distinct, &other_seen.distinct) {
                let mut new_numbers = vec![0; other.len()];
                groups.iter().zip(into.iter()).for_each(|(from, into)| new_numbers[*from as usize] = *into);
                distinct.merge(other_distinct, pairs, &new_numbers)?;
            }
            if !other_seen.missing.is_empty() {
                seen.missing.resize(len, 0);
                for (from, into) in groups.iter().zip(into.iter()) {
                    seen.missing[*into as usize] += other_seen.missing.get(*from as usize).copied().unwrap_or(0);
                }
            }
        }
        self.account()
    }

    /// No more comes: what counts each value once is computed now.
    pub(super) fn seal(&mut self) -> Result<()> {
        self.resize();
        let group_count = self.len();
        let Groups { plan, seen, states, .. } = self;
        for (number, seen) in seen.iter_mut().enumerate() {
            let Some(distinct) = seen.distinct.take() else { continue };
            seen.distinct_counts.resize(group_count, 0);
            distinct.visit(&mut |groups, values| {
                count_rows(groups, &mut seen.distinct_counts);
                let rows = Rows { groups, valid: None, group_count };
                for (spec, state) in plan.states.iter().zip(states.iter_mut()) {
                    if spec.input == number {
                        state.update(&rows, values);
                    }
                }
            })?;
        }
        self.keep_no_more()
    }

    /// What is given of these groups. Only after [`Groups::seal`].
    pub(super) fn output(&self, groups: Range<usize>) -> Result<Batch> {
        match self.plan.phase {
            AggregatePhase::Partial | AggregatePhase::Merge => self.partial_columns(groups),
            AggregatePhase::Whole | AggregatePhase::Final => self.columns(groups),
        }
    }

    /// What is known of these groups, in the columns of [`Plan::partial_schema`].
    pub(super) fn partial_columns(&self, groups: Range<usize>) -> Result<Batch> {
        let ids: Vec<u32> = (groups.start as u32..groups.end as u32).collect();
        let mut columns = self.index.columns(&ids)?;
        if self.plan.counts_rows() {
            columns.push(Arc::new(UInt64Array::from(self.rows[groups.clone()].to_vec())));
        }
        for (seen, _) in self.seen.iter().zip(&self.plan.inputs).filter(|(_, input)| input.may_miss()) {
            let missing = groups.clone().map(|group| seen.missing.get(group).copied().unwrap_or(0));
            columns.push(Arc::new(UInt64Array::from_iter_values(missing)));
        }
        for (spec, state) in self.plan.states.iter().zip(&self.states) {
            let counts = self.counts(spec.input, groups.clone());
            let argument = &self.plan.inputs[spec.input].types[0];
            columns.push(state.partial(groups.clone(), &counts, argument)?);
        }
        let schema = self.plan.partial_schema();
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            if column.data_type() != field.data_type() {
                *column = compute::cast(column, field.data_type())?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        Ok(Batch::try_new_with_options(schema, columns, &options)?)
    }

    /// These groups' keys and results.
    fn columns(&self, groups: Range<usize>) -> Result<Batch> {
        let ids: Vec<u32> = (groups.start as u32..groups.end as u32).collect();
        let mut columns = self.index.columns(&ids)?;
        for call in &self.plan.calls {
            let counts = self.counts(call.input, groups.clone());
            columns.push(match (call.function, call.state) {
                (AggregateFunction::Count, _) => {
                    Arc::new(Int64Array::from_iter_values(counts.into_iter().map(|count| count as i64)))
                }
                (_, Some(state)) => self.states[state].finish(groups.clone(), &counts, call)?,
                (_, None) => new_null_array(&call.returns, groups.len()),
            });
        }
        for (column, field) in columns.iter_mut().zip(self.plan.output.fields()) {
            if column.data_type() != field.data_type() {
                *column = compute::cast(column, field.data_type())?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        Ok(Batch::try_new_with_options(Arc::clone(&self.plan.output), columns, &options)?)
    }

    /// How many values of an input these groups have seen.
    fn counts(&self, input: usize, groups: Range<usize>) -> Vec<u64> {
        let seen = &self.seen[input];
        if self.plan.inputs[input].is_distinct {
            return seen.distinct_counts[groups].to_vec();
        }
        let missing = |group: usize| seen.missing.get(group).copied().unwrap_or(0);
        groups.map(|group| self.rows[group] - missing(group)).collect()
    }

    fn resize(&mut self) {
        let len = self.len();
        if self.plan.counts_rows() {
            self.rows.resize(len, 0);
        }
        self.states.iter_mut().for_each(|state| state.resize(len));
    }

    fn bytes_per_group(&self) -> u64 {
        let states: u64 = self.states.iter().map(|state| state.bytes_per_group()).sum();
        self.index.bytes_per_group() + 8 + states
    }

    /// Bytes that do not depend on the number of groups.
    fn far_bytes(&self) -> u64 {
        let states: u64 = self.states.iter().map(|state| state.far_bytes()).sum();
        let missing: u64 = self.seen.iter().map(|seen| seen.missing.capacity() as u64 * 8).sum();
        let places = self.direct.as_ref().map_or(0, Direct::bytes);
        let few = self.few.as_ref().map_or(0, FewKeys::bytes);
        self.index.arena_bytes() + places + few + states + missing
    }

    fn account(&mut self) -> Result<()> {
        let bytes = self.need().bytes(self.index.capacity());
        self.reservation.resize(bytes)
    }

    fn need(&self) -> Need {
        let (group_bytes, far_bytes) = (self.bytes_per_group(), self.far_bytes());
        Need { group_bytes, far_bytes, promised_bytes: self.promised_bytes }
    }
}

/// What a table holds by the number of its groups.
struct Need {
    group_bytes: u64,
    far_bytes: u64,
    promised_bytes: u64,
}

impl Need {
    fn bytes(&self, groups: usize) -> u64 {
        (groups as u64 * self.group_bytes + self.far_bytes).max(self.promised_bytes)
    }
}

/// The rows of a group.
fn rows_of_groups(groups: &[u32]) -> Vec<u32> {
    let (mut known, mut count) = (vec![0; groups.len()], 0);
    for (row, group) in groups.iter().enumerate() {
        known[count] = row as u32;
        count += usize::from(*group != ABSENT);
    }
    known.truncate(count);
    known
}

/// The views of a column of strings without NULLs.
fn views_without_nulls(column: &ArrayRef) -> Option<&[u128]> {
    let views = match column.data_type() {
        DataType::Utf8View => column.as_string_view().views(),
        DataType::BinaryView => column.as_binary_view().views(),
        _ => return None,
    };
    (column.null_count() == 0).then_some(&views[..])
}

/// Adds the number of rows of each group to `counts`.
fn count_rows(groups: &[u32], counts: &mut [u64]) {
    /// Few groups are counted in lanes, so that rows of one group do not wait for each other.
    const LANES: usize = 4;
    const LANE_GROUPS_MAX: usize = 64;
    if let [count] = counts {
        *count += groups.len() as u64;
    } else if counts.len() <= LANE_GROUPS_MAX {
        let mut lanes = [[0_u32; LANES]; LANE_GROUPS_MAX];
        let (whole, rest) = groups.as_chunks::<LANES>();
        for groups in whole {
            for lane in 0..LANES {
                lanes[groups[lane] as usize % LANE_GROUPS_MAX][lane] += 1;
            }
        }
        rest.iter().for_each(|group| counts[*group as usize] += 1);
        for (count, lanes) in counts.iter_mut().zip(&lanes) {
            *count += lanes.iter().map(|lane| u64::from(*lane)).sum::<u64>();
        }
    } else {
        groups.iter().for_each(|group| counts[*group as usize] += 1);
    }
}
