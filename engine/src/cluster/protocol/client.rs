//! What a client and the coordinator tell each other.
//!
//! In: requests with numbers, and what is answered. Out: [`FromClient`], [`ToClient`]. Never: rows; a client pulls them from workers.

use serde::{Deserialize, Serialize};

use super::{
    BinaryAsk, Blob, ClusterView, JobProfile, JobSummary, JobUpdate, JobView, LostInput, Message, ProtocolError,
    RemoteError, at_most, check_error, check_lost, check_sources,
};
use crate::{
    cluster::limits::*,
    shuffle::{Epoch, JobId},
};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromClient {
    /// The client's number of the request, which the answer repeats.
    pub request: u64,
    /// What.
    pub body: Request,
}

/// What a client asks, without its number. Asking again is always the same as asking once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Run a job. Until `Submitted`.
    Submit(Box<Submission>),
    /// Tell me how it goes, now and whenever it changes; to be said again every [`WATCH_AGAIN`], as a sign of life.
    Watch {
        /// Which job.
        job: JobId,
    },
    /// I have the rows: they may go. Until `TakenDone`.
    Taken {
        /// Which job.
        job: JobId,
    },
    /// I cannot pull these rows.
    Lost {
        /// Which job.
        job: JobId,
        /// What it could not pull.
        lost: Vec<LostInput>,
    },
    /// End a job. Until `CancelDone`.
    Cancel {
        /// Which job.
        job: JobId,
    },
    /// All jobs.
    Jobs,
    /// One job in full.
    Job {
        /// Which.
        job: JobId,
    },
    /// The workers.
    Cluster,
    /// What a job has cost. Before its rows are taken: then it is forgotten.
    Profile {
        /// Which.
        job: JobId,
    },
    /// Have, or take, a program's binary. Until `BinaryHeld`.
    Binary(BinaryAsk),
}

/// A job as it is handed in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Its number: random, chosen by the client, so that handing it in again is the same job.
    pub job: JobId,
    /// Whether it is a text or a program.
    pub kind: JobKind,
    /// The text or program, with settings: opaque to the coordinator.
    pub spec: Blob,
    /// A line for people.
    pub label: String,
    /// Milliseconds since 1970 by the client's clock: shown, never reckoned with.
    pub submitted_unix_ms: u64,
    /// How it is to be run.
    pub options: JobOptions,
}

/// Text or program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// Planned in a worker; the client pulls the rows of its result.
    Sql,
    /// A program with a driver in a process of its own.
    Program,
}

/// How a job is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOptions {
    /// What a task should read.
    pub task_bytes: u64,
    /// Microseconds that rows wait for a client that is silent.
    pub retention: u64,
    /// It ends with its client, after a grace.
    pub cancel_on_disconnect: bool,
}

impl Default for JobOptions {
    fn default() -> JobOptions {
        JobOptions { task_bytes: TASK_BYTES, retention: RETENTION, cancel_on_disconnect: false }
    }
}

/// What the coordinator tells a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToClient {
    /// Which life of the coordinator tells it.
    pub epoch: Epoch,
    /// The request that is answered; of an update, the last `Watch`.
    pub request: u64,
    /// What.
    pub body: Answer,
}

/// What the coordinator tells a client, without its stamp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The job is durable.
    Submitted {
        /// Which.
        job: JobId,
    },
    /// How a job goes; one with a lower revision is old.
    Update(Box<JobUpdate>),
    /// The rows are given up.
    TakenDone {
        /// Of which job.
        job: JobId,
    },
    /// The job is over, by this or before.
    CancelDone {
        /// Which.
        job: JobId,
    },
    /// The jobs, newest first.
    Jobs(Vec<JobSummary>),
    /// One job in full.
    Job(Box<JobView>),
    /// The workers, by name.
    Cluster(ClusterView),
    /// It cannot be done.
    Failed(RemoteError),
    /// What a job has cost.
    Profile(Box<JobProfile>),
    /// So many bytes of a binary are held, from its first on; all of them once it was checked.
    BinaryHeld {
        /// How many.
        bytes: u64,
    },
}

impl Message for FromClient {
    const KIND: u16 = 0x0103;
    fn check(&self) -> Result<(), ProtocolError> {
        match &self.body {
            Request::Submit(submission) => {
                at_most("bytes of a job", submission.spec.len(), SPEC_BYTES_MAX)?;
                at_most("bytes of a label", submission.label.len(), LABEL_BYTES_MAX)
            }
            Request::Lost { lost, .. } => check_lost(lost),
            Request::Binary(ask) => ask.check(),
            _ => Ok(()),
        }
    }
}

impl Message for ToClient {
    const KIND: u16 = 0x0104;
    fn check(&self) -> Result<(), ProtocolError> {
        match &self.body {
            Answer::Update(update) => {
                at_most("stages", update.progress.len(), ATTEMPTS_SHOWN_MAX)?;
                check_sources(update.result.as_deref().unwrap_or_default())
            }
            Answer::Jobs(jobs) => at_most("jobs", jobs.len(), JOBS_MAX + SUMMARIES_MAX),
            Answer::Job(job) => at_most("attempts", job.attempts.len(), ATTEMPTS_SHOWN_MAX),
            Answer::Cluster(cluster) => at_most("workers", cluster.workers.len(), 2 * WORKERS_MAX),
            Answer::Failed(error) => check_error(error),
            Answer::Profile(profile) => profile.check(),
            _ => Ok(()),
        }
    }
}
