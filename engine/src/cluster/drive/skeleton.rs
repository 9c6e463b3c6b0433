//! What the coordinator may know of a plan.
//!
//! In: a physical plan. Out: its skeleton: stages, edges, bytes of splits. Never: an expression, a path.

use crate::{
    cluster::protocol::{EdgeEnd, EdgeId, EdgeKind, EdgeShape, ParameterNumber, Skeleton, StageKind, StageShape},
    error::{Result, bug},
    plan::{
        physical::{self, PhysicalPlan, StateSpec},
        stage::{Distribution, Stage},
    },
};

/// The skeleton of `plan`. Stages that collect rows write them to one more edge, which leads to the result.
pub fn skeleton(plan: &PhysicalPlan) -> Result<Skeleton> {
    let result = EdgeId(number(plan.edges.len())?);
    let mut edges = Vec::with_capacity(plan.edges.len() + 1);
    for (place, edge) in plan.edges.iter().enumerate() {
        let id = physical::EdgeId(place);
        let position = |of: &dyn Fn(&Stage) -> bool| plan.stages.iter().position(of);
        let from = position(&|stage| stage.outputs().contains(&id));
        let to = position(&|stage| stage.inputs().contains(&id));
        let (Some(from), Some(to)) = (from, to) else { return Err(bug("cluster", "an edge with one end")) };
        let kind = match &edge.kind {
            physical::EdgeKind::Groups { count, .. } => EdgeKind::Groups { count: number(*count)? },
            physical::EdgeKind::Broadcast => EdgeKind::Broadcast,
            physical::EdgeKind::Gather => EdgeKind::Gather,
        };
        edges.push(EdgeShape { from: vec![from as u32], to: EdgeEnd::Stage(to as u32), kind });
    }
    let collects = |stage: &Stage| stage.states.iter().any(|state| matches!(state, StateSpec::Collect));
    let from: Vec<u32> =
        (0..plan.stages.len()).filter(|stage| collects(&plan.stages[*stage])).map(|s| s as u32).collect();
    if !from.is_empty() {
        edges.push(EdgeShape { from, to: EdgeEnd::Result, kind: EdgeKind::Gather });
    }
    let shape = |(place, stage): (usize, &Stage)| {
        let output = match stage.outputs()[..] {
            [] if collects(stage) => Some(result),
            [] => None,
            [edge] => Some(EdgeId(number(edge.0)?)),
            _ => return Err(bug("cluster", "a stage that ends in several edges")),
        };
        let mut splits = Vec::new();
        if stage.distribution == Distribution::Splits {
            for scan in stage.scans() {
                splits.extend(scan.split_bytes()?);
            }
        }
        Ok(StageShape {
            kind: match stage.distribution {
                Distribution::Single => StageKind::Single,
                Distribution::Splits => StageKind::BySplits,
                Distribution::Groups(_) => StageKind::ByGroups,
            },
            splits,
            inputs: stage.inputs().into_iter().map(|edge| Ok(EdgeId(number(edge.0)?))).collect::<Result<_>>()?,
            output,
            needs: stage.needs.iter().map(|parameter| ParameterNumber(*parameter as u32)).collect(),
            gives: plan.given_to_others(place).map(|parameter| ParameterNumber(parameter as u32)),
            writes: stage.states.iter().any(|state| matches!(state, StateSpec::Write { .. })),
        })
    };
    let stages = plan.stages.iter().enumerate().map(shape).collect::<Result<_>>()?;
    let skeleton = Skeleton { stages, edges };
    skeleton.check()?;
    Ok(skeleton)
}

fn number(place: usize) -> Result<u16> {
    u16::try_from(place).map_err(|_| bug("cluster", "more edges than can be numbered"))
}
