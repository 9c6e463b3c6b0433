//! `windrow cluster`, `jobs`, `coordinator` and `worker` as their users see them.
//!
//! In: the binary, a state folder of each test's own. Out: passes, or the whole of what was printed. Never: a process left behind by a
//! test; one that is not a test's own touched.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A state folder of a test's own; its clusters end with it.
struct Place {
    here: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { here: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windrow"));
        let here = self.here.path().to_str().unwrap();
        command.args(words.iter().map(|word| word.replace("HERE", here)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("NO_COLOR", "1");
        command.env("WINDROW_STATE_DIR", self.here.path().join("state")).env_remove("WINDROW_LOG");
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        finish(self.command(words))
    }

    /// What a good command prints.
    fn prints(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{words:?}: {ran:#?}");
        ran.stdout
    }

    /// The folder of a cluster.
    fn cluster(&self, name: &str) -> PathBuf {
        self.here.path().join("state/clusters").join(name)
    }

    /// Writes a cluster's record.
    fn record(&self, name: &str, record: &Value) {
        fs::create_dir_all(self.cluster(name)).unwrap();
        fs::write(self.cluster(name).join("cluster.json"), record.to_string()).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.here.path().join("state/clusters")).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                self.run(&["cluster", "stop", "--name", entry.file_name().to_str().unwrap()]);
            }
        }
    }
}

/// Longer than any command takes; a longer one hangs.
const PATIENCE: Duration = Duration::from_secs(100);

fn finish(mut command: Command) -> Ran {
    let child = command.spawn().unwrap();
    let pid = u64::from(child.id());
    let (tell, ended) = mpsc::channel();
    let waiter = thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        signal(pid, Signal::KILL);
        waiter.join().unwrap().unwrap();
        panic!("{command:?} does not end: {:#?}", ended.recv().unwrap());
    };
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    for sign in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!ran.stdout.contains(sign) && !ran.stderr.contains(sign), "{ran:#?}");
    }
    ran
}

/// A process that waits until it is ended.
struct Bystander(Child);

impl Bystander {
    fn new() -> Bystander {
        Bystander(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// As a record tells of it.
    fn told(&self) -> Value {
        let pid = self.0.id();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        json!({ "pid": pid, "birth": format!("{}/{ticks}", boot.trim()), "program": program })
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with(mut value: Value, key: &str, other: impl Into<Value>) -> Value {
    value[key] = other.into();
    value
}

/// A record of version 1.
fn record(coordinator: Value, workers: &[Value]) -> Value {
    json!({ "version": 1, "name": "local", "coordinator": coordinator, "workers": workers })
}

const JOB: &str = "00f3a1c2d4e5b697";

/// Words, the exit code, what standard error must say.
type Bad = (&'static [&'static str], i32, &'static [&'static str]);

fn check_bad(place: &Place, bad: &[Bad]) {
    let mut failures = Vec::new();
    for (words, code, says) in bad {
        let ran = place.run(words);
        let missing: Vec<_> = says.iter().filter(|text| !ran.stderr.contains(**text)).collect();
        if ran.code != Some(*code) || !missing.is_empty() || !ran.stdout.is_empty() {
            failures.push(format!("{words:?}: exit code {code} expected, {missing:?} not said\n{ran:#?}"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), bad.len(), failures.join("\n"));
}

#[test]
fn an_unknown_cluster_is_told_with_what_to_do() {
    let place = Place::new();
    place.record("field", &record(Value::Null, &[]));
    let says = &["error: no cluster is called none", "hint: ", "cluster start --local 2 --name none", "there is field"];
    check_bad(
        &place,
        &[
            (&["cluster", "status", "--name", "none"], 3, says),
            (&["cluster", "status", "--name", "none", "--json"], 3, says),
            (&["cluster", "stop", "--name", "none"], 3, says),
            (&["sql", "--cluster", "none", "-c", "select 1"], 3, says),
            (&["jobs", "list", "--cluster", "none"], 3, says),
            (&["jobs", "--cluster", "none", "--json", "show", JOB], 3, says),
            (&["jobs", "cancel", JOB, "--cluster", "none"], 3, says),
            (&["jobs", "list"], 3, &["no cluster is called local", "`windrow cluster start --local 2` starts it"]),
            (
                &["jobs", "list", "--cluster", "field"],
                3,
                &["the cluster field has no coordinator", "stop --name field"],
            ),
        ],
    );
}

#[test]
fn wrong_flags_are_told() {
    let place = Place::new();
    check_bad(
        &place,
        &[
            (&["cluster"], 2, &["Usage: "]),
            (&["cluster", "start"], 2, &["--local"]),
            (&["cluster", "start", "--local", "0"], 2, &["1..=64"]),
            (&["cluster", "start", "--local", "65"], 2, &["1..=64"]),
            (&["cluster", "start", "--local", "2", "--threads", "0"], 2, &["threads"]),
            (&["cluster", "start", "--local", "2", "--memory", "64KB"], 2, &["memory"]),
            (&["cluster", "start", "--local", "2", "--memory", "lots"], 2, &["100MiB"]),
            (&["cluster", "start", "--local", "2", "--name", "../up"], 2, &["../up", "small letters"]),
            (&["cluster", "status", "--name", "Local"], 2, &["small letters"]),
            (&["cluster", "stop", "--name", ""], 2, &["--name"]),
            (&["sql", "--cluster", "a/b", "-c", "select 1"], 2, &["small letters"]),
            (&["jobs"], 2, &["Usage: "]),
            (
                &["sql", "--cluster", "local", "--memory", "1GiB", "-c", "select 1"],
                2,
                &["--memory and --spill are its workers'", "hint: "],
            ),
            (
                &["bench", "tpch", "--cluster", "local", "--threads", "1", "--input", "t"],
                2,
                &["--threads, --memory and --spill"],
            ),
            (&["jobs", "show"], 2, &["ID"]),
            (&["jobs", "show", "7"], 2, &["16 hexadecimal digits"]),
            (&["jobs", "cancel", "not-a-number-at-"], 2, &["16 hexadecimal digits"]),
            (&["coordinator"], 2, &["--bind", "--identity", "--folder"]),
            (&["coordinator", "--bind", "7000", "--identity", "i", "--folder", "f"], 2, &["HOST:PORT"]),
            (&["worker"], 2, &["--join", "--name", "--bind", "--identity", "--folder"]),
            (
                &[
                    "worker",
                    "--join",
                    "nobody",
                    "--name",
                    "w1",
                    "--bind",
                    "[::1]:0",
                    "--identity",
                    "i",
                    "--folder",
                    "f",
                ],
                2,
                &["HOST:PORT"],
            ),
            (
                &["coordinator", "--bind", "[::1]:0", "--identity", "i", "--folder", "f", "--log-format", "xml"],
                2,
                &["json", "text"],
            ),
        ],
    );
    assert!(!place.here.path().join("state").exists());
}

#[test]
fn without_a_place_for_state_nothing_is_done() {
    let place = Place::new();
    for words in [&["cluster", "start", "--local", "1"][..], &["cluster", "status"], &["jobs", "list"]] {
        let mut command = place.command(words);
        command.env_remove("WINDROW_STATE_DIR").env_remove("XDG_STATE_HOME").env_remove("HOME");
        let ran = finish(command);
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(ran.stderr.contains("hint: set WINDROW_STATE_DIR, XDG_STATE_HOME or HOME"), "{ran:#?}");
    }
}

#[test]
fn a_record_that_cannot_be_read_is_told() {
    let place = Place::new();
    place.record("local", &json!({ "version": 2 }));
    let says = &["cluster.json", "version 2", "hint: stop the cluster with the windrow that started it"];
    check_bad(&place, &[(&["cluster", "status"], 1, says), (&["cluster", "start", "--local", "1"], 1, says)]);
    fs::write(place.cluster("local").join("cluster.json"), "{\"version\":1,").unwrap();
    let says = &["cluster.json", "caused by: EOF"];
    check_bad(&place, &[(&["cluster", "status"], 6, says), (&["cluster", "stop"], 6, says)]);
    // For the place's own end.
    fs::remove_dir_all(place.cluster("local")).unwrap();
}

#[test]
fn only_what_was_started_is_stopped() {
    let place = Place::new();
    let [mut ours, mut born_later, mut another_program] = [Bystander::new(), Bystander::new(), Bystander::new()];
    let worker = |id: &str, process: Value| with(process, "id", id);
    let later = with(born_later.told(), "birth", "another-boot/1");
    let other = with(another_program.told(), "program", "/usr/bin/windrow");
    let workers = [worker("w1", ours.told()), worker("w2", later), worker("w3", other)];
    let spool = place.here.path().join("spool");
    fs::create_dir_all(spool.join("w1")).unwrap();
    let told = with(record(with(born_later.told(), "birth", "x/1"), &workers), "spool", spool.to_str().unwrap());
    place.record("local", &told);

    let pid = ours.0.id();
    assert_eq!(place.prints(&["cluster", "stop"]), format!("stopped worker w1 (process {pid})\n"));
    assert!(!ours.runs() && born_later.runs() && another_program.runs());
    assert!(!place.cluster("local").exists() && !spool.exists());
}

#[test]
fn what_ended_by_itself_is_cleared() {
    let place = Place::new();
    let mut gone = Bystander::new();
    let told = gone.told();
    gone.0.kill().unwrap();
    gone.0.wait().unwrap();
    place.record("local", &record(with(told, "address", "127.0.0.1:9"), &[]));
    assert_eq!(place.prints(&["cluster", "stop"]), "nothing ran any more\n");
    assert!(!place.cluster("local").exists());
    // A start that was killed before it had started anything.
    fs::create_dir_all(place.cluster("local").join("authority")).unwrap();
    assert_eq!(place.prints(&["cluster", "stop"]), "nothing ran any more\n");
    assert_eq!(place.run(&["cluster", "stop"]).code, Some(3));
}

#[test]
fn a_cluster_that_runs_is_not_started_again() {
    let place = Place::new();
    let mut running = Bystander::new();
    place.record("local", &record(Value::Null, &[with(running.told(), "id", "w1")]));
    let says = &["the cluster local runs already: worker w1 is process", "hint: `windrow cluster stop` stops it"];
    check_bad(&place, &[(&["cluster", "start", "--local", "1"], 1, says)]);
    assert!(running.runs() && place.cluster("local").join("cluster.json").exists());
}

#[test]
fn two_do_not_change_a_cluster_at_once() {
    let place = Place::new();
    fs::create_dir_all(place.here.path().join("state/clusters")).unwrap();
    let lock = File::create(place.here.path().join("state/clusters/local.lock")).unwrap();
    lock.lock().unwrap();
    let says = &["the cluster local is being started or stopped by somebody else"];
    check_bad(&place, &[(&["cluster", "start", "--local", "1"], 1, says), (&["cluster", "stop"], 1, says)]);
    drop(lock);
    assert_eq!(place.run(&["cluster", "stop"]).code, Some(3));
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    let place = Place::new();
    let spool = place.here.path().join("spool");
    // A process that ends before it is ready: its log says why.
    let mut command = place.command(&["cluster", "start", "--local", "1", "--spool", spool.to_str().unwrap()]);
    command.env("WINDROW_LOG", "windrow=loud");
    let ran = finish(command);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:#?}");
    for text in [
        "error: starting the coordinator of the cluster local: it ended (exit status: 2)",
        "coordinator.log ends with",
        "error: reading WINDROW_LOG=\"windrow=loud\"",
    ] {
        assert!(ran.stderr.contains(text), "{text:?} in {ran:#?}");
    }
    assert!(!place.cluster("local").exists() && !spool.join("windrow-local").exists());

    fs::create_dir_all(spool.join("windrow-local")).unwrap();
    fs::write(spool.join("windrow-local/mine"), "do not touch").unwrap();
    let says = &["windrow-local", "there already", "hint: remove it"];
    check_bad(&place, &[(&["cluster", "start", "--local", "1", "--spool", "HERE/spool"], 1, says)]);
    assert_eq!(fs::read_to_string(spool.join("windrow-local/mine")).unwrap(), "do not touch");
    fs::write(place.here.path().join("file"), "").unwrap();
    let says = &["error: making the folder", "caused by: "];
    check_bad(&place, &[(&["cluster", "start", "--local", "1", "--spool", "HERE/file"], 1, says)]);
}

// ── with processes ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// A small cluster.
fn start(place: &Place, workers: &str) -> String {
    place.prints(&["cluster", "start", "--local", workers, "--threads", "1", "--memory", "256MiB"])
}

fn signal(pid: u64, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

fn is_gone(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, fields)| fields.trim_start().starts_with('Z'))
}

/// What `ask` gives, as soon as it is what it should be.
fn eventually<T>(what: &str, ask: impl Fn() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match ask() {
            Ok(found) => return found,
            Err(found) => assert!(Instant::now() < deadline, "{what}: {found}"),
        }
    }
}

#[test]
fn a_cluster_is_started_seen_and_stopped() {
    let place = Place::new();
    let said = start(&place, "2");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].starts_with("coordinator at 127.0.0.1:") && lines[2].starts_with("worker w2 at 127.0.0.1:"),
        "{said}"
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.cluster("local")), 0o700);
    assert_eq!(mode(&place.cluster("local").join("authority/authority.key")), 0o600);

    let status = place.run(&["cluster", "status", "--json"]).json();
    assert_eq!(status["name"], "local");
    let workers = status["workers"].as_array().unwrap();
    let ids: Vec<&str> = workers.iter().map(|worker| worker["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["w1", "w2"]);
    for worker in workers {
        assert_eq!(worker["state"], "ready", "{status}");
        assert!(said.contains(worker["address"].as_str().unwrap()), "{said} {status}");
    }
    assert!(said.contains(status["coordinator"]["address"].as_str().unwrap()));
    let table = place.prints(&["cluster", "status"]);
    assert!(table.lines().count() == 5 && table.contains("worker w1"), "{table}");
    let says = &["the cluster local runs already", "hint: `windrow cluster stop` stops it"];
    check_bad(&place, &[(&["cluster", "start", "--local", "1"], 1, says)]);

    let pids: Vec<u64> = workers.iter().chain([&status["coordinator"]]).map(|of| of["pid"].as_u64().unwrap()).collect();
    assert!(!pids.iter().any(|pid| is_gone(*pid)), "{status}");
    let stopped = place.prints(&["cluster", "stop"]);
    assert_eq!(stopped.lines().count(), 3, "{stopped}");
    assert!(pids.iter().all(|pid| is_gone(*pid)) && !place.cluster("local").exists(), "{stopped}");
    assert_eq!(place.run(&["cluster", "status"]).code, Some(3));
}

#[test]
fn a_statement_runs_on_a_cluster_and_is_listed() {
    let place = Place::new();
    start(&place, "2");
    let tables = place.here.path().join("tpch");
    place.prints(&["gen", "tpch", "--scale", "0.01", "--out", tables.to_str().unwrap()]);
    let query = "select l_shipmode, count(*), sum(l_quantity) from 'HERE/tpch/lineitem.parquet' group by 1 order by 1";
    let here = place.prints(&["sql", "-c", query]);
    assert_eq!(place.prints(&["sql", "--cluster", "local", "-c", query]), here);
    // Paths are those of who asks.
    let mut command = place.command(&["sql", "--cluster", "local", "-c", "select count(*) from 'tpch/nation.parquet'"]);
    command.current_dir(place.here.path());
    let ran = finish(command);
    assert!(ran.code == Some(0) && ran.stdout.ends_with("\n25\n"), "{ran:#?}");

    let jobs = place.run(&["jobs", "list", "--json"]).json();
    let jobs = jobs.as_array().unwrap();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
    assert!(jobs.iter().all(|job| job["state"] == "done" && job["kind"] == "sql"), "{jobs:?}");
    let shipmode = jobs.iter().find(|job| job["label"].as_str().unwrap().starts_with("select l_shipmode")).unwrap();
    let id = shipmode["id"].as_str().unwrap();
    assert!(place.prints(&["jobs", "list"]).contains(id));
    let shown = place.run(&["jobs", "show", id, "--json"]).json();
    assert_eq!((&shown["id"], &shown["state"], &shown["label"]), (&shipmode["id"], &"done".into(), &shipmode["label"]));
    let ended = place.run(&["jobs", "cancel", id, "--json"]).json();
    assert_eq!(ended["state"], "done", "{ended}");

    let says = &["error: there is no job ", "hint: `windrow jobs list`"];
    check_bad(&place, &[(&["jobs", "show", JOB], 1, says)]);
    let says = &["error: ", "nothing"];
    check_bad(&place, &[(&["sql", "--cluster", "local", "-c", "select * from nothing"], 1, says)]);
}

#[test]
fn a_worker_that_was_killed_is_dead() {
    let place = Place::new();
    start(&place, "2");
    let status = || place.run(&["cluster", "status", "--json"]).json();
    signal(status()["workers"][1]["pid"].as_u64().unwrap(), Signal::KILL);
    let seen = eventually("the second worker is dead", || {
        let status = status();
        if status["workers"][1]["state"] == "dead" { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(seen["workers"][0]["state"], "ready");
    assert_eq!(place.prints(&["cluster", "stop"]).lines().count(), 2);
}

#[test]
fn dead_workers_are_told_and_started_again() {
    let place = Place::new();
    start(&place, "3");
    let status = || place.run(&["cluster", "status", "--json"]).json();
    let before = status();
    let pid = |status: &Value, worker: usize| status["workers"][worker]["pid"].as_u64().unwrap();
    for worker in [0, 2] {
        signal(pid(&before, worker), Signal::KILL);
        eventually("it is gone", || if is_gone(pid(&before, worker)) { Ok(()) } else { Err(String::new()) });
    }
    // At once, whether or not the coordinator misses them yet.
    let states = |status: &Value| {
        let workers = status["workers"].as_array().unwrap().iter();
        workers.map(|worker| worker["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&status()), ["dead", "ready", "dead"]);
    let table = place.prints(&["cluster", "status"]);
    let hint = "w1 and w3 are dead: `windrow cluster start --local 3` starts them again\n";
    assert!(table.ends_with(hint), "{table}");
    let says =
        &["the cluster local has 3 workers, and of those w1 and w3 are dead", "`windrow cluster start --local 3`"];
    check_bad(&place, &[(&["cluster", "start", "--local", "2"], 1, says)]);

    let said = place.prints(&["cluster", "start", "--local", "3"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("started again: worker w1 at 127.0.0.1:"), "{said}");
    assert!(lines[1].starts_with("started again: worker w3 at 127.0.0.1:"), "{said}");
    let after = status();
    assert_eq!(states(&after), ["ready", "ready", "ready"]);
    assert_eq!(pid(&after, 1), pid(&before, 1));
    assert_eq!(after["coordinator"], before["coordinator"]);
    for worker in [0, 2] {
        assert!(pid(&after, worker) != pid(&before, worker) && said.contains(&pid(&after, worker).to_string()));
        // As large as they were, though nobody said it again.
        let same = |key: &str| after["workers"][worker][key] == before["workers"][worker][key];
        assert!(same("threads") && same("memory_bytes"), "{before} {after}");
    }
    let says = &["the cluster local runs already"];
    check_bad(&place, &[(&["cluster", "start", "--local", "3"], 1, says)]);
    assert!(!place.prints(&["cluster", "status"]).contains("dead"));
    assert_eq!(place.prints(&["cluster", "stop"]).lines().count(), 4);
    let pids: Vec<u64> = (0..3).flat_map(|worker| [pid(&before, worker), pid(&after, worker)]).collect();
    assert!(pids.iter().all(|pid| is_gone(*pid)), "{pids:?}");
}

#[test]
fn the_coordinator_that_answers_is_shown() {
    let place = Place::new();
    start(&place, "1");
    let status = || place.run(&["cluster", "status", "--json"]).json();
    let before = status()["coordinator"].clone();
    signal(before["pid"].as_u64().unwrap(), Signal::KILL);
    eventually("the coordinator is gone", || {
        if is_gone(before["pid"].as_u64().unwrap()) { Ok(()) } else { Err(String::new()) }
    });
    let home = place.cluster("local");
    let (identity, folder) = (home.join("identity/coordinator"), home.join("coordinator"));
    let words = ["coordinator", "--bind", before["address"].as_str().unwrap(), "--identity"];
    let words = [&words[..], &[identity.to_str().unwrap(), "--folder", folder.to_str().unwrap()]].concat();
    let mut child = place.command(&words).stderr(Stdio::null()).spawn().unwrap();
    let after = eventually("another one answers", || {
        let ran = place.run(&["cluster", "status", "--json"]);
        if ran.code == Some(0) { Ok(ran.json()["coordinator"].clone()) } else { Err(format!("{ran:?}")) }
    });
    assert_eq!(after["pid"].as_u64(), Some(u64::from(child.id())), "{after}");
    assert_eq!(after["address"], before["address"]);
    let stopped = place.prints(&["cluster", "stop"]);
    assert!(stopped.contains(&format!("stopped the coordinator (process {})", child.id())), "{stopped}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_cluster_without_its_coordinator_cannot_be_reached() {
    let place = Place::new();
    start(&place, "1");
    let status = place.run(&["cluster", "status", "--json"]).json();
    signal(status["coordinator"]["pid"].as_u64().unwrap(), Signal::KILL);
    eventually("the coordinator is gone", || {
        if is_gone(status["coordinator"]["pid"].as_u64().unwrap()) { Ok(()) } else { Err(String::new()) }
    });
    let says = &["asking the coordinator", "its process has ended", "coordinator.log", "`windrow cluster stop`"];
    check_bad(&place, &[(&["cluster", "status"], 3, says), (&["jobs", "list"], 3, says)]);
    let says = &["runs already: worker w1"];
    check_bad(&place, &[(&["cluster", "start", "--local", "1"], 1, says)]);
    assert!(place.prints(&["cluster", "stop"]).starts_with("stopped worker w1"));
    start(&place, "1");
}

#[test]
fn a_worker_of_another_cluster_is_not_let_in() {
    let place = Place::new();
    start(&place, "1");
    place.prints(&["cluster", "start", "--local", "1", "--name", "other", "--threads", "1", "--memory", "256MiB"]);
    let status = place.run(&["cluster", "status", "--json"]).json();
    let join = status["coordinator"]["address"].as_str().unwrap();
    let identity = place.cluster("other").join("identity/w1");
    let mut words = vec!["worker", "--join", join, "--name", "w1", "--bind", "127.0.0.1:0"];
    words.extend(["--identity", identity.to_str().unwrap(), "--folder", "HERE/w1", "--threads", "1"]);
    let ran = place.run(&words);
    assert_eq!(ran.code, Some(4), "{ran:#?}");
}

#[test]
fn a_client_of_another_cluster_is_not_let_in() {
    let place = Place::new();
    start(&place, "1");
    place.prints(&["cluster", "start", "--local", "1", "--name", "other", "--threads", "1", "--memory", "256MiB"]);
    fs::remove_dir_all(place.cluster("local").join("identity/client")).unwrap();
    copy(&place.cluster("other").join("identity/client"), &place.cluster("local").join("identity/client"));
    check_bad(&place, &[(&["cluster", "status"], 4, &["asking the coordinator", "certificate"])]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_process_that_is_asked_to_stop_ends_well() {
    let place = Place::new();
    start(&place, "1");
    let status = place.run(&["cluster", "status", "--json"]).json();
    let (coordinator, home) = (status["coordinator"]["address"].as_str().unwrap(), place.cluster("local"));
    let mut words = vec!["worker", "--join", coordinator, "--name", "w1", "--bind", "127.0.0.1:0", "--threads", "1"];
    let identity = home.join("identity/w1");
    words.extend(["--identity", identity.to_str().unwrap(), "--folder", "HERE/w1", "--log-format", "json"]);
    // The other life of the name gives way.
    signal(status["workers"][0]["pid"].as_u64().unwrap(), Signal::KILL);
    let child = place.command(&words).env("WINDROW_LOG", "info").spawn().unwrap();
    let pid = u64::from(child.id());
    eventually("the new worker is ready", || {
        let status = place.run(&["cluster", "status", "--json"]).json();
        let worker = &status["workers"][0];
        let is_new = worker["pid"].as_u64() == Some(pid) && worker["state"] == "ready";
        if is_new { Ok(()) } else { Err(status.to_string()) }
    });
    signal(pid, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("worker w1 127.0.0.1:") && said.lines().count() == 1, "{said}");
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("is ready"))), "{log}");
}
