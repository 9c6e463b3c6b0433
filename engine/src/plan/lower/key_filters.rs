//! Keys of a join's build side, or the bound of a top-k, as a filter of the scans from which the rows come.
//!
//! In: pipelines that are going to probe a join, and its keys; or to end in a top-k. Out: the same pipelines, and those that feed a grouping before
//! a join, whose scans leave out rows that can have no partner, or cannot be among the first; those of a join wait for the build side. Never:
//! drops a row that somebody else asks for.
//!
//! ```text
//!   scan ─► probe a ─► project ─► probe b      b's keys are the scan's columns, given on by a: the scan knows them
//!   scan ─► grouping;  grouping ─► probe b     b's keys are keys of the grouping: groups without a partner need no rows
//! ```

use super::{Draft, Open};
use crate::{
    expression::{Expression, can_fail},
    operator::{
        aggregate::AggregatePhase,
        join::{JoinColumn, JoinRows},
        sort::SortSpec,
    },
    plan::{
        logical::{Logical, Node},
        physical::{KeyFilter, PipelineId, SourceSpec, StateId, StateSpec, TransformSpec},
        statistics::estimate,
    },
};

/// Share of the probe rows' keys that the build side may have, as expected, for the filter to be worth asking.
const SHARE_MAX: f64 = 0.6;
/// The same where nothing says that the build side has left keys out.
const SHARE_OF_ALL_MAX: f64 = 0.1;

/// Is a filter by the keys of `build` likely to leave rows of `probe` out?
pub(super) fn is_selective(
    build: &Logical,
    build_keys: &[Expression],
    probe: &Logical,
    probe_keys: &[Expression],
) -> bool {
    // Every key of a table has its partner in the table it refers to, unless that has far too few.
    let share_max = if leaves_rows_out(build) { SHARE_MAX } else { SHARE_OF_ALL_MAX };
    let (build, probe) = (estimate(build), estimate(probe));
    let shares = build_keys.iter().zip(probe_keys);
    let shares =
        shares.map(|(build_key, probe_key)| build.column(build_key).distinct / probe.column(probe_key).distinct);
    shares.fold(f64::INFINITY, f64::min) < share_max
}

/// Does anything below leave rows out?
fn leaves_rows_out(node: &Logical) -> bool {
    match &node.node {
        Node::Scan(scan) => !scan.filters.is_empty(),
        Node::Filter { .. } | Node::Limit { .. } | Node::Values(_) => true,
        Node::Sort { fetch, .. } if fetch.is_some() => true,
        _ => node.inputs().into_iter().any(leaves_rows_out),
    }
}

/// Keys on their way back to the scans they come from.
pub(super) struct Tracing<'a> {
    /// The stage in which the join, or the top-k, is.
    pub(super) draft: &'a mut Draft,
    pub(super) state: StateId,
    /// The pipelines that build the join.
    pub(super) built: &'a [PipelineId],
}

impl Tracing<'_> {
    /// `open` is going to probe the join by `keys`, over the columns that it gives.
    pub(super) fn filter_open(&mut self, open: &mut Open, keys: &[Expression]) {
        // A test may give up, when depends on who was first: a row that is an error must not be among those that it leaves out.
        let fails = open.transforms.iter().any(|transform| match transform {
            TransformSpec::Filter { .. } | TransformSpec::Project { .. } => self.transform_can_fail(transform),
            _ => false,
        });
        let columns: Option<Vec<usize>> = keys.iter().map(Expression::is_column).collect();
        let columns = columns.and_then(|columns| self.before(&open.transforms, columns));
        if let Some(columns) = columns.filter(|_| !fails) {
            self.filter_source(&mut open.source, columns);
        }
    }

    /// `open` is going to end in a top-k with these keys: the scan asks for its bound by as many of the first ones as are columns of it.
    pub(super) fn bound_open(&mut self, open: &mut Open, top: &SortSpec) {
        let keys = &top.keys;
        let SourceSpec::Scan(scan, _) = &open.source else { return };
        // Which rows it leaves out depends on who was first: a row that is an error must not be among them.
        let (schema, decoded) = (&top.schema, scan.table.decoded_schema().project(&scan.columns));
        let fails = keys.iter().any(|key| can_fail(&key.expression, schema))
            || !decoded.is_ok_and(|decoded| !scan.filters.iter().any(|filter| can_fail(filter, &decoded)))
            || open.transforms.iter().any(|transform| self.transform_can_fail(transform));
        if fails {
            return;
        }
        let columns: Vec<usize> = keys.iter().map_while(|key| key.expression.is_column()).collect();
        let traced =
            (1..=columns.len()).rev().find_map(|count| self.before(&open.transforms, columns[..count].to_vec()));
        // Not below a grouping, which is complete before the top-k knows anything.
        if let Some(columns) = traced {
            self.filter_source(&mut open.source, columns);
        }
    }

    /// Are there rows that it makes an error of?
    fn transform_can_fail(&self, transform: &TransformSpec) -> bool {
        match transform {
            TransformSpec::Filter { conjuncts, input } => conjuncts.iter().any(|conjunct| can_fail(conjunct, input)),
            TransformSpec::Project { expressions, input, .. } => expressions.iter().any(|e| can_fail(e, input)),
            TransformSpec::Probe(state) => match self.draft.states.get(state.0) {
                Some(StateSpec::HashJoin(spec)) => {
                    spec.filter.is_some() || spec.probe_keys.iter().any(|key| can_fail(key, &spec.probe))
                }
                Some(StateSpec::NestedLoopJoin(spec)) => spec.filter.is_some(),
                _ => true,
            },
            TransformSpec::Finish(_) | TransformSpec::MapBatches(_) => true,
        }
    }

    /// True when the pipeline of this source has to wait for the build side now.
    fn filter_source(&mut self, source: &mut SourceSpec, columns: Vec<usize>) -> bool {
        match source {
            SourceSpec::Scan(scan, key_filters) if scan.table.batches().is_none() => {
                let places = columns.into_iter().map(|column| scan.given[column]).collect();
                key_filters.push(KeyFilter { state: self.state, places });
                true
            }
            SourceSpec::State(state) => {
                self.filter_grouping(*state, &columns);
                false
            }
            _ => false,
        }
    }

    /// The columns as they are before the transforms.
    fn before(&self, transforms: &[TransformSpec], mut columns: Vec<usize>) -> Option<Vec<usize>> {
        for transform in transforms.iter().rev() {
            columns = match transform {
                TransformSpec::Filter { .. } => columns,
                TransformSpec::Project { expressions, .. } => {
                    columns.into_iter().map(|column| expressions[column].is_column()).collect::<Option<_>>()?
                }
                TransformSpec::Probe(state) => {
                    columns.into_iter().map(|column| self.probe_column(*state, column)).collect::<Option<_>>()?
                }
                TransformSpec::Finish(_) | TransformSpec::MapBatches(_) => return None,
            };
        }
        Some(columns)
    }

    /// The probe side's column that a join gives as its `column`; none where build rows are given by whether they had a partner.
    fn probe_column(&self, state: StateId, column: usize) -> Option<usize> {
        let (rows, output, keys) = match self.draft.states.get(state.0)? {
            StateSpec::HashJoin(spec) => (spec.rows, &spec.output, Some((&spec.build_keys, &spec.probe_keys))),
            StateSpec::NestedLoopJoin(spec) => (spec.rows, &spec.output, None),
            _ => return None,
        };
        match output.get(column)? {
            _ if rows.looks_at_build_rows() => None,
            JoinColumn::Probe(column) => Some(*column),
            // A pair's keys are equal.
            JoinColumn::Build(column) if rows == JoinRows::Inner => {
                let (build, probe) = keys?;
                probe[build.iter().position(|key| key.is_column() == Some(*column))?].is_column()
            }
            _ => None,
        }
    }

    /// The keys are the columns of a grouping.
    fn filter_grouping(&mut self, state: StateId, columns: &[usize]) {
        let Some(StateSpec::Aggregate(spec)) = self.draft.states.get(state.0) else { return };
        if !matches!(spec.phase, AggregatePhase::Whole | AggregatePhase::Partial) {
            // What is grouped are parts, not rows with the columns of which the keys are.
            return;
        }
        // Without keys there is a group even where there are no rows.
        let keys: Option<Vec<usize>> =
            columns.iter().map(|column| spec.keys.get(*column).and_then(Expression::is_column)).collect();
        let Some(keys) = keys else { return };
        let number = |pipeline: usize| PipelineId(pipeline);
        for pipeline in (0..self.draft.pipelines.len()).map(number) {
            let fills = self.draft.pipelines[pipeline.0].as_ref().is_some_and(|p| p.sink.0 == state);
            if !fills || self.is_needed_by_build(pipeline) {
                continue;
            }
            let Some(mut filling) = self.draft.pipelines[pipeline.0].take() else { continue };
            if let Some(columns) = self.before(&filling.transforms, keys.clone())
                && self.filter_source(&mut filling.source, columns)
            {
                filling.waits_for.extend(self.built);
                filling.waits_for.sort_unstable();
                filling.waits_for.dedup();
            }
            self.draft.pipelines[pipeline.0] = Some(filling);
        }
    }

    /// Is the build side complete only after this pipeline?
    fn is_needed_by_build(&self, pipeline: PipelineId) -> bool {
        let mut waiting = self.built.to_vec();
        let mut seen = vec![false; self.draft.pipelines.len()];
        while let Some(id) = waiting.pop() {
            if id == pipeline {
                return true;
            }
            if !std::mem::replace(&mut seen[id.0], true)
                && let Some(before) = &self.draft.pipelines[id.0]
            {
                waiting.extend(&before.waits_for);
            }
        }
        false
    }
}
