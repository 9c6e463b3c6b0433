//! Rows to their groups past the caches: what each group gets is gathered in a tile of eight cache lines, row by row, and leaves it column by
//! column, in whole lines.
//!
//! In: up to eight words of each row, the group of each row, a tile for each group. Out: the columns in the chunks of the groups, but for the
//! rows that the tiles still hold. Never: writes a part of a line past the caches; looks at a type; knows how much room a group has.
//!
//! ```text
//!  columns      a │ b │ c │ d         eight lines at a time are turned: a line of a column becomes a word of eight rows
//!                  turned
//!  rows         abcd  abcd  abcd …    each goes to its group's tile
//!                  │
//!  tile of g    abcd abcd             full: turned again, four columns of sixteen values, two lines each,
//!               abcd abcd …           which go past the caches to g's chunk
//! ```
//! Stores straight to the chunks (`scatter`) fetch each line before they write to it, and write it back later: three ways through memory where
//! a copy has two, with as many open lines as there are groups times columns. Tiles are 512 bytes a group for up to eight words of a row, and a
//! line that is written whole past the caches is not fetched. Buffers that combine writes are of Wassenberg and Sanders, "Engineering a
//! Multi-core Radix Sort" (2011), and Polychroniou and Ross, "A Comprehensive Study of Main-Memory Partitioning" (2014); theirs hold one
//! column. These hold rows, so that one store and one look at whether there is room serve all columns.
//!
//! Words: a column of 8 bytes is one, of 16 bytes two, and two columns of 4 bytes are one together. Rows are of two, four or eight words, so a
//! tile holds 32, 16 or 8 of them; columns of 4 bytes ask for at least 16, so that they too leave in whole lines.

#![allow(unsafe_code)]

use super::partition::GROUPS_MAX;
use super::scatter::Starts;
use super::vector::Vector;

/// Words of a row at most, which is how many words a line has.
const WORDS_MAX: usize = 8;

const LINE_BYTES: usize = size_of::<Words>();

/// A cache line of words, aligned as one: what lies across two lines is twice as slow, and the stack begins anywhere.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Words(pub(super) [u64; WORDS_MAX]);

/// Eight lines.
pub(super) type Tile = [Words; 8];

const ZEROS: Words = Words([0; WORDS_MAX]);

/// Bytes of a tile.
pub(super) const TILE_BYTES: usize = size_of::<Tile>();

/// What a word of a row is made of: numbers of columns, or where these begin in a chunk, a multiple of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<T> {
    /// Nothing, or the second word of what is wide.
    Nothing,
    /// A column of 8 bytes.
    Word(T),
    /// A column of 16 bytes, this word and the next.
    Wide(T),
    /// Two columns of 4 bytes; the second may be missing.
    Halves(T, Option<T>),
}

impl<T> Part<T> {
    fn map<U>(self, mut to: impl FnMut(T) -> U) -> Part<U> {
        match self {
            Part::Nothing => Part::Nothing,
            Part::Word(of) => Part::Word(to(of)),
            Part::Wide(of) => Part::Wide(to(of)),
            Part::Halves(low, high) => Part::Halves(to(low), high.map(to)),
        }
    }
}

/// The words of a tile, row by row.
fn words_of(tile: &Tile) -> &[u64] {
    // SAFETY: eight lines of eight words each, one behind the other, without anything between them.
    unsafe { std::slice::from_raw_parts(tile.as_ptr().cast(), TILE_BYTES / 8) }
}

/// Columns that are moved together, as the words of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundle {
    /// Words of a row: 2, 4 or 8.
    words: usize,
    /// Of which columns.
    columns: [Part<usize>; WORDS_MAX],
    /// Where these begin in a chunk.
    offsets: [Part<usize>; WORDS_MAX],
}

/// Where the values of the columns are, by words of the row; no alignment is asked for.
pub(super) type Sources = [Part<*const u8>; WORDS_MAX];

impl Bundle {
    /// The columns of 16, 8 and 4 bytes in as few bundles as there may be, but for a last word that would be one alone; `columns`: the width of
    /// each and where it begins in a chunk.
    ///
    /// # Panics
    /// If one does not begin at a multiple of 64.
    pub(super) fn of_columns(columns: &[(usize, usize)]) -> Vec<Bundle> {
        assert!(columns.iter().all(|(_, offset)| offset.is_multiple_of(LINE_BYTES)), "columns begin with a line");
        let of_width = |width: usize| (0..columns.len()).filter(move |column| columns[*column].0 == width);
        let mut whole: Vec<Part<usize>> = of_width(16)
            .flat_map(|column| [Part::Wide(column), Part::Nothing])
            .chain(of_width(8).map(Part::Word))
            .collect();
        let mut bundles: Vec<Vec<Part<usize>>> = Vec::new();
        while whole.len() > WORDS_MAX / 2 {
            bundles.push(whole.drain(..whole.len().min(WORDS_MAX)).collect());
        }
        // Halves are not among eight words, whose tile has half a line of them.
        let halves: Vec<usize> = of_width(4).collect();
        whole.extend(halves.chunks(2).map(|pair| Part::Halves(pair[0], pair.get(1).copied())));
        bundles.extend(whole.chunks(WORDS_MAX / 2).filter(|parts| parts.len() > 1).map(<[_]>::to_vec));
        let bundle = |parts: Vec<Part<usize>>| {
            let mut columns_of = [Part::Nothing; WORDS_MAX];
            columns_of[..parts.len()].copy_from_slice(&parts);
            let offsets = columns_of.map(|part| part.map(|column| columns[column].1));
            Bundle { words: parts.len().next_power_of_two(), columns: columns_of, offsets }
        };
        bundles.into_iter().map(bundle).collect()
    }

    /// Is this one of its columns?
    pub(super) fn has(&self, column: usize) -> bool {
        self.columns.iter().any(|part| match *part {
            Part::Nothing => false,
            Part::Word(of) | Part::Wide(of) => of == column,
            Part::Halves(low, high) => low == column || high == Some(column),
        })
    }

    /// Where the words come from, by where the values of a column are.
    pub(super) fn sources(&self, mut from: impl FnMut(usize) -> *const u8) -> Sources {
        self.columns.map(|part| part.map(&mut from))
    }

    /// Words of a row.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Rows that a tile holds.
    pub(super) fn tile_rows(&self) -> usize {
        TILE_BYTES / 8 / self.words
    }

    /// Empties the tile of a group of `rows` rows, as many of them as it holds: the last ones, all of a tile when they fill it.
    ///
    /// # Safety
    /// Each column is writable behind `start`, for `rows` values.
    pub(super) unsafe fn empty(&self, tile: &Tile, start: *mut u8, rows: usize) {
        let held = rows - rows.saturating_sub(1) / self.tile_rows() * self.tile_rows();
        for (row, words) in (rows - held..rows).zip(words_of(tile).chunks_exact(self.words)) {
            for (word, offset) in self.offsets[..self.words].iter().enumerate() {
                // SAFETY: the caller's promise, for a row that is one of its.
                unsafe {
                    match *offset {
                        Part::Nothing => {}
                        Part::Word(offset) => start.add(offset).cast::<u64>().add(row).write_unaligned(words[word]),
                        Part::Wide(offset) => {
                            let value = [words[word], words[word + 1]];
                            start.add(offset).cast::<[u64; 2]>().add(row).write_unaligned(value);
                        }
                        Part::Halves(low, high) => {
                            start.add(low).cast::<u32>().add(row).write_unaligned(words[word] as u32);
                            if let Some(high) = high {
                                start.add(high).cast::<u32>().add(row).write_unaligned((words[word] >> 32) as u32);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Moves the words of a bundle to the tiles of their groups, behind the `rows` that these have, and what fills a tile to the chunks.
///
/// # Safety
/// The processor has the instructions of `V`. For each row of a group g, the r-th of them in `groups`: its value is readable at every source;
/// the chunk at `starts[g]`, a multiple of 64, is writable for `rows[g] + r + 1` values of each column, and nothing else reaches it; `tiles[g]`
/// is readable and writable, and holds of g's `rows[g]` rows what [`Bundle::empty`] says.
#[inline(always)]
pub(super) unsafe fn scatter_tiles<V: Vector>(
    bundle: &Bundle,
    sources: &Sources,
    groups: &[u8],
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    tiles: *mut Tile,
) {
    let to = Targets { offsets: &bundle.offsets, starts, rows: *rows, tiles };
    // SAFETY: the caller's promise, for rows of so many words.
    unsafe {
        match bundle.words {
            2 => scatter_words::<V, 2>(sources, groups, to),
            4 => scatter_words::<V, 4>(sources, groups, to),
            8 => scatter_words::<V, 8>(sources, groups, to),
            words => unreachable!("no row has {words} words"),
        }
    }
    end_streams();
}

/// Where rows go.
struct Targets<'a> {
    offsets: &'a [Part<usize>; WORDS_MAX],
    starts: &'a Starts,
    rows: [u32; GROUPS_MAX],
    tiles: *mut Tile,
}

/// # Safety
/// As [`scatter_tiles`], for rows of `W` words.
#[inline(always)]
unsafe fn scatter_words<V: Vector, const W: usize>(sources: &Sources, groups: &[u8], mut to: Targets<'_>) {
    let at_once = 64 / W;
    let whole = groups.len() / at_once * at_once;
    for (block, groups) in groups[..whole].chunks_exact(at_once).enumerate() {
        let mut lines = [ZEROS; 8];
        for (eight, lines) in lines.chunks_exact_mut(W).enumerate() {
            // SAFETY: so many rows are there.
            unsafe { load::<V, W>(sources, block * at_once + eight * 8, lines) };
        }
        // SAFETY: the processor has the instructions, as the caller promises.
        unsafe { V::transpose(&mut lines) };
        for (eight, groups) in groups.chunks_exact(8).enumerate() {
            for (line, group) in lines.iter().zip(groups) {
                // SAFETY: the caller's promise; a line has the words of one row of each eight.
                unsafe { put::<V, W>(line.0.as_ptr().add(eight * W), *group, &mut to) };
            }
        }
    }
    for (row, group) in groups.iter().enumerate().skip(whole) {
        // SAFETY: a value of this row is there.
        unsafe {
            let words = words_of_row(sources, row);
            put::<V, W>(words.0.as_ptr(), *group, &mut to);
        }
    }
}

/// The words of one row.
///
/// # Safety
/// A value of `row` is readable at every source.
#[inline(always)]
pub(super) unsafe fn words_of_row(sources: &Sources, row: usize) -> Words {
    let Words(mut words) = ZEROS;
    for (word, source) in sources.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            match *source {
                Part::Nothing => {}
                Part::Word(from) => words[word] = from.cast::<u64>().add(row).read_unaligned(),
                Part::Wide(from) => {
                    [words[word], words[word + 1]] = from.cast::<[u64; 2]>().add(row).read_unaligned();
                }
                Part::Halves(low, high) => {
                    words[word] = u64::from(low.cast::<u32>().add(row).read_unaligned());
                    if let Some(high) = high {
                        words[word] |= u64::from(high.cast::<u32>().add(row).read_unaligned()) << 32;
                    }
                }
            }
        }
    }
    Words(words)
}

/// Loads eight rows of the first `W` sources: a line a word.
///
/// # Safety
/// Eight values from `row` on are readable at every source.
#[inline(always)]
unsafe fn load<V: Vector, const W: usize>(sources: &Sources, row: usize, lines: &mut [Words]) {
    for (word, source) in sources[..W].iter().enumerate() {
        for lane in (0..8).step_by(V::LANES) {
            let row = row + lane;
            // SAFETY: the caller's promise; a line has room for eight.
            unsafe {
                match *source {
                    Part::Nothing => {}
                    Part::Word(from) => {
                        V::load(from.cast::<u64>().add(row)).store(lines[word].0.as_mut_ptr().add(lane))
                    }
                    Part::Wide(from) => {
                        let (low, high) = V::load_u128(from.cast::<u128>().add(row));
                        low.store(lines[word].0.as_mut_ptr().add(lane));
                        high.store(lines[word + 1].0.as_mut_ptr().add(lane));
                    }
                    Part::Halves(low, high) => {
                        let mut both = V::load_u32(low.cast::<u32>().add(row));
                        if let Some(high) = high {
                            both = both.or(V::load_u32(high.cast::<u32>().add(row)).shift_left(32));
                        }
                        both.store(lines[word].0.as_mut_ptr().add(lane));
                    }
                }
            }
        }
    }
}

/// Puts a row to its group's tile, which is emptied before if it is full.
///
/// # Safety
/// `W` words are readable; the rest as of [`scatter_tiles`].
#[inline(always)]
unsafe fn put<V: Vector, const W: usize>(words: *const u64, group: u8, to: &mut Targets<'_>) {
    let group = usize::from(group);
    let count = to.rows[group] as usize;
    let place = count % (64 / W);
    // SAFETY: the caller's promise: a tile for each group, a chunk with room in every column.
    unsafe {
        let tile = to.tiles.add(group);
        // Not when its last row has come, but when the next one does: what was just stored in words cannot be read in lines yet.
        if place == 0 && count > 0 {
            stream_tile::<V, W>(&*tile, to.starts[group], count - 64 / W, to.offsets);
        }
        tile.cast::<[u64; W]>().add(place).write(words.cast::<[u64; W]>().read());
    }
    to.rows[group] += 1;
}

/// Writes the rows of a full tile to the chunk, the first of them the chunk's `first`.
///
/// # Safety
/// Each column is writable behind `start`, a multiple of 64, for `first` values and the tile's.
#[inline(always)]
unsafe fn stream_tile<V: Vector, const W: usize>(
    tile: &Tile,
    start: *mut u8,
    first: usize,
    offsets: &[Part<usize>; WORDS_MAX],
) {
    let mut lines = *tile;
    // SAFETY: the processor has the instructions, as the caller promises, and the columns have room.
    unsafe {
        V::transpose(&mut lines);
        for (word, offset) in offsets[..W].iter().enumerate() {
            match *offset {
                Part::Nothing => {}
                Part::Word(offset) => {
                    let to = start.add(offset).cast::<u64>().add(first);
                    for (line, values) in column::<V, W>(&lines, word)[..8 / W].iter().enumerate() {
                        V::stream(values, to.add(8 * line));
                    }
                }
                Part::Wide(offset) => {
                    let to = start.add(offset).cast::<u64>().add(2 * first);
                    let (low, high) = (column::<V, W>(&lines, word), column::<V, W>(&lines, word + 1));
                    for line in 0..8 / W {
                        let [front, back] = V::interleave(&low[line], &high[line]);
                        V::stream(&front, to.add(16 * line));
                        V::stream(&back, to.add(16 * line + 8));
                    }
                }
                Part::Halves(low, high) => {
                    stream_halves::<V, W>(&lines, word, false, start.add(low).cast::<u32>().add(first));
                    if let Some(high) = high {
                        stream_halves::<V, W>(&lines, word, true, start.add(high).cast::<u32>().add(first));
                    }
                }
            }
        }
    }
}

/// The lines of a word, row by row, `8 / W` of them: the q-th of the turned lines that have it has it of the rows q, q + 8 / W, …
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn column<V: Vector, const W: usize>(lines: &[Words; 8], word: usize) -> [Words; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        match W {
            8 => [lines[word], ZEROS, ZEROS, ZEROS],
            4 => {
                let [front, back] = V::interleave(&lines[word], &lines[4 + word]);
                [front, back, ZEROS, ZEROS]
            }
            _ => {
                let even = V::interleave(&lines[word], &lines[4 + word]);
                let odd = V::interleave(&lines[2 + word], &lines[6 + word]);
                let [a, b] = V::interleave(&even[0], &odd[0]);
                let [c, d] = V::interleave(&even[1], &odd[1]);
                [a, b, c, d]
            }
        }
    }
}

/// Writes the low or the high halves of a word, row by row.
///
/// # Safety
/// The processor has the instructions of `V`, and `to`, a multiple of 64, has room for the rows of a tile.
#[inline(always)]
unsafe fn stream_halves<V: Vector, const W: usize>(lines: &[Words; 8], word: usize, is_high: bool, to: *mut u32) {
    // SAFETY: the caller's promise.
    unsafe {
        match W {
            8 => unreachable!("halves are not among eight words"),
            4 => V::stream(&halves::<V>(&lines[word], &lines[4 + word], is_high), to.cast()),
            _ => {
                let first = halves::<V>(&lines[word], &lines[2 + word], is_high);
                let second = halves::<V>(&lines[4 + word], &lines[6 + word], is_high);
                let [front, back] = V::interleave(&first, &second);
                V::stream(&front, to.cast());
                V::stream(&back, to.cast::<u64>().add(8));
            }
        }
    }
}

/// The low or the high halves of two words of each row in turn.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn halves<V: Vector>(even: &Words, odd: &Words, is_high: bool) -> Words {
    let mut both = ZEROS;
    for lane in (0..8).step_by(V::LANES) {
        // SAFETY: the caller's promise; a line has eight words.
        unsafe {
            let (even, odd) = (V::load(even.0.as_ptr().add(lane)), V::load(odd.0.as_ptr().add(lane)));
            let low = V::splat(u64::from(u32::MAX));
            let halves = if is_high {
                even.shift_right(32).or(odd.xor(odd.and(low)))
            } else {
                even.and(low).or(odd.shift_left(32))
            };
            halves.store(both.0.as_mut_ptr().add(lane));
        }
    }
    both
}

/// What was written past the caches comes before what is written from now on.
#[inline(always)]
fn end_streams() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has the instruction, and it has no conditions.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
