//! What must hold of a program's counters and checkpoints on a cluster.
//!
//! In: nothing. Out: panics where something does not hold. Never: a try at a task that was to fail and did not.

use std::path::Path;

use windrow::cluster::protocol::{AttemptState, stage_place};

use crate::{
    checks::{Check, here, number_of, own, run, spawn, text, until},
    place::{Cluster, newest},
};

pub const ALL: &[Check] = &[
    ("counters_count_once_whatever_dies", counters_count_once_whatever_dies),
    ("a_checkpoint_is_read_by_the_next_run", a_checkpoint_is_read_by_the_next_run),
    ("cached_rows_outlive_their_driver", cached_rows_outlive_their_driver),
];

fn counters_count_once_whatever_dies() {
    let (folder, text) = text(20_000_000);
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["counts", &text, &out("here"), ""]);
    assert!(expected.contains("lines: ") && expected.contains("words: "), "{expected}");
    let cluster = Cluster::start(2);
    let client = cluster.client();
    assert_eq!(run(&cluster, &["counts", &text, &out("clean"), ""]).printed(), expected);
    // A process that ends while it counts: its tasks are tried again.
    let marker = out("marker");
    assert_eq!(run(&cluster, &["counts", &text, &out("aborted"), &marker]).printed(), expected);
    assert!(Path::new(&marker).exists());
    let tries = newest(&client).unwrap().attempts;
    assert!(tries.iter().any(|attempt| attempt.state == AttemptState::Failed), "{tries:#?}");
    // A worker that goes with what its tasks have counted.
    let started = spawn(Some(&cluster), &own(), &["slow counts", &text, &out("killed"), ""]);
    let (victim, _) = until(&client, "a worker maps that does not drive", |view| {
        let ended = |worker: &str| {
            let its = |state| view.attempts.iter().any(|a| a.worker.as_str() == worker && a.state == state);
            its(AttemptState::Finished) && its(AttemptState::Running)
        };
        let driver = view.driver.as_ref()?.as_str();
        ["w1", "w2"].into_iter().find(|worker| *worker != driver && ended(worker)).map(str::to_owned)
    });
    cluster.worker(number_of(&victim)).kill();
    assert_eq!(started.end().printed(), expected);
    let view = newest(&client).unwrap();
    assert!(view.attempts.iter().any(|attempt| attempt.state == AttemptState::Lost), "{view:#?}");
}

fn a_checkpoint_is_read_by_the_next_run() {
    let (folder, text) = text(10_000_000);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let first = here(&["checkpoint", &text, &path("kept"), &path("here")]);
    let again = here(&["checkpoint", &text, &path("kept"), &path("here again")]);
    let (words, lines) = first.trim_end().rsplit_once(", ").unwrap();
    assert!(lines.ends_with(" lines read") && lines != "0 lines read", "{first}");
    let unread = format!("{words}, 0 lines read\n");
    assert_eq!(again, unread);
    let cluster = Cluster::start(2);
    // What is kept here, a cluster reads; what a cluster keeps, the next job reads.
    assert_eq!(run(&cluster, &["checkpoint", &text, &path("kept"), &path("read")]).printed(), unread);
    assert_eq!(run(&cluster, &["checkpoint", &text, &path("kept there"), &path("one")]).printed(), first);
    assert_eq!(run(&cluster, &["checkpoint", &text, &path("kept there"), &path("two")]).printed(), unread);
    let other = run(&cluster, &["words", &text, &path("kept as words")]);
    assert_eq!(other.code, Some(0), "{other:#?}");
    let ran = run(&cluster, &["checkpoint", &text, &path("kept as words"), &path("three")]);
    ran.fails(1, &["error: reading the checkpoint", &path("kept as words"), "hint: keep the flow at another path"]);
    // The driver dies once the rows are kept: the next one does not take its own job's checkpoint for an earlier one's.
    let words = ["slow checkpoint", &text, &path("kept slowly"), &path("killed")];
    assert_eq!(without_its_driver(&cluster, &words, 2), first);
}

/// What the driver that dies has cached is there for the next one.
fn cached_rows_outlive_their_driver() {
    let (folder, text) = text(10_000_000);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["checkpoint", &text, &path("kept"), &path("here")]);
    let cluster = Cluster::start(3);
    assert_eq!(without_its_driver(&cluster, &["slow cache", &text, &path("killed")], 1), expected);
}

/// Runs it; kills the worker of its driver while that action runs, which reads what the one before has kept. What it printed.
fn without_its_driver(cluster: &Cluster, words: &[&str], action: u32) -> String {
    let client = cluster.client();
    let started = spawn(Some(cluster), &own(), words);
    let (driver, before) = until(&client, "the rows that are kept are read", |view| {
        let reads = |tried: &windrow::cluster::protocol::AttemptView| {
            stage_place(tried.stage).0.0 == action && tried.state == AttemptState::Running
        };
        view.attempts.iter().find(|tried| reads(tried))?;
        Some(view.driver.as_ref()?.as_str().to_owned())
    });
    cluster.worker(number_of(&driver)).kill();
    let printed = started.end().printed().to_owned();
    assert!(newest(&client).unwrap().driver_runs > before.driver_runs, "the driver died unseen");
    printed
}
