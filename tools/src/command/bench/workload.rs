//! `windrow bench wordcount`, `grep`, `terasort` and so on: a workload, measured, beside its rivals if that is asked for.
//!
//! In: a file or folder, or how large one is to be made. Out: a line a run. Never: an input that was made left behind; a rival that is not installed
//! passed over in silence.

use std::{
    fs,
    path::{Path, PathBuf},
};

use windrow::{Session, cluster::protocol::JobUpdate, operator::Cancel};
use windrow_bench::{
    ClusterWorkloadRun, Input, Measurement, RIVALS, Record, Rival, Rivaled, Workload, WorkloadRun, chart, workload,
};

use super::{How, Lines, say};
use crate::{
    command::cluster::Contact,
    error::{CommandError, Failure},
    progress::Progress,
    scratch::Scratch,
    signal::Signals,
    size,
};

/// What every workload can be told.
#[derive(clap::Args)]
#[group(id = "data", required = true, multiple = false, args = ["input", "size"])]
pub struct WorkloadBench {
    /// What it reads: a file, or a folder of them
    #[arg(long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Make an input of about this size first, in a temporary place
    #[arg(long, value_name = "SIZE", value_parser = size::parse_some)]
    size: Option<u64>,
    /// What grep looks for, each match by itself
    #[arg(long, value_name = "REGEX", default_value = "ab[a-z]*z")]
    pattern: String,
    /// Others to run beside, of hadoop, spark, duckdb, polars, and plain, a program without an engine; their rows must be the same
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(RIVALS))]
    rivals: Vec<String>,
    /// The Python that has the rivals
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Add the measurements, and a chart of them, to the folder of this machine in bench/record
    #[arg(long)]
    record: bool,
    /// Draw the fastest run of each engine as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

impl WorkloadBench {
    pub fn run(&self, name: &str, signals: &Signals) -> Result<(), Failure> {
        let workload = workload(name)?;
        let settings = self.how.engine.settings()?;
        let contact = self.how.cluster.as_ref().map(Contact::of).transpose()?;
        if contact.is_some() {
            self.how.engine.none_on_cluster()?;
        }
        let (memory_bytes, threads) = (settings.memory_bytes, settings.threads);
        let session = Session::new(settings)?;
        self.how.splits.set(&session)?;
        if let Some(input) = &self.input {
            Failure::unless_here(&input.to_string_lossy())?;
        }
        if name == "grep" {
            // Before an input is made for it.
            session.from_vec::<String>(Vec::new())?.matches(&self.pattern).map_err(Failure::Usage)?;
        }
        let _job = signals.job(session.cancel());
        let own = session.clone();
        let _on_exit = signals.on_exit(move || own.abandon_spilled());
        let scratch = Scratch::new(signals)?;
        let input = self.input(workload, &session, scratch.path())?;
        let (pattern, bytes, runs) = (&self.pattern[..], self.size.unwrap_or(0), self.how.runs);
        let run =
            WorkloadRun { workload, session: &session, input: &input, pattern, bytes, scratch: scratch.path(), runs };
        let mut lines = Lines::begin(self.how.json)?;
        let mut all = Vec::new();
        let mut beside = Vec::new();
        // Each once, however often it is named.
        let named = |place: usize| !self.rivals[..place].contains(&self.rivals[place]);
        for engine in (0..self.rivals.len()).filter(|place| named(*place)).map(|place| &self.rivals[place]) {
            let rival = Rival { engine, python: &self.python, threads, memory_bytes: Some(memory_bytes) };
            match rival.run(&run)? {
                Rivaled::Ran(measurements, out) => beside.push((rival, measurements, out)),
                Rivaled::Absent(why) => tell(&format!("without {engine}: {why}")),
            }
        }
        let add = |measurement: &Measurement, out: &Path| -> Result<(), Failure> {
            if measurement.run == 1 {
                // What they did is told once their rows are known to be ours.
                for (rival, measurements, theirs) in &beside {
                    let ours = (out, measurement);
                    let checked = rival.checked(&session, workload.output, ours, (measurements, theirs))?;
                    checked.iter().try_for_each(|measurement| lines.add(measurement))?;
                    all.extend(checked);
                }
            }
            lines.add(measurement)
        };
        let measurements = match contact {
            None => run.run(add)?,
            Some(contact) => {
                let (cluster, nodes) = (&contact.address(), contact.nodes()?);
                let progress = Progress::default();
                let _shown = progress.begin();
                let (seen, cancel) = (|update: &JobUpdate| progress.update(update), &Cancel::default());
                let _job = signals.job(cancel.clone());
                ClusterWorkloadRun { run, cluster, nodes, cancel, seen: &seen }.run(add)?
            }
        };
        lines.end(&measurements, runs)?;
        all.extend(measurements);
        self.keep(&all)
    }

    /// The input, made if none is given.
    fn input(&self, workload: &Workload, session: &Session, scratch: &Path) -> Result<PathBuf, Failure> {
        if workload.input == Input::Nothing {
            return match (&self.input, self.size) {
                (None, Some(_)) => Ok(PathBuf::new()),
                _ => Err(CommandError::NoInputRead { workload: workload.name }.into()),
            };
        }
        if let Some(input) = &self.input {
            return Ok(input.clone());
        }
        say("making the input");
        Ok(workload.input.make(session, self.size.unwrap_or(0), scratch)?)
    }

    fn keep(&self, measurements: &[Measurement]) -> Result<(), Failure> {
        let mut charts: Vec<PathBuf> = self.chart.iter().cloned().collect();
        if self.record {
            let record = Record::of_today(Path::new("bench/record"));
            record.add(measurements)?;
            let name = measurements.first().map_or("none", |measurement| measurement.workload);
            charts.push(record.path().with_extension(format!("{name}.svg")));
        }
        for path in charts {
            let failed = |source| CommandError::File { doing: "writing", path: path.clone(), source };
            fs::write(&path, chart(measurements)).map_err(failed)?;
        }
        Ok(())
    }
}

/// For people, on standard error, whether or not somebody watches: a comparison that is not made must not pass for one.
fn tell(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{what}");
}
