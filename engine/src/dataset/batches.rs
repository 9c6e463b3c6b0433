//! Rows of any columns, seen as whole batches: expressions, closures over batches, and the way to typed rows.
//!
//! In: expressions by name, closures over batches, a Rust type. Out: flows whose columns are known before anything runs. Never: guesses; a
//! column of another type is cast only where no value can change.

use std::{panic::Location, sync::Arc};

use super::{error::DatasetError, flow::Dataset, record::Record};
use crate::{
    batch::{
        Batch,
        array::RecordBatchOptions,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::Result,
    expression::{Expression, ExpressionError, Named, col},
    plan::logical::{Logical, Node},
};

/// A column of [`Dataset::select`]: one of the input, or a name and an expression.
pub struct Selected {
    name: String,
    expression: Named,
}

impl From<&str> for Selected {
    fn from(name: &str) -> Selected {
        Selected { name: name.to_owned(), expression: col(name) }
    }
}

impl From<(&str, Named)> for Selected {
    fn from((name, expression): (&str, Named)) -> Selected {
        Selected { name: name.to_owned(), expression }
    }
}

impl Dataset<Batch> {
    /// The rows for which the expression is true: `.filter(col("price").gt(10.0))`.
    pub fn filter(self, predicate: Named) -> Result<Dataset<Batch>> {
        self.filter_expr(predicate)
    }

    /// These columns: `.select(["a", "b"])`, or computed ones: `.select([("total", col("price") * col("count"))])`.
    pub fn select<S: Into<Selected>>(self, columns: impl IntoIterator<Item = S>) -> Result<Dataset<Batch>> {
        let (mut fields, mut expressions) = (Vec::new(), Vec::new());
        for column in columns {
            let Selected { name, expression } = column.into();
            let bound = expression.bind(self.schema())?;
            if fields.iter().any(|field: &Field| *field.name() == name) {
                return Err(DatasetError::NameTwice { name }.into());
            }
            fields.push(Field::new(name, bound.data_type(self.schema())?, bound.is_nullable(self.schema())));
            expressions.push(bound);
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(self.then(|input| Logical { node: Node::Project { input: Box::new(input), expressions }, schema }))
    }

    /// A batch of the columns `output` for each batch; it may have any number of rows. The closure sees the rows in batches of any
    /// size, and must not depend on which rows come together.
    #[track_caller]
    pub fn map_batches(
        self,
        map: impl Fn(&Batch) -> Result<Batch> + Send + Sync + 'static,
        output: SchemaRef,
    ) -> Dataset<Batch> {
        let schema = Arc::clone(&output);
        self.through(Location::caller(), output, move |batch, emit| {
            let given = map(batch)?;
            let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
            if types(&given.schema()) != types(&schema) {
                // The operator says what differs.
                return emit(given);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(given.num_rows()));
            emit(Batch::try_new_with_options(Arc::clone(&schema), given.columns().to_vec(), &options)?)
        })
    }

    /// The rows as `T`: columns are found by name for a struct, by place for tuples and single values. A column of a type that `T`'s
    /// holds without loss (a narrower integer, another layout of strings) is cast; any other is an error. Whether a column holds
    /// NULLs shows only when it is read.
    pub fn typed<T: Record>(self) -> Result<Dataset<T>> {
        let (wanted, found) = (T::fields(), Arc::clone(self.schema()));
        let names = || found.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        if !T::IS_NAMED && wanted.len() != found.fields().len() {
            let record = std::any::type_name::<T>();
            return Err(DatasetError::ColumnCount { record, wanted: wanted.len(), found: names() }.into());
        }
        let (mut fields, mut expressions) = (Vec::new(), Vec::new());
        for (place, field) in wanted.iter().enumerate() {
            let column = if T::IS_NAMED {
                let unknown = |_| ExpressionError::UnknownColumn { name: field.name().clone(), columns: names() };
                found.index_of(field.name()).map_err(unknown)?
            } else {
                place
            };
            let (from, to) = (found.field(column), field.data_type());
            expressions.push(match from.data_type() {
                same if same == to => Expression::Column(column),
                other if is_lossless(other, to) => {
                    Expression::Cast { input: Box::new(Expression::Column(column)), to: to.clone(), is_try: false }
                }
                other => {
                    let (column, found) = (from.name().clone(), other.clone());
                    return Err(DatasetError::WrongType { column, found, record: std::any::type_name::<T>() }.into());
                }
            });
            fields.push(from.clone().with_data_type(to.clone()));
        }
        let is_all = wanted.len() == found.fields().len();
        if is_all && expressions.iter().enumerate().all(|(place, e)| e.is_column() == Some(place)) {
            return Ok(self.then(|input| input));
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(self.then(|input| Logical { node: Node::Project { input: Box::new(input), expressions }, schema }))
    }
}

/// Is every value of `from` a value of `to`?
fn is_lossless(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    let (from_bits, to_bits) = match (from.primitive_width(), to.primitive_width()) {
        (Some(from), Some(to)) => (from * 8, to * 8),
        _ => (0, 0),
    };
    match (from, to) {
        (D::Dictionary(_, values), to) => **values == *to || is_lossless(values, to),
        (D::List(from) | D::LargeList(from) | D::FixedSizeList(from, _), D::List(to)) => {
            let (from, to) = (from.data_type(), to.data_type());
            from == to || is_lossless(from, to)
        }
        (D::Utf8 | D::LargeUtf8, D::Utf8View) => true,
        (D::Binary | D::LargeBinary | D::FixedSizeBinary(_), D::BinaryView) => true,
        (D::Float16 | D::Float32, D::Float32 | D::Float64) => true,
        (from, D::Float32) if from.is_integer() => from_bits <= 16,
        (from, D::Float64) if from.is_integer() => from_bits <= 32,
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => from_bits <= to_bits,
        (from, to) if from.is_unsigned_integer() && to.is_unsigned_integer() => from_bits <= to_bits,
        (from, to) if from.is_unsigned_integer() && to.is_signed_integer() => from_bits < to_bits,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_loses_nothing_is_cast() {
        use DataType as D;
        for (from, to) in [
            (D::Int32, D::Int64),
            (D::UInt32, D::Int64),
            (D::UInt8, D::UInt16),
            (D::Float32, D::Float64),
            (D::Int32, D::Float64),
            (D::LargeUtf8, D::Utf8View),
            (D::Dictionary(Box::new(D::Int32), Box::new(D::Utf8)), D::Utf8View),
        ] {
            assert!(is_lossless(&from, &to), "{from} {to}");
        }
        for (from, to) in [
            (D::Int64, D::Int32),
            (D::UInt64, D::Int64),
            (D::Int8, D::UInt64),
            (D::Int64, D::Float64),
            (D::Float64, D::Float32),
            (D::Date32, D::Int32),
            (D::Decimal128(15, 2), D::Float64),
            (D::Int64, D::Utf8View),
        ] {
            assert!(!is_lossless(&from, &to), "{from} {to}");
        }
    }
}
