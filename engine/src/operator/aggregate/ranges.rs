//! Aggregates over ranges of rows that stand in an order: what window functions ask for.
//!
//! In: a batch, and ranges of its rows. Out: a column per call, a result per range. Never: a state that a grouping does not have; so a sum
//! over a frame has the bits of the sum over the same rows of a GROUP BY.
//!
//! Ranges that follow each other are groups. Ranges that overlap go through a segment tree (Leis et al., Efficient Processing of
//! Window Functions in Analytical SQL Queries, VLDB 2015), built and asked a level at a time, all ranges at once:
//!
//! ```text
//!   level 0   a b c d e f g h    the states of single rows
//!   level 1   ab  cd  ef  gh     each the states of two below, merged          ranges [1,7): b, then nothing,
//!   level 2   abcd    efgh                                                      then cd and ef: three merges
//! ```
//! A range of n rows takes at most two states of each of log2 n levels, so a frame of any length costs about as much as another.

use std::sync::Arc;

use super::{
    spec::{AggregatePhase, AggregateSpec, Plan, StateSpec},
    states::{self, Rows, State, StateKind},
};
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, Int64Array, new_null_array},
        buffer::BooleanBuffer,
        compute,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::{Result, bug},
    expression::{AggregateCall, AggregateFunction, Parameters},
};

/// What is known of rows that stand before a batch.
pub struct Carried {
    states: Vec<Box<dyn State>>,
    /// By input, the rows that count.
    counts: Vec<u64>,
}

/// Aggregates, prepared for batches of one schema.
pub struct RangeAggregates {
    plan: Plan,
    row_schema: SchemaRef,
}

impl RangeAggregates {
    /// `calls` over batches of `input`. None of them is DISTINCT.
    pub fn new(calls: &[AggregateCall], input: &SchemaRef, parameters: &Arc<Parameters>) -> Result<RangeAggregates> {
        let field =
            |(number, call): (usize, &AggregateCall)| Field::new(format!("call {number}"), call.returns.clone(), true);
        let output = Schema::new(calls.iter().enumerate().map(field).collect::<Vec<_>>());
        let spec = AggregateSpec {
            keys: Vec::new(),
            calls: calls.to_vec(),
            input: Arc::clone(input),
            output: Arc::new(output),
            phase: AggregatePhase::Whole,
        };
        let plan = Plan::new(&spec, parameters)?;
        if plan.has_distinct() {
            return Err(bug("aggregate", "distinct values of a range of rows"));
        }
        let row_schema = plan.row_schema();
        Ok(RangeAggregates { plan, row_schema })
    }

    /// Bytes that a row takes while ranges that overlap are computed.
    pub fn bytes_per_row(&self) -> u64 {
        let state = |spec: &StateSpec| {
            states::new_state(spec.kind, &self.plan.inputs[spec.input].types[0])
                .map_or(0, |state| state.bytes_per_group())
        };
        // The rows' own, the levels above, the results.
        3 * self.plan.states.iter().map(state).sum::<u64>() + 8 * self.plan.inputs.len() as u64
    }

    /// The results of the groups of rows `[borders[g], borders[g + 1])`, which cover the batch.
    pub fn of_groups(&self, batch: &Batch, borders: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut groups = vec![0; batch.num_rows()];
        for (number, border) in borders.windows(2).enumerate() {
            groups[border[0] as usize..border[1] as usize].fill(number as u32);
        }
        let group_count = borders.len().saturating_sub(1);
        let ends = borders.get(1..).unwrap_or_default();
        self.compute(batch, &borders[..group_count], ends, |valid, kind, data_type, columns| {
            let mut state = new_state(kind, data_type)?;
            state.resize(group_count);
            state.update(&Rows { groups: &groups, valid, group_count }, columns);
            Ok(state)
        })
    }

    /// The results of the rows `[starts[i], ends[i])`, for each i.
    pub fn of_ranges(&self, batch: &Batch, starts: &[u32], ends: &[u32]) -> Result<Vec<ArrayRef>> {
        let rows = batch.num_rows();
        let identity: Vec<u32> = (0..rows as u32).collect();
        self.compute(batch, starts, ends, |valid, kind, data_type, columns| {
            let mut level = new_state(kind, data_type)?;
            level.resize(rows);
            level.update(&Rows { groups: &identity, valid, group_count: rows }, columns);
            over_levels(level, rows, starts, ends, || new_state(kind, data_type))
        })
    }

    /// No rows.
    pub fn carried(&self) -> Result<Carried> {
        let state = |spec: &StateSpec| {
            let mut state = new_state(spec.kind, &self.plan.inputs[spec.input].types[0])?;
            state.resize(1);
            Ok(state)
        };
        let states = self.plan.states.iter().map(state).collect::<Result<_>>()?;
        Ok(Carried { states, counts: vec![0; self.plan.inputs.len()] })
    }

    /// Takes the rows of `batch` in.
    pub fn carry(&self, carried: &mut Carried, batch: &Batch) -> Result<()> {
        let rows = self.plan.rows_of(&self.row_schema, batch)?;
        let groups = vec![0; batch.num_rows()];
        for (number, (_, columns, valid)) in self.plan.inputs_of(&rows).enumerate() {
            carried.counts[number] += valid.as_ref().map_or(groups.len(), BooleanBuffer::count_set_bits) as u64;
            let rows = Rows { groups: &groups, valid: valid.as_ref(), group_count: 1 };
            let states = self.plan.states.iter().zip(&mut carried.states);
            states.filter(|(spec, _)| spec.input == number).for_each(|(_, state)| state.update(&rows, columns));
        }
        Ok(())
    }

    /// The same rows once more.
    pub fn carried_again(&self, carried: &Carried) -> Result<Carried> {
        let mut again = Carried { counts: carried.counts.clone(), ..self.carried()? };
        for (state, known) in again.states.iter_mut().zip(&carried.states) {
            state.merge(known.as_ref(), &[0], &[0])?;
        }
        Ok(again)
    }

    /// The results of the carried rows: one of each call.
    pub fn of_carried(&self, carried: &Carried) -> Result<Vec<ArrayRef>> {
        let counts = carried.counts.iter().map(|count| vec![*count]).collect::<Vec<_>>();
        self.finish(1, &counts, |state| Ok(carried.states[state].as_ref()))
    }

    /// The results of the carried rows and the first `ends[i]` of `batch`, for each i; where there is no end, of no rows at all.
    pub fn of_beginnings(&self, carried: &Carried, batch: &Batch, ends: &[Option<u32>]) -> Result<Vec<ArrayRef>> {
        let rows = self.plan.rows_of(&self.row_schema, batch)?;
        // What is carried stands before the rows as one more.
        let (leaves, starts) = (batch.num_rows() + 1, vec![0; ends.len()]);
        let leaf_ends: Vec<u32> = ends.iter().map(|end| end.map_or(0, |end| end + 1)).collect();
        let row_ends: Vec<u32> = ends.iter().map(|end| end.unwrap_or(0)).collect();
        let behind: Vec<u32> = (1..leaves as u32).collect();
        let mut counts = Vec::with_capacity(self.plan.inputs.len());
        let mut results: Vec<Option<Box<dyn State>>> = self.plan.states.iter().map(|_| None).collect();
        for (number, (input, columns, valid)) in self.plan.inputs_of(&rows).enumerate() {
            let mut of_rows = counts_of(valid.as_ref(), &starts, &row_ends);
            let before = ends.iter().map(|end| if end.is_some() { carried.counts[number] } else { 0 });
            of_rows.iter_mut().zip(before).for_each(|(count, before)| *count += before);
            counts.push(of_rows);
            for (place, spec) in self.plan.states.iter().enumerate().filter(|(_, spec)| spec.input == number) {
                let mut level = new_state(spec.kind, &input.types[0])?;
                level.resize(leaves);
                level.update(&Rows { groups: &behind, valid: valid.as_ref(), group_count: leaves }, columns);
                level.merge(carried.states[place].as_ref(), &[0], &[0])?;
                let new = || new_state(spec.kind, &input.types[0]);
                results[place] = Some(over_levels(level, leaves, &starts, &leaf_ends, new)?);
            }
        }
        self.finish(ends.len(), &counts, |state| computed(&results, state))
    }

    fn compute(
        &self,
        batch: &Batch,
        starts: &[u32],
        ends: &[u32],
        state_of: impl Fn(Option<&BooleanBuffer>, StateKind, &DataType, &[ArrayRef]) -> Result<Box<dyn State>>,
    ) -> Result<Vec<ArrayRef>> {
        let plan = &self.plan;
        let rows = plan.rows_of(&self.row_schema, batch)?;
        let mut counts = Vec::with_capacity(plan.inputs.len());
        let mut results: Vec<Option<Box<dyn State>>> = plan.states.iter().map(|_| None).collect();
        for (number, (input, columns, valid)) in plan.inputs_of(&rows).enumerate() {
            counts.push(counts_of(valid.as_ref(), starts, ends));
            for (spec, result) in plan.states.iter().zip(&mut results).filter(|(spec, _)| spec.input == number) {
                *result = Some(state_of(valid.as_ref(), spec.kind, &input.types[0], columns)?);
            }
        }
        self.finish(starts.len(), &counts, |state| computed(&results, state))
    }

    /// The columns of the calls, from so many results of each state.
    fn finish<'a>(
        &self,
        count: usize,
        counts: &[Vec<u64>],
        state_of: impl Fn(usize) -> Result<&'a dyn State>,
    ) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.plan.calls.len());
        for call in &self.plan.calls {
            let counts = &counts[call.input];
            let column = match (call.function, call.state) {
                (AggregateFunction::Count, _) => {
                    Arc::new(Int64Array::from_iter_values(counts.iter().map(|count| *count as i64)))
                }
                (_, Some(state)) => state_of(state)?.finish(0..count, counts, call)?,
                (_, None) => new_null_array(&call.returns, count),
            };
            let is_cast = column.data_type() != &call.returns;
            columns.push(if is_cast { compute::cast(&column, &call.returns)? } else { column });
        }
        Ok(columns)
    }
}

fn computed(results: &[Option<Box<dyn State>>], state: usize) -> Result<&dyn State> {
    results[state].as_deref().ok_or_else(|| bug("aggregate", "a state without an input"))
}

fn new_state(kind: StateKind, data_type: &DataType) -> Result<Box<dyn State>> {
    states::new_state(kind, data_type).ok_or_else(|| bug("aggregate", "a state was planned that is not there"))
}

/// The state of each range, from the states of its rows.
fn over_levels(
    mut level: Box<dyn State>,
    mut nodes: usize,
    starts: &[u32],
    ends: &[u32],
    new: impl Fn() -> Result<Box<dyn State>>,
) -> Result<Box<dyn State>> {
    let mut results = new()?;
    results.resize(starts.len());
    // What of each range is not merged yet, in nodes of the level; ranges without rows have none.
    let mut open: Vec<(u32, u32, u32)> =
        (0..).zip(starts).zip(ends).map(|((range, start), end)| (range, *start, (*end).max(*start))).collect();
    let (mut from, mut into) = (Vec::new(), Vec::new());
    loop {
        open.retain_mut(|(range, start, end)| {
            if *start < *end && *start & 1 == 1 {
                from.push(*start);
                into.push(*range);
                *start += 1;
            }
            if *start < *end && *end & 1 == 1 {
                *end -= 1;
                from.push(*end);
                into.push(*range);
            }
            (*start, *end) = (*start / 2, *end / 2);
            *start < *end
        });
        results.merge(level.as_ref(), &from, &into)?;
        from.clear();
        into.clear();
        if open.is_empty() {
            return Ok(results);
        }
        let mut above = new()?;
        above.resize(nodes / 2);
        let below: Vec<u32> = (0..nodes as u32 & !1).collect();
        let parents: Vec<u32> = below.iter().map(|node| node / 2).collect();
        above.merge(level.as_ref(), &below, &parents)?;
        (level, nodes) = (above, nodes / 2);
    }
}

/// How many of each range's rows count.
fn counts_of(valid: Option<&BooleanBuffer>, starts: &[u32], ends: &[u32]) -> Vec<u64> {
    let ranges = starts.iter().zip(ends);
    let Some(valid) = valid else { return ranges.map(|(start, end)| u64::from(end.saturating_sub(*start))).collect() };
    let mut before = Vec::with_capacity(valid.len() + 1);
    let mut count = 0_u64;
    before.push(0);
    before.extend(valid.iter().map(|is_valid| {
        count += u64::from(is_valid);
        count
    }));
    ranges.map(|(start, end)| before[*end.max(start) as usize] - before[*start as usize]).collect()
}
