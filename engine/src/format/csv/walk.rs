//! Where the fields of records stand.
//!
//! In: a text, from the start of a record on. Out: the places of fields, record by record. Never: looks at a byte that is no comma, quote or
//! end of a line more than once.
//!
//! Sixty-four bytes at a time are asked for the four that matter, without a branch; only where one was found it is looked at.

use crate::format::{
    cells::{Cell, Look},
    records::{Found, Stretch},
};

/// Bytes that are asked at once: as many as a word has bits.
const BLOCK_BYTES: usize = 64;

/// The record that is being walked over.
struct Walk {
    start: usize,
    /// Of the field.
    field_start: usize,
    /// Number of the field.
    column: usize,
    /// The field began with a quote.
    is_quoted: bool,
    /// That quote is not closed yet.
    is_open: bool,
    /// Where the quotes of the field were closed last.
    closed: Option<usize>,
    /// Some quote in it was doubled.
    is_doubled: bool,
    /// A quote that belongs to the one before it.
    second: usize,
}

/// Finds the fields of the next records, each of `columns`. Where the next record starts; and whether it has another number of fields.
pub(super) fn walk(stretch: &Stretch<'_>, columns: usize, found: &mut Found) -> (usize, bool) {
    let Stretch { text, next, starts_end, is_last, rows_max } = *stretch;
    let mut walk = Walk::new(next);
    let mut at = next;
    while at < text.len() {
        let mut hits = match text.get(at..at + BLOCK_BYTES).and_then(|block| block.try_into().ok()) {
            Some(block) => hits(block),
            None => {
                // The last bytes of the text, with others behind them that do not matter.
                let mut block = [0; BLOCK_BYTES];
                block[..text.len() - at].copy_from_slice(&text[at..]);
                hits(&block)
            }
        };
        while hits != 0 {
            let place = at + hits.trailing_zeros() as usize;
            hits &= hits - 1;
            match text[place] {
                b'"' => walk.quote(text, place),
                _ if walk.is_open => {}
                b',' => {
                    if walk.column + 1 >= columns {
                        return (walk.start, true);
                    }
                    walk.end_field(place, found);
                }
                _ => {
                    if !walk.is_blank(place) {
                        if walk.column + 1 != columns {
                            return (walk.start, true);
                        }
                        walk.end_field(place, found);
                        found.row_starts.push(walk.start);
                    }
                    walk = Walk::new(place + 1);
                    if found.row_starts.len() >= rows_max || place + 1 >= starts_end {
                        return (place + 1, false);
                    }
                }
            }
        }
        at += BLOCK_BYTES;
    }
    // The last record needs no end.
    if is_last && !walk.is_blank(text.len()) {
        if walk.column + 1 != columns {
            return (walk.start, true);
        }
        walk.end_field(text.len(), found);
        found.row_starts.push(walk.start);
        return (text.len(), false);
    }
    (if is_last { text.len() } else { walk.start }, false)
}

/// A bit for each byte, the first lowest: set for one of the four.
#[inline]
fn hits(block: &[u8; BLOCK_BYTES]) -> u64 {
    // The compiler makes compares of whole vectors of this.
    let mut flags = [0u8; BLOCK_BYTES];
    for (flag, byte) in flags.iter_mut().zip(block) {
        *flag = u8::from(*byte == b',') | u8::from(*byte == b'"') | u8::from(*byte == b'\n') | u8::from(*byte == b'\r');
    }
    let (words, _) = flags.as_chunks::<8>();
    let mut hits = 0;
    for (number, word) in words.iter().enumerate() {
        // The lowest bits of eight bytes meet in the highest byte of the product.
        let bits = u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        hits |= bits << (8 * number);
    }
    hits
}

impl Walk {
    fn new(start: usize) -> Walk {
        Walk {
            start,
            field_start: start,
            column: 0,
            is_quoted: false,
            is_open: false,
            closed: None,
            is_doubled: false,
            second: usize::MAX,
        }
    }

    /// The record has nothing in it, and ends at `place`.
    #[inline]
    fn is_blank(&self, place: usize) -> bool {
        place == self.start
    }

    #[inline]
    fn quote(&mut self, text: &[u8], place: usize) {
        if place == self.second {
            return;
        }
        if !self.is_open {
            self.is_open = place == self.field_start;
            self.is_quoted |= self.is_open;
        } else if text.get(place + 1) == Some(&b'"') {
            self.is_doubled = true;
            self.second = place + 1;
        } else {
            self.is_open = false;
            self.closed = Some(place);
        }
    }

    #[inline]
    fn end_field(&mut self, place: usize, found: &mut Found) {
        let cell = if self.is_quoted { self.quoted(place) } else { Cell::new(Look::Text, self.field_start, place) };
        found.grid.put(found.row_starts.len(), self.column as u32, cell);
        self.column += 1;
        self.field_start = place + 1;
    }

    /// The field that began with a quote and ends at `place`.
    fn quoted(&mut self, place: usize) -> Cell {
        // Nothing in quotes keeps them: it is a text, where nothing at all is NULL.
        let is_plain =
            self.closed.is_some_and(|closed| closed + 1 == place && closed > self.field_start + 1) && !self.is_doubled;
        self.is_quoted = false;
        self.is_open = false;
        self.closed = None;
        if is_plain {
            return Cell::new(Look::Text, self.field_start + 1, place - 1);
        }
        self.is_doubled = false;
        Cell::new(Look::Escaped, self.field_start, place)
    }
}
