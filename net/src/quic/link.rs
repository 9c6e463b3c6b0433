//! One link over quinn: its session's bytes, deadlines and events carried to and from a connection.
//!
//! In: a connection whose handshake is done. Out: events, in their order, and why the link ended. Never: a decision; the
//! session (`endpoint.rs`) takes them.
//!
//! Four loops share one task: *write* the control stream, *read* the peer's, *keep time*, *accept* bulk streams. The first
//! that finds the session over ends them all. They wake one another by notes that keep a permit, so no order of "look,
//! then wait" loses a wake.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use quinn::{Connection, ReadError, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::{sync::Notify, time::sleep};

use super::{Shared, bulk, congestion::Leaving};
use crate::{
    endpoint::{Session, SessionEvent, Side},
    error::{CertificateFlaw, NetError},
    network::{Event, LinkId},
    peer::Peer,
    tls::peer_of,
};

/// Chunks of the control stream that are written at once.
const CHUNKS: usize = 64;

/// Bytes of the control stream that are read at once.
const READ_BYTES: usize = 64 << 10;

/// A link from its first packet to its last.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) address: SocketAddr,
    session: Mutex<Option<Session>>,
    connection: OnceLock<Connection>,
    /// Set with [`SessionEvent::Up`].
    peer: OnceLock<Peer>,
    /// Something may be sent, or the link is closing.
    pub(super) outgoing: Notify,
    /// The next deadline may have changed.
    clock: Notify,
    /// Bulk streams may be served.
    up: Notify,
    /// To be closed although there is no session yet.
    pub(super) leave: Notify,
    is_given_up: AtomicBool,
    /// Tells the congestion control that the last packet is to be sent.
    pub(super) leaving: Leaving,
}

impl Link {
    pub(super) fn new(id: LinkId, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            id,
            address,
            session: Mutex::default(),
            connection: OnceLock::new(),
            peer: OnceLock::new(),
            outgoing: Notify::new(),
            clock: Notify::new(),
            up: Notify::new(),
            leave: Notify::new(),
            is_given_up: AtomicBool::new(false),
            leaving: Leaving::default(),
        })
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the link in good order, at whatever point it is.
    pub(super) fn close(&self, now: Duration) {
        match self.session().as_mut() {
            Some(session) => session.close(now),
            None => {
                // Under the session's lock, so that the one who makes it sees this.
                self.is_given_up.store(true, Relaxed);
                self.leave.notify_one();
            }
        }
        self.outgoing.notify_one();
    }

    /// The handshake is done.
    fn begin(&self, now: Duration, mut session: Session) {
        let mut place = self.session();
        if self.is_given_up.load(Relaxed) {
            session.close(now);
        }
        *place = Some(session);
    }

    /// Who the peer is, once the link is up.
    pub(super) fn peer(&self) -> Option<Peer> {
        self.peer.get().cloned()
    }

    /// The connection of a link that came up.
    pub(super) fn connection(&self) -> Option<&Connection> {
        self.peer.get().and(self.connection.get())
    }

    /// Calls `act` on the session; all that the loops below do is between a handshake and the link's end, where it is.
    fn with<T>(&self, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.session().as_mut().map(act)
    }

    /// Why the link is over.
    pub(super) fn cause(&self) -> Option<NetError> {
        self.with(|session| session.cause()).flatten()
    }

    fn is_over(&self) -> bool {
        self.with(|session| session.is_over()).unwrap_or(true)
    }
}

/// Runs the link to its end.
pub(super) async fn serve(shared: &Arc<Shared>, link: &Arc<Link>, connection: Connection, side: Side) -> NetError {
    let address = link.address;
    let Some(peer) = peer_of_connection(&connection) else {
        return NetError::Certificate { address, flaw: CertificateFlaw::NoPeerName };
    };
    let session = Session::new(shared.now(), link.id, &shared.gate, side, peer, address, &shared.limits);
    link.begin(shared.now(), session);
    let _ = link.connection.set(connection.clone()); // Set here only, once a link.
    if !link.is_over() {
        tokio::select! {
            () = write(shared, link, &connection) => {}
            () = read(shared, link, &connection, side) => {}
            () = keep_time(shared, link) => {}
            () = accept(shared, link, &connection) => {}
            () = shared.stopped() => {
                link.with(|session| session.handle_lost(NetError::ShutDown));
            }
        }
    }
    tell(shared, link, side);
    if let Some(farewell) = link.with(|session| session.farewell()).flatten() {
        link.leaving.leave();
        connection.close(VarInt::from_u32(farewell.code), farewell.reason.as_bytes());
    }
    link.cause().unwrap_or(NetError::ClosedHere)
}

/// Hands over the session's events, but the last: why the link ended says [`Session::cause`].
fn tell(shared: &Arc<Shared>, link: &Arc<Link>, side: Side) {
    while let Some(event) = link.with(Session::poll_event).flatten() {
        match event {
            SessionEvent::Up(peer) => {
                let count = match side {
                    Side::Dialed(_) => &shared.counts.links_dialed,
                    Side::Accepted => &shared.counts.links_accepted,
                };
                count.fetch_add(1, Relaxed);
                shared.counts.links.fetch_add(1, Relaxed);
                let _ = link.peer.set(peer.clone()); // Up comes once.
                link.up.notify_one();
                (shared.on_event)(Event::Up { link: link.id, peer, address: link.address });
            }
            SessionEvent::Message(message) => {
                shared.counts.messages_received.fetch_add(1, Relaxed);
                (shared.on_event)(Event::Message { link: link.id, message });
            }
            SessionEvent::Down(_) => return,
        }
    }
}

async fn write(shared: &Arc<Shared>, link: &Arc<Link>, connection: &Connection) {
    let mut stream = match connection.open_uni().await {
        Ok(stream) => stream,
        // The reader knows why.
        Err(_) => return std::future::pending().await,
    };
    // Messages go before answers. It fails only for a closed stream.
    let _ = stream.set_priority(1);
    let mut chunks: Vec<Bytes> = Vec::with_capacity(CHUNKS);
    loop {
        let (is_flushed, is_over) = {
            let now = shared.now();
            let mut session = link.session();
            let Some(session) = session.as_mut() else { return };
            chunks.extend(std::iter::from_fn(|| session.poll_transmit(now)).take(CHUNKS));
            (session.is_flushed(), session.is_over())
        };
        if is_over {
            return;
        }
        if !chunks.is_empty() {
            link.clock.notify_one();
            if stream.write_all_chunks(&mut chunks).await.is_err() {
                return std::future::pending().await;
            }
            chunks.clear();
            link.with(Session::handle_taken);
        } else if is_flushed {
            link.clock.notify_one();
            let _ = stream.finish(); // Closed already: the reader will say why.
            let _ = stream.stopped().await; // The peer has it all, or is gone; either way we leave.
            link.with(Session::handle_farewell);
            return;
        } else {
            link.outgoing.notified().await;
        }
    }
}

async fn read(shared: &Arc<Shared>, link: &Arc<Link>, connection: &Connection, side: Side) {
    let lost = |error| {
        let cause = shared.cause_of(error, None, link.address);
        link.with(|session| session.handle_lost(cause));
    };
    let mut stream = match connection.accept_uni().await {
        Ok(stream) => stream,
        Err(error) => return lost(error),
    };
    loop {
        match stream.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => {
                link.with(|session| session.handle_bytes(&chunk.bytes));
                tell(shared, link, side);
            }
            Ok(None) => {
                link.with(Session::handle_end);
                if !link.is_over() {
                    return lost(connection.closed().await);
                }
            }
            Err(ReadError::ConnectionLost(error)) => return lost(error),
            // A reset of the control stream.
            Err(error) => {
                let cause = NetError::Lost { address: link.address, detail: error.to_string() };
                link.with(|session| session.handle_lost(cause));
            }
        }
        if link.is_over() {
            return;
        }
    }
}

async fn keep_time(shared: &Arc<Shared>, link: &Arc<Link>) {
    while !link.is_over() {
        match link.with(|session| session.poll_timeout()).flatten() {
            Some(due) => {
                tokio::select! {
                    () = sleep(due.saturating_sub(shared.now())) => {
                        link.with(|session| session.handle_timeout(shared.now()));
                    }
                    () = link.clock.notified() => {}
                }
            }
            None => link.clock.notified().await,
        }
    }
}

async fn accept(shared: &Arc<Shared>, link: &Arc<Link>, connection: &Connection) {
    link.up.notified().await;
    // QUIC lets the peer open no more than `bulk_streams_max` at once.
    while let Ok((send, recv)) = connection.accept_bi().await {
        shared.spawn(bulk::serve(Arc::clone(shared), Arc::clone(link), send, recv));
    }
    // The reader knows why.
    std::future::pending().await
}

fn peer_of_connection(connection: &Connection) -> Option<Peer> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    peer_of(&chain)
}
