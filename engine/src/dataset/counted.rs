//! Actions whose closures count: what they give, and what was counted on the way.
//!
//! In: a flow, and who takes what was counted. Out: rows, or files, and counts. Never: files that become visible with counts that were not
//! taken.

use std::{path::PathBuf, time::Instant};

use super::{
    flow::Dataset,
    record::{Columns, Record},
    session::Ran,
};
use crate::{
    error::{Result, bug},
    format::FileFormat,
    observe::Counted,
    sink::{Target, Written},
};

impl<T> Dataset<T> {
    /// As [`Dataset::write_parquet`].
    pub(crate) fn write_counted(
        &self,
        path: PathBuf,
        accepts: &dyn Fn(&Counted) -> Result<()>,
    ) -> Result<(Written, Counted)> {
        let logical = self.logical().clone().written(Target::new(path, FileFormat::Parquet));
        match self.session().run_counted(logical, Instant::now(), accepts)? {
            (Ran::Written(written, _), counted) => Ok((written, counted)),
            (Ran::Collected(_), _) => Err(bug("dataset", "a written flow gave rows")),
        }
    }
}

impl<T: Record> Dataset<T> {
    /// As [`Dataset::collect`].
    pub(crate) fn collect_counted(&self, accepts: &dyn Fn(&Counted) -> Result<()>) -> Result<(Vec<T>, Counted)> {
        let (ran, counted) = self.session().run_counted(self.logical().clone(), Instant::now(), accepts)?;
        let answer = ran.collected()?;
        let mut rows = Vec::with_capacity(answer.rows());
        for batch in &answer.batches {
            let reader = T::reader(&mut Columns::of(batch))?;
            rows.extend((0..batch.num_rows()).map(|row| T::from_view(T::view(&reader, row))));
        }
        Ok((rows, counted))
    }
}
