//! Where a cluster of this machine is written down: a folder of its user's own.
//!
//! In: a cluster's name, the environment. Out: its folder, its record, a lock for who changes it. Never: a record that is half
//! written; a folder that others may read.
//!
//! ```text
//!   $WINDROW_STATE_DIR | $XDG_STATE_HOME/windrow | $HOME/.local/state/windrow
//!     clusters/
//!       NAME.lock              held while NAME is started or stopped
//!       NAME/                  for its owner only
//!         cluster.json         the record: which processes, where
//!         authority/           the key that signs who belongs to the cluster
//!         identity/WHO/        certificate and key of coordinator, w1, w2, …, client
//!         WHO/                 a process's own folder: journal, spool, binaries of programs
//!         WHO.log              what it says on standard error
//! ```

use std::{
    env, fmt,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use windrow::cluster::drive::lock_of;

use super::error::{ClusterError, NameError};
use crate::process::Process;

/// Of [`Record`]: raised when its meaning changes.
const VERSION: u32 = 1;
/// Its file.
const RECORD_FILE: &str = "cluster.json";
/// The identity of who asks.
pub const CLIENT: &str = "client";
/// In a worker's folder: what it keeps for others.
pub const SPOOL_FOLDER: &str = "windrow-spool";
/// Beside it: the binaries of programs that it was given to run.
pub const BINARIES_FOLDER: &str = "windrow-binaries";
/// The name of the coordinator's files and identity.
pub const COORDINATOR: &str = "coordinator";

/// The name of a cluster: small letters, digits, `-`, `_`, `.`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterName(String);

impl FromStr for ClusterName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ClusterName, NameError> {
        // What certificates take (a label of RFC 1035), and no name that hides a folder or leads out of it.
        const LETTERS_MAX: usize = 63;
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !begins || text.len() > LETTERS_MAX || !text.bytes().all(is_letter) {
            return Err(NameError);
        }
        Ok(ClusterName(text.to_owned()))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ClusterName {
    /// Of a cluster that a command starts for itself.
    pub fn own() -> ClusterName {
        ClusterName("own".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a local cluster's worker, from 1.
pub fn worker_name(number: u32) -> String {
    format!("w{number}")
}

/// A cluster as its folder tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// As its folder is called.
    pub name: String,
    /// None until it listens.
    pub coordinator: Option<CoordinatorRecord>,
    /// In the order of their start.
    pub workers: Vec<WorkerRecord>,
    /// A folder elsewhere that was made for the spools, and goes with the cluster.
    #[serde(default)]
    pub spool: Option<PathBuf>,
}

/// The coordinator as it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorRecord {
    /// Which process.
    #[serde(flatten)]
    pub process: Process,
    /// Where it is asked; none until it listens.
    pub address: Option<SocketAddr>,
}

/// A worker as it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its name in the cluster.
    pub id: String,
    /// Which process.
    #[serde(flatten)]
    pub process: Process,
    /// Its threads, for when it is started again.
    #[serde(default)]
    pub threads: Option<usize>,
    /// Its memory, the same.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

impl Record {
    /// Of a cluster without processes yet.
    pub fn new(name: &ClusterName, spool: Option<PathBuf>) -> Record {
        Record { version: VERSION, name: name.0.clone(), coordinator: None, workers: Vec::new(), spool }
    }

    /// Every process with its name: workers, then the coordinator.
    pub fn processes(&self) -> impl Iterator<Item = (&str, &Process)> {
        let workers = self.workers.iter().map(|worker| (worker.id.as_str(), &worker.process));
        workers.chain(self.coordinator.iter().map(|coordinator| (COORDINATOR, &coordinator.process)))
    }
}

/// The folder of a cluster, whether or not it exists.
#[derive(Clone, Debug)]
pub struct ClusterFolder {
    name: ClusterName,
    path: PathBuf,
}

impl ClusterFolder {
    /// Where the cluster `name` is, or would be.
    pub fn of(name: &ClusterName) -> Result<ClusterFolder, ClusterError> {
        Ok(ClusterFolder { name: name.clone(), path: clusters()?.join(&name.0) })
    }

    /// Where a cluster is, or would be, that nobody else is to find: in a folder of the caller's.
    pub fn within(folder: &Path, name: &ClusterName) -> ClusterFolder {
        ClusterFolder { name: name.clone(), path: folder.join(&name.0) }
    }

    /// Whose it is.
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the key that signs certificates.
    pub fn authority(&self) -> PathBuf {
        self.path.join("authority")
    }

    /// The folder of somebody's certificate and key.
    pub fn identity(&self, who: &str) -> PathBuf {
        self.path.join("identity").join(who)
    }

    /// The folder of a process's own files.
    pub fn home(&self, who: &str) -> PathBuf {
        self.path.join(who)
    }

    /// The folder in which a worker keeps rows for others.
    pub fn worker_home(&self, record: &Record, who: &str) -> PathBuf {
        record.spool.as_ref().map_or_else(|| self.home(who), |spool| spool.join(who))
    }

    /// The process that `who` is now: the one that was started, or the one that works in its folder; none if it is dead.
    pub fn running(&self, record: &Record, who: &str) -> Option<Process> {
        let (_, process) = record.processes().find(|(name, _)| *name == who)?;
        if process.is_running() { Some(process.clone()) } else { self.holder(record, who) }
    }

    /// Who works in the folder of a process: another one, where somebody has started it again by hand.
    fn holder(&self, record: &Record, who: &str) -> Option<Process> {
        let lock = match who {
            COORDINATOR => lock_of(&self.home(who)),
            _ => lock_of(&self.worker_home(record, who).join(SPOOL_FOLDER)),
        };
        let mut file = File::open(lock).ok()?;
        if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return None;
        }
        let mut pid = String::new();
        io::Read::read_to_string(&mut file, &mut pid).ok()?;
        Process::of(pid.trim().parse().ok()?).ok()
    }

    /// What a process says on standard error.
    pub fn log(&self, who: &str) -> PathBuf {
        self.path.join(format!("{who}.log"))
    }

    /// Keeps others from starting and stopping this cluster while the lock lives.
    pub fn lock(&self) -> Result<Lock, ClusterError> {
        let clusters = self.path.parent().unwrap_or(&self.path);
        make_private(clusters)?;
        let path = self.lock_path();
        let failed = |source| ClusterError::File { doing: "locking", path: path.clone(), source };
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(ClusterError::Busy { name: self.name.clone() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The file of [`ClusterFolder::lock`].
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_file_name(format!("{}.lock", self.name))
    }

    /// Makes it, with a folder for each identity.
    pub fn make<'a>(&self, whose: impl IntoIterator<Item = &'a str>) -> Result<(), ClusterError> {
        make_private(&self.authority())?;
        whose.into_iter().try_for_each(|who| make_private(&self.identity(who)))
    }

    /// Removes it with all that is in it; one that is not there is removed.
    pub fn remove(&self) -> Result<(), ClusterError> {
        remove(&self.path)
    }

    /// What it tells; none if there is no such cluster.
    pub fn read(&self) -> Result<Option<Record>, ClusterError> {
        let path = self.path.join(RECORD_FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| ClusterError::File { doing: "reading", path: path.clone(), source })?,
        };
        /// What all versions share.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let found: Versioned =
            serde_json::from_slice(&text).map_err(|source| ClusterError::Record { path: path.clone(), source })?;
        if found.version != VERSION {
            return Err(ClusterError::RecordVersion { path, found: found.version, known: VERSION });
        }
        serde_json::from_slice(&text).map(Some).map_err(|source| ClusterError::Record { path, source })
    }

    /// Writes what it tells, whole or not at all.
    pub fn write(&self, record: &Record) -> Result<(), ClusterError> {
        let path = self.path.join(RECORD_FILE);
        let temporary = self.path.join(format!(".{RECORD_FILE}.tmp"));
        let write = || {
            let mut text = serde_json::to_vec(record)?;
            text.push(b'\n');
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| ClusterError::File { doing: "writing", path: path.clone(), source })
    }
}

/// See [`ClusterFolder::lock`]. Given back by the system, however the process ends.
pub struct Lock(#[allow(dead_code)] File);

/// The clusters that are written down on this machine, by name.
pub fn names() -> Vec<ClusterName> {
    // Only to help who asked for another one: what cannot be read is not offered.
    let Ok(entries) = clusters()
        .and_then(|path| fs::read_dir(&path).map_err(|source| ClusterError::File { doing: "listing", path, source }))
    else {
        return Vec::new();
    };
    let is_cluster = |path: &Path| path.join(RECORD_FILE).is_file();
    let name = |path: PathBuf| path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_cluster(path)).filter_map(name).collect();
    names.sort();
    names
}

/// Removes a folder with all that is in it; one that is not there is removed.
pub fn remove(path: &Path) -> Result<(), ClusterError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| ClusterError::File { doing: "removing", path: path.to_owned(), source }),
    }
}

/// Makes a folder and those above it, for their owner only.
pub fn make_private(path: &Path) -> Result<(), ClusterError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| ClusterError::File { doing: "making the folder", path: path.to_owned(), source })
}

/// The folder of all clusters.
fn clusters() -> Result<PathBuf, ClusterError> {
    clusters_by(|variable| env::var_os(variable).map(PathBuf::from)).ok_or(ClusterError::NoHome)
}

/// As [`clusters`], by the values of variables.
fn clusters_by(value: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |variable| value(variable).filter(|path| !path.as_os_str().is_empty());
    // Relative paths in XDG variables are to be ignored, says the XDG Base Directory Specification.
    let state = set("WINDROW_STATE_DIR").and_then(|path| std::path::absolute(path).ok());
    let xdg = || set("XDG_STATE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("windrow"));
    let home = || set("HOME").filter(|path| path.is_absolute()).map(|path| path.join(".local/state/windrow"));
    Some(state.or_else(xdg).or_else(home)?.join("clusters"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(place: &Path) -> ClusterFolder {
        ClusterFolder { name: "local".parse().unwrap(), path: place.join("clusters/local") }
    }

    #[test]
    fn names_are_no_paths() {
        for text in ["local", "a", "field-1", "0.1_x"] {
            assert_eq!(text.parse::<ClusterName>().unwrap().as_str(), text);
        }
        for text in ["", ".", "..", ".a", "-a", "a/b", "A", "é", "a b", &"a".repeat(64)] {
            assert!(text.parse::<ClusterName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_folder_lies_where_the_variables_say() {
        let by = |set: &[(&str, &str)]| {
            let found = clusters_by(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
            found.map(|path| path.to_str().unwrap().to_owned())
        };
        let (state, xdg, home) = (("WINDROW_STATE_DIR", "/s"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h"));
        assert_eq!(by(&[state, xdg, home]).unwrap(), "/s/clusters");
        assert_eq!(by(&[xdg, home]).unwrap(), "/x/windrow/clusters");
        assert_eq!(by(&[home]).unwrap(), "/h/.local/state/windrow/clusters");
        assert_eq!(by(&[("WINDROW_STATE_DIR", ""), ("XDG_STATE_HOME", "x"), home]), by(&[home]));
        assert_eq!(by(&[("HOME", "h")]), None);
        assert!(by(&[("WINDROW_STATE_DIR", "here")]).unwrap().ends_with("/here/clusters"));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let place = tempfile::tempdir().unwrap();
        let folder = folder(place.path());
        assert_eq!(folder.read().unwrap(), None);
        folder.make(["w1"]).unwrap();
        let mut record = Record::new(folder.name(), Some("/spool".into()));
        let process = Process::of(std::process::id()).unwrap();
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 7000)));
        record.coordinator = Some(CoordinatorRecord { process: process.clone(), address });
        record.workers.push(WorkerRecord { id: worker_name(1), process, threads: Some(2), memory_bytes: None });
        folder.write(&record).unwrap();
        assert_eq!(folder.read().unwrap(), Some(record.clone()));
        assert_eq!(record.processes().map(|(who, _)| who).collect::<Vec<_>>(), ["w1", COORDINATOR]);

        let text = fs::read_to_string(folder.path().join(RECORD_FILE)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["name"], "local");
        assert_eq!(json["coordinator"]["address"], "127.0.0.1:7000");
        assert_eq!(json["coordinator"]["pid"], std::process::id());
        assert_eq!((&json["workers"][0]["id"], &json["workers"][0]["pid"]), (&"w1".into(), &std::process::id().into()));
        let files = fs::read_dir(folder.path()).unwrap().flatten();
        assert!(!files.into_iter().any(|entry| entry.path().extension().is_some_and(|ending| ending == "tmp")));
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert_eq!(folder.read().unwrap(), None);
    }

    #[test]
    fn nobody_else_may_look() {
        let place = tempfile::tempdir().unwrap();
        let folder = folder(place.path());
        folder.make(["w1"]).unwrap();
        for path in [folder.path().parent().unwrap(), folder.path(), &folder.authority(), &folder.identity("w1")] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn what_is_no_record_is_told() {
        let place = tempfile::tempdir().unwrap();
        let folder = folder(place.path());
        folder.make([]).unwrap();
        for text in ["", "{}", "{\"version\":1}", "[]", "{\"version\":1,\"name\":3,\"workers\":[]}"] {
            fs::write(folder.path().join(RECORD_FILE), text).unwrap();
            assert!(matches!(folder.read(), Err(ClusterError::Record { .. })), "{text}");
        }
        fs::write(folder.path().join(RECORD_FILE), "{\"version\":2,\"new\":true}").unwrap();
        assert!(matches!(folder.read(), Err(ClusterError::RecordVersion { found: 2, known: VERSION, .. })));
    }

    #[test]
    fn one_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let folder = folder(place.path());
        let lock = folder.lock().unwrap();
        assert!(matches!(folder.lock(), Err(ClusterError::Busy { .. })));
        drop(lock);
        folder.lock().unwrap();
    }
}
