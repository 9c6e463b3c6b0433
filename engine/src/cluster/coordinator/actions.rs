//! What follows from what has ended: parameters, stages that can start, actions that are done.
//!
//! In: tasks that are done. Out: records, outcomes for the driver. Never: a parameter that changes its value; an outcome
//! told before its record is durable.

use super::{Coordinator, JobEvent, JournalRecord, place::Bearer, place::cut_stage};
use crate::{
    cluster::{
        coordinator::{ActionEnded, StageStarted},
        limits::{PAGE_BYTES, RESEND},
        protocol::{
            ActionNumber, ActionOutcome, AttemptKey, AttemptSource, DriverRun, EdgeId, EdgeKind, OrderBody,
            TaskManifest, WorkerState, stage_id,
        },
    },
    plan::decision::{Decision, DecisionNumber, DecisionRecord},
    shuffle::{AttemptId, GroupId, JobId, Round, StageId, TaskId},
};

impl Coordinator {
    /// Everything that follows in a job from what is done.
    pub(super) fn settle(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_working()) else { return };
        let open = job.actions.iter().filter(|(_, action)| !action.is_complete);
        let numbers: Vec<ActionNumber> = open.map(|(number, _)| *number).collect();
        for number in numbers {
            self.settle_parameters(id, number);
            self.start_stages(id, number);
            self.settle_end(id, number);
        }
    }

    fn settle_parameters(&mut self, id: JobId, number: ActionNumber) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(action) = job.actions.get_mut(&number) else { return };
        for index in 0..action.stages.len() {
            let Some(parameter) = action.skeleton.stages[index].gives else { continue };
            if action.parameters.contains_key(&parameter) {
                continue;
            }
            let report = action.stages[index].tasks.first().and_then(|task| task.report());
            let Some(value) = report.and_then(|report| report.value.clone()) else { continue };
            let user = action.skeleton.stages.iter().position(|stage| stage.needs.contains(&parameter));
            let stage = stage_id(number, user.unwrap_or(index));
            let record = DecisionRecord {
                job: id,
                number: DecisionNumber(job.decisions),
                stage,
                round: Round(0),
                decision: Decision::ScalarValue { subquery: parameter.0, value: Some(value.to_vec()) },
            };
            job.decisions += 1;
            action.parameters.insert(parameter, value);
            self.out.append(id, JournalRecord::Decision(Box::new(record)));
            self.out.log(id, JobEvent::ParameterKnown { stage: stage_id(number, index), parameter });
        }
    }

    fn start_stages(&mut self, id: JobId, number: ActionNumber) {
        let ready = self.workers.iter().filter(|(_, worker)| worker.state == WorkerState::Ready);
        let bearers: Vec<Bearer> =
            ready.map(|(name, worker)| Bearer { name: name.clone(), weight: worker.threads }).collect();
        let (now, Some(job)) = (self.now, self.jobs.get_mut(&id)) else { return };
        let takes_result = job.takes_result(number);
        let task_bytes = job.submission.options.task_bytes;
        let Some(action) = job.actions.get_mut(&number).filter(|_| !bearers.is_empty()) else { return };
        let wanted = action.wanted(takes_result);
        for (index, is_wanted) in wanted.into_iter().enumerate() {
            if !is_wanted || !action.stages[index].tasks.is_empty() || !action.is_ready(index) {
                continue;
            }
            let groups = action.group_bytes(index);
            let tasks = cut_stage(&action.skeleton.stages[index], &groups, task_bytes, &bearers);
            let stage = stage_id(number, index);
            self.out.log(id, JobEvent::StageStarted { stage, tasks: tasks.len() });
            action.stages[index].start(&tasks, now);
            self.out.append(id, JournalRecord::StageStarted(StageStarted { stage, tasks }));
            job.revision += 1;
        }
    }

    fn settle_end(&mut self, id: JobId, number: ActionNumber) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(action) = job.actions.get(&number) else { return };
        if matches!(action.ended, Some(Some(_))) {
            return;
        }
        let is_complete = match action.skeleton.result_edge() {
            Some(edge) => action.is_all_made() && self.sources(id, number, edge, None).is_some(),
            None => action.is_all_made(),
        };
        if !is_complete {
            return;
        }
        let is_first = action.ended.is_none();
        if let Some(action) = self.jobs.get_mut(&id).and_then(|job| job.actions.get_mut(&number)) {
            action.is_complete = true;
            action.ended = Some(None);
        }
        if is_first {
            self.out.append(id, JournalRecord::ActionEnded(ActionEnded { action: number, failed: None }));
            self.out.log(id, JobEvent::ActionEnded { action: number, failed: None });
        }
        self.tell_outcome(id, number);
    }

    /// The driver is to hear how the action ended, from the first page on.
    pub(super) fn tell_outcome(&mut self, id: JobId, number: ActionNumber) {
        let first = u64::from(self.options.epoch.0) << 32;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.touch();
        if let Some(action) = job.actions.get_mut(&number) {
            action.revision = action.revision.max(first) + 1;
            action.page = Some(0);
            action.page_said_at = 0;
        }
    }

    /// Sends the next page of each outcome that the driver has not heard yet.
    pub(super) fn deliver(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some((driver, host)) = job.run().map(|(driver, life)| (driver, life.0.clone())) else { return };
        let mut due = Vec::new();
        for (number, action) in &mut job.actions {
            if let Some(page) = action.page
                && (action.page_said_at == 0 || now >= action.page_said_at + RESEND)
            {
                action.page_said_at = now.max(1);
                due.push((*number, action.revision, page));
            }
        }
        for (action, revision, page) in due {
            let mut pages = self.pages(id, action);
            if (page as usize) < pages.len() {
                let (count, outcome) = (pages.len() as u32, pages.swap_remove(page as usize));
                let body = OrderBody::Outcome { driver, action, revision, page, pages: count, outcome };
                self.tell(&host, body);
            }
        }
    }

    pub(super) fn outcome_taken(&mut self, driver: DriverRun, number: ActionNumber, revision: u64, page: u32) {
        let count = self.pages(driver.job, number).len() as u32;
        let Some(job) = self.jobs.get_mut(&driver.job) else { return };
        if job.run().is_none_or(|(run, _)| run != driver) {
            return;
        }
        let Some(action) = job.actions.get_mut(&number) else { return };
        if action.revision == revision && action.page == Some(page) {
            action.page = (page + 1 < count).then_some(page + 1);
            action.page_said_at = 0;
            self.is_dirty = true;
        }
    }

    /// An action's end as the driver hears it: none while its rows are made again.
    fn pages(&self, id: JobId, number: ActionNumber) -> Vec<ActionOutcome> {
        let Some(action) = self.jobs.get(&id).and_then(|job| job.actions.get(&number)) else { return Vec::new() };
        match (&action.ended, action.skeleton.result_edge()) {
            (None, _) => Vec::new(),
            (Some(Some(error)), _) => vec![ActionOutcome::Failed(error.clone())],
            (Some(None), Some(edge)) => {
                let counted = action.counted();
                let rows = self.sources(id, number, edge, None).map(|sources| ActionOutcome::Rows(sources, counted));
                rows.into_iter().collect()
            }
            (Some(None), None) => {
                let (mut pages, mut bytes) = (vec![Vec::new()], 0);
                for manifest in self.manifests(id, number) {
                    if bytes + manifest.manifest.len() > PAGE_BYTES {
                        bytes = 0;
                        pages.push(Vec::new());
                    }
                    bytes += manifest.manifest.len();
                    if let Some(page) = pages.last_mut() {
                        page.push(manifest);
                    }
                }
                let mut counted = action.counted();
                pages.into_iter().map(|page| ActionOutcome::Written(page, std::mem::take(&mut counted))).collect()
            }
        }
    }

    fn manifests(&self, id: JobId, number: ActionNumber) -> Vec<TaskManifest> {
        let Some(action) = self.jobs.get(&id).and_then(|job| job.actions.get(&number)) else { return Vec::new() };
        let mut manifests = Vec::new();
        for (index, stage) in action.stages.iter().enumerate() {
            for (task, tried) in stage.tasks.iter().enumerate() {
                let manifest = tried.report().and_then(|report| report.manifest.clone());
                if let (Some(attempt), Some(manifest)) = (tried.accepted, manifest) {
                    manifests.push(TaskManifest { key: key_of(id, stage_id(number, index), task, attempt), manifest });
                }
            }
        }
        manifests
    }

    /// Where the rows of an edge are: one attempt of each task; none while one is missing or its worker is not here.
    /// Of an edge by groups only `groups`.
    pub(super) fn sources(
        &self,
        id: JobId,
        number: ActionNumber,
        edge: EdgeId,
        groups: Option<&[GroupId]>,
    ) -> Option<Vec<AttemptSource>> {
        let action = self.jobs.get(&id)?.actions.get(&number)?;
        let is_grouped = matches!(action.skeleton.edge(edge)?.kind, EdgeKind::Groups { .. });
        let mut sources = Vec::new();
        for index in action.producers(edge) {
            for (task, tried) in action.stages.get(index)?.tasks.iter().enumerate() {
                let attempt = tried.counts()?;
                let report = attempt.report.as_ref()?;
                let chosen = groups.filter(|_| is_grouped).unwrap_or(&[GroupId(0)]);
                let all: Vec<GroupId>;
                let chosen = if is_grouped && groups.is_none_or(|groups| groups.is_empty()) {
                    // A single task pulls every group.
                    all = (0..report.groups.len()).map(|group| GroupId(group as u16)).collect();
                    &all
                } else {
                    chosen
                };
                let totals = chosen.iter().map(|group| Some((*group, *report.groups.get(usize::from(group.0))?)));
                sources.push(AttemptSource {
                    key: key_of(id, stage_id(number, index), task, tried.accepted?),
                    worker: attempt.life.0.clone(),
                    incarnation: attempt.life.1,
                    address: self.holder(&attempt.life)?.address.clone(),
                    groups: totals.collect::<Option<Vec<_>>>()?,
                });
            }
        }
        Some(sources)
    }
}

fn key_of(job: JobId, stage: StageId, task: usize, attempt: AttemptId) -> AttemptKey {
    AttemptKey { job, stage, task: TaskId(task as u32), attempt }
}
