//! IN.
//!
//! In: a value and a list. Out: true when the list has it; NULL when the value is NULL, or when it is not found and the list holds
//! a NULL. Never: one comparison per element of a constant list of integers, dates, decimals or strings.
//!
//! A constant list becomes a sorted set when the evaluator is made; each row is then a short scan of it or a binary search. A string
//! view of at most 12 bytes is equal to another when its 16 bytes are, so short strings are looked up as integers. Anything else (a
//! list with columns, floats, structs) is compared element by element.

use std::sync::Arc;

use super::{
    Step, Value,
    binary::combine,
    cast::to_type,
    evaluator::{Context, prepare},
    texts::{self, INLINE_BYTES, bits_of},
};
use crate::{
    batch::{
        Batch,
        array::{
            Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, StringViewArray,
            downcast_integer_array, new_null_array,
        },
        buffer::BooleanBuffer,
        compute::{self, concat, or_kleene},
        datatypes::{
            DataType, Date32Type, Date64Type, Decimal128Type, TimeUnit, TimestampMicrosecondType,
            TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
        },
    },
    error::Result,
    expression::{BinaryOp, Expression},
};

/// Sets of at most so many elements are scanned, larger ones searched.
const SCAN: usize = 8;

/// IN or NOT IN, prepared.
pub(super) fn step(
    input: &Expression,
    list: &[Expression],
    is_negated: bool,
    context: &Context<'_>,
) -> Result<Box<dyn Step>> {
    let data_type = input.data_type(context.input)?;
    let input = prepare(input, context)?;
    let list = list.iter().map(|element| prepare(element, context)).collect::<Result<Vec<_>>>()?;
    let constants: Option<Vec<&Value>> = list.iter().map(|element| element.constant()).collect();
    if let Some(constants) = constants {
        let mut elements = Vec::with_capacity(constants.len());
        for constant in constants {
            elements.push(Arc::clone(to_type(constant.clone(), &data_type)?.array()));
        }
        let elements: Vec<&dyn Array> = elements.iter().map(|element| element.as_ref()).collect();
        let elements = if elements.is_empty() { new_null_array(&data_type, 0) } else { concat(&elements)? };
        if let Some(contains) = set(&elements) {
            let has_null = elements.null_count() > 0;
            return Ok(Box::new(InSet { input, contains, has_null, is_negated }));
        }
    }
    Ok(Box::new(InList { input, list, data_type, is_negated }))
}

/// Is the value of a row in the set? Rows that are NULL may say anything.
type Contains = Box<dyn Fn(&dyn Array) -> BooleanBuffer + Send + Sync>;

/// The elements as a set, for the types that have one.
fn set(elements: &ArrayRef) -> Option<Contains> {
    macro_rules! primitive {
        ($t:ty) => {
            Some(primitive_set::<$t>(elements.as_primitive()))
        };
    }
    let array = elements.as_ref();
    downcast_integer_array!(
        array => Some(primitive_set(array)),
        DataType::Date32 => primitive!(Date32Type),
        DataType::Date64 => primitive!(Date64Type),
        DataType::Decimal128(..) => primitive!(Decimal128Type),
        DataType::Timestamp(TimeUnit::Second, _) => primitive!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => primitive!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType),
        DataType::Utf8View => Some(view_set(elements.as_string_view())),
        DataType::Utf8 => {
            let set = string_set(elements.as_string::<i32>().iter());
            Some(Box::new(move |rows: &dyn Array| {
                let rows = rows.as_string::<i32>();
                BooleanBuffer::collect_bool(rows.len(), |row| has_string(&set, rows.value(row)))
            }))
        },
        _ => None,
    )
}

fn primitive_set<T: ArrowPrimitiveType>(elements: &PrimitiveArray<T>) -> Contains
where
    T::Native: Ord,
{
    let mut set: Vec<T::Native> = elements.iter().flatten().collect();
    set.sort_unstable();
    set.dedup();
    Box::new(move |rows: &dyn Array| {
        let values = rows.as_primitive::<T>().values();
        if set.len() <= SCAN {
            bits_of(values, |value| set.iter().fold(false, |found, element| found | (element == value)))
        } else {
            bits_of(values, |value| set.binary_search(value).is_ok())
        }
    })
}

fn string_set<'a>(elements: impl Iterator<Item = Option<&'a str>>) -> Vec<Box<str>> {
    let mut set: Vec<Box<str>> = elements.flatten().map(Box::from).collect();
    set.sort_unstable();
    set.dedup();
    set
}

fn has_string(set: &[Box<str>], text: &str) -> bool {
    if set.len() <= SCAN {
        set.iter().any(|element| **element == *text)
    } else {
        set.binary_search_by(|element| (**element).cmp(text)).is_ok()
    }
}

fn view_set(elements: &StringViewArray) -> Contains {
    let is_short = |text: &str| text.len() <= INLINE_BYTES;
    let views = elements.views();
    let mut short: Vec<u128> =
        elements.iter().enumerate().filter(|(_, text)| text.is_some_and(is_short)).map(|(k, _)| views[k]).collect();
    short.sort_unstable();
    short.dedup();
    let long = string_set(elements.iter().filter(|text| !text.is_some_and(is_short)));
    Box::new(move |rows: &dyn Array| {
        let rows = rows.as_string_view();
        if long.is_empty() {
            return texts::among(rows, &short);
        }
        let views = rows.views();
        BooleanBuffer::collect_bool(views.len(), |row| {
            let view = views[row];
            // The low 32 bits of a view are its length.
            if (view as u32) as usize > INLINE_BYTES {
                rows.is_valid(row) && has_string(&long, rows.value(row))
            } else if short.len() <= SCAN {
                short.contains(&view)
            } else {
                short.binary_search(&view).is_ok()
            }
        })
    })
}

struct InSet {
    input: Box<dyn Step>,
    contains: Contains,
    has_null: bool,
    is_negated: bool,
}

impl Step for InSet {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let input = self.input.evaluate(batch)?;
        let found = (self.contains)(input.array());
        let mut nulls = input.array().logical_nulls();
        if self.has_null {
            // Not found beside a NULL is unknown: only what was found is known.
            let found = crate::batch::buffer::NullBuffer::new(found.clone());
            nulls = crate::batch::buffer::NullBuffer::union(nulls.as_ref(), Some(&found));
        }
        let found = if self.is_negated { !&found } else { found };
        Ok(Value::like(Arc::new(BooleanArray::new(found, nulls)), &[&input]))
    }
}

/// The list is compared element by element.
struct InList {
    input: Box<dyn Step>,
    list: Vec<Box<dyn Step>>,
    data_type: DataType,
    is_negated: bool,
}

impl Step for InList {
    fn evaluate(&self, batch: &Batch) -> Result<Value> {
        let rows = batch.num_rows();
        let input = self.input.evaluate(batch)?;
        let mut found = BooleanArray::new(BooleanBuffer::new_unset(rows), None);
        for element in &self.list {
            let element = to_type(element.evaluate(batch)?, &self.data_type)?;
            let equal = Value::like(combine(BinaryOp::Eq, &input, &element)?, &[&input, &element]);
            found = or_kleene(&found, equal.into_array(rows)?.as_boolean())?;
        }
        let found = if self.is_negated { compute::not(&found)? } else { found };
        Ok(Value::Column(Arc::new(found)))
    }
}
