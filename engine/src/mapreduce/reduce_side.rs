//! Reducers as a closure over groups.
//!
//! In: the groups of a part, in order of their keys. Out: what the reducer emits, in batches. Never: the row with which a part begins
//! (`partition.rs`) to the reducer.

use std::{cell::RefCell, sync::Arc};

use super::{
    context::{Context, Place, Setup, Task},
    outputs::Tags,
    reducer::Reducer,
};
use crate::{
    batch::{Batch, array::AsArray, datatypes::SchemaRef},
    dataset::{Emitter, Record, Walk, caught, record_text},
    error::{Result, bug},
    observe::Counters,
    operator::{
        Emit,
        groups::{GroupCalls, GroupFunction, Piece, Pieces},
    },
};

/// A reducer that was not cloned yet.
pub(super) struct ReduceSide<R: Reducer> {
    pub(super) reducer: R,
    pub(super) setup: Arc<Setup>,
    pub(super) schema: SchemaRef,
    pub(super) rows_max: usize,
    pub(super) tags: Option<Arc<Tags>>,
}

impl<R: Reducer> GroupFunction for ReduceSide<R> {
    fn open(&self, part: u32, counters: &Arc<Counters>) -> Result<Box<dyn GroupCalls>> {
        Ok(Box::new(Reducing {
            reducer: self.reducer.clone(),
            task: Task::new(("reducer", self.reducer.name()), Place::Part(part), (&self.setup, &self.tags), counters),
            schema: Arc::clone(&self.schema),
            rows_max: self.rows_max,
            is_set_up: false,
        }))
    }
}

/// A reducer at work on a part.
struct Reducing<R: Reducer> {
    reducer: R,
    task: Task,
    schema: SchemaRef,
    rows_max: usize,
    is_set_up: bool,
}

impl<R: Reducer> Reducing<R> {
    /// Calls the reducer, and hands on what it emits. `at`: the key that it is at.
    fn calling(
        &mut self,
        emit: Emit<'_>,
        at: &dyn Fn() -> Option<String>,
        call: impl FnOnce(&mut R, &mut Context<'_, R::Out>, &dyn Fn(usize) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let Reducing { reducer, task, schema, rows_max, is_set_up } = self;
        let called = caught(|| {
            let emit = RefCell::new(emit);
            let others = |rows_min| task.hand_on_others(rows_min, &mut **emit.borrow_mut());
            let mut hand_on = |batch| task.hand_on(batch, &mut **emit.borrow_mut());
            let mut context = Context::new(Emitter::new(&mut hand_on, schema, *rows_max), task);
            if !*is_set_up {
                *is_set_up = true;
                reducer.set_up(&mut context).map_err(|error| task.failed(None, error))?;
            }
            call(reducer, &mut context, &others)?;
            context.finish()?;
            others(1)
        });
        called.unwrap_or_else(|message| Err(task.panicked(at(), message)))
    }
}

impl<R: Reducer> GroupCalls for Reducing<R> {
    fn groups(&mut self, pieces: &mut dyn Pieces, emit: Emit<'_>) -> Result<()> {
        let key_count = R::Key::fields().len();
        let at: RefCell<Option<Piece>> = RefCell::default();
        let shown = || {
            let at = at.borrow();
            let piece = at.as_ref()?;
            let key = piece.batch.project(&(0..key_count).collect::<Vec<_>>()).ok()?;
            Some(record_text(&key, piece.rows.start).replacen("record", "key", 1))
        };
        let rows_max = self.rows_max;
        self.calling(emit, &shown, |reducer, context, others| {
            let mut walk: Walk<'_, R::Key, R::Value> = Walk::new(pieces);
            while let Some(piece) = walk.next_group()? {
                if !is_row(&piece.batch, piece.rows.start)? {
                    continue;
                }
                *at.borrow_mut() = Some(piece.clone());
                let reduced = walk.group(&piece, |key, values| reducer.reduce(key, values, context))?;
                if reduced.is_err() {
                    // Nothing is wrong with the key if it is the rows that did not come.
                    walk.check()?;
                }
                if !context.settle(reduced, || shown().unwrap_or_default(), (rows_max, others))? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn close(mut self: Box<Self>, emit: Emit<'_>) -> Result<()> {
        self.calling(emit, &|| None, |reducer, context, _| {
            reducer.clean_up(context).map_err(|error| context.task().failed(None, error))
        })?;
        self.task.end()
    }
}

fn is_row(batch: &Batch, row: usize) -> Result<bool> {
    let flags = batch.columns().last().and_then(|column| column.as_boolean_opt());
    flags.map(|flags| flags.value(row)).ok_or_else(|| bug("mapreduce", "rows of a reducer without their last column"))
}
