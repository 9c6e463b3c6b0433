//! TopK: the first rows of an order, in memory that does not grow with the input.
//!
//! In: rows. Out: the first `fetch` after `skip`, in order. Never: keeps many more than a few times `skip + fetch` rows a thread.
//!
//! A thread keeps what may still be among the first; when that is too much it sorts it and keeps the first `skip + fetch`. The key
//! of the last of them is a bound: a row with a greater key can never be among the first. Threads share the least bound. Rows whose
//! key is equal to the bound are kept, as their content decides; so the bound never changes what is given, only how soon a row goes.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{
    keys::{SortKeys, SortSpec},
    order::{OrderOptions, Place, Run, rows_at},
    output::{Ordered, OrderedSource},
};
use crate::{
    batch::{Batch, Morsel, array::UInt32Array, payload_bytes, take_rows},
    error::{Result, bug},
    expression::Parameters,
    memory::Reservation,
    operator::{JobContext, Outcome, Sink, SinkThread, Source, Task},
};

/// The first rows of an order.
pub struct TopK {
    spec: SortSpec,
    /// Rows that decide: those skipped and those given.
    rows: usize,
    context: JobContext,
    parameters: Arc<Parameters>,
    gathered: Mutex<Gathered>,
    /// Rows with a greater key are not among the first.
    bound: Mutex<Option<Arc<[u8]>>>,
    ordered: Arc<OnceLock<Arc<Ordered>>>,
}

/// What the threads that have finished left.
struct Gathered {
    run: Run,
    reservation: Reservation,
}

/// Who asks for memory.
const HOLDER: &str = "top-k";
/// Rows a thread keeps at least before it sorts them: enough that sorting is rare.
const KEPT_ROWS_MIN: usize = 4_096;

impl TopK {
    /// The first rows of `spec`, which has a `fetch`.
    pub fn new(spec: &SortSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<TopK>> {
        let Some(fetch) = spec.fetch else { return Err(bug("top-k", "it has no fetch")) };
        // What a thread would fail with is known now.
        SortKeys::new(spec, parameters)?;
        Ok(Arc::new(TopK {
            spec: spec.clone(),
            rows: spec.skip.saturating_add(fetch),
            context: context.clone(),
            parameters: Arc::clone(parameters),
            gathered: Mutex::new(Gathered { run: Run::default(), reservation: context.governor.reservation(HOLDER) }),
            bound: Mutex::default(),
            ordered: Arc::default(),
        }))
    }

    /// Takes the input in.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Role(Arc::clone(self)))
    }

    /// Gives the first rows in order, with positions of one split.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(OrderedSource::new(&self.ordered))
    }

    fn order(&self) -> Result<()> {
        let (run, mut reservation) = {
            let mut gathered = self.lock();
            let empty = self.context.governor.reservation(HOLDER);
            (std::mem::take(&mut gathered.run), std::mem::replace(&mut gathered.reservation, empty))
        };
        let mut places = self.first(&run, &mut reservation)?;
        places.drain(..self.spec.skip.min(places.len()));
        let ordered = Ordered {
            schema: Arc::clone(&self.spec.schema),
            batches: run.batches,
            places,
            rows_per_morsel: self.context.settings.rows_per_morsel.max(1),
            _reservation: reservation,
        };
        self.ordered.set(Arc::new(ordered)).map_err(|_| bug("top-k", "it is sorted twice"))
    }

    /// Where the first rows of `run` stand, in order.
    fn first(&self, run: &Run, reservation: &mut Reservation) -> Result<Vec<Place>> {
        let options = OrderOptions {
            schema: &self.spec.schema,
            keys_are_content: self.spec.keys_are_content(),
            is_parallel: false,
        };
        let mut places = run.order(&options, reservation)?;
        places.truncate(self.rows);
        Ok(places)
    }

    fn bound(&self) -> Option<Arc<[u8]>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lower_bound(&self, key: &[u8]) {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if bound.as_ref().is_none_or(|bound| key < &**bound) {
            *bound = Some(key.into());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The role that takes the input in.
struct Role(Arc<TopK>);

impl Sink for Role {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let top = Arc::clone(&self.0);
        Ok(Box::new(TopKThread {
            keys: SortKeys::new(&top.spec, &top.parameters)?,
            run: Run::default(),
            rows: 0,
            reservation: top.context.governor.reservation(HOLDER),
            top,
        }))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let top = Arc::clone(&self.0);
        Ok(vec![Box::new(move || top.order())])
    }
}

struct TopKThread {
    top: Arc<TopK>,
    keys: SortKeys,
    run: Run,
    /// Rows of `run`.
    rows: usize,
    reservation: Reservation,
}

impl TopKThread {
    /// Keeps the rows of `batch` that are not beyond the bound.
    fn keep(&mut self, batch: Batch) -> Result<()> {
        let mut keys = self.keys.encode(&batch)?;
        let mut batch = batch;
        if let Some(bound) = self.top.bound() {
            let is_within = |row: &u32| keys.row(*row as usize).data() <= &*bound;
            let within: Vec<u32> = (0..batch.num_rows() as u32).filter(is_within).collect();
            if within.is_empty() {
                return Ok(());
            }
            if within.len() < batch.num_rows() {
                batch = take_rows(&batch, &UInt32Array::from(within))?;
                keys = self.keys.encode(&batch)?;
            }
        }
        self.reservation.grow(payload_bytes(&batch) + keys.size() as u64)?;
        self.rows += batch.num_rows();
        self.run.batches.push(batch);
        self.run.keys.push(keys);
        Ok(())
    }

    /// Keeps the first rows only, as one batch.
    fn compact(&mut self) -> Result<()> {
        let run = std::mem::take(&mut self.run);
        let places = self.top.first(&run, &mut self.reservation)?;
        if let Some(last) = places.get(self.top.rows.saturating_sub(1)) {
            self.top.lower_bound(run.key(last));
        }
        let batch = rows_at(&self.top.spec.schema, &run.batches, &places)?;
        drop(run);
        self.rows = batch.num_rows();
        let keys = self.keys.encode(&batch)?;
        self.reservation.resize(payload_bytes(&batch) + keys.size() as u64)?;
        self.run = Run { batches: vec![batch], keys: vec![keys] };
        Ok(())
    }
}

impl SinkThread for TopKThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if self.top.spec.fetch == Some(0) {
            return Ok(Outcome::Enough);
        }
        if morsel.batch.num_rows() > 0 {
            self.keep(morsel.batch)?;
        }
        if self.rows > self.top.rows.saturating_mul(2).max(KEPT_ROWS_MIN) {
            self.compact()?;
        }
        Ok(Outcome::More)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.rows > self.top.rows {
            self.compact()?;
        }
        let mut gathered = self.top.lock();
        let bytes = self.reservation.bytes();
        drop(self.reservation);
        gathered.reservation.grow(bytes)?;
        gathered.run.batches.extend(self.run.batches);
        gathered.run.keys.extend(self.run.keys);
        Ok(())
    }
}
