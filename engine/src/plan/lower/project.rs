//! Project: a transform; over a join, only a choice of the columns that the join gives.

use super::{Flow, Lowering, join};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    expression::Expression,
    plan::logical::{Logical, Node},
};

pub(super) fn lower(
    lowering: &mut Lowering,
    input: &Logical,
    expressions: &[Expression],
    schema: &SchemaRef,
) -> Result<Flow> {
    let columns = expressions.iter().map(Expression::is_column).collect::<Option<Vec<_>>>();
    if let (Node::Join(inner), Some(columns)) = (&input.node, &columns) {
        return join::lower(lowering, inner, schema, Some(columns));
    }
    let mut flow = lowering.node(input)?;
    flow.project(expressions.to_vec(), schema);
    Ok(flow)
}
