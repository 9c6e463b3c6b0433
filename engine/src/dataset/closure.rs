//! Closures on their way into a plan: where they stand in the program, and what becomes of their panics.
//!
//! In: a closure and the place of the call that named it. Out: a [`Closure`] with its number. Never: lets a panic of the user's code
//! pass for a bug of ours.

use std::{
    any::Any,
    cell::Cell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use super::{error::DatasetError, flow::Dataset};
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    error::Result,
    expression::{Expression, SortKey},
    observe::Counters,
    operator::{
        groups::{GroupCalls, GroupFunction, PartColumn, Pieces},
        map::BatchFunction,
    },
    plan::{
        closures::{Closure, Function},
        logical::{Logical, Node},
    },
};

/// Where a closure's batches go.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(Batch) -> Result<()>;

impl<T> Dataset<T> {
    /// The rows that `body` makes of each batch. `output` is the schema of what it gives.
    pub(crate) fn through<U>(
        self,
        place: &'static Location<'static>,
        output: SchemaRef,
        body: impl Fn(&Batch, Emit<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Dataset<U> {
        let call_site = call_site(place);
        let function = Function::Batches(Arc::new(Guarded { call_site, body }));
        let closure = self.named_closure(place, function, &output);
        self.then(|input| Logical { node: Node::MapBatches { input: Box::new(input), closure }, schema: output })
    }
}

impl<T> Dataset<T> {
    /// What `function` gives for the rows of each key, which are those with equal values in the first `key_count` columns, in the order given; of
    /// one part after the other, if there are parts. `output` is the schema of what it gives.
    pub(super) fn grouped<U>(
        self,
        place: &'static Location<'static>,
        part: Option<PartColumn>,
        (key_count, order): (usize, Vec<SortKey>),
        output: SchemaRef,
        function: impl GroupFunction + 'static,
    ) -> Dataset<U> {
        let call_site = call_site(place);
        let function = Function::Groups(Arc::new(Guarded { call_site, body: function }));
        let closure = self.named_closure(place, function, &output);
        let keys = (0..key_count).map(Expression::Column).collect();
        self.then(|input| {
            let node = Node::MapGroups { input: Box::new(input), part, keys, order, closure };
            Logical { node, schema: output }
        })
    }
}

impl<T> Dataset<T> {
    /// The program's next closure.
    pub(crate) fn named_closure(
        &self,
        place: &'static Location<'static>,
        function: Function,
        output: &SchemaRef,
    ) -> Closure {
        let (number, call_site, output) = (self.session().next_closure(), call_site(place), Arc::clone(output));
        let closure = Closure { number, call_site, function, output };
        self.session().name_closure(&closure);
        closure
    }
}

/// `file:line:column`, kept for the life of the program: once for each place, however often it is passed.
pub(super) fn call_site(place: &'static Location<'static>) -> &'static str {
    static CALL_SITES: Mutex<BTreeMap<(&str, u32, u32), &str>> = Mutex::new(BTreeMap::new());
    let mut known = CALL_SITES.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .entry((place.file(), place.line(), place.column()))
        .or_insert_with(|| Box::leak(place.to_string().into_boxed_str()))
}

/// The user's code, whose panics are the job's errors.
struct Guarded<F> {
    call_site: &'static str,
    body: F,
}

impl<F: Fn(&Batch, Emit<'_>) -> Result<()> + Send + Sync> BatchFunction for Guarded<F> {
    fn call(&self, batch: &Batch, emit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<()> {
        // What is called by `emit` is the rest of the pipeline: a panic there is not this closure's.
        let is_downstream = Cell::new(false);
        let called = catch_unwind(AssertUnwindSafe(|| {
            (self.body)(batch, &mut |batch| {
                is_downstream.set(true);
                let result = emit(batch);
                is_downstream.set(false);
                result
            })
        }));
        match called {
            Ok(result) => result,
            Err(panic) if is_downstream.get() => resume_unwind(panic),
            Err(panic) => {
                let message = message_of(&*panic);
                Err(DatasetError::ClosurePanicked { call_site: self.call_site, message }.into())
            }
        }
    }
}

impl<F: GroupFunction> GroupFunction for Guarded<F> {
    fn open(&self, part: u32, counters: &Arc<Counters>) -> Result<Box<dyn GroupCalls>> {
        let calls = guarded(self.call_site, || self.body.open(part, counters))?;
        Ok(Box::new(GuardedCalls { call_site: self.call_site, calls }))
    }
}

struct GuardedCalls {
    call_site: &'static str,
    calls: Box<dyn GroupCalls>,
}

impl GroupCalls for GuardedCalls {
    fn groups(&mut self, pieces: &mut dyn Pieces, emit: Emit<'_>) -> Result<()> {
        guarded(self.call_site, || self.calls.groups(pieces, emit))
    }

    fn close(self: Box<Self>, emit: Emit<'_>) -> Result<()> {
        let GuardedCalls { call_site, calls } = *self;
        guarded(call_site, || calls.close(emit))
    }
}

/// What it gives, or that it has panicked.
pub(crate) fn guarded<T>(call_site: &'static str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(call).unwrap_or_else(|message| Err(DatasetError::ClosurePanicked { call_site, message }.into()))
}

/// As [`guarded`], for a closure that no plan has.
pub(super) fn guarded_here<T>(place: &'static Location<'static>, call: impl FnOnce() -> Result<T>) -> Result<T> {
    guarded(call_site(place), call)
}

/// What it gives, or what it said when it panicked.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| message_of(&*panic))
}

pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
