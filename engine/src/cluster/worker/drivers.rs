//! The drivers that a worker hosts, seen from its connection to the coordinator.
//!
//! In: starts, what drivers ship, pages of outcomes. Out: plans until they are durable, outcomes once they are whole, ends
//! until they are taken. Never: two runs of one job at a time; a word of a run that was stopped.

use std::collections::BTreeMap;

use twox_hash::XxHash3_64;

use super::{Command, Out, Said};
use crate::cluster::protocol::{
    ActionNumber, ActionOutcome, Beat, Blob, DriverEnd, DriverPlan, DriverRun, DriverStart, FailureCause, JobKind,
    RemoteError, ShippedAction, Skeleton, WorkerBody, part_of,
};
use crate::{error::Kind, shuffle::JobId};

#[derive(Debug, Default)]
pub(super) struct Drivers {
    hosted: BTreeMap<JobId, Hosted>,
}

/// The latest run of a job's driver here. A stopped one stays known until its job is forgotten.
#[derive(Debug)]
struct Hosted {
    run: u32,
    state: State,
    shipping: BTreeMap<ActionNumber, Shipping>,
    outcomes: BTreeMap<ActionNumber, Outcome>,
    /// The last action that an earlier run shipped, until its plan is here: what the actions before it gave stands there.
    learns: Option<ShippedAction>,
}

/// `running → ended → stopped`
#[derive(Debug)]
enum State {
    Running,
    Ended { end: DriverEnd, said: Said },
    Stopped,
}

/// A plan that is not durable yet.
#[derive(Debug)]
struct Shipping {
    skeleton: Skeleton,
    plan_hash: u64,
    plan: Blob,
    said: Said,
}

/// A page of an action's outcome.
pub(super) struct Page {
    pub(super) revision: u64,
    pub(super) page: u32,
    pub(super) pages: u32,
    pub(super) outcome: ActionOutcome,
}

/// An outcome whose pages come one after the other.
#[derive(Debug)]
struct Outcome {
    revision: u64,
    /// Pages that have come.
    pages: u32,
    /// What they make together; gone once it was delivered.
    outcome: Option<ActionOutcome>,
}

impl Drivers {
    pub(super) fn start(&mut self, start: Box<DriverStart>, out: &mut Out) {
        let DriverRun { job, run } = start.driver;
        if let Some(known) = self.hosted.get(&job) {
            if known.run == run && matches!(known.state, State::Stopped) {
                // Who asks again does not know that it ended, and must learn that nothing will come.
                let error = RemoteError::new(Kind::Cancelled, "a driver that was stopped is started again");
                let end = DriverEnd::Failed { error, cause: FailureCause::Process };
                return out.say(WorkerBody::DriverEnded { job, run, end });
            }
            if known.run >= run {
                return;
            }
            if matches!(known.state, State::Running) {
                out.command(Command::StopDriver { driver: DriverRun { job, run: known.run } });
            }
        }
        let mut hosted = Hosted::new(run, State::Running);
        if start.kind == JobKind::Program {
            let last = start.shipped.iter().copied().max_by_key(|shipped| shipped.action);
            hosted.learns = last.filter(|shipped| shipped.action > ActionNumber(0));
        }
        self.hosted.insert(job, hosted);
        out.command(Command::StartDriver { start });
    }

    /// The plans that drivers wait for.
    pub(super) fn learning(&self) -> Vec<(JobId, ShippedAction)> {
        let running = self.hosted.iter().filter(|(_, hosted)| matches!(hosted.state, State::Running));
        running.filter_map(|(job, hosted)| Some((*job, hosted.learns?))).collect()
    }

    /// The plan that a driver waits for is stored.
    pub(super) fn learned(&mut self, job: JobId, out: &mut Out) {
        if let Some(hosted) = self.hosted.get_mut(&job)
            && let Some(shipped) = hosted.learns.take()
        {
            let driver = DriverRun { job, run: hosted.run };
            out.command(Command::TeachDriver { driver, action: shipped.action });
        }
    }

    pub(super) fn stop(&mut self, driver: DriverRun, out: &mut Out) {
        let DriverRun { job, run } = driver;
        let known = self.hosted.entry(job).or_insert_with(|| Hosted::new(run, State::Stopped));
        if known.run > run {
            return;
        }
        if matches!(known.state, State::Running) {
            out.command(Command::StopDriver { driver: DriverRun { job, run: known.run } });
        }
        *known = Hosted::new(run, State::Stopped);
    }

    pub(super) fn is_running(&self, driver: DriverRun) -> bool {
        let hosted = self.hosted.get(&driver.job);
        hosted.is_some_and(|hosted| hosted.run == driver.run && matches!(hosted.state, State::Running))
    }

    fn run_of(&mut self, driver: DriverRun) -> Option<&mut Hosted> {
        self.hosted.get_mut(&driver.job).filter(|hosted| hosted.run == driver.run)
    }

    pub(super) fn ship(
        &mut self,
        now: u64,
        driver: DriverRun,
        action: ActionNumber,
        skeleton: Skeleton,
        plan: Blob,
        out: &mut Out,
    ) {
        if !self.is_running(driver) {
            return;
        }
        let Some(hosted) = self.run_of(driver) else { return };
        let shipping = Shipping { skeleton, plan_hash: XxHash3_64::oneshot(&plan), plan, said: Said::now(now) };
        out.say(shipping.message(driver, action));
        hosted.shipping.insert(action, shipping);
    }

    pub(super) fn want_part(&mut self, now: u64, driver: DriverRun, action: ActionNumber, part: u32, out: &mut Out) {
        let Some(hosted) = self.run_of(driver) else { return };
        let Some(shipping) = hosted.shipping.get_mut(&action) else { return };
        let Some(bytes) = part_of(&shipping.plan, part) else { return };
        shipping.said = Said::now(now);
        let DriverRun { job, run } = driver;
        out.say(WorkerBody::DriverPlanPart { job, run, action, part, bytes: bytes.into() });
    }

    pub(super) fn plan_taken(&mut self, driver: DriverRun, action: ActionNumber) {
        if let Some(hosted) = self.run_of(driver) {
            hosted.shipping.remove(&action);
        }
    }

    pub(super) fn take_page(&mut self, driver: DriverRun, action: ActionNumber, page: Page, out: &mut Out) {
        let is_running = self.is_running(driver);
        let Some(hosted) = self.run_of(driver) else { return };
        let Page { revision, page, pages, outcome } = page;
        let known = hosted.outcomes.entry(action).or_insert(Outcome { revision, pages: 0, outcome: None });
        if revision > known.revision {
            *known = Outcome { revision, pages: 0, outcome: None };
        }
        if revision < known.revision || page > known.pages {
            return;
        }
        let DriverRun { job, run } = driver;
        out.say(WorkerBody::OutcomeTaken { job, run, action, revision, page });
        if page < known.pages {
            return;
        }
        known.pages += 1;
        known.outcome = Some(match (known.outcome.take(), outcome) {
            // What was counted came with the first page.
            (Some(ActionOutcome::Written(mut known, counted)), ActionOutcome::Written(more, _)) => {
                known.extend(more);
                ActionOutcome::Written(known, counted)
            }
            (Some(ActionOutcome::Rows(mut known, counted)), ActionOutcome::Rows(more, _)) => {
                known.extend(more);
                ActionOutcome::Rows(known, counted)
            }
            (_, outcome) => outcome,
        });
        if known.pages == pages
            && let Some(outcome) = known.outcome.take().filter(|_| is_running)
        {
            out.command(Command::DeliverOutcome { driver, action, revision, outcome });
        }
    }

    pub(super) fn end(&mut self, now: u64, driver: DriverRun, end: DriverEnd, out: &mut Out) {
        if !self.is_running(driver) {
            return;
        }
        let Some(hosted) = self.run_of(driver) else { return };
        let DriverRun { job, run } = driver;
        out.say(WorkerBody::DriverEnded { job, run, end: end.clone() });
        *hosted = Hosted::new(run, State::Ended { end, said: Said::now(now) });
    }

    pub(super) fn end_taken(&mut self, driver: DriverRun) {
        if let Some(hosted) = self.run_of(driver)
            && matches!(hosted.state, State::Ended { .. })
        {
            *hosted = Hosted::new(driver.run, State::Stopped);
        }
    }

    /// Whether anything of the job was here.
    pub(super) fn forget(&mut self, job: JobId, out: &mut Out) -> bool {
        let Some(hosted) = self.hosted.remove(&job) else { return false };
        if matches!(hosted.state, State::Running) {
            out.command(Command::StopDriver { driver: DriverRun { job, run: hosted.run } });
        }
        true
    }

    pub(super) fn tell(&self, beat: &mut Beat, jobs: &mut BTreeMap<JobId, u32>) {
        for (job, hosted) in &self.hosted {
            jobs.entry(*job).or_default();
            if !matches!(hosted.state, State::Stopped) {
                beat.drivers.push(DriverRun { job: *job, run: hosted.run });
            }
        }
    }

    pub(super) fn say_again(&mut self, now: u64, out: &mut Out) {
        for (job, hosted) in &mut self.hosted {
            let driver = DriverRun { job: *job, run: hosted.run };
            for (action, shipping) in &mut hosted.shipping {
                if shipping.said.is_due(now) {
                    out.say(shipping.message(driver, *action));
                }
            }
            if let State::Ended { end, said } = &mut hosted.state
                && said.is_due(now)
            {
                out.say(WorkerBody::DriverEnded { job: *job, run: driver.run, end: end.clone() });
            }
        }
    }
}

impl Hosted {
    fn new(run: u32, state: State) -> Hosted {
        Hosted { run, state, shipping: BTreeMap::new(), outcomes: BTreeMap::new(), learns: None }
    }
}

impl Shipping {
    fn message(&self, driver: DriverRun, action: ActionNumber) -> WorkerBody {
        WorkerBody::DriverPlan(Box::new(DriverPlan {
            job: driver.job,
            run: driver.run,
            action,
            skeleton: self.skeleton.clone(),
            plan_hash: self.plan_hash,
            plan_bytes: self.plan.len() as u64,
            first: part_of(&self.plan, 0).unwrap_or_default().into(),
        }))
    }
}
