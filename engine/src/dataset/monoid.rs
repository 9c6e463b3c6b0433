//! What values of one key are put together by: known aggregates, so that a reduce runs over columns and not through a closure.
//!
//! In: the type of the values. Out: aggregate calls over their columns. Never: depends on the order of the values; each of these is
//! associative and commutative to the bit, sums of floats included.

use super::{
    action::count_rows,
    record::{FieldValue, Leaf, Record},
};
use crate::{
    batch::datatypes::DataType,
    expression::{AggregateCall, AggregateFunction, Expression},
};

/// A way to put values of `V` together: [`Sum`], [`Mean`], [`Min`], [`Max`], [`Count`], or a tuple of them for a tuple of values.
#[diagnostic::on_unimplemented(
    message = "values of `{V}` cannot be put together by `{Self}`",
    note = "Sum and Mean take numbers, Min and Max take columns, Count takes anything; for a tuple of values give a tuple, as (Sum, Max)"
)]
pub trait Monoid<V: Record>: Copy {
    /// What comes out for a key.
    type Output: Record;
    /// Adds the calls that give the columns of `Output`; the columns of `V` start at `column`.
    #[doc(hidden)]
    fn add_calls(column: usize, calls: &mut Vec<AggregateCall>);
}

/// The sum. Integers are summed as 64 bits, and an overflow at the end is an error; floats are summed exactly and rounded once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum;

/// The arithmetic mean, as a float.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean;

/// The least value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Min;

/// The greatest value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Max;

/// How many values, of whatever type.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

/// A number, or one that may be NULL; NULLs do not count.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a number that can be summed")]
pub trait Summable: FieldValue {
    /// What its sum is.
    type Total: FieldValue;
    /// What its mean is.
    type Mean: FieldValue;
}

macro_rules! summable {
    ($($number:ty => $total:ty),*) => {
        $(
            impl Summable for $number {
                type Total = $total;
                type Mean = f64;
            }
            impl Summable for Option<$number> {
                type Total = Option<$total>;
                type Mean = Option<f64>;
            }
        )*
    };
}
summable!(
    i8 => i64, i16 => i64, i32 => i64, i64 => i64, u8 => u64, u16 => u64, u32 => u64, u64 => u64, f32 => f64, f64 => f64
);

impl<V: Summable> Monoid<V> for Sum {
    type Output = V::Total;
    fn add_calls(column: usize, calls: &mut Vec<AggregateCall>) {
        let total = type_of::<V::Total>();
        calls.push(call(AggregateFunction::Sum, column_as(column, &type_of::<V>(), &total), total));
    }
}

impl<V: Summable> Monoid<V> for Mean {
    type Output = V::Mean;
    fn add_calls(column: usize, calls: &mut Vec<AggregateCall>) {
        let float = f64::data_type();
        calls.push(call(AggregateFunction::Avg, column_as(column, &type_of::<V>(), &float), float));
    }
}

impl<V: FieldValue> Monoid<V> for Min {
    type Output = V;
    fn add_calls(column: usize, calls: &mut Vec<AggregateCall>) {
        calls.push(call(AggregateFunction::Min, Expression::Column(column), type_of::<V>()));
    }
}

impl<V: FieldValue> Monoid<V> for Max {
    type Output = V;
    fn add_calls(column: usize, calls: &mut Vec<AggregateCall>) {
        calls.push(call(AggregateFunction::Max, Expression::Column(column), type_of::<V>()));
    }
}

impl<V: Record> Monoid<V> for Count {
    type Output = i64;
    fn add_calls(_column: usize, calls: &mut Vec<AggregateCall>) {
        calls.push(count_rows());
    }
}

macro_rules! tuple {
    ($($value:ident $monoid:ident),*) => {
        impl<$($value: Record, $monoid: Monoid<$value>),*> Monoid<($($value,)*)> for ($($monoid,)*) {
            type Output = ($($monoid::Output,)*);
            fn add_calls(column: usize, calls: &mut Vec<AggregateCall>) {
                let mut column = column;
                $(
                    $monoid::add_calls(column, calls);
                    column += $value::fields().len();
                )*
                let _ = column;
            }
        }
    };
}
tuple!(V0 M0, V1 M1);
tuple!(V0 M0, V1 M1, V2 M2);
tuple!(V0 M0, V1 M1, V2 M2, V3 M3);
tuple!(V0 M0, V1 M1, V2 M2, V3 M3, V4 M4);
tuple!(V0 M0, V1 M1, V2 M2, V3 M3, V4 M4, V5 M5);

fn call(function: AggregateFunction, argument: Expression, returns: DataType) -> AggregateCall {
    AggregateCall { function, arguments: vec![argument], filter: None, is_distinct: false, order: Vec::new(), returns }
}

fn type_of<V: FieldValue>() -> DataType {
    V::fields().first().map_or(DataType::Null, |field| field.data_type().clone())
}

fn column_as(column: usize, from: &DataType, to: &DataType) -> Expression {
    let column = Expression::Column(column);
    if from == to { column } else { Expression::Cast { input: Box::new(column), to: to.clone(), is_try: false } }
}
