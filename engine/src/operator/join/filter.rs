//! The keys of a build side as a test of the rows that are going to probe it.
//!
//! In: rows with key columns, once the build side is complete. Out: which of them may have a partner. Never: drops a row that has one; a
//! build side that went to disk keeps all rows.
//!
//! Keys in one word whose values lie close together are bits of a map, which tells exactly; for others the tags of the directory tell nearly
//! so (see [`Directory`](super::directory::Directory)), looked at without touching an entry. Of a compound key a single column whose values lie
//! close together may say nearly as much for less: it is asked first. A test that keeps most rows stops testing.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::{
    hash::{Built, HashJoin, Ready},
    keys::{KeyEncoder, Keys},
};
use crate::{
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray, BooleanArray},
        buffer::{BooleanBuffer, NullBuffer},
        datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef},
    },
    error::Result,
    expression::Expression,
    format::RowTest,
    memory::Reservation,
};

/// Keys of a join as a test; see the [module](self).
pub(super) struct KeyFilter {
    join: Arc<HashJoin>,
    columns: Vec<usize>,
    /// Of those columns.
    schema: SchemaRef,
    encoder: KeyEncoder,
    form: Mutex<Option<Arc<Form>>>,
    rows: AtomicU64,
    kept_rows: AtomicU64,
    keeps_all: AtomicBool,
}

/// How the keys are known.
enum Form {
    /// They are not.
    Unknown,
    /// There are none.
    None,
    Bits(Bits),
    /// Of single columns of a compound key.
    Each(Vec<(usize, Bits)>),
    /// Gone when nobody probes it any more.
    Directory(Weak<Built>),
}

struct Bits {
    first: u64,
    bits: Vec<u64>,
    _reservation: Reservation,
}

/// Bits of a map for each build row, at most: the directory takes half of that for it, but wants a hash.
const BITS_PER_ROW: u64 = 256;
/// Bits of a map that is always small enough: 1 MiB.
const BITS_SMALL: u64 = 1 << 23;
/// Bits of the largest map, 8 MiB: beyond it a look is a cache miss, as one at the directory.
const BITS_MAX: u64 = 1 << 26;
/// Rows after which a test has seen enough to judge itself by.
const ROWS_JUDGED: u64 = 1 << 15;

impl KeyFilter {
    /// `places`: where each probe key stands among the columns of `schema`.
    pub(super) fn new(join: &Arc<HashJoin>, places: &[usize], schema: &SchemaRef) -> Result<KeyFilter> {
        let mut columns = places.to_vec();
        columns.sort_unstable();
        columns.dedup();
        let keys = places.iter().map(|place| Expression::Column(columns.partition_point(|column| column < place)));
        // Where smallest and largest values are not known they are NULL.
        let fields = columns.iter().map(|column| Field::clone(schema.field(*column)).with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let encoder = join.encoder_over(&keys.collect::<Vec<_>>(), &schema)?;
        Ok(KeyFilter {
            join: Arc::clone(join),
            columns,
            schema,
            encoder,
            form: Mutex::default(),
            rows: AtomicU64::new(0),
            kept_rows: AtomicU64::new(0),
            keeps_all: AtomicBool::new(false),
        })
    }

    /// Made by who asks first, once the build side is complete; the others wait for it.
    fn form(&self) -> Result<Arc<Form>> {
        let mut made = self.lock();
        if let Some(form) = &*made {
            return Ok(Arc::clone(form));
        }
        let form = match self.join.ready()? {
            Ready::Spilled(_) => Form::Unknown,
            Ready::Table(built) if built.directory.rows() == 0 => Form::None,
            Ready::Table(built) => match self.bits(&built) {
                Some(bits) => Form::Bits(bits),
                None => match self.bits_of_columns(&built) {
                    bits if bits.is_empty() => Form::Directory(Arc::downgrade(&built)),
                    bits => Form::Each(bits),
                },
            },
        };
        Ok(Arc::clone(made.insert(Arc::new(form))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Form>>> {
        self.form.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bits(&self, built: &Built) -> Option<Bits> {
        if built.compared.is_some() {
            return None;
        }
        self.bits_among(|| built.directory.words(), built.directory.rows())
    }

    /// Bits for the columns of a compound key that leave most values of their range out.
    fn bits_of_columns(&self, built: &Built) -> Vec<(usize, Bits)> {
        let packed = built.compared.as_ref().and_then(|compared| compared.as_primitive_opt::<Decimal128Type>());
        let Some(packed) = packed else { return Vec::new() };
        let of_column = |(key, place): (usize, Option<(u32, u32)>)| {
            let (shift, width) = place?;
            let mask = u64::MAX >> (64 - width);
            let words = || packed.values().iter().map(move |packed| (*packed as u128 >> shift) as u64 & mask);
            Some((key, self.bits_among(words, packed.len())?))
        };
        let places = self.join.key_shape().packed_numbers();
        places.into_iter().enumerate().filter_map(of_column).filter(|(_, bits)| bits.is_selective()).collect()
    }

    fn bits_among<I: Iterator<Item = u64>>(&self, words: impl Fn() -> I, rows: usize) -> Option<Bits> {
        let (first, last) = words().fold((u64::MAX, 0), |(min, max), word| (min.min(word), max.max(word)));
        let range = last.checked_sub(first)?.checked_add(1)?;
        if range > BITS_MAX.min(BITS_SMALL.max((rows as u64).saturating_mul(BITS_PER_ROW))) {
            return None;
        }
        let mut reservation = self.join.context.reservation("join filter");
        if !reservation.try_grow(range.div_ceil(8)) {
            return None;
        }
        let mut bits = vec![0_u64; range.div_ceil(64) as usize];
        for word in words() {
            let place = word - first;
            bits[(place / 64) as usize] |= 1 << (place % 64);
        }
        Some(Bits { first, bits, _reservation: reservation })
    }

    fn judge(&self, rows: usize, kept: usize) {
        let rows = self.rows.fetch_add(rows as u64, Relaxed) + rows as u64;
        let kept = self.kept_rows.fetch_add(kept as u64, Relaxed) + kept as u64;
        if rows >= ROWS_JUDGED && kept > rows / 4 * 3 {
            self.keeps_all.store(true, Relaxed);
        }
    }
}

impl RowTest for KeyFilter {
    fn columns(&self) -> &[usize] {
        &self.columns
    }

    fn keeps(&self, batch: &Batch) -> Result<BooleanArray> {
        let rows = batch.num_rows();
        let all = || BooleanArray::new(BooleanBuffer::new_set(rows), None);
        if self.keeps_all.load(Relaxed) {
            return Ok(all());
        }
        let mut keys = Keys::default();
        let form = self.form()?;
        let mut kept = match &*form {
            Form::Unknown => return Ok(all()),
            Form::None => return Ok(BooleanArray::new(BooleanBuffer::new_unset(rows), None)),
            Form::Bits(bits) => {
                self.encoder.encode_words(batch, &mut keys)?;
                bits.hold(keys.words())
            }
            Form::Each(columns) => {
                let mut kept = BooleanBuffer::new_set(rows);
                for (key, bits) in columns {
                    let (words, valid) = self.encoder.numbers(*key, batch)?;
                    kept = &kept & &bits.hold(&words);
                    keys.valid = NullBuffer::union(keys.valid.as_ref(), valid.as_ref());
                }
                kept
            }
            Form::Directory(built) => match built.upgrade() {
                None => return Ok(all()),
                Some(built) => {
                    self.encoder.encode(batch, &mut keys)?;
                    built.directory.may_hold(&keys.hashes)
                }
            },
        };
        if let Some(valid) = &keys.valid {
            kept = &kept & valid.inner();
        }
        let kept = BooleanArray::new(kept, None);
        self.judge(rows, kept.true_count());
        Ok(kept)
    }

    fn keeps_none(&self) -> bool {
        self.form().is_ok_and(|form| matches!(*form, Form::None))
    }

    fn ranged_column(&self) -> Option<usize> {
        let [column] = self.columns[..] else { return None };
        Some(column)
    }

    fn may_keep(&self, minima: &ArrayRef, maxima: &ArrayRef) -> Result<Option<BooleanArray>> {
        let is_number = minima.data_type().is_integer() || matches!(minima.data_type(), DataType::Date32);
        let form = self.form()?;
        let Form::Bits(bits) = &*form else { return Ok(None) };
        if !is_number || minima.data_type() != self.schema.field(0).data_type() {
            return Ok(None);
        }
        let words = |values: &ArrayRef| -> Result<Vec<u64>> {
            let mut keys = Keys::default();
            self.encoder
                .encode_words(&Batch::try_new(Arc::clone(&self.schema), vec![Arc::clone(values)])?, &mut keys)?;
            Ok(keys.words().to_vec())
        };
        let (lowest, highest) = (words(minima)?, words(maxima)?);
        let may_keep = |range: usize| {
            let (lowest, highest) = (lowest[range], highest[range]);
            // Words of negative numbers lie behind those of others: a range with both is not one of words.
            let is_known = minima.is_valid(range) && maxima.is_valid(range) && lowest <= highest;
            !is_known || bits.has_within(lowest, highest)
        };
        Ok(Some(BooleanArray::new(BooleanBuffer::collect_bool(lowest.len(), may_keep), None)))
    }

    fn close(&self) {
        *self.lock() = Some(Arc::new(Form::Unknown));
    }
}

impl Bits {
    /// Less than half of the values between the smallest and the largest one are there.
    fn is_selective(&self) -> bool {
        let set: u64 = self.bits.iter().map(|word| u64::from(word.count_ones())).sum();
        set < self.bits.len() as u64 * 32
    }

    /// There is a value from `lowest` to `highest`.
    fn has_within(&self, lowest: u64, highest: u64) -> bool {
        // By distances: the last bit may stand for the last number.
        let last = self.bits.len() as u64 * 64 - 1;
        let Some(high) = highest.checked_sub(self.first) else { return false };
        let (low, high) = (lowest.saturating_sub(self.first), high.min(last));
        if low > last {
            return false;
        }
        let word = |place: u64| {
            let from = if place == low / 64 { u64::MAX << (low % 64) } else { u64::MAX };
            let to = if place == high / 64 { u64::MAX >> (63 - high % 64) } else { u64::MAX };
            self.bits[place as usize] & from & to
        };
        (low / 64..=high / 64).any(|place| word(place) != 0)
    }

    fn hold(&self, words: &[u64]) -> BooleanBuffer {
        BooleanBuffer::collect_bool(words.len(), |row| {
            let place = words[row].wrapping_sub(self.first);
            let bits = self.bits.get((place / 64) as usize).copied().unwrap_or_default();
            bits >> (place % 64) & 1 == 1
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Governor;

    proptest! {
        #[test]
        fn a_range_has_what_some_value_in_it_has(
            base in prop::sample::select(vec![0, 1, 63, 64, 1 << 40, u64::MAX - 300, u64::MAX - 64]),
            offsets in prop::collection::vec(0..65_u64, 1..6),
            range in (0..400_u64, 0..400_u64),
            shift in 0..200_u64,
        ) {
            let words: Vec<u64> = offsets.iter().map(|offset| base.saturating_add(*offset)).collect();
            let first = words.iter().copied().min().unwrap_or_default();
            let mut bits = vec![0_u64; 2];
            words.iter().for_each(|word| bits[((word - first) / 64) as usize] |= 1 << ((word - first) % 64));
            let bits = Bits { first, bits, _reservation: Governor::new(1 << 20).reservation("test") };
            let near = base.saturating_sub(shift);
            let (lowest, highest) = (near.saturating_add(range.0.min(range.1)), near.saturating_add(range.0.max(range.1)));
            let expected = words.iter().any(|word| (lowest..=highest).contains(word));
            prop_assert_eq!(bits.has_within(lowest, highest), expected);
        }
    }
}
