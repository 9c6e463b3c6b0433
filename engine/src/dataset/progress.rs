//! A line about a program that runs on a cluster, on the terminal of who waits for it.
//!
//! In: the coordinator's updates. Out: one line on standard error, drawn again at most ten times a second, gone at the end. Never: a line
//! where nobody watches.

use std::{
    cell::Cell,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::cluster::protocol::JobUpdate;

/// A program that is over before is not told of.
const AFTER: Duration = Duration::from_millis(500);
/// Between two drawings.
const EVERY: Duration = Duration::from_millis(100);
/// Back to the line's begin, and nothing to its right.
const CLEAR: &str = "\r\u{1b}[K";

/// The line of one program.
pub(super) struct ProgressLine {
    started: Instant,
    drawn: Cell<Option<Instant>>,
}

impl ProgressLine {
    pub(super) fn begin() -> ProgressLine {
        ProgressLine { started: Instant::now(), drawn: Cell::new(None) }
    }

    pub(super) fn update(&self, update: &JobUpdate) {
        let is_fresh = self.drawn.get().is_some_and(|drawn| drawn.elapsed() < EVERY);
        if self.started.elapsed() < AFTER || is_fresh || !io::stderr().is_terminal() {
            return;
        }
        self.drawn.set(Some(Instant::now()));
        say(&format!("{CLEAR}{}", line(update, self.started.elapsed())));
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.drawn.get().is_some() {
            say(CLEAR);
        }
    }
}

/// Short enough for a terminal of eighty columns.
fn line(update: &JobUpdate, elapsed: Duration) -> String {
    let stages = &update.progress;
    let stages_done = stages.iter().filter(|stage| stage.tasks > 0 && stage.done == stage.tasks).count();
    let sum = |of: fn(&crate::cluster::protocol::StageProgress) -> u64| stages.iter().map(of).sum::<u64>();
    let (tasks, done) = (sum(|stage| stage.tasks.into()), sum(|stage| stage.done.into()));
    let seconds = elapsed.as_secs_f64();
    let rows = sum(|stage| stage.rows) as f64 / seconds.max(1e-6) / 1e6;
    let shuffled = sum(|stage| stage.bytes) as f64 / 1e6;
    format!(
        "{stages_done}/{} stages, {done}/{tasks} tasks, {rows:.2} M rows/s, {shuffled:.1} MB shuffled, {} workers, {seconds:.1} s",
        stages.len(),
        update.workers
    )
}

fn say(text: &str) {
    // A line that cannot be drawn is nobody's loss.
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::{
        cluster::protocol::{JobState, StageProgress},
        shuffle::{JobId, StageId},
    };

    #[test]
    fn a_line_tells_how_far_it_is() {
        let stage = |stage, tasks, done, rows, bytes| StageProgress {
            stage: StageId(stage),
            tasks,
            done,
            running: tasks - done,
            rows,
            bytes,
        };
        let update = JobUpdate {
            job: JobId(1),
            revision: 1,
            state: JobState::Running,
            progress: vec![stage(0, 30, 30, 2_000_000, 1_000_000), stage(1, 10, 4, 469_134, 500_000)],
            workers: 3,
            value: None,
            result: None,
            cost: None,
        };
        let expected = "1/2 stages, 34/40 tasks, 1.23 M rows/s, 1.5 MB shuffled, 3 workers, 2.0 s";
        assert_eq!(line(&update, Duration::from_secs(2)), expected);
    }
}
