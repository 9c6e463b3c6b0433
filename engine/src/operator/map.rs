//! MapBatches: the user's closure over whole batches.
//!
//! In: morsels. Out: what the closure gives, any number of batches; positions are lost, since rows may be dropped or added. Never:
//! trusts the closure: a batch of another schema is the job's error.

use std::{fmt, sync::Arc};

use super::{Next, Outcome, Transform, TransformThread};
use crate::{
    batch::{Batch, Morsel, datatypes::SchemaRef},
    error::{Cause, Kind, Result},
};

/// A closure over batches as operators see it. Called in parallel.
pub trait BatchFunction: Send + Sync {
    /// What the batch becomes, given to `emit` in as many batches as it likes.
    fn call(&self, batch: &Batch, emit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<()>;
}

impl<F: Fn(&Batch, &mut dyn FnMut(Batch) -> Result<()>) -> Result<()> + Send + Sync> BatchFunction for F {
    fn call(&self, batch: &Batch, emit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<()> {
        self(batch, emit)
    }
}

/// The shared part: the closure and what it must give.
#[derive(Clone)]
pub struct MapBatches {
    function: Arc<dyn BatchFunction>,
    output: SchemaRef,
    call_site: &'static str,
}

impl MapBatches {
    /// `output`: the schema that the closure's batches must have; `call_site` names it in errors.
    pub fn new(function: Arc<dyn BatchFunction>, output: SchemaRef, call_site: &'static str) -> Arc<MapBatches> {
        Arc::new(MapBatches { function, output, call_site })
    }
}

impl fmt::Debug for MapBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MapBatches({})", self.call_site)
    }
}

impl Transform for MapBatches {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        Ok(Box::new(self.clone()))
    }
}

impl TransformThread for MapBatches {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::More;
        let (output, call_site) = (&self.output, self.call_site);
        self.function.call(&morsel.batch, &mut |batch| {
            let (found, wanted) = (batch.schema(), output);
            let types = |schema: &SchemaRef| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
            if types(&found) != types(wanted) {
                return Err(WrongSchema { call_site, found, wanted: Arc::clone(wanted) }.into());
            }
            if batch.num_rows() > 0 && !matches!(outcome, Outcome::Enough) {
                let batch = batch.with_schema(Arc::clone(wanted))?;
                outcome = next(batch.into())?;
            }
            Ok(())
        })?;
        Ok(outcome)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the closure at {call_site} gave columns {found:?}, but its output was declared as {wanted:?}")]
struct WrongSchema {
    call_site: &'static str,
    found: SchemaRef,
    wanted: SchemaRef,
}

impl Cause for WrongSchema {
    fn kind(&self) -> Kind {
        Kind::Job
    }
}
