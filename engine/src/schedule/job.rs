//! A job: pipelines on their way, each after those it waits for.
//!
//! In: a [`JobGraph`]. Out: all its sinks are sealed, or the first error. Never: starts a pipeline before those it waits for are
//! complete; never returns while a thread still works for it.
//!
//! ```text
//!   pipeline:  waiting ──(all it waits for complete)──► driven ──(last drive ended)──► fed ──(its sink sealed)──► complete
//!   sink:      open ──(last feeding pipeline fed)──► finalize() ──(last task ended)──► sealed
//! ```
//! A sink may be fed by several pipelines (a union's branches); they become complete together. A pipeline that waits for another
//! feeder of its own sink (a join's left-over build rows, after the probing) therefore waits for *fed* only.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use super::{
    pipeline::Drive,
    queue::Queue,
    thread::{Threads, spread},
};
use crate::{
    error::{Cause, Error, Kind, Result},
    memory::{Revocable, Revoked},
    observe::{Clock, Counters, Profile, tallied},
    operator::{Cancel, JobContext, Sink, Source, Transform},
};

/// One pipeline, ready to be driven.
pub struct Runnable {
    /// Where morsels come from.
    pub source: Arc<dyn Source>,
    /// What is done to them, in order.
    pub transforms: Vec<Arc<dyn Transform>>,
    /// Where they go: an index into [`JobGraph::sinks`].
    pub sink: usize,
    /// The pipelines that must be complete before.
    pub waits_for: Vec<usize>,
}

/// Pipelines and the sinks they feed.
pub struct JobGraph {
    /// In any order; `waits_for` refers to their positions and has no cycle.
    pub pipelines: Vec<Runnable>,
    /// Each is fed by at least one pipeline.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// Where what the pipelines do is recorded, if somebody asks.
    pub profile: Option<Arc<Profile>>,
}

/// Runs the graph on the node's threads and waits for it. Called from outside of them.
pub fn run(threads: &Threads, context: &JobContext, graph: JobGraph) -> Result<()> {
    if super::thread::is_loop() {
        return Err(Nested.into());
    }
    let floor_bytes = graph.sinks.iter().map(|sink| sink.floor_bytes()).sum();
    context.governor.admit(floor_bytes)?;
    let revocables: Vec<Arc<dyn Revocable>> =
        graph.sinks.iter().map(|sink| Arc::new(RevocableSink(Arc::clone(sink))) as Arc<dyn Revocable>).collect();
    revocables.iter().for_each(|revocable| context.governor.register(revocable));
    let job = Arc::new(Job::new(threads, context, graph)?);
    job.start();
    job.wait()
}

/// A sink as the governor sees it, for as long as its job runs.
struct RevocableSink(Arc<dyn Sink>);

impl Revocable for RevocableSink {
    fn revoke(&self, bytes: u64) -> Result<Revoked> {
        self.0.revoke(bytes)
    }
    fn held_bytes(&self) -> u64 {
        self.0.held_bytes()
    }
}

pub(super) struct Job {
    pub(super) pipelines: Vec<Pipeline>,
    sinks: Vec<SinkState>,
    pub(super) cancel: Cancel,
    pub(super) profile: Option<Arc<Profile>>,
    counters: Arc<Counters>,
    queue: Arc<Queue>,
    drive_count: usize,
    is_failed: AtomicBool,
    /// Work that was posted and has not ended, parked drives among it: their wakes always come. At zero the job is complete or has failed.
    active: AtomicUsize,
    incomplete: AtomicUsize,
    state: Mutex<JobState>,
    bell: Condvar,
}

#[derive(Default)]
struct JobState {
    failure: Option<Error>,
    is_over: bool,
}

pub(super) struct Pipeline {
    pub(super) runnable: Runnable,
    pub(super) sink: Arc<dyn Sink>,
    waits: AtomicUsize,
    drives: AtomicUsize,
    waited_by: Vec<usize>,
}

struct SinkState {
    feeders: Vec<usize>,
    unfed: AtomicUsize,
    tasks: AtomicUsize,
}

impl Job {
    fn new(threads: &Threads, context: &JobContext, graph: JobGraph) -> Result<Job> {
        let mut sinks: Vec<SinkState> = graph
            .sinks
            .iter()
            .map(|_| SinkState { feeders: Vec::new(), unfed: AtomicUsize::new(0), tasks: AtomicUsize::new(0) })
            .collect();
        let mut waited_by = vec![Vec::new(); graph.pipelines.len()];
        for (number, pipeline) in graph.pipelines.iter().enumerate() {
            sinks[pipeline.sink].feeders.push(number);
            *sinks[pipeline.sink].unfed.get_mut() += 1;
            for before in &pipeline.waits_for {
                waited_by[*before].push(number);
            }
        }
        let incomplete = graph.pipelines.len();
        let pipelines = graph
            .pipelines
            .into_iter()
            .zip(waited_by)
            .map(|(runnable, waited_by)| Pipeline {
                sink: Arc::clone(&graph.sinks[runnable.sink]),
                waits: AtomicUsize::new(runnable.waits_for.len()),
                drives: AtomicUsize::new(0),
                waited_by,
                runnable,
            })
            .collect();
        Ok(Job {
            pipelines,
            sinks,
            cancel: context.cancel.clone(),
            profile: graph.profile,
            counters: Arc::clone(&context.counters),
            queue: Arc::clone(threads.queue()),
            drive_count: threads.thread_count(),
            is_failed: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            incomplete: AtomicUsize::new(incomplete),
            state: Mutex::default(),
            bell: Condvar::new(),
        })
    }

    fn start(self: &Arc<Job>) {
        // Held while the first pipelines are posted, so that the job is not over before all of them are.
        self.active.fetch_add(1, SeqCst);
        for number in 0..self.pipelines.len() {
            if self.pipelines[number].runnable.waits_for.is_empty() {
                self.start_pipeline(number);
            }
        }
        self.work_ended();
    }

    fn wait(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.is_over {
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.failure.take().map_or(Ok(()), Err)
    }

    fn start_pipeline(self: &Arc<Job>, number: usize) {
        self.pipelines[number].drives.store(self.drive_count, SeqCst);
        for _ in 0..self.drive_count {
            self.post_drive(Drive::new(number));
        }
    }

    /// One more unit of work is active until [`Job::work_ended`] is called for it.
    pub(super) fn hold(&self) {
        self.active.fetch_add(1, SeqCst);
    }

    /// Posts a drive, new or woken.
    pub(super) fn post_drive(self: &Arc<Job>, drive: Drive) {
        self.post(move |job| drive.run(job));
    }

    /// Posts work of this job; what it returns or panics with is the job's failure. What its closures count is the job's before the work ends.
    fn post(self: &Arc<Job>, work: impl FnOnce(&Arc<Job>) -> Result<()> + Send + 'static) {
        self.active.fetch_add(1, SeqCst);
        let job = Arc::clone(self);
        self.queue.post(Box::new(move || {
            if job.is_failed() {
                // Before the count falls: when `run` returns nothing of the job may be held by its work.
                drop(work);
            } else {
                let result = catch_unwind(AssertUnwindSafe(|| tallied(&job.counters, || work(&job))));
                match result {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => job.fail(error),
                    Err(panic) => job.fail(Panicked { message: message_of(&*panic) }.into()),
                }
            }
            job.work_ended();
        }));
    }

    pub(super) fn is_failed(&self) -> bool {
        self.is_failed.load(SeqCst)
    }

    fn fail(&self, error: Error) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.get_or_insert(error);
        self.is_failed.store(true, SeqCst);
    }

    pub(super) fn work_ended(&self) {
        let is_last = self.active.fetch_sub(1, SeqCst) == 1;
        if is_last && (self.is_failed() || self.incomplete.load(SeqCst) == 0) {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
            self.bell.notify_all();
        }
    }

    /// One thread's drive of the pipeline has come to its end.
    pub(super) fn drive_ended(self: &Arc<Job>, number: usize) -> Result<()> {
        let pipeline = &self.pipelines[number];
        if pipeline.drives.fetch_sub(1, SeqCst) > 1 {
            return Ok(());
        }
        pipeline.runnable.source.close();
        pipeline.runnable.transforms.iter().for_each(|transform| transform.close());
        let sink_number = pipeline.runnable.sink;
        self.release(number, |waiting| waiting.sink == sink_number);
        let sink = &self.sinks[sink_number];
        if sink.unfed.fetch_sub(1, SeqCst) > 1 {
            return Ok(());
        }
        let clock = self.clock_of_sink(number);
        let tasks = pipeline.sink.finalize()?;
        drop(clock);
        if tasks.is_empty() {
            self.sink_sealed(sink_number);
            return Ok(());
        }
        sink.tasks.store(tasks.len(), SeqCst);
        for task in tasks {
            self.post(move |job| {
                job.cancel.check()?;
                let clock = job.clock_of_sink(number);
                spread(task)?;
                drop(clock);
                if job.sinks[sink_number].tasks.fetch_sub(1, SeqCst) == 1 {
                    job.sink_sealed(sink_number);
                }
                Ok(())
            });
        }
        Ok(())
    }

    /// It is the time of the pipeline's sink, if anybody asks.
    fn clock_of_sink(&self, pipeline: usize) -> Option<Clock> {
        let mut clock = Clock::start(self.profile.as_ref(), pipeline)?;
        clock.enter(clock.last_step());
        Some(clock)
    }

    fn sink_sealed(self: &Arc<Job>, sink_number: usize) {
        for feeder in &self.sinks[sink_number].feeders {
            self.incomplete.fetch_sub(1, SeqCst);
            self.release(*feeder, |waiting| waiting.sink != sink_number);
        }
    }

    /// Tells those of the pipelines that wait for `number` that they no longer do.
    fn release(self: &Arc<Job>, number: usize, is_meant: impl Fn(&Runnable) -> bool) {
        for waiting in &self.pipelines[number].waited_by {
            let pipeline = &self.pipelines[*waiting];
            if is_meant(&pipeline.runnable) && pipeline.waits.fetch_sub(1, SeqCst) == 1 {
                self.start_pipeline(*waiting);
            }
        }
    }
}

/// A closure of a job asked for another job.
#[derive(Debug, thiserror::Error)]
#[error("running a job inside a closure of another job: the thread it would wait on is its own")]
struct Nested;

impl Cause for Nested {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some("run the inner job first and let the closure use its answer, or join the two".to_owned())
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Code on a compute thread panicked: the user's closure, or a bug of ours.
#[derive(Debug, thiserror::Error)]
#[error("a task panicked: {message}")]
pub struct Panicked {
    /// What the panic said.
    pub message: String,
}

impl Cause for Panicked {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}
