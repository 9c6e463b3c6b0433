//! What the coordinator knows of a plan: its stages, what joins them, how much each reads.
//!
//! In: what the driver planned. Out: the same, checked: stages in an order in which they can run. Never: an expression,
//! a table's name, anything that only who works must know.

use serde::{Deserialize, Serialize};

use crate::{
    cluster::limits::{
        EDGES_PER_ACTION_MAX, GROUPS_MAX, GROUPS_MIN, PARAMETERS_PER_ACTION_MAX, SPLITS_PER_STAGE_MAX,
        STAGES_PER_ACTION_MAX,
    },
    cluster::protocol::ProtocolError,
    shuffle::StageId,
};

/// Which action of the job, from 0: a run of the driver's program asks for one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActionNumber(pub u32);

/// Which edge of the action, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EdgeId(pub u16);

/// Which parameter of the action's plan, as the plan numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ParameterNumber(pub u32);

/// The number of a stage within its job.
pub fn stage_id(action: ActionNumber, stage_index: usize) -> StageId {
    StageId(action.0 * STAGES_PER_ACTION_MAX as u32 + stage_index as u32)
}

/// The action of a stage, and its index there.
pub fn stage_place(stage: StageId) -> (ActionNumber, usize) {
    let per_action = STAGES_PER_ACTION_MAX as u32;
    (ActionNumber(stage.0 / per_action), (stage.0 % per_action) as usize)
}

/// Stages and edges of one action. An edge leads from stages of lower index to one of higher index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skeleton {
    /// By stage index.
    pub stages: Vec<StageShape>,
    /// By [`EdgeId`].
    pub edges: Vec<EdgeShape>,
}

/// What a stage needs and gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageShape {
    /// How it is cut into tasks.
    pub kind: StageKind,
    /// Bytes of each scan split, in the order in which the plan numbers them; may be empty, unless by splits where an
    /// empty list makes one task that reads nothing.
    pub splits: Vec<u64>,
    /// Edges that each task pulls from.
    pub inputs: Vec<EdgeId>,
    /// The edge that its tasks write to.
    pub output: Option<EdgeId>,
    /// Parameters that must be known before a task starts.
    pub needs: Vec<ParameterNumber>,
    /// The parameter that its single task gives.
    pub gives: Option<ParameterNumber>,
    /// Its tasks write part files and report a manifest.
    pub writes: bool,
}

/// How a stage is cut into tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageKind {
    /// Ranges of its splits.
    BySplits,
    /// Sets of groups of its inputs.
    ByGroups,
    /// One task that reads everything.
    Single,
}

/// What joins stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeShape {
    /// Stage indexes, rising: one, or several whose rows are taken together.
    pub from: Vec<u32>,
    /// Who pulls.
    pub to: EdgeEnd,
    /// Which rows a puller gets.
    pub kind: EdgeKind,
}

/// Who pulls an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EdgeEnd {
    /// A stage by its index.
    Stage(u32),
    /// The client of an SQL job, the driver of a program.
    Result,
}

/// Which rows a puller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EdgeKind {
    /// Rows by the group of their key's hash: those of its groups.
    Groups {
        /// A power of two, 16 to 256.
        count: u16,
    },
    /// All rows, for each task: one group, 0.
    Broadcast,
    /// All rows, for the one task or the result: one group, 0.
    Gather,
}

impl EdgeKind {
    /// How many groups an attempt's ledger of such an edge lists.
    pub fn group_count(self) -> usize {
        match self {
            EdgeKind::Groups { count } => usize::from(count),
            EdgeKind::Broadcast | EdgeKind::Gather => 1,
        }
    }
}

impl Skeleton {
    /// The edge that a client or the driver pulls, if the action has one.
    pub fn result_edge(&self) -> Option<EdgeId> {
        let place = self.edges.iter().position(|edge| edge.to == EdgeEnd::Result)?;
        u16::try_from(place).ok().map(EdgeId)
    }

    /// The edge of a number; none only where [`Skeleton::check`] was not asked.
    pub fn edge(&self, edge: EdgeId) -> Option<&EdgeShape> {
        self.edges.get(usize::from(edge.0))
    }

    /// How many groups a stage by groups is placed by; 1 for others.
    pub fn group_count(&self, stage: &StageShape) -> usize {
        let grouped = stage.inputs.iter().filter_map(|edge| self.edge(*edge)).map(|edge| edge.kind.group_count()).max();
        grouped.unwrap_or(1)
    }

    /// Refuses what could not run: numbers out of range, an edge that leads back, a parameter that nobody gives.
    pub fn check(&self) -> Result<(), ProtocolError> {
        let bounded = |what, found: usize, max: usize| {
            if found > max { Err(ProtocolError::TooMany { what, found, max }) } else { Ok(()) }
        };
        bounded("stages", self.stages.len(), STAGES_PER_ACTION_MAX)?;
        bounded("edges", self.edges.len(), EDGES_PER_ACTION_MAX)?;
        let givers = self.stages.iter().filter(|stage| stage.gives.is_some()).count();
        bounded("parameters", givers, PARAMETERS_PER_ACTION_MAX)?;
        for (index, stage) in self.stages.iter().enumerate() {
            bounded("splits", stage.splits.len(), SPLITS_PER_STAGE_MAX)?;
            bounded("parameters", stage.needs.len(), PARAMETERS_PER_ACTION_MAX)?;
            self.check_stage(index, stage)?;
        }
        let mut results = 0;
        for (index, edge) in self.edges.iter().enumerate() {
            let is_result = self.check_edge(index, edge)?;
            results += usize::from(is_result);
        }
        bounded("result edges", results, 1)?;
        let writes = self.stages.iter().any(|stage| stage.writes);
        if (results == 1) == writes {
            return Err(ProtocolError::Skeleton {
                what: "action",
                index: 0,
                why: "gives no rows and writes none, or both",
            });
        }
        Ok(())
    }

    fn check_stage(&self, index: usize, stage: &StageShape) -> Result<(), ProtocolError> {
        let wrong = |why| Err(ProtocolError::Skeleton { what: "stage", index, why });
        let mut group_counts = Vec::new();
        for input in &stage.inputs {
            let Some(edge) = self.edge(*input) else { return wrong("pulls from an edge that is not there") };
            if edge.to != EdgeEnd::Stage(index as u32) {
                return wrong("pulls from an edge that leads elsewhere");
            }
            if let EdgeKind::Groups { count } = edge.kind {
                group_counts.push(count);
            }
        }
        let mut inputs = stage.inputs.clone();
        inputs.sort();
        inputs.dedup();
        if inputs.len() != stage.inputs.len() {
            return wrong("pulls from an edge twice");
        }
        if stage.output.is_some_and(|output| self.edge(output).is_none_or(|edge| !edge.from.contains(&(index as u32))))
        {
            return wrong("writes to an edge that does not name it");
        }
        if stage.output.is_none() && !stage.writes && stage.gives.is_none() {
            return wrong("gives nothing");
        }
        if stage.output.is_some() && stage.writes {
            return wrong("writes files and an edge");
        }
        match stage.kind {
            StageKind::BySplits if !group_counts.is_empty() => return wrong("is cut by splits and pulls groups"),
            StageKind::ByGroups if group_counts.is_empty() => return wrong("is cut by groups and pulls none"),
            StageKind::ByGroups if group_counts.iter().any(|count| *count != group_counts[0]) => {
                return wrong("pulls edges of different group counts");
            }
            StageKind::BySplits | StageKind::ByGroups if stage.gives.is_some() => {
                return wrong("gives a parameter from several tasks");
            }
            _ => {}
        }
        for need in &stage.needs {
            let givers = self.stages.iter().enumerate().filter(|(_, other)| other.gives == Some(*need));
            let givers: Vec<usize> = givers.map(|(giver, _)| giver).collect();
            if !matches!(givers[..], [giver] if giver < index) {
                return wrong("needs a parameter that no earlier stage gives, or several");
            }
        }
        Ok(())
    }

    /// Whether the edge leads to the result.
    fn check_edge(&self, index: usize, edge: &EdgeShape) -> Result<bool, ProtocolError> {
        let wrong = |why| Err(ProtocolError::Skeleton { what: "edge", index, why });
        let is_here = |edge: Option<EdgeId>| edge == u16::try_from(index).ok().map(EdgeId);
        if edge.from.is_empty() || !edge.from.is_sorted_by(|a, b| a < b) {
            return wrong("does not name its stages in rising order");
        }
        for from in &edge.from {
            let Some(stage) = self.stages.get(*from as usize) else { return wrong("comes from no stage") };
            if !is_here(stage.output) {
                return wrong("comes from a stage that writes elsewhere");
            }
        }
        if let EdgeKind::Groups { count } = edge.kind
            && !(count.is_power_of_two() && (GROUPS_MIN..=GROUPS_MAX).contains(&usize::from(count)))
        {
            return wrong("has a group count that is no power of two from 16 to 256");
        }
        match edge.to {
            EdgeEnd::Stage(to) => {
                let Some(stage) = self.stages.get(to as usize) else { return wrong("leads to no stage") };
                if !stage.inputs.iter().any(|input| is_here(Some(*input))) {
                    return wrong("leads to a stage that does not pull it");
                }
                if edge.from.iter().any(|from| *from >= to) {
                    return wrong("leads back");
                }
                if edge.kind == EdgeKind::Gather && stage.kind != StageKind::Single {
                    return wrong("gathers in a stage of several tasks");
                }
                Ok(false)
            }
            EdgeEnd::Result if edge.kind == EdgeKind::Gather => Ok(true),
            EdgeEnd::Result => wrong("leads to the result and does not gather"),
        }
    }
}
