//! Mappers as a closure over splits.
//!
//! In: the rows of a split. Out: what the mapper emits of them, in batches, through the combiner if there is one. Never: takes a panic of the rest
//! of the pipeline for one of the mapper.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use super::{
    context::{Context, Place, Setup, Task},
    error::MapReduceError,
    mapper::Mapper,
    outputs::Tags,
};
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    dataset::{Columns, Emitter, Record, message_of, record_text},
    error::Result,
    observe::Counters,
    operator::{
        Emit,
        splits::{SplitCalls, SplitFunction, SplitPlace},
    },
};

/// What becomes of what a mapper emits, before it goes on.
pub(super) trait Afterwards: Send {
    /// Some of what was emitted in a split.
    fn push(&mut self, batch: Batch, task: &Task, emit: Emit<'_>) -> Result<()>;
    /// It was all.
    fn finish(&mut self, task: &Task, emit: Emit<'_>) -> Result<()>;
}

/// Makes one for each split.
pub(super) type MakeAfterwards = Arc<dyn Fn() -> Result<Box<dyn Afterwards>> + Send + Sync>;

/// A mapper that was not cloned yet.
pub(super) struct MapSide<M: Mapper> {
    pub(super) mapper: M,
    pub(super) setup: Arc<Setup>,
    /// The columns of what the mapper emits.
    pub(super) schema: SchemaRef,
    pub(super) rows_max: usize,
    pub(super) afterwards: Option<MakeAfterwards>,
    /// The outputs, if it is the last of the job's code and there are several.
    pub(super) tags: Option<Arc<Tags>>,
}

impl<M: Mapper> SplitFunction for MapSide<M> {
    fn open(&self, place: Option<SplitPlace>, counters: &Arc<Counters>) -> Result<Box<dyn SplitCalls>> {
        // What rows come together is told by files alone, where they come from files: only then are they combined, so that a task that is
        // run again makes the same rows.
        let makes = self.afterwards.as_ref().filter(|_| place.is_some());
        Ok(Box::new(Mapping {
            mapper: self.mapper.clone(),
            task: Task::new(("mapper", self.mapper.name()), Place::Split(place), (&self.setup, &self.tags), counters),
            schema: Arc::clone(&self.schema),
            rows_max: self.rows_max,
            afterwards: makes.map(|make| make()).transpose()?,
            is_set_up: false,
        }))
    }
}

/// A mapper at work on a split.
struct Mapping<M: Mapper> {
    mapper: M,
    task: Task,
    schema: SchemaRef,
    rows_max: usize,
    afterwards: Option<Box<dyn Afterwards>>,
    is_set_up: bool,
}

impl<M: Mapper> Mapping<M> {
    /// Calls the mapper, and hands on what it emits: what is for other outputs when it is called back with how many rows are worth it. `at`: the
    /// record that it is at.
    fn calling(
        &mut self,
        emit: Emit<'_>,
        at: &dyn Fn() -> Option<String>,
        call: impl FnOnce(&mut M, &mut Context<'_, M::Out>, &dyn Fn(usize) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let Mapping { mapper, task, schema, rows_max, afterwards, is_set_up } = self;
        let is_downstream = Cell::new(false);
        let called = catch_unwind(AssertUnwindSafe(|| {
            let emit = RefCell::new(emit);
            let downstream = |call: &mut dyn FnMut(Emit<'_>) -> Result<()>| {
                is_downstream.set(true);
                let went = call(&mut **emit.borrow_mut());
                is_downstream.set(false);
                went
            };
            let others = |rows_min| downstream(&mut |emit| task.hand_on_others(rows_min, emit));
            let mut hand_on = |batch: Batch| {
                downstream(&mut |emit| match afterwards {
                    Some(afterwards) => afterwards.push(batch.clone(), task, emit),
                    None => task.hand_on(batch.clone(), emit),
                })
            };
            let mut context = Context::new(Emitter::new(&mut hand_on, schema, *rows_max), task);
            if !*is_set_up {
                *is_set_up = true;
                mapper.set_up(&mut context).map_err(|error| task.failed(None, error))?;
            }
            call(mapper, &mut context, &others)?;
            context.finish()?;
            others(1)
        }));
        match called {
            Ok(result) => result,
            Err(panic) if is_downstream.get() => resume_unwind(panic),
            Err(panic) => Err(task.panicked(at(), message_of(&*panic))),
        }
    }
}

impl<M: Mapper> SplitCalls for Mapping<M> {
    fn call(&mut self, batch: &Batch, emit: Emit<'_>) -> Result<()> {
        let reader = M::In::reader(&mut Columns::of(batch))?;
        let row = Cell::new(None);
        let shown = || row.get().map(|row| record_text(batch, row));
        let rows_max = self.rows_max;
        self.calling(emit, &shown, |mapper, context, others| {
            for number in 0..batch.num_rows() {
                row.set(Some(number));
                let mapped = mapper.map(M::In::view(&reader, number), context);
                if !context.settle(mapped, || shown().unwrap_or_default(), (rows_max, others))? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn close(mut self: Box<Self>, emit: Emit<'_>) -> Result<()> {
        self.calling(emit, &|| None, |mapper, context, _| {
            mapper.clean_up(context).map_err(|error| context.task().failed(None, error))
        })?;
        let Mapping { task, afterwards, .. } = *self;
        if let Some(mut afterwards) = afterwards {
            afterwards.finish(&task, emit)?;
        }
        task.end()
    }
}

/// More records were left out, in all tasks together, than may be.
pub(super) fn check_skipped(setup: &Setup, skipped: u64) -> Result<()> {
    match setup.skip_max {
        Some(skip_max) if skipped > skip_max => Err(MapReduceError::Skipped { skipped, skip_max }.into()),
        _ => Ok(()),
    }
}
