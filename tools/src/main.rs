//! The command `windrow`: a SQL prompt, generators, benches and a demo over one engine, and the processes of a cluster.
//!
//! In: arguments, standard input, files. Out: data on standard output; errors and timings on standard error; an exit code that says
//! who has to act (`error.rs`). Never: holds engine logic, or shows a panic as one.

#![forbid(unsafe_code)]

mod address; // "HOST:PORT" -> address
mod columns; // rows of texts below their heads
mod command; // one file a subcommand
mod error; // Failure, its sentence and its exit code
mod log; // LogFlags: what the cluster's processes write about themselves
mod output; // texts and JSON on standard output
mod panic; // what a panic looks like to the user
mod process; // Process: one that is written down, and not another one
mod progress; // Progress: a line about a job on a cluster
mod scratch; // Scratch: a folder that is gone when the command is
mod service; // Service: how the cluster's processes begin and say that they are there
mod settings; // EngineFlags: --threads, --memory
mod signal; // Signals: SIGINT, SIGTERM and SIGHUP cancel, then end
mod size; // "100MiB" <-> bytes
mod terminal; // what the standard streams are connected to

use std::{env, process::ExitCode};

use clap::Parser;
use windrow::cluster::drive::child::CHILD_VARIABLE;

use crate::{command::Command, signal::Signals};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Batch jobs over columns: SQL and word counts over your files, on all cores or on a cluster.
#[derive(Parser)]
#[command(name = "windrow", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  windrow demo
  windrow sql -c \"select count(*) from 'data/*.parquet'\"
  windrow gen tpch --scale 1 --out tpch
  windrow bench tpch --input tpch
  windrow cluster start --local 2

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no cluster reached, 4 not let in,
5 a limit was reached, 6 corrupt data, 7 a bug of windrow, 130 and 143 interrupted.";

fn main() -> ExitCode {
    if env::var_os(CHILD_VARIABLE).is_some() {
        // A worker has started us: we are a program that somebody has handed in, and our arguments are that program's.
        return windrow::launch(command::program);
    }
    panic::be_quiet();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output, what is wrong to standard error; if nobody reads it, nobody needs it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::USAGE));
        }
    };
    let signals = match Signals::watch() {
        Ok(signals) => signals,
        Err(failure) => return failure.tell(),
    };
    let code = match panic::catch(|| arguments.command.run(&signals)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.tell(),
        Err(code) => code,
    };
    signals.exit_code().unwrap_or(code)
}
