//! What a task of a cluster's job has written: its manifest, and the commit of all of them.
//!
//! In: part files of attempts, beside the output; the manifests of those that count. Out: the output folder with exactly their parts, and
//! `_SUCCESS`. Never: a file of an attempt that does not count; a second output when it is committed again.
//!
//! ```text
//!   .NAME.windrow-JOB/STAGE.TASK.ATTEMPT-N.parquet      written by attempts; those that failed leave theirs
//!   .NAME.windrow-JOB/part-00000.parquet …              1. the parts that count get their names, in order of (stage, task)
//!   .NAME.windrow-JOB/_SUCCESS                          2. all else is removed, then this is written and synced
//!   NAME/                                               3. one rename
//! ```
//! Each step may find itself half done by a driver that died: it goes on from there. After the rename `_SUCCESS` names the job, so that a
//! commit that comes once more knows its own output.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Target, Written,
    commit::{NoName, OutputExists},
};
use crate::{
    error::{Cause, Kind, Result},
    shuffle::{AttemptKey, JobId, digest::Digest},
    store::{StoreError, publish},
};

/// The part files of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Names in the folder beside the output.
    pub(super) files: Vec<String>,
    /// Bytes of all of them.
    pub(super) bytes: u64,
    /// Rows, sum and xor of the hashes of all rows.
    pub(super) digest: (u64, u64, u64),
}

impl Manifest {
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(postcard::to_allocvec(self).map_err(|source| ManifestError::Write { source })?)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Manifest> {
        Ok(postcard::from_bytes(bytes).map_err(|source| ManifestError::Read { source })?)
    }
}

/// Fails if something is at the output's place already.
pub fn check_free(target: &Target) -> Result<()> {
    if fs::symlink_metadata(&target.path).is_ok() {
        return Err(OutputExists { path: target.path.clone() }.into());
    }
    Ok(())
}

/// The folder beside the output in which a job's attempts write.
pub(super) fn aside(target: &Target, job: JobId) -> Result<PathBuf> {
    let name = target.path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| NoName { path: target.path.clone() })?;
    Ok(target.path.parent().unwrap_or(Path::new("")).join(format!(".{name}.windrow-{:016x}", job.0)))
}

/// The name of an attempt's part.
pub(super) fn part_name(key: &AttemptKey, number: usize) -> String {
    format!("{}.{}.{}-{number}.parquet", key.stage, key.task, key.attempt)
}

/// Makes the output of a job visible: the parts of these manifests, in this order, and nothing else.
pub fn commit_manifests<B: AsRef<[u8]>>(target: &Target, job: JobId, manifests: &[B]) -> Result<Written> {
    let manifests = manifests.iter().map(|bytes| Manifest::from_bytes(bytes.as_ref())).collect::<Result<Vec<_>>>()?;
    let mut digest = Digest::default();
    for Manifest { digest: (rows, sum, xor), .. } in &manifests {
        digest.merge(&Digest { rows: *rows, sum: *sum, xor: *xor });
    }
    let bytes = manifests.iter().map(|manifest| manifest.bytes).sum();
    let names: Vec<&String> = manifests.iter().flat_map(|manifest| &manifest.files).collect();
    let written = Written { path: target.path.clone(), files: names.len(), rows: digest.rows, bytes, digest };
    let success = success(&written, job);
    if fs::symlink_metadata(&target.path).is_ok() {
        let own = fs::read_to_string(target.path.join("_SUCCESS")).is_ok_and(|text| text == success);
        return if own { Ok(written) } else { Err(OutputExists { path: target.path.clone() }.into()) };
    }
    let folder = aside(target, job)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Write { path, source }
    };
    let mut kept = Vec::with_capacity(names.len());
    for (number, name) in names.iter().enumerate() {
        let (from, to) = (folder.join(name), folder.join(format!("part-{number:05}.parquet")));
        if fs::symlink_metadata(&to).is_err() {
            fs::rename(&from, &to).map_err(|source| StoreError::Publish { from, to: to.clone(), source })?;
        }
        kept.push(to);
    }
    for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
        let path = entry.map_err(failed(&folder))?.path();
        if !kept.contains(&path) {
            fs::remove_file(&path).map_err(failed(&path))?;
        }
    }
    let path = folder.join("_SUCCESS");
    let mut file = fs::File::create(&path).map_err(failed(&path))?;
    file.write_all(success.as_bytes()).and_then(|()| file.sync_all()).map_err(failed(&path))?;
    fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed(&folder))?;
    publish(&folder, &target.path)?;
    Ok(written)
}

fn success(written: &Written, job: JobId) -> String {
    let Written { files, rows, bytes, digest, .. } = written;
    format!(
        "{{\"version\":1,\"files\":{files},\"rows\":{rows},\"bytes\":{bytes},\"digest\":\"{digest}\",\"job\":\"{:016x}\"}}\n",
        job.0
    )
}

#[derive(Debug, thiserror::Error)]
enum ManifestError {
    #[error("writing the manifest of a task's output")]
    Write { source: postcard::Error },
    #[error("reading the manifest of a task's output")]
    Read { source: postcard::Error },
}

impl Cause for ManifestError {
    fn kind(&self) -> Kind {
        match self {
            ManifestError::Write { .. } => Kind::Internal,
            ManifestError::Read { .. } => Kind::Corrupt,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_comes_again_goes_on_or_knows_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target { path: folder.path().join("out") };
        let job = JobId(7);
        let beside = aside(&target, job).unwrap();
        fs::create_dir(&beside).unwrap();
        for name in ["0.0.1-0.parquet", "0.1.0-0.parquet", "0.1.0-1.parquet", "0.0.0-0.parquet"] {
            fs::write(beside.join(name), name).unwrap();
        }
        let manifest = |files: &[&str], rows| {
            let files = files.iter().map(|name| (*name).to_owned()).collect();
            Manifest { files, bytes: 10, digest: (rows, rows, 0) }.to_bytes().unwrap()
        };
        let manifests = [manifest(&["0.0.1-0.parquet"], 3), manifest(&["0.1.0-0.parquet", "0.1.0-1.parquet"], 4)];
        // The driver died after the first rename.
        fs::rename(beside.join("0.0.1-0.parquet"), beside.join("part-00000.parquet")).unwrap();
        for _ in 0..2 {
            let written = commit_manifests(&target, job, &manifests).unwrap();
            assert_eq!((written.files, written.rows, written.bytes), (3, 7, 20));
        }
        let part = |number: usize| fs::read_to_string(target.path.join(format!("part-{number:05}.parquet"))).unwrap();
        assert_eq!(
            (part(0), part(1), part(2)),
            ("0.0.1-0.parquet".into(), "0.1.0-0.parquet".into(), "0.1.0-1.parquet".into())
        );
        assert_eq!(fs::read_dir(&target.path).unwrap().count(), 4);
        let other = commit_manifests(&target, JobId(8), &manifests).unwrap_err();
        assert_eq!(other.kind(), Kind::Request);
    }
}
