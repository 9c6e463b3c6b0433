//! One attempt at a task: its stage, built over its part of the input, run on the node's threads.
//!
//! In: a plan and an order. Out: what it made, in the spool, and its report; or why it failed. Never: a frame that others can ask for before
//! the attempt has ended; a panic that leaves the attempt.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::{
    node::{Node, remote},
    pull::{PullFailed, PullInlet, TakenBytes},
    usage::Usage,
};
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    cluster::{
        limits::PARAMETER_BYTES_MAX,
        protocol::{
            self, AttemptCounters, AttemptEnd, AttemptFailure, AttemptReport, Blob, EdgeTaken, FailureCause, Order,
            PulledFrom, StageCounters, stage_place,
        },
    },
    error::{Cause, Error, Kind, Result, bug},
    observe::Counters,
    operator::{
        Cancel, JobContext,
        exchange::{Inlet, Outlet},
    },
    plan::{
        encode,
        physical::{Edge, EdgeId, PhysicalPlan, StateSpec},
    },
    schedule::{self, Ends, Work, build_stage},
    shuffle::{AttemptKey, GroupId, SpoolWriter},
};

/// An attempt that runs.
pub struct Attempt {
    /// Stops it.
    pub cancel: Cancel,
    /// How far it is.
    pub counters: Arc<Counters>,
}

/// A plan as its attempts run it.
pub struct Planned<'a> {
    /// The stages.
    pub plan: &'a PhysicalPlan,
    /// What its pipelines do is recorded and told.
    pub is_profiled: bool,
}

/// Runs an attempt to its end; from a thread of its own.
pub fn run(node: &Arc<Node>, planned: Planned<'_>, order: &Order, attempt: &Attempt) -> AttemptEnd {
    let (started, before) = (Instant::now(), Usage::now());
    let mut taken = TakenBytes::default();
    let ran = run_stage(node, planned, order, attempt, &mut taken);
    let (counted, after) = (attempt.counters.report(), Usage::now());
    let counters = AttemptCounters {
        rows_in: counted.rows_in,
        bytes_in: counted.bytes_in,
        bytes_taken: taken.all,
        bytes_pulled: taken.pulled.values().sum(),
        bytes_spilled: counted.spilled_bytes,
        micros: started.elapsed().as_micros() as u64,
        cpu_from: before.cpu_micros,
        cpu_until: after.cpu_micros,
        peak_bytes: after.peak_bytes,
    };
    match ran {
        Ok(mut report) => {
            report.counters = counters;
            report.counted = attempt.counters.counted();
            report.pulled = taken.pulled.into_iter().map(|(worker, bytes)| PulledFrom { worker, bytes }).collect();
            AttemptEnd::Finished(Box::new(report))
        }
        Err(error) => AttemptEnd::Failed(Box::new(AttemptFailure { counters, ..failure(node, &error) })),
    }
}

/// The failure that an error is told as.
pub fn failure(node: &Node, error: &Error) -> AttemptFailure {
    let cause: &(dyn std::error::Error + 'static) = error.cause();
    let lost = cause.downcast_ref::<PullFailed>().map(|failed| failed.lost.clone()).unwrap_or_default();
    let cause = match () {
        () if !lost.is_empty() => FailureCause::Inputs,
        () if cause.is::<schedule::Panicked>() => FailureCause::Panic,
        () => FailureCause::Error,
    };
    AttemptFailure::new(remote(error, &node.name), cause, lost)
}

fn run_stage(
    node: &Arc<Node>,
    Planned { plan, is_profiled }: Planned<'_>,
    order: &Order,
    attempt: &Attempt,
    taken: &mut TakenBytes,
) -> Result<AttemptReport> {
    let (_, place) = stage_place(order.key.stage);
    if place >= plan.stages.len() {
        return Err(bug("cluster", "an order for a stage that the plan does not have"));
    }
    let context = JobContext {
        settings: Arc::clone(&node.settings),
        governor: Arc::clone(&node.governor),
        runs: Arc::clone(&node.runs),
        cancel: attempt.cancel.clone(),
        counters: Arc::clone(&attempt.counters),
        holding: None,
    };
    let ends = TaskEnds { node, order, inlets: Mutex::default(), outlet: Mutex::default() };
    let parameters = order.parameters.iter();
    let parameters = parameters.map(|(number, value)| Ok((number.0 as usize, encode::literal_from_bytes(value)?)));
    let work = Work {
        splits: Some(to_range(&order.splits)).filter(|range| !range.is_empty()),
        parameters: parameters.collect::<Result<_>>()?,
        attempt: Some(order.key),
        ends: Some(&ends),
        is_profiled,
    };
    for state in &plan.stages[place].states {
        if let StateSpec::Write { target, .. } = state {
            node.add_output(order.key.job, target);
        }
    }
    let running = build_stage(plan, place, work, &node.io, &context)?;
    let ran = schedule::run(&node.threads, &context, running.graph);
    // What a failed attempt has pulled is told too.
    ends.inlets
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .values()
        .for_each(|inlet| taken.add(inlet.taken_bytes()));
    ran?;
    let profile = running.profile.and_then(|profile| StageCounters::of(&profile.report()));
    let mut report = AttemptReport { profile: profile.map(Box::new), ..AttemptReport::default() };
    if let Some(collect) = running.collect {
        let writer = node.spool.begin(order.key, 1);
        let batches = collect.take();
        batches.iter().try_for_each(|batch| put_in_pieces(&writer, batch))?;
        report.groups = writer.finish()?;
    }
    let outlet = ends.outlet.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(writer) = outlet {
        report.groups = writer.finish()?;
    }
    if let Some(writing) = running.writing {
        report.manifest = Some(writing.manifest()?.into());
    }
    report.value = value_of(plan, place, &running.parameters)?;
    for (edges, inlet) in ends.inlets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // One inlet may read several edges: each is held against its own ledger.
        for edge in edges {
            let edge = protocol::EdgeId(edge.0 as u16);
            let inputs = order.inputs.iter().filter(|input| input.edge == edge);
            let attempts = inputs.flat_map(|input| input.attempts.iter().map(|source| source.key));
            report.taken.push(EdgeTaken { edge, rows: inlet.rows_of(attempts), is_enough: true });
        }
    }
    Ok(report)
}

fn to_range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// Rows of an answer go in frames of a size that travels well, in order.
fn put_in_pieces(writer: &SpoolWriter, batch: &Batch) -> Result<()> {
    const ROWS: usize = 16 << 10;
    for first in (0..batch.num_rows()).step_by(ROWS) {
        writer.put(GroupId(0), &batch.slice(first, ROWS.min(batch.num_rows() - first)), 0)?;
    }
    Ok(())
}

/// The parameter that the stage gives to others, as bytes.
fn value_of(plan: &PhysicalPlan, place: usize, parameters: &crate::expression::Parameters) -> Result<Option<Blob>> {
    let number = plan.given_to_others(place);
    let Some(number) = number else { return Ok(None) };
    let bytes = encode::literal_to_bytes(parameters.value(number)?)?;
    if bytes.len() > PARAMETER_BYTES_MAX {
        return Err(LongParameter { bytes: bytes.len() }.into());
    }
    Ok(Some(bytes.into()))
}

/// The ends of an attempt's edges.
struct TaskEnds<'a> {
    node: &'a Arc<Node>,
    order: &'a Order,
    inlets: Mutex<BTreeMap<Vec<EdgeId>, Arc<PullInlet>>>,
    outlet: Mutex<Option<Arc<SpoolWriter>>>,
}

impl Ends for TaskEnds<'_> {
    fn inlet(&self, edges: &[EdgeId], _schema: &SchemaRef) -> Result<Arc<dyn Inlet>> {
        let is_meant = |input: &&protocol::OrderInput| edges.iter().any(|edge| edge.0 == usize::from(input.edge.0));
        let sources = self.order.inputs.iter().filter(is_meant).flat_map(|input| input.attempts.iter().cloned());
        let inlet = PullInlet::new(self.node, sources.collect());
        let mut inlets = self.inlets.lock().unwrap_or_else(PoisonError::into_inner);
        inlets.insert(edges.to_vec(), Arc::clone(&inlet));
        Ok(inlet)
    }

    fn outlet(&self, _number: EdgeId, edge: &Edge) -> Result<Arc<dyn Outlet>> {
        let writer = self.node.spool.begin(self.order.key, edge.kind.group_count());
        *self.outlet.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&writer));
        Ok(Arc::new(ToSpool { key: self.order.key, writer }))
    }
}

/// Rows that leave the stage stay in the node's spool.
struct ToSpool {
    key: AttemptKey,
    writer: Arc<SpoolWriter>,
}

impl Outlet for ToSpool {
    fn put(&self, group: GroupId, batch: &Batch, hash_sum: u64) -> Result<()> {
        if usize::from(group.0) >= self.writer.group_count() {
            return Err(bug("cluster", format!("group {group} of attempt {} is not among its groups", self.key)));
        }
        self.writer.put(group, batch, hash_sum)
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "sending the value of a subquery to the workers: it has {bytes} bytes, at most {PARAMETER_BYTES_MAX} are taken"
)]
struct LongParameter {
    bytes: usize,
}

impl Cause for LongParameter {
    fn kind(&self) -> Kind {
        Kind::Limit
    }
    fn hint(&self) -> Option<String> {
        Some("join with the subquery instead of comparing with its value".to_owned())
    }
}
