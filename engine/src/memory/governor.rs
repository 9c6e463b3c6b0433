//! The governor: the budget of a process and who holds how much of it.
//!
//! In: floors of the operators of a job, then requests to grow. Out: grants, or [`OverBudget`]. Never: allocates.
//!
//! A job is admitted when the floors of its operators fit together. Above the floors memory is granted while there is some. When
//! there is none the governor asks the largest holder to give some back (`revoke`); nobody can yet, so the request fails with the
//! numbers a user needs to choose a larger budget.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::Reservation;
use crate::error::{Cause, Kind, Result};

/// Grants memory to the operators of all jobs of a process.
#[derive(Debug)]
pub struct Governor {
    budget_bytes: u64,
    used_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    /// Invariant: the sum over holders is `used_bytes` when nobody is inside `grow` or `shrink`.
    holders: Mutex<BTreeMap<&'static str, u64>>,
}

impl Governor {
    /// A governor of `budget_bytes`.
    pub fn new(budget_bytes: u64) -> Arc<Governor> {
        Arc::new(Governor {
            budget_bytes,
            used_bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            holders: Mutex::default(),
        })
    }

    /// An empty reservation for `holder`, a word that names the operator to the user.
    pub fn reservation(self: &Arc<Governor>, holder: &'static str) -> Reservation {
        Reservation::new(Arc::clone(self), holder)
    }

    /// The floors of a job's operators, held while it runs.
    pub fn admit(self: &Arc<Governor>, floor_bytes: u64) -> Result<Reservation> {
        let mut floors = self.reservation("the floors of the job's operators");
        floors.grow(floor_bytes)?;
        Ok(floors)
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
        let granted = self
            .used_bytes
            .fetch_update(Relaxed, Relaxed, |used| used.checked_add(bytes).filter(|after| *after <= self.budget_bytes));
        let Ok(used) = granted else { return Err(self.over_budget(holder, bytes).into()) };
        self.peak_bytes.fetch_max(used + bytes, Relaxed);
        *self.lock().entry(holder).or_default() += bytes;
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
