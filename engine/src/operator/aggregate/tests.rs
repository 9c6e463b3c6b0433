//! Grouping against its definition: a map from keys to the values of each group, whatever the cut, the threads and the order.

mod pairs; // correlation, covariance, regression

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Aggregate, AggregateError, AggregatePhase, AggregateSpec,
    exact_sum::{ExactProducts, ExactSums, variance},
    merge::GROUPS_MIN,
};
use crate::{
    batch::{
        Batch,
        array::{
            Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
            Float64Array, Int8Array, Int32Array, Int64Array, LargeStringArray, NullArray, StringArray, StringViewArray,
            UInt64Array,
        },
        canonical_bits_64, compute,
        datatypes::{DataType, Decimal128Type, Field, Float32Type, Float64Type, Schema, SchemaRef},
    },
    error::{Kind, Result},
    expression::{AggregateCall, AggregateFunction as F, Expression, Parameters},
    memory::OverBudget,
    operator::{
        JobContext,
        testing::{Random, context, context_of, context_with, cut, drain, feed},
    },
    settings::Settings,
};

/// A value: compared by value as a key, by bits as a result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Val {
    Null,
    Bool(bool),
    Int(i128),
    Float(u64),
    Bytes(Vec<u8>),
}

fn val(column: &ArrayRef, row: usize) -> Val {
    let column = match column.data_type() {
        DataType::Dictionary(_, values) => &compute::cast(&column.slice(row, 1), values).unwrap(),
        _ => &column.slice(row, 1),
    };
    if column.is_null(0) || *column.data_type() == DataType::Null {
        return Val::Null;
    }
    let bytes = |bytes: &[u8]| Val::Bytes(bytes.to_vec());
    match column.data_type() {
        DataType::Boolean => Val::Bool(column.as_boolean().value(0)),
        DataType::Float64 => Val::Float(column.as_primitive::<Float64Type>().value(0).to_bits()),
        DataType::Float32 => Val::Float(f64::from(column.as_primitive::<Float32Type>().value(0)).to_bits()),
        DataType::Decimal128(..) => Val::Int(column.as_primitive::<Decimal128Type>().value(0)),
        DataType::Utf8 => bytes(column.as_string::<i32>().value(0).as_bytes()),
        DataType::LargeUtf8 => bytes(column.as_string::<i64>().value(0).as_bytes()),
        DataType::Utf8View => bytes(column.as_string_view().value(0).as_bytes()),
        DataType::Binary => bytes(column.as_binary::<i32>().value(0)),
        DataType::UInt64 => Val::Int(i128::from(column.as_primitive::<crate::batch::datatypes::UInt64Type>().value(0))),
        DataType::Date32 => val(&compute::cast(column, &DataType::Int32).unwrap(), 0),
        _ => {
            let wide = compute::cast(column, &DataType::Int64).unwrap();
            Val::Int(i128::from(wide.as_primitive::<crate::batch::datatypes::Int64Type>().value(0)))
        }
    }
}

fn canonical(value: Val) -> Val {
    match value {
        Val::Float(bits) => Val::Float(canonical_bits_64(f64::from_bits(bits))),
        other => other,
    }
}

/// A call over a column, perhaps with a filter.
fn call(function: F, argument: Option<usize>, returns: DataType) -> AggregateCall {
    AggregateCall {
        function,
        arguments: argument.into_iter().map(Expression::Column).collect(),
        filter: None,
        is_distinct: false,
        order: Vec::new(),
        returns,
    }
}

fn spec(keys: &[usize], calls: Vec<AggregateCall>, input: &SchemaRef) -> AggregateSpec {
    let mut fields: Vec<Field> = keys.iter().map(|key| input.field(*key).clone()).collect();
    fields.extend(calls.iter().map(|call| Field::new("a", call.returns.clone(), true)));
    AggregateSpec {
        keys: keys.iter().map(|key| Expression::Column(*key)).collect(),
        calls,
        input: Arc::clone(input),
        output: Arc::new(Schema::new(fields)),
        phase: AggregatePhase::Whole,
    }
}

fn run(spec: &AggregateSpec, batch: &Batch, parts: usize, rows_max: usize, random: &mut Random) -> Result<Vec<Batch>> {
    let rows_per_morsel = 1 + random.below(5_000);
    let context = if random.chance(50) { context(rows_per_morsel) } else { spilling(rows_per_morsel) };
    let aggregate = Aggregate::new(spec, &context, &Arc::new(Parameters::default()))?;
    feed(&aggregate.sink(), cut(batch, rows_max, random), parts, random)?;
    let batches = drain(&aggregate.source(), 1 + random.below(3), random)?;
    drop(aggregate);
    assert_eq!(context.governor.used_bytes(), 0);
    Ok(batches.into_iter().map(|morsel| morsel.batch).collect())
}

/// A context in which everything that can be spilled is.
fn spilling(rows_per_morsel: usize) -> JobContext {
    context_with(Settings {
        threads: 2,
        memory_bytes: 64 << 20,
        revocable_bytes: Some(0),
        rows_per_morsel,
        ..Settings::default()
    })
}

/// Each key's results, by running the operator.
fn actual(
    spec: &AggregateSpec,
    batch: &Batch,
    parts: usize,
    rows_max: usize,
    random: &mut Random,
) -> BTreeMap<Vec<Val>, Vec<Val>> {
    let mut groups = BTreeMap::new();
    for batch in run(spec, batch, parts, rows_max, random).unwrap() {
        assert_eq!(batch.schema(), spec.output);
        for row in 0..batch.num_rows() {
            let mut key: Vec<Val> = batch.columns().iter().map(|column| val(column, row)).collect();
            let results = key.split_off(spec.keys.len());
            assert!(key.iter().all(|key| *key == canonical(key.clone())));
            assert!(groups.insert(key, results).is_none(), "a group came twice");
        }
    }
    groups
}

/// Each key's results, by definition.
fn expected(spec: &AggregateSpec, batch: &Batch) -> BTreeMap<Vec<Val>, Vec<Val>> {
    let column = |expression: &Expression| match expression {
        Expression::Column(number) => batch.column(*number),
        other => unreachable!("{other}"),
    };
    let mut groups: BTreeMap<Vec<Val>, Vec<usize>> = BTreeMap::new();
    if spec.keys.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for row in 0..batch.num_rows() {
        let key = spec.keys.iter().map(|key| canonical(val(column(key), row))).collect();
        groups.entry(key).or_default().push(row);
    }
    let results = |rows: &Vec<usize>| spec.calls.iter().map(|call| result(call, rows, &column)).collect();
    groups.iter().map(|(key, rows)| (key.clone(), results(rows))).collect()
}

fn result<'a>(call: &AggregateCall, rows: &[usize], column: &dyn Fn(&Expression) -> &'a ArrayRef) -> Val {
    let is_kept = |row: &usize| call.filter.as_ref().is_none_or(|filter| val(column(filter), *row) == Val::Bool(true));
    let rows: Vec<usize> = rows.iter().copied().filter(is_kept).collect();
    let Some(argument) = call.arguments.first() else { return Val::Int(rows.len() as i128) };
    let mut values: Vec<Val> = rows.iter().map(|row| val(column(argument), *row)).filter(|v| *v != Val::Null).collect();
    if call.is_distinct {
        values = values.into_iter().map(canonical).collect::<BTreeSet<_>>().into_iter().collect();
    }
    if call.function == F::Count {
        return Val::Int(values.len() as i128);
    }
    if values.is_empty() {
        return Val::Null;
    }
    let count = values.len() as u64;
    let ints = || values.iter().map(|v| if let Val::Int(v) = v { *v } else { unreachable!() });
    let bools = || values.iter().map(|v| *v == Val::Bool(true));
    let argument_type = column(argument).data_type();
    let is_float = argument_type.is_floating();
    let (mut sums, mut squares) = (ExactSums::default(), ExactProducts::default());
    sums.resize(1);
    squares.resize(1);
    if let Val::Float(_) = values[0] {
        for value in &values {
            if let Val::Float(bits) = value {
                sums.add(0, f64::from_bits(*bits));
                squares.add_square(0, f64::from_bits(*bits));
            }
        }
    }
    let float = |value: f64| Val::Float(value.to_bits());
    // NaN last, then in order of the numbers, -0 before +0.
    let rank = |value: &Val| match value {
        Val::Float(bits) => {
            let float = f64::from_bits(*bits);
            let float = if float.is_nan() { f64::NAN } else { float };
            let bits = float.to_bits() as i64;
            (bits ^ ((bits >> 63) as u64 >> 1) as i64, Val::Null)
        }
        other => (0, other.clone()),
    };
    let one_nan = |value: &Val| match value {
        Val::Float(bits) if f64::from_bits(*bits).is_nan() => float(f64::NAN),
        other => other.clone(),
    };
    match call.function {
        F::Count => unreachable!(),
        F::Sum if is_float => float(sums.quotient(0, 1)),
        F::Sum => Val::Int(ints().sum()),
        F::Avg if is_float => float(sums.quotient(0, count)),
        F::Avg => match (argument_type, &call.returns) {
            (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => {
                Val::Int(ints().sum::<i128>() * 10_i128.pow((to - from) as u32) / i128::from(count))
            }
            _ => float(ints().sum::<i128>() as f64 / count as f64),
        },
        F::Min => one_nan(values.iter().min_by_key(|value| rank(value)).unwrap()),
        F::Max => one_nan(values.iter().max_by_key(|value| rank(value)).unwrap()),
        F::BoolAnd => Val::Bool(bools().all(|v| v)),
        F::BoolOr => Val::Bool(bools().any(|v| v)),
        F::BitAnd => Val::Int(ints().reduce(|a, b| a & b).unwrap()),
        F::BitOr => Val::Int(ints().reduce(|a, b| a | b).unwrap()),
        F::BitXor => Val::Int(ints().reduce(|a, b| a ^ b).unwrap()),
        F::VarSample | F::StddevSample if count < 2 => Val::Null,
        F::VarSample => float(variance(&sums, &squares, 0, count, count - 1)),
        F::StddevSample => float(variance(&sums, &squares, 0, count, count - 1).sqrt()),
        F::VarPopulation => float(variance(&sums, &squares, 0, count, count)),
        F::StddevPopulation => float(variance(&sums, &squares, 0, count, count).sqrt()),
        of_pairs => unreachable!("{of_pairs:?}: see pairs"),
    }
}

/// The columns of the property test, by number.
mod column {
    pub const INT: usize = 0;
    pub const NULL_INT: usize = 1;
    pub const SMALL: usize = 2;
    pub const BOOL: usize = 3;
    pub const LETTER: usize = 4;
    pub const LETTER_VIEW: usize = 5;
    pub const TEXT: usize = 6;
    pub const TEXT_VIEW: usize = 7;
    pub const FLOAT: usize = 8;
    pub const FLOAT_32: usize = 9;
    pub const DECIMAL: usize = 10;
    pub const DICTIONARY: usize = 11;
    pub const BINARY: usize = 12;
    pub const DATE: usize = 13;
    pub const UNSIGNED: usize = 14;
    pub const RARELY_LONG: usize = 15;
    pub const LARGE: usize = 16;
    pub const BYTE: usize = 17;
    pub const UNTYPED: usize = 18;
}

fn random_batch(rows: usize, distinct: usize, random: &mut Random) -> Batch {
    let texts: Vec<String> = (0..distinct)
        .map(|i| match i % 4 {
            0 => format!("w{i}"),
            1 => format!("a word, number {i}"),
            2 => format!("a word of number {i}"),
            _ => String::new(),
        })
        .collect();
    let floats = [
        0.0,
        -0.0,
        1.5,
        f64::NAN,
        f64::from_bits(0xfff8_0000_0000_0001),
        f64::INFINITY,
        1e308,
        -1e308,
        5e-324,
        0.1,
        -0.1,
        1e16,
    ];
    let mut some = |percent: usize| -> Vec<Option<usize>> {
        (0..rows).map(|_| random.chance(percent).then(|| random.below(distinct))).collect()
    };
    let letters: Vec<Option<&str>> =
        some(90).into_iter().map(|i| i.map(|i| ["", "A", "N", "R", "seven77", "o"][i % 6])).collect();
    let text = |values: Vec<Option<usize>>| values.into_iter().map(|i| i.map(|i| texts[i].clone())).collect::<Vec<_>>();
    let rarely: Vec<&str> =
        some(100).into_iter().map(|i| if i == Some(7) { "longer than seven" } else { "short" }).collect();
    let float = |i: usize| if i.is_multiple_of(3) { floats[i / 3 % floats.len()] } else { i as f64 / 7.0 };
    let dictionary: StringArray = text(some(80)).into_iter().collect();
    let dictionary_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(some(100).into_iter().map(|i| i.unwrap() as i64 - 5))),
        Arc::new(some(70).into_iter().map(|i| i.map(|i| i as i64 - 5)).collect::<Int64Array>()),
        Arc::new(some(90).into_iter().map(|i| i.map(|i| i as i32 % 10)).collect::<Int32Array>()),
        Arc::new(some(80).into_iter().map(|i| i.map(|i| i % 2 == 0)).collect::<BooleanArray>()),
        Arc::new(letters.iter().copied().collect::<StringArray>()),
        Arc::new(letters.iter().rev().copied().collect::<StringViewArray>()),
        Arc::new(text(some(90)).into_iter().collect::<StringArray>()),
        Arc::new(text(some(90)).into_iter().collect::<StringViewArray>()),
        Arc::new(some(90).into_iter().map(|i| i.map(float)).collect::<Float64Array>()),
        Arc::new(some(90).into_iter().map(|i| i.map(|i| float(i) as f32)).collect::<Float32Array>()),
        Arc::new(
            some(90)
                .into_iter()
                .map(|i| i.map(|i| i as i128 * 1_234_567_890_123 - 7))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(30, 2)
                .unwrap(),
        ),
        compute::cast(&dictionary, &dictionary_type).unwrap(),
        Arc::new(BinaryArray::from_iter(text(some(90)).iter().map(|t| t.as_ref().map(|t| t.as_bytes())))),
        Arc::new(Date32Array::from_iter_values(some(100).into_iter().map(|i| 10_000 - i.unwrap() as i32 % 50))),
        Arc::new(some(90).into_iter().map(|i| i.map(|i| i as u64 + (1 << 40))).collect::<UInt64Array>()),
        Arc::new(StringViewArray::from_iter_values(rarely)),
        Arc::new(text(some(90)).into_iter().collect::<LargeStringArray>()),
        Arc::new(some(90).into_iter().map(|i| i.map(|i| (i % 256) as u8 as i8)).collect::<Int8Array>()),
        Arc::new(NullArray::new(rows)),
    ];
    let fields: Vec<Field> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true)).collect();
    Batch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn all_calls() -> Vec<AggregateCall> {
    use DataType::{Boolean, Date32, Float64, Int8, Int32, Int64, LargeUtf8, UInt64, Utf8, Utf8View};
    use column::*;
    let decimal = |precision, scale| DataType::Decimal128(precision, scale);
    let mut calls = vec![
        call(F::Count, None, Int64),
        call(F::Count, Some(NULL_INT), Int64),
        call(F::Sum, Some(NULL_INT), Int64),
        call(F::Avg, Some(NULL_INT), Float64),
        call(F::Sum, Some(UNSIGNED), UInt64),
        call(F::Sum, Some(BYTE), Int64),
        call(F::Sum, Some(DECIMAL), decimal(38, 2)),
        call(F::Avg, Some(DECIMAL), decimal(34, 6)),
        call(F::Sum, Some(FLOAT), Float64),
        call(F::Avg, Some(FLOAT), Float64),
        call(F::Sum, Some(FLOAT_32), Float64),
        call(F::Min, Some(FLOAT), Float64),
        call(F::Max, Some(FLOAT), Float64),
        call(F::Min, Some(TEXT), Utf8),
        call(F::Max, Some(TEXT_VIEW), Utf8View),
        call(F::Min, Some(LARGE), LargeUtf8),
        call(F::Max, Some(DICTIONARY), Utf8),
        call(F::Min, Some(DATE), Date32),
        call(F::Max, Some(DECIMAL), decimal(30, 2)),
        call(F::Min, Some(BOOL), Boolean),
        call(F::BoolAnd, Some(BOOL), Boolean),
        call(F::BoolOr, Some(BOOL), Boolean),
        call(F::BitAnd, Some(BYTE), Int8),
        call(F::BitOr, Some(SMALL), Int32),
        call(F::BitXor, Some(UNSIGNED), UInt64),
        call(F::VarSample, Some(FLOAT), Float64),
        call(F::VarPopulation, Some(FLOAT_32), Float64),
        call(F::StddevSample, Some(FLOAT), Float64),
        call(F::StddevPopulation, Some(FLOAT), Float64),
        call(F::Max, Some(UNTYPED), Int64),
        call(F::Count, Some(UNTYPED), Int64),
    ];
    for (function, argument, returns) in [
        (F::Count, NULL_INT, Int64),
        (F::Count, TEXT, Int64),
        (F::Count, TEXT_VIEW, Int64),
        (F::Sum, SMALL, Int64),
        (F::Avg, DECIMAL, decimal(34, 6)),
        (F::Sum, FLOAT, Float64),
        (F::Max, BYTE, Int8),
        (F::BitXor, BYTE, Int8),
    ] {
        calls.push(AggregateCall { is_distinct: true, ..call(function, Some(argument), returns) });
    }
    for number in [0, 1, 6, 8, 11, 13, 31, 33] {
        calls.push(AggregateCall { filter: Some(Expression::Column(BOOL)), ..calls[number].clone() });
    }
    calls
}

#[test]
fn is_what_the_definition_says() {
    use column::*;
    let key_sets: [&[usize]; 24] = [
        &[],
        &[INT],
        &[NULL_INT],
        &[SMALL, BOOL],
        &[LETTER, LETTER_VIEW],
        &[LETTER, RARELY_LONG],
        &[INT, UNSIGNED],
        &[NULL_INT, INT],
        &[FLOAT],
        &[FLOAT_32, SMALL],
        &[TEXT],
        &[TEXT_VIEW],
        &[LARGE],
        &[BINARY],
        &[DECIMAL],
        &[DICTIONARY],
        &[DATE, BYTE, LETTER],
        &[INT, TEXT, FLOAT],
        &[UNTYPED],
        &[BOOL],
        &[SMALL, LETTER, LETTER_VIEW],
        &[LETTER, LETTER_VIEW, LETTER, LETTER_VIEW, LETTER],
        &[RARELY_LONG, NULL_INT],
        &[DECIMAL, BOOL],
    ];
    for (number, keys) in key_sets.iter().enumerate() {
        for seed in 0..5 {
            let random = &mut Random(1_000 * number as u64 + seed);
            let rows = [0, 1, 50, 700, 1_500][seed as usize];
            let distinct = [5, 5, 12, 40, 200][seed as usize];
            let batch = random_batch(rows, distinct, random);
            let spec = spec(keys, all_calls(), &batch.schema());
            let expected = expected(&spec, &batch);
            for parts in 1..=4 {
                let rows_max = [1 + rows / 3, 64, 7, 3_000][random.below(4)];
                let actual = actual(&spec, &batch, parts, rows_max, random);
                assert_eq!(actual.len(), expected.len(), "keys {keys:?}, seed {seed}, {parts} parts");
                for (key, results) in &expected {
                    let found = actual.get(key).unwrap_or_else(|| panic!("no group {key:?} of keys {keys:?}"));
                    for (i, (found, result)) in found.iter().zip(results).enumerate() {
                        assert_eq!(found, result, "call {i} of {key:?}, keys {keys:?}, seed {seed}, {parts} parts");
                    }
                }
            }
        }
    }
}

/// Enough groups that the tables are cut in parts, with sets of distinct values.
#[test]
fn many_groups_are_merged_in_parts() {
    let random = &mut Random(7);
    let rows = 3 * GROUPS_MIN;
    let keys: Vec<usize> = (0..rows).map(|_| random.below(2 * GROUPS_MIN)).collect();
    let text =
        |key: &usize| if key.is_multiple_of(3) { format!("{key}") } else { format!("the key with number {key}") };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(keys.iter().map(|key| *key as i64))),
        Arc::new(StringArray::from_iter_values(keys.iter().map(text))),
        Arc::new(Float64Array::from_iter_values((0..rows).map(|_| random.below(1_000) as f64 / 7.0))),
        Arc::new(Int64Array::from_iter_values((0..rows).map(|_| random.below(3) as i64))),
    ];
    let fields: Vec<Field> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), false)).collect();
    let batch = Batch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    for keys in [&[0][..], &[1], &[0, 1]] {
        let mut distinct = call(F::Count, Some(3), DataType::Int64);
        distinct.is_distinct = true;
        let calls = vec![
            call(F::Count, None, DataType::Int64),
            call(F::Sum, Some(2), DataType::Float64),
            call(F::Max, Some(1), DataType::Utf8),
            distinct,
        ];
        let spec = spec(keys, calls, &batch.schema());
        let expected = expected(&spec, &batch);
        for parts in [1, 3] {
            assert!(actual(&spec, &batch, parts, 4_000, random) == expected, "keys {keys:?}, {parts} parts");
        }
    }
}

fn one_column(column: ArrayRef) -> Batch {
    let schema = Schema::new(vec![Field::new("c", column.data_type().clone(), true)]);
    Batch::try_new(Arc::new(schema), vec![column]).unwrap()
}

#[test]
fn a_sum_that_leaves_its_type_fails_only_in_the_end() {
    let random = &mut Random(1);
    let there_and_back = one_column(Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX, -i64::MAX, -2, -i64::MAX])));
    let sum = spec(&[], vec![call(F::Sum, Some(0), DataType::Int64)], &there_and_back.schema());
    let average = spec(&[], vec![call(F::Avg, Some(0), DataType::Float64)], &there_and_back.schema());
    for parts in 1..4 {
        let batches = run(&sum, &there_and_back, parts, 2, random).unwrap();
        assert_eq!(val(batches[0].column(0), 0), Val::Int(-2));
        let batches = run(&average, &there_and_back, parts, 2, random).unwrap();
        assert_eq!(val(batches[0].column(0), 0), Val::Float((-0.4_f64).to_bits()));
    }
    let too_large = one_column(Arc::new(Int64Array::from(vec![i64::MAX, 1])));
    let error = run(&sum, &too_large, 2, 1, random).unwrap_err();
    assert_eq!(error.kind(), Kind::Job);
    assert_eq!(error.to_string(), "compute sum(c): the result of a group does not fit into Int64");

    let large = 9 * 10_i128.pow(37);
    let decimals = |values: Vec<i128>| {
        one_column(Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 2).unwrap()))
    };
    let back = decimals(vec![large, large, large, -large, -large, 5]);
    let sum = spec(&[], vec![call(F::Sum, Some(0), DataType::Decimal128(38, 2))], &back.schema());
    let average = spec(&[], vec![call(F::Avg, Some(0), DataType::Decimal128(38, 2))], &back.schema());
    assert_eq!(val(run(&sum, &back, 2, 2, random).unwrap()[0].column(0), 0), Val::Int(large + 5));
    let there = decimals(vec![large; 7]);
    assert_eq!(run(&sum, &there, 3, 2, random).unwrap_err().kind(), Kind::Job);
    assert_eq!(val(run(&average, &there, 3, 2, random).unwrap()[0].column(0), 0), Val::Int(large));
    // Fits 128 bits, but has 39 digits.
    let digits = decimals(vec![large, large / 2]);
    assert_eq!(run(&sum, &digits, 1, 2, random).unwrap_err().kind(), Kind::Job);
}

#[test]
fn without_keys_there_is_one_row_and_with_keys_none() {
    let random = &mut Random(1);
    let empty = random_batch(0, 5, random);
    let calls = vec![call(F::Count, None, DataType::Int64), call(F::Sum, Some(column::FLOAT), DataType::Float64)];
    let without = spec(&[], calls.clone(), &empty.schema());
    for parts in [0, 1, 3] {
        let batches = run(&without, &empty, parts, 2, random).unwrap();
        assert_eq!(batches.len(), 1);
        assert_eq!((val(batches[0].column(0), 0), val(batches[0].column(1), 0)), (Val::Int(0), Val::Null));
        let with = spec(&[column::INT], calls.clone(), &empty.schema());
        assert!(run(&with, &empty, parts, 2, random).unwrap().is_empty());
    }
    // No keys, no calls: still one row, without columns.
    let batches = run(&spec(&[], Vec::new(), &empty.schema()), &empty, 2, 2, random).unwrap();
    assert_eq!((batches.len(), batches[0].num_rows()), (1, 1));
}

#[test]
fn what_is_not_supported_is_said_before_it_runs() {
    let random = &mut Random(1);
    let batch = random_batch(1, 5, random);
    let refused = |call: AggregateCall| {
        let spec = spec(&[], vec![call], &batch.schema());
        let error = Aggregate::new(&spec, &context(10), &Arc::new(Parameters::default())).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        error.to_string()
    };
    assert_eq!(
        refused(call(F::Sum, Some(column::TEXT), DataType::Int64)),
        "compute sum(c) of values of type Utf8 as Int64: not supported"
    );
    refused(call(F::Sum, Some(column::DATE), DataType::Date32));
    refused(call(F::VarSample, Some(column::INT), DataType::Float64));
    refused(call(F::BitAnd, Some(column::FLOAT), DataType::Float64));
}

#[test]
fn groups_that_memory_does_not_hold_are_spilled() {
    let random = &mut Random(1);
    // Every key once, and every key again and again.
    for (rows, keys) in [(500_000, 500_000), (1_000_000, 40_000)] {
        let numbers = Int64Array::from_iter_values((0..rows).map(|row| row * 7_919 % keys));
        let batch = one_column(Arc::new(numbers));
        let spec = spec(&[0], vec![call(F::Count, None, DataType::Int64)], &batch.schema());
        let context = context_of(16_384, 4 << 20);
        let aggregate = Aggregate::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
        feed(&aggregate.sink(), cut(&batch, 16_384, random), 2, random).unwrap();
        assert!(context.counters.report().spilled_bytes > 0);
        let mut groups = 0;
        for morsel in drain(&aggregate.source(), 2, random).unwrap() {
            let counts = morsel.batch.column(1).as_primitive::<crate::batch::datatypes::Int64Type>();
            assert!(counts.values().iter().all(|count| *count == rows / keys));
            groups += morsel.batch.num_rows() as i64;
        }
        assert_eq!(groups, keys);
        assert!(context.governor.peak_bytes() <= 4 << 20);
        drop(aggregate);
        assert_eq!((context.governor.used_bytes(), context.runs.used_bytes()), (0, 0));
    }
}

#[test]
fn a_part_that_is_too_large_is_cut_again() {
    let random = &mut Random(1);
    // Keys whose hashes begin with the same bits: all of one part, and of one part of that.
    let mut hashes = Vec::new();
    let all: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5_000_000));
    crate::kernel::hash_columns(&[all], &mut hashes).unwrap();
    let keys = (0..).zip(&hashes).filter(|(_, hash)| **hash >> 56 == 0xab).map(|(key, _)| key);
    let batch = one_column(Arc::new(Int64Array::from_iter_values(keys)));
    let spec = spec(&[0], vec![call(F::Count, None, DataType::Int64)], &batch.schema());
    let context = spilling(1_000);
    let aggregate = Aggregate::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
    feed(&aggregate.sink(), cut(&batch, 1_000, random), 2, random).unwrap();
    let once = context.counters.report().spilled_bytes;
    let groups: usize = drain(&aggregate.source(), 2, random).unwrap().iter().map(|m| m.batch.num_rows()).sum();
    assert_eq!(groups, batch.num_rows());
    assert!(context.counters.report().spilled_bytes > once * 3 / 2, "cut again");
}

#[test]
fn memory_is_asked_for() {
    // One group with a million values: what counts each once does not spill.
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000_000));
    let batch = one_column(values);
    let mut distinct = call(F::Count, Some(0), DataType::Int64);
    distinct.is_distinct = true;
    let spec = spec(&[], vec![distinct], &batch.schema());
    let context = context_of(16_384, 4 << 20);
    let aggregate = Aggregate::new(&spec, &context, &Arc::new(Parameters::default())).unwrap();
    let random = &mut Random(1);
    let error = feed(&aggregate.sink(), cut(&batch, 16_384, random), 2, random).unwrap_err();
    let over: &(dyn std::error::Error + 'static) = error.cause();
    assert!(over.downcast_ref::<OverBudget>().is_some_and(|over| over.holder == "aggregate"), "{error}");
    drop(aggregate);
    assert_eq!(context.governor.used_bytes(), 0);
    let error = AggregateError::TooManyGroups;
    assert_eq!(crate::error::Cause::kind(&error), Kind::Limit);
}
