//! Ways: how values get to their chunks, and which of them suits which table.
//!
//! In: types of columns, how many groups there are. Out: what goes together, what waits on its way, which way is better. Never: moves a value.

use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use super::Chunks;
use crate::kernel::bundle::Bundle;
use crate::kernel::rows::Form;
use crate::kernel::tiles::TILE_BYTES;

/// Columns, and groups, from which on values are moved faster in tiles than straight to chunks: 256 groups of four columns are as many open
/// lines as the caches keep. 15 columns in 200 groups: 13 ns a row instead of 19; four columns of 8 bytes 6.3 instead of 5.7; 16 in 64 groups 15
/// instead of 20, in 16 groups as many.
const STREAMED_COLUMNS_MIN: usize = 5;
const STREAMED_GROUPS_MIN: usize = 64;
/// Bytes of strings on average, and groups, from which on rows are gathered even for few groups, if half of the columns are such strings: four
/// columns of 64 to 256 bytes in 64 groups as fast as straight to the chunks, in 128 5.5 GiB/s instead of 4.6, in 200 5.6 instead of 4.4, in 256 5.6
/// instead of 4.3; of 64 bytes on average 2.9 instead of 3.2 in 200, 3.8 instead of 3.1 in 256.
const GATHERED_STRING_BYTES: f64 = 64.0;
const GATHERED_GROUPS_MIN: usize = 128;

/// How values get to their chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Straight to where they stay.
    Straight,
    /// By way of tiles, past the caches: better where chunks do not stay there.
    Tiles,
    /// To be moved once more: the words of a row stay together, beside a number for each row.
    Rows,
    /// What was moved as [`Way::Rows`]: in the order of the groups, past the caches.
    Sorted,
    /// To more groups than a byte counts, at once: column by column in the order of the groups, past the caches.
    Gathered,
}

impl Way {
    /// Bytes that rows of a group wait in until they fill lines.
    pub(super) fn waiting_bytes(self, bundle: &Bundle) -> usize {
        match self {
            Way::Straight | Way::Rows | Way::Gathered => 0,
            Way::Tiles => TILE_BYTES,
            Way::Sorted => bundle.rest_bytes(),
        }
    }

    /// How many of a group's rows wait there.
    pub(super) fn waiting_rows(self, bundle: &Bundle, rows: usize) -> usize {
        match self {
            Way::Straight | Way::Rows | Way::Gathered => 0,
            Way::Tiles => bundle.held_rows(rows),
            Way::Sorted => rows % bundle.leaving_rows(),
        }
    }

    /// Width of the values of a column that may be words of a bundle, 0 of others.
    pub(super) fn bundled_width(self, form: Form, data_type: &DataType) -> usize {
        match (self, form) {
            (Way::Straight | Way::Gathered, _) => 0,
            (Way::Tiles, _) => form.width(),
            // What is changed on its way is no word of a row: codes, and what points to a heap.
            (_, Form::Fixed { width }) if !matches!(data_type, DataType::Dictionary(..)) => width,
            _ => 0,
        }
    }
}

impl Chunks {
    /// Is it better that values go past the caches, for so many groups?
    pub fn are_better_streamed(schema: &SchemaRef, group_count: usize) -> bool {
        let columns = schema.fields().iter().filter(|field| Form::of(field.data_type()).width() >= 4).count();
        columns >= STREAMED_COLUMNS_MIN && group_count >= STREAMED_GROUPS_MIN
    }

    /// Is it better that the rows are gathered, for so many groups, up to [`GROUPS_MAX`]; `heap_bytes` as for [`Chunks::new`]?
    ///
    /// [`GROUPS_MAX`]: crate::kernel::GROUPS_MAX
    pub fn are_better_gathered(schema: &SchemaRef, group_count: usize, heap_bytes: &[f64]) -> bool {
        let is_long = |(field, bytes): &(&FieldRef, &f64)| {
            matches!(Form::of(field.data_type()), Form::Strings { .. }) && **bytes >= GATHERED_STRING_BYTES
        };
        let fields = schema.fields();
        let long = fields.iter().zip(heap_bytes).filter(is_long).count();
        group_count >= GATHERED_GROUPS_MIN && fields.len() <= 2 * long
    }

    /// Are all values words of rows, which alone are moved as [`Way::Rows`]?
    pub fn are_all_rows(schema: &SchemaRef) -> bool {
        let bundles = Chunks::bundles_of_rows(schema);
        (0..schema.fields().len()).all(|column| bundles.iter().any(|bundle| bundle.has(column)))
    }

    /// How many rows of a group leave together in the second of two passes.
    pub fn leaving_rows(schema: &SchemaRef) -> usize {
        Chunks::bundles_of_rows(schema).iter().map(Bundle::leaving_rows).max().unwrap_or(1)
    }

    /// Are few rows of several batches one batch without fail? Of dictionaries and runs there may be more together than their numbers count.
    pub fn are_put_together(schema: &SchemaRef) -> bool {
        let is_plain = |field: &FieldRef| {
            Form::of(field.data_type()) != Form::Taken && !matches!(field.data_type(), DataType::Dictionary(..))
        };
        schema.fields().iter().all(is_plain)
    }

    /// The columns that are words of rows, as [`Way::Rows`] moves them.
    fn bundles_of_rows(schema: &SchemaRef) -> Vec<Bundle> {
        let width = |field: &FieldRef| Way::Rows.bundled_width(Form::of(field.data_type()), field.data_type());
        Bundle::of_widths(&schema.fields().iter().map(width).collect::<Vec<usize>>())
    }
}
