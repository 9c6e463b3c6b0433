//! The processes of programs that run at a worker, by job.
//!
//! In: which job's process is wanted, for an attempt or as its driver. Out: the process, started if there is none, with the binary that was handed
//! in. Never: a process of a job that was dropped; the machine's thread, waiting for a binary.
//!
//! ```text
//!   a driver: begun ──its binary is here──► driving      what it is told meanwhile waits for it
//!               └──stopped, or dropped──► gone
//! ```

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Child, ProgramSpec};
use crate::{
    cluster::{
        drive::{
            binary::Binaries,
            node::{Node, remote},
            worker::random,
        },
        protocol::{ActionNumber, ActionOutcome, Blob, DriverEnd, DriverRun, DriverStart, FailureCause},
        worker::Event,
    },
    error::Result,
    operator::Cancel,
    shuffle::JobId,
};

/// The processes of programs that run here.
pub struct Children {
    node: Arc<Node>,
    binaries: Binaries,
    /// Each process has a folder of its own in it.
    folder: PathBuf,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
    running: Mutex<BTreeMap<JobId, Arc<Child>>>,
    /// Drivers whose processes are being started.
    begun: Mutex<BTreeMap<DriverRun, Begun>>,
}

/// A driver whose process is being started.
#[derive(Default)]
struct Begun {
    cancel: Cancel,
    waiting: Vec<ToDriver>,
}

/// What a driver is told.
pub enum ToDriver {
    /// The plans that say what its earlier actions gave.
    Plans(Vec<(ActionNumber, Blob)>),
    /// How an action ended.
    Outcome(ActionNumber, u64, ActionOutcome),
}

impl Children {
    /// None run yet.
    pub fn new(
        node: &Arc<Node>,
        binaries: Binaries,
        folder: PathBuf,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Children {
        let (node, tell) = (Arc::clone(node), Arc::new(tell));
        Children { node, binaries, folder, tell, running: Mutex::default(), begun: Mutex::default() }
    }

    /// The process of a job, started if there is none; unless who asks was cancelled meanwhile. Waits for the program's binary.
    pub fn get(&self, job: JobId, spec: &ProgramSpec, cancel: &Cancel) -> Result<Arc<Child>> {
        if let Some(child) = self.of(job).filter(|child| !child.is_over()) {
            cancel.check()?;
            return Ok(child);
        }
        let binary = self.binaries.ready(spec, cancel)?;
        let mut running = lock(&self.running);
        cancel.check()?;
        if let Some(child) = running.get(&job).filter(|child| !child.is_over()) {
            return Ok(Arc::clone(child));
        }
        let tell = Arc::clone(&self.tell);
        let folder = self.folder.join(format!("{:016x}.{:08x}", job.0, random() as u32));
        let child = Child::start(&self.node, job, spec, &binary, folder, move |event| tell(event))?;
        running.insert(job, Arc::clone(&child));
        Ok(child)
    }

    /// A driver is to be started, by [`Children::drive`] on another thread. What it is told from now on waits for it.
    pub fn begin(&self, driver: DriverRun) -> Cancel {
        lock(&self.begun).entry(driver).or_default().cancel.clone()
    }

    /// Starts the driver of a program, which is its process.
    pub fn drive(&self, start: &DriverStart, spec: &ProgramSpec, cancel: &Cancel) {
        let driver = start.driver;
        let child = self.get(driver.job, spec, cancel);
        // Held until it has heard all, so that it hears it in order, and who stops it finds it either here or driving.
        let mut begun = lock(&self.begun);
        let Some(Begun { waiting, .. }) = begun.remove(&driver) else { return };
        match child {
            Ok(child) => {
                child.drive(start);
                waiting.into_iter().for_each(|told| told.give(&child));
            }
            Err(error) => {
                let end = DriverEnd::Failed { error: remote(&error, &self.node.name), cause: FailureCause::Error };
                (self.tell)(Event::DriverEnded { driver, end });
            }
        }
    }

    /// Tells a driver something, if it is one of ours and still wanted.
    pub fn tell(&self, driver: DriverRun, told: ToDriver) {
        if let Some(begun) = lock(&self.begun).get_mut(&driver) {
            return begun.waiting.push(told);
        }
        if let Some(child) = self.of(driver.job).filter(|child| child.drives(driver)) {
            told.give(&child);
        }
    }

    /// A driver is no longer wanted.
    pub fn stop(&self, driver: DriverRun) {
        if let Some(begun) = lock(&self.begun).remove(&driver) {
            begun.cancel.cancel();
        }
        if let Some(child) = self.of(driver.job).filter(|child| child.drives(driver)) {
            child.undrive();
        }
    }

    /// The process of a job, if there is one.
    pub fn of(&self, job: JobId) -> Option<Arc<Child>> {
        lock(&self.running).get(&job).cloned()
    }

    /// Ends the process of a job; a driver of it that is being started is not.
    pub fn end(&self, job: JobId) {
        self.cancel(|of| of == job);
        if let Some(child) = lock(&self.running).remove(&job) {
            child.kill();
        }
    }

    /// Ends them all.
    pub fn end_all(&self) {
        self.cancel(|_| true);
        let ended = std::mem::take(&mut *lock(&self.running));
        ended.values().for_each(|child| child.kill());
    }

    fn cancel(&self, is_meant: impl Fn(JobId) -> bool) {
        lock(&self.begun).retain(|driver, begun| {
            let is_meant = is_meant(driver.job);
            if is_meant {
                begun.cancel.cancel();
            }
            !is_meant
        });
    }
}

impl ToDriver {
    fn give(self, child: &Child) {
        match self {
            ToDriver::Plans(plans) => child.learn(&plans),
            ToDriver::Outcome(action, revision, outcome) => child.deliver(action, revision, outcome),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
