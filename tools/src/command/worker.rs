//! `windrow worker`: works for a cluster, in the foreground.
//!
//! In: where the coordinator is, a name and its certificate, a folder for the spool, how much of the machine. Out: its address as a
//! line on standard output once it can be reached; logs on standard error. Never: another's files: the spool has a folder of its own
//! in the one that is given.

use std::{net::SocketAddr, path::PathBuf};

use windrow::{cluster::drive::WorkerOptions, dataset::run_worker};

use super::cluster::{BINARIES_FOLDER, SPOOL_FOLDER};
use crate::{address, error::Failure, log::LogFlags, service::Service, settings::EngineFlags, signal::Signals, size};

/// Work for a cluster, in the foreground
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  windrow worker --join 10.0.0.1:7000 --name w1 --bind 10.0.0.2:0 --identity certificates/w1 --folder spool"
)]
pub struct Worker {
    /// Where the coordinator is
    #[arg(long, value_name = "ADDRESS", value_parser = address::parse)]
    join: SocketAddr,
    /// Its name in the cluster, as its certificate says it
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where other workers reach it; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS", value_parser = address::parse)]
    bind: SocketAddr,
    /// Folder with its certificate and key
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// Folder in which it keeps rows for others, and binaries of programs; rows that an earlier worker left there are removed
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Most bytes of rows that one job may keep, as 100GiB [default: until the disk is full]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    spool_size: Option<u64>,
    #[command(flatten)]
    engine: EngineFlags,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    service: Service,
}

impl Worker {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let settings = self.engine.settings_within(&self.folder)?;
        self.log.start()?;
        let stop = self.service.begin();
        let _service = signals.service(stop.clone());
        let options = WorkerOptions {
            name: self.name.clone(),
            coordinator: self.join,
            bind: self.bind,
            identity: self.identity.clone(),
            spool: vec![self.folder.join(SPOOL_FOLDER)],
            binaries: self.folder.join(BINARIES_FOLDER),
            spool_bytes: self.spool_size.unwrap_or(u64::MAX),
            settings,
        };
        let ready = |address| self.service.ready(&format!("worker {} {address}", self.name), &stop);
        Ok(run_worker(options, stop.clone(), ready)?)
    }
}
