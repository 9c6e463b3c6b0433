//! `windrow bench dbbench`: the questions of the db-benchmark, measured.
//!
//! In: a folder with the tables that `windrow gen dbbench` makes. Out: a line a run, and with `--results` each question's row as CSV.
//! Never: another text for a question than the files under `bench/dbbench/queries`.

use std::path::PathBuf;

use windrow_bench::{DbBench, DbBenchRun, QUESTIONS};

use super::{Answers, How, make_folder};
use crate::{error::Failure, progress::Progress, signal::Signals};

/// The db-benchmark: ten questions that group a table, five that join
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  windrow bench dbbench --input dbbench\n  windrow bench dbbench --input dbbench --question g1 --question j5 --results answers --json"
)]
pub struct DbBenchCommand {
    /// Folder with NAME.parquet for the five tables
    #[arg(long, value_name = "DIR")]
    input: PathBuf,
    /// Folder for the answers, NAME.csv each; they are replaced
    #[arg(long, value_name = "OUT")]
    results: Option<PathBuf>,
    /// Only this question, g1 to g10 or j1 to j5; may be repeated
    #[arg(long = "question", value_name = "NAME", value_parser = question)]
    questions: Vec<&'static str>,
    #[command(flatten)]
    how: How,
}

fn question(text: &str) -> Result<&'static str, &'static str> {
    let found = QUESTIONS.iter().find(|(name, _)| *name == text);
    found.map(|(name, _)| *name).ok_or("the questions are g1 to g10 and j1 to j5")
}

impl DbBenchCommand {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        if let Some(results) = &self.results {
            make_folder(results)?;
        }
        let progress = Progress::default();
        let (session, nodes) = self.how.session(&progress)?;
        let dbbench = DbBench::over(session, nodes, &self.input)?;
        let _job = signals.job(dbbench.session().cancel());
        let own = dbbench.session().clone();
        let _on_exit = signals.on_exit(move || own.abandon_spilled());
        let _shown = progress.begin();
        let mut answers = Answers::begin(&self.how, self.results.as_deref())?;
        let run = DbBenchRun { dbbench: &dbbench, questions: &self.questions, runs: self.how.runs };
        let measurements = run.run(|name, ran| answers.add(&format!("question {name}"), name, ran))?;
        answers.end(&measurements)
    }
}
