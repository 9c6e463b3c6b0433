//! Stages: pipelines between two exchanges; one stage is what a task runs.
//!
//! In: what `lower/` has put into one stage. Out: the stage, and what it takes from which edges. Never: more than one stage on one node:
//! threads share work through states, so nothing has to be exchanged.

use std::collections::BTreeSet;

use super::physical::{EdgeId, PhysicalPlan, Pipeline, SourceSpec, StateSpec};
use crate::{
    error::{Result, bug},
    scan::ScanSpec,
};

/// What a task runs: pipelines over their own states.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The pipelines; their numbers are their places.
    pub pipelines: Vec<Pipeline>,
    /// The states that they share; their numbers are their places.
    pub states: Vec<StateSpec>,
    /// What one of its tasks reads.
    pub distribution: Distribution,
    /// The parameters that must be known before one of its tasks starts: those that other stages give.
    pub needs: Vec<usize>,
}

/// How a stage's work is cut into tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// One task reads everything.
    Single,
    /// A task reads some of the splits of the stage's one scan.
    Splits,
    /// A task reads some of so many groups of each edge that has groups.
    Groups(usize),
}

impl Stage {
    /// The edges that its pipelines begin with.
    pub fn inputs(&self) -> Vec<EdgeId> {
        let edges = self.pipelines.iter().filter_map(|pipeline| match &pipeline.source {
            SourceSpec::Exchange(_, edges) => Some(edges),
            _ => None,
        });
        edges.flatten().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The edges that its pipelines end in.
    pub fn outputs(&self) -> Vec<EdgeId> {
        let edge = |state: &StateSpec| if let StateSpec::Exchange(edge) = state { Some(*edge) } else { None };
        self.states.iter().filter_map(edge).collect()
    }

    /// The parameters that become known in it.
    pub fn gives(&self) -> Vec<usize> {
        let number = |state: &StateSpec| if let StateSpec::Scalar { number } = state { Some(*number) } else { None };
        self.states.iter().filter_map(number).collect()
    }

    /// The scans that its pipelines begin with.
    pub fn scans(&self) -> impl Iterator<Item = &ScanSpec> {
        self.pipelines.iter().filter_map(|pipeline| match &pipeline.source {
            SourceSpec::Scan(scan, _) => Some(scan),
            _ => None,
        })
    }
}

impl PhysicalPlan {
    /// The parameter that becomes known in the stage at `place` and that another stage needs, if there is one.
    pub fn given_to_others(&self, place: usize) -> Option<usize> {
        let gives = self.stages.get(place)?.gives();
        let is_needed = |parameter: &usize| {
            self.stages.iter().enumerate().any(|(other, stage)| other != place && stage.needs.contains(parameter))
        };
        gives.into_iter().find(is_needed)
    }
}

/// The stages, each after those whose edges it reads and whose parameters it needs; else in their order.
pub(super) fn in_order(stages: Vec<Stage>, edge_count: usize) -> Result<Vec<Stage>> {
    let (mut written, mut known) = (vec![false; edge_count], BTreeSet::new());
    let writes = stages.iter().flat_map(Stage::outputs).collect::<BTreeSet<_>>();
    if writes.len() != edge_count {
        return Err(bug("plan", "an edge that no stage writes"));
    }
    let gives: BTreeSet<usize> = stages.iter().flat_map(Stage::gives).collect();
    let (mut waiting, mut ordered) = (stages, Vec::new());
    while !waiting.is_empty() {
        let can_run = |stage: &Stage| {
            stage.inputs().iter().all(|edge| written.get(edge.0).copied().unwrap_or(false))
                && stage.needs.iter().all(|number| known.contains(number) || !gives.contains(number))
        };
        let next = waiting.iter().position(can_run).ok_or_else(|| bug("plan", "stages that wait for each other"))?;
        let stage = waiting.remove(next);
        stage.outputs().iter().for_each(|edge| written[edge.0] = true);
        known.extend(stage.gives());
        ordered.push(stage);
    }
    Ok(ordered)
}
