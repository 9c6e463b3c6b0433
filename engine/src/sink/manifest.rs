//! What an attempt at a task has written: its manifest.
//!
//! In: numbers of files, folders and sums. Out: bytes that the coordinator keeps unread, and the manifest again. Never: a folder outside of the output.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Cause, Kind, Result},
    shuffle::{AttemptKey, digest::Digest},
};

/// The part files of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Stage, task and attempt: they are in the names of its files.
    key: (u32, u32, u32),
    /// The folders of the output, empty for the output itself, with the numbers of the files that belong there.
    folders: Vec<(String, Vec<u32>)>,
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// Rows, sum and xor of the hashes of all rows.
    digest: (u64, u64, u64),
}

impl Manifest {
    pub(super) fn new(key: &AttemptKey, folders: Vec<(String, Vec<u32>)>, bytes: u64, digest: &Digest) -> Manifest {
        let key = (key.stage.0, key.task.0, key.attempt.0);
        Manifest { key, folders, bytes, digest: (digest.rows, digest.sum, digest.xor) }
    }

    pub(super) fn digest(&self) -> Digest {
        let (rows, sum, xor) = self.digest;
        Digest { rows, sum, xor }
    }

    /// The names of the files where attempts write, each with the folder that it belongs to.
    pub(super) fn files(&self, ending: &str) -> impl Iterator<Item = (String, &str)> {
        self.folders.iter().flat_map(move |(folder, numbers)| {
            numbers.iter().map(move |number| (name_of_part(self.key, *number, ending), folder.as_str()))
        })
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(postcard::to_allocvec(self).map_err(|source| ManifestError::Write { source })?)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Manifest> {
        let manifest: Manifest = postcard::from_bytes(bytes).map_err(|source| ManifestError::Read { source })?;
        let leads_out = |folder: &str| folder.starts_with('/') || folder.split('/').any(|part| part == "..");
        match manifest.folders.iter().find(|(folder, _)| leads_out(folder)) {
            Some((folder, _)) => Err(ManifestError::LeadsOut { folder: folder.clone() }.into()),
            None => Ok(manifest),
        }
    }
}

/// The name of an attempt's part.
pub(super) fn part_name(key: &AttemptKey, number: u32, ending: &str) -> String {
    name_of_part((key.stage.0, key.task.0, key.attempt.0), number, ending)
}

fn name_of_part((stage, task, attempt): (u32, u32, u32), number: u32, ending: &str) -> String {
    format!("{stage}.{task}.{attempt}-{number}.{ending}")
}

#[derive(Debug, thiserror::Error)]
enum ManifestError {
    #[error("writing the manifest of a task's output")]
    Write { source: postcard::Error },
    #[error("reading the manifest of a task's output")]
    Read { source: postcard::Error },
    #[error("reading the manifest of a task's output: {folder:?} is no folder of it")]
    LeadsOut { folder: String },
}

impl Cause for ManifestError {
    fn kind(&self) -> Kind {
        match self {
            ManifestError::Write { .. } => Kind::Internal,
            ManifestError::Read { .. } | ManifestError::LeadsOut { .. } => Kind::Corrupt,
        }
    }
}
