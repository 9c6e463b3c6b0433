//! The plan drawn: its pipelines, and what each waits for.
//!
//! In: a physical plan. Out: text, a line a pipeline and a line a step. Never: says what was measured; nothing has run.

use std::fmt::Write;

use super::{
    physical::{Edge, EdgeKind, KeyFilter, PhysicalPlan, Pipeline, Role, SourceSpec, StateSpec, TransformSpec},
    stage::{Distribution, Stage},
};
use crate::{
    batch::datatypes::{DataType, Schema},
    expression::{Expression, SortKey},
    observe::PipelineReport,
    operator::{aggregate::AggregatePhase, groups::PartColumn, join::JoinColumn},
    scan::ScanSpec,
};

/// The plan as text.
pub fn explain(plan: &PhysicalPlan) -> String {
    let mut text = String::new();
    for (number, stage) in plan.stages.iter().enumerate() {
        let _ = writeln!(text, "{}", stage_name(number, stage));
        for (number, pipeline) in stage.pipelines.iter().enumerate() {
            let _ = write!(text, "  pipeline {number}");
            if !pipeline.waits_for.is_empty() {
                let waits: Vec<String> = pipeline.waits_for.iter().map(|id| id.0.to_string()).collect();
                let _ = write!(text, ", after {}", waits.join(", "));
            }
            text.push('\n');
            for step in steps(pipeline, &stage.states, &plan.edges) {
                let _ = writeln!(text, "    {step}");
            }
        }
    }
    text
}

fn stage_name(number: usize, stage: &Stage) -> String {
    let by = match stage.distribution {
        Distribution::Single => "one task",
        Distribution::Splits => "a task for some splits",
        Distribution::Groups(_) => "a task for some groups",
    };
    format!("stage {number}: {} pipelines, {by}", stage.pipelines.len())
}

/// What `explain` calls a stage, and the steps of its pipelines.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StageNames {
    /// The stage.
    pub stage: String,
    /// By pipeline and step.
    pub steps: Vec<Vec<String>>,
}

/// The names of the stages, in the order of the plan.
pub fn names(plan: &PhysicalPlan) -> Vec<StageNames> {
    let names = plan.stages.iter().enumerate().map(|(number, stage)| StageNames {
        stage: stage_name(number, stage),
        steps: stage.pipelines.iter().map(|pipeline| steps(pipeline, &stage.states, &plan.edges)).collect(),
    });
    names.collect()
}

/// Gives the pipelines of a stage and their steps the names that `explain` draws. Pipelines of another plan get numbers: a driver that was
/// started again may have planned otherwise than the one whose plan has run.
pub fn name(names: &StageNames, pipelines: &mut [PipelineReport]) {
    let mut both = names.steps.iter().zip(pipelines.iter());
    let is_other = names.steps.is_empty() || names.steps.len() > pipelines.len();
    if is_other || both.any(|(names, pipeline)| names.len() != pipeline.steps.len()) {
        for (number, report) in pipelines.iter_mut().enumerate() {
            report.name = format!("pipeline {number}");
            let steps = report.steps.iter_mut().enumerate();
            steps.for_each(|(number, step)| step.name = format!("step {number}"));
        }
        return;
    }
    for ((number, names), report) in names.steps.iter().enumerate().zip(pipelines.iter_mut()) {
        report.name = format!("pipeline {number}");
        report.steps.iter_mut().zip(names).for_each(|(step, name)| step.name.clone_from(name));
    }
    // Where every join had memory nothing came of these.
    let added = pipelines.iter_mut().enumerate().skip(names.steps.len());
    for (number, report) in added.filter(|(_, report)| report.steps.iter().any(|step| step.rows > 0)) {
        report.name = format!("pipeline {number}, added for a join that went to disk");
        let steps = report.steps.iter_mut().enumerate();
        steps.for_each(|(number, step)| {
            step.name = if number == 0 { "rounds".to_owned() } else { format!("step {number}") }
        });
    }
}

fn steps(pipeline: &Pipeline, states: &[StateSpec], edges: &[Edge]) -> Vec<String> {
    let mut steps = vec![match &pipeline.source {
        SourceSpec::Scan(scan, key_filters) => scan_step(scan, key_filters, states),
        SourceSpec::Values(_, batches) => {
            format!("values, {} rows", batches.iter().map(|b| b.num_rows()).sum::<usize>())
        }
        SourceSpec::Cached(rows) => format!("cached, {} rows", rows.rows()),
        SourceSpec::State(state) => format!("from {}", state_name(&states[state.0], state.0)),
        SourceSpec::Exchange(_, edges) => {
            let edges: Vec<String> = edges.iter().map(|edge| edge.0.to_string()).collect();
            format!("from edge {}", edges.join(", "))
        }
    }];
    for transform in &pipeline.transforms {
        steps.push(match transform {
            TransformSpec::Filter { conjuncts, input } => format!("filter {}", list(conjuncts, input, " and ")),
            TransformSpec::Project { expressions, input, .. } => format!("project {}", list(expressions, input, ", ")),
            TransformSpec::Probe(state) => format!("probe {}", state_detail(&states[state.0], state.0)),
            TransformSpec::Finish(_) => "results of groups".to_owned(),
            TransformSpec::MapBatches(closure) => format!("map batches by {closure:?}"),
        });
    }
    let (state, role) = pipeline.sink;
    steps.push(match role {
        Role::Mark => format!("mark {}", state_detail(&states[state.0], state.0)),
        Role::Rest => format!("by folder into {}", state_name(&states[state.0], state.0)),
        Role::Fill => match &states[state.0] {
            StateSpec::HashJoin(_) | StateSpec::NestedLoopJoin(_) => {
                format!("build {}", state_name(&states[state.0], state.0))
            }
            StateSpec::Exchange(edge) => match edges.get(edge.0).map(|edge| (&edge.kind, &edge.schema)) {
                Some((EdgeKind::Groups { keys, count }, schema)) => {
                    format!("to edge {}: {count} groups by [{}]", edge.0, list(keys, schema, ", "))
                }
                Some((EdgeKind::Broadcast, _)) => format!("to edge {}: every task", edge.0),
                _ => format!("to edge {}: one task", edge.0),
            },
            StateSpec::Tee(each) => {
                let each: Vec<String> = each.iter().map(|state| state_detail(&states[state.0], state.0)).collect();
                format!("into {}", each.join(" and into "))
            }
            spec => format!("into {}", state_detail(spec, state.0)),
        },
    });
    steps
}

fn state_name(spec: &StateSpec, number: usize) -> String {
    let name = match spec {
        StateSpec::Aggregate(_) => "aggregate",
        StateSpec::HashJoin(_) => "hash join",
        StateSpec::NestedLoopJoin(_) => "nested-loop join",
        StateSpec::Sort(_) => "sort",
        StateSpec::TopK(_) => "top-k",
        StateSpec::Window(_) => "window",
        StateSpec::MapGroups(_) => "map groups",
        StateSpec::Limit { .. } => "limit",
        StateSpec::Collect => "collect",
        StateSpec::Scalar { .. } => "scalar",
        StateSpec::Write { .. } => "write",
        StateSpec::Share(_) => "shared rows",
        StateSpec::Cache(_) => "cache",
        StateSpec::Tee(_) => "each",
        StateSpec::Exchange(_) => "exchange",
    };
    format!("{name} #{number}")
}

fn state_detail(spec: &StateSpec, number: usize) -> String {
    let name = state_name(spec, number);
    match spec {
        StateSpec::Aggregate(aggregate) => {
            let calls: Vec<String> = aggregate
                .calls
                .iter()
                .map(|call| {
                    let distinct = if call.is_distinct { "distinct " } else { "" };
                    let arguments = list(&call.arguments, &aggregate.input, ", ");
                    let function = format!("{:?}", call.function).to_lowercase();
                    format!("{function}({distinct}{})", if arguments.is_empty() { "*" } else { &arguments })
                })
                .collect();
            let phase = match aggregate.phase {
                AggregatePhase::Whole => "",
                AggregatePhase::Partial => ", in part",
                AggregatePhase::Final => ", of parts",
                AggregatePhase::Merge => ", in part, of parts",
            };
            format!("{name}{phase} by [{}]: {}", list(&aggregate.keys, &aggregate.input, ", "), calls.join(", "))
        }
        StateSpec::HashJoin(join) => {
            let pairs = join.probe_keys.iter().zip(&join.build_keys);
            let on: Vec<String> = pairs
                .map(|(probe, build)| format!("{} = {}", probe.show(&join.probe), build.show(&join.build)))
                .collect();
            format!(
                "{name} {:?} on {}{}",
                join.rows,
                on.join(" and "),
                with_filter(&join.filter, &join.probe, &join.build)
            )
        }
        StateSpec::NestedLoopJoin(join) => {
            format!("{name} {:?}{}", join.rows, with_filter(&join.filter, &join.probe, &join.build))
        }
        StateSpec::Sort(sort) => format!("{name} by {}", keys(&sort.keys, &sort.schema)),
        StateSpec::TopK(sort) => {
            let rows = sort.fetch.unwrap_or_default();
            format!("{name} of {rows} rows after {} by {}", sort.skip, keys(&sort.keys, &sort.schema))
        }
        StateSpec::Window(window) => {
            let calls: Vec<String> = window.calls.iter().map(|call| call.show(&window.input)).collect();
            let order = if window.order.is_empty() {
                String::new()
            } else {
                format!(" in order of {}", keys(&window.order, &window.input))
            };
            let partition = list(&window.partition, &window.input, ", ");
            let bound = window.bound.map_or_else(String::new, |bound| {
                let call = calls.get(bound.call).map_or("", String::as_str);
                format!(", where {call} <= {}", bound.most)
            });
            format!("{name} by [{partition}]{order}: {}{bound}", calls.join(", "))
        }
        StateSpec::MapGroups(groups) => {
            let part =
                |part: &PartColumn| format!(" in {} parts by {}", part.count, groups.input.field(part.column).name());
            let part = groups.part.as_ref().map(part).unwrap_or_default();
            let order = match groups.order.is_empty() {
                true => String::new(),
                false => format!(" in order of {}", keys(&groups.order, &groups.input)),
            };
            format!("{name}{part} of [{}]{order} by {:?}", list(&groups.keys, &groups.input, ", "), groups.closure)
        }
        StateSpec::Limit { skip, fetch } => format!("{name} of {fetch} rows after {skip}, by position"),
        StateSpec::Scalar { number: parameter } => format!("{name}: parameter ${parameter}"),
        StateSpec::Write { target, is_ordered: true, .. } => format!("{name} {target}, in order"),
        StateSpec::Write { target, .. } => format!("{name} {target}"),
        StateSpec::Collect | StateSpec::Share(_) | StateSpec::Cache(_) | StateSpec::Exchange(_) | StateSpec::Tee(_) => {
            name
        }
    }
}

fn with_filter(filter: &Option<crate::operator::join::JoinFilter>, probe: &Schema, build: &Schema) -> String {
    let Some(filter) = filter else { return String::new() };
    let fields: Vec<_> = filter
        .columns
        .iter()
        .filter_map(|column| match column {
            JoinColumn::Probe(column) => Some(probe.field(*column).clone()),
            JoinColumn::Build(column) => Some(build.field(*column).clone()),
            JoinColumn::Mark => None,
        })
        .collect();
    format!(", where {}", filter.expression.show(&Schema::new(fields)))
}

fn keys(keys: &[SortKey], schema: &Schema) -> String {
    let shown: Vec<String> = keys
        .iter()
        .map(|key| format!("{}{}", key.expression.show(schema), if key.is_descending { " desc" } else { "" }))
        .collect();
    if shown.is_empty() { "content".to_owned() } else { shown.join(", ") }
}

fn list(expressions: &[Expression], schema: &Schema, between: &str) -> String {
    expressions.iter().map(|expression| expression.show(schema).to_string()).collect::<Vec<_>>().join(between)
}

/// Takes away the casts of columns of codes.
fn without_lookups(expression: &mut Expression, schema: &Schema) {
    let looked_up = match expression {
        Expression::Cast { input, .. } => input.is_column(),
        _ => None,
    };
    match looked_up.filter(|column| matches!(schema.field(*column).data_type(), DataType::Dictionary(..))) {
        Some(column) => *expression = Expression::Column(column),
        None => expression.children_mut().into_iter().for_each(|child| without_lookups(child, schema)),
    }
}

fn scan_step(scan: &ScanSpec, key_filters: &[KeyFilter], states: &[StateSpec]) -> String {
    let schema = scan.table.decoded_schema();
    let name = |column: usize| schema.field(column).name().as_str();
    let given = scan.given_columns();
    let names: Vec<&str> = given.iter().map(|column| name(*column)).collect();
    let splits = scan.splits().map_or(0, |splits| splits.len());
    let all = scan.table.splits().len();
    let mut text = format!("scan {} [{}] {splits} of {all} splits", scan.table.name(), names.join(", "));
    if let (Ok(schema), false) = (schema.project(&scan.columns), scan.filters.is_empty()) {
        // That a word is looked up is not shown: nobody has written it.
        let mut filters = scan.filters.clone();
        filters.iter_mut().for_each(|filter| without_lookups(filter, &schema));
        let _ = write!(text, ", where {}", list(&filters, &schema, " and "));
    }
    let codes: Vec<&str> = scan.columns.iter().filter(|c| scan.table.codes().contains(c)).map(|c| name(*c)).collect();
    if !codes.is_empty() {
        let _ = write!(text, ", {} as codes", codes.join(", "));
    }
    for KeyFilter { state, places } in key_filters {
        let keys: Vec<&str> = places.iter().map(|place| name(scan.columns[*place])).collect();
        let what =
            if matches!(states[state.0], StateSpec::TopK(_)) { "within the bound of" } else { "among the keys of" };
        let _ = write!(text, ", {} {what} {}", keys.join(", "), state_name(&states[state.0], state.0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::StepReport;

    fn pipelines(steps: &[usize]) -> Vec<PipelineReport> {
        let step = StepReport { rows: 1, ..StepReport::default() };
        let pipeline =
            |steps: &usize| PipelineReport { steps: vec![step.clone(); *steps], ..PipelineReport::default() };
        steps.iter().map(pipeline).collect()
    }

    #[test]
    fn what_was_planned_otherwise_gets_numbers() {
        let steps = [vec!["scan t", "build"], vec!["scan u", "probe", "collect"]];
        let steps = steps.iter().map(|steps| steps.iter().map(|step| (*step).to_owned()).collect()).collect();
        let names = StageNames { stage: "stage 0".to_owned(), steps };
        let named = |steps: &[usize]| {
            let mut pipelines = pipelines(steps);
            name(&names, &mut pipelines);
            let last = |pipeline: &PipelineReport| pipeline.steps.last().map(|step| step.name.clone());
            let names = pipelines.iter().map(|pipeline| (pipeline.name.clone(), last(pipeline).unwrap_or_default()));
            names.map(|(pipeline, step)| format!("{pipeline}: {step}")).collect::<Vec<_>>()
        };
        assert_eq!(named(&[2, 3]), ["pipeline 0: build", "pipeline 1: collect"]);
        let added = "pipeline 2, added for a join that went to disk: step 1";
        assert_eq!(named(&[2, 3, 2]), ["pipeline 0: build", "pipeline 1: collect", added]);
        assert_eq!(named(&[2]), ["pipeline 0: step 1"]);
        let mut unnamed = pipelines(&[1]);
        name(&StageNames::default(), &mut unnamed);
        assert_eq!(unnamed[0].name, "pipeline 0");
        assert_eq!(named(&[3, 3]), ["pipeline 0: step 2", "pipeline 1: step 2"]);
    }
}
