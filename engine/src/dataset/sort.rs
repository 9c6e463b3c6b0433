//! The order of rows, the first of them, and their numbers in it.

use super::{
    flow::Dataset,
    record::{Record, schema_of},
};
use crate::{
    batch::datatypes::{DataType, Field, Schema},
    error::Result,
    expression::{BinaryOp, Expression, Frame, Literal, Named, SortKey, WindowCall, WindowFunction, col},
    plan::logical::{Logical, Node},
};

/// A key of [`Dataset::sort_by`].
#[derive(Clone, Debug)]
pub struct SortBy {
    key: Named,
    is_descending: bool,
}

/// The smallest first, NULLs last.
pub fn asc(column: &str) -> SortBy {
    SortBy { key: col(column), is_descending: false }
}

/// The largest first, NULLs before all.
pub fn desc(column: &str) -> SortBy {
    SortBy { key: col(column), is_descending: true }
}

/// The keys over the columns of `schema`.
pub(crate) fn bind_keys(keys: impl IntoIterator<Item = SortBy>, schema: &Schema) -> Result<Vec<SortKey>> {
    let bind = |SortBy { key, is_descending }: SortBy| {
        Ok(SortKey { expression: key.bind(schema)?, is_descending, nulls_first: is_descending })
    };
    keys.into_iter().map(bind).collect()
}

impl<T> Dataset<T> {
    /// A total order: by the keys, rows that agree in them by their content: `.sort_by([desc("count"), asc("word")])`.
    pub fn sort_by(self, keys: impl IntoIterator<Item = SortBy>) -> Result<Dataset<T>> {
        let keys = bind_keys(keys, self.schema())?;
        let schema = std::sync::Arc::clone(self.schema());
        Ok(self
            .then(|input| Logical { node: Node::Sort { input: Box::new(input), keys, skip: 0, fetch: None }, schema }))
    }

    /// The first `rows` rows: of a sorted flow by its order, of files by their place in them, of anything else by content.
    pub fn limit(self, rows: usize) -> Dataset<T> {
        self.then(|mut input| {
            // Sorting all rows to keep a few is what a top-k is for.
            if let Node::Sort { fetch, .. } = &mut input.node {
                *fetch = Some(fetch.map_or(rows, |before| before.min(rows)));
                return input;
            }
            let schema = std::sync::Arc::clone(&input.schema);
            Logical { node: Node::Limit { input: Box::new(input), skip: 0, fetch: Some(rows) }, schema }
        })
    }
}

impl<T: Record> Dataset<T> {
    /// Each row with its number, from 0: in the order of a sorted flow, of anything else by content. One thread numbers them all.
    pub fn zip_with_index(self) -> Dataset<(i64, T)> {
        self.then(|input| {
            let (input, order) = match input.node {
                Node::Sort { input, keys, skip: 0, fetch: None } => (*input, keys),
                node => (Logical { node, schema: input.schema }, Vec::new()),
            };
            let call =
                WindowCall { function: WindowFunction::RowNumber, frame: Frame::whole(), returns: DataType::Int64 };
            let number = input.schema.fields().len();
            let mut fields: Vec<Field> = input.schema.fields().iter().map(|field| Field::clone(field)).collect();
            fields.push(Field::new("number", DataType::Int64, true));
            let numbered =
                Node::Window { input: Box::new(input), partition: Vec::new(), order, calls: vec![call], bound: None };
            let numbered = Logical { node: numbered, schema: std::sync::Arc::new(Schema::new(fields)) };
            let index = Expression::Binary {
                op: BinaryOp::Minus,
                left: Box::new(Expression::Column(number)),
                right: Box::new(Expression::Literal(Literal::from(1_i64))),
            };
            let expressions = std::iter::once(index).chain((0..number).map(Expression::Column)).collect();
            let node = Node::Project { input: Box::new(numbered), expressions };
            Logical { node, schema: schema_of::<(i64, T)>() }
        })
    }
}
