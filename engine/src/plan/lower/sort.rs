//! Sort: a breaker; a top-k when only a few rows of the order are wanted.

use std::sync::Arc;

use super::{Flow, Lowering, Spread};
use crate::{
    error::Result,
    expression::SortKey,
    operator::sort::SortSpec,
    plan::{logical::Logical, physical::StateSpec},
};

/// Up to so many rows a top-k keeps less than a sort would, and compares less.
const TOP_K_ROWS_MAX: usize = 65_536;

pub(super) fn lower(
    lowering: &mut Lowering,
    input: &Logical,
    keys: &[SortKey],
    skip: usize,
    fetch: Option<usize>,
) -> Result<Flow> {
    let flow = lowering.in_any_order(input)?;
    let schema = Arc::clone(&flow.schema);
    let spec = SortSpec { keys: keys.to_vec(), schema: Arc::clone(&schema), skip, fetch };
    let is_short = fetch.is_some_and(|fetch| skip.saturating_add(fetch) <= TOP_K_ROWS_MAX);
    let flow = match (&flow.spread, fetch.filter(|_| is_short)) {
        (Spread::Not, _) | (_, None) => flow,
        // Each task keeps what may be among the first rows of all.
        (_, Some(fetch)) => {
            let first = SortSpec { skip: 0, fetch: Some(skip + fetch), ..spec.clone() };
            lowering.break_at(flow, &StateSpec::TopK(first), Arc::clone(&schema), Spread::Anyhow)?
        }
    };
    let flow = lowering.gathered(flow)?;
    let state = if is_short { StateSpec::TopK(spec) } else { StateSpec::Sort(spec) };
    lowering.break_at(flow, &state, schema, Spread::Not)
}
