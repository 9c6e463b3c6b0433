//! Collect: the answer, in memory; Scalar: one value, for a parameter.
//!
//! In: morsels. Out: batches, in order of their positions where they have one. Never: more than the budget allows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{JobContext, Outcome, Sink, SinkThread};
use crate::{
    batch::{Batch, Morsel, compacted, payload_bytes},
    error::{Cause, Kind, Result},
    expression::{Literal, Parameters},
    memory::Reservation,
};

/// The shared part: what the threads have handed over.
pub struct Collect {
    context: JobContext,
    collected: Mutex<Collected>,
}

#[derive(Default)]
struct Collected {
    morsels: Vec<Morsel>,
    reservations: Vec<Reservation>,
}

impl Collect {
    /// Nothing collected yet.
    pub fn new(context: &JobContext) -> Arc<Collect> {
        Arc::new(Collect { context: context.clone(), collected: Mutex::default() })
    }

    /// What was collected; leaves nothing. Rows of a sorted input stand in its order.
    pub fn take(&self) -> Vec<Batch> {
        let mut collected = std::mem::take(&mut *self.lock());
        collected.morsels.sort_by_key(|morsel| morsel.position);
        collected.morsels.into_iter().map(|morsel| morsel.batch).filter(|batch| batch.num_rows() > 0).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// [`Collect`] as a sink: the state is shared with whoever takes the answer.
pub struct CollectSink(pub Arc<Collect>);

impl Sink for CollectSink {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        let reservation = self.0.context.reservation("the collected answer");
        Ok(Box::new(CollectThread { shared: Arc::clone(&self.0), morsels: Vec::new(), reservation }))
    }
}

struct CollectThread {
    shared: Arc<Collect>,
    morsels: Vec<Morsel>,
    reservation: Reservation,
}

impl SinkThread for CollectThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if morsel.batch.num_rows() > 0 {
            let morsel = Morsel { batch: compacted(&morsel.batch)?, ..morsel };
            self.reservation.grow(payload_bytes(&morsel.batch))?;
            self.shared.context.counters.add_rows_out(morsel.batch.num_rows());
            self.morsels.push(morsel);
        }
        Ok(Outcome::More)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let mut collected = self.shared.lock();
        collected.morsels.extend(self.morsels);
        collected.reservations.push(self.reservation);
        Ok(())
    }
}

/// One row of one column becomes a parameter's value; no row becomes NULL.
pub struct Scalar {
    parameters: Arc<Parameters>,
    number: usize,
    collect: Arc<Collect>,
}

impl Scalar {
    /// The value goes to parameter `number`.
    pub fn new(number: usize, parameters: &Arc<Parameters>, context: &JobContext) -> Arc<Scalar> {
        let collect = Arc::new(Collect {
            context: JobContext { counters: Arc::default(), ..context.clone() },
            collected: Mutex::default(),
        });
        Arc::new(Scalar { parameters: Arc::clone(parameters), number, collect })
    }
}

impl Sink for Scalar {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        CollectSink(Arc::clone(&self.collect)).thread()
    }

    fn finalize(&self) -> Result<Vec<super::Task>> {
        let batches = self.collect.take();
        let rows: usize = batches.iter().map(Batch::num_rows).sum();
        if rows > 1 {
            return Err(TooManyRows { rows }.into());
        }
        let value = match batches.first() {
            Some(batch) => Literal::from_array(batch.column(0), 0)?,
            None => Literal::null(self.parameters.data_type(self.number)?)?,
        };
        self.parameters.set(self.number, value)?;
        Ok(Vec::new())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a scalar subquery gave {rows} rows; it may give one at most")]
struct TooManyRows {
    rows: usize,
}

impl Cause for TooManyRows {
    fn kind(&self) -> Kind {
        Kind::Job
    }
    fn hint(&self) -> Option<String> {
        Some("add a limit or an aggregate to the subquery, or use IN".to_owned())
    }
}
