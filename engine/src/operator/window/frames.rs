//! Which rows each row looks at.
//!
//! In: the layout of a unit and a frame. Out: for each row the first of its frame's rows and the end. Never: a row of another partition.

use std::cmp::Ordering;

use super::layout::Layout;
use crate::{
    batch::{
        array::{Array, ArrayRef, make_comparator},
        canonical_floats,
        compute::{self, SortOptions},
    },
    error::{Result, bug},
    expression::FrameUnits,
};

/// The frames of all rows.
pub(super) enum Frames {
    /// The row's partition.
    Whole,
    /// Of row i the rows `[starts[i], ends[i])`.
    Ranges { starts: Vec<u32>, ends: Vec<u32> },
}

/// A bound with its values.
#[derive(Clone)]
pub(super) enum BoundOf {
    Unbounded,
    Current,
    Offset(i64),
    /// A value a row, and which way the order goes.
    Value(ArrayRef),
}

/// What frames of values look at.
pub(super) struct OrderOf<'a> {
    /// The values of the one key.
    pub(super) key: Option<&'a ArrayRef>,
    pub(super) options: SortOptions,
}

impl Frames {
    /// The frames from `start` to `end` in these units.
    pub(super) fn new(
        layout: &Layout,
        units: FrameUnits,
        (start, end): (&BoundOf, &BoundOf),
        order: &OrderOf<'_>,
    ) -> Result<Frames> {
        if let (BoundOf::Unbounded, BoundOf::Unbounded) = (start, end) {
            return Ok(Frames::Whole);
        }
        let starts = Side::Start.of(layout, units, start, order)?;
        let mut ends = Side::End.of(layout, units, end, order)?;
        // A frame that ends before it begins has no rows.
        ends.iter_mut().zip(&starts).for_each(|(end, start)| *end = (*end).max(*start));
        Ok(Frames::Ranges { starts, ends })
    }

    /// Every row's frame as a range.
    pub(super) fn ranges(self, layout: &Layout) -> (Vec<u32>, Vec<u32>) {
        match self {
            Frames::Ranges { starts, ends } => (starts, ends),
            Frames::Whole => {
                let (mut starts, mut ends) = (Vec::with_capacity(layout.rows()), Vec::with_capacity(layout.rows()));
                for (start, end) in layout.each_partition() {
                    starts.resize(end as usize, start);
                    ends.resize(end as usize, end);
                }
                (starts, ends)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// The first row of the frame.
    Start,
    /// The row behind its last.
    End,
}

impl Side {
    fn of(self, layout: &Layout, units: FrameUnits, bound: &BoundOf, order: &OrderOf<'_>) -> Result<Vec<u32>> {
        let mut places = Vec::with_capacity(layout.rows());
        match (units, bound) {
            (_, BoundOf::Unbounded) => {
                for (start, end) in layout.each_partition() {
                    places.resize(end as usize, if self == Side::Start { start } else { end });
                }
            }
            (FrameUnits::Rows, BoundOf::Current) => self.of_rows(layout, 0, &mut places),
            (FrameUnits::Rows, BoundOf::Offset(offset)) => self.of_rows(layout, *offset, &mut places),
            (FrameUnits::Groups | FrameUnits::Range, BoundOf::Current) => {
                for (start, end) in layout.each_peers() {
                    places.resize(end as usize, if self == Side::Start { start } else { end });
                }
            }
            (FrameUnits::Groups, BoundOf::Offset(offset)) => self.of_groups(layout, *offset, &mut places),
            (FrameUnits::Range, BoundOf::Value(bounds)) => self.of_values(layout, bounds, order, &mut places)?,
            (FrameUnits::Range, BoundOf::Offset(_)) | (_, BoundOf::Value(_)) => {
                return Err(bug("window", "a frame's bound is not of the frame's units"));
            }
        }
        Ok(places)
    }

    fn of_rows(self, layout: &Layout, offset: i64, places: &mut Vec<u32>) {
        let offset = offset.saturating_add(i64::from(self == Side::End));
        for (start, end) in layout.each_partition() {
            let place = |row| i64::from(row).saturating_add(offset).clamp(i64::from(start), i64::from(end)) as u32;
            places.extend((start..end).map(place));
        }
    }

    fn of_groups(self, layout: &Layout, offset: i64, places: &mut Vec<u32>) {
        let mut group = 0;
        for (start, end) in layout.each_partition() {
            let first = group;
            while layout.peers[group] < end {
                group += 1;
            }
            // The partition's groups, and where it ends.
            let groups = &layout.peers[first..=group];
            let count = groups.len() as i64 - 1;
            for number in 0..count {
                let other = number.saturating_add(offset).saturating_add(i64::from(self == Side::End));
                let place = groups[other.clamp(0, count) as usize];
                places.resize(groups[number as usize + 1] as usize, place);
            }
            debug_assert!(places.len() == end as usize && start <= end);
        }
    }

    /// By value: of a row whose own value is NULL its peers, as NULL is at no distance from anything else.
    fn of_values(self, layout: &Layout, bounds: &ArrayRef, order: &OrderOf<'_>, places: &mut Vec<u32>) -> Result<()> {
        let Some(key) = order.key else {
            return Err(bug("window", "a frame of values without a value"));
        };
        let key = if key.data_type() == bounds.data_type() {
            ArrayRef::clone(key)
        } else {
            compute::cast(key, bounds.data_type())?
        };
        let (key, bounds) = (canonical_floats(&key), canonical_floats(bounds));
        let compare = make_comparator(&key, &bounds, order.options)?;
        let mut peers = layout.each_peers();
        let mut peer = peers.next().unwrap_or_default();
        for (start, end) in layout.each_partition() {
            for row in start..end {
                while peer.1 <= row {
                    peer = peers.next().unwrap_or((row, row + 1));
                }
                if bounds.is_null(row as usize) {
                    places.push(if self == Side::Start { peer.0 } else { peer.1 });
                    continue;
                }
                // Rows in order: those before the bound, then the others.
                let is_before = |other: u32| match compare(other as usize, row as usize) {
                    Ordering::Less => true,
                    Ordering::Equal => self == Side::End,
                    Ordering::Greater => false,
                };
                let (mut low, mut high) = (start, end);
                while low < high {
                    let middle = low + (high - low) / 2;
                    if is_before(middle) { low = middle + 1 } else { high = middle }
                }
                places.push(low);
            }
        }
        Ok(())
    }
}
