//! Rows that are looked at again: cache for later flows, checkpoint for later runs, broadcast for closures.
//!
//! In: a flow, which is run at once. Out: the same rows, made already. Never: on a cluster a row that one process alone has: what is cached
//! there are files of the job.

use std::{ops::Deref, path::PathBuf, sync::Arc};

use super::{flow::Dataset, record::Record};
use crate::{
    error::Result,
    plan::logical::{Logical, Node},
};

impl<T> Dataset<T> {
    /// Runs the flow now and keeps its rows: flows that begin with what this gives do not run it again.
    ///
    /// In one process they stay in memory as far as three eighths of the budget hold them, else on disk, and go with the last dataset that has
    /// them. A program on a cluster writes them to files in the folder that it was started in, which every worker must see, and removes these
    /// when it ends; of one that is killed or cancelled `.windrow-cache-JOB-…` stays there.
    pub fn cache(self) -> Result<Dataset<T>> {
        let session = self.session().clone();
        let cached = session.cache(self.logical().clone())?;
        Ok(Dataset::new(session, cached))
    }
}

impl<T> Dataset<T> {
    /// As [`Dataset::cache`], in the folder `path`, where the rows stay: a later run of the program that finds them there whole reads them, and does
    /// not run the flow.
    ///
    /// They appear there at once when all are written, as every output does, with `_SUCCESS`, which says their columns; a folder of rows of other
    /// columns is an error. What a run has left half done, or what has lost a file since, is done again. Whether the flow or its input has changed
    /// otherwise nobody looks: then it is for the program to name another path.
    pub fn checkpoint(self, path: impl Into<PathBuf>) -> Result<Dataset<T>> {
        let session = self.session().clone();
        let kept = session.checkpoint(self.logical().clone(), path.into())?;
        Ok(Dataset::new(session, kept))
    }
}

impl<T: Record> Dataset<T> {
    /// Runs the flow now and gives its rows to closures, as a slice that they all see:
    ///
    /// ```no_run
    /// # fn main() -> windrow::Result<()> {
    /// # let session = windrow::Session::new(windrow::Settings::default())?;
    /// # let (words, sales) = (session.from_vec(vec![1i64])?, session.from_vec(vec![2i64])?);
    /// let known = words.broadcast()?;
    /// let kept = sales.filter(move |sale| known.binary_search(&sale).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// They are in the order of a flow that ends in a sort, else by content. On a cluster every process has all of them, and plans carry them:
    /// they are meant to be few beside what they are looked up for.
    pub fn broadcast(&self) -> Result<Broadcast<T>> {
        let mut logical = self.logical().clone();
        if !matches!(logical.node, Node::Sort { .. }) {
            let schema = Arc::clone(&logical.schema);
            let node = Node::Sort { input: Box::new(logical), keys: Vec::new(), skip: 0, fetch: None };
            logical = Logical { node, schema };
        }
        Ok(Broadcast(self.run(logical)?.records()?.into()))
    }
}

/// Rows that closures look into. Cheap to clone.
#[derive(Debug)]
pub struct Broadcast<T>(Arc<[T]>);

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Broadcast<T> {
        Broadcast(Arc::clone(&self.0))
    }
}

impl<T> Deref for Broadcast<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}
