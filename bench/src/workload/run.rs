//! A workload as often as asked: in this process, or on a cluster as a program that its workers run.
//!
//! In: the workload, its input. Out: each measurement as it comes, through a closure, while the run's output stands. Never: two runs with other rows.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use windrow::{
    Error, Result, Session,
    cluster::{drive::ClusterAddress, protocol::JobUpdate},
    observe::WorkersCost,
    operator::Cancel,
};

use super::{Done, Job, Output, Workload, bound::bytes_of, workload};
use crate::{
    BenchError, Measurement, Nodes,
    measure::{Clock, Cost},
    report::Ran,
};

/// What every run of a workload has in common.
#[derive(Clone, Copy)]
pub struct WorkloadRun<'a> {
    /// Which.
    pub workload: &'static Workload,
    /// Where it runs, or where its input was looked at.
    pub session: &'a Session,
    /// What it reads.
    pub input: &'a Path,
    /// What it looks for.
    pub pattern: &'a str,
    /// How large to make what is made.
    pub bytes: u64,
    /// A folder that is there; each run's output stands in it until the run is told.
    pub scratch: &'a Path,
    /// How often.
    pub runs: u32,
}

impl WorkloadRun<'_> {
    /// Runs it here; `told` gets each measurement and the run's output.
    pub fn run<E: From<Error>>(
        &self,
        told: impl FnMut(&Measurement, &Path) -> Result<(), E>,
    ) -> Result<Vec<Measurement>, E> {
        let nodes = Nodes::here(self.session.settings().threads);
        self.each(nodes, told, |job| {
            let before = self.session.spilled_bytes();
            let clock = Clock::start()?;
            let done = (self.workload.job)(self.session, job)?;
            Ok((done, clock.stop()?, (self.session.spilled_bytes() - before, 0)))
        })
    }

    /// `one`: a run; what came of it, what it cost, bytes spilled and shuffled.
    fn each<E: From<Error>>(
        &self,
        nodes: Nodes,
        mut told: impl FnMut(&Measurement, &Path) -> Result<(), E>,
        one: impl Fn(&Job<'_>) -> Result<(Done, Cost, (u64, u64))>,
    ) -> Result<Vec<Measurement>, E> {
        let WorkloadRun { workload, session, input, pattern, bytes, scratch, runs } = *self;
        let bytes_in = if input == Path::new("") { bytes } else { bytes_of(input)? };
        let bound_seconds = workload.bound_seconds(session, input, bytes, nodes.threads)?;
        let mut measurements: Vec<Measurement> = Vec::new();
        for run in 1..=runs {
            let out = scratch.join(format!("{}-{run}", workload.name));
            let (done, cost, (spilled_bytes, shuffled_bytes)) = one(&Job { input, out: &out, pattern, bytes })?;
            let Done { rows, digest, .. } = done;
            let ran = Ran {
                workload: workload.name,
                query: None,
                run,
                nodes,
                bytes_in,
                rows,
                spilled_bytes,
                shuffled_bytes,
                digest,
            };
            let measurement = Measurement::new(ran, cost).bounded_by(bound_seconds);
            if let Some(first) = measurements.first().filter(|first| first.digest != measurement.digest) {
                let (digest, other) = (first.digest.clone(), measurement.digest);
                return Err(Error::from(BenchError::RunsDiffer { workload: workload.name, digest, other }).into());
            }
            told(&measurement, &out)?;
            measurements.push(measurement);
            if workload.output != Output::Nothing {
                fs::remove_dir_all(&out).map_err(file("removing", &out))?;
            }
        }
        Ok(measurements)
    }
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| BenchError::File { doing, path, source }.into()
}

/// Runs of a workload on a cluster: this program is handed in, and its workers run it.
pub struct ClusterWorkloadRun<'a> {
    /// What is run.
    pub run: WorkloadRun<'a>,
    /// Where it runs.
    pub cluster: &'a ClusterAddress,
    /// Its workers, for the report.
    pub nodes: Nodes,
    /// Ends them.
    pub cancel: &'a Cancel,
    /// Hears how each run goes.
    pub seen: &'a dyn Fn(&JobUpdate),
}

impl ClusterWorkloadRun<'_> {
    /// Runs it; `told` gets each measurement and the run's output. Processor seconds are those of the program's processes under the workers, from the
    /// first task to the last.
    pub fn run<E: From<Error>>(
        &self,
        told: impl FnMut(&Measurement, &Path) -> Result<(), E>,
    ) -> Result<Vec<Measurement>, E> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(file("finding", path));
        let (input, scratch) = (absolute_or_none(self.run.input, absolute)?, absolute(self.run.scratch)?);
        let run = WorkloadRun { input: &input, scratch: &scratch, ..self.run };
        run.each(self.nodes, told, |job| {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            let name = run.workload.name.to_owned();
            let size = job.bytes.to_string();
            let (pattern, split_size) = (job.pattern.to_owned(), run.session.split_bytes().unwrap_or(0).to_string());
            let arguments = [PROGRAM.to_owned(), name, text(job.input), text(job.out), pattern, size, split_size];
            let clock = Clock::start()?;
            let last = RefCell::new(None);
            let seen = |update: &JobUpdate| {
                (self.seen)(update);
                last.replace(Some(update.clone()));
            };
            let printed = windrow::dataset::submit(self.cluster, &arguments, self.cancel, &seen)?;
            let done = serde_json::from_slice(&printed).map_err(|source| BenchError::NotDone { source })?;
            let last = last.into_inner();
            let cost = last.as_ref().and_then(|last| last.cost).unwrap_or_default();
            let workers = WorkersCost { cpu_micros: cost.cpu_micros, peak_bytes: cost.peak_bytes };
            let shuffled_bytes = last.iter().flat_map(|last| &last.progress).map(|stage| stage.bytes).sum();
            Ok((done, clock.stop()?.of_workers(Some(workers)), (cost.bytes_spilled, shuffled_bytes)))
        })
    }
}

fn absolute_or_none(path: &Path, absolute: impl Fn(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    if path == Path::new("") { Ok(PathBuf::new()) } else { absolute(path) }
}

/// A workload as a program that workers of a cluster run.
pub const PROGRAM: &str = "workload-program";

/// The entry of a program under a worker: `workload-program NAME INPUT FOLDER PATTERN BYTES SPLIT_BYTES`, the last of them 0 if nobody has said it.
pub fn program(session: &Session, arguments: &[String]) -> Result<()> {
    let wrong = || BenchError::NoSuchProgram { arguments: arguments.to_vec() };
    let words = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let [PROGRAM, name, input, out, pattern, bytes, split_bytes] = words[..] else {
        return Err(wrong().into());
    };
    let bytes = bytes.parse().map_err(|_| wrong())?;
    match split_bytes.parse().map_err(|_| wrong())? {
        0 => {}
        bytes => session.set_split_bytes(bytes)?,
    }
    let job = Job { input: Path::new(input), out: Path::new(out), pattern, bytes };
    let done = (workload(name)?.job)(session, &job)?;
    println!("{}", serde_json::to_string(&done).map_err(|source| BenchError::NotDone { source })?);
    Ok(())
}
