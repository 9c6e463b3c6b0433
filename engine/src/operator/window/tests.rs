//! Windows against a specification that looks at every row of the partition, whatever the threads, the cuts and the order of arrival.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{Window, WindowSpec};
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, Int64Array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::Kind,
    expression::{
        AggregateCall, AggregateFunction, BinaryOp, Bound, Expression, Frame, FrameUnits, Literal, Parameters, SortKey,
        WindowCall, WindowFunction,
    },
    operator::testing::{Cell, Random, context, context_of, context_with, cut, drain, feed, rows_of},
    settings::Settings,
};

mod bound; // the first rows of each partition
mod stream; // partitions that memory does not hold

/// Columns: partition, order, value, and a number that no two rows share.
const COLUMNS: [&str; 4] = ["p", "o", "v", "id"];
const P: usize = 0;
const O: usize = 1;
const V: usize = 2;
const ID: usize = 3;

type Row = [Option<i64>; 4];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(COLUMNS.map(|name| Field::new(name, DataType::Int64, true)).to_vec()))
}

fn random_rows(count: usize, partitions: usize, orders: usize, random: &mut Random) -> Vec<Row> {
    let mut pick = |values: usize| (!random.chance(10)).then(|| random.below(values) as i64 - 2);
    (0..count as i64).map(|id| [pick(partitions), pick(orders), pick(20), Some(id)]).collect()
}

fn batch_of(rows: &[Row]) -> Batch {
    let column = |c: usize| Arc::new(rows.iter().map(|row| row[c]).collect::<Int64Array>()) as ArrayRef;
    Batch::try_new(schema(), (0..4).map(column).collect()).unwrap()
}

fn key(column: usize, is_descending: bool, nulls_first: bool) -> SortKey {
    SortKey { expression: Expression::Column(column), is_descending, nulls_first }
}

fn aggregate(function: AggregateFunction, returns: DataType) -> WindowFunction {
    let arguments = vec![Expression::Column(V)];
    WindowFunction::Aggregate(AggregateCall {
        function,
        arguments,
        filter: None,
        is_distinct: false,
        order: Vec::new(),
        returns,
    })
}

/// How far a bound is, as the specification reads it.
#[derive(Clone, Copy, Debug)]
enum Far {
    Unbounded,
    Current,
    By(i64),
}

fn bound(far: Far, units: FrameUnits, is_descending: bool) -> Bound {
    match (far, units) {
        (Far::Unbounded, _) => Bound::Unbounded,
        (Far::Current, _) => Bound::Current,
        (Far::By(by), FrameUnits::Range) => {
            let by = if is_descending { -by } else { by };
            let (left, right) = (Box::new(Expression::Column(O)), Box::new(Expression::Literal(Literal::from(by))));
            Bound::Value(Expression::Binary { op: BinaryOp::Plus, left, right })
        }
        (Far::By(by), _) => Bound::Offset(by),
    }
}

/// One partition in order, and the number of each row's group of peers.
struct Partition {
    rows: Vec<Row>,
    groups: Vec<i64>,
}

impl Partition {
    fn new(mut rows: Vec<Row>, order: &[SortKey]) -> Partition {
        let compare = |a: &Row, b: &Row| match order.first() {
            None => Ordering::Equal,
            Some(key) => match (a[O], b[O]) {
                (None, None) => Ordering::Equal,
                (None, _) => {
                    if key.nulls_first {
                        Ordering::Less
                    } else {
                        Ordering::Greater
                    }
                }
                (_, None) => {
                    if key.nulls_first {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    }
                }
                (a, b) => {
                    if key.is_descending {
                        b.cmp(&a)
                    } else {
                        a.cmp(&b)
                    }
                }
            },
        };
        // Content: the columns in the order of their names, NULLs first.
        rows.sort_by(|a, b| compare(a, b).then_with(|| a.cmp(b)));
        let mut groups = vec![0; rows.len()];
        for row in 1..rows.len() {
            groups[row] = groups[row - 1] + i64::from(compare(&rows[row - 1], &rows[row]).is_ne());
        }
        Partition { rows, groups }
    }

    /// Is `other` in the frame of `row`?
    fn is_in(&self, row: usize, other: usize, units: FrameUnits, start: Far, end: Far, is_descending: bool) -> bool {
        let distance = match units {
            FrameUnits::Rows => Some(other as i64 - row as i64),
            FrameUnits::Groups => Some(self.groups[other] - self.groups[row]),
            FrameUnits::Range => {
                let difference = |(other, row): (i64, i64)| if is_descending { row - other } else { other - row };
                self.rows[other][O].zip(self.rows[row][O]).map(difference)
            }
        };
        let ahead = self.groups[other] - self.groups[row];
        let side = |far: Far, is_start: bool| {
            let (distance, by) = match far {
                Far::Unbounded => return true,
                Far::Current if units == FrameUnits::Rows => (other as i64 - row as i64, 0),
                Far::Current => (ahead, 0),
                // NULL stands beside its peers only, and is behind or before all others.
                Far::By(_) if self.rows[row][O].is_none() && units == FrameUnits::Range => (ahead, 0),
                Far::By(by) => (distance.unwrap_or(ahead.signum() * i64::MAX), by),
            };
            if is_start { distance >= by } else { distance <= by }
        };
        side(start, true) && side(end, false)
    }
}

fn specified(function: &WindowFunction, partition: &Partition, row: usize, frame: &[usize]) -> Option<f64> {
    let (rows, groups) = (&partition.rows, &partition.groups);
    let count = rows.len() as f64;
    let first_peer = groups.iter().position(|group| *group == groups[row]).unwrap() as f64;
    let last_peer = groups.iter().rposition(|group| *group == groups[row]).unwrap() as f64;
    let known = |ignores_nulls: bool, among: &mut dyn Iterator<Item = usize>| -> Vec<usize> {
        among.filter(|other| !ignores_nulls || rows[*other][V].is_some()).collect()
    };
    let value = |row: Option<&usize>| row.and_then(|row| rows[*row][V]).map(|value| value as f64);
    let values: Vec<i64> = frame.iter().filter_map(|other| rows[*other][V]).collect();
    match function {
        WindowFunction::RowNumber => Some(row as f64 + 1.0),
        WindowFunction::Rank => Some(first_peer + 1.0),
        WindowFunction::DenseRank => Some(groups[row] as f64 + 1.0),
        WindowFunction::PercentRank => Some(if count == 1.0 { 0.0 } else { first_peer / (count - 1.0) }),
        WindowFunction::CumeDist => Some((last_peer + 1.0) / count),
        WindowFunction::Ntile(buckets) => {
            // Deal the rows out, one to each bucket in turn, and count how many each has.
            let mut lengths = vec![0; *buckets as usize];
            (0..rows.len()).for_each(|row| lengths[row % *buckets as usize] += 1);
            let mut end = 0;
            let bucket = lengths.iter().position(|length| {
                end += length;
                row < end
            });
            bucket.map(|bucket| bucket as f64 + 1.0)
        }
        WindowFunction::Shifted { offset, default, ignores_nulls, .. } => {
            let place = if *offset == 0 {
                Some(row)
            } else if *offset > 0 {
                known(*ignores_nulls, &mut (row + 1..rows.len())).get(*offset as usize - 1).copied()
            } else {
                known(*ignores_nulls, &mut (0..row).rev()).get(-*offset as usize - 1).copied()
            };
            match (place, default) {
                (Some(place), _) => value(Some(&place)),
                (None, Some(_)) => Some(77.0),
                (None, None) => None,
            }
        }
        WindowFunction::Nth { number, ignores_nulls, .. } => {
            let known = known(*ignores_nulls, &mut frame.iter().copied());
            if *number > 0 {
                value(known.get(*number as usize - 1))
            } else {
                value(known.iter().nth_back(-*number as usize - 1))
            }
        }
        WindowFunction::Aggregate(call) => match call.function {
            AggregateFunction::Count => Some(values.len() as f64),
            AggregateFunction::Sum => (!values.is_empty()).then(|| values.iter().sum::<i64>() as f64),
            AggregateFunction::Min => values.iter().min().map(|value| *value as f64),
            AggregateFunction::Avg => {
                (!values.is_empty()).then(|| values.iter().sum::<i64>() as f64 / values.len() as f64)
            }
            other => panic!("{other:?} is not specified here"),
        },
    }
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Null => None,
        Cell::Int(value) => Some(*value as f64),
        Cell::Float(bits) => Some(f64::from_bits(*bits)),
        other => panic!("{other:?} is no number"),
    }
}

/// Some of each kind; or only those that can be computed of a partition in pieces, whatever the frame.
fn functions(in_pieces: bool) -> Vec<WindowFunction> {
    let shifted = |offset, default: bool, ignores_nulls| WindowFunction::Shifted {
        value: Expression::Column(V),
        offset,
        default: default.then(|| Expression::Literal(Literal::from(77_i64))),
        ignores_nulls,
    };
    let nth = |number, ignores_nulls| WindowFunction::Nth { value: Expression::Column(V), number, ignores_nulls };
    let mut functions = vec![
        WindowFunction::RowNumber,
        WindowFunction::Rank,
        WindowFunction::DenseRank,
        WindowFunction::PercentRank,
        WindowFunction::CumeDist,
        WindowFunction::Ntile(3),
        shifted(-1, false, false),
        shifted(2, true, false),
        shifted(0, true, true),
        nth(1, false),
        nth(-1, false),
        aggregate(AggregateFunction::Count, DataType::Int64),
        aggregate(AggregateFunction::Sum, DataType::Int64),
        aggregate(AggregateFunction::Min, DataType::Int64),
        aggregate(AggregateFunction::Avg, DataType::Float64),
    ];
    if !in_pieces {
        functions.extend([shifted(-2, true, true), shifted(1, false, true), nth(2, true), nth(-2, true)]);
    }
    functions
}

fn returns(function: &WindowFunction) -> DataType {
    match function {
        WindowFunction::PercentRank | WindowFunction::CumeDist => DataType::Float64,
        WindowFunction::Aggregate(call) => call.returns.clone(),
        _ => DataType::Int64,
    }
}

fn spec_of(partition: bool, order: Vec<SortKey>, frame: &Frame) -> WindowSpec {
    spec_of_functions(partition, order, frame, functions(false))
}

fn spec_of_functions(
    partition: bool,
    order: Vec<SortKey>,
    frame: &Frame,
    functions: Vec<WindowFunction>,
) -> WindowSpec {
    let calls: Vec<WindowCall> = functions
        .into_iter()
        .map(|function| WindowCall { returns: returns(&function), function, frame: frame.clone() })
        .collect();
    let mut fields: Vec<Field> = schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(calls.iter().enumerate().map(|(k, call)| Field::new(format!("c{k}"), call.returns.clone(), true)));
    WindowSpec {
        partition: if partition { vec![Expression::Column(P)] } else { Vec::new() },
        order,
        calls,
        bound: None,
        input: schema(),
        output: Arc::new(Schema::new(fields)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(240))]

    #[test]
    fn every_function_over_every_frame_is_what_it_is_said_to_be(
        (count, partitions, orders) in (0_usize..70, 1_usize..6, 1_usize..9),
        (units, start, end) in (0_usize..3, 0_usize..7, 0_usize..7),
        (has_partition, has_order, is_descending, nulls_first) in any::<(bool, bool, bool, bool)>(),
        (rows_per_morsel, threads, seed, spills) in (1_usize..20, 1_usize..4, any::<u64>(), any::<bool>()),
        in_pieces in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let rows = random_rows(count, partitions, orders, &mut random);
        let units = [FrameUnits::Rows, FrameUnits::Groups, FrameUnits::Range][units];
        let fars = [Far::Unbounded, Far::Current, Far::By(0), Far::By(-1), Far::By(-3), Far::By(1), Far::By(2)];
        let (start, end) = (fars[start], fars[end]);
        // A distance of values is one of exactly one key.
        let has_order = has_order || units == FrameUnits::Range;
        let order = if has_order { vec![key(O, is_descending, nulls_first)] } else { Vec::new() };
        let frame = Frame {
            units,
            start: bound(start, units, is_descending),
            end: bound(end, units, is_descending),
        };
        let functions = functions(in_pieces);
        let spec = spec_of_functions(has_partition, order.clone(), &frame, functions.clone());
        let context = if spills {
            let settings = Settings { memory_bytes: 1 << 20, revocable_bytes: Some(0), rows_per_morsel, ..Settings::default() };
            context_with(settings)
        } else {
            context(rows_per_morsel)
        };
        let window = Window::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
        let sink = window.sink();
        feed(&sink, cut(&batch_of(&rows), rows_per_morsel, &mut random), threads, &mut random).unwrap();
        let has_spilled = context.counters.report().spilled_bytes > 0;
        prop_assert!(spills || !has_spilled);
        let given = rows_of(&drain(&window.source(), threads, &mut random).unwrap());
        prop_assert_eq!(given.len(), rows.len());
        prop_assert_eq!((context.governor.used_bytes(), context.runs.used_bytes()), (0, 0), "all was given");
        let found: BTreeMap<i64, Vec<Option<f64>>> = given
            .iter()
            .map(|row| (number(&row[ID]).unwrap() as i64, row[4..].iter().map(number).collect()))
            .collect();
        let mut by_partition: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
        rows.iter().for_each(|row| by_partition.entry(row[P].filter(|_| has_partition)).or_default().push(*row));
        for (_, rows) in by_partition {
            let partition = Partition::new(rows, &order);
            for (place, row) in partition.rows.iter().enumerate() {
                let frame: Vec<usize> = (0..partition.rows.len())
                    .filter(|other| partition.is_in(place, *other, units, start, end, is_descending))
                    .collect();
                for (call, function) in functions.iter().enumerate() {
                    let expected = specified(function, &partition, place, &frame);
                    let found = found[&row[ID].unwrap()][call];
                    prop_assert_eq!(found, expected, "{:?} of {:?} over {:?}", function, row, frame);
                }
            }
        }
    }
}

#[test]
fn what_is_spilled_gives_the_same_columns() {
    let random = &mut Random(3);
    let rows = random_rows(30_000, 400, 40, random);
    let frame = Frame { units: FrameUnits::Groups, start: Bound::Offset(-2), end: Bound::Current };
    let spec = spec_of(true, vec![key(O, true, true)], &frame);
    let mut given = [1 << 40, 3 << 20].map(|memory_bytes| {
        let context = context_of(1_000, memory_bytes);
        let window = Window::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
        feed(&window.sink(), cut(&batch_of(&rows), 1_000, random), 2, random).unwrap();
        assert_eq!(context.counters.report().spilled_bytes > 0, memory_bytes < 1 << 30);
        let mut given = rows_of(&drain(&window.source(), 2, random).unwrap());
        assert!(context.governor.peak_bytes() <= memory_bytes);
        given.sort();
        given
    });
    assert_eq!(given[0].len(), rows.len());
    let spilled = given[1].split_off(0);
    assert!(given[0] == spilled);
}

#[test]
fn a_partition_that_does_not_fit_is_an_error_that_says_so() {
    let rows = random_rows(40_000, 1, 9, &mut Random(1));
    let spec = spec_of(false, vec![key(O, false, false)], &Frame::whole());
    let context = context_of(64, 4 << 20);
    let window = Window::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
    let mut random = Random(2);
    feed(&window.sink(), cut(&batch_of(&rows), 64, &mut random), 1, &mut random).unwrap();
    let mut thread = window.source().thread().unwrap();
    let error = thread.pull().err().expect("4 MiB do not hold 40,000 rows of 23 columns");
    assert_eq!(error.kind(), Kind::Limit);
    assert!(error.to_string().contains("a partition of at least"), "{error}");
}
