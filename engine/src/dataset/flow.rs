//! A flow that has not run: what is to be done to which rows.
//!
//! In: a session, and a source or another flow. Out: a logical plan. Never: reads a row; actions do (`action.rs`).

use std::{collections::BTreeSet, fmt, marker::PhantomData, sync::Arc};

use super::{error::DatasetError, parameters, session::Session};
use crate::{
    batch::{
        Batch,
        datatypes::{Field, Schema, SchemaRef},
    },
    error::Result,
    expression::{Expression, Named},
    plan::logical::{Logical, Node},
};

/// Rows of `T`, not read yet. `Dataset<Batch>` are rows of any columns, seen as whole batches.
///
/// Every method that gives a dataset only writes the flow down; `collect`, `count` and `write_parquet` run it, each time afresh.
pub struct Dataset<T = Batch> {
    session: Session,
    logical: Logical,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Dataset<T> {
    fn clone(&self) -> Dataset<T> {
        Dataset::new(self.session.clone(), self.logical.clone())
    }
}

impl<T> fmt::Debug for Dataset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.schema().fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "Dataset<{}>({})", std::any::type_name::<T>(), columns.join(", "))
    }
}

impl<T> Dataset<T> {
    /// The rows of `logical`; its columns must be those of `T`, by place and type.
    pub(crate) fn new(session: Session, logical: Logical) -> Dataset<T> {
        Dataset { session, logical, row: PhantomData }
    }

    /// The flow with one more step.
    pub(crate) fn then<U>(self, step: impl FnOnce(Logical) -> Logical) -> Dataset<U> {
        Dataset::new(self.session, step(self.logical))
    }

    /// Where it runs.
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn logical(&self) -> &Logical {
        &self.logical
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.logical.schema
    }

    /// The same rows as whole batches.
    pub fn untyped(self) -> Dataset<Batch> {
        self.then(|logical| logical)
    }

    /// The same columns under other names, in order.
    pub fn named<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Result<Dataset<T>> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let columns = self.schema().fields();
        if names.len() != columns.len() {
            let columns = columns.iter().map(|field| field.name().clone()).collect();
            return Err(DatasetError::NameCount { columns, given: names.len() }.into());
        }
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(DatasetError::NameTwice { name: name.clone() }.into());
        }
        let fields = columns.iter().zip(names).map(|(field, name)| Field::clone(field).with_name(name));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let expressions = (0..columns.len()).map(Expression::Column).collect();
        Ok(self.then(|input| Logical { node: Node::Project { input: Box::new(input), expressions }, schema }))
    }

    /// The rows for which the expression is true.
    pub fn filter_expr(self, predicate: Named) -> Result<Dataset<T>> {
        let predicate = predicate.bind_predicate(self.schema())?;
        Ok(self.then(|input| keep(input, predicate)))
    }

    /// All rows of this and the other; the columns' names are this one's.
    pub fn union(self, other: Dataset<T>) -> Result<Dataset<T>> {
        let (left, right) = (Arc::clone(self.schema()), Arc::clone(other.schema()));
        let show = |schema: &Schema, place: usize| match schema.fields().get(place) {
            Some(field) => format!("{} {}", field.name(), field.data_type()),
            None => "missing".to_owned(),
        };
        let mut fields = Vec::with_capacity(left.fields().len());
        for place in 0..left.fields().len().max(right.fields().len()) {
            match (left.fields().get(place), right.fields().get(place)) {
                (Some(a), Some(b)) if a.data_type() == b.data_type() => {
                    fields.push(Field::clone(a).with_nullable(a.is_nullable() || b.is_nullable()));
                }
                _ => {
                    let (left, right) = (show(&left, place), show(&right, place));
                    return Err(DatasetError::UnionDiffers { place, left, right }.into());
                }
            }
        }
        let schema = Arc::new(Schema::new(fields));
        let mut right = other.logical;
        parameters::shift(&mut right, parameters::count(&self.logical));
        Ok(self.then(|left| Logical { node: Node::Union { inputs: vec![left, right] }, schema }))
    }
}

/// The rows of `input` for which `predicate` is true. Over a scan it becomes part of the scan, which may then skip what it need not read.
pub(super) fn keep(input: Logical, predicate: Expression) -> Logical {
    let schema = Arc::clone(&input.schema);
    let node = match input.node {
        Node::Scan(mut scan) => {
            scan.filters.extend(predicate.conjuncts());
            Node::Scan(scan)
        }
        node => Node::Filter { input: Box::new(Logical { node, schema: input.schema }), predicate },
    };
    Logical { node, schema }
}
