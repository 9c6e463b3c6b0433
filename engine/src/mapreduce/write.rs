//! What a job gives, in files.
//!
//! In: a job, an output as it was described. Out: the folder, all at once, and what was counted. Never: named outputs beside those that are there.

use super::{
    error::MapReduceError,
    job::{Finished, Reduced},
    map_side::check_skipped,
    outputs::write_outputs,
};
use crate::{
    dataset::{Record, Writes},
    error::Result,
    observe::Counted,
    sink::{IfExists, Target},
};

impl<U: Record> Writes for Reduced<U> {
    type Told = Finished;

    fn write_to(&self, target: Target) -> Result<Finished> {
        let Reduced { rows, setup, tags, is_lazy, .. } = self;
        match tags {
            Some(_) if target.if_exists != IfExists::Fail => Err(MapReduceError::OutputsOverOutput.into()),
            Some(_) if !target.partitioned_by.is_empty() => Err(MapReduceError::OutputsPartitioned.into()),
            Some(tags) => write_outputs(rows, tags, (setup, *is_lazy), target),
            None => {
                let accepts = |counted: &Counted| check_skipped(setup, counted.skipped);
                let (written, counted) = rows.write_counted(target, &accepts)?;
                Ok(Finished::new(Some(written), counted))
            }
        }
    }
}
