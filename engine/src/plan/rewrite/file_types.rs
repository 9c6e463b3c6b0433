//! Columns travel in the types that their files have, for as long as they only travel.
//!
//! In: a plan over the types that SQL knows. Out: the same plan, whose scans give columns as they are decoded with the least work
//! ([`Table::decoded_schema`](crate::scan::Table::decoded_schema)): decimals of at most 18 digits as 64 bits instead of 128, strings as codes
//! where [`codes`](super::codes) has asked for them. Filters, joins, groupings and sorts pass them on, sum and compare them as they are; an
//! expression that computes with one sees it cast to the type that SQL knows. Never: changes the columns of the plan's root.

use std::sync::Arc;

use crate::{
    batch::datatypes::{DataType, Field, Schema, SchemaRef},
    expression::{AggregateCall, AggregateFunction, Expression},
    plan::logical::{Join, JoinKind, Logical, Node},
};

pub(super) fn rewrite(plan: Logical) -> Logical {
    let (plan, columns) = narrowed(plan);
    if columns.are_known() || matches!(plan.node, Node::Write { .. }) {
        return plan;
    }
    let expressions =
        (0..columns.known.fields().len()).map(|column| over(Expression::Column(column), &columns)).collect();
    Logical { node: Node::Project { input: Box::new(plan), expressions }, schema: columns.known }
}

/// Columns as SQL knows them, and as they are.
struct Columns {
    known: SchemaRef,
    given: SchemaRef,
}

impl Columns {
    fn are_known(&self) -> bool {
        let mut fields = self.known.fields().iter().zip(self.given.fields());
        fields.all(|(known, given)| known.data_type() == given.data_type())
    }

    /// The type that SQL knows a column by, if that is another one.
    fn known_type(&self, column: usize) -> Option<&DataType> {
        let known = self.known.field(column).data_type();
        (known != self.given(column)).then_some(known)
    }

    fn given(&self, column: usize) -> &DataType {
        self.given.field(column).data_type()
    }

    /// The type of an expression that is passed on; `known`: as SQL knows it.
    fn type_of<'a>(&'a self, expression: &Expression, known: &'a Field) -> &'a DataType {
        expression.is_column().map_or(known.data_type(), |column| self.given(column))
    }
}

fn narrowed(plan: Logical) -> (Logical, Columns) {
    let known = Arc::clone(&plan.schema);
    let plan = narrow(plan);
    let given = Arc::clone(&plan.schema);
    (plan, Columns { known, given })
}

/// The plan with columns as files have them.
fn narrow(plan: Logical) -> Logical {
    let Logical { node, schema } = plan;
    match node {
        Node::Scan(mut scan) => {
            let decoded = scan.table.decoded_schema();
            let types = scan.columns.iter().map(|column| decoded.field(*column).data_type());
            let columns = Columns { given: retyped(&schema, types), known: schema };
            scan.filters = scan.filters.into_iter().map(|filter| over(filter, &columns)).collect();
            Logical { node: Node::Scan(scan), schema: columns.given }
        }
        Node::Filter { input, predicate } => {
            let (input, columns) = narrowed(*input);
            let predicate = over(predicate, &columns);
            Logical { node: Node::Filter { input: Box::new(input), predicate }, schema: columns.given }
        }
        Node::Project { input, expressions } => {
            let (input, columns) = narrowed(*input);
            let expressions: Vec<Expression> = expressions.into_iter().map(|e| passed_on(e, &columns)).collect();
            let types = expressions.iter().zip(schema.fields()).map(|(e, known)| columns.type_of(e, known));
            let schema = retyped(&schema, types);
            Logical { node: Node::Project { input: Box::new(input), expressions }, schema }
        }
        Node::Aggregate { input, keys, calls } => {
            let (input, columns) = narrowed(*input);
            let keys: Vec<Expression> = keys.into_iter().map(|key| passed_on(key, &columns)).collect();
            let calls: Vec<AggregateCall> = calls.into_iter().map(|call| call_over(call, &columns)).collect();
            let key_types = keys.iter().zip(schema.fields()).map(|(key, known)| match columns.type_of(key, known) {
                // Groups by codes are given with the values.
                DataType::Dictionary(..) => known.data_type(),
                data_type => data_type,
            });
            let of_calls = schema.fields()[keys.len()..].iter().map(|field| field.data_type());
            let call_types =
                calls.iter().zip(of_calls).map(|(call, known)| extreme_type(call, &columns).unwrap_or(known));
            let schema = retyped(&schema, key_types.chain(call_types));
            Logical { node: Node::Aggregate { input: Box::new(input), keys, calls }, schema }
        }
        Node::GroupingSets { input, keys, sets, calls } => {
            let (input, columns) = narrowed(*input);
            let keys: Vec<Expression> = keys.into_iter().map(|key| passed_on(key, &columns)).collect();
            let calls: Vec<AggregateCall> = calls.into_iter().map(|call| call_over(call, &columns)).collect();
            let known = |column: usize| schema.field(column).data_type();
            let key_types = keys.iter().zip(schema.fields()).map(|(key, known)| columns.type_of(key, known));
            let call_types = calls
                .iter()
                .enumerate()
                .map(|(place, call)| extreme_type(call, &columns).unwrap_or(known(keys.len() + 1 + place)));
            let schema = retyped(&schema, key_types.chain([known(keys.len())]).chain(call_types));
            Logical { node: Node::GroupingSets { input: Box::new(input), keys, sets, calls }, schema }
        }
        Node::Window { input, mut partition, mut order, mut calls, bound } => {
            let (input, columns) = narrowed(*input);
            let of_calls = &schema.fields()[input.schema.fields().len()..];
            let types = input.schema.fields().iter().chain(of_calls).map(|field| field.data_type());
            let schema = retyped(&schema, types);
            let keys = partition.iter_mut().chain(order.iter_mut().map(|key| &mut key.expression));
            for expression in keys.chain(calls.iter_mut().flat_map(|call| call.expressions_mut())) {
                replace(expression, |expression| over(expression, &columns));
            }
            let input = Box::new(input);
            Logical { node: Node::Window { input, partition, order, calls, bound }, schema }
        }
        Node::Join(join) => narrow_join(join, &schema),
        Node::Sort { input, mut keys, skip, fetch } => {
            let (input, columns) = narrowed(*input);
            for key in &mut keys {
                replace(&mut key.expression, |expression| passed_on(expression, &columns));
            }
            Logical { node: Node::Sort { input: Box::new(input), keys, skip, fetch }, schema: columns.given }
        }
        Node::Limit { input, skip, fetch } => {
            let input = Box::new(narrow(*input));
            let schema = Arc::clone(&input.schema);
            Logical { node: Node::Limit { input, skip, fetch }, schema }
        }
        Node::Shared { input, number } => {
            let input = Box::new(narrow(*input));
            let schema = Arc::clone(&input.schema);
            Logical { node: Node::Shared { input, number }, schema }
        }
        Node::WithParameter { input, number, subquery } => {
            let (input, subquery) = (Box::new(narrow(*input)), Box::new(rewrite(*subquery)));
            let schema = Arc::clone(&input.schema);
            Logical { node: Node::WithParameter { input, number, subquery }, schema }
        }
        // Inputs whose types must agree, or which somebody else looks at.
        Node::Union { inputs } => {
            Logical { node: Node::Union { inputs: inputs.into_iter().map(rewrite).collect() }, schema }
        }
        Node::MapBatches { input, closure } => {
            Logical { node: Node::MapBatches { input: Box::new(rewrite(*input)), closure }, schema }
        }
        Node::MapGroups { input, part, keys, order, closure } => {
            let node = Node::MapGroups { input: Box::new(rewrite(*input)), part, keys, order, closure };
            Logical { node, schema }
        }
        Node::Write { input, target } => {
            Logical { node: Node::Write { input: Box::new(rewrite(*input)), target }, schema }
        }
        Node::Cached(rows) => Logical { node: Node::Cached(rows), schema },
        Node::Values(batches) => Logical { node: Node::Values(batches), schema },
    }
}

fn narrow_join(join: Join, schema: &SchemaRef) -> Logical {
    let (left, of_left) = narrowed(*join.left);
    let (right, of_right) = narrowed(*join.right);
    let (left, right) = (Box::new(left), Box::new(right));
    let beside = |a: &Schema, b: &Schema| {
        Arc::new(Schema::new(a.fields().iter().chain(b.fields()).cloned().collect::<Vec<_>>()))
    };
    let both =
        Columns { known: beside(&of_left.known, &of_right.known), given: beside(&of_left.given, &of_right.given) };
    let pair = |(a, b): (Expression, Expression)| match (a.is_column(), b.is_column()) {
        (Some(x), Some(y)) if of_left.given(x) == of_right.given(y) => (a, b),
        _ => (over(a, &of_left), over(b, &of_right)),
    };
    let on = join.on.into_iter().map(pair).collect();
    let filter = join.filter.map(|filter| over(filter, &both));
    let mark = DataType::Boolean;
    let of = |schema: &SchemaRef| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    let types = match join.kind {
        JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
            [of(&left.schema), of(&right.schema)].concat()
        }
        JoinKind::LeftSemi | JoinKind::LeftAnti => of(&left.schema),
        JoinKind::RightSemi | JoinKind::RightAnti => of(&right.schema),
        JoinKind::LeftMark => [of(&left.schema), vec![mark]].concat(),
        JoinKind::RightMark => [of(&right.schema), vec![mark]].concat(),
    };
    Logical { node: Node::Join(Join { left, right, on, filter, ..join }), schema: retyped(schema, types.iter()) }
}

/// A column as it is, anything else as SQL knows it.
fn passed_on(expression: Expression, columns: &Columns) -> Expression {
    if expression.is_column().is_some() { expression } else { over(expression, columns) }
}

/// The expression, which was written for columns as SQL knows them, over columns as they are.
fn over(mut expression: Expression, columns: &Columns) -> Expression {
    match &mut expression {
        Expression::Column(column) => {
            if let Some(to) = columns.known_type(*column) {
                let to = to.clone();
                return Expression::Cast { input: Box::new(expression), to, is_try: false };
            }
        }
        Expression::IsNull(inner) if inner.is_column().is_some() => {}
        Expression::Binary { op, left, right } if op.is_comparison() => {
            if !compares_as_it_is(left, right, columns) {
                over_children(&mut expression, columns);
            }
        }
        _ => over_children(&mut expression, columns),
    }
    expression
}

fn over_children(expression: &mut Expression, columns: &Columns) {
    expression.children_mut().into_iter().for_each(|child| replace(child, |child| over(child, columns)));
}

/// A comparison of two columns of one type, or of a column and a constant, which becomes a constant of the column's type.
fn compares_as_it_is(left: &mut Expression, right: &mut Expression, columns: &Columns) -> bool {
    match (left, right) {
        (Expression::Column(left), Expression::Column(right)) => {
            let data_type = columns.given(*left);
            data_type == columns.given(*right) && !matches!(data_type, DataType::Dictionary(..))
        }
        (Expression::Column(column), Expression::Literal(literal))
        | (Expression::Literal(literal), Expression::Column(column)) => {
            if columns.known_type(*column).is_none() {
                return true;
            }
            let is_of_scale = match (columns.given(*column), literal.data_type()) {
                (DataType::Decimal64(_, a), DataType::Decimal128(_, b)) => *a == b,
                _ => false,
            };
            let narrow = literal.cast_to(columns.given(*column)).ok().filter(|_| is_of_scale);
            let is_narrow = narrow.is_some();
            *literal = narrow.unwrap_or_else(|| literal.clone());
            is_narrow
        }
        _ => false,
    }
}

/// Sums, averages, counts and extremes are of columns as they are; an extreme has their type.
fn call_over(mut call: AggregateCall, columns: &Columns) -> AggregateCall {
    use AggregateFunction as F;
    let takes_columns = matches!(call.function, F::Count | F::Sum | F::Avg | F::Min | F::Max);
    for argument in &mut call.arguments {
        replace(
            argument,
            |argument| if takes_columns { passed_on(argument, columns) } else { over(argument, columns) },
        );
    }
    if let Some(extreme) = extreme_type(&call, columns) {
        call.returns = extreme.clone();
    }
    call.filter = call.filter.map(|filter| over(filter, columns));
    for key in &mut call.order {
        replace(&mut key.expression, |expression| over(expression, columns));
    }
    call
}

/// The type of the smallest or largest value of a column that SQL knows by another one.
fn extreme_type<'a>(call: &AggregateCall, columns: &'a Columns) -> Option<&'a DataType> {
    match (call.function, &call.arguments[..]) {
        (AggregateFunction::Min | AggregateFunction::Max, [Expression::Column(column)]) => {
            columns.known_type(*column).map(|_| columns.given(*column))
        }
        _ => None,
    }
}

fn replace(expression: &mut Expression, by: impl FnOnce(Expression) -> Expression) {
    let taken = std::mem::replace(expression, Expression::Column(usize::MAX));
    *expression = by(taken);
}

/// The fields with these types.
fn retyped<'a>(schema: &SchemaRef, types: impl Iterator<Item = &'a DataType>) -> SchemaRef {
    let types: Vec<&DataType> = types.collect();
    if schema.fields().iter().zip(&types).all(|(field, data_type)| field.data_type() == *data_type) {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().zip(types);
    let fields = fields.map(|(field, data_type)| Field::clone(field).with_data_type(data_type.clone()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
