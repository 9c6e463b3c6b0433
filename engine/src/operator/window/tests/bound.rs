//! A window with a bound gives the rows within it of those that it would give without; prefixes never contradict the order.

use std::{cmp::Ordering, sync::Arc};

use proptest::prelude::*;

use super::{
    super::{Window, WindowSpec, prefix::Prefixes},
    COLUMNS, ID, O, Row, V, batch_of, key, random_rows, spec_of,
};
use crate::{
    batch::{
        Batch, CanonicalOrder, canonical_floats,
        compute::SortOptions,
        datatypes::{DataType, Field, Schema},
        row::{RowConverter, SortField},
    },
    expression::{Expression, Frame, Parameters, RankBound, SortKey, WindowCall, WindowFunction},
    kernel::testing::{Random as Arrays, random_array},
    operator::{
        JobContext,
        testing::{Cell, Random, context_with, cut, drain, feed, rows_of},
    },
    settings::Settings,
};

/// The rank, then others that look back only.
fn bounded(has_partition: bool, order: Vec<SortKey>, rank: &WindowFunction, most: Option<u64>) -> WindowSpec {
    let value = Expression::Column(V);
    let calls = [
        WindowFunction::Shifted { value, offset: -1, default: None, ignores_nulls: true },
        rank.clone(),
        WindowFunction::DenseRank,
        WindowFunction::RowNumber,
    ];
    let calls: Vec<WindowCall> = calls
        .into_iter()
        .map(|function| WindowCall { function, frame: Frame::whole(), returns: DataType::Int64 })
        .collect();
    let spec = spec_of(has_partition, order, &Frame::whole());
    let of_calls = (0..calls.len()).map(|call| Field::new(format!("c{call}"), DataType::Int64, true).into());
    let fields: Vec<_> = spec.input.fields().iter().cloned().chain(of_calls).collect();
    let bound = most.map(|most| RankBound { call: 1, most });
    WindowSpec { calls, bound, output: Arc::new(Schema::new(fields)), ..spec }
}

fn given(spec: &WindowSpec, rows: &[Row], context: &JobContext, random: &mut Random) -> Vec<Vec<Cell>> {
    let window = Window::new(spec, context, &Arc::new(Parameters::default())).unwrap();
    let morsels = cut(&batch_of(rows), context.settings.rows_per_morsel, random);
    feed(&window.sink(), morsels, 3, random).unwrap();
    let mut given = rows_of(&drain(&window.source(), 2, random).unwrap());
    assert_eq!((context.governor.used_bytes(), context.runs.used_bytes()), (0, 0), "all was given");
    given.sort();
    given
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_bound_leaves_out_only_what_is_beyond_it(
        (count, partitions, orders, most) in (0_usize..400, 1_usize..12, 1_usize..30, 1_u64..5),
        (has_partition, has_order, is_descending, nulls_first) in any::<(bool, bool, bool, bool)>(),
        (rows_per_morsel, threads, rank, seed, spills) in (1_usize..40, 1_usize..4, 0_usize..3, any::<u64>(), any::<bool>()),
    ) {
        let random = &mut Random(seed);
        let rows = random_rows(count, partitions, orders, random);
        let rank = [WindowFunction::RowNumber, WindowFunction::Rank, WindowFunction::DenseRank][rank].clone();
        let order = if has_order { vec![key(O, is_descending, nulls_first), key(V, false, true)] } else { Vec::new() };
        let revocable_bytes = spills.then_some(0);
        let settings = Settings { threads, memory_bytes: 1 << 24, revocable_bytes, rows_per_morsel, ..Settings::default() };
        let mut of_all = given(&bounded(has_partition, order.clone(), &rank, None), &rows, &context_with(settings.clone()), random);
        let within = given(&bounded(has_partition, order, &rank, Some(most)), &rows, &context_with(settings), random);
        of_all.retain(|row| matches!(row[COLUMNS.len() + 1], Cell::Int(rank) if rank as u64 <= most));
        prop_assert_eq!(within, of_all);
    }

    #[test]
    fn prefixes_compare_as_the_rows_do(
        seed in any::<u64>(),
        (rows, keys) in (0_usize..40, 1_usize..4),
        is_numbered in any::<bool>(),
    ) {
        let random = &mut Arrays::new(seed);
        let mut columns = Vec::new();
        for number in 0..keys + 1 {
            let data_type = random.pick(&[
                DataType::Boolean, DataType::Int8, DataType::UInt16, DataType::Int32, DataType::Int64, DataType::UInt64,
                DataType::Float32, DataType::Float64, DataType::Date32, DataType::Decimal128(30, 2), DataType::Utf8,
                DataType::Utf8View, DataType::LargeBinary, DataType::Float16,
            ]);
            columns.push((format!("c{number}"), random_array(random, &data_type, true, rows)));
        }
        let batch = Batch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
        let order: Vec<SortKey> = (0..keys).map(|column| key(column, random.chance(50), random.chance(50))).collect();
        let function = if is_numbered { WindowFunction::RowNumber } else { WindowFunction::Rank };
        let spec = WindowSpec {
            partition: Vec::new(),
            order: order.clone(),
            calls: vec![WindowCall { function, frame: Frame::whole(), returns: DataType::UInt64 }],
            bound: Some(RankBound { call: 0, most: 1 }),
            input: batch.schema(),
            output: batch.schema(),
        };
        let Some(prefixes) = Prefixes::new(&spec, &Arc::default()).unwrap() else { return Ok(()) };
        let prefixes = prefixes.of(&batch).unwrap();
        let field = |key: &SortKey| {
            let options = SortOptions { descending: key.is_descending, nulls_first: key.nulls_first };
            let data_type = key.expression.data_type(&batch.schema()).unwrap();
            SortField::new_with_options(data_type, options)
        };
        let converter = RowConverter::new(order.iter().map(field).collect()).unwrap();
        let values: Vec<_> = batch.columns()[..keys].iter().map(canonical_floats).collect();
        let sorted = converter.convert_columns(&values).unwrap();
        let content = CanonicalOrder::new(&batch.schema()).unwrap().encode(&batch).unwrap();
        for a in 0..rows {
            for b in 0..rows {
                let mut expected = sorted.row(a).cmp(&sorted.row(b));
                if is_numbered {
                    expected = expected.then_with(|| content.row(a).cmp(&content.row(b)));
                }
                if prefixes[a] < prefixes[b] {
                    prop_assert_eq!(expected, Ordering::Less, "{:?} {} {}", batch, a, b);
                }
            }
        }
    }
}

#[test]
fn a_filter_that_leaves_rows_out_keeps_them_out_of_memory() {
    let random = &mut Random(5);
    let rows = random_rows(200_000, 50, 1 << 40, random);
    let order = vec![key(ID, false, false)];
    let mut peaks = [None, Some(2)].map(|most| {
        let context =
            context_with(Settings { threads: 2, memory_bytes: 1 << 30, rows_per_morsel: 1_000, ..Settings::default() });
        let found = given(&bounded(true, order.clone(), &WindowFunction::RowNumber, most), &rows, &context, random);
        // NULL is a partition, too.
        assert_eq!(found.len(), if most.is_some() { 2 * 51 } else { rows.len() });
        context.governor.peak_bytes()
    });
    peaks.sort_unstable();
    assert!(peaks[0] * 4 < peaks[1], "{peaks:?}");
}
