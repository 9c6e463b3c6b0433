//! The flags that every command with an engine has.
//!
//! In: `--threads`, `--memory`, `--spill`, `--split-size`. Out: the engine's settings, checked. Never: a default of its own; those are the engine's.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windrow::{Result as Windrow, Session, Settings, scan::check_split_bytes};

use crate::{
    error::{CommandError, Failure},
    size,
};

/// How much of the machine a command may use.
#[derive(clap::Args)]
pub struct EngineFlags {
    /// Threads that compute [default: all of the machine]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Memory that operators may hold together, as 4GiB [default: three quarters of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    memory: Option<u64>,
    /// Folder for rows that memory does not hold; may be given several times [default: the system's folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    spill: Vec<PathBuf>,
    /// Memory that operators may hold together before they begin to spill; results do not depend on it
    #[arg(long, value_name = "SIZE", value_parser = size::parse, hide = true)]
    revocable: Option<u64>,
    /// Rows that a thread takes at once; results do not depend on it
    #[arg(long, value_name = "N", hide = true)]
    rows_per_morsel: Option<usize>,
}

/// How files are cut.
#[derive(clap::Args, Clone, Copy, Serialize, Deserialize)]
pub struct SplitFlag {
    /// Bytes of a file that a thread reads at once, or a mapper sees in one life; answers do not depend on it [default: 2MiB, of CSV 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = split_size)]
    split_size: Option<u64>,
}

fn split_size(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text).map_err(|error| error.to_string())?;
    check_split_bytes(bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

impl SplitFlag {
    /// Lets the session's files be cut so.
    pub fn set(self, session: &Session) -> Windrow<()> {
        self.split_size.map_or(Ok(()), |bytes| session.set_split_bytes(bytes))
    }
}

impl EngineFlags {
    /// On a cluster the workers have their own: flags that would do nothing are refused.
    pub fn none_on_cluster(&self) -> Result<(), Failure> {
        if self.threads.is_some() || self.memory.is_some() || !self.spill.is_empty() {
            return Err(Failure::Usage(CommandError::WorkersOwn.into()));
        }
        Ok(())
    }

    /// The settings; what is out of range is wrong usage.
    pub fn settings(&self) -> Result<Settings, Failure> {
        self.over(Settings::default())
    }

    /// The settings of a process with a folder of its own: there go the rows that memory does not hold, unless a folder is given.
    pub fn settings_within(&self, folder: &Path) -> Result<Settings, Failure> {
        self.over(Settings { spill_folders: vec![folder.to_owned()], ..Settings::default() })
    }

    fn over(&self, default: Settings) -> Result<Settings, Failure> {
        Settings {
            threads: self.threads.unwrap_or(default.threads),
            memory_bytes: self.memory.unwrap_or(default.memory_bytes),
            revocable_bytes: self.revocable,
            spill_folders: if self.spill.is_empty() { default.spill_folders } else { self.spill.clone() },
            rows_per_morsel: self.rows_per_morsel.unwrap_or(default.rows_per_morsel),
        }
        .checked()
        .map_err(Failure::Usage)
    }
}

/// Threads of a command without an engine.
pub fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| Settings::default().threads)
}
