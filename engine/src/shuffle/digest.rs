//! Rows without their order: what two attempts of a task must agree on.
//!
//! In: batches, in any order and cut anywhere. Out: their number, and the sum and the exclusive or of their row hashes.
//! Never: bytes or anything else that depends on how values are stored; a plain string and one in a dictionary count
//! alike.
//!
//! Merging is associative and commutative, so each thread keeps its own. The sum sees a row that is doubled, where the
//! exclusive or would see it only once; together they tell a lost or doubled batch, a bad kernel, a map that is not
//! deterministic. They are no defence against somebody who chooses the rows.
//!
//! Deficit: a decimal is hashed by its unscaled number, so equal numbers of another scale differ, as they do in the
//! schema.

use std::fmt;

use crate::batch::Batch as RecordBatch;

use crate::kernel::{KernelError, hash_columns};

/// The digest of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub rows: u64,
    /// The sum of their hashes, modulo 2⁶⁴.
    pub sum: u64,
    /// The exclusive or of their hashes.
    pub xor: u64,
}

impl Digest {
    /// The digest of a batch's rows over all columns; of a batch without columns only the number.
    pub fn of(batch: &RecordBatch) -> Result<Digest, KernelError> {
        let rows = batch.num_rows() as u64;
        if batch.num_columns() == 0 {
            return Ok(Digest { rows, sum: 0, xor: 0 });
        }
        let mut hashes = Vec::new();
        hash_columns(batch.columns(), &mut hashes)?;
        Ok(Digest::of_hashes(&hashes))
    }

    /// The digest of rows by their hashes over all columns.
    pub fn of_hashes(hashes: &[u64]) -> Digest {
        let (sum, xor) = hashes.iter().fold((0u64, 0), |(sum, xor), hash| (sum.wrapping_add(*hash), xor ^ hash));
        Digest { rows: hashes.len() as u64, sum, xor }
    }

    /// Takes the rows of `other` in.
    pub fn merge(&mut self, other: &Digest) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
        self.xor ^= other.xor;
    }
}

/// The sum, then the exclusive or: 32 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.sum, self.xor)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use crate::batch::array::{ArrayRef, Int64Array, RecordBatchOptions, StringArray, UInt32Array};
    use crate::batch::compute::take_record_batch;
    use crate::batch::datatypes::Schema;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::{Random, cases, random_batch};

    proptest! {
        #![proptest_config(cases(256))]

        /// Rows in another order and cut elsewhere have the same digest.
        #[test]
        fn neither_order_nor_cuts_matter(seed: u64) {
            let mut random = Random::new(seed);
            let batch = random_batch(&mut random);
            let whole = Digest::of(&batch).unwrap();
            let cut = random.below(batch.num_rows() + 1);
            let (front, back) = (batch.slice(0, cut), batch.slice(cut, batch.num_rows() - cut));
            let mut merged = Digest::of(&back).unwrap();
            merged.merge(&Digest::of(&front).unwrap());
            prop_assert_eq!(merged, whole);

            if batch.num_columns() > 0 {
                let backwards = UInt32Array::from_iter_values((0..batch.num_rows() as u32).rev());
                prop_assert_eq!(Digest::of(&take_record_batch(&batch, &backwards).unwrap()).unwrap(), whole);
            }
        }
    }

    #[test]
    fn a_lost_doubled_or_changed_row_shows() {
        let digest_of = |numbers: &[i64]| {
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(numbers.iter().map(i64::to_string)));
            let numbers: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
            Digest::of(&RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap()).unwrap()
        };
        let digest = digest_of(&[1, 2, 3]);
        assert_eq!(digest.to_string().len(), 32);
        assert_eq!(digest, digest_of(&[3, 1, 2]));
        for other in [&[1, 2][..], &[1, 2, 3, 3], &[1, 2, 4], &[1, 2, 3, 4, 4], &[]] {
            assert_ne!(digest, digest_of(other));
        }
        // Two doubled rows cancel out in the exclusive or alone.
        assert_eq!(digest_of(&[1, 2, 2, 2]).xor, digest_of(&[1, 2]).xor);
        assert_ne!(digest_of(&[1, 2, 2, 2]).sum, digest_of(&[1, 2]).sum);
    }

    #[test]
    fn without_columns_there_is_still_a_number_of_rows() {
        let options = RecordBatchOptions::new().with_row_count(Some(7));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(Digest::of(&batch).unwrap(), Digest { rows: 7, sum: 0, xor: 0 });
    }
}
