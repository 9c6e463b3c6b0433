//! Sort and top-k against a sort of rows by a plain comparison, whatever the threads, the cuts and the order of arrival.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{cmp::Ordering, sync::Arc};

use proptest::prelude::*;

use super::{Sort, SortSpec, TopK};
use crate::{
    batch::{
        Batch, Morsel,
        array::{ArrayRef, Float64Array, Int64Array, StringArray, UInt32Array},
        datatypes::{DataType, Field, Schema, SchemaRef},
        take_rows,
    },
    expression::{Expression, Parameters, SortKey},
    memory::Revoked,
    operator::{
        JobContext,
        testing::{Cell, Random, context, context_with, cut, drain, feed, rows_of, rows_of_batch},
    },
    settings::Settings,
};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("i", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("t", DataType::Utf8, true),
    ]))
}

fn random_batch(rows: usize, values: usize, random: &mut Random) -> Batch {
    let odd_nan = f64::from_bits(0xfff8_0000_0000_0001);
    let floats = [0.0, -0.0, f64::NAN, odd_nan, 1.5, -2.5, f64::INFINITY];
    let texts = ["", "a", "ab", "ab\0", "common beginning 1", "common beginning 2", "z"];
    let mut picks =
        || -> Vec<Option<usize>> { (0..rows).map(|_| (!random.chance(15)).then(|| random.below(values))).collect() };
    let ints: ArrayRef = Arc::new(picks().into_iter().map(|p| p.map(|p| p as i64 - 3)).collect::<Int64Array>());
    let floats: ArrayRef = Arc::new(picks().into_iter().map(|p| p.map(|p| floats[p % 7])).collect::<Float64Array>());
    let texts: ArrayRef = Arc::new(picks().into_iter().map(|p| p.map(|p| texts[p % 7])).collect::<StringArray>());
    Batch::try_new(schema(), vec![ints, floats, texts]).unwrap()
}

/// Ascending, NULLs first; floats by their total order.
fn compare_content(a: &Cell, b: &Cell) -> Ordering {
    match (a, b) {
        (Cell::Float(a), Cell::Float(b)) => f64::from_bits(*a).total_cmp(&f64::from_bits(*b)),
        _ => a.cmp(b),
    }
}

fn compare_keys(a: &Cell, b: &Cell, key: &SortKey) -> Ordering {
    let nulls = if key.nulls_first { Ordering::Less } else { Ordering::Greater };
    let order = match (a, b) {
        (Cell::Null, Cell::Null) => return Ordering::Equal,
        (Cell::Null, _) => return nulls,
        (_, Cell::Null) => return nulls.reverse(),
        (Cell::Float(a), Cell::Float(b)) => {
            let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        _ => a.cmp(b),
    };
    if key.is_descending { order.reverse() } else { order }
}

/// The specification.
fn expected(batch: &Batch, spec: &SortSpec) -> Vec<Vec<Cell>> {
    let mut rows = rows_of_batch(batch);
    rows.sort_by(|a, b| {
        let by_key = |key: &SortKey| {
            let Expression::Column(column) = key.expression else { panic!("keys of these tests are columns") };
            compare_keys(&a[column], &b[column], key)
        };
        let keys = spec.keys.iter().map(by_key).find(|order| order.is_ne());
        let content = a.iter().zip(b).map(|(a, b)| compare_content(a, b)).find(|order| order.is_ne());
        keys.or(content).unwrap_or(Ordering::Equal)
    });
    rows.into_iter().skip(spec.skip).take(spec.fetch.unwrap_or(usize::MAX)).collect()
}

/// In order of position, which must be complete.
fn in_order(mut morsels: Vec<Morsel>) -> Vec<Vec<Cell>> {
    morsels.sort_by_key(|morsel| morsel.position);
    for (number, morsel) in morsels.iter().enumerate() {
        let position = morsel.position.unwrap();
        assert_eq!((position.split as usize, position.morsel), (number, 0));
        assert!(position.is_last);
    }
    rows_of(&morsels)
}

fn shuffled(batch: &Batch, random: &mut Random) -> Batch {
    let mut rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
    random.shuffle(&mut rows);
    take_rows(batch, &UInt32Array::from(rows)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn both_give_the_sequence_of_a_plain_sort(
        seed in any::<u64>(),
        keys in prop::collection::vec((0..3_usize, any::<bool>(), any::<bool>()), 0..4),
        (rows, values) in (0..200_usize, 1..40_usize),
        (skip, fetch) in (prop::sample::select(vec![0_usize, 0, 3, 50, 300]), prop::option::of(0..100_usize)),
        (rows_per_morsel, parts) in (1..50_usize, 1..4_usize),
    ) {
        let random = &mut Random(seed);
        let batch = random_batch(rows, values, random);
        let key = |(column, is_descending, nulls_first)| SortKey {
            expression: Expression::Column(column),
            is_descending,
            nulls_first,
        };
        let spec = SortSpec { keys: keys.into_iter().map(key).collect(), schema: schema(), skip, fetch };
        let expected = expected(&batch, &spec);
        let parameters = Arc::new(Parameters::default());
        for context in [context(rows_per_morsel), spilling(rows_per_morsel)] {
            let sort = Sort::new(&spec, &context, &parameters).unwrap();
            feed(&sort.sink(), cut(&shuffled(&batch, random), rows_per_morsel, random), parts, random).unwrap();
            prop_assert_eq!(&in_order(drain(&sort.source(), parts, random).unwrap()), &expected);
            if fetch.is_some() {
                let top = TopK::new(&spec, &context, &parameters).unwrap();
                feed(&top.sink(), cut(&shuffled(&batch, random), rows_per_morsel, random), parts, random).unwrap();
                prop_assert_eq!(&in_order(drain(&top.source(), parts, random).unwrap()), &expected);
            }
            prop_assert_eq!((context.governor.used_bytes(), context.runs.used_bytes()), (0, 0), "all was given");
        }
    }
}

/// A context in which every morsel goes to disk by itself, and ten runs are merged at most.
fn spilling(rows_per_morsel: usize) -> JobContext {
    context_with(Settings {
        threads: 2,
        memory_bytes: 1 << 20,
        revocable_bytes: Some(0),
        rows_per_morsel,
        ..Settings::default()
    })
}

fn by_column(column: usize, fetch: Option<usize>) -> SortSpec {
    let key = SortKey { expression: Expression::Column(column), is_descending: false, nulls_first: false };
    SortSpec { keys: vec![key], schema: schema(), skip: 0, fetch }
}

#[test]
fn many_runs_are_merged_in_several_passes() {
    let random = &mut Random(7);
    let batch = random_batch(3_000, 500, random);
    let context = spilling(10);
    let sort = Sort::new(&by_column(2, None), &context, &Arc::new(Parameters::default())).unwrap();
    feed(&sort.sink(), cut(&batch, 10, random), 3, random).unwrap();
    let once = context.runs.used_bytes();
    assert!(context.counters.report().spilled_bytes > 2 * once, "some hundred runs take more than one pass");
    assert_eq!(in_order(drain(&sort.source(), 2, random).unwrap()), expected(&batch, &by_column(2, None)));
}

#[test]
fn what_does_not_fit_is_spilled_within_the_budget() {
    let random = &mut Random(7);
    // Some 5 MiB with their keys, nearly all ties; a part stays in memory.
    let batch = random_batch(80_000, 40, random);
    for (fetch, revokes) in [(None, false), (Some(30_000), false), (None, true)] {
        let context =
            context_with(Settings { threads: 2, memory_bytes: 4 << 20, rows_per_morsel: 1_000, ..Settings::default() });
        let spec = by_column(0, fetch);
        let sort = Sort::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
        if revokes {
            // As the governor does for others: whoever pushes next and holds enough spills.
            let sink = sort.sink();
            let mut thread = sink.thread().unwrap();
            for morsel in cut(&batch.slice(0, 20_000), 1_000, random) {
                thread.push(morsel).unwrap();
            }
            assert_eq!(context.runs.used_bytes(), 0);
            let held = sink.held_bytes();
            assert!(held > 20_000 * 20);
            assert_eq!(sink.revoke(1).unwrap(), Revoked::Bytes(1));
            thread.push(batch.slice(20_000, 10).into()).unwrap();
            assert!(context.runs.used_bytes() > 0 && sink.held_bytes() < held / 10);
            thread.finish().unwrap();
            let rest = batch.slice(20_010, batch.num_rows() - 20_010);
            feed(&sink, cut(&rest, 1_000, random), 2, random).unwrap();
        } else {
            feed(&sort.sink(), cut(&batch, 1_000, random), 2, random).unwrap();
        }
        assert!(context.counters.report().spilled_bytes > 0);
        assert_eq!(in_order(drain(&sort.source(), 2, random).unwrap()), expected(&batch, &spec));
        assert!(context.governor.peak_bytes() <= 4 << 20);
        if let Some(fetch) = fetch {
            let top = TopK::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
            feed(&top.sink(), cut(&batch, 1_000, random), 2, random).unwrap();
            let given = in_order(drain(&top.source(), 2, random).unwrap());
            assert_eq!((given.len(), given), (fetch, expected(&batch, &spec)));
        }
    }
}

#[test]
fn top_k_of_many_rows_drops_what_cannot_be_among_the_first() {
    let random = &mut Random(5);
    let batch = random_batch(60_000, 30_000, random);
    for keys in [vec![(0, true)], vec![(2, false)], vec![]] {
        let key = |(column, is_descending)| SortKey {
            expression: Expression::Column(column),
            is_descending,
            nulls_first: is_descending,
        };
        let keys = keys.into_iter().map(key).collect();
        let spec = SortSpec { keys, schema: schema(), skip: 10, fetch: Some(100) };
        let context = context(1_000);
        let top = TopK::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
        feed(&top.sink(), cut(&batch, 1_000, random), 3, random).unwrap();
        let peak_bytes = context.governor.peak_bytes();
        assert!(peak_bytes < 3 * 10_000 * 100, "{peak_bytes}");
        assert_eq!(in_order(drain(&top.source(), 2, random).unwrap()), expected(&batch, &spec));
    }
}

#[test]
fn memory_is_given_back() {
    let random = &mut Random(5);
    let spec = SortSpec {
        keys: vec![SortKey { expression: Expression::Column(0), is_descending: false, nulls_first: false }],
        schema: schema(),
        skip: 0,
        fetch: None,
    };
    let context = context(1_000);
    let sort = Sort::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
    feed(&sort.sink(), cut(&random_batch(10_000, 100, random), 1_000, random), 3, random).unwrap();
    assert!(context.governor.used_bytes() > 10_000 * 20);
    drop(sort);
    assert_eq!(context.governor.used_bytes(), 0);
}
