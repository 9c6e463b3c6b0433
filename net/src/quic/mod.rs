//! The skin over quinn: a thread with a tokio runtime, one UDP socket, links that dial and links that are accepted.
//!
//! In: calls of [`crate::Network`] from any thread. Out: events on the network's thread. Never: `async` seen outside of
//! this folder; a decision that `endpoint.rs` could take; blocking.
//!
//! One thread carries everything of a network. A second would not make it faster on few cores, and events come in an order
//! without a lock. What may take long (preparing an answer, using it) is the engine's, on its own threads.

mod admit; // who may begin a handshake
pub(crate) mod bare; // a bare stream, to measure against
mod bulk; // both ends of an answer
mod congestion; // CUBIC, and the last word
mod link; // one link's loops
mod socket; // UDP, with runs of datagrams that the kernel takes
mod transport; // quinn's settings

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{
    ConnectionError, Endpoint, Incoming, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Notify, watch},
    time::timeout,
};

use self::{admit::Admission, congestion::Leaving, link::Link};
use crate::{
    endpoint::{Farewell, Gate, Side},
    error::{CertificateFlaw, NetError, Refusal, Wait},
    message::{MessageKind, header_of},
    network::{Counts, Event, LinkId, Options},
    peer::Role,
    pull::{self, Pull},
    tls::{Credentials, Identity, Verdict, flaw_of_alert},
};

/// The server name in the handshake, which QUIC wants; certificates are judged by their authority instead.
const SERVER_NAME: &str = "windrow";

/// How long a shutdown waits for its tasks, and again for the last packets to be on their way.
const SHUTDOWN: Duration = Duration::from_secs(1);
const LAST_PACKETS: Duration = Duration::from_millis(100);

/// A code of QUIC (RFC 9000 § 20.1): the server is not willing to accept.
const CONNECTION_REFUSED: u64 = 0x2;

/// Codes of QUIC for TLS alerts begin here (RFC 9001 § 4.8).
const TLS_ALERT: u64 = 0x100;

pub(crate) type OnEvent = Box<dyn Fn(Event) + Send + Sync>;

/// A running network; stops when dropped.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the caller's threads and the network's thread share.
struct Shared {
    gate: Gate,
    limits: crate::Limits,
    identity: crate::Peer,
    address: SocketAddr,
    started: Instant,
    runtime: Handle,
    endpoint: Endpoint,
    server: quinn::ServerConfig,
    credentials: Mutex<Arc<Credentials>>,
    /// All links between their first packet and their end.
    links: Mutex<BTreeMap<LinkId, Arc<Link>>>,
    next_link: AtomicU64,
    counts: Counts,
    on_event: OnEvent,
    stopping: watch::Sender<bool>,
    /// Tasks that run, and a note when the last one ended.
    tasks: AtomicUsize,
    idle: Notify,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Engine {
    pub(crate) fn start(options: Options, on_event: OnEvent) -> Result<Self, NetError> {
        let failed = |tried| {
            move |error: std::io::Error| NetError::Start { tried, address: options.bind, detail: error.to_string() }
        };
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed("start the network's runtime"))?;
        let shared = Shared::new(&options, on_event, &runtime)?;
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("windrow-net".to_owned())
            .spawn(move || runtime.block_on(run(&serving)))
            .map_err(failed("start the network's thread"))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.shared.address
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    pub(crate) fn link(&self, address: SocketAddr, expected: Role) -> LinkId {
        let shared = &self.shared;
        let link = Link::new(shared.new_id(), address);
        let id = link.id;
        let room = shared.take_place(&link);
        shared.spawn(dial(Arc::clone(shared), link, expected, room));
        id
    }

    pub(crate) fn send(&self, link: LinkId, kind: MessageKind, payload: Vec<u8>) -> Result<(), NetError> {
        let not_up = NetError::NotUp { link };
        let link = self.shared.link(link).ok_or_else(|| not_up.clone())?;
        link.session().as_mut().ok_or(not_up)?.send(kind, payload)?;
        self.shared.counts.messages_sent.fetch_add(1, Relaxed);
        link.outgoing.notify_one();
        Ok(())
    }

    pub(crate) fn ask(&self, link: LinkId, kind: MessageKind, payload: Vec<u8>, window_bytes: usize) -> Pull {
        let sink = pull::Shared::new(window_bytes);
        match self.request(link, kind, payload) {
            Ok((link, request)) => {
                if let Some(connection) = link.connection().cloned() {
                    self.shared.counts.asks.fetch_add(1, Relaxed);
                    let shared = Arc::clone(&self.shared);
                    self.shared.spawn(bulk::pull(shared, link, connection, request, Arc::clone(&sink)));
                } else {
                    sink.handle_outcome(Err(NetError::NotUp { link: link.id }));
                }
            }
            Err(error) => sink.handle_outcome(Err(error)),
        }
        Pull::new(sink)
    }

    fn request(&self, link: LinkId, kind: MessageKind, payload: Vec<u8>) -> Result<(Arc<Link>, [Bytes; 2]), NetError> {
        let header = header_of(kind, &payload).map_err(|source| NetError::Encode { source })?;
        let link = self.shared.link(link).ok_or(NetError::NotUp { link })?;
        Ok((link, [Bytes::copy_from_slice(&header), Bytes::from(payload)]))
    }

    pub(crate) fn close(&self, link: LinkId) {
        let Some(link) = self.shared.link(link) else { return };
        link.close(self.shared.now());
    }

    pub(crate) fn renew(&self, identity: &Identity) -> Result<(), NetError> {
        if *identity.peer() != self.shared.identity {
            return Err(NetError::Name { what: "renewed peer", name: identity.peer().uri() });
        }
        let credentials = Arc::new(Credentials::of(identity)?);
        *self.shared.credentials.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
        Ok(())
    }

    pub(crate) fn shutdown(&self) {
        self.shared.stopping.send_replace(true);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_some_and(|thread| thread.thread().id() != thread::current().id())
            && let Some(thread) = thread.take()
        {
            let _ = thread.join(); // It panics only if the caller's `on_event` did, and was told so by the panic itself.
        }
    }
}

impl Shared {
    fn new(options: &Options, on_event: OnEvent, runtime: &Runtime) -> Result<Arc<Self>, NetError> {
        let failed = |tried| {
            move |error: std::io::Error| NetError::Start { tried, address: options.bind, detail: error.to_string() }
        };
        let limits = options.limits.clone();
        let credentials = Arc::new(Credentials::of(&options.identity)?);
        let unlinked = transport::transport(&limits, options.bind, &Leaving::default())?;
        let tls = quic_server(&credentials, &Verdict::default())?;
        let server = transport::server(&limits, unlinked, tls);
        let socket = socket::bind(options.bind, limits.socket_bytes).map_err(failed("bind a socket"))?;
        let _context = runtime.enter();
        let socket = socket::wrap(socket).map_err(failed("use a socket"))?;
        let address = socket.local_addr().map_err(failed("use a socket"))?;
        let config = transport::endpoint()?;
        let endpoint = Endpoint::new_with_abstract_socket(config, Some(server.clone()), socket, Arc::new(TokioRuntime))
            .map_err(failed("begin QUIC"))?;
        let identity = options.identity.peer().clone();
        Ok(Arc::new(Self {
            gate: Gate {
                cluster: identity.cluster.clone(),
                version: options.program_version,
                accepts: options.accepts.clone(),
            },
            limits,
            identity,
            address,
            started: Instant::now(),
            runtime: runtime.handle().clone(),
            endpoint,
            server,
            credentials: Mutex::new(credentials),
            links: Mutex::default(),
            next_link: AtomicU64::new(1),
            counts: Counts::default(),
            on_event,
            stopping: watch::Sender::new(false),
            tasks: AtomicUsize::new(0),
            idle: Notify::new(),
        }))
    }

    /// The time as the sessions count it.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn new_id(&self) -> LinkId {
        LinkId(self.next_link.fetch_add(1, Relaxed))
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<LinkId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, id: LinkId) -> Option<Arc<Link>> {
        self.links().get(&id).cloned()
    }

    /// A place among the links, or that there is none.
    fn take_place(&self, link: &Arc<Link>) -> Result<(), NetError> {
        let mut links = self.links();
        let limit = self.limits.links_max;
        if links.len() >= limit {
            return Err(NetError::TooManyLinks { address: link.address, limit });
        }
        links.insert(link.id, Arc::clone(link));
        Ok(())
    }

    fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn transport_of(&self, link: &Link) -> Result<Arc<TransportConfig>, NetError> {
        transport::transport(&self.limits, link.address, &link.leaving)
    }

    /// Returns once the network is stopping.
    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        let _ = stopping.wait_for(|stopping| *stopping).await; // The sender lives as long as we.
    }

    /// Runs a task on the network's thread; a shutdown waits for it.
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        struct Running(Arc<Shared>);
        impl Drop for Running {
            fn drop(&mut self) {
                if self.0.tasks.fetch_sub(1, Relaxed) == 1 {
                    self.0.idle.notify_one();
                }
            }
        }
        self.tasks.fetch_add(1, Relaxed);
        let running = Running(Arc::clone(self));
        self.runtime.spawn(async move {
            let _running = running;
            task.await;
        });
    }

    /// What an error of the connection means.
    fn cause_of(&self, error: ConnectionError, verdict: Option<&Verdict>, address: SocketAddr) -> NetError {
        let refused = |refusal| NetError::RefusedByPeer { address, refusal };
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Farewell::read(close.error_code.into_inner(), &close.reason, self.gate.version, address)
            }
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                CONNECTION_REFUSED => refused(Refusal::Busy),
                code => match alert_of(code).and_then(flaw_of_alert) {
                    Some(flaw) => refused(Refusal::Certificate { flaw }),
                    None => refused(Refusal::Protocol { detail: close.to_string() }),
                },
            },
            ConnectionError::TransportError(error) => {
                let noted = verdict.and_then(Verdict::flaw);
                let alert = alert_of(u64::from(error.code)).and_then(flaw_of_alert);
                match noted.or(alert.filter(|flaw| *flaw == CertificateFlaw::Missing)) {
                    Some(flaw) => NetError::Certificate { address, flaw },
                    None => NetError::Lost { address, detail: error.to_string() },
                }
            }
            ConnectionError::TimedOut => {
                NetError::Lost { address, detail: format!("nothing came for {:?}", self.limits.idle) }
            }
            ConnectionError::LocallyClosed => NetError::ClosedHere,
            other => NetError::Lost { address, detail: other.to_string() },
        }
    }
}

fn alert_of(code: u64) -> Option<u8> {
    u8::try_from(code.checked_sub(TLS_ALERT)?).ok()
}

fn quic_server(credentials: &Credentials, verdict: &Verdict) -> Result<Arc<QuicServerConfig>, NetError> {
    let tls = credentials.server(verdict)?;
    let quic = QuicServerConfig::try_from(tls)
        .map_err(|error| NetError::Certify { tried: "set up QUIC's TLS", detail: error.to_string() })?;
    Ok(Arc::new(quic))
}

fn quic_client(credentials: &Credentials, verdict: &Verdict) -> Result<quinn::ClientConfig, NetError> {
    let tls = credentials.client(verdict)?;
    let quic = QuicClientConfig::try_from(tls)
        .map_err(|error| NetError::Certify { tried: "set up QUIC's TLS", detail: error.to_string() })?;
    Ok(quinn::ClientConfig::new(Arc::new(quic)))
}

/// The network's thread, from start to shutdown.
async fn run(shared: &Arc<Shared>) {
    tokio::select! {
        () = accept(shared) => {}
        () = shared.stopped() => {}
    }
    let ended = async {
        while shared.tasks.load(Relaxed) > 0 {
            shared.idle.notified().await;
        }
    };
    // Links see for themselves that the network stops; tasks that hang are dropped with the runtime.
    let _ = timeout(SHUTDOWN, ended).await;
    shared.endpoint.close(VarInt::from_u32(Farewell::of(&NetError::ShutDown).code), &[]);
    let _ = timeout(LAST_PACKETS, shared.endpoint.wait_idle()).await;
}

async fn accept(shared: &Arc<Shared>) {
    let mut admission = Admission::new(&shared.limits, shared.gate.accepts.is_empty());
    while let Some(incoming) = shared.endpoint.accept().await {
        let address = incoming.remote_address();
        let link = Link::new(shared.new_id(), address);
        match admission.admit(shared.now(), incoming) {
            admit::Verdict::Enter(incoming, handshake) => match shared.take_place(&link) {
                Ok(()) => shared.spawn(welcome(Arc::clone(shared), link, *incoming, handshake)),
                Err(cause) => {
                    incoming.refuse();
                    shared.counts.count_refused(&cause);
                    (shared.on_event)(Event::Refused { address, cause });
                }
            },
            // Counted only: who floods us should not make us talk.
            admit::Verdict::Refused(cause) => shared.counts.count_refused(&cause),
            admit::Verdict::Asked => {}
        }
    }
}

/// A link that a peer begins.
async fn welcome(shared: Arc<Shared>, link: Arc<Link>, incoming: Incoming, handshake: admit::Handshake) {
    let shaken = tokio::select! {
        shaken = timeout(shared.limits.handshake, shake_hands(&shared, &link, incoming)) => shaken
            .unwrap_or_else(|_| Err(shared.handshake_late(link.address, shared.limits.handshake))),
        () = shared.stopped() => Err(NetError::ShutDown),
    };
    drop(handshake);
    let cause = match shaken {
        Ok(connection) => link::serve(&shared, &link, connection, Side::Accepted).await,
        Err(cause) => cause,
    };
    shared.part(&link, Side::Accepted, cause);
}

async fn shake_hands(shared: &Shared, link: &Link, incoming: Incoming) -> Result<quinn::Connection, NetError> {
    let verdict = Verdict::default();
    let mut server = shared.server.clone();
    server.crypto = quic_server(&shared.credentials(), &verdict)?;
    server.transport = shared.transport_of(link)?;
    let failed = |error| shared.cause_of(error, Some(&verdict), link.address);
    incoming.accept_with(Arc::new(server)).map_err(failed)?.await.map_err(failed)
}

/// A link that we begin; `room` is whether there is a place for it.
async fn dial(shared: Arc<Shared>, link: Arc<Link>, expected: Role, room: Result<(), NetError>) {
    let side = Side::Dialed(expected);
    let connected = match room {
        Ok(()) => {
            tokio::select! {
                connected = timeout(shared.limits.connect, connect(&shared, &link)) => connected
                    .unwrap_or_else(|_| Err(shared.handshake_late(link.address, shared.limits.connect))),
                () = link.leave.notified() => Err(NetError::ClosedHere),
                () = shared.stopped() => Err(NetError::ShutDown),
            }
        }
        Err(cause) => Err(cause),
    };
    let cause = match connected {
        Ok(connection) => link::serve(&shared, &link, connection, side).await,
        Err(cause) => cause,
    };
    shared.part(&link, side, cause);
}

async fn connect(shared: &Shared, link: &Link) -> Result<quinn::Connection, NetError> {
    let address = link.address;
    let verdict = Verdict::default();
    let mut config = quic_client(&shared.credentials(), &verdict)?;
    config.transport_config(shared.transport_of(link)?);
    let connecting = shared
        .endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| NetError::Lost { address, detail: error.to_string() })?;
    connecting.await.map_err(|error| shared.cause_of(error, Some(&verdict), address))
}

impl Shared {
    fn handshake_late(&self, address: SocketAddr, after: Duration) -> NetError {
        NetError::Deadline { address, wait: Wait::Handshake, after }
    }

    /// A link's end: its place is free, and its owner is told.
    fn part(&self, link: &Link, side: Side, cause: NetError) {
        self.links().remove(&link.id);
        let was_up = link.peer().is_some();
        if was_up {
            self.counts.links.fetch_sub(1, Relaxed);
        }
        if was_up || side != Side::Accepted {
            (self.on_event)(Event::Down { link: link.id, cause });
        } else {
            self.counts.count_refused(&cause);
            (self.on_event)(Event::Refused { address: link.address, cause });
        }
    }
}
