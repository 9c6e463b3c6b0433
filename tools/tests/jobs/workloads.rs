//! `windrow bench` with every workload: the rows of one process on any number of workers, and though one of them is killed.
//!
//! In: inputs made here, large enough for several splits. Out: passes, or says which workload gave what. Never: rows that are only counted.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Duration,
};

use serde_json::Value;
use windrow::{
    Session, Settings,
    cluster::{
        drive::Client,
        protocol::{AttemptState, AttemptView, JobState, JobView, WorkerState, stage_place},
    },
};
use windrow_bench::{Done, Input, Job, WORKLOADS, Workload};

use crate::{
    held::{Held, number_of},
    place::{self, Cluster, PATIENCE, Ran, eventually, newest},
};

const PATTERN: &str = "ab[a-z]*z";

/// A workload with its input, and what comes of it in this process.
struct Ready {
    workload: &'static Workload,
    input: PathBuf,
    bytes: u64,
    done: Done,
}

impl Ready {
    fn new(workload: &'static Workload, session: &Session, folder: &Path) -> Ready {
        let folder = folder.join(workload.name);
        fs::create_dir(&folder).unwrap();
        // Four pieces of 4 MiB of a text, three row groups of a million rows. A graph goes through many rounds, in which all take part.
        let bytes = match workload.input {
            Input::Facts | Input::FactsAndKeys => 36_000_000,
            Input::Graph => 1_000_000,
            Input::Nothing => 48_000_000,
            _ => 14_000_000,
        };
        let input = workload.input.make(session, bytes, &folder).unwrap();
        let job = Job { input: &input, out: &folder.join("here"), pattern: PATTERN, bytes };
        let done = (workload.job)(session, &job).unwrap();
        Ready { workload, input, bytes, done }
    }

    fn all(folder: &Path) -> Vec<Ready> {
        let session = Session::new(Settings { threads: 2, ..Settings::default() }).unwrap();
        WORKLOADS.iter().map(|workload| Ready::new(workload, &session, folder)).collect()
    }

    /// The command that runs it once on a cluster.
    fn words(&self) -> Vec<String> {
        let read = match self.workload.input {
            Input::Nothing => ["--size".to_owned(), self.bytes.to_string()],
            _ => ["--input".to_owned(), self.input.to_str().unwrap().to_owned()],
        };
        let words = ["bench", self.workload.name, "--runs", "1", "--json", "--cluster", "local", "--pattern", PATTERN];
        words.map(str::to_owned).into_iter().chain(read).collect()
    }

    fn check(&self, ran: &Ran, what: &str) {
        let line: Value = serde_json::from_str(ran.printed()).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
        let (rows, digest) = (line["rows"].as_u64(), line["digest"].as_str());
        let expected = (Some(self.done.rows), Some(self.done.digest.as_str()));
        assert_eq!((rows, digest), expected, "{} {what}", self.workload.name);
    }
}

#[test]
fn every_workload_gives_the_same_on_any_number_of_workers() {
    let _machine = place::machine();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let all = &Ready::all(folder.path());
    assert_eq!(all.len(), 13);
    thread::scope(|scope| {
        for workers in [1, 2, 4] {
            scope.spawn(move || {
                let cluster = Cluster::start(workers);
                for ready in all {
                    let words = ready.words();
                    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
                    if workers == 2 {
                        // Other splits than here.
                        words.extend(["--split-size", "700KB"]);
                    }
                    ready.check(&cluster.run(&words), &format!("on {workers} workers"));
                }
            });
        }
    });
}

/// So many are tried at a time: most of the time goes by until a worker is missed.
const TOGETHER: usize = 3;
/// Between two looks at a job: they take processors from it, too.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[test]
fn every_workload_gives_the_same_though_a_worker_is_killed() {
    let _machine = place::machine();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let waiting = Mutex::new(Ready::all(folder.path()));
    thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop();
                    let Some(ready) = next else { return };
                    survives(&ready);
                }
            });
        }
    });
}

/// Kills one of three workers while it has attempts, of those that hold what others need where that can be had; the rows are the same.
fn survives(ready: &Ready) {
    let (words, name) = (ready.words(), ready.workload.name);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // What one worker does alone, the driver's, is not held from its begin, and may be over before it is seen.
    const TRIES: usize = 5;
    let begun = (0..TRIES).find_map(|_| {
        let cluster = Cluster::start(3);
        let client = cluster.client();
        let (started, mut held) = (cluster.spawn(&words), Held::default());
        let victim = victim(ready, &cluster, &client, &mut held)?;
        Some((cluster, client, started, held, victim))
    });
    let (cluster, client, started, mut held, victim) = begun.expect("it ended each time before anybody was killed");
    // While another one stands still the job cannot end: the victim may do its part for a later stage, which is lost with it.
    let view = newest(&client).unwrap();
    let is_for_later = |attempt: &AttemptView| {
        let (action, stage) = stage_place(attempt.stage);
        let mut places = view.stages.iter().map(|stage| stage_place(stage.progress.stage));
        places.any(|(of, other)| of == action && other > stage)
    };
    let waits = |attempt: &AttemptView| attempt.worker.as_str() != victim && held.holds(attempt.worker.as_str());
    let mut running_now = view.attempts.iter().filter(|attempt| attempt.state == AttemptState::Running);
    if running_now.any(|attempt| waits(attempt) && is_for_later(attempt)) {
        let before = of(&view, &victim, AttemptState::Finished);
        held.release(&victim);
        eventually("the victim has done its part", PATIENCE, || {
            let view = running(&client);
            let finished = of(&view, &victim, AttemptState::Finished);
            thread::park_timeout(LOOK_AGAIN);
            if finished > before { Ok(()) } else { Err(format!("{view:#?}")) }
        });
    }
    let before = running(&client);
    cluster.worker(number_of(&victim)).kill();
    let after = running(&client);
    drop(held);
    let ran = started.end();
    ready.check(&ran, &format!("with {victim} killed"));

    let view = newest(&client).unwrap();
    let lost = |attempt: &&AttemptView| attempt.state == AttemptState::Lost;
    let again = view.attempts.iter().filter(|attempt| attempt.attempt.0 > 0).count();
    assert!(again > 0 || view.driver_runs > 1, "{name}: nothing was run again: {view:#?}");
    assert!(of(&view, &victim, AttemptState::Lost) > 0, "{name}: nothing was lost: {view:#?}");
    assert!(view.attempts.iter().filter(lost).all(|attempt| attempt.worker.as_str() == victim), "{name}: {view:#?}");
    let workers = place::cluster_view(&client).workers;
    let state = |name: &str| workers.iter().find(|worker| worker.name.as_str() == name).map(|worker| worker.state);
    assert_eq!(state(&victim), Some(WorkerState::Dead), "{name}");
    place::tell(&format!(
        "{name}: {victim} killed with {} attempts finished and {} running, {} lost, {again} run again, driver started {} times",
        of(&before, &victim, AttemptState::Finished),
        of(&after, &victim, AttemptState::Running),
        of(&view, &victim, AttemptState::Lost),
        view.driver_runs,
    ));
}

/// A worker that has an attempt which stands still; none if the job has ended before.
fn victim(ready: &Ready, cluster: &Cluster, client: &Client, held: &mut Held) -> Option<String> {
    // In the middle of the rounds, where there are some.
    let from_action = match ready.workload.name {
        "pagerank" => 6,
        "kmeans" => 4,
        "connectedcomponents" => 2,
        _ => 0,
    };
    // Its few rows are one worker's, which may be the driver's.
    let is_alone = ready.workload.input == Input::Nothing;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    eventually("a worker works", PATIENCE, || {
        let view = newest(client).ok_or("no job")?;
        let told = || format!("{}: {view:#?}", ready.workload.name);
        if view.summary.state == JobState::Done {
            return Ok(None);
        }
        let driver = view.driver.as_ref().ok_or_else(told)?.as_str();
        let action = |attempt: &AttemptView| stage_place(attempt.stage).0.0;
        let works: Vec<&str> = view
            .attempts
            .iter()
            .filter(|attempt| attempt.state == AttemptState::Running && action(attempt) >= from_action)
            .map(|attempt| attempt.worker.as_str())
            .filter(|worker| is_alone || *worker != driver)
            .collect();
        // What a process has ended and its worker has not told yet shows as running a little longer.
        const LOOKS: u32 = 10;
        for worker in &works {
            if held.holds(worker) {
                let looks = seen.entry((*worker).to_owned()).or_default();
                *looks += 1;
                if *looks >= LOOKS {
                    return Ok(Some((*worker).to_owned()));
                }
            }
        }
        seen.retain(|worker, _| works.contains(&worker.as_str()));
        if from_action == 0 || view.attempts.iter().any(|attempt| action(attempt) >= from_action) {
            let has_had_one = |name: &str| view.attempts.iter().any(|attempt| attempt.worker.as_str() == name);
            let may_wait = |name: &&str| *name != driver || (is_alone && has_had_one(name));
            held.hold(cluster, ["w1", "w2", "w3"].into_iter().filter(may_wait));
        }
        thread::park_timeout(LOOK_AGAIN);
        Err(told())
    })
}

/// The job, which has not ended.
fn running(client: &Client) -> JobView {
    let view = newest(client).unwrap();
    assert_eq!(view.summary.state, JobState::Running, "{view:#?}");
    view
}

/// How many attempts of a worker stand so.
fn of(view: &JobView, worker: &str, state: AttemptState) -> usize {
    view.attempts.iter().filter(|attempt| attempt.worker.as_str() == worker && attempt.state == state).count()
}
