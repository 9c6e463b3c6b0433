//! What a full chunk becomes: a batch, or rows for a second pass.
//!
//! In: the frozen block of a group. Out: its columns, where they lie. Never: a copy, but as `arrays` says.

#![allow(unsafe_code)]

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::compute::concat;
use arrow::error::ArrowError;

use super::arrays::{bits_of_bytes, coded, primitive, viewed, wide_offsets};
use super::{Chunks, Growing, Place};
use crate::kernel::bundle::Bundle;
use crate::kernel::rows::{Column, Form, Rows, Values};

impl Chunks {
    /// A group's rows as a batch; its strings and taken pieces are no longer counted.
    pub(super) fn batch_of(&mut self, group: usize, rows: usize, buffer: &Buffer) -> Result<RecordBatch, ArrowError> {
        let mut columns = Vec::with_capacity(self.places.len());
        for ((place, growing), field) in self.places.iter().zip(&mut self.columns).zip(self.schema.fields()) {
            let data_type = field.data_type();
            if place.form == Form::Taken {
                columns.push(taken(growing, group)?);
                continue;
            }
            let nulls = nulls_of(place, growing, rows, buffer);
            let values = place.values_of(rows, buffer);
            if let (Form::Fixed { .. }, None) = (place.form, &growing.dictionary)
                && let Some(column) = primitive(data_type, &values, rows, &nulls)
            {
                columns.push(column);
                continue;
            }
            if let Some(column) = coded(data_type, &values, rows, &nulls, growing.dictionary.as_ref()) {
                columns.push(column);
                continue;
            }
            let heap = heap_of(place, growing, group, buffer);
            if let Some(column) = viewed(data_type, &values, rows, &nulls, &heap) {
                columns.push(column);
                continue;
            }
            let data = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls);
            let data = match place.form {
                Form::Fixed { .. } => data.add_buffer(values),
                Form::Bits => data.add_buffer(bits_of_bytes(&values).into_inner()),
                Form::Strings { large: false } => data.add_buffer(values).add_buffer(heap),
                Form::Strings { large: true } => data.add_buffer(wide_offsets(&values)).add_buffer(heap),
                Form::Views | Form::Taken => data,
            };
            // SAFETY: values, validities and strings are those of valid arrays of this type, moved row by row: offsets are where
            // strings end.
            columns.push(make_array(unsafe { data.build_unchecked() }));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }

    /// The same as rows that are to be moved once more.
    pub(super) fn rows_of(&mut self, rows: usize, buffer: &Buffer) -> Rows {
        let column = |(place, growing): (&Place, &Growing)| Column {
            form: place.form,
            values: Values::Bundled,
            nulls: nulls_of(place, growing, rows, buffer),
            dictionary: None,
        };
        let columns = self.places.iter().zip(&self.columns).map(column).collect();
        // As much as these rows are: reading what comes goes on beside writing what has come.
        let ahead = self.ahead.pop().unwrap_or_default();
        let bytes = ahead.len().min(rows * self.bundles.first().map_or(0, Bundle::row_bytes));
        if bytes < ahead.len() {
            self.ahead.push(ahead.slice(bytes));
        }
        let ahead = ahead.slice_with_length(0, bytes);
        let words = self.row_places.iter().zip(&self.bundles);
        let bundles =
            words.map(|(place, bundle)| buffer.slice_with_length(*place, rows * bundle.row_bytes())).collect();
        Rows { rows, columns, bundles, numbers: buffer.slice_with_length(self.number_place, rows), ahead }
    }
}

impl Place {
    /// Its values; of strings, where they end.
    fn values_of(&self, rows: usize, buffer: &Buffer) -> Buffer {
        let values = rows + usize::from(matches!(self.form, Form::Strings { .. }));
        buffer.slice_with_length(self.values, self.form.width() * values)
    }
}

fn nulls_of(place: &Place, growing: &Growing, rows: usize, buffer: &Buffer) -> Option<NullBuffer> {
    let nulls = place.validity.filter(|_| growing.has_nulls);
    let nulls = nulls.map(|start| NullBuffer::new(bits_of_bytes(&buffer[start..start + rows])));
    nulls.filter(|nulls| nulls.null_count() > 0)
}

/// The strings of a group, which begins anew.
fn heap_of(place: &Place, growing: &mut Growing, group: usize, buffer: &Buffer) -> Buffer {
    let bytes = growing.heap_bytes.get_mut(group).map_or(0, std::mem::take) as usize;
    buffer.slice_with_length(place.heap.start, bytes)
}

/// The pieces of a group together, which begins anew.
fn taken(growing: &mut Growing, group: usize) -> Result<ArrayRef, ArrowError> {
    let pieces = std::mem::take(&mut growing.taken[group]);
    let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| &**piece as &dyn Array).collect();
    concat(&pieces)
}
