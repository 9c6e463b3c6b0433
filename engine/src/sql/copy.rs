//! COPY: the rows of a query or a table into files.
//!
//! In: the words behind COPY. Out: the query, and where its rows go. Never: an option that nobody knows passed over.
//!
//! ```text
//!   COPY (query | table) TO 'path' [STORED AS parquet | csv | json | text | arrow] [PARTITIONED BY (a, b)] [OPTIONS (overwrite | append)]
//! ```

use std::ops::Range;

use datafusion_sql::sqlparser::{
    ast,
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan},
};

use super::{
    Catalog, SqlError,
    parse::syntax,
    suggest,
    text::{DIALECT, Text},
};
use crate::{
    error::{Result, bug},
    format::FileFormat,
    plan::logical::Logical,
    sink::{IfExists, Target},
};

/// The options, and what each says about an output that is there.
const OPTIONS: [(&str, IfExists); 2] = [("overwrite", IfExists::Overwrite), ("append", IfExists::Append)];

/// Where the rows of a COPY go.
pub(super) struct Copy {
    path: String,
    format: FileFormat,
    /// The columns, and where each is named.
    partitioned_by: Vec<(String, Range<usize>)>,
    if_exists: IfExists,
}

/// Reads what stands behind COPY.
pub(super) fn parse(parser: &mut Parser<'_>, text: &Text<'_>) -> Result<(Box<ast::Statement>, Copy)> {
    let failed = |error| syntax(error, text);
    let query = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query().map_err(failed)?;
        parser.expect_token(&Token::RParen).map_err(failed)?;
        query
    } else {
        whole(parser.parse_object_name(true).map_err(failed)?)?
    };
    parser.expect_keyword(Keyword::TO).map_err(failed)?;
    let token = parser.next_token();
    let Token::SingleQuotedString(path) = &token.token else {
        return parser.expected("a path in single quotes", token).map_err(|error| failed(error).into());
    };
    let (mut format, mut partitioned_by, mut if_exists) = (None, Vec::new(), None);
    let clauses = [Keyword::STORED, Keyword::PARTITIONED, Keyword::OPTIONS];
    let mut seen = Vec::new();
    loop {
        let token = parser.peek_token();
        let Some(keyword) = parser.parse_one_of_keywords(&clauses) else { break };
        if seen.contains(&keyword) {
            let place = Some(text.place(text.range(&token), "a second time"));
            return Err(SqlError::ClauseTwice { clause: format!("{keyword:?}"), place }.into());
        }
        seen.push(keyword);
        match keyword {
            Keyword::STORED => {
                parser.expect_keyword(Keyword::AS).map_err(failed)?;
                let token = parser.next_token();
                if matches!(token.token, Token::EOF | Token::SemiColon) {
                    return parser.expected("a format", token).map_err(|error| failed(error).into());
                }
                format = Some(stored_as(&token, text)?);
            }
            Keyword::PARTITIONED => {
                parser.expect_keyword(Keyword::BY).map_err(failed)?;
                listed(parser, text, |parser| {
                    let range = text.range(&parser.peek_token());
                    let column = parser.parse_identifier().map_err(failed)?;
                    let name = if column.quote_style.is_some() { column.value } else { column.value.to_lowercase() };
                    partitioned_by.push((name, range));
                    Ok(())
                })?;
            }
            _ => listed(parser, text, |parser| option(parser, text, &mut if_exists))?,
        }
    }
    let next = parser.peek_token();
    if next.token == Token::LParen {
        let clauses = "STORED AS, PARTITIONED BY or OPTIONS before it";
        return parser.expected(clauses, next).map_err(|error| failed(error).into());
    }
    let format = match format {
        Some(format) => format,
        None => {
            let ending = std::path::Path::new(path).extension().and_then(|ending| ending.to_str());
            let place = || Some(text.place(text.range(&token), "written to"));
            let none = || SqlError::NoFormat { path: path.clone(), place: place() };
            ending.and_then(FileFormat::of_name).ok_or_else(none)?
        }
    };
    let if_exists = if_exists.unwrap_or_default();
    let query = Box::new(ast::Statement::Query(query));
    Ok((query, Copy { path: path.clone(), format, partitioned_by, if_exists }))
}

impl Copy {
    /// The rows of `query`, written.
    pub(super) fn over(self, query: Logical, catalog: &Catalog, text: &Text<'_>) -> Result<Logical> {
        let Copy { path, format, partitioned_by, if_exists } = self;
        let names: Vec<&str> = query.schema.fields().iter().map(|field| field.name().as_str()).collect();
        if let Some((name, range)) = partitioned_by.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            let place = Some(text.place(range.clone(), "not found"));
            let candidates = suggest::near(name, names);
            return Err(SqlError::NoFolderColumn { name: name.clone(), candidates, place }.into());
        }
        let partitioned_by = partitioned_by.into_iter().map(|(name, _)| name).collect();
        Ok(query.written(Target { partitioned_by, if_exists, ..Target::new(catalog.path(&path), format) }))
    }
}

/// `select * from name`, with the name's own places.
fn whole(name: ast::ObjectName) -> Result<Box<ast::Query>> {
    let parsed = Parser::parse_sql(&DIALECT, "select * from t").ok().and_then(|mut parsed| parsed.pop());
    if let Some(ast::Statement::Query(mut query)) = parsed
        && let ast::SetExpr::Select(select) = &mut *query.body
        && let Some(ast::TableFactor::Table { name: table, .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
    {
        *table = name;
        return Ok(query);
    }
    Err(bug("sql", "a query of one table that reads as something else"))
}

fn stored_as(token: &TokenWithSpan, text: &Text<'_>) -> Result<FileFormat> {
    let name = said(&token.token);
    let unknown =
        || SqlError::UnknownFormat { name: name.clone(), place: Some(text.place(text.range(token), "unknown")) };
    Ok(FileFormat::of_name(&name).ok_or_else(unknown)?)
}

/// `overwrite`, `append true`
fn option(parser: &mut Parser<'_>, text: &Text<'_>, if_exists: &mut Option<IfExists>) -> Result<()> {
    let token = parser.next_token();
    if !matches!(token.token, Token::Word(_) | Token::SingleQuotedString(_)) {
        return parser.expected("overwrite or append", token).map_err(|error| syntax(error, text).into());
    }
    let name = said(&token.token);
    let place = |token: &TokenWithSpan, label: &str| Some(text.place(text.range(token), label));
    let Some((_, wanted)) = OPTIONS.iter().find(|(option, _)| option.eq_ignore_ascii_case(&name)) else {
        let candidates = suggest::near(&name, OPTIONS.map(|(option, _)| option));
        return Err(SqlError::UnknownOption { name, candidates, place: place(&token, "unknown") }.into());
    };
    let next = parser.peek_token();
    let is_wanted = match &next.token {
        Token::Comma | Token::RParen => true,
        other => {
            parser.next_token();
            let value = said(other);
            let bad = || SqlError::NoTruth { name: name.clone(), value: value.clone(), place: place(&next, "here") };
            value.to_lowercase().parse::<bool>().map_err(|_| bad())?
        }
    };
    if is_wanted && if_exists.replace(*wanted).is_some_and(|before| before != *wanted) {
        return Err(SqlError::OverwriteAndAppend { place: place(&token, "and this") }.into());
    }
    Ok(())
}

/// `(item, item)`
fn listed(parser: &mut Parser<'_>, text: &Text<'_>, mut item: impl FnMut(&mut Parser<'_>) -> Result<()>) -> Result<()> {
    parser.expect_token(&Token::LParen).map_err(|error| syntax(error, text))?;
    loop {
        item(parser)?;
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen).map_err(|error| syntax(error, text))?;
    Ok(())
}

/// A word or a text, without its quotes.
fn said(token: &Token) -> String {
    match token {
        Token::Word(word) => word.value.clone(),
        Token::SingleQuotedString(text) => text.clone(),
        other => other.to_string(),
    }
}
