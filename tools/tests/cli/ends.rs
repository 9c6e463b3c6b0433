//! How a command ends that is not let finish: a closed pipe, a signal.

use super::*;

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    for format in ["csv", "json", "table"] {
        let words = ["sql", "--format", format, "-c", "select * from 'DATA/lineitem.parquet'"];
        let mut child = command(&place.arguments(&words)).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let ran = finish(child);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{format}");
    }
}

/// Runs a command, sends it `signal` once it has worked for a while, and gives what came of it.
fn interrupted(place: &Place, words: &[&str], signal: &str) -> Ran {
    let child = command(&place.arguments(words)).env("TMPDIR", place.here.path()).spawn().unwrap();
    // Not by the clock: on a loaded machine it may not have begun after any time. In ticks of 10 ms.
    const WORKED_TICKS: u64 = 20;
    while processor_ticks(child.id()).expect("ended before it was interrupted") < WORKED_TICKS {
        std::thread::yield_now();
    }
    let sent = Instant::now();
    let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ran = finish(child);
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
    ran
}

/// Processor time of a process until now; none when it has ended.
fn processor_ticks(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_ended = fields.first()? == &"Z";
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    (!is_ended).then_some(ticks)
}

#[test]
#[cfg(target_os = "linux")]
fn signals_end_it_within_two_seconds() {
    let place = Place::new();
    let query = "select count(*) from 'DATA/lineitem.parquet' a, 'DATA/lineitem.parquet' b, 'DATA/orders.parquet' c \
                 where a.l_partkey + b.l_partkey + c.o_custkey = -1";
    for (words, signal, code) in [
        (&["sql", "-c", query] as &[&str], "INT", 130),
        (&["sql", "-c", query], "TERM", 143),
        (&["gen", "tpch", "--scale", "3", "--out", "HERE/tpch"], "INT", 130),
        (&["gen", "groups", "--rows", "1G", "--keys", "1M", "--out", "HERE/groups/g.parquet"], "INT", 130),
        (&["gen", "text", "--size", "100GB", "--out", "HERE/text/words.txt"], "TERM", 143),
        (&["bench", "wordcount", "--size", "200MB", "--runs", "1000"], "INT", 130),
        (&["demo", "--scale", "3"], "INT", 130),
    ] {
        let ran = interrupted(&place, words, signal);
        assert_eq!(ran.code, Some(code), "{words:?}: {ran:#?}");
        assert!(ran.stderr.contains("interrupted") || ran.stderr.contains("cancelled"), "{words:?}: {ran:#?}");
        assert_eq!(place.files(), BTreeSet::new(), "{words:?}");
    }
}

#[test]
fn errors_go_to_standard_error_without_colour_when_piped() {
    let place = Place::new();
    let mut command = command(&place.arguments(&["sql", "-c", "select x"]));
    let mut child = command.env_remove("NO_COLOR").spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert!(text.starts_with("error: ") && !text.contains('\u{1b}'), "{text:?}");
}
