//! A cluster that one command starts for itself, and that ends with it.
//!
//! In: how many workers, a folder that is there. Out: whom to ask. Never: a process left behind by an error or a signal; something
//! written outside of the folder.

use std::{io::Write, path::Path};

use windrow::Settings;

use super::{
    Contact,
    folder::{ClusterFolder, ClusterName},
    start::{Given, StartOptions, share, start},
    stop::stop,
};
use crate::{
    error::Failure,
    signal::{OnExit, Signals},
};

/// See above.
pub struct TemporaryCluster {
    folder: ClusterFolder,
    _on_exit: OnExit,
}

impl TemporaryCluster {
    /// Starts so many workers, who share what `settings` allow; what is written down of them stands in `folder`.
    pub fn start(
        folder: &Path,
        workers: u32,
        settings: &Settings,
        signals: &Signals,
    ) -> Result<TemporaryCluster, Failure> {
        let folder = ClusterFolder::within(folder, &ClusterName::own());
        let threads = (settings.threads / workers as usize).max(1);
        let settings = share(workers, Some(threads), Some(settings.memory_bytes / u64::from(workers)))?;
        let given = Given::default();
        start(&StartOptions { folder: folder.clone(), workers, settings, given, spool: None }, signals)?;
        let own = folder.clone();
        let on_exit = signals.on_exit(move || end(&own));
        Ok(TemporaryCluster { folder, _on_exit: on_exit })
    }

    /// How it is asked.
    pub fn contact(&self) -> Result<Contact, Failure> {
        Ok(Contact::at(self.folder.clone())?)
    }
}

impl Drop for TemporaryCluster {
    fn drop(&mut self) {
        end(&self.folder);
    }
}

fn end(folder: &ClusterFolder) {
    if let Err(error) = stop(folder) {
        // There is no other command in which somebody would hear of it.
        let _ = writeln!(std::io::stderr(), "warning: {error}");
    }
}
