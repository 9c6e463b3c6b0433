//! Counting from within a job's closures: a handle that counts for whatever attempt its closure is called in.
//!
//! In: additions, on the threads that do a job's work. Out: sums by name, which go to the job's [`Counters`] when a piece of work has ended. Never:
//! a lock for a row; a count of work that failed, or of code that no job has called.
//!
//! ```text
//!   Job::post ──► tallied ──► a drive: morsels, closures ──► Counter::add ──► this thread's tally
//!                    └── the work ended well: its tally goes to the counters of the job, here, or of the attempt
//! ```

use std::{cell::RefCell, fmt, sync::Arc};

use super::{COUNTERS_MAX, Counted, Counters};
use crate::error::Result;

/// Sums by name.
type Tally = Vec<(Arc<str>, i64)>;

thread_local! {
    /// What was counted in the piece of work that this thread is at; none between pieces.
    static TALLY: RefCell<Option<Tally>> = const { RefCell::new(None) };
}

/// A counter of a session, for its closures. Cheap to clone.
#[derive(Clone)]
pub struct Counter(Arc<str>);

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counter({:?})", self.0)
    }
}

impl Counter {
    pub(crate) fn new(name: &str) -> Counter {
        Counter(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Adds `by`, which may be negative, for the action whose closure this is called in. Outside of closures nothing is counted.
    #[inline]
    pub fn add(&self, by: i64) {
        TALLY.with_borrow_mut(|tally| {
            let Some(tally) = tally else { return };
            match tally.iter_mut().find(|(name, _)| Arc::ptr_eq(name, &self.0)) {
                Some((_, sum)) => *sum = sum.saturating_add(by),
                None => self.begin(tally, by),
            }
        });
    }

    /// As [`Counter::add`], for the first time in a piece of work.
    #[cold]
    fn begin(&self, tally: &mut Tally, by: i64) {
        if let Some((_, sum)) = tally.iter_mut().find(|(name, _)| *name == self.0) {
            // Another handle of the same name.
            *sum = sum.saturating_add(by);
        } else if tally.len() <= COUNTERS_MAX {
            // One more than there may be is enough for the work to fail.
            tally.push((Arc::clone(&self.0), by));
        }
    }
}

/// Does a piece of a job's work on this thread; what its closures count is counted if it ends well.
pub(crate) fn tallied<R>(counters: &Counters, work: impl FnOnce() -> Result<R>) -> Result<R> {
    // What work that panicked has left goes.
    TALLY.set(Some(Vec::new()));
    let done = work();
    let tally = TALLY.take().unwrap_or_default();
    let done = done?;
    if !tally.is_empty() {
        let mut counted = Counted::default();
        tally.iter().try_for_each(|(name, by)| counted.count(name, *by))?;
        counters.add_counted(&counted)?;
    }
    Ok(done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::{Kind, bug};

    #[test]
    fn what_ended_well_counts_and_nothing_else() {
        let (counters, rows, bad) = (Counters::default(), Counter::new("rows"), Counter::new("bad"));
        rows.add(1_000);
        let done = tallied(&counters, || {
            (0..100).for_each(|_| rows.add(2));
            bad.add(-1);
            // The same counter by another handle.
            Counter::new("rows").add(5);
            Ok("done")
        });
        assert_eq!(done.unwrap(), "done");
        rows.add(1_000);
        let failed: Result<()> = tallied(&counters, || {
            rows.add(7);
            Err(bug("observe", "on purpose"))
        });
        assert!(failed.is_err());
        let counted = counters.counted().counters;
        assert_eq!(counted.into_iter().collect::<Vec<_>>(), [("bad".to_owned(), -1), ("rows".to_owned(), 205)]);
    }

    #[test]
    fn a_panic_leaves_nothing_for_the_next() {
        let (counters, rows) = (Counters::default(), Counter::new("rows"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            tallied(&counters, || -> Result<()> {
                rows.add(7);
                std::panic::resume_unwind(Box::new("on purpose"))
            })
        }));
        assert!(panicked.is_err());
        tallied(&counters, || Ok(())).unwrap();
        assert!(counters.counted().is_empty());
    }

    #[test]
    fn too_many_names_are_told() {
        let counters = Counters::default();
        let many = tallied(&counters, || {
            (0..2 * COUNTERS_MAX).for_each(|number| Counter::new(&number.to_string()).add(1));
            Ok(())
        });
        assert_eq!(many.unwrap_err().kind(), Kind::Job);
        let long = tallied(&counters, || {
            Counter::new(&"x".repeat(1_000)).add(1);
            Ok(())
        });
        assert_eq!(long.unwrap_err().kind(), Kind::Job);
    }
}
