//! Where work waits: one deque a thread, one injector for what comes from outside, and the place where idle threads sleep.
//!
//! In: [`Work`] posted by anyone. Out: work for a thread that asks, its own first, then the injector's, then stolen. Never:
//! loses a wake-up: `post` counts first and then looks for sleepers, a sleeper registers first and then looks for work.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crossbeam::deque::{Injector, Steal, Stealer, Worker};

/// Something to run on one thread, to its end.
pub type Work = Box<dyn FnOnce() + Send>;

/// Work of a node and its sleeping threads.
pub struct Queue {
    injector: Injector<Work>,
    stealers: Vec<Stealer<Work>>,
    sleepers: AtomicUsize,
    /// Threads that run leaf work spread over rayon; idle loops lend themselves to it meanwhile.
    spreading: AtomicUsize,
    is_stopped: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
}

/// A sleeper looks again after this time even if nobody rang; a guard against a race we did not think of, not a schedule.
const SLEEP_MS_MAX: u64 = 100;

impl Queue {
    /// A queue for as many threads as there are `workers`.
    pub fn new(workers: &[Worker<Work>]) -> Queue {
        Queue {
            injector: Injector::new(),
            stealers: workers.iter().map(Worker::stealer).collect(),
            sleepers: AtomicUsize::new(0),
            spreading: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
            lock: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    /// Gives work to whichever thread comes first.
    pub fn post(&self, work: Work) {
        self.injector.push(work);
        self.ring();
    }

    /// Work for the thread with the deque `own`, if there is some anywhere.
    pub fn take(&self, own: &Worker<Work>) -> Option<Work> {
        let taken = own.pop().or_else(|| {
            std::iter::repeat_with(|| {
                self.injector.steal_batch_and_pop(own).or_else(|| self.stealers.iter().map(Stealer::steal).collect())
            })
            .find(|steal: &Steal<Work>| !steal.is_retry())
            .and_then(Steal::success)
        });
        // A batch was moved into the own deque: those that found the injector empty meanwhile may steal from it.
        if !own.is_empty() {
            self.ring();
        }
        taken
    }

    /// Sleeps until somebody rings; returns at once when there is work, a stop, or leaf work to help with.
    pub fn sleep(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, SeqCst);
        let nothing = self.injector.is_empty() && self.stealers.iter().all(Stealer::is_empty);
        if nothing && !self.is_stopped() && !self.is_spreading() {
            let _ = self.bell.wait_timeout(guard, Duration::from_millis(SLEEP_MS_MAX));
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }

    /// Ends the loops once they find no more work.
    pub fn stop(&self) {
        self.is_stopped.store(true, SeqCst);
        self.ring();
    }

    /// Was [`Queue::stop`] called?
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(SeqCst)
    }

    /// Is a thread running leaf work that others can help with?
    pub fn is_spreading(&self) -> bool {
        self.spreading.load(SeqCst) > 0
    }

    pub(super) fn begin_spread(&self) {
        self.spreading.fetch_add(1, SeqCst);
        self.ring();
    }

    pub(super) fn end_spread(&self) {
        self.spreading.fetch_sub(1, SeqCst);
    }

    fn ring(&self) {
        if self.sleepers.load(SeqCst) > 0 {
            // Under the lock, so that a sleeper that has looked but not yet waits cannot miss it.
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.bell.notify_all();
        }
    }
}
