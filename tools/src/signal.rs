//! SIGINT, SIGTERM and SIGHUP: the first asks the job to stop, the second does not ask.
//!
//! In: signals. Out: a cancelled job, then the exit code 128 + signal. Never: half-written output left by an exit from here; what a
//! command has begun it registers with [`Signals::on_exit`].
//!
//! `quiet → asked → gone`. A watcher thread takes the signals. Without a job that could be cancelled the process ends at once.
//! With one it has [`GRACE`] to unwind by itself, which is the clean way; planning and long kernels do not look at the flag.
//! A service has [`SERVICE_GRACE`], and one that unwinds has ended well: to be stopped is how it ends.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{self, ExitCode},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator,
};
use windrow::operator::Cancel;

use crate::error::{CommandError, Failure};

/// What a cancelled job has to end by itself. The user was promised a second.
const GRACE: Duration = Duration::from_millis(900);
/// What a service has: it tells others that it goes. Who stops a service waits longer or kills it.
const SERVICE_GRACE: Duration = Duration::from_secs(20);

/// The watcher's handle.
#[derive(Clone)]
pub struct Signals(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    job: Option<Job>,
    signal: Option<i32>,
    /// The signal was the end that a service waited for.
    ends_well: bool,
    next_number: u64,
    on_exit: BTreeMap<u64, Box<dyn Fn() + Send>>,
}

/// What a signal cancels.
#[derive(Clone)]
struct Job {
    cancel: Cancel,
    grace: Duration,
    is_service: bool,
}

impl Signals {
    /// Starts to watch.
    pub fn watch() -> Result<Signals, Failure> {
        let signals = Signals(Arc::default());
        let mut iterator =
            iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|source| CommandError::Signals { source })?;
        let watcher = signals.clone();
        let watch = move || iterator.forever().for_each(|signal| watcher.handle(signal));
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(watch)
            .map_err(|source| CommandError::Signals { source })?;
        Ok(signals)
    }

    /// While the guard lives, a signal cancels this job.
    pub fn job(&self, cancel: Cancel) -> JobGuard<'_> {
        self.lock().job = Some(Job { cancel, grace: GRACE, is_service: false });
        JobGuard(self)
    }

    /// While the guard lives, a signal stops this service; its exit code is its own then.
    pub fn service(&self, cancel: Cancel) -> JobGuard<'_> {
        self.lock().job = Some(Job { cancel, grace: SERVICE_GRACE, is_service: true });
        JobGuard(self)
    }

    /// While the guard lives, an exit by a signal does `work` first.
    pub fn on_exit(&self, work: impl Fn() + Send + 'static) -> OnExit {
        let mut state = self.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.on_exit.insert(number, Box::new(work));
        OnExit { signals: self.clone(), number }
    }

    /// The exit code, if a signal came and was not what a service waits for.
    pub fn exit_code(&self) -> Option<ExitCode> {
        let state = self.lock();
        state.signal.filter(|_| !state.ends_well).map(|signal| ExitCode::from(code(signal)))
    }

    fn handle(&self, signal: i32) {
        let mut state = self.lock();
        if state.signal.is_some() {
            drop(state);
            self.exit(signal);
        }
        state.signal = Some(signal);
        let Some(job) = state.job.clone() else {
            drop(state);
            self.exit(signal);
        };
        state.ends_well = job.is_service;
        drop(state);
        job.cancel.cancel();
        let signals = self.clone();
        let deadline = Instant::now() + job.grace;
        let wait = move || {
            // The process ends under this thread when the command unwinds in time.
            while let Some(left) = deadline.checked_duration_since(Instant::now()) {
                thread::park_timeout(left);
            }
            signals.exit(signal);
        };
        if thread::Builder::new().spawn(wait).is_err() {
            self.exit(signal);
        }
    }

    /// Ends the process from outside of the command.
    fn exit(&self, signal: i32) -> ! {
        let state = self.lock();
        // The latest first: it may stand on what was there before it.
        for work in state.on_exit.values().rev() {
            work();
        }
        let _ = writeln!(std::io::stderr(), "interrupted");
        process::exit(i32::from(code(signal)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn code(signal: i32) -> u8 {
    128 + u8::try_from(signal).unwrap_or(0)
}

/// See [`Signals::job`].
pub struct JobGuard<'a>(&'a Signals);

impl Drop for JobGuard<'_> {
    fn drop(&mut self) {
        self.0.lock().job = None;
    }
}

/// See [`Signals::on_exit`].
pub struct OnExit {
    signals: Signals,
    number: u64,
}

impl Drop for OnExit {
    fn drop(&mut self) {
        self.signals.lock().on_exit.remove(&self.number);
    }
}
