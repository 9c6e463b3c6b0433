//! How far the calls look: whether a partition can be computed a piece at a time, and what has to be known of its other rows.
//!
//! In: the calls, prepared. Out: what a piece needs beside its own rows. Never: says yes to a call that looks at a row which is neither near, nor
//! known by what is carried, nor known of the whole partition.

use super::calls::{Call, Calls, Prepared, PreparedBound};
use crate::{
    expression::{FrameUnits, WindowFunction},
    operator::window::frames::BoundOf,
};

/// Rows that are looked at before or behind a row, at most: they stand in memory with each piece.
const NEAR_ROWS_MAX: i64 = 1 << 16;

/// Which rows a frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Rows near the row.
    Near(Near),
    /// All rows of the partition up to the row that is so many further on.
    Beginning(i64),
    /// All rows of the partition up to the row's last peer.
    Peers,
    /// All rows of the partition.
    Whole,
}

/// Rows beside a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Near {
    pub(super) before: usize,
    pub(super) behind: usize,
}

/// What a piece needs beside its own rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    pub(super) near: Near,
    /// Where the peers of its last row end.
    pub(super) ends: bool,
}

impl Near {
    /// Rows from `first` to `last`, counted from the row.
    fn of(first: i64, last: i64) -> Option<Near> {
        let (before, behind) = (first.min(last).saturating_neg().max(0), last.max(first).max(0));
        let is_near = before <= NEAR_ROWS_MAX && behind <= NEAR_ROWS_MAX;
        is_near.then_some(Near { before: before as usize, behind: behind as usize })
    }

    fn and(self, other: Near) -> Near {
        Near { before: self.before.max(other.before), behind: self.behind.max(other.behind) }
    }
}

impl Prepared {
    /// None if it has rows of which nothing is known where a piece is computed.
    pub(super) fn reach(&self) -> Option<Reach> {
        let offset = |bound: &PreparedBound| match bound {
            PreparedBound::Known(BoundOf::Current) => Some(0),
            PreparedBound::Known(BoundOf::Offset(offset)) => Some(*offset),
            PreparedBound::Known(BoundOf::Unbounded | BoundOf::Value(_)) | PreparedBound::Value(_) => None,
        };
        let is_unbounded = |bound: &PreparedBound| matches!(bound, PreparedBound::Known(BoundOf::Unbounded));
        match (self.units, is_unbounded(&self.start), is_unbounded(&self.end)) {
            (_, true, true) => Some(Reach::Whole),
            (FrameUnits::Rows, true, false) => offset(&self.end).map(Reach::Beginning),
            (FrameUnits::Rows, false, false) => Near::of(offset(&self.start)?, offset(&self.end)?).map(Reach::Near),
            (FrameUnits::Groups | FrameUnits::Range, true, false) => {
                matches!(self.end, PreparedBound::Known(BoundOf::Current)).then_some(Reach::Peers)
            }
            (_, false, _) => None,
        }
    }
}

impl Reach {
    fn needs(self) -> Option<Needs> {
        Some(match self {
            Reach::Near(near) => Needs { near, ends: false },
            Reach::Beginning(offset) => Needs { near: Near::of(offset, offset)?, ends: false },
            Reach::Peers => Needs { near: Near::default(), ends: true },
            Reach::Whole => Needs::default(),
        })
    }
}

impl Call {
    fn needs(&self, calls: &Calls) -> Option<Needs> {
        match self {
            Call::Number(WindowFunction::CumeDist) => Reach::Peers.needs(),
            Call::Number(_) => Some(Needs::default()),
            Call::Shifted { ignores_nulls: true, offset, .. } if *offset != 0 => None,
            Call::Shifted { offset, .. } => Some(Needs { near: Near::of(*offset, *offset)?, ends: false }),
            Call::Nth { number, ignores_nulls, frame, .. } => {
                let reach = frame.reach()?;
                let is_near = matches!(reach, Reach::Near(_));
                if is_near || !ignores_nulls && matches!(number, 1 | -1) { reach.needs() } else { None }
            }
            Call::Aggregate(place, _) => calls.aggregates.get(*place)?.frame.reach()?.needs(),
        }
    }
}

impl Calls {
    /// What a piece of a partition needs; none if some call must see the partition at once.
    pub(super) fn needs(&self) -> Option<Needs> {
        self.calls.iter().try_fold(Needs::default(), |all, call| {
            let needs = call.needs(self)?;
            Some(Needs { near: all.near.and(needs.near), ends: all.ends || needs.ends })
        })
    }
}
