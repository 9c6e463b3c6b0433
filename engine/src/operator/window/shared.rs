//! The operator: a sort that is cut into partitions.
//!
//! In: morsels. Out: morsels with more columns. Never: holds its rows twice for longer than a unit is computed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    bound::RankFilter,
    calls::Calls,
    cut::{Cutter, Next},
    spec::WindowSpec,
    stream::HOLDER,
};
use crate::{
    batch::{Batch, Morsel},
    error::Result,
    expression::Parameters,
    memory::Reservation,
    operator::{JobContext, Outcome, Sink, Source, SourceThread, sort::Sort},
};

/// The shared part.
pub struct Window {
    spec: WindowSpec,
    context: JobContext,
    parameters: Arc<Parameters>,
    sort: Sort,
    /// Where only the first rows of each partition are given.
    filter: Option<Arc<RankFilter>>,
    /// None until the first thread reads.
    cutter: Mutex<Option<Cutter>>,
}

impl Window {
    /// The window of `spec`.
    pub fn new(spec: &WindowSpec, context: &JobContext, parameters: &Arc<Parameters>) -> Result<Arc<Window>> {
        // What a thread would fail with is known now.
        Calls::new(spec, parameters)?;
        Ok(Arc::new(Window {
            sort: Sort::within(HOLDER, spec.ties(), &spec.sort(), context, parameters)?,
            filter: RankFilter::new(spec, context, parameters)?,
            spec: spec.clone(),
            context: context.clone(),
            parameters: Arc::clone(parameters),
            cutter: Mutex::default(),
        }))
    }

    /// Takes the input in.
    pub fn sink(&self) -> Arc<dyn Sink> {
        match &self.filter {
            Some(filter) => filter.before(self.sort.sink()),
            None => self.sort.sink(),
        }
    }

    /// Gives it with the columns of the calls.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(WindowSource(Arc::clone(self)))
    }

    fn next(&self, calls: &Calls) -> Result<Option<Next>> {
        let mut cutter = self.cutter.lock().unwrap_or_else(PoisonError::into_inner);
        let cutter = match &mut *cutter {
            Some(cutter) => cutter,
            none => none.insert(Cutter::new(self.sort.rows()?, &self.spec.input, self.rows_per_morsel())),
        };
        cutter.next(calls, &self.context)
    }

    fn rows_per_morsel(&self) -> usize {
        self.context.settings.rows_per_morsel.max(1)
    }
}

/// The role that gives.
struct WindowSource(Arc<Window>);

impl Source for WindowSource {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        let calls = Calls::new(&self.0.spec, &self.0.parameters)?;
        Ok(Box::new(WindowThread { window: Arc::clone(&self.0), calls, ready: VecDeque::new(), _held: None }))
    }

    fn close(&self) {
        self.0.sort.close();
    }
}

struct WindowThread {
    window: Arc<Window>,
    calls: Calls,
    /// Computed, and not given yet.
    ready: VecDeque<Batch>,
    /// What the unit that is given takes.
    _held: Option<Reservation>,
}

impl SourceThread for WindowThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        if self.ready.is_empty() {
            self._held = None;
            self.window.context.cancel.check()?;
            let rows = match self.window.next(&self.calls)? {
                None => return Ok((None, Outcome::Enough)),
                Some(Next::Rows(rows)) => rows,
                Some(Next::Unit(unit)) => {
                    let rows = self.calls.evaluate(&unit.batch(&self.window.spec.input)?)?;
                    self._held = Some(unit.reservation);
                    rows
                }
            };
            let rows_per_morsel = self.window.rows_per_morsel();
            let firsts = (0..rows.num_rows()).step_by(rows_per_morsel);
            self.ready.extend(firsts.map(|first| rows.slice(first, rows_per_morsel.min(rows.num_rows() - first))));
        }
        Ok((self.ready.pop_front().map(Morsel::from), Outcome::More))
    }
}
