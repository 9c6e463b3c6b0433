//! Text becomes statements, and a statement a tree.
//!
//! In: a script, or one statement's text. Out: the statements with their places; the tree of one. Never: overflows a stack: nesting
//! and chains are counted before anything recurses over them.
//!
//! What cannot be run at all (DISTINCT ON, statements that change something) is refused here, where its place is known.

use std::ops::Range;

use datafusion_sql::sqlparser::{
    ast,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan},
};

use super::{
    SqlError, copy,
    error::lower,
    text::{DIALECT, Text},
};
use crate::error::{Place, Result};

/// Deepest nesting of parentheses and subqueries; the parser and the planner recurse over it. Twice and more what people write.
const NESTING_MAX: usize = 128;
/// Longest chain of AND or OR at one level: a tree of that depth in DataFusion, of which each level takes at most some kilobytes of
/// the planning thread's stack, and a tree of little depth in ours.
pub(super) const TERMS_MAX: usize = 2_000;
/// Longest chain of other operators at one level: below `limits::PLAN_DEPTH_MAX`, and DataFusion's work grows with its square.
const OPERATORS_MAX: usize = 500;
/// Longest chain of tables, joins and unions at one level: below `limits::PLAN_DEPTH_MAX`, because each becomes an operator over the
/// ones before, whose schemas DataFusion keeps all.
const RELATIONS_MAX: usize = 500;

/// One statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text, without the semicolon.
    pub text: String,
    /// Where it stands in the script, in bytes.
    pub place: Range<usize>,
}

/// The statements of a script, in order; comments before and after one do not belong to it.
pub fn statements(script: &str) -> Result<Vec<Statement>> {
    let text = Text::new(script)?;
    let (mut found, mut current): (Vec<Statement>, Option<Range<usize>>) = (Vec::new(), None);
    let mut close = |current: &mut Option<Range<usize>>| {
        if let Some(place) = current.take() {
            found.push(Statement { text: script[place.clone()].to_owned(), place });
        }
    };
    for token in text.words() {
        if token.token == Token::SemiColon {
            close(&mut current);
            continue;
        }
        let range = text.range(token);
        current = Some(current.map_or(range.start, |current| current.start)..range.end);
    }
    close(&mut current);
    Ok(found)
}

/// A statement.
pub(super) struct Parsed {
    pub(super) query: Box<ast::Statement>,
    /// Where its rows go, if they are copied.
    pub(super) copy: Option<copy::Copy>,
    pub(super) asks: Asks,
}

/// What a statement asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// That it is run.
    Run,
    /// Its plan, drawn.
    Explain,
    /// That it is run, and its plan drawn with what was counted.
    ExplainAnalyze,
}

/// The tree of the one statement in `text`.
pub(super) fn parse(text: &Text<'_>) -> Result<Parsed> {
    check_chains(text)?;
    refuse_words(text)?;
    refuse_loose_distinct(text)?;
    let mut parser =
        Parser::new(&DIALECT).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(text.tokens().to_vec());
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token().token == Token::EOF {
        return Err(SqlError::Empty.into());
    }
    let parsed = match copies(&mut parser) {
        Some(asks) => {
            let (query, copy) = copy::parse(&mut parser, text)?;
            Parsed { query, copy: Some(copy), asks }
        }
        None => classify(parser.parse_statement().map_err(|error| syntax(error, text))?, text)?,
    };
    let mut next = parser.peek_token();
    if next.token == Token::SemiColon {
        while parser.consume_token(&Token::SemiColon) {}
        next = parser.peek_token();
        if next.token != Token::EOF {
            return Err(SqlError::Several { place: Some(text.place(text.range(&next), "begins here")) }.into());
        }
    }
    if next.token != Token::EOF {
        let place = Some(text.place(text.range(&next), "unexpected"));
        let expected = format!("expected the end of the statement, found {}", next.token);
        let source = ParserError::ParserError(expected.clone());
        return Err(SqlError::Syntax { expected, place, source }.into());
    }
    Ok(parsed)
}

/// Passes over `COPY`, `EXPLAIN COPY` or `EXPLAIN ANALYZE COPY`, if that is how the statement begins.
fn copies(parser: &mut Parser<'_>) -> Option<Asks> {
    let keyword = |place: usize| match parser.peek_nth_token(place).token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let (words, asks) = match [keyword(0), keyword(1), keyword(2)] {
        [Keyword::COPY, ..] => (1, Asks::Run),
        [Keyword::EXPLAIN, Keyword::COPY, _] => (2, Asks::Explain),
        [Keyword::EXPLAIN, Keyword::ANALYZE, Keyword::COPY] => (3, Asks::ExplainAnalyze),
        _ => return None,
    };
    (0..words).for_each(|_| drop(parser.next_token()));
    Some(asks)
}

fn classify(statement: ast::Statement, text: &Text<'_>) -> Result<Parsed> {
    match statement {
        ast::Statement::Query(_) => Ok(Parsed { query: Box::new(statement), copy: None, asks: Asks::Run }),
        ast::Statement::Explain { statement, analyze, .. } if matches!(*statement, ast::Statement::Query(_)) => {
            let asks = if analyze { Asks::ExplainAnalyze } else { Asks::Explain };
            Ok(Parsed { query: statement, copy: None, asks })
        }
        _ => {
            let first = text.words().find(|token| token.token != Token::SemiColon);
            let what = first.map_or_else(String::new, |token| token.token.to_string().to_uppercase());
            let place = first.map(|token| text.place(text.range(token), "not supported"));
            Err(SqlError::Unsupported { what: format!("the statement {what}"), place }.into())
        }
    }
}

/// The parser's error with its place, which it writes only into its sentence.
pub(super) fn syntax(error: ParserError, text: &Text<'_>) -> SqlError {
    let said = match &error {
        ParserError::RecursionLimitExceeded => {
            return SqlError::TooDeep { what: "parentheses or subqueries", depth_max: NESTING_MAX, place: None };
        }
        ParserError::TokenizerError(said) | ParserError::ParserError(said) => said.clone(),
    };
    let (said, place) = match said.rsplit_once(" at Line: ") {
        Some((before, location)) => (before.to_owned(), place_of(location, text)),
        None => (said, None),
    };
    let end = || Some(text.place(text.text().len()..text.text().len(), "the text ends here"));
    let expected = lower(&said.replace("Expected: ", "expected ").replace("found: EOF", "found the end of the text"));
    SqlError::Syntax { expected: expected.replace("found: ", "found "), place: place.or_else(end), source: error }
}

/// The place of `3, Column: 14`.
fn place_of(location: &str, text: &Text<'_>) -> Option<Place> {
    let (line, column) = location.split_once(", Column: ")?;
    let location = datafusion_sql::sqlparser::tokenizer::Location {
        line: line.trim().parse().ok()?,
        column: column.trim().parse().ok()?,
    };
    Some(text.place_at(text.offset(location), "unexpected"))
}

/// What was counted at one level of parentheses.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators since the last AND, OR or separator.
    operators: usize,
    /// ANDs and ORs since the last separator.
    terms: usize,
    /// Tables, joins and unions.
    relations: usize,
    /// Between FROM and the next clause.
    is_from: bool,
}

impl Level {
    fn count(&mut self, token: &Token) {
        let separate = |level: &mut Level| (level.operators, level.terms) = (0, 0);
        match token {
            Token::Comma if self.is_from => self.relations += 1,
            Token::Comma => separate(self),
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => {}
            Token::Word(word) => match word.keyword {
                Keyword::NoKeyword => {}
                Keyword::AND | Keyword::OR => (self.operators, self.terms) = (0, self.terms + 1),
                Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::JOIN => {
                    self.relations += 1;
                    separate(self);
                }
                Keyword::FROM => {
                    self.is_from = true;
                    separate(self);
                }
                Keyword::SELECT
                | Keyword::WHERE
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::ORDER
                | Keyword::LIMIT => {
                    self.is_from = false;
                    separate(self);
                }
                Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE
                | Keyword::END
                | Keyword::ON
                | Keyword::BY
                | Keyword::AS => {
                    separate(self);
                }
                _ => self.operators += 1,
            },
            _ => self.operators += 1,
        }
    }

    fn passed(self) -> Option<(&'static str, usize)> {
        if self.operators > OPERATORS_MAX {
            Some(("operators", OPERATORS_MAX))
        } else if self.terms > TERMS_MAX {
            Some(("terms of AND and OR", TERMS_MAX))
        } else if self.relations > RELATIONS_MAX {
            Some(("unions, joins or tables", RELATIONS_MAX))
        } else {
            None
        }
    }
}

/// Refuses chains that would become a tree too deep to walk.
fn check_chains(text: &Text<'_>) -> Result<()> {
    let (mut around, mut level) = (Vec::new(), Level::default());
    for token in text.words() {
        match token.token {
            Token::LParen => around.push(std::mem::take(&mut level)),
            Token::RParen => level = around.pop().unwrap_or(level),
            ref other => level.count(other),
        }
        if let Some((what, depth_max)) = level.passed() {
            let place = Some(text.place(text.range(token), "one too many"));
            return Err(SqlError::TooDeep { what, depth_max, place }.into());
        }
    }
    Ok(())
}

/// Refuses what is told by its words.
fn refuse_words(text: &Text<'_>) -> Result<()> {
    let is = |token: &TokenWithSpan, keyword| matches!(&token.token, Token::Word(word) if word.keyword == keyword);
    let mut before: Option<&TokenWithSpan> = None;
    for token in text.words() {
        let what = match before {
            Some(before) if is(before, Keyword::DISTINCT) && is(token, Keyword::ON) => "DISTINCT ON",
            Some(before) if is(before, Keyword::WITH) && is(token, Keyword::RECURSIVE) => "WITH RECURSIVE",
            // The binder would drop these without a word.
            Some(before) if is(before, Keyword::FOR) && (is(token, Keyword::UPDATE) || is(token, Keyword::SHARE)) => {
                "a lock (FOR UPDATE, FOR SHARE)"
            }
            Some(before) if before.token != Token::Period && is(token, Keyword::TABLESAMPLE) => "TABLESAMPLE",
            Some(before) if is(before, Keyword::INTERSECT) && is(token, Keyword::ALL) => "INTERSECT ALL",
            Some(before) if is(before, Keyword::EXCEPT) && is(token, Keyword::ALL) => "EXCEPT ALL",
            Some(before) if is(before, Keyword::WITH) && token.token == Token::LParen => "a table hint (WITH (…))",
            _ => {
                before = Some(token);
                continue;
            }
        };
        let place = Some(text.place(text.range(token), "not supported"));
        return Err(SqlError::Unsupported { what: what.to_owned(), place }.into());
    }
    Ok(())
}

/// `a IS DISTINCT FROM b AND c`: the parser reads `b AND c` as the right side. Until it does not, parentheses are asked for.
fn refuse_loose_distinct(text: &Text<'_>) -> Result<()> {
    let keyword = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let words: Vec<&TokenWithSpan> = text.words().collect();
    for (number, pair) in words.windows(2).enumerate() {
        let follows_is = number > 0 && matches!(keyword(words[number - 1]), Keyword::IS | Keyword::NOT);
        if !follows_is || keyword(pair[0]) != Keyword::DISTINCT || keyword(pair[1]) != Keyword::FROM {
            continue;
        }
        let mut depth = 0;
        for token in &words[number + 2..] {
            match (&token.token, keyword(token)) {
                (Token::LParen, _) => depth += 1,
                (Token::RParen, _) if depth == 0 => break,
                (Token::RParen, _) => depth -= 1,
                (_, Keyword::AND | Keyword::OR) if depth == 0 => {
                    let place = Some(text.place(text.range(token), "put the comparison before it in parentheses"));
                    let what = "AND or OR after IS DISTINCT FROM without parentheses".to_owned();
                    return Err(SqlError::Unsupported { what, place }.into());
                }
                (Token::Comma | Token::SemiColon, _) if depth == 0 => break,
                (
                    _,
                    Keyword::WHERE
                    | Keyword::GROUP
                    | Keyword::HAVING
                    | Keyword::ORDER
                    | Keyword::LIMIT
                    | Keyword::UNION
                    | Keyword::JOIN
                    | Keyword::ON
                    | Keyword::THEN
                    | Keyword::WHEN
                    | Keyword::ELSE
                    | Keyword::END
                    | Keyword::AS
                    | Keyword::FROM,
                ) if depth == 0 => break,
                _ => {}
            }
        }
    }
    Ok(())
}
