//! Writing: part files, encoded on the compute threads, written on the I/O threads.
//!
//! In: morsels. Out: part files aside, counted and digested, ready for the commit. Never: waits for the disk on a compute thread; when too
//! much is on its way the thread is told to wait.
//!
//! A thread has a part of its own, in a partitioned output one for each folder of which it has rows. Of those it keeps a few open
//! ([`limits::OPEN_PARTS_MAX`] a task): the one that was used longest ago is ended for another, and its folder goes on in a new part. Rows in
//! the order of their folders come to few parts that way; rows in no order, of very many folders, to so many that the job ends with an error
//! ([`limits::PARTS_PER_TASK_MAX`]).

use std::{
    collections::BTreeMap,
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
    manifest::{Manifest, part_name},
};
use crate::{
    batch::{Batch, Morsel, datatypes::SchemaRef},
    error::{Cause, Kind, Result, bug},
    format::Encode,
    limits,
    memory::Reservation,
    operator::{JobContext, Outcome, Sink, SinkThread, Task, Wake},
    shuffle::{AttemptId, AttemptKey, StageId, TaskId, digest::Digest},
    store::{Appender, Io},
};

/// An output on its way.
pub struct Writing {
    target: Target,
    folders: Folders,
    io: Arc<Io>,
    context: JobContext,
    place: Place,
    next_part: AtomicU32,
    state: Mutex<State>,
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
        schema: &SchemaRef,
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
        Ok(Arc::new(Writing {
            target: target.clone(),
            folders: Folders::new(target, schema)?,
            io: Arc::clone(io),
            context: context.clone(),
            place,
            next_part: AtomicU32::new(0),
            state: Mutex::new(State { parts: Vec::new(), digest: Digest::default(), is_committed: false }),
        }))
    }

    /// The sink that feeds it.
    pub fn sink(self: Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(WriteSink(self))
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

    /// Files that a thread keeps open at once.
    fn open_parts_max(&self) -> usize {
        (limits::OPEN_PARTS_MAX / self.context.settings.threads).max(2)
    }

    /// A new part file.
    fn open_part(&self, folder: &str) -> Result<Part> {
        let number = self.next_part.fetch_add(1, Relaxed);
        if number >= limits::PARTS_PER_TASK_MAX {
            return Err(self.too_many_parts().into());
        }
        let name = part_name(&self.place.key(), number, self.target.format.ending());
        let path = self.place.beside().work.join(&name);
        let writers = if self.target.partitioned_by.is_empty() { 1 } else { limits::OPEN_PARTS_MAX };
        Ok(Part {
            encoder: self.target.format.encoder(self.folders.schema())?,
            appender: Appender::create(&path, limits::APPEND_BYTES_MAX / writers, &self.io)?,
            folder: folder.to_owned(),
            number,
            used: 0,
        })
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
struct WriteSink(Arc<Writing>);

impl Sink for WriteSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let shared = Arc::clone(&self.0);
        let reservation = shared.context.reservation("writing files");
        let (digest, turn) = (Digest::default(), 0);
        Ok(Box::new(WriteThread { shared, open: BTreeMap::new(), digest, reservation, turn }))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        // An output without rows still tells its columns.
        if self.0.lock().parts.is_empty() && self.0.target.partitioned_by.is_empty() {
            self.0.open_part("")?.close(&self.0)?;
        }
        Ok(Vec::new())
    }
}

struct WriteThread {
    shared: Arc<Writing>,
    /// By folder.
    open: BTreeMap<String, Part>,
    digest: Digest,
    reservation: Reservation,
    /// Counts batches, to know which part was used longest ago.
    turn: u64,
}

struct Part {
    encoder: Box<dyn Encode>,
    appender: Appender,
    folder: String,
    number: u32,
    /// The turn of its last batch.
    used: u64,
}

impl SinkThread for WriteThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        self.digest.merge(&Digest::of(&morsel.batch)?);
        self.shared.context.counters.add_rows_out(morsel.batch.num_rows());
        let mut full = None;
        for (folder, batch) in self.shared.folders.split(&morsel.batch)? {
            if !self.write(&folder, &batch)? {
                full = Some(folder);
            }
        }
        self.reserve()?;
        match full.and_then(|folder| self.open.get(&folder)) {
            Some(part) => {
                let wake = Wake::default();
                let rung = wake.clone();
                part.appender.when_room(move || rung.fire());
                Ok(Outcome::Blocked(wake))
            }
            None => Ok(Outcome::More),
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let WriteThread { shared, open, digest, .. } = *self;
        shared.lock().digest.merge(&digest);
        open.into_values().try_for_each(|part| part.close(&shared))
    }
}

impl WriteThread {
    /// Adds rows to the part of a folder. False when too much of it waits for the disk.
    fn write(&mut self, folder: &str, batch: &Batch) -> Result<bool> {
        self.turn += 1;
        if !self.open.contains_key(folder) {
            if self.open.len() >= self.shared.open_parts_max() {
                let oldest = self.open.iter().min_by_key(|(_, part)| part.used).map(|(folder, _)| folder.clone());
                if let Some(part) = oldest.and_then(|folder| self.open.remove(&folder)) {
                    part.close(&self.shared)?;
                }
            }
            self.open.insert(folder.to_owned(), self.shared.open_part(folder)?);
        }
        let part = self.open.get_mut(folder).ok_or_else(|| bug("sink", "a part that was just opened"))?;
        part.used = self.turn;
        part.encoder.push(batch)?;
        let bytes = part.encoder.take();
        if bytes.is_empty() { Ok(true) } else { part.appender.append(bytes) }
    }

    /// Accounts for what the encoders hold; where there are several, the largest are relieved of it when it is much.
    fn reserve(&mut self) -> Result<()> {
        let share = self.shared.context.settings.memory_bytes / limits::ENCODERS_SHARE;
        let most = share / self.shared.context.settings.threads as u64;
        loop {
            let held: u64 = self.open.values().map(|part| part.encoder.held_bytes() as u64).sum();
            if held <= most || self.open.len() < 2 {
                return self.reservation.resize(held);
            }
            let largest = self.open.values_mut().max_by_key(|part| part.encoder.held_bytes());
            let part = largest.ok_or_else(|| bug("sink", "no part among several"))?;
            let bytes = part.encoder.relieve()?;
            part.appender.append(bytes)?;
        }
    }
}

impl Part {
    fn close(self, shared: &Writing) -> Result<()> {
        self.appender.append(self.encoder.finish()?)?;
        self.appender.end();
        shared.lock().parts.push((self.folder, self.number, self.appender));
        Ok(())
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
        Some(format!("order the rows by {} before, or partition by columns of fewer values", self.columns))
    }
}
