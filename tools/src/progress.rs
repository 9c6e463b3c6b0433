//! A line about a job that runs on a cluster, on the terminal of who waits for it.
//!
//! In: the coordinator's updates. Out: one line on standard error, drawn again at most ten times a second, and gone when the job is.
//! Never: a line where nobody watches, or for a job that is over before anybody could read it.
//!
//! ```text
//!   2/5 stages, 12/40 tasks, 1.2 M rows/s, 340.5 MB shuffled, 3 workers, 4.2 s
//! ```

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use windrow::{cluster::protocol::JobUpdate, shuffle::JobId};

use crate::{size, terminal};

/// A job that is over before is not told of.
const AFTER: Duration = Duration::from_millis(500);
/// Between two drawings.
const EVERY: Duration = Duration::from_millis(100);
/// Back to the line's begin, and nothing to its right.
const CLEAR: &str = "\r\u{1b}[K";

/// The line. Clones are the same line.
#[derive(Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// None while nothing is to be shown.
    started: Option<Instant>,
    job: Option<JobId>,
    drawn: Option<Instant>,
    totals: Option<Totals>,
}

/// What all stages of a job have done together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    stages: usize,
    stages_done: usize,
    tasks: u64,
    tasks_done: u64,
    rows: u64,
    /// Bytes that stages have given to others.
    pub shuffled_bytes: u64,
    /// That live.
    workers: u32,
}

impl Progress {
    /// Jobs begin; until the guard is dropped they are shown, one after the other.
    pub fn begin(&self) -> Shown<'_> {
        *self.lock() = State { started: Some(Instant::now()), ..State::default() };
        Shown(self)
    }

    /// What the coordinator says of a job.
    pub fn update(&self, update: &JobUpdate) {
        let mut state = self.lock();
        let totals = Totals::of(update);
        let now = Instant::now();
        state.note(update.job, totals, now);
        if update.state.is_ended() {
            // What the job gives is written next, on the same terminal.
            state.clear();
            return;
        }
        let Some(elapsed) = state.is_due(now).filter(|_| terminal::is_watched()) else { return };
        state.drawn = Some(now);
        let line = fitted(&totals.line(elapsed), terminal::watched_width());
        say(&format!("{CLEAR}{line}"));
    }

    /// The last job's totals, if anything was heard of it.
    pub fn totals(&self) -> Option<Totals> {
        self.lock().totals
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Progress::begin`].
pub struct Shown<'a>(&'a Progress);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.started = None;
        state.clear();
    }
}

impl State {
    /// Another job than the last one begins its own time.
    fn note(&mut self, job: JobId, totals: Totals, now: Instant) {
        if self.job.is_some_and(|last| last != job) && self.started.is_some() {
            self.started = Some(now);
        }
        self.job = Some(job);
        self.totals = Some(totals);
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            say(CLEAR);
        }
    }

    /// Since when the job runs, if it is time to draw.
    fn is_due(&self, now: Instant) -> Option<Duration> {
        let elapsed = now.saturating_duration_since(self.started?);
        let is_fresh = self.drawn.is_some_and(|drawn| now.saturating_duration_since(drawn) < EVERY);
        (elapsed >= AFTER && !is_fresh).then_some(elapsed)
    }
}

impl Totals {
    /// Over the stages of an update.
    pub fn of(update: &JobUpdate) -> Totals {
        let mut totals = Totals { workers: update.workers, ..Totals::default() };
        for stage in &update.progress {
            totals.stages += 1;
            totals.stages_done += usize::from(stage.tasks > 0 && stage.done == stage.tasks);
            totals.tasks += u64::from(stage.tasks);
            totals.tasks_done += u64::from(stage.done);
            totals.rows += stage.rows;
            totals.shuffled_bytes += stage.bytes;
        }
        totals
    }

    fn line(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let rows = size::show_about((self.rows as f64 / seconds.max(1e-6)) as u64);
        let (stages, stages_done, tasks, tasks_done) = (self.stages, self.stages_done, self.tasks, self.tasks_done);
        let (shuffled, workers) = (size::show(self.shuffled_bytes), self.workers());
        format!(
            "{stages_done}/{stages} stages, {tasks_done}/{tasks} tasks, {rows} rows/s, {shuffled} shuffled, {workers}, {seconds:.1} s"
        )
    }

    /// How many workers live, with the word.
    pub fn workers(&self) -> String {
        format!("{} worker{}", self.workers, if self.workers == 1 { "" } else { "s" })
    }
}

/// As much of `line` as a terminal shows without beginning another one.
fn fitted(line: &str, width: usize) -> String {
    line.chars().take(width.saturating_sub(1)).collect()
}

fn say(text: &str) {
    // A line that cannot be drawn is nobody's loss.
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use windrow::{
        cluster::protocol::{JobState, StageProgress},
        shuffle::StageId,
    };

    use super::*;

    fn update() -> JobUpdate {
        let stage = |stage, tasks, done, running, rows, bytes| StageProgress {
            stage: StageId(stage),
            tasks,
            done,
            running,
            rows,
            bytes,
        };
        JobUpdate {
            job: JobId(1),
            revision: 1,
            state: JobState::Running,
            progress: vec![
                stage(0, 30, 30, 0, 2_000_000, 1_000_000),
                stage(1, 10, 4, 2, 469_134, 500_000),
                stage(2, 0, 0, 0, 0, 0),
            ],
            workers: 3,
            value: None,
            result: None,
            cost: None,
        }
    }

    #[test]
    fn a_line_has_what_a_person_wants_to_know() {
        let line = Totals::of(&update()).line(Duration::from_secs(2));
        let expected = "1/3 stages, 34/40 tasks, 1.2 M rows/s, 1.5 MB shuffled, 3 workers, 2.0 s";
        assert_eq!(line, expected);
        assert_eq!(fitted(&line, 12), "1/3 stages,");
        assert_eq!(fitted(&line, 0), "");
    }

    #[test]
    fn it_is_drawn_late_and_not_too_often() {
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        let state = State { started: Some(now), ..State::default() };
        assert_eq!((state.is_due(at(499)), state.is_due(at(500))), (None, Some(Duration::from_millis(500))));
        let state = State { drawn: Some(at(600)), ..state };
        assert_eq!((state.is_due(at(650)), state.is_due(at(700))), (None, Some(Duration::from_millis(700))));
        assert_eq!(State::default().is_due(at(9_000)), None);
    }

    #[test]
    fn each_job_has_its_own_time() {
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        let mut state = State { started: Some(now), ..State::default() };
        state.note(JobId(1), Totals::default(), at(300));
        assert_eq!(state.is_due(at(600)), Some(Duration::from_millis(600)));
        state.note(JobId(2), Totals::default(), at(1_000));
        assert_eq!((state.is_due(at(1_400)), state.is_due(at(1_500))), (None, Some(Duration::from_millis(500))));
    }

    #[test]
    fn the_last_totals_stay() {
        let progress = Progress::default();
        let shown = progress.begin();
        assert_eq!(progress.totals(), None);
        progress.update(&update());
        drop(shown);
        assert_eq!(progress.totals().unwrap().shuffled_bytes, 1_500_000);
    }
}
