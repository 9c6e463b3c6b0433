//! Share: rows that several pipelines read, each all of them.
//!
//! In: morsels, without order. Out: the same rows to every reader, in batches of its own pace; kept until the last one is done. Never: holds
//! more than an eighth of the budget, as it cannot give back what readers are reading: the rest goes to disk.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicUsize,
        Ordering::{Relaxed, SeqCst},
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

/// Who asks for memory.
const HOLDER: &str = "shared rows";

impl Share {
    /// Rows of `schema`, none yet.
    pub fn new(schema: &SchemaRef, context: &JobContext) -> Arc<Share> {
        let thread_bytes = context.settings.memory_bytes / 8 / context.settings.threads.max(1) as u64;
        let (readers, kept) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Share { context: context.clone(), schema: Arc::clone(schema), thread_bytes, readers, kept })
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
        let reservation = self.0.context.reservation(HOLDER);
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
        let Share { context, schema, .. } = &*self.share;
        self.writer.get_or_insert_with(|| context.runs.begin(HOLDER, schema)).append(0, batch)
    }

    /// What it holds goes to disk.
    fn write_all(&mut self) -> Result<()> {
        for batch in std::mem::take(&mut self.batches) {
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
        Ok(Box::new(ReaderThread { share: Arc::clone(&self.share), next: Arc::clone(&self.next), run: None }))
    }

    fn close(&self) {
        if self.share.readers.fetch_sub(1, SeqCst) == 1 {
            *self.share.lock() = Kept::default();
        }
    }
}

struct ReaderThread {
    share: Arc<Share>,
    next: Arc<AtomicUsize>,
    /// The run that this thread reads.
    run: Option<RunReader>,
}

impl SourceThread for ReaderThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        loop {
            if let Some(run) = &mut self.run {
                match run.next()? {
                    Some(batch) => return Ok((Some(batch.into()), Outcome::More)),
                    None => self.run = None,
                }
            }
            let number = self.next.fetch_add(1, Relaxed);
            let kept = self.share.lock();
            if let Some(batch) = kept.batches.get(number) {
                return Ok((Some(batch.clone().into()), Outcome::More));
            }
            match kept.runs.get(number - kept.batches.len()) {
                Some(run) => self.run = Some(run.read(0)),
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
}
