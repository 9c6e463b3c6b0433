//! A worker's binaries: its own, and those it fetches.
//!
//! In: which binary a job's process is to run. Out: a file with its bytes, checked, for a machine and a libc as they are here. Never: two
//! fetches at a time; a program that the loader would refuse with a riddle.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use windrow_net::{LinkId, NetError, Network};

use super::{
    elf::{Elf, Here, Libc, Machine, Refused},
    serve::{BINARY, REFUSED},
    store::BinaryStore,
};
use crate::{
    cluster::{
        drive::{child::ProgramSpec, node::host, pull::WINDOW_BYTES},
        limits::{BINARIES_BYTES_MAX, BINARY_TRIES_MAX, PART_BYTES},
        protocol::{BinaryId, BinaryWanted, RemoteError},
    },
    error::{Cause, Error, Kind, Result},
    operator::Cancel,
};

/// A piece that does not come is given up after this.
const PIECE_PATIENCE: Duration = Duration::from_secs(20);
/// Who waits looks so often whether it is still wanted.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The connection to the coordinator, for threads beside the machine's.
pub struct Uplink {
    network: Network,
    link: Mutex<Option<LinkId>>,
    changed: Condvar,
}

impl Uplink {
    /// No connection stands yet.
    pub fn new(network: Network) -> Uplink {
        Uplink { network, link: Mutex::default(), changed: Condvar::new() }
    }

    /// This connection stands now; or none.
    pub fn set(&self, link: Option<LinkId>) {
        *lock(&self.link) = link;
        self.changed.notify_all();
    }

    fn piece(&self, wanted: &BinaryWanted, cancel: &Cancel) -> Result<Vec<u8>> {
        let request = postcard::to_allocvec(wanted).map_err(|source| FetchError::Unwritable { source })?;
        let deadline = Instant::now() + PIECE_PATIENCE;
        let late = || FetchError::Late { binary: wanted.binary };
        let mut pull = self.network.ask(self.link(deadline, cancel)?.ok_or_else(late)?, BINARY, request, WINDOW_BYTES);
        let mut bytes = Vec::new();
        loop {
            cancel.check()?;
            match pull.read(LOOK_AGAIN) {
                Ok(Some(more)) => bytes.extend_from_slice(&more),
                Ok(None) => return Ok(bytes),
                Err(NetError::NotInTime { .. }) if Instant::now() < deadline => {}
                Err(NetError::NotInTime { .. }) => return Err(late().into()),
                Err(NetError::Refused { code: REFUSED, payload }) => {
                    let error: RemoteError =
                        postcard::from_bytes(&payload).map_err(|source| FetchError::Unwritable { source })?;
                    return Err(error.into_error());
                }
                Err(source) => return Err(FetchError::Broken { binary: wanted.binary, source }.into()),
            }
            if bytes.len() > PART_BYTES {
                return Err(FetchError::Long { binary: wanted.binary }.into());
            }
        }
    }

    /// The connection, once it stands.
    fn link(&self, deadline: Instant, cancel: &Cancel) -> Result<Option<LinkId>> {
        let mut link = lock(&self.link);
        while link.is_none() && Instant::now() < deadline {
            cancel.check()?;
            (link, _) = self.changed.wait_timeout(link, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(*link)
    }
}

/// The binaries that a worker has.
pub struct Binaries {
    /// Held while one is fetched: others that need it wait for it, and find it.
    store: Mutex<BinaryStore>,
    uplink: Arc<Uplink>,
    here: Here,
}

impl Binaries {
    /// Those in `folder`, and those that the coordinator has.
    pub fn open(folder: PathBuf, uplink: Arc<Uplink>) -> Result<Binaries> {
        let store = Mutex::new(BinaryStore::open(folder, BINARIES_BYTES_MAX, false)?);
        Ok(Binaries { store, uplink, here: Here::look() })
    }

    /// The file to run as this program. Waits until it is here, as long as it is wanted.
    pub fn ready(&self, spec: &ProgramSpec, cancel: &Cancel) -> Result<PathBuf> {
        let mut store = lock(&self.store);
        let path = match store.whole(&spec.binary)? {
            Some(path) => path,
            None => self.fetch(&mut store, &spec.binary, cancel)?,
        };
        drop(store);
        let failed = |source| FetchError::Unreadable { path: path.clone(), source };
        let file = File::open(&path).map_err(failed)?;
        let program = spec.path.clone();
        let elf =
            Elf::read(&file).map_err(failed)?.ok_or_else(|| FetchError::NoProgram { program: program.clone() })?;
        match self.here.refuses(&elf) {
            None => Ok(path),
            Some(Refused::Machine { needs, here }) => {
                Err(FetchError::Machine { program, host: host(), needs, here }.into())
            }
            Some(Refused::Libc { needs, here }) => Err(FetchError::Libc { program, host: host(), needs, here }.into()),
        }
    }

    fn fetch(&self, store: &mut BinaryStore, id: &BinaryId, cancel: &Cancel) -> Result<PathBuf> {
        let mut tries = 0;
        let mut at = store.held(id)?;
        while at < id.bytes {
            match self.uplink.piece(&BinaryWanted { binary: *id, at }, cancel) {
                Ok(piece) if piece.is_empty() => return Err(FetchError::Late { binary: *id }.into()),
                Ok(piece) => {
                    at = store.append(id, at, &piece)?;
                    tries = 0;
                }
                Err(error) if tries + 1 < BINARY_TRIES_MAX && is_passing(&error) => tries += 1,
                Err(error) => return Err(error),
            }
        }
        store.whole(id)?.ok_or_else(|| FetchError::Late { binary: *id }.into())
    }
}

/// Perhaps the next try ends otherwise: the connection broke, or too many asked.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), Kind::Io | Kind::Unreachable)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("asking the coordinator for the binary {binary} of a program: it does not come")]
    Late { binary: BinaryId },
    #[error("asking the coordinator for the binary {binary} of a program: the answer broke off")]
    Broken { binary: BinaryId, source: NetError },
    #[error("asking the coordinator for the binary {binary} of a program: a piece came that is longer than pieces are")]
    Long { binary: BinaryId },
    #[error("asking the coordinator for the binary of a program")]
    Unwritable { source: postcard::Error },
    #[error("reading {}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("starting the program {program}: it is no executable file in the ELF format")]
    NoProgram { program: String },
    #[error("starting the program {program} on {host}: it is built for {needs}, and that machine is {here}")]
    Machine { program: String, host: String, needs: Machine, here: Machine },
    #[error("starting the program {program} on {host}: it needs glibc {needs}, and that machine has glibc {here}")]
    Libc { program: String, host: String, needs: Libc, here: Libc },
}

impl Cause for FetchError {
    fn kind(&self) -> Kind {
        match self {
            FetchError::Late { .. } | FetchError::Broken { .. } | FetchError::Unreadable { .. } => Kind::Io,
            FetchError::Long { .. } | FetchError::Unwritable { .. } => Kind::Corrupt,
            FetchError::NoProgram { .. } | FetchError::Machine { .. } | FetchError::Libc { .. } => Kind::Request,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            FetchError::Machine { here, .. } => {
                Some(format!("build the program for the workers' machines, {here}, and hand that binary in"))
            }
            FetchError::Libc { here, .. } => Some(format!(
                "build the program where glibc is {here} or older, or for a target without it, as x86_64-unknown-linux-musl"
            )),
            _ => None,
        }
    }
}
