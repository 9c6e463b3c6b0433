//! The order of rows, and the first of them.

use super::flow::Dataset;
use crate::{
    batch::datatypes::Schema,
    error::Result,
    expression::{Named, SortKey, col},
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
