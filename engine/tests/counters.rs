//! Counters that closures add to: the sums of what happened, once, wherever it did.
//!
//! In: small inputs made here, on several numbers of threads and sizes of morsels. Out: the counts that plain Rust finds. Never: knows how a flow
//! is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use support::{check_in, sorted};
use windrow::{Dataset, Kind, Session, Settings, Sum, dataset::failure};

#[allow(dead_code, reason = "this test runs no examples")]
mod support;

fn session() -> Session {
    Session::new(Settings { threads: 2, rows_per_morsel: 16, ..Settings::default() }).unwrap()
}

fn numbers(session: &Session, count: i64) -> Dataset<i64> {
    session.from_vec((0..count).collect()).unwrap()
}

fn counts<const N: usize>(counts: [(&str, i64); N]) -> BTreeMap<String, i64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn every_closure_counts_what_it_sees() {
    let shapes = [(1, 1, None), (3, 1, None), (1, 65_536, None), (3, 64, None), (8, 7, None), (2, 32, Some(0))];
    let (found, rows) = check_in(shapes, |session| {
        let (odd, words, filtered) = (session.counter("odd"), session.counter("words"), session.counter("filtered"));
        let (keys, values, bad) = (session.counter("keys"), session.counter("values"), session.counter("bad"));
        let kept = numbers(session, 2_000)
            .map(move |number| {
                odd.add(number % 2);
                number
            })
            .filter(move |number| {
                let keeps = number % 3 == 0;
                filtered.add(i64::from(!keeps));
                keeps
            })
            .flat_map::<(i64, i64)>(move |number, out| {
                words.add(2);
                out.push((number % 7, number));
                out.push((number % 11, 1));
            })
            .group_by_key()
            .map::<(i64, i64)>(move |key, group| {
                keys.add(1);
                let mut sum = 0;
                while let Some(value) = group.next() {
                    values.add(1);
                    sum += value;
                }
                (key, sum)
            });
        let rows = sorted(kept.collect().unwrap());
        // Of another action, in a closure that may fail.
        let (_, letters) = numbers(session, 100)
            .try_map(move |number| {
                bad.add(i64::from(number % 10 == 0));
                if number % 10 == 0 { Err(failure("ten")) } else { Ok(number) }
            })
            .dead_letters(10)
            .unwrap();
        assert_eq!(letters.len(), 10);
        (session.counters(), rows)
    });
    let kept = (0..2_000i64).filter(|number| number % 3 == 0).count() as i64;
    let expected = [
        ("bad", 10),
        ("filtered", 2_000 - kept),
        ("keys", 11),
        ("odd", 1_000),
        ("values", 2 * kept),
        ("words", 2 * kept),
    ];
    assert_eq!((found, rows.len()), (counts(expected), 11));
}

#[test]
fn actions_add_up_and_each_counts_as_often_as_it_runs() {
    let session = session();
    let seen = session.counter("seen");
    assert_eq!((seen.name(), session.counters()), ("seen", BTreeMap::new()));
    let rows = numbers(&session, 100).map(move |number| {
        seen.add(1);
        number
    });
    assert_eq!(rows.clone().count().unwrap(), 100);
    assert_eq!(session.counters(), counts([("seen", 100)]));
    // What is kept was counted when it was made.
    let cached = rows.cache().unwrap();
    assert_eq!(session.counters(), counts([("seen", 200)]));
    assert_eq!(sorted(cached.reduce_sum()), [(0, 4_950)]);
    assert_eq!(session.counters(), counts([("seen", 200)]));
    // Another handle of the name is the same counter; outside of closures nothing is counted.
    session.counter("seen").add(1_000);
    let (one, other) = (session.counter("seen"), session.counter("seen"));
    let folder = tempfile::tempdir().unwrap();
    let written = numbers(&session, 10).map(move |number| {
        one.add(1);
        other.add(-3);
        number
    });
    written.write_parquet(folder.path().join("out")).unwrap();
    assert_eq!(session.counters(), counts([("seen", 180)]));
}

trait ReduceSum {
    fn reduce_sum(self) -> Vec<(i64, i64)>;
}

impl ReduceSum for Dataset<i64> {
    fn reduce_sum(self) -> Vec<(i64, i64)> {
        self.map(|number| (0, number)).reduce_by_key(Sum).collect().unwrap()
    }
}

#[test]
fn an_action_that_fails_counts_nothing() {
    let session = session();
    let run = |bad: i64| {
        let seen = session.counter("seen");
        let rows = numbers(&session, 1_000).map(move |number| {
            seen.add(1);
            if number == bad { panic!("not {number}") } else { number }
        });
        rows.count()
    };
    assert!(run(900).unwrap_err().to_string().contains("not 900"));
    assert_eq!(session.counters(), BTreeMap::new());
    assert_eq!(run(-1).unwrap(), 1_000);
    assert_eq!(session.counters(), counts([("seen", 1_000)]));
}

#[test]
fn too_many_counters_are_told() {
    let session = session();
    let of = session.clone();
    let many = numbers(&session, 1_000).map(move |number| {
        of.counter(&format!("of {number}")).add(1);
        number
    });
    let error = many.count().unwrap_err();
    assert!(error.kind() == Kind::Job && error.to_string().contains("counters"), "{error}");
    let name = "x".repeat(200);
    let long = session.counter(&name);
    let error = numbers(&session, 1).map(move |number| {
        long.add(1);
        number
    });
    let error = error.count().unwrap_err();
    assert!(error.kind() == Kind::Job && error.to_string().contains("the name of a counter"), "{error}");
    assert_eq!(session.counters(), BTreeMap::new());
}
