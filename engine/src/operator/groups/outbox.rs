//! What a closure gave and nobody took yet: in memory, or on disk once memory is refused.
//!
//! In: batches. Out: the same batches, in order. Never: asks the closure to wait: it cannot stop in the middle of a group.

use std::{collections::VecDeque, sync::Arc};

use super::{GroupsError, GroupsSpec};
use crate::{
    batch::{Batch, payload_bytes},
    error::Result,
    memory::Reservation,
    operator::JobContext,
    shuffle::{RunReader, RunWriter},
};

/// See above.
pub(super) struct Outbox {
    context: JobContext,
    /// With what was granted for each.
    batches: VecDeque<(Batch, u64)>,
    reservation: Reservation,
    /// Once memory was refused: all that comes until it was taken.
    writer: Option<RunWriter>,
    reader: Option<RunReader>,
}

impl Outbox {
    pub(super) fn new(holder: &'static str, context: &JobContext) -> Outbox {
        let reservation = context.reservation(holder);
        Outbox { context: context.clone(), batches: VecDeque::new(), reservation, writer: None, reader: None }
    }

    /// Takes a batch of the closure of `spec`. Nothing may be left to be read of what was written before.
    pub(super) fn put(&mut self, batch: &Batch, spec: &GroupsSpec) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (found, wanted) = (batch.schema(), &spec.output);
        let is_wanted = found.fields().iter().map(|f| f.data_type()).eq(wanted.fields().iter().map(|f| f.data_type()));
        if !is_wanted {
            let (call_site, wanted) = (spec.call_site, Arc::clone(wanted));
            return Err(GroupsError::WrongSchema { call_site, found, wanted }.into());
        }
        let batch = batch.clone().with_schema(Arc::clone(wanted))?;
        let bytes = payload_bytes(&batch);
        if self.writer.is_none() {
            // A lone batch is handed on at once; it was made already.
            let is_granted = self.reservation.try_grow(bytes);
            if is_granted || self.batches.is_empty() {
                self.batches.push_back((batch, if is_granted { bytes } else { 0 }));
                return Ok(());
            }
        }
        let runs = &self.context.runs;
        self.writer.get_or_insert_with(|| runs.begin("groups", wanted)).append(0, &batch)
    }

    /// The next batch; none when all were taken.
    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        if let Some((batch, granted)) = self.batches.pop_front() {
            let left = self.reservation.bytes().saturating_sub(granted);
            self.reservation.resize(left)?;
            return Ok(Some(batch));
        }
        if let Some(writer) = self.writer.take() {
            let run = Arc::new(writer.finish()?);
            self.context.add_spilled_bytes(run.all_bytes());
            self.reader = Some(run.read(0));
        }
        let next = self.reader.as_mut().map_or(Ok(None), RunReader::next)?;
        if next.is_none() {
            self.reader = None;
        }
        Ok(next)
    }
}
