//! Rows on their way to the chunks: each column as its form asks, after room was made for all of them.
//!
//! In: rows that were measured, the group of each. Out: their values behind those that the chunks have. Never: asks whether there is room.

#![allow(unsafe_code)]

use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::ToByteSlice;
use arrow::error::ArrowError;

use super::{Chunks, Grouped, Growing, Scratch, Way};
use crate::kernel::gathered::Span;
use crate::kernel::partition::GROUPS_MAX;
use crate::kernel::rows::{Column, Rows, Values};
use crate::kernel::scatter::{Heaps, Starts, Stream};
use crate::kernel::sorted::Ordered;
use crate::memory::Block;

impl Chunks {
    /// Moves the rows. Every group with rows has room for them.
    pub(super) fn fill(&mut self, rows: &Rows, range: Range<usize>, grouped: Grouped<'_>) -> Result<(), ArrowError> {
        // First what may fail: nothing is half taken in.
        let Grouped { groups, counts, order } = grouped;
        let taken = self.take_others(rows, range.clone(), order)?;
        if !taken.is_empty() {
            self.add_taken(&taken, &Span::of_counts(counts).collect::<Vec<Span>>());
        }
        let mut starts: Starts = [std::ptr::null_mut(); GROUPS_MAX];
        for (start, block) in starts.iter_mut().zip(&mut self.blocks) {
            *start = block.as_mut().map_or(std::ptr::null_mut(), Block::as_mut_ptr);
        }
        self.fill_heaps(rows, range.clone(), groups, &starts);
        let waiting = self.waiting.as_mut().map_or(std::ptr::null_mut(), Block::as_mut_ptr);
        let from = |column: usize| self.source(rows, range.clone(), column).as_ptr();
        self.fill_bundles(rows, range.clone(), grouped, &starts, waiting, from);
        let mut streams = Vec::with_capacity(2 * self.places.len());
        for width in [16, 8, 4, 2, 1] {
            streams.clear();
            for (column, (place, growing)) in self.places.iter().zip(&self.columns).enumerate() {
                if place.form.width() == width && !self.bundles.iter().any(|bundle| bundle.has(column)) {
                    streams.push(Stream { from: from(column), offset: place.first_value() });
                }
                if let (1, Some(validity), true) = (width, place.validity, growing.has_nulls) {
                    streams.push(Stream { from: growing.scratch.validity.as_ptr(), offset: validity });
                }
            }
            if width == 1 && self.bundles.is_empty() {
                streams.extend(self.numbers(rows, range.start));
            }
            // SAFETY: each stream has a value of this width for every row of the range: `Column::new` and `measure` have seen to it, with
            // forms that are those of the schema. The places are the blocks of the groups, which `make_room` has got for every group with
            // rows; it has found `rows + count ≤ rows_max`, and the layout has `rows_max` values of the width at each offset. The
            // blocks are borrowed alone through `self`.
            unsafe { (self.kernels.scatter)(width, &streams, groups, &starts, self.few_rows(), self.group_count) };
        }
        for (rows, count) in self.rows[..self.group_count].iter_mut().zip(counts) {
            *rows += count;
        }
        Ok(())
    }

    /// The rows of each group, where there are few of these.
    fn few_rows(&self) -> &[u32; GROUPS_MAX] {
        match self.rows.first_chunk() {
            Some(rows) => rows,
            None => unreachable!("there are as many, however few the groups"),
        }
    }

    /// Where the values of a column are, those of the first row of the range first; nothing of a column that is taken, or in a bundle.
    pub(super) fn source<'a>(&'a self, rows: &'a Rows, range: Range<usize>, column: usize) -> &'a [u8] {
        let (form, growing) = (self.places[column].form, &self.columns[column]);
        let scratch = &growing.scratch;
        match &rows.columns[column].values {
            // In bounds: `Column::new` has made sure that there are as many values as rows.
            Values::Fixed(_) if growing.is_recoded() => &scratch.bytes,
            Values::Fixed(values) => &values[range.start * form.width()..],
            Values::Bits(_) => &scratch.bytes,
            Values::Strings(..) => scratch.ends.to_byte_slice(),
            Values::Views(_, Some(_)) => scratch.views.to_byte_slice(),
            Values::Views(views, None) => views[range.start..].to_byte_slice(),
            Values::Taken(_) | Values::Bundled => &[],
        }
    }

    /// The numbers of the rows from `first` on, where rows stay rows.
    fn numbers(&self, rows: &Rows, first: usize) -> Option<Stream> {
        (self.way == Way::Rows).then(|| Stream { from: rows.numbers[first..].as_ptr(), offset: self.number_place })
    }

    /// Moves what is moved in bundles; `from`: where the values of a column are.
    fn fill_bundles(
        &self,
        rows: &Rows,
        range: Range<usize>,
        grouped: Grouped<'_>,
        starts: &Starts,
        waiting: *mut u8,
        from: impl Fn(usize) -> *const u8,
    ) {
        let Grouped { groups, counts, order } = grouped;
        for (number, bundle) in self.bundles.iter().enumerate() {
            // Wrapping: where no rows wait it is not used.
            let waiting = waiting.wrapping_add(self.waiting_place(number));
            // SAFETY: as in `fill`; columns begin at multiples of 64 (`Bundle::at` has asked), as blocks do; words of rows are aligned as such. Rows
            // that waited leave when there are others behind them, or enough of them, so there is room for all of them. There are as many places
            // to wait as groups for each bundle, as `make_room` has asked where a group has rows, and what they hold follows from `rows` alone.
            // Rows of a first pass have the words of this bundle, a number is there for each row of one: `append` has asked `are_own`. The order
            // is that of the rows of the range.
            unsafe {
                match self.way {
                    Way::Straight | Way::Gathered => {}
                    Way::Tiles => {
                        let sources = bundle.sources(&from);
                        (self.kernels.scatter_tiles)(bundle, &sources, groups, starts, self.few_rows(), waiting.cast());
                    }
                    Way::Rows => {
                        let (sources, offset) = (bundle.sources(&from), self.row_places[number]);
                        let numbers = self.numbers(rows, range.start).filter(|_| number == 0);
                        (self.kernels.scatter_rows)(bundle, &sources, groups, offset, starts, self.few_rows(), numbers);
                    }
                    Way::Sorted => {
                        let from = rows.bundles[number][range.start * bundle.row_bytes()..].as_ptr().cast();
                        let ahead = if number == 0 && range.start == 0 { &rows.ahead[..] } else { &[] };
                        let ordered = Ordered { from, order, counts, ahead };
                        (self.kernels.scatter_sorted)(bundle, ordered, starts, self.few_rows(), waiting.cast());
                    }
                }
            }
        }
    }

    /// Moves the strings, and makes the views that point to them.
    fn fill_heaps(&mut self, rows: &Rows, range: Range<usize>, groups: &[u8], starts: &Starts) {
        for ((place, column), growing) in self.places.iter().zip(&rows.columns).zip(&mut self.columns) {
            let Growing { heap_bytes, sums, scratch, .. } = growing;
            if sums.is_empty() {
                continue;
            }
            // Wrapping: the heap of a group without a block is never used.
            let heap_starts: Starts = starts.map(|start| start.wrapping_add(place.heap.start));
            let mut heap_ends = heap_starts;
            for (heap, used) in heap_ends.iter_mut().zip(heap_bytes.iter()) {
                *heap = heap.wrapping_add(*used as usize);
            }
            let heaps = Heaps { starts: &heap_starts, ends: &mut heap_ends };
            match &column.values {
                Values::Strings(ends, bytes) => {
                    let strings = &bytes[ends.start(range.start)..];
                    let Scratch { lengths, ends, .. } = scratch;
                    ends.resize(range.len(), 0);
                    // SAFETY: the strings of the range are `bytes[start..]`, as long as their lengths together. `make_room` has
                    // found that each heap holds those of its group, and the layout has `OVERSHOOT_BYTES` behind each heap.
                    unsafe {
                        let (from, length) = (strings.as_ptr(), strings.len());
                        (self.kernels.scatter_strings)(from, length, lengths, groups, heaps, ends);
                    }
                }
                Values::Views(views, Some(buffers)) => {
                    let buffers: Vec<&[u8]> = buffers.iter().map(Buffer::as_slice).collect();
                    scratch.views.resize(range.len(), 0);
                    // SAFETY: views of an arrow array point into its buffers (those of NULLs have become empty); the heaps as above, and a
                    // chunk is shorter than 4 GiB.
                    unsafe {
                        (self.kernels.scatter_views)(
                            &views[range.clone()],
                            &buffers,
                            groups,
                            heaps,
                            &mut scratch.views,
                        );
                    }
                }
                _ => {}
            }
            for ((used, end), start) in heap_bytes.iter_mut().zip(&heap_ends).zip(&heap_starts) {
                *used = (end.addr() - start.addr()) as u64;
            }
        }
    }

    /// The values of the columns that have no form of their own, in this order; of no column anything, if that of one fails.
    pub(super) fn take_others(
        &self,
        rows: &Rows,
        range: Range<usize>,
        order: &[u32],
    ) -> Result<Vec<Option<ArrayRef>>, ArrowError> {
        if !self.has_taken() {
            return Ok(Vec::new());
        }
        let order = UInt32Array::from(order.to_vec());
        let take_one = |column: &Column| match &column.values {
            Values::Taken(array) => take(&array.slice(range.start, range.len()), &order, None).map(Some),
            _ => Ok(None),
        };
        rows.columns.iter().map(take_one).collect()
    }

    /// Adds pieces of them to their groups.
    pub(super) fn add_taken(&mut self, taken: &[Option<ArrayRef>], spans: &[Span]) {
        for (ordered, growing) in taken.iter().zip(&mut self.columns) {
            let Some(ordered) = ordered else { continue };
            for span in spans {
                growing.taken[span.group].push(ordered.slice(span.first, span.rows));
            }
        }
    }
}
