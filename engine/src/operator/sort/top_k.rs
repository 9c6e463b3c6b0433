//! TopK: the first rows of an order, in memory that does not grow with the input.
//!
//! In: rows. Out: the first `fetch` after `skip`, in order. Never: keeps many more than a few times `skip + fetch` rows a thread.
//!
//! A thread keeps what may still be among the first; when that is too much it sorts it and keeps the first `skip + fetch`. The key
//! of the last of them is a bound: a row with a greater key can never be among the first. Threads share the least bound. Rows whose
//! key is equal to the bound are kept, as their content decides; so the bound never changes what is given, only how soon a row goes.
//!
//! Where memory is refused a thread sorts early; rows that then still do not fit go to disk as a sort's do, and the bound stays.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    bound::BoundTest,
    gather::Gather,
    keys::SortSpec,
    order::Pile,
    output::SortedSource,
    shared::{Part, Shared, Ties},
};
use crate::{
    batch::{Batch, Morsel, array::UInt32Array, datatypes::SchemaRef, take_rows},
    error::{Kind, Result, bug},
    expression::Parameters,
    format::RowTest,
    memory::Revoked,
    operator::{JobContext, Outcome, Sink, SinkThread, Source, Task},
};

/// The first rows of an order.
pub struct TopK {
    shared: Arc<Shared>,
    /// Rows with a greater key are not among the first.
    bound: Mutex<Option<Arc<[u8]>>>,
}

/// Rows a thread keeps at least before it sorts them: enough that sorting is rare, so few that scans soon know a near bound.
const KEPT_ROWS_MIN: usize = 256;

impl TopK {
    /// The first rows of `spec`, which has a `fetch`.
    pub fn new(spec: &SortSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<TopK>> {
        if spec.fetch.is_none() {
            return Err(bug("top-k", "it has no fetch"));
        }
        Ok(Arc::new(TopK {
            shared: Shared::new("top-k", Ties::Broken, spec, context, parameters)?,
            bound: Mutex::default(),
        }))
    }

    /// Takes the input in.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(Role(Arc::clone(self)))
    }

    /// Gives the first rows in order, with positions of one split each.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(SortedSource(Arc::clone(&self.shared)))
    }

    /// A test of the rows that a scan gives this top-k, by its first keys; `places`: where their columns stand in `schema`, the scan's.
    pub fn bound_test(self: &Arc<Self>, places: &[usize], schema: &SchemaRef) -> Result<Arc<dyn RowTest>> {
        let keys = &self.shared.spec.keys;
        if places.is_empty() || places.len() > keys.len() {
            return Err(bug("top-k", "a bound of more keys than there are, or of none"));
        }
        Ok(Arc::new(BoundTest::new(self, keys, places, schema)?))
    }

    pub(super) fn bound(&self) -> Option<Arc<[u8]>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lower_bound(&self, key: &[u8]) {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if bound.as_ref().is_none_or(|bound| key < &**bound) {
            *bound = Some(key.into());
        }
    }
}

/// The role that takes the input in.
struct Role(Arc<TopK>);

impl Sink for Role {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(TopKThread { part: self.0.shared.part()?, top: Arc::clone(&self.0) }))
    }

    fn held_bytes(&self) -> u64 {
        self.0.shared.revocation.held_bytes()
    }

    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        Ok(self.0.shared.revocation.ask(bytes))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        Ok(self.0.shared.finalize())
    }
}

struct TopKThread {
    top: Arc<TopK>,
    part: Part,
}

impl TopKThread {
    /// Keeps the rows of `batch` that are not beyond the bound.
    fn keep(&mut self, batch: Batch) -> Result<()> {
        let mut keys = self.part.keys.encode(&batch)?;
        let mut batch = batch;
        if let Some(bound) = self.top.bound() {
            let is_within = |row: &u32| keys.row(*row as usize).data() <= &*bound;
            let within: Vec<u32> = (0..batch.num_rows() as u32).filter(is_within).collect();
            if within.is_empty() {
                return Ok(());
            }
            if within.len() < batch.num_rows() {
                batch = take_rows(&batch, &UInt32Array::from(within))?;
                keys = self.part.keys.encode(&batch)?;
            }
        }
        if let Err(keys) = self.part.try_add(&batch, keys) {
            if self.part.pile.rows() > self.rows() {
                self.compact()?;
            }
            self.part.add(&batch, keys)?;
        }
        Ok(())
    }

    /// Keeps the first rows only, as one batch.
    fn compact(&mut self) -> Result<()> {
        let shared = &self.top.shared;
        let mut places = match self.part.pile.order(&shared.order_options(false), &mut self.part.reservation) {
            Ok(places) => places,
            // There is no room to break the ties of so many rows at once.
            Err(error) if error.kind() == Kind::Limit => return self.part.spill(),
            Err(error) => return Err(error),
        };
        let pile = std::mem::take(&mut self.part.pile);
        places.truncate(self.rows());
        if let Some(last) = places.get(self.rows().saturating_sub(1)) {
            self.top.lower_bound(pile.key(last));
        }
        let batch = Gather::new(&shared.spec.schema, pile.batches).rows(&places)?;
        drop(pile.keys);
        let keys = self.part.keys.encode(&batch)?;
        let bytes = Pile::bytes_of(&batch, &keys);
        self.part.replace(Pile { batches: vec![batch], keys: vec![keys] }, bytes)
    }

    /// Rows that decide.
    fn rows(&self) -> usize {
        self.top.shared.wanted_rows()
    }
}

impl SinkThread for TopKThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if self.top.shared.spec.fetch == Some(0) {
            return Ok(Outcome::Enough);
        }
        if morsel.batch.num_rows() > 0 {
            self.keep(morsel.batch)?;
        }
        if self.part.pile.rows() > self.rows().saturating_mul(2).max(KEPT_ROWS_MIN) {
            self.compact()?;
        }
        Ok(Outcome::More)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.part.pile.rows() > self.rows() {
            self.compact()?;
        }
        self.part.finish();
        Ok(())
    }
}
