//! CSV as a scan reads it, against arrow's reader, in splits of any size.
//!
//! In: texts with quotes, newlines and commas in all the wrong places. Out: the same rows, or both fail. Never: a panic.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    batch::{Batch, array::Array, datatypes::SchemaRef, util::display::array_value_to_string},
    error::{Kind, Result},
    format::{Border, Decode},
};

fn schema_of(text: &[u8]) -> Result<SchemaRef> {
    Ok(known(&*infer_schema(Path::new("t.csv"), &Bytes::copy_from_slice(text), true)?))
}

fn shown(batch: &Batch) -> Vec<Vec<String>> {
    // Of a text without letters arrow's reader makes NULL, too.
    let value = |column: &Arc<dyn Array>, row| match array_value_to_string(column, row).unwrap() {
        text if column.is_null(row) || text.is_empty() => "NULL".to_owned(),
        text => format!("'{text}'"),
    };
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| value(column, row)).collect()).collect()
}

/// The rows in splits of `split_bytes`, as a scan reads them.
fn rows(
    text: &[u8],
    schema: &SchemaRef,
    columns: &[usize],
    split_bytes: u64,
    batch: usize,
) -> Result<Vec<Vec<String>>> {
    let (bytes, length) = (Bytes::copy_from_slice(text), text.len() as u64);
    let (mut found, mut border) = (Vec::new(), Border::default());
    for start in (0..length).step_by(split_bytes as usize) {
        let range = start..length.min(start + split_bytes);
        let mut decoder = decoder("t.csv".into(), length, range, schema, columns, batch)?;
        let mut is_begun = false;
        while let Some(wanted) = decoder.wants() {
            decoder.feed(wanted.iter().map(|r| bytes.slice(r.start as usize..r.end as usize)).collect())?;
            if !is_begun {
                border = decoder.follow(border);
                is_begun = true;
            }
            while let Some(batch_found) = decoder.batch()? {
                assert!((1..=batch).contains(&batch_found.num_rows()));
                found.extend(shown(&batch_found));
            }
        }
    }
    Ok(found)
}

/// The rows as arrow's reader has them.
fn expected(text: &[u8], schema: &SchemaRef) -> Result<Vec<Vec<String>>> {
    let mut decoder = arrow::csv::ReaderBuilder::new(Arc::clone(schema)).with_header(true).build_decoder();
    let mut rest = text;
    let mut rows = Vec::new();
    loop {
        let used = decoder.decode(rest)?;
        rest = &rest[used..];
        if used == 0 || decoder.capacity() == 0 {
            match decoder.flush()? {
                Some(batch) => rows.extend(shown(&batch)),
                None => return Ok(rows),
            }
        }
    }
}

fn check(text: &[u8], schema: &SchemaRef, split_bytes: u64, batch: usize) {
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let found = rows(text, schema, &columns, split_bytes, batch);
    let told = String::from_utf8_lossy(text);
    match (found, expected(text, schema)) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{told:?}"),
        (Err(error), Err(_)) => assert_eq!(error.kind(), Kind::Corrupt, "{error}"),
        (found, expected) => panic!("{found:?} instead of {expected:?} of {told:?}"),
    }
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]{0,19}",
        "-?[0-9]{0,6}\\.[0-9]{0,4}([eE]-?[0-9])?",
        "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]([T ][012][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9}|Z|\\+01:00)?)?",
        prop::sample::select(vec!["true", "FALSE", "nan", "inf", "NULL", "", "a field that is long"])
            .prop_map(str::to_owned),
        "[a-c é🌾\t]{0,15}",
    ]
}

/// A field as it may stand in a file: bare, in quotes, or badly quoted.
fn written() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => field(),
        2 => field().prop_map(|text| format!("\"{text}\"")),
        2 => "[a,\n\r\" ]{0,8}".prop_map(|text| format!("\"{}\"", text.replace('"', "\"\""))),
        1 => "[ab\"]{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn noise_is_read_as_arrow_reads_it(
        text in "[a,1\"\n\r.é-]{0,60}", columns in 1usize..4, split_bytes in 1u64..40, batch in 1usize..6, other: bool,
    ) {
        let header = ["x", "x,y", "x,y,z"][columns - 1];
        let text = format!("{header}\n{text}");
        // With the types of other rows, in which not all fits.
        let typed = if other { format!("{header}\n{}", ["1", "1,a", "1,1.5,true"][columns - 1]) } else { text.clone() };
        if let Ok(schema) = schema_of(typed.as_bytes()) {
            check(text.as_bytes(), &schema, split_bytes, batch);
        }
    }

    #[test]
    fn records_are_read_as_arrow_reads_them(
        records in prop::collection::vec((written(), written(), written()), 0..12),
        end in prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n"]), split_bytes in 3u64..200, batch in 1usize..6,
        header in prop::sample::select(vec![
            "x,y,z", "\u{feff}x,\"y\n\",z", "\u{feff}\"x,\n\",y,z", "\n\"x\"\"\",y,z", "\n\r\n\n\nx,y,z",
        ]),
        ends: bool,
    ) {
        let mut text = format!("{header}{end}");
        records.iter().for_each(|(a, b, c)| text.push_str(&format!("{a},{b},{c}{end}")));
        if !ends {
            text.truncate(text.trim_end_matches(['\n', '\r']).len());
        }
        if let Ok(schema) = schema_of(text.as_bytes()) {
            check(text.as_bytes(), &schema, split_bytes, batch);
        }
    }

    #[test]
    fn damage_is_no_panic(
        seed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut: prop::sample::Index,
        split_bytes in 1u64..60,
    ) {
        let good = b"n,t,d\n1,\"a\"\"b\n\",2024-01-01\n2,c,\n3,\"d\",1999-12-31\r\n";
        let schema = schema_of(good).unwrap();
        let mut text = good.to_vec();
        seed.iter().for_each(|(at, byte)| *at.get_mut(&mut text) = *byte);
        text.truncate(cut.index(text.len() + 1));
        let _ = schema_of(&text);
        if !text.is_empty() {
            check(&text, &schema, split_bytes, 2);
            let _ = rows(&text, &schema, &[], split_bytes, 2);
        }
    }

    #[test]
    fn a_border_depends_on_all_bytes_before_it(
        text in "[a,\"\n\r]{0,40}", cut: prop::sample::Index,
        start in prop::sample::select(vec![Border::Start, Border::Field]),
    ) {
        let cut = cut.index(text.len() + 1);
        let (front, back) = text.as_bytes().split_at(cut);
        let at_once = border::follow(start, text.as_bytes());
        prop_assert_eq!(border::follow(border::follow(start, front), back), at_once);
    }
}

#[test]
fn only_what_is_asked_for_is_read_in_its_order() {
    let text = b"n,t,x\n1,a,\n,\"b\",2.5\nx,c,3\n";
    let schema = schema_of(b"n,t,x\n1,a,0.5\n").unwrap();
    assert_eq!(
        rows(text, &schema, &[2, 1, 2], 9, 10).unwrap().concat().join(" "),
        "NULL 'a' NULL '2.5' 'b' '2.5' '3.0' 'c' '3.0'"
    );
    assert_eq!(rows(text, &schema, &[], 9, 10).unwrap(), [[""; 0]; 3]);
    let said = rows(text, &schema, &[1, 0], 9, 10).unwrap_err().to_string();
    assert!(said.contains("t.csv as CSV at line 4: `x` in column n is no Int64"), "{said}");
}

#[test]
fn nothing_in_quotes_is_a_text() {
    let text = b"n,t\n\"\",\"\"\n,\n1,a\n";
    let schema = schema_of(b"n,t\n1,a\n").unwrap();
    let mut decoder = decoder("t.csv".into(), text.len() as u64, 0..text.len() as u64, &schema, &[0, 1], 9).unwrap();
    assert!(decoder.wants().is_some());
    decoder.feed(vec![Bytes::from_static(text)]).unwrap();
    decoder.follow(Border::default());
    let batch = decoder.batch().unwrap().unwrap();
    let nulls = |column: usize| (0..3).map(|row| batch.column(column).is_null(row)).collect::<Vec<_>>();
    assert_eq!((nulls(0), nulls(1)), (vec![true, true, false], vec![false, true, false]));
}

#[test]
fn several_files_have_the_columns_of_all() {
    let of = |text: &str| infer_schema(Path::new("t.csv"), &Bytes::copy_from_slice(text.as_bytes()), true).unwrap();
    let merged_with = |one: &str, other: &str| {
        let schema = merged(&of(one), &of(other))?;
        Some(known(&schema).fields().iter().map(|field| field.data_type().to_string()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(merged_with("a,b,c\n1,,\n", "a,b,c\n1.5,2,\n").unwrap(), "Float64 Int64 Utf8View");
    assert_eq!(merged_with("a,b\n1,true\n", "a,b\nx,2\n").unwrap(), "Utf8View Utf8View");
    assert_eq!(merged_with("a,b\n1,1\n", "a,c\n1,1\n"), None);
    assert_eq!(merged_with("a,b\n1,1\n", "a\n1\n"), None);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let schema = schema_of(b"a,b\n1,2\n").unwrap();
    for (text, words) in [
        ("a,b\n1,2\n\n\"3\",4,5\n", "at line 4: there must be 2 fields, as in the first line, in `\\\"3\\\",4,5`"),
        ("a,b\n1,2\n3\n", "at line 3: there must be 2 fields"),
        ("a,b\n\"1\",99999999999999999999", "at line 2: `99999999999999999999` in column b is no Int64"),
    ] {
        for split_bytes in [4, 100] {
            let said = rows(text.as_bytes(), &schema, &[0, 1], split_bytes, 10).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}

#[test]
fn a_record_over_many_splits_and_tails_is_whole() {
    let long = "x\n,\"\"".repeat(60_000);
    let text = format!("a,b\ns,1\n\"{long}\",2\nt,3\n\"{long}\",4");
    let schema = schema_of(text.as_bytes()).unwrap();
    for split_bytes in [50_000, 100_001, 1 << 20] {
        let found = rows(text.as_bytes(), &schema, &[1], split_bytes, 100).unwrap();
        assert_eq!(found.concat(), ["'1'", "'2'", "'3'", "'4'"]);
    }
}
