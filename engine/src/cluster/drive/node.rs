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

use windrow_net::{Event, LinkId, MessageKind, NetError, Network, Pull, PullRead, Role};

use super::pull::{Fed, Feed, Fetch, NOT_HELD, PULL, PullRequest, TRAFFIC, Traffic, Unwritable, WINDOW_BYTES_MIN};
use crate::{
    cluster::protocol::{Incarnation, RemoteError, WorkerName},
    error::{Cause, Error, Kind, Result, bug},
    memory::Governor,
    schedule::Threads,
    settings::Settings,
    shuffle::{JobId, Runs, Spool},
    sink::{Target, discard},
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
    /// Where rows go that memory does not hold.
    pub runs: Arc<Runs>,
    /// Who asks other nodes.
    pub fetch: Arc<dyn Fetch>,
    /// What crossed to here.
    pub counters: Arc<NodeCounters>,
    /// Where attempts of each job have written files, for as long as the job may want them.
    outputs: Mutex<BTreeMap<JobId, Vec<Target>>>,
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
    /// Where rows go that memory does not hold.
    pub runs: Arc<Runs>,
    /// Who asks other nodes.
    pub fetch: Arc<dyn Fetch>,
    /// What crosses the network.
    pub counters: Arc<NodeCounters>,
}

/// What crossed the network.
#[derive(Default, Debug)]
pub struct NodeCounters {
    pulled_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

impl NodeCounters {
    /// A frame of so many bytes has come.
    pub fn count_pulled(&self, bytes: u64) {
        self.pulled_bytes.fetch_add(bytes, Relaxed);
    }

    /// Bytes of frames have gone.
    pub fn count_sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Relaxed);
    }

    /// What was counted until now.
    pub fn traffic(&self) -> Traffic {
        Traffic { sent_bytes: self.sent_bytes.load(Relaxed), pulled_bytes: self.pulled_bytes.load(Relaxed) }
    }
}

impl Node {
    /// A node over its parts; starts its threads.
    pub fn start(parts: NodeParts) -> Result<Arc<Node>> {
        let NodeParts { name, incarnation, settings, io, spool, runs, fetch, counters } = parts;
        Ok(Arc::new(Node {
            name,
            incarnation,
            governor: Governor::of(&settings),
            threads: Threads::start(settings.threads)?,
            settings: Arc::new(settings),
            io,
            spool,
            runs,
            fetch,
            counters,
            outputs: Mutex::default(),
        }))
    }

    /// An attempt of the job is about to write files.
    pub fn add_output(&self, job: JobId, target: &Target) {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = outputs.entry(job).or_default();
        if !known.contains(target) {
            known.push(target.clone());
        }
    }

    /// The job is over: what its attempts have written and it has not taken can go.
    pub fn drop_outputs(&self, job: JobId) {
        let targets = self.outputs.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
        for target in targets.unwrap_or_default() {
            let disk = self.io.disk().clone();
            self.io.submit(move || discard(&disk, &target, job));
        }
    }

    /// Is this life of a worker ours?
    pub fn is_self(&self, incarnation: Incarnation) -> bool {
        self.incarnation == incarnation && incarnation != Incarnation(0)
    }
}

/// Asks over the network; keeps a connection to each worker.
///
/// A connection takes a moment to stand. What is asked meanwhile waits for it, and is asked when it does, or fails with it: `absent → begun
/// → up`, any → `absent`.
#[derive(Default)]
pub struct Links {
    /// None before [`Links::begin`] and after [`Links::end`]: the network calls us, so we must not keep it alive.
    network: Mutex<Option<Network>>,
    links: Mutex<BTreeMap<String, PeerLink>>,
}

struct PeerLink {
    id: LinkId,
    is_up: bool,
    /// What was asked before it stood.
    waiting: Vec<Arc<Asked>>,
}

impl Links {
    /// From now on it asks over `network`; before, nothing is asked.
    pub fn begin(&self, network: &Network) {
        *self.network() = Some(network.clone());
    }

    /// Nothing is asked any more.
    pub fn end(&self) {
        *self.network() = None;
    }

    /// A connection stands, or is over. Called on the network's thread, before anybody else hears of it.
    pub fn hear(&self, event: &Event) {
        match event {
            Event::Up { link, .. } => {
                let mut links = self.links();
                let Some(peer) = links.values_mut().find(|peer| peer.id == *link) else { return };
                peer.is_up = true;
                let waiting = std::mem::take(&mut peer.waiting);
                drop(links);
                let network = self.network().clone();
                if let Some(network) = network {
                    waiting.iter().for_each(|asked| asked.ask(&network, *link));
                }
            }
            Event::Down { link, cause } => {
                let mut links = self.links();
                let Some(address) = links.iter().find(|(_, peer)| peer.id == *link).map(|(address, _)| address.clone())
                else {
                    return;
                };
                let waiting = links.remove(&address).map(|peer| peer.waiting).unwrap_or_default();
                drop(links);
                waiting.iter().for_each(|asked| asked.fail(cause));
            }
            Event::Message { .. } | Event::Asked { .. } | Event::Refused { .. } => {}
        }
    }

    /// Asks the worker at `address` what it has sent and pulled.
    pub fn ask_traffic(&self, address: &str) -> Result<Box<dyn Feed>> {
        self.ask_kind(address, TRAFFIC, Vec::new(), WINDOW_BYTES_MIN)
    }

    fn ask_kind(
        &self,
        address: &str,
        kind: MessageKind,
        request: Vec<u8>,
        window_bytes: usize,
    ) -> Result<Box<dyn Feed>> {
        let network = self.network().clone().ok_or_else(|| bug("cluster", "asked while no network is there"))?;
        let asked = Arc::new(Asked { kind, request, window_bytes, state: Mutex::default() });
        // Held while a connection is begun, so that nobody hears of it before it is written down.
        let mut links = self.links();
        match links.get_mut(address) {
            Some(PeerLink { id, is_up: true, .. }) => {
                let id = *id;
                drop(links);
                asked.ask(&network, id);
            }
            Some(peer) => peer.waiting.push(Arc::clone(&asked)),
            None => {
                let parsed: SocketAddr = address.parse().map_err(|_| NoAddress { address: address.to_owned() })?;
                let id = network.link(parsed, Role::Worker);
                links.insert(address.to_owned(), PeerLink { id, is_up: false, waiting: vec![Arc::clone(&asked)] });
            }
        }
        Ok(Box::new(AskedFeed(asked)))
    }

    fn network(&self) -> MutexGuard<'_, Option<Network>> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<String, PeerLink>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetch for Links {
    fn ask(&self, address: &str, request: &PullRequest, window_bytes: usize) -> Result<Box<dyn Feed>> {
        let request = postcard::to_allocvec(request).map_err(|source| Unwritable { source })?;
        self.ask_kind(address, PULL, request, window_bytes)
    }
}

/// Something asked of a worker.
struct Asked {
    kind: MessageKind,
    request: Vec<u8>,
    window_bytes: usize,
    state: Mutex<AskedState>,
}

/// `waiting → open | failed`.
enum AskedState {
    /// The connection does not stand yet; what is to be called when something changes.
    Waiting(Vec<Box<dyn FnOnce() + Send>>),
    Open(Pull),
    Failed(NetError),
}

impl Default for AskedState {
    fn default() -> AskedState {
        AskedState::Waiting(Vec::new())
    }
}

impl Asked {
    fn ask(&self, network: &Network, link: LinkId) {
        self.turn(AskedState::Open(network.ask(link, self.kind, self.request.clone(), self.window_bytes)));
    }

    fn fail(&self, cause: &NetError) {
        self.turn(AskedState::Failed(cause.clone()));
    }

    fn turn(&self, state: AskedState) {
        let before = std::mem::replace(&mut *self.lock(), state);
        if let AskedState::Waiting(actions) = before {
            actions.into_iter().for_each(|action| action());
        }
    }

    fn lock(&self) -> MutexGuard<'_, AskedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct AskedFeed(Arc<Asked>);

impl Feed for AskedFeed {
    fn try_read(&mut self) -> Fed {
        match &mut *self.0.lock() {
            AskedState::Waiting(_) => Fed::Pending,
            AskedState::Open(pull) => match pull.try_read() {
                PullRead::Chunk(bytes) => Fed::Bytes(bytes),
                PullRead::Pending => Fed::Pending,
                PullRead::End => Fed::End,
                PullRead::Failed(error) => {
                    let is_denied = matches!(&error, NetError::Refused { code, .. } if *code == NOT_HELD);
                    Fed::Failed { error: error.into(), is_denied }
                }
            },
            AskedState::Failed(error) => Fed::Failed { error: error.clone().into(), is_denied: false },
        }
    }

    fn when_ready(&self, action: Box<dyn FnOnce() + Send>) {
        let mut state = self.0.lock();
        match &mut *state {
            AskedState::Waiting(actions) => actions.push(action),
            AskedState::Open(pull) => pull.when_ready(action),
            AskedState::Failed(_) => {
                drop(state);
                action();
            }
        }
    }
}

/// An error as others will be told it, by this worker.
pub fn remote(error: &Error, name: &WorkerName) -> RemoteError {
    RemoteError::from_error(error, origin(name))
}

/// Who this worker is, beside its errors.
pub fn origin(name: &WorkerName) -> String {
    format!("worker {name} on {}", host())
}

/// The name of this machine.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "this host".to_owned() } else { name.trim().to_owned() }
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
