//! Project: one column per expression.
//!
//! In: morsels. Out: as many rows, other columns, positions kept. Never: copies a column that is only renamed or moved.

use std::sync::Arc;

use super::{JobContext, Next, Outcome, Transform, TransformThread};
use crate::{
    batch::{Batch, Morsel, array::RecordBatchOptions, compute, datatypes::SchemaRef},
    error::Result,
    expression::{Evaluator, Expression, Parameters},
};

/// The shared part: the expressions, prepared.
pub struct Project(Arc<Prepared>);

struct Prepared {
    columns: Vec<Evaluator>,
    output: SchemaRef,
}

impl Project {
    /// `output`: one field per expression, in order.
    pub fn new(
        expressions: &[Expression],
        input: &SchemaRef,
        output: &SchemaRef,
        _context: &JobContext,
        parameters: &Arc<Parameters>,
    ) -> Result<Arc<Project>> {
        let columns = expressions.iter().map(|e| Evaluator::new(e, input, parameters)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Project(Arc::new(Prepared { columns, output: Arc::clone(output) }))))
    }
}

impl Transform for Project {
    fn thread(&self) -> Result<Box<dyn TransformThread>> {
        Ok(Box::new(ProjectThread(Arc::clone(&self.0))))
    }
}

struct ProjectThread(Arc<Prepared>);

impl TransformThread for ProjectThread {
    fn push(&mut self, morsel: Morsel, next: Next<'_>) -> Result<Outcome> {
        let Morsel { batch, position } = morsel;
        let rows = batch.num_rows();
        let mut columns = Vec::with_capacity(self.0.columns.len());
        for (evaluator, field) in self.0.columns.iter().zip(self.0.output.fields()) {
            let column = evaluator.evaluate(&batch)?.into_array(rows)?;
            // The binder's type and the kernel's may differ in what does not change a value: a view or a plain string.
            let column = if column.data_type() == field.data_type() {
                column
            } else {
                compute::cast(&column, field.data_type())?
            };
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = Batch::try_new_with_options(Arc::clone(&self.0.output), columns, &options)?;
        next(Morsel { batch, position })
    }
}
