//! Grouping sets: one pass over the rows; sets with fewer keys are made of what is known of the groups of sets with more.
//!
//! ```text
//!   rollup(a, b)    rows ─► by [a, b], in part ─► shared ─┬─► results ─► the set's rows
//!                                                         └─► by [a], in part, of parts ─► shared ─► …
//!   sets (a), (b)   rows ─┬─► by [a]        neither has the other's keys
//!                         └─► by [b]
//! ```
//! On several nodes each task goes as far as what it knows of the groups of all sets. With the set's number as one more key that travels over one
//! edge, and is merged.

use std::sync::Arc;

use super::{Flow, Fragment, Lowering, Open, Spread, StageNumber};
use crate::{
    batch::datatypes::{Schema, SchemaRef},
    error::{Result, bug},
    expression::{AggregateCall, Expression, Literal},
    operator::aggregate::{AggregatePhase, AggregateSpec},
    plan::{
        logical::{GroupingSet, Logical, Node},
        physical::{PipelineId, Role, SourceSpec, StateId, StateSpec, TransformSpec},
        stage::Distribution,
        statistics::{Estimate, estimate},
    },
};

/// Groups by the same keys.
struct Grouping {
    /// Places among all keys, ascending.
    keys: Vec<usize>,
    /// The sets that ask for it: more than one where a set stands there repeatedly.
    sets: Vec<usize>,
    /// Of the groupings before it the one whose groups it is made of; none: of rows.
    finer: Option<usize>,
}

/// All that is asked for.
struct Sets<'a> {
    keys: &'a [Expression],
    calls: &'a [AggregateCall],
    sets: &'a [GroupingSet],
    groupings: Vec<Grouping>,
    input: SchemaRef,
    /// Keys, number, calls.
    output: &'a SchemaRef,
    /// What all sets together know, of groups by all keys and the number; none if the results are made here.
    parts: Option<SchemaRef>,
}

pub(super) fn lower(lowering: &mut Lowering, logical: &Logical) -> Result<Flow> {
    let Logical { node: Node::GroupingSets { input, keys, sets, calls }, schema } = logical else {
        return Err(bug("plan", "grouping sets that are none"));
    };
    let flow = lowering.node(input)?;
    let groupings = groupings(keys, sets, &estimate(input));
    let mut all = Sets { keys, calls, sets, groupings, input: Arc::clone(&flow.schema), output: schema, parts: None };
    let is_spread = flow.spread != Spread::Not;
    let merging = all.merging()?;
    if is_spread {
        all.parts = Some(merging.partial_schema()?);
    }
    let mut fragments = Vec::with_capacity(flow.fragments.len() + 1);
    for fragment in flow.fragments {
        let stage = fragment.stage;
        fragments.push(Fragment { stage, open: all.of_fragment(lowering, fragment)? });
    }
    let Some(parts) = all.parts.clone() else {
        return Ok(Flow { fragments, schema: Arc::clone(schema), spread: Spread::Not });
    };
    if sets.iter().any(|set| set.keys.is_empty()) {
        // The empty set has a row even where no task has any.
        fragments.push(all.nothing(lowering)?);
    }
    let keys: Vec<Expression> = (0..=keys.len()).map(Expression::Column).collect();
    let flow = lowering.shuffled(Flow { fragments, schema: parts, spread: Spread::Anyhow }, keys)?;
    let spread = flow.spread.clone();
    lowering.break_at(flow, &StateSpec::Aggregate(merging), Arc::clone(schema), spread)
}

/// The groupings, those with more keys first, each made of the one that is expected to have the fewest groups.
fn groupings(keys: &[Expression], sets: &[GroupingSet], input: &Estimate) -> Vec<Grouping> {
    let mut groupings: Vec<Grouping> = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        match groupings.iter_mut().find(|known| known.keys == set.keys) {
            Some(known) => known.sets.push(number),
            None => groupings.push(Grouping { keys: set.keys.clone(), sets: vec![number], finer: None }),
        }
    }
    groupings.sort_by_key(|grouping| std::cmp::Reverse(grouping.keys.len()));
    let groups = |grouping: &Grouping| input.groups(grouping.keys.iter().map(|key| &keys[*key]));
    let expected: Vec<f64> = groupings.iter().map(groups).collect();
    for number in 0..groupings.len() {
        let own = &groupings[number].keys;
        let is_finer = |other: &usize| own.iter().all(|key| groupings[*other].keys.contains(key));
        let fewest = |a: &usize, b: &usize| {
            let by_keys = groupings[*a].keys.len().cmp(&groupings[*b].keys.len());
            expected[*a].total_cmp(&expected[*b]).then(by_keys)
        };
        groupings[number].finer = (0..number).filter(is_finer).min_by(fewest);
    }
    groupings
}

impl Sets<'_> {
    /// The grouping by these keys, over rows of the input.
    fn spec(&self, keys: &[usize], phase: AggregatePhase) -> AggregateSpec {
        let of_calls = &self.output.fields()[self.keys.len() + 1..];
        let fields: Vec<_> = keys.iter().map(|key| &self.output.fields()[*key]).chain(of_calls).cloned().collect();
        AggregateSpec {
            keys: keys.iter().map(|key| self.keys[*key].clone()).collect(),
            calls: self.calls.to_vec(),
            input: Arc::clone(&self.input),
            output: Arc::new(Schema::new(fields)),
            phase,
        }
    }

    /// The one that merges what tasks know of the groups of all sets: by all keys and the number.
    fn merging(&self) -> Result<AggregateSpec> {
        let number = self.sets.first().ok_or_else(|| bug("plan", "no grouping set"))?.number.clone();
        Ok(AggregateSpec {
            keys: self.keys.iter().cloned().chain([Expression::Literal(number)]).collect(),
            calls: self.calls.to_vec(),
            input: Arc::clone(&self.input),
            output: Arc::clone(self.output),
            phase: AggregatePhase::Final,
        })
    }

    /// Groupings that are made of this one.
    fn coarser(&self, number: usize) -> impl Iterator<Item = usize> {
        (0..self.groupings.len()).filter(move |other| self.groupings[*other].finer == Some(number))
    }

    /// More than one reads what it knows, or what it knows leaves the task.
    fn is_shared(&self, number: usize) -> bool {
        self.groupings[number].sets.len() + self.coarser(number).count() > 1
    }

    /// How far the grouping goes by itself.
    fn phase(&self, number: usize) -> AggregatePhase {
        let gives_parts = self.parts.is_some() || self.is_shared(number);
        match (self.groupings[number].finer, gives_parts) {
            (None, true) => AggregatePhase::Partial,
            (None, false) => AggregatePhase::Whole,
            (Some(_), true) => AggregatePhase::Merge,
            (Some(_), false) => AggregatePhase::Final,
        }
    }

    fn state(&self, lowering: &mut Lowering, stage: StageNumber, number: usize) -> Result<StateId> {
        let spec = self.spec(&self.groupings[number].keys, self.phase(number));
        lowering.state(stage, StateSpec::Aggregate(spec))
    }

    /// The rows of all sets, of the rows of a fragment.
    fn of_fragment(&self, lowering: &mut Lowering, fragment: Fragment) -> Result<Vec<Open>> {
        let stage = fragment.stage;
        let finest = (0..self.groupings.len()).filter(|number| self.groupings[*number].finer.is_none());
        let states = finest.map(|number| Ok((number, self.state(lowering, stage, number)?)));
        let states = states.collect::<Result<Vec<(usize, StateId)>>>()?;
        let sink = match &states[..] {
            [(_, only)] => *only,
            _ => lowering.state(stage, StateSpec::Tee(states.iter().map(|(_, state)| *state).collect()))?,
        };
        let filled_by = lowering.close(fragment, sink, Role::Fill)?;
        let mut open = Vec::new();
        let mut waiting: Vec<(usize, StateId, Vec<PipelineId>)> =
            states.into_iter().map(|(number, state)| (number, state, filled_by.clone())).collect();
        while let Some((number, state, filled_by)) = waiting.pop() {
            self.of_grouping(lowering, stage, number, (state, filled_by), (&mut open, &mut waiting))?;
        }
        Ok(open)
    }

    /// What comes of a grouping: the rows of its sets go to `open`, groupings that are made of it to `waiting`.
    #[allow(clippy::type_complexity, reason = "what is open and what is waiting belong together")]
    fn of_grouping(
        &self,
        lowering: &mut Lowering,
        stage: StageNumber,
        number: usize,
        (state, filled_by): (StateId, Vec<PipelineId>),
        (open, waiting): (&mut Vec<Open>, &mut Vec<(usize, StateId, Vec<PipelineId>)>),
    ) -> Result<()> {
        let grouping = &self.groupings[number];
        let spec = self.spec(&grouping.keys, self.phase(number));
        if !self.is_shared(number) {
            let pipeline = lowering.open(stage, SourceSpec::State(state), filled_by)?;
            open.push(self.given(pipeline, grouping.sets[0], &spec)?);
            return Ok(());
        }
        let known = spec.partial_schema()?;
        let pipeline = lowering.open(stage, SourceSpec::State(state), filled_by)?;
        let shared = lowering.state(stage, StateSpec::Share(Arc::clone(&known)))?;
        let made_by = lowering.close(Fragment { stage, open: vec![pipeline] }, shared, Role::Fill)?;
        let read = |lowering: &mut Lowering| lowering.open(stage, SourceSpec::State(shared), made_by.clone());
        for set in &grouping.sets {
            let mut pipeline = read(lowering)?;
            if self.parts.is_none() {
                pipeline.transforms.push(TransformSpec::Finish(spec.clone()));
            }
            open.push(self.given(pipeline, *set, &spec)?);
        }
        for coarser in self.coarser(number) {
            let mut pipeline = read(lowering)?;
            let keys = &self.groupings[coarser].keys;
            let place = |key: &usize| grouping.keys.partition_point(|known| known < key);
            let columns = keys.iter().map(place).chain(grouping.keys.len()..known.fields().len());
            let output = self.spec(keys, AggregatePhase::Merge).partial_schema()?;
            pipeline.transforms.push(TransformSpec::Project {
                expressions: columns.map(Expression::Column).collect(),
                input: Arc::clone(&known),
                output,
            });
            let state = self.state(lowering, stage, coarser)?;
            let filled_by = lowering.close(Fragment { stage, open: vec![pipeline] }, state, Role::Fill)?;
            waiting.push((coarser, state, filled_by));
        }
        Ok(())
    }

    /// The groups as rows of a set: with NULL for the keys that it has not, and its number behind the keys.
    fn given(&self, mut pipeline: Open, set: usize, spec: &AggregateSpec) -> Result<Open> {
        let (input, output) = match &self.parts {
            Some(parts) => (spec.partial_schema()?, parts),
            None => (Arc::clone(&spec.output), self.output),
        };
        let GroupingSet { keys, number } = &self.sets[set];
        let mut expressions = Vec::with_capacity(output.fields().len());
        for key in 0..self.keys.len() {
            expressions.push(match keys.binary_search(&key) {
                Ok(place) => Expression::Column(place),
                Err(_) => Expression::Literal(Literal::null(output.field(key).data_type())?),
            });
        }
        expressions.push(Expression::Literal(number.clone()));
        expressions.extend((keys.len()..input.fields().len()).map(Expression::Column));
        let output = Arc::clone(output);
        pipeline.transforms.push(TransformSpec::Project { expressions, input, output });
        Ok(pipeline)
    }

    /// What is known of no rows by the empty sets.
    fn nothing(&self, lowering: &mut Lowering) -> Result<Fragment> {
        let source = SourceSpec::Values(Arc::clone(&self.input), Vec::new());
        let flow = lowering.flow(Distribution::Single, source, Arc::clone(&self.input))?;
        let empty: Vec<GroupingSet> = self.sets.iter().filter(|set| set.keys.is_empty()).cloned().collect();
        let grouping = Grouping { keys: Vec::new(), sets: (0..empty.len()).collect(), finer: None };
        let only = Sets {
            keys: self.keys,
            calls: self.calls,
            sets: &empty,
            groupings: vec![grouping],
            input: Arc::clone(&self.input),
            output: self.output,
            parts: self.parts.clone(),
        };
        let fragment = flow.fragments.into_iter().next().ok_or_else(|| bug("plan", "a flow without a stage"))?;
        let stage = fragment.stage;
        Ok(Fragment { stage, open: only.of_fragment(lowering, fragment)? })
    }
}
