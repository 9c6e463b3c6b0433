//! Operators of the Rust API over whole flows, each on several numbers of threads and sizes of morsels, in memory and spilled, against plain Rust:
//! samples, numbers of rows, outer joins, parts, records that closures cannot use.
//!
//! In: small inputs made here. Out: the same each time. Never: knows how a flow is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

#[allow(dead_code, reason = "there are no examples here")]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use support::{check_in, sorted};
use tempfile::TempDir;
use windrow::{
    Dataset, Kind, Session, Settings,
    dataset::{asc, desc, failure},
};

/// Runs `flow` on every number of threads and size of morsels; it must give the same each time.
fn check<R: PartialEq + Debug>(flow: impl Fn(&Session) -> R) -> R {
    let in_memory = [(1, 65_536), (2, 1024), (8, 64), (3, 4096)].map(|(threads, rows)| (threads, rows, None));
    check_in(in_memory.into_iter().chain([(2, 512, Some(0))]), flow)
}

fn numbers(session: &Session, count: i64) -> Dataset<i64> {
    session.from_vec((0..count).collect()).unwrap()
}

#[test]
fn a_sample_is_the_same_rows_by_seed_and_about_the_share() {
    let found = check(|session| {
        let sample = |share, seed| sorted(numbers(session, 20_000).sample(share, seed).collect().unwrap());
        let pairs = numbers(session, 20_000).map(|number| (number / 2, "a".to_owned())).sample(0.3, 1);
        (
            sample(0.1, 1),
            sample(0.1, 2),
            sample(0.5, 1),
            pairs.collect().unwrap().len(),
            [sample(0.0, 1).len(), sample(1.0, 1).len(), sample(f64::NAN, 1).len(), sample(7.0, 1).len()],
        )
    });
    let (first, other, larger, pairs, ends) = found;
    assert!((1_800..2_200).contains(&first.len()) && (1_800..2_200).contains(&other.len()), "{}", first.len());
    assert!((9_700..10_300).contains(&larger.len()) && pairs % 2 == 0 && (5_000..7_000).contains(&pairs));
    let both = first.iter().filter(|number| other.binary_search(number).is_ok()).count();
    assert!((100..300).contains(&both), "{both}");
    // A smaller sample by the same seed is a part of the larger one.
    assert!(first.iter().all(|number| larger.binary_search(number).is_ok()));
    assert_eq!(ends, [0, 20_000, 0, 20_000]);
}

#[test]
fn rows_are_numbered_in_the_order_of_the_flow_or_by_content() {
    let found = check(|session| {
        let names = || numbers(session, 3_000).map(|number| (number * 7 % 100, format!("{number:04}")));
        let by_content = names().zip_with_index().collect().unwrap();
        let by_key = names().sort_by([desc("_1"), asc("_0")]).unwrap().zip_with_index().collect().unwrap();
        let nothing = names().filter(|_| false).zip_with_index().collect().unwrap();
        (sorted(by_content), sorted(by_key), nothing.len())
    });
    let mut names: Vec<(i64, String)> = (0..3_000).map(|number| (number * 7 % 100, format!("{number:04}"))).collect();
    names.sort();
    let by_content: Vec<(i64, (i64, String))> = (0..).zip(names.clone()).collect();
    names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    assert_eq!(found, (by_content, (0..).zip(names).collect(), 0));
}

#[test]
fn a_full_join_has_every_key_of_both() {
    let found = check(|session| {
        let left = numbers(session, 600).map(|number| (Some(number).filter(|number| number % 50 > 0), number));
        let right = numbers(session, 400)
            .map(|number| (Some(number * 2).filter(|number| number % 60 > 0), format!("r{number}")));
        sorted(left.full_join(right).collect().unwrap())
    });
    let left: Vec<_> = (0..600i64).map(|number| (Some(number).filter(|number| number % 50 > 0), number)).collect();
    let right: Vec<_> =
        (0..400i64).map(|number| (Some(number * 2).filter(|number| number % 60 > 0), format!("r{number}"))).collect();
    let mut expected = Vec::new();
    for (key, value) in &left {
        let partners: Vec<_> = right.iter().filter(|(other, _)| other == key).collect();
        expected.extend(partners.iter().map(|(_, other)| (*key, (Some(*value), Some(other.clone())))));
        if partners.is_empty() {
            expected.push((*key, (Some(*value), None)));
        }
    }
    let lonely = right.iter().filter(|(key, _)| left.iter().all(|(other, _)| other != key));
    expected.extend(lonely.map(|(key, value)| (*key, (None, Some(value.clone())))));
    assert_eq!(found, sorted(expected));
}

#[test]
fn aggregate_by_key_adds_values_in_the_order_of_their_content() {
    let found = check(|session| {
        let pairs = numbers(session, 5_000).map(|number| (number % 13, number * 31 % 5_000));
        // Which order it is makes a difference: the rows are the same all the same.
        let mixed = pairs.aggregate_by_key((0i64, String::new()), |(sum, text), value| {
            *sum = sum.wrapping_mul(31).wrapping_add(value);
            if text.len() < 40 {
                text.push_str(&value.to_string());
            }
        });
        sorted(mixed.collect().unwrap())
    });
    let mut values: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    (0..5_000).for_each(|number| values.entry(number % 13).or_default().push(number * 31 % 5_000));
    let expected = values.into_iter().map(|(key, values)| {
        let values = sorted(values);
        let sum = values.iter().fold(0i64, |sum, value| sum.wrapping_mul(31).wrapping_add(*value));
        let mut text = String::new();
        values.iter().for_each(|value| {
            if text.len() < 40 {
                text.push_str(&value.to_string())
            }
        });
        (key, (sum, text))
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn parts_of_equal_size_are_seen_by_one_call_each() {
    let found = check(|session| {
        let sizes = numbers(session, 8_000).repartition(16).map::<(u32, i64)>(|part, rows| (part, rows.count()));
        let sizes = sorted(sizes.collect().unwrap());
        let (sum, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(BTreeSet::new())));
        let (adding, seeing) = (Arc::clone(&sum), Arc::clone(&seen));
        let done = numbers(session, 8_000).repartition(16).for_each(move |part, rows| {
            assert!(seeing.lock().unwrap().insert(part), "part {part} was seen before");
            while let Some(number) = rows.next() {
                adding.fetch_add(number as u64, Relaxed);
            }
            Ok(())
        });
        done.unwrap();
        assert_eq!((sum.load(Relaxed), seen.lock().unwrap().len()), (31_996_000, 16));
        sizes
    });
    assert!(found.len() == 16 && found.iter().all(|(_, rows)| (400..600).contains(rows)), "{found:?}");
    let session = Session::new(Settings::default()).unwrap();
    let failing = numbers(&session, 100).repartition(4).for_each(|part, _| match part {
        2 => Err(failure("part two")),
        _ => Ok(()),
    });
    let error = failing.unwrap_err();
    assert_eq!(error.kind(), Kind::Job);
    assert!(format!("{error:?}").contains("part two"), "{error:?}");
}

// ── records that closures cannot use ───────────────────────────────────────────────────────────────────────────────────

fn lines(folder: &TempDir) -> String {
    let path = folder.path().join("numbers.txt");
    let line = |number: i64| if number % 100 == 42 { format!("no {number}") } else { number.to_string() };
    fs::write(&path, (0..3_000).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn parsed(line: &str) -> windrow::Result<i64> {
    line.parse().map_err(failure)
}

#[test]
fn records_that_fail_are_dead_letters_up_to_a_limit() {
    let folder = TempDir::new().unwrap();
    let path = lines(&folder);
    let found = check(|session| {
        let text = || session.read_text(&path).unwrap();
        let (rows, letters) = text().try_map(parsed).dead_letters(30).unwrap();
        let out = folder.path().join(format!("bad-{}", fs::read_dir(folder.path()).unwrap().count()));
        let (same, count) = text().try_map(parsed).dead_letters_to(&out, 30).unwrap();
        assert_eq!((same.count().unwrap(), count), (2_970, 30));
        let written = session.read_parquet(out.to_str().unwrap()).unwrap();
        let names: Vec<_> = written.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["record", "error", "place", "row"]);
        assert_eq!(written.count().unwrap(), 30);

        let few = folder.path().join("few");
        let error = text().try_map(parsed).dead_letters_to(&few, 29).unwrap_err();
        assert_eq!(error.kind(), Kind::Job);
        let said = error.to_string();
        assert!(said.contains("operators.rs") && said.contains("failed for 30, 29 are allowed"), "{said}");
        assert!(said.contains("no 1042") && said.contains("numbers.txt") && !few.exists(), "{said}");
        (sorted(rows.collect().unwrap()), letters)
    });
    let (rows, letters) = found;
    assert_eq!(rows, (0..3_000).filter(|number| number % 100 != 42).collect::<Vec<_>>());
    assert_eq!(letters.len(), 30);
    let letter = &letters[0];
    assert_eq!((&letter.record[..], letter.row), ("the record \"no 1042\"", 1_042));
    assert!(letter.error.contains("invalid digit") && letter.place.contains("numbers.txt"), "{letter:?}");
}

#[test]
fn a_tried_closure_gives_any_number_of_rows_or_fails_the_job() {
    let folder = TempDir::new().unwrap();
    let path = lines(&folder);
    let session = Session::new(Settings { threads: 2, ..Settings::default() }).unwrap();
    let twice = |line: &str, out: &mut windrow::Emitter<'_, i64>| {
        let number = parsed(line)?;
        out.push(number);
        out.push(-number);
        Ok(())
    };
    let (rows, letters) = session.read_text(&path).unwrap().try_flat_map::<i64>(twice).dead_letters(100).unwrap();
    assert_eq!((rows.count().unwrap(), letters.len()), (5_940, 30));
    let failing = session.read_text(&path).unwrap().try_flat_map::<i64>(twice).or_fail();
    let said = failing.count().unwrap_err().to_string();
    assert!(said.contains("no ") && said.contains("invalid digit") && said.contains("0 are allowed"), "{said}");
    let fine = session.read_text(&path).unwrap().filter(|line| !line.starts_with("no"));
    assert_eq!(fine.try_flat_map::<i64>(twice).or_fail().count().unwrap(), 5_940);
    let panicking = session.read_text(&path).unwrap().try_map(|line| match line {
        "77" => panic!("seventy-seven"),
        line => Ok(line.len() as i64),
    });
    let said = panicking.dead_letters(100).map(drop).unwrap_err().to_string();
    assert!(said.contains("seventy-seven") && said.contains("\"77\"") && said.contains("operators.rs"), "{said}");
}

#[test]
fn a_profile_tells_what_each_step_did() {
    let session = Session::new(Settings { threads: 2, ..Settings::default() }).unwrap();
    let profile = numbers(&session, 1_000).filter(|number| number % 2 == 0).distinct().profile().unwrap();
    let text = profile.text();
    assert!(text.contains("1000 rows") && text.contains("500 rows"), "{text}");
}

#[test]
fn fold_by_key_puts_values_together_before_they_are_moved() {
    let found = check(|session| {
        let pairs = numbers(session, 5_000).map(|number| ((number % 13, format!("key {}", number % 2)), number));
        let (calls, merges) = (session.counter("values"), session.counter("merges"));
        let folded = pairs.fold_by_key(
            (0i64, String::new()),
            move |(sum, greatest), value| {
                calls.add(1);
                *sum += value;
                *greatest = std::mem::take(greatest).max(value.to_string());
            },
            move |(sum, greatest), (other, of_other)| {
                merges.add(1);
                *sum += other;
                *greatest = std::mem::take(greatest).max(of_other);
            },
        );
        let rows = sorted(folded.collect().unwrap());
        let counters = session.counters();
        assert_eq!(counters["values"], 5_000);
        // Far fewer than values: one a key and batch.
        assert!(counters.get("merges").is_none_or(|merges| *merges <= 26 * 5_000 / 64), "{counters:?}");
        rows
    });
    let mut values: BTreeMap<(i64, String), Vec<i64>> = BTreeMap::new();
    (0..5_000).for_each(|k| values.entry((k % 13, format!("key {}", k % 2))).or_default().push(k));
    let of = |values: Vec<i64>| (values.iter().sum::<i64>(), values.iter().map(i64::to_string).max().unwrap());
    assert_eq!(found, values.into_iter().map(|(key, values)| (key, of(values))).collect::<Vec<_>>());

    // Keys that are equal are one, whatever their bits.
    let floats = check(|session| {
        let keys = numbers(session, 1_000).map(|k| ([0.0, -0.0, f64::NAN, -f64::NAN][k as usize % 4], 1i64));
        let counts = keys.fold_by_key(0i64, |sum, one| *sum += one, |sum, other| *sum += other);
        sorted(counts.collect().unwrap().into_iter().map(|(key, count)| (key.to_bits(), count)).collect())
    });
    assert_eq!(floats, [(0, 500), (f64::NAN.to_bits(), 500)]);
}

#[test]
fn closures_that_put_values_together_are_verified_when_asked() {
    let found = check(|session| {
        let pairs = numbers(session, 2_000).map(|number| (number % 7, number));
        let verified = session.clone();
        let minus = || pairs.clone().reduce_by_key_with(|a, b| a - b).collect();
        // In one order it is one result, associative or not.
        let once = sorted(minus().unwrap());
        verified.set_verifies(true);
        let error = minus().unwrap_err();
        assert!(error.kind() == Kind::Job && error.to_string().contains("operators.rs"), "{error}");
        let longest = pairs.clone().reduce_by_key_with(|a, b| a.max(b)).collect().unwrap();
        let last = |last: &mut i64, number| *last = number;
        let error = numbers(session, 100).fold(0, last, |last, other| *last = other).unwrap_err();
        assert!(error.to_string().contains("in one way and") && error.hint().is_some(), "{error}");
        let error = pairs.clone().fold_by_key(0, last, |last, other| *last = other).collect().unwrap_err();
        assert!(error.to_string().contains("operators.rs") && error.hint().is_some(), "{error}");
        let sum = numbers(session, 100).fold(0, |sum, number| *sum += number, |sum, other| *sum += other).unwrap();
        (once, sorted(longest), sum)
    });
    let mut values: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    (0..2_000).for_each(|number| values.entry(number % 7).or_default().push(number));
    let minus = |(key, values): (&i64, &Vec<i64>)| (*key, values.iter().copied().reduce(|a, b| a - b).unwrap());
    let most = values.iter().map(|(key, values)| (*key, *values.last().unwrap())).collect();
    assert_eq!(found, (values.iter().map(minus).collect(), most, 4_950));
}
