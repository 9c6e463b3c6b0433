//! A client of a cluster: asks its coordinator, pulls rows from its workers.
//!
//! In: where the coordinator is, a certificate, requests. Out: answers, updates, rows. Never: waits for ever: each request is asked again
//! until its deadline, over new connections when the old one is gone.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, RecvTimeoutError, unbounded};
use windrow_net::{Event as NetEvent, LinkId, MessageKind, NetError, Network, Role};

use super::{
    binary::Shipped,
    driver::{PULL_AGAIN, lost_of, pull_rows, wait_for},
    identity, network_options,
    node::{Links, Node, NodeParts},
    pull::{Fed, Fetch, Traffic},
};
use crate::{
    batch::{Batch, datatypes::SchemaRef},
    cluster::{
        limits::BINARY_TRIES_MAX,
        protocol::{
            Answer, BinaryAsk, FromClient, Incarnation, JobProfile, JobState, JobUpdate, Message, Request, Submission,
            ToClient, WorkerName,
        },
    },
    error::{Cause, Kind, Result, bug},
    operator::{Cancel, Wake},
    settings::Settings,
    shuffle::{Codec, Epoch, JobId, Runs, RunsOptions, Spool, SpoolOptions},
    store::Io,
};

/// Where a cluster is, and who we are there.
#[derive(Clone, Debug)]
pub struct ClusterAddress {
    /// Its coordinator.
    pub coordinator: SocketAddr,
    /// The folder of our certificate and key.
    pub identity: PathBuf,
}

/// A request is given up after this: a coordinator that is started again has answered by then.
const ANSWER: Duration = Duration::from_secs(20);
/// A connection that was never there is given up sooner: nobody waits twenty seconds to learn that no cluster runs.
const FIRST_LINK: Duration = Duration::from_secs(6);
/// A request is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Between two tries to connect.
const CONNECT_AGAIN: Duration = Duration::from_millis(200);
/// A coordinator that is gone is waited for as long as a job runs, up to this.
const COORDINATOR_GONE: Duration = Duration::from_secs(60);
/// One that has said good-bye is waited for so long: whoever restarts it does so by then.
const COORDINATOR_LEFT: Duration = Duration::from_secs(3);

/// A client. One thread at a time asks.
pub struct Client {
    node: Arc<Node>,
    network: Network,
    links: Arc<Links>,
    events: Receiver<NetEvent>,
    coordinator: SocketAddr,
    link: std::cell::Cell<Option<LinkId>>,
    is_up: std::cell::Cell<bool>,
    down_at: std::cell::Cell<Option<Instant>>,
    /// Since when the coordinator that we reached is gone by its own will, and no other has come.
    left_at: std::cell::Cell<Option<Instant>>,
    /// The folder of our certificate: it goes with a cluster of this machine that is stopped.
    identity: PathBuf,
    /// Was the coordinator ever reached?
    was_up: std::cell::Cell<bool>,
    refusal: std::cell::RefCell<Option<NetError>>,
    next_request: AtomicU64,
}

impl Client {
    /// A client of the cluster at `address`. Nothing is asked yet.
    pub fn connect(address: &ClusterAddress) -> Result<Client> {
        let (tell, events) = unbounded();
        let bind: SocketAddr = if address.coordinator.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let bind = if address.coordinator.ip().is_loopback() { (address.coordinator.ip(), 0).into() } else { bind };
        let options = network_options(identity(&address.identity, Role::Client)?, bind, &[]);
        let links = Arc::new(Links::default());
        let hearing = Arc::clone(&links);
        let network = Network::start(options, move |event| {
            hearing.hear(&event);
            // Whoever is gone needs no event.
            let _ = tell.send(event);
        })?;
        let io = Io::start()?;
        let spool =
            SpoolOptions { folders: Vec::new(), codec: Codec::None, memory_bytes: 0, job_bytes: 0, epoch: Epoch(0) };
        let spool = Spool::open(spool, &io)?;
        let settings = Settings { threads: 1, ..Settings::default() };
        links.begin(&network);
        let fetch = Arc::clone(&links) as Arc<dyn Fetch>;
        let name = WorkerName::default();
        let node = Node::start(NodeParts {
            name,
            incarnation: Incarnation(0),
            settings,
            io,
            spool,
            // A client computes nothing.
            runs: Runs::new(RunsOptions { folders: Vec::new(), bytes_max: 0 }),
            fetch,
            counters: Arc::default(),
        })?;
        Ok(Client {
            node,
            network,
            links,
            events,
            coordinator: address.coordinator,
            link: std::cell::Cell::new(None),
            is_up: std::cell::Cell::new(false),
            down_at: std::cell::Cell::new(None),
            left_at: std::cell::Cell::new(None),
            identity: address.identity.clone(),
            was_up: std::cell::Cell::new(false),
            refusal: std::cell::RefCell::new(None),
            next_request: AtomicU64::new(super::worker::random()),
        })
    }

    /// Asks until it is answered, or nobody answers.
    pub fn ask(&self, request: &Request) -> Result<Answer> {
        let number = self.next_request.fetch_add(1, Relaxed);
        let started = Instant::now();
        let mut asked_at: Option<Instant> = None;
        loop {
            let patience = if self.was_up.get() { ANSWER } else { FIRST_LINK };
            if started.elapsed() > patience {
                return Err(self.unreachable(started.elapsed()));
            }
            if self.is_up.get() && asked_at.is_none_or(|at| at.elapsed() > ASK_AGAIN) {
                self.send(number, request)?;
                asked_at = Some(Instant::now());
            }
            match self.hear(Duration::from_millis(50))? {
                Some(ToClient { request: of, body: Answer::Failed(error), .. }) if of == number => {
                    return Err(error.into_error());
                }
                Some(ToClient { request: of, body, .. }) if of == number && !matches!(body, Answer::Update(_)) => {
                    return Ok(body);
                }
                _ => {}
            }
        }
    }

    /// Hands a job in.
    pub fn submit(&self, submission: Submission) -> Result<()> {
        self.ask(&Request::Submit(Box::new(submission))).map(drop)
    }

    /// Gives the coordinator a program's binary, as far as it does not have it.
    pub(crate) fn ship(&self, binary: &Shipped) -> Result<()> {
        let held = |ask| match self.ask(&Request::Binary(ask))? {
            Answer::BinaryHeld { bytes } => Ok(bytes),
            _ => Err(bug("cluster", "a question about a binary was answered otherwise")),
        };
        let (id, mut tries) = (binary.id, 0);
        let mut at = held(BinaryAsk::Held(id))?;
        tracing::debug!(binary = %id, whole_bytes = binary.whole_bytes, bytes = id.bytes, held = at, "a program is shipped");
        while at < id.bytes {
            let next = held(BinaryAsk::Piece { binary: id, at, bytes: binary.piece(at)?.into() })?;
            // A coordinator that began again has lost what was not whole.
            tries = if next > at { 0 } else { tries + 1 };
            if tries > BINARY_TRIES_MAX {
                return Err(NotTaken { coordinator: self.coordinator }.into());
            }
            at = next;
        }
        Ok(())
    }

    /// Watches a job until it is over; `seen` gets each update. Cancels the job when `cancel` says so.
    pub fn watch(&self, job: JobId, cancel: &Cancel, seen: &dyn Fn(&JobUpdate)) -> Result<JobUpdate> {
        self.watch_for_news(job, cancel, seen, None)
    }

    /// As [`Client::watch`]; a job that is over as it was at the revision `known` is looked at for a while longer.
    fn watch_for_news(
        &self,
        job: JobId,
        cancel: &Cancel,
        seen: &dyn Fn(&JobUpdate),
        known: Option<u64>,
    ) -> Result<JobUpdate> {
        let started = Instant::now();
        let number = self.next_request.fetch_add(1, Relaxed);
        let mut asked_at: Option<Instant> = None;
        let mut heard_at = Instant::now();
        let mut newest: Option<(Epoch, u64)> = None;
        loop {
            if cancel.is_cancelled() {
                self.ask(&Request::Cancel { job })?;
                cancel.check()?;
            }
            if heard_at.elapsed() > COORDINATOR_GONE {
                return Err(self.unreachable(heard_at.elapsed()));
            }
            if self.is_up.get() && asked_at.is_none_or(|at| at.elapsed() > ASK_AGAIN) {
                self.send(number, &Request::Watch { job })?;
                asked_at = Some(Instant::now());
            }
            let heard = self.hear(Duration::from_millis(50))?;
            let update = match heard {
                Some(ToClient { request, body: Answer::Failed(error), .. }) if request == number => {
                    return Err(error.into_error());
                }
                Some(ToClient { body: Answer::Update(update), epoch, .. }) if update.job == job => {
                    heard_at = Instant::now();
                    let revision = (epoch, update.revision);
                    if newest.is_some_and(|newest| newest > revision) {
                        continue;
                    }
                    newest = Some(revision);
                    *update
                }
                _ => continue,
            };
            seen(&update);
            match &update.state {
                JobState::Queued | JobState::Running => {}
                JobState::Failed(error) => return Err(error.clone().into_error()),
                JobState::Cancelled => return Err(crate::operator::Cancelled.into()),
                JobState::Done if update.value.is_none() => return Err(Forgotten { job }.into()),
                // Its rows are made again, or the way to them was broken for a moment.
                JobState::Done if known == Some(update.revision) && started.elapsed() < PULL_AGAIN => {}
                JobState::Done => return Ok(update),
            }
        }
    }

    /// The rows of a job that is done, in order of (stage, task, frame). What cannot be pulled is made again and asked for again.
    pub fn rows(
        &self,
        mut done: JobUpdate,
        schema: &SchemaRef,
        cancel: &Cancel,
        seen: &dyn Fn(&JobUpdate),
    ) -> Result<Vec<Batch>> {
        let job = done.job;
        loop {
            if let Some(sources) = done.result.take() {
                match pull_rows(&self.node, sources, schema) {
                    Ok(batches) => {
                        self.taken(job)?;
                        return Ok(batches);
                    }
                    Err(error) => {
                        let Some(lost) = lost_of(&error) else { return Err(error) };
                        let number = self.next_request.fetch_add(1, Relaxed);
                        self.send(number, &Request::Lost { job, lost })?;
                    }
                }
            }
            let known = done.revision;
            done = self.watch_for_news(job, cancel, seen, Some(known))?;
        }
    }

    /// Gives a job's rows up.
    pub fn taken(&self, job: JobId) -> Result<()> {
        self.ask(&Request::Taken { job }).map(drop)
    }

    /// What a job has cost. Of one that is done, before its rows are taken.
    pub fn profile(&self, job: JobId) -> Result<JobProfile> {
        match self.ask(&Request::Profile { job })? {
            Answer::Profile(profile) => Ok(*profile),
            _ => Err(bug("cluster", "a question for a job's profile was answered otherwise")),
        }
    }

    /// Bytes of frames that were pulled from workers.
    pub fn pulled_bytes(&self) -> u64 {
        self.node.counters.traffic().pulled_bytes
    }

    /// What the worker at `address` has sent to others and pulled from them, in bytes of frames.
    pub fn traffic(&self, address: &str) -> Result<Traffic> {
        let mut feed = self.links.ask_traffic(address)?;
        let mut bytes = Vec::new();
        loop {
            match feed.try_read() {
                Fed::Bytes(piece) => bytes.extend_from_slice(&piece),
                Fed::Pending => {
                    let wake = Wake::default();
                    let rung = wake.clone();
                    feed.when_ready(Box::new(move || rung.fire()));
                    wait_for(&wake);
                }
                Fed::End => break,
                Fed::Failed { error, .. } => return Err(error),
            }
        }
        Ok(postcard::from_bytes(&bytes).map_err(|source| Misread { source })?)
    }

    fn send(&self, number: u64, request: &Request) -> Result<()> {
        let message = FromClient { request: number, body: request.clone() };
        let bytes = message.to_bytes()?;
        if let Some(link) = self.link.get() {
            // What does not go out is asked again.
            let _ = self.network.send(link, MessageKind(FromClient::KIND), bytes);
        }
        Ok(())
    }

    /// Waits for the next message of the coordinator; connects again when the connection is gone, unless the cluster is.
    fn hear(&self, patience: Duration) -> Result<Option<ToClient>> {
        self.check_stopped()?;
        let may_connect = self.down_at.get().is_none_or(|at| at.elapsed() >= CONNECT_AGAIN);
        if self.link.get().is_none() && may_connect {
            self.link.set(Some(self.network.link(self.coordinator, Role::Coordinator)));
        }
        match self.events.recv_timeout(patience) {
            Ok(NetEvent::Up { link, .. }) if Some(link) == self.link.get() => {
                self.is_up.set(true);
                self.left_at.set(None);
                self.was_up.set(true);
            }
            Ok(NetEvent::Down { link, cause }) if Some(link) == self.link.get() => {
                self.link.set(None);
                self.down_at.set(Some(Instant::now()));
                self.is_up.set(false);
                if cause.kind() == Kind::Denied {
                    return Err(NotLetIn { coordinator: self.coordinator, source: cause }.into());
                }
                if matches!(cause, NetError::ClosedByPeer { .. }) && self.was_up.get() {
                    self.left_at.set(self.left_at.get().or(Some(Instant::now())));
                }
                *self.refusal.borrow_mut() = Some(cause);
            }
            Ok(NetEvent::Message { message, .. }) if message.kind == MessageKind(ToClient::KIND) => {
                return Ok(Some(ToClient::from_bytes(&message.payload)?));
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(self.unreachable(Duration::ZERO)),
        }
        Ok(None)
    }

    /// A cluster that was stopped does not come back: its coordinator has said good-bye and nobody follows, or what was written down of it
    /// on this machine is gone.
    fn check_stopped(&self) -> Result<()> {
        let has_left = self.left_at.get().is_some_and(|at| at.elapsed() > COORDINATOR_LEFT);
        let is_gone = self.was_up.get() && !self.is_up.get() && !self.identity.exists();
        if has_left || is_gone { Err(Stopped { coordinator: self.coordinator }.into()) } else { Ok(()) }
    }

    fn unreachable(&self, waited: Duration) -> crate::error::Error {
        let source = self.refusal.borrow_mut().take();
        Unreachable { coordinator: self.coordinator, waited, source }.into()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.links.end();
        self.network.shutdown();
    }
}

#[derive(Debug, thiserror::Error)]
#[error("taking what job {job} gave: nobody asked for too long, and the cluster has forgotten it")]
struct Forgotten {
    job: JobId,
}

impl Cause for Forgotten {
    fn kind(&self) -> Kind {
        Kind::Job
    }
    fn hint(&self) -> Option<String> {
        Some("hand the job in again".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("giving the coordinator at {coordinator} a program's binary: it takes none of it")]
struct NotTaken {
    coordinator: SocketAddr,
}

impl Cause for NotTaken {
    fn kind(&self) -> Kind {
        Kind::Io
    }
    fn hint(&self) -> Option<String> {
        Some("its log says why; hand the program in again".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("reading what a worker has sent and pulled")]
struct Misread {
    source: postcard::Error,
}

impl Cause for Misread {
    fn kind(&self) -> Kind {
        Kind::Corrupt
    }
}

#[derive(Debug, thiserror::Error)]
#[error("asking the coordinator at {coordinator}: we are not let in")]
struct NotLetIn {
    coordinator: SocketAddr,
    source: NetError,
}

impl Cause for NotLetIn {
    fn kind(&self) -> Kind {
        Kind::Denied
    }
}

#[derive(Debug, thiserror::Error)]
#[error("asking the coordinator at {coordinator}: the cluster was stopped")]
struct Stopped {
    coordinator: SocketAddr,
}

impl Cause for Stopped {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
    fn hint(&self) -> Option<String> {
        Some("what ran there is lost: start the cluster (`windrow cluster start --local N`), and ask again".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("asking the coordinator at {coordinator}: no answer in {:.1} s", waited.as_secs_f64())]
struct Unreachable {
    coordinator: SocketAddr,
    waited: Duration,
    source: Option<NetError>,
}

impl Cause for Unreachable {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
    fn hint(&self) -> Option<String> {
        Some(
            "is the cluster running? `windrow cluster status` tells, `windrow cluster start --local N` starts one"
                .to_owned(),
        )
    }
}
