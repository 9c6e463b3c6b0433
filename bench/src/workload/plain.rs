//! A workload as a plain program: read into vectors, worked on without an engine, written.
//!
//! In: the files that the workload reads. Out: a folder with its rows, and a line of JSON a run, as `bench/rivals/workloads.py` has them. Never: the
//! engine between reading and writing; its readers and writers of Parquet are used, so that the same formats are within the seconds.

use std::{fs, path::Path};

use serde::Serialize;
use windrow::{
    Result, Session, Settings,
    batch::{array::AsArray, datatypes::Float32Type},
    dataset::failure,
};

use super::iterative::{CLUSTERS, ROUNDS};
use crate::{BenchError, measure::Clock, plain};

/// The first argument of a plain program.
pub const PLAIN_PROGRAM: &str = "plain-program";

/// A line that it prints.
#[derive(Serialize)]
struct Line {
    version: &'static str,
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
}

/// On how many threads the plain program of a workload runs; none where there is no such program.
pub(super) fn threads_of(workload: &str) -> Option<usize> {
    match workload {
        "pagerank" | "connectedcomponents" => Some(1),
        "kmeans" => Some(2),
        _ => None,
    }
}

/// The entry of a plain program: `NAME INPUT FOLDER RUNS`; the folder has the last run's rows.
pub fn plain_program(arguments: &[String]) -> Result<()> {
    let wrong = || BenchError::NoSuchProgram { arguments: arguments.to_vec() };
    let [name, input, out, runs] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return Err(wrong().into());
    };
    let (threads, runs) = (threads_of(name).ok_or_else(wrong)?, runs.parse::<u32>().map_err(|_| wrong())?);
    let session = Session::new(Settings { threads, ..Settings::default() })?;
    for _ in 0..runs {
        if Path::new(out).exists() {
            let failed = |source| BenchError::File { doing: "removing", path: out.into(), source };
            fs::remove_dir_all(out).map_err(failed)?;
        }
        let clock = Clock::start()?;
        match name {
            "kmeans" => k_means(&session, input, out, threads)?,
            _ => of_edges(&session, name, input, out)?,
        }
        let cost = clock.stop()?;
        let (seconds, cpu_seconds, peak_bytes) = (cost.seconds, cost.cpu_seconds, cost.peak_bytes);
        let line = Line { version: env!("CARGO_PKG_VERSION"), seconds, cpu_seconds, peak_bytes };
        println!("{}", serde_json::to_string(&line).map_err(|source| BenchError::NotDone { source })?);
    }
    Ok(())
}

fn of_edges(session: &Session, name: &str, input: &str, out: &str) -> Result<()> {
    let edges = session.read_parquet(input)?.typed::<(u32, u32)>()?.collect()?;
    if name == "connectedcomponents" {
        let names = plain::connected_components(&edges);
        return session.from_vec(names)?.named(["vertex", "component"])?.write_parquet(out).map(drop);
    }
    let vertices = edges.iter().map(|(source, target)| source.max(target) + 1).max().unwrap_or(0);
    let ranks = plain::page_rank(&edges, vertices as usize, ROUNDS);
    session.from_vec((0..vertices).zip(ranks).collect())?.named(["vertex", "rank"])?.write_parquet(out).map(drop)
}

fn k_means(session: &Session, input: &str, out: &str, threads: usize) -> Result<()> {
    let rows = session.read_parquet(input)?.collect()?;
    let dimensions = rows.schema.fields().len();
    let mut points = vec![0.0; rows.rows() * dimensions];
    let mut before = 0;
    for batch in &rows.batches {
        for (number, column) in batch.columns().iter().enumerate() {
            let column = column.as_primitive_opt::<Float32Type>().ok_or_else(|| failure("expected Float32 columns"))?;
            let places = points[before * dimensions + number..].iter_mut().step_by(dimensions);
            places.zip(column.values()).for_each(|(place, value)| *place = *value);
        }
        before += batch.num_rows();
    }
    drop(rows);
    let centres = points.chunks(dimensions.max(1)).take(CLUSTERS).map(<[f32]>::to_vec).collect();
    let found = plain::k_means(&points, centres, ROUNDS, threads);
    let numbered = (0u32..).zip(found).map(|(number, (count, centre))| (number, count, centre));
    session.from_vec(numbered.collect())?.named(["cluster", "points", "centre"])?.write_parquet(out).map(drop)
}
