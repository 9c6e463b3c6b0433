//! The kernels beside their scalar twins: hash of numbers and strings, group numbers, histogram, order of rows.
//!
//! In: columns made here, of one morsel's rows. Out: rows a second for each instruction set of this machine (the
//! move of the values is `shuffle`'s). Never: a correctness check; those are the tests of
//! the kernels.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray, StringViewArray,
};
use arrow::datatypes::Int32Type;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow::kernel::{GROUPS_MAX, Kernels, first_rows, hash_columns_with};

/// A morsel.
const ROWS: usize = 1 << 16;

/// Every instruction set of this machine, and the specification.
fn all_kernels() -> Vec<(&'static str, &'static Kernels)> {
    let mut all = vec![("scalar", Kernels::scalar())];
    all.extend(Kernels::all_available());
    all
}

/// Numbers without a pattern, the same in every run.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 16
    })
    .take(ROWS)
}

/// Words of 1 to `length_max` letters.
fn words(length_max: u64) -> Vec<String> {
    numbers()
        .map(|number| {
            let length = 1 + number % length_max;
            (0..length).map(|place| char::from(b'a' + (number >> (place % 8 * 5) & 15) as u8)).collect()
        })
        .collect()
}

fn hash(criterion: &mut Criterion) {
    let signed: Vec<i64> = numbers().map(|number| number as i64).collect();
    let short = words(12);
    let names: Vec<String> = numbers().map(|number| format!("Customer#{:09}", number % 1_000_000)).collect();
    let ten: Vec<&str> = numbers().map(|number| ["AIR", "RAIL", "TRUCK", "SHIP"][number as usize % 4]).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i64", Arc::new(Int64Array::from(signed.clone()))),
        ("i64_nulls", Arc::new(signed.iter().map(|value| (value % 10 != 0).then_some(*value)).collect::<Int64Array>())),
        ("i32", Arc::new(signed.iter().map(|value| *value as i32).collect::<Int32Array>())),
        ("f64", Arc::new(signed.iter().map(|value| *value as f64).collect::<Float64Array>())),
        ("decimal128", Arc::new(signed.iter().map(|value| i128::from(*value)).collect::<Decimal128Array>())),
        ("utf8_to_12", Arc::new(StringArray::from_iter_values(&short))),
        ("view_to_12", Arc::new(StringViewArray::from_iter_values(&short))),
        ("utf8_18", Arc::new(StringArray::from_iter_values(&names))),
        ("view_18", Arc::new(StringViewArray::from_iter_values(&names))),
        ("dictionary", Arc::new(ten.into_iter().collect::<DictionaryArray<Int32Type>>())),
    ];
    for (name, column) in columns {
        let mut group = criterion.benchmark_group(format!("hash_{name}"));
        group.throughput(Throughput::Elements(ROWS as u64));
        for (isa, kernels) in all_kernels() {
            let columns = [column.clone()];
            let mut hashes = Vec::new();
            group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
                bencher.iter(|| hash_columns_with(kernels, black_box(&columns), &mut hashes));
            });
        }
        group.finish();
    }
}

fn partition(criterion: &mut Criterion) {
    let hashes: Vec<u64> = numbers().map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let mut groups = Vec::new();
    Kernels::portable().group_numbers(&hashes, 8, &mut groups);
    let mut counts = [0; GROUPS_MAX];
    Kernels::portable().histogram(&groups, &mut counts);
    let skewed = vec![7u8; ROWS];

    let mut group = criterion.benchmark_group("group_numbers");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (isa, kernels) in all_kernels() {
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
            bencher.iter(|| kernels.group_numbers(black_box(&hashes), 8, &mut out));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("histogram");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (isa, kernels) in all_kernels() {
        for (shape, groups) in [("spread", &groups), ("skewed", &skewed)] {
            group.bench_function(BenchmarkId::new(isa, shape), |bencher| {
                bencher.iter(|| kernels.histogram(black_box(groups), &mut [0; GROUPS_MAX]));
            });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("row_order_256");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (isa, kernels) in all_kernels() {
        let mut order = vec![0; ROWS];
        group.bench_function(BenchmarkId::from_parameter(isa), |bencher| {
            bencher.iter(|| kernels.row_order(black_box(&groups), &mut first_rows(&counts), &mut order));
        });
    }
    group.finish();
}

criterion_group!(benches, hash, partition);
criterion_main!(benches);
