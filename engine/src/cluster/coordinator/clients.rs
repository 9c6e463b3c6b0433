//! What clients ask, and what they see.
//!
//! In: requests, silence. Out: answers, updates; jobs that end with their client, rows that nobody takes. Never: `Submitted`
//! before the job is durable.

use super::{Coordinator, JobEvent, JournalRecord, Peer, cost, job::Job, job::Watcher, stage::Action};
use crate::{
    cluster::{
        coordinator::Epitaph,
        limits::{ATTEMPTS_REMEMBERED_MAX, ATTEMPTS_SHOWN_MAX, CLIENT_GRACE, JOBS_MAX, SUMMARIES_MAX, WATCH_EVERY},
        protocol::{
            Answer, AttemptSource, AttemptState, AttemptView, ClusterView, FromClient, JobState, JobUpdate, JobView,
            Link, RemoteError, Request, StageProgress, StageView, Submission, WorkerState, WorkerView, stage_id,
        },
    },
    error::Kind,
    shuffle::{AttemptId, JobId, TaskId},
};

impl Coordinator {
    pub(super) fn handle_client(&mut self, link: Link, message: FromClient) {
        if self.links.get(&link) != Some(&Peer::Client) {
            return;
        }
        let FromClient { request, body } = message;
        let answer = match body {
            Request::Submit(submission) => self.submit(submission),
            Request::Watch { job } => self.watch(link, request, job),
            Request::Taken { job } => {
                if self.jobs.get(&job).is_some_and(|job| job.state.is_ended()) {
                    self.retire(job);
                }
                match self.jobs.contains_key(&job) {
                    true => Answer::Failed(RemoteError::new(Kind::Request, format!("job {job} has not ended"))),
                    false => Answer::TakenDone { job },
                }
            }
            Request::Lost { job, lost } => {
                self.inputs_lost(job, &lost, None);
                self.is_dirty = true;
                self.watch(link, request, job)
            }
            Request::Cancel { job } => self.cancel(job),
            Request::Jobs => Answer::Jobs(self.summaries()),
            Request::Job { job } => self.view(job),
            Request::Cluster => Answer::Cluster(self.cluster()),
            Request::Profile { job } => match self.jobs.get(&job) {
                Some(job) => Answer::Profile(Box::new(cost::profile(job))),
                None => Answer::Failed(unknown(job)),
            },
            // Whoever drives the machine keeps binaries beside it (`drive/binary`); nothing here depends on them.
            Request::Binary(_) => {
                Answer::Failed(RemoteError::new(Kind::Unsupported, "taking a program's binary: none are kept here"))
            }
        };
        self.answer(link, request, answer);
    }

    fn submit(&mut self, submission: Box<Submission>) -> Answer {
        let id = submission.job;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.client_seen = self.now;
            return Answer::Submitted { job: id };
        }
        if self.epitaphs.contains_key(&id) {
            return Answer::Submitted { job: id };
        }
        if self.jobs.len() >= JOBS_MAX {
            let oldest = self.line.iter().find(|id| self.jobs.get(id).is_some_and(|job| job.state.is_ended())).copied();
            match oldest {
                Some(oldest) => self.retire(oldest),
                None => {
                    let sentence = format!("{JOBS_MAX} jobs run or wait, job {id} is one too many");
                    return Answer::Failed(RemoteError::new(Kind::Limit, sentence).hinted("submit it again later"));
                }
            }
        }
        let event = JobEvent::Submitted { kind: submission.kind, label: submission.label.clone() };
        self.out.append(id, JournalRecord::Job(submission.clone()));
        self.out.log(id, event);
        self.insert_job(submission);
        self.is_dirty = true;
        Answer::Submitted { job: id }
    }

    pub(super) fn insert_job(&mut self, submission: Box<Submission>) {
        let id = submission.job;
        let revision = u64::from(self.options.epoch.0) << 32;
        self.jobs.insert(id, Job::new(submission, self.now, revision));
        self.line.push(id);
    }

    fn watch(&mut self, link: Link, request: u64, id: JobId) -> Answer {
        let now = self.now;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.client_seen = now;
            job.watchers.insert(link, Watcher { request, revision: job.revision, said_at: now });
        }
        match (self.update(id), self.epitaphs.get(&id)) {
            (Some(update), _) => Answer::Update(Box::new(update)),
            (None, Some(epitaph)) => Answer::Update(Box::new(JobUpdate {
                job: id,
                revision: u64::MAX,
                state: epitaph.state(),
                progress: Vec::new(),
                workers: self.ready_count(),
                value: None,
                result: None,
                cost: None,
            })),
            (None, None) => Answer::Failed(unknown(id)),
        }
    }

    /// Those who watch hear of what has changed; of an end at once.
    pub(super) fn tell_watchers(&mut self) {
        let now = self.now;
        let mut due = Vec::new();
        for (id, job) in &mut self.jobs {
            let (revision, is_ended) = (job.revision, job.state.is_ended());
            for (link, watcher) in &mut job.watchers {
                if watcher.revision < revision && (is_ended || now >= watcher.said_at + WATCH_EVERY) {
                    watcher.revision = revision;
                    watcher.said_at = now;
                    due.push((*id, *link, watcher.request));
                }
            }
        }
        for (id, link, request) in due {
            if let Some(update) = self.update(id) {
                self.answer(link, request, Answer::Update(Box::new(update)));
            }
        }
    }

    fn cancel(&mut self, id: JobId) -> Answer {
        match self.jobs.get(&id).map(|job| job.state.is_ended()) {
            Some(false) => self.end_job(id, None),
            Some(true) => {}
            None if self.epitaphs.contains_key(&id) => {}
            None => return Answer::Failed(unknown(id)),
        }
        Answer::CancelDone { job: id }
    }

    /// Jobs whose client is silent: some end, some lose the rows that wait.
    pub(super) fn judge_clients(&mut self) {
        let now = self.now;
        for id in self.line.clone() {
            let Some(job) = self.jobs.get(&id) else { continue };
            let options = job.submission.options;
            if job.state.is_ended() {
                if now >= job.client_seen.max(job.ended_at).saturating_add(options.retention) {
                    self.retire(id);
                }
            } else if options.cancel_on_disconnect && now >= job.client_seen + CLIENT_GRACE {
                self.end_job(id, None);
            }
        }
    }

    /// The job goes; its epitaph stays.
    fn retire(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (epitaph, is_dropped) = (job.epitaph(), job.is_dropped);
        self.remember(self.view_of(job));
        self.out.log(id, JobEvent::Forgotten);
        self.out.retire(epitaph.clone());
        if !is_dropped {
            // After the epitaph: a restart between the two would make the rows again.
            self.cancel_attempts(id, |_| true);
            self.drop_job(id);
        }
        self.jobs.remove(&id);
        self.line.retain(|other| *other != id);
        self.bury(epitaph);
    }

    /// Keeps what a job did for who asks later, as long as there is room.
    fn remember(&mut self, view: JobView) {
        self.remembered.push_back(view);
        let mut attempts: usize = self.remembered.iter().map(|view| view.attempts.len()).sum();
        while (attempts > ATTEMPTS_REMEMBERED_MAX || self.remembered.len() > SUMMARIES_MAX)
            && let Some(oldest) = self.remembered.pop_front()
        {
            attempts -= oldest.attempts.len();
        }
    }

    pub(super) fn bury(&mut self, epitaph: Epitaph) {
        let id = epitaph.job;
        if self.epitaphs.insert(id, epitaph).is_none() {
            self.epitaph_order.push_back(id);
        }
        if self.epitaph_order.len() > SUMMARIES_MAX
            && let Some(oldest) = self.epitaph_order.pop_front()
        {
            self.epitaphs.remove(&oldest);
        }
    }

    fn ready_count(&self) -> u32 {
        self.workers.values().filter(|worker| worker.state == WorkerState::Ready).count() as u32
    }

    fn result(&self, job: &Job) -> Option<Vec<AttemptSource>> {
        let number = job.result.filter(|_| job.state == JobState::Done && !job.is_dropped)?;
        let edge = job.actions.get(&number)?.skeleton.result_edge()?;
        self.sources(job.id(), number, edge, None)
    }

    /// The rows that the job's client takes can be pulled.
    pub(super) fn has_result(&self, job: &Job) -> bool {
        self.result(job).is_some()
    }

    fn update(&self, id: JobId) -> Option<JobUpdate> {
        let job = self.jobs.get(&id)?;
        let mut progress = progress(job);
        let surplus = progress.len().saturating_sub(ATTEMPTS_SHOWN_MAX);
        progress.drain(..surplus);
        Some(JobUpdate {
            job: id,
            revision: job.revision,
            state: job.state.clone(),
            progress,
            workers: self.ready_count(),
            value: job.value.clone(),
            result: self.result(job),
            cost: job.state.is_ended().then(|| cost::cost(job)),
        })
    }

    fn summaries(&self) -> Vec<crate::cluster::protocol::JobSummary> {
        let living = self.line.iter().rev().filter_map(|id| self.jobs.get(id)).map(|job| job.summary(self.now));
        let ended = self.epitaph_order.iter().rev().filter_map(|id| self.epitaphs.get(id)).map(Epitaph::summary);
        let mut all: Vec<_> = living.chain(ended).collect();
        all.sort_by_key(|job| std::cmp::Reverse(job.submitted_unix_ms));
        all
    }

    fn view(&self, id: JobId) -> Answer {
        let remembered = || self.remembered.iter().find(|view| view.summary.job == id).cloned();
        let view = match (self.jobs.get(&id), self.epitaphs.get(&id)) {
            (Some(job), _) => self.view_of(job),
            (None, Some(epitaph)) => remembered().unwrap_or_else(|| JobView {
                summary: epitaph.summary(),
                driver: None,
                driver_runs: 0,
                stages: Vec::new(),
                attempts: Vec::new(),
                is_cut: false,
            }),
            (None, None) => return Answer::Failed(unknown(id)),
        };
        Answer::Job(Box::new(view))
    }

    fn view_of(&self, job: &Job) -> JobView {
        let (mut stages, mut attempts, mut is_cut) = (Vec::new(), Vec::new(), false);
        for (number, action) in &job.actions {
            for (index, stage) in action.stages.iter().enumerate() {
                let kind = action.skeleton.stages[index].kind;
                let id = stage_id(*number, index);
                stages.push(StageView { progress: stage_progress(id, action, index), kind, retried: stage.retried });
                for (task, tried) in stage.tasks.iter().enumerate() {
                    for (attempt, tried) in tried.attempts.iter().enumerate() {
                        is_cut |= attempts.len() >= ATTEMPTS_SHOWN_MAX;
                        if !is_cut {
                            attempts.push(AttemptView {
                                stage: id,
                                task: TaskId(task as u32),
                                attempt: AttemptId(attempt as u32),
                                worker: tried.life.0.clone(),
                                state: tried.state,
                                cause: tried.cause.clone(),
                                progress: tried.progress,
                            });
                        }
                    }
                }
            }
        }
        JobView {
            summary: job.summary(self.now),
            driver: job.run().map(|(_, life)| life.0.clone()),
            driver_runs: job.driver.runs,
            stages,
            attempts,
            is_cut,
        }
    }

    fn cluster(&self) -> ClusterView {
        let held = |life| {
            let counts = |job: &Job| {
                let keys = job.keys_where(|attempt| attempt.state == AttemptState::Finished && attempt.life == life);
                keys.into_iter().filter(|key| self.is_held_somewhere(*key)).count()
            };
            self.jobs.values().filter(|job| !job.is_dropped).map(counts).sum::<usize>() as u32
        };
        let mut workers: Vec<WorkerView> = self
            .workers
            .iter()
            .map(|(name, worker)| WorkerView {
                name: name.clone(),
                incarnation: worker.incarnation,
                state: worker.state,
                address: worker.address.clone(),
                build: worker.build.clone(),
                pid: worker.pid,
                threads: worker.threads,
                memory_bytes: worker.memory_bytes,
                running: worker.running.len() as u32,
                held: held(worker.life(name)),
                silent: self.now.saturating_sub(worker.heard_at),
            })
            .collect();
        let is_listed = |name| self.workers.contains_key(name);
        workers.extend(self.absent.keys().filter(|(name, _)| !is_listed(name)).map(|(name, incarnation)| WorkerView {
            name: name.clone(),
            incarnation: *incarnation,
            state: WorkerState::Absent,
            address: String::new(),
            build: String::new(),
            pid: 0,
            threads: 0,
            memory_bytes: 0,
            running: 0,
            held: held((name.clone(), *incarnation)),
            silent: self.now,
        }));
        workers.sort_by(|a, b| a.name.cmp(&b.name));
        let count = |state: JobState| self.jobs.values().filter(|job| job.state == state).count() as u32;
        ClusterView {
            epoch: self.options.epoch,
            pid: self.options.pid,
            workers,
            running: count(JobState::Running),
            queued: count(JobState::Queued),
            fenced: self.fenced,
        }
    }
}

fn unknown(id: JobId) -> RemoteError {
    RemoteError::new(Kind::Request, format!("there is no job {id}"))
        .hinted("`windrow jobs list` shows those that are known")
}

fn progress(job: &Job) -> Vec<StageProgress> {
    let stages = job.actions.iter().flat_map(|(number, action)| {
        (0..action.stages.len()).map(|index| stage_progress(stage_id(*number, index), action, index))
    });
    stages.collect()
}

fn stage_progress(id: crate::shuffle::StageId, action: &Action, index: usize) -> StageProgress {
    let stage = &action.stages[index];
    let (mut running, mut rows, mut bytes) = (0, 0, 0);
    for task in &stage.tasks {
        running += u32::from(task.is_running());
        let best =
            task.counts().or_else(|| task.attempts.iter().rfind(|attempt| attempt.state == AttemptState::Running));
        rows += best.map_or(0, |attempt| attempt.progress.rows);
        bytes += task.report().map_or(0, |report| report.groups.iter().map(|group| group.bytes).sum());
    }
    StageProgress { stage: id, tasks: stage.tasks.len() as u32, done: stage.done as u32, running, rows, bytes }
}
