//! Rows on their way to the chunks of many groups: column by column, in the order of the groups.
//!
//! In: rows that were measured, the group of each. Out: their values behind those that the chunks have. Never: moves a row before there is room for it.
//!
//! All groups whose rows fit a chunk are moved at once. A group with more, as where one key is that of most rows, fills one chunk after the other
//! by itself: were all rows moved in smaller blocks instead, each would go through all groups for a few rows.

#![allow(unsafe_code)]

use std::ops::Range;

use arrow::buffer::Buffer;
use arrow::datatypes::ToByteSlice;

use super::{Chunks, Exchanger, Growing, Place};
use crate::kernel::bundle::Words;
use crate::kernel::gathered::{ByGroup, Places, Span, Texts, count_rows, order_rows, touch};
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
pub(super) struct Parts<'a> {
    /// Rows of each, but for the last.
    rows: usize,
    /// The numbers of the rows of each part, by group.
    order: &'a [u32],
    /// Of each part, the rows of its groups, and how many each group has before.
    groups: Vec<(Vec<Span>, Vec<u32>)>,
}

impl<'a> Parts<'a> {
    /// Puts the rows of each part in the order of their groups, which have so many rows before; only those with room are meant.
    fn of(rows: usize, groups: &[u16], before: &[u32], has_room: &[bool], order: &'a mut [u32]) -> Parts<'a> {
        let mut before = before.to_vec();
        let part = |(number, (groups, order)): (usize, (&[u16], &mut [u32]))| {
            let mut counts = vec![0; before.len()];
            count_rows(groups, &mut counts);
            order_rows(groups, (number * rows) as u32, &counts, order);
            let after = before.iter().zip(&counts).map(|(before, count)| before + count).collect();
            let spans = Span::of_counts(&counts).filter(|span| has_room[span.group]).collect();
            (spans, std::mem::replace(&mut before, after))
        };
        let groups = groups.chunks(rows).zip(order.chunks_mut(rows)).enumerate().map(part).collect();
        Parts { rows, order, groups }
    }

    /// The rows of each part by group, and how many each group has before.
    fn by_group(&self) -> impl Iterator<Item = (ByGroup<'_>, &[u32])> {
        let orders = self.order.chunks(self.rows);
        orders.zip(&self.groups).map(|(order, (spans, before))| (ByGroup { order, spans }, before.as_slice()))
    }

    /// The strings that are read after each part of the first column's: those of its next part, after the last the first part of the next column's.
    fn nexts<'c>(&self, columns: &'c [Column], range: Range<usize>) -> impl Iterator<Item = &'c [u8]> {
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

    /// Makes room for the rows, and moves them; `counts`: how many each group has. None is longer than a chunk.
    pub(super) fn gather<E: Exchanger>(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        groups: &[u16],
        mut counts: Vec<u32>,
        order: &mut Vec<u32>,
        exchanger: &mut E,
    ) -> Result<(), E::Error> {
        let part_rows = self.part_rows(rows, &range);
        order.clear();
        order.resize(if part_rows.is_some() { 2 } else { 1 } * groups.len(), 0);
        let (order, order_of_parts) = order.split_at_mut(groups.len());
        order_rows(groups, 0, &counts, order);
        let mut spans: Vec<Span> = Span::of_counts(&counts).collect();
        let mut has_room = vec![true; self.group_count];
        let mut hot = Vec::new();
        if !self.make_room(&counts, exchanger)? {
            hot = spans.extract_if(.., |span| !self.fits(span)).collect();
            for Span { group, .. } in &hot {
                (counts[*group], has_room[*group]) = (0, false);
                self.columns.iter_mut().filter_map(|growing| growing.sums.get_mut(*group)).for_each(|sum| *sum = 0);
            }
            assert!(self.make_room(&counts, exchanger)?, "room for groups whose rows fit");
        }
        let taken = self.take_others(rows, range.clone(), order)?;
        let start = |block: &mut Option<Block>| block.as_mut().map_or(std::ptr::null_mut(), Block::as_mut_ptr);
        let mut starts: Vec<*mut u8> = self.blocks.iter_mut().map(start).collect();
        if !spans.is_empty() {
            let before = &self.rows[..self.group_count];
            let parts = part_rows.map(|rows| Parts::of(rows, groups, before, &has_room, order_of_parts));
            self.add_taken(&taken, &spans);
            self.move_rows(rows, range.clone(), ByGroup { order, spans: &spans }, parts.as_ref(), &starts);
        }
        for Span { group, mut first, rows: mut left } in hot {
            while left > 0 {
                let mut fitting = self.fitting(group, &order[first..first + left]);
                if fitting == 0 {
                    self.renew(group, exchanger)?;
                    starts[group] = start(&mut self.blocks[group]);
                    fitting = self.fitting(group, &order[first..first + left]);
                    assert!(fitting > 0, "room for a row that fits");
                }
                let spans = [Span { group, first, rows: fitting }];
                self.add_taken(&taken, &spans);
                self.move_rows(rows, range.clone(), ByGroup { order, spans: &spans }, None, &starts);
                (first, left) = (first + fitting, left - fitting);
            }
        }
        Ok(())
    }

    /// Do the rows at hand of a group fit an empty chunk?
    fn fits(&self, span: &Span) -> bool {
        let has_room = |(place, growing): (&Place, &Growing)| {
            growing.sums.get(span.group).is_none_or(|sum| *sum <= place.heap.len() as u64)
        };
        span.rows <= self.rows_max && self.places.iter().zip(&self.columns).all(has_room)
    }

    /// How many of these rows the chunk of a group has room for.
    fn fitting(&self, group: usize, numbers: &[u32]) -> usize {
        let mut fitting = numbers.len().min(self.rows_max - self.rows[group] as usize);
        for (place, growing) in self.places.iter().zip(&self.columns).filter(|(_, growing)| !growing.sums.is_empty()) {
            let mut used = growing.heap_bytes[group];
            let fits = |number: &&u32| {
                used += u64::from(growing.scratch.lengths[**number as usize]);
                used <= place.heap.len() as u64
            };
            fitting = numbers[..fitting].iter().take_while(fits).count();
        }
        fitting
    }

    /// Moves rows to groups that have room for them.
    fn move_rows(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        by_group: ByGroup<'_>,
        parts: Option<&Parts<'_>>,
        starts: &[*mut u8],
    ) {
        let rests: *mut Words = self.waiting.as_mut().map_or(std::ptr::null_mut(), Block::as_mut_ptr).cast();
        let to = |offset: usize, rest: usize| Places {
            starts,
            offset,
            // Wrapping: where nothing waits it is not used.
            rests: rests.wrapping_add(rest * self.group_count),
        };
        let kernels = self.kernels;
        // Those of one group are read from the first to the last.
        let touch = |bytes: &[u8]| {
            if by_group.spans.len() > 1 {
                touch(bytes)
            }
        };
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
            // places are the blocks of the groups, and `gather` has seen to it that each has room for these rows and their strings; columns, heaps and blocks begin at multiples of 64. There is a line to wait in for each group and each of these;
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
                        let is_long = long_strings(&rows.columns[column], range.clone()).is_some();
                        match parts {
                            Some(parts) if is_long => {
                                let nexts = parts.nexts(&rows.columns[column..], range.clone());
                                for (part, next) in parts.by_group().zip(nexts) {
                                    move_texts(part, true, next);
                                }
                            }
                            _ => {
                                if !is_long {
                                    touch(&bytes[ends.start(range.start)..ends.start(range.end)]);
                                }
                                move_texts((by_group, &self.rows), is_long, &[]);
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
        for span in by_group.spans {
            self.rows[span.group] += span.rows as u32;
        }
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
