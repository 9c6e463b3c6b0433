//! A builder for each group: rows go in batch by batch, and come out as batches of one group, when they are worth it.
//!
//! In: batches of one schema, the group of each row. Out: for each group its rows, in the order in which they came, cut where a chunk was
//! full. Never: a batch for each input batch; memory that was not reserved; fails because a row is long.
//!
//! ```text
//!   batch ─► rows ─► scatter ─► chunk of group 0 │ 1 │ … │ 255                  up to 256 groups: one pass
//!
//!   batch ─► rows ─► rows of coarse group 0 │ 1 │ … │ 63
//!                                       │ full
//!                                       ▼
//!                                     scatter ─► chunk of group 0 │ 1 │ … │ 63       up to 4,096: 64 coarse groups, 64 in each
//!
//!   batch, … ─► rows ─► column by column in the order of the groups ─► chunk of group 0 │ 1 │ … │ 4,095      strings; long ones from 128 groups
//! ```
//! A builder belongs to one thread of one attempt. Its chunks get smaller as there are more groups and columns, so that a builder of many
//! groups holds little more than one of few: up to [`BuilderOptions::bytes`], or two and a half times as much for more than 256. These are made in
//! two passes, of which the first leaves rows as rows (`kernel/packed.rs`), if all columns can be words of rows. Others are gathered
//! (`kernel/gathered.rs`): a string is moved once, however long. Some rows of each group should come together there, so short batches wait for more.
//! Tables of long strings are gathered in fewer groups, too, once the first rows have shown that they are long.
//! A group whose rows do not fit into a chunk even when it is empty (all of a block's rows in one group; long strings) takes them in smaller
//! blocks, or, where rows are gathered, fills one chunk after the other by itself; a row that alone is too long goes past the chunks, as a batch of its own.

use std::{ops::Range, sync::Arc};

use crate::{
    batch::{
        Batch,
        buffer::Buffer,
        concat, copied,
        datatypes::{DataType, SchemaRef},
        payload_bytes,
    },
    error::{Cause, Error, Kind, Result},
    kernel::{Appended, Chunks, Exchanger, GROUPS_MAX, Groups, Kernels, PARTITIONS_MAX, Rows, Way},
    memory::{Block, Pool, Reservation, freeze},
    settings::Settings,
};

/// Fewest and most bytes of a chunk: below the first what a chunk costs by itself is too much of it, above the second nothing is won.
const CHUNK_BYTES_MIN: usize = 8 << 10;
const CHUNK_BYTES_MAX: usize = 512 << 10;
/// Bytes that the chunks of one pass take together where they are not more for the reason below: what stays in the caches, and within the
/// reach of the TLB even where a virtual machine's memory has small pages (256 groups of 4 × u64: 5.5 GiB/s, with 64 MiB 4.2).
const CACHED_BYTES: usize = 8 << 20;
/// The same where values go past the caches: longer batches cost less each (lineitem in 200 groups, to frames and to a file: 0.73 s instead of
/// 0.84 with 8 MiB, and 0.78 with 64).
const STREAMED_BYTES: usize = 32 << 20;
/// The reason for more: so many rows that a batch of them is worth its arrays.
const CHUNK_ROWS_MIN: usize = 256;
/// The same for the first of two passes, whose rows are in the caches still when the second takes them.
const COARSE_BYTES: usize = 2 << 20;
/// There, so many rows that each group of the second pass gets some of them; fewer if each still gets twice as many as leave together (four columns
/// of 16 bytes: 512 of them are 2 MiB).
const COARSE_ROWS_MIN: usize = 1024;
/// Rows of a batch whose strings are measured: the chunks' layout is a guess, which may be wrong for the others.
const SAMPLE_ROWS: usize = 1024;
/// Rows that are gathered at a time, if they come in smaller batches: some of each of 4,096 groups.
const GATHERED_ROWS_MIN: usize = 1 << 15;
/// Batches that wait for it: each costs something by itself.
const HELD_BATCHES_MAX: usize = 256;
/// Of two passes, the groups of the second within each of the first: with so few the lines of rows are open in the nearest cache, and so are the
/// counts by which the second takes them in order.
const FINE_GROUPS: usize = 64;

/// How a builder is made.
#[derive(Clone, Copy, Debug)]
pub struct BuilderOptions {
    /// Groups, at most [`PARTITIONS_MAX`].
    pub group_count: usize,
    /// Bytes that the chunks of all groups take together at most; those of more than [`GROUPS_MAX`] take twice as much.
    pub bytes: usize,
}

impl BuilderOptions {
    /// What a thread's builder takes at most, unless memory is short: 256 groups of 256 KiB; of more groups twice as much, 4,096 of 32 KiB.
    pub const BYTES: usize = 64 << 20;

    /// What such a builder's chunks take at most, without what waits beside them until it fills lines.
    pub fn most_bytes(&self) -> usize {
        if self.group_count > GROUPS_MAX { self.bytes / 2 + 2 * self.bytes } else { self.bytes }
    }

    /// What a thread's builder takes of the memory of these settings: what is best, or a small share.
    pub fn bytes_within(settings: &Settings) -> usize {
        let share = settings.memory_bytes / (32 * settings.threads.max(1) as u64);
        share.min(BuilderOptions::BYTES as u64) as usize
    }
}

/// Takes the rows of a group, and how many bytes of memory they hold until they are dropped.
pub type Give<'a> = &'a mut dyn FnMut(usize, Batch, u64) -> Result<()>;

/// The builders of all groups of one thread.
pub struct Builder {
    first: Pass,
    /// Of more than [`GROUPS_MAX`] groups, if all values are words of rows: those of each group of the first pass.
    second: Vec<Pass>,
    /// The group of the first pass is the number shifted by so much; what is shifted out is the group of the second.
    shift: u32,
    options: BuilderOptions,
    means: Means,
    coarse: Vec<u8>,
    /// What waits until there are some rows of each group; nothing where rows are not gathered.
    held: Held,
}

/// Batches that are put together, as few rows of each of many groups are not worth their way.
#[derive(Default)]
struct Held {
    batches: Vec<Batch>,
    groups: Vec<u16>,
    /// Reserved for them, and for what they become together; at most half of [`BuilderOptions::bytes`].
    bytes: u64,
}

/// The chunks of one pass, made when the first rows have shown how long they are.
struct Pass {
    kernels: &'static Kernels,
    schema: SchemaRef,
    group_count: usize,
    /// Bytes that its chunks may take together, and do.
    bytes_max: usize,
    bytes: usize,
    /// How values get to the chunks, once these are as large as they become.
    way: Way,
    chunks: Option<Chunks>,
    /// Bytes of a chunk: few at first, as many edges carry few rows, and four times as many whenever all groups have given one.
    chunk_bytes: usize,
    /// Chunks that were given since they have this size.
    given: usize,
    /// Bytes of the strings of an average row, by column: what the chunks are laid out for.
    heap_bytes: Vec<f64>,
}

impl Builder {
    /// Empty builders for batches of `schema`; `reservation` is an empty one.
    pub fn new(schema: &SchemaRef, options: BuilderOptions, pool: &Arc<Pool>, reservation: Reservation) -> Builder {
        Builder::with_kernels(Kernels::detect(), schema, options, pool, reservation)
    }

    /// [`Builder::new`] with kernels of the caller's choice: what comes out is the same.
    pub fn with_kernels(
        kernels: &'static Kernels,
        schema: &SchemaRef,
        options: BuilderOptions,
        pool: &Arc<Pool>,
        reservation: Reservation,
    ) -> Builder {
        let group_count = options.group_count.clamp(1, PARTITIONS_MAX);
        let is_gathered = group_count > GROUPS_MAX && !Chunks::are_all_rows(schema);
        let is_twice = group_count > GROUPS_MAX && !is_gathered;
        let shift = if is_twice { FINE_GROUPS.trailing_zeros() } else { 0 };
        let coarse_count = ((group_count - 1) >> shift) + 1;
        let pass = |way, group_count, bytes| Pass::new(kernels, schema, way, group_count, bytes);
        let (first, second) = if is_gathered {
            (pass(Way::Gathered, group_count, 2 * options.bytes), Vec::new())
        } else if !is_twice {
            let is_streamed = Chunks::are_better_streamed(schema, group_count);
            (pass(if is_streamed { Way::Tiles } else { Way::Straight }, group_count, options.bytes), Vec::new())
        } else {
            // Twice as much: a batch of 16 KiB costs more than moving its rows.
            let second = (0..coarse_count).map(|_| pass(Way::Sorted, FINE_GROUPS, 2 * options.bytes / coarse_count));
            (pass(Way::Rows, coarse_count, options.bytes / 2), second.collect())
        };
        Builder {
            first,
            second,
            shift,
            options: BuilderOptions { group_count, ..options },
            means: Means { pool: Arc::clone(pool), reservation, order: Vec::new() },
            coarse: Vec::new(),
            held: Held::default(),
        }
    }

    /// Bytes that the chunks hold now, and what waits for them.
    pub fn held_bytes(&self) -> u64 {
        self.means.reservation.bytes()
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.options.group_count
    }

    /// Appends the rows of `batch` to their groups, one number a row; full chunks go to `give`.
    pub fn push(&mut self, batch: &Batch, groups: &[u16], give: Give<'_>) -> Result<()> {
        if groups.len() != batch.num_rows() {
            return Err(BuilderError::Numbers { rows: batch.num_rows(), numbers: groups.len() }.into());
        }
        let (group, group_count) = (groups.iter().max().copied().unwrap_or_default(), self.options.group_count);
        if usize::from(group) >= group_count {
            return Err(BuilderError::Group { group: usize::from(group), group_count }.into());
        }
        if groups.is_empty() {
            return Ok(());
        }
        let is_short = self.held.groups.len() + groups.len() < GATHERED_ROWS_MIN;
        if is_short && self.held.batches.len() < HELD_BATCHES_MAX && self.hold(batch, groups)? {
            return Ok(());
        }
        if !self.held.batches.is_empty() {
            if self.hold(batch, groups)? {
                return self.append_held(give);
            }
            self.append_held(give)?;
        }
        self.append(batch, groups, give)
    }

    /// Lets a batch wait for others, if it can be put together with them and there is memory for both.
    fn hold(&mut self, batch: &Batch, groups: &[u16]) -> Result<bool> {
        let Builder { first, options, held, means, .. } = self;
        if options.group_count <= GROUPS_MAX || first.way != Way::Gathered || !Chunks::are_put_together(&first.schema) {
            return Ok(false);
        }
        let bytes = 2 * payload_bytes(batch);
        if held.bytes + bytes > options.bytes as u64 / 2 || !means.reservation.try_grow(bytes) {
            return Ok(false);
        }
        held.bytes += bytes;
        held.batches.push(copied(batch)?);
        held.groups.extend_from_slice(groups);
        Ok(true)
    }

    /// Appends what was held.
    fn append_held(&mut self, give: Give<'_>) -> Result<()> {
        let Held { batches, groups, bytes } = std::mem::take(&mut self.held);
        let appended = if batches.is_empty() {
            Ok(())
        } else {
            concat(&self.first.schema, &batches).and_then(|batch| {
                drop(batches);
                self.append(&batch, &groups, give)
            })
        };
        let left = self.means.reservation.bytes().saturating_sub(bytes);
        // Less than before is always granted.
        let _ = self.means.reservation.resize(left);
        appended
    }

    /// Appends the rows of a batch, whose groups are there.
    fn append(&mut self, batch: &Batch, groups: &[u16], give: Give<'_>) -> Result<()> {
        let kernels = self.first.kernels;
        let mut rows = Rows::of(batch);
        if self.shift > 0 {
            let mut fine = Vec::new();
            kernels.number_bytes(groups, 0, (1 << self.shift) - 1, &mut fine);
            rows = rows.with_numbers(fine);
        }
        self.first_pass(give, |pass, hand| pass.begin(&rows, hand))?;
        let mut coarse = std::mem::take(&mut self.coarse);
        let numbers = if self.first.way == Way::Gathered {
            Groups::Many(groups)
        } else {
            kernels.number_bytes(groups, self.shift, u8::MAX, &mut coarse);
            Groups::Few(&coarse)
        };
        let mut done = 0;
        while done < batch.num_rows() {
            done = self.first_pass(give, |pass, hand| pass.append(&rows, done..batch.num_rows(), numbers, hand))?;
            if done < batch.num_rows() {
                let (group, row) = (groups[done], batch.slice(done, 1));
                self.give_group(group, give)?;
                let bytes = payload_bytes(&row);
                give(usize::from(group), row, bytes)?;
                done += 1;
            }
        }
        self.coarse = coarse;
        Ok(())
    }

    /// Gives what all groups still have; empty afterwards.
    pub fn finish(&mut self, give: Give<'_>) -> Result<()> {
        self.append_held(give)?;
        self.first_pass(give, |pass, hand| pass.finish(hand))?;
        let Builder { second, shift, means, .. } = self;
        for (coarse, pass) in second.iter_mut().enumerate() {
            let give = &mut |fine, batch, bytes| give((coarse << *shift) + fine, batch, bytes);
            pass.finish(&mut Hand::new(means, give))?;
        }
        Ok(())
    }

    /// Does something with the first pass: what is full there goes to `give`, by way of the second where there is one.
    fn first_pass<T>(&mut self, give: Give<'_>, run: impl FnOnce(&mut Pass, &mut Hand<'_>) -> Result<T>) -> Result<T> {
        let Builder { first, second, shift, means, .. } = self;
        run(first, &mut Hand { second, shift: *shift, ..Hand::new(means, give) })
    }

    /// Gives what a group has so far.
    fn give_group(&mut self, group: u16, give: Give<'_>) -> Result<()> {
        let (coarse, fine) = (group >> self.shift, group & ((1 << self.shift) - 1));
        self.first_pass(give, |pass, hand| pass.give(usize::from(coarse), hand))?;
        let Builder { second, means, .. } = self;
        let Some(pass) = second.get_mut(usize::from(coarse)) else { return Ok(()) };
        let give = &mut |_: usize, batch: Batch, bytes: u64| give(usize::from(group), batch, bytes);
        pass.give(usize::from(fine), &mut Hand::new(means, give))
    }
}

impl Pass {
    fn new(kernels: &'static Kernels, schema: &SchemaRef, way: Way, group_count: usize, bytes_max: usize) -> Pass {
        Pass {
            kernels,
            schema: Arc::clone(schema),
            group_count,
            bytes_max,
            bytes: bytes_max,
            way,
            chunks: None,
            chunk_bytes: 0,
            given: 0,
            heap_bytes: Vec::new(),
        }
    }

    /// Makes chunks ready for these rows.
    fn begin(&mut self, rows: &Rows, hand: &mut Hand<'_>) -> Result<()> {
        if rows.row_count() == 0 {
            return Ok(());
        }
        if self.chunks.is_none() || self.schema.fields().iter().any(|field| is_string(field.data_type())) {
            self.measure(rows, hand)?;
        }
        if self.chunks.is_none() {
            self.plan(rows);
        }
        if self.chunk_bytes == 0 {
            let first_bytes = 4 * rows.bytes(0..rows.row_count()) as usize / self.group_count;
            self.chunk_bytes = first_bytes.clamp(CHUNK_BYTES_MIN, self.chunk_bytes_max());
        } else if self.given >= self.group_count && self.chunk_bytes < self.chunk_bytes_max() {
            self.finish(hand)?;
            self.chunks = None;
            self.chunk_bytes = self.chunk_bytes_max().min(4 * self.chunk_bytes);
            self.given = 0;
        }
        // Small chunks are given before tiles are worth their while.
        let is_small = self.way == Way::Tiles && self.chunk_bytes < self.chunk_bytes_max();
        let way = if is_small { Way::Straight } else { self.way };
        let chunks = self.chunks.get_or_insert_with(|| {
            Chunks::new(self.kernels, &self.schema, self.group_count, self.chunk_bytes, &self.heap_bytes, way)
        });
        chunks.prepare(rows, hand)
    }

    /// How values get to the chunks, and how many bytes are worth it, by what the strings of these rows are.
    fn plan(&mut self, rows: &Rows) {
        let is_free = matches!(self.way, Way::Straight | Way::Tiles);
        if is_free && Chunks::are_better_gathered(&self.schema, self.group_count, &self.heap_bytes) {
            self.way = Way::Gathered;
        }
        let (best, rows_min) = match self.way {
            Way::Straight => (CACHED_BYTES, CHUNK_ROWS_MIN),
            Way::Tiles => (STREAMED_BYTES, CHUNK_ROWS_MIN),
            Way::Rows => {
                let enough = 2 * FINE_GROUPS * Chunks::leaving_rows(&self.schema);
                (COARSE_BYTES, COARSE_ROWS_MIN.min(enough))
            }
            Way::Sorted | Way::Gathered => (self.bytes_max, 0),
        };
        let row_bytes = rows.bytes(0..rows.row_count()) as usize / rows.row_count();
        self.bytes = self.bytes_max.min(best.max(rows_min * row_bytes * self.group_count));
    }

    /// Appends the rows of a range, `groups` those of all rows; the number of the first that is not in, as it alone is too long for a chunk, or the
    /// range's end.
    fn append(&mut self, rows: &Rows, range: Range<usize>, groups: Groups<'_>, hand: &mut Hand<'_>) -> Result<usize> {
        let Some(chunks) = &mut self.chunks else {
            assert!(range.is_empty(), "rows that were begun");
            return Ok(range.end);
        };
        let block_rows = chunks.block_rows();
        let given = hand.given;
        let (mut first, mut at_once) = (range.start, block_rows);
        'blocks: while first < range.end {
            // Smaller and smaller while some group cannot take its rows at once, and then larger again.
            let mut end = range.end.min(first + at_once);
            while let Appended::TooLarge = chunks.append(rows, first..end, groups.slice(first..end), hand)? {
                if end == first + 1 {
                    break 'blocks;
                }
                end = first + (end - first) / 2;
            }
            at_once = block_rows.min(2 * (end - first));
            first = end;
        }
        self.given += hand.given - given;
        Ok(first)
    }

    /// Takes all rows of a first pass, by their numbers.
    fn take(&mut self, rows: &Rows, hand: &mut Hand<'_>) -> Result<()> {
        self.begin(rows, hand)?;
        let done = self.append(rows, 0..rows.row_count(), Groups::Few(rows.numbers()), hand)?;
        assert_eq!(done, rows.row_count(), "a chunk has room for a row that has no strings");
        Ok(())
    }

    fn chunk_bytes_max(&self) -> usize {
        (self.bytes / self.group_count).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
    }

    /// Looks at how long strings are; where they have become much longer than the chunks are laid out for, new chunks are begun.
    fn measure(&mut self, rows: &Rows, hand: &mut Hand<'_>) -> Result<()> {
        let sample = rows.row_count().min(SAMPLE_ROWS);
        let found: Vec<f64> = rows.heap_bytes(0..sample).map(|bytes| bytes as f64 / sample as f64).collect();
        let total: f64 = found.iter().sum();
        let planned: f64 = self.heap_bytes.iter().sum();
        if self.chunks.is_none() || total > 2.0 * planned + 16.0 {
            self.finish(hand)?;
            self.chunks = None;
            self.heap_bytes = found;
        }
        Ok(())
    }

    fn finish(&mut self, hand: &mut Hand<'_>) -> Result<()> {
        self.chunks.as_mut().map_or(Ok(()), |chunks| chunks.finish(hand))
    }

    fn give(&mut self, group: usize, hand: &mut Hand<'_>) -> Result<()> {
        self.chunks.as_mut().map_or(Ok(()), |chunks| chunks.give(group, hand))
    }
}

fn is_string(data_type: &DataType) -> bool {
    use DataType as D;
    matches!(data_type, D::Utf8 | D::LargeUtf8 | D::Binary | D::LargeBinary | D::Utf8View | D::BinaryView)
}

/// What all passes of a builder share.
struct Means {
    pool: Arc<Pool>,
    reservation: Reservation,
    order: Vec<u32>,
}

/// What chunks get from the node and give to the builder's owner.
struct Hand<'a> {
    means: &'a mut Means,
    give: Give<'a>,
    /// Who takes what the first pass gives, and by how much its groups are shifted; nobody if it is the last.
    second: &'a mut [Pass],
    shift: u32,
    /// Bytes of the block that was frozen last: what the batch that is given next holds.
    frozen_bytes: u64,
    /// Batches that were given.
    given: usize,
}

impl<'a> Hand<'a> {
    /// Of a last pass.
    fn new(means: &'a mut Means, give: Give<'a>) -> Hand<'a> {
        Hand { means, give, second: &mut [], shift: 0, frozen_bytes: 0, given: 0 }
    }
}

impl Exchanger for Hand<'_> {
    type Error = Error;

    fn block(&mut self, bytes: usize) -> Result<Block> {
        self.means.reservation.grow(Pool::block_bytes(bytes) as u64)?;
        Ok(self.means.pool.take(bytes).map_err(|source| BuilderError::Memory { bytes, source })?)
    }

    fn freeze(&mut self, block: Block) -> Buffer {
        self.frozen_bytes = block.len() as u64;
        let left = self.means.reservation.bytes().saturating_sub(self.frozen_bytes);
        // Less than before is always granted.
        let _ = self.means.reservation.resize(left);
        freeze(block, &self.means.pool).into()
    }

    fn give(&mut self, group: usize, batch: Batch) -> Result<()> {
        self.given += 1;
        (self.give)(group, batch, self.frozen_bytes)
    }

    /// At once: the rows are in the caches still, and so is the block, which the first pass gets back.
    fn pass_on(&mut self, coarse: usize, rows: Rows) -> Result<()> {
        self.given += 1;
        let Hand { means, give, second, shift, .. } = self;
        let pass = second.get_mut(coarse).ok_or(BuilderError::Pass)?;
        let give = &mut |fine: usize, batch: Batch, bytes: u64| give((coarse << *shift) + fine, batch, bytes);
        pass.take(&rows, &mut Hand::new(means, give))
    }

    fn order(&mut self) -> &mut Vec<u32> {
        &mut self.means.order
    }
}

/// Why rows could not be put to their groups.
#[derive(Debug, thiserror::Error)]
pub enum BuilderError {
    /// A number for each row is needed.
    #[error("put {rows} rows to their groups with {numbers} numbers")]
    Numbers {
        /// Rows.
        rows: usize,
        /// Numbers.
        numbers: usize,
    },
    /// A group that is not there.
    #[error("put a row to group {group} of {group_count}")]
    Group {
        /// Its number.
        group: usize,
        /// How many there are.
        group_count: usize,
    },
    /// Rows for a second pass that is not there.
    #[error("put rows to their groups in one pass that were for the first of two")]
    Pass,
    /// The system gives no memory.
    #[error("map {bytes} bytes for the rows of a group")]
    Memory {
        /// How much was asked for.
        bytes: usize,
        /// What it said.
        source: std::io::Error,
    },
}

impl Cause for BuilderError {
    fn kind(&self) -> Kind {
        match self {
            BuilderError::Memory { .. } => Kind::Limit,
            BuilderError::Numbers { .. } | BuilderError::Group { .. } | BuilderError::Pass => Kind::Internal,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
