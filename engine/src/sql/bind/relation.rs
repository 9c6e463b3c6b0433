//! Tables, VALUES, UNION, projection and filter.
//!
//! In: DataFusion's operators. Out: scans whose filters are over the columns they give, rows that stand in the plan, unions of equal
//! types. Never: a filter left out: DataFusion was told that a scan keeps to all of them.

use std::{collections::BTreeSet, sync::Arc};

use datafusion_expr::{Filter, Projection, TableScan, Union, Values, logical_plan::EmptyRelation};

use super::{
    super::provider::Source,
    binder::{Binder, over, schema_of},
};
use crate::{
    batch::{
        Batch,
        array::{Array, RecordBatchOptions, new_empty_array},
        compute::{cast, concat},
        datatypes::{Schema, SchemaRef},
    },
    error::{Result, bug},
    expression::{Evaluator, Expression, Parameters},
    plan::logical::{Logical, Node, Scan},
};

impl Binder<'_> {
    pub(super) fn projection(&mut self, projection: &Projection) -> Result<Logical> {
        let mut input = self.plan(&projection.input)?;
        let mut expressions = self.expressions(&projection.expr, projection.input.schema())?;
        // A selection of columns below, as a scan makes it, is part of this one.
        while let Node::Project { input: inner, expressions: selected } = input.node {
            if selected.iter().any(|selected| selected.is_column().is_none()) {
                input.node = Node::Project { input: inner, expressions: selected };
                break;
            }
            expressions.iter_mut().for_each(|expression| expression.substitute(&selected));
            input = *inner;
        }
        Ok(over(input, schema_of(&projection.schema), |input| Node::Project { input, expressions }))
    }

    pub(super) fn filter(&mut self, filter: &Filter) -> Result<Logical> {
        let input = self.plan(&filter.input)?;
        let predicate = self.expression(&filter.predicate, &[filter.input.schema()])?;
        let schema = Arc::clone(&input.schema);
        Ok(over(input, schema, |input| Node::Filter { input, predicate }))
    }

    /// DataFusion's filters are over all columns of the table, ours over those given; what only a filter reads is given too, and
    /// dropped above. Its `fetch` says nothing: the LIMIT it comes from is still above.
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Logical> {
        let Some(source) = scan.source.downcast_ref::<Source>() else {
            return Err(bug("sql", format!("the table {} is not one of ours", scan.table_name)));
        };
        let table = Arc::clone(&source.0);
        let wanted = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..table.schema().fields().len()).collect(),
        };
        let all = datafusion_common::DFSchema::try_from_qualified_schema(scan.table_name.clone(), table.schema())
            .map_err(|error| super::super::SqlError::from_datafusion(error, self.text, None))?;
        let mut filters = Vec::new();
        for filter in self.expressions(&scan.filters, &all)? {
            filters.extend(filter.conjuncts());
        }
        let mut columns = wanted.clone();
        let mut read = BTreeSet::new();
        filters.iter().for_each(|filter| filter.columns_used(&mut read));
        columns.extend(read.into_iter().filter(|column| !wanted.contains(column)));
        for filter in &mut filters {
            filter.map_columns(&|column| columns.iter().position(|given| *given == column).unwrap_or(column));
        }
        let schema = Arc::new(table.schema().project(&columns)?);
        let given = columns.len();
        let scan = Logical { node: Node::Scan(Scan { table, columns, filters }), schema };
        if given == wanted.len() {
            return Ok(scan);
        }
        Ok(Logical::select(scan, &(0..wanted.len()).collect::<Vec<_>>()))
    }

    pub(super) fn union(&mut self, union: &Union) -> Result<Logical> {
        let schema = schema_of(&union.schema);
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let input = self.plan(input)?;
            // A union under a union of the same shape is one union.
            match input.node {
                Node::Union { inputs: inner } if is_same(&input.schema, &schema) => inputs.extend(inner),
                _ => inputs.push(with_types(input, &schema)),
            }
        }
        Ok(Logical { node: Node::Union { inputs }, schema })
    }

    pub(super) fn empty(&mut self, empty: &EmptyRelation) -> Result<Logical> {
        let schema = schema_of(&empty.schema);
        if !empty.produce_one_row {
            return Ok(Logical::nothing(schema));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let columns = schema.fields().iter().map(|field| crate::batch::array::new_null_array(field.data_type(), 1));
        let row = Batch::try_new_with_options(Arc::clone(&schema), columns.collect(), &options)?;
        Ok(Logical { node: Node::Values(vec![row]), schema })
    }

    pub(super) fn values(&mut self, values: &Values) -> Result<Logical> {
        let schema = schema_of(&values.schema);
        let nothing = Arc::new(Schema::empty());
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let row = Batch::try_new_with_options(Arc::clone(&nothing), Vec::new(), &options)?;
        let parameters = Arc::new(Parameters::default());
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (k, field) in schema.fields().iter().enumerate() {
            let mut cells = Vec::with_capacity(values.values.len());
            for expr in values.values.iter().filter_map(|row| row.get(k)) {
                let expression = self.expression(expr, &[])?;
                if !expression.is_constant() {
                    return Err(self.text.unsupported("a subquery in VALUES", &["VALUES"]).into());
                }
                let cell = Evaluator::new(&expression, &nothing, &parameters)?.evaluate_to_array(&row)?;
                cells.push(cast(&cell, field.data_type())?);
            }
            let cells: Vec<&dyn Array> = cells.iter().map(|cell| cell.as_ref()).collect();
            columns.push(if cells.is_empty() { new_empty_array(field.data_type()) } else { concat(&cells)? });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(values.values.len()));
        let rows = Batch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        Ok(Logical { node: Node::Values(vec![rows]), schema })
    }
}

fn is_same(one: &Schema, other: &Schema) -> bool {
    one.fields().len() == other.fields().len()
        && one.fields().iter().zip(other.fields()).all(|(one, other)| one.data_type() == other.data_type())
}

/// `input` with the column types of `schema`, cast where they differ.
fn with_types(input: Logical, schema: &SchemaRef) -> Logical {
    if is_same(&input.schema, schema) {
        return input;
    }
    let column = |k: usize, to: &crate::batch::datatypes::DataType| match input.schema.field(k).data_type() == to {
        true => Expression::Column(k),
        false => Expression::Cast { input: Box::new(Expression::Column(k)), to: to.clone(), is_try: false },
    };
    let expressions = schema.fields().iter().enumerate().map(|(k, field)| column(k, field.data_type())).collect();
    over(input, Arc::clone(schema), |input| Node::Project { input, expressions })
}
