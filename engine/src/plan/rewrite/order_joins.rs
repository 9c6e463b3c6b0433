//! Inner joins in the order of least cost.
//!
//! In: trees of inner joins, filters and column choices. Out: the same rows by a tree of least estimated cost. Never: moves a join of
//! another kind; those are leaves here, and their inputs are trees of their own.
//!
//! Equalities between columns are gathered into classes, so that `a = b and b = c` also joins a to c. Up to
//! [`limits::JOIN_ORDER_EXHAUSTIVE_MAX`] relations the search goes over all connected pairs of subsets (Moerkotte & Neumann 2006 call the plain
//! form DPsub); above, the pair with the fewest rows is joined first, again and again (greedy operator ordering). The cost of a
//! join is what is built twice, what probes and what comes out once.

use std::sync::Arc;

use super::imply_filters::implied;
use crate::{
    batch::datatypes::{Field, Schema},
    error::Result,
    expression::{BinaryOp, Expression},
    limits,
    plan::{
        logical::{Join, JoinKind, Logical, Node},
        statistics::{Estimate, compound_distinct, estimate},
    },
};

pub(super) fn rewrite(mut plan: Logical) -> Result<Logical> {
    // A set of relations has a bit for each; a larger tree keeps its order at the top.
    if !is_inner_join(&plan) || relation_count(&plan) > Set::BITS as usize {
        for input in plan.inputs_mut() {
            let taken = std::mem::replace(input, Logical::nothing(Arc::clone(&input.schema)));
            *input = rewrite(taken)?;
        }
        return Ok(plan);
    }
    let schema = Arc::clone(&plan.schema);
    let mut tree = Tree::default();
    let columns = tree.take_apart(plan)?;
    let graph = Graph::of(tree);
    Ok(graph.put_together(&columns, &schema))
}

fn relation_count(plan: &Logical) -> usize {
    if is_inner_join(plan) { plan.inputs().into_iter().map(relation_count).sum() } else { 1 }
}

fn is_inner_join(plan: &Logical) -> bool {
    match &plan.node {
        Node::Join(join) => join.kind == JoinKind::Inner && !join.nulls_equal,
        Node::Filter { input, .. } => is_inner_join(input),
        Node::Project { input, expressions } => {
            expressions.iter().all(|expression| expression.is_column().is_some()) && is_inner_join(input)
        }
        _ => false,
    }
}

/// A tree of inner joins, taken apart. Columns are numbered over all relations, in order.
#[derive(Default)]
struct Tree {
    relations: Vec<Logical>,
    conditions: Vec<Expression>,
    column_count: usize,
}

impl Tree {
    /// Takes a node apart; where each of its columns comes from.
    fn take_apart(&mut self, plan: Logical) -> Result<Vec<usize>> {
        if !is_inner_join(&plan) {
            let relation = rewrite(plan)?;
            let start = self.column_count;
            self.column_count += relation.schema.fields().len();
            self.relations.push(relation);
            return Ok((start..self.column_count).collect());
        }
        match plan.node {
            Node::Filter { input, mut predicate } => {
                let columns = self.take_apart(*input)?;
                predicate.map_columns(&|column| columns[column]);
                self.conditions.extend(predicate.conjuncts());
                Ok(columns)
            }
            Node::Project { input, expressions } => {
                let columns = self.take_apart(*input)?;
                Ok(expressions.iter().filter_map(Expression::is_column).map(|column| columns[column]).collect())
            }
            Node::Join(join) => {
                let left = self.take_apart(*join.left)?;
                let right = self.take_apart(*join.right)?;
                for (mut a, mut b) in join.on {
                    a.map_columns(&|column| left[column]);
                    b.map_columns(&|column| right[column]);
                    self.conditions.push(Expression::Binary {
                        op: BinaryOp::Eq,
                        left: Box::new(a),
                        right: Box::new(b),
                    });
                }
                let both = [left, right].concat();
                if let Some(mut filter) = join.filter {
                    filter.map_columns(&|column| both[column]);
                    self.conditions.extend(filter.conjuncts());
                }
                Ok(both)
            }
            node => Err(crate::error::bug("plan", format!("{node:?} is no inner join"))),
        }
    }
}

/// A set of relations, one bit each.
type Set = u64;

struct Graph {
    relations: Vec<Relation>,
    /// Columns that are equal to each other, at least two of different relations.
    classes: Vec<Vec<usize>>,
    /// Equalities of expressions over one relation each, at least one of them no plain column.
    edges: Vec<(Expression, Set, Expression, Set)>,
    /// Every other condition, with the relations it needs.
    residuals: Vec<(Expression, Set)>,
}

struct Relation {
    plan: Logical,
    start: usize,
    estimate: Estimate,
}

impl Graph {
    fn of(tree: Tree) -> Graph {
        let mut start = 0;
        let mut relations: Vec<Relation> = Vec::with_capacity(tree.relations.len());
        for plan in tree.relations {
            let estimate = Estimate { rows: 0.0, columns: Vec::new() };
            let count = plan.schema.fields().len();
            relations.push(Relation { plan, start, estimate });
            start += count;
        }
        let mut graph = Graph { relations, classes: Vec::new(), edges: Vec::new(), residuals: Vec::new() };
        let mut own: Vec<Vec<Expression>> = graph.relations.iter().map(|_| Vec::new()).collect();
        for condition in tree.conditions {
            let set = graph.relations_of(&condition);
            if set.count_ones() == 1 {
                own[set.trailing_zeros() as usize].push(condition);
                continue;
            }
            if let Expression::Binary { op: BinaryOp::Eq, left, right } = &condition {
                let (a, b) = (graph.relations_of(left), graph.relations_of(right));
                if let (Some(x), Some(y)) = (left.is_column(), right.is_column()) {
                    graph.make_equal(x, y);
                    continue;
                }
                if a.count_ones() == 1 && b.count_ones() == 1 && a != b {
                    graph.edges.push((Expression::clone(left), a, Expression::clone(right), b));
                    continue;
                }
            }
            for (number, conditions) in own.iter_mut().enumerate() {
                let is_own = |column| graph.relation_of(column) == number;
                conditions.extend(implied(&condition, &is_own));
            }
            graph.residuals.push((condition, set));
        }
        // Of a class a join tests one column a side; columns of one relation must be tested there.
        for class in &graph.classes {
            for pair in class.windows(2) {
                let relation = graph.relation_of(pair[0]);
                if relation == graph.relation_of(pair[1]) {
                    let (left, right) = (Box::new(Expression::Column(pair[0])), Box::new(Expression::Column(pair[1])));
                    own[relation].push(Expression::Binary { op: BinaryOp::Eq, left, right });
                }
            }
        }
        for (relation, conditions) in graph.relations.iter_mut().zip(own) {
            let start = relation.start;
            for mut condition in conditions {
                condition.map_columns(&|column| column - start);
                filter(&mut relation.plan, condition);
            }
            relation.estimate = estimate(&relation.plan);
        }
        graph
    }

    fn relation_of(&self, column: usize) -> usize {
        self.relations.partition_point(|relation| relation.start <= column) - 1
    }

    fn relations_of(&self, expression: &Expression) -> Set {
        let mut columns = std::collections::BTreeSet::new();
        expression.columns_used(&mut columns);
        columns.into_iter().fold(0, |set, column| set | 1 << self.relation_of(column))
    }

    fn make_equal(&mut self, x: usize, y: usize) {
        let mut merged = vec![x, y];
        self.classes.retain(|class| {
            let touches = class.contains(&x) || class.contains(&y);
            if touches {
                merged.extend(class);
            }
            !touches
        });
        merged.sort_unstable();
        merged.dedup();
        self.classes.push(merged);
    }

    /// Distinct values of a column, numbered over all relations.
    fn distinct(&self, column: usize) -> f64 {
        let relation = &self.relations[self.relation_of(column)];
        relation.estimate.columns.get(column - relation.start).map_or(1.0, |column| column.distinct)
    }

    /// Rows of the join of a set: the same however it is put together.
    fn rows(&self, set: Set) -> f64 {
        let mut rows = 1.0;
        for (number, relation) in self.relations.iter().enumerate() {
            if set >> number & 1 == 1 {
                rows *= relation.estimate.rows;
            }
        }
        for class in &self.classes {
            // Of k equal columns all but the one with the fewest values divide.
            let inside = class.iter().filter(|column| set >> self.relation_of(**column) & 1 == 1);
            let mut distinct: Vec<f64> = inside.map(|column| self.distinct(*column)).collect();
            distinct.sort_by(f64::total_cmp);
            distinct.iter().skip(1).for_each(|distinct| rows /= distinct.max(1.0));
        }
        rows *= self.compound_keys(set);
        for (a, left, b, right) in &self.edges {
            if set & left != 0 && set & right != 0 {
                let distinct = |expression: &Expression, set: &Set| {
                    let relation = &self.relations[set.trailing_zeros() as usize];
                    let mut local = expression.clone();
                    local.map_columns(&|column| column - relation.start);
                    relation.estimate.column(&local).distinct
                };
                rows /= distinct(a, left).max(distinct(b, right)).max(1.0);
            }
        }
        for (_, needs) in &self.residuals {
            if needs & set == *needs {
                rows *= 0.3;
            }
        }
        rows.max(1.0)
    }

    /// By how much the columns of compound keys, taken as independent, have divided too much; see [`compound_distinct`].
    fn compound_keys(&self, set: Set) -> f64 {
        let mut factor = 1.0;
        let inside: Vec<usize> = (0..self.relations.len()).filter(|number| set >> number & 1 == 1).collect();
        for (place, a) in inside.iter().enumerate() {
            for b in &inside[place + 1..] {
                let of = |class: &Vec<usize>, relation: usize| {
                    class.iter().copied().find(|column| self.relation_of(*column) == relation)
                };
                let both = self.classes.iter().filter_map(|class| Some((of(class, *a)?, of(class, *b)?)));
                let distinct: Vec<f64> = both.map(|(x, y)| self.distinct(x).max(self.distinct(y)).max(1.0)).collect();
                let rows = self.relations[*a].estimate.rows.min(self.relations[*b].estimate.rows);
                factor *= distinct.iter().product::<f64>() / compound_distinct(&distinct, rows);
            }
        }
        factor
    }

    fn is_connected(&self, a: Set, b: Set) -> bool {
        let touches =
            |class: &Vec<usize>, set: Set| class.iter().any(|column| set >> self.relation_of(*column) & 1 == 1);
        self.classes.iter().any(|class| touches(class, a) && touches(class, b))
            || self.edges.iter().any(|(_, x, _, y)| (x & a != 0 && y & b != 0) || (x & b != 0 && y & a != 0))
    }

    /// The tree of least cost over all relations.
    fn order(&self) -> Order {
        let count = self.relations.len();
        let parts = if count <= limits::JOIN_ORDER_EXHAUSTIVE_MAX { self.exhaustive() } else { self.leaves() };
        self.greedy(parts)
    }

    fn leaves(&self) -> Vec<Order> {
        (0..self.relations.len())
            .map(|number| Order {
                set: 1 << number,
                rows: self.relations[number].estimate.rows.max(1.0),
                cost: 0.0,
                children: None,
            })
            .collect()
    }

    /// The best tree of each connected component.
    fn exhaustive(&self) -> Vec<Order> {
        let count = self.relations.len();
        let mut best: Vec<Option<Order>> = vec![None; 1 << count];
        for leaf in self.leaves() {
            let set = leaf.set as usize;
            best[set] = Some(leaf);
        }
        for set in 1..(1 as Set) << count {
            if set.count_ones() < 2 {
                continue;
            }
            let rows = self.rows(set);
            let lowest = set & set.wrapping_neg();
            let mut chosen: Option<Order> = None;
            let mut left = (set - 1) & set;
            while left > 0 {
                // Each split once: the side with the lowest relation is `left`.
                let right = set ^ left;
                if left & lowest != 0
                    && let (Some(a), Some(b)) = (&best[left as usize], &best[right as usize])
                    && self.is_connected(left, right)
                {
                    let cost = join_cost(a, b, rows);
                    if chosen.as_ref().is_none_or(|chosen| cost < chosen.cost) {
                        chosen = Some(Order::join(a.clone(), b.clone(), rows, cost));
                    }
                }
                left = (left - 1) & set;
            }
            best[set as usize] = chosen;
        }
        // The largest sets that are connected: no other connected set contains them.
        let mut parts: Vec<Order> = Vec::new();
        let mut sets: Vec<usize> = (1..best.len()).filter(|set| best[*set].is_some()).collect();
        sets.sort_by_key(|set| std::cmp::Reverse(set.count_ones()));
        for set in sets {
            if parts.iter().all(|part| part.set & set as Set == 0) {
                parts.extend(best[set].take());
            }
        }
        parts
    }

    /// Joins the pair with the fewest rows, connected ones first, until one tree is left.
    fn greedy(&self, mut parts: Vec<Order>) -> Order {
        while parts.len() > 1 {
            let mut chosen = (0, 1, false, f64::INFINITY);
            for a in 0..parts.len() {
                for b in a + 1..parts.len() {
                    let connected = self.is_connected(parts[a].set, parts[b].set);
                    let rows = self.rows(parts[a].set | parts[b].set);
                    if (connected && !chosen.2) || (connected == chosen.2 && rows < chosen.3) {
                        chosen = (a, b, connected, rows);
                    }
                }
            }
            let (a, b, _, rows) = chosen;
            let right = parts.swap_remove(b);
            let left = std::mem::replace(&mut parts[a], right.clone());
            let cost = join_cost(&left, &right, rows);
            parts[a] = Order::join(left, right, rows, cost);
        }
        parts.remove(0)
    }

    fn put_together(mut self, columns: &[usize], schema: &Arc<Schema>) -> Logical {
        let order = self.order();
        let (mut plan, given) = self.plan(&order);
        // A condition without columns belongs to no relation.
        for (mut condition, _) in std::mem::take(&mut self.residuals) {
            condition.map_columns(&|column| place(&given, column));
            filter(&mut plan, condition);
        }
        let chosen: Vec<usize> = columns.iter().map(|column| place(&given, *column)).collect();
        let mut plan = Logical::select(plan, &chosen);
        plan.schema = Arc::clone(schema);
        plan
    }

    /// The plan of a tree, and where each of its columns comes from.
    fn plan(&mut self, order: &Order) -> (Logical, Vec<usize>) {
        let Some(children) = &order.children else {
            let relation = &mut self.relations[order.set.trailing_zeros() as usize];
            let count = relation.plan.schema.fields().len();
            let nothing = Logical::nothing(Arc::clone(&relation.plan.schema));
            let plan = std::mem::replace(&mut relation.plan, nothing);
            return (plan, (relation.start..relation.start + count).collect());
        };
        let (a, b) = &**children;
        let (left, left_columns) = self.plan(a);
        let (right, right_columns) = self.plan(b);
        let mut on = Vec::new();
        for class in &self.classes {
            let on_side = |set: Set| class.iter().copied().find(|column| set >> self.relation_of(*column) & 1 == 1);
            if let (Some(x), Some(y)) = (on_side(a.set), on_side(b.set)) {
                on.push((Expression::Column(place(&left_columns, x)), Expression::Column(place(&right_columns, y))));
            }
        }
        for (x, x_set, y, y_set) in &self.edges {
            let (mut x, mut y) =
                match (x_set & a.set != 0 && y_set & b.set != 0, x_set & b.set != 0 && y_set & a.set != 0) {
                    (true, _) => (x.clone(), y.clone()),
                    (_, true) => (y.clone(), x.clone()),
                    _ => continue,
                };
            x.map_columns(&|column| place(&left_columns, column));
            y.map_columns(&|column| place(&right_columns, column));
            on.push((x, y));
        }
        let columns = [left_columns, right_columns].concat();
        let (ready, waiting) = std::mem::take(&mut self.residuals)
            .into_iter()
            .partition(|(_, needs)| *needs != 0 && needs & order.set == *needs);
        self.residuals = waiting;
        let residuals: Vec<(Expression, Set)> = ready;
        let conditions = residuals.into_iter().map(|(mut condition, _)| {
            condition.map_columns(&|column| place(&columns, column));
            condition
        });
        let filter = Expression::conjunction(conditions.collect());
        let fields: Vec<Field> =
            left.schema.fields().iter().chain(right.schema.fields()).map(|f| Field::clone(f)).collect();
        let node = Node::Join(Join {
            left: Box::new(left),
            right: Box::new(right),
            kind: JoinKind::Inner,
            on,
            filter,
            nulls_equal: false,
            is_null_aware: false,
        });
        (Logical { node, schema: Arc::new(Schema::new(fields)) }, columns)
    }
}

/// A tree of joins.
#[derive(Clone)]
struct Order {
    set: Set,
    rows: f64,
    cost: f64,
    children: Option<Arc<(Order, Order)>>,
}

impl Order {
    fn join(left: Order, right: Order, rows: f64, cost: f64) -> Order {
        Order { set: left.set | right.set, rows, cost, children: Some(Arc::new((left, right))) }
    }
}

fn join_cost(a: &Order, b: &Order, rows: f64) -> f64 {
    a.cost + b.cost + 2.0 * a.rows.min(b.rows) + a.rows.max(b.rows) + rows
}

/// Where `column` stands among `columns`.
fn place(columns: &[usize], column: usize) -> usize {
    columns.iter().position(|c| *c == column).unwrap_or_default()
}

/// Filters a relation: within its scan, if it is one.
fn filter(plan: &mut Logical, condition: Expression) {
    if let Node::Scan(scan) = &mut plan.node {
        scan.filters.push(condition);
        return;
    }
    let schema = Arc::clone(&plan.schema);
    let input = std::mem::replace(plan, Logical::nothing(Arc::clone(&schema)));
    *plan = Logical { node: Node::Filter { input: Box::new(input), predicate: condition }, schema };
}
