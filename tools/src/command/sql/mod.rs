//! `windrow sql`: statements from the command line, from files or from standard input.
//!
//! In: scripts and the tables they name. Out: each answer on standard output, a timing on standard error when a person watches. Never:
//! goes on after a statement that failed, unless somebody types.

mod profile; // --profile: what each step did, as JSON and as a flame graph
mod prompt; // what a person types, statement by statement
mod render; // Format: table, csv, json
mod script; // Scripts: -c and -f in their order
mod table; // a table of boxes, fitted to a terminal

use std::{
    io::{self, Write},
    path::PathBuf,
};

use windrow::{Answer, Session, sql::statements};

use self::{
    profile::Profiler,
    script::{Script, Scripts},
};
use super::cluster::{ClusterName, Contact};
use crate::{
    error::{Failure, Origin},
    progress::Progress,
    settings::{EngineFlags, SplitFlag},
    signal::Signals,
    size, terminal,
};

pub use render::{Format, render, render_plan};

/// Run SQL over Parquet, CSV, JSON and text files
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Sql {
    #[command(flatten)]
    scripts: Scripts,
    /// Name a file, a folder or a pattern
    #[arg(long = "table", value_name = "NAME=PATH", value_parser = named_path)]
    tables: Vec<(String, String)>,
    /// How answers are written [default: table on a terminal, csv elsewhere]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Run on this cluster, whose workers must see the same files
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    /// What a task on the cluster should read, as 128MiB; results do not depend on it
    #[arg(long, value_name = "SIZE", value_parser = size::parse, hide = true, requires = "cluster")]
    task_size: Option<u64>,
    /// Write what each step did to this file as JSON, and a flame graph beside it as FILE.svg
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    splits: SplitFlag,
    #[command(flatten)]
    engine: EngineFlags,
}

const EXAMPLES: &str = "\
A table is a path in quotes (a file, a folder, a pattern) or a name given by --table.
Without -c and -f the SQL is read from standard input.

Examples:
  windrow sql -c \"select count(*) from 'data/*.parquet'\"
  windrow sql --table words=words.txt -c \"select count(*) from words\"
  windrow sql -f report.sql --format csv > report.csv
  windrow sql -c \"explain select l_shipmode, count(*) from 'lineitem.parquet' group by 1\"
  windrow sql -c \"copy (select * from 'a.csv' where n > 10) to 'b.parquet'\"
  windrow sql --profile q.json -c \"select count(*) from 'data/*.parquet'\"
  windrow sql --cluster local -c \"select count(*) from 'data/*.parquet'\"
  echo \"select 1 + 1\" | windrow sql --format json";

/// Splits `NAME=PATH`.
fn named_path(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.to_owned())),
        _ => Err("write it as NAME=PATH, as in words=words.txt"),
    }
}

impl Sql {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let (settings, progress) = (self.engine.settings()?, Progress::default());
        let session = match &self.cluster {
            Some(name) => {
                self.engine.none_on_cluster()?;
                Contact::of(name)?.session(settings, &progress)?
            }
            None => Session::new(settings)?,
        };
        let own = session.clone();
        let _on_exit = signals.on_exit(move || own.abandon_spilled());
        if let Some(bytes) = self.task_size {
            session.set_task_bytes(bytes);
        }
        self.splits.set(&session)?;
        for (name, path) in &self.tables {
            session.register(name, path)?;
        }
        let on_terminal = if terminal::width().is_some() { Format::Table } else { Format::Csv };
        let format = self.format.unwrap_or(on_terminal);
        let profiler = self.profile.as_deref().map(Profiler::begin).transpose()?;
        let draws_plans = self.format.is_none();
        let runner = Runner { session, progress, format, draws_plans, profiler, signals };
        match self.scripts.read()? {
            Some(scripts) => scripts.iter().try_for_each(|script| runner.run(script)),
            None if terminal::is_typed() => prompt::run(&runner),
            None => runner.run(&Script::of_stdin()?),
        }
    }
}

/// Runs scripts in a session.
struct Runner<'a> {
    session: Session,
    /// Of jobs on a cluster.
    progress: Progress,
    format: Format,
    /// No format was asked for, so a plan is written as the drawing it is.
    draws_plans: bool,
    profiler: Option<Profiler>,
    signals: &'a Signals,
}

impl Runner<'_> {
    /// Runs all statements of `script`, until one fails.
    fn run(&self, script: &Script) -> Result<(), Failure> {
        let origin = |start| Origin { name: script.name.clone(), script: script.text.clone(), start };
        let statements = statements(&script.text).map_err(|error| Failure::in_script(error, origin(0)))?;
        for (number, statement) in statements.iter().enumerate() {
            let answer = {
                let _job = self.signals.job(self.session.cancel());
                let _shown = self.progress.begin();
                let failed = |error| Failure::in_script(error, origin(statement.place.start));
                match &self.profiler {
                    None => self.session.query(&statement.text).map_err(failed)?,
                    Some(profiler) => {
                        let (answer, report) = self.session.query_profiled(&statement.text).map_err(failed)?;
                        profiler.add(&statement.text, report)?;
                        answer
                    }
                }
            };
            if number > 0 && self.format == Format::Table {
                writeln!(io::stdout()).map_err(Failure::of_output)?;
            }
            let out = &mut io::stdout().lock();
            if !(self.draws_plans && render_plan(&answer, out)?) {
                render(&answer, self.format, out)?;
            }
            self.tell(&answer);
        }
        Ok(())
    }

    /// What it took, if a person watches.
    fn tell(&self, answer: &Answer) {
        if !terminal::is_watched() {
            return;
        }
        let rows = size::show_rows(answer.rows() as u64);
        let mut line = format!("{rows}, {:.3} s", answer.seconds);
        match self.progress.totals() {
            Some(totals) => {
                line.push_str(&format!(", {} shuffled, {}", size::show(totals.shuffled_bytes), totals.workers()));
                if answer.report.spilled_bytes > 0 {
                    line.push_str(&format!(", {} spilled", size::show(answer.report.spilled_bytes)));
                }
            }
            None => line.push_str(&self.cost(answer)),
        }
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// What an answer took of this machine.
    fn cost(&self, answer: &Answer) -> String {
        let mut line = String::new();
        let bytes = answer.report.bytes_in;
        if bytes > 0 {
            let bytes_per_second = bytes as f64 / answer.seconds.max(1e-6);
            line.push_str(&format!(", {} read, {}/s", size::show(bytes), size::show(bytes_per_second as u64)));
        }
        if answer.report.spilled_bytes > 0 {
            line.push_str(&format!(", {} spilled", size::show(answer.report.spilled_bytes)));
        }
        line + &format!(", {} at most in operators", size::show(self.session.peak_bytes()))
    }
}
