//! Grouping on one thread: few groups with many sums, many groups, and words.
//!
//! In: batches made here, of one morsel's rows. Out: rows a second through the table of one thread, from the first push to the
//! last batch of the result; with two tables, merged on the same thread. Never: a correctness check; those are the operator's tests.
//!
//! Time is what the thread spent on a processor, where the system tells it: a busy machine then does not look like a slow table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    hint::black_box,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray, UInt64Array,
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow::{
    Settings,
    batch::Morsel,
    expression::{AggregateCall, AggregateFunction, Expression, Parameters},
    memory::Governor,
    operator::{
        JobContext, Outcome,
        aggregate::{Aggregate, AggregatePhase, AggregateSpec},
    },
    shuffle::Runs,
};

/// A morsel.
const ROWS: usize = 16_384;
/// Morsels of a run, 6.3 million rows.
const MORSELS: usize = 384;

/// Numbers without a pattern, the same in every run.
fn numbers() -> impl FnMut() -> u64 {
    let mut state = 1_u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn call(function: AggregateFunction, argument: Option<usize>, returns: DataType) -> AggregateCall {
    AggregateCall {
        function,
        arguments: argument.into_iter().map(Expression::Column).collect(),
        filter: None,
        is_distinct: false,
        order: Vec::new(),
        returns,
    }
}

struct Case {
    name: &'static str,
    keys: usize,
    calls: Vec<AggregateCall>,
    batches: Vec<RecordBatch>,
}

impl Case {
    fn new(
        name: &'static str,
        keys: usize,
        calls: Vec<AggregateCall>,
        mut columns: impl FnMut() -> Vec<ArrayRef>,
    ) -> Case {
        let batches: Vec<RecordBatch> = (0..MORSELS)
            .map(|_| {
                let columns = columns();
                let fields: Vec<Field> =
                    columns.iter().map(|column| Field::new("c", column.data_type().clone(), true)).collect();
                RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
            })
            .collect();
        Case { name, keys, calls, batches }
    }

    /// Groups all batches by `threads` tables, merges them, and takes the result; gives the number of groups.
    fn run(&self, threads: usize) -> usize {
        let input: SchemaRef = self.batches[0].schema();
        let keys: Vec<Expression> = (0..self.keys).map(Expression::Column).collect();
        let mut fields: Vec<Field> = input.fields()[..self.keys].iter().map(|field| (**field).clone()).collect();
        fields.extend(self.calls.iter().map(|call| Field::new("a", call.returns.clone(), true)));
        let output = Arc::new(Schema::new(fields));
        let settings = Settings { threads, memory_bytes: 8 << 30, rows_per_morsel: ROWS, ..Settings::default() };
        let context = JobContext {
            runs: Runs::of(&settings),
            governor: Governor::of(&settings),
            settings: Arc::new(settings),
            cancel: Default::default(),
            counters: Arc::default(),
            holding: None,
        };
        let spec = AggregateSpec { keys, calls: self.calls.clone(), input, output, phase: AggregatePhase::Whole };
        let aggregate = Aggregate::new(&spec, &context, &Arc::new(Parameters::default())).expect("supported");
        let sink = aggregate.sink();
        let shares = self.batches.chunks(self.batches.len().div_ceil(threads));
        for share in shares {
            let mut thread = sink.thread().expect("a thread's part");
            for batch in share {
                thread.push(Morsel::from(batch.clone())).expect("memory enough");
            }
            thread.finish().expect("memory enough");
        }
        for task in sink.finalize().expect("memory enough") {
            task().expect("memory enough");
        }
        let mut source = aggregate.source().thread().expect("a thread's part");
        let mut groups = 0;
        loop {
            let (morsel, outcome) = source.pull().expect("no overflow");
            groups += morsel.map_or(0, |morsel| morsel.batch.num_rows());
            if matches!(outcome, Outcome::Enough) {
                return groups;
            }
        }
    }
}

/// The first query of TPC-H: two keys of one letter, sums and averages of decimals, a count.
fn few_groups(is_view: bool) -> Case {
    use AggregateFunction::{Avg, Count, Sum};
    let mut next = numbers();
    let decimal = |precision, scale| DataType::Decimal128(precision, scale);
    let calls = vec![
        call(Sum, Some(2), decimal(25, 2)),
        call(Sum, Some(3), decimal(25, 2)),
        call(Sum, Some(4), decimal(38, 4)),
        call(Sum, Some(5), decimal(38, 6)),
        call(Avg, Some(2), decimal(19, 6)),
        call(Avg, Some(3), decimal(19, 6)),
        call(Avg, Some(6), decimal(19, 6)),
        call(Count, None, DataType::Int64),
    ];
    Case::new(if is_view { "few_groups_view" } else { "few_groups_utf8" }, 2, calls, move || {
        let kinds: Vec<usize> = (0..ROWS).map(|_| [0, 0, 1, 2, 2, 2, 3, 3][next() as usize % 8]).collect();
        let text = |letters: [&'static str; 4]| -> ArrayRef {
            let values = kinds.iter().map(|kind| letters[*kind]);
            if is_view {
                Arc::new(StringViewArray::from_iter_values(values))
            } else {
                Arc::new(StringArray::from_iter_values(values))
            }
        };
        let mut columns = vec![text(["A", "N", "N", "R"]), text(["F", "F", "O", "F"])];
        for (scale, precision, largest) in
            [(2, 15, 5_000), (2, 15, 10_000_000), (4, 32, 1 << 30), (6, 38, 1 << 37), (2, 15, 10)]
        {
            let values = Decimal128Array::from_iter_values((0..ROWS).map(|_| i128::from(next() % largest)));
            columns.push(Arc::new(values.with_precision_and_scale(precision, scale).expect("valid")));
        }
        columns
    })
}

/// A key of 1.5 million values, as the orders of TPC-H's lines: in order, four rows each, or shuffled.
fn many_groups(is_shuffled: bool) -> Case {
    let mut next = numbers();
    let mut row = 0;
    let calls = vec![call(AggregateFunction::Sum, Some(1), DataType::Decimal128(25, 2))];
    Case::new(if is_shuffled { "1_5m_groups_shuffled" } else { "1_5m_groups_in_order" }, 1, calls, move || {
        let keys = UInt64Array::from_iter_values((0..ROWS).map(|_| {
            row += 1;
            if is_shuffled { next() % 1_500_000 } else { row / 4 }
        }));
        let values = Decimal128Array::from_iter_values((0..ROWS).map(|_| i128::from(next() % 5_000)));
        vec![Arc::new(keys), Arc::new(values.with_precision_and_scale(15, 2).expect("valid"))]
    })
}

/// Words of 50 thousand, the r-th a r-th as often as the first: short ones are frequent.
fn words(is_view: bool) -> Case {
    const WORDS: usize = 50_000;
    let mut next = numbers();
    let dictionary: Vec<String> = (0..WORDS)
        .map(|rank| {
            let length = 2 + (rank + 2).ilog2() as usize / 2 + next() as usize % 5;
            let letters = next();
            (0..length).map(|place| char::from(b'a' + (letters >> (place * 5) & 31) as u8 % 26)).collect()
        })
        .collect();
    let mut sums = Vec::with_capacity(WORDS);
    let mut sum = 0.0;
    for rank in 1..=WORDS {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    let calls = vec![call(AggregateFunction::Count, None, DataType::Int64)];
    Case::new(if is_view { "words_view" } else { "words_utf8" }, 1, calls, move || {
        let words = (0..ROWS).map(|_| {
            let place = (next() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
            dictionary[sums.partition_point(|sum| *sum < place).min(WORDS - 1)].as_str()
        });
        vec![if is_view {
            Arc::new(StringViewArray::from_iter_values(words)) as ArrayRef
        } else {
            Arc::new(StringArray::from_iter_values(words))
        }]
    })
}

/// Exact sums of floats in a thousand groups.
fn floats() -> Case {
    let mut next = numbers();
    let calls = vec![call(AggregateFunction::Avg, Some(1), DataType::Float64)];
    Case::new("floats_1000_groups", 1, calls, move || {
        let keys = Int64Array::from_iter_values((0..ROWS).map(|_| (next() % 1_000) as i64));
        let values = Float64Array::from_iter_values((0..ROWS).map(|_| (next() % 10_000_000) as f64 / 100.0));
        vec![Arc::new(keys), Arc::new(values)]
    })
}

/// Time of this thread on a processor; on the clock where that is not told.
fn processor_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|ns| ns.parse().ok());
    nanoseconds.map_or_else(|| START.get_or_init(Instant::now).elapsed(), Duration::from_nanos)
}

fn aggregate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("aggregate");
    group.throughput(Throughput::Elements((ROWS * MORSELS) as u64)).sample_size(10);
    let cases: [fn() -> Case; 7] = [
        || few_groups(true),
        || few_groups(false),
        || many_groups(false),
        || many_groups(true),
        || words(true),
        || words(false),
        floats,
    ];
    for case in cases {
        let case = case();
        for tables in [1, 2] {
            group.bench_function(BenchmarkId::new(case.name, format!("{tables}_tables")), |bencher| {
                bencher.iter_custom(|iterations| {
                    let start = processor_time();
                    for _ in 0..iterations {
                        black_box(case.run(tables));
                    }
                    processor_time() - start
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, aggregate);
criterion_main!(benches);
