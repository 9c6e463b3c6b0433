//! Groups by place: an array instead of a hash table, where the keys have few values.
//!
//! In: key columns. Out: the group of each row. Never: a group of its own; whose place is empty is looked for in the index, once.
//!
//! ```text
//!   codes into a dictionary  ─► code        ┐
//!   whole numbers, dates     ─► x − least   ├─► + 1, or 0 for NULL ─► × step, summed: the place ─► group, or none yet ─► index
//!   truths                   ─► 0 or 1      ┘
//! ```
//! The places are forgotten when a key leaves its range, or another dictionary comes; groups stay as they are.

use std::sync::Arc;

use crate::{
    batch::{
        array::{Array, ArrayRef, AsArray, UInt32Array},
        buffer::NullBuffer,
        compute,
        datatypes::{DataType, Int32Type},
    },
    error::Result,
};

/// Places where all keys are numbers: 512 KiB, which stay in a second-level cache.
pub(super) const PLACES_MAX: usize = 1 << 17;
/// Places where there are codes: a next dictionary may begin with the next few morsels, and they are learnt anew.
const CODED_PLACES_MAX: usize = 1 << 14;
/// So often in a row keys may have too many places until no more are looked for.
const MISFITS_MAX: usize = 16;
/// Marks a place whose group is being looked for.
const LOOKED_FOR: u32 = u32::MAX;

/// Gives the group of each row of other columns.
type Find<'a> = dyn FnMut(&[ArrayRef], &mut Vec<u32>) -> Result<()> + 'a;

/// The groups that are known by place.
pub(super) struct Direct {
    axes: Vec<Axis>,
    /// By place: the group, counted from 1; 0 where none is known.
    groups: Vec<u32>,
    places_max: usize,
    misfits: usize,
    places: Vec<u32>,
}

/// How a key column becomes a part of the place.
enum Axis {
    /// Of a dictionary with these values.
    Codes(ArrayRef),
    Numbers {
        least: i64,
        most: i64,
    },
    Truths,
}

impl Axis {
    /// Different values, NULL among them.
    fn len(&self) -> usize {
        match self {
            Axis::Codes(values) => values.len() + 1,
            Axis::Numbers { least, most } => {
                let span = most.checked_sub(*least).and_then(|span| usize::try_from(span).ok());
                span.map_or(usize::MAX, |span| span.saturating_add(2))
            }
            Axis::Truths => 3,
        }
    }
}

/// Runs `$body` with the values of a column of whole numbers, or of what is kept as such.
macro_rules! for_numbers {
    ($column:expr, |$values:ident| $body:expr) => {{
        use DataType as T;
        let data = $column.to_data();
        macro_rules! of {
            ($native:ty) => {{
                let $values = &data.buffer::<$native>(0)[..data.len()];
                $body
            }};
        }
        match $column.data_type() {
            T::Int8 => of!(i8),
            T::UInt8 => of!(u8),
            T::Int16 => of!(i16),
            T::UInt16 => of!(u16),
            T::Int32 | T::Date32 | T::Time32(_) | T::Decimal32(..) => of!(i32),
            T::UInt32 => of!(u32),
            T::Int64 | T::Date64 | T::Time64(_) | T::Timestamp(..) | T::Duration(_) | T::Decimal64(..) => of!(i64),
            _ => {}
        }
    }};
}

impl Direct {
    /// Of at most so many places.
    pub(super) fn new(places_max: usize) -> Direct {
        let places_max = places_max.min(PLACES_MAX);
        Direct { axes: Vec::new(), groups: Vec::new(), places_max, misfits: 0, places: Vec::new() }
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> u64 {
        4 * (self.groups.capacity() + self.places.capacity()) as u64
    }

    /// The group of each row of `columns`; false, and nothing is found, where they have too many places. `find` gives the groups of the
    /// rows of other columns.
    pub(super) fn assign(&mut self, columns: &[ArrayRef], groups: &mut Vec<u32>, find: &mut Find<'_>) -> Result<bool> {
        if self.misfits >= MISFITS_MAX {
            return Ok(false);
        }
        if !self.fit(columns) {
            self.misfits += 1;
            return Ok(false);
        }
        self.misfits = 0;
        self.place(columns);
        let find_all = |known: &[u32], places: &[u32], groups: &mut Vec<u32>| {
            groups.clear();
            groups.extend(places.iter().map(|place| known[*place as usize].wrapping_sub(1)));
            groups.iter().fold(0, |most, group| most.max(*group)) == u32::MAX
        };
        if find_all(&self.groups, &self.places, groups) {
            let mut rows = Vec::new();
            for (row, place) in self.places.iter().enumerate() {
                let known = &mut self.groups[*place as usize];
                if *known == 0 {
                    *known = LOOKED_FOR;
                    rows.push(row as u32);
                }
            }
            let rows = UInt32Array::from(rows);
            let take = |column: &ArrayRef| Ok(compute::take(column, &rows, None)?);
            let new = columns.iter().map(take).collect::<Result<Vec<_>>>();
            new.and_then(|new| find(&new, groups)).inspect_err(|_| self.forget())?;
            for (row, group) in rows.values().iter().zip(groups.iter()) {
                self.groups[self.places[*row as usize] as usize] = group + 1;
            }
            find_all(&self.groups, &self.places, groups);
        }
        Ok(true)
    }

    fn forget(&mut self) {
        self.axes = Vec::new();
        self.groups = Vec::new();
    }

    /// Makes the axes such that all keys have a place; false if that takes too many.
    fn fit(&mut self, columns: &[ArrayRef]) -> bool {
        let is_new = self.axes.len() != columns.len();
        let mut changed = is_new;
        for (number, column) in columns.iter().enumerate() {
            let axis = if is_new { None } else { self.axes.get(number) };
            let fitted = match fitted(axis, column) {
                Fitted::AsIs => continue,
                Fitted::Never => {
                    self.misfits = MISFITS_MAX;
                    self.forget();
                    return false;
                }
                Fitted::New(fitted) => fitted,
            };
            changed = true;
            match self.axes.get_mut(number) {
                Some(axis) => *axis = fitted,
                None => self.axes.push(fitted),
            }
        }
        if !changed {
            return true;
        }
        let has_codes = self.axes.iter().any(|axis| matches!(axis, Axis::Codes(_)));
        let places_max = if has_codes { self.places_max.min(CODED_PLACES_MAX) } else { self.places_max };
        let places = self.axes.iter().try_fold(1_usize, |places, axis| places.checked_mul(axis.len()));
        let places = places.filter(|places| *places <= places_max);
        self.groups.clear();
        match places {
            Some(places) => self.groups.resize(places, 0),
            None => {
                self.forget();
                // Numbers that were too far apart stay so.
                self.misfits = if has_codes { self.misfits } else { MISFITS_MAX };
            }
        }
        places.is_some()
    }

    /// The place of each row.
    fn place(&mut self, columns: &[ArrayRef]) {
        let Direct { axes, places, .. } = self;
        places.clear();
        places.resize(columns.first().map_or(0, Array::len), 0);
        let mut step = 1;
        for (axis, column) in axes.iter().zip(columns) {
            let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
            match axis {
                Axis::Codes(_) => {
                    let codes = column.as_dictionary::<Int32Type>().keys();
                    put(places, codes.values().iter().map(|code| *code as u32), nulls, step);
                }
                Axis::Truths => put(places, column.as_boolean().values().iter().map(u32::from), nulls, step),
                Axis::Numbers { least, .. } => {
                    let least = *least;
                    for_numbers!(column, |values| {
                        put(places, values.iter().map(|value| (*value as i64).wrapping_sub(least) as u32), nulls, step)
                    });
                }
            }
            step *= axis.len() as u32;
        }
    }
}

/// Adds to each place what a column's number makes of it; what stands at a NULL is anything.
fn put(places: &mut [u32], numbers: impl Iterator<Item = u32>, nulls: Option<&NullBuffer>, step: u32) {
    let rows = places.iter_mut().zip(numbers);
    match nulls {
        None => rows.for_each(|(place, number)| *place += step * (number + 1)),
        Some(nulls) => {
            for ((place, number), is_valid) in rows.zip(nulls) {
                if is_valid {
                    *place += step * (number + 1);
                }
            }
        }
    }
}

enum Fitted {
    AsIs,
    New(Axis),
    /// Keys of this type have no axis.
    Never,
}

/// The axis for the keys of a column, where `axis` is the one until now.
fn fitted(axis: Option<&Axis>, column: &ArrayRef) -> Fitted {
    match column.data_type() {
        DataType::Boolean => axis.map_or(Fitted::New(Axis::Truths), |_| Fitted::AsIs),
        DataType::Dictionary(codes, values) if **codes == DataType::Int32 && **values == DataType::Utf8 => {
            let values = column.as_dictionary::<Int32Type>().values();
            match axis {
                Some(Axis::Codes(known)) if is_same(known, values) => Fitted::AsIs,
                _ => Fitted::New(Axis::Codes(Arc::clone(values))),
            }
        }
        _ => {
            let mut found = None;
            for_numbers!(column, |values| found = Some(extremes(column, values.iter().map(|value| *value as i64))));
            let Some(extremes) = found else { return Fitted::Never };
            let known = match axis {
                Some(Axis::Numbers { least, most }) => Some((*least, *most)),
                _ => None,
            };
            match (known, extremes) {
                (Some(_), None) => Fitted::AsIs,
                (Some((least, most)), Some((a, b))) if least <= a && b <= most => Fitted::AsIs,
                (None, None) => Fitted::New(Axis::Numbers { least: 0, most: 0 }),
                (known, extremes) => {
                    let both = || known.into_iter().chain(extremes);
                    let least = both().map(|(least, _)| least).min().unwrap_or(0);
                    let most = both().map(|(_, most)| most).max().unwrap_or(0);
                    // Some more on both sides: what comes is seldom within just what was seen.
                    let more = (most.saturating_sub(least) / 16).saturating_add(1);
                    let (least, most) = (least.saturating_sub(more), most.saturating_add(more));
                    Fitted::New(Axis::Numbers { least, most })
                }
            }
        }
    }
}

/// The smallest and the largest value; none of nothing but NULL.
fn extremes(column: &ArrayRef, values: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    let wider = |(least, most): (i64, i64), value: i64| (least.min(value), most.max(value));
    let found = match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => values.fold((i64::MAX, i64::MIN), wider),
        Some(nulls) => {
            let valid = values.zip(nulls).filter(|(_, is_valid)| *is_valid);
            valid.fold((i64::MAX, i64::MIN), |found, (value, _)| wider(found, value))
        }
    };
    (found.0 <= found.1).then_some(found)
}

/// One dictionary, or two of the same strings.
fn is_same(one: &ArrayRef, other: &ArrayRef) -> bool {
    let (one, other) = (one.as_string::<i32>(), other.as_string::<i32>());
    let is_one = one.len() == other.len() && one.value_offsets().as_ptr() == other.value_offsets().as_ptr();
    is_one || one == other
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        batch::{
            array::{BooleanArray, DictionaryArray, Int16Array, Int64Array, StringArray, StringViewArray},
            util::display::array_value_to_string,
        },
        operator::testing::Random,
    };

    /// The text of each row's key.
    fn texts(columns: &[ArrayRef]) -> Vec<String> {
        let row = |row: usize| {
            let value = |column: &ArrayRef| match column.is_null(row) {
                true => "-".to_owned(),
                false => array_value_to_string(column, row).unwrap(),
            };
            columns.iter().map(value).collect::<Vec<_>>().join("|")
        };
        (0..columns[0].len()).map(row).collect()
    }

    /// An index of texts.
    #[derive(Default)]
    struct Texts {
        groups: BTreeMap<String, u32>,
        rows_asked: usize,
    }

    impl Texts {
        fn find(&mut self, columns: &[ArrayRef], groups: &mut Vec<u32>) -> Result<()> {
            groups.clear();
            self.rows_asked += columns[0].len();
            for text in texts(columns) {
                let next = self.groups.len() as u32;
                groups.push(*self.groups.entry(text).or_insert(next));
            }
            Ok(())
        }
    }

    fn codes(random: &mut Random, rows: usize, words: usize) -> ArrayRef {
        let values: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..words).map(|word| format!("w{}", word * 7 % 31))));
        let code = |random: &mut Random| (random.below(5) > 0).then(|| random.below(words) as i32);
        let codes = (0..rows).map(|_| code(random)).collect();
        Arc::new(DictionaryArray::<Int32Type>::new(codes, values))
    }

    #[test]
    fn groups_by_place_are_the_groups_of_the_keys() {
        let mut random = Random(7);
        for case in 0..40_usize {
            let (mut direct, mut texts_of) = (Direct::new(1 << 14), Texts::default());
            let mut is_direct = 0;
            for batch in 0..12_usize {
                let rows = 1 + random.below(700);
                // The numbers spread as batches come, the dictionary changes now and then.
                let spread = 1 + batch * (case % 7);
                let mut number = |from: i64| -> Vec<Option<i64>> {
                    let one = |random: &mut Random| (random.below(9) > 0).then(|| from + random.below(spread) as i64);
                    (0..rows).map(|_| one(&mut random)).collect()
                };
                let far = number(i64::MAX - 1_000);
                let near: Vec<Option<i16>> = number(-30).into_iter().map(|n| n.map(|n| n as i16)).collect();
                let truths = BooleanArray::from(
                    (0..rows).map(|_| [None, Some(true), Some(false)][random.below(3)]).collect::<Vec<_>>(),
                );
                let columns: Vec<ArrayRef> = vec![
                    codes(&mut random, rows, 1 + batch / 4 * 9),
                    Arc::new(Int64Array::from(far)),
                    Arc::new(Int16Array::from(near)),
                    Arc::new(truths),
                ];
                let columns = &columns[case % 3..];
                let mut groups = Vec::new();
                let found =
                    direct.assign(columns, &mut groups, &mut |columns, groups| texts_of.find(columns, groups)).unwrap();
                is_direct += usize::from(found);
                if !found {
                    texts_of.find(columns, &mut groups).unwrap();
                }
                let expected: Vec<u32> = texts(columns).iter().map(|text| texts_of.groups[text]).collect();
                assert_eq!(groups, expected, "case {case}, batch {batch}, by place: {found}");
            }
            assert!(is_direct > 0, "case {case}");
        }
    }

    #[test]
    fn a_place_is_learnt_once() {
        let mut random = Random(3);
        let (mut direct, mut texts_of, mut groups) = (Direct::new(PLACES_MAX), Texts::default(), Vec::new());
        let one = codes(&mut random, 5_000, 20);
        for _ in 0..3 {
            assert!(direct.assign(std::slice::from_ref(&one), &mut groups, &mut |c, g| texts_of.find(c, g)).unwrap());
            assert_eq!(texts_of.rows_asked, 21);
        }
        // Another array of the same words is the same dictionary.
        let same = codes(&mut random, 100, 20);
        assert!(direct.assign(&[same], &mut groups, &mut |c, g| texts_of.find(c, g)).unwrap());
        assert_eq!(texts_of.rows_asked, 21);
        assert!(direct.bytes() > 0);
    }

    #[test]
    fn what_has_too_many_places_is_left_to_the_index() {
        let mut refuse = |_: &[ArrayRef], _: &mut Vec<u32>| -> Result<()> { panic!("asked in vain") };
        let far: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]));
        let words: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b"]));
        for column in [far, words] {
            let mut direct = Direct::new(PLACES_MAX);
            assert!(!direct.assign(std::slice::from_ref(&column), &mut Vec::new(), &mut refuse).unwrap());
            // Nor is it looked at again.
            let near: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
            assert!(!direct.assign(&[near], &mut Vec::new(), &mut refuse).unwrap());
            assert_eq!(direct.groups.capacity(), 0);
        }
        let mut direct = Direct::new(16);
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![1, 50]));
        assert!(!direct.assign(&[wide], &mut Vec::new(), &mut refuse).unwrap());
    }
}
