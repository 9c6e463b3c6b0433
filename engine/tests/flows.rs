//! Flows through the public API, each on several numbers of threads and sizes of morsels, in memory and spilled: the results must be equal.
//!
//! In: small inputs made here. Out: what the flows give, against plain Rust. Never: knows how a flow is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

mod support;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use support::{check_in, example, sorted};
use tempfile::TempDir;
use windrow::{
    Kind, Max, Mean, Min, Record, Result, Session, Settings, Sum,
    batch::{
        Batch,
        array::{Array, AsArray, Float64Array, Int64Array, StringViewArray},
        datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef},
    },
    col,
    dataset::{Count, asc, desc},
    lit,
};

/// Runs `flow` on every number of threads and size of morsels; it must give the same each time.
fn check<R: PartialEq + Debug>(flow: impl Fn(&Session) -> R) -> R {
    let in_memory = [1, 2, 3, 8].into_iter().flat_map(|threads| [64, 1024, 65_536].map(|rows| (threads, rows, None)));
    check_in(in_memory.chain([(1, 64, Some(0)), (3, 1024, Some(0))]), flow)
}

fn path_of(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

#[derive(Clone, Debug, PartialEq, Record)]
struct Sale {
    city: String,
    price: f64,
    pieces: i32,
    note: Option<String>,
    code: Vec<u8>,
    is_paid: bool,
}

fn sales(count: usize) -> Vec<Sale> {
    (0..count)
        .map(|k| Sale {
            city: ["Oslo", "Reykjavík", "a city whose name is longer than twelve bytes"][k % 3].to_owned(),
            price: k as f64 * 0.1,
            pieces: (k % 7) as i32,
            note: (k % 5 != 0).then(|| format!("note {k}")),
            code: vec![k as u8; k % 20],
            is_paid: k % 2 == 0,
        })
        .collect()
}

fn write_sales(folder: &TempDir, count: usize) -> String {
    let session = Session::new(Settings::default()).unwrap();
    let path = path_of(folder, "sales");
    let written = session.from_vec(sales(count)).unwrap().write_parquet(&path).unwrap();
    assert_eq!(written.rows, count as u64);
    path
}

// ── word count ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A text of the generator, with what it does not make: empty lines, several blanks, tabs, a line's end missing.
fn text(folder: &TempDir) -> PathBuf {
    let out = folder.path().join("words.txt");
    let options = windrow_datasets::TextOptions { bytes: 300_000, seed: 7, out: out.clone(), overwrite: false };
    windrow_datasets::write_text(&options).unwrap();
    let mut text = fs::read_to_string(&out).unwrap();
    text.push_str("\n\n  two  blanks\tand tabs \r\n\nan_exceptionally_long_word_that_is_no_inline_view an_exceptionally_long_word");
    fs::write(&out, text).unwrap();
    out
}

fn naive_counts(text: &Path) -> Vec<(String, i64)> {
    let mut counts = BTreeMap::new();
    for word in fs::read_to_string(text).unwrap().split_ascii_whitespace() {
        *counts.entry(word.to_owned()).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

#[test]
fn word_count_is_what_plain_rust_counts() {
    let folder = TempDir::new().unwrap();
    let text = text(&folder);
    let expected = naive_counts(&text);
    let path = text.to_str().unwrap();
    let found = check(|session| {
        let words = || {
            let lines = session.read_text(path).unwrap();
            lines.flat_map::<String>(|line, out| line.split_ascii_whitespace().for_each(|word| out.push(word)))
        };
        let by_view = words().map_view::<(String, i64)>(|word| (word, 1)).reduce_by_key(Sum).collect().unwrap();
        let by_value = words().map(|word| (word.to_owned(), 1i64)).reduce_by_key(Sum).collect().unwrap();
        let counted = words().count_by_value().collect().unwrap();
        let cut = sorted(session.read_text(path).unwrap().words().count_by_value().collect().unwrap());
        let (by_view, by_value, counted) = (sorted(by_view), sorted(by_value), sorted(counted));
        assert_eq!(by_view, by_value);
        assert_eq!(by_view, cut);
        assert_eq!(by_view, counted);
        by_view
    });
    assert_eq!(found, expected);
}

/// More groups than a thread's table keeps, and rows enough that it becomes a sieve, is narrowed, and in the end is worth nothing any more.
#[test]
fn few_frequent_keys_beside_many_rare_ones_are_counted() {
    let mix = |number: u64| (number ^ number >> 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let key = |row: u64| match row {
        0..4_000_000 if !row.is_multiple_of(8) => mix(row) % 3_000,
        0..4_000_000 => mix(row) % 200_000,
        _ => row,
    };
    // Long strings, short ones, and some of both.
    count_few_and_many(|row| format!("key number {}", key(row)));
    count_few_and_many(|row| format!("k{}", key(row)));
    count_few_and_many(
        |row| if key(row) % 50 == 7 { format!("key number {}", key(row)) } else { key(row).to_string() },
    );
}

fn count_few_and_many(key: impl Fn(u64) -> String) {
    let rows: Vec<(String, i64)> = (0..4_400_000).map(|row| (key(row), (row % 1_000) as i64)).collect();
    let mut expected: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (key, value) in &rows {
        let (count, sum) = expected.entry(key).or_default();
        (*count, *sum) = (*count + 1, *sum + value);
    }
    let expected: Vec<(String, (i64, i64))> =
        expected.into_iter().map(|(key, counted)| (key.to_owned(), counted)).collect();
    for (threads, memory_bytes) in [(1, 8 << 30), (2, 8 << 30), (1, 1 << 30)] {
        let session = Session::new(Settings { threads, memory_bytes, ..Settings::default() }).unwrap();
        let counted = session.from_vec(rows.clone()).unwrap().map_view::<(String, (i64, i64))>(|(k, v)| (k, (1, v)));
        let found = counted.reduce_by_key((Sum, Sum)).collect().unwrap();
        assert!(sorted(found) == expected, "{threads} threads");
    }
}

#[test]
fn the_word_count_example_runs_as_a_program() {
    let folder = TempDir::new().unwrap();
    let text = text(&folder);
    let output = path_of(&folder, "counts");
    let run = |arguments: &[&str]| {
        let output = example("word_count").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let path = text.to_str().unwrap();
    assert_eq!(run(&["--threads", "3", path, &output]), (Some(0), String::new()));
    assert!(Path::new(&output).join("_SUCCESS").is_file());
    let session = Session::new(Settings::default()).unwrap();
    let counts = session.read_parquet(&output).unwrap();
    let names: Vec<_> = counts.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["word", "count"]);
    assert_eq!(sorted(counts.typed::<(String, i64)>().unwrap().collect().unwrap()), naive_counts(&text));

    let (code, stderr) = run(&[path, &output]);
    assert!(code == Some(1) && stderr.contains("there already") && stderr.contains("hint:"), "{code:?} {stderr}");
    let (code, stderr) = run(&["/nowhere.txt", &path_of(&folder, "none")]);
    assert!(code == Some(1) && stderr.contains("/nowhere.txt"), "{code:?} {stderr}");
    let (code, stderr) = run(&["--threads", "none", path, &output]);
    assert!(code == Some(2) && stderr.contains("--threads"), "{code:?} {stderr}");
    let (code, _) = run(&[path]);
    assert_eq!(code, Some(1));
}

// ── whole batches ──────────────────────────────────────────────────────────────────────────────────────────────────────

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(name, t)| Field::new(*name, t.clone(), false)).collect::<Vec<_>>()))
}

/// Per city: how many sales, and the bits of their total.
fn totals(session: &Session, path: &str) -> Result<Vec<(String, i64, u64)>> {
    let total = schema(&[("city", DataType::Utf8View), ("total", DataType::Float64)]);
    let output = Arc::clone(&total);
    let multiply = move |batch: &Batch| {
        let price = batch.column_by_name("price").unwrap().as_primitive::<Float64Type>();
        let pieces = batch.column_by_name("pieces").unwrap().as_primitive::<Int32Type>();
        let total: Float64Array = price.values().iter().zip(pieces.values()).map(|(a, b)| a * f64::from(*b)).collect();
        let city = Arc::clone(batch.column_by_name("city").unwrap());
        Ok(Batch::try_new(Arc::clone(&output), vec![city, Arc::new(total)])?)
    };
    let answer = session
        .read_parquet(path)?
        .filter(col("pieces").gt_eq(3i64).and(col("city").not_eq("Oslo")))?
        .map_batches(multiply, total)
        .sql(
            "select city, count(*) as sales, sum(total) as total from input
             where total < (select max(total) from input) group by city order by city desc",
        )?
        .collect()?;
    let mut rows = Vec::new();
    for batch in &answer.batches {
        let city = batch.column(0).as_string_view();
        let sales = batch.column(1).as_primitive::<Int64Type>();
        let total = batch.column(2).as_primitive::<Float64Type>();
        rows.extend(
            (0..batch.num_rows()).map(|k| (city.value(k).to_owned(), sales.value(k), total.value(k).to_bits())),
        );
    }
    Ok(rows)
}

#[test]
fn parquet_filter_map_batches_sql_collect() {
    let folder = TempDir::new().unwrap();
    let path = write_sales(&folder, 5_000);
    let found = check(|session| totals(session, &path).unwrap());
    let mut expected: BTreeMap<String, (i64, f64)> = BTreeMap::new();
    let kept: Vec<Sale> = sales(5_000).into_iter().filter(|sale| sale.pieces >= 3 && sale.city != "Oslo").collect();
    let total = |sale: &Sale| sale.price * f64::from(sale.pieces);
    let largest = kept.iter().map(total).fold(0.0, f64::max);
    for sale in kept.iter().filter(|sale| total(sale) < largest) {
        let entry = expected.entry(sale.city.clone()).or_default();
        *entry = (entry.0 + 1, entry.1 + total(sale));
    }
    assert_eq!(found.len(), 2);
    for ((city, (sales, total)), found) in expected.iter().rev().zip(&found) {
        assert_eq!((city, sales), (&found.0, &found.1));
        assert!((total - f64::from_bits(found.2)).abs() < 1e-6 * total, "{total} {found:?}");
    }
}

#[test]
fn select_computes_and_sql_joins_a_flow_with_itself() {
    let folder = TempDir::new().unwrap();
    let path = write_sales(&folder, 200);
    let found = check(|session| {
        let sales = session.read_parquet(&path).unwrap();
        let doubled = sales.select([("pieces", col("pieces")), ("double", col("price") * lit(2.0))]).unwrap();
        // Each use of input holds a subquery's value of its own.
        let above = doubled.sql("select * from input where double > (select avg(double) from input)").unwrap();
        let pairs = above
            .sql(
                "select a.pieces, count(*) from input a join input b on a.pieces = b.pieces
                  where b.double > (select min(double) from input) group by a.pieces order by a.pieces",
            )
            .unwrap();
        pairs.typed::<(i64, i64)>().unwrap().collect().unwrap()
    });
    let above: Vec<(i64, f64)> =
        sales(200).iter().map(|s| (i64::from(s.pieces), s.price * 2.0)).filter(|(_, d)| *d > 19.9).collect();
    let least = above.iter().map(|(_, double)| *double).fold(f64::MAX, f64::min);
    let mut expected = BTreeMap::new();
    for (pieces, _) in &above {
        for _ in above.iter().filter(|(other, double)| other == pieces && *double > least) {
            *expected.entry(*pieces).or_insert(0i64) += 1;
        }
    }
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn csv_is_read_with_its_header() {
    let folder = TempDir::new().unwrap();
    let path = path_of(&folder, "people.csv");
    fs::write(&path, "name,age\nAda,36\nGrace,85\n").unwrap();
    let found = check(|session| {
        let people = session.read_csv(&path).unwrap().typed::<(String, i64)>().unwrap();
        people.filter(|(_, age)| age > 40).collect().unwrap()
    });
    assert_eq!(found, [("Grace".to_owned(), 85)]);
}

#[test]
fn json_is_read_a_line_a_row() {
    let folder = TempDir::new().unwrap();
    let path = path_of(&folder, "people.jsonl");
    fs::write(&path, "{\"name\": \"Ada\", \"age\": 36}\n{\"age\": 85, \"name\": \"Grace\"}\n").unwrap();
    let found = check(|session| {
        let people = session.read_json(&path).unwrap().typed::<(String, i64)>().unwrap();
        people.filter(|(_, age)| age > 40).collect().unwrap()
    });
    assert_eq!(found, [("Grace".to_owned(), 85)]);
}

// ── typed rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn structs_come_back_from_parquet_as_they_went() {
    let folder = TempDir::new().unwrap();
    let path = write_sales(&folder, 3_000);
    let found = check(|session| {
        // Any order of rows is right; the price tells which row it is.
        let mut rows = session.read_parquet(&path).unwrap().typed::<Sale>().unwrap().collect().unwrap();
        rows.sort_by(|a, b| a.price.total_cmp(&b.price));
        rows
    });
    assert_eq!(found, sales(3_000));
}

#[derive(Clone, Debug, PartialEq, Record)]
struct Narrow {
    // In another order than in the file, and wider.
    pieces: i64,
    r#city: String,
}

#[test]
fn structs_find_their_columns_by_name() {
    let folder = TempDir::new().unwrap();
    let path = write_sales(&folder, 100);
    let found = check(|session| {
        let rows = session.read_parquet(&path).unwrap().typed::<Narrow>().unwrap();
        let rows = rows.filter_expr(col("pieces").eq(6i64)).unwrap();
        rows.map(|NarrowView { pieces, city }| (city.len() as u64, pieces))
            .distinct()
            .sort_by([asc("_0")])
            .unwrap()
            .collect()
            .unwrap()
    });
    assert_eq!(found, [(4, 6), (10, 6), (45, 6)]);
    let session = Session::new(Settings::default()).unwrap();
    let renamed = session.read_parquet(&path).unwrap().select(["city"]).unwrap().typed::<Narrow>().unwrap_err();
    assert!(renamed.is_user() && renamed.to_string().contains("pieces"), "{renamed:?}");
    assert!(renamed.hint().unwrap().contains("city"));
}

#[test]
fn monoids_put_values_of_a_key_together() {
    let rows: Vec<(String, (f64, i32, Option<i64>))> = (0..10_000)
        .map(|k| (format!("key {}", k % 13), (0.1 * f64::from(k), k, (k % 3 != 0).then_some(i64::from(k)))))
        .collect();
    let found = check(|session| {
        let flow = session.from_vec(rows.clone()).unwrap();
        let sums = flow.clone().reduce_by_key((Sum, Mean, Min)).sort_by([asc("_0")]).unwrap().collect().unwrap();
        let ends = flow.clone().map_view::<(String, (i32, f64))>(|(key, (a, b, _))| (key, (b, a)));
        let ends = ends.reduce_by_key((Max, Count)).sort_by([desc("_0")]).unwrap().limit(2).collect().unwrap();
        let optional = flow.map_view::<(String, Option<i64>)>(|(key, (_, _, c))| (key, c)).reduce_by_key(Sum);
        let optional: i64 = optional.collect().unwrap().into_iter().filter_map(|(_, sum)| sum).sum();
        let bits: Vec<_> =
            sums.into_iter().map(|(key, (sum, mean, min))| (key, sum.to_bits(), mean.to_bits(), min)).collect();
        (bits, ends, optional)
    });
    let (sums, ends, optional) = found;
    assert_eq!(sums.len(), 13);
    let (_, sum, mean, min) = &sums[0];
    let zeroes = (0..10_000).step_by(13);
    let expected: f64 = zeroes.clone().map(|k| 0.1 * f64::from(k)).sum();
    assert!((f64::from_bits(*sum) - expected).abs() < 1e-6, "{expected}");
    assert!((f64::from_bits(*mean) - zeroes.clone().map(f64::from).sum::<f64>() / zeroes.count() as f64).abs() < 1e-9);
    assert_eq!(*min, Some(13));
    // 9_993 is the last below 10_000 that leaves 9.
    assert_eq!(ends[0], ("key 9".to_owned(), (9_993, 769)));
    assert_eq!(optional, (0..10_000).filter(|k| k % 3 != 0).sum::<i64>());
}

#[test]
fn unions_limits_counts_and_names() {
    let folder = TempDir::new().unwrap();
    let path = write_sales(&folder, 1_000);
    check(|session| {
        let numbers = session.from_vec((0..100i64).collect()).unwrap();
        let twice = numbers.clone().union(numbers.clone()).unwrap();
        assert_eq!((numbers.count().unwrap(), twice.count().unwrap()), (100, 200));
        assert_eq!(twice.clone().distinct().count().unwrap(), 100);
        assert_eq!(sorted(twice.limit(3).collect().unwrap()), [0, 0, 1]);
        assert_eq!(numbers.clone().sort_by([desc("value")]).unwrap().limit(2).collect().unwrap(), [99, 98]);
        assert_eq!(numbers.clone().filter(|n| n % 10 == 0).count().unwrap(), 10);
        assert_eq!(
            numbers.clone().map(|n| n * 2).flat_map::<i64>(|n, out| (0..n).for_each(|k| out.push(k))).count().unwrap(),
            9_900
        );
        let renamed = numbers.clone().named(["n"]).unwrap();
        assert_eq!(renamed.sql("select max(n) from input").unwrap().typed::<i64>().unwrap().collect().unwrap(), [99]);
        assert!(numbers.clone().named(["a", "b"]).is_err());
        // A limit over files goes by the place in them.
        let first = session.read_parquet(&path).unwrap().limit(5).typed::<Sale>().unwrap().collect().unwrap();
        assert_eq!(first.len(), 5);
        assert!(numbers.explain().unwrap().lines().count() > 0);
        let other = session.read_parquet(&path).unwrap();
        assert!(session.sql("select 1").unwrap().union(other).is_err());
        let union = session.sql("select 1 as n where 1 > (select 0)").unwrap();
        let union = union.union(session.sql("select 2 as n where 2 < (select 3)").unwrap()).unwrap();
        sorted(union.typed::<i64>().unwrap().collect().unwrap())
    });
}

#[test]
fn nothing_in_nothing_out() {
    let folder = TempDir::new().unwrap();
    let session = Session::new(Settings::default()).unwrap();
    let none = session.from_vec::<(String, i64)>(Vec::new()).unwrap();
    assert_eq!(none.clone().reduce_by_key(Sum).collect().unwrap(), []);
    assert_eq!(none.count().unwrap(), 0);
    let path = path_of(&folder, "none");
    assert_eq!(none.write_parquet(&path).unwrap().rows, 0);
    assert_eq!(session.read_parquet(&path).unwrap().typed::<(String, i64)>().unwrap().collect().unwrap(), []);
}

// ── errors ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn what_is_missing_or_there_already_is_told() {
    let folder = TempDir::new().unwrap();
    let path = write_sales(&folder, 10);
    check(|session| {
        for missing in [session.read_text("/no/such.txt").err(), session.read_parquet("/no/such.parquet").err()] {
            let error = missing.unwrap();
            assert!(error.to_string().contains("/no/such"), "{error}");
        }
        let exists = session.from_vec(vec![1i64]).unwrap().write_parquet(&path).unwrap_err();
        assert!(exists.kind() == Kind::Request && exists.hint().is_some());
        let unknown = session.read_parquet(&path).unwrap().filter(col("prize").gt(1.0)).unwrap_err();
        assert!(unknown.hint().unwrap().contains("price"));
        let no_truth = session.read_parquet(&path).unwrap().filter(col("price")).unwrap_err();
        assert_eq!(no_truth.kind(), Kind::Request);
        let wrong = session.read_parquet(&path).unwrap().select(["price"]).unwrap().typed::<i64>().unwrap_err();
        assert!(wrong.kind() == Kind::Request && wrong.to_string().contains("price"), "{wrong}");
        assert!(session.read_parquet(&path).unwrap().sql("select nope from input").unwrap_err().is_user());
        assert!(session.read_parquet(&path).unwrap().sql("explain select 1").is_err());
    });
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "something was left behind: {names:?}");
}

#[test]
fn a_closure_that_panics_fails_the_job_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let output = path_of(&folder, "never");
    check(|session| {
        let numbers = session.from_vec((0..1_000i64).collect()).unwrap();
        let broken = numbers.clone().map(|n| if n == 777 { panic!("I do not like {n}") } else { n });
        let error = broken.collect().unwrap_err();
        assert_eq!(error.kind(), Kind::Job);
        let message = error.to_string();
        assert!(message.contains("I do not like 777") && message.contains("flows.rs"), "{message}");
        assert!(broken.write_parquet(&output).is_err());
        let error = numbers.clone().flat_map::<i64>(|_, _| panic!("never")).count().unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
        // The session goes on, and what is behind a closure is not the closure's.
        assert_eq!(numbers.count().unwrap(), 1_000);
        let behind = numbers.map(|n| n).filter(|_| panic!("behind")).collect().unwrap_err().to_string();
        assert!(behind.contains("behind") && behind.contains("flows.rs"), "{behind}");
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn a_null_in_a_type_without_it_is_told() {
    let folder = TempDir::new().unwrap();
    let path = write_sales(&folder, 1_000);
    check(|session| {
        let notes = session.read_parquet(&path).unwrap().select(["note"]).unwrap();
        let error = notes.clone().typed::<String>().unwrap().map(|note| note.len() as u64).collect().unwrap_err();
        assert_eq!(error.kind(), Kind::Job);
        assert!(error.to_string().contains("note") && error.to_string().contains("NULL"), "{error}");
        assert!(error.hint().unwrap().contains("Option"));
        let lengths = notes.typed::<Option<String>>().unwrap().map(|note| note.map(|note| note.len() as u64));
        lengths.filter(|length| length.is_none()).count().unwrap()
    });
}

#[test]
fn map_batches_must_give_what_it_said() {
    check(|session| {
        let numbers = session.from_vec((0..1_000i64).collect()).unwrap().untyped();
        let text = schema(&[("text", DataType::Utf8View)]);
        let wrong = numbers.clone().map_batches(|batch| Ok(batch.clone()), Arc::clone(&text)).collect().unwrap_err();
        assert_eq!(wrong.kind(), Kind::Job);
        assert!(wrong.to_string().contains("flows.rs"), "{wrong}");
        // Names are by place; rows may be dropped; errors of the closure stay what they are.
        let renamed = numbers.clone().map_batches(|batch| Ok(batch.slice(0, 1)), schema(&[("n", DataType::Int64)]));
        assert!(renamed.count().unwrap() > 0);
        let failing = numbers
            .clone()
            .map_batches(|_| Err(windrow::dataset::failure("x".parse::<i64>().unwrap_err())), Arc::clone(&text));
        let error = failing.collect().unwrap_err();
        assert!(error.kind() == Kind::Job && std::error::Error::source(&error).is_some());
        let nulls = numbers.map_batches(
            move |batch| {
                let nulls: StringViewArray = (0..batch.num_rows()).map(|_| None::<&str>).collect();
                let nullable = Schema::new(vec![Field::new("text", DataType::Utf8View, true)]);
                Ok(Batch::try_new(Arc::new(nullable), vec![Arc::new(nulls)])?)
            },
            text,
        );
        assert_eq!(nulls.collect().unwrap_err().kind(), Kind::Job);
        let digests = session.from_vec((0..1_000i64).collect::<Vec<_>>()).unwrap().untyped().collect().unwrap();
        assert_eq!(digests.batches.iter().map(|batch| batch.column(0).len()).sum::<usize>(), 1_000);
        let _: &Int64Array = digests.batches[0].column(0).as_primitive();
    });
}

// ── groups ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Visits of pages: who, when, which page.
fn visits(count: i64) -> Vec<(String, (i64, String))> {
    let visit =
        |k: i64| (format!("visitor {}", k * 7 % 23), (k * 31 % 1_000, format!("/a page with a long name/{}", k % 11)));
    (0..count).map(visit).collect()
}

#[test]
fn a_closure_sees_the_values_of_a_key_in_their_order() {
    let mut by_visitor: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for (visitor, visit) in visits(6_000) {
        by_visitor.entry(visitor).or_default().push(visit);
    }
    let mut expected = Vec::new();
    for (visitor, visits) in &mut by_visitor {
        visits.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let path: Vec<String> = visits.iter().map(|(at, page)| format!("{at}{page}")).collect();
        expected.push((visitor.clone(), path.join(" ")));
    }
    let found = check(|session| {
        let pairs = session.from_vec(visits(6_000)).unwrap().named(["visitor", "at", "page"]).unwrap();
        let grouped = pairs.group_by_key().in_order_of([desc("at")]).unwrap();
        let paths = grouped.map::<(String, String)>(|visitor, values| {
            let mut path = String::new();
            while let Some((at, page)) = values.next() {
                path.push_str(&format!("{}{at}{page}", if path.is_empty() { "" } else { " " }));
            }
            assert!(values.next().is_none(), "nothing comes behind the last value");
            (visitor.to_owned(), path)
        });
        sorted(paths.collect().unwrap())
    });
    assert_eq!(found, expected);
}

#[test]
fn a_closure_may_leave_values_and_give_any_number_of_rows() {
    // One key with nearly all rows: it goes on over many morsels.
    let rows = |count: i64| (0..count).map(|k| (if k % 100 == 0 { k % 7 } else { 99 }, k)).collect::<Vec<(i64, i64)>>();
    let found = check(|session| {
        let firsts = session.from_vec(rows(40_000)).unwrap().group_by_key();
        let firsts = firsts.flat_map::<(i64, i64)>(|key, values, out| {
            if key % 2 == 0 {
                return;
            }
            for _ in 0..2 {
                if let Some(value) = values.next() {
                    out.push((key, value));
                }
            }
            let left = values.count();
            out.push((key, -left));
            assert_eq!((values.count(), values.to_vec()), (0, Vec::new()));
        });
        sorted(firsts.collect().unwrap())
    });
    let mut expected = Vec::new();
    for key in [1, 3, 5, 99] {
        let values: Vec<i64> = rows(40_000).into_iter().filter(|row| row.0 == key).map(|row| row.1).collect();
        expected.extend([(key, values[0]), (key, values[1]), (key, 2 - values.len() as i64)]);
    }
    assert_eq!(found, sorted(expected));
    // What is given goes on into the rest of the flow.
    let session = Session::new(Settings::default()).unwrap();
    let counts =
        session.from_vec(rows(5_000)).unwrap().group_by_key().map::<(i64, i64)>(|_, values| (0, values.count()));
    assert_eq!(counts.reduce_by_key(Sum).collect().unwrap(), [(0, 5_000)]);
    let none = session.from_vec(rows(0)).unwrap().group_by_key().map::<i64>(|_, _| unreachable!("a group of nothing"));
    assert_eq!(none.collect().unwrap(), [0_i64; 0]);
}

#[test]
fn what_a_closure_over_groups_does_wrong_is_the_jobs_error() {
    let session = Session::new(Settings::default()).unwrap();
    let pairs = || session.from_vec((0..1_000_i64).map(|k| (k % 10, k)).collect::<Vec<_>>()).unwrap();
    let panics = pairs().group_by_key().map::<i64>(|key, _| if key == 7 { panic!("no sevens here") } else { key });
    let error = panics.collect().unwrap_err();
    assert_eq!(error.kind(), Kind::Job);
    let text = format!("{error}");
    assert!(text.contains("no sevens here") && text.contains("flows.rs:"), "{text}");
    let error = pairs().group_by_key().in_order_of([asc("nothing")]).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
    let plan = pairs().group_by_key().in_order_of([desc("_1")]).unwrap().map::<i64>(|key, _| key).explain().unwrap();
    assert!(plan.contains("map groups #0 of [_0] in order of _1 desc by closure"), "{plan}");
}

// ── pairs and joins ────────────────────────────────────────────────────────────────────────────────────────────────────

/// Orders of customers, and names of some customers, a few of them twice.
fn orders() -> Vec<(Option<String>, (i64, f64))> {
    let customer = |k: i64| (k % 13 != 0).then(|| format!("customer with number {}", k % 40));
    (0..900).map(|k| (customer(k), (k, k as f64 / 4.0))).collect()
}

fn names() -> Vec<(Option<String>, String)> {
    let name = |k: i64| (Some(format!("customer with number {}", k * 3 % 60)), format!("name {k}"));
    (0..25).map(name).chain([(None, "nobody".to_owned())]).collect()
}

#[test]
fn joins_of_pairs_are_what_loops_find() {
    let (orders, names) = (orders(), names());
    let (mut inner, mut left, mut semi, mut anti) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (customer, order) in &orders {
        let found: Vec<&String> = names.iter().filter(|name| name.0 == *customer).map(|name| &name.1).collect();
        let kept = (customer.clone(), *order);
        if found.is_empty() { &mut anti } else { &mut semi }.push(kept);
        inner.extend(found.iter().map(|name| (customer.clone(), (*order, (*name).clone()))));
        left.extend(found.iter().map(|name| (customer.clone(), (*order, Some((*name).clone())))));
        if found.is_empty() {
            left.push((customer.clone(), (*order, None)));
        }
    }
    fn by_text<T: Debug>(mut rows: Vec<T>) -> Vec<T> {
        rows.sort_by_cached_key(|row| format!("{row:?}"));
        rows
    }
    let found = check(|session| {
        let (orders, names) = (session.from_vec(orders.clone()).unwrap(), session.from_vec(names.clone()).unwrap());
        (
            by_text(orders.clone().join(names.clone()).collect().unwrap()),
            by_text(orders.clone().left_join(names.clone()).collect().unwrap()),
            by_text(orders.clone().semi_join(names.clone()).collect().unwrap()),
            by_text(orders.anti_join(names).collect().unwrap()),
        )
    });
    assert_eq!(found, (by_text(inner), by_text(left), by_text(semi), by_text(anti)));
}

#[test]
fn a_cogroup_sees_each_key_of_either_flow_once() {
    let (orders, names) = (orders(), names());
    let mut keys: Vec<Option<String>> =
        orders.iter().map(|o| o.0.clone()).chain(names.iter().map(|n| n.0.clone())).collect();
    keys.sort();
    keys.dedup();
    let mut expected = Vec::new();
    for key in keys {
        let of_key: Vec<i64> = orders.iter().filter(|order| order.0 == key).map(|order| order.1.0).collect();
        let mut called: Vec<String> = names.iter().filter(|name| name.0 == key).map(|name| name.1.clone()).collect();
        called.sort();
        expected.push((key, (of_key.iter().sum::<i64>(), of_key.len() as i64, called.join(","))));
    }
    let found = check(|session| {
        let (orders, names) = (session.from_vec(orders.clone()).unwrap(), session.from_vec(names.clone()).unwrap());
        let both = orders.cogroup(names).unwrap().map::<(Option<String>, (i64, i64, String))>(|key, orders, names| {
            let sum = orders.iter().map(|order| order.0).sum();
            (key.map(str::to_owned), (sum, orders.len() as i64, names.to_vec().join(",")))
        });
        sorted(both.unwrap().collect().unwrap())
    });
    assert_eq!(found, expected);
    // Of a flow without rows nothing comes, and values that nobody looks at are passed over.
    let session = Session::new(Settings::default()).unwrap();
    let none = session.from_vec(Vec::<(Option<String>, i64)>::new()).unwrap();
    let counted = session.from_vec(names).unwrap().cogroup(none).unwrap();
    let counted = counted.flat_map::<i64>(|_, names, others, out| {
        out.push(names.len() as i64);
        assert_eq!((others.next(), others.count()), (None, 0));
    });
    assert_eq!(counted.unwrap().collect().unwrap().iter().sum::<i64>(), 26);
}

#[test]
fn rows_get_keys_and_pairs_are_taken_apart() {
    let found = check(|session| {
        let sales = session.from_vec(sales(500)).unwrap();
        let by_city = sales.key_by(|sale| (sale.city.to_owned(), sale.is_paid));
        let pieces = by_city.clone().map_values(|sale| i64::from(sale.pieces)).reduce_by_key(Sum);
        let (cities, values) = (by_city.clone().keys().distinct().count().unwrap(), by_city.values().count().unwrap());
        (sorted(pieces.collect().unwrap()), cities, values)
    });
    let mut expected: BTreeMap<(String, bool), i64> = BTreeMap::new();
    for sale in sales(500) {
        *expected.entry((sale.city, sale.is_paid)).or_default() += i64::from(sale.pieces);
    }
    assert_eq!(found, (expected.into_iter().collect(), 6, 500));
    let session = Session::new(Settings::default()).unwrap();
    let numbers = session.from_vec(vec![5_i64, 3, 9]).unwrap().sort_by([asc("value")]).unwrap();
    assert_eq!(numbers.take(2).unwrap(), [3, 5]);
}
