//! What makes a flow run: collect, count; and explain, which only shows how it would. Writing stands in `write.rs`.

use std::{sync::Arc, time::Instant};

use super::{answer::Answer, flow::Dataset, record::Record};
use crate::{
    batch::{
        Batch,
        array::AsArray,
        datatypes::{DataType, Field, Int64Type, Schema},
    },
    error::Result,
    expression::{AggregateCall, AggregateFunction},
    observe::ProfileReport,
    plan::logical::{Logical, Node},
};

impl<T> Dataset<T> {
    /// How many rows.
    pub fn count(&self) -> Result<u64> {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, false)]));
        let node =
            Node::Aggregate { input: Box::new(self.logical().clone()), keys: Vec::new(), calls: vec![count_rows()] };
        let answer = self.run(Logical { node, schema })?;
        let counts = answer.batches.iter().filter_map(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
        Ok(counts.flat_map(|counts| counts.values().iter()).sum::<i64>() as u64)
    }

    /// How it would run, as text.
    pub fn explain(&self) -> Result<String> {
        self.session().explain(self.logical().clone())
    }

    /// Runs it, and tells what each step did; the rows are dropped. Of a program in process only.
    pub fn profile(&self) -> Result<ProfileReport> {
        self.session().profile(self.logical().clone())
    }

    pub(super) fn run(&self, logical: Logical) -> Result<Answer> {
        self.session().collect(logical, Instant::now())
    }
}

impl<T: Record> Dataset<T> {
    /// The first `rows` rows, as [`Dataset::limit`] has them.
    pub fn take(&self, rows: usize) -> Result<Vec<T>> {
        self.clone().limit(rows).collect()
    }

    /// The rows, in order if the flow ends in a sort.
    pub fn collect(&self) -> Result<Vec<T>> {
        self.run(self.logical().clone())?.records()
    }
}

impl Dataset<Batch> {
    /// The rows, in order if the flow ends in a sort.
    pub fn collect(&self) -> Result<Answer> {
        self.run(self.logical().clone())
    }
}

/// `count(*)`
pub(super) fn count_rows() -> AggregateCall {
    AggregateCall {
        function: AggregateFunction::Count,
        arguments: Vec::new(),
        filter: None,
        is_distinct: false,
        order: Vec::new(),
        returns: DataType::Int64,
    }
}
