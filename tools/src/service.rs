//! What the cluster's processes have in common: how they begin, and how they say that they are there.
//!
//! In: whether somebody started them who waits. Out: one line on standard output. Never: a second one.

use std::io::{self, Write};

use windrow::operator::Cancel;

use crate::process;

/// How such a process was started.
#[derive(clap::Args)]
pub struct Service {
    /// In a session of its own, for who started it: it ends if that one is gone before it is ready
    #[arg(long, hide = true)]
    detached: bool,
}

impl Service {
    /// Begins to be one; what is given back stops it.
    pub fn begin(&self) -> Cancel {
        if self.detached {
            process::detach();
        }
        Cancel::default()
    }

    /// Says where it is.
    pub fn ready(&self, line: &str, stop: &Cancel) {
        tracing::info!("{line} is ready");
        let mut out = io::stdout().lock();
        let said = writeln!(out, "{line}").and_then(|()| out.flush());
        if said.is_err() && self.detached {
            tracing::error!("who started this process is gone");
            stop.cancel();
        }
    }
}
