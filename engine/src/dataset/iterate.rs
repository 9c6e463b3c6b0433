//! Rounds over rows: iterate, iterate_until.
//!
//! In: rows, and a flow from the rows of one round to those of the next. Out: the rows of the last round. Never: a round that is run twice:
//! each one's rows are cached, and the rows of the round before go when nobody has them any more.
//!
//! What every round looks at and none changes is best [cached](Dataset::cache) before the first.

use super::flow::Dataset;
use crate::error::Result;

impl<T> Dataset<T> {
    /// What becomes of the rows in so many rounds: `.iterate(10, |ranks, _| …)`. The rounds are numbered from 0.
    pub fn iterate(
        self,
        rounds: usize,
        mut round: impl FnMut(Dataset<T>, usize) -> Result<Dataset<T>>,
    ) -> Result<Dataset<T>> {
        let mut rows = self;
        for number in 0..rounds {
            rows = round(rows, number)?.cache()?;
        }
        Ok(rows)
    }

    /// As [`Dataset::iterate`], until `is_done` says so of the rows before and after a round, or after `rounds_max` of them; with how many
    /// rounds there were.
    ///
    /// ```no_run
    /// # fn main() -> windrow::Result<()> {
    /// # let session = windrow::Session::new(windrow::Settings::default())?;
    /// # let labels = session.from_vec(vec![(1i64, 1i64)])?;
    /// let (labels, rounds) = labels.iterate_until(
    ///     100,
    ///     |labels, _| Ok(labels.map(|(vertex, label)| (vertex, label.min(vertex)))),
    ///     |before, after| Ok(before.clone().anti_join(after.clone()).count()? == 0),
    /// )?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn iterate_until(
        self,
        rounds_max: usize,
        mut round: impl FnMut(Dataset<T>, usize) -> Result<Dataset<T>>,
        mut is_done: impl FnMut(&Dataset<T>, &Dataset<T>) -> Result<bool>,
    ) -> Result<(Dataset<T>, usize)> {
        let mut before = self;
        for number in 0..rounds_max {
            let after = round(before.clone(), number)?.cache()?;
            if is_done(&before, &after)? {
                return Ok((after, number + 1));
            }
            before = after;
        }
        Ok((before, rounds_max))
    }
}
