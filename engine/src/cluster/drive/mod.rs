//! Where the machines meet the world: network, disk, threads, clock.
//!
//! In: options. Out: processes of a cluster, or a client's answers. Never: a decision about jobs; the machines make them.

pub(crate) mod binary; // binaries of programs: shipped, kept, fetched
pub mod child; // the process of a user's program on a worker
mod client; // Client: asks the coordinator, pulls rows
mod coordinator; // run_coordinator: the machine, its journal, its event logs
mod driver; // Driver, Entry: a driver in this process
mod journal; // journal files: appended and synced in groups, read at the start
mod node; // Node: threads, memory, spool, network of one process
mod pull; // PullInlet: frames from other workers' spools
mod skeleton; // skeleton: what the coordinator may know of a plan
mod task; // run: one attempt at a task
mod usage; // Usage: processor time and memory of this process
mod worker; // run_worker: the machine, its attempts, its spool

pub use client::{Client, ClusterAddress};
pub use coordinator::{CoordinatorOptions, run_coordinator};
pub use driver::{Acted, Done, Driver, Entry};
pub use node::Node;
pub use pull::Traffic;
pub use worker::{WorkerOptions, random, run_worker};

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use windrow_net::{Identity, Limits, NetError, Options, Role};

use crate::{
    cluster::protocol::PROTOCOL_VERSION,
    error::{Cause, Kind, Result},
};

/// The network of a process of the cluster.
fn network_options(identity: Identity, bind: SocketAddr, accepts: &[Role]) -> Options {
    Options {
        identity,
        bind,
        limits: Limits::default(),
        program_version: u32::from(PROTOCOL_VERSION),
        accepts: accepts.to_vec(),
    }
}

/// The certificate and key in `folder`, which must be for this role: others would not listen to it.
fn identity(folder: &Path, expected: Role) -> Result<Identity> {
    let identity = Identity::load(folder).map_err(|source| NoIdentity { folder: folder.to_owned(), source })?;
    let found = identity.peer().role;
    if found != expected {
        return Err(OtherRole { folder: folder.to_owned(), found, expected }.into());
    }
    Ok(identity)
}

/// The lock of a coordinator's or a spool's folder. It stands beside the folder and tells the process that holds it.
pub fn lock_of(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

/// A folder that another process works in is waited for so long.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// It is looked at again so often.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// Keeps other processes off a folder while the file lives.
fn hold(folder: &Path) -> Result<File> {
    let path = lock_of(folder);
    let failed = |source| Unlocked { folder: folder.to_owned(), source };
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above).map_err(failed)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            // A process that was killed lets go once its last write to the disk returns.
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => thread::park_timeout(LOCK_AGAIN),
            Err(TryLockError::WouldBlock) => return Err(InUse { folder: folder.to_owned() }.into()),
            Err(TryLockError::Error(source)) => return Err(failed(source).into()),
        }
    }
    // Who it is, for whoever finds the folder taken.
    file.set_len(0).map_err(failed)?;
    (&file).write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
    Ok(file)
}

#[derive(Debug, thiserror::Error)]
#[error("taking the folder {}", folder.display())]
struct Unlocked {
    folder: PathBuf,
    source: std::io::Error,
}

impl Cause for Unlocked {
    fn kind(&self) -> Kind {
        Kind::Io
    }
}

#[derive(Debug, thiserror::Error)]
#[error("taking the folder {}: another process works in it", folder.display())]
struct InUse {
    folder: PathBuf,
}

impl Cause for InUse {
    fn kind(&self) -> Kind {
        Kind::Request
    }
    fn hint(&self) -> Option<String> {
        Some("give each coordinator and each worker a folder of its own".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading who we are from {}", folder.display())]
struct NoIdentity {
    folder: PathBuf,
    source: NetError,
}

impl Cause for NoIdentity {
    fn kind(&self) -> Kind {
        Kind::Denied
    }
    fn hint(&self) -> Option<String> {
        Some("the folder holds a certificate, its key and the authority's certificate, as the cluster's authority has issued them".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("using the certificate in {}: it is a {found}'s, not a {expected}'s", folder.display())]
struct OtherRole {
    folder: PathBuf,
    found: Role,
    expected: Role,
}

impl Cause for OtherRole {
    fn kind(&self) -> Kind {
        Kind::Denied
    }
}
