//! The attempts of a worker, and the plans that they need.
//!
//! In: orders, parts of plans, ends. Out: what to start, stop, drop, ask for and tell. Never: an attempt started twice, or
//! after it was cancelled, or before its plan and those that its plan follows are here; an end told before it happened.
//!
//! ```text
//!   order ─► waiting for its plan ─► running ─► ended ─(end taken, keep)─► held
//!                  │                    │          └──(end taken)──┐         │
//!                  └────────── cancel ──┴──────────────────────────┴─► gone ◄┘
//! ```
//! A gone attempt stays known until its job is forgotten: an order that comes late begins nothing.

use std::collections::BTreeMap;

use super::{Command, Out, Said};
use crate::cluster::protocol::{
    ActionNumber, AttemptEnd, AttemptFailure, AttemptKey, AttemptProgress, Beat, Blob, FailureCause, Order,
    RemoteError, RunningAttempt, ShippedAction, WorkerBody, part_count, stage_place,
};
use crate::{error::Kind, shuffle::JobId};

type PlanKey = (JobId, ActionNumber);

#[derive(Debug, Default)]
pub(super) struct Attempts {
    attempts: BTreeMap<AttemptKey, State>,
    plans: BTreeMap<PlanKey, Plan>,
}

#[derive(Debug)]
enum State {
    Waiting(Box<Order>),
    Running(AttemptProgress),
    Ended { end: AttemptEnd, said: Said },
    Held,
    Gone,
}

/// `coming → storing → stored`
#[derive(Debug)]
struct Plan {
    hash: u64,
    parts: u32,
    /// The part that comes next; all have come when it is `parts`.
    next: u32,
    said: Said,
    is_stored: bool,
    /// The plan that it follows: known with its first part.
    before: Option<ActionNumber>,
    /// It is stored, and so are all that it follows.
    is_ready: bool,
}

/// A part of a plan that has come.
pub(super) struct PlanPart {
    pub(super) part: u32,
    pub(super) parts: u32,
    pub(super) before: Option<ShippedAction>,
    pub(super) bytes: Blob,
}

fn plan_key(key: AttemptKey) -> PlanKey {
    (key.job, stage_place(key.stage).0)
}

fn plan_of(order: &Order) -> ShippedAction {
    let (action, _) = stage_place(order.key.stage);
    ShippedAction { action, plan_hash: order.plan_hash, plan_bytes: order.plan_bytes }
}

impl Attempts {
    pub(super) fn order(&mut self, now: u64, order: Box<Order>, out: &mut Out) {
        let key = order.key;
        match self.attempts.get(&key) {
            Some(State::Gone) => return out.say(WorkerBody::Ended { key, end: gone() }),
            Some(_) => return,
            None => {}
        }
        let state = if self.has_plan(now, key.job, plan_of(&order), out) {
            out.command(Command::StartAttempt { order });
            State::Running(AttemptProgress::default())
        } else {
            State::Waiting(order)
        };
        self.attempts.insert(key, state);
    }

    /// Whether the plan is stored, with all that it follows; it is asked for if nobody has yet.
    pub(super) fn has_plan(&mut self, now: u64, job: JobId, shipped: ShippedAction, out: &mut Out) -> bool {
        let ShippedAction { action, plan_hash: hash, plan_bytes } = shipped;
        let plan = self.plans.entry((job, action)).or_insert_with(|| {
            out.say(want((job, action), 0));
            let (parts, said) = (part_count(plan_bytes), Said::now(now));
            Plan { hash, parts, next: 0, said, is_stored: false, before: None, is_ready: false }
        });
        plan.is_ready
    }

    pub(super) fn plan_part(&mut self, now: u64, key: PlanKey, came: PlanPart, out: &mut Out) {
        let Some(plan) = self.plans.get_mut(&key) else { return };
        let PlanPart { part, parts, before, bytes } = came;
        if part != plan.next || parts != plan.parts {
            return;
        }
        plan.next += 1;
        plan.said = Said::now(now);
        plan.before = before.map(|before| before.action);
        let (job, action) = key;
        out.command(Command::StorePlan { job, action, part, parts, plan_hash: plan.hash, bytes });
        if plan.next < plan.parts {
            out.say(want(key, plan.next));
        }
        if let Some(before) = before.filter(|before| before.action < action) {
            self.has_plan(now, job, before, out);
        }
    }

    pub(super) fn plan_stored(&mut self, job: JobId, action: ActionNumber, out: &mut Out) {
        let Some(plan) = self.plans.get_mut(&(job, action)) else { return };
        plan.is_stored = true;
        let before = plan.before;
        let mut is_ready = before.is_none_or(|before| self.plans.get(&(job, before)).is_some_and(|plan| plan.is_ready));
        // With it those are ready that follow it, one after the other.
        let last = ActionNumber(u32::MAX);
        let mut followed = before;
        for ((_, action), plan) in self.plans.range_mut((job, action)..=(job, last)) {
            is_ready &= plan.is_stored && plan.before == followed;
            if !is_ready {
                break;
            }
            plan.is_ready = true;
            followed = Some(*action);
            for (key, state) in &mut self.attempts {
                if plan_key(*key) == (job, *action) && matches!(state, State::Waiting(_)) {
                    let running = State::Running(AttemptProgress::default());
                    if let State::Waiting(order) = std::mem::replace(state, running) {
                        out.command(Command::StartAttempt { order });
                    }
                }
            }
        }
    }

    /// Whoever waits for the plan fails, or for one that follows it; the next order asks for them anew.
    pub(super) fn plan_failed(
        &mut self,
        now: u64,
        job: JobId,
        action: ActionNumber,
        error: RemoteError,
        out: &mut Out,
    ) {
        if !self.plans.contains_key(&(job, action)) {
            return;
        }
        self.plans.retain(|(of, number), plan| *of != job || *number < action || plan.is_ready);
        for (key, state) in &mut self.attempts {
            let (of, number) = plan_key(*key);
            if of == job && number >= action && matches!(state, State::Waiting(_)) {
                let failure = AttemptFailure::new(error.clone(), FailureCause::Process, Vec::new());
                let end = AttemptEnd::Failed(Box::new(failure));
                out.say(WorkerBody::Ended { key: *key, end: end.clone() });
                *state = State::Ended { end, said: Said::now(now) };
            }
        }
    }

    pub(super) fn set_progress(&mut self, key: AttemptKey, progress: AttemptProgress) {
        if let Some(State::Running(known)) = self.attempts.get_mut(&key) {
            *known = progress;
        }
    }

    pub(super) fn end(&mut self, now: u64, key: AttemptKey, end: AttemptEnd, out: &mut Out) {
        match self.attempts.get_mut(&key) {
            Some(state @ State::Running(_)) => {
                out.say(WorkerBody::Ended { key, end: end.clone() });
                *state = State::Ended { end, said: Said::now(now) };
            }
            Some(State::Waiting(_) | State::Ended { .. } | State::Held) => {}
            // It was cancelled while its end was on the way.
            Some(State::Gone) | None => out.command(Command::DropAttempt { key }),
        }
    }

    pub(super) fn end_taken(&mut self, key: AttemptKey, keep: bool, out: &mut Out) {
        let Some(state) = self.attempts.get_mut(&key) else { return };
        let State::Ended { end, .. } = state else { return };
        if keep && matches!(end, AttemptEnd::Finished(_)) {
            *state = State::Held;
        } else {
            *state = State::Gone;
            out.command(Command::DropAttempt { key });
        }
    }

    pub(super) fn cancel(&mut self, key: AttemptKey, out: &mut Out) {
        match self.attempts.insert(key, State::Gone) {
            Some(State::Running(_)) => out.command(Command::CancelAttempt { key }),
            Some(State::Ended { .. } | State::Held) => out.command(Command::DropAttempt { key }),
            Some(State::Waiting(_) | State::Gone) | None => {}
        }
    }

    /// Whether anything of the job was here.
    pub(super) fn forget(&mut self, job: JobId, out: &mut Out) -> bool {
        let before = self.attempts.len() + self.plans.len();
        self.attempts.retain(|key, state| {
            if key.job == job && matches!(state, State::Running(_)) {
                out.command(Command::CancelAttempt { key: *key });
            }
            key.job != job
        });
        self.plans.retain(|(of, _), _| *of != job);
        before != self.attempts.len() + self.plans.len()
    }

    pub(super) fn held(&self) -> Vec<AttemptKey> {
        self.attempts.iter().filter(|(_, state)| matches!(state, State::Held)).map(|(key, _)| *key).collect()
    }

    pub(super) fn tell(&self, beat: &mut Beat, jobs: &mut BTreeMap<JobId, u32>) {
        for (key, state) in &self.attempts {
            let held = jobs.entry(key.job).or_default();
            match state {
                State::Waiting(_) => {
                    beat.running.push(RunningAttempt { key: *key, progress: AttemptProgress::default() });
                }
                State::Running(progress) => beat.running.push(RunningAttempt { key: *key, progress: *progress }),
                State::Ended { .. } => beat.ended.push(*key),
                State::Held => *held += 1,
                State::Gone => {}
            }
        }
        for (job, _) in self.plans.keys() {
            jobs.entry(*job).or_default();
        }
    }

    pub(super) fn say_again(&mut self, now: u64, out: &mut Out) {
        for (key, state) in &mut self.attempts {
            if let State::Ended { end, said } = state
                && said.is_due(now)
            {
                out.say(WorkerBody::Ended { key: *key, end: end.clone() });
            }
        }
        for (key, plan) in &mut self.plans {
            if plan.next < plan.parts && plan.said.is_due(now) {
                out.say(want(*key, plan.next));
            }
        }
    }
}

/// The answer to an order of an attempt that was cancelled: who asks again must learn that nothing will come.
fn gone() -> AttemptEnd {
    let error = RemoteError::new(Kind::Cancelled, "an attempt that was cancelled is ordered again");
    AttemptEnd::Failed(Box::new(AttemptFailure::new(error, FailureCause::Process, Vec::new())))
}

fn want((job, action): PlanKey, part: u32) -> WorkerBody {
    WorkerBody::WantPlan { job, action, part }
}
