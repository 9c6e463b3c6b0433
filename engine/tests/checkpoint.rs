//! Rows that are kept over runs: a second run reads them, whatever had become of the first.
//!
//! In: small inputs made here, on several numbers of threads. Out: the same rows each time, and how often closures were called. Never: knows how
//! a flow is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use windrow::{Dataset, Error, Kind, Session, Settings, Sum};

fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort();
    rows
}

fn session(threads: usize) -> Session {
    Session::new(Settings { threads, rows_per_morsel: 64, ..Settings::default() }).unwrap()
}

/// Squares by their last digit, which are made by a closure that is counted.
fn squares(session: &Session, calls: &Arc<AtomicU64>) -> Dataset<(i64, String)> {
    let calls = Arc::clone(calls);
    session.from_vec((0..1_000).collect::<Vec<i64>>()).unwrap().map(move |number| {
        calls.fetch_add(1, Relaxed);
        (number % 10, format!("{} squared is {}", number, number * number))
    })
}

/// A run of the program: what it gives, and how often its closure was called.
fn run(path: &Path, threads: usize) -> (Vec<(i64, String)>, u64) {
    let (session, calls) = (session(threads), Arc::default());
    let rows = squares(&session, &calls).checkpoint(path).unwrap();
    // What follows looks at the rows twice.
    let digits = rows.clone().map(|(digit, _)| (digit, 1i64)).reduce_by_key(Sum).collect().unwrap();
    assert_eq!(sorted(digits), (0..10).map(|digit| (digit, 100)).collect::<Vec<_>>());
    (sorted(rows.collect().unwrap()), calls.load(Relaxed))
}

fn parts(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    sorted(entries.filter(|path| path.extension().is_some_and(|ending| ending == "arrow")).collect())
}

#[test]
fn a_second_run_does_not_compute() {
    for threads in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("squares");
        let (rows, calls) = run(&path, threads);
        assert_eq!((rows.len(), calls), (1_000, 1_000));
        assert!(path.join("_SUCCESS").is_file() && !parts(&path).is_empty());
        for again in [1, 3] {
            assert_eq!(run(&path, again), (rows.clone(), 0), "{threads} threads, then {again}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left beside it");
    }
}

#[test]
fn a_torn_one_is_done_again() {
    type Tear = fn(&Path);
    let tears: &[(&str, Tear)] = &[
        ("a part is gone", |path| fs::remove_file(&parts(path)[0]).unwrap()),
        ("a part is cut", |path| {
            let part = fs::OpenOptions::new().write(true).open(&parts(path)[0]).unwrap();
            part.set_len(part.metadata().unwrap().len() - 1).unwrap();
        }),
        ("its end was not written", |path| fs::remove_file(path.join("_SUCCESS")).unwrap()),
        ("the folder alone is there", |path| {
            fs::remove_dir_all(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("squares");
    let (rows, _) = run(&path, 2);
    for (what, tear) in tears {
        tear(&path);
        assert_eq!(run(&path, 2), (rows.clone(), 1_000), "{what}");
        assert_eq!(run(&path, 2), (rows.clone(), 0), "after: {what}");
    }
}

#[test]
fn a_run_that_fails_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers");
    let numbers = |session: &Session, bad: i64| {
        let numbers = session.from_vec((0..1_000).collect::<Vec<i64>>()).unwrap();
        numbers.map(move |number| if number == bad { panic!("not {number}") } else { number }).checkpoint(&path)
    };
    let error = numbers(&session(2), 700).unwrap_err();
    assert!(error.to_string().contains("not 700") && !path.exists(), "{error}");
    assert_eq!(numbers(&session(2), -1).unwrap().count().unwrap(), 1_000);
    // What is there stands for the flow: it is not run.
    assert_eq!(numbers(&session(2), 700).unwrap().count().unwrap(), 1_000);
}

#[test]
fn no_rows_are_kept_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none");
    for calls in [1_000, 0] {
        let (session, counted) = (session(2), Arc::default());
        let none = squares(&session, &counted).filter(|(digit, _)| digit > 10).checkpoint(&path).unwrap();
        assert_eq!((none.collect().unwrap().len(), counted.load(Relaxed)), (0, calls));
    }
}

fn refused(error: Error, says: &[&str]) {
    let said = format!("{error}; {}", error.hint().unwrap_or_default());
    let missing: Vec<_> = says.iter().filter(|text| !said.contains(**text)).collect();
    assert!(error.kind() == Kind::Request && missing.is_empty(), "{missing:?} not said: {said}");
}

#[test]
fn other_columns_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("squares");
    run(&path, 2);
    let (session, calls) = (session(2), Arc::default());
    let squares = squares(&session, &calls);
    let says = ["reading the checkpoint", path.to_str().unwrap(), "_0 Int64, _1 Utf8", "another path"];
    let lengths = squares.clone().map(|(digit, text)| (digit, text.len() as i64));
    refused(lengths.checkpoint(&path).unwrap_err(), &[&says[..], &["_0 Int64, _1 Int64"]].concat());
    let named = squares.clone().named(["digit", "text"]).unwrap();
    refused(named.checkpoint(&path).unwrap_err(), &[&says[..], &["digit Int64, text Utf8"]].concat());
    // An output that is no checkpoint, and what is no output at all, stay as they are.
    let output = folder.path().join("output");
    squares.write_parquet(&output).unwrap();
    refused(squares.clone().checkpoint(&output).unwrap_err(), &["reading the checkpoint", "Parquet", "another path"]);
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "dear").unwrap();
    refused(squares.clone().checkpoint(&other).unwrap_err(), &["_SUCCESS", other.to_str().unwrap()]);
    fs::write(folder.path().join("file"), "dear").unwrap();
    refused(squares.checkpoint(folder.path().join("file")).unwrap_err(), &["_SUCCESS", "file"]);
    assert_eq!(fs::read_to_string(other.join("letter.txt")).unwrap(), "dear");
    assert_eq!(session.read_parquet(output.to_str().unwrap()).unwrap().count().unwrap(), 1_000);
}
