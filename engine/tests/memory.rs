//! Whatever memory there is, as long as a job can begin at all: it ends, with the answer that it has without a limit.
//!
//! In: files of groups, made here. Out: the same answer from every budget and number of threads; an error where a budget is luck. Never: a
//! look at how much was spilled, but that something was.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fmt::Write, fs, path::Path};

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

/// The statements about a file of 600 000 rows with 500 000 keys of this type hold.
fn hold_of_groups(key_type: KeyType, statements: &[&dyn Fn(&str) -> String]) {
    let folder = tempfile::tempdir().unwrap();
    let file = groups(folder.path(), key_type);
    statements.iter().for_each(|statement| holds(&statement(&file), folder.path()));
}

fn groups(folder: &Path, key_type: KeyType) -> String {
    let out = folder.join("groups.parquet");
    let options =
        GroupsOptions { rows: 600_000, keys: 500_000, key_type, threads: 2, overwrite: false, out: out.clone() };
    write_groups(&options).unwrap();
    out.to_str().unwrap().to_owned()
}

#[test]
fn a_grouping_ends_with_any_memory() {
    for key_type in [KeyType::Number, KeyType::Text] {
        hold_of_groups(
            key_type,
            &[
                &|file| grouping("k", file),
                // Long strings, of which nobody knows before how much they take.
                &|file| grouping("k || ' and more text that makes it long'", file),
                &|file| format!("select count(distinct k) from '{file}'"),
                &|file| format!("select count(distinct k), sum(v), count(distinct v), max(k) from '{file}'"),
            ],
        );
    }
}

fn grouping(key: &str, file: &str) -> String {
    format!(
        "select count(*), sum(n), sum(s), max(k) from (select {key} k, count(*) n, sum(v) s from '{file}' group by 1)"
    )
}

#[test]
fn a_join_ends_with_any_memory() {
    let join = |file: &str| {
        format!("select count(*), sum(a.v), max(b.k) from '{file}' a join '{file}' b on a.k = b.k and a.v < b.v")
    };
    hold_of_groups(KeyType::Text, &[&join]);
}

#[test]
fn a_sort_ends_with_any_memory() {
    hold_of_groups(KeyType::Text, &[&|file| format!("select k, v from '{file}' order by k, v limit 10 offset 599000")]);
}

#[test]
fn what_is_sorted_behind_a_grouping_or_a_join_ends_with_any_memory() {
    // The sort can write what it holds when its source is refused memory: no group and no pair may be lost by that.
    let of = |rows: &str| format!("select count(*), sum(n), sum(length(k)) from ({rows})");
    hold_of_groups(
        KeyType::Text,
        &[&|file| of(&format!("select k, count(*) n from '{file}' group by k order by k, n limit 480000")), &|file| {
            of(&format!("select a.k, b.v n from '{file}' a join '{file}' b on a.k = b.k order by 1, 2 limit 790000"))
        }],
    );
}

#[test]
fn pieces_of_a_text_file_are_read_once_though_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.csv");
    let mut text = String::from("k,v,t\n");
    for row in 0..700_000_u64 {
        let _ = writeln!(text, "{},{row},text of row {row}", row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
    }
    assert!(text.len() > 20 << 20, "several pieces of 4 MiB");
    fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    holds(
        &format!("select count(*), sum(k), sum(v), max(t) from (select * from '{file}' order by k, v limit 690000)"),
        folder.path(),
    );
    holds(
        &format!("select count(*), sum(n), sum(s) from (select t, count(*) n, sum(v) s from '{file}' group by t)"),
        folder.path(),
    );
}
