//! Which waiting task goes to which worker.
//!
//! In: tasks that can be tried, workers with a free slot. Out: orders. Never: a worker's only task of a stage taken from
//! it while it has had none; a task twice at a time; an order whose inputs are not all here.
//!
//! A worker takes the tasks that prefer it. One that has none left steals from the longest queue. Jobs with fewer
//! running attempts come first.

use std::collections::BTreeMap;

use super::{
    Coordinator, JobEvent, JournalRecord,
    stage::{Action, Attempt, Task},
    workers::Worker,
};
use crate::{
    cluster::{
        coordinator::AttemptStarted,
        limits::{RESEND, STEAL_GUARD},
        protocol::{
            ActionNumber, AttemptKey, AttemptState, Order, OrderBody, OrderInput, WorkerName, WorkerState, stage_id,
            stage_place,
        },
    },
    shuffle::{AttemptId, JobId, TaskId},
};

impl Coordinator {
    /// Orders as much as there are free slots for.
    pub(super) fn assign(&mut self) {
        while self.workers.values().any(Worker::is_free) {
            let running = |id: &JobId| {
                self.workers.values().flat_map(|worker| &worker.running).filter(|key| key.job == *id).count()
            };
            let mut order: Vec<(usize, JobId)> = self.line.iter().map(|id| (running(id), *id)).collect();
            order.sort_by_key(|(running, _)| *running);
            let chosen = order.into_iter().find_map(|(_, id)| self.choose(id));
            let Some(choice) = chosen else { return };
            self.order(choice);
        }
    }

    fn choose(&self, id: JobId) -> Option<Choice> {
        let job = self.jobs.get(&id).filter(|job| job.is_working())?;
        for (number, action) in job.actions.iter().filter(|(_, action)| !action.is_complete) {
            let wanted = action.wanted(job.takes_result(*number));
            for (index, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
                let stage = &action.stages[index];
                if stage.done == stage.tasks.len() || !action.is_ready(index) || !self.are_inputs_here(action, index) {
                    continue;
                }
                let waits = |task: &Task| task.accepted.is_none() && !task.is_running() && self.now >= task.not_before;
                let waiting = stage.tasks.iter().enumerate().filter(|(_, task)| waits(task));
                let waiting: Vec<(usize, &Task)> = waiting.collect();
                if let Some((task, worker)) = self.choose_task(&stage.tasks, &waiting) {
                    return Some(Choice { job: id, action: *number, stage: index, task, worker });
                }
            }
        }
        None
    }

    fn choose_task(&self, all: &[Task], waiting: &[(usize, &Task)]) -> Option<(usize, WorkerName)> {
        let mut free: Vec<_> = self.workers.iter().filter(|(_, worker)| worker.is_free()).collect();
        free.sort_by_key(|(_, worker)| worker.running.len());
        let is_ready =
            |name: &WorkerName| self.workers.get(name).is_some_and(|worker| worker.state == WorkerState::Ready);
        let ready = self.workers.values().filter(|worker| worker.state == WorkerState::Ready).count();
        let suits = |task: &Task, name: &WorkerName| {
            task.avoid.as_ref() != Some(name) || ready == 1 || self.now >= task.not_before + STEAL_GUARD
        };

        let mut queues: BTreeMap<&WorkerName, Vec<&(usize, &Task)>> = BTreeMap::new();
        let mut orphans = Vec::new();
        for entry in waiting {
            match entry.1.preferred().filter(|name| is_ready(name)) {
                Some(name) => queues.entry(name).or_default().push(entry),
                None => orphans.push(entry),
            }
        }
        // Its own.
        for (name, _) in &free {
            let own = queues.get(name).into_iter().flatten().find(|(_, task)| suits(task, name));
            if let Some((task, _)) = own {
                return Some((*task, (*name).clone()));
            }
        }
        // Nobody's.
        for (task, shape) in orphans {
            if let Some((name, _)) = free.iter().find(|(name, _)| suits(shape, name)) {
                return Some((*task, (*name).clone()));
            }
        }
        // Somebody's, from the longest queue, but not the only one of who has had none.
        let has_had_one = |name: &WorkerName| {
            let mut attempts = all.iter().flat_map(|task| &task.attempts);
            attempts.any(|attempt| attempt.life.0 == *name)
        };
        let mut queues: Vec<_> = queues.into_iter().collect();
        queues.sort_by_key(|(_, queue)| std::cmp::Reverse(queue.len()));
        for (victim, queue) in queues {
            let Some((task, shape)) = queue.iter().rev().find(|(_, task)| task.prefer.is_none()) else { continue };
            let is_kept = queue.len() == 1 && !has_had_one(victim) && self.now < shape.waiting_since + STEAL_GUARD;
            if is_kept {
                continue;
            }
            if let Some((name, _)) = free.iter().find(|(name, _)| *name != victim && suits(shape, name)) {
                return Some((*task, (*name).clone()));
            }
        }
        None
    }

    /// All attempts that a stage pulls are held by workers that are here: after a restart of ours some may yet come.
    fn are_inputs_here(&self, action: &Action, index: usize) -> bool {
        let edges = &action.skeleton.stages[index].inputs;
        let mut tasks =
            edges.iter().flat_map(|edge| action.producers(*edge)).flat_map(|from| &action.stages[from].tasks);
        tasks.all(|task| task.counts().is_some_and(|attempt| self.holder(&attempt.life).is_some()))
    }

    fn order(&mut self, choice: Choice) {
        let now = self.now;
        let Choice { job: id, action: number, stage: index, task, worker } = choice;
        let Some(life) = self.workers.get(&worker).map(|known| known.life(&worker)) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(action) = job.actions.get_mut(&number) else { return };
        let Some(tried) = action.stages.get_mut(index).and_then(|stage| stage.tasks.get_mut(task)) else { return };
        let attempt = AttemptId(tried.attempts.len() as u32);
        let key = AttemptKey { job: id, stage: stage_id(number, index), task: TaskId(task as u32), attempt };
        tried.attempts.push(Attempt::new(life.clone(), now));
        job.touch();
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.running.insert(key);
        }
        let record = AttemptStarted { key, worker: life.0.clone(), incarnation: life.1 };
        self.out.append(id, JournalRecord::AttemptStarted(record));
        self.out.log(id, JobEvent::AttemptStarted { attempt: key, worker: life.0 });
        self.say_order(key);
    }

    /// An order that its worker does not show; or the attempt is given up, when its inputs are gone meanwhile.
    pub(super) fn order_again(&mut self, key: AttemptKey) {
        let (number, index) = stage_place(key.stage);
        let Some((job, attempt, _)) = self.attempt(key) else { return };
        if attempt.state != AttemptState::Running || self.now < attempt.ordered_at + RESEND {
            return;
        }
        match job.actions.get(&number) {
            Some(action) if action.is_ready(index) => self.say_order(key),
            _ => self.lose_attempt(key),
        }
    }

    fn say_order(&mut self, key: AttemptKey) {
        let now = self.now;
        let Some(order) = self.order_of(key) else { return };
        let (number, index) = stage_place(key.stage);
        let expected =
            order.inputs.iter().map(|input| (input.edge, input.attempts.iter().map(|from| from.rows()).sum()));
        let expected = expected.collect();
        let action = self.jobs.get_mut(&key.job).and_then(|job| job.actions.get_mut(&number));
        let Some(attempt) = action.and_then(|action| action.attempt_mut(index, key.task.0, key.attempt)) else {
            return;
        };
        attempt.ordered_at = now;
        attempt.expected = expected;
        let worker = attempt.life.0.clone();
        self.tell(&worker, OrderBody::Run(Box::new(order)));
    }

    /// What the attempt is told; none while an input is not here.
    fn order_of(&self, key: AttemptKey) -> Option<Order> {
        let (number, index): (ActionNumber, usize) = stage_place(key.stage);
        let job = self.jobs.get(&key.job)?;
        let action = job.actions.get(&number)?;
        let shape = &action.skeleton.stages.get(index)?;
        let task = &action.stages.get(index)?.tasks.get(key.task.0 as usize)?.shape;
        let mut inputs = Vec::new();
        for edge in &shape.inputs {
            let attempts = self.sources(key.job, number, *edge, Some(&task.groups))?;
            inputs.push(OrderInput { edge: *edge, attempts });
        }
        let mut parameters = Vec::new();
        for need in &shape.needs {
            parameters.push((*need, action.parameters.get(need)?.clone()));
        }
        parameters.sort_by_key(|(number, _)| *number);
        Some(Order {
            key,
            splits: task.splits.0..task.splits.1,
            groups: task.groups.clone(),
            inputs,
            parameters,
            plan_hash: action.plan_hash,
            plan_bytes: action.plan.len() as u64,
            nodes: job.nodes.unwrap_or(1),
        })
    }
}

/// A task and who takes it.
struct Choice {
    job: JobId,
    action: ActionNumber,
    stage: usize,
    task: usize,
    worker: WorkerName,
}
