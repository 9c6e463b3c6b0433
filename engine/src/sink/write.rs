//! Writing: part files, encoded on the compute threads, written on the I/O threads.
//!
//! In: morsels. Out: part files aside, counted and digested, ready for the commit. Never: waits for the disk on a compute thread; when too
//! much is on its way the thread is told to wait.
//!
//! A thread has a part of its own, in a partitioned output one for each folder of which it has rows. Of those it keeps a few open
//! ([`limits::OPEN_PARTS_MAX`] a task), each to its end: rows of further folders go into a sort, and come back in the order of their folders.
//! Then a folder that has ended makes room for another, so that rows in any order come to few parts, of however many folders.
//!
//! ```text
//!   first    rows ──► folders that are open ──► parts
//!                └──► others ──► sort (goes to disk when memory ends)
//!   then     sort ──► rows folder by folder ──► parts; the one that was used longest ago is ended for another
//! ```

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use super::{
    Target, Written,
    beside::{Beside, Run, name_of},
    commit::{commit, prepare},
    folders::Folders,
    in_order::{InOrder, OrderedSink},
    manifest::{Manifest, part_name},
    parts::{OpenParts, Part},
};
use crate::{
    batch::{Morsel, datatypes::SchemaRef},
    error::{Cause, Kind, Result, bug},
    format::Encode,
    limits,
    memory::Revoked,
    operator::{
        JobContext, Outcome, Sink, SinkThread, Source, Task,
        sort::{Sort, Ties},
    },
    shuffle::{AttemptId, AttemptKey, StageId, TaskId, digest::Digest},
    store::{Appender, Io},
};

/// Who holds the memory that writing takes.
pub(super) const HOLDER: &str = "writing files";

/// An output on its way.
pub struct Writing {
    target: Target,
    folders: Folders,
    /// Of a partitioned output: rows of more folders than have parts open.
    further: Option<Sort>,
    io: Arc<Io>,
    pub(super) context: JobContext,
    place: Place,
    next_part: AtomicU32,
    /// Of rows in an order that is kept.
    in_order: Option<InOrder>,
    state: Mutex<State>,
}

/// What becomes of the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A thread writes what it has.
    Any,
    /// There is one file, in the order of the morsels' places.
    Kept,
}

/// Whose the parts are, and where they are written.
enum Place {
    /// A run's in this process.
    Here(Run),
    /// An attempt's at a task of a cluster's job: they stay until the job is committed.
    Attempt(AttemptKey, Beside),
}

impl Place {
    fn key(&self) -> AttemptKey {
        match self {
            Place::Here(run) => AttemptKey { job: run.job, stage: StageId(0), task: TaskId(0), attempt: AttemptId(0) },
            Place::Attempt(key, _) => *key,
        }
    }

    fn beside(&self) -> &Beside {
        match self {
            Place::Here(run) => &run.beside,
            Place::Attempt(_, beside) => beside,
        }
    }
}

struct State {
    /// Parts that are complete, or about to be: folder, number, file.
    parts: Vec<(String, u32, Appender)>,
    digest: Digest,
    is_committed: bool,
}

impl Writing {
    /// Makes the place to write; fails when the output is there already and must not be. With an attempt it is that attempt's share of its
    /// job's output.
    pub fn begin(
        target: &Target,
        attempt: Option<AttemptKey>,
        (schema, order): (&SchemaRef, Order),
        io: &Arc<Io>,
        context: &JobContext,
    ) -> Result<Arc<Writing>> {
        target.check(schema)?;
        let place = match attempt {
            Some(key) => {
                let beside = Beside::of_job(target, key.job)?;
                io.disk().create_dirs(&beside.work)?;
                Place::Attempt(key, beside)
            }
            None => {
                prepare(io.disk(), target)?;
                Place::Here(Run::begin(io.disk(), target)?)
            }
        };
        let folders = Folders::new(target, schema)?;
        let sort = || Sort::within(HOLDER, Ties::Stay, &folders.order(schema), context, &Arc::default());
        Ok(Arc::new(Writing {
            target: target.clone(),
            further: if target.partitioned_by.is_empty() { None } else { Some(sort()?) },
            folders,
            io: Arc::clone(io),
            context: context.clone(),
            place,
            next_part: AtomicU32::new(0),
            in_order: (order == Order::Kept).then(|| InOrder::new(context.reservation("writing files"))),
            state: Mutex::new(State { parts: Vec::new(), digest: Digest::default(), is_committed: false }),
        }))
    }

    /// The sink that feeds it.
    pub fn sink(self: Arc<Self>) -> Arc<dyn Sink> {
        if self.in_order.is_some() {
            return Arc::new(OrderedSink(self));
        }
        let further = self.further.as_ref().map(Sort::sink);
        Arc::new(WriteSink { shared: self, further })
    }

    /// Of a partitioned output: gives the rows that were left for later, in the order of their folders.
    pub fn source(&self) -> Result<Arc<dyn Source>> {
        let further = self.further.as_ref().ok_or_else(|| bug("sink", "an output of one folder is read again"))?;
        Ok(further.source())
    }

    /// The sink that takes them.
    pub fn rest_sink(self: Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(RestSink(self))
    }

    /// Waits for the disk and makes the output visible. After the job has run, from outside of the compute threads.
    pub fn commit(&self) -> Result<Written> {
        let Place::Here(Run { job, beside, .. }) = &self.place else {
            return Err(bug("sink", "the output of a cluster's job committed by an attempt"));
        };
        let manifest = self.close()?;
        commit(self.io.disk(), &self.target, beside, &name_of(*job), &[manifest])
    }

    /// Waits for the disk; what the attempt has written, for the job's commit.
    pub fn manifest(&self) -> Result<Vec<u8>> {
        let bytes = self.close()?.to_bytes()?;
        if bytes.len() > limits::MANIFEST_BYTES_MAX { Err(self.too_many_parts().into()) } else { Ok(bytes) }
    }

    fn close(&self) -> Result<Manifest> {
        let (mut parts, digest) = {
            let mut state = self.lock();
            if std::mem::replace(&mut state.is_committed, true) {
                return Err(bug("sink", "an output committed twice"));
            }
            (std::mem::take(&mut state.parts), state.digest)
        };
        // In an order that does not depend on which thread was done first.
        parts.sort_by(|(one, a, _), (other, b, _)| (one, a).cmp(&(other, b)));
        let (mut folders, mut bytes): (Vec<(String, Vec<u32>)>, _) = (Vec::new(), 0);
        for (folder, number, appender) in parts {
            bytes += appender.close()?;
            match folders.last_mut() {
                Some((last, numbers)) if *last == folder => numbers.push(number),
                _ => folders.push((folder, vec![number])),
            }
        }
        Ok(Manifest::new(&self.place.key(), folders, bytes, &digest))
    }

    fn too_many_parts(&self) -> TooManyParts {
        let (path, columns) = (self.target.path.display().to_string(), self.target.partitioned_by.join(", "));
        TooManyParts { path, files: self.next_part.load(Relaxed), columns }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An output without rows still tells its columns.
    pub(super) fn tell_columns(&self) -> Result<()> {
        if self.lock().parts.is_empty() && self.target.partitioned_by.is_empty() {
            self.open_part("")?.close(self)?;
        }
        Ok(())
    }

    /// Files that a thread keeps open at once.
    pub(super) fn open_parts_max(&self) -> usize {
        (limits::OPEN_PARTS_MAX / self.context.settings.threads).max(2)
    }

    /// The rows of a morsel are part of the output.
    pub(super) fn count(&self, rows: usize) {
        self.context.counters.add_rows_out(rows);
    }

    /// What encodes rows for a file.
    pub(super) fn encoder(&self) -> Result<Box<dyn Encode>> {
        self.target.format.encoder(self.folders.schema())
    }

    /// The turns of the threads, where the order is kept.
    pub(super) fn in_order(&self) -> Result<&InOrder> {
        self.in_order.as_ref().ok_or_else(|| bug("sink", "an output in order without turns"))
    }

    /// Threads that write.
    pub(super) fn threads(&self) -> usize {
        self.context.settings.threads
    }

    /// Nothing more comes to the file.
    pub(super) fn add_file(&self, folder: String, number: u32, file: Appender) {
        file.end();
        self.lock().parts.push((folder, number, file));
    }

    /// What a thread's rows add up to.
    pub(super) fn add_digest(&self, digest: &Digest) {
        self.lock().digest.merge(digest);
    }

    /// A new file.
    pub(super) fn open_file(&self) -> Result<(u32, Appender)> {
        let number = self.next_part.fetch_add(1, Relaxed);
        if number >= limits::PARTS_PER_TASK_MAX {
            return Err(self.too_many_parts().into());
        }
        let name = part_name(&self.place.key(), number, self.target.format.ending());
        let path = self.place.beside().work.join(&name);
        let writers = if self.target.partitioned_by.is_empty() { 1 } else { limits::OPEN_PARTS_MAX };
        Ok((number, Appender::create(&path, limits::APPEND_BYTES_MAX / writers, &self.io)?))
    }

    /// A new part file.
    pub(super) fn open_part(&self, folder: &str) -> Result<Part> {
        let (encoder, (number, appender)) = (self.encoder()?, self.open_file()?);
        Ok(Part::new(folder, number, encoder, appender))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // The files are closed before they are removed.
        self.lock().parts.clear();
        if let Place::Here(run) = &self.place {
            // Nobody is left to be told; what stays behind has a hidden name, and is removed by the next run.
            let _ = run.beside.remove(self.io.disk(), &self.target.path);
        }
    }
}

/// [`Writing`] as a sink.
struct WriteSink {
    shared: Arc<Writing>,
    /// Where rows of further folders go.
    further: Option<Arc<dyn Sink>>,
}

impl Sink for WriteSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let further = self.further.as_ref().map(|further| further.thread()).transpose()?;
        Ok(Box::new(WriteThread { parts: OpenParts::new(&self.shared), digest: Digest::default(), further }))
    }

    fn held_bytes(&self) -> u64 {
        self.further.as_ref().map_or(0, |further| further.held_bytes())
    }

    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        self.further.as_ref().map_or(Ok(Revoked::Cannot), |further| further.revoke(bytes))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        match &self.further {
            Some(further) => further.finalize(),
            None => {
                self.shared.tell_columns()?;
                Ok(Vec::new())
            }
        }
    }
}

struct WriteThread {
    parts: OpenParts,
    digest: Digest,
    further: Option<Box<dyn SinkThread>>,
}

impl SinkThread for WriteThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        self.digest.merge(&Digest::of(&morsel.batch)?);
        let parts = &mut self.parts;
        parts.shared.count(morsel.batch.num_rows());
        let mut begun = BTreeSet::new();
        let split = parts.shared.folders.split(&morsel.batch, |folder| {
            let has_room = parts.has_room(folder, &begun);
            if has_room {
                begun.insert(folder.to_owned());
            }
            has_room
        })?;
        if let (Some(further), Some(batch)) = (&mut self.further, split.rest) {
            // A sort takes all that it is given.
            further.push(Morsel { batch, ..morsel })?;
        }
        parts.write(split.parts)
    }

    fn relieve(&mut self) -> Result<bool> {
        self.further.as_mut().map_or(Ok(false), |further| further.relieve())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let WriteThread { parts, digest, further } = *self;
        parts.shared.add_digest(&digest);
        parts.close()?;
        further.map_or(Ok(()), SinkThread::finish)
    }
}

/// The sink of rows that come back in the order of their folders.
struct RestSink(Arc<Writing>);

impl Sink for RestSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(RestThread(OpenParts::new(&self.0))))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        Ok(Vec::new())
    }
}

struct RestThread(OpenParts);

impl SinkThread for RestThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let parts = self.0.shared.folders.split(&morsel.batch, |_| true)?.parts;
        self.0.write(parts)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.close()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("writing to {path}: a task came to {files} files, which are too many")]
struct TooManyParts {
    path: String,
    files: u32,
    columns: String,
}

impl Cause for TooManyParts {
    fn kind(&self) -> Kind {
        Kind::Limit
    }
    fn hint(&self) -> Option<String> {
        Some(match &self.columns[..] {
            "" => "write fewer, larger files: with fewer threads".to_owned(),
            columns => {
                format!("partition by fewer columns than {columns}, or by what they have in common: a month of days")
            }
        })
    }
}
