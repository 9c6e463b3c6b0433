//! `windrow cluster`: a coordinator and workers on this machine, started, seen, stopped.
//!
//! In: a name, how many workers. Out: processes that outlive the command, and a folder that tells of them. Never: a process that is
//! not written down; one stopped that is not ours.

mod engine; // certify, Contact: where the engine is met
mod error; // ClusterError
mod folder; // ClusterName, ClusterFolder, Record: what is written down
mod start; // cluster start
mod status; // cluster status
mod stop; // cluster stop
mod temporary; // TemporaryCluster: one that ends with its command

pub use engine::Contact;
pub use error::ClusterError;
pub use folder::{BINARIES_FOLDER, ClusterName, SPOOL_FOLDER};
pub use temporary::TemporaryCluster;

use crate::{error::Failure, signal::Signals};

/// The cluster that is meant where none is named.
pub const DEFAULT: &str = "local";

/// Start, see and stop a cluster on this machine
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  windrow cluster start --local 4\n  windrow cluster status\n  windrow sql --cluster local -c \"select count(*) from 'data/*.parquet'\"\n  windrow cluster stop"
)]
pub struct Cluster {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Start(start::Start),
    Status(status::Status),
    Stop(stop::Stop),
}

/// Which cluster.
#[derive(clap::Args)]
pub struct NameFlag {
    /// The cluster's name
    #[arg(long, value_name = "NAME", default_value = DEFAULT)]
    name: ClusterName,
}

impl Cluster {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        match &self.what {
            What::Start(command) => command.run(signals),
            What::Status(command) => command.run(),
            What::Stop(command) => command.run(),
        }
    }
}
