//! An answer: rows in memory, and what it took to get them.

use std::{sync::Arc, time::Instant};

use crate::{
    batch::{
        Batch,
        array::StringArray,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::Result,
    observe::Report,
    shuffle::digest::Digest,
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

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(Batch::num_rows).sum()
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
