//! Stages: pipelines between two exchanges; one stage is what a task runs.
//!
//! In: what `lower/` has put into one stage. Out: the stage, and what it takes from which edges. Never: more than one stage on one node:
//! threads share work through states, so nothing has to be exchanged.

use std::collections::BTreeSet;

use super::physical::{EdgeId, Pipeline, SourceSpec, StateSpec};

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
}
