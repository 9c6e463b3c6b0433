//! TPC-H: 22 queries over eight tables in Parquet files.
//!
//! In: a folder with `NAME.parquet` for each table. Out: answers and what they cost. Never: another text for a query than the
//! files under `bench/tpch/queries`, which stand in the program.

use std::path::Path;

use windrow::{Answer, Result, Session, Settings};

use crate::{
    BenchError,
    query::{self, Query},
    report::{Measurement, Nodes},
};

/// The tables.
pub const TABLES: [&str; 8] = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

/// The queries with the specification's validation parameters, query 1 first.
pub const QUERIES: [&str; 22] = [
    include_str!("../tpch/queries/q1.sql"),
    include_str!("../tpch/queries/q2.sql"),
    include_str!("../tpch/queries/q3.sql"),
    include_str!("../tpch/queries/q4.sql"),
    include_str!("../tpch/queries/q5.sql"),
    include_str!("../tpch/queries/q6.sql"),
    include_str!("../tpch/queries/q7.sql"),
    include_str!("../tpch/queries/q8.sql"),
    include_str!("../tpch/queries/q9.sql"),
    include_str!("../tpch/queries/q10.sql"),
    include_str!("../tpch/queries/q11.sql"),
    include_str!("../tpch/queries/q12.sql"),
    include_str!("../tpch/queries/q13.sql"),
    include_str!("../tpch/queries/q14.sql"),
    include_str!("../tpch/queries/q15.sql"),
    include_str!("../tpch/queries/q16.sql"),
    include_str!("../tpch/queries/q17.sql"),
    include_str!("../tpch/queries/q18.sql"),
    include_str!("../tpch/queries/q19.sql"),
    include_str!("../tpch/queries/q20.sql"),
    include_str!("../tpch/queries/q21.sql"),
    include_str!("../tpch/queries/q22.sql"),
];

/// A session with the eight tables.
pub struct Tpch {
    session: Session,
    nodes: Nodes,
}

impl Tpch {
    /// Opens the tables in the folder `input`.
    pub fn open(settings: Settings, input: &Path) -> Result<Tpch> {
        let nodes = Nodes::here(settings.threads);
        Tpch::over(Session::new(settings)?, nodes, input)
    }

    /// The tables in the folder `input`, as a session sees them: a cluster's workers open them, not this process. `nodes` compute.
    pub fn over(session: Session, nodes: Nodes, input: &Path) -> Result<Tpch> {
        for name in TABLES {
            session.register(name, &input.join(format!("{name}.parquet")).to_string_lossy())?;
        }
        Ok(Tpch { session, nodes })
    }

    /// The session, to cancel it or to ask it something else.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The text of query `query`, from 1, without the semicolon.
    pub fn text(query: usize) -> Result<&'static str> {
        let text = query.checked_sub(1).and_then(|index| QUERIES.get(index));
        let text = text.ok_or(BenchError::NoSuchQuery { query, max: QUERIES.len() })?;
        Ok(text.trim().trim_end_matches(';'))
    }

    /// Runs query `query`, from 1, as run `run`, and measures it. The digest is made after the clock has stopped.
    pub fn measure(&self, query: usize, run: u32) -> Result<(Measurement, Answer)> {
        let query = Query { workload: "tpch", name: format!("q{query}"), text: Tpch::text(query)? };
        query::measure(&self.session, self.nodes, query, run)
    }
}
