//! ORDER BY and LIMIT.
//!
//! In: DataFusion's sorts and limits. Out: a limit over a sort as one node, so that it takes the first rows of that order. Never: a
//! limit that is not known before the job runs.

use std::sync::Arc;

use datafusion_expr::{FetchType, Limit, SkipType, Sort};

use super::{
    super::SqlError,
    binder::{Binder, over},
};
use crate::{
    error::Result,
    plan::logical::{Logical, Node},
};

impl Binder<'_> {
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<Logical> {
        let input = self.plan(&sort.input)?;
        let keys = self.sort_keys(&sort.expr, sort.input.schema())?;
        let schema = Arc::clone(&input.schema);
        Ok(over(input, schema, |input| Node::Sort { input, keys, skip: 0, fetch: sort.fetch }))
    }

    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Logical> {
        let failed = |error| SqlError::from_datafusion(error, self.text, None);
        let (skip, fetch) = match (limit.get_skip_type().map_err(failed)?, limit.get_fetch_type().map_err(failed)?) {
            (SkipType::Literal(skip), FetchType::Literal(fetch)) => (skip, fetch),
            _ => {
                return Err(self
                    .text
                    .unsupported("a LIMIT or OFFSET that is not a number", &["LIMIT", "OFFSET"])
                    .into());
            }
        };
        let mut input = self.plan(&limit.input)?;
        if limit_sort(&mut input, skip, fetch) {
            return Ok(input);
        }
        let schema = Arc::clone(&input.schema);
        Ok(over(input, schema, |input| Node::Limit { input, skip, fetch }))
    }
}

/// Lets the sort under `plan`, itself or under projections, give only the rows of the limit; `false` if there is none.
fn limit_sort(plan: &mut Logical, more_skip: usize, more_fetch: Option<usize>) -> bool {
    match &mut plan.node {
        Node::Project { input, .. } => limit_sort(input, more_skip, more_fetch),
        Node::Sort { skip, fetch, .. } => {
            *skip = skip.saturating_add(more_skip);
            let left = fetch.map(|fetch| fetch.saturating_sub(more_skip));
            *fetch = left.into_iter().chain(more_fetch).min();
            true
        }
        _ => false,
    }
}
