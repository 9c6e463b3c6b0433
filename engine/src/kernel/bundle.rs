//! Bundles: columns whose values are moved together, as the words of a row.
//!
//! In: the widths of columns. Out: which of them go together; their rows one by one, or the words of rows where they belong. Never: looks at a type;
//! knows a group.
//!
//! ```text
//!  columns      a │ b │ c │ d         eight lines at a time are turned: a line of a column becomes a word of eight rows
//!                  turned
//!  rows         abcd  abcd  abcd …
//! ```
//! Words: a column of 8 bytes is one, of 16 bytes two, and two columns of 4 bytes are one together. Rows are of two, four or eight words.

#![allow(unsafe_code)]

use std::ops::Range;

use super::scatter::{ASKED_BYTES, LINE_BYTES, ask_for_line};
use super::vector::Vector;

/// Words of a row at most, which is how many words a line has.
pub(super) const WORDS_MAX: usize = 8;

/// Rows that are turned at once: a line of a column of 8 bytes.
pub(super) const TURNED_ROWS: usize = 8;

/// The same where all columns have 16 bytes.
pub(super) const WIDE_ROWS: usize = 4;

/// A cache line of words, aligned as one: what lies across two lines is twice as slow, and the stack begins anywhere.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Words(pub(super) [u64; WORDS_MAX]);

pub(super) const ZEROS: Words = Words([0; WORDS_MAX]);

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

/// Columns that are moved together, as the words of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundle {
    /// Words of a row: 2, 4 or 8.
    pub(super) words: usize,
    /// Of which columns.
    columns: [Part<usize>; WORDS_MAX],
    /// Where these begin in a chunk.
    pub(super) offsets: [Part<usize>; WORDS_MAX],
}

/// Where the values of the columns are, by words of the row; no alignment is asked for.
pub(super) type Sources = [Part<*const u8>; WORDS_MAX];

impl Bundle {
    /// The columns of 16, 8 and 4 bytes in as few bundles as there may be, but for a last word that would be one alone; `widths`: of each column,
    /// 0 for one that is to be in none.
    pub(super) fn of_widths(widths: &[usize]) -> Vec<Bundle> {
        let of_width = |width: usize| (0..widths.len()).filter(move |column| widths[*column] == width);
        let mut whole: Vec<Part<usize>> = of_width(16)
            .flat_map(|column| [Part::Wide(column), Part::Nothing])
            .chain(of_width(8).map(Part::Word))
            .collect();
        let mut bundles: Vec<Vec<Part<usize>>> = Vec::new();
        while whole.len() > WORDS_MAX / 2 {
            bundles.push(whole.drain(..whole.len().min(WORDS_MAX)).collect());
        }
        // Halves are not among eight words, whose tile has half a line of each.
        let halves: Vec<usize> = of_width(4).collect();
        whole.extend(halves.chunks(2).map(|pair| Part::Halves(pair[0], pair.get(1).copied())));
        bundles.extend(whole.chunks(WORDS_MAX / 2).filter(|parts| parts.len() > 1).map(<[_]>::to_vec));
        let bundle = |parts: Vec<Part<usize>>| {
            let mut columns = [Part::Nothing; WORDS_MAX];
            columns[..parts.len()].copy_from_slice(&parts);
            Bundle { words: parts.len().next_power_of_two(), columns, offsets: [Part::Nothing; WORDS_MAX] }
        };
        bundles.into_iter().map(bundle).collect()
    }

    /// The same, where its columns begin in a chunk.
    ///
    /// # Panics
    /// If one does not begin at a multiple of 64.
    pub(super) fn at(self, start: impl Fn(usize) -> usize) -> Bundle {
        let start = |column: usize| {
            assert!(start(column).is_multiple_of(LINE_BYTES), "columns begin with a line");
            start(column)
        };
        Bundle { offsets: self.columns.map(|part| part.map(start)), ..self }
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

    /// Bytes of a row.
    pub(super) fn row_bytes(&self) -> usize {
        8 * self.words
    }

    /// Rows that leave together where lines are put together of rows: as many as give each column whole ones.
    pub(super) fn leaving_rows(&self) -> usize {
        let is_any = |of: fn(&Part<usize>) -> bool| self.columns.iter().any(of);
        if is_any(|part| matches!(part, Part::Halves(..))) {
            2 * TURNED_ROWS
        } else if is_any(|part| matches!(part, Part::Word(_))) {
            TURNED_ROWS
        } else {
            WIDE_ROWS
        }
    }

    /// Bytes of what waits until so many are there.
    pub(super) fn rest_bytes(&self) -> usize {
        self.leaving_rows() * self.row_bytes()
    }

    /// Writes rows of a group to their places, value by value; `words`: those of the rows, one behind the other.
    ///
    /// # Safety
    /// Each column is writable behind `start` for these rows.
    pub(super) unsafe fn write_rows(&self, words: &[u64], start: *mut u8, rows: Range<usize>) {
        for (row, words) in rows.zip(words.chunks_exact(self.words)) {
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

    /// Hands the words of each row to `to`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`; a value of each row is readable at every source; what `to` asks for.
    #[inline(always)]
    pub(super) unsafe fn each_row<V: Vector, T: TakeRow>(&self, sources: &Sources, groups: &[u8], to: &mut T) {
        // SAFETY: the caller's promise, for rows of so many words.
        unsafe {
            match self.words {
                2 => each_row::<V, T, 2>(sources, groups, to),
                4 => each_row::<V, T, 4>(sources, groups, to),
                8 => each_row::<V, T, 8>(sources, groups, to),
                words => unreachable!("no row has {words} words"),
            }
        }
    }
}

/// Where rows go. A trait, as a closure is not compiled for the instructions of who calls it.
pub(super) trait TakeRow {
    /// Takes the words of the next row, of this group.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, `W` words are readable, and there is room for the row.
    unsafe fn take<V: Vector, const W: usize>(&mut self, words: *const u64, group: u8);
}

/// # Safety
/// As [`Bundle::each_row`], for rows of `W` words.
#[inline(always)]
unsafe fn each_row<V: Vector, T: TakeRow, const W: usize>(sources: &Sources, groups: &[u8], to: &mut T) {
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
                unsafe { to.take::<V, W>(line.0.as_ptr().add(eight * W), *group) };
            }
        }
    }
    for (row, group) in groups.iter().enumerate().skip(whole) {
        // SAFETY: a value of this row is there.
        unsafe {
            let words = words_of_row(sources, row);
            to.take::<V, W>(words.0.as_ptr(), *group);
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
        let at = source.map(|from| from.wrapping_byte_add(ASKED_BYTES));
        match at {
            Part::Nothing => {}
            Part::Word(from) => ask_for_line(from.cast::<u64>().wrapping_add(row).cast()),
            Part::Wide(from) => {
                ask_for_line(from.cast::<u128>().wrapping_add(row).cast());
                ask_for_line(from.cast::<u128>().wrapping_add(row + 4).cast());
            }
            Part::Halves(low, high) => {
                ask_for_line(low.cast::<u32>().wrapping_add(row).cast());
                if let Some(high) = high {
                    ask_for_line(high.cast::<u32>().wrapping_add(row).cast());
                }
            }
        }
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
