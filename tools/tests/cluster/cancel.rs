//! Jobs that somebody ends, and clients that somebody interrupts.
//!
//! In: a job that runs for long. Out: passes, if it ends as cancelled, who waits is told, and the workers are free again. Never: a job
//! that ended by itself before it was cancelled.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use windrow::{
    Kind,
    cluster::{
        drive::Client,
        protocol::{AttemptState, JobState, JobSummary},
    },
};

use super::{
    faults::LONG,
    place::{self, Cluster, PATIENCE, eventually, newest},
    watched::{Watched, view_of},
};

/// Attempts look at their flag once a morsel; the client and the terminal are promised a second.
const SOON: Duration = Duration::from_secs(20);

/// The newest job, once it runs attempts.
fn running(client: &Client) -> JobSummary {
    eventually("a job runs", PATIENCE, || {
        let view = newest(client).filter(|view| view.summary.state == JobState::Running).ok_or("no job runs")?;
        let is_tried = view.attempts.iter().any(|attempt| attempt.state == AttemptState::Running);
        if is_tried { Ok(view.summary) } else { Err(format!("{view:#?}")) }
    })
}

fn until_cancelled(client: &Client, job: &JobSummary) {
    eventually("the job is cancelled", SOON, || match view_of(client, job.job).summary.state {
        JobState::Cancelled => Ok(()),
        state => Err(format!("{state:?}")),
    });
}

#[test]
fn a_job_is_cancelled() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    // Of a session.
    let watched = Watched::new(&cluster, tables.path());
    let asked = watched.begin(LONG);
    asked.until("it runs on both", |view| {
        let running = |worker: &str| {
            view.attempts.iter().any(|a| a.worker.as_str() == worker && a.state == AttemptState::Running)
        };
        (running("w1") && running("w2")).then_some(())
    });
    let (id, begun) = (format!("{:016x}", asked.job.0), Instant::now());
    let ran = cluster.run(&["jobs", "cancel", &id, "--json"]);
    let said: Value = serde_json::from_str(ran.printed()).unwrap();
    assert_eq!((&said["state"], &said["id"]), (&"cancelled".into(), &id.as_str().into()), "{said}");
    let ended = asked.end();
    assert_eq!(ended.error().kind(), Kind::Cancelled, "{ended:#?}");
    assert_eq!(ended.view.summary.state, JobState::Cancelled, "{ended:#?}");
    let told = begun.elapsed();
    let free = told + cluster.until_quiet(SOON);
    cluster.works(tables.path());

    // Of a command: it fails, and says why.
    let client = cluster.client();
    let command = cluster.spawn_sql(tables.path(), LONG);
    let job = running(&client);
    cluster.run(&["jobs", "cancel", &format!("{:016x}", job.job.0)]).printed();
    let ran = command.end();
    ran.fails(1, &["error: ", "cancelled"]);
    until_cancelled(&client, &job);
    cluster.works(tables.path());
    place::tell(&format!("cancelled: told after {:.1} s, free after {:.1} s", told.as_secs_f64(), free.as_secs_f64()));
}

#[test]
fn a_command_ends_with_its_cluster() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    let command = cluster.spawn_sql(tables.path(), LONG);
    running(&cluster.client());
    cluster.run(&["cluster", "stop"]).printed();
    let stopped = Instant::now();
    let ran = command.end();
    let told = stopped.elapsed();
    ran.fails(3, &["error: ", "the cluster was stopped", "hint: "]);
    place::tell(&format!("stopped: the command ended {:.1} s after it", told.as_secs_f64()));
    assert!(told < Duration::from_secs(5), "{told:?}");

    // A coordinator that says good-bye, and that nobody starts again.
    cluster.start_again(2, "512MiB", &[]);
    let command = cluster.spawn_sql(tables.path(), LONG);
    running(&cluster.client());
    cluster.processes().1.signal(Signal::TERM);
    let left = Instant::now();
    let ran = command.end();
    let told = left.elapsed();
    ran.fails(3, &["error: ", "the cluster was stopped"]);
    place::tell(&format!("the coordinator left: the command ended {:.1} s after it", told.as_secs_f64()));
    assert!(told < Duration::from_secs(15), "{told:?}");
}

#[test]
fn an_interrupted_command_ends_its_job() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    let client = cluster.client();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let command = cluster.spawn_sql(tables.path(), LONG);
        let job = running(&client);
        let begun = Instant::now();
        command.signal(signal);
        let ran = command.end();
        let ended = begun.elapsed();
        assert_eq!(ran.code, Some(code), "{ran:#?}");
        assert!(ended < SOON, "{ended:?}");
        until_cancelled(&client, &job);
        let free = ended + cluster.until_quiet(SOON);
        place::tell(&format!(
            "{signal:?}: ended after {:.1} s, free after {:.1} s",
            ended.as_secs_f64(),
            free.as_secs_f64()
        ));
    }
    cluster.works(tables.path());
}
