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
use crate::kernel::gathered::{ByGroup, Places, Texts, touch};
use crate::kernel::rows::{Rows, Values};
use crate::kernel::scatter::LINE_BYTES;
use crate::memory::Block;

/// Bytes of strings that are read in another order out of the caches, once they are there.
const TOUCHED_BYTES_MAX: usize = 2 << 20;

impl Chunks {
    /// Moves the rows. Every group with rows has room for them.
    pub(super) fn gather(&mut self, rows: &Rows, range: Range<usize>, by_group: ByGroup<'_>) -> Result<(), ArrowError> {
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
                        let within = &bytes[ends.start(range.start)..ends.start(range.end)];
                        let is_ahead = within.len() > TOUCHED_BYTES_MAX;
                        if !is_ahead {
                            touch(within);
                        }
                        let bounds = ends.bounds(range.clone());
                        touch(bounds.as_bytes());
                        let longest = growing.longest as usize;
                        let texts = Texts { bounds, bytes, longest, is_ahead };
                        let used = &mut self.columns[column].heap_bytes;
                        (kernels.gather_texts)(texts, by_group, heaps, used, values, &self.rows);
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
