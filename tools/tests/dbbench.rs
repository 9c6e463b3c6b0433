//! The db-benchmark, from the command line and by the bench library: the right answers, the same bits on any number of threads.
//!
//! In: tables made here. Out: passes or says which question differs, and how. Never: an answer that was copied from this engine; they are
//! worked out here, by the questions' definitions.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use tempfile::TempDir;
use windrow::{Session, Settings};
use windrow_bench::{DBBENCH_TABLES, DbBench, QUESTIONS};

const ROWS: &str = "30K";

fn windrow(words: &[&str]) -> (Option<i32>, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_windrow")).args(words).output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap())
}

/// The tables, made by the command.
fn tables() -> TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = folder.path().to_str().unwrap();
    let (code, said, error) = windrow(&["gen", "dbbench", "--rows", ROWS, "--keys", "10", "--out", out]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{said}");
    assert!(said.contains("30,000 rows") && said.contains("big.parquet"), "{said}");
    folder
}

/// A row of a table, by column: whole numbers and prices as numbers.
#[derive(Clone, Debug)]
struct Row {
    numbers: HashMap<String, f64>,
    texts: HashMap<String, String>,
}

impl Row {
    fn number(&self, column: &str) -> f64 {
        self.numbers[column]
    }
}

fn rows(folder: &Path, table: &str) -> Vec<Row> {
    let session = Session::new(Settings::default()).unwrap();
    let answer =
        session.query(&format!("select * from '{}'", folder.join(format!("{table}.parquet")).display())).unwrap();
    let mut rows = Vec::new();
    for batch in &answer.batches {
        let start = rows.len();
        rows.resize(start + batch.num_rows(), Row { numbers: HashMap::new(), texts: HashMap::new() });
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let of_batch = rows[start..].iter_mut().enumerate();
            if matches!(field.data_type(), DataType::Utf8 | DataType::Utf8View) {
                let texts = cast(column, &DataType::Utf8).unwrap();
                of_batch.for_each(|(row, of)| {
                    of.texts.insert(field.name().clone(), texts.as_string::<i32>().value(row).to_owned());
                });
            } else {
                let numbers = cast(column, &DataType::Float64).unwrap();
                of_batch.for_each(|(row, of)| {
                    of.numbers.insert(field.name().clone(), numbers.as_primitive::<Float64Type>().value(row));
                });
            }
        }
    }
    rows
}

/// What a question's answer is reduced to: a row.
type Reduced = Vec<Cell>;

#[derive(Debug, PartialEq)]
enum Cell {
    Number(f64),
    Text(String),
}

fn is_near(found: &[Cell], expected: &[Cell]) -> bool {
    let same = |(found, expected): (&Cell, &Cell)| match (found, expected) {
        (Cell::Number(found), Cell::Number(expected)) => {
            (found - expected).abs() <= f64::max(1e-6, expected.abs() * 1e-9)
        }
        _ => found == expected,
    };
    found.len() == expected.len() && found.iter().zip(expected).all(same)
}

fn cells(batches: &[RecordBatch]) -> Vec<Cell> {
    let [batch] = batches else { panic!("{} batches", batches.len()) };
    assert_eq!(batch.num_rows(), 1);
    let cell = |column: &arrow::array::ArrayRef| match column.data_type() {
        DataType::Utf8 | DataType::Utf8View => {
            Cell::Text(cast(column, &DataType::Utf8).unwrap().as_string::<i32>().value(0).to_owned())
        }
        _ => Cell::Number(cast(column, &DataType::Float64).unwrap().as_primitive::<Float64Type>().value(0)),
    };
    batch.columns().iter().map(cell).collect()
}

/// Groups `rows` by columns of texts and numbers.
fn groups<'a>(rows: &'a [Row], keys: &[&str]) -> Vec<Vec<&'a Row>> {
    let mut groups: BTreeMap<Vec<String>, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let key = |key: &&str| row.texts.get(*key).cloned().unwrap_or_else(|| row.numbers[*key].to_string());
        groups.entry(keys.iter().map(key).collect()).or_default().push(row);
    }
    groups.into_values().collect()
}

fn sum(rows: &[&Row], column: &str) -> f64 {
    rows.iter().map(|row| row.number(column)).sum()
}

fn mean(rows: &[&Row], column: &str) -> f64 {
    sum(rows, column) / rows.len() as f64
}

/// The sum over `groups` of what `value` makes of each.
fn total(groups: &[Vec<&Row>], value: impl Fn(&[&Row]) -> f64) -> Cell {
    Cell::Number(groups.iter().map(|group| value(group)).sum())
}

fn greatest(rows: &[Row], column: &str) -> Cell {
    Cell::Text(rows.iter().map(|row| row.texts[column].clone()).max().unwrap())
}

fn grouped(question: &str, g1: &[Row]) -> Reduced {
    let count = |groups: &[Vec<&Row>]| Cell::Number(groups.len() as f64);
    let key = |column: &'static str| move |group: &[&Row]| group[0].number(column);
    let summed = |column: &'static str| move |group: &[&Row]| sum(group, column);
    match question {
        "g1" | "g2" => {
            let keys: &[&str] = if question == "g1" { &["id1"] } else { &["id1", "id2"] };
            let groups = groups(g1, keys);
            let mut row = vec![count(&groups)];
            row.extend(keys.iter().map(|key| greatest(g1, key)));
            row.extend([total(&groups, summed("v1")), total(&groups, |group| sum(group, "v1").powi(2))]);
            row
        }
        "g3" => {
            let groups = groups(g1, &["id3"]);
            vec![
                count(&groups),
                greatest(g1, "id3"),
                total(&groups, summed("v1")),
                total(&groups, |group| sum(group, "v1").powi(2)),
                total(&groups, |group| mean(group, "v3")),
                total(&groups, |group| sum(group, "v1") * mean(group, "v3")),
            ]
        }
        "g4" | "g5" => {
            let id = if question == "g4" { "id4" } else { "id6" };
            let groups = groups(g1, &[id]);
            let value =
                |group: &[&Row], column| if question == "g4" { mean(group, column) } else { sum(group, column) };
            let mut row = vec![count(&groups), total(&groups, key(id))];
            row.extend(["v1", "v2", "v3"].map(|column| total(&groups, |group| value(group, column))));
            row.extend(["v1", "v2", "v3"].map(|column| total(&groups, |group| key(id)(group) * value(group, column))));
            row
        }
        "g6" => {
            let groups = groups(g1, &["id4", "id5"]);
            let median = |group: &[&Row]| {
                let mut values: Vec<f64> = group.iter().map(|row| row.number("v3")).collect();
                values.sort_by(f64::total_cmp);
                (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
            };
            let deviation = |group: &[&Row]| {
                let middle = mean(group, "v3");
                let squares: f64 = group.iter().map(|row| (row.number("v3") - middle).powi(2)).sum();
                (squares / (group.len() - 1) as f64).sqrt()
            };
            vec![
                count(&groups),
                total(&groups, key("id4")),
                total(&groups, key("id5")),
                total(&groups, median),
                total(&groups, deviation),
                total(&groups, |group| key("id4")(group) * median(group)),
                total(&groups, |group| key("id5")(group) * deviation(group)),
            ]
        }
        "g7" => {
            let groups = groups(g1, &["id3"]);
            let range = |group: &[&Row]| {
                let most = group.iter().map(|row| row.number("v1")).fold(f64::MIN, f64::max);
                most - group.iter().map(|row| row.number("v2")).fold(f64::MAX, f64::min)
            };
            vec![
                count(&groups),
                greatest(g1, "id3"),
                total(&groups, range),
                total(&groups, |group| range(group).powi(2)),
            ]
        }
        "g8" => {
            let groups = groups(g1, &["id6"]);
            let two = |group: &[&Row]| {
                let mut values: Vec<f64> = group.iter().map(|row| row.number("v3")).collect();
                values.sort_by(|left, right| right.total_cmp(left));
                values.truncate(2);
                values
            };
            vec![
                total(&groups, |group| two(group).len() as f64),
                total(&groups, |group| key("id6")(group) * two(group).len() as f64),
                total(&groups, |group| two(group).iter().sum()),
                total(&groups, |group| key("id6")(group) * two(group).iter().sum::<f64>()),
            ]
        }
        "g9" => {
            let groups = groups(g1, &["id2", "id4"]);
            let squared = |group: &[&Row]| {
                let (x, y) = (mean(group, "v1"), mean(group, "v2"));
                let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
                for row in group {
                    let (dx, dy) = (row.number("v1") - x, row.number("v2") - y);
                    (xx, yy, xy) = (xx + dx * dx, yy + dy * dy, xy + dx * dy);
                }
                xy * xy / (xx * yy)
            };
            vec![
                count(&groups),
                greatest(g1, "id2"),
                total(&groups, key("id4")),
                total(&groups, squared),
                total(&groups, |group| key("id4")(group) * squared(group)),
            ]
        }
        "g10" => {
            let groups = groups(g1, &["id1", "id2", "id3", "id4", "id5", "id6"]);
            let mut row = vec![count(&groups), greatest(g1, "id1"), greatest(g1, "id2"), greatest(g1, "id3")];
            row.extend(["id4", "id5", "id6"].map(|id| total(&groups, key(id))));
            row.push(total(&groups, summed("v3")));
            row.push(Cell::Number(g1.len() as f64));
            row.push(total(&groups, |group| key("id6")(group) * sum(group, "v3")));
            row
        }
        other => panic!("{other} groups nothing"),
    }
}

/// A row of x and what it found.
type Pair<'a> = (&'a Row, Option<&'a Row>);

/// `x` with each row of `right` whose column `on` is the same, and without one if `is_outer`.
fn pairs<'a>(x: &'a [Row], right: &'a [Row], on: &str, is_outer: bool) -> Vec<Pair<'a>> {
    let of = |row: &Row| row.texts.get(on).cloned().unwrap_or_else(|| row.numbers.get(on).unwrap().to_string());
    let mut by_key: HashMap<String, Vec<&Row>> = HashMap::new();
    right.iter().for_each(|row| by_key.entry(of(row)).or_default().push(row));
    let mut pairs = Vec::new();
    for row in x {
        match by_key.get(&of(row)) {
            Some(found) => pairs.extend(found.iter().map(|found| (row, Some(*found)))),
            None if is_outer => pairs.push((row, None)),
            None => {}
        }
    }
    pairs
}

fn joined(question: &str, x: &[Row], right: &[Row]) -> Reduced {
    let (on, of_right): (&str, &[&str]) = match question {
        "j1" => ("id1", &["max id4"]),
        "j2" | "j3" => ("id2", &["count id1", "sum id1", "max id4", "max id5"]),
        "j4" => ("id5", &["count id1", "sum id1", "max id4", "sum id2"]),
        "j5" => ("id3", &["sum id1", "sum id2", "max id4", "max id5", "max id6"]),
        other => panic!("{other} joins nothing"),
    };
    let pairs = pairs(x, right, on, question == "j3");
    let reduce = |what: &str, side: &dyn Fn(&Pair<'_>) -> Option<Row>| {
        let (how, column) = what.split_once(' ').unwrap();
        let rows: Vec<Row> = pairs.iter().filter_map(side).collect();
        match how {
            "count" => Cell::Number(rows.len() as f64),
            "sum" => Cell::Number(rows.iter().map(|row| row.number(column)).sum()),
            _ => greatest(&rows, column),
        }
    };
    let left = |pair: &Pair<'_>| Some(pair.0.clone());
    let other = |pair: &Pair<'_>| pair.1.cloned();
    let mut row = vec![Cell::Number(pairs.len() as f64)];
    row.extend(["sum id1", "sum id2", "sum id3", "max id4"].map(|what| reduce(what, &left)));
    // In the first question the small table's column stands beside its like.
    if question == "j1" {
        row.push(reduce("max id4", &other));
    }
    row.extend(["max id5", "max id6"].map(|what| reduce(what, &left)));
    if question != "j1" {
        row.extend(of_right.iter().map(|what| reduce(what, &other)));
    }
    row.extend([reduce("sum v1", &left), reduce("sum v2", &other)]);
    row
}

#[test]
fn answers_are_what_the_questions_say_and_the_same_bits_on_any_number_of_threads() {
    let folder = tables();
    let table = |name| rows(folder.path(), name);
    let (g1, x, right) = (table("g1"), table("x"), ["small", "medium", "big"].map(table));
    let open = |threads, rows_per_morsel, revocable_bytes| {
        let memory_bytes = 256 << 20;
        let settings = Settings { threads, memory_bytes, rows_per_morsel, revocable_bytes, ..Settings::default() };
        DbBench::open(settings, folder.path()).unwrap()
    };
    let first = open(1, 4_096, None);
    let others = [open(2, 16_384, None), open(3, 1_000, None), open(2, 4_096, Some(0))];
    for (name, _) in QUESTIONS {
        let (_, answer) = first.measure(name, 1).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let expected = match name {
            "j1" => joined(name, &x, &right[0]),
            "j2" | "j3" | "j4" => joined(name, &x, &right[1]),
            "j5" => joined(name, &x, &right[2]),
            _ => grouped(name, &g1),
        };
        let found = cells(&answer.batches);
        assert!(is_near(&found, &expected), "{name}: {found:?}\nnot    {expected:?}");
        for other in &others {
            let (measurement, _) = other.measure(name, 1).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(measurement.digest, answer.digest().unwrap().to_string(), "{name}");
        }
    }
    assert_eq!(DbBench::text("g11").unwrap_err().kind(), windrow::Kind::Request);
}

#[test]
fn the_command_prints_a_line_a_run_and_writes_answers() {
    let folder = tables();
    let (tables, answers) = (folder.path().to_str().unwrap(), folder.path().join("answers"));
    let results = answers.to_str().unwrap();
    let words = ["bench", "dbbench", "--input", tables, "--question", "g1", "--question", "j3", "--runs", "2"];
    let (code, lines, error) = windrow(&[&words[..], &["--json", "--results", results]].concat());
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(lines.lines().count(), 4, "{lines}");
    for line in lines.lines() {
        assert!(line.starts_with("{\"workload\":\"dbbench\",\"query\":\"") && line.contains("\"rows\":1,"), "{line}");
    }
    let answer = fs::read_to_string(answers.join("g1.csv")).unwrap();
    assert!(answer.lines().nth(1).unwrap().starts_with("10,id010,"), "{answer}");
    assert_eq!(fs::read_dir(&answers).unwrap().count(), 2);
    let (_, table, _) = windrow(&words);
    assert!(table.contains("dbbench j3") && table.contains("sum of 2 queries, best of 2: "), "{table}");

    for (words, code, parts) in [
        (&["bench", "dbbench"][..], 2, &["--input"][..]),
        (&["bench", "dbbench", "--input", tables, "--question", "q1"], 2, &["q1", "g1 to g10 and j1 to j5"]),
        (&["bench", "dbbench", "--input", results], 1, &["error: ", "g1.parquet"]),
        (&["gen", "dbbench", "--out", results], 2, &["--rows"]),
        (&["gen", "dbbench", "--rows", "2G", "--out", results], 2, &["2000000000 rows"]),
        (&["gen", "dbbench", "--rows", "10", "--keys", "0", "--out", results], 2, &["0 different keys"]),
        (&["gen", "dbbench", "--rows", "10", "--threads", "0", "--out", results], 2, &["threads"]),
        (&["gen", "dbbench", "--rows", "10", "--out", tables], 1, &["exists already", "hint: --overwrite"]),
    ] {
        let (found, said, error) = windrow(words);
        assert_eq!((found, said.as_str()), (Some(code), ""), "{words:?}: {error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{words:?}: {error}");
    }
    let names = DBBENCH_TABLES.map(|name| format!("{name}.parquet"));
    assert!(names.iter().all(|name| folder.path().join(name).is_file()));
}
