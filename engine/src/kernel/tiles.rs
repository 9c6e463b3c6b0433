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
//! Rows are of two, four or eight words (`bundle`), so a tile holds 32, 16 or 8 of them; columns of 4 bytes ask for at least 16, so that they too
//! leave in whole lines.

#![allow(unsafe_code)]

use super::bundle::{Bundle, Part, Sources, TakeRow, WORDS_MAX, Words, ZEROS};
use super::partition::GROUPS_MAX;
use super::scatter::Starts;
use super::vector::Vector;

/// Eight lines.
pub(super) type Tile = [Words; 8];

/// Bytes of a tile.
pub(super) const TILE_BYTES: usize = size_of::<Tile>();

impl Bundle {
    /// Rows that a tile holds.
    pub(super) fn tile_rows(&self) -> usize {
        TILE_BYTES / 8 / self.words
    }

    /// How many of a group's rows its tile holds: the last ones, all of a tile when they fill it.
    pub(super) fn held_rows(&self, rows: usize) -> usize {
        rows - rows.saturating_sub(1) / self.tile_rows() * self.tile_rows()
    }
}

/// Moves the words of a bundle to the tiles of their groups, behind the `rows` that these have, and what fills a tile to the chunks.
///
/// # Safety
/// The processor has the instructions of `V`. For each row of a group g, the r-th of them in `groups`: its value is readable at every source;
/// the chunk at `starts[g]`, a multiple of 64, is writable for `rows[g] + r + 1` values of each column, and nothing else reaches it; `tiles[g]`
/// is readable and writable, and holds the words of the last [`Bundle::held_rows`] of g's `rows[g]` rows.
#[inline(always)]
pub(super) unsafe fn scatter_tiles<V: Vector>(
    bundle: &Bundle,
    sources: &Sources,
    groups: &[u8],
    starts: &Starts,
    rows: &[u32; GROUPS_MAX],
    tiles: *mut Tile,
) {
    let mut to = Targets { offsets: &bundle.offsets, starts, rows: *rows, tiles };
    // SAFETY: the caller's promise.
    unsafe { bundle.each_row::<V, _>(sources, groups, &mut to) };
    end_streams();
}

/// Where rows go.
struct Targets<'a> {
    offsets: &'a [Part<usize>; WORDS_MAX],
    starts: &'a Starts,
    rows: [u32; GROUPS_MAX],
    tiles: *mut Tile,
}

impl TakeRow for Targets<'_> {
    /// Puts a row to its group's tile, which is emptied before if it is full.
    #[inline(always)]
    unsafe fn take<V: Vector, const W: usize>(&mut self, words: *const u64, group: u8) {
        let group = usize::from(group);
        let count = self.rows[group] as usize;
        let place = count % (64 / W);
        // SAFETY: the caller's promise: a tile for each group, a chunk with room in every column.
        unsafe {
            let tile = self.tiles.add(group);
            // Not when its last row has come, but when the next one does: what was just stored in words cannot be read in lines yet.
            if place == 0 && count > 0 {
                stream_tile::<V, W>(&*tile, self.starts[group], count - 64 / W, self.offsets);
            }
            tile.cast::<[u64; W]>().add(place).write(words.cast::<[u64; W]>().read());
        }
        self.rows[group] += 1;
    }
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
pub(super) unsafe fn halves<V: Vector>(even: &Words, odd: &Words, is_high: bool) -> Words {
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
pub(super) fn end_streams() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has the instruction, and it has no conditions.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
