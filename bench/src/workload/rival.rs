//! Another engine, or a plain program, over the same input: started as a process, measured by itself, its output compared with ours.
//!
//! In: which engine, a run of a workload. Out: its measurements and where its output stands; or that it is not installed, or has no such workload.
//! Never: a failure because a rival is not there; a rival that gave other rows passed over.
//!
//! The engines are in `bench/rivals/workloads.py`, which this program carries with it and hands to Python; the plain programs are this program's own
//! ([`PLAIN_PROGRAM`]).

use std::{
    env,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use windrow::{
    Error, Result, Session,
    batch::{
        Batch,
        array::{Array, ArrayRef, AsArray},
        compute,
        datatypes::{DataType, Float64Type},
    },
};

use super::{
    Input, Output, WorkloadRun,
    plain::{self, PLAIN_PROGRAM},
    tera_validate,
};
use crate::{BenchError, Measurement, Nodes, measure::Cost, report::Ran};

/// The engines, and the plain programs.
pub const RIVALS: [&str; 5] = ["hadoop", "spark", "duckdb", "polars", PLAIN];

/// Not another engine: the workload as a program without one.
const PLAIN: &str = "plain";

const SCRIPT: &str = include_str!("../../rivals/workloads.py");

/// So much is told of what a rival that has failed wrote to standard error.
const SAID_BYTES: usize = 2 << 10;

/// Another engine.
pub struct Rival<'a> {
    /// Of [`RIVALS`].
    pub engine: &'a str,
    /// The Python that has it.
    pub python: &'a Path,
    /// Threads it may use.
    pub threads: usize,
    /// Its budget, where it has one.
    pub memory_bytes: Option<u64>,
}

/// What a rival did.
pub enum Rivaled {
    /// Its runs, and the output of the last one.
    Ran(Vec<Measurement>, PathBuf),
    /// Why it did not run: it is not installed, or it has no such workload.
    Absent(String),
}

/// A line of the script.
#[derive(Deserialize)]
struct Line {
    absent: Option<String>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    cpu_seconds: f64,
    #[serde(default)]
    peak_bytes: u64,
}

impl Rival<'_> {
    /// Runs the workload as often as `run` says.
    pub fn run(&self, run: &WorkloadRun<'_>) -> Result<Rivaled> {
        if run.workload.input == Input::Nothing {
            return Ok(Rivaled::Absent(format!("{} reads nothing that it could read, too", run.workload.name)));
        }
        let out = run.scratch.join(format!("{}-{}", run.workload.name, self.engine));
        let (program, mut command, threads) = if self.engine == PLAIN {
            let Some(threads) = plain::threads_of(run.workload.name) else {
                return Ok(Rivaled::Absent(format!("there is no plain program for {}", run.workload.name)));
            };
            let own = env::current_exe().map_err(|source| BenchError::File {
                doing: "finding",
                path: PathBuf::from("the own program"),
                source,
            })?;
            let mut command = Command::new(&own);
            command.args([PLAIN_PROGRAM, run.workload.name]).arg(run.input).arg(&out).arg(run.runs.to_string());
            (own, command, threads)
        } else {
            (self.python.to_owned(), self.script(run, &out), self.threads)
        };
        let said = match command.stdin(Stdio::null()).output() {
            Ok(said) => said,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Rivaled::Absent(format!("there is no {}", program.display())));
            }
            Err(source) => return Err(BenchError::File { doing: "starting", path: program, source }.into()),
        };
        let engine = self.engine;
        let failed = || BenchError::RivalFailed {
            engine: engine.to_owned(),
            status: said.status.to_string(),
            said: end_of(&said.stderr),
        };
        if !said.status.success() {
            return Err(failed().into());
        }
        let bytes_in = super::bound::bytes_of(run.input)?;
        let mut measurements = Vec::new();
        for line in said.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
            let line: Line = serde_json::from_slice(line).map_err(|source| BenchError::NotDone { source })?;
            if let Some(reason) = line.absent {
                return Ok(Rivaled::Absent(reason));
            }
            let ran = Ran {
                workload: run.workload.name,
                query: None,
                run: measurements.len() as u32 + 1,
                nodes: Nodes::here(threads),
                bytes_in,
                rows: 0,
                spilled_bytes: 0,
                shuffled_bytes: 0,
                digest: String::new(),
            };
            let (seconds, cpu_seconds, peak_bytes) = (line.seconds, line.cpu_seconds, line.peak_bytes);
            let cost = Cost { seconds, cpu_seconds, peak_bytes };
            measurements.push(Measurement::new(ran, cost).of_rival(engine, &line.version));
        }
        if measurements.is_empty() { Err(failed().into()) } else { Ok(Rivaled::Ran(measurements, out)) }
    }

    /// The command that hands the script to Python.
    fn script(&self, run: &WorkloadRun<'_>, out: &Path) -> Command {
        let mut command = Command::new(self.python);
        command.args(["-c", SCRIPT, self.engine, run.workload.name]).arg(run.input).arg(out);
        command.args(["--threads", &self.threads.to_string(), "--runs", &run.runs.to_string()]);
        // In one word: a pattern may begin as a flag does.
        command.arg(format!("--pattern={}", run.pattern));
        if let Some(bytes) = self.memory_bytes {
            command.args(["--memory", &bytes.to_string()]);
        }
        command
    }

    /// Its measurements with the rows of `ours`; fails unless its output, `theirs`, has these.
    pub fn checked(
        &self,
        session: &Session,
        output: Output,
        ours: (&Path, &Measurement),
        (measurements, theirs): (&[Measurement], &Path),
    ) -> Result<Vec<Measurement>> {
        let (path, measurement) = ours;
        let (here, there) = match output {
            Output::Nothing => return Ok(measurements.to_vec()),
            Output::Rows => (measurement.digest.clone(), digest_as(session, path, theirs)?),
            // Another engine adds up in another order, so a digest may differ; the numbers may not.
            Output::Numbers => match digest_as(session, path, theirs)? {
                there if there == measurement.digest => (there.clone(), there),
                _ => ("the same numbers".to_owned(), first_far(session, path, theirs)?),
            },
            Output::Records => {
                let (here, there) = (tera_validate(session, path)?, tera_validate(session, theirs)?);
                (format!("{here:?}"), format!("{there:?}"))
            }
            Output::Lines => {
                let differs = first_difference(path, theirs)?;
                let there = differs.map_or("the same text".to_owned(), |place| format!("another text at byte {place}"));
                ("the same text".to_owned(), there)
            }
        };
        if here == there {
            return Ok(measurements.iter().map(|one| one.clone().with_rows_of(measurement)).collect());
        }
        let (workload, engine) = (measurement.workload, self.engine.to_owned());
        Err(BenchError::RowsDiffer { workload, engine, here, there }.into())
    }
}

/// The digest of the rows of `theirs` in the types of `ours`: Spark has no unsigned integers and writes decimals.
fn digest_as(session: &Session, ours: &Path, theirs: &Path) -> Result<String> {
    let fields = |path: &Path, rows: &str| session.query(&format!("select * from '{}'{rows}", path.display()));
    let ours = fields(ours, " limit 0")?.schema;
    let there = fields(theirs, " limit 0")?.schema;
    let columns = there.fields().iter().zip(ours.fields()).map(|(there, here)| {
        let name = there.name().replace('"', "\"\"");
        match (there.data_type(), here.data_type()) {
            (DataType::Decimal128(_, 0), DataType::UInt64) => format!("cast(\"{name}\" as bigint unsigned)"),
            _ => format!("\"{name}\""),
        }
    });
    let columns: Vec<String> = columns.collect();
    let rows = session.query(&format!("select {} from '{}'", columns.join(", "), theirs.display()))?;
    Ok(rows.digest()?.to_string())
}

/// How far apart numbers may be, as a share of the greater: rounds of k-means in other precision put a few points into another cluster.
const APART_MAX: f64 = 1e-3;

/// The first place where rows, in the order of their first column, have numbers that are further apart; or that there is none.
fn first_far(session: &Session, ours: &Path, theirs: &Path) -> Result<String> {
    let rows = |path: &Path| session.query(&format!("select * from '{}' order by 1", path.display()));
    let (here, there) = (rows(ours)?, rows(theirs)?);
    if (here.rows(), here.schema.fields().len()) != (there.rows(), there.schema.fields().len()) {
        return Ok(format!("{} rows of {} columns", there.rows(), there.schema.fields().len()));
    }
    for column in 0..here.schema.fields().len() {
        let (here, there) = (numbers(&here.batches, column)?, numbers(&there.batches, column)?);
        let is_near = |(one, other): (&f64, &f64)| (one - other).abs() <= APART_MAX * one.abs().max(other.abs());
        let far = here.iter().zip(&there).position(|pair| !is_near(pair));
        if let Some(place) = far.or((here.len() != there.len()).then_some(here.len().min(there.len()))) {
            let shown = |numbers: &[f64]| numbers.get(place).map_or("none".to_owned(), f64::to_string);
            return Ok(format!("{}, not {}, at {place} of column {}", shown(&there), shown(&here), column + 1));
        }
    }
    Ok("the same numbers".to_owned())
}

/// The numbers of a column, of numbers or of lists of them.
fn numbers(batches: &[Batch], column: usize) -> Result<Vec<f64>> {
    let mut numbers = Vec::new();
    for batch in batches {
        let mut values = ArrayRef::clone(batch.column(column));
        if let Some(lists) = values.as_list_opt::<i32>() {
            let (first, last) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
            values = lists.values().slice(first, last - first);
        }
        let values = compute::cast(&values, &DataType::Float64)?;
        numbers.extend(values.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)));
    }
    Ok(numbers)
}

/// The last lines of what was said.
fn end_of(said: &[u8]) -> String {
    let end = String::from_utf8_lossy(&said[said.len().saturating_sub(SAID_BYTES)..]);
    end.trim().to_owned()
}

/// Where the only file of the output `ours` differs from the file `theirs`.
fn first_difference(ours: &Path, theirs: &Path) -> Result<Option<u64>> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::from(BenchError::File { doing: "reading", path, source })
    };
    let parts = std::fs::read_dir(ours).map_err(failed(ours))?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let part = parts.filter(|path| path.extension().is_some_and(|ending| ending == "txt")).min().unwrap_or(ours.into());
    let mut one = BufReader::new(File::open(&part).map_err(failed(&part))?);
    let mut other = BufReader::new(File::open(theirs).map_err(failed(theirs))?);
    let (mut a, mut b, mut place) = (vec![0; 1 << 20], vec![0; 1 << 20], 0);
    loop {
        let (m, n) =
            (fill(&mut one, &mut a).map_err(failed(&part))?, fill(&mut other, &mut b).map_err(failed(theirs))?);
        if a[..m] != b[..n] {
            let same = a[..m].iter().zip(&b[..n]).take_while(|(one, other)| one == other).count();
            return Ok(Some(place + same as u64));
        }
        if m == 0 {
            return Ok(None);
        }
        place += m as u64;
    }
}

fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use windrow::Settings;

    use super::*;

    #[test]
    fn numbers_are_the_same_though_rounded_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::new(Settings { threads: 1, ..Settings::default() }).unwrap();
        let write = |name: &str, rows: Vec<(u32, i64, Vec<f32>)>| {
            let path = folder.path().join(name);
            session.from_vec(rows).unwrap().named(["k", "n", "centre"]).unwrap().write_parquet(&path).unwrap();
            path
        };
        let ours = write("ours", vec![(0, 7, vec![1.0, 2.0]), (1, 100_000, vec![3.0, -4.0])]);
        for (name, rows, says) in [
            ("near", vec![(1, 100_001, vec![3.0001, -4.0]), (0, 7, vec![1.0, 2.0])], "the same numbers"),
            ("far", vec![(0, 7, vec![1.0, 2.0]), (1, 100_000, vec![3.0, -4.1])], "-4.0999"),
            ("other", vec![(0, 7, vec![1.0, 2.0]), (2, 100_000, vec![3.0, -4.0])], "2, not 1, at 1 of column 1"),
            (
                "longer",
                vec![(0, 7, vec![1.0, 2.0]), (1, 100_000, vec![3.0, -4.0, 5.0])],
                "5, not none, at 4 of column 3",
            ),
            ("fewer", vec![(0, 7, vec![1.0, 2.0])], "1 rows of 3 columns"),
        ] {
            let found = first_far(&session, &ours, &write(name, rows)).unwrap();
            assert!(found.starts_with(says), "{name}: {found}");
        }
    }
}
