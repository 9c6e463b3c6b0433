//! The hash join: its shared state, the role that builds it, and what its other roles share.
//!
//! In: the build side, all of it; then `probe` or `mark` take the other side in; then `rest`. Out: see [`JoinRows`]. Never: spills;
//! a build side that does not fit the budget fails with the numbers. (Deficit, until spilling comes.)
//!
//! The build side's strings are put together into one array a column, so a column of type Utf8 or Binary cannot hold more than
//! 2 GiB there; views and large types can.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use super::{
    build::{BuildSide, Done, Finished, Gathering, Part},
    directory::{Directory, PARTITIONS, Partition, PendingRows, Scattered, bucket_bits},
    keys::{KeyEncoder, KeyShape, Keys},
    outer::Rest,
    probe::{Mark, Probe},
    spec::{HashJoinSpec, JoinError, JoinRows, NestedLoopSpec, Shape},
};
use crate::{
    batch::{
        Morsel,
        array::ArrayRef,
        datatypes::{DataType, SchemaRef},
    },
    error::{Result, bug},
    expression::{Expression, Parameters},
    operator::{JobContext, Outcome, Sink, SinkThread, Source, Task, Transform},
};

/// A join by equality of keys.
pub struct HashJoin {
    pub(super) shape: Arc<Shape>,
    pub(super) context: JobContext,
    pub(super) is_null_aware: bool,
    keys: Arc<KeyShape>,
    build: (Vec<Expression>, SchemaRef),
    probe: (Vec<Expression>, SchemaRef),
    gathering: Gathering,
    /// Rows of the threads that have finished, each with the number of its first row.
    scattered: Mutex<Vec<(u32, Scattered)>>,
    /// Build rows with a NULL key, kept for a null-aware join only.
    null_rows: Mutex<Vec<u32>>,
    built: OnceLock<Arc<Built>>,
    /// What the mark role has seen: for `rest` of a null-aware join.
    pub(super) saw_probe_rows: AtomicBool,
    pub(super) saw_null_probe_key: AtomicBool,
}

/// What is probed.
pub(super) struct Built {
    pub(super) side: Arc<BuildSide>,
    pub(super) directory: Directory,
    /// Of every build row what is compared besides the word.
    pub(super) compared: Option<ArrayRef>,
    pub(super) has_null_key: bool,
}

impl HashJoin {
    /// The join of `spec`.
    pub fn new(spec: &HashJoinSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<HashJoin>> {
        if spec.is_null_aware {
            let is_anti = matches!(spec.rows, JoinRows::ProbeAnti | JoinRows::BuildAnti);
            if spec.build_keys.len() != 1 || spec.filter.is_some() || spec.nulls_equal || !is_anti {
                let (keys, has_filter) = (spec.build_keys.len(), spec.filter.is_some());
                return Err(JoinError::NullAware { keys, has_filter }.into());
            }
        }
        let common = NestedLoopSpec {
            rows: spec.rows,
            filter: spec.filter.clone(),
            output: spec.output.clone(),
            build: Arc::clone(&spec.build),
            probe: Arc::clone(&spec.probe),
            output_schema: Arc::clone(&spec.output_schema),
        };
        let shape = Arc::new(Shape::new(&common, context.settings.rows_per_morsel, parameters)?);
        let types = |keys: &[Expression], schema: &SchemaRef| -> Result<Vec<DataType>> {
            keys.iter().map(|key| key.data_type(schema)).collect()
        };
        let build_types = types(&spec.build_keys, &spec.build)?;
        let probe_types = types(&spec.probe_keys, &spec.probe)?;
        let keys = Arc::new(KeyShape::new(&build_types, &probe_types, spec.nulls_equal)?);
        let gathering = Gathering::new(&shape, &spec.build, keys.compared_column(), context, "hash join build");
        Ok(Arc::new(HashJoin {
            shape,
            context: context.clone(),
            is_null_aware: spec.is_null_aware,
            keys,
            build: (spec.build_keys.clone(), Arc::clone(&spec.build)),
            probe: (spec.probe_keys.clone(), Arc::clone(&spec.probe)),
            gathering,
            scattered: Mutex::default(),
            null_rows: Mutex::default(),
            built: OnceLock::new(),
            saw_probe_rows: AtomicBool::new(false),
            saw_null_probe_key: AtomicBool::new(false),
        }))
    }

    /// Takes the build side in; first.
    pub fn build(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Build(Arc::clone(self)))
    }

    /// Takes the probe side in and gives what the kind of join gives of it; for every kind but those of [`HashJoin::mark`].
    pub fn probe(self: &Arc<Self>) -> Arc<dyn Transform> {
        Arc::new(Probe(Arc::clone(self)))
    }

    /// Takes the probe side in and only marks build rows: `BuildSemi`, `BuildAnti`, `BuildMark`.
    pub fn mark(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Mark(Arc::clone(self)))
    }

    /// After all probing: the build rows that the kind of join gives by whether they found a partner.
    pub fn rest(self: &Arc<Self>) -> Arc<dyn Source> {
        let join = Arc::clone(self);
        Arc::new(Rest {
            shape: Arc::clone(&self.shape),
            side: Arc::new(move || join.after_probing()),
            chunk: Arc::new(AtomicUsize::new(0)),
        })
    }

    pub(super) fn built(&self) -> Result<Arc<Built>> {
        self.built.get().map(Arc::clone).ok_or_else(|| bug("join", "it is probed before it is built"))
    }

    /// The keys of the probe side, for one thread.
    pub(super) fn probe_keys(&self) -> Result<KeyEncoder> {
        KeyEncoder::new(&self.probe.0, &self.probe.1, &self.shape.parameters, &self.keys)
    }

    fn after_probing(&self) -> Result<Option<Arc<BuildSide>>> {
        let side = Arc::clone(&self.built()?.side);
        if self.is_null_aware && self.saw_null_probe_key.load(Relaxed) {
            return Ok(None);
        }
        if let (true, true, Some(marks)) = (self.is_null_aware, self.saw_probe_rows.load(Relaxed), &side.marks) {
            // Neither in nor not in: as if they had a partner.
            lock(&self.null_rows).iter().for_each(|row| marks.set(*row));
        }
        Ok(Some(side))
    }

    fn finished(&self, finished: Finished, bucket_bits: u32) -> Result<()> {
        let Finished { mut columns, partitions, rows, reservation } = finished;
        let compared = if self.keys.is_exact() { None } else { columns.pop() };
        let directory = Directory::new(partitions, bucket_bits).ok_or_else(|| bug("join", "a partition is missing"))?;
        let has_null_key = !lock(&self.null_rows).is_empty();
        let finished = Finished { columns, partitions: Vec::new(), rows, reservation };
        let side = Arc::new(BuildSide::new(&self.shape, finished)?);
        let built = Built { side, directory, compared, has_null_key };
        self.built.set(Arc::new(built)).map_err(|_| bug("join", "it is built twice"))
    }
}

/// The role that builds.
struct Build(Arc<HashJoin>);

impl Sink for Build {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let join = Arc::clone(&self.0);
        Ok(Box::new(BuildThread {
            encoder: KeyEncoder::new(&join.build.0, &join.build.1, &join.shape.parameters, &join.keys)?,
            keys: Keys::default(),
            part: join.gathering.part(),
            scattered: Scattered::new(),
            null_rows: Vec::new(),
            join,
        }))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let mut threads = std::mem::take(&mut *lock(&self.0.scattered));
        let rows: usize = threads.iter().map(|(_, scattered)| scattered.rows()).sum();
        let bits = bucket_bits(rows);
        self.0.gathering.grow(Partition::bytes(rows) as u64)?;
        // A small directory is built faster than tasks are handed out.
        let partitions_per_task = if rows < 1 << 15 { PARTITIONS } else { PARTITIONS / 16 };
        let firsts: Vec<usize> = (0..PARTITIONS).step_by(partitions_per_task).collect();
        let columns = self.0.gathering.start(firsts.len(), PARTITIONS);
        let mut tasks: Vec<Task> = Vec::new();
        for first in firsts {
            let mut of_task: Vec<Vec<(u32, PendingRows)>> = Vec::new();
            for partition in first..first + partitions_per_task {
                of_task.push(threads.iter_mut().map(|(row, scattered)| (*row, scattered.take(partition))).collect());
            }
            let join = Arc::clone(&self.0);
            tasks.push(Box::new(move || {
                let partitions = of_task.into_iter().map(|threads| Partition::build(threads, bits)).collect();
                done(&join, Done::Partitions(first, partitions), bits, rows)
            }));
        }
        for (number, pieces) in columns {
            let join = Arc::clone(&self.0);
            tasks.push(Box::new(move || {
                let column = join.gathering.put_together(number, pieces)?;
                done(&join, Done::Column(number, column), bits, rows)
            }));
        }
        Ok(tasks)
    }
}

fn done(join: &HashJoin, piece: Done, bucket_bits: u32, rows: usize) -> Result<()> {
    let Some(finished) = join.gathering.done(Some(piece)) else { return Ok(()) };
    let mut finished = finished;
    let left = finished.reservation.bytes().saturating_sub((rows * Scattered::BYTES_PER_ROW) as u64);
    finished.reservation.resize(left)?;
    join.finished(finished, bucket_bits)
}

struct BuildThread {
    join: Arc<HashJoin>,
    encoder: KeyEncoder,
    keys: Keys,
    part: Part,
    scattered: Scattered,
    null_rows: Vec<u32>,
}

impl SinkThread for BuildThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let batch = morsel.batch;
        if batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        self.encoder.encode(&batch, &mut self.keys)?;
        let valid = self.keys.valid.as_ref();
        let known_rows = batch.num_rows() - valid.map_or(0, |valid| valid.null_count());
        let compared = self.keys.compared.as_ref().map(Arc::clone);
        let first_row = self.part.add(&self.join.shape, &batch, compared, known_rows * Scattered::BYTES_PER_ROW)?;
        self.scattered.add(&self.keys.hashes, self.keys.words(), valid, first_row);
        if let (true, Some(valid)) = (self.join.is_null_aware, valid) {
            let nulls = (0..batch.num_rows()).filter(|row| valid.is_null(*row));
            self.null_rows.extend(nulls.map(|row| first_row + row as u32));
        }
        Ok(Outcome::More)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let first_row = self.join.gathering.take_in(self.part)?;
        lock(&self.join.null_rows).extend(self.null_rows.into_iter().map(|row| first_row + row));
        lock(&self.join.scattered).push((first_row, self.scattered));
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
