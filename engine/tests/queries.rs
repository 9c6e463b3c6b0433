//! Small queries with the answers that the SQL standard gives; each runs on several thread counts and morsel sizes, in memory and spilled.
//!
//! In: `tests/queries/*.slt`: a query, `----`, its rows. Out: the rows compared, as a sequence where the query orders them, else sorted.
//! Never: an answer that was copied from this engine; they are worked out by hand or by another engine.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fmt::Write, fs, path::Path};

use windrow::{
    Session, Settings,
    batch::util::display::{ArrayFormatter, FormatOptions},
};

#[test]
fn queries_have_their_answers() {
    let mut wrong = String::new();
    let mut count = 0;
    // With 0 revocable bytes whatever can be spilled is spilled.
    for (threads, rows_per_morsel, revocable_bytes) in
        [(1, 1, None), (2, 2, None), (3, 16_384, None), (1, 1, Some(0)), (2, 2, Some(0)), (2, 16_384, Some(0))]
    {
        let memory_bytes = if revocable_bytes.is_some() { 64 << 20 } else { 1 << 30 };
        let settings = Settings { threads, memory_bytes, revocable_bytes, rows_per_morsel, ..Settings::default() };
        let session = Session::new(settings).unwrap();
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queries")).unwrap() {
            let path = entry.unwrap().path();
            for case in fs::read_to_string(&path).unwrap().split("\n\n").filter(|case| !case.trim().is_empty()) {
                count += 1;
                let (query, expected) = case.split_once("\n----").unwrap_or_else(|| panic!("no answer: {case}"));
                let query: Vec<&str> = query.lines().filter(|line| !line.starts_with('#')).collect();
                let query = query.join("\n");
                let mut expected: Vec<String> = expected.trim().lines().map(str::to_owned).collect();
                let mut found = match session.query(&query) {
                    Ok(answer) => rows(&answer),
                    Err(error) if error.kind() == windrow::Kind::Unsupported => {
                        vec![format!("refused: {}", error.to_string().trim_end_matches(" is not supported"))]
                    }
                    Err(error) => vec![format!("error: {error:?}")],
                };
                if !is_ordered(&query) {
                    expected.sort();
                    found.sort();
                }
                if found != expected {
                    let _ = writeln!(
                        wrong,
                        "{threads} threads, {rows_per_morsel} rows, {revocable_bytes:?} revocable:\n{query}\n  expected {expected:?}\n  found    {found:?}"
                    );
                }
            }
        }
    }
    assert!(count >= 6 * 30, "only {count} runs");
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Which windows are asked for the first rows of their partitions only: those of which no call looks further.
#[test]
fn first_rows_are_asked_of_the_window() {
    let session = Session::new(Settings { threads: 1, ..Settings::default() }).unwrap();
    let bounds = |calls: &str, condition: &str| -> Vec<String> {
        let query = format!(
            "explain select * from (select *, {calls} from (values (1, 2), (3, 4)) t(p, o) window w as (partition by p order by o)) where {condition}"
        );
        let plan = rows(&session.query(&query).unwrap_or_else(|error| panic!("{query}: {error:?}")));
        let lines = plan.iter().flat_map(|row| row.lines());
        let bounds = lines.filter_map(|line| line.split_once("into window")?.1.split_once(", where "));
        bounds.map(|(_, bound)| bound.to_owned()).collect()
    };
    let number = "row_number() over w as r";
    for condition in ["r <= 2", "r < 3", "2 >= r and o > 0", "r < 9 and r <= 2", "r = 2"] {
        assert_eq!(bounds(number, condition), ["row_number() <= 2"], "{condition}");
    }
    for condition in ["r >= 2", "r <= 0", "r <= 2 or o = 1", "r <= o", "r + 1 <= 2"] {
        assert_eq!(bounds(number, condition), [""; 0], "{condition}");
    }
    assert_eq!(bounds(&format!("{number}, rank() over w as k, lag(o) over w as l"), "k = 1"), ["rank() <= 1"]);
    assert_eq!(bounds("dense_rank() over w as r", "r < 2"), ["dense_rank() <= 1"]);
    for other in ["lead(o) over w", "sum(o) over w", "ntile(2) over w", "lag(o + 1) over w"] {
        assert_eq!(bounds(&format!("{number}, {other}"), "r <= 2"), [""; 0], "{other}");
    }
}

/// Grouping sets are one pass over the rows, and those that have a finer one none.
#[test]
fn grouping_sets_read_their_rows_once() {
    let session = Session::new(Settings { threads: 1, ..Settings::default() }).unwrap();
    let plan = |sets: &str| -> Vec<String> {
        let query =
            format!("explain select count(*), sum(c) from (values (1, 2, 3), (4, 5, 6)) t(a, b, c) group by {sets}");
        let plan = rows(&session.query(&query).unwrap_or_else(|error| panic!("{query}: {error:?}")));
        plan.iter().flat_map(|row| row.lines().map(|line| line.trim().to_owned())).collect()
    };
    let groupings = |plan: &[String], what: &str| {
        plan.iter().filter(|line| line.starts_with("into")).map(|line| line.matches(what).count()).sum::<usize>()
    };
    for (sets, of_rows, merged) in [
        ("cube(a, b, c)", 1, 7),
        ("rollup(a, b)", 1, 2),
        ("grouping sets ((a), (b), (c, b))", 2, 1),
        ("grouping sets ((a), (a), ())", 1, 1),
        ("grouping sets ((a), (b))", 2, 0),
    ] {
        let plan = plan(sets);
        assert_eq!(plan.iter().filter(|line| line.starts_with("values")).count(), 1, "{plan:#?}");
        let whole = groupings(&plan, "aggregate") - groupings(&plan, "of parts");
        assert_eq!(whole, of_rows, "{plan:#?}");
        assert_eq!(groupings(&plan, "of parts"), merged, "{plan:#?}");
    }
}

/// Does the query itself say an order, and not only a part of it in parentheses?
fn is_ordered(query: &str) -> bool {
    let open = |text: &str| text.matches('(').count() - text.matches(')').count();
    query.match_indices("order by").any(|(place, _)| open(&query[..place]) == 0)
}

fn rows(answer: &windrow::Answer) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in &answer.batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    rows
}
