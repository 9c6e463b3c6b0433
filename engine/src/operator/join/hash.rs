//! The hash join: its shared state, the role that builds it, and what its other roles share.
//!
//! In: the build side, all of it; then `probe` or `mark` take the other side in; then `rest` or `rounds`. Out: see [`JoinRows`]. Never:
//! holds the build side longer than somebody may ask for it.
//!
//! ```text
//!   gathering ──► table in memory ──(all probing closed)──► marked build rows, if they are given ──(given)──► over
//!       └──(memory is refused, or wanted back)──► spilled: both sides on disk, joined in rounds
//! ```
//! A build side that does not fit goes to disk as a whole (a deficit: some of its partitions might stay), with the probe side after it;
//! whoever probes then gives nothing, and the rounds give what the kind of join gives: as `rest` where that exists, else as `rounds`.
//!
//! The build side's strings are put together into one array a column, so a column of type Utf8 or Binary cannot hold more than
//! 2 GiB there; views and large types can.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use super::{
    build::{BuildSide, Done, Finished, Gathering, Kept, Part, Room},
    directory::{Directory, PARTITIONS, Partition, PendingRows, Scattered, bucket_bits},
    filter::KeyFilter,
    keys::{KeyEncoder, KeyShape, Keys},
    outer::RestThread,
    probe::{Mark, Probe},
    rounds::RoundsThread,
    spec::{HashJoinSpec, JoinError, JoinRows, NestedLoopSpec, ROWS_MAX, Shape},
    spill::{SideWriter, Spilled, Split, Written, on_disk},
};
use crate::{
    batch::{
        Batch, Morsel,
        array::ArrayRef,
        datatypes::{DataType, SchemaRef},
    },
    error::{Result, bug},
    expression::{Expression, Parameters},
    format::RowTest,
    memory::{Revocation, Revoked},
    operator::{JobContext, Outcome, Sink, SinkThread, Source, SourceThread, Task, Transform},
};

/// A join by equality of keys.
pub struct HashJoin {
    pub(super) shape: Arc<Shape>,
    pub(super) context: JobContext,
    pub(super) is_null_aware: bool,
    keys: Arc<KeyShape>,
    build: Keyed,
    /// The build side as it is kept until it is complete, and on disk.
    stored: Keyed,
    /// Columns of the build side that only its keys need: they stand behind the kept ones where it is stored.
    beside: Vec<usize>,
    probe: Keyed,
    /// Types of the columns that a table keeps: those of the shape, then what is compared.
    types: Vec<DataType>,
    gathering: Gathering,
    /// Rows of the threads that have finished, each with the number of its first row.
    scattered: Mutex<Vec<(u32, Scattered)>>,
    /// Build rows with a NULL key, kept for a null-aware join only.
    null_rows: Mutex<Vec<u32>>,
    revocation: Revocation,
    /// The build side goes to disk: every thread sees it at its next morsel.
    goes_to_disk: AtomicBool,
    /// What the threads have written of the build side.
    written: Mutex<Vec<Written>>,
    state: Mutex<State>,
    /// Probe roles that are not closed yet.
    open_probes: AtomicUsize,
    pub(super) saw_null_build_key: AtomicBool,
    pub(super) saw_probe_rows: AtomicBool,
    pub(super) saw_null_probe_key: AtomicBool,
}

/// Keys over the columns of a schema.
struct Keyed {
    keys: Vec<Expression>,
    schema: SchemaRef,
}

/// See the [module](self).
enum State {
    Gathering,
    Table(Arc<Built>),
    /// The table is gone; its rows are given by their marks.
    Marked {
        side: Arc<BuildSide>,
        null_rows: Vec<u32>,
    },
    Spilled(Arc<Spilled>),
    Over,
}

/// What probe rows meet.
pub(super) enum Ready {
    Table(Arc<Built>),
    Spilled(Arc<Spilled>),
}

/// What is probed.
pub(super) struct Built {
    pub(super) side: Arc<BuildSide>,
    pub(super) directory: Directory,
    /// Of every build row what is compared besides the word.
    pub(super) compared: Option<ArrayRef>,
    /// Build rows with a NULL key, of a null-aware join.
    pub(super) null_rows: Vec<u32>,
}

/// Who asks for memory.
const HOLDER: &str = "hash join build";

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
        let (beside, stored) = stored(&shape, spec);
        let gathering = Gathering::new(&shape, &spec.build, keys.compared_column(), beside.len(), context, HOLDER);
        let kept_types = shape.kept.iter().map(|number| spec.build.field(*number).data_type().clone());
        Ok(Arc::new(HashJoin {
            types: kept_types.chain(keys.compared_column()).collect(),
            shape,
            context: context.clone(),
            is_null_aware: spec.is_null_aware,
            keys,
            build: Keyed { keys: spec.build_keys.clone(), schema: Arc::clone(&spec.build) },
            stored,
            beside,
            probe: Keyed {
                keys: spec.probe_keys.clone(),
                schema: on_disk(spec.probe.fields().iter().map(|field| field.as_ref().clone())),
            },
            gathering,
            scattered: Mutex::default(),
            null_rows: Mutex::default(),
            revocation: Revocation::default(),
            goes_to_disk: AtomicBool::new(false),
            written: Mutex::default(),
            state: Mutex::new(State::Gathering),
            open_probes: AtomicUsize::new(0),
            saw_null_build_key: AtomicBool::new(false),
            saw_probe_rows: AtomicBool::new(false),
            saw_null_probe_key: AtomicBool::new(false),
        }))
    }

    /// Takes the build side in; first.
    pub fn build(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Build(Arc::clone(self)))
    }

    /// Takes the probe side in and gives what the kind of join gives of it; for every kind but those of [`HashJoin::mark`]. When every
    /// role that was made here is closed, nobody probes any more.
    pub fn probe(self: &Arc<Self>) -> Arc<dyn Transform> {
        self.open_probes.fetch_add(1, SeqCst);
        Arc::new(Probe(Arc::clone(self)))
    }

    /// Takes the probe side in and only marks build rows: `BuildSemi`, `BuildAnti`, `BuildMark`.
    pub fn mark(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Mark(Arc::clone(self)))
    }

    /// A test of rows that are going to probe: which may have a partner. Of a kind of join that drops those that have none
    /// ([`JoinRows::needs_partners`]), and does not ask for NULLs among them. `places`: where each probe key stands among the columns of
    /// `schema`. It can be asked when the build side is complete.
    pub fn key_filter(self: &Arc<Self>, places: &[usize], schema: &SchemaRef) -> Result<Arc<dyn RowTest>> {
        if places.len() != self.probe.keys.len() {
            return Err(bug("join", "a filter by some of its keys"));
        }
        if !self.shape.rows.needs_partners() || self.is_null_aware {
            return Err(bug("join", "rows without a partner are dropped that it gives"));
        }
        Ok(Arc::new(KeyFilter::new(self, places, schema)?))
    }

    /// After all probing: the build rows that the kind of join gives by whether they found a partner, or all of the rounds.
    pub fn rest(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(Rest { join: Arc::clone(self), chunk: Arc::new(AtomicUsize::new(0)) })
    }

    /// After all probing, for kinds without [`HashJoin::rest`]: what the rounds give, if the build side went to disk; else nothing.
    pub fn rounds(self: &Arc<Self>) -> Arc<dyn Source> {
        self.rest()
    }

    /// What probe rows meet, once the build side is complete.
    pub(super) fn ready(&self) -> Result<Ready> {
        match &*lock(&self.state) {
            State::Table(built) => Ok(Ready::Table(Arc::clone(built))),
            State::Spilled(spilled) => Ok(Ready::Spilled(Arc::clone(spilled))),
            State::Gathering => Err(bug("join", "it is probed before it is built")),
            State::Marked { .. } | State::Over => Err(bug("join", "it is probed after all probing was over")),
        }
    }

    /// How keys are compared.
    pub(super) fn key_shape(&self) -> &KeyShape {
        &self.keys
    }

    /// The keys of the probe side, for one thread.
    pub(super) fn probe_keys(&self) -> Result<KeyEncoder> {
        self.encoder(&self.probe)
    }

    /// The keys of the build side as it is stored, for one thread.
    pub(super) fn stored_keys(&self) -> Result<KeyEncoder> {
        self.encoder(&self.stored)
    }

    fn encoder(&self, keyed: &Keyed) -> Result<KeyEncoder> {
        self.encoder_over(&keyed.keys, &keyed.schema)
    }

    /// The keys of one side, which are `keys` over `schema` here, for one thread.
    pub(super) fn encoder_over(&self, keys: &[Expression], schema: &SchemaRef) -> Result<KeyEncoder> {
        KeyEncoder::new(keys, schema, &self.shape.parameters, &self.keys)
    }

    pub(super) fn stored_schema(&self) -> &SchemaRef {
        &self.stored.schema
    }

    pub(super) fn probe_schema(&self) -> &SchemaRef {
        &self.probe.schema
    }

    /// Types of the columns that a table keeps, what is compared the last of them.
    pub(super) fn kept_types(&self) -> Vec<DataType> {
        self.types.clone()
    }

    /// So many rows can be numbered.
    pub(super) fn check_rows(&self, rows: usize) -> Result<()> {
        if rows > ROWS_MAX as usize { Err(JoinError::TooManyRows.into()) } else { Ok(()) }
    }

    /// A NULL key on the other side leaves nothing of a null-aware join.
    pub(super) fn gives_nothing(&self) -> bool {
        self.is_null_aware
            && match self.shape.rows {
                JoinRows::ProbeAnti => self.saw_null_build_key.load(Relaxed),
                _ => self.saw_null_probe_key.load(Relaxed),
            }
    }

    /// A probe role is closed.
    pub(super) fn probe_closed(&self) {
        if self.open_probes.fetch_sub(1, SeqCst) == 1 {
            self.probing_over();
        }
    }

    /// Nobody probes any more.
    pub(super) fn probing_over(&self) {
        let mut state = lock(&self.state);
        if let State::Table(built) = &*state {
            let gives_rest = self.shape.rows.looks_at_build_rows();
            let marked = || State::Marked { side: Arc::clone(&built.side), null_rows: built.null_rows.clone() };
            *state = if gives_rest { marked() } else { State::Over };
        }
    }

    fn built(&self, finished: Finished, bucket_bits: u32) -> Result<()> {
        let Finished { mut columns, partitions, rows, reservation } = finished;
        let compared = if self.keys.is_exact() { None } else { columns.pop() };
        let directory = Directory::new(partitions, bucket_bits).ok_or_else(|| bug("join", "a partition is missing"))?;
        let null_rows = std::mem::take(&mut *lock(&self.null_rows));
        let finished = Finished { columns, partitions: Vec::new(), rows, reservation };
        let side = Arc::new(BuildSide::new(&self.shape, finished)?);
        *lock(&self.state) = State::Table(Arc::new(Built { side, directory, compared, null_rows }));
        Ok(())
    }

    /// What was built goes to disk.
    fn spilled(&self, split: Split) {
        let written = std::mem::take(&mut *lock(&self.written));
        *lock(&self.state) = State::Spilled(Arc::new(Spilled::new(split, written)));
    }

    /// Least bytes of all threads together that are worth going to disk for.
    fn least_spill_bytes(&self) -> u64 {
        self.context.governor.least_spill_bytes().saturating_mul(self.context.settings.threads as u64)
    }

    /// Rows can be told apart on disk: there is a column to write.
    fn can_go_to_disk(&self) -> bool {
        !self.stored.schema.fields().is_empty()
    }
}

/// The columns of the build side that only keys need, and the build side as it is stored.
fn stored(shape: &Shape, spec: &HashJoinSpec) -> (Vec<usize>, Keyed) {
    let mut used = BTreeSet::new();
    spec.build_keys.iter().for_each(|key| key.columns_used(&mut used));
    let beside: Vec<usize> = used.into_iter().filter(|column| !shape.kept.contains(column)).collect();
    let stored: Vec<usize> = shape.kept.iter().chain(&beside).copied().collect();
    let mut keys = spec.build_keys.clone();
    let place = |column| stored.iter().position(|stored| *stored == column).unwrap_or_default();
    keys.iter_mut().for_each(|key| key.map_columns(&place));
    let schema = on_disk(stored.iter().map(|column| spec.build.field(*column).clone()));
    (beside, Keyed { keys, schema })
}

/// The role that gives what is left after all probing.
struct Rest {
    join: Arc<HashJoin>,
    chunk: Arc<AtomicUsize>,
}

impl Source for Rest {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        let join = &self.join;
        let side = match &*lock(&join.state) {
            State::Gathering => return Err(bug("join", "its rest is given before it is built")),
            State::Spilled(spilled) => return Ok(Box::new(RoundsThread::new(join, Arc::clone(spilled)))),
            State::Table(built) if join.shape.rows.looks_at_build_rows() => {
                Some((Arc::clone(&built.side), built.null_rows.clone()))
            }
            State::Marked { side, null_rows } => Some((Arc::clone(side), null_rows.clone())),
            State::Table(_) | State::Over => None,
        };
        let side = side.filter(|_| !join.gives_nothing()).map(|(side, null_rows)| {
            if let (true, true, Some(marks)) = (join.is_null_aware, join.saw_probe_rows.load(Relaxed), &side.marks) {
                // Neither in nor not in: as if they had a partner.
                null_rows.iter().for_each(|row| marks.set(*row));
            }
            side
        });
        Ok(Box::new(RestThread { shape: Arc::clone(&join.shape), side, chunk: Arc::clone(&self.chunk) }))
    }

    fn close(&self) {
        *lock(&self.join.state) = State::Over;
    }
}

/// The role that builds.
struct Build(Arc<HashJoin>);

impl Sink for Build {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let join = Arc::clone(&self.0);
        Ok(Box::new(BuildThread {
            encoder: join.encoder(&join.build)?,
            keys: Keys::default(),
            part: join.gathering.part(),
            told_bytes: 0,
            scattered: Scattered::new(),
            null_rows: Vec::new(),
            disk: None,
            join,
        }))
    }

    fn held_bytes(&self) -> u64 {
        self.0.revocation.held_bytes()
    }

    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        Ok(if self.0.can_go_to_disk() { self.0.revocation.ask(bytes) } else { Revoked::Cannot })
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let join = &self.0;
        if join.goes_to_disk.load(SeqCst) {
            return self.write_the_rest();
        }
        let rows: usize = lock(&join.scattered).iter().map(|(_, scattered)| scattered.rows()).sum();
        let room = match join.gathering.room(Partition::bytes(rows) as u64) {
            Room::Refused { bytes, meanwhile_bytes } => {
                let is_little = bytes <= join.context.governor.headroom_bytes() / 2 || !join.can_go_to_disk();
                if !is_little {
                    return self.write_the_rest();
                }
                join.gathering.insist(bytes, meanwhile_bytes)?
            }
            room => room,
        };
        Ok(self.put_together(rows, &room))
    }
}

impl Build {
    /// The tasks that make the table.
    fn put_together(&self, rows: usize, room: &Room) -> Vec<Task> {
        let mut threads = std::mem::take(&mut *lock(&self.0.scattered));
        let bits = bucket_bits(rows);
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
        for columns in room.shares(columns) {
            let join = Arc::clone(&self.0);
            tasks.push(Box::new(move || {
                for (number, pieces) in columns {
                    let column = join.gathering.put_together(number, &pieces)?;
                    drop(pieces);
                    done(&join, Done::Column(number, column), bits, rows)?;
                }
                Ok(())
            }));
        }
        tasks
    }

    /// What threads had gathered before the build side went to disk goes there, too.
    fn write_the_rest(&self) -> Result<Vec<Task>> {
        let join = &self.0;
        lock(&join.scattered).clear();
        lock(&join.null_rows).clear();
        let split = Split::new(&join.context.governor);
        let batches = join.gathering.take_back(&join.shape, &join.stored.schema)?;
        if batches.is_empty() {
            join.spilled(split);
            return Ok(Vec::new());
        }
        let join = Arc::clone(join);
        Ok(vec![Box::new(move || {
            let mut writer = SideWriter::of_build(&join, split)?;
            for batch in batches {
                join.context.cancel.check()?;
                writer.push(&batch)?;
            }
            let written = writer.finish()?;
            join.gathering.give_back()?;
            lock(&join.written).push(written);
            join.spilled(split);
            Ok(())
        })])
    }
}

fn done(join: &HashJoin, piece: Done, bucket_bits: u32, rows: usize) -> Result<()> {
    let Some(finished) = join.gathering.done(Some(piece)) else { return Ok(()) };
    let mut finished = finished;
    let left = finished.reservation.bytes().saturating_sub((rows * Scattered::BYTES_PER_ROW) as u64);
    finished.reservation.resize(left)?;
    join.built(finished, bucket_bits)
}

struct BuildThread {
    join: Arc<HashJoin>,
    encoder: KeyEncoder,
    keys: Keys,
    part: Part,
    /// What was told to the revocation.
    told_bytes: u64,
    scattered: Scattered,
    null_rows: Vec<u32>,
    /// Where rows go when the build side goes to disk.
    disk: Option<SideWriter>,
}

impl SinkThread for BuildThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let batch = morsel.batch;
        if batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        if self.disk.is_none() {
            self.heed()?;
        }
        if self.disk.is_none() && self.gather(&batch)? {
            return Ok(Outcome::More);
        }
        let disk = match &mut self.disk {
            Some(disk) => disk,
            none => none.insert(self.join.to_disk(&mut self.part, &mut self.scattered)?),
        };
        self.join.revocation.hold(std::mem::take(&mut self.told_bytes), 0);
        let columns: Vec<usize> = self.join.shape.kept.iter().chain(&self.join.beside).copied().collect();
        if disk.push(&batch.project(&columns)?)? {
            self.join.saw_null_build_key.store(true, Relaxed);
        }
        Ok(Outcome::More)
    }

    fn relieve(&mut self) -> Result<bool> {
        if self.disk.is_some() || !self.join.can_go_to_disk() || self.part.reservation.bytes() == 0 {
            return Ok(false);
        }
        self.join.goes_to_disk.store(true, SeqCst);
        self.heed()?;
        self.join.revocation.hold(std::mem::take(&mut self.told_bytes), 0);
        Ok(true)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let join = &self.join;
        join.revocation.hold(self.told_bytes, 0);
        if let Some(mut disk) = self.disk.take() {
            let written = disk.finish()?;
            lock(&join.written).push(written);
            return Ok(());
        }
        let first_row = join.gathering.take_in(self.part)?;
        lock(&join.null_rows).extend(self.null_rows.into_iter().map(|row| first_row + row));
        lock(&join.scattered).push((first_row, self.scattered));
        Ok(())
    }
}

impl BuildThread {
    /// Does the build side go to disk, because a thread or the source was refused memory, or because it is wanted back?
    fn heed(&mut self) -> Result<()> {
        let join = &self.join;
        if join.revocation.take(join.revocation.held_bytes(), join.least_spill_bytes()) {
            join.goes_to_disk.store(true, SeqCst);
        }
        if join.goes_to_disk.load(SeqCst) {
            self.disk = Some(join.to_disk(&mut self.part, &mut self.scattered)?);
        }
        Ok(())
    }

    /// Keeps the rows in memory; false when the build side is to go to disk instead.
    fn gather(&mut self, batch: &Batch) -> Result<bool> {
        let join = &self.join;
        self.encoder.encode(batch, &mut self.keys)?;
        let valid = self.keys.valid.as_ref();
        let known_rows = batch.num_rows() - valid.map_or(0, |valid| valid.null_count());
        let kept = Kept::of(&join.shape, batch, self.keys.compared.clone(), &join.beside);
        let bytes = kept.bytes + (known_rows * Scattered::BYTES_PER_ROW) as u64;
        if !self.part.reservation.try_grow(bytes) {
            let is_worth_it = join.revocation.held_bytes() + bytes >= join.least_spill_bytes();
            if is_worth_it && join.can_go_to_disk() {
                join.revocation.answered();
                join.goes_to_disk.store(true, SeqCst);
                return Ok(false);
            }
            self.part.reservation.grow(bytes)?;
        }
        join.revocation.hold(self.told_bytes, self.part.reservation.bytes());
        self.told_bytes = self.part.reservation.bytes();
        let first_row = self.part.add(kept)?;
        self.scattered.add(&self.keys.hashes, self.keys.words(), valid, first_row);
        if let (true, Some(valid)) = (join.is_null_aware, valid) {
            join.saw_null_build_key.store(true, Relaxed);
            let nulls = (0..batch.num_rows()).filter(|row| valid.is_null(*row));
            self.null_rows.extend(nulls.map(|row| first_row + row as u32));
        }
        Ok(true)
    }
}

impl HashJoin {
    /// What a thread has gathered goes to disk; where its further rows go.
    fn to_disk(&self, part: &mut Part, scattered: &mut Scattered) -> Result<SideWriter> {
        *scattered = Scattered::new();
        let mut disk = SideWriter::of_build(self, Split::new(&self.context.governor))?;
        for batch in part.take_back(&self.shape, &self.stored.schema)? {
            self.context.cancel.check()?;
            disk.push(&batch)?;
        }
        part.reservation.resize(0)?;
        Ok(disk)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
