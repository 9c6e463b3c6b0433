//! Lines cut into what is in them: words, matches.
//!
//! In: a column of strings. Out: a row for each word, each match. Never: a closure call, or a copy, for each of them: a column of lines is cut at once
//! (`kernel/tokens.rs`).
//!
//! A pattern is looked for in the bytes that the lines of a batch have in common, and not line by line: most lines have no match, and what it costs to
//! begin a search would be paid for each. What is found there only names the next line that may have a match; the matches are those of the line
//! alone. Patterns that look around (`^`, `\b`) see a line's borders, so for them each line is searched.

use std::{panic::Location, sync::Arc};

use regex::Regex;
use regex_syntax::hir::Hir;

use super::{error::DatasetError, flow::Dataset, map::Emitter, record::schema_of};
use crate::{
    batch::{
        Batch,
        array::{Array, AsArray, StringViewArray},
    },
    error::{Result, bug},
    kernel::Tokens,
};

/// Words of a batch: their views stay in L2 until they are grouped.
const WORDS_PER_BATCH: usize = 8 << 10;

impl Dataset<String> {
    /// The words of each string: what stands between ASCII white space.
    #[track_caller]
    pub fn words(self) -> Dataset<String> {
        let output = schema_of::<String>();
        let rows_max = self.session().settings().rows_per_morsel.min(WORDS_PER_BATCH);
        self.through(Location::caller(), Arc::clone(&output), move |batch, emit| {
            Tokens::new(rows_max)
                .split(strings(batch)?, |words| emit(Batch::try_new(Arc::clone(&output), vec![Arc::new(words)])?))
        })
    }

    /// The matches of a regular expression in each string, from left to right, none within another: `lines.matches("ab[a-z]*z")?`.
    #[track_caller]
    pub fn matches(self, pattern: &str) -> Result<Dataset<String>> {
        let wrong = |source| DatasetError::Pattern { pattern: pattern.to_owned(), source };
        let (regex, bytes) = (Regex::new(pattern).map_err(wrong)?, regex::bytes::Regex::new(pattern).map_err(wrong)?);
        let syntax = regex_syntax::parse(pattern).map_err(|source| wrong(regex::Error::Syntax(source.to_string())))?;
        let looks_around = !Hir::properties(&syntax).look_set().is_empty();
        let output = schema_of::<String>();
        let rows_max = self.session().settings().rows_per_morsel;
        Ok(self.through(Location::caller(), Arc::clone(&output), move |batch, emit| {
            let lines = strings(batch)?;
            let mut emitter: Emitter<'_, String> = Emitter::new(emit, &output, rows_max);
            let mut line = |text: &str| regex.find_iter(text).for_each(|found| emitter.push(found.as_str()));
            match lines.data_buffers() {
                [text] if !looks_around && is_ascending(lines) => in_common(lines, text, &bytes, &mut line),
                _ => lines.iter().flatten().for_each(line),
            }
            emitter.finish()
        }))
    }
}

fn strings(batch: &Batch) -> Result<&StringViewArray> {
    batch.column(0).as_string_view_opt().ok_or_else(|| bug("dataset", "strings that are no column of views"))
}

/// Bytes that a view holds itself.
const INLINE_BYTES_MAX: u32 = 12;

/// Where a long string stands; none for one that its view holds.
fn place_of(view: u128) -> Option<(usize, usize)> {
    let (length, start) = (view as u32, (view >> 96) as usize);
    (length > INLINE_BYTES_MAX).then_some((start, start + length as usize))
}

/// Whether long lines stand in their order, none within another, and none is NULL.
fn is_ascending(lines: &StringViewArray) -> bool {
    let mut end = 0;
    let mut is_behind = |(start, next)| {
        let is_behind = start >= end;
        end = next;
        is_behind
    };
    lines.null_count() == 0 && lines.views().iter().filter_map(|view| place_of(*view)).all(&mut is_behind)
}

/// Calls `line` for each line that may have a match. Long lines stand in `text` in their order.
fn in_common(lines: &StringViewArray, text: &[u8], pattern: &regex::bytes::Regex, line: &mut impl FnMut(&str)) {
    let last = lines.views().iter().rev().find_map(|view| place_of(*view)).map_or(0, |(_, end)| end);
    let mut found = 0;
    // Nothing before it has a match that was not looked for.
    let mut from = lines.views().iter().find_map(|view| place_of(*view)).map(|(start, _)| start);
    for (row, view) in lines.views().iter().enumerate() {
        let Some((start, end)) = place_of(*view) else {
            line(lines.value(row));
            continue;
        };
        if let Some(before) = from.filter(|before| *before <= start) {
            match pattern.find_at(&text[..last], before) {
                Some(next) => found = next.start(),
                None => found = usize::MAX,
            }
            from = None;
        }
        if found >= end {
            continue;
        }
        // What begins before it and goes beyond a line's end is no match of any line; this one may have one all the same.
        line(lines.value(row));
        from = Some(end);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;

    proptest! {
        #![proptest_config(cases(300))]

        #[test]
        fn lines_without_a_match_are_left_out_and_no_others(
            texts in prop::collection::vec("[ab]{0,3}|[abc]{12,20}", 0..40),
            pattern in prop::sample::select(vec!["a", "ab", "a[^b]*b", "c+", "b[^a]{3,9}a", "[^c]*", "(a|b)c"]),
        ) {
            // As a reader of text makes them: the long ones one behind the other in one buffer, with the newlines between.
            let text = texts.join("\n");
            let mut start = 0;
            let views = texts.iter().map(|line| {
                let view = crate::batch::array::make_view(line.as_bytes(), 0, start as u32);
                start += line.len() + 1;
                view
            });
            let views: Vec<u128> = views.collect();
            let buffer = crate::batch::buffer::Buffer::from(text.as_bytes());
            let lines = StringViewArray::try_new(views.into(), vec![buffer], None).unwrap();
            prop_assert!(is_ascending(&lines));
            let regex = Regex::new(pattern).unwrap();
            let matches = |line: &str| regex.find_iter(line).map(|found| found.as_str().to_owned()).collect::<Vec<_>>();
            let mut found = Vec::new();
            let bytes = regex::bytes::Regex::new(pattern).unwrap();
            in_common(&lines, text.as_bytes(), &bytes, &mut |line| found.extend(matches(line)));
            let expected: Vec<String> = texts.iter().flat_map(|line| matches(line)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
