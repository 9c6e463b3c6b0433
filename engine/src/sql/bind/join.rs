//! Joins.
//!
//! In: DataFusion's join. Out: ours: pairs of expressions over either side, a condition over both. Never: says which side is built.

use datafusion_common::{JoinType, NullEquality};

use super::binder::{Binder, schema_of};
use crate::{
    error::Result,
    plan::logical::{Join, JoinKind, Logical, Node},
};

impl Binder<'_> {
    pub(super) fn join(&mut self, join: &datafusion_expr::Join) -> Result<Logical> {
        let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
        let mut on = Vec::with_capacity(join.on.len());
        for (left, right) in &join.on {
            on.push((self.expression(left, &[left_schema])?, self.expression(right, &[right_schema])?));
        }
        let filter = join.filter.as_ref().map(|filter| self.expression(filter, &[left_schema, right_schema]));
        let bound = Join {
            left: Box::new(self.plan(&join.left)?),
            right: Box::new(self.plan(&join.right)?),
            kind: kind_of(join.join_type),
            on,
            filter: filter.transpose()?,
            nulls_equal: join.null_equality == NullEquality::NullEqualsNull,
            is_null_aware: join.null_aware,
        };
        Ok(Logical { node: Node::Join(bound), schema: schema_of(&join.schema) })
    }
}

fn kind_of(join_type: JoinType) -> JoinKind {
    match join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::LeftSemi,
        JoinType::RightSemi => JoinKind::RightSemi,
        JoinType::LeftAnti => JoinKind::LeftAnti,
        JoinType::RightAnti => JoinKind::RightAnti,
        JoinType::LeftMark => JoinKind::LeftMark,
        JoinType::RightMark => JoinKind::RightMark,
    }
}
