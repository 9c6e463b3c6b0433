//! The governor: the budget of a process and who holds how much of it.
//!
//! In: floors of the operators of a job, then requests to grow. Out: grants, or [`OverBudget`]. Never: allocates.
//!
//! A job is admitted when the floors of its operators fit together. Above the floors memory is granted while there is some. When
//! there is none the governor asks those that hold revocable memory to give some back, and grants when that was enough. Until operators
//! can spill each answers that it cannot, and the request fails with the numbers a user needs to choose a larger budget.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Pool, Reservation};
use crate::error::{Cause, Kind, Result};

/// One who may give memory back when asked.
pub trait Revocable: Send + Sync {
    /// Give back about `bytes`, if it can. Called by whoever asked for more, on its thread, which may hold a lock of this very
    /// state: try the lock, and answer that it cannot where it is taken.
    fn revoke(&self, bytes: u64) -> Result<Revoked>;
}

/// What came of [`Revocable::revoke`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// So many bytes were given back.
    Bytes(u64),
    /// It holds nothing that it could give back.
    Cannot,
}

/// Grants memory to the operators of all jobs of a process.
pub struct Governor {
    budget_bytes: u64,
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    /// Invariant: the sum over holders is `used_bytes` when nobody is inside `grow` or `shrink`.
    holders: Mutex<BTreeMap<&'static str, u64>>,
    /// Who may be asked to give back; those that are gone are forgotten at the next registration.
    revocables: Mutex<Vec<Weak<dyn Revocable>>>,
    pool: Arc<Pool>,
}

impl Governor {
    /// A governor of `budget_bytes`.
    pub fn new(budget_bytes: u64) -> Arc<Governor> {
        Arc::new(Governor {
            budget_bytes,
            used_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            holders: Mutex::default(),
            revocables: Mutex::default(),
            pool: Arc::default(),
        })
    }

    /// From now on `revocable` may be asked to give memory back, as long as it lives.
    pub fn register(&self, revocable: &Arc<dyn Revocable>) {
        let mut revocables = self.revocables.lock().unwrap_or_else(PoisonError::into_inner);
        revocables.retain(|known| known.strong_count() > 0);
        revocables.push(Arc::downgrade(revocable));
    }

    /// An empty reservation for `holder`, a word that names the operator to the user.
    pub fn reservation(self: &Arc<Governor>, holder: &'static str) -> Reservation {
        Reservation::new(Arc::clone(self), holder)
    }

    /// Can a job whose operators have these floors together finish at all? Nothing is granted yet; the operators ask as they grow.
    pub fn admit(&self, floor_bytes: u64) -> Result<()> {
        if floor_bytes > self.budget_bytes {
            return Err(self.over_budget("the floors of the job's operators", floor_bytes).into());
        }
        Ok(())
    }

    /// The blocks of this process.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Bytes granted now.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    /// Most bytes ever granted at once.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Relaxed)
    }

    pub(super) fn grant(&self, holder: &'static str, bytes: u64) -> Result<()> {
        if !self.take(bytes) {
            self.revoke(bytes)?;
            if !self.take(bytes) {
                return Err(self.over_budget(holder, bytes).into());
            }
        }
        *self.lock().entry(holder).or_default() += bytes;
        Ok(())
    }

    /// Takes `bytes` of what is left; false when less is left.
    fn take(&self, bytes: u64) -> bool {
        let taken = self
            .used_bytes
            .fetch_update(Relaxed, Relaxed, |used| used.checked_add(bytes).filter(|after| *after <= self.budget_bytes));
        if let Ok(used) = taken {
            self.peak_bytes.fetch_max(used + bytes, Relaxed);
        }
        taken.is_ok()
    }

    /// Asks one after the other until about `bytes` were given back.
    fn revoke(&self, bytes: u64) -> Result<()> {
        // Not under the lock: who is asked gives its reservations back, and may take some time to.
        let known: Vec<_> = {
            let revocables = self.revocables.lock().unwrap_or_else(PoisonError::into_inner);
            revocables.iter().filter_map(Weak::upgrade).collect()
        };
        let mut missing = bytes;
        for revocable in known {
            if let Revoked::Bytes(given) = revocable.revoke(missing)? {
                missing = missing.saturating_sub(given);
            }
            if missing == 0 {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn give_back(&self, holder: &'static str, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Relaxed);
        if let Some(held) = self.lock().get_mut(holder) {
            *held -= bytes;
        }
    }

    fn over_budget(&self, holder: &'static str, asked_bytes: u64) -> OverBudget {
        let mut holders: Vec<_> = self.lock().iter().filter(|(_, bytes)| **bytes > 0).map(|(h, b)| (*h, *b)).collect();
        holders.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        OverBudget { holder, asked_bytes, used_bytes: self.used_bytes(), budget_bytes: self.budget_bytes, holders }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Governor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Governor({} of {} bytes granted)", self.used_bytes(), self.budget_bytes)
    }
}

/// A request for memory that the budget does not allow.
#[derive(Debug, thiserror::Error)]
#[error("{holder} asked for {} more: {} of the budget of {} are in use{}", size(*asked_bytes), size(*used_bytes), size(*budget_bytes), held(holders))]
pub struct OverBudget {
    /// Who asked.
    pub holder: &'static str,
    /// For how much.
    pub asked_bytes: u64,
    /// What was granted at that moment, to all.
    pub used_bytes: u64,
    /// What may be granted at most.
    pub budget_bytes: u64,
    /// Who held how much, the largest first.
    pub holders: Vec<(&'static str, u64)>,
}

impl Cause for OverBudget {
    fn kind(&self) -> Kind {
        Kind::Limit
    }
    fn hint(&self) -> Option<String> {
        Some("give the job more memory (--memory), or read fewer columns and rows".to_owned())
    }
}

fn held(holders: &[(&'static str, u64)]) -> String {
    let mut text = String::new();
    for (i, (holder, bytes)) in holders.iter().take(3).enumerate() {
        let _ = write!(text, "{}{} by {holder}", if i == 0 { " (" } else { ", " }, size(*bytes));
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

/// `bytes` as a person reads it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// Holds memory and gives it back when asked.
    struct Generous(Mutex<Reservation>);

    impl Revocable for Generous {
        fn revoke(&self, _bytes: u64) -> Result<Revoked> {
            let mut held = self.0.lock().unwrap();
            let bytes = held.bytes();
            held.resize(0)?;
            Ok(Revoked::Bytes(bytes))
        }
    }

    #[test]
    fn what_is_over_budget_is_told_with_who_held_what() {
        let governor = Governor::new(1 << 20);
        let mut first = governor.reservation("the first");
        first.grow(900 << 10).unwrap();
        let error = governor.reservation("the second").grow(200 << 10).unwrap_err();
        assert_eq!(error.kind(), Kind::Limit);
        assert!(error.to_string().starts_with("the second asked for"), "{error}");
        assert!(error.to_string().contains("by the first"), "{error}");
        drop(first);
        assert_eq!(governor.used_bytes(), 0);
        governor.reservation("the second").grow(200 << 10).unwrap();
    }

    #[test]
    fn who_can_give_back_is_asked_first() {
        let governor = Governor::new(1 << 20);
        let mut held = governor.reservation("generous");
        held.grow(900 << 10).unwrap();
        let generous: Arc<dyn Revocable> = Arc::new(Generous(Mutex::new(held)));
        governor.register(&generous);
        let mut second = governor.reservation("the second");
        second.grow(800 << 10).unwrap();
        assert_eq!(governor.used_bytes(), 832 << 10);
        assert!(second.grow(300 << 10).is_err(), "nothing is left to give back");
    }

    #[test]
    fn a_request_that_overflows_is_refused() {
        let governor = Governor::new(u64::MAX - 1);
        let mut held = governor.reservation("greedy");
        held.grow(1).unwrap();
        assert!(held.grow(u64::MAX).is_err());
    }
}
