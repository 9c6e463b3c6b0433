//! The output commit: everything appears at once, or nothing.
//!
//! In: part files, closed. Out: the output folder with its parts and `_SUCCESS`. Never: touches a folder that was there before.
//!
//! 1. `begin` makes `.NAME.windrow-PID-MOMENT` beside the output; the parts are written there.
//! 2. `commit` closes and syncs the parts, writes `_SUCCESS` (rows, bytes and digest), and renames the folder to its final name.
//! 3. Dropped before that, it removes the temporary folder. A crash leaves it behind under its hidden name, which no table reads.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Target,
    manifest::{self, Manifest},
};
use crate::{
    error::{Cause, Kind, Result, bug},
    shuffle::{AttemptKey, digest::Digest},
    store::{StoreError, create_dir, publish, remove_all},
};

/// What a job has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The output folder.
    pub path: PathBuf,
    /// Part files.
    pub files: usize,
    /// Rows in all of them.
    pub rows: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Sum and xor of the hashes of all rows.
    pub digest: Digest,
}

/// An output that is not committed yet.
#[derive(Debug)]
pub(super) struct Commit {
    target: Target,
    aside: PathBuf,
    is_committed: bool,
    /// The output is a job's of a cluster: this is one attempt's share of it.
    attempt: Option<AttemptKey>,
}

impl Commit {
    pub(super) fn begin(target: &Target) -> Result<Commit> {
        if fs::symlink_metadata(&target.path).is_ok() {
            return Err(OutputExists { path: target.path.clone() }.into());
        }
        let name = target.path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| NoName { path: target.path.clone() })?;
        let parent = target.path.parent().unwrap_or(Path::new(""));
        // Not the process's number alone: in a container each run has the same, and a crashed one leaves its folder.
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let aside = parent.join(format!(".{name}.windrow-{}-{moment:x}", std::process::id()));
        create_dir(&aside)?;
        Ok(Commit { target: target.clone(), aside, is_committed: false, attempt: None })
    }

    /// The share of one attempt at a task of a cluster's job: its parts stand beside those of the other tasks.
    pub(super) fn begin_attempt(target: &Target, key: AttemptKey) -> Result<Commit> {
        let aside = manifest::aside(target, key.job)?;
        fs::create_dir_all(&aside).map_err(|source| StoreError::Create { path: aside.clone(), source })?;
        Ok(Commit { target: target.clone(), aside, is_committed: false, attempt: Some(key) })
    }

    /// What an attempt has written; it stays until the job is committed.
    pub(super) fn manifest(mut self, files: usize, bytes: u64, digest: Digest) -> Result<Vec<u8>> {
        let key = self.attempt.ok_or_else(|| bug("sink", "the manifest of an output that is no cluster's"))?;
        let files = (0..files).map(|number| manifest::part_name(&key, number)).collect();
        self.is_committed = true;
        Manifest { files, bytes, digest: (digest.rows, digest.sum, digest.xor) }.to_bytes()
    }

    /// The place of part `number`.
    pub(super) fn part(&self, number: usize) -> PathBuf {
        match &self.attempt {
            Some(key) => self.aside.join(manifest::part_name(key, number)),
            None => self.aside.join(format!("part-{number:05}.parquet")),
        }
    }

    /// Makes the output visible. All parts are closed and synced.
    pub(super) fn commit(mut self, files: usize, bytes: u64, digest: Digest) -> Result<Written> {
        let success = self.aside.join("_SUCCESS");
        let text = format!(
            "{{\"version\":1,\"files\":{files},\"rows\":{},\"bytes\":{bytes},\"digest\":\"{digest}\"}}\n",
            digest.rows
        );
        let failed = |source| StoreError::Write { path: success.clone(), source };
        let mut file = fs::File::create_new(&success).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::File::open(&self.aside).and_then(|folder| folder.sync_all()).map_err(failed)?;
        publish(&self.aside, &self.target.path)?;
        self.is_committed = true;
        Ok(Written { path: self.target.path.clone(), files, rows: digest.rows, bytes, digest })
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        // What an attempt leaves is removed by the job's commit.
        if !self.is_committed && self.attempt.is_none() {
            // Nobody is left to be told; the folder's hidden name keeps it out of every table.
            let _ = remove_all(&self.aside);
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("writing to {}: something is there already", path.display())]
pub(super) struct OutputExists {
    pub(super) path: PathBuf,
}

impl Cause for OutputExists {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some("choose another output, or remove this one".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("writing to {}: the path has no name for a folder", path.display())]
pub(super) struct NoName {
    pub(super) path: PathBuf,
}

impl Cause for NoName {
    fn kind(&self) -> Kind {
        Kind::Request
    }
}
