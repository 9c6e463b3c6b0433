//! Frames of about a mebibyte, written and read again: numbers, texts, views.
//!
//! In: batches made here. Out: bytes of a frame a second, to write it, to read it, and for both one after the other,
//! with a copy of the same bytes as the bound. Never: a correctness check; those are the tests of the frames.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{hint::black_box, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringViewArray, UInt64Array},
    buffer::Buffer,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow::shuffle::{Codec, FrameHeader, FrameLimits, decode_frame, encode_frame, encode_frame_with};

/// Numbers without a pattern, the same in every run.
fn numbers(rows: usize) -> impl Iterator<Item = u64> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 16
    })
    .take(rows)
}

fn batches() -> Vec<(&'static str, RecordBatch)> {
    let batch = |columns: Vec<ArrayRef>| {
        let names = ["a", "b", "c", "d"];
        RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap()
    };
    let random: ArrayRef = Arc::new(UInt64Array::from_iter_values(numbers(32 << 10)));
    // As counts and sums are: small numbers, which a codec makes much of.
    let small: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers(32 << 10).map(|number| number as i64 % 100)));
    let texts = || numbers(64 << 10).map(|number| format!("id{:010}", number % 10_000_000));
    let long =
        || numbers(24 << 10).map(|number| format!("customer {:010} of {:010}", number % 1_000_000, number >> 20));
    vec![
        ("4_u64", batch(vec![random.clone(); 4])),
        ("u64_small", batch(vec![random.clone(), small.clone(), random, small])),
        ("utf8_12", batch(vec![Arc::new(StringArray::from_iter_values(texts()))])),
        ("view_12", batch(vec![Arc::new(StringViewArray::from_iter_values(texts()))])),
        ("view_32", batch(vec![Arc::new(StringViewArray::from_iter_values(long()))])),
    ]
}

fn frame(criterion: &mut Criterion) {
    let (header, limits) = (FrameHeader::default(), FrameLimits::default());
    let mut group = criterion.benchmark_group("frame");
    for (name, batch) in batches() {
        let mut out = Vec::new();
        encode_frame(&header, &batch, &mut out).unwrap();
        group.throughput(Throughput::Bytes(out.len() as u64));
        let frame = Buffer::from_vec(out.clone());
        let schema = batch.schema();
        group.bench_function(BenchmarkId::new("copy", name), |bencher| {
            bencher.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(&frame));
            });
        });
        // Into a vector that is there, as runs are written.
        group.bench_function(BenchmarkId::new("encode", name), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame(&header, black_box(&batch), &mut out).unwrap()
            });
        });
        // Into one of its own, as a spool keeps it.
        group.bench_function(BenchmarkId::new("encode_new", name), |bencher| {
            bencher.iter(|| {
                let mut out = Vec::new();
                encode_frame(&header, black_box(&batch), &mut out).unwrap();
                out
            });
        });
        group.bench_function(BenchmarkId::new("decode", name), |bencher| {
            bencher.iter(|| decode_frame(black_box(&frame).clone(), &schema, &limits).unwrap());
        });
        group.bench_function(BenchmarkId::new("both", name), |bencher| {
            bencher.iter(|| {
                let mut out = Vec::new();
                encode_frame(&header, black_box(&batch), &mut out).unwrap();
                decode_frame(Buffer::from_vec(out), &schema, &limits).unwrap()
            });
        });
    }
    group.finish();
}

/// Bytes a second are those in memory; the length that is left is told beside.
fn codec(criterion: &mut Criterion) {
    let (header, limits) = (FrameHeader::default(), FrameLimits::default());
    let mut group = criterion.benchmark_group("codec");
    for (name, batch) in batches() {
        let mut out = Vec::new();
        let raw = encode_frame(&header, &batch, &mut out).unwrap();
        group.throughput(Throughput::Bytes(raw as u64));
        for codec in [Codec::Lz4, Codec::Zstd] {
            out.clear();
            let bytes = encode_frame_with(&header, &batch, codec, &mut out).unwrap();
            println!("{codec} {name}: {:.0} % of {raw} bytes", 100.0 * bytes as f64 / raw as f64);
            let (frame, schema) = (Buffer::from_vec(out.clone()), batch.schema());
            group.bench_function(BenchmarkId::new(format!("encode {codec}"), name), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    encode_frame_with(&header, black_box(&batch), codec, &mut out).unwrap()
                });
            });
            group.bench_function(BenchmarkId::new(format!("decode {codec}"), name), |bencher| {
                bencher.iter(|| decode_frame(black_box(&frame).clone(), &schema, &limits).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_millis(1_500))
        .warm_up_time(Duration::from_millis(300));
    targets = frame, codec
}
criterion_main!(benches);
