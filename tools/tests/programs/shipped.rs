//! What must hold of programs' binaries on their way to workers.
//!
//! In: nothing. Out: panics where something does not hold. Never: a binary at a place where workers could find it by themselves.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rustix::process::Signal;
use windrow::{
    Kind,
    cluster::{
        drive::Client,
        protocol::{Answer, BinaryAsk, BinaryId, JobState, Request},
    },
    operator::Cancel,
};

use crate::{
    checks::{Check, here, own, run, spawn, text},
    job::NAME,
    place::{self, Cluster, PATIENCE, Process, eventually, newest},
};

pub const ALL: &[Check] = &[
    ("a_program_is_shipped_once", a_program_is_shipped_once),
    ("bytes_that_flip_are_seen", bytes_that_flip_are_seen),
    ("what_a_worker_cannot_run_is_told", what_a_worker_cannot_run_is_told),
];

/// Lines of a process's log that say that a binary came.
fn came(cluster: &Cluster, who: &str) -> usize {
    let log = fs::read_to_string(cluster.folder().join(format!("{who}.log"))).unwrap();
    log.lines().filter(|line| line.contains("a program's binary has come")).count()
}

/// The one binary that a process keeps.
fn kept(cluster: &Cluster, folder: &str) -> PathBuf {
    let mut found: Vec<PathBuf> =
        fs::read_dir(cluster.folder().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Hands a program in while no worker hears it; then `change`s something.
fn handed_in(cluster: &Cluster, workers: &[Process], program: &Path, words: &[&str], change: impl Fn()) -> place::Ran {
    let client = cluster.client();
    let before = newest(&client).map(|view| view.summary.job);
    workers.iter().for_each(|worker| worker.signal(Signal::STOP));
    let started = spawn(Some(cluster), program, words);
    eventually("it is handed in", PATIENCE, || match newest(&client).map(|view| view.summary.job) {
        job if job == before => Err("no job".to_owned()),
        _ => Ok(()),
    });
    change();
    workers.iter().for_each(|worker| worker.signal(Signal::CONT));
    started.end()
}

fn a_program_is_shipped_once() {
    let (folder, text) = text(6_000_000);
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["words", &text, &out("here")]);
    let cluster = Cluster::start(2);
    let workers = [cluster.worker(0), cluster.worker(1)];
    // It is gone, or another one, before a worker has heard of it.
    let program = folder.path().join("job");
    let other = folder.path().join("other");
    for (place, name) in ["gone", "replaced"].into_iter().enumerate() {
        fs::copy(own(), &program).unwrap();
        let ran = handed_in(&cluster, &workers, &program, &["words", &text, &out(name)], || {
            if name == "gone" {
                fs::remove_file(&program).unwrap();
            } else {
                fs::copy("/bin/sh", &other).unwrap();
                fs::rename(&other, &program).unwrap();
            }
        });
        assert_eq!(ran.printed(), expected, "{name}");
        assert_eq!(came(&cluster, "coordinator"), 1, "it was shipped {} times", place + 1);
    }
    let ran = run(&cluster, &["words", &text, &out("third")]);
    assert_eq!(ran.printed(), expected);
    for who in ["coordinator", "w1", "w2"] {
        assert_eq!(came(&cluster, who), 1, "{who}");
    }
    let binary = kept(&cluster, "coordinator/binaries");
    let (whole, shipped) = (fs::metadata(own()).unwrap().len(), fs::metadata(&binary).unwrap().len());
    assert!(shipped < whole, "{shipped} of {whole} bytes");
    assert_eq!(kept(&cluster, "w1/windrow-binaries").file_name(), binary.file_name());
    // A worker that is started again has it still; so has a coordinator.
    let (_, coordinator) = cluster.processes();
    for process in [&coordinator, &workers[0], &workers[1]] {
        process.kill();
        cluster.revive(process);
    }
    assert_eq!(run(&cluster, &["words", &text, &out("fourth")]).printed(), expected);
    let log = fs::read_to_string(cluster.folder().join("revived.log")).unwrap();
    assert!(!log.contains("a program's binary has come"), "{log}");
    place::tell(&format!("a program of {whole} bytes is shipped as {shipped}"));
}

fn bytes_that_flip_are_seen() {
    let (folder, text) = text(200_000);
    let out = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let expected = here(&["words", &text, &out("here")]);
    let cluster = Cluster::start(1);
    let client = cluster.client();
    let taken = |binary, at, bytes: &[u8]| match client.ask(&Request::Binary(BinaryAsk::Piece {
        binary,
        at,
        bytes: bytes.into(),
    })) {
        Ok(Answer::BinaryHeld { bytes }) => Ok(bytes),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    // Of "windrow", by another program.
    let sha256 = "bfbf0bc2c8c4960432ff8fa12c9a7acdeb3f2b6079f852489b859be2d5eb853a";
    let sha256 = std::array::from_fn(|byte| u8::from_str_radix(&sha256[2 * byte..2 * byte + 2], 16).unwrap());
    let binary = BinaryId { sha256, bytes: 7 };
    assert_eq!(taken(binary, 0, b"wind").unwrap(), 4);
    let error = taken(binary, 4, b"rom").unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains("SHA-256"), "{error}");
    let large = BinaryId { bytes: 1 << 40, ..binary };
    assert_eq!(taken(large, 0, b"wind").unwrap_err().kind(), Kind::Limit);

    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    // On the coordinator's disk, once it was checked there: no worker runs it.
    let worker = cluster.worker(0);
    let words = ["words", &text, &out("flipped")];
    let ran = handed_in(&cluster, &[worker], &own(), &words, || flip(&kept(&cluster, "coordinator/binaries")));
    ran.fails(6, &["error: ", "another SHA-256", "worker w1", "hint: hand the program in again"]);
    assert!(!Path::new(&out("flipped")).exists());
    // Who hands it in again ships it again.
    assert_eq!(run(&cluster, &["words", &text, &out("again")]).printed(), expected);
    assert_eq!((came(&cluster, "coordinator"), came(&cluster, "w1")), (2, 1));
    // On a worker's disk: it takes it again.
    flip(&kept(&cluster, "w1/windrow-binaries"));
    assert_eq!(run(&cluster, &["words", &text, &out("once more")]).printed(), expected);
    assert_eq!((came(&cluster, "coordinator"), came(&cluster, "w1")), (2, 2));
}

/// A copy of this program with other bytes.
fn patched(folder: &Path, name: &str, patch: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(own()).unwrap();
    patch(&mut bytes);
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn what_a_worker_cannot_run_is_told() {
    let (folder, text) = text(200_000);
    let out = folder.path().join("out").to_str().unwrap().to_owned();
    let cluster = Cluster::start(2);
    let refused = |program: &Path, says: &[&str]| {
        let arguments = [NAME, "words", &text, &out].map(str::to_owned);
        let last = Mutex::new(None);
        let seen = |update: &windrow::cluster::protocol::JobUpdate| *last.lock().unwrap() = Some(update.state.clone());
        let error = windrow::dataset::submit_binary(&cluster.address(), program, &arguments, &Cancel::default(), &seen);
        let error = error.unwrap_err();
        let said = format!("{error}; {}", error.hint().unwrap_or_default());
        let missing: Vec<_> = says.iter().filter(|text| !said.contains(**text)).collect();
        assert!(error.kind() == Kind::Request && missing.is_empty(), "{missing:?} not said: {said}");
        assert!(matches!(last.into_inner().unwrap(), Some(JobState::Failed(_))));
        place::tell(&said);
    };
    let away = patched(folder.path(), "away", |bytes| {
        // The machine for which it is: AArch64's number.
        assert_ne!(bytes[18..20], [183, 0]);
        bytes[18..20].copy_from_slice(&[183, 0]);
    });
    refused(&away, &[away.to_str().unwrap(), "built for aarch64", "that machine is", "build the program"]);
    let newer = patched(folder.path(), "newer", |bytes| {
        // The versions that it asks the loader for are names among its strings.
        let places: Vec<usize> = memmem(bytes, b"\0GLIBC_2.").collect();
        assert!(!places.is_empty());
        places.iter().for_each(|place| bytes[place + 7] = b'9');
    });
    refused(&newer, &[newer.to_str().unwrap(), "needs glibc 9.", "has glibc 2.", "or older"]);
    // A script is told where it is handed in.
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\nexec true # a script that is longer than the header of a program is\n").unwrap();
    let error =
        windrow::dataset::submit_binary(&cluster.address(), &script, &[], &Cancel::default(), &|_| {}).unwrap_err();
    assert!(error.to_string().contains("no executable"), "{error}");
    // What is no program of ours would run here, whatever is said of a cluster.
    let ran = cluster.run(&["submit", "--cluster", "local", "sh", "-c", "echo here"]);
    ran.fails(2, &["sh in to the cluster local: it is no program of Windrow", "hint: its main must be"]);
    // This one may be handed in; so told, it has no test to run.
    assert_eq!(cluster.run(&["submit", "--cluster", "local", own().to_str().unwrap()]).code, Some(0));
    let expected = here(&["words", &text, &out]);
    // A script may start one. In the folder it is found by its name.
    let job = folder.path().join("my-job");
    fs::write(&job, format!("#!/bin/sh\nexec {} {NAME} \"$@\"\n", own().display())).unwrap();
    fs::set_permissions(&job, fs::Permissions::from_mode(0o755)).unwrap();
    let submitted = folder.path().join("submitted").to_str().unwrap().to_owned();
    let mut command = cluster.command(&["submit", "--cluster", "local", "my-job", "words", &text, &submitted]);
    command.current_dir(folder.path());
    assert_eq!(place::spawn(command).end().printed(), expected);
    let after = folder.path().join("after").to_str().unwrap().to_owned();
    assert_eq!(run(&cluster, &["words", &text, &after]).printed(), expected);
    assert!(newest(&Client::connect(&cluster.address()).unwrap()).is_some());
}

/// Where some bytes stand.
fn memmem<'a>(bytes: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(wanted.len()).enumerate().filter(move |(_, window)| *window == wanted).map(|(place, _)| place)
}
