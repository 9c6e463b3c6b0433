//! What a process of the cluster works with: threads, memory, spool, network, and the plans it was given.
//!
//! In: options. Out: one value that its tasks, its pulls and its answers share. Never: decides what runs; the worker's machine does.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use windrow_net::{LinkId, Network, Role};

use super::pull::{Feed, Fetch, PULL, PullRequest, Unwritable, WINDOW_BYTES};
use crate::{
    cluster::protocol::{Incarnation, RemoteError, WorkerName},
    error::{Cause, Error, Kind, Result},
    memory::Governor,
    schedule::Threads,
    settings::Settings,
    shuffle::Spool,
    store::Io,
};

/// Threads, memory, spool and network of one process.
pub struct Node {
    /// Its name; empty for a client.
    pub name: WorkerName,
    /// Which life of it; 0 for a process that holds no attempts.
    pub incarnation: Incarnation,
    /// Threads, memory, morsels.
    pub settings: Arc<Settings>,
    /// The threads that compute.
    pub threads: Threads,
    /// The threads that read and write files.
    pub io: Arc<Io>,
    /// Who grants memory.
    pub governor: Arc<Governor>,
    /// Frames of the attempts that ran here.
    pub spool: Arc<Spool>,
    /// Who asks other nodes.
    pub fetch: Arc<dyn Fetch>,
    /// What crossed to here.
    pub counters: NodeCounters,
}

/// What a node is made of.
pub struct NodeParts {
    /// Its name.
    pub name: WorkerName,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Threads, memory, morsels.
    pub settings: Settings,
    /// The threads that read and write files.
    pub io: Arc<Io>,
    /// Frames of the attempts that run here.
    pub spool: Arc<Spool>,
    /// Who asks other nodes.
    pub fetch: Arc<dyn Fetch>,
}

/// What came from other nodes.
#[derive(Default, Debug)]
pub struct NodeCounters {
    pulled_bytes: AtomicU64,
}

impl NodeCounters {
    /// A frame of so many bytes has come.
    pub fn count_pulled(&self, bytes: u64) {
        self.pulled_bytes.fetch_add(bytes, Relaxed);
    }

    /// Bytes of frames that came.
    pub fn pulled_bytes(&self) -> u64 {
        self.pulled_bytes.load(Relaxed)
    }
}

impl Node {
    /// A node over its parts; starts its threads.
    pub fn start(parts: NodeParts) -> Result<Arc<Node>> {
        let NodeParts { name, incarnation, settings, io, spool, fetch } = parts;
        Ok(Arc::new(Node {
            name,
            incarnation,
            governor: Governor::new(settings.memory_bytes),
            threads: Threads::start(settings.threads)?,
            settings: Arc::new(settings),
            io,
            spool,
            fetch,
            counters: NodeCounters::default(),
        }))
    }

    /// Is this life of a worker ours?
    pub fn is_self(&self, incarnation: Incarnation) -> bool {
        self.incarnation == incarnation && incarnation != Incarnation(0)
    }
}

/// Asks over the network; keeps a connection to each worker.
pub struct Links {
    network: Network,
    links: Mutex<BTreeMap<String, LinkId>>,
}

impl Links {
    /// No connection yet.
    pub fn new(network: &Network) -> Arc<Links> {
        Arc::new(Links { network: network.clone(), links: Mutex::default() })
    }

    /// The connection is gone: the next request begins another.
    pub fn unlinked(&self, link: LinkId) {
        self.links().retain(|_, known| *known != link);
    }

    fn link(&self, address: &str) -> Result<LinkId> {
        let mut links = self.links();
        if let Some(link) = links.get(address) {
            return Ok(*link);
        }
        let parsed: SocketAddr = address.parse().map_err(|_| NoAddress { address: address.to_owned() })?;
        let link = self.network.link(parsed, Role::Worker);
        links.insert(address.to_owned(), link);
        Ok(link)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<String, LinkId>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetch for Links {
    fn ask(&self, address: &str, request: &PullRequest) -> Result<Box<dyn Feed>> {
        let link = self.link(address)?;
        let request = postcard::to_allocvec(request).map_err(|source| Unwritable { source })?;
        Ok(Box::new(self.network.ask(link, PULL, request, WINDOW_BYTES)))
    }
}

/// An error as others will be told it, by this worker.
pub fn remote(error: &Error, name: &WorkerName) -> RemoteError {
    RemoteError::from_error(error, format!("worker {name}"))
}

#[derive(Debug, thiserror::Error)]
#[error("reaching a worker at {address:?}: that is no address")]
struct NoAddress {
    address: String,
}

impl Cause for NoAddress {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}
