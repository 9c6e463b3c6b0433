//! Both sides of a hash join on disk, in partitions by hash: what is joined partition by partition afterwards.
//!
//! In: rows of a side, batch by batch, each thread for itself. Out: a run a thread, with a part for each partition; at the end [`Round`]s,
//! one for each partition that can give rows. Never: a build row in another partition than the probe rows that it may match.
//!
//! ```text
//!   hash   63 ── 56 │ 55 ─────────────── 32 │ 31 ─── 0
//!           group    │ partition, a few bits  │ directory
//!                    │ a level, from the top  │
//! ```
//! Bits of the tag are used, too, when partitions are cut again; then those of a partition have some of them in common, and the directory's
//! filters let a few more through.
//!
//! A row with a NULL key that matches nothing goes to the partitions in turn, if it is given at all: all such rows have one hash. The rows
//! of a batch that is to be written are put in order of their partitions with one copy, and cut there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    hash::HashJoin,
    keys::{KeyEncoder, Keys},
    rounds::{Round, Rounds},
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, RecordBatchOptions, UInt32Array},
        compute,
        datatypes::{Field, Schema, SchemaRef},
        payload_bytes, take_rows,
    },
    error::Result,
    memory::{Governor, Reservation},
    operator::JobContext,
    shuffle::{Run, RunReader, RunWriter},
};

/// By which bits of the hash rows are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    bits: u32,
    /// The first bit that is not used yet, counted from the lowest.
    below: u32,
}

/// The bits above are the group's, which may be equal for all rows of a task.
const BITS_BELOW: u32 = 56;
/// The bits below are the directory's.
const BITS_FROM: u32 = 32;
/// Most partitions of a level, as bits.
const BITS_MAX: u32 = 6;
/// Where there is little memory there are fewer partitions, so that a frame of each has some bytes.
const BITS_MIN: u32 = 2;
/// Bytes of a frame that is worth its head.
const FRAME_BYTES: u64 = 16 << 10;
/// A batch is taken in slices of at least this, however little memory there is.
const SLICE_BYTES_MIN: u64 = 64 << 10;
/// A thread writes when it has gathered so much: enough for frames of 256 KiB.
const GATHERED_BYTES_MAX: u64 = 16 << 20;

impl Split {
    pub(super) fn new(governor: &Governor) -> Split {
        let frames = gathered_bytes(governor) / FRAME_BYTES;
        Split { bits: frames.max(1).ilog2().clamp(BITS_MIN, BITS_MAX), below: BITS_BELOW }
    }

    /// By the next bits; none when they are used up.
    pub(super) fn next(self) -> Option<Split> {
        let below = self.below - self.bits;
        (below >= BITS_FROM + self.bits).then_some(Split { below, ..self })
    }

    pub(super) fn partitions(self) -> usize {
        1 << self.bits
    }

    #[inline(always)]
    fn partition_of(self, hash: u64) -> usize {
        (hash >> (self.below - self.bits)) as usize & (self.partitions() - 1)
    }
}

fn gathered_bytes(governor: &Governor) -> u64 {
    (2 * governor.least_spill_bytes()).min(GATHERED_BYTES_MAX)
}

/// The least and the greatest hash of some rows: when they are equal, no bits tell the rows apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashRange {
    least: u64,
    greatest: u64,
}

impl HashRange {
    const NONE: HashRange = HashRange { least: u64::MAX, greatest: 0 };

    #[inline(always)]
    fn add(&mut self, hash: u64) {
        self.least = self.least.min(hash);
        self.greatest = self.greatest.max(hash);
    }

    fn merge(&mut self, other: &HashRange) {
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    pub(super) fn is_one_hash(&self) -> bool {
        self.least == self.greatest
    }
}

/// A side's rows of one thread, or of one partition that is cut again, on their way to disk.
pub(super) struct SideWriter {
    context: JobContext,
    holder: &'static str,
    schema: SchemaRef,
    encoder: KeyEncoder,
    keys: Keys,
    split: Split,
    /// Rows with a key that is equal to nothing change nothing.
    drops_null_keys: bool,
    /// Partitions whose rows are written, where not all are.
    wanted: Option<Arc<Vec<bool>>>,
    /// The partition of the next row with such a key, if it is not dropped.
    next_partition: usize,
    batches: Vec<Batch>,
    /// Of each row of the batches its partition, or [`DROPPED`].
    partitions: Vec<Vec<u8>>,
    gathered_bytes: u64,
    reservation: Reservation,
    writer: Option<RunWriter>,
    ranges: Vec<HashRange>,
}

/// No partition's number.
const DROPPED: u8 = u8::MAX;
const _: () = assert!(1 << BITS_MAX <= DROPPED as usize);

/// What a [`SideWriter`] has written.
pub(super) struct Written {
    run: Option<Arc<Run>>,
    ranges: Vec<HashRange>,
}

impl SideWriter {
    /// Of build rows, as the join stores them.
    pub(super) fn of_build(join: &HashJoin, split: Split) -> Result<SideWriter> {
        let drops_null_keys = !join.shape.rows.looks_at_build_rows();
        SideWriter::new(
            join,
            split,
            join.stored_keys()?,
            join.stored_schema(),
            "hash join build",
            drops_null_keys,
            None,
        )
    }

    /// Of probe rows; `wanted`: which partitions have build rows.
    pub(super) fn of_probe(join: &HashJoin, split: Split, wanted: Arc<Vec<bool>>) -> Result<SideWriter> {
        let needs_partners = join.shape.rows.needs_partners();
        let drops_null_keys = needs_partners || join.is_null_aware;
        let wanted = needs_partners.then_some(wanted);
        SideWriter::new(
            join,
            split,
            join.probe_keys()?,
            join.probe_schema(),
            "hash join probe",
            drops_null_keys,
            wanted,
        )
    }

    fn new(
        join: &HashJoin,
        split: Split,
        encoder: KeyEncoder,
        schema: &SchemaRef,
        holder: &'static str,
        drops_null_keys: bool,
        wanted: Option<Arc<Vec<bool>>>,
    ) -> Result<SideWriter> {
        Ok(SideWriter {
            context: join.context.clone(),
            holder,
            schema: Arc::clone(schema),
            encoder,
            keys: Keys::default(),
            split,
            drops_null_keys,
            wanted,
            next_partition: 0,
            batches: Vec::new(),
            partitions: Vec::new(),
            gathered_bytes: 0,
            reservation: join.context.reservation(holder),
            writer: None,
            ranges: vec![HashRange::NONE; split.partitions()],
        })
    }

    /// Takes the rows of `batch`; says whether one has a key that is equal to nothing.
    pub(super) fn push(&mut self, batch: &Batch) -> Result<bool> {
        // What is taken at once is asked for at once: a large batch goes in slices.
        let bytes_max = gathered_bytes(&self.context.governor).max(SLICE_BYTES_MIN);
        let slices = payload_bytes(batch).div_ceil(bytes_max).clamp(1, batch.num_rows().max(1) as u64) as usize;
        let rows = batch.num_rows().div_ceil(slices).max(1);
        let mut has_null_key = false;
        for first in (0..batch.num_rows()).step_by(rows) {
            has_null_key |= self.push_slice(&batch.slice(first, rows.min(batch.num_rows() - first)))?;
        }
        Ok(has_null_key)
    }

    fn push_slice(&mut self, batch: &Batch) -> Result<bool> {
        self.encoder.encode(batch, &mut self.keys)?;
        let mut partitions = Vec::with_capacity(batch.num_rows());
        for hash in &self.keys.hashes {
            partitions.push(self.split.partition_of(*hash) as u8);
        }
        if let Some(valid) = &self.keys.valid {
            for row in (0..batch.num_rows()).filter(|row| valid.is_null(*row)) {
                partitions[row] = if self.drops_null_keys { DROPPED } else { self.next_partition as u8 };
                self.next_partition = (self.next_partition + 1) % self.split.partitions();
            }
        }
        for (row, (partition, hash)) in partitions.iter_mut().zip(&self.keys.hashes).enumerate() {
            if self.keys.valid.as_ref().is_some_and(|valid| valid.is_null(row)) {
                continue;
            }
            match &self.wanted {
                Some(wanted) if !wanted[usize::from(*partition)] => *partition = DROPPED,
                _ => self.ranges[usize::from(*partition)].add(*hash),
            }
        }
        let bytes = payload_bytes(batch) + batch.num_rows() as u64;
        // Twice: the rows in order of their partitions stand beside these for a moment.
        self.reservation.grow(2 * bytes)?;
        self.gathered_bytes += bytes;
        self.batches.push(batch.clone());
        self.partitions.push(partitions);
        if self.gathered_bytes >= gathered_bytes(&self.context.governor) {
            self.write_out()?;
        }
        Ok(self.keys.valid.is_some())
    }

    /// Puts the rows in order of their partitions and writes each partition's.
    fn write_out(&mut self) -> Result<()> {
        let mut firsts = vec![0; self.split.partitions() + 1];
        for partition in self.partitions.iter().flatten().filter(|partition| **partition != DROPPED) {
            firsts[usize::from(*partition) + 1] += 1;
        }
        for partition in 0..self.split.partitions() {
            firsts[partition + 1] += firsts[partition];
        }
        let mut next = firsts.clone();
        let mut places = vec![(0, 0); firsts[self.split.partitions()]];
        for (batch, partitions) in self.partitions.drain(..).enumerate() {
            for (row, partition) in partitions.into_iter().enumerate().filter(|(_, partition)| *partition != DROPPED) {
                let next = &mut next[usize::from(partition)];
                places[*next] = (batch, row);
                *next += 1;
            }
        }
        if !places.is_empty() {
            let ordered = rows_at(&self.batches, &places)?;
            let begin = || self.context.runs.begin(self.holder, &self.schema);
            let writer = self.writer.get_or_insert_with(begin);
            for (partition, range) in firsts.windows(2).enumerate() {
                writer.append(partition, &ordered.slice(range[0], range[1] - range[0]))?;
            }
        }
        self.batches.clear();
        self.gathered_bytes = 0;
        self.reservation.resize(0)
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self) -> Result<Written> {
        self.write_out()?;
        let run = self.writer.take().map(RunWriter::finish).transpose()?.map(Arc::new);
        if let Some(run) = &run {
            self.context.add_spilled_bytes(run.all_bytes());
        }
        Ok(Written { run, ranges: std::mem::take(&mut self.ranges) })
    }
}

/// The rows at these places, (batch, row), each copied once.
fn rows_at(batches: &[Batch], places: &[(usize, usize)]) -> Result<Batch> {
    if let [batch] = batches {
        return take_rows(batch, &places.iter().map(|(_, row)| *row as u32).collect::<UInt32Array>());
    }
    let column = |number: usize| -> Result<ArrayRef> {
        let columns: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(number) as &dyn Array).collect();
        Ok(compute::interleave(&columns, places)?)
    };
    let schema = batches[0].schema();
    let columns = (0..schema.fields().len()).map(column).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(Batch::try_new_with_options(schema, columns, &options)?)
}

/// The schema of rows on disk: what a column may hold is not asked again.
pub(super) fn on_disk(fields: impl Iterator<Item = Field>) -> SchemaRef {
    Arc::new(Schema::new(fields.map(|field| field.with_nullable(true)).collect::<Vec<_>>()))
}

/// Rows of a side in one partition, in runs of several threads.
#[derive(Clone, Default)]
pub(super) struct Share {
    parts: Vec<(Arc<Run>, usize)>,
}

impl Share {
    fn of(runs: &[Arc<Run>], partition: usize) -> Share {
        let has_rows = |run: &&Arc<Run>| run.rows(partition) > 0;
        Share { parts: runs.iter().filter(has_rows).map(|run| (Arc::clone(run), partition)).collect() }
    }

    pub(super) fn rows(&self) -> u64 {
        self.parts.iter().map(|(run, part)| run.rows(*part)).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|(run, part)| run.bytes(*part)).sum()
    }

    pub(super) fn read(&self) -> ShareReader {
        ShareReader { parts: self.parts.clone(), next: 0, reader: None }
    }
}

/// The rows of a share, frame by frame.
pub(super) struct ShareReader {
    parts: Vec<(Arc<Run>, usize)>,
    next: usize,
    reader: Option<RunReader>,
}

impl ShareReader {
    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.reader.as_mut().map(RunReader::next).transpose()?.flatten() {
                return Ok(Some(batch));
            }
            let Some((run, part)) = self.parts.get(self.next) else { return Ok(None) };
            self.reader = Some(run.read(*part));
            self.next += 1;
        }
    }
}

/// A build side that went to disk, and what went after it.
pub(super) struct Spilled {
    split: Split,
    /// Of each partition.
    has_build_rows: Arc<Vec<bool>>,
    build: Vec<Arc<Run>>,
    ranges: Vec<HashRange>,
    probe: Mutex<Vec<Arc<Run>>>,
    pub(super) rounds: Arc<Rounds>,
}

impl Spilled {
    /// The build side is complete.
    pub(super) fn new(split: Split, written: Vec<Written>) -> Spilled {
        let (build, ranges) = gathered(split, written);
        let has_rows = |partition| build.iter().any(|run: &Arc<Run>| run.rows(partition) > 0);
        let has_build_rows = Arc::new((0..split.partitions()).map(has_rows).collect());
        Spilled { split, has_build_rows, build, ranges, probe: Mutex::default(), rounds: Arc::default() }
    }

    pub(super) fn split(&self) -> Split {
        self.split
    }

    pub(super) fn has_build_rows(&self) -> &Arc<Vec<bool>> {
        &self.has_build_rows
    }

    /// A thread's probe rows.
    pub(super) fn take_in_probe(&self, written: Written) {
        self.probe().extend(written.run);
    }

    /// All probe rows are there: the rounds.
    pub(super) fn rounds(&self, join: &HashJoin) -> Vec<Round> {
        rounds(join, self.split, &self.build, &self.ranges, &self.probe())
    }

    fn probe(&self) -> MutexGuard<'_, Vec<Arc<Run>>> {
        self.probe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a round in rounds by the next bits.
pub(super) fn cut(join: &HashJoin, round: &Round, split: Split) -> Result<Vec<Round>> {
    let cut = |share: &Share, mut writer: SideWriter| -> Result<Written> {
        let mut reader = share.read();
        while let Some(batch) = reader.next()? {
            join.context.cancel.check()?;
            writer.push(&batch)?;
        }
        writer.finish()
    };
    let (build, ranges) = gathered(split, vec![cut(&round.build, SideWriter::of_build(join, split)?)?]);
    let has_rows = |partition| build.iter().any(|run: &Arc<Run>| run.rows(partition) > 0);
    let wanted = Arc::new((0..split.partitions()).map(has_rows).collect());
    let probe = cut(&round.probe, SideWriter::of_probe(join, split, wanted)?)?.run;
    Ok(rounds(join, split, &build, &ranges, probe.as_slice()))
}

/// The runs, and of each partition the hashes of its rows.
fn gathered(split: Split, written: Vec<Written>) -> (Vec<Arc<Run>>, Vec<HashRange>) {
    let mut ranges = vec![HashRange::NONE; split.partitions()];
    let mut runs = Vec::with_capacity(written.len());
    for Written { run, ranges: of_run } in written {
        runs.extend(run);
        ranges.iter_mut().zip(&of_run).for_each(|(range, other)| range.merge(other));
    }
    (runs, ranges)
}

/// One for each partition that can give rows.
fn rounds(join: &HashJoin, split: Split, build: &[Arc<Run>], ranges: &[HashRange], probe: &[Arc<Run>]) -> Vec<Round> {
    let kind = join.shape.rows;
    let round = |(partition, range): (usize, &HashRange)| {
        let (build, probe) = (Share::of(build, partition), Share::of(probe, partition));
        let gives = if kind.needs_partners() { build.rows() > 0 } else { build.rows() + probe.rows() > 0 };
        let is_probed = probe.rows() > 0 || kind.looks_at_build_rows();
        let is_one_hash = range.is_one_hash();
        (gives && is_probed).then_some(Round { split, is_one_hash, build, probe })
    };
    ranges.iter().enumerate().filter_map(round).collect()
}
