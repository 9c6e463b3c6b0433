//! Cuts and orders of keys; processes that end, fail, hang, and say more than anybody wants to hear.

use std::{io::Write, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use super::{
    command::Command,
    keys::{Cut, KeyOrder, sortable},
    lines::Feed,
    process::Piped,
};
use crate::{Kind, error::Result, operator::Cancel};

fn feed(command: &str, cancel: &Cancel) -> Feed {
    let command = Command::find("mapper", command, &[]).unwrap();
    Feed {
        command,
        environment: vec![("GIVEN".to_owned(), "a value".to_owned())],
        cut: Cut::default(),
        cancel: cancel.clone(),
    }
}

/// What a shell's script prints of these lines, and what it says.
fn run(script: &str, lines: &[String]) -> Result<(Vec<String>, super::process::Said)> {
    let command = shlex::try_join(["sh", "-c", script]).unwrap();
    let mut process = Piped::start(&feed(&command, &Cancel::default()), &[("part", "3".to_owned())])?;
    let mut printed = Vec::new();
    let mut give = |line: &[u8]| printed.push(String::from_utf8_lossy(line).into_owned());
    for line in lines {
        process.line(&[line.as_bytes()], &mut give)?;
    }
    let said = process.finish(&mut give)?;
    Ok((printed, said))
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("line {n} {}", "x".repeat(n % 200))).collect()
}

#[test]
fn what_goes_in_comes_out() {
    // More than all pipes and pieces hold, both ways at once.
    let all = lines(200_000);
    assert_eq!(run("cat", &all).unwrap().0, all);
    assert_eq!(run("cat", &[]).unwrap().0, [""; 0]);
    assert_eq!(run("printf 'a\\r\\nb\\n\\nc'", &[]).unwrap().0, ["a", "b", "", "c"]);
    assert_eq!(run("cat > /dev/null; echo $GIVEN, $part", &all[..9]).unwrap().0, ["a value, 3"]);
    // Closes its input, and prints on; closes its output, and reads on.
    assert_eq!(run("head -n 2; exec 0<&-; echo end", &all).unwrap().0[2], "end");
    assert_eq!(run("echo begin; exec 1>&-; cat > /dev/null", &all).unwrap().0, ["begin"]);
}

#[test]
fn a_process_counts_and_says_how_it_is() {
    let script = "echo reporter:counter:group,some words,3 >&2; echo reporter:counter:group,some words,-1 >&2; \
                  echo reporter:status:half way >&2; echo reporter:counter:no number >&2";
    let said = run(script, &[]).unwrap().1;
    assert_eq!(said.counters.into_iter().collect::<Vec<_>>(), [("group.some words".to_owned(), 2)]);
    assert_eq!(said.status, "half way");
}

#[test]
fn a_process_that_fails_is_told_with_its_last_words() {
    let error = run("cat > /dev/null; echo well >&2; echo 'I am broken' >&2; exit 3", &lines(9)).err().unwrap();
    assert!(error.kind() == Kind::Job && error.to_string().contains("exit status: 3"), "{error}");
    assert!(error.to_string().ends_with("well\nI am broken"), "{error}");
    let error = run("kill -9 $$", &lines(100_000)).err().unwrap();
    assert!(error.to_string().contains("signal: 9") && error.to_string().contains("said nothing"), "{error}");
    // What it has started keeps its pipes open.
    let error = run("echo the last words >&2; sleep 100 & exit 4", &[]).err().unwrap();
    assert!(error.to_string().contains("exit status: 4") && error.to_string().contains("the last words"), "{error}");
    // A flood, of lines and without them, is read and forgotten.
    for flood in ["yes 'words words words' | head -c 50000000 >&2", "head -c 50000000 /dev/zero | tr '\\0' x >&2"] {
        let error = run(&format!("{flood}; echo; echo the end >&2; exit 1"), &[]).err().unwrap();
        assert!(error.to_string().len() < 6_000 && error.to_string().trim_end().ends_with("the end"), "{error}");
    }
    let error = run("head -c 150000000 /dev/zero", &[]).err().unwrap();
    assert_eq!(error.kind(), Kind::Limit);
}

#[test]
fn a_process_that_never_ends_can_be_cancelled() {
    for script in ["while :; do :; done", "exec 1>&-; while :; do :; done", "yes"] {
        let cancel = Cancel::default();
        let command = shlex::try_join(["sh", "-c", script]).unwrap();
        let mut process = Piped::start(&feed(&command, &cancel), &[]).unwrap();
        let ended = std::thread::scope(|scope| {
            let fed = scope.spawn(move || {
                let all = lines(50_000);
                all.iter().try_for_each(|line| process.line(&[line.as_bytes()], &mut |_| {}))?;
                process.finish(&mut |_| {}).map(drop)
            });
            std::thread::park_timeout(Duration::from_millis(100));
            cancel.cancel();
            fed.join().unwrap()
        });
        assert_eq!(ended.unwrap_err().kind(), Kind::Cancelled, "{script}");
    }
}

#[test]
fn what_a_process_has_started_ends_with_it() {
    let is_there = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with(['Z', 'X']))
    };
    // One that is cancelled, and one that fails and leaves it behind.
    for (script, kind) in [("sleep 1000 & echo $!; wait", Kind::Cancelled), ("sleep 1000 & echo $!; exit 3", Kind::Job)]
    {
        let cancel = Cancel::default();
        let command = shlex::try_join(["sh", "-c", script]).unwrap();
        let process = Piped::start(&feed(&command, &cancel), &[]).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let ended = std::thread::scope(|scope| {
            let fed = scope.spawn(move || {
                let mut give = |line: &[u8]| tell.send(String::from_utf8_lossy(line).into_owned()).unwrap();
                process.finish(&mut give).map(drop)
            });
            let started = told.recv_timeout(Duration::from_secs(60)).unwrap();
            if kind == Kind::Cancelled {
                assert!(is_there(&started), "{script}");
                cancel.cancel();
            }
            (fed.join().unwrap().unwrap_err(), started)
        });
        assert_eq!(ended.0.kind(), kind, "{script}");
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while is_there(&ended.1) {
            assert!(std::time::Instant::now() < deadline, "{script}: it lives on");
            std::thread::yield_now();
        }
    }
}

#[test]
fn programs_are_found_before_a_job_runs() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("m.sh");
    std::fs::File::create(&script).unwrap().write_all(b"#!/bin/sh\ncat\n").unwrap();
    let files = vec![script.clone()];
    let fails = |text: &str, files: &[PathBuf]| Command::find("mapper", text, files).unwrap_err();
    assert!(fails("m.sh", &files).hint().unwrap().contains("chmod +x"));
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let found = Command::find("mapper", "m.sh 'an argument' b", &files).unwrap();
    assert_eq!((found.program, found.arguments), (script.clone(), vec!["an argument".to_owned(), "b".to_owned()]));
    assert!(found.folder.unwrap().path().join("m.sh").is_file());
    for text in ["", "  ", "a 'quote", "no-such-program-anywhere", "/no/such/program", "m.sh"] {
        assert_eq!(fails(text, &[]).kind(), Kind::Request, "{text}");
    }
    let error = fails("cat", &[folder.path().join("none")]);
    assert!(error.kind() == Kind::Request && error.hint().unwrap().contains("name one that is there"), "{error}");
    let error = fails("cat", &[script.clone(), folder.path().join("./m.sh")]);
    assert!(error.kind() == Kind::Request && error.to_string().contains("the same name"), "{error}");
    assert!(error.hint().unwrap().contains("give one of them another"));
}

#[test]
fn lines_are_cut_behind_the_fields_of_their_keys() {
    let cut = |separator, key_fields| Cut { separator, key_fields };
    for (line, cut, expected) in [
        ("a\tb\tc", cut(b'\t', 1), ("a", "b\tc")),
        ("a\tb\tc", cut(b'\t', 2), ("a\tb", "c")),
        ("a\tb\tc", cut(b'\t', 3), ("a\tb\tc", "")),
        ("a,b", cut(b',', 1), ("a", "b")),
        ("a b", cut(b'\t', 1), ("a b", "")),
        ("", cut(b'\t', 1), ("", "")),
        ("\tb", cut(b'\t', 1), ("", "b")),
    ] {
        let (key, value) = cut.split(line.as_bytes());
        assert_eq!((key, value), (expected.0.as_bytes(), expected.1.as_bytes()), "{line:?}");
    }
    assert!(cut(b'\t', 0).check().is_err() && cut(b'\n', 1).check().is_err() && cut(b' ', 1).check().is_ok());
}

#[test]
fn keys_are_ordered_by_fields() {
    let order = |text: &str| text.split(',').map(|one| one.parse().unwrap()).collect::<Vec<KeyOrder>>();
    let sorted = |order: &[KeyOrder], keys: &[&str]| {
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort_by_key(|key| sortable(key.as_bytes(), order, Cut::default()));
        keys
    };
    assert_eq!(sorted(&order("1"), &["b", "a\0", "a", "ab", ""]), ["", "a", "a\0", "ab", "b"]);
    assert_eq!(sorted(&order("1r"), &["b", "a\0", "a", "ab", ""]), ["b", "ab", "a\0", "a", ""]);
    assert_eq!(sorted(&order("1n"), &["10", "9", "-3", "x", "0.5", " 2z"]), ["-3", "x", "0.5", " 2z", "9", "10"]);
    assert_eq!(sorted(&order("2nr,1"), &["b\t1", "a\t1", "c\t10", "d"]), ["c\t10", "a\t1", "b\t1", "d"]);
    for wrong in ["", "0", "n", "1x", "a", "-1", "1 n"] {
        assert_eq!(wrong.parse::<KeyOrder>().unwrap_err().kind(), Kind::Request, "{wrong}");
    }
}
