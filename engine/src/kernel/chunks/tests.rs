//! Rows in tiles, gathered, and in two passes, beside rows without, and blocks that are refused.

use std::collections::BTreeMap;

use arrow::array::{
    Decimal256Array, Int32Array, Int64Array, LargeStringArray, StringArray, StringViewArray, UInt32Array,
};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::*;
use crate::{
    kernel::testing::{Random, cases, random_array, random_type},
    memory::{Pool, freeze},
};

/// Keeps what is given; refuses a block when so many were had.
struct Given {
    order: Vec<u32>,
    pool: Arc<Pool>,
    batches: Vec<(usize, RecordBatch)>,
    rows: Vec<(usize, Rows)>,
    blocks_left: usize,
}

impl Given {
    fn new() -> Given {
        let (pool, blocks_left) = (Pool::within(1 << 30), usize::MAX);
        Given { order: Vec::new(), pool, batches: Vec::new(), rows: Vec::new(), blocks_left }
    }
}

impl Exchanger for Given {
    type Error = ArrowError;

    fn block(&mut self, bytes: usize) -> Result<Block, ArrowError> {
        let refused = || ArrowError::MemoryError("no block is left".to_owned());
        self.blocks_left = self.blocks_left.checked_sub(1).ok_or_else(refused)?;
        Ok(self.pool.take(bytes)?)
    }
    fn freeze(&mut self, block: Block) -> Buffer {
        freeze(block, &self.pool).into()
    }
    fn give(&mut self, group: usize, batch: RecordBatch) -> Result<(), ArrowError> {
        self.batches.push((group, batch));
        Ok(())
    }
    fn pass_on(&mut self, group: usize, rows: Rows) -> Result<(), ArrowError> {
        self.rows.push((group, rows));
        Ok(())
    }
    fn order(&mut self) -> &mut Vec<u32> {
        &mut self.order
    }
}

/// Appends all rows, fewer at a time where they do not fit at once.
fn append_all(chunks: &mut Chunks, rows: &Rows, groups: Groups<'_>, given: &mut Given) {
    chunks.prepare(rows, given).unwrap();
    let mut first = 0;
    while first < rows.row_count() {
        let mut end = rows.row_count().min(first + chunks.block_rows());
        while chunks.append(rows, first..end, groups.slice(first..end), given).unwrap() == Appended::TooLarge {
            assert!(end > first + 1, "a row fits");
            end = first + (end - first) / 2;
        }
        first = end;
    }
}

/// Puts what the first pass has given through the second.
fn send_on(second: &mut [Chunks], given: &mut Given) {
    for (coarse, rows) in std::mem::take(&mut given.rows) {
        let mut fine = Given::new();
        append_all(&mut second[coarse], &rows, Groups::Few(rows.numbers()), &mut fine);
        given.batches.extend(fine.batches.into_iter().map(|(group, batch)| (16 * coarse + group, batch)));
    }
}

/// The rows of each group as text, whatever the batches and dictionaries they came in.
fn by_group(batches: Vec<(usize, RecordBatch)>) -> BTreeMap<usize, Vec<String>> {
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let options = FormatOptions::default().with_null("NULL");
    for (group, batch) in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap());
        let columns: Vec<ArrayFormatter<'_>> = columns.collect();
        let text = |row: usize| columns.iter().map(|column| column.value(row).to_string() + "|").collect();
        rows.entry(group).or_default().extend((0..batch.num_rows()).map(text));
    }
    rows
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn rows_in_tiles_gathered_and_in_two_passes_come_out_as_those_without(seed: u64) {
        let random = &mut Random::new(seed);
        let group_count = random.pick(&[1, 3, 40, 256]);
        use DataType as T;
        let words = [T::Int32, T::Int64, T::Decimal128(38, 0)];
        let others = [T::Utf8, T::Utf8View];
        let is_of_words = random.chance(40);
        let words = if random.chance(20) { &words[2..] } else { &words };
        let fields: Vec<Field> = (0..1 + random.below(20))
            .map(|number| {
                let data_type = match random.below(100) {
                    _ if is_of_words => random.pick(words),
                    0..45 => random.pick(words),
                    45..70 => random.pick(&others),
                    _ => random_type(random, 1),
                };
                let is_nullable = data_type == T::Null || random.chance(50);
                Field::new(format!("column{number}"), data_type, is_nullable)
            })
            .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let batches: Vec<(RecordBatch, Vec<u8>, bool)> = (0..random.below(4))
            .map(|_| {
                let rows = random.pick(&[1, 63, 500, 2000]);
                let arrays = schema.fields().iter();
                let arrays = arrays.map(|field| random_array(random, field.data_type(), field.is_nullable(), rows));
                let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).unwrap();
                let is_skewed = random.chance(30);
                let share = random.pick(&[60, 100]);
                let group = |_| if is_skewed && random.chance(share) { 0 } else { random.below(group_count) as u8 };
                let groups = (0..rows).map(group);
                (batch, groups.collect(), random.chance(20))
            })
            .collect();
        let chunk_bytes = random.pick(&[60 << 10, 400 << 10]);
        let moved = |kernels: &'static Kernels, way: Way| {
            let heap_bytes = vec![30.0; schema.fields().len()];
            let mut chunks = Chunks::new(kernels, &schema, group_count, chunk_bytes, &heap_bytes, way);
            let mut given = Given::new();
            for (batch, groups, is_ended) in &batches {
                let wide: Vec<u16> = groups.iter().map(|group| u16::from(*group)).collect();
                let groups = if way == Way::Gathered { Groups::Many(&wide) } else { Groups::Few(groups) };
                append_all(&mut chunks, &Rows::of(batch), groups, &mut given);
                if *is_ended {
                    chunks.finish(&mut given).unwrap();
                }
            }
            chunks.finish(&mut given).unwrap();
            given.batches
        };
        let moved_twice = |kernels: &'static Kernels| {
            let heap_bytes = vec![30.0; schema.fields().len()];
            let mut first = Chunks::new(kernels, &schema, group_count.div_ceil(16), chunk_bytes, &heap_bytes, Way::Rows);
            let second = |_| Chunks::new(kernels, &schema, 16, chunk_bytes, &heap_bytes, Way::Sorted);
            let mut second: Vec<Chunks> = (0..group_count.div_ceil(16)).map(second).collect();
            let mut given = Given::new();
            for (batch, groups, is_ended) in &batches {
                let rows = Rows::of(batch).with_numbers(groups.iter().map(|group| group % 16).collect());
                let coarse: Vec<u8> = groups.iter().map(|group| group / 16).collect();
                append_all(&mut first, &rows, Groups::Few(&coarse), &mut given);
                if *is_ended {
                    first.finish(&mut given).unwrap();
                }
                send_on(&mut second, &mut given);
            }
            first.finish(&mut given).unwrap();
            send_on(&mut second, &mut given);
            for (coarse, chunks) in second.iter_mut().enumerate() {
                let mut fine = Given::new();
                chunks.finish(&mut fine).unwrap();
                given.batches.extend(fine.batches.into_iter().map(|(group, batch)| (16 * coarse + group, batch)));
            }
            given.batches
        };
        let expected = moved(Kernels::scalar(), Way::Straight);
        let rows: usize = expected.iter().map(|(_, batch)| batch.num_rows()).sum();
        prop_assert_eq!(rows, batches.iter().map(|(batch, ..)| batch.num_rows()).sum::<usize>());
        let all = Kernels::all_available().into_iter().map(|(_, kernels)| kernels);
        for kernels in std::iter::once(Kernels::scalar()).chain(all) {
            prop_assert_eq!(&moved(kernels, Way::Tiles), &expected, "{}", kernels.name());
            prop_assert_eq!(by_group(moved(kernels, Way::Gathered)), by_group(expected.clone()), "{}", kernels.name());
            if Chunks::are_all_rows(&schema) {
                prop_assert_eq!(by_group(moved_twice(kernels)), by_group(expected.clone()), "{}", kernels.name());
            }
        }
    }
}

#[test]
fn a_refused_block_loses_no_row() {
    let rows = 900;
    let columns = (0..9).map(|number| -> (String, ArrayRef) {
        let values = (0..rows).map(|row| row * 10 + number);
        let column: ArrayRef = if number < 6 {
            Arc::new(values.map(i64::from).collect::<Int64Array>())
        } else {
            Arc::new(values.collect::<Int32Array>())
        };
        (format!("column{number}"), column)
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let groups: Vec<u8> = (0..rows).map(|row| (row % 3) as u8).collect();
    let chunks =
        |group_count, bytes, way| Chunks::new(Kernels::detect(), &batch.schema(), group_count, bytes, &[0.0; 9], way);
    let check = |batches: &[(usize, RecordBatch)], of: &str| {
        for group in 0..3 {
            let batches = batches.iter().filter(|(of, _)| *of == group).map(|(_, batch)| batch);
            let found = arrow::compute::concat_batches(&batch.schema(), batches).unwrap();
            let rows: UInt32Array = (group as u32..rows as u32).step_by(3).collect();
            let expected = arrow::compute::take_record_batch(&batch, &rows).unwrap();
            assert_eq!(found, expected, "group {group}, {of}");
        }
    };
    // The tiles, the chunk of a group, of the next, …, and those of the second round; of two passes, the same in each.
    for refused in 0..10 {
        let (plain, wide) = (Rows::of(&batch), groups.iter().map(|group| u16::from(*group)).collect::<Vec<u16>>());
        for (way, groups) in [(Way::Tiles, Groups::Few(&groups)), (Way::Gathered, Groups::Many(&wide))] {
            let given = append_with_refusal(&mut chunks(3, 9 << 10, way), &plain, groups, refused);
            check(&given.batches, &format!("the block {refused} refused, {way:?}"));
        }
        let rows = Rows::of(&batch).with_numbers(groups.iter().map(|group| group % 2).collect());
        let coarse: Vec<u8> = groups.iter().map(|group| group / 2).collect();
        let first = append_with_refusal(&mut chunks(2, 32 << 10, Way::Rows), &rows, Groups::Few(&coarse), refused);
        let mut batches = Vec::new();
        for (coarse, rows) in &first.rows {
            let second =
                append_with_refusal(&mut chunks(2, 9 << 10, Way::Sorted), rows, Groups::Few(rows.numbers()), refused);
            batches.extend(second.batches.into_iter().map(|(fine, batch)| (2 * coarse + fine, batch)));
        }
        check(&batches, &format!("the block {refused} of each pass refused"));
    }
}

/// Appends rows in two halves, each again if a block is refused, which is the case of the one of that number, and gives all.
fn append_with_refusal(chunks: &mut Chunks, rows: &Rows, groups: Groups<'_>, refused: usize) -> Given {
    let mut given = Given::new();
    given.blocks_left = refused;
    chunks.prepare(rows, &mut given).unwrap();
    let half = rows.row_count() / 2;
    for range in [0..half, half..rows.row_count()] {
        let mut appended = chunks.append(rows, range.clone(), groups.slice(range.clone()), &mut given);
        if appended.is_err() {
            given.blocks_left = usize::MAX;
            appended = chunks.append(rows, range.clone(), groups.slice(range), &mut given);
        }
        assert_eq!(appended.unwrap(), Appended::All);
    }
    chunks.finish(&mut given).unwrap();
    given
}

#[test]
fn rows_of_other_chunks_are_refused() {
    let column = |number: i64| -> ArrayRef { Arc::new((0..100).map(|row| row * number).collect::<Int64Array>()) };
    let batch = RecordBatch::try_from_iter([("a", column(1)), ("b", column(2))]).unwrap();
    let narrow: ArrayRef = Arc::new((0..100).collect::<Int32Array>());
    let other = RecordBatch::try_from_iter([("a", column(1)), ("b", narrow)]).unwrap();
    let groups = [0; 100];
    let chunks = |way: Way| Chunks::new(Kernels::detect(), &batch.schema(), 2, 1 << 14, &[0.0; 2], way);
    let packed = |batch: &RecordBatch| {
        let mut given = Given::new();
        let mut first = Chunks::new(Kernels::detect(), &batch.schema(), 2, 1 << 14, &[0.0; 2], Way::Rows);
        append_all(&mut first, &Rows::of(batch).with_numbers(vec![1; 100]), Groups::Few(&groups), &mut given);
        first.finish(&mut given).unwrap();
        given.rows.remove(0).1
    };
    let is_taken = |way: Way, rows: &Rows| {
        let mut chunks = chunks(way);
        let append = || {
            chunks
                .append(rows, 0..rows.row_count(), Groups::Few(&groups[..rows.row_count()]), &mut Given::new())
                .unwrap()
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(append)).is_ok()
    };
    let (plain, numbered) = (Rows::of(&batch), Rows::of(&batch).with_numbers(vec![1; 100]));
    for way in [Way::Straight, Way::Tiles] {
        assert!(is_taken(way, &plain) && !is_taken(way, &packed(&batch)), "{way:?}");
    }
    assert!(is_taken(Way::Rows, &numbered) && !is_taken(Way::Rows, &plain) && !is_taken(Way::Rows, &packed(&batch)));
    assert!(is_taken(Way::Sorted, &packed(&batch)) && !is_taken(Way::Sorted, &numbered));
    assert!(!is_taken(Way::Sorted, &packed(&other)) && !is_taken(Way::Straight, &Rows::of(&other)));
}

#[test]
fn long_strings_are_read_in_parts_and_lose_no_row() {
    let random = &mut Random::new(7);
    // More than two parts: of as many bytes as are read at a time, and of as many rows.
    for (group_count, rows) in [(130, 20_000), (1_000, 10_000)] {
        let text = |random: &mut Random| {
            (!random.chance(5)).then(|| "x".repeat(random.below(400)) + &random.below(1_000).to_string())
        };
        let texts: Vec<Option<String>> = (0..rows).map(|_| text(random)).collect();
        let numbers: ArrayRef = Arc::new((0..rows as i64).collect::<Int64Array>());
        let small: ArrayRef = Arc::new(texts.iter().cloned().collect::<StringArray>());
        let large: ArrayRef = Arc::new(texts.iter().rev().cloned().collect::<LargeStringArray>());
        let short: ArrayRef = Arc::new((0..rows).map(|row| Some(row.to_string())).collect::<StringArray>());
        let columns = [("small", small), ("large", large), ("number", numbers), ("short", short)];
        // A slice: neither the first string nor the last is that of the bytes.
        let batch = RecordBatch::try_from_iter(columns).unwrap().slice(100, rows - 300);
        let groups: Vec<u16> = (0..batch.num_rows()).map(|_| random.below(group_count) as u16).collect();
        let order = |group: usize| -> UInt32Array {
            (0..groups.len() as u32).filter(|row| usize::from(groups[*row as usize]) == group).collect()
        };
        let expected: BTreeMap<usize, RecordBatch> = (0..group_count)
            .map(|group| (group, arrow::compute::take_record_batch(&batch, &order(group)).unwrap()))
            .filter(|(_, batch)| batch.num_rows() > 0)
            .collect();
        let all = Kernels::all_available().into_iter().map(|(_, kernels)| kernels);
        for kernels in std::iter::once(Kernels::scalar()).chain(all) {
            let heap_bytes = [200.0, 200.0, 0.0, 5.0];
            let mut chunks = Chunks::new(kernels, &batch.schema(), group_count, 1 << 20, &heap_bytes, Way::Gathered);
            let (rows, mut given) = (Rows::of(&batch), Given::new());
            let parts = chunks.part_rows(&rows, &(0..rows.row_count())).unwrap();
            assert!(2 * parts < rows.row_count().min(chunks.block_rows()), "{parts} rows of {}", chunks.block_rows());
            append_all(&mut chunks, &rows, Groups::Many(&groups), &mut given);
            chunks.finish(&mut given).unwrap();
            assert_eq!(by_group(given.batches), by_group(expected.clone().into_iter().collect()), "{}", kernels.name());
        }
    }
}

#[test]
fn groups_of_more_rows_than_a_chunk_are_moved_with_all_others() {
    let rows = 20_000;
    let random = &mut Random::new(11);
    let text = |row: usize| (!row.is_multiple_of(11)).then(|| "y".repeat(row % 90) + &row.to_string());
    let numbers: ArrayRef = Arc::new((0..rows as i64).collect::<Int64Array>());
    let small: ArrayRef = Arc::new((0..rows).map(text).collect::<StringArray>());
    let views: ArrayRef = Arc::new((0..rows).map(text).collect::<StringViewArray>());
    let decimals = (0..rows as i128).map(|row| Some(arrow::datatypes::i256::from_i128(row)));
    let taken: ArrayRef = Arc::new(decimals.collect::<Decimal256Array>());
    let columns = [("number", numbers), ("small", small), ("views", views), ("taken", taken)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    // All rows are of one group, most of three, most of one of two that are beside each other.
    for (hot, share) in [(1, 100), (3, 90), (2, 99)] {
        let mut group = |_| if random.chance(share) { 500 + random.below(hot) } else { random.below(1_000) };
        let groups: Vec<u16> = (0..rows).map(|row| group(row) as u16).collect();
        let mut expected: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (row, group) in (0..).zip(&groups) {
            expected.entry(usize::from(*group)).or_default().push(row);
        }
        let take = |order: Vec<u32>| arrow::compute::take_record_batch(&batch, &UInt32Array::from(order)).unwrap();
        let expected: Vec<(usize, RecordBatch)> =
            expected.into_iter().map(|(group, order)| (group, take(order))).collect();
        let all = Kernels::all_available().into_iter().map(|(_, kernels)| kernels);
        for kernels in std::iter::once(Kernels::scalar()).chain(all) {
            let heap_bytes = [0.0, 50.0, 50.0, 0.0];
            let mut chunks = Chunks::new(kernels, &batch.schema(), 1_000, 32 << 10, &heap_bytes, Way::Gathered);
            let (own, mut given) = (Rows::of(&batch), Given::new());
            chunks.prepare(&own, &mut given).unwrap();
            // At once, and not less and less of them until all fit.
            let appended = chunks.append(&own, 0..rows, Groups::Many(&groups), &mut given).unwrap();
            assert_eq!(appended, Appended::All);
            let hottest = given.batches.iter().filter(|(group, _)| *group == 500).map(|(_, batch)| batch.num_rows());
            assert!(hottest.clone().count() > 4 && hottest.min() > Some(100), "chunks that are full");
            chunks.finish(&mut given).unwrap();
            assert_eq!(by_group(given.batches), by_group(expected.clone()), "{}", kernels.name());
        }
    }
}
