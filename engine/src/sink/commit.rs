//! The commit of an output: everything appears at once, or nothing.
//!
//! In: part files, closed and synced; the manifests of those that count. Out: the output folder with exactly their parts, those that were
//! there before where they stay, and `_SUCCESS`. Never: a file of an attempt that does not count; a second output when it is committed again;
//! removes what is no output.
//!
//! 1. The parts that count are renamed into `.NAME.windrow-JOB.new`, in order of (stage, task).
//! 2. Where files are added to what is there, that gets second names there. `_SUCCESS` is written, with the sum.
//! 3. The folder gets the output's name: by a rename, or, where an output is there, as the two exchange their names. Who lists the folder sees
//!    the one or the other; who opens a file that was listed and is gone is told so: parts of an output that comes to or in the place of
//!    another have the job in their names, so that none is taken for another's.
//! 4. What was there, and all that is beside, is removed.
//!
//! Each step may find itself half done by a driver that died: it goes on from there. After step 3 `_SUCCESS`, or a part, names the job, so that
//! a commit that comes once more knows its own output. Who commits to an output that is there holds a lock on its `_SUCCESS`: of two that
//! add to it, one does so to what the other has made.
//!
//! Where the file system cannot exchange names (some network file systems), step 3 is two renames: for the moment between them there is no
//! output. A run that ends just there leaves what was there as `.NAME.windrow-JOB.old`; the next one puts it back.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    IfExists, Target,
    beside::{Beside, exists, inside, name_of, remove_ended},
    manifest::Manifest,
    success::{self, Success},
};
use crate::{
    error::{Cause, Kind, Result},
    shuffle::{JobId, digest::Digest},
    store::{Disk, StoreError},
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

/// Fails if the target's place is not as it must be for the job to end well; removes what ended runs have left beside it.
pub fn prepare(disk: &Disk, target: &Target) -> Result<()> {
    remove_ended(disk, target)?;
    check_place(target)
}

/// Fails if the target's place is not as it must be for a job to end well.
pub fn check_place(target: &Target) -> Result<()> {
    match Present::look(target)? {
        Some(present) => present.check(target),
        None => Ok(()),
    }
}

/// Makes the output of an action of a cluster's job visible: the parts of these manifests, in this order, and nothing else.
pub fn commit_manifests<B: AsRef<[u8]>>(
    disk: &Disk,
    target: &Target,
    (job, action): (JobId, u32),
    manifests: &[B],
) -> Result<Written> {
    let manifests = manifests.iter().map(|bytes| Manifest::from_bytes(bytes.as_ref())).collect::<Result<Vec<_>>>()?;
    let beside = Beside::of_job(target, job)?;
    // A program may write to one output more than once.
    let id = if action == 0 { name_of(job) } else { format!("{}.{action}", name_of(job)) };
    let written = commit(disk, target, &beside, &id, &manifests)?;
    let _ = disk.remove_all(&beside.work);
    Ok(written)
}

/// Removes what the attempts of a job that has ended have written and nobody wants, as far as it can be. A commit that is on its way beside it
/// misses its parts then, and fails; what it has put together is not touched.
pub fn discard(disk: &Disk, target: &Target, job: JobId) {
    if let Ok(beside) = Beside::of_job(target, job) {
        // The job's own error is the one to tell.
        let _ = disk.remove_all(&beside.work);
    }
}

pub(super) fn commit(
    disk: &Disk,
    target: &Target,
    beside: &Beside,
    id: &str,
    manifests: &[Manifest],
) -> Result<Written> {
    let mut digest = Digest::default();
    manifests.iter().for_each(|manifest| digest.merge(&manifest.digest()));
    let bytes = manifests.iter().map(|manifest| manifest.bytes).sum();
    let parts = parts_of(target, id, manifests);
    let written = Written { path: target.path.clone(), files: parts.len(), rows: digest.rows, bytes, digest };
    beside.put_back(disk, &target.path)?;
    if !is_own(target, id, &parts)? {
        let present = Present::locked(disk, target)?;
        let success = Success::new(target, id, parts.len(), bytes, &digest);
        let success = match &present {
            Some(Present { success: Some(before), .. }) if target.if_exists == IfExists::Append => success.and(before),
            _ => success,
        };
        let added_to = present.is_some() && target.if_exists == IfExists::Append;
        put_together(disk, beside, &parts, added_to.then_some(&target.path))?;
        write_success(disk, &beside.new, &success)?;
        publish(disk, beside, &target.path, present.is_some())?;
    }
    // It is visible: what cannot be removed now is left for the next run.
    let _ = [&beside.new, &beside.old].map(|place| disk.remove_all(place));
    Ok(written)
}

/// A part: its name where attempts write, and where it belongs in the output.
struct Part {
    name: String,
    folder: String,
    place: PathBuf,
}

fn parts_of(target: &Target, id: &str, manifests: &[Manifest]) -> Vec<Part> {
    let before = match target.if_exists {
        IfExists::Fail => "part-".to_owned(),
        IfExists::Overwrite | IfExists::Append => format!("part-{id}-"),
    };
    let ending = target.format.ending();
    let files = manifests.iter().flat_map(|manifest| manifest.files(ending));
    let part = |(number, (name, folder)): (usize, (String, &str))| Part {
        name,
        folder: folder.to_owned(),
        place: Path::new(folder).join(format!("{before}{number:05}.{ending}")),
    };
    files.enumerate().map(part).collect()
}

/// Whether the output is this job's already. One that was added to may have had others added since: then its parts tell.
fn is_own(target: &Target, id: &str, parts: &[Part]) -> Result<bool> {
    let is_last = Success::read(&target.path)?.is_some_and(|success| success.job == id);
    let is_within = || parts.first().is_some_and(|part| exists(&target.path.join(&part.place)));
    Ok(is_last || (target.if_exists == IfExists::Append && is_within()))
}

/// An output that is there.
struct Present {
    success: Option<Success>,
    /// Its `_SUCCESS`, locked if it is asked for.
    lock: Option<File>,
}

impl Present {
    /// What is there now; `None` where nothing is.
    fn look(target: &Target) -> Result<Option<Present>> {
        if !exists(&target.path) {
            return Ok(None);
        }
        let path = target.path.join(success::NAME);
        let lock = match OpenOptions::new().read(true).write(target.if_exists != IfExists::Fail).open(&path) {
            Ok(lock) => Some(lock),
            // What is there is an error anyway, or no output.
            Err(_) if target.if_exists == IfExists::Fail => None,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(source) => return Err(StoreError::Open { path, source }.into()),
        };
        Ok(Some(Present { success: Success::read(&target.path)?, lock }))
    }

    /// What is there, which nobody else replaces or adds to until this is dropped; what the target wants of it holds.
    fn locked(disk: &Disk, target: &Target) -> Result<Option<Present>> {
        loop {
            let Some(present) = Present::look(target)? else { return Ok(None) };
            present.check(target)?;
            let path = target.path.join(success::NAME);
            let failed = |source| StoreError::Open { path: path.clone(), source };
            let Some(lock) = &present.lock else { continue };
            disk.lock(lock, &path)?;
            // Who waited may have been given the lock of an output that is no longer there.
            let (held, there) = (lock.metadata().map_err(failed)?, path.metadata());
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
                let success = Success::read(&target.path)?;
                return Ok(Some(Present { success, ..present }));
            }
        }
    }

    fn check(&self, target: &Target) -> Result<()> {
        let path = || target.path.clone();
        match (target.if_exists, &self.success) {
            (IfExists::Fail, _) => Err(CommitError::Exists { path: path() }.into()),
            _ if target.path.is_symlink() => Err(CommitError::Link { path: path() }.into()),
            _ if self.lock.is_none() => Err(CommitError::NoOutput { path: path() }.into()),
            (IfExists::Overwrite, _) => Ok(()),
            (IfExists::Append, Some(success)) => success.check_append(target),
            (IfExists::Append, None) => Err(CommitError::NoOutput { path: path() }.into()),
        }
    }
}

/// Step 1 and the first half of 2: the parts, and second names for what is added to.
fn put_together(disk: &Disk, beside: &Beside, parts: &[Part], added_to: Option<&PathBuf>) -> Result<()> {
    let Beside { new, work, .. } = beside;
    disk.create_dirs(new)?;
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for part in parts {
        let (from, to) = (work.join(&part.name), new.join(&part.place));
        let folder = new.join(&part.folder);
        if folders.insert(folder.clone()) {
            disk.create_dirs(&folder)?;
        }
        if !exists(&to) {
            disk.rename(&from, &to)?;
        }
    }
    // An earlier try may have given names to what is no longer there.
    let own: BTreeSet<PathBuf> = parts.iter().map(|part| new.join(&part.place)).collect();
    for path in files_in(new)?.into_iter().filter(|path| !own.contains(path)) {
        disk.remove_file(&path)?;
    }
    for from in added_to.map(|output| files_in(output)).transpose()?.unwrap_or_default() {
        let inside = added_to.and_then(|output| from.strip_prefix(output).ok()).unwrap_or(&from);
        if inside == Path::new(success::NAME) {
            continue;
        }
        let to = new.join(inside);
        let folder = to.parent().unwrap_or(new).to_owned();
        if folders.insert(folder.clone()) {
            disk.create_dirs(&folder)?;
        }
        disk.link(&from, &to)?;
    }
    // The folders between them and the output have names to keep, too.
    let all: BTreeSet<&Path> = folders.iter().flat_map(|folder| folder.ancestors()).collect();
    all.into_iter()
        .filter(|folder| folder.starts_with(new) && *folder != new)
        .try_for_each(|folder| disk.sync_dir(folder))
}

/// All files in a folder and in those within it.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in inside(folder)? {
        let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if is_folder { files.extend(files_in(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

fn write_success(disk: &Disk, folder: &Path, success: &Success) -> Result<()> {
    let path = folder.join(success::NAME);
    let file = disk.create(&path)?;
    disk.write(&file, &path, 0, success.to_line()?.as_bytes())?;
    disk.sync(&file, &path)?;
    disk.sync_dir(folder)
}

/// Step 3. `is_there`: there is an output.
fn publish(disk: &Disk, beside: &Beside, output: &Path, is_there: bool) -> Result<()> {
    if !is_there {
        if exists(output) {
            return Err(CommitError::Exists { path: output.to_owned() }.into());
        }
        disk.rename(&beside.new, output)?;
    } else if !disk.exchange(&beside.new, output)? {
        disk.rename(output, &beside.old)?;
        disk.rename(&beside.new, output)?;
    }
    disk.sync_dir(&beside.parent)
}

#[derive(Debug, thiserror::Error)]
enum CommitError {
    #[error("writing to {}: something is there already", path.display())]
    Exists { path: PathBuf },
    #[error("writing to {}: what is there is no output of a job that has ended: it has no _SUCCESS", path.display())]
    NoOutput { path: PathBuf },
    #[error("writing to {}: it is a link, whose target cannot change its place", path.display())]
    Link { path: PathBuf },
}

impl Cause for CommitError {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        let hint = match self {
            CommitError::Exists { .. } => {
                "choose another output, remove this one, or ask for it to be overwritten or appended to"
            }
            CommitError::Link { .. } => "name the folder that it leads to",
            CommitError::NoOutput { .. } => "choose another output, or remove what is there",
        };
        Some(hint.to_owned())
    }
}
