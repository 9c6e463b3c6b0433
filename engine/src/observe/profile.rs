//! What each step of each pipeline did, and when its threads were busy.
//!
//! In: clock readings of the drives, at the borders of steps, once a morsel; bytes of reservations. Out: a [`Profile`] as text beside the plan,
//! as JSON, as a flame graph. Never: there where nobody asked for it.

use std::{
    fmt::Write,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{StageReport, WorkerReport};

/// What is recorded of a job while it runs.
#[derive(Debug)]
pub struct Profile {
    started: Instant,
    threads: usize,
    pipelines: Vec<PipelineProfile>,
    states: Vec<Arc<Holding>>,
}

/// What is recorded of a pipeline.
#[derive(Debug)]
struct PipelineProfile {
    /// The source, the transforms, the sink.
    steps: Vec<StepProfile>,
    /// The state in which it ends.
    state: usize,
    tests: Vec<Arc<Tested>>,
    busy: Mutex<Busy>,
}

#[derive(Debug, Default)]
struct StepProfile {
    nanos: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// When how many threads worked on a pipeline.
#[derive(Debug)]
struct Busy {
    threads: usize,
    since: Instant,
    /// With at least one thread, and with all of them.
    any_nanos: u64,
    all_nanos: u64,
}

/// What an operator's reservations hold, and what it wrote to disk.
#[derive(Debug, Default)]
pub struct Holding {
    bytes: AtomicU64,
    peak_bytes: AtomicU64,
    spilled_bytes: AtomicU64,
}

/// Rows that a test of a scan saw and kept.
#[derive(Debug, Default)]
pub struct Tested {
    rows: AtomicU64,
    kept_rows: AtomicU64,
}

impl Holding {
    /// `before` bytes became `after`.
    pub fn change(&self, before: u64, after: u64) {
        if after >= before {
            let held = self.bytes.fetch_add(after - before, Relaxed) + (after - before);
            self.peak_bytes.fetch_max(held, Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Relaxed);
        }
    }

    /// So many bytes were written to disk for want of memory.
    pub fn add_spilled_bytes(&self, bytes: u64) {
        self.spilled_bytes.fetch_add(bytes, Relaxed);
    }
}

impl Tested {
    /// Of `rows` so many were kept.
    pub fn add(&self, rows: usize, kept_rows: usize) {
        self.rows.fetch_add(rows as u64, Relaxed);
        self.kept_rows.fetch_add(kept_rows as u64, Relaxed);
    }
}

impl Profile {
    /// Of pipelines with so many steps each, which end in these of so many states.
    pub fn new(threads: usize, pipelines: &[(usize, usize)], states: Vec<Arc<Holding>>) -> Profile {
        let started = Instant::now();
        let pipeline = |(steps, state): &(usize, usize)| PipelineProfile {
            steps: (0..*steps).map(|_| StepProfile::default()).collect(),
            state: *state,
            tests: Vec::new(),
            busy: Mutex::new(Busy { threads: 0, since: started, any_nanos: 0, all_nanos: 0 }),
        };
        Profile { started, threads, pipelines: pipelines.iter().map(pipeline).collect(), states }
    }

    /// The tests of the scan with which a pipeline begins.
    pub fn watch_tests(&mut self, pipeline: usize, tests: Vec<Arc<Tested>>) {
        self.pipelines[pipeline].tests = tests;
    }

    /// A thread begins to work on a pipeline (`by` is one), or ends (minus one).
    fn turn(&self, pipeline: usize, by: isize) {
        let mut busy = lock(&self.pipelines[pipeline].busy);
        let now = Instant::now();
        let nanos = now.duration_since(busy.since).as_nanos() as u64;
        busy.any_nanos += if busy.threads > 0 { nanos } else { 0 };
        busy.all_nanos += if busy.threads >= self.threads { nanos } else { 0 };
        busy.threads = busy.threads.saturating_add_signed(by);
        busy.since = now;
    }

    /// What was recorded, once the job is over; without names.
    pub fn report(&self) -> ProfileReport {
        let pipelines = self.pipelines.iter().map(|pipeline| {
            let busy = lock(&pipeline.busy);
            let load = |counter: &AtomicU64| counter.load(Relaxed);
            let state = self.states.get(pipeline.state);
            PipelineReport {
                name: String::new(),
                seconds: seconds(busy.any_nanos),
                not_all_threads_seconds: seconds(busy.any_nanos.saturating_sub(busy.all_nanos)),
                steps: pipeline
                    .steps
                    .iter()
                    .map(|step| StepReport {
                        name: String::new(),
                        seconds: seconds(load(&step.nanos)),
                        rows: load(&step.rows),
                        bytes: load(&step.bytes),
                    })
                    .collect(),
                tests: pipeline.tests.iter().map(|test| (load(&test.rows), load(&test.kept_rows))).collect(),
                peak_bytes: state.map_or(0, |state| load(&state.peak_bytes)),
                spilled_bytes: state.map_or(0, |state| load(&state.spilled_bytes)),
            }
        });
        let pipelines = pipelines.collect();
        let seconds = self.started.elapsed().as_secs_f64();
        ProfileReport { seconds, threads: self.threads, pipelines, ..ProfileReport::default() }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread's clock while it works on a pipeline; what it read goes to the profile when it is dropped.
pub struct Clock {
    profile: Option<Arc<Profile>>,
    pipeline: usize,
    step: usize,
    since: Instant,
    /// Nanoseconds, rows, bytes of each step.
    steps: Vec<(u64, u64, u64)>,
}

impl Clock {
    /// Begins with the source of `pipeline`; reads nothing where there is no profile.
    pub fn start(profile: Option<&Arc<Profile>>, pipeline: usize) -> Option<Clock> {
        let profile = profile?;
        profile.turn(pipeline, 1);
        let steps = vec![(0, 0, 0); profile.pipelines[pipeline].steps.len()];
        Some(Clock { profile: Some(Arc::clone(profile)), pipeline, step: 0, since: Instant::now(), steps })
    }

    /// From now on it is the time of `step`; the step whose time it was.
    pub fn enter(&mut self, step: usize) -> usize {
        let now = Instant::now();
        self.steps[self.step].0 += now.duration_since(self.since).as_nanos() as u64;
        self.since = now;
        std::mem::replace(&mut self.step, step)
    }

    /// The step took so much in, or, the first one, gave it.
    pub fn count(&mut self, step: usize, rows: usize, bytes: u64) {
        self.steps[step].1 += rows as u64;
        self.steps[step].2 += bytes;
    }

    /// The last step, which is the sink.
    pub fn last_step(&self) -> usize {
        self.steps.len() - 1
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.enter(0);
        let Some(profile) = self.profile.take() else { return };
        let all = &profile.pipelines[self.pipeline].steps;
        for (step, (nanos, rows, bytes)) in all.iter().zip(&self.steps) {
            step.nanos.fetch_add(*nanos, Relaxed);
            step.rows.fetch_add(*rows, Relaxed);
            step.bytes.fetch_add(*bytes, Relaxed);
        }
        profile.turn(self.pipeline, -1);
    }
}

/// What a job did, step by step.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ProfileReport {
    /// From its planning to its end.
    pub seconds: f64,
    /// Threads that computed.
    pub threads: usize,
    /// In the order of the plan; those for the rounds of joins behind them. On a cluster they stand in the stages.
    pub pipelines: Vec<PipelineReport>,
    /// On a cluster: in the order of the plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageReport>,
    /// On a cluster: those who ran tasks, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerReport>,
}

/// What was done in one pipeline.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct PipelineReport {
    /// As the plan shows it; none where a pipeline was added for a join's rounds and not needed.
    pub name: String,
    /// While some thread worked on it.
    pub seconds: f64,
    /// Of that, while not all threads did.
    pub not_all_threads_seconds: f64,
    /// The source, the transforms, the sink.
    pub steps: Vec<StepReport>,
    /// Of each test of its scan: rows that it saw, rows that it kept.
    pub tests: Vec<(u64, u64)>,
    /// Most bytes that the state held in which it ends.
    pub peak_bytes: u64,
    /// Bytes that this state wrote to disk for want of memory.
    pub spilled_bytes: u64,
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct StepReport {
    /// As the plan shows it.
    pub name: String,
    /// Of all threads together.
    pub seconds: f64,
    /// Rows that it took in; the source: gave.
    pub rows: u64,
    /// Bytes of those rows.
    pub bytes: u64,
}

impl ProfileReport {
    /// Seconds of all threads and steps.
    pub fn busy_seconds(&self) -> f64 {
        let stages = self.stages.iter().flat_map(|stage| &stage.pipelines);
        let steps = self.pipelines.iter().chain(stages).flat_map(|pipeline| &pipeline.steps);
        steps.map(|step| step.seconds).sum()
    }

    /// A line a stage, a pipeline, a step, a test, a worker, each with what was measured.
    pub fn text(&self) -> String {
        let all = self.busy_seconds().max(f64::MIN_POSITIVE);
        let mut text = String::new();
        self.pipelines.iter().for_each(|pipeline| pipeline.write(all, "", &mut text));
        self.stages.iter().for_each(|stage| stage.write(all, &mut text));
        self.workers.iter().for_each(|worker| worker.write(&mut text));
        text
    }
}

impl PipelineReport {
    /// Its lines, behind `indent`; `all` seconds are those of all threads and pipelines. None where it has no name.
    pub(super) fn write(&self, all: f64, indent: &str, text: &mut String) {
        let PipelineReport { name, seconds, not_all_threads_seconds, peak_bytes, spilled_bytes, .. } = self;
        if name.is_empty() {
            return;
        }
        let _ =
            writeln!(text, "{indent}{name}: {seconds:.3} s, {not_all_threads_seconds:.3} s of it not on all threads");
        for (number, StepReport { name, seconds, rows, bytes }) in self.steps.iter().enumerate() {
            let share = 100.0 * seconds / all;
            let _ = write!(
                text,
                "{indent}    {name}\n{indent}        {rows} rows, {bytes} bytes, {seconds:.3} s, {share:.1} %"
            );
            if number + 1 == self.steps.len() && *peak_bytes > 0 {
                let _ = write!(text, ", at most {peak_bytes} bytes held, {spilled_bytes} spilled");
            }
            text.push('\n');
            for (rows, kept) in self.tests.iter().filter(|_| number == 0) {
                let _ = writeln!(text, "{indent}        kept {kept} of {rows} rows");
            }
        }
    }
}
