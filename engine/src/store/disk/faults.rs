//! Faults of a disk, for tests: a run ends, or the disk is full, at a call of their choice.
//!
//! In: the number of a call. Out: that call fails, and after the end of a process every later one does, too: a dead process changes nothing
//! any more. Never: a fault that is not known to have happened.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use super::Disk;

/// What happens at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The process ends before the call.
    End,
    /// The process ends within the call: of a write half is there.
    Torn,
    /// The disk is full for this call; what is removed afterwards is removed.
    Full,
    /// Nothing: calls are counted.
    Nothing,
}

/// A fault, and what has become of it.
#[derive(Debug)]
pub struct Fault {
    what: What,
    at: usize,
    has_exchange: bool,
    calls: AtomicUsize,
    has_happened: AtomicBool,
    /// Calls wait for each other: what is behind the end of a process does not happen beside it.
    order: Mutex<()>,
}

impl Fault {
    /// `what` at the call number `at`, counted from 0.
    pub fn new(what: What, at: usize) -> Arc<Fault> {
        Fault::on(what, at, true)
    }

    /// The same, on a file system whose names cannot change places at once, if so is said.
    pub fn on(what: What, at: usize, has_exchange: bool) -> Arc<Fault> {
        let (calls, has_happened, order) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::default());
        Arc::new(Fault { what, at, has_exchange, calls, has_happened, order })
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    /// Whether the call was made.
    pub fn has_happened(&self) -> bool {
        self.has_happened.load(SeqCst)
    }

    fn step(&self) -> io::Result<()> {
        let _one = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let call = self.calls.fetch_add(1, SeqCst);
        let is_hit = match self.what {
            What::End | What::Torn => call >= self.at,
            What::Full => call == self.at,
            What::Nothing => false,
        };
        if !is_hit {
            return Ok(());
        }
        self.has_happened.store(true, SeqCst);
        Err(match self.what {
            What::Full => ErrorKind::StorageFull.into(),
            _ => io::Error::other("the process has ended"),
        })
    }
}

impl Disk {
    /// A disk that fails as `fault` says.
    pub fn with_fault(fault: &Arc<Fault>) -> Disk {
        Disk { fault: Some(Arc::clone(fault)) }
    }

    pub(super) fn step(&self) -> io::Result<()> {
        self.fault.as_ref().map_or(Ok(()), |fault| fault.step())
    }

    pub(super) fn is_torn(&self) -> bool {
        let is_next = |fault: &Arc<Fault>| fault.what == What::Torn && fault.calls() == fault.at;
        self.fault.as_ref().is_some_and(is_next)
    }

    pub(super) fn has_no_exchange(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| !fault.has_exchange)
    }
}
