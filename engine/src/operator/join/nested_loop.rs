//! The nested loop join: every pair of rows, for cross joins and joins without an equality.
//!
//! In: the build side, all of it; then the probe side. Out: see [`JoinRows`](super::JoinRows). Never: holds more pairs than a morsel
//! has rows.
//!
//! Pairs are made in the order in which one side's columns need not be moved: a whole probe batch beside one build row at a time
//! when the batch is large; many build rows beside one probe row at a time when it is small. A build side of one row (a scalar
//! subquery's) leaves the probe columns as they are.

use std::sync::{Arc, OnceLock, atomic::AtomicUsize};

use super::{
    build::{BuildSide, Done, Finished, Gathering, Kept, Part, Room},
    outer::RestThread,
    pairs::{Pairs, Partners},
    spec::{NestedLoopSpec, Shape},
};
use crate::{
    batch::{Batch, Morsel, array::ArrayRef},
    error::{Result, bug},
    expression::Parameters,
    operator::{JobContext, Next, Outcome, Sink, SinkThread, Source, SourceThread, Task, Transform, TransformThread},
};

/// A join over all pairs of rows.
pub struct NestedLoopJoin {
    shape: Arc<Shape>,
    context: JobContext,
    gathering: Gathering,
    side: OnceLock<Arc<BuildSide>>,
}

impl NestedLoopJoin {
    /// The join of `spec`.
    pub fn new(
        spec: &NestedLoopSpec,
        context: &JobContext,
        parameters: &Arc<Parameters>,
    ) -> Result<Arc<NestedLoopJoin>> {
        let shape = Arc::new(Shape::new(spec, context.settings.rows_per_morsel, parameters)?);
        let gathering = Gathering::new(&shape, &spec.build, None, 0, context, "nested loop join build");
        Ok(Arc::new(NestedLoopJoin { shape, context: context.clone(), gathering, side: OnceLock::new() }))
    }

    /// Takes the build side in; first.
    pub fn build(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Build(Arc::clone(self)))
    }

    /// Takes the probe side in and gives what the kind of join gives of it; for every kind but those of [`NestedLoopJoin::mark`].
    pub fn probe(self: &Arc<Self>) -> Arc<dyn Transform> {
        Arc::new(Probe(Arc::clone(self)))
    }

    /// Takes the probe side in and only marks build rows: `BuildSemi`, `BuildAnti`, `BuildMark`.
    pub fn mark(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Mark(Arc::clone(self)))
    }

    /// After all probing: the build rows that the kind of join gives by whether they found a partner.
    pub fn rest(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(Rest { join: Arc::clone(self), chunk: Arc::new(AtomicUsize::new(0)) })
    }

    fn side(&self) -> Result<Arc<BuildSide>> {
        self.side.get().map(Arc::clone).ok_or_else(|| bug("join", "it is probed before it is built"))
    }

    fn done(&self, done: Option<Done>) -> Result<()> {
        let Some(finished): Option<Finished> = self.gathering.done(done) else { return Ok(()) };
        let side = Arc::new(BuildSide::new(&self.shape, finished)?);
        self.side.set(side).map_err(|_| bug("join", "it is built twice"))
    }
}

/// The role that builds.
struct Build(Arc<NestedLoopJoin>);

impl Sink for Build {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(BuildThread { part: self.0.gathering.part(), join: Arc::clone(&self.0) }))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let gathering = &self.0.gathering;
        let room = match gathering.room(0) {
            Room::Refused { bytes, meanwhile_bytes } => gathering.insist(bytes, meanwhile_bytes)?,
            room => room,
        };
        let columns = gathering.start(0, 0);
        if columns.is_empty() {
            self.0.done(None)?;
        }
        let task = |columns: Vec<(usize, Vec<ArrayRef>)>| -> Task {
            let join = Arc::clone(&self.0);
            Box::new(move || {
                for (number, pieces) in columns {
                    let column = join.gathering.put_together(number, &pieces)?;
                    drop(pieces);
                    join.done(Some(Done::Column(number, column)))?;
                }
                Ok(())
            })
        };
        Ok(room.shares(columns).into_iter().map(task).collect())
    }
}

struct BuildThread {
    join: Arc<NestedLoopJoin>,
    part: Part,
}

impl SinkThread for BuildThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() > 0 {
            let kept = Kept::of(&self.join.shape, &morsel.batch, None, &[]);
            self.part.reservation.grow(kept.bytes)?;
            self.part.add(kept)?;
        }
        Ok(Outcome::More)
    }
    fn finish(self: Box<Self>) -> Result<()> {
        self.join.gathering.take_in(self.part)?;
        Ok(())
    }
}

/// The role that gives build rows by their marks.
struct Rest {
    join: Arc<NestedLoopJoin>,
    chunk: Arc<AtomicUsize>,
}

impl Source for Rest {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        let (shape, side, chunk) = (Arc::clone(&self.join.shape), Some(self.join.side()?), Arc::clone(&self.chunk));
        Ok(Box::new(RestThread { shape, side, chunk }))
    }
}

/// The role that gives morsels.
struct Probe(Arc<NestedLoopJoin>);

impl Transform for Probe {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        Ok(Box::new(ProbeThread(Prober::new(&self.0)?)))
    }

    fn takes_none(&self) -> Result<bool> {
        Ok(self.0.shape.rows.needs_partners() && self.0.side()?.rows == 0)
    }
}

struct ProbeThread(Prober);

impl TransformThread for ProbeThread {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        self.0.push(morsel, next)
    }
}

/// The role that only marks build rows.
struct Mark(Arc<NestedLoopJoin>);

impl Sink for Mark {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(MarkThread(Prober::new(&self.0)?)))
    }
}

struct MarkThread(Prober);

impl SinkThread for MarkThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        self.0.push(morsel, &mut |_| Err(bug("join", "marking gives a morsel")))
    }
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// One thread that probes.
struct Prober {
    join: Arc<NestedLoopJoin>,
    side: Arc<BuildSide>,
    pairs: Pairs,
    partners: Partners,
}

impl Prober {
    fn new(join: &Arc<NestedLoopJoin>) -> Result<Prober> {
        let side = join.side()?;
        let partners = Partners::new(&join.shape, &side)?;
        Ok(Prober { join: Arc::clone(join), side, pairs: Pairs::default(), partners })
    }

    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        let shape = &self.join.shape;
        if shape.rows.needs_partners() && self.side.rows == 0 {
            return Ok(Outcome::Enough);
        }
        let Morsel { batch, position } = morsel;
        self.pairs.clear();
        self.partners.begin(batch.num_rows());
        if batch.num_rows() == 0 {
            let is_passed_on = self.partners.settled().is_some() && position.is_some_and(|position| position.is_last);
            return if is_passed_on {
                self.partners.finish(&batch, position, &mut self.pairs, next)
            } else {
                Ok(Outcome::More)
            };
        }
        if shape.filter.is_none() && !shape.rows.gives_pairs() {
            return self.settle_all(&batch, position, next);
        }
        let order = Order::new(batch.num_rows(), self.side.rows, shape.rows_per_morsel);
        let mut cursor = (0, 0);
        loop {
            let is_last = fill(&order, self.partners.settled(), &mut cursor, &mut self.pairs);
            self.partners.settle(&batch, &mut self.pairs)?;
            if is_last {
                return self.partners.finish(&batch, position, &mut self.pairs, next);
            }
            if let Outcome::Enough = self.partners.give(&batch, &mut self.pairs, next)? {
                return Ok(Outcome::Enough);
            }
            self.join.context.cancel.check()?;
        }
    }

    /// Without a condition every row has a partner as soon as the other side has a row.
    fn settle_all(
        &mut self,
        batch: &Batch,
        position: Option<crate::batch::Position>,
        next: Next<'_>,
    ) -> Result<Outcome> {
        if let Some(marks) = &self.side.marks {
            marks.set_all();
            return Ok(Outcome::Enough);
        }
        self.partners.matched_mut().fill(self.side.rows > 0);
        self.partners.finish(batch, position, &mut self.pairs, next)
    }
}

/// In which order the pairs of a batch are made.
struct Order {
    probe_rows: usize,
    build_rows: usize,
    /// For each build row all probe rows, not the other way round.
    is_build_first: bool,
    /// Most pairs of a chunk.
    limit: usize,
}

impl Order {
    fn new(probe_rows: usize, build_rows: usize, rows_per_morsel: usize) -> Order {
        let is_build_first = probe_rows >= build_rows || 2 * probe_rows >= rows_per_morsel;
        // Whole turns of the inner loop where it fits, so that a turn that is a chunk leaves the probe columns as they are.
        let inner = if is_build_first { probe_rows } else { build_rows };
        let limit = if inner <= rows_per_morsel { rows_per_morsel / inner.max(1) * inner } else { rows_per_morsel };
        Order { probe_rows, build_rows, is_build_first, limit }
    }
}

/// Adds pairs from `cursor` = (outer, inner) on until they are `limit`; true when all have been made.
fn fill(order: &Order, settled: Option<&[bool]>, cursor: &mut (usize, usize), pairs: &mut Pairs) -> bool {
    if settled.is_some_and(|settled| settled.iter().all(|settled| *settled)) {
        return true;
    }
    let (outer_rows, inner_rows) = match order.is_build_first {
        true => (order.build_rows, order.probe_rows),
        false => (order.probe_rows, order.build_rows),
    };
    while cursor.0 < outer_rows {
        let is_settled = !order.is_build_first && settled.is_some_and(|settled| settled[cursor.0]);
        if !is_settled {
            let count = (inner_rows - cursor.1).min(order.limit - pairs.len());
            let (outer, inner) = (cursor.0 as u32, cursor.1 as u32..(cursor.1 + count) as u32);
            if order.is_build_first {
                pairs.probe.extend(inner);
                pairs.build.resize(pairs.probe.len(), outer);
            } else {
                pairs.build.extend(inner);
                pairs.probe.resize(pairs.build.len(), outer);
            }
            cursor.1 += count;
            if cursor.1 < inner_rows {
                return false;
            }
        }
        *cursor = (cursor.0 + 1, 0);
    }
    true
}
