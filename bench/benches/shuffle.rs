//! The split of a shuffle beside a copy of the same bytes, and beside what other engines do with arrow's own kernels.
//!
//! In: batches in memory, made here, of 1 GiB together where that is asked for. Out: logical bytes a second: widths of values, lengths of
//! strings plus 4, bits of validity. Never: a correctness check; those are the tests of `shuffle::builder`.
//!
//! `split_to_one` is the same with all rows in one group, of as many, `split_short` with batches of 500 rows. `memcpy` copies as many bytes into
//! memory that was touched before. `take` gathers each batch once for every group, `take_once` gathers it once in group order, cuts it, and puts
//! the pieces of a group together, so that its output is as contiguous as the builder's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    hint::black_box,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray, StringViewArray, UInt32Array, UInt64Array,
};
use arrow::compute::{concat, concat_batches, take_record_batch};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow::{
    kernel::{GROUPS_MAX, Kernels, first_rows, hash_columns},
    memory::Governor,
    shuffle::{Builder, BuilderOptions},
};
use windrow_bench::logical_bytes;

/// Rows of a batch: what a scan gives of a Parquet file by its row groups.
const ROWS: usize = 1 << 16;
/// Rows of a short one: what a filter leaves of it.
const SHORT_ROWS: usize = 500;
/// Bytes that pass through in one turn: far more than any cache holds.
const BYTES: usize = 1 << 30;

/// Numbers without a pattern, the same in every run.
fn numbers(seed: u64, count: usize) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 13 ^ state << 40
    })
    .take(count)
}

/// Columns of one kind, and the logical bytes of a row.
struct Shape {
    name: &'static str,
    column: fn(u64) -> ArrayRef,
    columns: usize,
}

fn strings(seed: u64, min: u64, max: u64) -> Vec<String> {
    let of = |number: u64| {
        let length = min + (number >> 7) % (max - min + 1);
        (0..length).map(|place| char::from(b'a' + (number >> (place % 11 * 5) & 15) as u8)).collect()
    };
    numbers(seed, ROWS).map(of).collect()
}

const SHAPES: [Shape; 6] = [
    Shape { name: "4_u64", column: |seed| Arc::new(UInt64Array::from_iter_values(numbers(seed, ROWS))), columns: 4 },
    Shape {
        name: "4_i32",
        column: |seed| Arc::new(Int32Array::from_iter_values(numbers(seed, ROWS).map(|number| number as i32))),
        columns: 4,
    },
    Shape {
        name: "4_decimal128",
        column: |seed| Arc::new(Decimal128Array::from_iter_values(numbers(seed, ROWS).map(i128::from))),
        columns: 4,
    },
    Shape {
        name: "4_short_strings",
        column: |seed| Arc::new(StringArray::from_iter_values(strings(seed, 4, 12))),
        columns: 4,
    },
    Shape {
        name: "4_short_views",
        column: |seed| Arc::new(StringViewArray::from_iter_values(strings(seed, 4, 12))),
        columns: 4,
    },
    Shape {
        name: "4_long_strings",
        column: |seed| Arc::new(StringArray::from_iter_values(strings(seed, 64, 256))),
        columns: 4,
    },
];

fn batch(shape: &Shape, seed: u64) -> RecordBatch {
    let columns = (0..shape.columns).map(|number| (format!("c{number}"), (shape.column)(seed + number as u64)));
    RecordBatch::try_from_iter(columns).unwrap()
}

fn logical_bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(logical_bytes).sum::<u64>() as usize
}

/// So many batches are `BYTES` logical bytes or a little less, and this is what they are.
fn total_bytes(shape: &Shape) -> usize {
    let bytes = logical_bytes_of(&batch(shape, 1));
    BYTES / bytes * bytes
}

/// The same batch again and again, each time in memory of its own.
fn batches(shape: &Shape) -> Vec<RecordBatch> {
    let first = batch(shape, 1);
    let bytes = logical_bytes_of(&first);
    let copy = |column: &ArrayRef| {
        let half = column.len() / 2;
        concat(&[&column.slice(0, half), &column.slice(half, column.len() - half)]).unwrap()
    };
    (0..BYTES / bytes)
        .map(|_| RecordBatch::try_new(first.schema(), first.columns().iter().map(copy).collect()).unwrap())
        .collect()
}

/// The same rows in short batches.
fn shorter(batches: &[RecordBatch]) -> Vec<RecordBatch> {
    let cut = |batch: &RecordBatch| {
        let pieces = (0..batch.num_rows()).step_by(SHORT_ROWS);
        pieces.map(|first| batch.slice(first, SHORT_ROWS.min(batch.num_rows() - first))).collect::<Vec<RecordBatch>>()
    };
    batches.iter().flat_map(cut).collect()
}

fn memcpy(criterion: &mut Criterion) {
    let from = vec![1_u8; BYTES];
    let mut to = vec![2_u8; BYTES];
    let mut group = criterion.benchmark_group("shuffle/memcpy");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(10).measurement_time(Duration::from_secs(4));
    group.bench_function("1_thread", |bencher| bencher.iter(|| to.copy_from_slice(black_box(&from))));
    group.bench_function("2_threads", |bencher| {
        bencher.iter(|| {
            let (left, right) = to.split_at_mut(BYTES / 2);
            let (from_left, from_right) = from.split_at(BYTES / 2);
            std::thread::scope(|scope| {
                scope.spawn(|| left.copy_from_slice(black_box(from_left)));
                right.copy_from_slice(black_box(from_right));
            });
        });
    });
    group.finish();
}

/// Hash, numbers, scatter: what an exchange does with its batches; `to_one` after the numbers, so that all rows are of one group.
fn split(batches: &[RecordBatch], group_count: usize, to_one: bool, governor: &Arc<Governor>) -> usize {
    let options = BuilderOptions { group_count, bytes: BuilderOptions::BYTES };
    let schema = batches[0].schema();
    let mut builder = Builder::new(&schema, options, governor.pool(), governor.reservation("bench"));
    let (mut hashes, mut groups, mut rows) = (Vec::new(), Vec::new(), 0);
    let mut give = |_: usize, batch: RecordBatch, _: u64| {
        rows += batch.num_rows();
        Ok(())
    };
    for batch in batches {
        hash_columns(&batch.columns()[..1], &mut hashes).unwrap();
        Kernels::detect().group_products(&hashes, group_count as u32, &mut groups);
        if to_one {
            groups.fill(group_count as u16 / 2);
        }
        builder.push(batch, &groups, &mut give).unwrap();
    }
    builder.finish(&mut give).unwrap();
    rows
}

/// Order of rows by group, and where each group begins in it.
fn order(batch: &RecordBatch, hashes: &mut Vec<u64>) -> (Vec<u32>, [u32; GROUPS_MAX], [u32; GROUPS_MAX]) {
    let (kernels, mut groups) = (Kernels::detect(), Vec::new());
    hash_columns(&batch.columns()[..1], hashes).unwrap();
    kernels.group_numbers(hashes, 8, &mut groups);
    let mut counts = [0; GROUPS_MAX];
    kernels.histogram(&groups, &mut counts);
    let firsts = first_rows(&counts);
    let mut order = vec![0; batch.num_rows()];
    kernels.row_order(&groups, &mut { firsts }, &mut order);
    (order, firsts, counts)
}

fn take_per_group(batches: &[RecordBatch]) -> usize {
    let mut rows = 0;
    let mut hashes = Vec::new();
    for batch in batches {
        let (order, firsts, counts) = order(batch, &mut hashes);
        for (first, count) in firsts.iter().zip(counts) {
            let indices = UInt32Array::from(order[*first as usize..(*first + count) as usize].to_vec());
            rows += black_box(take_record_batch(batch, &indices).unwrap()).num_rows();
        }
    }
    rows
}

fn take_once(batches: &[RecordBatch]) -> usize {
    let schema = batches[0].schema();
    let mut pieces: Vec<Vec<RecordBatch>> = vec![Vec::new(); GROUPS_MAX];
    let (mut rows, mut held, mut hashes) = (0, 0, Vec::new());
    for batch in batches {
        let (order, firsts, counts) = order(batch, &mut hashes);
        let ordered = take_record_batch(batch, &UInt32Array::from(order)).unwrap();
        for (group, (first, count)) in firsts.iter().zip(counts).enumerate() {
            pieces[group].push(ordered.slice(*first as usize, count as usize));
        }
        held += logical_bytes_of(batch);
        if held >= BuilderOptions::BYTES {
            held = 0;
            for pieces in &mut pieces {
                rows += black_box(concat_batches(&schema, &*pieces).unwrap()).num_rows();
                pieces.clear();
            }
        }
    }
    rows + pieces.iter().map(|pieces| concat_batches(&schema, pieces).unwrap().num_rows()).sum::<usize>()
}

fn shuffle(criterion: &mut Criterion) {
    let governor = Governor::new(8 << 30);
    for shape in &SHAPES {
        // Made when the first bench of the shape runs, as most runs are of one shape.
        let made: OnceLock<Vec<RecordBatch>> = OnceLock::new();
        let batches = || made.get_or_init(|| batches(shape)).as_slice();
        let mut group = criterion.benchmark_group(format!("shuffle/{}", shape.name));
        group
            .throughput(Throughput::Bytes(total_bytes(shape) as u64))
            .sample_size(10)
            .measurement_time(Duration::from_secs(5));
        for group_count in [16, 256, 4096] {
            group.bench_function(BenchmarkId::new("split", group_count), |bencher| {
                let batches = batches();
                bencher.iter(|| split(batches, group_count, false, &governor));
            });
        }
        for group_count in [256, 4096] {
            group.bench_function(BenchmarkId::new("split_to_one", group_count), |bencher| {
                let batches = batches();
                bencher.iter(|| split(batches, group_count, true, &governor));
            });
        }
        for group_count in [256, 4096] {
            group.bench_function(BenchmarkId::new("split_short", group_count), |bencher| {
                let batches = shorter(batches());
                bencher.iter(|| split(&batches, group_count, false, &governor));
            });
        }
        group.bench_function("split_2_threads/256", |bencher| {
            let batches = batches();
            bencher.iter(|| {
                let (left, right) = batches.split_at(batches.len() / 2);
                std::thread::scope(|scope| {
                    let left = scope.spawn(|| split(left, 256, false, &governor));
                    split(right, 256, false, &governor) + left.join().unwrap()
                })
            });
        });
        group.bench_function("take/256", |bencher| {
            let batches = batches();
            bencher.iter(|| take_per_group(batches));
        });
        group.bench_function("take_once/256", |bencher| {
            let batches = batches();
            bencher.iter(|| take_once(batches));
        });
        group.finish();
    }
}

criterion_group!(benches, memcpy, shuffle);
criterion_main!(benches);
