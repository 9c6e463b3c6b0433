//! Which column a key names, mostly without a search: keys follow each other as they did in the lines before.
//!
//! In: a line and the place of a key in it. Out: the number of the key. Never: holds more keys than
//! [`limits::JSON_KEYS_MAX`](crate::limits::JSON_KEYS_MAX).
//!
//! Each key knows which one came after it the last time. Where that one does not come, the one after that is tried, as a key may be left
//! out, and then all are searched.

use std::{borrow::Cow, collections::HashMap};

use super::{values, walk::Broken, walk::string_end};
use crate::limits;

/// Keys by number, in the order in which they were first seen.
#[derive(Default)]
pub(super) struct Keys {
    keys: Vec<Key>,
    numbers: HashMap<Vec<u8>, u32>,
    /// The first of the last line.
    first: u32,
}

struct Key {
    /// As it stands in a line, quotes and all.
    quoted: Vec<u8>,
    /// The same as a number, and which bytes of sixteen count, if it is that short.
    word: Option<(u128, u128)>,
    /// The key that came after it.
    after: u32,
}

impl Keys {
    /// `names` are numbered from 0 on.
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Keys {
        let mut keys = Keys::default();
        for name in names {
            keys.add(name.as_bytes());
        }
        keys
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The names, in order of their numbers.
    pub(super) fn names(&self) -> Vec<Vec<u8>> {
        let mut names = vec![Vec::new(); self.keys.len()];
        self.numbers.iter().for_each(|(name, number)| names[*number as usize] = name.clone());
        names
    }

    /// The number of the key that begins with the quote at `at`, and where it ends. `before` is the key before it in the line. One that
    /// was not known gets the next number; `None` if there are too many.
    #[inline]
    pub(super) fn find(&mut self, line: &[u8], at: usize, before: Option<u32>) -> Result<(Option<u32>, usize), Broken> {
        let mut guess = before.map_or(self.first, |before| self.keys.get(before as usize).map_or(0, |key| key.after));
        for _ in 0..2 {
            let Some(key) = self.keys.get(guess as usize) else { break };
            if key.is_at(line, at) {
                let end = at + key.quoted.len();
                self.follows(before, guess);
                return Ok((Some(guess), end));
            }
            guess = key.after;
        }
        self.search(line, at, before)
    }

    #[inline]
    fn follows(&mut self, before: Option<u32>, key: u32) {
        match before.and_then(|before| self.keys.get_mut(before as usize)) {
            Some(before) => before.after = key,
            None => self.first = key,
        }
    }

    #[cold]
    fn search(&mut self, line: &[u8], at: usize, before: Option<u32>) -> Result<(Option<u32>, usize), Broken> {
        if line.get(at) != Some(&b'"') {
            return Err(Broken { at, expected: "a key in quotes" });
        }
        let (end, is_escaped) = string_end(line, at + 1)?;
        let raw = &line[at + 1..end];
        let mut name = Cow::Borrowed(raw);
        if is_escaped {
            let mut made = Vec::new();
            values::unescape(raw, &mut made).map_err(|_| Broken { at, expected: "a key with valid escapes" })?;
            name = Cow::Owned(made);
        }
        let number = self.add(&name);
        if let Some(number) = number {
            self.follows(before, number);
        }
        Ok((number, end + 1))
    }

    /// The number of the key `name`, perhaps a new one; `None` if there are too many.
    fn add(&mut self, name: &[u8]) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        if self.keys.len() >= limits::JSON_KEYS_MAX {
            return None;
        }
        let number = self.keys.len() as u32;
        self.keys.push(Key::new(name, number + 1));
        self.numbers.insert(name.to_vec(), number);
        Some(number)
    }
}

impl Key {
    fn new(name: &[u8], after: u32) -> Key {
        // A name that can only be written with escapes is never found so, but by search.
        let quoted = [b"\"", name, b"\""].concat();
        let word = (quoted.len() <= 16).then(|| {
            let mut bytes = [0; 16];
            bytes[..quoted.len()].copy_from_slice(&quoted);
            (u128::from_le_bytes(bytes), u128::MAX >> (128 - 8 * quoted.len()))
        });
        let is_plain = !name.iter().any(|byte| matches!(byte, b'"' | b'\\'));
        // No line has a newline.
        if is_plain { Key { quoted, word, after } } else { Key { quoted: b"\n".to_vec(), word: None, after } }
    }

    #[inline]
    fn is_at(&self, line: &[u8], at: usize) -> bool {
        if let (Some((word, counts)), Some(window)) = (self.word, line.get(at..at + 16))
            && let Ok(window) = <[u8; 16]>::try_from(window)
        {
            return u128::from_le_bytes(window) & counts == word;
        }
        line.get(at..).is_some_and(|rest| rest.starts_with(&self.quoted))
    }
}
