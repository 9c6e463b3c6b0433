//! What attempts cost, as they say it at their end, and what a job cost, as the coordinator adds it up.
//!
//! In: counts of attempts. Out: bounded lists of numbers. Never: what anybody decides by; a name of an operator: whoever asks has the plan.
//!
//! A profile goes by position: pipelines in the order in which the stage is made real, each with its source, transforms and sink, which is
//! the same in every task of a stage. So profiles are added number by number.

use serde::{Deserialize, Serialize};

use super::{ProtocolError, StageKind, WorkerName, at_most};
use crate::{
    cluster::limits::{COUNTED_BYTES_MAX, JOB_PROFILE_NUMBERS_MAX, PROFILE_NUMBERS_MAX, STAGES_SHOWN_MAX, WORKERS_MAX},
    observe::{Counted, PipelineReport, ProfileReport, StepReport},
    shuffle::{JobId, StageId},
};

/// What an attempt cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptCounters {
    /// Rows that its scans gave.
    pub rows_in: u64,
    /// Bytes that it read from files.
    pub bytes_in: u64,
    /// Bytes of frames that it took of edges, from its own worker too.
    pub bytes_taken: u64,
    /// Of those, bytes that came over the network.
    pub bytes_pulled: u64,
    /// Bytes spilled.
    pub bytes_spilled: u64,
    /// Microseconds from its start to its end.
    pub micros: u64,
    /// Processor time of its process, user and system, in microseconds: when it began.
    pub cpu_from: u64,
    /// And when it ended. Attempts that ran at the same time have the same stretch of it: see [`cpu_micros`].
    pub cpu_until: u64,
    /// Largest resident set of its process until then.
    pub peak_bytes: u64,
}

/// Processor time of a process within these stretches, each moment once.
pub fn cpu_micros(mut stretches: Vec<(u64, u64)>) -> u64 {
    stretches.sort_unstable();
    let (mut sum, mut until) = (0, 0);
    for (first, last) in stretches {
        let first = first.max(until);
        sum += last.saturating_sub(first);
        until = until.max(last);
    }
    sum
}

/// Bytes of frames that came over the network from one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledFrom {
    /// Which.
    pub worker: WorkerName,
    /// Bytes.
    pub bytes: u64,
}

/// What the pipelines of an attempt, or of all attempts of a stage that count, did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCounters {
    /// Threads of a node.
    pub threads: u32,
    /// Those for the rounds of joins behind the plan's.
    pub pipelines: Vec<PipelineCounters>,
}

/// What a pipeline did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineCounters {
    /// Nanoseconds while some thread worked on it; of several tasks the sum.
    pub nanos: u64,
    /// Of those, while not all threads did.
    pub not_all_threads_nanos: u64,
    /// The source, the transforms, the sink.
    pub steps: Vec<StepCounters>,
    /// Of each test of its scan: rows that it saw, rows that it kept.
    pub tests: Vec<(u64, u64)>,
    /// Most bytes that the state held in which it ends; of several tasks the most of one.
    pub peak_bytes: u64,
    /// Bytes that this state wrote to disk for want of memory.
    pub spilled_bytes: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCounters {
    /// Nanoseconds of all threads.
    pub nanos: u64,
    /// Rows that it took in; the source: gave.
    pub rows: u64,
    /// Bytes of those rows.
    pub bytes: u64,
}

impl StageCounters {
    /// What an attempt's profile says; none if it has more numbers than travel.
    pub fn of(report: &ProfileReport) -> Option<StageCounters> {
        let counters = StageCounters {
            threads: report.threads as u32,
            pipelines: report.pipelines.iter().map(PipelineCounters::of).collect(),
        };
        (counters.numbers() <= PROFILE_NUMBERS_MAX).then_some(counters)
    }

    /// Counts another attempt too: sums, but for what is a maximum.
    pub fn add(&mut self, other: &StageCounters) {
        self.threads = self.threads.max(other.threads);
        fill(&mut self.pipelines, other.pipelines.len());
        for (pipeline, other) in self.pipelines.iter_mut().zip(&other.pipelines) {
            pipeline.add(other);
        }
    }

    /// As it is shown, without names.
    pub fn reports(&self) -> Vec<PipelineReport> {
        self.pipelines.iter().map(PipelineCounters::report).collect()
    }

    /// How many pipelines, steps and tests there are.
    pub fn numbers(&self) -> usize {
        self.pipelines.iter().map(|pipeline| 1 + pipeline.steps.len() + pipeline.tests.len()).sum()
    }

    pub(super) fn check(&self) -> Result<(), ProtocolError> {
        at_most("numbers of a profile", self.numbers(), PROFILE_NUMBERS_MAX)
    }
}

impl PipelineCounters {
    fn of(report: &PipelineReport) -> PipelineCounters {
        PipelineCounters {
            nanos: nanos(report.seconds),
            not_all_threads_nanos: nanos(report.not_all_threads_seconds),
            steps: report
                .steps
                .iter()
                .map(|step| StepCounters { nanos: nanos(step.seconds), rows: step.rows, bytes: step.bytes })
                .collect(),
            tests: report.tests.clone(),
            peak_bytes: report.peak_bytes,
            spilled_bytes: report.spilled_bytes,
        }
    }

    // Whatever numbers come from others, the sum is a number.
    fn add(&mut self, other: &PipelineCounters) {
        let sum = |to: &mut u64, by: u64| *to = to.saturating_add(by);
        sum(&mut self.nanos, other.nanos);
        sum(&mut self.not_all_threads_nanos, other.not_all_threads_nanos);
        sum(&mut self.spilled_bytes, other.spilled_bytes);
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
        fill(&mut self.steps, other.steps.len());
        for (step, other) in self.steps.iter_mut().zip(&other.steps) {
            sum(&mut step.nanos, other.nanos);
            sum(&mut step.rows, other.rows);
            sum(&mut step.bytes, other.bytes);
        }
        fill(&mut self.tests, other.tests.len());
        for ((rows, kept), other) in self.tests.iter_mut().zip(&other.tests) {
            sum(rows, other.0);
            sum(kept, other.1);
        }
    }

    fn report(&self) -> PipelineReport {
        let step = |step: &StepCounters| StepReport {
            name: String::new(),
            seconds: seconds(step.nanos),
            rows: step.rows,
            bytes: step.bytes,
        };
        PipelineReport {
            name: String::new(),
            seconds: seconds(self.nanos),
            not_all_threads_seconds: seconds(self.not_all_threads_nanos),
            steps: self.steps.iter().map(step).collect(),
            tests: self.tests.clone(),
            peak_bytes: self.peak_bytes,
            spilled_bytes: self.spilled_bytes,
        }
    }
}

/// Attempts of a stage have the same shape; should one have more, nothing of it is left out.
fn fill<T: Default + Clone>(list: &mut Vec<T>, length: usize) {
    if list.len() < length {
        list.resize(length, T::default());
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// What a job cost, in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCost {
    /// Rows that scans gave to the attempts that count.
    pub rows_in: u64,
    /// Bytes that those read from files.
    pub bytes_in: u64,
    /// Bytes that those spilled.
    pub bytes_spilled: u64,
    /// Processor time of the workers' processes while attempts of the job ran there, of all attempts.
    pub cpu_micros: u64,
    /// Largest resident set of one of those processes.
    pub peak_bytes: u64,
}

/// What a job cost in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProfile {
    /// Which job.
    pub job: JobId,
    /// Its stages that have started.
    pub stages: Vec<StageProfile>,
    /// Those who ran attempts of it, by name.
    pub workers: Vec<WorkerProfile>,
    /// There is more than is told.
    pub is_cut: bool,
}

/// What a stage cost. What an attempt made counts once: of each task the attempt that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageProfile {
    /// Which.
    pub stage: StageId,
    /// How it is cut.
    pub kind: StageKind,
    /// How many tasks it has.
    pub tasks: u32,
    /// Attempts of all kinds.
    pub attempts: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that were lost, with their worker or with what they had made.
    pub lost: u32,
    /// Those that were not needed.
    pub cancelled: u32,
    /// Rows and bytes that scans gave and read.
    pub rows_in: u64,
    /// See above.
    pub bytes_in: u64,
    /// Rows taken of edges.
    pub rows_taken: u64,
    /// Bytes of their frames.
    pub bytes_taken: u64,
    /// Of those, bytes that came over the network.
    pub bytes_pulled: u64,
    /// Rows written to its edge, by the ledger.
    pub rows_out: u64,
    /// Bytes of their frames.
    pub bytes_out: u64,
    /// Bytes spilled.
    pub bytes_spilled: u64,
    /// Microseconds of its quickest, middle and slowest task, from the attempt's start to its end.
    pub task_micros: [u64; 3],
    /// What was done by attempts that do not count, as far as they told it.
    pub wasted: Wasted,
    /// What its pipelines did, where that was recorded.
    pub counters: Option<StageCounters>,
}

/// What was done in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wasted {
    /// Rows read or pulled.
    pub rows_in: u64,
    /// Bytes read or pulled.
    pub bytes_in: u64,
    /// Microseconds, of those attempts that ended.
    pub micros: u64,
}

/// What a worker did for a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProfile {
    /// Who.
    pub name: WorkerName,
    /// Attempts that count.
    pub tasks: u32,
    /// Attempts that do not.
    pub wasted: u32,
    /// Processor time of its process while attempts of the job ran there.
    pub cpu_micros: u64,
    /// Bytes of frames that attempts of others pulled from it.
    pub bytes_sent: u64,
    /// Bytes of frames that its attempts pulled from others.
    pub bytes_pulled: u64,
    /// Bytes spilled.
    pub bytes_spilled: u64,
    /// Largest resident set of its process.
    pub peak_bytes: u64,
}

impl JobProfile {
    /// How many pipelines, steps and tests are told of all stages.
    pub fn numbers(&self) -> usize {
        self.stages.iter().filter_map(|stage| stage.counters.as_ref()).map(StageCounters::numbers).sum()
    }

    pub(super) fn check(&self) -> Result<(), ProtocolError> {
        at_most("stages", self.stages.len(), STAGES_SHOWN_MAX)?;
        at_most("numbers of a profile", self.numbers(), JOB_PROFILE_NUMBERS_MAX)?;
        at_most("workers", self.workers.len(), 2 * WORKERS_MAX)?;
        self.workers.iter().try_for_each(|worker| worker.name.check())
    }
}

pub(super) fn check_counted(counted: &Counted) -> Result<(), ProtocolError> {
    at_most("bytes of what was counted", if counted.fits() { 0 } else { usize::MAX }, COUNTED_BYTES_MAX)
}

pub(super) fn check_pulled(pulled: &[PulledFrom]) -> Result<(), ProtocolError> {
    at_most("workers that were pulled from", pulled.len(), WORKERS_MAX)?;
    pulled.iter().try_for_each(|pulled| pulled.worker.check())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_a_processor_counts_once() {
        assert_eq!(cpu_micros(vec![]), 0);
        assert_eq!(cpu_micros(vec![(10, 30), (0, 5)]), 25);
        assert_eq!(cpu_micros(vec![(20, 50), (10, 30), (12, 18), (60, 60)]), 40);
        // A process that was started again counts from nothing, and what cannot be is nothing.
        assert_eq!(cpu_micros(vec![(9, 3), (0, 4)]), 4);
    }

    fn profile(steps: usize) -> ProfileReport {
        let step = |number: u64| StepReport { seconds: 0.25, rows: number, bytes: 8 * number, ..StepReport::default() };
        let pipeline = PipelineReport {
            seconds: 1.5,
            not_all_threads_seconds: 0.5,
            steps: (0..steps as u64).map(step).collect(),
            tests: vec![(10, 4)],
            peak_bytes: 100,
            spilled_bytes: 7,
            ..PipelineReport::default()
        };
        ProfileReport { threads: 2, pipelines: vec![pipeline], ..ProfileReport::default() }
    }

    #[test]
    fn profiles_are_added_number_by_number() {
        let one = StageCounters::of(&profile(3)).unwrap();
        assert_eq!(one.reports(), profile(3).pipelines);
        let mut other = one.clone();
        other.pipelines[0].peak_bytes = 40;
        let mut sum = StageCounters::default();
        sum.add(&one);
        assert_eq!(sum, one);
        sum.add(&other);
        let shown = &sum.reports()[0];
        assert_eq!((shown.seconds, shown.not_all_threads_seconds), (3.0, 1.0));
        assert_eq!((shown.peak_bytes, shown.spilled_bytes, shown.tests[0]), (100, 14, (20, 8)));
        assert_eq!((shown.steps[2].rows, shown.steps[2].bytes, shown.steps[2].seconds), (4, 32, 0.5));
        // One of another shape leaves nothing out.
        sum.add(&StageCounters::of(&profile(4)).unwrap());
        assert_eq!(sum.pipelines[0].steps.iter().map(|step| step.rows).collect::<Vec<_>>(), [0, 3, 6, 3]);
    }

    #[test]
    fn a_profile_that_is_too_long_does_not_travel() {
        assert!(StageCounters::of(&profile(PROFILE_NUMBERS_MAX - 2)).is_some());
        assert_eq!(StageCounters::of(&profile(PROFILE_NUMBERS_MAX - 1)), None);
    }
}
