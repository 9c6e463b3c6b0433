//! The two ends of a shuffle, as a pipeline sees them.
//!
//! In: morsels that leave a stage, to a [`Outlet`]; frames of other tasks, from an [`Inlet`]. Out: frames by group; morsels. Never: waits for
//! the network or a disk: an inlet that has nothing yet says `Blocked`.
//!
//! ```text
//!   morsel ─► keys ─► hashes ─► group numbers ─► a builder for each group (`shuffle::builder`) ─(a chunk is full)─► a frame
//! ```
//! Each thread has its builders. Rows keep no order between groups, and none between threads.

use std::{collections::VecDeque, sync::Arc};

use super::{JobContext, Outcome, Sink, SinkThread, Source, SourceThread, Wake};
use crate::{
    batch::{Batch, Morsel, array::ArrayRef, buffer::Buffer, canonical_floats, datatypes::SchemaRef},
    error::Result,
    expression::{Evaluator, Expression, Parameters},
    kernel::{GROUPS_MAX, Kernels, hash_columns},
    shuffle::{Builder, BuilderOptions, FrameLimits, GroupId, decode_frame},
};

/// Where rows of a stage go.
pub trait Outlet: Send + Sync {
    /// Takes the rows of a group; `hash_sum` is the sum of their partition hashes. In parallel.
    fn put(&self, group: GroupId, batch: &Batch, hash_sum: u64) -> Result<()>;
}

/// Where rows of earlier stages come from.
pub trait Inlet: Send + Sync {
    /// The next frame, whole and of an attempt that counts. In parallel.
    fn pull(&self) -> Result<Arrival>;
}

/// What an inlet has.
pub enum Arrival {
    /// A frame.
    Frame(Buffer),
    /// Nothing until the wake fires.
    Nothing(Wake),
    /// No more.
    End,
}

/// How rows are told apart by group.
struct Partition {
    keys: Vec<Evaluator>,
    group_count: usize,
    schema: SchemaRef,
}

/// Rows that leave the stage.
pub struct ExchangeSink {
    partition: Arc<Partition>,
    outlet: Arc<dyn Outlet>,
    context: JobContext,
}

impl ExchangeSink {
    /// Rows of `schema` go to `outlet`, in `group_count` groups by the hash of `keys`; without keys into one group.
    pub fn shared(
        keys: &[Expression],
        group_count: usize,
        schema: &SchemaRef,
        outlet: Arc<dyn Outlet>,
        context: &JobContext,
        parameters: &Arc<Parameters>,
    ) -> Result<Arc<dyn Sink>> {
        let keys = keys.iter().map(|key| Evaluator::new(key, schema, parameters)).collect::<Result<Vec<_>>>()?;
        let group_count = if keys.is_empty() { 1 } else { group_count.min(GROUPS_MAX) };
        let partition = Partition { keys, group_count, schema: Arc::clone(schema) };
        Ok(Arc::new(ExchangeSink { partition: Arc::new(partition), outlet, context: context.clone() }))
    }
}

impl Sink for ExchangeSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let group_count = self.partition.group_count;
        let bytes = BuilderOptions::bytes_within(&self.context.settings);
        let (governor, options) = (&self.context.governor, BuilderOptions { group_count, bytes });
        let reservation = self.context.reservation("exchange");
        Ok(Box::new(ExchangeThread {
            builder: Builder::new(&self.partition.schema, options, governor.pool(), reservation),
            hash_sums: vec![0; group_count],
            partition: Arc::clone(&self.partition),
            outlet: Arc::clone(&self.outlet),
            hashes: Vec::new(),
            numbers: Vec::new(),
        }))
    }
}

struct ExchangeThread {
    partition: Arc<Partition>,
    outlet: Arc<dyn Outlet>,
    builder: Builder,
    /// Of each group, the sum of the hashes of rows that came since it was last given.
    hash_sums: Vec<u64>,
    hashes: Vec<u64>,
    numbers: Vec<u16>,
}

impl SinkThread for ExchangeThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let batch = morsel.batch;
        if batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        self.number(&batch)?;
        let ExchangeThread { builder, outlet, hash_sums, numbers, .. } = self;
        builder.push(&batch, numbers, &mut |group, batch, _| put(&**outlet, hash_sums, group, &batch))?;
        Ok(Outcome::More)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let ExchangeThread { builder, outlet, hash_sums, .. } = &mut *self;
        builder.finish(&mut |group, batch, _| put(&**outlet, hash_sums, group, &batch))
    }
}

/// Gives rows of a group to the outlet. The sum may be of more rows than these, which follow; the group's total is what counts.
fn put(outlet: &dyn Outlet, hash_sums: &mut [u64], group: usize, batch: &Batch) -> Result<()> {
    outlet.put(GroupId(group as u16), batch, std::mem::take(&mut hash_sums[group]))
}

impl ExchangeThread {
    /// Finds the group of each row, and adds its hash to the group's sum.
    fn number(&mut self, batch: &Batch) -> Result<()> {
        if self.partition.keys.is_empty() {
            self.numbers.clear();
            self.numbers.resize(batch.num_rows(), 0);
            return Ok(());
        }
        let column = |key: &Evaluator| -> Result<ArrayRef> {
            let column = key.evaluate(batch)?.into_array(batch.num_rows())?;
            Ok(canonical_floats(&column))
        };
        let keys = self.partition.keys.iter().map(column).collect::<Result<Vec<_>>>()?;
        hash_columns(&keys, &mut self.hashes)?;
        Kernels::detect().group_products(&self.hashes, self.partition.group_count as u32, &mut self.numbers);
        for (number, hash) in self.numbers.iter().zip(&self.hashes) {
            let sum = &mut self.hash_sums[usize::from(*number)];
            *sum = sum.wrapping_add(*hash);
        }
        Ok(())
    }
}

/// Rows that come from earlier stages.
pub struct ExchangeSource {
    inlet: Arc<dyn Inlet>,
    schema: SchemaRef,
    context: JobContext,
}

impl ExchangeSource {
    /// Frames of `schema` from `inlet`.
    pub fn shared(inlet: Arc<dyn Inlet>, schema: &SchemaRef, context: &JobContext) -> Arc<dyn Source> {
        Arc::new(ExchangeSource { inlet, schema: Arc::clone(schema), context: context.clone() })
    }
}

impl Source for ExchangeSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        Ok(Box::new(ExchangeSourceThread {
            inlet: Arc::clone(&self.inlet),
            schema: Arc::clone(&self.schema),
            rows_per_morsel: self.context.settings.rows_per_morsel,
            morsels: VecDeque::new(),
        }))
    }
}

struct ExchangeSourceThread {
    inlet: Arc<dyn Inlet>,
    schema: SchemaRef,
    rows_per_morsel: usize,
    /// What is left of the last frame.
    morsels: VecDeque<Batch>,
}

impl SourceThread for ExchangeSourceThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        loop {
            if let Some(batch) = self.morsels.pop_front() {
                return Ok((Some(batch.into()), Outcome::More));
            }
            match self.inlet.pull()? {
                Arrival::Nothing(wake) => return Ok((None, Outcome::Blocked(wake))),
                Arrival::End => return Ok((None, Outcome::Enough)),
                Arrival::Frame(bytes) => {
                    let (_, batch) = decode_frame(bytes, &self.schema, &FrameLimits::default())?;
                    for first in (0..batch.num_rows()).step_by(self.rows_per_morsel) {
                        let rows = self.rows_per_morsel.min(batch.num_rows() - first);
                        self.morsels.push_back(batch.slice(first, rows));
                    }
                }
            }
        }
    }
}
