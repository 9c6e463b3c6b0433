//! TPC-H by the bench library: the right answers, in the right order, the same bits on any number of threads.
//!
//! In: tables made here; answers at scale 0.1 on which two other engines agree (`bench/tpch/answers`). Out: passes or says which query
//! differs, and how. Never: reads anything outside of the project.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{cmp::Ordering, fs::File, path::Path, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    csv,
    datatypes::{DataType, Field, Schema},
    util::display::{ArrayFormatter, FormatOptions},
};
use tempfile::TempDir;
use windrow::{Answer, Settings};
use windrow_bench::{QUERIES, Tpch};
use windrow_datasets::{TpchOptions, write_tpch};

/// A cell as it is compared: numbers by value, everything else by text.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Number(f64),
    Text(String),
}

impl Cell {
    fn of(text: &str) -> Cell {
        match text.parse() {
            _ if text.is_empty() => Cell::Null,
            Ok(number) => Cell::Number(number),
            Err(_) => Cell::Text(text.to_owned()),
        }
    }

    /// Numbers to 10⁻⁹ relative or 10⁻⁶ absolute: engines give averages at different scales.
    fn is_same(&self, expected: &Cell) -> bool {
        match (self, expected) {
            (Cell::Number(a), Cell::Number(e)) => (a - e).abs() <= f64::max(1e-6, e.abs() * 1e-9),
            _ => self == expected,
        }
    }

    fn order(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Number(a), Cell::Number(b)) => a.total_cmp(b),
            (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
            _ => panic!("{self:?} beside {other:?} in one column"),
        }
    }
}

type Row = Vec<Cell>;

fn rows_of(batches: &[RecordBatch]) -> Vec<Row> {
    let options = FormatOptions::new();
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns: Vec<_> =
            columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| -> Row { columns.iter().map(|column| Cell::of(&column.value(row).to_string())).collect() }),
        );
    }
    rows
}

/// The answer that was agreed on.
fn expected(query: usize, columns: usize) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../bench/tpch/answers/sf0.1/q{query}.csv"));
    let fields: Vec<Field> = (0..columns).map(|column| Field::new(format!("{column}"), DataType::Utf8, true)).collect();
    let reader = csv::ReaderBuilder::new(Arc::new(Schema::new(fields))).with_header(true);
    let mut rows = Vec::new();
    for batch in reader.build(File::open(path).unwrap()).unwrap() {
        let batch = batch.unwrap();
        let columns: Vec<_> = batch.columns().iter().map(|column| column.as_string::<i32>().clone()).collect();
        rows.extend((0..batch.num_rows()).map(|row| -> Row {
            columns.iter().map(|c| if c.is_null(row) { Cell::Null } else { Cell::of(c.value(row)) }).collect()
        }));
    }
    rows
}

/// As multisets: in the order given, then sorted by ever coarser numbers, so that ties do not depend on the last digits.
fn difference(actual: &[Row], expected: &[Row]) -> Option<String> {
    if actual.len() != expected.len() {
        return Some(format!("{} rows, expected {}", actual.len(), expected.len()));
    }
    let mut difference = None;
    for digits in [0, 12, 6, 3] {
        let sorted = |rows: &[Row]| {
            let mut rows = rows.to_vec();
            if digits > 0 {
                rows.sort_by_cached_key(|row| row.iter().map(|cell| coarse(cell, digits)).collect::<Vec<_>>());
            }
            rows
        };
        let (actual, expected) = (sorted(actual), sorted(expected));
        let is_same = |(a, e): (&Row, &Row)| a.len() == e.len() && a.iter().zip(e).all(|(a, e)| a.is_same(e));
        let first = actual.iter().zip(&expected).position(|pair| !is_same(pair));
        let first = first?;
        difference = Some(format!("row {first}: {:?}, expected {:?}", actual[first], expected[first]));
    }
    difference
}

fn coarse(cell: &Cell, digits: usize) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Number(number) => format!("{number:.*e}", digits - 1),
        Cell::Text(text) => text.clone(),
    }
}

/// The ORDER BY of each query: columns of the answer, and whether they descend.
fn order_by(query: usize) -> &'static [(usize, bool)] {
    const UP: bool = false;
    const DOWN: bool = true;
    match query {
        1 => &[(0, UP), (1, UP)],
        2 => &[(0, DOWN), (2, UP), (1, UP), (3, UP)],
        3 => &[(1, DOWN), (2, UP)],
        4 | 8 | 12 | 15 | 20 | 22 => &[(0, UP)],
        5 | 11 => &[(1, DOWN)],
        6 | 14 | 17 | 19 => &[],
        7 => &[(0, UP), (1, UP), (2, UP)],
        9 => &[(0, UP), (1, DOWN)],
        10 => &[(2, DOWN)],
        13 => &[(1, DOWN), (0, DOWN)],
        16 => &[(3, DOWN), (0, UP), (1, UP), (2, UP)],
        18 => &[(4, DOWN), (3, UP)],
        21 => &[(1, DOWN), (0, UP)],
        _ => panic!("no query {query}"),
    }
}

fn is_in_order(before: &Row, after: &Row, keys: &[(usize, bool)]) -> bool {
    let order = keys.iter().fold(Ordering::Equal, |order, (column, is_descending)| {
        let this = before[*column].order(&after[*column]);
        order.then(if *is_descending { this.reverse() } else { this })
    });
    order != Ordering::Greater
}

fn tables(scale: f64) -> TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let threads = Settings::default().threads;
    write_tpch(&TpchOptions { threads, ..TpchOptions::new(scale, folder.path()) }).unwrap();
    folder
}

fn open(tables: &TempDir, threads: usize, rows_per_morsel: usize) -> Tpch {
    Tpch::open(Settings { threads, rows_per_morsel, ..Settings::default() }, tables.path()).unwrap()
}

fn answer(tpch: &Tpch, query: usize) -> Answer {
    tpch.measure(query, 1).unwrap_or_else(|error| panic!("query {query}: {error:?}")).1
}

/// Every bit that a user sees, in order.
fn text_of(answer: &Answer) -> Vec<Row> {
    let options = FormatOptions::new().with_null("NULL");
    let row = |batch: &RecordBatch, row| {
        let cell = |column: &Arc<dyn Array>| {
            ArrayFormatter::try_new(column.as_ref(), &options).unwrap().value(row).to_string()
        };
        batch.columns().iter().map(|column| Cell::Text(cell(column))).collect()
    };
    answer.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |number| row(batch, number))).collect()
}

/// The answers of all queries, with every combination of threads and morsels, are the first's.
fn check_same_bits(tables: &TempDir, combinations: &[(usize, usize)]) {
    let [(threads, rows_per_morsel), others @ ..] = combinations else { return };
    let first = open(tables, *threads, *rows_per_morsel);
    let answers: Vec<Answer> = (1..=QUERIES.len()).map(|query| answer(&first, query)).collect();
    for (threads, rows_per_morsel) in others {
        let tpch = open(tables, *threads, *rows_per_morsel);
        for (index, first) in answers.iter().enumerate() {
            let query = index + 1;
            let this = answer(&tpch, query);
            let how = format!("query {query}, {threads} threads, morsels of {rows_per_morsel}");
            assert_eq!(this.schema, first.schema, "{how}");
            assert_eq!(this.digest().unwrap().to_string(), first.digest().unwrap().to_string(), "{how}");
            assert_eq!(text_of(&this), text_of(first), "{how}");
        }
    }
}

#[test]
fn answers_are_right_ordered_and_the_same_bits() {
    let tables = tables(0.1);
    let tpch = open(&tables, Settings::default().threads, Settings::default().rows_per_morsel);
    let mut failures = Vec::new();
    for query in 1..=QUERIES.len() {
        let answer = match tpch.measure(query, 1) {
            Ok((_, answer)) => answer,
            Err(error) => {
                failures.push(format!("query {query}: {error:?}"));
                continue;
            }
        };
        let rows = rows_of(&answer.batches);
        if let Some(difference) = difference(&rows, &expected(query, answer.schema.fields().len())) {
            failures.push(format!("query {query}: {difference}"));
        }
        if let Some(at) = rows.windows(2).position(|pair| !is_in_order(&pair[0], &pair[1], order_by(query))) {
            failures.push(format!("query {query}: rows {at} and {} are out of order", at + 1));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let morsels = [1_024, 65_536];
    let combinations: Vec<_> = morsels.iter().flat_map(|rows| [1, 2, 3, 8].map(|threads| (threads, *rows))).collect();
    check_same_bits(&tables, &combinations);
}

#[test]
fn tiny_morsels_give_the_same_bits() {
    let tables = tables(0.01);
    check_same_bits(&tables, &[(1, 65_536), (1, 64), (2, 64), (3, 64), (8, 64), (3, 1_024)]);
}

#[test]
fn what_goes_to_disk_gives_the_same_bits() {
    let tables = tables(0.01);
    let in_memory = open(&tables, 2, 4_096);
    let answers: Vec<Answer> = (1..=QUERIES.len()).map(|query| answer(&in_memory, query)).collect();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Everything that can be spilled is; then what does not fit into a little memory.
    for (threads, memory_bytes, revocable_bytes) in
        [(1, 256 << 20, Some(0)), (3, 256 << 20, Some(0)), (2, 16 << 20, None)]
    {
        let spill_folders = vec![folder.path().to_owned()];
        let rows_per_morsel = 4_096;
        let settings = Settings { threads, memory_bytes, revocable_bytes, spill_folders, rows_per_morsel };
        let tpch = Tpch::open(settings, tables.path()).unwrap();
        let mut spilled_bytes = 0;
        for (index, expected) in answers.iter().enumerate() {
            let how = format!("query {}, {threads} threads, {memory_bytes} bytes, {revocable_bytes:?}", index + 1);
            let (_, this) = tpch.measure(index + 1, 1).unwrap_or_else(|error| panic!("{how}: {error:?}"));
            spilled_bytes += this.report.spilled_bytes;
            assert_eq!(this.digest().unwrap().to_string(), expected.digest().unwrap().to_string(), "{how}");
            assert_eq!(text_of(&this), text_of(expected), "{how}");
        }
        if revocable_bytes.is_some() {
            assert!(spilled_bytes > 10 << 20, "{threads} threads spilled {spilled_bytes} bytes only");
        }
        drop(tpch);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was left on disk");
    }
}

#[test]
fn the_plan_of_query_1_shows_its_pipelines() {
    let tables = tables(0.01);
    let tpch = open(&tables, 2, 1_024);
    let answer = tpch.session().query(&format!("explain {}", Tpch::text(1).unwrap())).unwrap();
    assert_eq!(answer.schema.fields().len(), 1);
    let lines: Vec<String> = rows_of(&answer.batches).into_iter().map(|row| format!("{:?}", row[0])).collect();
    for part in ["pipeline 0", "scan lineitem", "aggregate", "pipeline 1, after 0", "sort"] {
        assert!(lines.iter().any(|line| line.contains(part)), "no {part:?} in {lines:#?}");
    }
}

#[test]
fn a_query_that_is_none_is_refused() {
    for query in [0, 23] {
        assert_eq!(Tpch::text(query).unwrap_err().kind(), windrow::Kind::Request);
    }
}
