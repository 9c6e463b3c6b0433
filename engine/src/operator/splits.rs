//! MapSplits: the user's code over the rows of splits, with a beginning and an end.
//!
//! In: morsels. Out: what the code gives; positions are lost. Never: rows of two splits in one life, where rows know their split; a life on two
//! threads.
//!
//! ```text
//!   open(split 3) ─► call, call, … ─► close        the next split: another life
//! ```
//! Rows that have lost their position (behind a join, a sort, an exchange) have no split: then a life is what one thread sees of them.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{Emit, Next, Outcome, Source, Transform, TransformThread};
use crate::{
    batch::{Batch, Morsel, datatypes::SchemaRef},
    error::Result,
    observe::Counters,
};

/// Where rows of a scan stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPlace {
    /// The file, or the first one of several that are read as one split.
    pub file: PathBuf,
    /// Which part of it, in words: `bytes 0 to 4194304`.
    pub part: String,
    /// Its first byte in the file, where splits are cut by bytes.
    pub first_byte: Option<u64>,
}

impl fmt::Display for SplitPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.file.display(), self.part)
    }
}

/// The user's code: opened once a split, in parallel for several splits.
pub trait SplitFunction: Send + Sync {
    /// What is called for the rows of a split. `place`: where they stand, if that is known; `counters`: where what it counts goes.
    fn open(&self, place: Option<SplitPlace>, counters: &Arc<Counters>) -> Result<Box<dyn SplitCalls>>;
}

/// The user's code at work on one split.
pub trait SplitCalls: Send {
    /// The next rows of the split, in order; at least one.
    fn call(&mut self, batch: &Batch, emit: Emit<'_>) -> Result<()>;
    /// The split has no more rows.
    fn close(self: Box<Self>, emit: Emit<'_>) -> Result<()>;
}

/// The shared part.
pub struct MapSplits {
    function: Arc<dyn SplitFunction>,
    output: SchemaRef,
    counters: Arc<Counters>,
    /// Knows where splits are.
    source: Arc<dyn Source>,
}

impl MapSplits {
    /// `output`: the schema of what the code gives; `source`: where the rows come from.
    pub fn new(
        function: Arc<dyn SplitFunction>,
        output: SchemaRef,
        counters: &Arc<Counters>,
        source: &Arc<dyn Source>,
    ) -> Arc<MapSplits> {
        Arc::new(MapSplits { function, output, counters: Arc::clone(counters), source: Arc::clone(source) })
    }
}

impl Transform for MapSplits {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        let (function, output) = (Arc::clone(&self.function), Arc::clone(&self.output));
        let (counters, source) = (Arc::clone(&self.counters), Arc::clone(&self.source));
        Ok(Box::new(MapSplitsThread { shared: MapSplits { function, output, counters, source }, life: None }))
    }
}

struct MapSplitsThread {
    shared: MapSplits,
    /// The split that this thread is at, if rows have one, and the code at work on it.
    life: Option<(Option<u32>, Box<dyn SplitCalls>)>,
}

impl MapSplitsThread {
    /// Hands on what the code gives.
    fn given(&mut self, next: Next<'_>, call: impl FnOnce(&mut Self, Emit<'_>) -> Result<()>) -> Result<Outcome> {
        let mut outcome = Outcome::More;
        let output = Arc::clone(&self.shared.output);
        call(self, &mut |batch| {
            if batch.num_rows() > 0 && !matches!(outcome, Outcome::Enough) {
                outcome = next(batch.with_schema(Arc::clone(&output))?.into())?;
            }
            Ok(())
        })?;
        Ok(outcome)
    }

    fn end(&mut self, emit: Emit<'_>) -> Result<()> {
        self.life.take().map_or(Ok(()), |(_, calls)| calls.close(emit))
    }
}

impl TransformThread for MapSplitsThread {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        self.given(next, |own, emit| {
            let split = morsel.position.map(|position| position.split);
            if own.life.as_ref().is_some_and(|(at, _)| *at != split) {
                own.end(emit)?;
            }
            let shared = &own.shared;
            let (_, calls) = match &mut own.life {
                Some(life) => life,
                none => {
                    let place = split.and_then(|split| shared.source.place(split));
                    none.insert((split, shared.function.open(place, &shared.counters)?))
                }
            };
            if morsel.batch.num_rows() > 0 {
                calls.call(&morsel.batch, emit)?;
            }
            if morsel.position.is_some_and(|position| position.is_last) { own.end(emit) } else { Ok(()) }
        })
    }

    fn finish(&mut self, next: Next<'_>) -> Result<Outcome> {
        self.given(next, Self::end)
    }
}
