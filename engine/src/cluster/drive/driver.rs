//! A driver that runs in this process: an entry that plans one action after the other and waits for each.
//!
//! In: an order to run a job's driver; the outcomes of its actions. Out: plans, shipped; the job's end. Never: plans an action again that an
//! earlier start has shipped: its plan is durable, and its outcome comes by itself.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    child::PlanEnvelope,
    node::{Node, remote},
    pull::{PullFailed, PullInlet},
    skeleton::skeleton,
};
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    cluster::{
        driver::{Begin, Driver as Machine},
        protocol::{
            ActionNumber, ActionOutcome, AttemptSource, Blob, DriverEnd, DriverRun, DriverStart, FailureCause,
            LostInput, RemoteError, Skeleton,
        },
        worker::Event,
    },
    error::{Result, bug},
    operator::{
        Cancel, Wake,
        exchange::{Arrival, Inlet},
    },
    plan::{encode, physical::PhysicalPlan},
    shuffle::{FrameLimits, decode_frame},
    sink::{Target, Written, commit_manifests, prepare},
};

/// What knows the jobs' texts: it plans, and says what became of the actions.
pub trait Entry: Send + Sync {
    /// Runs the entry of a job. Called on a thread of its own; it ends when the job does.
    fn run(&self, start: &DriverStart, driver: &Driver) -> Result<Done>;
}

/// A job that is done.
pub struct Done {
    /// What the driver gives back to the client.
    pub value: Vec<u8>,
    /// The action whose rows the client takes.
    pub result: Option<ActionNumber>,
}

/// How an action ended.
pub enum Acted {
    /// Its rows are there to be pulled.
    Rows(Vec<AttemptSource>),
    /// Part files were written; by task, what each wrote.
    Written(Vec<Blob>),
}

/// Rows that could not be pulled are pulled again after this, if nothing else is said of them.
pub const PULL_AGAIN: Duration = Duration::from_secs(1);

/// A driver as its entry sees it.
pub struct Driver {
    node: Arc<Node>,
    run: DriverRun,
    state: Mutex<State>,
    bell: Condvar,
    /// The driver is no longer wanted.
    pub cancel: Cancel,
    tell: Box<dyn Fn(Event) + Send + Sync>,
}

struct State {
    next_action: u32,
    machine: Machine,
}

impl Driver {
    /// A driver of `start` that tells the worker's machine what it plans.
    pub fn new(node: &Arc<Node>, start: &DriverStart, tell: impl Fn(Event) + Send + Sync + 'static) -> Arc<Driver> {
        Arc::new(Driver {
            node: Arc::clone(node),
            run: start.driver,
            state: Mutex::new(State { next_action: 0, machine: Machine::new(start) }),
            bell: Condvar::new(),
            cancel: Cancel::default(),
            tell: Box::new(tell),
        })
    }

    /// Runs the entry to its end and tells it.
    pub fn drive(self: &Arc<Driver>, entry: &dyn Entry, start: &DriverStart) {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| entry.run(start, self)));
        let end = match ran {
            Ok(Ok(done)) => DriverEnd::Done { value: done.value.into(), result: done.result },
            Ok(Err(error)) => DriverEnd::Failed { error: remote(&error, &self.node.name), cause: FailureCause::Error },
            Err(_) => {
                let error = RemoteError::from_error(&bug("cluster", "the driver panicked"), "driver");
                DriverEnd::Failed { error, cause: FailureCause::Panic }
            }
        };
        (self.tell)(Event::DriverEnded { driver: self.run, end });
    }

    /// For how many nodes its actions are planned.
    pub fn nodes(&self) -> usize {
        self.lock().machine.nodes().max(1) as usize
    }

    /// Ships the next action, unless an earlier start has, and waits for its end. `is_profiled`: its attempts tell what their pipelines did.
    pub fn act(&self, is_profiled: bool, plan: impl FnOnce() -> Result<PhysicalPlan>) -> Result<(ActionNumber, Acted)> {
        let (action, begin) = {
            let mut state = self.lock();
            let action = ActionNumber(state.next_action);
            state.next_action += 1;
            (action, state.machine.begin(action))
        };
        if begin == Begin::Plan {
            let plan = plan()?;
            let envelope = if is_profiled { PlanEnvelope::ProfiledStatement } else { PlanEnvelope::Statement };
            let bytes = envelope(encode::encode(&plan)?.into()).to_bytes()?;
            self.lock().machine.shipped(action);
            self.ship(action, skeleton(&plan)?, bytes);
        }
        self.wait(action).map(|(_, acted)| (action, acted))
    }

    /// Tells the coordinator what an action is.
    fn ship(&self, action: ActionNumber, skeleton: Skeleton, plan: Vec<u8>) {
        (self.tell)(Event::DriverShipped { driver: self.run, action, skeleton, plan: plan.into() });
    }

    /// The outcome of an action, with its revision.
    fn wait(&self, action: ActionNumber) -> Result<(u64, Acted)> {
        let mut state = self.lock();
        loop {
            self.cancel.check()?;
            if let Some((revision, outcome)) = state.machine.outcome(action) {
                return match outcome {
                    ActionOutcome::Rows(sources, _) => Ok((revision, Acted::Rows(sources.clone()))),
                    ActionOutcome::Written(tasks, _) => {
                        Ok((revision, Acted::Written(tasks.iter().map(|task| task.manifest.clone()).collect())))
                    }
                    ActionOutcome::Failed(error) => Err(error.clone().into_error()),
                };
            }
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a later outcome than this one is known, or for a while.
    fn wait_for_news(&self, action: ActionNumber, known: u64) {
        let state = self.lock();
        let is_old = |state: &mut State| {
            !self.cancel.is_cancelled() && state.machine.outcome(action).is_some_and(|(revision, _)| revision <= known)
        };
        drop(self.bell.wait_timeout_while(state, PULL_AGAIN, is_old));
    }

    /// An action has ended, or its rows lie elsewhere now.
    pub fn deliver(&self, action: ActionNumber, revision: u64, outcome: ActionOutcome) {
        self.lock().machine.handle_outcome(action, revision, outcome);
        self.bell.notify_all();
    }

    /// The driver is no longer wanted.
    pub fn stop(&self) {
        // Under the lock: a driver that has just looked at the flag is not yet waiting.
        let _state = self.lock();
        self.cancel.cancel();
        self.bell.notify_all();
    }

    /// Makes what an action has written visible as one output.
    pub fn commit(&self, action: ActionNumber, target: &Target, manifests: &[Blob]) -> Result<Written> {
        let manifests: Vec<Vec<u8>> = manifests.iter().map(|manifest| manifest.to_vec()).collect();
        commit_manifests(self.node.io.disk(), target, (self.run.job, action.0), &manifests)
    }

    /// Fails if the output's place is not as it must be; an earlier start that has shipped its plan has looked.
    pub fn prepare(&self, target: &Target) -> Result<()> {
        prepare(self.node.io.disk(), target)
    }

    /// The rows of an action, wherever they lie; they are asked for again when they are lost on the way.
    pub fn rows(&self, action: ActionNumber, schema: &SchemaRef) -> Result<Vec<Batch>> {
        loop {
            let (revision, acted) = self.wait(action)?;
            let Acted::Rows(sources) = acted else { return Err(bug("cluster", "an action that writes has no rows")) };
            match pull_rows(&self.node, sources, schema) {
                Ok(batches) => return Ok(batches),
                Err(error) => {
                    let Some(lost) = lost_of(&error) else { return Err(error) };
                    (self.tell)(Event::DriverLost { driver: self.run, lost });
                    // They are made again, and are then news; or the way to them was broken for a moment.
                    self.wait_for_news(action, revision);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What could not be pulled, if that is why it failed.
pub fn lost_of(error: &crate::error::Error) -> Option<Vec<LostInput>> {
    let cause: &(dyn std::error::Error + 'static) = error.cause();
    cause.downcast_ref::<PullFailed>().map(|failed| failed.lost.clone())
}

/// All rows of these attempts, in order of (stage, task, frame). Waits for them; from outside of the compute threads.
pub fn pull_rows(node: &Arc<Node>, sources: Vec<AttemptSource>, schema: &SchemaRef) -> Result<Vec<Batch>> {
    let inlet = PullInlet::new(node, sources);
    let mut frames = Vec::new();
    loop {
        match inlet.pull()? {
            Arrival::Frame(frame) => {
                let (header, batch) = decode_frame(frame, schema, &FrameLimits::default())?;
                frames.push((header.stage, header.task, header.sequence, batch));
            }
            Arrival::Nothing(wake) => wait_for(&wake),
            Arrival::End => break,
        }
    }
    frames.sort_by_key(|(stage, task, sequence, _)| (*stage, *task, *sequence));
    Ok(frames.into_iter().map(|(.., batch)| batch).collect())
}

/// Blocks until the wake fires.
pub fn wait_for(wake: &Wake) {
    let bell = Arc::new((Mutex::new(false), Condvar::new()));
    let rung = Arc::clone(&bell);
    wake.then(move || {
        *rung.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        rung.1.notify_all();
    });
    let mut is_rung = bell.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*is_rung {
        is_rung = bell.1.wait(is_rung).unwrap_or_else(PoisonError::into_inner);
    }
}
