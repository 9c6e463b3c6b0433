//! Each query as often as asked, one run after the other in one process.
//!
//! In: which queries, how often. Out: each measurement as it comes, through a closure. Never: stops at a query that fails; the
//! others still run, and the first failure is told at the end. Somebody who cancels stops all.

use windrow::{Answer, Error, Result};

use crate::{
    dbbench::{DbBench, QUESTIONS},
    query::run_each,
    report::Measurement,
    tpch::{QUERIES, Tpch},
};

/// TPC-H queries, each `runs` times in turn.
pub struct TpchRun<'a> {
    /// The open tables.
    pub tpch: &'a Tpch,
    /// The queries, from 1; all when empty.
    pub queries: &'a [usize],
    /// How often each.
    pub runs: u32,
}

impl TpchRun<'_> {
    /// Runs them; `told` gets the query's number and what came of it, each time. A query that failed once is not run again.
    pub fn run<E: From<Error>>(
        &self,
        told: impl FnMut(usize, Result<(Measurement, Answer)>) -> Result<(), E>,
    ) -> Result<Vec<Measurement>, E> {
        let all: Vec<usize> = (1..=QUERIES.len()).collect();
        let queries = if self.queries.is_empty() { &all } else { self.queries };
        run_each(queries, self.runs, |query, run| self.tpch.measure(query, run), told)
    }
}

/// Questions of the db-benchmark, each `runs` times in turn.
pub struct DbBenchRun<'a> {
    /// The open tables.
    pub dbbench: &'a DbBench,
    /// The questions, by name; all when empty.
    pub questions: &'a [&'static str],
    /// How often each.
    pub runs: u32,
}

impl DbBenchRun<'_> {
    /// Asks them; `told` gets the question's name and what came of it, each time. A question that failed once is not asked again.
    pub fn run<E: From<Error>>(
        &self,
        told: impl FnMut(&'static str, Result<(Measurement, Answer)>) -> Result<(), E>,
    ) -> Result<Vec<Measurement>, E> {
        let all = QUESTIONS.map(|(name, _)| name);
        let questions = if self.questions.is_empty() { &all } else { self.questions };
        run_each(questions, self.runs, |name, run| self.dbbench.measure(name, run), told)
    }
}
