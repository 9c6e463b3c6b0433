//! The names under which an answer's columns are shown.
//!
//! In: the names that DataFusion's binder gives: `sum(Int64(1) + lineitem.l_tax)`, `Utf8("x")`. Out: what the user wrote, as near as that
//! name tells: `sum(1 + lineitem.l_tax)`, `'x'`. Never: touches a name inside of the plan; only the root's columns are renamed.

use std::sync::Arc;

use crate::{
    batch::datatypes::{Field, Schema},
    plan::logical::Logical,
};

/// The plan with names for people at its root.
pub(super) fn for_people(mut plan: Logical) -> Logical {
    let fields = plan.schema.fields().iter().map(|field| Field::clone(field).with_name(plain(field.name())));
    plan.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    plan
}

/// Types as the binder spells them before a literal's value.
const TYPES: &[&str] = &[
    "Boolean",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float32",
    "Float64",
    "Decimal32",
    "Decimal64",
    "Decimal128",
    "Decimal256",
    "Utf8",
    "LargeUtf8",
    "Utf8View",
    "Date32",
    "Date64",
    "IntervalMonthDayNano",
];

/// The name with each `Type(value)` as `value`.
fn plain(name: &str) -> String {
    let mut shown = String::new();
    let mut rest = name;
    let mut is_word_start = true;
    while let Some(letter) = rest.chars().next() {
        if is_word_start && let Some((value, after)) = literal(rest) {
            shown.push_str(&value);
            rest = after;
            is_word_start = false;
            continue;
        }
        shown.push(letter);
        is_word_start = !(letter.is_alphanumeric() || letter == '_' || letter == '.');
        rest = &rest[letter.len_utf8()..];
    }
    shown
}

/// The literal at the start of `text` as people write it, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let open = text.find('(')?;
    let data_type = TYPES.iter().find(|data_type| **data_type == &text[..open])?;
    let inside = &text[open + 1..];
    if let Some(quoted) = inside.strip_prefix('"') {
        let end = quoted.find("\")")?;
        return Some((format!("'{}'", &quoted[..end]), &quoted[end + 2..]));
    }
    let end = inside.find(')')?;
    let value = &inside[..end];
    // A decimal's precision and scale follow its value.
    let value = if data_type.starts_with("Decimal") { value.split(',').next()? } else { value };
    Some((value.to_owned(), &inside[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn literals_are_shown_as_they_were_written() {
        for (name, shown) in [
            ("Int64(1)", "1"),
            ("Utf8(\"a (b)\")", "'a (b)'"),
            ("sum(t.x * Int64(1) - Decimal128(0.5,1,1))", "sum(t.x * 1 - 0.5)"),
            ("count(*)", "count(*)"),
            ("NULL", "NULL"),
            ("MyInt64(1)", "MyInt64(1)"),
            ("t.Int64(1)", "t.Int64(1)"),
            ("Int64(", "Int64("),
            ("é", "é"),
        ] {
            assert_eq!(plain(name), shown);
        }
    }
}
