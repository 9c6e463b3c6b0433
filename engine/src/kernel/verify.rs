//! The chosen kernels against the specification, once, before a process relies on them.
//!
//! In: a table of kernels. Out: nothing, or which of them answers otherwise than its scalar twin. Never: a random input: what was found once
//! is found again.
//!
//! The property tests have held every instruction set to the specification on the machines of those who wrote it; this is for the machine
//! at hand, an emulated or a broken processor. It takes few milliseconds.

#![allow(unsafe_code)]

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, RecordBatch, StringArray, StringViewArray, UInt64Array};
use arrow::error::ArrowError;
use std::mem::MaybeUninit;
use std::sync::Arc;

use super::{
    Appended, Chunks, Exchanger, FewKeys, GROUPS_MAX, Groups, KernelError, Kernels, Rows, Way, few::part_found_with,
    first_rows, hash_columns_with, tokens::NOTED,
};
use crate::memory::{Block, Pool, freeze};

/// Rows of the input: several vectors of each width, and a rest.
const ROWS: u64 = 777;

impl Kernels {
    /// Compares every kernel of the table with its scalar twin, on a fixed input.
    pub fn verify(&'static self) -> Result<(), KernelError> {
        let numbers: Vec<u64> = (0..ROWS).map(|row| super::scalar::mix(row) >> (row % 60)).collect();
        let columns = columns(&numbers);
        let scalar = Kernels::scalar();
        let (mut hashes, mut expected) = (Vec::new(), Vec::new());
        for (number, column) in columns.iter().enumerate() {
            hash_columns_with(self, &columns[number..=number], &mut hashes)?;
            hash_columns_with(scalar, &columns[number..=number], &mut expected)?;
            self.compare("row hash", column.data_type().to_string(), &hashes, &expected)?;
        }
        let (mut groups, mut expected_groups) = (Vec::new(), Vec::new());
        self.group_numbers(&hashes, 7, &mut groups);
        scalar.group_numbers(&hashes, 7, &mut expected_groups);
        self.compare("group numbers", "bits", &groups, &expected_groups)?;
        let (mut wide, mut expected_wide) = (Vec::new(), Vec::new());
        self.group_products(&hashes, 200, &mut wide);
        scalar.group_products(&hashes, 200, &mut expected_wide);
        self.compare("group numbers", "products", &wide, &expected_wide)?;
        let mut splitters = numbers[..50].to_vec();
        splitters.sort_unstable();
        self.range_numbers(&numbers, &splitters, &mut wide);
        scalar.range_numbers(&numbers, &splitters, &mut expected_wide);
        self.compare("group numbers", "ranges", &wide, &expected_wide)?;
        let (mut bytes, mut expected_bytes) = (Vec::new(), Vec::new());
        let largest = self.number_bytes(&expected_wide, 3, 0xf, &mut bytes);
        let expected_largest = scalar.number_bytes(&expected_wide, 3, 0xf, &mut expected_bytes);
        self.compare("group numbers", "bytes", &bytes, &expected_bytes)?;
        self.compare("group numbers", "largest", &[largest], &[expected_largest])?;
        let (mut counts, mut expected_counts) = ([0; GROUPS_MAX], [0; GROUPS_MAX]);
        self.histogram(&groups, &mut counts);
        scalar.histogram(&groups, &mut expected_counts);
        self.compare("histogram", "counts", &counts, &expected_counts)?;
        let (mut order, mut expected_order) = (vec![0; hashes.len()], vec![0; hashes.len()]);
        self.row_order(&groups, &mut first_rows(&counts), &mut order);
        scalar.row_order(&groups, &mut first_rows(&counts), &mut expected_order);
        self.compare("row order", "rows", &order, &expected_order)?;
        let text: Vec<u8> = numbers.iter().map(|number| b"a\n b\t\rcd"[(number % 8) as usize]).collect();
        self.compare("text", "bounds of words and lines", &self.bounds(&text), &scalar.bounds(&text))?;
        self.compare("text", "words", &self.words(&text), &scalar.words(&text))?;
        let few = FewKeys::new((0..40_u32).map(|key| (u128::from(key) << 64 | 7, key)), 4);
        let keys: Vec<u128> = numbers.iter().map(|number| u128::from(number % 80) << 64 | 7).collect();
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        few.find_with(self, &keys, &mut found);
        few.find_with(scalar, &keys, &mut expected);
        self.compare("few keys", "numbers", &found, &expected)?;
        let others = part_found_with(self, &mut found);
        self.compare("few keys", "rows of others", &others, &part_found_with(scalar, &mut expected))?;
        self.compare("few keys", "rows", &found, &expected)?;
        // Of the first five columns the words are four and their halves odd; with two more they are eight and two. Those without halves leave eight
        // at once, those of wide columns alone four.
        let words = [0, 1, 2, 3, 4, 6, 9].map(|column: usize| ArrayRef::clone(&columns[column]));
        let whole = [0, 9, 6, 6, 6].map(|column: usize| ArrayRef::clone(&columns[column]));
        for (columns, way, of) in [
            (&columns[..], Some(Way::Straight), "rows"),
            (&columns, Some(Way::Tiles), "rows in tiles"),
            (&columns[..5], Some(Way::Tiles), "rows in small tiles"),
            (&columns, Some(Way::Gathered), "rows of many groups"),
            (&words, None, "rows in two passes"),
            (&columns[..5], None, "small rows in two passes"),
            (&whole[..2], None, "rows of two words in two passes"),
            (&whole[..3], None, "rows of four words in two passes"),
            (&whole[2..], None, "rows of three wide columns in two passes"),
            (&whole[2..4], None, "rows of two wide columns in two passes"),
            (&whole[2..3], None, "rows of a wide column in two passes"),
        ] {
            let found = match way {
                Some(way) => self.scattered(columns, &groups, way)?,
                None => self.scattered_twice(columns, &groups)?,
            };
            let expected = scalar.scattered(columns, &groups, Way::Straight)?;
            self.compare("scatter", of, &found, &expected)?;
        }
        Ok(())
    }

    /// Starts of words, their ends, ends of lines.
    fn bounds(&self, text: &[u8]) -> [Vec<u32>; 3] {
        let mut bounds = [(); 3].map(|()| vec![0; text.len() + NOTED + 1]);
        let [starts, ends, lines] = &mut bounds;
        let (start_count, end_count) = (self.word_bounds)(text, 0, false, starts, ends);
        let line_count = (self.line_ends)(text, 0, lines);
        bounds.iter_mut().zip([start_count, end_count, line_count]).for_each(|(places, count)| places.truncate(count));
        bounds
    }

    /// Views of the words, and of two words as one, which are long.
    fn words(&self, text: &[u8]) -> Vec<u128> {
        let [starts, ends, _] = self.bounds(text);
        let mut views = Vec::new();
        for (starts, ends) in
            [(&starts[..], &ends[..]), (&starts[..starts.len() / 2], &ends[ends.len() - starts.len() / 2..])]
        {
            let mut room = vec![MaybeUninit::new(0); starts.len()];
            views.push((self.word_views)(text, starts, ends, 3, &mut room).into());
            // SAFETY: it was zero before the kernel has written to it.
            views.extend(room.into_iter().map(|view| unsafe { view.assume_init() }));
        }
        views
    }

    fn compare<T: PartialEq>(
        &self,
        kernel: &'static str,
        of: impl Into<String>,
        found: &[T],
        expected: &[T],
    ) -> Result<(), KernelError> {
        if found == expected {
            return Ok(());
        }
        Err(KernelError::Disagrees { kernels: self.name(), kernel, of: of.into() })
    }

    /// The rows of each group, as they come out of its chunk.
    fn scattered(
        &'static self,
        columns: &[ArrayRef],
        groups: &[u8],
        way: Way,
    ) -> Result<Vec<(usize, RecordBatch)>, KernelError> {
        let batch = batch_of(columns).map_err(gather)?;
        let chunks = Chunks::new(self, &batch.schema(), 1 << 7, 1 << 14, &vec![40.0; columns.len()], way);
        let wide: Vec<u16> = groups.iter().map(|group| u16::from(*group)).collect();
        let groups = if way == Way::Gathered { Groups::Many(&wide) } else { Groups::Few(groups) };
        Ok(self.moved(chunks, &Rows::of(&batch), groups)?.batches)
    }

    /// The same by way of 8 coarse groups of 16.
    fn scattered_twice(
        &'static self,
        columns: &[ArrayRef],
        groups: &[u8],
    ) -> Result<Vec<(usize, RecordBatch)>, KernelError> {
        let (batch, heap_bytes) = (batch_of(columns).map_err(gather)?, vec![40.0; columns.len()]);
        let rows = Rows::of(&batch).with_numbers(groups.iter().map(|group| group % 16).collect());
        let coarse: Vec<u8> = groups.iter().map(|group| group / 16).collect();
        let chunks = Chunks::new(self, &batch.schema(), 8, 1 << 18, &heap_bytes, Way::Rows);
        let mut batches = Vec::new();
        for (coarse, rows) in self.moved(chunks, &rows, Groups::Few(&coarse))?.rows {
            let chunks = Chunks::new(self, &batch.schema(), 16, 1 << 14, &heap_bytes, Way::Sorted);
            let given = self.moved(chunks, &rows, Groups::Few(rows.numbers()))?;
            batches.extend(given.batches.into_iter().map(|(fine, batch)| (16 * coarse + fine, batch)));
        }
        Ok(batches)
    }

    fn moved(&self, mut chunks: Chunks, rows: &Rows, groups: Groups<'_>) -> Result<Given, KernelError> {
        let mut given = Given { order: Vec::new(), pool: Pool::within(0), batches: Vec::new(), rows: Vec::new() };
        chunks.prepare(rows, &mut given).map_err(gather)?;
        // In two steps: what waits from the first is in front of the second.
        let first = rows.row_count() * 2 / 5;
        for range in [0..first, first..rows.row_count()] {
            let groups = groups.slice(range.clone());
            if chunks.append(rows, range, groups, &mut given).map_err(gather)? == Appended::TooLarge {
                // Nothing would be compared: the input is to fit.
                return Err(KernelError::Disagrees { kernels: self.name(), kernel: "scatter", of: "room".into() });
            }
        }
        chunks.finish(&mut given).map_err(gather)?;
        Ok(given)
    }
}

fn gather(source: ArrowError) -> KernelError {
    KernelError::Gather { source }
}

fn batch_of(columns: &[ArrayRef]) -> Result<RecordBatch, ArrowError> {
    let columns = columns.iter().enumerate();
    RecordBatch::try_from_iter(columns.map(|(number, column)| (number.to_string(), ArrayRef::clone(column))))
}

/// Chunks as they are given.
struct Given {
    order: Vec<u32>,
    pool: Arc<Pool>,
    batches: Vec<(usize, RecordBatch)>,
    rows: Vec<(usize, Rows)>,
}

impl Exchanger for Given {
    type Error = ArrowError;

    fn block(&mut self, bytes: usize) -> Result<Block, ArrowError> {
        Ok(self.pool.take(bytes)?)
    }
    fn freeze(&mut self, block: Block) -> arrow::buffer::Buffer {
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

/// A column of each form that has a kernel of its own, with NULLs.
fn columns(numbers: &[u64]) -> Vec<ArrayRef> {
    let valid = |number: &u64| !number.is_multiple_of(7);
    let text = |number: &u64| valid(number).then(|| "some text of many lengths"[..(number % 25) as usize].to_owned());
    let floats = numbers.iter().map(|number| valid(number).then(|| f64::from_bits(number << (number % 13))));
    vec![
        Arc::new(numbers.iter().map(|number| valid(number).then_some(*number)).collect::<UInt64Array>()),
        Arc::new(numbers.iter().map(|number| *number as i32).collect::<arrow::array::Int32Array>()),
        Arc::new(numbers.iter().map(|number| *number as u32).collect::<arrow::array::UInt32Array>()),
        Arc::new(floats.clone().collect::<arrow::array::Float64Array>()),
        Arc::new(floats.map(|float| float.map(|float| float as f32)).collect::<arrow::array::Float32Array>()),
        Arc::new(numbers.iter().map(|number| Some(!number.is_multiple_of(2))).collect::<BooleanArray>()),
        Arc::new(numbers.iter().map(|number| i128::from(*number) << (number % 40)).collect::<Decimal128Array>()),
        Arc::new(numbers.iter().map(text).collect::<StringArray>()),
        Arc::new(numbers.iter().map(text).collect::<StringViewArray>()),
        Arc::new(numbers.iter().map(|number| number >> 9).collect::<UInt64Array>()),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_of_this_machine_agrees_and_a_wrong_one_is_found() {
        for (_, kernels) in Kernels::all_available() {
            kernels.verify().unwrap();
        }
        let wrong = Kernels { group_products: |_, _, groups| groups.fill(1), ..*Kernels::portable() };
        let wrong: &'static Kernels = Box::leak(Box::new(wrong));
        assert!(wrong.verify().unwrap_err().to_string().contains("group numbers"));
    }
}
