//! The numbers of a plan that point into it: states, pipelines, edges, parameters, columns of tables.
//!
//! In: a plan. Out: nothing, or which number points to nothing. Never: looks into expressions; the evaluator checks their columns and
//! parameters itself.

use super::EncodeError;
use crate::{
    kernel::GROUPS_MAX,
    plan::{
        physical::{EdgeKind, KeyFilter, PhysicalPlan, Pipeline, SourceSpec, StateSpec, TransformSpec},
        stage::{Distribution, Stage},
    },
};

/// All of them point to something, asked when a plan is written and when it is read.
pub(super) fn check(plan: &PhysicalPlan) -> Result<(), EncodeError> {
    for edge in &plan.edges {
        if let EdgeKind::Groups { count, .. } = edge.kind {
            check_groups(count)?;
        }
    }
    plan.stages.iter().try_for_each(|stage| check_stage(plan, stage))
}

fn check_stage(plan: &PhysicalPlan, stage: &Stage) -> Result<(), EncodeError> {
    let parameter = |number| exists("parameter", number, plan.parameters.len());
    if let Distribution::Groups(count) = stage.distribution {
        check_groups(count)?;
    }
    stage.needs.iter().try_for_each(|number| parameter(*number))?;
    for state in &stage.states {
        match state {
            StateSpec::Scalar { number } => parameter(*number)?,
            StateSpec::Exchange(edge) => exists("edge", edge.0, plan.edges.len())?,
            _ => {}
        }
    }
    stage.pipelines.iter().try_for_each(|pipeline| check_pipeline(plan, stage, pipeline))
}

fn check_pipeline(plan: &PhysicalPlan, stage: &Stage, pipeline: &Pipeline) -> Result<(), EncodeError> {
    let state = |number| exists("state", number, stage.states.len());
    match &pipeline.source {
        SourceSpec::Scan(scan, key_filters) => {
            for KeyFilter { state: filtering, places } in key_filters {
                state(filtering.0)?;
                places.iter().try_for_each(|place| exists("place of a key", *place, scan.columns.len()))?;
            }
            let count = scan.table.schema().fields().len();
            scan.columns.iter().try_for_each(|column| exists("column", *column, count))?;
            scan.given.iter().try_for_each(|place| exists("given column", *place, scan.columns.len()))?;
        }
        SourceSpec::Values(..) | SourceSpec::Cached(_) => {}
        SourceSpec::State(number) => state(number.0)?,
        SourceSpec::Exchange(_, edges) => {
            edges.iter().try_for_each(|edge| exists("edge", edge.0, plan.edges.len()))?;
        }
    }
    for transform in &pipeline.transforms {
        if let TransformSpec::Probe(number) = transform {
            state(number.0)?;
        }
    }
    state(pipeline.sink.0.0)?;
    pipeline.waits_for.iter().try_for_each(|id| exists("pipeline", id.0, stage.pipelines.len()))
}

fn exists(what: &'static str, number: usize, count: usize) -> Result<(), EncodeError> {
    if number < count { Ok(()) } else { Err(EncodeError::Dangling { what, number, count }) }
}

fn check_groups(count: usize) -> Result<(), EncodeError> {
    if count.is_power_of_two() && count <= GROUPS_MAX { Ok(()) } else { Err(EncodeError::Groups { count }) }
}
