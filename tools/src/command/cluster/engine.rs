//! Where the command line meets the cluster's engine: certificates, a client, a session.
//!
//! In: a cluster's folder and record. Out: what the engine needs to be asked. Never: a process; those are `start.rs` and `stop.rs`.

use std::{net::SocketAddr, time::Duration};

use windrow::{
    Error, Kind, Session, Settings,
    cluster::{
        drive::{Client, ClusterAddress},
        protocol::{Answer, ClusterView, Request, WorkerState, WorkerView},
    },
};
use windrow_bench::Nodes;
use windrow_net::{Authority, NetError, Role};

use super::{
    error::ClusterError,
    folder::{self, CLIENT, COORDINATOR, ClusterFolder, ClusterName, Record, WorkerRecord},
};
use crate::{process::Process, progress::Progress};

/// How long the certificates of a local cluster hold: longer than it runs.
const VALID: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes an authority for the cluster, and a certificate for each of its processes and for who asks.
pub fn certify(folder: &ClusterFolder, workers: &[String]) -> Result<(), ClusterError> {
    let name = folder.name();
    folder.make(workers.iter().map(String::as_str).chain([COORDINATOR, CLIENT]))?;
    let certify = || -> Result<(), NetError> {
        let authority = Authority::create(name.as_str())?;
        authority.save(&folder.authority())?;
        let workers = workers.iter().map(|worker| (Role::Worker, worker.as_str()));
        for (role, who) in workers.chain([(Role::Coordinator, COORDINATOR), (Role::Client, CLIENT)]) {
            authority.issue(role, who, &["localhost", "127.0.0.1", "::1"], VALID)?.save(&folder.identity(who))?;
        }
        Ok(())
    };
    certify().map_err(|source| ClusterError::Certificates { name: name.clone(), source: Box::new(source) })
}

/// A cluster that was started on this machine, and how it is asked.
pub struct Contact {
    folder: ClusterFolder,
    /// What is written down of it.
    pub record: Record,
    coordinator: SocketAddr,
}

impl Contact {
    /// The cluster `name`, as it is written down; nobody is asked yet.
    pub fn of(name: &ClusterName) -> Result<Contact, ClusterError> {
        Contact::at(ClusterFolder::of(name)?)
    }

    /// The cluster of this folder.
    pub fn at(folder: ClusterFolder) -> Result<Contact, ClusterError> {
        let Some(record) = folder.read()? else {
            return Err(ClusterError::Unknown { name: folder.name().clone(), others: folder::names() });
        };
        let Some(coordinator) = record.coordinator.as_ref().and_then(|coordinator| coordinator.address) else {
            return Err(ClusterError::Unfinished { name: folder.name().clone() });
        };
        Ok(Contact { folder, record, coordinator })
    }

    /// For the engine.
    pub fn address(&self) -> ClusterAddress {
        ClusterAddress { coordinator: self.coordinator, identity: self.folder.identity(CLIENT) }
    }

    /// A session whose jobs run there; what is heard of them goes to `progress`.
    pub fn session(&self, settings: Settings, progress: &Progress) -> Result<Session, ClusterError> {
        let session = Session::connect(&self.address(), settings).map_err(|source| self.unanswered(source))?;
        let progress = progress.clone();
        session.watch(move |update| progress.update(update));
        Ok(session)
    }

    /// What the coordinator answers; or why it did not.
    pub fn ask(&self, request: &Request) -> Result<Answer, ClusterError> {
        let asked = Client::connect(&self.address()).and_then(|client| client.ask(request));
        asked.map_err(|source| self.unanswered(source))
    }

    /// Why there is no answer; an error that the coordinator gave as its answer says that itself.
    fn unanswered(&self, source: Error) -> ClusterError {
        if !matches!(source.kind(), Kind::Unreachable | Kind::Denied | Kind::Io) {
            return ClusterError::Answered(source);
        }
        let process = self.record.coordinator.as_ref().map(|coordinator| &coordinator.process);
        ClusterError::Unanswered {
            name: self.folder.name().clone(),
            address: self.coordinator,
            is_running: process.is_some_and(Process::is_running),
            log: self.folder.log(COORDINATOR),
            source,
        }
    }

    /// The coordinator's account of the workers.
    pub fn view(&self) -> Result<ClusterView, ClusterError> {
        match self.ask(&Request::Cluster)? {
            Answer::Cluster(view) => Ok(view),
            _ => Err(self.misanswered()),
        }
    }

    /// The workers that are ready, and their threads.
    pub fn nodes(&self) -> Result<Nodes, ClusterError> {
        let view = self.view()?;
        let ready = || view.workers.iter().filter(|worker| worker.state == WorkerState::Ready);
        Ok(Nodes { workers: ready().count(), threads: ready().map(|worker| worker.threads as usize).sum() })
    }

    /// Whether a worker that was started with the cluster is dead: its process has ended, nobody works in its folder, and the coordinator
    /// knows of no other process of its name.
    pub fn is_dead(&self, worker: &WorkerRecord, view: &ClusterView) -> bool {
        let is_other = |other: &WorkerView| {
            let is_here = matches!(other.state, WorkerState::Ready | WorkerState::Leaving);
            other.name.as_str() == worker.id && other.pid != worker.process.pid && is_here
        };
        self.folder.running(&self.record, &worker.id).is_none() && !view.workers.iter().any(is_other)
    }

    /// An answer that was not asked for.
    pub fn misanswered(&self) -> ClusterError {
        ClusterError::Answer { name: self.folder.name().clone() }
    }
}
