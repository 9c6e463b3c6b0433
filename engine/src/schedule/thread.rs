//! The node's threads: one rayon pool, one loop a thread.
//!
//! In: work posted to the queue. Out: it has run. Never: blocks in I/O; never dies of a panic in the work, which catches its own.
//!
//! `spawn_broadcast` starts a loop on each of rayon's threads. A loop takes work; without any it lends itself to rayon
//! (`yield_now`) while some thread spreads leaf work such as sorting a run, and sleeps otherwise.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use crossbeam::deque::Worker;

use super::queue::{Queue, Work};
use crate::error::{Cause, Kind, Result};

/// The loops of a node. Dropping it ends them.
pub struct Threads {
    queue: Arc<Queue>,
    thread_count: usize,
    pool: Option<rayon::ThreadPool>,
    /// Each loop holds a sender; when all are gone the receiver's wait ends.
    ended: Mutex<mpsc::Receiver<()>>,
}

thread_local! {
    /// The queue of the loop that this thread runs, for [`spread`].
    static QUEUE: RefCell<Option<Arc<Queue>>> = const { RefCell::new(None) };
}

impl Threads {
    /// Starts `thread_count` loops.
    pub fn start(thread_count: usize) -> Result<Threads> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(thread_count)
            .thread_name(|number| format!("windrow-{number}"))
            .build()
            .map_err(|source| StartFailed { thread_count, source })?;
        let workers: Vec<Worker<Work>> = (0..thread_count).map(|_| Worker::new_lifo()).collect();
        let queue = Arc::new(Queue::new(&workers));
        let deques: Arc<Vec<Mutex<Option<Worker<Work>>>>> =
            Arc::new(workers.into_iter().map(|worker| Mutex::new(Some(worker))).collect());
        let (sender, ended) = mpsc::channel::<()>();
        let loop_queue = Arc::clone(&queue);
        pool.spawn_broadcast(move |context| {
            let _alive_until_here = sender.clone();
            let slot = deques.get(context.index());
            if let Some(own) = slot.and_then(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).take()) {
                run_loop(&loop_queue, &own);
            }
        });
        Ok(Threads { queue, thread_count, pool: Some(pool), ended: Mutex::new(ended) })
    }

    /// How many loops there are.
    pub fn thread_count(&self) -> usize {
        self.thread_count
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.stop();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: the wait ends when the last loop's sender is gone.
        // On a loop's own thread (a closure held the last session) there is no waiting: the loop ends after this work.
        if !is_loop() {
            let _ = ended.recv();
        }
        drop(self.pool.take());
    }
}

fn run_loop(queue: &Arc<Queue>, own: &Worker<Work>) {
    QUEUE.with(|slot| *slot.borrow_mut() = Some(Arc::clone(queue)));
    loop {
        if let Some(work) = queue.take(own) {
            work();
        } else if queue.is_stopped() {
            break;
        } else if queue.is_spreading() {
            rayon::yield_now();
        } else {
            queue.sleep();
        }
    }
    QUEUE.with(|slot| *slot.borrow_mut() = None);
}

/// Is this one of a node's loops?
pub(super) fn is_loop() -> bool {
    QUEUE.with(|slot| slot.borrow().is_some())
}

/// Runs leaf work that uses rayon's `par_*`, while the node's idle loops help with it. Only from a task that borrows no thread's
/// operator state: while it waits, rayon may run other leaf work on this thread.
pub fn spread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let queue = QUEUE.with(|slot| slot.borrow().clone());
    struct Spreading(Option<Arc<Queue>>);
    impl Drop for Spreading {
        fn drop(&mut self) {
            if let Some(queue) = &self.0 {
                queue.end_spread();
            }
        }
    }
    if let Some(queue) = &queue {
        queue.begin_spread();
    }
    let _spreading = Spreading(queue);
    work()
}

#[derive(Debug, thiserror::Error)]
#[error("starting {thread_count} threads")]
struct StartFailed {
    thread_count: usize,
    source: rayon::ThreadPoolBuildError,
}

impl Cause for StartFailed {
    fn kind(&self) -> Kind {
        Kind::Limit
    }
    fn hint(&self) -> Option<String> {
        Some("set fewer threads (--threads)".to_owned())
    }
}
