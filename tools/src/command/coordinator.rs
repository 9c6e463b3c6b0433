//! `windrow coordinator`: leads a cluster's jobs, in the foreground.
//!
//! In: where to listen, a certificate, a folder for the journal. Out: its address as a line on standard output once it can be reached;
//! logs on standard error. Never: ends while nobody asks it to.

use std::{net::SocketAddr, path::PathBuf};

use windrow::cluster::drive::{CoordinatorOptions, run_coordinator};

use crate::{address, error::Failure, log::LogFlags, service::Service, signal::Signals};

/// Lead a cluster, in the foreground
#[derive(clap::Args)]
#[command(
    after_help = "A coordinator that is started again over the same folder goes on with the jobs of the one before.\n\nExample:\n  windrow coordinator --bind 10.0.0.1:7000 --identity certificates/coordinator --folder coordinator"
)]
pub struct Coordinator {
    /// Where to listen; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS", value_parser = address::parse)]
    bind: SocketAddr,
    /// Folder with its certificate and key
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// Folder for its journal and the event logs of jobs
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    service: Service,
}

impl Coordinator {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        self.log.start()?;
        let stop = self.service.begin();
        let _service = signals.service(stop.clone());
        let options =
            CoordinatorOptions { bind: self.bind, identity: self.identity.clone(), folder: self.folder.clone() };
        let ready = |address| self.service.ready(&format!("coordinator {address}"), &stop);
        Ok(run_coordinator(options, stop.clone(), ready)?)
    }
}
