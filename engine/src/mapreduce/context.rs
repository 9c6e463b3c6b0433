//! What the job's code has at hand: where its records go, what it counts, what it says of itself, files that it reads beside the input.
//!
//! In: calls of the job's code. Out: batches of what it emits; counts, handed over when a life has ended. Never: counts of a life that failed.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::MapReduceError,
    outputs::{Emitted, Output, Tags},
};
use crate::{
    batch::Batch,
    dataset::{Emitter, Record},
    error::{Error, Result},
    observe::{Counted, Counters, Skipped},
    operator::{Emit, splits::SplitPlace},
};

/// What a mapper or a reducer works with.
pub struct Context<'c, T: Record> {
    out: Out<'c, T>,
    task: &'c Task,
}

/// Where what is emitted goes.
enum Out<'c, T: Record> {
    Rows(Emitter<'c, T>),
    /// To the next mapper of a chain.
    Next(&'c mut dyn Push<T>),
}

/// Takes records one after the other.
pub(super) trait Push<T: Record> {
    fn push(&mut self, row: T::View<'_>);
}

impl<'c, T: Record> Context<'c, T> {
    pub(super) fn new(rows: Emitter<'c, T>, task: &'c Task) -> Context<'c, T> {
        Context { out: Out::Rows(rows), task }
    }

    pub(super) fn linked(next: &'c mut dyn Push<T>, task: &'c Task) -> Context<'c, T> {
        Context { out: Out::Next(next), task }
    }

    /// Gives a record: a key and its value as `(key, value)`, where a reducer follows.
    #[inline]
    pub fn emit(&mut self, record: T::View<'_>) {
        match &mut self.out {
            Out::Rows(rows) => rows.push(record),
            Out::Next(next) => next.push(record),
        }
    }

    /// Gives a record to an output beside the job's own: in the reducer, or in mappers that no reducer follows.
    pub fn emit_to<U: Record>(&mut self, output: &Output<U>, record: U::View<'_>) {
        let emitted = self.task.emitted.borrow_mut().push(output, record);
        match emitted {
            Ok(()) => self.task.emitted_rows.set(self.task.emitted_rows.get() + 1),
            Err(error) => drop(self.task.failure.borrow_mut().get_or_insert(error)),
        }
    }

    /// Counts: adds `by` to the job's counter of this name. What a task counts that fails, or is run again, does not count.
    pub fn count(&mut self, name: &str, by: i64) {
        let counted = self.task.counted.borrow_mut().count(name, by);
        if let Err(error) = counted {
            self.task.failure.borrow_mut().get_or_insert(error);
        }
    }

    /// What it is at, for people: told where it fails.
    pub fn set_status(&mut self, status: impl Into<String>) {
        *self.task.status.borrow_mut() = status.into();
    }

    /// The file whose records a mapper sees, if they are read from one.
    pub fn input_file(&self) -> Option<&Path> {
        match &self.task.place {
            Place::Split(Some(place)) => Some(&place.file),
            _ => None,
        }
    }

    /// The first byte of the split in that file, if splits are cut by bytes: splits of one file come in its order.
    pub fn input_offset(&self) -> Option<u64> {
        match &self.task.place {
            Place::Split(Some(place)) => place.first_byte,
            _ => None,
        }
    }

    /// The number of the part whose keys a reducer sees; none in a mapper.
    pub fn part(&self) -> Option<u32> {
        match self.task.place {
            Place::Part(part) => Some(part),
            Place::Split(_) => None,
        }
    }

    /// The bytes of the side file of this name ([`Job::side_file`](super::Job::side_file)).
    pub fn side_file(&self, name: &str) -> Result<&[u8]> {
        match self.task.setup.side_files.get(name) {
            Some((_, bytes)) => Ok(bytes),
            None => {
                let known = self.task.setup.side_files.keys().cloned().collect();
                Err(MapReduceError::NoSideFile { name: name.to_owned(), known }.into())
            }
        }
    }

    pub(super) fn task(&self) -> &'c Task {
        self.task
    }

    /// After a call for a record or a key: what the job's code could not use is left out if it may be, and what waits for other outputs goes on once it
    /// is `rows_max` rows. Whether there is anybody to go on for.
    pub(super) fn settle(
        &self,
        called: Result<()>,
        record: impl FnOnce() -> String,
        (rows_max, others): (usize, &dyn Fn(usize) -> Result<()>),
    ) -> Result<bool> {
        if let Err(error) = called {
            self.task.skip(record, error)?;
        }
        if self.task.others_wait(rows_max) {
            others(rows_max)?;
        }
        Ok(!self.has_failed())
    }

    /// The rest of the pipeline takes no more, or what was counted was too much.
    pub(super) fn has_failed(&self) -> bool {
        let rows = match &self.out {
            Out::Rows(rows) => rows.has_failed(),
            Out::Next(_) => false,
        };
        rows || self.task.failure.borrow().is_some()
    }

    /// What was emitted goes on.
    pub(super) fn finish(self) -> Result<()> {
        let failure = self.task.failure.borrow_mut().take();
        match (failure, self.out) {
            (Some(failure), _) => Err(failure),
            (None, Out::Rows(rows)) => rows.finish(),
            (None, Out::Next(_)) => Ok(()),
        }
    }
}

/// What a job gives to all its code.
#[derive(Clone, Default)]
pub(super) struct Setup {
    /// How many records may be left out because the job's code could not use them; none are if it does not say.
    pub(super) skip_max: Option<u64>,
    /// By name, with their paths.
    pub(super) side_files: BTreeMap<String, (PathBuf, Arc<[u8]>)>,
}

/// Where a life is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Split(Option<SplitPlace>),
    Part(u32),
}

/// One life of the job's code.
pub(super) struct Task {
    /// What it is called in errors: `mapper`, `reducer`.
    pub(super) role: &'static str,
    /// What the job's value is called.
    pub(super) operator: Cow<'static, str>,
    pub(super) place: Place,
    pub(super) setup: Arc<Setup>,
    /// The outputs, if rows say which they are of.
    tags: Option<Arc<Tags>>,
    emitted: RefCell<Emitted>,
    emitted_rows: Cell<usize>,
    counters: Arc<Counters>,
    counted: RefCell<Counted>,
    status: RefCell<String>,
    /// Why counting failed.
    failure: RefCell<Option<Error>>,
}

impl Task {
    pub(super) fn new(
        (role, operator): (&'static str, Cow<'static, str>),
        place: Place,
        (setup, tags): (&Arc<Setup>, &Option<Arc<Tags>>),
        counters: &Arc<Counters>,
    ) -> Task {
        Task {
            role,
            operator,
            place,
            setup: Arc::clone(setup),
            tags: tags.clone(),
            emitted: RefCell::new(Emitted::new(tags.as_ref())),
            emitted_rows: Cell::new(0),
            counters: Arc::clone(counters),
            counted: RefCell::default(),
            status: RefCell::default(),
            failure: RefCell::default(),
        }
    }

    /// The job's code could not use a record: it is left out if it may be.
    fn skip(&self, record: impl FnOnce() -> String, error: Error) -> Result<()> {
        let Some(skip_max) = self.setup.skip_max else { return Err(self.failed(Some(record()), error)) };
        let all = self.counters.add_skipped();
        let record = record();
        if all > skip_max {
            return Err(
                MapReduceError::TooManySkipped { skip_max, last: Box::new(self.failed(Some(record), error)) }.into()
            );
        }
        let place = self.place_text();
        self.counted.borrow_mut().skip(Skipped::new(&place, &record, &error.to_string()));
        Ok(())
    }

    /// The job's code failed, on this record if it was on one.
    pub(super) fn failed(&self, record: Option<String>, source: Error) -> Error {
        if source.is_cancelled() {
            // Nothing is wrong with the record.
            return source;
        }
        self.failed_as((self.role, self.operator.clone()), record, source)
    }

    /// As [`Task::failed`], of code that is called beside the task's own.
    pub(super) fn failed_as(
        &self,
        (role, operator): (&'static str, Cow<'static, str>),
        record: Option<String>,
        source: Error,
    ) -> Error {
        if source.is_cancelled() {
            return source;
        }
        let (place, status) = (self.place_text(), self.status.borrow().clone());
        MapReduceError::Failed { role, operator, place, record, status, source }.into()
    }

    /// As [`Task::failed`], with what a panic said.
    pub(super) fn panicked(&self, record: Option<String>, message: String) -> Error {
        self.failed(record, MapReduceError::Panicked { message }.into())
    }

    fn place_text(&self) -> String {
        match &self.place {
            Place::Split(Some(place)) => place.to_string(),
            Place::Split(None) => "rows that are not read from files".to_owned(),
            Place::Part(part) => format!("part {part}"),
        }
    }

    /// Hands on a batch of the job's own output.
    pub(super) fn hand_on(&self, batch: Batch, emit: Emit<'_>) -> Result<()> {
        match &self.tags {
            None => emit(batch),
            Some(tags) => emit(tags.tagged(0, batch.columns().to_vec(), batch.num_rows())?),
        }
    }

    /// So many rows for other outputs wait that they are worth handing on.
    #[inline]
    fn others_wait(&self, rows_min: usize) -> bool {
        self.emitted_rows.get() >= rows_min
    }

    /// Hands on what was emitted to other outputs, once it is so many rows.
    pub(super) fn hand_on_others(&self, rows_min: usize, emit: Emit<'_>) -> Result<()> {
        match &self.tags {
            Some(tags) if self.others_wait(rows_min.max(1)) => {
                self.emitted_rows.set(0);
                self.emitted.borrow_mut().take(tags, emit)
            }
            _ => Ok(()),
        }
    }

    /// Its life has ended well.
    pub(super) fn end(&self) -> Result<()> {
        self.counters.add_counted(&self.counted.take())
    }
}
