//! Share: rows that several pipelines read, each all of them; and rows that later jobs read.
//!
//! In: morsels, without order. Out: the same rows to every reader, in batches of its own pace; kept until the last one is done, or, as
//! [`Cached`], until the last handle is dropped. Never: holds more than an eighth of the budget (cached rows: three eighths), as it cannot
//! give back what readers are reading: the rest goes to disk.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use super::{JobContext, Outcome, Sink, SinkThread, Source, SourceThread};
use crate::{
    batch::{Batch, Morsel, compacted, datatypes::SchemaRef, payload_bytes},
    error::Result,
    memory::Reservation,
    shuffle::{Run, RunReader, RunWriter},
};

/// The shared part: what the threads have handed over.
pub struct Share {
    context: JobContext,
    schema: SchemaRef,
    /// Who asks for memory.
    holder: &'static str,
    /// What one thread may keep in memory.
    thread_bytes: u64,
    /// Sources that are not closed yet.
    readers: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    batches: Vec<Batch>,
    runs: Vec<Arc<Run>>,
    reservations: Vec<Reservation>,
}

/// Of how many eighths of the budget shared rows may take one, and cached rows so many.
const EIGHTHS: u64 = 8;
const CACHED_EIGHTHS: u64 = 3;

impl Share {
    /// Rows of `schema`, none yet, for the pipelines of one job.
    pub fn new(schema: &SchemaRef, context: &JobContext) -> Arc<Share> {
        Share::held_by("shared rows", 1, schema, context)
    }

    /// Rows of `schema`, none yet, that are to be [taken](Share::taken).
    pub fn to_cache(schema: &SchemaRef, context: &JobContext) -> Arc<Share> {
        Share::held_by("cached rows", CACHED_EIGHTHS, schema, context)
    }

    fn held_by(holder: &'static str, eighths: u64, schema: &SchemaRef, context: &JobContext) -> Arc<Share> {
        let threads = context.settings.threads.max(1) as u64;
        Arc::new(Share {
            context: context.clone(),
            schema: Arc::clone(schema),
            holder,
            thread_bytes: context.settings.memory_bytes / EIGHTHS * eighths / threads,
            readers: AtomicUsize::new(0),
            kept: Mutex::default(),
        })
    }

    /// All rows, once they are in; leaves none.
    pub fn taken(&self) -> Arc<Cached> {
        let kept = mem::take(&mut *self.lock());
        let in_memory = kept.batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        let rows = in_memory + kept.runs.iter().map(|run| run.all_rows()).sum::<u64>();
        Arc::new(Cached { schema: Arc::clone(&self.schema), rows, kept })
    }

    /// Takes the rows in; first.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(ShareSink(Arc::clone(self)))
    }

    /// One of its readers; all are made before the first is closed.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        self.readers.fetch_add(1, SeqCst);
        Arc::new(ShareSource { share: Arc::clone(self), next: Arc::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ShareSink(Arc<Share>);

impl Sink for ShareSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let reservation = self.0.context.reservation(self.0.holder);
        Ok(Box::new(ShareThread { share: Arc::clone(&self.0), batches: Vec::new(), reservation, writer: None }))
    }
}

struct ShareThread {
    share: Arc<Share>,
    batches: Vec<Batch>,
    reservation: Reservation,
    writer: Option<RunWriter>,
}

impl ShareThread {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let Share { context, schema, holder, .. } = &*self.share;
        self.writer.get_or_insert_with(|| context.runs.begin(holder, schema)).append(0, batch)
    }

    /// What it holds goes to disk.
    fn write_all(&mut self) -> Result<()> {
        for batch in mem::take(&mut self.batches) {
            self.write(&batch)?;
        }
        self.reservation.resize(0)
    }
}

impl SinkThread for ShareThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() > 0 {
            let batch = compacted(&morsel.batch)?;
            let bytes = payload_bytes(&batch);
            if self.reservation.bytes() + bytes <= self.share.thread_bytes && self.reservation.try_grow(bytes) {
                self.batches.push(batch);
            } else {
                self.write_all()?;
                self.write(&batch)?;
            }
        }
        Ok(Outcome::More)
    }

    fn relieve(&mut self) -> Result<bool> {
        let holds = !self.batches.is_empty();
        self.write_all()?;
        Ok(holds)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let mut kept = self.share.lock();
        kept.batches.extend(self.batches);
        kept.reservations.push(self.reservation);
        if let Some(writer) = self.writer {
            let run = writer.finish()?;
            self.share.context.add_spilled_bytes(run.all_bytes());
            kept.runs.push(Arc::new(run));
        }
        Ok(())
    }
}

struct ShareSource {
    share: Arc<Share>,
    next: Arc<AtomicUsize>,
}

impl Source for ShareSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        Ok(Box::new(ReaderThread { rows: Arc::clone(&self.share), next: Arc::clone(&self.next), run: None }))
    }

    fn close(&self) {
        if self.share.readers.fetch_sub(1, SeqCst) == 1 {
            *self.share.lock() = Kept::default();
        }
    }
}

/// Rows by pieces.
trait Pieces: Send + Sync {
    /// The piece of this number; none behind the last one.
    fn piece(&self, number: usize) -> Option<Piece>;
}

/// What a thread reads at once.
enum Piece {
    Batch(Batch),
    Run(Arc<Run>),
}

impl Pieces for Kept {
    fn piece(&self, number: usize) -> Option<Piece> {
        match self.batches.get(number) {
            Some(batch) => Some(Piece::Batch(batch.clone())),
            None => self.runs.get(number - self.batches.len()).map(|run| Piece::Run(Arc::clone(run))),
        }
    }
}

impl Pieces for Share {
    fn piece(&self, number: usize) -> Option<Piece> {
        self.lock().piece(number)
    }
}

/// Rows that are kept beyond the job that made them: in memory as far as the budget had room, else on disk. Dropped with its last handle.
pub struct Cached {
    schema: SchemaRef,
    rows: u64,
    kept: Kept,
}

impl Cached {
    /// Their columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many they are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// They, for a pipeline.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(CachedSource { cached: Arc::clone(self), next: Arc::default() })
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cached({} rows)", self.rows)
    }
}

impl Pieces for Cached {
    fn piece(&self, number: usize) -> Option<Piece> {
        self.kept.piece(number)
    }
}

struct CachedSource {
    cached: Arc<Cached>,
    next: Arc<AtomicUsize>,
}

impl Source for CachedSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        Ok(Box::new(ReaderThread { rows: Arc::clone(&self.cached), next: Arc::clone(&self.next), run: None }))
    }
}

struct ReaderThread<P> {
    rows: Arc<P>,
    next: Arc<AtomicUsize>,
    /// The run that this thread reads.
    run: Option<RunReader>,
}

impl<P: Pieces> SourceThread for ReaderThread<P> {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        loop {
            if let Some(run) = &mut self.run {
                match run.next()? {
                    Some(batch) => return Ok((Some(batch.into()), Outcome::More)),
                    None => self.run = None,
                }
            }
            match self.rows.piece(self.next.fetch_add(1, Relaxed)) {
                Some(Piece::Batch(batch)) => return Ok((Some(batch.into()), Outcome::More)),
                Some(Piece::Run(run)) => self.run = Some(run.read(0)),
                None => return Ok((None, Outcome::Enough)),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        batch::array::{ArrayRef, AsArray, Int64Array},
        batch::datatypes::Int64Type,
        operator::testing,
    };

    fn read(source: &Arc<dyn Source>) -> Vec<i64> {
        let mut found = Vec::new();
        let mut threads = [source.thread().unwrap(), source.thread().unwrap()];
        let mut is_over = false;
        while !is_over {
            is_over = true;
            for thread in &mut threads {
                if let (Some(morsel), _) = thread.pull().unwrap() {
                    found.extend(morsel.batch.column(0).as_primitive::<Int64Type>().values());
                    is_over = false;
                }
            }
        }
        source.close();
        found.sort_unstable();
        found
    }

    #[test]
    fn every_reader_gets_all_rows_from_memory_and_from_disk() {
        for (memory_bytes, is_spilled) in [(64 << 20, false), (1 << 20, true)] {
            let context = testing::context_of(1_000, memory_bytes);
            let batch = |first: i64| {
                let column: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 1_000));
                Batch::try_from_iter([("n", column)]).unwrap()
            };
            let share = Share::new(&batch(0).schema(), &context);
            let (sink, sources) = (share.sink(), [share.source(), share.source()]);
            for half in 0..2 {
                let mut thread = sink.thread().unwrap();
                for number in 0..100 {
                    thread.push(batch((half * 100 + number) * 1_000).into()).unwrap();
                }
                thread.finish().unwrap();
            }
            assert_eq!(context.counters.report().spilled_bytes > 0, is_spilled);
            for source in &sources {
                assert!(read(source) == (0..200_000).collect::<Vec<_>>());
            }
            assert_eq!(context.governor.used_bytes(), 0);
        }
    }

    #[test]
    fn cached_rows_are_read_again_and_go_with_the_last_handle() {
        for (memory_bytes, is_spilled) in [(64 << 20, false), (1 << 20, true)] {
            let context = testing::context_of(1_000, memory_bytes);
            let batch = |first: i64| {
                let column: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 1_000));
                Batch::try_from_iter([("n", column)]).unwrap()
            };
            let share = Share::to_cache(&batch(0).schema(), &context);
            let mut thread = share.sink().thread().unwrap();
            (0..200).for_each(|number| drop(thread.push(batch(number * 1_000).into()).unwrap()));
            thread.finish().unwrap();
            let cached = share.taken();
            drop(share);
            assert_eq!((cached.rows(), context.runs.used_bytes() > 0), (200_000, is_spilled));
            for _ in 0..2 {
                assert!(read(&cached.source()) == (0..200_000).collect::<Vec<_>>());
            }
            drop(cached);
            assert_eq!((context.governor.used_bytes(), context.runs.used_bytes()), (0, 0));
        }
    }
}
