//! Chunks: where the rows of each group grow, column by column, until they are a batch of their own.
//!
//! In: batches, the group of each row, blocks of memory. Out: for each group its rows, in the order in which they came, as batches whose
//! columns lie in the block they were written to. Never: allocates a value's memory (who supplies blocks has reserved it); gives a type of
//! arrow a row of its own dispatch; moves a row of which a part may not come.
//!
//! ```text
//!   chunk = one block   │ column 0: rows × width │ column 1 … │ validity: rows × 1 │ heap of a string column │ …
//!   of a first pass     │ rows: words of each, one bundle after the other │ numbers: rows × 1 │ validities … │
//!   waiting = one block │ of each group up to eight words of its last rows │ the next words │ …                    tiles, rests
//!                       │ of each group what fills no line of column 0 │ of its validity │ of its heap │ column 1 …   gathered
//! ```
//! All chunks of a shape are laid out alike, so a column stands at one distance from every group's place, and one pass over the rows moves
//! several columns: straight to the chunks (`scatter`), or, of tables with many columns, by way of tiles (`tiles`), which a chunk empties
//! when it is given. More groups than a byte counts are made in two passes, of which the first leaves the words of a row together (`packed`), and the
//! second makes columns of them (`sorted`), or, where not all columns can be such words, at once, one column after the other (`gathered`): [`Way`].
//!
//! While a chunk grows a boolean and a validity take a byte a row, and become bits when it is full. Strings are offsets, which are written as
//! they stay, and a heap. Views keep their form, with the bytes of the long ones in the heap. Dictionaries are kept: those of several batches
//! become one (`dictionary`), and where that would be long, a batch with another one begins new chunks. Types without a form of their own
//! (lists, structs, maps, unions, run-ends, what is wider than 16 bytes) go by `take`, a piece for each group and block of rows.

#![allow(unsafe_code)]

use std::{ops::Range, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

mod arrays; // of a full chunk, where it lies
mod fill; // rows on their way to the chunks
mod full; // what a full chunk becomes
mod gather; // rows on their way to the chunks of many groups
mod way; // how they get there

pub use way::Way;

use super::Kernels;
use super::bundle::Bundle;
use super::dictionary::{Dictionary, recode};
use super::gathered::count_rows;
use super::partition::{GROUPS_MAX, PARTITIONS_MAX, first_rows};
use super::rows::{Column, Form, Rows, Values, bytes_of_bits};
use super::scatter::{INLINE_BYTES_MAX, LINE_BYTES, OVERSHOOT_BYTES, sum_by_group};
use crate::memory::Block;

/// Rows that are moved at a time: more for short rows than for long ones, whose block is to stay in the caches from one column to the
/// next. Each block goes to every group once for each column, and many groups of many columns are more pages than a TLB holds: 16 columns
/// in 200 groups take 43 ns a row with blocks of 16,384 and 57 with 4,096.
const BLOCK_ROWS_MIN: usize = 4096;
const BLOCK_ROWS_MAX: usize = 16_384;
const BLOCK_BYTES: f64 = (4 << 20) as f64;
/// The same where they are gathered: a few of each of 4,096 groups, of which a column lies in the caches.
const GATHERED_ROWS: usize = 1 << 16;
/// Of fewer groups, a quarter of those that a chunk has room for.
const GATHERED_GROUP_ROWS: usize = 64;
/// Bytes of a block of rows that are asked for before the first pass reads them: half of an L2.
const AHEAD_BYTES_MAX: usize = 512 << 10;
/// A heap's bytes at most, so that every offset fits 32 bits with a sign.
const HEAP_BYTES_MAX: usize = 1 << 30;
/// Rows that a chunk has room for at most.
const ROWS_MAX: usize = 1 << 20;
/// Lines that are left out behind a column, and bytes of a column for which that is little.
const GAP_LINES: usize = 17;
const GAP_MIN_BYTES: usize = 16 << 10;

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
    /// Where bytes of it wait until they fill lines, if it is gathered.
    rests: Rests,
}

/// Which of the lines that each group has are those of a column: of its values, its validity, its heap.
#[derive(Clone, Copy, Debug, Default)]
struct Rests {
    values: usize,
    validity: usize,
    heap: usize,
}

impl Place {
    /// Where the value of the first row is; of strings, where it ends.
    fn first_value(&self) -> usize {
        self.values + if let Form::Strings { .. } = self.form { self.form.width() } else { 0 }
    }
}

/// The chunks of all groups.
pub struct Chunks {
    kernels: &'static Kernels,
    schema: SchemaRef,
    way: Way,
    places: Vec<Place>,
    /// What of each column changes from batch to batch.
    columns: Vec<Growing>,
    /// The columns that are words of rows on their way, or stay so.
    bundles: Vec<Bundle>,
    /// Where the rows of each bundle begin, and the numbers of the rows, where rows stay rows.
    row_places: Vec<usize>,
    number_place: usize,
    /// Where rows of all groups wait until they fill lines, those of one bundle after the other, or the lines of all groups of a column that is
    /// gathered; nothing without rows.
    waiting: Option<Block>,
    /// Lines that each group has there.
    rest_count: usize,
    /// Rows that a chunk has room for.
    rows_max: usize,
    block_rows: usize,
    block_bytes: usize,
    group_count: usize,
    blocks: Vec<Option<Block>>,
    /// Rows that each group has: as many as a chunk has room for where it has none.
    rows: Vec<u32>,
    /// Rows from which on the chunk of a group is full.
    limits: Vec<u32>,
    /// Values of the rows at hand that nobody has asked for yet, where rows stay rows.
    ahead: Vec<Buffer>,
}

/// One column of all chunks.
#[derive(Default)]
struct Growing {
    /// A NULL has come, so from then on validity is written.
    has_nulls: bool,
    /// What the codes in all chunks mean.
    dictionary: Option<Dictionary>,
    /// Bytes in the heap of each group; nothing without one.
    heap_bytes: Vec<u64>,
    /// What the rows at hand add to them at most; nothing where they add nothing.
    sums: Vec<u64>,
    /// The longest of the strings at hand that go there.
    longest: u32,
    /// Pieces of each group of a taken column, together as long as its rows; nothing for others.
    taken: Vec<Vec<ArrayRef>>,
    scratch: Scratch,
}

impl Growing {
    /// Are the codes of the rows at hand moved under other numbers?
    fn is_recoded(&self) -> bool {
        self.dictionary.as_ref().is_some_and(|dictionary| dictionary.latest_codes().is_some())
    }
}

/// What of a block of rows has to be made before it is moved; used again for every block.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    validity: Vec<u8>,
    lengths: Vec<u32>,
    ends: Vec<u32>,
    views: Vec<u128>,
}

/// Where chunks get their memory, and where full ones go.
pub trait Exchanger {
    /// What may go wrong there.
    type Error: From<ArrowError>;
    /// A block of at least so many bytes.
    fn block(&mut self, bytes: usize) -> Result<Block, Self::Error>;
    /// A group's block is full: what stands in it, to be read where it stands.
    fn freeze(&mut self, block: Block) -> Buffer;
    /// The rows of a group so far.
    fn give(&mut self, group: usize, batch: RecordBatch) -> Result<(), Self::Error>;
    /// The same of [`Way::Rows`].
    fn pass_on(&mut self, group: usize, rows: Rows) -> Result<(), Self::Error>;
    /// Room for the order of the rows at hand: the same for the chunks of all passes, so that it stays in the caches.
    fn order(&mut self) -> &mut Vec<u32>;
}

/// The group of each row.
#[derive(Clone, Copy)]
pub enum Groups<'a> {
    /// Of up to [`GROUPS_MAX`] groups.
    Few(&'a [u8]),
    /// Of [`Way::Gathered`].
    Many(&'a [u16]),
}

impl<'a> Groups<'a> {
    /// Those of a range of rows.
    pub fn slice(self, range: Range<usize>) -> Groups<'a> {
        match self {
            Groups::Few(groups) => Groups::Few(&groups[range]),
            Groups::Many(groups) => Groups::Many(&groups[range]),
        }
    }

    /// How many rows there are.
    fn row_count(self) -> usize {
        match self {
            Groups::Few(groups) => groups.len(),
            Groups::Many(groups) => groups.len(),
        }
    }
}

/// Which rows each group gets, of up to [`GROUPS_MAX`] groups.
#[derive(Clone, Copy)]
struct Grouped<'a> {
    /// The group of each row.
    groups: &'a [u8],
    counts: &'a [u32; GROUPS_MAX],
    /// The numbers of the rows by group, where they are asked for.
    order: &'a [u32],
}

/// What came of [`Chunks::append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// All rows are in.
    All,
    /// None is: some group's rows, or, where they are gathered, one of them, need more room than a chunk has. Fewer rows may fit.
    TooLarge,
}

impl Chunks {
    /// Chunks of about `chunk_bytes` for batches of `schema`, in `group_count` groups, at most [`GROUPS_MAX`], or [`PARTITIONS_MAX`] if they are gathered.
    ///
    /// `heap_bytes`: for each column, bytes of an average row's string; only those of string columns count.
    ///
    /// # Panics
    /// If columns that are no words of rows are to be moved as [`Way::Rows`].
    pub fn new(
        kernels: &'static Kernels,
        schema: &SchemaRef,
        group_count: usize,
        chunk_bytes: usize,
        heap_bytes: &[f64],
        way: Way,
    ) -> Chunks {
        assert!(!matches!(way, Way::Rows | Way::Sorted) || Chunks::are_all_rows(schema), "words of rows");
        let forms: Vec<Form> = schema.fields().iter().map(|field| Form::of(field.data_type())).collect();
        let widths = |way: Way| -> Vec<usize> {
            forms.iter().zip(schema.fields()).map(|(form, field)| way.bundled_width(*form, field.data_type())).collect()
        };
        // What rows take beyond their columns: words that are empty, and the number.
        let padding = if way == Way::Rows {
            let (widths, bundles) = (widths(way), Bundle::of_widths(&widths(way)));
            let of = |bundle: &Bundle| {
                let columns = widths.iter().enumerate().filter(|(column, _)| bundle.has(*column));
                bundle.row_bytes() - columns.map(|(_, width)| width).sum::<usize>()
            };
            bundles.iter().map(of).sum::<usize>() + 1
        } else {
            0
        };
        let row_bytes: f64 = forms
            .iter()
            .zip(schema.fields())
            .zip(heap_bytes)
            .map(|((form, field), heap)| {
                let validity = f64::from(u8::from(field.is_nullable() && *form != Form::Taken));
                form.width() as f64 + validity + if form.has_heap() { 1.1 * heap } else { 0.0 }
            })
            .sum::<f64>()
            + padding as f64;
        let rows_max = ((chunk_bytes as f64 / row_bytes.max(1.0)) as usize).clamp(1, ROWS_MAX);
        let rows_max = if rows_max < 64 { rows_max } else { rows_max.next_multiple_of(64) };
        let block_rows = 1 << ((BLOCK_BYTES / row_bytes.max(1.0)) as usize).max(1).ilog2();
        let mut end = 0;
        let mut part = |bytes: usize| {
            // Some lines between long columns, as these tend to be a power of two apart and would meet in the same sets of the cache.
            let start = end;
            let gap = if bytes < GAP_MIN_BYTES { 1 } else { GAP_LINES };
            end = (end + bytes).next_multiple_of(LINE_BYTES) + gap * LINE_BYTES;
            start
        };
        // Fewer rows are not worth a tile.
        let way = if way == Way::Tiles && rows_max < 64 { Way::Straight } else { way };
        let bundled = Bundle::of_widths(&widths(way));
        let row_places = if way == Way::Rows {
            bundled.iter().map(|bundle| part(bundle.row_bytes() * rows_max)).collect()
        } else {
            Vec::new()
        };
        let number_place = if way == Way::Rows { part(rows_max) } else { 0 };
        let mut places: Vec<Place> = Vec::new();
        let mut rest_count = 0;
        let mut rest = |is_there: bool| {
            rest_count += usize::from(is_there && way == Way::Gathered);
            rest_count.saturating_sub(1)
        };
        for (column, ((form, field), heap)) in forms.iter().zip(schema.fields()).zip(heap_bytes).enumerate() {
            let is_string = matches!(form, Form::Strings { .. });
            let is_row = way == Way::Rows && bundled.iter().any(|bundle| bundle.has(column));
            // The first offset, which is 0, ends a line: those of rows begin one, as other values do.
            let first_bytes = if is_string { LINE_BYTES } else { 0 };
            let values_bytes = if is_row { 0 } else { first_bytes + form.width() * rows_max };
            let values = part(values_bytes) + first_bytes.saturating_sub(form.width());
            let validity = (field.is_nullable() && *form != Form::Taken).then(|| part(rows_max));
            let heap = if form.has_heap() {
                let bytes = ((1.1 * heap * rows_max as f64) as usize + LINE_BYTES).min(HEAP_BYTES_MAX);
                let start = part(bytes + OVERSHOOT_BYTES);
                start..start + bytes
            } else {
                0..0
            };
            let rests = Rests {
                values: rest(*form != Form::Taken),
                validity: rest(validity.is_some()),
                heap: rest(form.has_heap()),
            };
            places.push(Place { form: *form, values, validity, heap, rests });
        }
        let group_count = group_count.min(if way == Way::Gathered { PARTITIONS_MAX } else { GROUPS_MAX });
        let growing = |place: &Place| Growing {
            heap_bytes: vec![0; if place.form.has_heap() { group_count } else { 0 }],
            taken: vec![Vec::new(); if place.form == Form::Taken { group_count } else { 0 }],
            ..Growing::default()
        };
        Chunks {
            kernels,
            schema: Arc::clone(schema),
            way,
            columns: places.iter().map(growing).collect(),
            bundles: bundled.into_iter().map(|bundle| bundle.at(|column| places[column].first_value())).collect(),
            row_places,
            number_place,
            waiting: None,
            rest_count,
            places,
            rows_max,
            block_rows: match way {
                Way::Gathered => GATHERED_ROWS.min(GATHERED_GROUP_ROWS * group_count),
                _ => block_rows.clamp(BLOCK_ROWS_MIN, BLOCK_ROWS_MAX),
            },
            block_bytes: end,
            group_count,
            blocks: (0..group_count).map(|_| None).collect(),
            rows: vec![rows_max as u32; group_count.max(GROUPS_MAX)],
            limits: (0..group_count.max(GROUPS_MAX))
                .map(|group| match way {
                    // Groups fill at the same pace: the second pass is to get them one by one.
                    Way::Rows if group < group_count => (rows_max * (group + 1)).div_ceil(group_count) as u32,
                    _ => rows_max as u32,
                })
                .collect(),
            ahead: Vec::new(),
        }
    }

    /// Rows that are best moved at a time.
    pub fn block_rows(&self) -> usize {
        // Each block of a taken column makes a piece for every group: few large ones.
        if self.has_taken() { self.rows_max.max(self.block_rows) } else { self.block_rows }
    }

    fn has_taken(&self) -> bool {
        self.places.iter().any(|place| place.form == Form::Taken)
    }

    /// Makes the chunks ready for rows; if a dictionary cannot become one with the chunks', they are given first.
    pub fn prepare<E: Exchanger>(&mut self, rows: &Rows, exchanger: &mut E) -> Result<(), E::Error> {
        for ((place, growing), column) in self.places.iter().zip(&mut self.columns).zip(&rows.columns) {
            if let (Some(validity), false, Some(_)) = (place.validity, growing.has_nulls, &column.nulls) {
                // Until now no validity was written: all rows that are there have a value.
                for (block, rows) in self.blocks.iter_mut().zip(&self.rows) {
                    if let Some(block) = block {
                        block.as_mut_slice()[validity..validity + *rows as usize].fill(1);
                    }
                }
                if let (Way::Gathered, Some(waiting)) = (self.way, &mut self.waiting) {
                    let bytes = self.group_count * LINE_BYTES;
                    waiting.as_mut_slice()[place.rests.validity * bytes..][..bytes].fill(1);
                }
                growing.has_nulls = true;
            }
        }
        if self.schema.fields().iter().any(|field| has_inner_dictionary(field.data_type())) {
            // Taken pieces are put together, and dictionaries of several batches may have more values than there are codes.
            self.finish(exchanger)?;
        }
        for (number, column) in rows.columns.iter().enumerate() {
            let DataType::Dictionary(code, _) = self.schema.field(number).data_type() else { continue };
            let Some(values) = &column.dictionary else { continue };
            let is_taken_in = match &mut self.columns[number].dictionary {
                Some(known) => known.take_in(values, code)?,
                None => false,
            };
            if !is_taken_in {
                self.finish(exchanger)?;
                self.columns[number].dictionary = Some(Dictionary::new(values));
            }
        }
        Ok(())
    }

    /// Appends the rows of `range`, at most [`Chunks::block_rows`], to their groups; a group without room gives its chunk first.
    ///
    /// `rows` are those of the last [`Chunks::prepare`]; `groups`: the group of each row of `range`, below the number of groups.
    ///
    /// # Errors
    /// Those of the exchanger. No row is in then, unless a group has more than fill a chunk and they are gathered: rows of others may be in, and some
    /// of its own, none twice.
    pub fn append<E: Exchanger>(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        groups: Groups<'_>,
        exchanger: &mut E,
    ) -> Result<Appended, E::Error> {
        assert!(range.end <= rows.rows && groups.row_count() == range.len(), "as many groups as rows");
        if range.is_empty() {
            return Ok(Appended::All);
        }
        assert!(self.are_own(rows), "rows of the schema, and of a first pass if this is a second");
        match groups {
            Groups::Few(groups) if self.way != Way::Gathered => self.append_few(rows, range, groups, exchanger),
            Groups::Many(groups) if self.way == Way::Gathered => self.append_many(rows, range, groups, exchanger),
            _ => unreachable!("many groups for chunks of few, or few for those of many"),
        }
    }

    fn append_few<E: Exchanger>(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        groups: &[u8],
        exchanger: &mut E,
    ) -> Result<Appended, E::Error> {
        let mut counts = [0; GROUPS_MAX];
        self.kernels.histogram(groups, &mut counts);
        self.measure(rows, range.clone(), &counts, |lengths, sums| sum_by_group(lengths, groups, sums));
        self.look_ahead(rows, range.clone());
        let has_room = self.make_room(&counts, exchanger);
        self.ahead.clear();
        if !has_room? {
            return Ok(Appended::TooLarge);
        }
        let order = exchanger.order();
        order.clear();
        if self.way == Way::Sorted && !self.bundles.is_empty() || self.has_taken() {
            order.resize(groups.len(), 0);
            self.kernels.row_order(groups, &mut first_rows(&counts), order);
        }
        self.fill(rows, range, Grouped { groups, counts: &counts, order })?;
        Ok(Appended::All)
    }

    fn append_many<E: Exchanger>(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        groups: &[u16],
        exchanger: &mut E,
    ) -> Result<Appended, E::Error> {
        let mut counts = vec![0; PARTITIONS_MAX];
        count_rows(groups, &mut counts);
        self.measure(rows, range.clone(), &counts, |lengths, sums| sum_by_group(lengths, groups, sums));
        let is_too_long = |(place, growing): (&Place, &Growing)| growing.longest as usize > place.heap.len();
        if self.places.iter().zip(&self.columns).any(is_too_long) {
            return Ok(Appended::TooLarge);
        }
        counts.truncate(self.group_count);
        let mut order = std::mem::take(exchanger.order());
        let gathered = self.gather(rows, range, groups, counts, &mut order, exchanger);
        *exchanger.order() = order;
        gathered.map(|()| Appended::All)
    }

    /// Are there the values that these chunks move?
    fn are_own(&self, rows: &Rows) -> bool {
        let bundles: &[Bundle] = if self.way == Way::Sorted { &self.bundles } else { &[] };
        let is_own = |(number, (column, place)): (usize, (&Column, &Place))| {
            let is_bundled = bundles.iter().any(|bundle| bundle.has(number));
            let is_prepared = column.nulls.is_none() || place.validity.is_none() || self.columns[number].has_nulls;
            column.form == place.form && is_bundled == matches!(column.values, Values::Bundled) && is_prepared
        };
        let are_words = |(words, bundle): (&Buffer, &Bundle)| {
            words.len() == rows.rows * bundle.row_bytes() && words.as_ptr().cast::<u64>().is_aligned()
        };
        rows.columns.len() == self.places.len()
            && rows.columns.iter().zip(&self.places).enumerate().all(is_own)
            && rows.bundles.len() == bundles.len()
            && rows.bundles.iter().zip(bundles).all(are_words)
            && (self.way != Way::Rows || rows.numbers.len() == rows.rows)
    }

    /// Notes what is read next, if the caches keep it until then.
    fn look_ahead(&mut self, rows: &Rows, range: Range<usize>) {
        let row_bytes: usize = self.bundles.iter().map(Bundle::row_bytes).sum();
        if self.way != Way::Rows || row_bytes * range.len() > AHEAD_BYTES_MAX {
            return;
        }
        let places =
            self.places.iter().enumerate().filter(|(column, _)| self.bundles.iter().any(|bundle| bundle.has(*column)));
        self.ahead.extend(places.filter_map(|(column, place)| match &rows.columns[column].values {
            Values::Fixed(values) => {
                let width = place.form.width();
                Some(values.slice_with_length(range.start * width, range.len() * width))
            }
            _ => None,
        }));
    }

    /// Makes what is not moved as it stands: bytes of bits, lengths of strings, and by how much the heaps may grow.
    ///
    /// `sum_by_group` adds what each row takes to its group's sum.
    fn measure(&mut self, rows: &Rows, range: Range<usize>, counts: &[u32], sum_by_group: impl Fn(&[u32], &mut [u64])) {
        assert!(counts[self.group_count..].iter().all(|count| *count == 0), "a group that is not there");
        let counts = &counts[..self.group_count];
        for ((place, column), growing) in self.places.iter().zip(&rows.columns).zip(&mut self.columns) {
            let scratch = &mut growing.scratch;
            if place.validity.is_some() && growing.has_nulls {
                match &column.nulls {
                    Some(nulls) => bytes_of_bits(&nulls.inner().slice(range.start, range.len()), &mut scratch.validity),
                    None => {
                        scratch.validity.clear();
                        scratch.validity.resize(range.len(), 1);
                    }
                }
            }
            growing.sums.clear();
            growing.longest = 0;
            match &column.values {
                Values::Bits(bits) => bytes_of_bits(&bits.slice(range.start, range.len()), &mut scratch.bytes),
                Values::Strings(ends, _) => ends.lengths(range.clone(), &mut scratch.lengths),
                Values::Fixed(values) => {
                    let codes = growing.dictionary.as_ref().and_then(Dictionary::latest_codes);
                    if let (Some(codes), Form::Fixed { width }) = (codes, place.form) {
                        scratch.bytes.clear();
                        scratch.bytes.extend_from_slice(&values[range.start * width..range.end * width]);
                        recode(&mut scratch.bytes, width, codes);
                    }
                    continue;
                }
                Values::Views(views, Some(_)) => {
                    scratch.lengths.clear();
                    let length = |view: &u128| if *view as u32 as usize > INLINE_BYTES_MAX { *view as u32 } else { 0 };
                    scratch.lengths.extend(views[range.clone()].iter().map(length));
                }
                _ => continue,
            }
            if place.form.has_heap() {
                // As if all were as long as the longest, where little room is lost by it: what the rows of each group take is not added up.
                let longest = scratch.lengths.iter().fold(0, |longest, length| longest.max(*length));
                growing.longest = longest;
                let most = |rows: u32| u64::from(rows) * u64::from(longest);
                if counts.iter().all(|rows| most(*rows) <= place.heap.len() as u64 / 4) {
                    growing.sums.extend(counts.iter().map(|rows| most(*rows)));
                } else {
                    growing.sums.resize(self.group_count, 0);
                    sum_by_group(&scratch.lengths, &mut growing.sums);
                }
            }
        }
    }

    /// Gives the chunks that have no room for so many rows more, and gets blocks for those that have none; false if even an empty one has
    /// not enough.
    fn make_room<E: Exchanger>(&mut self, counts: &[u32], exchanger: &mut E) -> Result<bool, E::Error> {
        // One pass over the groups for each thing that may be full: no branch in them.
        let mut is_full = [false; PARTITIONS_MAX];
        let is_full = &mut is_full[..self.group_count];
        let mut is_too_large = false;
        for (((is_full, rows), limit), count) in is_full.iter_mut().zip(&self.rows).zip(&self.limits).zip(counts) {
            *is_full = (*count > 0) & (rows + count > *limit);
            is_too_large |= *count > self.rows_max as u32;
        }
        for (place, growing) in self.places.iter().zip(&self.columns) {
            let heap_bytes = place.heap.len() as u64;
            for ((is_full, used), sum) in is_full.iter_mut().zip(&growing.heap_bytes).zip(&growing.sums) {
                *is_full |= used.saturating_add(*sum) > heap_bytes;
                is_too_large |= *sum > heap_bytes;
            }
        }
        if is_too_large {
            return Ok(false);
        }
        for group in (0..self.group_count).filter(|group| is_full[*group]) {
            self.renew(group, exchanger)?;
        }
        Ok(true)
    }

    /// Gives what a group has, and gets it an empty chunk.
    fn renew<E: Exchanger>(&mut self, group: usize, exchanger: &mut E) -> Result<(), E::Error> {
        self.give(group, exchanger)?;
        let bytes = self.waiting_place(self.bundles.len()) + self.rest_count * self.group_count * LINE_BYTES;
        if self.waiting.is_none() && bytes > 0 {
            let waiting = exchanger.block(bytes)?;
            assert!(waiting.len() >= bytes, "a block of the size that was asked for");
            self.waiting = Some(waiting);
        }
        let mut block = exchanger.block(self.block_bytes)?;
        assert!(block.len() >= self.block_bytes, "a block of the size that was asked for");
        for place in self.places.iter().filter(|place| matches!(place.form, Form::Strings { .. })) {
            // The first offset; the others are where strings end.
            block.as_mut_slice()[place.values..place.values + 4].fill(0);
        }
        self.blocks[group] = Some(block);
        self.rows[group] = 0;
        for growing in &mut self.columns {
            // Nothing is there yet, unless what was could not be given.
            growing.heap_bytes.get_mut(group).into_iter().for_each(|bytes| *bytes = 0);
            growing.taken.get_mut(group).into_iter().for_each(Vec::clear);
        }
        Ok(())
    }

    /// Gives what all groups have, in the order of the groups.
    pub fn finish<E: Exchanger>(&mut self, exchanger: &mut E) -> Result<(), E::Error> {
        (0..self.group_count).try_for_each(|group| self.give(group, exchanger))?;
        if let Some(waiting) = self.waiting.take() {
            drop(exchanger.freeze(waiting));
        }
        Ok(())
    }

    /// Where rows of a bundle wait, those of the first group, in bytes from the first bundle's.
    fn waiting_place(&self, bundle: usize) -> usize {
        self.bundles[..bundle].iter().map(|bundle| self.group_count * self.way.waiting_bytes(bundle)).sum()
    }

    /// Gives what a group has, if it has anything.
    pub fn give<E: Exchanger>(&mut self, group: usize, exchanger: &mut E) -> Result<(), E::Error> {
        let Some(mut block) = self.blocks[group].take() else { return Ok(()) };
        let rows = std::mem::replace(&mut self.rows[group], self.rows_max as u32) as usize;
        self.limits[group] = self.rows_max as u32;
        if let Some(waiting) = &self.waiting {
            for (number, bundle) in self.bundles.iter().enumerate() {
                let place = self.waiting_place(number) + group * self.way.waiting_bytes(bundle);
                let count = self.way.waiting_rows(bundle, rows);
                let words = &waiting.as_slice()[place..place + count * bundle.row_bytes()];
                // SAFETY: any bytes are words, which begin at multiples of 64, as blocks do; the layout has room for `rows_max` values of each
                // column.
                unsafe {
                    let words = std::slice::from_raw_parts(words.as_ptr().cast(), count * bundle.words());
                    bundle.write_rows(words, block.as_mut_ptr(), rows - count..rows);
                }
            }
        }
        if let (Way::Gathered, Some(waiting)) = (self.way, &self.waiting) {
            self.write_rests(group, rows, waiting, &mut block);
        }
        let buffer = exchanger.freeze(block);
        if rows == 0 {
            // Got before the block of another group was refused.
            return Ok(());
        }
        if self.way == Way::Rows {
            let rows = self.rows_of(rows, &buffer);
            return exchanger.pass_on(group, rows);
        }
        let batch = self.batch_of(group, rows, &buffer)?;
        exchanger.give(group, batch)
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
