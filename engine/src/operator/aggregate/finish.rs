//! Results from what is known of groups, where no other rows tell of the same groups.
//!
//! In: columns of [`AggregateSpec::partial_schema`], each group once. Out: the keys' columns, then one column a call. Never: looks for a group.

use std::sync::Arc;

use super::{
    spec::{AggregatePhase, AggregateSpec, Plan},
    states::{self, Rows, State},
};
use crate::{
    batch::{
        Batch, Morsel,
        array::{Array, ArrayRef, AsArray, Int64Array, RecordBatchOptions, new_null_array},
        compute,
        datatypes::UInt64Type,
    },
    error::{Result, bug},
    expression::{AggregateFunction, Parameters},
    operator::{Next, Outcome, Transform, TransformThread},
};

/// The shared part: the spec, prepared.
pub struct Finish(Arc<Plan>);

impl Finish {
    /// The results of a grouping by `spec`.
    pub fn new(spec: &AggregateSpec, parameters: &Arc<Parameters>) -> Result<Arc<Finish>> {
        let spec = AggregateSpec { phase: AggregatePhase::Final, ..spec.clone() };
        Ok(Arc::new(Finish(Arc::new(Plan::new(&spec, parameters)?))))
    }
}

impl Transform for Finish {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        Ok(Box::new(FinishThread(Arc::clone(&self.0))))
    }
}

struct FinishThread(Arc<Plan>);

impl TransformThread for FinishThread {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        let Morsel { batch, position } = morsel;
        next(Morsel { batch: results(&self.0, &batch)?, position })
    }
}

fn results(plan: &Plan, batch: &Batch) -> Result<Batch> {
    let groups = batch.num_rows();
    let mut given = batch.columns().iter();
    let mut next = || given.next().ok_or_else(|| bug("aggregate", "a part of a grouping lacks a column"));
    let mut columns = plan.key_types.iter().map(|_| next().cloned()).collect::<Result<Vec<ArrayRef>>>()?;
    let rows: Vec<u64> = match plan.counts_rows() {
        true => next()?.as_primitive::<UInt64Type>().values().to_vec(),
        false => vec![0; groups],
    };
    let mut counts = Vec::with_capacity(plan.inputs.len());
    for input in &plan.inputs {
        let mut of_input = rows.clone();
        if input.may_miss() {
            let missing = next()?.as_primitive::<UInt64Type>().values();
            of_input.iter_mut().zip(missing).for_each(|(count, missing)| *count -= missing);
        }
        counts.push(of_input);
    }
    let identity: Vec<u32> = (0..groups as u32).collect();
    let mut kept: Vec<Box<dyn State>> = Vec::with_capacity(plan.states.len());
    for spec in &plan.states {
        let partials = next()?;
        let mut state = states::new_state(spec.kind, &plan.inputs[spec.input].types[0])
            .ok_or_else(|| bug("aggregate", "a state was planned that is not there"))?;
        state.resize(groups);
        let valid = partials.nulls().map(|nulls| nulls.inner());
        state.absorb(&Rows { groups: &identity, valid, group_count: groups }, partials)?;
        kept.push(state);
    }
    for call in &plan.calls {
        let counts = &counts[call.input];
        columns.push(match (call.function, call.state) {
            (AggregateFunction::Count, _) => {
                Arc::new(Int64Array::from_iter_values(counts.iter().map(|count| *count as i64)))
            }
            (_, Some(state)) => kept[state].finish(0..groups, counts, call)?,
            (_, None) => new_null_array(&call.returns, groups),
        });
    }
    for (column, field) in columns.iter_mut().zip(plan.output.fields()) {
        if column.data_type() != field.data_type() {
            *column = compute::cast(column, field.data_type())?;
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(groups));
    Ok(Batch::try_new_with_options(Arc::clone(&plan.output), columns, &options)?)
}
