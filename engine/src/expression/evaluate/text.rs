//! LIKE, and `substr` at constant places.
//!
//! In: strings. Out: truths, or parts of the strings. Never: looks at a pattern's type per batch: a constant pattern is brought to
//! the input's type once, and arrow finds its fast way (equal, prefix, suffix, contains, else a regular expression) per batch.
//!
//! `substr` stands here beside DataFusion's because that one decodes characters where bytes say as much: with ASCII before the end
//! of the part, the n-th character is the n-th byte.

use std::sync::Arc;

use super::{
    Step, Value,
    cast::to_type,
    evaluator::{Context, prepare},
};
use crate::{
    batch::{
        Batch,
        array::{Array, AsArray, BooleanArray, Datum, StringViewBuilder},
        compute::{ilike, like as like_kernel, nilike, nlike},
        datatypes::DataType,
    },
    error::Result,
    expression::Expression,
};

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, crate::batch::ArrowError>;

/// LIKE, prepared.
pub(super) fn like(
    input: &Expression,
    pattern: &Expression,
    is_negated: bool,
    ignores_case: bool,
    context: &Context<'_>,
) -> Result<Box<dyn Step>> {
    let kernel: Kernel = match (is_negated, ignores_case) {
        (false, false) => like_kernel,
        (true, false) => nlike,
        (false, true) => ilike,
        (true, true) => nilike,
    };
    let text_type = match input.data_type(context.input)? {
        DataType::Dictionary(_, values) => *values,
        plain => plain,
    };
    let input = prepare(input, context)?;
    let mut pattern = prepare(pattern, context)?;
    if let Some(constant) = pattern.constant() {
        let constant = to_type(constant.clone(), &text_type)?;
        pattern = Box::new(Pattern(constant));
    }
    Ok(Box::new(Like { input, pattern, text_type, kernel }))
}

struct Pattern(Value);

impl Step for Pattern {
    fn evaluate(&self, _batch: &Batch) -> Result<Value> {
        Ok(self.0.clone())
    }
}

struct Like {
    input: Box<dyn Step>,
    pattern: Box<dyn Step>,
    text_type: DataType,
    kernel: Kernel,
}

impl Step for Like {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let input = self.input.evaluate(batch)?;
        let pattern = to_type(self.pattern.evaluate(batch)?, &self.text_type)?;
        Ok(Value::like(Arc::new((self.kernel)(&input, &pattern)?), &[&input, &pattern]))
    }
}

/// `substr(text, first[, count])` of a string view at constant places from 1, prepared; `None` leaves it to the registry.
pub(super) fn substr(
    name: &str,
    arguments: &[Expression],
    returns: &DataType,
    context: &Context<'_>,
) -> Result<Option<Box<dyn Step>>> {
    let (input, places) = match arguments {
        [input, places @ ..] if matches!(name, "substr" | "substring") && returns == &DataType::Utf8View => {
            (input, places)
        }
        _ => return Ok(None),
    };
    let places: Option<Vec<i64>> = places
        .iter()
        .map(|place| match place {
            Expression::Literal(literal) => literal.as_i64(),
            _ => None,
        })
        .collect();
    let (first, count) = match places.as_deref() {
        Some([first]) => (*first, i64::MAX),
        Some([first, count]) => (*first, *count),
        _ => return Ok(None),
    };
    let (Ok(first @ 1..), Ok(count)) = (usize::try_from(first), usize::try_from(count)) else {
        return Ok(None);
    };
    if input.data_type(context.input)? != DataType::Utf8View {
        return Ok(None);
    }
    Ok(Some(Box::new(Substr { input: prepare(input, context)?, skip: first - 1, count })))
}

struct Substr {
    input: Box<dyn Step>,
    /// Characters before the part.
    skip: usize,
    /// Characters of the part, at most.
    count: usize,
}

impl Step for Substr {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let value = self.input.evaluate(batch)?;
        let texts = value.array().as_string_view();
        let mut parts = StringViewBuilder::with_capacity(texts.len());
        for text in texts {
            match text {
                Some(text) => parts.append_value(part(text, self.skip, self.count)),
                None => parts.append_null(),
            }
        }
        Ok(Value::like(Arc::new(parts.finish()), &[&value]))
    }
}

/// At most `count` characters of `text` after the first `skip`.
fn part(text: &str, skip: usize, count: usize) -> &str {
    let end = skip.saturating_add(count).min(text.len());
    match text.as_bytes().get(..end) {
        // `end` bytes of ASCII are `end` characters, and a border between characters stands behind them.
        Some(bytes) if bytes.is_ascii() => text.get(skip.min(end)..end).unwrap_or(""),
        _ => {
            let mut borders = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
            let start = borders.clone().nth(skip).unwrap_or(text.len());
            let end = borders.nth(skip.saturating_add(count)).unwrap_or(text.len());
            &text[start..end]
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_characters_and_not_of_bytes() {
        let naive = |text: &str, skip, count| text.chars().skip(skip).take(count).collect::<String>();
        for text in ["", "a", "13-702-694-4520", "äöü", "aäb", "aaa€", "€uro and more"] {
            for skip in 0..5 {
                for count in [0, 1, 2, 3, 100, usize::MAX] {
                    assert_eq!(part(text, skip, count), naive(text, skip, count), "{text:?} {skip} {count}");
                }
            }
        }
    }
}
