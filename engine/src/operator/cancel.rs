//! Somebody asks a job to stop.
//!
//! In: [`Cancel::cancel`], from any thread or a signal's watcher. Out: [`Cancel::check`] fails at the next morsel border. Never:
//! interrupts a running kernel; a morsel is a fraction of a millisecond.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::error::{Cause, Kind, Result};

/// A flag shared by those who ask and those who run.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks to stop. Cannot be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }
    /// Has somebody asked?
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }
    /// Fails once somebody has asked.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Cancelled.into()) } else { Ok(()) }
    }
}

/// The job was asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("the job was cancelled")]
pub struct Cancelled;

impl Cause for Cancelled {
    fn kind(&self) -> Kind {
        Kind::Cancelled
    }
}
