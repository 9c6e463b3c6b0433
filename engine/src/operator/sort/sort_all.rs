//! Sort: the whole input, in order.
//!
//! In: rows; each thread keeps its batches and writes their keys. Out: morsels in order. Never: copies a row in memory before it is given.
//!
//! ```text
//!   push     batch, keys ──► pile ──(memory is refused, or wanted back)──► sorted, written as runs
//!   finish   what is left of the pile, and the runs, to the others ([`Shared`])
//! ```

use std::sync::Arc;

use super::{
    keys::SortSpec,
    output::SortedSource,
    rows::SortedRows,
    shared::{Part, Shared, Ties},
};
use crate::{
    batch::{Morsel, compacted},
    error::Result,
    expression::Parameters,
    memory::Revoked,
    operator::{JobContext, Outcome, Sink, SinkThread, Source, Task},
};

/// The whole input, in order.
pub struct Sort(Arc<Shared>);

impl Sort {
    /// The sort of `spec`.
    pub fn new(spec: &SortSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<Sort>> {
        Ok(Arc::new(Sort(Shared::new("sort", Ties::Broken, spec, context, parameters)?)))
    }

    /// The sort by which another operator, `holder`, puts its input in order.
    pub fn within(
        holder: &'static str,
        ties: Ties,
        spec: &SortSpec,
        context: &JobContext,
        parameters: &Arc<Parameters>,
    ) -> Result<Sort> {
        Ok(Sort(Shared::new(holder, ties, spec, context, parameters)?))
    }

    /// What it gives, once it is sealed, for one who cuts it himself. Not beside [`Sort::source`].
    pub fn rows(&self) -> Result<SortedRows> {
        SortedRows::new(&self.0)
    }

    /// Nobody asks for rows any more.
    pub fn close(&self) {
        self.0.output.close();
    }

    /// Takes the input in.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(Role(Arc::clone(&self.0)))
    }

    /// Gives it in order, with positions of one split each.
    pub fn source(&self) -> Arc<dyn Source> {
        Arc::new(SortedSource(Arc::clone(&self.0)))
    }
}

/// The role that takes the input in.
struct Role(Arc<Shared>);

impl Sink for Role {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(SortThread(self.0.part()?)))
    }

    fn held_bytes(&self) -> u64 {
        self.0.revocation.held_bytes()
    }

    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        Ok(self.0.revocation.ask(bytes))
    }

    fn finalize(&self) -> Result<Vec<Task>> {
        Ok(self.0.finalize())
    }
}

struct SortThread(Part);

impl SinkThread for SortThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        if self.0.shared.spec.fetch == Some(0) {
            return Ok(Outcome::Enough);
        }
        if morsel.batch.num_rows() > 0 {
            let batch = compacted(&morsel.batch)?;
            let keys = self.0.keys.encode(&batch)?;
            self.0.add(&batch, keys)?;
        }
        Ok(Outcome::More)
    }

    fn relieve(&mut self) -> Result<bool> {
        self.0.relieve()
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.finish();
        Ok(())
    }
}
