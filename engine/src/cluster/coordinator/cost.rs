//! What a job has cost: added up over its attempts.
//!
//! In: the reports of attempts. Out: [`JobProfile`], [`JobCost`]. Never: two attempts of a task counted as work that was needed; what the
//! others did stands apart.

use std::collections::BTreeMap;

use super::{
    Life,
    job::Job,
    stage::{Action, Attempt},
};
use crate::{
    cluster::{
        limits::{JOB_PROFILE_NUMBERS_MAX, STAGES_SHOWN_MAX},
        protocol::{
            AttemptReport, AttemptState, JobCost, JobProfile, StageCounters, StageProfile, Wasted, WorkerName,
            WorkerProfile, cpu_micros, stage_id,
        },
    },
    shuffle::StageId,
};

/// In a few numbers.
pub(super) fn cost(job: &Job) -> JobCost {
    let mut cost = JobCost::default();
    let mut stretches: BTreeMap<&Life, Vec<(u64, u64)>> = BTreeMap::new();
    for task in job.actions.values().flat_map(|action| &action.stages).flat_map(|stage| &stage.tasks) {
        if let Some(counters) = task.counts().and_then(|attempt| attempt.counters) {
            cost.rows_in += counters.rows_in;
            cost.bytes_in += counters.bytes_in;
            cost.bytes_spilled += counters.bytes_spilled;
        }
        for attempt in &task.attempts {
            let Some(counters) = &attempt.counters else { continue };
            cost.peak_bytes = cost.peak_bytes.max(counters.peak_bytes);
            stretches.entry(&attempt.life).or_default().push((counters.cpu_from, counters.cpu_until));
        }
    }
    cost.cpu_micros = stretches.into_values().map(cpu_micros).sum();
    cost
}

/// In full.
pub(super) fn profile(job: &Job) -> JobProfile {
    let mut profile = JobProfile { job: job.id(), ..JobProfile::default() };
    let mut numbers = 0;
    for (number, action) in &job.actions {
        for index in (0..action.stages.len()).filter(|index| !action.stages[*index].tasks.is_empty()) {
            if profile.stages.len() >= STAGES_SHOWN_MAX {
                profile.is_cut = true;
                break;
            }
            let mut stage = of_stage(stage_id(*number, index), action, index);
            numbers += stage.counters.as_ref().map_or(0, StageCounters::numbers);
            if numbers > JOB_PROFILE_NUMBERS_MAX {
                stage.counters = None;
                profile.is_cut = true;
            }
            profile.stages.push(stage);
        }
    }
    profile.workers = workers(job);
    profile
}

fn of_stage(id: StageId, action: &Action, index: usize) -> StageProfile {
    let stage = &action.stages[index];
    let mut profile = StageProfile {
        stage: id,
        kind: action.skeleton.stages[index].kind,
        tasks: stage.tasks.len() as u32,
        attempts: 0,
        failed: 0,
        lost: 0,
        cancelled: 0,
        rows_in: 0,
        bytes_in: 0,
        rows_taken: 0,
        bytes_taken: 0,
        bytes_pulled: 0,
        rows_out: 0,
        bytes_out: 0,
        bytes_spilled: 0,
        task_micros: [0; 3],
        wasted: Wasted::default(),
        counters: None,
    };
    let mut micros = Vec::with_capacity(stage.tasks.len());
    for task in &stage.tasks {
        profile.attempts += task.attempts.len() as u32;
        for (number, attempt) in task.attempts.iter().enumerate() {
            match attempt.state {
                AttemptState::Failed => profile.failed += 1,
                AttemptState::Lost => profile.lost += 1,
                AttemptState::Cancelled => profile.cancelled += 1,
                AttemptState::Running | AttemptState::Finished => {}
            }
            let counts = task.accepted.is_some_and(|accepted| accepted.0 as usize == number);
            if !counts && attempt.state != AttemptState::Running {
                waste(&mut profile.wasted, attempt);
            }
        }
        let Some(report) = task.report() else { continue };
        micros.push(report.counters.micros);
        add(&mut profile, report);
    }
    micros.sort_unstable();
    if let (Some(first), Some(last)) = (micros.first(), micros.last()) {
        // Of an even number: between the two in the middle.
        let (low, high) = (micros[(micros.len() - 1) / 2], micros[micros.len() / 2]);
        profile.task_micros = [*first, low + (high - low) / 2, *last];
    }
    profile
}

/// What the attempt that counts has made.
fn add(profile: &mut StageProfile, report: &AttemptReport) {
    let counters = &report.counters;
    profile.rows_in += counters.rows_in;
    profile.bytes_in += counters.bytes_in;
    profile.rows_taken += report.taken.iter().map(|taken| taken.rows).sum::<u64>();
    profile.bytes_taken += counters.bytes_taken;
    profile.bytes_pulled += counters.bytes_pulled;
    profile.rows_out += report.groups.iter().map(|group| group.rows).sum::<u64>();
    profile.bytes_out += report.groups.iter().map(|group| group.bytes).sum::<u64>();
    profile.bytes_spilled += counters.bytes_spilled;
    if let Some(counters) = &report.profile {
        profile.counters.get_or_insert_default().add(counters);
    }
}

/// What an attempt did that does not count: by its own account, or its worker's last.
fn waste(wasted: &mut Wasted, attempt: &Attempt) {
    let counters = attempt.counters.unwrap_or_default();
    wasted.rows_in += counters.rows_in.max(attempt.progress.rows);
    wasted.bytes_in += counters.bytes_in.max(attempt.progress.bytes);
    wasted.micros += counters.micros;
}

fn workers(job: &Job) -> Vec<WorkerProfile> {
    let mut workers: BTreeMap<&WorkerName, WorkerProfile> = BTreeMap::new();
    let mut stretches: BTreeMap<&Life, Vec<(u64, u64)>> = BTreeMap::new();
    for task in job.actions.values().flat_map(|action| &action.stages).flat_map(|stage| &stage.tasks) {
        for (number, attempt) in task.attempts.iter().enumerate() {
            let worker = workers.entry(&attempt.life.0).or_default();
            let counts = task.accepted.is_some_and(|accepted| accepted.0 as usize == number);
            worker.tasks += u32::from(counts);
            worker.wasted += u32::from(!counts);
            let Some(counters) = &attempt.counters else { continue };
            worker.peak_bytes = worker.peak_bytes.max(counters.peak_bytes);
            stretches.entry(&attempt.life).or_default().push((counters.cpu_from, counters.cpu_until));
            if counts {
                worker.bytes_pulled += counters.bytes_pulled;
                worker.bytes_spilled += counters.bytes_spilled;
            }
        }
        for pulled in task.report().iter().flat_map(|report| &report.pulled) {
            workers.entry(&pulled.worker).or_default().bytes_sent += pulled.bytes;
        }
    }
    for (life, stretches) in stretches {
        if let Some(worker) = workers.get_mut(&life.0) {
            worker.cpu_micros += cpu_micros(stretches);
        }
    }
    workers.into_iter().map(|(name, worker)| WorkerProfile { name: name.clone(), ..worker }).collect()
}
