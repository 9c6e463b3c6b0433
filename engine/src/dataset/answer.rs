//! An answer: rows in memory, and what it took to get them.

use std::{sync::Arc, time::Instant};

use super::record::{Columns, Record};
use crate::{
    batch::{
        Batch,
        array::{ArrayRef, StringArray, UInt64Array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::Result,
    observe::Report,
    shuffle::digest::Digest,
    sink::Written,
};

/// The rows of a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows; in order, if the query gives an order.
    pub batches: Vec<Batch>,
    /// What was read for it.
    pub report: Report,
    /// From the text to the rows.
    pub seconds: f64,
}

impl Answer {
    /// A text, a row a line.
    pub(super) fn of_lines(column: &str, text: &str, started: Instant) -> Result<Answer> {
        let schema = Arc::new(Schema::new(vec![Field::new(column, DataType::Utf8, false)]));
        let lines = StringArray::from_iter_values(text.lines().collect::<Vec<_>>());
        let batch = Batch::try_new(Arc::clone(&schema), vec![Arc::new(lines)])?;
        Ok(Answer { schema, batches: vec![batch], report: Report::default(), seconds: started.elapsed().as_secs_f64() })
    }

    /// What was written: rows, bytes, files, and where.
    pub(super) fn of_written(written: &Written, started: Instant) -> Result<Answer> {
        let Written { path, files, rows, bytes, .. } = written;
        let numbers = [("rows", *rows), ("bytes", *bytes), ("files", *files as u64)];
        let mut fields: Vec<Field> =
            numbers.iter().map(|(name, _)| Field::new(*name, DataType::UInt64, false)).collect();
        fields.push(Field::new("path", DataType::Utf8, false));
        let mut columns: Vec<ArrayRef> = Vec::new();
        columns.extend(numbers.iter().map(|(_, number)| Arc::new(UInt64Array::from(vec![*number])) as ArrayRef));
        columns.push(Arc::new(StringArray::from_iter_values([path.to_string_lossy()])));
        let schema = Arc::new(Schema::new(fields));
        let batch = Batch::try_new(Arc::clone(&schema), columns)?;
        Ok(Answer { schema, batches: vec![batch], report: Report::default(), seconds: started.elapsed().as_secs_f64() })
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(Batch::num_rows).sum()
    }

    /// The rows as records.
    pub(super) fn records<T: Record>(&self) -> Result<Vec<T>> {
        let mut rows = Vec::with_capacity(self.rows());
        for batch in &self.batches {
            let reader = T::reader(&mut Columns::of(batch))?;
            rows.extend((0..batch.num_rows()).map(|row| T::from_view(T::view(&reader, row))));
        }
        Ok(rows)
    }

    /// Sum and xor of the hashes of all rows: the same for the same rows in any order.
    pub fn digest(&self) -> Result<Digest> {
        let mut digest = Digest::default();
        for batch in &self.batches {
            digest.merge(&Digest::of(batch)?);
        }
        Ok(digest)
    }
}
