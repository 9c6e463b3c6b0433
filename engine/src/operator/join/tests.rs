//! Every kind of join against a loop over all pairs of rows, whatever the threads, the cuts and the order of arrival.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use proptest::prelude::*;

use super::{HashJoin, HashJoinSpec, JoinColumn, JoinFilter, JoinRows, NestedLoopJoin, NestedLoopSpec};
use crate::{
    batch::{
        Batch, Morsel, Position,
        array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray},
        concat,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    expression::{BinaryOp, Expression, Parameters},
    memory::Revoked,
    operator::{
        JobContext, Outcome,
        testing::{Cell, Random, context, context_of, context_with, cut, drain, feed, pass, rows_of, rows_of_batch},
    },
    settings::Settings,
};

const KINDS: [JoinRows; 10] = [
    JoinRows::Inner,
    JoinRows::ProbeOuter,
    JoinRows::BuildOuter,
    JoinRows::Full,
    JoinRows::ProbeSemi,
    JoinRows::ProbeAnti,
    JoinRows::ProbeMark,
    JoinRows::BuildSemi,
    JoinRows::BuildAnti,
    JoinRows::BuildMark,
];

/// Types of the keys, one test each: every layout of `keys.rs`.
fn key_types(number: usize) -> Vec<DataType> {
    use DataType as T;
    match number {
        0 => vec![T::Int64],
        1 => vec![T::Int32, T::Int32],
        2 => vec![T::Utf8],
        3 => vec![T::Utf8View],
        4 => vec![T::Float64],
        5 => vec![T::Int64, T::Float64],
        6 => vec![T::Utf8, T::Int64],
        _ => vec![T::Int64, T::Int64, T::Float64],
    }
}
const KEY_TYPES: usize = 8;

/// The keys, then `value`, a number of each row's own.
fn schema(types: &[DataType]) -> SchemaRef {
    let keys = types.iter().enumerate().map(|(number, t)| Field::new(format!("k{number}"), t.clone(), true));
    Arc::new(Schema::new(keys.chain([Field::new("value", DataType::Int64, false)]).collect::<Vec<_>>()))
}

fn random_batch(types: &[DataType], rows: usize, keys: usize, null_percent: usize, random: &mut Random) -> Batch {
    let odd_nan = f64::from_bits(0xfff8_0000_0000_0001);
    let floats = [0.0, -0.0, f64::NAN, odd_nan, 1.5, -2.5];
    let texts = ["", "a", "ab", "ab\0", "a text longer than a view holds", "a text longer than a view has"];
    let mut column = |data_type: &DataType| -> ArrayRef {
        let mut picks: Vec<Option<usize>> = Vec::new();
        for _ in 0..rows {
            picks.push((!random.chance(null_percent)).then(|| random.below(keys)));
        }
        let picks = picks.into_iter();
        match data_type {
            DataType::Int64 => Arc::new(picks.map(|p| p.map(|p| p as i64 - 2)).collect::<Int64Array>()),
            DataType::Int32 => Arc::new(picks.map(|p| p.map(|p| p as i32 - 2)).collect::<Int32Array>()),
            DataType::Float64 => Arc::new(picks.map(|p| p.map(|p| floats[p % 6])).collect::<Float64Array>()),
            DataType::Utf8 => Arc::new(picks.map(|p| p.map(|p| texts[p % 6])).collect::<StringArray>()),
            _ => Arc::new(picks.map(|p| p.map(|p| texts[p % 6])).collect::<StringViewArray>()),
        }
    };
    let mut columns: Vec<ArrayRef> = types.iter().map(&mut column).collect();
    columns.push(Arc::new((0..rows).map(|_| random.below(50) as i64).collect::<Int64Array>()));
    Batch::try_new(schema(types), columns).unwrap()
}

/// What is given of each side, by kind: all columns of the sides that are given, then the mark.
fn output(kind: JoinRows, types: &[DataType]) -> (Vec<JoinColumn>, SchemaRef) {
    let width = types.len() + 1;
    let probe = (0..width).map(JoinColumn::Probe);
    let build = (0..width).map(JoinColumn::Build);
    let columns: Vec<JoinColumn> = match kind {
        _ if kind.gives_pairs() => build.chain(probe).collect(),
        JoinRows::ProbeMark => probe.chain([JoinColumn::Mark]).collect(),
        JoinRows::BuildMark => [JoinColumn::Mark].into_iter().chain(build).collect(),
        _ if kind.only_marks() => build.collect(),
        _ => probe.collect(),
    };
    let side = schema(types);
    let field = |column: &JoinColumn| match column {
        JoinColumn::Probe(number) | JoinColumn::Build(number) => side.field(*number).clone().with_nullable(true),
        JoinColumn::Mark => Field::new("mark", DataType::Boolean, false),
    };
    let fields: Vec<Field> = columns.iter().map(field).collect();
    (columns, Arc::new(Schema::new(fields)))
}

/// `build.value < probe.value`, over a batch of other columns, too.
fn filter(types: &[DataType]) -> JoinFilter {
    let value = types.len();
    JoinFilter {
        expression: Expression::Binary {
            op: BinaryOp::Lt,
            left: Box::new(Expression::Column(1)),
            right: Box::new(Expression::Column(2)),
        },
        columns: vec![JoinColumn::Probe(0), JoinColumn::Build(value), JoinColumn::Probe(value)],
    }
}

fn is_equal_key(a: &Cell, b: &Cell, nulls_equal: bool) -> bool {
    match (a, b) {
        (Cell::Null, Cell::Null) => nulls_equal,
        (Cell::Float(a), Cell::Float(b)) => {
            let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
            a == b || (a.is_nan() && b.is_nan())
        }
        _ => a == b,
    }
}

/// The specification.
fn expected(
    kind: JoinRows,
    build: &[Vec<Cell>],
    probe: &[Vec<Cell>],
    is_partner: &dyn Fn(&[Cell], &[Cell]) -> bool,
) -> Vec<Vec<Cell>> {
    let width = |rows: &[Vec<Cell>], other: &[Vec<Cell>]| rows.first().or(other.first()).map_or(0, Vec::len);
    let nulls = vec![Cell::Null; width(build, probe)];
    let probe_matched: Vec<bool> = probe.iter().map(|p| build.iter().any(|b| is_partner(b, p))).collect();
    let build_matched: Vec<bool> = build.iter().map(|b| probe.iter().any(|p| is_partner(b, p))).collect();
    let mut rows = Vec::new();
    if kind.gives_pairs() {
        for b in build {
            rows.extend(probe.iter().filter(|p| is_partner(b, p)).map(|p| [b.as_slice(), p].concat()));
        }
    }
    let with = |mark: bool, row: &Vec<Cell>| [row.as_slice(), &[Cell::Bool(mark)]].concat();
    for (p, matched) in probe.iter().zip(probe_matched) {
        match kind {
            JoinRows::ProbeOuter | JoinRows::Full if !matched => rows.push([nulls.as_slice(), p].concat()),
            JoinRows::ProbeSemi if matched => rows.push(p.clone()),
            JoinRows::ProbeAnti if !matched => rows.push(p.clone()),
            JoinRows::ProbeMark => rows.push(with(matched, p)),
            _ => {}
        }
    }
    for (b, matched) in build.iter().zip(build_matched) {
        match kind {
            JoinRows::BuildOuter | JoinRows::Full if !matched => rows.push([b.as_slice(), &nulls].concat()),
            JoinRows::BuildSemi if matched => rows.push(b.clone()),
            JoinRows::BuildAnti if !matched => rows.push(b.clone()),
            JoinRows::BuildMark => rows.push([&[Cell::Bool(matched)], b.as_slice()].concat()),
            _ => {}
        }
    }
    rows.sort();
    rows
}

/// Builds, probes or marks, and takes the rest; by any of the two joins.
macro_rules! run {
    ($join:expr, $kind:expr, $build:expr, $probe:expr, $parts:expr, $random:expr) => {{
        let (join, kind, build, probe) = ($join, $kind, $build, $probe);
        let random: &mut Random = $random;
        feed(&join.build(), build, $parts, random).unwrap();
        let mut given = Vec::new();
        if kind.only_marks() {
            feed(&join.mark(), probe, $parts, random).unwrap();
        } else {
            given = pass(&join.probe(), probe, $parts, usize::MAX, random).unwrap();
        }
        given.extend(drain(&join.rest(), $parts, random).unwrap());
        given
    }};
}

fn sorted(morsels: &[Morsel]) -> Vec<Vec<Cell>> {
    let mut rows = rows_of(morsels);
    rows.sort();
    rows
}

fn columns(count: usize) -> Vec<Expression> {
    (0..count).map(Expression::Column).collect()
}

fn hash_spec(kind: JoinRows, types: &[DataType], has_filter: bool, nulls_equal: bool) -> HashJoinSpec {
    let (output, output_schema) = output(kind, types);
    HashJoinSpec {
        rows: kind,
        build_keys: columns(types.len()),
        probe_keys: columns(types.len()),
        filter: has_filter.then(|| filter(types)),
        output,
        nulls_equal,
        is_null_aware: false,
        build: schema(types),
        probe: schema(types),
        output_schema,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn hash_join_gives_what_a_loop_over_all_pairs_gives(
        seed in any::<u64>(),
        kind in 0..KINDS.len(),
        types in 0..KEY_TYPES,
        has_filter in any::<bool>(),
        nulls_equal in any::<bool>(),
        (build_rows, probe_rows) in (0..40_usize, 0..60_usize),
        (rows_per_morsel, parts, keys) in (1..20_usize, 1..4_usize, 1..12_usize),
        spills in any::<bool>(),
    ) {
        let (kind, types, random) = (KINDS[kind], key_types(types), &mut Random(seed));
        let build = random_batch(&types, build_rows, keys, 20, random);
        let probe = random_batch(&types, probe_rows, keys, 20, random);
        let spec = hash_spec(kind, &types, has_filter, nulls_equal);
        let context = if spills { spilling(rows_per_morsel, 1 << 20) } else { context(rows_per_morsel) };
        let join = HashJoin::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
        let given = run!(
            &join, kind, cut(&build, rows_per_morsel, random), cut(&probe, 2 * rows_per_morsel, random), parts, random
        );
        let width = types.len();
        let is_partner = |b: &[Cell], p: &[Cell]| {
            (0..width).all(|key| is_equal_key(&b[key], &p[key], nulls_equal)) && (!has_filter || b[width] < p[width])
        };
        let expected = expected(kind, &rows_of_batch(&build), &rows_of_batch(&probe), &is_partner);
        prop_assert_eq!(sorted(&given), expected);
        if kind.gives_pairs() {
            prop_assert!(given.iter().all(|morsel| morsel.batch.num_rows() <= 2 * rows_per_morsel));
        }
        drop(join);
        prop_assert_eq!((context.governor.used_bytes(), context.runs.used_bytes()), (0, 0));
    }

    #[test]
    fn nested_loop_join_gives_what_a_loop_over_all_pairs_gives(
        seed in any::<u64>(),
        kind in 0..KINDS.len(),
        has_filter in any::<bool>(),
        (build_rows, probe_rows) in (0..30_usize, 0..40_usize),
        (rows_per_morsel, parts) in (1..40_usize, 1..4_usize),
    ) {
        let (kind, types, random) = (KINDS[kind], key_types(0), &mut Random(seed));
        let build = random_batch(&types, build_rows, 5, 20, random);
        let probe = random_batch(&types, probe_rows, 5, 20, random);
        let (output, output_schema) = output(kind, &types);
        let spec = NestedLoopSpec {
            rows: kind,
            filter: has_filter.then(|| filter(&types)),
            output,
            build: schema(&types),
            probe: schema(&types),
            output_schema,
        };
        let join = NestedLoopJoin::new(&spec, &context(rows_per_morsel), &Arc::new(Parameters::default())).unwrap();
        let given = run!(
            &join, kind, cut(&build, rows_per_morsel, random), cut(&probe, 2 * rows_per_morsel, random), parts, random
        );
        let is_partner = |b: &[Cell], p: &[Cell]| !has_filter || b[1] < p[1];
        let expected = expected(kind, &rows_of_batch(&build), &rows_of_batch(&probe), &is_partner);
        prop_assert_eq!(sorted(&given), expected);
    }

    #[test]
    fn null_aware_anti_joins_are_not_in(
        seed in any::<u64>(),
        of_build in any::<bool>(),
        types in prop::sample::select(vec![0_usize, 2, 3, 4]),
        (build_rows, probe_rows) in (0..12_usize, 0..12_usize),
        (build_nulls, probe_nulls) in (prop::sample::select(vec![0_usize, 15]), prop::sample::select(vec![0_usize, 15])),
        (rows_per_morsel, parts) in (1..8_usize, 1..4_usize),
        spills in any::<bool>(),
    ) {
        let types = key_types(types);
        let (kind, random) = (if of_build { JoinRows::BuildAnti } else { JoinRows::ProbeAnti }, &mut Random(seed));
        let build = random_batch(&types, build_rows, 5, build_nulls, random);
        let probe = random_batch(&types, probe_rows, 5, probe_nulls, random);
        let spec = HashJoinSpec { is_null_aware: true, ..hash_spec(kind, &types, false, false) };
        let context = if spills { spilling(rows_per_morsel, 1 << 20) } else { context(rows_per_morsel) };
        let join = HashJoin::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
        let given = run!(
            &join, kind, cut(&build, rows_per_morsel, random), cut(&probe, rows_per_morsel, random), parts, random
        );
        // A row is given if it is certainly different from all of the other side: a comparison with NULL is never certain.
        let is_perhaps = |a: &[Cell], b: &[Cell]| {
            a[0] == Cell::Null || b[0] == Cell::Null || is_equal_key(&a[0], &b[0], false)
        };
        let expected = expected(kind, &rows_of_batch(&build), &rows_of_batch(&probe), &is_perhaps);
        prop_assert_eq!(sorted(&given), expected);
    }
}

/// A context in which every build side with rows goes to disk, in four partitions a level.
fn spilling(rows_per_morsel: usize, memory_bytes: u64) -> JobContext {
    context_with(Settings {
        threads: 2,
        memory_bytes,
        revocable_bytes: Some(0),
        rows_per_morsel,
        ..Settings::default()
    })
}

/// The join of both sides in memory and in this context.
fn both_ways(spec: &HashJoinSpec, context: &JobContext, build: &Batch, probe: &Batch, random: &mut Random) -> u64 {
    let rows = context.settings.rows_per_morsel;
    let mut run_in = |context: &JobContext| {
        let join = HashJoin::new(spec, context, &Arc::new(Parameters::default())).unwrap();
        let given = run!(&join, spec.rows, cut(build, rows, random), cut(probe, rows, random), 2, random);
        assert!(given.iter().all(|morsel| morsel.batch.num_rows() <= 2 * rows));
        sorted(&given)
    };
    let in_memory = run_in(&self::context(rows));
    let spilled = run_in(context);
    assert_eq!(spilled.len(), in_memory.len(), "{:?}", spec.rows);
    assert!(spilled == in_memory, "{:?}", spec.rows);
    assert_eq!((context.governor.used_bytes(), context.runs.used_bytes()), (0, 0));
    assert!(context.governor.peak_bytes() <= context.settings.memory_bytes);
    context.counters.report().spilled_bytes
}

#[test]
fn partitions_that_do_not_fit_are_cut_again() {
    let random = &mut Random(11);
    let types = [DataType::Int64];
    let build = random_batch(&types, 20_000, 15_000, 5, random);
    let probe = random_batch(&types, 10_000, 15_000, 5, random);
    for kind in KINDS {
        let spec = hash_spec(kind, &types, false, false);
        let spilled_bytes = both_ways(&spec, &spilling(500, 256 << 10), &build, &probe, random);
        let once_bytes = both_ways(&spec, &spilling(500, 1 << 30), &build, &probe, random);
        assert!(spilled_bytes > 2 * once_bytes, "{kind:?}: {spilled_bytes} {once_bytes}");
    }
}

#[test]
fn many_rows_of_one_key_are_joined_in_pieces() {
    let random = &mut Random(12);
    for types in [vec![DataType::Int64], vec![DataType::Utf8, DataType::Int64]] {
        let one_key = random_batch(&types, 6_000, 1, 10, random);
        let others = random_batch(&types, 1_000, 12, 10, random);
        let build = concat(&one_key.schema(), &[one_key, others]).unwrap();
        let probe = random_batch(&types, 60, 12, 10, random);
        for (kind, has_filter) in KINDS.into_iter().zip([false, true].into_iter().cycle()) {
            for nulls_equal in [false, true] {
                let spec = hash_spec(kind, &types, has_filter, nulls_equal);
                both_ways(&spec, &spilling(100, 320 << 10), &build, &probe, random);
            }
        }
    }
}

#[test]
fn a_build_side_that_outgrows_its_budget_goes_to_disk_and_others_stay() {
    let random = &mut Random(13);
    let types = [DataType::Int64];
    let probe = random_batch(&types, 20_000, 30_000, 5, random);
    for (rows, spills) in [(1_000, false), (8_000, false), (40_000, true), (120_000, true)] {
        let build = random_batch(&types, rows, 30_000, 5, random);
        let settings = Settings { threads: 2, memory_bytes: 2 << 20, rows_per_morsel: 1_000, ..Settings::default() };
        for kind in [JoinRows::Full, JoinRows::ProbeSemi, JoinRows::BuildAnti] {
            let context = context_with(settings.clone());
            let spec = hash_spec(kind, &types, false, false);
            assert_eq!(both_ways(&spec, &context, &build, &probe, random) > 0, spills, "{rows} {kind:?}");
        }
    }
}

#[test]
fn who_asks_back_what_a_build_side_holds_gets_it() {
    let context = context_of(1_000, 32 << 20);
    let spec = hash_spec(JoinRows::Inner, &[DataType::Int64], false, false);
    let join = HashJoin::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
    let (sink, random) = (join.build(), &mut Random(1));
    let mut threads = [sink.thread().unwrap(), sink.thread().unwrap()];
    for (number, morsel) in cut(&numbers(0..50_000), 1_000, random).into_iter().enumerate() {
        threads[number % 2].push(morsel).unwrap();
    }
    let held = sink.held_bytes();
    assert!(held >= 50_000 * 32, "{held}");
    assert_eq!(sink.revoke(1_000).unwrap(), Revoked::Bytes(1_000));
    let [mut first, second] = threads;
    first.push(numbers(50_000..50_010).into()).unwrap();
    first.finish().unwrap();
    assert!(sink.held_bytes() < 2 * held / 3);
    // This one never saw it: what it holds goes to disk when all have finished.
    second.finish().unwrap();
    assert_eq!(sink.held_bytes(), 0);
    sink.finalize().unwrap().into_iter().for_each(|task| task().unwrap());
    assert_eq!(context.governor.used_bytes(), 0);
    assert!(pass(&join.probe(), cut(&numbers(49_990..60_000), 1_000, random), 2, 0, random).unwrap().is_empty());
    assert_eq!(rows_of(&drain(&join.rounds(), 2, random).unwrap()).len(), 20);
}

#[test]
fn a_table_goes_when_its_probes_are_closed() {
    let context = context(100);
    for (kind, has_rest) in [(JoinRows::Inner, false), (JoinRows::Full, true)] {
        let spec = hash_spec(kind, &[DataType::Int64], false, false);
        let join = HashJoin::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
        let random = &mut Random(1);
        feed(&join.build(), cut(&numbers(0..10_000), 100, random), 2, random).unwrap();
        let probes = [join.probe(), join.probe()];
        let whole = context.governor.used_bytes();
        probes[0].close();
        assert_eq!(context.governor.used_bytes(), whole, "another pipeline probes, too");
        probes[1].close();
        let rest = join.rest();
        assert_eq!(context.governor.used_bytes() > 0, has_rest);
        assert_eq!(rows_of(&drain(&rest, 2, random).unwrap()).len(), if has_rest { 10_000 } else { 0 });
        rest.close();
        assert_eq!(context.governor.used_bytes(), 0);
    }
}

fn numbers(values: impl Iterator<Item = i64> + Clone) -> Batch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(values.clone()));
    let own: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    Batch::try_new(schema(&[DataType::Int64]), vec![keys, own]).unwrap()
}

#[test]
fn many_duplicates_come_in_bounded_morsels_and_stop_at_enough() {
    let spec = hash_spec(JoinRows::Inner, &[DataType::Int64], false, false);
    let join = HashJoin::new(&spec, &context(100), &Arc::new(Parameters::default())).unwrap();
    let random = &mut Random(1);
    let same = numbers(std::iter::repeat_n(7, 1_000));
    feed(&join.build(), vec![same.clone().into()], 1, random).unwrap();
    let given = pass(&join.probe(), vec![same.slice(0, 10).into()], 1, usize::MAX, random).unwrap();
    assert_eq!(given.iter().map(|morsel| morsel.batch.num_rows()).sum::<usize>(), 10_000);
    assert!(given.iter().all(|morsel| morsel.batch.num_rows() <= 100));
    let given = pass(&join.probe(), vec![same.clone().into(), same.into()], 1, 3, random).unwrap();
    assert_eq!(given.len(), 3);
}

#[test]
fn probe_columns_stay_where_they_are_when_every_row_has_one_partner() {
    let spec = hash_spec(JoinRows::Inner, &[DataType::Int64], false, false);
    let join = HashJoin::new(&spec, &context(1_000), &Arc::new(Parameters::default())).unwrap();
    let random = &mut Random(1);
    feed(&join.build(), vec![numbers(0..500).into()], 2, random).unwrap();
    let probe = numbers((0..500).rev());
    let given = pass(&join.probe(), vec![probe.clone().into()], 1, usize::MAX, random).unwrap();
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].batch.num_rows(), 500);
    assert!(given[0].batch.column(2).to_data().ptr_eq(&probe.column(0).to_data()));
}

#[test]
fn an_empty_build_side_is_enough_at_once() {
    for (kind, is_enough) in [
        (JoinRows::Inner, true),
        (JoinRows::ProbeSemi, true),
        (JoinRows::BuildOuter, true),
        (JoinRows::ProbeOuter, false),
        (JoinRows::ProbeAnti, false),
        (JoinRows::ProbeMark, false),
    ] {
        let spec = hash_spec(kind, &[DataType::Int64], false, false);
        let join = HashJoin::new(&spec, &context(10), &Arc::new(Parameters::default())).unwrap();
        feed(&join.build(), Vec::new(), 2, &mut Random(1)).unwrap();
        assert_eq!(join.probe().takes_none().unwrap(), is_enough, "{kind:?}");
        let mut thread = join.probe().thread().unwrap();
        let outcome = thread.push(numbers(0..5).into(), &mut |_| Ok(Outcome::More)).unwrap();
        assert_eq!(matches!(outcome, Outcome::Enough), is_enough, "{kind:?}");
    }
}

#[test]
fn semi_joins_keep_positions_and_pass_on_the_last_of_a_split() {
    let spec = hash_spec(JoinRows::ProbeSemi, &[DataType::Int64], false, false);
    let join = HashJoin::new(&spec, &context(10), &Arc::new(Parameters::default())).unwrap();
    let random = &mut Random(1);
    feed(&join.build(), vec![numbers(0..5).into()], 2, random).unwrap();
    let at = |morsel, is_last| Some(Position { split: 3, morsel, is_last });
    let morsels = vec![
        Morsel { batch: numbers(3..9), position: at(0, false) },
        Morsel { batch: numbers(6..9), position: at(1, false) },
        Morsel { batch: numbers(6..9), position: at(2, true) },
    ];
    let given = pass(&join.probe(), morsels, 1, usize::MAX, random).unwrap();
    let seen: Vec<_> = given.iter().map(|morsel| (morsel.batch.num_rows(), morsel.position)).collect();
    assert_eq!(seen, [(2, at(0, false)), (0, at(2, true))]);
}

#[test]
fn a_join_without_columns_counts_rows() {
    let mut spec = hash_spec(JoinRows::Inner, &[DataType::Int64], false, false);
    (spec.output, spec.output_schema) = (Vec::new(), Arc::new(Schema::empty()));
    let join = HashJoin::new(&spec, &context(10), &Arc::new(Parameters::default())).unwrap();
    let random = &mut Random(1);
    feed(&join.build(), vec![numbers(0..5).into()], 2, random).unwrap();
    let given = pass(&join.probe(), vec![numbers(2..9).into()], 1, usize::MAX, random).unwrap();
    assert_eq!(given.iter().map(|morsel| morsel.batch.num_rows()).sum::<usize>(), 3);
}

#[test]
fn memory_is_asked_for_and_given_back() {
    let spec = hash_spec(JoinRows::Inner, &[DataType::Int64], false, false);
    let random = &mut Random(1);
    let build = numbers(0..100_000);
    let small = context_of(100_000, 1 << 20);
    let join = HashJoin::new(&spec, &small, &Arc::new(Parameters::default())).unwrap();
    feed(&join.build(), vec![build.clone().into()], 2, random).unwrap();
    assert!(small.counters.report().spilled_bytes > 100_000 * 16);
    assert!(small.governor.peak_bytes() < 512 << 10, "a morsel that is larger than the budget goes to disk in slices");
    drop(join);
    let large = context(10_000);
    let join = HashJoin::new(&spec, &large, &Arc::new(Parameters::default())).unwrap();
    feed(&join.build(), cut(&build, 10_000, random), 2, random).unwrap();
    // Two columns of 8 bytes, an entry of 16, a slot or two of 8.
    let per_row = large.governor.used_bytes() / 100_000;
    assert!((32..=60).contains(&per_row), "{per_row}");
    drop(join);
    assert_eq!(large.governor.used_bytes(), 0);
}
