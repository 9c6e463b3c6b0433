//! Places of other rows: where the value stands that a row gets.
//!
//! In: the layout of a unit, or frames, and the values. Out: for each row the row whose value is its. Never: a row of another partition.

use super::layout::Layout;
use crate::batch::array::{Array, ArrayRef};

/// For each row the row `offset` further on, in its partition.
pub(super) fn shifted(layout: &Layout, value: &ArrayRef, offset: i64, ignores_nulls: bool) -> Vec<Option<u32>> {
    let mut places = Vec::with_capacity(layout.rows());
    let nulls = if ignores_nulls && offset != 0 { value.logical_nulls() } else { None };
    let Some(nulls) = nulls else {
        for (start, end) in layout.each_partition() {
            let range = i64::from(start)..i64::from(end);
            let place = |row: u32| {
                let place = i64::from(row).saturating_add(offset);
                range.contains(&place).then_some(place as u32)
            };
            places.extend((start..end).map(place));
        }
        return places;
    };
    for (start, end) in layout.each_partition() {
        let known: Vec<u32> = (start..end).filter(|row| nulls.is_valid(*row as usize)).collect();
        // Known values before the row, and up to it.
        let mut before = 0;
        for row in start..end {
            let up_to = before + usize::from(nulls.is_valid(row as usize));
            let number = if offset < 0 { before as i64 + offset } else { up_to as i64 + offset - 1 };
            places.push(usize::try_from(number).ok().and_then(|number| known.get(number)).copied());
            before = up_to;
        }
    }
    places
}

/// For each range its row of this number; from the end where negative.
pub(super) fn nth(
    value: &ArrayRef,
    starts: &[u32],
    ends: &[u32],
    number: i64,
    ignores_nulls: bool,
) -> Vec<Option<u32>> {
    let choose = |start: u32, end: u32| {
        let place = if number > 0 {
            i64::from(start).saturating_add(number - 1)
        } else {
            i64::from(end).saturating_add(number)
        };
        (i64::from(start)..i64::from(end)).contains(&place).then_some(place as u32)
    };
    let ranges = starts.iter().zip(ends);
    let nulls = if ignores_nulls { value.logical_nulls() } else { None };
    let Some(nulls) = nulls else { return ranges.map(|(start, end)| choose(*start, *end)).collect() };
    // Ranges of rows become ranges of known values, and back.
    let known: Vec<u32> = nulls.inner().set_indices().map(|row| row as u32).collect();
    let place = |row: u32| known.partition_point(|known| *known < row) as u32;
    ranges.map(|(start, end)| choose(place(*start), place(*end)).map(|place| known[place as usize])).collect()
}
