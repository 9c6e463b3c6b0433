//! Stages: pipelines between two exchanges; one stage is what a task runs.
//!
//! In: the pipelines and states of a plan for one node. Out: stages. Never: more than one on one node: threads share
//! work through states, so nothing has to be exchanged.

use super::physical::{Pipeline, StateSpec};

/// What a task runs: pipelines over their own states.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The pipelines; their numbers are their places.
    pub pipelines: Vec<Pipeline>,
    /// The states that they share; their numbers are their places.
    pub states: Vec<StateSpec>,
}

/// Cuts a plan for one node at its exchanges; it has none, so it is one stage.
pub fn cut(pipelines: Vec<Pipeline>, states: Vec<StateSpec>) -> Vec<Stage> {
    vec![Stage { pipelines, states }]
}
