//! Whatever memory there is, as long as a job can begin at all: it ends, with the answer that it has without a limit.
//!
//! In: files of groups, made here. Out: the same answer from every budget and number of threads; an error where a budget is luck. Never: a
//! look at how much was spilled, but that something was.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use windrow::{Answer, Session, Settings, batch::util::pretty::pretty_format_batches};
use windrow_datasets::{GroupsOptions, KeyType, write_groups};

const MEBIBYTE: u64 = 1 << 20;

fn run(statement: &str, threads: usize, memory_bytes: u64, folder: &Path) -> windrow::Result<Answer> {
    let spill_folders = vec![folder.to_owned()];
    Session::new(Settings { threads, memory_bytes, spill_folders, ..Settings::default() })?.query(statement)
}

/// Runs the statement with each budget; all answers are that of a run without a limit, and some have spilled.
fn holds(statement: &str, folder: &Path) {
    let shown = |answer: &Answer| pretty_format_batches(&answer.batches).unwrap().to_string();
    let expected = shown(&run(statement, 2, 1 << 30, folder).unwrap());
    let mut spilled_bytes = 0;
    for mebibytes in [8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64] {
        for threads in [1, 2] {
            match run(statement, threads, mebibytes * MEBIBYTE, folder) {
                Ok(answer) => {
                    assert_eq!(shown(&answer), expected, "{mebibytes} MiB, {threads} threads: {statement}");
                    spilled_bytes += answer.report.spilled_bytes;
                }
                Err(error) => panic!("{mebibytes} MiB, {threads} threads: {statement}\n{error:?}"),
            }
        }
    }
    assert!(spilled_bytes > 0, "nothing was spilled: {statement}");
}

fn groups(folder: &Path, name: &str, key_type: KeyType) -> String {
    let out = folder.join(name);
    let options =
        GroupsOptions { rows: 600_000, keys: 500_000, key_type, threads: 2, overwrite: false, out: out.clone() };
    write_groups(&options).unwrap();
    out.to_str().unwrap().to_owned()
}

#[test]
fn a_grouping_ends_with_any_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (name, key_type) in [("numbers.parquet", KeyType::Number), ("texts.parquet", KeyType::Text)] {
        let file = groups(folder.path(), name, key_type);
        holds(
            &format!(
                "select count(*), sum(n), sum(s), max(k) from (select k, count(*) n, sum(v) s from '{file}' group by k)"
            ),
            folder.path(),
        );
        holds(&format!("select count(distinct k) from '{file}'"), folder.path());
        // Long strings, of which nobody knows before how much they take.
        holds(
            &format!(
                "select count(*), sum(n), sum(s), max(k) from \
                 (select k || ' and more text that makes it long' k, count(*) n, sum(v) s from '{file}' group by 1)"
            ),
            folder.path(),
        );
    }
}

#[test]
fn a_join_ends_with_any_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = groups(folder.path(), "texts.parquet", KeyType::Text);
    holds(
        &format!("select count(*), sum(a.v), max(b.k) from '{file}' a join '{file}' b on a.k = b.k and a.v < b.v"),
        folder.path(),
    );
}

#[test]
fn a_sort_ends_with_any_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = groups(folder.path(), "texts.parquet", KeyType::Text);
    holds(&format!("select k, v from '{file}' order by k, v limit 10 offset 599000"), folder.path());
}
