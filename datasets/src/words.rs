//! Text for word counting: lines of words, few of them frequent and most of them rare, as in a language.
//!
//! In: a size and a seed. Out: a file of exactly that size. Never: other bytes for the same size and seed (a golden
//! test holds it); a longer text with the same seed goes on where the shorter one was cut.
//!
//! The vocabulary is the same for every seed, so that files made with several seeds count the same words: 50,000 words
//! of 2 to 12 letters, frequent ones shorter, about 4.7 letters a word of text as in English, consonants and vowels in
//! turn. The k-th word has a share of the text proportional to 1 / k (Zipf's law). A line has 8 to 16 words, each
//! number as likely as another.
//!
//! Two tricks make the loop fast: a word is drawn with one random number and one look into an alias table; and it lies
//! with its space in a slot of 16 bytes that is always copied whole, the next word overwriting what was too much.

use std::{collections::HashSet, fs::File, io::Write, path::PathBuf};

use crate::{
    error::DatasetError,
    output::{Output, Written},
    random::SplitMix64,
    zipf::Zipf,
};

/// What text to write, and where.
#[derive(Clone, Debug)]
pub struct TextOptions {
    /// Size of the file in bytes, exact; 0 gives an empty file.
    pub bytes: u64,
    /// Chooses the words; all values are good.
    pub seed: u64,
    /// The file; its folder is made if it is missing.
    pub out: PathBuf,
    /// Whether a file in that place is replaced instead of refused.
    pub overwrite: bool,
}

/// Writes a text of Zipf-distributed words: lower-case ASCII letters, single spaces, every line ended by `\n`; `rows`
/// of the result are its lines. The last line is cut to fit the size: it may have fewer words, end in a part of a word
/// or in a space, or have no letter at all. Works on the calling thread, in about 4 MiB of memory.
///
/// # Errors
/// [`DatasetError::Exists`] and the errors of files and folders; the output is then as it was before.
pub fn write_text(options: &TextOptions) -> Result<Written, DatasetError> {
    let (output, mut file) = Output::create(&options.out, options.overwrite)?;
    let lines = generate(options.bytes, options.seed, &mut file)
        .map_err(|source| DatasetError::Write { path: output.path().into(), source })?;
    drop(file);
    output.publish(lines)
}

const VOCABULARY_WORDS: u32 = 50_000;
/// Any number does; this one is kept forever.
const VOCABULARY_SEED: u64 = 0x77_6f_72_64_73; // "words"
const WORD_LETTERS_MAX: usize = 12;
const LINE_WORDS_MIN: u32 = 8;
const LINE_WORDS_MAX: u32 = 16;

/// A word with its space, then anything, then in the last byte how many bytes word and space have.
type Slot = [u8; SLOT_BYTES];
const SLOT_BYTES: usize = 16;
const _: () = assert!(WORD_LETTERS_MAX + 1 < SLOT_BYTES);

/// Room that a line may touch: its words and spaces, and the useless rest of its last slot.
const LINE_BYTES_MAX: usize = LINE_WORDS_MAX as usize * (WORD_LETTERS_MAX + 1) + SLOT_BYTES;
/// A buffer that stays in the second-level cache and makes system calls rare.
const BUFFER_BYTES: usize = 256 << 10;
const _: () = assert!(BUFFER_BYTES > LINE_BYTES_MAX);

/// Writes the text to `file` and returns its number of lines.
fn generate(bytes: u64, seed: u64, file: &mut File) -> std::io::Result<u64> {
    let (vocabulary, zipf) = (vocabulary(), Zipf::new(VOCABULARY_WORDS));
    let (mut random, mut buffer) = (SplitMix64::new(seed), vec![0; BUFFER_BYTES]);
    let (mut bytes_left, mut lines) = (bytes, 0);
    while bytes_left > 0 {
        let (mut filled, mut filled_lines) = fill(&mut random, &zipf, &vocabulary, &mut buffer);
        if filled as u64 >= bytes_left {
            // Lossless: not more than what fits into the buffer.
            filled = bytes_left as usize;
            buffer[filled - 1] = b'\n';
            filled_lines = buffer[..filled].iter().filter(|&&byte| byte == b'\n').count() as u64;
        }
        file.write_all(&buffer[..filled])?;
        bytes_left -= filled as u64;
        lines += filled_lines;
    }
    Ok(lines)
}

/// Fills `buffer` from its start with whole lines, as many as surely fit; returns their bytes and their number.
fn fill(random: &mut SplitMix64, zipf: &Zipf, vocabulary: &[Slot], buffer: &mut [u8]) -> (usize, u64) {
    let (mut at, mut lines) = (0, 0);
    while at + LINE_BYTES_MAX <= buffer.len() {
        let words = LINE_WORDS_MIN + random.draw_below(LINE_WORDS_MAX - LINE_WORDS_MIN + 1);
        for _ in 0..words {
            let slot = &vocabulary[zipf.rank(random.draw())];
            buffer[at..at + SLOT_BYTES].copy_from_slice(slot);
            at += usize::from(slot[SLOT_BYTES - 1]);
        }
        buffer[at - 1] = b'\n'; // in the place of the last word's space
        lines += 1;
    }
    (at, lines)
}

/// The words by rank, the most frequent first, no two the same.
fn vocabulary() -> Vec<Slot> {
    let mut random = SplitMix64::new(VOCABULARY_SEED);
    let mut seen = HashSet::new();
    let mut words = Vec::with_capacity(VOCABULARY_WORDS as usize);
    for rank in 0..VOCABULARY_WORDS {
        // Tried again until it is new: of the shortest there are 210, and the ranks below 64 do not use them up.
        let word = loop {
            let word = word(letters(rank, &mut random), &mut random);
            if seen.insert(word) {
                break word;
            }
        };
        words.push(word);
    }
    words
}

/// How many letters a word has: more the rarer it is. The bounds are chosen so that a word of text has about 4.7 on
/// average.
fn letters(rank: u32, random: &mut SplitMix64) -> usize {
    let (min, max) = match rank {
        0..8 => (2, 3),
        8..64 => (2, 5),
        64..512 => (3, 5),
        512..4_096 => (3, 8),
        _ => (4, WORD_LETTERS_MAX as u32),
    };
    (min + random.draw_below(max - min + 1)) as usize
}

fn word(letters: usize, random: &mut SplitMix64) -> Slot {
    const CONSONANTS: &[u8; 21] = b"bcdfghjklmnpqrstvwxyz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let mut slot = [b' '; SLOT_BYTES];
    let vowel_turn = random.draw_below(2) as usize;
    for (at, letter) in slot[..letters].iter_mut().enumerate() {
        *letter = if at % 2 == vowel_turn {
            VOWELS[random.draw_below(VOWELS.len() as u32) as usize]
        } else {
            CONSONANTS[random.draw_below(CONSONANTS.len() as u32) as usize]
        };
    }
    slot[SLOT_BYTES - 1] = letters as u8 + 1;
    slot
}
