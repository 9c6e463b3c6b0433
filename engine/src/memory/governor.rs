//! The governor: the budget of a process and who holds how much of it.
//!
//! In: floors of the operators of a job, then requests to grow. Out: grants, or [`OverBudget`]. Never: allocates.
//!
//! A job is admitted when the floors of its operators fit together. Above the floors there are two limits:
//!
//! ```text
//!   0 ───────────── granted to all ─────────────┤ revocable limit ├──── headroom ────┤ budget
//!     try_grow: yes                              try_grow: no, and those that hold
//!                                                most are asked to give back
//!     grow: yes                                  grow: yes, and they are asked too     grow: OverBudget
//! ```
//! Who can spill asks with `try_grow` and is refused at the revocable limit: it spills what it holds, or takes a little of the headroom to
//! go on until spilling is worth it. Who cannot spill asks with `grow`, up to the budget; then it fails with the numbers a user needs to
//! choose a larger one. The headroom is there because those that are asked to give back do so at their next morsel, not at once.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Pool, Reservation};
use crate::{
    error::{Cause, Kind, Result},
    settings::Settings,
};

/// One who may give memory back when asked.
pub trait Revocable: Send + Sync {
    /// Give back about `bytes`, if it can. Called by whoever asked for more, on its thread, which may hold a lock of this very
    /// state: try the lock, and answer that it cannot where it is taken.
    fn revoke(&self, bytes: u64) -> Result<Revoked>;
    /// What it holds and could give back. Those that hold most are asked first, those that hold nothing are not.
    fn held_bytes(&self) -> u64 {
        0
    }
}

/// What came of [`Revocable::revoke`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// So many bytes were given back, or will be when its threads come to their next morsel.
    Bytes(u64),
    /// It holds nothing that it could give back.
    Cannot,
}

/// Grants memory to the operators of all jobs of a process.
pub struct Governor {
    budget_bytes: u64,
    /// Invariant: at most `budget_bytes`.
    revocable_bytes: u64,
    least_spill_bytes: u64,
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    /// Invariant: the sum over holders is `used_bytes` when nobody is inside `grow` or `shrink`.
    holders: Mutex<BTreeMap<&'static str, u64>>,
    /// Who may be asked to give back; those that are gone are forgotten at the next registration.
    revocables: Mutex<Vec<Weak<dyn Revocable>>>,
    pool: Arc<Pool>,
}

impl Governor {
    /// The governor of a process with these settings.
    pub fn of(settings: &Settings) -> Arc<Governor> {
        let budget_bytes = settings.memory_bytes;
        let revocable_bytes = settings.revocable_bytes.unwrap_or(revocable_share(budget_bytes)).min(budget_bytes);
        Governor::with(budget_bytes, revocable_bytes, settings.threads)
    }

    /// A governor of `budget_bytes`, with the usual share of them revocable.
    pub fn new(budget_bytes: u64) -> Arc<Governor> {
        Governor::with(budget_bytes, revocable_share(budget_bytes), 1)
    }

    fn with(budget_bytes: u64, revocable_bytes: u64, threads: usize) -> Arc<Governor> {
        let headroom_bytes = budget_bytes - revocable_bytes;
        Arc::new(Governor {
            budget_bytes,
            revocable_bytes,
            // All threads of a few operators may hold so much and stay within the headroom.
            least_spill_bytes: (headroom_bytes / (8 * threads as u64)).min(revocable_bytes),
            used_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            holders: Mutex::default(),
            revocables: Mutex::default(),
            pool: Pool::within(budget_bytes),
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

    /// Bytes that could be granted now.
    pub fn free_bytes(&self) -> u64 {
        self.budget_bytes.saturating_sub(self.used_bytes())
    }

    /// Most bytes ever granted at once.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Relaxed)
    }

    /// A thread that is refused memory and holds less than this does better to take a little of the headroom than to spill: pieces would
    /// be many and small. 0 when everything is to be spilled at each chance.
    pub fn least_spill_bytes(&self) -> u64 {
        self.least_spill_bytes
    }

    /// What lies between the revocable limit and the budget: where those that spill go on until they have.
    pub fn headroom_bytes(&self) -> u64 {
        self.budget_bytes - self.revocable_bytes
    }

    pub(super) fn grant(&self, holder: &'static str, bytes: u64) -> Result<()> {
        match self.take(bytes, self.budget_bytes) {
            Some(after) if after > self.revocable_bytes => self.revoke(after - self.revocable_bytes)?,
            Some(_) => {}
            None => {
                self.revoke(bytes)?;
                if self.take(bytes, self.budget_bytes).is_none() {
                    return Err(self.over_budget(holder, bytes).into());
                }
            }
        }
        *self.lock().entry(holder).or_default() += bytes;
        Ok(())
    }

    /// Grants `bytes` if all that is in use stays at or below the revocable limit. If not, it asks those that hold most to give back.
    pub(super) fn try_grant(&self, holder: &'static str, bytes: u64) -> bool {
        if self.take(bytes, self.revocable_bytes).is_none() {
            // What goes wrong where memory is given back shows there, on the threads of whoever gives it.
            let _ = self.revoke(bytes);
            return false;
        }
        *self.lock().entry(holder).or_default() += bytes;
        true
    }

    /// Takes `bytes` of what is left below the limit, and says what is then in use; nothing when less is left.
    fn take(&self, bytes: u64, limit_bytes: u64) -> Option<u64> {
        let within = |used: u64| used.checked_add(bytes).filter(|after| *after <= limit_bytes);
        let after = self.used_bytes.fetch_update(Relaxed, Relaxed, within).ok()? + bytes;
        self.peak_bytes.fetch_max(after, Relaxed);
        Some(after)
    }

    /// Asks one after the other, who holds most first, until about `bytes` were given back or promised.
    fn revoke(&self, bytes: u64) -> Result<()> {
        // Not under the lock: who is asked gives its reservations back, and may take some time to.
        let mut known: Vec<_> = {
            let revocables = self.revocables.lock().unwrap_or_else(PoisonError::into_inner);
            let alive = revocables.iter().filter_map(Weak::upgrade);
            alive.map(|revocable| (revocable.held_bytes(), revocable)).filter(|(held, _)| *held > 0).collect()
        };
        known.sort_by_key(|(held, _)| std::cmp::Reverse(*held));
        let mut missing = bytes;
        for (_, revocable) in known {
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

    /// What `from` was granted is `to`'s from now on.
    pub(super) fn hand_over(&self, from: &'static str, to: &'static str, bytes: u64) {
        let mut holders = self.lock();
        if let Some(held) = holders.get_mut(from) {
            *held -= bytes;
        }
        *holders.entry(to).or_default() += bytes;
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

/// Five eighths: what is left is more than a thread of each of a few operators takes until its next morsel, and about what an allocator has
/// not given back yet of what was freed during the last second (TPC-H at scale 10 within 1 GiB: 300 MiB).
fn revocable_share(budget_bytes: u64) -> u64 {
    budget_bytes / 8 * 5
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
        fn held_bytes(&self) -> u64 {
            self.0.lock().unwrap().bytes()
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
    fn who_can_spill_is_refused_before_the_budget_ends() {
        let governor = Governor::new(1 << 20);
        let mut first = governor.reservation("the first");
        assert!(first.try_grow(640 << 10));
        let mut second = governor.reservation("the second");
        assert!(!second.try_grow(1), "five eighths are granted");
        assert_eq!((second.bytes(), governor.used_bytes()), (0, 640 << 10));
        second.grow(100 << 10).unwrap();
        assert!(!first.try_grow(1 << 10));
        assert!(first.try_resize(100 << 10) && first.try_grow(100 << 10), "there is room again");
    }

    #[test]
    fn nothing_is_granted_to_try_where_all_is_to_be_spilled() {
        let settings = Settings { revocable_bytes: Some(0), memory_bytes: 1 << 30, ..Settings::default() };
        let governor = Governor::of(&settings);
        let mut held = governor.reservation("spiller");
        assert!(!held.try_grow(1) && held.try_grow(0));
        assert_eq!(governor.least_spill_bytes(), 0);
        held.grow(1 << 20).unwrap();
    }

    #[test]
    fn who_holds_most_is_asked_first_when_a_try_is_refused() {
        let governor = Governor::new(1 << 20);
        let generous = [100_u64, 500].map(|kib| {
            let mut held = governor.reservation("generous");
            held.grow(kib << 10).unwrap();
            let generous: Arc<dyn Revocable> = Arc::new(Generous(Mutex::new(held)));
            governor.register(&generous);
            generous
        });
        let mut other = governor.reservation("other");
        assert!(!other.try_grow(400 << 10), "the answer is no even when somebody gives back at once");
        assert_eq!(generous.map(|generous| generous.held_bytes()), [100 << 10, 0]);
        assert!(other.try_grow(400 << 10));
    }

    #[test]
    fn what_another_holds_is_taken_over_without_asking() {
        let governor = Governor::new(1 << 20);
        let [mut first, mut second] = ["the first", "the second"].map(|holder| governor.reservation(holder));
        first.grow(500 << 10).unwrap();
        second.grow(500 << 10).unwrap();
        let used = governor.used_bytes();
        first.absorb(second);
        assert_eq!((first.bytes(), governor.used_bytes()), (1000 << 10, used));
        let mut part = first.split_off(300 << 10);
        assert_eq!((first.bytes(), part.bytes(), governor.used_bytes()), (700 << 10, 300 << 10, used));
        part.resize(1).unwrap();
        assert!(governor.used_bytes() < used);
        drop(part);
        let error = governor.reservation("the third").grow(500 << 10).unwrap_err();
        assert!(error.to_string().contains("by the first") && !error.to_string().contains("second"), "{error}");
        drop(first);
        assert_eq!(governor.used_bytes(), 0);
    }

    #[test]
    fn a_request_that_overflows_is_refused() {
        let governor = Governor::new(u64::MAX - 1);
        let mut held = governor.reservation("greedy");
        held.grow(1).unwrap();
        assert!(held.grow(u64::MAX).is_err());
    }
}
