//! Writing: one part file a thread, encoded on the compute threads, written on the I/O threads.
//!
//! In: morsels. Out: part files aside, counted and digested, ready for the commit. Never: waits for the disk on a compute thread; when too
//! much is on its way the thread is told to wait.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::{Target, Written, commit::Commit};
use crate::{
    batch::{Morsel, datatypes::SchemaRef},
    error::{Result, bug},
    format::parquet::ParquetEncoder,
    memory::Reservation,
    operator::{JobContext, Outcome, Sink, SinkThread, Wake},
    shuffle::{AttemptKey, digest::Digest},
    store::{Appender, Io},
};

/// An output on its way.
pub struct Writing {
    schema: SchemaRef,
    io: Arc<Io>,
    context: JobContext,
    next_part: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    /// Taken by the commit.
    commit: Option<Commit>,
    parts: Vec<Appender>,
    digest: Digest,
}

impl Writing {
    /// Makes the temporary place; fails when the output is there already. With an attempt it is that attempt's share of its job's output.
    pub fn begin(
        target: &Target,
        attempt: Option<AttemptKey>,
        schema: &SchemaRef,
        io: &Arc<Io>,
        context: &JobContext,
    ) -> Result<Arc<Writing>> {
        let commit = match attempt {
            Some(key) => Commit::begin_attempt(target, key)?,
            None => Commit::begin(target)?,
        };
        let state = State { commit: Some(commit), parts: Vec::new(), digest: Digest::default() };
        Ok(Arc::new(Writing {
            schema: Arc::clone(schema),
            io: Arc::clone(io),
            context: context.clone(),
            next_part: AtomicUsize::new(0),
            state: Mutex::new(state),
        }))
    }

    /// The sink that feeds it.
    pub fn sink(self: Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(WriteSink(self))
    }

    /// Waits for the disk and makes the output visible. After the job has run, from outside of the compute threads.
    pub fn commit(&self) -> Result<Written> {
        let (commit, files, bytes, digest) = self.close()?;
        commit.commit(files, bytes, digest)
    }

    /// Waits for the disk; what the attempt has written, for the job's commit.
    pub fn manifest(&self) -> Result<Vec<u8>> {
        let (commit, files, bytes, digest) = self.close()?;
        commit.manifest(files, bytes, digest)
    }

    fn close(&self) -> Result<(Commit, usize, u64, Digest)> {
        let (commit, parts, digest) = {
            let mut state = self.lock();
            let commit = state.commit.take().ok_or_else(|| bug("sink", "an output committed twice"))?;
            (commit, std::mem::take(&mut state.parts), state.digest)
        };
        let files = parts.len();
        let bytes = parts.into_iter().map(Appender::close).sum::<Result<u64>>()?;
        Ok((commit, files, bytes, digest))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new part file.
    fn open_part(&self) -> Result<Part> {
        let number = self.next_part.fetch_add(1, Relaxed);
        let path = match &self.lock().commit {
            Some(commit) => commit.part(number),
            None => return Err(bug("sink", "a part after the commit")),
        };
        Ok(Part {
            encoder: ParquetEncoder::new(&self.schema)?,
            appender: Appender::create(&path, &self.io)?,
            digest: Digest::default(),
            reservation: self.context.reservation("writing Parquet"),
        })
    }
}

/// [`Writing`] as a sink.
struct WriteSink(Arc<Writing>);

impl Sink for WriteSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(WriteThread { part: self.0.open_part()?, shared: Arc::clone(&self.0) }))
    }

    fn finalize(&self) -> Result<Vec<crate::operator::Task>> {
        // An output without rows still tells its columns.
        if self.0.lock().parts.is_empty() {
            self.0.open_part()?.close(&self.0)?;
        }
        Ok(Vec::new())
    }
}

struct WriteThread {
    shared: Arc<Writing>,
    part: Part,
}

struct Part {
    encoder: ParquetEncoder,
    appender: Appender,
    digest: Digest,
    reservation: Reservation,
}

impl SinkThread for WriteThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() == 0 {
            return Ok(Outcome::More);
        }
        let part = &mut self.part;
        part.digest.merge(&Digest::of(&morsel.batch)?);
        self.shared.context.counters.add_rows_out(morsel.batch.num_rows());
        part.encoder.push(&morsel.batch)?;
        part.reservation.resize(part.encoder.held_bytes() as u64)?;
        let bytes = part.encoder.take();
        if !bytes.is_empty() && !part.appender.append(bytes)? {
            let wake = Wake::default();
            let rung = wake.clone();
            part.appender.when_room(move || rung.fire());
            return Ok(Outcome::Blocked(wake));
        }
        Ok(Outcome::More)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let WriteThread { shared, part } = *self;
        part.close(&shared)
    }
}

impl Part {
    fn close(self, shared: &Writing) -> Result<()> {
        self.appender.append(self.encoder.finish()?)?;
        let mut state = shared.lock();
        state.digest.merge(&self.digest);
        state.parts.push(self.appender);
        Ok(())
    }
}
