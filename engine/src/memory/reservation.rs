//! A share of the budget, held by one operator, given back when it is dropped.
//!
//! In: how many bytes the holder is about to hold. Out: leave to do so. Never: shared between threads; each has its own.

use std::sync::Arc;

use super::Governor;
use crate::{error::Result, observe::Holding};

/// Bytes granted to one holder.
#[derive(Debug)]
pub struct Reservation {
    governor: Arc<Governor>,
    holder: &'static str,
    /// What the holder said it holds; never more than `granted_bytes`.
    bytes: u64,
    /// What the governor granted: `bytes`, rounded up so that few requests reach the shared counter.
    granted_bytes: u64,
    seen_by: Option<Arc<Holding>>,
}

/// Grants are rounded up to this, so that a growing table asks a few times and not once a morsel.
const GRANT_BYTES: u64 = 64 << 10;

impl Reservation {
    pub(super) fn new(governor: Arc<Governor>, holder: &'static str) -> Reservation {
        Reservation { governor, holder, bytes: 0, granted_bytes: 0, seen_by: None }
    }

    /// Tells `holding`, too, what it holds; called before it holds anything.
    pub fn seen_by(mut self, holding: Option<&Arc<Holding>>) -> Reservation {
        self.seen_by = holding.cloned();
        self
    }

    fn granted(&mut self, bytes: u64) {
        if let Some(holding) = &self.seen_by {
            holding.change(self.granted_bytes, bytes);
        }
        self.granted_bytes = bytes;
    }

    /// Asks for `bytes` more.
    pub fn grow(&mut self, bytes: u64) -> Result<()> {
        self.resize(self.bytes.saturating_add(bytes))
    }

    /// Asks for as much as makes it `bytes`, or gives the rest back.
    pub fn resize(&mut self, bytes: u64) -> Result<()> {
        let wanted = rounded(bytes);
        if wanted > self.granted_bytes {
            self.governor.grant(self.holder, wanted - self.granted_bytes)?;
            self.granted(wanted);
        } else if wanted < self.granted_bytes {
            self.governor.give_back(self.holder, self.granted_bytes - wanted);
            self.granted(wanted);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// As [`Reservation::grow`], for a holder that can do with less: false, and nothing changed, when that would bring all holders together
    /// above the governor's revocable limit. Those that hold most are then asked to give back, this holder among them. Who is refused
    /// spills what it holds, if that is worth it; else it may still `grow`.
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        self.try_resize(self.bytes.saturating_add(bytes))
    }

    /// As [`Reservation::resize`], refused as by [`Reservation::try_grow`].
    pub fn try_resize(&mut self, bytes: u64) -> bool {
        let wanted = rounded(bytes);
        if wanted > self.granted_bytes {
            if !self.governor.try_grant(self.holder, wanted - self.granted_bytes) {
                return false;
            }
        } else if wanted < self.granted_bytes {
            self.governor.give_back(self.holder, self.granted_bytes - wanted);
        }
        self.granted(wanted);
        self.bytes = bytes;
        true
    }

    /// Takes over what `other` holds, of the same governor. Nothing is asked for, so nothing can be refused.
    pub fn absorb(&mut self, mut other: Reservation) {
        if other.holder != self.holder {
            self.governor.hand_over(other.holder, self.holder, other.granted_bytes);
        }
        self.bytes += std::mem::take(&mut other.bytes);
        let taken = other.granted_bytes;
        other.granted(0);
        self.granted(self.granted_bytes + taken);
    }

    /// Gives `bytes` of what it holds to a reservation of their own.
    pub fn split_off(&mut self, bytes: u64) -> Reservation {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.granted(self.granted_bytes - bytes);
        let empty = Reservation::new(Arc::clone(&self.governor), self.holder);
        let mut split = empty.seen_by(self.seen_by.as_ref());
        split.granted(bytes);
        split.bytes = bytes;
        split
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// In whole grants.
fn rounded(bytes: u64) -> u64 {
    bytes.div_ceil(GRANT_BYTES).saturating_mul(GRANT_BYTES).max(bytes)
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.granted_bytes > 0 {
            self.governor.give_back(self.holder, self.granted_bytes);
            self.granted(0);
        }
    }
}
