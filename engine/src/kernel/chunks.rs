//! Chunks: where the rows of each group grow, column by column, until they are a batch of their own.
//!
//! In: batches, the group of each row, blocks of memory. Out: for each group its rows, in the order in which they came, as batches whose
//! columns lie in the block they were written to. Never: allocates a value's memory (who supplies blocks has reserved it); gives a type of
//! arrow a row of its own dispatch; leaves a batch half taken in.
//!
//! ```text
//!   chunk = one block   │ column 0: rows × width │ column 1 … │ validity: rows × 1 │ heap of a string column │ …
//! ```
//! All chunks of a shape are laid out alike, so a column stands at one distance from every group's place, and one pass over the rows moves
//! several columns (`scatter`). While a chunk grows a boolean and a validity take a byte a row, strings a length; they become bits and
//! offsets when it is full. Views keep their form, with the bytes of the long ones in the heap. Dictionaries are kept: a batch with another
//! one begins new chunks. Types without a form of their own (lists, structs, maps, unions, run-ends, what is wider than 16 bytes) go by
//! `take`, a piece for each group and block of rows.

#![allow(unsafe_code)]

use std::{ops::Range, sync::Arc};

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    UInt32Array, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{ByteViewType, DataType, SchemaRef};
use arrow::error::ArrowError;

use super::Kernels;
use super::partition::{GROUPS_MAX, first_rows};
use super::scatter::{INLINE_BYTES_MAX, LongStrings, OVERSHOOT_BYTES, Starts, Stream, sum_by_group};
use crate::memory::Block;

/// Rows that are moved at a time, unless a chunk holds fewer: their groups and what is made of them stay in L1.
pub const BLOCK_ROWS: usize = 4096;
const LINE_BYTES: usize = 64;
/// Lines that are left out behind a column, and bytes of a column for which that is little.
const GAP_LINES: usize = 17;
const GAP_MIN_BYTES: usize = 16 << 10;

/// How a column's values are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Values of so many bytes.
    Fixed { width: usize },
    /// Booleans, a byte each.
    Bits,
    /// Lengths of 4 bytes; the strings in the heap.
    Strings { large: bool },
    /// Views of 16 bytes; the long strings in the heap.
    Views,
    /// By arrow's `take`.
    Taken,
}

impl Form {
    fn of(data_type: &DataType) -> Form {
        let width = match data_type {
            DataType::Boolean => return Form::Bits,
            DataType::Utf8 | DataType::Binary => return Form::Strings { large: false },
            DataType::LargeUtf8 | DataType::LargeBinary => return Form::Strings { large: true },
            DataType::Utf8View | DataType::BinaryView => return Form::Views,
            DataType::Dictionary(code, _) => code.primitive_width(),
            DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
            other => other.primitive_width(),
        };
        match width {
            Some(width @ (1 | 2 | 4 | 8 | 16)) => Form::Fixed { width },
            _ => Form::Taken,
        }
    }

    /// Bytes of a row in the chunk's columns.
    fn width(self) -> usize {
        match self {
            Form::Fixed { width } => width,
            Form::Bits => 1,
            Form::Strings { .. } => 4,
            Form::Views => 16,
            Form::Taken => 0,
        }
    }

    fn has_heap(self) -> bool {
        matches!(self, Form::Strings { .. } | Form::Views)
    }
}

/// How a chunk is laid out.
#[derive(Debug)]
struct Place {
    form: Form,
    /// Where its values begin.
    values: usize,
    /// Where its validity begins, if it may have one here.
    validity: Option<usize>,
    /// Its heap.
    heap: Range<usize>,
}

/// The chunks of all groups.
pub struct Chunks {
    kernels: &'static Kernels,
    schema: SchemaRef,
    places: Vec<Place>,
    /// Columns with a heap.
    heap_columns: Vec<usize>,
    /// Rows that a chunk has room for.
    rows_max: usize,
    block_bytes: usize,
    groups: Vec<Group>,
    /// Of each column: a NULL has come, so from then on validity is written.
    has_nulls: Vec<bool>,
    /// Of each dictionary column the values that the codes in all chunks mean.
    dictionaries: Vec<Option<ArrayRef>>,
    scratch: Scratch,
}

#[derive(Default)]
struct Group {
    block: Option<Block>,
    rows: usize,
    /// Bytes in the heap of each column.
    heap_bytes: Vec<usize>,
    /// Pieces of each taken column, together `rows` long.
    taken: Vec<Vec<ArrayRef>>,
}

/// Where chunks get their memory, and where full ones go.
pub trait Exchanger {
    /// What may go wrong there.
    type Error: From<ArrowError>;
    /// A block of at least so many bytes.
    fn block(&mut self, bytes: usize) -> Result<Block, Self::Error>;
    /// A group's block is full: what stands in it, to be read.
    fn freeze(&mut self, block: Block) -> Buffer;
    /// The rows of a group so far.
    fn give(&mut self, group: usize, batch: RecordBatch) -> Result<(), Self::Error>;
}

/// Columns of one batch, ready to be moved.
pub struct Rows {
    rows: usize,
    columns: Vec<Column>,
}

struct Column {
    values: Values,
    nulls: Option<NullBuffer>,
}

enum Values {
    Fixed(Buffer),
    Bits(BooleanBuffer),
    /// Where each string ends, the first one's start before; all bytes.
    Strings(Vec<usize>, Buffer),
    /// Views, their buffers if some are long.
    Views(ScalarBuffer<u128>, Option<Vec<Buffer>>),
    Taken(ArrayRef),
}

/// What of a block of rows has to be made before it is moved; used again for every block.
#[derive(Default)]
struct Scratch {
    /// By column.
    columns: Vec<ColumnScratch>,
    order: Vec<u32>,
}

#[derive(Default)]
struct ColumnScratch {
    bytes: Vec<u8>,
    validity: Vec<u8>,
    lengths: Vec<u32>,
    views: Vec<u128>,
    /// What the heap of each group grows by.
    sums: Vec<u64>,
}

/// What came of [`Chunks::append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// All rows are in.
    All,
    /// None is: some group's rows need more room than a chunk has. Fewer rows may fit.
    TooLarge,
}

impl Chunks {
    /// Chunks of about `chunk_bytes` for batches of `schema`, in `group_count` groups, at most [`GROUPS_MAX`].
    ///
    /// `heap_bytes`: for each column, bytes of an average row's string; only those of string columns count.
    pub fn new(
        kernels: &'static Kernels,
        schema: &SchemaRef,
        group_count: usize,
        chunk_bytes: usize,
        heap_bytes: &[f64],
    ) -> Chunks {
        let forms: Vec<Form> = schema.fields().iter().map(|field| Form::of(field.data_type())).collect();
        let row_bytes: f64 = forms
            .iter()
            .zip(schema.fields())
            .zip(heap_bytes)
            .map(|((form, field), heap)| {
                let validity = f64::from(u8::from(field.is_nullable() && *form != Form::Taken));
                form.width() as f64 + validity + if form.has_heap() { 1.1 * heap } else { 0.0 }
            })
            .sum();
        let rows_max = ((chunk_bytes as f64 / row_bytes.max(1.0)) as usize).next_multiple_of(64).clamp(64, 1 << 20);
        let mut end = 0;
        let mut part = |bytes: usize| {
            // Some lines between long columns, as these tend to be a power of two apart and would meet in the same sets of the cache.
            let start = end;
            let gap = if bytes < GAP_MIN_BYTES { 1 } else { GAP_LINES };
            end = (end + bytes).next_multiple_of(LINE_BYTES) + gap * LINE_BYTES;
            start
        };
        let mut places: Vec<Place> = Vec::new();
        for ((form, field), heap) in forms.iter().zip(schema.fields()).zip(heap_bytes) {
            let values = part(form.width() * rows_max);
            let validity = (field.is_nullable() && *form != Form::Taken).then(|| part(rows_max));
            let heap = if form.has_heap() {
                let bytes = (1.1 * heap * rows_max as f64) as usize + LINE_BYTES;
                let start = part(bytes + OVERSHOOT_BYTES);
                start..start + bytes
            } else {
                0..0
            };
            places.push(Place { form: *form, values, validity, heap });
        }
        let columns = places.len();
        let heap_columns = (0..columns).filter(|column| places[*column].form.has_heap()).collect();
        Chunks {
            kernels,
            schema: Arc::clone(schema),
            places,
            heap_columns,
            rows_max,
            block_bytes: end,
            groups: (0..group_count.min(GROUPS_MAX)).map(|_| Group::default()).collect(),
            has_nulls: vec![false; columns],
            dictionaries: vec![None; columns],
            scratch: Scratch { columns: (0..columns).map(|_| ColumnScratch::default()).collect(), order: Vec::new() },
        }
    }

    /// Bytes of a chunk's block.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Rows that are best moved at a time.
    pub fn block_rows(&self) -> usize {
        let is_taken = self.places.iter().any(|place| place.form == Form::Taken);
        // Each block of a taken column makes a piece for every group: few large ones.
        if is_taken { self.rows_max } else { self.rows_max.min(BLOCK_ROWS) }
    }

    /// Blocks that groups hold now.
    pub fn block_count(&self) -> usize {
        self.groups.iter().filter(|group| group.block.is_some()).count()
    }

    /// Makes the columns of a batch ready; if a dictionary is another one than the chunks', they are given first.
    pub fn prepare<E: Exchanger>(&mut self, batch: &RecordBatch, exchanger: &mut E) -> Result<Rows, E::Error> {
        let mut columns = Vec::with_capacity(self.places.len());
        for (number, (place, array)) in self.places.iter().zip(batch.columns()).enumerate() {
            columns.push(Column::new(place.form, array));
            if let (Some(validity), false, 1..) = (place.validity, self.has_nulls[number], array.null_count()) {
                // Until now no validity was written: all rows that are there have a value.
                for group in &mut self.groups {
                    if let Some(block) = &mut group.block {
                        block.as_mut_slice()[validity..validity + group.rows].fill(1);
                    }
                }
                self.has_nulls[number] = true;
            }
        }
        if self.schema.fields().iter().any(|field| has_inner_dictionary(field.data_type())) {
            // Taken pieces are put together, and dictionaries of several batches may have more values than there are codes.
            self.finish(exchanger)?;
        }
        for (number, array) in batch.columns().iter().enumerate() {
            let Some(dictionary) = array.as_any_dictionary_opt() else { continue };
            let values = dictionary.values();
            let is_known = self.dictionaries[number].as_ref().is_some_and(|known| is_same(known, values));
            if !is_known {
                self.finish(exchanger)?;
                self.dictionaries[number] = Some(Arc::clone(values));
            }
        }
        Ok(Rows { rows: batch.num_rows(), columns })
    }

    /// Appends the rows of `range`, at most [`Chunks::block_rows`], to their groups; a group without room gives its chunk first.
    ///
    /// `rows` is of the last [`Chunks::prepare`]; `groups`: the group of each row of `range`, below the number of groups.
    pub fn append<E: Exchanger>(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        groups: &[u8],
        exchanger: &mut E,
    ) -> Result<Appended, E::Error> {
        assert!(range.end <= rows.rows && groups.len() == range.len(), "as many groups as rows");
        assert!(rows.columns.len() == self.places.len(), "the columns of the schema");
        let mut counts = [0; GROUPS_MAX];
        self.kernels.histogram(groups, &mut counts);
        assert!(counts[self.groups.len()..].iter().all(|count| *count == 0), "a group that is not there");
        self.measure(rows, range.clone(), groups);
        if !self.make_room(&counts, exchanger)? {
            return Ok(Appended::TooLarge);
        }
        self.fill(rows, range, groups, &counts)?;
        Ok(Appended::All)
    }

    /// Makes what is not moved as it stands: bytes of bits, lengths of strings, and by how much the heaps grow.
    fn measure(&mut self, rows: &Rows, range: Range<usize>, groups: &[u8]) {
        for (number, (place, column)) in self.places.iter().zip(&rows.columns).enumerate() {
            let scratch = &mut self.scratch.columns[number];
            if place.validity.is_some() && self.has_nulls[number] {
                match &column.nulls {
                    Some(nulls) => bytes_of_bits(&nulls.inner().slice(range.start, range.len()), &mut scratch.validity),
                    None => {
                        scratch.validity.clear();
                        scratch.validity.resize(range.len(), 1);
                    }
                }
            }
            scratch.sums.clear();
            match &column.values {
                Values::Bits(bits) => bytes_of_bits(&bits.slice(range.start, range.len()), &mut scratch.bytes),
                Values::Strings(ends, _) => {
                    scratch.lengths.clear();
                    let ends = &ends[range.start..=range.end];
                    let length = |ends: &[usize]| u32::try_from(ends[1] - ends[0]).unwrap_or(u32::MAX);
                    scratch.lengths.extend(ends.windows(2).map(length));
                }
                Values::Views(views, Some(_)) => {
                    scratch.lengths.clear();
                    let length = |view: &u128| if *view as u32 as usize > INLINE_BYTES_MAX { *view as u32 } else { 0 };
                    scratch.lengths.extend(views[range.clone()].iter().map(length));
                }
                _ => continue,
            }
            if place.form.has_heap() {
                let mut sums = [0; GROUPS_MAX];
                sum_by_group(&scratch.lengths, groups, &mut sums);
                scratch.sums.extend_from_slice(&sums[..self.groups.len()]);
            }
        }
    }

    /// Gives the chunks that have no room for so many rows more, and gets blocks for those that have none; false if even an empty one has
    /// not enough.
    fn make_room<E: Exchanger>(&mut self, counts: &[u32; GROUPS_MAX], exchanger: &mut E) -> Result<bool, E::Error> {
        for (group, count) in counts.iter().enumerate().take(self.groups.len()).filter(|(_, count)| **count > 0) {
            if !self.has_room(group, *count as usize) {
                self.give(group, exchanger)?;
                if !self.has_room(group, *count as usize) {
                    return Ok(false);
                }
            }
            let state = &mut self.groups[group];
            if state.block.is_none() {
                let block = exchanger.block(self.block_bytes)?;
                assert!(block.len() >= self.block_bytes, "a block of the size that was asked for");
                state.block = Some(block);
                state.rows = 0;
                state.heap_bytes.clear();
                state.heap_bytes.resize(self.places.len(), 0);
                state.taken.resize_with(self.places.len(), Vec::new);
            }
        }
        Ok(true)
    }

    fn has_room(&self, group: usize, count: usize) -> bool {
        let state = &self.groups[group];
        let (rows, is_new) = if state.block.is_some() { (state.rows, false) } else { (0, true) };
        let heap_fits = |number: &usize| {
            let used = if is_new { 0 } else { state.heap_bytes[*number] };
            let more = self.scratch.columns[*number].sums.get(group).copied().unwrap_or(0);
            (used as u64).saturating_add(more) <= self.places[*number].heap.len() as u64
        };
        rows + count <= self.rows_max && self.heap_columns.iter().all(heap_fits)
    }

    /// Moves the rows. Every group with rows has room for them.
    fn fill(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        groups: &[u8],
        counts: &[u32; GROUPS_MAX],
    ) -> Result<(), ArrowError> {
        let mut starts: Starts = [std::ptr::null_mut(); GROUPS_MAX];
        let mut filled = [0; GROUPS_MAX];
        for (group, state) in self.groups.iter_mut().enumerate() {
            if let Some(block) = &mut state.block {
                starts[group] = block.as_mut_ptr();
                filled[group] = state.rows as u32;
            }
        }
        self.fill_heaps(rows, range.clone(), groups, &starts);
        for width in [16, 8, 4, 2, 1] {
            let mut streams = Vec::with_capacity(self.places.len());
            for (number, (place, column)) in self.places.iter().zip(&rows.columns).enumerate() {
                let scratch = &self.scratch.columns[number];
                if place.form.width() == width {
                    let from = match &column.values {
                        // In bounds: `Column::new` has made sure that there are as many values as rows.
                        Values::Fixed(values) => values[range.start * width..].as_ptr(),
                        Values::Bits(_) => scratch.bytes.as_ptr(),
                        Values::Strings(..) => scratch.lengths.as_ptr().cast(),
                        Values::Views(_, Some(_)) => scratch.views.as_ptr().cast(),
                        Values::Views(views, None) => views[range.start..].as_ptr().cast(),
                        Values::Taken(_) => continue,
                    };
                    streams.push(Stream { from, offset: place.values });
                }
                if let (1, Some(validity), true) = (width, place.validity, self.has_nulls[number]) {
                    streams.push(Stream { from: scratch.validity.as_ptr(), offset: validity });
                }
            }
            // SAFETY: each stream has a value of this width for every row of the range: `Column::new` and `measure` have seen to it, with
            // forms that are those of the schema. The places are the blocks of the groups, which `make_room` has got for every group with
            // rows; `has_room` has found `rows + count ≤ rows_max`, and the layout has `rows_max` values of the width at each offset. The
            // blocks are borrowed alone through `self`.
            unsafe { (self.kernels.scatter)(width, &streams, groups, &starts, &filled) };
        }
        self.take_others(rows, range, groups, counts)?;
        for (state, count) in self.groups.iter_mut().zip(counts) {
            state.rows += *count as usize;
        }
        Ok(())
    }

    /// Moves the strings, and makes the views that point to them.
    fn fill_heaps(&mut self, rows: &Rows, range: Range<usize>, groups: &[u8], starts: &Starts) {
        for (number, (place, column)) in self.places.iter().zip(&rows.columns).enumerate() {
            let scratch = &mut self.scratch.columns[number];
            if scratch.sums.is_empty() {
                continue;
            }
            let mut heap_starts: Starts = [std::ptr::null_mut(); GROUPS_MAX];
            let mut heaps = heap_starts;
            for (group, state) in self.groups.iter().enumerate().filter(|(_, state)| state.block.is_some()) {
                heap_starts[group] = starts[group].wrapping_add(place.heap.start);
                heaps[group] = heap_starts[group].wrapping_add(state.heap_bytes[number]);
            }
            match &column.values {
                Values::Strings(ends, bytes) => {
                    let strings = &bytes[ends[range.start]..];
                    // SAFETY: the strings of the range are `bytes[ends[start]..ends[end]]`, as long as their lengths together. `has_room` has
                    // found that each heap holds those of its group, and the layout has `OVERSHOOT_BYTES` behind each heap.
                    unsafe {
                        let (from, length) = (strings.as_ptr(), strings.len());
                        (self.kernels.scatter_strings)(from, length, &scratch.lengths, groups, &mut heaps);
                    }
                }
                Values::Views(views, Some(buffers)) => {
                    let buffers: Vec<&[u8]> = buffers.iter().map(Buffer::as_slice).collect();
                    scratch.views.clear();
                    scratch.views.resize(range.len(), 0);
                    let strings = LongStrings { buffers: &buffers, starts: &heap_starts, heaps: &mut heaps };
                    // SAFETY: views of an arrow array point into its buffers (those of NULLs have become empty); the heaps as above, and a
                    // chunk is shorter than 4 GiB.
                    unsafe {
                        (self.kernels.scatter_views)(&views[range.clone()], groups, strings, &mut scratch.views);
                    }
                }
                _ => {}
            }
            for (state, sum) in self.groups.iter_mut().zip(&scratch.sums).filter(|(state, _)| state.block.is_some()) {
                state.heap_bytes[number] += *sum as usize;
            }
        }
    }

    /// Takes the columns that have no form of their own.
    fn take_others(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        groups: &[u8],
        counts: &[u32; GROUPS_MAX],
    ) -> Result<(), ArrowError> {
        if !self.places.iter().any(|place| place.form == Form::Taken) {
            return Ok(());
        }
        let order = &mut self.scratch.order;
        order.clear();
        order.resize(groups.len(), 0);
        let firsts = first_rows(counts);
        self.kernels.row_order(groups, &mut { firsts }, order);
        let order = UInt32Array::from(order.clone());
        for (number, column) in rows.columns.iter().enumerate() {
            let Values::Taken(array) = &column.values else { continue };
            let ordered = take(&array.slice(range.start, range.len()), &order, None)?;
            for (group, state) in self.groups.iter_mut().enumerate() {
                if counts[group] > 0 {
                    state.taken[number].push(ordered.slice(firsts[group] as usize, counts[group] as usize));
                }
            }
        }
        Ok(())
    }

    /// Gives what all groups have, in the order of the groups.
    pub fn finish<E: Exchanger>(&mut self, exchanger: &mut E) -> Result<(), E::Error> {
        (0..self.groups.len()).try_for_each(|group| self.give(group, exchanger))
    }

    /// Gives what a group has, if it has anything.
    fn give<E: Exchanger>(&mut self, group: usize, exchanger: &mut E) -> Result<(), E::Error> {
        let state = &mut self.groups[group];
        let Some(block) = state.block.take() else { return Ok(()) };
        let buffer = exchanger.freeze(block);
        if state.rows == 0 {
            // Got while another group had too little room for its rows.
            return Ok(());
        }
        let mut columns = Vec::with_capacity(self.places.len());
        for (number, place) in self.places.iter().enumerate() {
            let data_type = self.schema.field(number).data_type();
            if place.form == Form::Taken {
                let pieces = std::mem::take(&mut state.taken[number]);
                let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| &**piece as &dyn Array).collect();
                columns.push(concat(&pieces)?);
                continue;
            }
            let nulls = place.validity.filter(|_| self.has_nulls[number]);
            let nulls = nulls.map(|start| NullBuffer::new(bits_of_bytes(&buffer[start..start + state.rows])));
            let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
            let values = buffer.slice_with_length(place.values, place.form.width() * state.rows);
            let heap = buffer.slice_with_length(place.heap.start, state.heap_bytes[number]);
            let data = ArrayData::builder(data_type.clone()).len(state.rows).nulls(nulls);
            let data = match place.form {
                Form::Fixed { .. } => data.add_buffer(values),
                Form::Bits => data.add_buffer(bits_of_bytes(&values).into_inner()),
                Form::Strings { large: false } => data.add_buffer(offsets_of::<i32>(&values)?).add_buffer(heap),
                Form::Strings { large: true } => data.add_buffer(offsets_of::<i64>(&values)?).add_buffer(heap),
                Form::Views if heap.is_empty() => data.add_buffer(values),
                Form::Views => data.add_buffer(values).add_buffer(heap),
                Form::Taken => data,
            };
            let data = match (data_type, &self.dictionaries[number]) {
                (DataType::Dictionary(..), Some(dictionary)) => data.add_child_data(dictionary.to_data()),
                _ => data,
            };
            // SAFETY: values, validities and strings are those of valid arrays of this type, moved row by row: offsets are sums of
            // lengths, views of long strings point into the one buffer, codes are of the one dictionary.
            columns.push(make_array(unsafe { data.build_unchecked() }));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(state.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        exchanger.give(group, batch)
    }
}

impl Column {
    fn new(form: Form, array: &ArrayRef) -> Column {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let values = match form {
            Form::Fixed { width } => {
                let data = array.to_data();
                Values::Fixed(data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width))
            }
            Form::Bits => Values::Bits(array.as_boolean().values().clone()),
            Form::Strings { large: false } => strings::<i32>(array),
            Form::Strings { large: true } => strings::<i64>(array),
            Form::Views => match array.data_type() {
                DataType::Utf8View => views(array.as_string_view(), nulls.as_ref()),
                _ => views(array.as_binary_view(), nulls.as_ref()),
            },
            Form::Taken => Values::Taken(Arc::clone(array)),
        };
        Column { values, nulls }
    }
}

fn strings<O: OffsetSizeTrait>(array: &ArrayRef) -> Values {
    let data = array.to_data();
    let offsets = &data.buffer::<O>(0)[..data.len() + 1];
    Values::Strings(offsets.iter().map(|offset| offset.as_usize()).collect(), data.buffers()[1].clone())
}

fn views<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>, nulls: Option<&NullBuffer>) -> Values {
    let mut views = array.views().clone();
    if let Some(nulls) = nulls {
        // What stands under a NULL may point anywhere.
        let mut cleared = views.to_vec();
        (!nulls.inner()).set_indices().for_each(|row| cleared[row] = 0);
        views = cleared.into();
    }
    let is_long = views.iter().fold(0, |longest, view| longest.max(*view as u32)) as usize > INLINE_BYTES_MAX;
    Values::Views(views, is_long.then(|| array.data_buffers().to_vec()))
}

/// Is there a dictionary below the outermost type?
fn has_inner_dictionary(data_type: &DataType) -> bool {
    use DataType as D;
    let is_or_has = |inner: &DataType| matches!(inner, D::Dictionary(..)) || has_inner_dictionary(inner);
    match data_type {
        D::List(field) | D::LargeList(field) | D::FixedSizeList(field, _) | D::Map(field, _) => {
            is_or_has(field.data_type())
        }
        D::ListView(field) | D::LargeListView(field) | D::RunEndEncoded(_, field) => is_or_has(field.data_type()),
        D::Struct(fields) => fields.iter().any(|field| is_or_has(field.data_type())),
        D::Union(fields, _) => fields.iter().any(|(_, field)| is_or_has(field.data_type())),
        _ => false,
    }
}

/// Do two dictionaries give every code the same value?
fn is_same(known: &ArrayRef, values: &ArrayRef) -> bool {
    Arc::ptr_eq(known, values) || known.to_data().ptr_eq(&values.to_data()) || known.as_ref() == values.as_ref()
}

/// A byte, 0 or 1, for each bit.
fn bytes_of_bits(bits: &BooleanBuffer, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.resize(bits.len(), 0);
    for (bytes, bits) in bytes.chunks_mut(64).zip(bits.bit_chunks().iter_padded()) {
        for (bit, byte) in bytes.iter_mut().enumerate() {
            *byte = (bits >> bit & 1) as u8;
        }
    }
}

/// A bit for each byte, which is 0 or 1.
fn bits_of_bytes(bytes: &[u8]) -> BooleanBuffer {
    let mut bits = MutableBuffer::with_capacity(bytes.len().div_ceil(64) * 8);
    for bytes in bytes.chunks(64) {
        let word = bytes.iter().enumerate().fold(0_u64, |word, (bit, byte)| word | u64::from(*byte) << bit);
        bits.push(word);
    }
    BooleanBuffer::new(bits.into(), 0, bytes.len())
}

/// Offsets from 0, of lengths of 4 bytes.
fn offsets_of<O: OffsetSizeTrait>(lengths: &[u8]) -> Result<Buffer, ArrowError> {
    let (lengths, _) = lengths.as_chunks::<4>();
    let mut offsets = Vec::with_capacity(lengths.len() + 1);
    let mut end = 0;
    offsets.push(O::default());
    for length in lengths {
        end += u32::from_le_bytes(*length) as usize;
        offsets.push(O::from_usize(end).ok_or(ArrowError::OffsetOverflowError(end))?);
    }
    Ok(Buffer::from_vec(offsets))
}
