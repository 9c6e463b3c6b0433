//! The I/O threads: what compute threads must not wait for.
//!
//! In: closures that block in the kernel. Out: they have run. Never: computes. The queue is bounded; who fills it waits, and
//! scans never do, since they ask for a few splits ahead at most.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{Builder, JoinHandle},
};

use crossbeam::channel::{Sender, bounded};

use super::{Buffers, Disk};
use crate::{
    error::{Cause, Kind, Result},
    limits,
};

type Work = Box<dyn FnOnce() + Send>;

/// The I/O threads of a session. Dropping it waits for what was submitted.
pub struct Io {
    sender: Option<Sender<Work>>,
    buffers: Arc<Buffers>,
    disk: Disk,
    threads: Vec<JoinHandle<()>>,
}

impl Io {
    /// Starts the threads.
    pub fn start() -> Result<Arc<Io>> {
        Io::start_on(Disk::default())
    }

    /// Starts the threads, which write to this disk.
    pub(crate) fn start_on(disk: Disk) -> Result<Arc<Io>> {
        let (sender, receiver) = bounded::<Work>(limits::IO_QUEUE);
        let threads = (0..limits::IO_THREADS)
            .map(|number| {
                let receiver = receiver.clone();
                Builder::new().name(format!("windrow-io-{number}")).spawn(move || {
                    for work in receiver {
                        // Who submitted it tells its own failure; the thread must live on for the others.
                        let _ = catch_unwind(AssertUnwindSafe(work));
                    }
                })
            })
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|source| StartFailed { source })?;
        Ok(Arc::new(Io { sender: Some(sender), buffers: Arc::default(), disk, threads }))
    }

    /// What its work reads into.
    pub fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// What is written to.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Runs `work` on an I/O thread.
    pub fn submit(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(sender) = &self.sender {
            // The receivers live as long as the sender: they end when it is dropped.
            let _ = sender.send(Box::new(work));
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.sender = None;
        let here = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last owner may be a closure on one of these threads, which cannot wait for itself.
            if thread.thread().id() != here {
                let _ = thread.join();
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("starting the I/O threads")]
struct StartFailed {
    source: std::io::Error,
}

impl Cause for StartFailed {
    fn kind(&self) -> Kind {
        Kind::Io
    }
}
