//! JSON lines as a scan reads them, against what they were written from; and what is wrong with others.
//!
//! In: objects, written with all the spaces, orders and escapes that JSON leaves free; damaged text. Out: the same values in splits of any
//! size; errors with their line. Never: a panic.

use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    batch::{
        array::{Array, AsArray},
        datatypes::{DataType, Float64Type, Int64Type, SchemaRef},
    },
    error::{Error, Result},
    format::Decode,
};

/// A file's columns; its rows of some columns, a text each, in splits of `split_bytes`.
fn schema_of(text: &[u8]) -> Result<SchemaRef> {
    let mut sample = Sample::default();
    sample.add(Path::new("t.jsonl"), text, true)?;
    sample.schema(Path::new("t.jsonl"))
}

fn rows(
    text: &[u8],
    schema: &SchemaRef,
    columns: &[usize],
    split_bytes: u64,
    batch: usize,
) -> Result<Vec<Vec<String>>> {
    let (bytes, length) = (Bytes::copy_from_slice(text), text.len() as u64);
    let mut found = Vec::new();
    for start in (0..length).step_by(split_bytes as usize) {
        let range = start..length.min(start + split_bytes);
        let mut decoder = decoder("t.jsonl".into(), length, range, schema, columns, batch)?;
        let mut seen = 0;
        while let Some(wanted) = decoder.wants() {
            decoder.feed(wanted.iter().map(|r| bytes.slice(r.start as usize..r.end as usize)).collect())?;
            while let Some(batch_found) = decoder.batch()? {
                assert!((1..=batch).contains(&batch_found.num_rows()));
                assert_eq!(batch_found.num_columns(), columns.len());
                seen += batch_found.num_rows();
                found.extend(
                    (0..batch_found.num_rows())
                        .map(|row| batch_found.columns().iter().map(|column| shown(column, row)).collect::<Vec<_>>()),
                );
            }
        }
        assert_eq!(decoder.rows_seen(), seen as u64);
    }
    Ok(found)
}

fn shown(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_owned();
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        _ => format!("'{}'", column.as_string_view().value(row)),
    }
}

fn all(text: &str) -> Result<Vec<String>> {
    let schema = schema_of(text.as_bytes())?;
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let found = rows(text.as_bytes(), &schema, &columns, 1 << 20, 100)?;
    Ok(found.into_iter().map(|row| row.join(" ")).collect())
}

/// What stands after a key.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Nested(&'static str),
}

impl Value {
    fn write(&self, is_escaped: bool) -> String {
        match self {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(digits) => digits.clone(),
            Value::Text(text) if is_escaped => {
                let units: Vec<String> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
                format!("\"{}\"", units.concat())
            }
            Value::Text(text) => serde_json::to_string(text).unwrap(),
            Value::Nested(raw) => (*raw).to_owned(),
        }
    }

    fn expected(&self, data_type: &DataType) -> String {
        match (self, data_type) {
            (Value::Null, _) => "NULL".to_owned(),
            (Value::Number(digits), DataType::Float64) => format!("{:?}", digits.parse::<f64>().unwrap()),
            (Value::Number(digits), DataType::Int64) => digits.parse::<i64>().unwrap().to_string(),
            (Value::Bool(value), DataType::Boolean) => value.to_string(),
            (Value::Text(text), _) => format!("'{text}'"),
            (other, _) => format!("'{}'", other.write(false)),
        }
    }
}

fn value(kind: usize) -> BoxedStrategy<Value> {
    let integer = prop_oneof!["-?(0|[1-9][0-9]{0,17})", Just(i64::MIN.to_string())];
    let float = "-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,9})?([eE][-+]?[0-9]{1,2})?";
    let text = prop_oneof!["[ -~]{0,20}", "[a-zé漢🌾\n\t\"\\\\\u{1}]{0,16}"].prop_map(Value::Text);
    let nested = prop::sample::select(vec!["{}", "[]", "[1, {\"a\": \"}\\\"\"}]", "{\"x\":[[\"]\"]]}"]);
    let own = match kind {
        0 => integer.prop_map(Value::Number).boxed(),
        1 => prop_oneof![float, integer].prop_map(Value::Number).boxed(),
        2 => any::<bool>().prop_map(Value::Bool).boxed(),
        3 => text.boxed(),
        _ => prop_oneof![text, nested.prop_map(Value::Nested), integer.prop_map(Value::Number)].boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 6 => own].boxed()
}

/// A line: its values by column, which of them are written, in which order, with which spaces.
fn line() -> impl Strategy<Value = (Vec<Option<Value>>, bool, bool, &'static str)> {
    let values: Vec<_> = (0..5).map(|kind| prop::option::weighted(0.9, value(kind))).collect();
    (values, any::<bool>(), any::<bool>(), prop::sample::select(vec!["", "", " ", "\t", " \r"]))
}

const NAMES: [&str; 5] = ["i", "a long name of floats", "b", "te\"xt é", "any"];

proptest! {
    #[test]
    fn what_was_written_is_read(
        lines in prop::collection::vec(line(), 1..20), split_bytes in 1u64..600, batch in 1usize..7, ends: bool,
    ) {
        let mut text = String::new();
        for (values, is_backward, is_escaped, space) in &lines {
            let pairs = NAMES.iter().zip(values).filter_map(|(name, value)| Some((name, value.as_ref()?)));
            let mut pairs: Vec<String> = pairs
                .map(|(name, value)| {
                    let name = Value::Text((*name).to_owned()).write(*is_escaped);
                    format!("{name}{space}:{space}{}", value.write(*is_escaped))
                })
                .collect();
            if *is_backward {
                pairs.reverse();
            }
            text.push_str(&format!("{space}{{{space}{}{space}}}{space}\n", pairs.join(&format!("{space},{space}"))));
            text.push_str(space);
        }
        if !ends {
            text.truncate(text.trim_end().len());
        }
        let Ok(schema) = schema_of(text.as_bytes()) else {
            prop_assert!(lines.iter().all(|(values, ..)| values.iter().all(Option::is_none)));
            return Ok(());
        };
        // Backwards, and one twice.
        let columns: Vec<usize> = (0..schema.fields().len()).rev().chain([0]).collect();
        let found = rows(text.as_bytes(), &schema, &columns, split_bytes, batch).unwrap();
        prop_assert_eq!(found.len(), lines.len());
        for (found, (values, ..)) in found.iter().zip(&lines) {
            for (shown, column) in found.iter().zip(&columns) {
                let field = schema.field(*column);
                let number = NAMES.iter().position(|name| name == field.name()).unwrap();
                let expected = values[number].as_ref().map_or("NULL".to_owned(), |v| v.expected(field.data_type()));
                prop_assert_eq!(shown, &expected, "{}", field);
            }
        }
    }

    #[test]
    fn damage_is_no_panic_and_the_same_in_any_split(
        seed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut: prop::sample::Index,
        split_bytes in 1u64..300, garbage in "[\\[\\]{}\",:\\\\ \n0-9a-ntrue\\-+.]{0,60}",
    ) {
        let good = b"{\"a\":1,\"b\":\"x\\ny\",\"c\":[1,2.5]}\n{\"a\":-2,\"b\":\"z\",\"d\":true}\n{\"a\":30,\"e\":1.5e3}\n";
        let schema = schema_of(good).unwrap();
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let mut text = good.repeat(3);
        seed.iter().for_each(|(at, byte)| *at.get_mut(&mut text) = *byte);
        text.truncate(cut.index(text.len()));
        for text in [&text[..], garbage.as_bytes()] {
            let _ = schema_of(text);
            let whole = rows(text, &schema, &columns, 1 << 20, 10);
            match (rows(text, &schema, &columns, split_bytes, 3), whole) {
                (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
                // Of several things that are wrong in a batch, any may be told.
                (Err(_), Err(_)) => {}
                (found, expected) => prop_assert!(false, "{found:?} instead of {expected:?}"),
            }
            let _ = rows(text, &schema, &[], split_bytes, 3);
        }
    }
}

#[test]
fn columns_come_from_the_first_rows() {
    let text = "{\"i\":1,\"f\":1,\"n\":null}\n\n{\"f\":2.5,\"t\":\"x\",\"b\":true}\n{\"big\":12345678901234567890,\"m\":1,\"o\":{}}\n\
                {\"m\":\"x\"}";
    let schema = schema_of(text.as_bytes()).unwrap();
    let types: Vec<String> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    let expected =
        ["i Int64", "f Float64", "n Utf8View", "t Utf8View", "b Boolean", "big Float64", "m Utf8View", "o Utf8View"];
    assert_eq!(types, expected);
    // Files are one table: what one lacks is NULL.
    let mut sample = Sample::default();
    sample.add(Path::new("a"), b"", true).unwrap();
    sample.add(Path::new("b"), b"{\"x\":1}\n{\"x\":", false).unwrap();
    sample.add(Path::new("c"), b"{\"y\":\"\",\"x\":0.5}", true).unwrap();
    let schema = sample.schema(Path::new("a")).unwrap();
    assert_eq!(schema.fields().iter().map(|f| f.data_type().to_string()).collect::<Vec<_>>(), ["Float64", "Utf8View"]);
}

#[test]
fn the_last_of_a_key_counts_and_unknown_keys_do_not() {
    let text =
        "\u{feff}{\"a\":\"\",\"b\":1,\"a\":\"y\\ud83c\\udf3e\\/\"}\r\n{\"b\":2,\"a\":\"long enough for a buffer\"}\r\n";
    assert_eq!(all(text).unwrap(), ["'y🌾/' 1", "'long enough for a buffer' 2"]);
    let schema = schema_of(b"{\"a\":1}").unwrap();
    let found = rows(b"{\"z\":[1,{}],\"a\":1,\"z\":2,\"y\":\"\\\"\"}\n{}\n", &schema, &[0], 100, 10).unwrap();
    assert_eq!(found, [["1"], ["NULL"]]);
}

#[test]
fn a_record_over_many_tails_is_whole() {
    let long = "x".repeat(500_000);
    let text = format!("{{\"a\":\"s\"}}\n{{\"a\":\"{long}\"}}\n{{\"a\":\"t\"}}\n{{\"a\":\"{long}\"}}");
    let schema = schema_of(text.as_bytes()).unwrap();
    for split_bytes in [5, 100_000, 1 << 20] {
        let found = rows(text.as_bytes(), &schema, &[0], split_bytes, 100).unwrap();
        assert_eq!(found.concat(), ["'s'", &format!("'{long}'"), "'t'", &format!("'{long}'")]);
    }
}

fn wrong(text: &str) -> Error {
    all(text).unwrap_err()
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (second, words) in [
        ("{\"a\":1.5}", "at line 3: `1.5` in column a is no Int64"),
        ("{\"a\":\"1\"}", "`1` in column a is no Int64"),
        ("{\"a\":99999999999999999999}", "`99999999999999999999` in column a is no Int64"),
        ("{\"a\":01}", "`01` in column a is no Int64"),
        ("{\"a\":1} {\"a\":2}", "nothing more on the line instead of `{"),
        ("{\"a\":1", "a comma or a closing brace instead of ``"),
        ("{\"a\"", "a colon"),
        ("{a:1}", "a key in quotes instead of `a:1}`"),
        ("{\"a\":x}", "a value instead of `x}`"),
        ("{\"a\":\"x", "the end of a string"),
        ("{\"a\":[1,{}", "a closing bracket"),
        ("[1]", "an object, one a line instead of `[1]`"),
        ("{\"t\":\"\\q\"}", "`\\\\q` in column t is no Utf8View"),
        ("{\"t\":{\"x\":}}", "in column t is no Utf8View"),
        ("{\"t\":\"\\ud800\"}", "in column t is no Utf8View"),
    ] {
        let good = "{\"a\":1,\"t\":\"\"}\n\n";
        let schema = schema_of(good.as_bytes()).unwrap();
        let text = format!("{good}{second}\n");
        for split_bytes in [7, 100] {
            let error = rows(text.as_bytes(), &schema, &[0, 1], split_bytes, 10).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Corrupt);
            let said = error.to_string();
            assert!(said.contains("t.jsonl as JSON lines at line 3: ") && said.contains(words), "{said}");
        }
    }
    let schema = schema_of(b"{\"t\":\"\"}").unwrap();
    let said = rows(b"{\"t\":\"a\"}\n{\"t\":\"\xff\"}\n", &schema, &[0], 100, 10).unwrap_err().to_string();
    assert!(said.contains("line 2: column t is not valid UTF-8"), "{said}");
}

#[test]
fn what_tells_no_columns_is_refused() {
    let error = wrong(" [{\"a\":1}]");
    assert!(error.to_string().contains("it is one array, where an object on each line is expected"), "{error}");
    assert!(error.hint().unwrap().contains("jq"), "{error}");
    for (text, words) in [
        ("", "no object with a key"),
        ("\n\n", "no object with a key"),
        ("{}\n", "no object with a key"),
        ("{\"a\":1.}\n", "at line 1: there must be a value instead of `1.`"),
        ("{\"a\":1}\n{\"a\":}", "at line 2: there must be a value"),
        ("{\n\"a\": 1\n}", "at line 1: there must be a key in quotes"),
    ] {
        let said = wrong(text).to_string();
        assert!(said.contains(words), "{text}: {said}");
    }
    let keys: Vec<String> = (0..=crate::limits::JSON_KEYS_MAX).map(|key| format!("\"k{key}\":1")).collect();
    assert!(wrong(&format!("{{{}}}", keys.join(","))).to_string().contains("10000 keys"));
    let mut sample = Sample::default();
    let said = sample.add(Path::new("t"), b"{\"a\":\"never ends", false).unwrap_err().to_string();
    assert!(said.contains("longer than the 16 bytes"), "{said}");
}
