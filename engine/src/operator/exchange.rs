//! The two ends of a shuffle, as a pipeline sees them.
//!
//! In: morsels that leave a stage, to a [`Outlet`]; frames of other tasks, from an [`Inlet`]. Out: frames by group; morsels. Never: waits for
//! the network or a disk: an inlet that has nothing yet says `Blocked`.
//!
//! ```text
//!   morsel ─► keys ─► hashes ─► groups ─► rows in order of their groups ─► pieces by group ─(enough bytes)─► a frame each
//! ```
//! A thread gathers pieces until they are worth a frame a group. Rows keep no order between groups, and none between threads.

use std::{collections::VecDeque, sync::Arc};

use super::{JobContext, Outcome, Sink, SinkThread, Source, SourceThread, Wake};
use crate::{
    batch::{
        Batch, Morsel,
        array::{ArrayRef, UInt32Array},
        buffer::Buffer,
        canonical_floats, concat,
        datatypes::SchemaRef,
        payload_bytes, take_rows,
    },
    error::Result,
    expression::{Evaluator, Expression, Parameters},
    kernel::{GROUPS_MAX, Kernels, first_rows, hash_columns},
    memory::Reservation,
    shuffle::{FrameLimits, GroupId, decode_frame},
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

/// Bytes of a frame: below it is not worth its head, above it does not stay in a cache.
const FRAME_BYTES: u64 = 512 << 10;

/// How rows are told apart by group.
struct Partition {
    keys: Vec<Evaluator>,
    group_bits: u32,
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
        let group_bits = if keys.is_empty() { 0 } else { group_count.min(GROUPS_MAX).ilog2() };
        let partition = Partition { keys, group_bits, schema: Arc::clone(schema) };
        Ok(Arc::new(ExchangeSink { partition: Arc::new(partition), outlet, context: context.clone() }))
    }
}

impl Sink for ExchangeSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(ExchangeThread {
            groups: vec![Pieces::default(); 1 << self.partition.group_bits],
            partition: Arc::clone(&self.partition),
            outlet: Arc::clone(&self.outlet),
            reservation: self.context.governor.reservation("exchange"),
            held_bytes: 0,
            hashes: Vec::new(),
            numbers: Vec::new(),
        }))
    }
}

struct ExchangeThread {
    partition: Arc<Partition>,
    outlet: Arc<dyn Outlet>,
    reservation: Reservation,
    groups: Vec<Pieces>,
    held_bytes: u64,
    hashes: Vec<u64>,
    numbers: Vec<u8>,
}

/// Rows of one group on their way to a frame.
#[derive(Clone, Default)]
struct Pieces {
    batches: Vec<Batch>,
    hash_sum: u64,
}

impl SinkThread for ExchangeThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let batch = morsel.batch;
        if batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        let bytes = payload_bytes(&batch) + batch.num_rows() as u64;
        self.reservation.grow(bytes)?;
        self.held_bytes += bytes;
        if self.partition.keys.is_empty() {
            self.groups[0].batches.push(batch);
        } else {
            self.scatter(&batch)?;
        }
        if self.held_bytes >= FRAME_BYTES * self.groups.len() as u64 {
            self.give()?;
        }
        Ok(Outcome::More)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.give()
    }
}

impl ExchangeThread {
    /// Puts the rows in order of their groups and cuts them there.
    fn scatter(&mut self, batch: &Batch) -> Result<()> {
        let keys: Vec<ArrayRef> = self
            .partition
            .keys
            .iter()
            .map(|key| {
                let column = key.evaluate(batch)?.into_array(batch.num_rows())?;
                Ok(canonical_floats(&column))
            })
            .collect::<Result<_>>()?;
        hash_columns(&keys, &mut self.hashes)?;
        let kernels = Kernels::detect();
        kernels.group_numbers(&self.hashes, self.partition.group_bits, &mut self.numbers);
        let mut counts = [0; GROUPS_MAX];
        kernels.histogram(&self.numbers, &mut counts);
        for (number, hash) in self.numbers.iter().zip(&self.hashes) {
            let sum = &mut self.groups[usize::from(*number)].hash_sum;
            *sum = sum.wrapping_add(*hash);
        }
        let mut cursors = first_rows(&counts);
        let mut order = vec![0; batch.num_rows()];
        kernels.row_order(&self.numbers, &mut cursors, &mut order);
        let ordered = take_rows(batch, &UInt32Array::from(order))?;
        let mut first = 0;
        for (group, count) in self.groups.iter_mut().zip(counts) {
            if count > 0 {
                group.batches.push(ordered.slice(first, count as usize));
                first += count as usize;
            }
        }
        Ok(())
    }

    /// Gives what it holds to the outlet, a frame a group, or several where a group has much.
    fn give(&mut self) -> Result<()> {
        for (number, group) in self.groups.iter_mut().enumerate() {
            let pieces = std::mem::take(group);
            if pieces.batches.is_empty() {
                continue;
            }
            let whole = concat(&self.partition.schema, &pieces.batches)?;
            drop(pieces.batches);
            let bytes = payload_bytes(&whole).max(1);
            let frames = bytes.div_ceil(2 * FRAME_BYTES).min(whole.num_rows() as u64).max(1) as usize;
            let rows = whole.num_rows().div_ceil(frames);
            let mut hash_sum = pieces.hash_sum;
            for first in (0..whole.num_rows()).step_by(rows) {
                let rows = rows.min(whole.num_rows() - first);
                // The sum is of all frames of this piece together; the group's total is what counts.
                self.outlet.put(GroupId(number as u16), &whole.slice(first, rows), std::mem::take(&mut hash_sum))?;
            }
        }
        self.held_bytes = 0;
        self.reservation.resize(0)
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
