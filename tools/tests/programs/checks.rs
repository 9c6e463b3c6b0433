//! What must hold of a program on a cluster.
//!
//! In: nothing. Out: panics where something does not hold. Never: two checks at a time.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use windrow::cluster::{
    drive::Client,
    protocol::{AttemptState, AttemptView, JobState, JobView, WorkerState, stage_place},
};
use windrow_datasets::{TextOptions, write_text};

use crate::{
    job::NAME,
    place::{self, Cluster, PATIENCE, Ran, Started, eventually, newest},
};

pub type Check = (&'static str, fn());

pub const ALL: &[Check] = &[
    ("words_are_counted_alike_on_any_number_of_workers", words_are_counted_alike_on_any_number_of_workers),
    ("one_program_writes_to_an_output_more_than_once", one_program_writes_to_an_output_more_than_once),
    ("rounds_give_the_same_on_any_number_of_workers", rounds_give_the_same_on_any_number_of_workers),
    ("a_killed_worker_changes_no_count", a_killed_worker_changes_no_count),
    ("a_killed_driver_keeps_what_its_actions_gave", a_killed_driver_keeps_what_its_actions_gave),
    (
        "a_mapreduce_job_gives_and_counts_alike_whoever_is_killed",
        a_mapreduce_job_gives_and_counts_alike_whoever_is_killed,
    ),
    ("what_a_program_does_wrong_is_told", what_a_program_does_wrong_is_told),
    ("a_loop_without_an_end_is_cancelled", a_loop_without_an_end_is_cancelled),
];

/// A folder with a text of so many bytes.
pub fn text(bytes: u64) -> (TempDir, String) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = folder.path().join("words.txt");
    write_text(&TextOptions { bytes, seed: 3, out: out.clone(), overwrite: false }).unwrap();
    (folder, out.to_str().unwrap().to_owned())
}

pub fn own() -> PathBuf {
    env::current_exe().unwrap()
}

/// Starts a program in this process's place: without a cluster when there is none.
pub fn spawn(cluster: Option<&Cluster>, program: &Path, words: &[&str]) -> Started {
    let mut command = Command::new(program);
    command.arg(NAME).args(words);
    match cluster {
        Some(cluster) => {
            command.args(["--cluster", "local"]);
            cluster.prepare(&mut command);
        }
        None => Cluster::prepare_pipes(&mut command),
    }
    place::spawn(command)
}

pub fn run(cluster: &Cluster, words: &[&str]) -> Ran {
    spawn(Some(cluster), &own(), words).end()
}

/// What it prints without a cluster.
pub fn here(words: &[&str]) -> String {
    spawn(None, &own(), words).end().printed().to_owned()
}

/// Waits until the running job shows something.
pub fn until<T>(client: &Client, what: &str, find: impl Fn(&JobView) -> Option<T>) -> (T, JobView) {
    eventually(what, PATIENCE, || {
        let view = newest(client).ok_or("no job")?;
        match find(&view) {
            _ if view.summary.state != JobState::Running => Err(format!("not running: {view:#?}")),
            Some(found) => Ok((found, view)),
            None => Err(format!("{view:#?}")),
        }
    })
}

fn words_are_counted_alike_on_any_number_of_workers() {
    let (folder, text) = text(20_000_000);
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["words", &text, &out("here")]);
    for workers in 1..=4 {
        let cluster = Cluster::start(workers);
        let (path, begun) = (out(&format!("on-{workers}")), Instant::now());
        assert_eq!(run(&cluster, &["words", &text, &path]).printed(), expected, "{workers} workers");
        let took = begun.elapsed();
        // Whoever reads them back finds the same rows, and nothing beside them.
        let count = format!("select count(*) from '{path}'");
        let there = cluster.run(&["sql", "--format", "csv", "-c", &count]);
        let said = expected.split(' ').next().unwrap();
        assert_eq!(there.printed().lines().last(), Some(said), "{there:#?}");
        let view = newest(&cluster.client()).unwrap();
        let mut who: Vec<&str> = view.attempts.iter().map(|attempt| attempt.worker.as_str()).collect();
        who.sort_unstable();
        who.dedup();
        assert_eq!(who.len(), workers, "{view:#?}");
        assert!(view.attempts.iter().all(|attempt| attempt.state == AttemptState::Finished), "{view:#?}");
        let (mut sent, mut pulled) = (0, 0);
        for worker in place::cluster_view(&cluster.client()).workers {
            let traffic = cluster.client().traffic(&worker.address).unwrap();
            sent += traffic.sent_bytes;
            pulled += traffic.pulled_bytes;
        }
        assert!(sent == pulled && (sent > 0) == (workers > 1), "{workers} workers sent {sent} bytes, pulled {pulled}");
        place::tell(&format!("words on {workers} workers: {:.1} s, {sent} bytes between them", took.as_secs_f64()));
        // An output that is there is not written again.
        run(&cluster, &["words", &text, &path]).fails(1, &["error: ", &path, "something is there already", "hint: "]);
    }
}

fn one_program_writes_to_an_output_more_than_once() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = "90 rows, 4905 in all\n";
    assert_eq!(here(&["adds", &out("here")]), expected);
    let cluster = Cluster::start(2);
    assert_eq!(run(&cluster, &["adds", &out("away")]).printed(), expected);
    let digest = |name: &str| -> Value {
        let text = fs::read_to_string(folder.path().join(name).join("_SUCCESS")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["digest"].clone()
    };
    assert_eq!(digest("here"), digest("away"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "something was left behind");
}

fn rounds_give_the_same_on_any_number_of_workers() {
    let (folder, text) = text(2_000_000);
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["rounds", &text, &out("here")]);
    for workers in [1, 3] {
        let cluster = Cluster::start(workers);
        let printed = run(&cluster, &["rounds", &text, &out(&format!("on-{workers}"))]);
        assert_eq!(printed.printed(), expected, "{workers} workers");
    }
    let names = |path: &str| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut left = names(".").filter(|name| name.starts_with(".windrow-cache-"));
    assert_eq!(left.next(), None, "what was cached is still there");
}

pub fn number_of(worker: &str) -> usize {
    worker.strip_prefix('w').unwrap().parse::<usize>().unwrap() - 1
}

fn a_killed_worker_changes_no_count() {
    let (folder, text) = text(20_000_000);
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["slow", &text, &out("here")]);
    let cluster = Cluster::start(3);
    let client = cluster.client();
    let begun = Instant::now();
    assert_eq!(run(&cluster, &["slow", &text, &out("clean")]).printed(), expected);
    let clean = begun.elapsed();
    // One that works and does not drive.
    let begun = Instant::now();
    let started = spawn(Some(&cluster), &own(), &["slow", &text, &out("killed")]);
    let (victim, _) = until(&client, "a worker maps that does not drive", |view| {
        let works = view.attempts.iter().find(|attempt| {
            attempt.state == AttemptState::Running && view.driver.as_ref().is_some_and(|who| *who != attempt.worker)
        })?;
        Some(works.worker.as_str().to_owned())
    });
    cluster.worker(number_of(&victim)).kill();
    let ran = started.end();
    assert_eq!(ran.printed(), expected);
    let view = newest(&client).unwrap();
    let lost = view.attempts.iter().filter(|attempt| attempt.state == AttemptState::Lost).count();
    assert!(lost > 0, "nothing was lost: {view:#?}");
    let of_victim = |attempt: &&AttemptView| attempt.state == AttemptState::Lost;
    assert!(view.attempts.iter().filter(of_victim).all(|attempt| attempt.worker.as_str() == victim), "{view:#?}");
    let took = begun.elapsed();
    place::tell(&format!("{victim} killed: {lost} attempts lost, {took:.1?}, clean {clean:.1?}"));
    assert!(took < clean * 3 + Duration::from_secs(20), "{took:?}");
}

fn a_mapreduce_job_gives_and_counts_alike_whoever_is_killed() {
    let (folder, text) = text(20_000_000);
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["mapreduce", &text, &out("here")]);
    assert!(expected.contains("\"parts\": 11") && expected.contains("\"splits\": 10"), "{expected}");
    let cluster = Cluster::start(3);
    let client = cluster.client();
    assert_eq!(run(&cluster, &["mapreduce", &text, &out("clean")]).printed(), expected);
    let started = spawn(Some(&cluster), &own(), &["slow mapreduce", &text, &out("killed")]);
    let (victim, _) = until(&client, "a worker maps that does not drive", |view| {
        let works = view.attempts.iter().find(|attempt| {
            attempt.state == AttemptState::Running && view.driver.as_ref().is_some_and(|who| *who != attempt.worker)
        })?;
        Some(works.worker.as_str().to_owned())
    });
    cluster.worker(number_of(&victim)).kill();
    assert_eq!(started.end().printed(), expected);
    let view = newest(&client).unwrap();
    assert!(view.attempts.iter().any(|attempt| attempt.state == AttemptState::Lost), "{view:#?}");
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["clean", "here", "killed", "words.txt"], "what was hidden is gone");
}

fn a_killed_driver_keeps_what_its_actions_gave() {
    let (folder, text) = text(20_000_000);
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["slow", &text, &out("here")]);
    let cluster = Cluster::start(3);
    let client = cluster.client();
    for action in 1..=2 {
        let path = out(&format!("killed-in-{action}"));
        let started = spawn(Some(&cluster), &own(), &["slow", &text, &path]);
        let (driver, before) = until(&client, "a later action runs", |view| {
            let runs = |attempt: &&AttemptView| {
                stage_place(attempt.stage).0.0 == action && attempt.state == AttemptState::Running
            };
            view.attempts.iter().find(runs)?;
            Some(view.driver.as_ref()?.as_str().to_owned())
        });
        cluster.worker(number_of(&driver)).kill();
        assert_eq!(started.end().printed(), expected, "killed in action {action}");
        let view = newest(&client).unwrap();
        assert!(view.driver_runs > before.driver_runs, "the driver died unseen: {view:#?}");
        let of_earlier = |attempt: &&AttemptView| stage_place(attempt.stage).0.0 < action && attempt.attempt.0 > 0;
        let again: Vec<_> = view.attempts.iter().filter(of_earlier).collect();
        assert!(again.is_empty(), "what an action gave was made again: {again:#?}\n{view:#?}");
        place::tell(&format!("driver {driver} killed in action {action}: driver started {} times", view.driver_runs));
        cluster.revive_worker(number_of(&driver));
        cluster.until_worker(&driver, WorkerState::Ready, Duration::from_secs(60));
    }
}

/// Processes that workers have started for this program.
fn children(what: &str) -> Vec<u32> {
    let own = own();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into()).collect();
        let is_ours = words.first().is_some_and(|word| Path::new(word) == own) && words.iter().any(|word| word == what);
        if is_ours && !words.iter().any(|word| word == "--cluster") {
            found.push(pid);
        }
    }
    found
}

fn what_a_program_does_wrong_is_told() {
    let (folder, text) = text(6_000_000);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let cluster = Cluster::start(2);
    let expected = here(&["words", &text, &path("here")]);
    let works = |after: &str| {
        assert_eq!(run(&cluster, &["words", &text, &path(&format!("after {after}"))]).printed(), expected)
    };
    let fails = |words: &[&str], code: i32, says: &[&str]| {
        let begun = Instant::now();
        let ran = run(&cluster, words);
        ran.fails(code, says);
        place::tell(&format!(
            "{}: {:.1?}: {}",
            words[0],
            begun.elapsed(),
            ran.stderr.lines().next().unwrap_or_default()
        ));
        works(words[0]);
        eventually("its processes have ended", Duration::from_secs(10), || match children(words[0])[..] {
            [] => Ok(()),
            ref left => Err(format!("{left:?}")),
        });
    };
    fails(&["panics", &text], 1, &["error: ", "I do not like", "job.rs", "worker w"]);
    fails(&["aborts", &text], 1, &["error: ", "SIGABRT", "worker w", "hint: "]);
    fails(&["differs", &text, &path("marker")], 1, &["error: ", "closure", "hint: "]);
    fails(&["entry panics"], 1, &["error: ", "no entry"]);
    fails(&["fails", &text], 1, &["error: ", "I have counted, and I am not pleased"]);
    fails(&["words", "/no/such/text.txt", &path("out")], 1, &["error: ", "/no/such/text.txt", "worker w"]);
    fails(&["nothing"], 1, &["error: ", "a program of other words"]);
}

fn a_loop_without_an_end_is_cancelled() {
    let (_folder, text) = text(6_000_000);
    let cluster = Cluster::start(2);
    let client = cluster.client();
    let started = spawn(Some(&cluster), &own(), &["loops", &text]);
    let (job, _) = until(&client, "it runs on both", |view| {
        let runs = |worker: &str| {
            view.attempts.iter().any(|a| a.worker.as_str() == worker && a.state == AttemptState::Running)
        };
        (runs("w1") && runs("w2")).then_some(view.summary.job)
    });
    eventually("both have a process of it", PATIENCE, || match children("loops")[..] {
        [_, _] => Ok(()),
        ref other => Err(format!("{other:?}")),
    });
    let begun = Instant::now();
    let said = cluster.run(&["jobs", "cancel", &format!("{:016x}", job.0), "--json"]);
    let said: Value = serde_json::from_str(said.printed()).unwrap();
    assert_eq!(said["state"], "cancelled", "{said}");
    started.end().fails(1, &["error: ", "cancelled"]);
    let told = begun.elapsed();
    eventually("its processes have ended", Duration::from_secs(20), || match children("loops")[..] {
        [] => Ok(()),
        ref left => Err(format!("{left:?}")),
    });
    place::tell(&format!("cancelled: told after {told:.1?}, its processes gone after {:.1?}", begun.elapsed()));

    // Who hands it in is killed: nobody waits for it any more.
    let started = spawn(Some(&cluster), &own(), &["loops", &text]);
    until(&client, "it runs", |view| view.attempts.iter().find(|a| a.state == AttemptState::Running).map(drop));
    let begun = Instant::now();
    started.signal(Signal::TERM);
    let ran = started.end();
    assert_eq!((ran.code, ran.stdout.as_str()), (None, ""), "{ran:#?}");
    eventually("its processes have ended", Duration::from_secs(40), || match children("loops")[..] {
        [] => Ok(()),
        ref left => Err(format!("{left:?}")),
    });
    place::tell(&format!("interrupted: its processes gone after {:.1?}", begun.elapsed()));
}
