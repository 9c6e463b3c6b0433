//! Actions whose closures count: what they give, and what was counted on the way.
//!
//! In: a flow, and who takes what was counted. Out: rows, or files, and counts. Never: files that become visible with counts that were not
//! taken.

use std::time::Instant;

use super::{flow::Dataset, record::Record, session::Ran};
use crate::{
    error::{Result, bug},
    observe::Counted,
    sink::{Target, Written},
};

impl<T> Dataset<T> {
    /// As [`Dataset::write`], there.
    pub(crate) fn write_counted(
        &self,
        target: Target,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<(Written, Counted)> {
        let logical = self.logical().clone().written(target);
        match self.session().run_counted(logical, Instant::now(), accepts)? {
            (Ran::Written(written, _), counted) => Ok((written, counted)),
            _ => Err(bug("dataset", "a written flow gave rows")),
        }
    }
}

impl<T: Record> Dataset<T> {
    /// As [`Dataset::collect`].
    pub(crate) fn collect_counted(&self, accepts: &dyn Fn(&Counted) -> Result<()>) -> Result<(Vec<T>, Counted)> {
        let (ran, counted) = self.session().run_counted(self.logical().clone(), Instant::now(), accepts)?;
        Ok((ran.collected()?.records()?, counted))
    }
}
