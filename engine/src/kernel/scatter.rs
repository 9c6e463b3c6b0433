//! Rows to their groups: a stable counting sort, and the move of the values.
//!
//! In: the group of each row, a cursor for each group, values. Out: rows in group order, values behind each group's
//! cursor. Never: unsafe; the bound of each write is checked, as the cursors come from another batch of counts (the
//! check is one predicted compare beside a store that costs more; scatter instructions are not faster than stores on
//! any processor of today, `research/performance.md` § 1).
//!
//! ```text
//! groups  2 0 1 0 2      counts 2 1 2      first rows 0 2 3
//! row     0 1 2 3 4      order  1 3 | 2 | 0 4
//! ```
//!
//! Deficit: no write-combining buffers yet. A batch's output stands in L2, where plain stores do as well; a builder set
//! of 256 groups over many batches will need them.

use super::partition::GROUPS_MAX;

/// Writes each row's number behind its group's cursor and moves the cursor on.
///
/// `cursors`: where each group's next row goes, as of `first_rows`. `order`: at least as long as the last cursor goes.
#[inline(always)]
pub(super) fn row_order(groups: &[u8], cursors: &mut [u32; GROUPS_MAX], order: &mut [u32]) {
    for (row, group) in groups.iter().enumerate() {
        let cursor = &mut cursors[usize::from(*group)];
        order[*cursor as usize] = row as u32;
        *cursor += 1;
    }
}

/// Writes each value behind its group's cursor and moves the cursor on.
#[inline(always)]
pub(super) fn scatter<T: Copy>(values: &[T], groups: &[u8], cursors: &mut [u32; GROUPS_MAX], out: &mut [T]) {
    assert_eq!(values.len(), groups.len());
    for (value, group) in values.iter().zip(groups) {
        let cursor = &mut cursors[usize::from(*group)];
        out[*cursor as usize] = *value;
        *cursor += 1;
    }
}
