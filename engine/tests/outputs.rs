//! Outputs in every format: what was written is read again, on any number of threads; what is there already stays unless it is asked for.
//!
//! In: small rows made here, with what is hard for a format. Out: the same rows, files and folders as they must be; or the error that says
//! why not. Never: knows how a flow is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use windrow::{
    Answer, Kind, Session, Settings,
    batch::util::display::{ArrayFormatter, FormatOptions},
    dataset::asc,
};

/// Sessions that must do the same.
fn sessions() -> Vec<Session> {
    [(1, 3), (2, 64), (8, 65_536)]
        .map(|(threads, rows_per_morsel)| {
            Session::new(Settings { threads, rows_per_morsel, ..Settings::default() }).unwrap()
        })
        .into()
}

/// Rows as texts, sorted; NULL apart from every text.
fn rows(answer: &Answer) -> Vec<String> {
    let options = FormatOptions::new().with_null("<null>");
    let mut rows = Vec::new();
    for batch in &answer.batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap());
        let columns = columns.collect::<Vec<_>>();
        rows.extend((0..batch.num_rows()).map(|row| {
            columns.iter().map(|column| format!("{:?}", column.value(row).to_string())).collect::<Vec<_>>().join(" ")
        }));
    }
    rows.sort();
    rows
}

/// Values that formats are bad at; the first rows tell the readers the types.
const VALUES: &str = "select * from (values
    (1, cast('0.5' as double), 'plain', true, date '2024-02-29', timestamp '2024-01-02T03:04:05.678901', 'x'),
    (-9223372036854775808, cast('-0.0' as double), 'comma, quote \" and \"\"', false, date '1900-01-01', timestamp '1969-12-31T23:59:59.999999', ''),
    (null, null, null, null, null, null, null),
    (9223372036854775807, cast('1e300' as double), '', true, date '9999-12-31', timestamp '2024-01-02T03:04:05.000001', 'back\\slash'),
    (0, cast('1.7976931348623157e308' as double), 'line\n\r\nbreak', false, date '2000-01-01', timestamp '2024-01-02T03:04:05.100000', ' blanks '),
    (7, cast('0.1' as double), 'null', true, date '1970-01-01', timestamp '1970-01-01T00:00:00.000001', '\u{1}\tcontrol 🌾'),
    (8, cast('5e-324' as double), 'NULL', true, date '1970-01-02', timestamp '1970-01-01T00:00:00.000001', '{\"a\": [1]}')
) t(n, x, s, b, d, at, \"a \"\"name\"\", quoted\")";

/// The statement that reads `path` as the columns that [`VALUES`] has; what stands as a text in a format is cast.
fn read_back(path: &Path) -> String {
    let cast = "select n, cast(x as double) x, s, b, cast(d as date) d, cast(at as timestamp(6)) at, \"a \"\"name\"\", quoted\"";
    format!("{cast} from '{}'", path.display())
}

#[test]
fn what_was_written_is_read_again() {
    let folder = TempDir::new().unwrap();
    let values = format!(
        "select n, cast(x as double) x, s, b, d, cast(at as timestamp(6)) at, \"a \"\"name\"\", quoted\" from ({VALUES})"
    );
    let mut digests = BTreeSet::new();
    for (number, session) in sessions().into_iter().enumerate() {
        let expected = rows(&session.query(&values).unwrap());
        assert_eq!(expected.len(), 7);
        for ending in ["parquet", "csv", "jsonl", "arrow"] {
            let path = folder.path().join(format!("{number}.{ending}"));
            let answer = session.query(&format!("copy ({values}) to '{}'", path.display())).unwrap();
            assert!(rows(&answer)[0].starts_with("\"7\" ") && rows(&answer)[0].contains(path.to_str().unwrap()));
            assert_eq!(rows(&session.query(&read_back(&path)).unwrap()), expected, "{ending}");
            let success: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(path.join("_SUCCESS")).unwrap()).unwrap();
            assert_eq!(success["rows"], 7);
            digests.insert(success["digest"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(digests.len(), 1, "{digests:?}");
}

#[test]
fn many_rows_are_read_again_from_many_files() {
    let folder = TempDir::new().unwrap();
    // Columns of which some files have no value, or only whole ones.
    let numbers: Vec<(i64, Option<f64>, Option<String>)> = (0..20_000i64)
        .map(|n| (n, (n % 2 == 0).then_some(n as f64), (n > 19_000).then(|| format!("text {n}"))))
        .collect();
    for (number, session) in sessions().into_iter().enumerate() {
        let flow = session.from_vec(numbers.clone()).unwrap().named(["n", "x", "s"]).unwrap();
        for ending in ["parquet", "csv", "jsonl", "arrow"] {
            let path = folder.path().join(format!("{number}-{ending}"));
            let output = flow.write(&path);
            let written = match ending {
                "parquet" => output.parquet(),
                "csv" => output.csv(),
                "jsonl" => output.json(),
                _ => output.arrow(),
            };
            assert_eq!(written.unwrap().rows, 20_000, "{ending}");
            let count =
                format!("select count(*), sum(n), count(x), sum(x), count(s), max(s) from '{}'", path.display());
            let found = rows(&session.query(&count).unwrap());
            let expected = "\"20000\" \"199990000\" \"10000\" \"99990000.0\" \"999\" \"text 19999\"";
            assert_eq!(found, [expected], "{ending}");
        }
    }
}

#[test]
fn text_is_a_line_a_row() {
    let folder = TempDir::new().unwrap();
    for (number, session) in sessions().into_iter().enumerate() {
        let path = folder.path().join(format!("{number}"));
        let lines = ["", "one", "two\ttwo", " three ", "vier 🌾"].map(str::to_owned);
        session.from_vec(lines.to_vec()).unwrap().write_text(&path).unwrap();
        let mut found = session.read_text(path.to_str().unwrap()).unwrap().collect().unwrap();
        found.sort();
        let mut expected = lines.to_vec();
        expected.sort();
        assert_eq!(found, expected);
        let bytes = session.from_vec(vec![vec![0xffu8, 0], b"b".to_vec()]).unwrap();
        assert_eq!(bytes.write_text(folder.path().join(format!("bytes {number}"))).unwrap().bytes, 5);
    }
}

#[test]
fn what_a_format_cannot_say_is_an_error_and_no_output() {
    let folder = TempDir::new().unwrap();
    let session = Session::new(Settings::default()).unwrap();
    for (query, ending, kind, words) in [
        ("select 'a\nb' s", "txt", Kind::Request, "a line has a newline in it"),
        ("select 'a\r' s", "txt", Kind::Request, "a line has a newline in it"),
        ("select cast(null as varchar) s", "txt", Kind::Request, "NULL"),
        ("select 1 n", "txt", Kind::Request, "n Int64"),
        ("select 'a' s, 'b' t", "txt", Kind::Request, "one column"),
        ("select cast(null as varchar) s", "csv", Kind::Request, "\"s\""),
        ("select cast('NaN' as double) x", "jsonl", Kind::Request, "\"x\" has the value NaN"),
        ("select 1 as a, 2 as b, make_array(1) as l", "csv", Kind::Unsupported, ""),
    ] {
        let path = folder.path().join(format!("out.{ending}"));
        let error = session.query(&format!("copy ({query}) to '{}'", path.display())).unwrap_err();
        if !words.is_empty() {
            assert!(error.to_string().contains(words), "{query}: {error}");
            assert!(error.hint().is_some(), "{query}: {error}");
        }
        assert!(error.kind() == kind || words.is_empty() && error.is_user(), "{query}: {error:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
    // A number in quotes is none: NULL can be said.
    let path = folder.path().join("numbers.csv");
    session.query(&format!("copy (select * from (values (1), (null), (3)) t(n)) to '{}'", path.display())).unwrap();
    let found = session.query(&format!("select count(*), count(n), sum(n) from '{}'", path.display())).unwrap();
    assert_eq!(rows(&found), ["\"3\" \"2\" \"4\""]);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn a_partitioned_output_has_a_folder_a_value() {
    let folder = TempDir::new().unwrap();
    let query = "select n, n % 3 as m, case when n % 5 = 0 then null else concat('k/', cast(n % 2 as varchar)) end as k, cast(n as double) / 2 as x \
        from (select column1 * 10 + column2 as n from (values (0), (1), (2), (3)) a cross join (values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) b(column2))";
    for (number, session) in sessions().into_iter().enumerate() {
        for ending in ["csv", "parquet", "arrow", "jsonl"] {
            let path = folder.path().join(format!("{number}.{ending}"));
            let copy = format!("copy ({query}) to '{}' partitioned by (m, k)", path.display());
            session.query(&copy).unwrap_or_else(|error| panic!("{copy}: {error:?}"));
            let mut seen = 0;
            let mut folders = BTreeSet::new();
            for file in files(&path).into_iter().filter(|file| !file.ends_with("_SUCCESS")) {
                let within = file.parent().unwrap().strip_prefix(&path).unwrap().to_str().unwrap().to_owned();
                let (m, k) = within.split_once('/').unwrap();
                let condition = match k {
                    "k=__HIVE_DEFAULT_PARTITION__" => "n % 5 = 0",
                    "k=k%2F0" => "n % 5 <> 0 and n % 2 = 0",
                    "k=k%2F1" => "n % 5 <> 0 and n % 2 = 1",
                    other => panic!("{other}"),
                };
                let m = m.strip_prefix("m=").unwrap();
                let check = format!(
                    "select count(*), count(*) filter (where n % 3 = {m} and {condition}) from '{}'",
                    file.display()
                );
                let counts = rows(&session.query(&check).unwrap()).remove(0);
                let (all, right) = counts.split_once(' ').unwrap();
                assert_eq!(all, right, "{within}");
                seen += all.trim_matches('"').parse::<u64>().unwrap();
                folders.insert(within);
                let columns = session.query(&format!("select * from '{}' limit 1", file.display())).unwrap();
                let names: Vec<_> = columns.schema.fields().iter().map(|field| field.name().clone()).collect();
                assert_eq!(names, ["n", "x"]);
            }
            assert_eq!((seen, folders.len()), (40, 9), "{ending}");
        }
    }
}

#[test]
fn rows_of_many_folders_in_no_order_come_to_few_files() {
    let folder = TempDir::new().unwrap();
    let table = folder.path().join("rows");
    let input = (0..60_000i64).map(|n| (n * 7_919 % 900, n, (n % 11 != 0).then(|| format!("row {n}"))));
    let input = sessions()[0].from_vec(input.collect::<Vec<_>>()).unwrap().named(["k", "n", "s"]).unwrap();
    input.write_parquet(&table).unwrap();
    for (number, (threads, rows_per_morsel, revocable_bytes)) in
        [(1, 64, None), (3, 1_024, None), (2, 64, Some(0))].into_iter().enumerate()
    {
        let settings = Settings { threads, rows_per_morsel, revocable_bytes, ..Settings::default() };
        let session = Session::new(settings).unwrap();
        let path = folder.path().join(format!("{number}"));
        let copy = format!("copy '{}' to '{}' stored as csv partitioned by (k)", table.display(), path.display());
        let analyzed = rows(&session.query(&format!("explain analyze {copy}")).unwrap()).join("\n");
        let mut spilled =
            analyzed.split(" spilled").filter_map(|before| before.rsplit(' ').next()?.parse::<u64>().ok());
        assert_eq!(spilled.any(|bytes| bytes > 0), revocable_bytes.is_some(), "{analyzed}");
        // Of each folder one file for each thread, and of those that threads meet among the first one more.
        let files = files(&path).len() - 1;
        assert!((900..=900 * threads + 64).contains(&files), "{files} files");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 900 + 1);
        let read = |folders: &str, condition: &str| {
            let counts = format!("select count(*), count(s), count(*) filter (where {condition}), sum(n)");
            rows(&session.query(&format!("{counts} from '{}/{folders}/*.csv'", path.display())).unwrap()).remove(0)
        };
        assert_eq!(read("*", "s = concat('row ', n)"), r#""60000" "54545" "54545" "1799970000""#);
        let of_17 = (0..60_000i64).filter(|n| n * 7_919 % 900 == 17);
        let (count, texts) = (of_17.clone().count(), of_17.clone().filter(|n| n % 11 != 0).count());
        let expected = format!("\"{count}\" \"{texts}\" \"{count}\" \"{}\"", of_17.sum::<i64>());
        assert_eq!(read("k=17", "n * 7919 % 900 = 17"), expected);
    }
}

#[test]
fn an_output_that_is_there_is_replaced_or_added_to_as_asked() {
    let folder = TempDir::new().unwrap();
    for (number, session) in sessions().into_iter().enumerate() {
        let path = folder.path().join(format!("{number}"));
        let numbers =
            |range: std::ops::Range<i64>| session.from_vec(range.collect::<Vec<_>>()).unwrap().named(["n"]).unwrap();
        let seen = || {
            let flow = session.read_arrow(path.to_str().unwrap()).unwrap().typed::<i64>().unwrap();
            let rows = flow.sort_by([asc("n")]).unwrap().collect().unwrap();
            let success: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(path.join("_SUCCESS")).unwrap()).unwrap();
            (rows, success["rows"].as_u64().unwrap(), success["digest"].as_str().unwrap().to_owned())
        };
        let first = numbers(0..100).write_arrow(&path).unwrap();
        assert!(numbers(0..5).write_arrow(&path).unwrap_err().hint().unwrap().contains("overwritten"));
        numbers(100..150).write(&path).append().arrow().unwrap();
        let all = seen();
        assert_eq!((all.0, all.1), ((0..150).collect(), 150));
        // The digest is that of rows that were written at once.
        let whole = numbers(0..150).write(folder.path().join(format!("{number} whole"))).append().arrow().unwrap();
        assert_eq!(all.2, whole.digest.to_string());
        let other = numbers(7..9).write(&path).overwrite().arrow().unwrap();
        assert_eq!(seen(), ((7..9).collect(), 2, other.digest.to_string()));
        assert_ne!(first.digest, other.digest);
        assert_eq!(numbers(0..9).write(&path).append().csv().unwrap_err().kind(), Kind::Request);
        // Other columns would make all of it unreadable; other layouts of the same values do not.
        for query in ["select 1 as m", "select 'x' as n", "select 1 as n, 2 as m", "select cast(1 as int) as n"] {
            let error = session.sql(query).unwrap().write(&path).append().arrow().unwrap_err();
            assert_eq!(error.kind(), Kind::Request, "{query}");
            assert!(error.to_string().contains("the rows there have n Int64"), "{query}: {error}");
        }
        assert_eq!(seen().0, (7..9).collect::<Vec<_>>());
        let words = folder.path().join("words");
        for (query, rows) in [("'a'", 1), ("concat('b', cast(n as varchar))", 2), ("arrow_cast('c', 'LargeUtf8')", 3)] {
            let query = format!("select {query} as s from '{}' limit 1", path.display());
            session.sql(&query).unwrap().write(&words).append().parquet().unwrap();
            assert_eq!(session.read_parquet(words.to_str().unwrap()).unwrap().count().unwrap(), rows);
        }
        fs::remove_dir_all(words).unwrap();
        let error = numbers(0..9).write("s3://bucket/out").csv().unwrap_err();
        assert!(error.kind() == Kind::Unsupported && !Path::new("s3:").exists(), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6, "something was left behind");
}

#[test]
fn a_plan_that_writes_is_drawn_and_counted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    let session = Session::new(Settings::default()).unwrap();
    let copy = format!("copy (select 1 a, 2 b) to '{}' partitioned by (a)", path.display());
    let plan = rows(&session.query(&format!("explain {copy}")).unwrap()).join("\n");
    assert!(plan.contains("write #") && plan.contains("partitioned by a") && !path.exists(), "{plan}");
    let ran = rows(&session.query(&format!("explain analyze {copy}")).unwrap()).join("\n");
    assert!(ran.contains("1 rows out") && path.join("a=1").is_dir(), "{ran}");
    assert!(session.sql(&copy).unwrap_err().hint().unwrap().contains(".write"));
}

/// Files of many folders hold no more than their share of the memory.
#[test]
fn many_folders_are_written_with_little_memory() {
    let folder = TempDir::new().unwrap();
    let settings = Settings { threads: 2, memory_bytes: 8 << 20, rows_per_morsel: 1_024, ..Settings::default() };
    let session = Session::new(settings).unwrap();
    let rows = (0..40_000i64).map(|n| (n % 50, format!("a text that takes its room: {n} {}", "x".repeat(200))));
    let path = folder.path().join("out");
    // The rows are held by the flow itself, so they are read from files first.
    let source = folder.path().join("source");
    let generous = Session::new(Settings::default()).unwrap();
    generous.from_vec(rows.collect()).unwrap().named(["k", "s"]).unwrap().write_csv(&source).unwrap();
    let written = session.read_csv(source.to_str().unwrap()).unwrap().write(&path).partitioned_by(["k"]).parquet();
    assert_eq!(written.unwrap().rows, 40_000);
    let count = format!("select count(*), count(distinct s) from '{}/*/*.parquet'", path.display());
    assert_eq!(self::rows(&generous.query(&count).unwrap()), ["\"40000\" \"40000\""]);
}
