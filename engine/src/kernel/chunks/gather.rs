//! Rows on their way to the chunks of many groups: column by column, in the order of the groups, after room was made for all of them.
//!
//! In: rows that were measured, their numbers by group. Out: their values behind those that the chunks have. Never: asks whether there is room.

#![allow(unsafe_code)]

use std::ops::Range;

use arrow::buffer::Buffer;
use arrow::datatypes::ToByteSlice;
use arrow::error::ArrowError;

use super::{Chunks, Place};
use crate::kernel::bundle::Words;
use crate::kernel::gathered::{ByGroup, Places, Texts, count_rows, order_rows, touch};
use crate::kernel::rows::{Column, Rows, Values};
use crate::kernel::scatter::LINE_BYTES;
use crate::memory::Block;

/// Strings of so many bytes, on average, are too many for the caches together: they are read part by part.
const LONG_BYTES: usize = 32;
/// Bytes of a part that is read in another order out of the caches, while the next comes there.
const PART_BYTES: usize = 640 << 10;
/// Rows of a part for each group, at least: what it costs to look for a group's place, once for all of them.
const PART_ROWS_MIN: usize = 4;

/// The rows of a block part by part.
pub(super) struct Parts {
    /// Rows of each, but for the last.
    rows: usize,
    /// Of each part, how many rows each group has in it, and how many the group has before.
    groups: Vec<(Vec<u32>, Vec<u32>)>,
}

impl Parts {
    /// Puts the rows of each part in the order of their groups, which have so many rows before.
    fn of(rows: usize, groups: &[u16], before: &[u32], order: &mut [u32]) -> Parts {
        let mut before = before.to_vec();
        let part = |(number, (groups, order)): (usize, (&[u16], &mut [u32]))| {
            let mut counts = vec![0; before.len()];
            count_rows(groups, &mut counts);
            order_rows(groups, (number * rows) as u32, &counts, order);
            let after = before.iter().zip(&counts).map(|(before, count)| before + count).collect();
            (counts, std::mem::replace(&mut before, after))
        };
        let groups = groups.chunks(rows).zip(order.chunks_mut(rows)).enumerate().map(part).collect();
        Parts { rows, groups }
    }

    /// The numbers of the rows of each part by group, and how many each group has before.
    fn by_group<'a>(&'a self, order: &'a [u32]) -> impl Iterator<Item = (ByGroup<'a>, &'a [u32])> {
        let orders = order.chunks(self.rows);
        orders.zip(&self.groups).map(|(order, (counts, before))| (ByGroup { order, counts }, before.as_slice()))
    }

    /// The strings that are read after each part of the first column's: those of its next part, after the last the first part of the next column's.
    fn nexts<'a>(&self, columns: &'a [Column], range: Range<usize>) -> impl Iterator<Item = &'a [u8]> {
        let part = move |first: usize| first..range.end.min(first + self.rows);
        let after = columns.get(1).and_then(|column| long_strings(column, part(range.start)));
        let firsts = (range.start..range.end).step_by(self.rows).skip(1);
        let within = firsts.map(move |first| long_strings(&columns[0], part(first)).unwrap_or_default());
        within.chain(std::iter::once(after.unwrap_or_default()))
    }
}

impl Chunks {
    /// Rows of the parts that long strings are read in; nothing where there are none.
    pub(super) fn part_rows(&self, rows: &Rows, range: &Range<usize>) -> Option<usize> {
        let bytes =
            rows.columns.iter().filter_map(|column| long_strings(column, range.clone())).map(<[u8]>::len).max()?;
        let rows = PART_BYTES / (bytes / range.len().max(1)).max(1);
        Some(rows.max(PART_ROWS_MIN * self.group_count))
    }

    /// Moves the rows. Every group with rows has room for them.
    pub(super) fn gather(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        groups: &[u16],
        counts: &[u32],
        order: &mut Vec<u32>,
    ) -> Result<(), ArrowError> {
        let part_rows = self.part_rows(rows, &range);
        order.clear();
        order.resize(if part_rows.is_some() { 2 } else { 1 } * groups.len(), 0);
        let (order, order_of_parts) = order.split_at_mut(groups.len());
        order_rows(groups, 0, counts, order);
        let by_group = ByGroup { order, counts };
        let parts =
            part_rows.map(|part_rows| Parts::of(part_rows, groups, &self.rows[..self.group_count], order_of_parts));
        // First what may fail: nothing is half taken in.
        self.take_others(rows, range.clone(), by_group)?;
        let start = |block: &mut Option<Block>| block.as_mut().map_or(std::ptr::null_mut(), Block::as_mut_ptr);
        let starts: Vec<*mut u8> = self.blocks.iter_mut().map(start).collect();
        let rests: *mut Words = self.waiting.as_mut().map_or(std::ptr::null_mut(), Block::as_mut_ptr).cast();
        let to = |offset: usize, rest: usize| Places {
            starts: &starts,
            offset,
            // Wrapping: where nothing waits it is not used.
            rests: rests.wrapping_add(rest * self.group_count),
        };
        let kernels = self.kernels;
        for (column, place) in self.places.iter().enumerate() {
            let values = to(place.first_value(), place.rests.values);
            let growing = &self.columns[column];
            if let (Some(validity), true) = (place.validity, growing.has_nulls) {
                let from = growing.scratch.validity.as_ptr();
                // SAFETY: as below; a byte for each row of the range.
                unsafe { (kernels.gather_values)(1, from, by_group, to(validity, place.rests.validity), &self.rows) };
            }
            let heaps = to(place.heap.start, place.rests.heap);
            // SAFETY: each column has a value for every row of the range: `Column::new` and `measure` have seen to it, with forms that are those of
            // the schema, and strings within their bytes, as views within their buffers, as in every array (those of NULLs have become empty). The
            // places are the blocks of the groups, which `make_room` has got for every group with rows, and has found room for these rows and
            // their strings; columns, heaps and blocks begin at multiples of 64. There is a line to wait in for each group and each of these;
            // what waits in it follows from `rows` and the bytes in the heap alone. The blocks are borrowed alone through `self`.
            unsafe {
                match &rows.columns[column].values {
                    Values::Strings(ends, bytes) => {
                        let bounds = ends.bounds(range.clone());
                        touch(bounds.as_bytes());
                        let longest = growing.longest as usize;
                        let used = &mut self.columns[column].heap_bytes;
                        let mut move_texts = |(by_group, before), is_ahead, next| {
                            let texts = Texts { bounds, bytes, longest, is_ahead, next };
                            (kernels.gather_texts)(texts, by_group, heaps, used, values, before);
                        };
                        match &parts {
                            Some(parts) if long_strings(&rows.columns[column], range.clone()).is_some() => {
                                let nexts = parts.nexts(&rows.columns[column..], range.clone());
                                for (part, next) in parts.by_group(order_of_parts).zip(nexts) {
                                    move_texts(part, true, next);
                                }
                            }
                            _ => {
                                touch(&bytes[ends.start(range.start)..ends.start(range.end)]);
                                move_texts((by_group, &self.rows), false, &[]);
                            }
                        }
                    }
                    Values::Views(views, Some(buffers)) => {
                        let views = &views[range.clone()];
                        touch(views.to_byte_slice());
                        let buffers: Vec<&[u8]> = buffers.iter().map(Buffer::as_slice).collect();
                        let used = &mut self.columns[column].heap_bytes;
                        (kernels.gather_views)(views, &buffers, by_group, heaps, used, values, &self.rows);
                    }
                    Values::Taken(_) | Values::Bundled => {}
                    _ => {
                        let width = place.form.width();
                        let from = &self.source(rows, range.clone(), column)[..range.len() * width];
                        touch(from);
                        (kernels.gather_values)(width, from.as_ptr(), by_group, values, &self.rows);
                    }
                }
            }
        }
        for (rows, count) in self.rows.iter_mut().zip(by_group.counts) {
            *rows += count;
        }
        Ok(())
    }

    /// Writes what waits behind the whole lines of a group's columns, of so many rows.
    pub(super) fn write_rests(&self, group: usize, rows: usize, waiting: &Block, block: &mut Block) {
        let mut write = |rest: usize, start: usize, bytes: usize| {
            let waiting = &waiting.as_slice()[(rest * self.group_count + group) * LINE_BYTES..];
            let count = bytes % LINE_BYTES;
            block.as_mut_slice()[start + bytes - count..start + bytes].copy_from_slice(&waiting[..count]);
        };
        for (place, growing) in self.places.iter().zip(&self.columns) {
            let Place { form, validity, rests, .. } = place;
            write(rests.values, place.first_value(), form.width() * rows);
            if let (Some(validity), true) = (validity, growing.has_nulls) {
                write(rests.validity, *validity, rows);
            }
            if let Some(bytes) = growing.heap_bytes.get(group) {
                write(rests.heap, place.heap.start, *bytes as usize);
            }
        }
    }
}

/// The strings of the rows of a range, one behind the other, if they are long.
fn long_strings(column: &Column, range: Range<usize>) -> Option<&[u8]> {
    let Values::Strings(ends, bytes) = &column.values else { return None };
    let strings = &bytes[ends.start(range.start)..ends.start(range.end)];
    (strings.len() >= LONG_BYTES * range.len()).then_some(strings)
}
