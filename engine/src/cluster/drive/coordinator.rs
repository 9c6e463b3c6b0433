//! The coordinator's process: its machine between the network and the journal.
//!
//! In: options. Out: runs until it is told to stop. Never: a row; a decision: the machine makes them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use crossbeam::channel::{RecvTimeoutError, Sender, unbounded};
use windrow_net::{Event as NetEvent, LinkId, MessageKind, Network, Role};

use super::{
    binary::{Asked, BINARY, Server},
    hold, identity,
    journal::{self, Entry, Wrote},
    network_options,
};
use crate::{
    cluster::{
        coordinator::{Command, Coordinator, Event, Options, Outgoing, Peer},
        protocol::{
            Answer, FromClient, FromWorker, Link, Message, RemoteError, Request, ToClient, ToWorker, WorkerName,
        },
    },
    error::Result,
    operator::Cancel,
    shuffle::Epoch,
};

/// How a coordinator is started.
#[derive(Clone, Debug)]
pub struct CoordinatorOptions {
    /// Where workers and clients reach it; port 0 takes one that is free.
    pub bind: SocketAddr,
    /// The folder of its certificate and key.
    pub identity: PathBuf,
    /// The folder of its journal.
    pub folder: PathBuf,
}

/// What the machine's thread hears.
enum Heard {
    Net(NetEvent),
    Journal(Wrote),
    /// What a client is told of a binary.
    Binary {
        link: Link,
        request: u64,
        body: Answer,
    },
}

/// Runs a coordinator until `stop` says so. `ready` is called with its address once it can be reached.
pub fn run_coordinator(options: CoordinatorOptions, stop: Cancel, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    // Held while it runs: a second coordinator must not read a journal that is being written.
    let _lock = hold(&options.folder)?;
    let mut left = journal::open(&options.folder)?;
    let (tell, heard) = unbounded();
    let wrote = tell.clone();
    let journal = journal::start(options.folder.clone(), &left, move |answer| {
        // The machine's thread ends last.
        let _ = wrote.send(Heard::Journal(answer));
    })?;
    let told = tell.clone();
    let binaries = Server::start(options.folder.join("binaries"), move |link, request, body| {
        let _ = told.send(Heard::Binary { link, request, body });
    })?;
    let network = Network::start(
        network_options(identity(&options.identity, Role::Coordinator)?, options.bind, &[Role::Worker, Role::Client]),
        move |event| {
            let _ = tell.send(Heard::Net(event));
        },
    )?;
    let jobs = std::mem::take(&mut left.jobs);
    let machine = Coordinator::new(Options::new(left.epoch), jobs, std::mem::take(&mut left.epitaphs), 0);
    let mut process = Process {
        machine,
        network,
        journal,
        binaries,
        epoch: left.epoch,
        started: Instant::now(),
        links: BTreeMap::new(),
        numbers: BTreeMap::new(),
        next_link: 1,
        ended: None,
    };
    tracing::info!(epoch = left.epoch.0, address = %process.network.local_address(), "coordinator");
    ready(process.network.local_address());
    while process.ended.is_none() && !stop.is_cancelled() {
        let due = Duration::from_micros(process.machine.next_tick()).saturating_sub(process.started.elapsed());
        match heard.recv_timeout(due.min(Duration::from_millis(100))) {
            Ok(Heard::Net(event)) => process.hear(event),
            Ok(Heard::Journal(Wrote::Synced(number))) => process.handle(Event::Synced { number }),
            Ok(Heard::Journal(Wrote::Failed(error))) => {
                process.handle(Event::JournalFailed { error: RemoteError::from_error(&error, "coordinator") });
            }
            Ok(Heard::Binary { link, request, body }) => process.tell_client(link, request, body),
            Err(RecvTimeoutError::Timeout) => process.handle(Event::Tick),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    process.network.shutdown();
    process.ended.map_or(Ok(()), |error| Err(error.into_error()))
}

struct Process {
    machine: Coordinator,
    network: Network,
    journal: Sender<Entry>,
    binaries: Server,
    epoch: Epoch,
    started: Instant,
    /// The machine numbers connections itself.
    links: BTreeMap<Link, (LinkId, Peer)>,
    numbers: BTreeMap<LinkId, Link>,
    next_link: u64,
    ended: Option<RemoteError>,
}

impl Process {
    fn hear(&mut self, event: NetEvent) {
        match event {
            NetEvent::Up { link, peer, .. } => {
                let known = match peer.role {
                    Role::Worker => match WorkerName::new(peer.name.clone()) {
                        Ok(name) => Peer::Worker(name),
                        Err(error) => {
                            tracing::warn!(%error, "a worker");
                            self.network.close(link);
                            return;
                        }
                    },
                    _ => Peer::Client,
                };
                let number = Link(self.next_link);
                self.next_link += 1;
                self.links.insert(number, (link, known.clone()));
                self.numbers.insert(link, number);
                self.handle(Event::LinkUp { link: number, peer: known });
            }
            NetEvent::Down { link, .. } => {
                if let Some(number) = self.numbers.remove(&link) {
                    self.links.remove(&number);
                    self.handle(Event::LinkDown { link: number });
                }
            }
            NetEvent::Message { link, message } => {
                let Some(number) = self.numbers.get(&link).copied() else { return };
                let Some((_, peer)) = self.links.get(&number) else { return };
                // A worker says what workers say, a client what clients say: the certificate decides.
                let event = match peer {
                    Peer::Worker(_) => FromWorker::from_bytes(&message.payload)
                        .map(|message| Event::FromWorker { link: number, message: Box::new(message) }),
                    Peer::Client => FromClient::from_bytes(&message.payload)
                        .map(|message| Event::FromClient { link: number, message: Box::new(message) }),
                };
                match event {
                    Ok(Event::FromClient { link, message }) if matches!(message.body, Request::Binary(_)) => {
                        // Nothing that the machine decides depends on it.
                        if let FromClient { request, body: Request::Binary(ask) } = *message {
                            self.binaries.ask(Asked::Client { link, request, ask });
                        }
                    }
                    Ok(event) => self.handle(event),
                    Err(error) => {
                        tracing::warn!(%error, ?peer, "a message that cannot be read");
                        self.network.close(link);
                    }
                }
            }
            NetEvent::Refused { address, cause } => tracing::warn!(%address, %cause, "refused"),
            NetEvent::Asked { peer, request, answer, .. } if peer.role == Role::Worker && request.kind == BINARY => {
                self.binaries.ask(Asked::Worker { request: request.payload.to_vec(), reply: answer });
            }
            NetEvent::Asked { answer, .. } => answer.refuse(0, Vec::new()),
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.started.elapsed().as_micros() as u64;
        self.machine.handle(now, event);
        while let Some(command) = self.machine.poll_command() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Send { link, message } => self.send(link, &message),
            Command::Append { number, job, record } => self.write(Entry::Append { number, job, record }),
            Command::Log { job, event } => self.write(Entry::Log { job, event }),
            Command::Retire { number, epitaph } => self.write(Entry::Retire { number, epitaph }),
            Command::CloseLink { link, error } => {
                tracing::warn!(%error, "closing a connection");
                if let Some((link, _)) = self.links.get(&link) {
                    self.network.close(*link);
                }
            }
            Command::Stop { error } => self.ended = Some(error),
        }
    }

    fn tell_client(&self, link: Link, request: u64, body: Answer) {
        self.send(link, &Outgoing::Client(Box::new(ToClient { epoch: self.epoch, request, body })));
    }

    fn write(&self, entry: Entry) {
        // A journal that failed has said so; the machine stops.
        let _ = self.journal.send(entry);
    }

    fn send(&self, link: Link, message: &Outgoing) {
        let Some((id, _)) = self.links.get(&link) else { return };
        let (kind, bytes) = match message {
            Outgoing::Worker(message) => (ToWorker::KIND, message.to_bytes()),
            Outgoing::Client(message) => (ToClient::KIND, message.to_bytes()),
        };
        // What does not go out is said again until its effect shows.
        match bytes.map(|bytes| self.network.send(*id, MessageKind(kind), bytes)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a message was not sent"),
            Err(error) => tracing::error!(%error, "a message that cannot be written"),
        }
    }
}
