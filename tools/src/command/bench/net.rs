//! `windrow bench net`: how fast bytes go between two processes of this machine, beside bare quinn and TCP.
//!
//! In: how much, how often. Out: a line a measurement, then the medians and their ratios. Never: a ratio of numbers from two runs.

use std::{env, path::PathBuf, process::Command};

use serde::Serialize;
use windrow_net::measure::{Measured, Way, compare, serve};

use super::Lines;
use crate::{
    error::{CommandError, Failure},
    scratch::Scratch,
    signal::Signals,
    size,
};

/// Bytes between two processes: by Windrow's network, by bare quinn streams with its settings, by TCP
#[derive(clap::Args)]
#[command(
    after_help = "The three ways take turns, so that a machine's moods fall on all alike; medians are told at the end.\n\nExamples:\n  windrow bench net\n  windrow bench net --size 4GB --runs 9 --json"
)]
pub struct NetBench {
    /// Bytes of each measurement
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "1GB")]
    size: u64,
    /// How often each way
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// A JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// Be the process that is pulled from: a way, and the folder with its identity
    #[arg(long, hide = true, num_args = 2, value_names = ["WAY", "DIR"])]
    serve: Vec<PathBuf>,
}

/// One measurement, as JSON.
#[derive(Serialize)]
struct Line {
    workload: &'static str,
    way: String,
    run: usize,
    bytes: u64,
    seconds: f64,
    bytes_per_second: f64,
    /// None where nobody asks for it.
    datagram_bytes: Option<u64>,
}

/// What all runs say together, as JSON. Speeds are medians.
#[derive(Serialize)]
struct Medians {
    workload: &'static str,
    runs: u32,
    windrow_bytes_per_second: f64,
    quinn_bytes_per_second: f64,
    tcp_bytes_per_second: f64,
    windrow_over_quinn: f64,
    windrow_over_tcp: f64,
}

impl NetBench {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let failed = |source| Failure::from(CommandError::Net { source });
        if let [way, folder] = &self.serve[..] {
            return serve(way.to_string_lossy().parse().map_err(failed)?, folder).map_err(failed);
        }
        let scratch = Scratch::new(signals)?;
        let own = env::current_exe().map_err(failed)?;
        let measured = compare(self.size, self.runs as usize, scratch.path(), |way, folder| {
            let mut command = Command::new(&own);
            command.args(["bench", "net", "--serve"]).arg(way.to_string()).arg(folder);
            command
        })
        .map_err(failed)?;

        let lines = Lines { is_json: self.json };
        if !self.json {
            lines.write(&format!("{:<8} {:>4} {:>9} {:>9} {:>9}", "way", "run", "seconds", "GB/s", "datagram"))?;
        }
        for (place, one) in measured.iter().enumerate() {
            let run = place / Way::ALL.len() + 1;
            lines.write(&if self.json { to_json(&line(one, run))? } else { row(one, run) })?;
        }
        let [windrow, quinn, tcp] = Way::ALL.map(|way| median(&measured, way));
        if self.json {
            return lines.write(&to_json(&Medians {
                workload: "net",
                runs: self.runs,
                windrow_bytes_per_second: windrow,
                quinn_bytes_per_second: quinn,
                tcp_bytes_per_second: tcp,
                windrow_over_quinn: windrow / quinn,
                windrow_over_tcp: windrow / tcp,
            })?);
        }
        lines.write(&format!(
            "\nmedians of {}: windrow {:.3} GB/s, {:.0} % of bare quinn's {:.3} and {:.0} % of TCP's {:.3}",
            self.runs,
            windrow / 1e9,
            windrow / quinn * 100.0,
            quinn / 1e9,
            windrow / tcp * 100.0,
            tcp / 1e9
        ))
    }
}

fn line(one: &Measured, run: usize) -> Line {
    Line {
        workload: "net",
        way: one.way.to_string(),
        run,
        bytes: one.bytes,
        seconds: one.seconds,
        bytes_per_second: one.bytes as f64 / one.seconds,
        datagram_bytes: (one.datagram_bytes > 0).then_some(one.datagram_bytes),
    }
}

fn row(one: &Measured, run: usize) -> String {
    let datagram = if one.datagram_bytes > 0 { one.datagram_bytes.to_string() } else { "-".to_owned() };
    let (way, seconds, speed) = (one.way.to_string(), one.seconds, one.gigabytes_per_second());
    format!("{way:<8} {run:>4} {seconds:>9.4} {speed:>9.3} {datagram:>9}")
}

fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|source| Failure::of_output(source.into()))
}

/// Bytes a second.
fn median(measured: &[Measured], way: Way) -> f64 {
    let mut speeds: Vec<f64> =
        measured.iter().filter(|one| one.way == way).map(|one| one.bytes as f64 / one.seconds).collect();
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied().unwrap_or_default()
}
