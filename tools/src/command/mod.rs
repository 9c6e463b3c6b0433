//! The subcommands, one file each.
//!
//! In: parsed arguments. Out: what the command does. Never: an exit code; that is the failure's.

mod bench; // bench tpch, bench wordcount
mod demo; // demo
mod generate; // gen tpch, gen text
mod sql; // sql

use crate::{error::Failure, signal::Signals};

/// What to do; each says itself what it does.
#[derive(clap::Subcommand)]
pub enum Command {
    Sql(sql::Sql),
    Gen(generate::Generate),
    Bench(bench::Bench),
    Demo(demo::Demo),
}

impl Command {
    /// Does it.
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        match self {
            Command::Sql(command) => command.run(signals),
            Command::Gen(command) => command.run(signals),
            Command::Bench(command) => command.run(signals),
            Command::Demo(command) => command.run(signals),
        }
    }
}
