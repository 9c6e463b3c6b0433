//! What a join does, as data: which rows it gives, by which keys, with which columns.
//!
//! In: the planner's choice. Out: [`HashJoinSpec`] and [`NestedLoopSpec`], checked once into a [`Shape`] that both joins share.
//! Never: says how.

use std::sync::Arc;

use crate::{
    batch::datatypes::{DataType, Field, Schema, SchemaRef},
    error::{Cause, Kind, Result, bug},
    expression::{Evaluator, Expression, Parameters},
};

/// A column that a join can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinColumn {
    /// The probe side's column of this number.
    Probe(usize),
    /// The build side's column of this number.
    Build(usize),
    /// Has the row a partner? Never NULL. Only of `ProbeMark` and `BuildMark`.
    Mark,
}

/// Which rows a join gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinRows {
    /// Pairs.
    Inner,
    /// Pairs, and probe rows without a partner beside NULLs.
    ProbeOuter,
    /// Pairs, and build rows without a partner beside NULLs.
    BuildOuter,
    /// Pairs, and rows of both sides without a partner beside NULLs.
    Full,
    /// Probe rows that have a partner, once each.
    ProbeSemi,
    /// Probe rows that have none.
    ProbeAnti,
    /// Every probe row with its mark.
    ProbeMark,
    /// Build rows that have a partner, once each.
    BuildSemi,
    /// Build rows that have none.
    BuildAnti,
    /// Every build row with its mark.
    BuildMark,
}

impl JoinRows {
    /// Pairs are given.
    pub fn gives_pairs(self) -> bool {
        matches!(self, JoinRows::Inner | JoinRows::ProbeOuter | JoinRows::BuildOuter | JoinRows::Full)
    }
    /// What becomes of a probe row depends on whether it has a partner.
    pub fn looks_at_probe_rows(self) -> bool {
        use JoinRows as R;
        matches!(self, R::ProbeOuter | R::Full | R::ProbeSemi | R::ProbeAnti | R::ProbeMark)
    }
    /// What becomes of a build row depends on whether it has a partner: [`rest`](super::HashJoin::rest) gives rows.
    pub fn looks_at_build_rows(self) -> bool {
        matches!(self, JoinRows::BuildOuter | JoinRows::Full) || self.only_marks()
    }
    /// The probe side only marks build rows.
    pub fn only_marks(self) -> bool {
        matches!(self, JoinRows::BuildSemi | JoinRows::BuildAnti | JoinRows::BuildMark)
    }
    /// Without partners no probe row changes what is given.
    pub fn needs_partners(self) -> bool {
        matches!(self, JoinRows::Inner | JoinRows::BuildOuter | JoinRows::ProbeSemi) || self.only_marks()
    }
}

/// A further condition for a pair to be partners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JoinFilter {
    /// True for partners, over a batch that has only `columns`.
    pub expression: Expression,
    /// What the expression's column numbers mean; no marks.
    pub columns: Vec<JoinColumn>,
}

/// A join by equality of keys.
#[derive(Clone, Debug)]
pub struct HashJoinSpec {
    /// Which rows are given.
    pub rows: JoinRows,
    /// Keys over the build side's columns.
    pub build_keys: Vec<Expression>,
    /// Keys over the probe side's columns, of the same number and types.
    pub probe_keys: Vec<Expression>,
    /// A further condition.
    pub filter: Option<JoinFilter>,
    /// The columns that are given.
    pub output: Vec<JoinColumn>,
    /// NULL keys are equal to each other; otherwise they are equal to nothing.
    pub nulls_equal: bool,
    /// NOT IN, for an anti join of one key and no filter: a NULL key on the other side leaves nothing; a row with a NULL key is
    /// given only if the other side is empty.
    pub is_null_aware: bool,
    /// The build side's columns.
    pub build: SchemaRef,
    /// The probe side's columns.
    pub probe: SchemaRef,
    /// The columns that are given, of the number and types of `output`.
    pub output_schema: SchemaRef,
}

/// A join over all pairs of rows.
#[derive(Clone, Debug)]
pub struct NestedLoopSpec {
    /// Which rows are given.
    pub rows: JoinRows,
    /// When a pair is one of partners; absent: always.
    pub filter: Option<JoinFilter>,
    /// The columns that are given.
    pub output: Vec<JoinColumn>,
    /// The build side's columns.
    pub build: SchemaRef,
    /// The probe side's columns.
    pub probe: SchemaRef,
    /// The columns that are given, of the number and types of `output`.
    pub output_schema: SchemaRef,
}

/// What the threads of a join need to know of it. Build columns are numbered as they are kept: those that neither the output nor
/// the filter uses are dropped where they arrive.
pub(super) struct Shape {
    pub(super) rows: JoinRows,
    pub(super) filter: Option<JoinFilter>,
    pub(super) filter_schema: SchemaRef,
    pub(super) output: Vec<JoinColumn>,
    pub(super) output_schema: SchemaRef,
    /// Numbers of the kept columns in the build side's schema.
    pub(super) kept: Vec<usize>,
    pub(super) rows_per_morsel: usize,
    pub(super) parameters: Arc<Parameters>,
}

impl Shape {
    pub(super) fn new(spec: &NestedLoopSpec, rows_per_morsel: usize, parameters: &Arc<Parameters>) -> Result<Shape> {
        let filter_columns = spec.filter.iter().flat_map(|filter| &filter.columns);
        for column in spec.output.iter().chain(filter_columns) {
            let exists = match column {
                JoinColumn::Probe(number) => *number < spec.probe.fields().len(),
                JoinColumn::Build(number) => *number < spec.build.fields().len(),
                JoinColumn::Mark => matches!(spec.rows, JoinRows::ProbeMark | JoinRows::BuildMark),
            };
            if !exists {
                return Err(bug("join", format!("{column:?} is no column of a {:?} join", spec.rows)));
            }
        }
        if spec.output.len() != spec.output_schema.fields().len() {
            return Err(bug("join", "output and output schema differ in their number of columns"));
        }
        let used = |number: &usize| {
            let filter_columns = spec.filter.iter().flat_map(|filter| &filter.columns);
            spec.output.iter().chain(filter_columns).any(|column| *column == JoinColumn::Build(*number))
        };
        let kept: Vec<usize> = (0..spec.build.fields().len()).filter(used).collect();
        let renumber = |columns: &[JoinColumn]| -> Vec<JoinColumn> {
            let place = |number| kept.iter().position(|kept| *kept == number).unwrap_or_default();
            let renumbered = |column: &JoinColumn| match *column {
                JoinColumn::Build(number) => JoinColumn::Build(place(number)),
                other => other,
            };
            columns.iter().map(renumbered).collect()
        };
        let filter = spec
            .filter
            .as_ref()
            .map(|filter| JoinFilter { expression: filter.expression.clone(), columns: renumber(&filter.columns) });
        let filter_field = |column: &JoinColumn| match *column {
            JoinColumn::Probe(number) => spec.probe.field(number).clone().with_nullable(true),
            JoinColumn::Build(number) => spec.build.field(number).clone().with_nullable(true),
            JoinColumn::Mark => Field::new("mark", DataType::Boolean, false),
        };
        let filter_fields: Vec<Field> =
            spec.filter.iter().flat_map(|filter| &filter.columns).map(filter_field).collect();
        Ok(Shape {
            rows: spec.rows,
            filter,
            filter_schema: Arc::new(Schema::new(filter_fields)),
            output: renumber(&spec.output),
            output_schema: Arc::clone(&spec.output_schema),
            kept,
            rows_per_morsel: rows_per_morsel.max(1),
            parameters: Arc::clone(parameters),
        })
    }

    /// The filter, prepared for one thread.
    pub(super) fn filter_evaluator(&self) -> Result<Option<Evaluator>> {
        let Some(filter) = &self.filter else { return Ok(None) };
        Evaluator::new(&filter.expression, &self.filter_schema, &self.parameters).map(Some)
    }
}

/// What can be wrong with a join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// More build rows than can be numbered.
    #[error("hold the build side of a join: it has more than {max} rows", max = ROWS_MAX)]
    TooManyRows,
    /// The two sides' keys are of different types.
    #[error("join by key {key}: it is {build} on the build side and {probe} on the probe side")]
    KeyTypes {
        /// The key's number.
        key: usize,
        /// Its type on the build side.
        build: DataType,
        /// Its type on the probe side.
        probe: DataType,
    },
    /// NOT IN in a form that one look at each side cannot decide.
    #[error("run NOT IN as a hash join with {keys} keys{}: it takes one key and no filter", if *has_filter { " and a filter" } else { "" })]
    NullAware {
        /// How many keys it has.
        keys: usize,
        /// Whether it has a filter.
        has_filter: bool,
    },
}

/// Most rows of a build side: row numbers are `u32`, and the last one means "no row".
pub(super) const ROWS_MAX: u32 = u32::MAX - 1;

impl Cause for JoinError {
    fn kind(&self) -> Kind {
        match self {
            JoinError::TooManyRows => Kind::Limit,
            JoinError::KeyTypes { .. } => Kind::Internal,
            JoinError::NullAware { .. } => Kind::Unsupported,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            JoinError::TooManyRows => Some("join smaller parts, or let the smaller input be the build side".to_owned()),
            JoinError::KeyTypes { .. } => None,
            JoinError::NullAware { .. } => Some("write it as NOT EXISTS".to_owned()),
        }
    }
}
