//! What an operator is asked to give back, and which of its threads does so.
//!
//! In: requests of the governor, on anybody's thread. Out: each request to one thread of the operator, at its next morsel. Never: frees
//! memory itself; waits.
//!
//! ```text
//!   governor ──ask(bytes)──► wanted ──take(), by whichever thread comes first and holds enough──► it spills, and holds less
//! ```
//! One thread answers a request: what it holds is mostly far more than was asked for, and were all threads to answer, each would write a
//! small piece. A thread that was itself refused memory and spills has answered, too.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Revoked;

/// Shared by the threads of one operator: a request goes to one of them.
#[derive(Debug, Default)]
pub struct Revocation {
    held_bytes: AtomicU64,
    wanted_bytes: AtomicU64,
}

impl Revocation {
    /// A thread that could spill `before` bytes can now spill `after`.
    pub fn hold(&self, before: u64, after: u64) {
        // Wraps where it shrinks; the sum over all threads is right.
        self.held_bytes.fetch_add(after.wrapping_sub(before), Relaxed);
    }

    /// What all threads together could spill.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Relaxed)
    }

    /// The governor wants about `bytes` back.
    pub fn ask(&self, bytes: u64) -> Revoked {
        let held = self.held_bytes();
        if held == 0 {
            return Revoked::Cannot;
        }
        self.wanted_bytes.fetch_max(bytes, Relaxed);
        Revoked::Bytes(bytes.min(held))
    }

    /// Is something wanted back? Who calls with `held` bytes, enough for it to be worth it, has to spill them when the answer is yes.
    pub fn take(&self, held: u64, least_bytes: u64) -> bool {
        held >= least_bytes.max(1) && self.wanted_bytes.load(Relaxed) > 0 && self.wanted_bytes.swap(0, Relaxed) > 0
    }

    /// A thread spills of its own accord: nobody else has to.
    pub fn answered(&self) {
        self.wanted_bytes.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_that_holds_enough_answers() {
        let revocation = Revocation::default();
        assert_eq!(revocation.ask(10), Revoked::Cannot);
        revocation.hold(0, 100);
        revocation.hold(100, 60);
        assert_eq!(revocation.held_bytes(), 60);
        assert_eq!(revocation.ask(100), Revoked::Bytes(60));
        assert!(!revocation.take(20, 30), "too little to be worth it");
        assert!(revocation.take(40, 30));
        assert!(!revocation.take(40, 30), "asked once, answered once");
        assert_eq!(revocation.ask(1), Revoked::Bytes(1));
        revocation.answered();
        assert!(!revocation.take(60, 0));
    }
}
