//! Columns and batches of every type that the shuffle carries, for property tests.
//!
//! In: a seed. Out: arrays with nulls, slices that begin inside a byte, edge values, codes under nulls that mean
//! nothing. Never: an array that arrow's own validation would refuse.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, BinaryViewBuilder, BooleanArray, FixedSizeListArray, GenericBinaryArray,
    GenericListArray, GenericStringArray, MapArray, NullArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    StringViewBuilder, StructArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, TimeUnit};
use proptest::test_runner::Config;

/// So many cases, and no file of old failures: a seed that failed becomes a test of its own.
pub(crate) fn cases(count: u32) -> Config {
    Config { cases: count, failure_persistence: None, ..Config::default() }
}

/// SplitMix64, so that a case is its seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::scalar::mix(self.0)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// A type, nested at most `depth` times.
pub(crate) fn random_type(random: &mut Random, depth: usize) -> DataType {
    use DataType as T;
    let flat = [
        T::Null,
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Timestamp(TimeUnit::Second, None),
        T::Date32,
        T::Date64,
        T::Time32(TimeUnit::Second),
        T::Time64(TimeUnit::Nanosecond),
        T::Duration(TimeUnit::Millisecond),
        T::Interval(IntervalUnit::YearMonth),
        T::Interval(IntervalUnit::DayTime),
        T::Interval(IntervalUnit::MonthDayNano),
        T::Binary,
        T::FixedSizeBinary(5),
        T::FixedSizeBinary(20),
        T::LargeBinary,
        T::BinaryView,
        T::Utf8,
        T::LargeUtf8,
        T::Utf8View,
        T::Decimal32(9, 2),
        T::Decimal64(18, 2),
        T::Decimal128(38, 2),
        T::Decimal256(76, 2),
    ];
    if depth == 0 || random.chance(60) {
        return random.pick(&flat);
    }
    let field = |random: &mut Random, name: &str| {
        let data_type = random_type(random, depth - 1);
        let is_nullable = data_type == T::Null || random.chance(70);
        Arc::new(Field::new(name, data_type, is_nullable))
    };
    match random.below(6) {
        0 => T::List(field(random, "item")),
        1 => T::LargeList(field(random, "item")),
        2 => T::FixedSizeList(field(random, "item"), 1 + random.below(3) as i32),
        3 => T::Struct((0..random.below(4)).map(|index| field(random, &format!("field{index}"))).collect()),
        4 => {
            let key = Arc::new(Field::new("keys", random.pick(&[T::Utf8, T::Int32]), false));
            let entries = Fields::from(vec![key, field(random, "values")]);
            T::Map(Arc::new(Field::new("entries", T::Struct(entries), false)), false)
        }
        _ => {
            let key = random.pick(&[T::Int8, T::Int16, T::Int32, T::Int64, T::UInt8, T::UInt16, T::UInt32, T::UInt64]);
            let value = random.pick(&[T::Utf8, T::Utf8View, T::LargeBinary, T::Int64, T::Decimal128(38, 0), T::Date32]);
            T::Dictionary(Box::new(key), Box::new(value))
        }
    }
}

/// A column of `rows`, often the slice of a longer one.
pub(crate) fn random_array(random: &mut Random, data_type: &DataType, is_nullable: bool, rows: usize) -> ArrayRef {
    let (before, after) = if random.chance(50) { (random.below(70), random.below(20)) } else { (0, 0) };
    let whole = whole_array(random, data_type, is_nullable, before + rows + after);
    whole.slice(before, rows)
}

/// A batch of up to four columns and 150 rows; sometimes without either.
pub(crate) fn random_batch(random: &mut Random) -> RecordBatch {
    let rows = if random.chance(5) { 0 } else { random.below(150) };
    let fields: Vec<Field> = (0..random.below(5))
        .map(|index| {
            let data_type = random_type(random, 2);
            let is_nullable = data_type == DataType::Null || random.chance(70);
            Field::new(format!("column{index}"), data_type, is_nullable)
        })
        .collect();
    let columns =
        fields.iter().map(|field| random_array(random, field.data_type(), field.is_nullable(), rows)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap()
}

fn random_nulls(random: &mut Random, is_nullable: bool, rows: usize) -> Option<NullBuffer> {
    if !is_nullable || random.chance(30) {
        return None;
    }
    let percent = random.pick(&[1, 20, 90, 100]);
    Some((0..rows).map(|_| !random.chance(percent)).collect())
}

fn whole_array(random: &mut Random, data_type: &DataType, is_nullable: bool, rows: usize) -> ArrayRef {
    use DataType as T;
    let nulls = random_nulls(random, is_nullable, rows);
    match data_type {
        T::Null => Arc::new(NullArray::new(rows)),
        T::Boolean => Arc::new(BooleanArray::new((0..rows).map(|_| random.chance(50)).collect(), nulls)),
        T::Utf8 => strings::<i32>(random, rows, nulls),
        T::LargeUtf8 => strings::<i64>(random, rows, nulls),
        T::Binary => binaries::<i32>(random, rows, nulls),
        T::LargeBinary => binaries::<i64>(random, rows, nulls),
        T::Utf8View => {
            // Small blocks, so that there are several buffers.
            let mut builder = StringViewBuilder::new().with_fixed_block_size(64);
            for row in 0..rows {
                builder.append_option(is_valid(&nulls, row).then(|| random_string(random)));
            }
            Arc::new(builder.finish())
        }
        T::BinaryView => {
            let mut builder = BinaryViewBuilder::new().with_fixed_block_size(64);
            for row in 0..rows {
                builder.append_option(is_valid(&nulls, row).then(|| random_string(random).into_bytes()));
            }
            Arc::new(builder.finish())
        }
        T::List(field) => lists::<i32>(random, field, rows, nulls),
        T::LargeList(field) => lists::<i64>(random, field, rows, nulls),
        T::Map(field, is_sorted) => {
            let offsets = random_offsets::<i32>(random, rows);
            let length = *offsets.last().unwrap() as usize;
            let T::Struct(fields) = field.data_type() else { unreachable!() };
            let columns = fields
                .iter()
                .map(|field| random_array(random, field.data_type(), field.is_nullable(), length))
                .collect();
            let entries = StructArray::try_new(fields.clone(), columns, None).unwrap();
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *is_sorted).unwrap())
        }
        T::FixedSizeList(field, size) => {
            let values = random_array(random, field.data_type(), field.is_nullable(), rows * *size as usize);
            Arc::new(FixedSizeListArray::try_new(field.clone(), *size, values, nulls).unwrap())
        }
        T::Struct(fields) if fields.is_empty() => Arc::new(StructArray::new_empty_fields(rows, nulls)),
        T::Struct(fields) => {
            let columns =
                fields.iter().map(|field| random_array(random, field.data_type(), field.is_nullable(), rows)).collect();
            Arc::new(StructArray::try_new(fields.clone(), columns, nulls).unwrap())
        }
        T::Dictionary(key, value) => {
            let width = key.primitive_width().unwrap();
            // Tests put some batches together, and arrow panics where their dictionaries have more values than there are codes.
            let count = if width == 1 { random.pick(&[1, 3, 8]) } else { random.pick(&[1, 3, 20, 100]) };
            let values = random_array(random, value, is_nullable, count);
            let mut codes = Vec::with_capacity(rows * width);
            for row in 0..rows {
                // The code under a null is anything.
                let code = if is_valid(&nulls, row) { random.below(count) as u64 } else { random.next() };
                codes.extend_from_slice(&code.to_le_bytes()[..width]);
            }
            build(data_type, rows, nulls, vec![Buffer::from(codes)], vec![values.to_data()])
        }
        fixed => {
            let width = match fixed {
                T::FixedSizeBinary(width) => *width as usize,
                other => other.primitive_width().unwrap(),
            };
            let mut bytes = Vec::with_capacity(rows * width);
            for _ in 0..rows {
                bytes.extend_from_slice(&random_bytes(random, fixed, width));
            }
            build(data_type, rows, nulls, vec![Buffer::from(bytes)], vec![])
        }
    }
}

fn build(
    data_type: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
    buffers: Vec<Buffer>,
    children: Vec<ArrayData>,
) -> ArrayRef {
    let builder = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls).buffers(buffers).child_data(children);
    make_array(builder.align_buffers(true).build().unwrap())
}

/// One value of fixed width: often small, so that values repeat; for floats also the awkward ones.
fn random_bytes(random: &mut Random, data_type: &DataType, width: usize) -> Vec<u8> {
    match data_type {
        DataType::Float64 if random.chance(60) => {
            let bits: [u64; 7] = [0, 1 << 63, 0x7ff8 << 48, 0xfff0_0000_0000_0001, 0x7ff0 << 48, 0xfff0 << 48, 1];
            random.pick(&bits).to_le_bytes().to_vec()
        }
        DataType::Float32 if random.chance(60) => {
            let bits: [u32; 7] = [0, 1 << 31, 0x7fc0_0000, 0xff80_0001, 0x7f80_0000, 0xff80_0000, 1];
            random.pick(&bits).to_le_bytes().to_vec()
        }
        _ => {
            let fill = random.pick(&[0x00, 0xff]);
            let given = if random.chance(50) { 1 } else { width };
            (0..width).map(|index| if index < given { random.next() as u8 } else { fill }).collect()
        }
    }
}

/// Lengths around each border of the layouts and of the hash.
fn random_string(random: &mut Random) -> String {
    let length = random.pick(&[0, 0, 1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 33, 130, 250]);
    let mut text: String = (0..length).map(|_| random.pick(&['a', 'b', 'c', '\0'])).collect();
    if random.chance(10) {
        text.push('π');
    }
    text
}

fn is_valid(nulls: &Option<NullBuffer>, row: usize) -> bool {
    nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
}

fn strings<O: OffsetSizeTrait>(random: &mut Random, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    let texts: Vec<String> = (0..rows).map(|_| random_string(random)).collect();
    let (offsets, values, _) = GenericStringArray::<O>::from_iter_values(texts).into_parts();
    // Bytes under a null stay where they are: they must not be seen.
    Arc::new(GenericStringArray::<O>::new(offsets, values, nulls))
}

fn binaries<O: OffsetSizeTrait>(random: &mut Random, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    let texts: Vec<String> = (0..rows).map(|_| random_string(random)).collect();
    let (offsets, values, _) = GenericBinaryArray::<O>::from_iter_values(texts).into_parts();
    Arc::new(GenericBinaryArray::<O>::new(offsets, values, nulls))
}

fn random_offsets<O: OffsetSizeTrait>(random: &mut Random, rows: usize) -> OffsetBuffer<O> {
    OffsetBuffer::from_lengths((0..rows).map(|_| random.below(4)))
}

fn lists<O: OffsetSizeTrait>(
    random: &mut Random,
    field: &Arc<Field>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let offsets = random_offsets::<O>(random, rows);
    let length = offsets.last().unwrap().as_usize();
    let values = random_array(random, field.data_type(), field.is_nullable(), length);
    Arc::new(GenericListArray::<O>::try_new(field.clone(), offsets, values, nulls).unwrap())
}
