//! A statement's text with its tokens and their places.
//!
//! In: text; lines and columns as the parser and DataFusion count them. Out: byte ranges, [`Place`]s. Never: a place outside of the
//! text, or inside a character.

use std::ops::Range;

use datafusion_common::Span;
use datafusion_sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

use super::SqlError;
use crate::{
    error::{Place, Result},
    limits::SQL_BYTES_MAX,
};

/// The dialect that is read: DataFusion's default, near to PostgreSQL's and DuckDB's.
pub(super) const DIALECT: GenericDialect = GenericDialect {};

/// A text, cut into tokens.
pub(super) struct Text<'a> {
    text: &'a str,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    tokens: Vec<TokenWithSpan>,
}

impl<'a> Text<'a> {
    /// Cuts `text` into tokens.
    pub(super) fn new(text: &'a str) -> Result<Text<'a>> {
        if text.len() > SQL_BYTES_MAX {
            return Err(SqlError::TooLong { bytes: text.len(), bytes_max: SQL_BYTES_MAX }.into());
        }
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut this = Text { text, lines, tokens: Vec::new() };
        match Tokenizer::new(&DIALECT, text).tokenize_with_location() {
            Ok(tokens) => this.tokens = tokens,
            Err(error) => {
                let at = this.offset(error.location);
                let place = Some(this.place(at..text.len().min(at + 1), "here"));
                return Err(SqlError::Token { place, source: error }.into());
            }
        }
        Ok(this)
    }

    /// The whole text.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The tokens, white space and comments among them.
    pub(super) fn tokens(&self) -> &[TokenWithSpan] {
        &self.tokens
    }

    /// The tokens that say something.
    pub(super) fn words(&self) -> impl Iterator<Item = &TokenWithSpan> {
        self.tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
    }

    /// The bytes of a token.
    pub(super) fn range(&self, token: &TokenWithSpan) -> Range<usize> {
        let start = self.offset(token.span.start);
        start..self.offset(token.span.end).max(start)
    }

    /// The byte at a line and column, both counted from 1, the column in characters.
    pub(super) fn offset(&self, location: Location) -> usize {
        let Some(line) = usize::try_from(location.line).ok().and_then(|line| line.checked_sub(1)) else {
            return self.text.len();
        };
        let Some(start) = self.lines.get(line) else { return self.text.len() };
        let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
        let rest = &self.text[*start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }

    /// The place of a token, or of the end of the text where no token is.
    pub(super) fn place_at(&self, offset: usize, label: &str) -> Place {
        let token = self.words().map(|token| self.range(token)).find(|range| range.contains(&offset));
        self.place(token.unwrap_or(offset..offset), label)
    }

    /// A place of DataFusion's.
    pub(super) fn place_of(&self, span: Span, label: &str) -> Place {
        let at = |location: datafusion_common::Location| {
            self.offset(Location { line: location.line, column: location.column })
        };
        let start = at(span.start);
        self.place(start..at(span.end).max(start), label)
    }

    /// The first place where one of `words` stands: a keyword, a name, or an operator.
    pub(super) fn find(&self, words: &[&str], label: &str) -> Option<Place> {
        let wanted = |token: &Token| {
            let text = match token {
                Token::Word(word) => word.value.clone(),
                Token::SingleQuotedString(text) => text.clone(),
                other => other.to_string(),
            };
            words.iter().any(|word| word.eq_ignore_ascii_case(&text))
        };
        self.words().find(|token| wanted(&token.token)).map(|token| self.place(self.range(token), label))
    }

    /// A range of bytes as a place.
    pub(super) fn place(&self, range: Range<usize>, label: &str) -> Place {
        Place { text: self.text.to_owned(), range, label: label.to_owned() }
    }

    /// What `words` name is not supported, where they stand.
    pub(super) fn unsupported(&self, what: impl Into<String>, words: &[&str]) -> SqlError {
        SqlError::Unsupported { what: what.into(), place: self.find(words, "not supported") }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn finds_places_in_lines_of_many_byte_characters() {
        let text = Text::new("select 'äöü€',\r\n  \"Größe\" -- größe\n  from t").unwrap();
        let at = |word: &str| text.find(&[word], "").map(|place| place.text[place.range].to_owned());
        assert_eq!(at("größe").unwrap(), "\"Größe\"");
        assert_eq!(at("FROM").unwrap(), "from");
        assert_eq!(at("äöü€").unwrap(), "'äöü€'");
        assert_eq!(at(",").unwrap(), ",");
        assert_eq!(at("t").unwrap(), "t");
        assert_eq!(at("u"), None);
        assert_eq!(text.offset(Location { line: 99, column: 1 }), text.text().len());
    }
}
