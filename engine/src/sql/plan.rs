//! A statement's text becomes a logical plan.
//!
//! In: the text, the catalog, the job's start time. Out: [`Planned`]. Never: keeps anything from one statement to the next, so that
//! a statement gets the same plan whatever was planned before it.
//!
//! Planning recurses over the statement, in the parser, in DataFusion and in the binder. It runs on a thread of its own with a stack
//! that holds the deepest statement that `parse` lets through; what panics there becomes an error.

use std::{thread, time::SystemTime};

use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion_sql::planner::SqlToRel;

use super::{
    Catalog, SqlError, bind, meaning, names,
    overflow::check_constants,
    parse::{Asks, Parsed, TERMS_MAX, parse},
    provider::Provider,
    text::Text,
};
use crate::{
    error::{Result, bug},
    expression::functions::options,
    plan::logical::Logical,
};

/// Stack of the planning thread: 128 KiB for each level of the deepest tree. Only what is used of it takes memory.
const STACK_BYTES: usize = TERMS_MAX * (128 << 10);

/// What a statement asks for.
#[derive(Clone, Debug)]
pub enum Planned {
    /// The rows of a query.
    Query(Logical),
    /// The rows of a query, in files.
    Write(Logical),
    /// The plan of a query, drawn.
    Explain(Logical),
    /// The query run, and its plan drawn with what was counted.
    ExplainAnalyze(Logical),
}

/// Plans the one statement in `statement`; `start` is what now() says.
pub fn plan(statement: &str, catalog: &Catalog, start: SystemTime) -> Result<Planned> {
    thread::scope(|scope| {
        let planner = thread::Builder::new()
            .name("plan".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || plan_here(statement, catalog, start))
            .map_err(|source| SqlError::NoThread { stack_bytes: STACK_BYTES, source })?;
        planner.join().unwrap_or_else(|panic| Err(bug("sql", format!("the planner panicked: {}", said(&*panic)))))
    })
}

fn plan_here(statement: &str, catalog: &Catalog, start: SystemTime) -> Result<Planned> {
    let text = Text::new(statement)?;
    let Parsed { query, copy, asks } = parse(&text)?;
    let wrap: fn(Logical) -> Planned = match asks {
        Asks::Run if copy.is_some() => Planned::Write,
        Asks::Run => Planned::Query,
        Asks::Explain => Planned::Explain,
        Asks::ExplainAnalyze => Planned::ExplainAnalyze,
    };
    let provider = Provider::new(catalog);
    let failed = |error| SqlError::from_datafusion(error, &text, provider.unknown_function().as_deref());
    let options = options();
    let plan = SqlToRel::new(&provider).sql_statement_to_plan(*query).map_err(failed)?;
    let plan = meaning::kept(plan, &text)?;
    let plan = Analyzer::new().execute_and_check(plan, options, |_, _| {}).map_err(failed)?;
    check_constants(&plan)?;
    let context =
        OptimizerContext::new_with_config_options(options.clone()).with_query_execution_start_time(start.into());
    let plan = Optimizer::new().optimize(plan, &context, |_, _| {}).map_err(failed)?;
    let logical = names::for_people(bind::bind(&plan, &text)?);
    Ok(wrap(match copy {
        Some(copy) => copy.over(logical, catalog, &text)?,
        None => logical,
    }))
}

/// The words of a panic.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}
