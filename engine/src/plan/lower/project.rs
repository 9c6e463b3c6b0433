//! Project: a transform; over a join, only a choice of the columns that the join gives.

use std::sync::Arc;

use super::{Flow, Lowering, join};
use crate::{
    batch::datatypes::SchemaRef,
    error::Result,
    expression::Expression,
    plan::{
        logical::{Logical, Node},
        physical::TransformSpec,
    },
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
    flow.transform(&TransformSpec::Project {
        expressions: expressions.to_vec(),
        input: Arc::clone(&flow.schema),
        output: Arc::clone(schema),
    });
    flow.schema = Arc::clone(schema);
    Ok(flow)
}
