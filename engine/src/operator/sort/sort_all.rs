//! Sort: the whole input, in order.
//!
//! In: rows; each thread keeps its batches and writes their keys. Out: after one task that orders all of them, morsels in order.
//! Never: copies a row before it is given. (Deficit, until spilling comes: input and keys must fit the budget.)

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{
    keys::{SortKeys, SortSpec},
    order::{OrderOptions, Run},
    output::{Ordered, OrderedSource},
};
use crate::{
    batch::{Morsel, payload_bytes},
    error::{Result, bug},
    expression::Parameters,
    memory::Reservation,
    operator::{JobContext, Outcome, Sink, SinkThread, Source, Task},
};

/// The whole input, in order.
pub struct Sort {
    spec: SortSpec,
    context: JobContext,
    parameters: Arc<Parameters>,
    gathered: Mutex<Gathered>,
    ordered: Arc<OnceLock<Arc<Ordered>>>,
}

/// What the threads that have finished left.
struct Gathered {
    run: Run,
    reservation: Reservation,
}

/// Who asks for memory.
const HOLDER: &str = "sort";

impl Sort {
    /// The sort of `spec`.
    pub fn new(spec: &SortSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<Sort>> {
        // What a thread would fail with is known now.
        SortKeys::new(spec, parameters)?;
        Ok(Arc::new(Sort {
            spec: spec.clone(),
            context: context.clone(),
            parameters: Arc::clone(parameters),
            gathered: Mutex::new(Gathered { run: Run::default(), reservation: context.governor.reservation(HOLDER) }),
            ordered: Arc::default(),
        }))
    }

    /// Takes the input in.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Role(Arc::clone(self)))
    }

    /// Gives it in order, with positions of one split.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(OrderedSource::new(&self.ordered))
    }

    fn order(&self) -> Result<()> {
        let (run, mut reservation) = {
            let mut gathered = self.lock();
            let empty = self.context.governor.reservation(HOLDER);
            (std::mem::take(&mut gathered.run), std::mem::replace(&mut gathered.reservation, empty))
        };
        let options = OrderOptions {
            schema: &self.spec.schema,
            keys_are_content: self.spec.keys_are_content(),
            is_parallel: true,
        };
        let mut places = run.order(&options, &mut reservation)?;
        places.truncate(self.spec.skip.saturating_add(self.spec.fetch.unwrap_or(usize::MAX)));
        places.drain(..self.spec.skip.min(places.len()));
        let key_bytes = run.keys.iter().map(|keys| keys.size() as u64).sum::<u64>();
        drop(run.keys);
        let left = reservation.bytes().saturating_sub(key_bytes);
        reservation.resize(left)?;
        let ordered = Ordered {
            schema: Arc::clone(&self.spec.schema),
            batches: run.batches,
            places,
            rows_per_morsel: self.context.settings.rows_per_morsel.max(1),
            _reservation: reservation,
        };
        self.ordered.set(Arc::new(ordered)).map_err(|_| bug("sort", "it is sorted twice"))
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The role that takes the input in.
struct Role(Arc<Sort>);

impl Sink for Role {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let sort = Arc::clone(&self.0);
        Ok(Box::new(SortThread {
            keys: SortKeys::new(&sort.spec, &sort.parameters)?,
            run: Run::default(),
            reservation: sort.context.governor.reservation(HOLDER),
            sort,
        }))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        let sort = Arc::clone(&self.0);
        Ok(vec![Box::new(move || sort.order())])
    }
}

struct SortThread {
    sort: Arc<Sort>,
    keys: SortKeys,
    run: Run,
    reservation: Reservation,
}

impl SinkThread for SortThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if self.sort.spec.fetch == Some(0) {
            return Ok(Outcome::Enough);
        }
        let batch = morsel.batch;
        if batch.num_rows() > 0 {
            let keys = self.keys.encode(&batch)?;
            self.reservation.grow(payload_bytes(&batch) + keys.size() as u64)?;
            self.run.batches.push(batch);
            self.run.keys.push(keys);
        }
        Ok(Outcome::More)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let mut gathered = self.sort.lock();
        let bytes = self.reservation.bytes();
        drop(self.reservation);
        gathered.reservation.grow(bytes)?;
        gathered.run.batches.extend(self.run.batches);
        gathered.run.keys.extend(self.run.keys);
        Ok(())
    }
}
