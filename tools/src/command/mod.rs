//! The subcommands, one file each.
//!
//! In: parsed arguments. Out: what the command does. Never: an exit code; that is the failure's.

mod bench; // bench tpch, bench wordcount, bench net
mod cluster; // cluster start, cluster status, cluster stop; a cluster for one command
mod coordinator; // coordinator
mod demo; // demo
mod generate; // gen tpch, gen text, gen groups
mod jobs; // jobs list, jobs show, jobs cancel
mod sql; // sql
mod submit; // submit: a program of ours, or mappers and reducers of any language
mod worker; // worker

pub use cluster::ClusterError;
use windrow::{Result as Windrow, Session};

use crate::{error::Failure, signal::Signals};

/// What to do; each says itself what it does.
#[derive(clap::Subcommand)]
pub enum Command {
    Sql(sql::Sql),
    Gen(generate::Generate),
    Bench(bench::Bench),
    Demo(demo::Demo),
    Cluster(cluster::Cluster),
    Submit(submit::Submit),
    Jobs(jobs::Jobs),
    Coordinator(coordinator::Coordinator),
    Worker(worker::Worker),
    /// A workload without the engine, which is started beside it
    #[command(name = windrow_bench::PLAIN_PROGRAM, hide = true)]
    Plain {
        /// NAME INPUT FOLDER RUNS
        words: Vec<String>,
    },
}

/// The entry of this binary under a worker, which runs it as the program of a job.
pub fn program(session: &Session, arguments: &[String]) -> Windrow<()> {
    match arguments.first().map(String::as_str) {
        Some(submit::PROGRAM) => submit::program(session, arguments),
        _ => windrow_bench::program(session, arguments),
    }
}

impl Command {
    /// Does it.
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        match self {
            Command::Sql(command) => command.run(signals),
            Command::Gen(command) => command.run(signals),
            Command::Bench(command) => command.run(signals),
            Command::Demo(command) => command.run(signals),
            Command::Cluster(command) => command.run(signals),
            Command::Submit(command) => command.run(signals),
            Command::Jobs(command) => command.run(),
            Command::Coordinator(command) => command.run(signals),
            Command::Worker(command) => command.run(signals),
            Command::Plain { words } => Ok(windrow_bench::plain_program(words)?),
        }
    }
}
