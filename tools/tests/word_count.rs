//! Word count by the bench library, against a count in a plain map.
//!
//! In: a text made here. Out: passes, or says what differs. Never: trusts the engine to read its own output only by its digest.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, fs};

use arrow::{array::AsArray, datatypes::Int64Type};
use windrow::{Session, Settings};
use windrow_bench::{WorkloadRun, word_count, workload};
use windrow_datasets::{TextOptions, write_text};

#[test]
fn counts_are_right_and_the_same_bits_on_any_number_of_threads() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let text = folder.path().join("words.txt");
    write_text(&TextOptions { bytes: 3_000_000, seed: 7, out: text.clone(), overwrite: false }).unwrap();
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for word in fs::read_to_string(&text).unwrap().split_ascii_whitespace() {
        *expected.entry(word.to_owned()).or_default() += 1;
    }

    let mut digests = Vec::new();
    for threads in [1, 2, 3, 8] {
        for rows_per_morsel in [64, 1_024, 65_536] {
            let session = Session::new(Settings { threads, rows_per_morsel, ..Settings::default() }).unwrap();
            let out = folder.path().join(format!("counts-{threads}-{rows_per_morsel}"));
            let written = word_count(&session, &text, &out).unwrap();
            assert_eq!(written.rows, expected.len() as u64);
            digests.push(written.digest.to_string());

            let counts = session.query(&format!("select * from '{}'", out.display())).unwrap();
            assert_eq!(counts.digest().unwrap().to_string(), digests[0]);
            let mut found = BTreeMap::new();
            for batch in &counts.batches {
                let (words, times) = (batch.column(0).as_string_view(), batch.column(1).as_primitive::<Int64Type>());
                found.extend(words.iter().zip(times).map(|(word, times)| (word.unwrap().to_owned(), times.unwrap())));
            }
            assert!(found == expected, "{threads} threads, morsels of {rows_per_morsel}");
        }
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn a_run_is_measured_and_leaves_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let text = folder.path().join("words.txt");
    fs::write(&text, "a b a\n\n  a\tc\n").unwrap();
    let session = Session::new(Settings { threads: 2, ..Settings::default() }).unwrap();
    let mut told = 0;
    let workload = workload("wordcount").unwrap();
    let scratch = folder.path();
    let run = WorkloadRun { workload, session: &session, input: &text, pattern: "", bytes: 0, scratch, runs: 2 };
    let measurements = run
        .run(|measurement, out| -> windrow::Result<()> {
            told += 1;
            assert!(out.is_dir() && measurement.rows == 3 && measurement.bytes_in == 13);
            Ok(())
        })
        .unwrap();
    assert_eq!((told, measurements.len()), (2, 2));
    assert_eq!(measurements[0].digest, measurements[1].digest);
    assert!(measurements.iter().all(|m| m.seconds > 0.0 && m.cpu_seconds >= 0.0 && m.peak_bytes > 0 && m.threads == 2));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
