//! `windrow cluster status`: which processes a cluster has, and how they are.
//!
//! In: a name. Out: JSON or a table, from the record and from the coordinator's own account. Never: an answer without the coordinator's.

use serde::Serialize;
use windrow::cluster::protocol::{ClusterView, WorkerState, WorkerView};

use super::{
    ClusterName, Contact, NameFlag,
    error::{are, start_again},
};
use crate::{columns::columns, error::Failure, output, size};

/// Show a cluster's processes
#[derive(clap::Args)]
#[command(
    after_help = "A worker is ready, leaving (it takes no more work), absent (the coordinator waits for it) or dead.\n\\
                  `windrow cluster start` starts those again that are dead.\n\nExamples:\n  windrow cluster status\n  windrow cluster status --json"
)]
pub struct Status {
    #[command(flatten)]
    name: NameFlag,
    /// A JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// What is told of a cluster.
#[derive(Serialize)]
struct Account<'a> {
    name: &'a str,
    coordinator: CoordinatorAccount,
    workers: Vec<WorkerAccount>,
    /// Those of the workers that were started with the cluster which are dead, and how many those were.
    #[serde(skip)]
    dead: (Vec<String>, usize),
    jobs_running: u32,
    jobs_queued: u32,
}

#[derive(Serialize)]
struct CoordinatorAccount {
    pid: u32,
    address: String,
    epoch: u32,
}

#[derive(Serialize)]
struct WorkerAccount {
    id: String,
    pid: u32,
    /// None while it has not told it.
    address: Option<String>,
    state: &'static str,
    threads: Option<u32>,
    memory_bytes: Option<u64>,
    tasks_running: u32,
    seconds_silent: Option<f64>,
}

impl Status {
    pub fn run(&self) -> Result<(), Failure> {
        let contact = Contact::of(&self.name.name)?;
        let view = contact.view()?;
        let account = Account::of(&contact, &view);
        if self.json { output::json(&account) } else { output::text(&account.table(&self.name.name)) }
    }
}

impl<'a> Account<'a> {
    /// Workers as they were started, then those that came by themselves.
    fn of(contact: &'a Contact, view: &ClusterView) -> Account<'a> {
        let record = &contact.record;
        let seen = |id: &str| view.workers.iter().find(|worker| worker.name.as_str() == id);
        let started = record.workers.iter().map(|worker| match (seen(&worker.id), contact.is_dead(worker, view)) {
            // It is seen here before it is missed there.
            (Some(view), true) => WorkerAccount { state: word(WorkerState::Dead), ..WorkerAccount::of(view) },
            (Some(view), false) => WorkerAccount::of(view),
            (None, false) => WorkerAccount::unseen(&worker.id, worker.process.pid, WorkerState::Absent),
            (None, true) => WorkerAccount::unseen(&worker.id, worker.process.pid, WorkerState::Dead),
        });
        let dead = record.workers.iter().filter(|worker| contact.is_dead(worker, view));
        let dead = (dead.map(|worker| worker.id.clone()).collect(), record.workers.len());
        let is_started = |id: &str| record.workers.iter().any(|worker| worker.id == id);
        let joined = view.workers.iter().filter(|worker| !is_started(worker.name.as_str())).map(WorkerAccount::of);
        Account {
            name: &record.name,
            coordinator: CoordinatorAccount {
                // The one that answers: somebody may have started it again by hand.
                pid: view.pid,
                address: contact.address().coordinator.to_string(),
                epoch: view.epoch.0,
            },
            workers: started.into_iter().chain(joined).collect(),
            dead,
            jobs_running: view.running,
            jobs_queued: view.queued,
        }
    }

    fn table(&self, name: &ClusterName) -> String {
        let coordinator = &self.coordinator;
        let head = ["", "pid", "address", "state", "threads", "memory", "tasks"];
        let first = vec![
            "coordinator".to_owned(),
            coordinator.pid.to_string(),
            coordinator.address.clone(),
            "ready".to_owned(),
        ];
        let workers = self.workers.iter().map(|worker| {
            let address = worker.address.clone().unwrap_or_default();
            let threads = worker.threads.map(|threads| threads.to_string()).unwrap_or_default();
            let memory = worker.memory_bytes.map(size::show).unwrap_or_default();
            let (pid, tasks) = (worker.pid.to_string(), worker.tasks_running.to_string());
            vec![format!("worker {}", worker.id), pid, address, worker.state.to_owned(), threads, memory, tasks]
        });
        let rows: Vec<Vec<String>> = std::iter::once(first).chain(workers).collect();
        let jobs = format!("{} jobs run, {} wait", self.jobs_running, self.jobs_queued);
        let (dead, started) = &self.dead;
        let hint = match dead.len() {
            0 => String::new(),
            count => {
                let them = if count == 1 { "it" } else { "them" };
                format!("{} dead: `{}` starts {them} again\n", are(dead), start_again(name, *started))
            }
        };
        format!("cluster {}: {jobs}\n{}{hint}", self.name, columns(&head, &rows))
    }
}

impl WorkerAccount {
    fn of(view: &WorkerView) -> WorkerAccount {
        WorkerAccount {
            id: view.name.to_string(),
            pid: view.pid,
            address: Some(view.address.clone()).filter(|address| !address.is_empty()),
            state: word(view.state),
            threads: Some(view.threads),
            memory_bytes: Some(view.memory_bytes),
            tasks_running: view.running,
            seconds_silent: Some(view.silent as f64 / 1e6),
        }
    }

    fn unseen(id: &str, pid: u32, state: WorkerState) -> WorkerAccount {
        WorkerAccount {
            id: id.to_owned(),
            pid,
            address: None,
            state: word(state),
            threads: None,
            memory_bytes: None,
            tasks_running: 0,
            seconds_silent: None,
        }
    }
}

fn word(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Absent => "absent",
        WorkerState::Ready => "ready",
        WorkerState::Leaving => "leaving",
        WorkerState::Dead => "dead",
    }
}
