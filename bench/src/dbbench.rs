//! The db-benchmark of h2o.ai, which DuckDB Labs keeps: ten questions that group a table, five that join one with others.
//!
//! In: a folder with `NAME.parquet` for each table. Out: answers and what they cost. Never: the answers' rows, which may be as many as the
//! table's: each question is the public one, and around it a reduction to one row that every column of the answer goes into. So nobody is
//! measured by how fast it ships rows to a client, and nobody may leave out a column.

use std::path::Path;

use windrow::{Answer, Result, Session, Settings};

use crate::{
    BenchError,
    query::{self, Query},
    report::{Measurement, Nodes},
};

/// The tables: the one that is grouped, then those that are joined.
pub const DBBENCH_TABLES: [&str; 5] = ["g1", "x", "small", "medium", "big"];

/// Each question's name and text.
pub const QUESTIONS: [(&str, &str); 15] = [
    ("g1", include_str!("../dbbench/queries/g1.sql")),
    ("g2", include_str!("../dbbench/queries/g2.sql")),
    ("g3", include_str!("../dbbench/queries/g3.sql")),
    ("g4", include_str!("../dbbench/queries/g4.sql")),
    ("g5", include_str!("../dbbench/queries/g5.sql")),
    ("g6", include_str!("../dbbench/queries/g6.sql")),
    ("g7", include_str!("../dbbench/queries/g7.sql")),
    ("g8", include_str!("../dbbench/queries/g8.sql")),
    ("g9", include_str!("../dbbench/queries/g9.sql")),
    ("g10", include_str!("../dbbench/queries/g10.sql")),
    ("j1", include_str!("../dbbench/queries/j1.sql")),
    ("j2", include_str!("../dbbench/queries/j2.sql")),
    ("j3", include_str!("../dbbench/queries/j3.sql")),
    ("j4", include_str!("../dbbench/queries/j4.sql")),
    ("j5", include_str!("../dbbench/queries/j5.sql")),
];

/// A session with the tables.
pub struct DbBench {
    session: Session,
    nodes: Nodes,
}

impl DbBench {
    /// Opens the tables in the folder `input`.
    pub fn open(settings: Settings, input: &Path) -> Result<DbBench> {
        let nodes = Nodes::here(settings.threads);
        DbBench::over(Session::new(settings)?, nodes, input)
    }

    /// The tables in the folder `input`, as a session sees them: a cluster's workers open them, not this process. `nodes` compute.
    pub fn over(session: Session, nodes: Nodes, input: &Path) -> Result<DbBench> {
        for name in DBBENCH_TABLES {
            session.register(name, &input.join(format!("{name}.parquet")).to_string_lossy())?;
        }
        Ok(DbBench { session, nodes })
    }

    /// The session, to cancel it or to ask it something else.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The text of the question `name`.
    pub fn text(name: &str) -> Result<&'static str> {
        let found = QUESTIONS.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| BenchError::NoSuchQuestion { question: name.to_owned() })?;
        Ok(text.trim())
    }

    /// Asks the question `name`, as run `run`, and measures it. The digest is made after the clock has stopped.
    pub fn measure(&self, name: &str, run: u32) -> Result<(Measurement, Answer)> {
        let query = Query { workload: "dbbench", name: name.to_owned(), text: DbBench::text(name)? };
        query::measure(&self.session, self.nodes, query, run)
    }
}
