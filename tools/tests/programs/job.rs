//! The program that is handed in: it counts words, and does whatever a user's program may do wrong.
//!
//! In: `program WHAT …`. Out: lines on standard output. Never: anything of the tests around it.

use std::{fs::OpenOptions, hint::black_box, path::Path};

use windrow::{Result, Session, Sum, dataset::failure};

use crate::map_reduce;

/// The first argument of each.
pub const NAME: &str = "program";

/// Turns that take some ten microseconds.
const TURNS: u64 = 20_000;

pub fn run(session: &Session, arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [NAME, "words", text, out] => {
            let written = windrow_bench::word_count(session, Path::new(text), Path::new(out))?;
            println!("{} words, digest {}", written.rows, written.digest);
            Ok(())
        }
        [NAME, "adds", out] => {
            // Three outputs of one program in one place.
            let numbers = |range: std::ops::Range<i64>| session.from_vec(range.collect::<Vec<_>>());
            numbers(0..10)?.write_csv(out)?;
            numbers(10..30)?.write(out).overwrite().csv()?;
            numbers(30..60)?.write(out).append().csv()?;
            numbers(60..100)?.write(out).append().csv()?;
            let there = session.read_csv(out)?.typed::<i64>()?.collect()?;
            println!("{} rows, {} in all", there.len(), there.iter().sum::<i64>());
            Ok(())
        }
        [NAME, "rounds", text, out] => rounds(session, text, out),
        [NAME, "slow", text, out] => slow(session, text, out),
        [NAME, "counts", text, out, marker] => counts(session, text, out, (marker, 1)),
        [NAME, "slow counts", text, out, marker] => counts(session, text, out, (marker, TURNS)),
        [NAME, "checkpoint", text, kept, out] => kept_words(session, text, (Some(kept), out), 1),
        [NAME, "slow checkpoint", text, kept, out] => kept_words(session, text, (Some(kept), out), 10 * TURNS),
        [NAME, "slow cache", text, out] => kept_words(session, text, (None, out), 10 * TURNS),
        [NAME, "mapreduce", text, out] => map_reduce::run(session, text, out, 10),
        [NAME, "slow mapreduce", text, out] => map_reduce::run(session, text, out, TURNS),
        [NAME, "panics", text] => each_line(session, text, |line| {
            if line.contains("\u{0}") { line.len() } else { panic!("I do not like {} bytes", line.len()) }
        }),
        [NAME, "aborts", text] => {
            each_line(session, text, |line| if line.is_empty() { 0 } else { std::process::abort() })
        }
        [NAME, "loops", text] => each_line(session, text, |line| {
            loop {
                black_box(line);
            }
        }),
        [NAME, "differs", text, marker] => {
            // Two processes of one program that name two closures: a program that looks at the clock or the machine does that.
            if OpenOptions::new().write(true).create_new(true).open(marker).is_ok() {
                each_line(session, text, str::len)
            } else {
                let lines = session.read_text(text)?;
                println!("{}", lines.filter(|line| !line.is_empty()).count()?);
                Ok(())
            }
        }
        [NAME, "entry panics"] => panic!("no entry"),
        [NAME, "fails", text] => {
            session.read_text(text)?.count()?;
            Err(failure("I have counted, and I am not pleased"))
        }
        _ => Err(failure(format!("a program of other words: {words:?}"))),
    }
}

fn each_line(session: &Session, text: &str, length: impl Fn(&str) -> usize + Send + Sync + 'static) -> Result<()> {
    let lengths = session.read_text(text)?.map(move |line| length(line) as u64);
    println!("{}", lengths.collect()?.len());
    Ok(())
}

/// Rows that are cached, rows that are broadcast, and rounds over them; and records that a closure cannot use.
fn rounds(session: &Session, text: &str, out: &str) -> Result<()> {
    let words = session.read_text(text)?.flat_map::<(String, i64)>(|line, out| {
        line.split_ascii_whitespace().for_each(|word| out.push((word, 1)));
    });
    let counts = words.reduce_by_key(Sum).cache()?;
    let nothing = counts.clone().filter(|(_, count)| count < 0).cache()?.count()?;
    let often = counts.clone().filter(|(_, count)| count > 10).keys().broadcast()?;
    let (_, letters) = counts
        .clone()
        .try_map(|(word, count)| if count > 10 { Err(failure(word)) } else { Ok(count) })
        .dead_letters(often.len() as u64)?;
    let (known, rare) = (often.len(), counts.clone());
    let (after, rounds) = counts.iterate_until(
        5,
        |counts, round| {
            let often = often.clone();
            let grown = counts.map(move |(word, count)| {
                let is_often = often.binary_search_by(|known| known.as_str().cmp(word)).is_ok();
                (word.to_owned(), if is_often { count * 2 + round as i64 } else { count })
            });
            Ok(grown.union(rare.clone())?.reduce_by_key(Sum))
        },
        |_, after| {
            Ok(after.fold(0, |most, (_, count)| *most = count.max(*most), |most, other| *most = other.max(*most))?
                > 5_000_000)
        },
    )?;
    let written = after.write_parquet(out)?;
    let letters = letters.len();
    println!("{known} words often, {letters} letters, {nothing} of none, {rounds} rounds, digest {}", written.digest);
    Ok(())
}

/// Closures that count; one of them ends its process once, if it is given a file to tell so by.
fn counts(session: &Session, text: &str, out: &str, (marker, turns): (&str, u64)) -> Result<()> {
    let (lines, words, keys) = (session.counter("lines"), session.counter("words"), session.counter("keys"));
    let marker = marker.to_owned();
    let pairs = session.read_text(text)?.flat_map::<(String, i64)>(move |line, out| {
        wait(turns);
        lines.add(1);
        if line.len() % 97 == 5
            && !marker.is_empty()
            && OpenOptions::new().write(true).create_new(true).open(&marker).is_ok()
        {
            std::process::abort();
        }
        for word in line.split_ascii_whitespace() {
            words.add(1);
            out.push((word, 1));
        }
    });
    let sums = pairs.group_by_key().map::<(String, i64)>(move |word, counts| {
        keys.add(1);
        (word.to_owned(), counts.count())
    });
    let written = sums.write_parquet(out)?;
    let all: Vec<String> = session.counters().iter().map(|(name, count)| format!("{name}: {count}")).collect();
    println!("{}, digest {}", all.join(", "), written.digest);
    Ok(())
}

/// Rows that are kept, for the next run or for this one, and what is made of them; with how many lines were read.
fn kept_words(session: &Session, text: &str, (kept, out): (Option<&str>, &str), turns: u64) -> Result<()> {
    let lines = session.counter("lines");
    let pairs = session.read_text(text)?.flat_map::<(String, i64)>(move |line, out| {
        lines.add(1);
        line.split_ascii_whitespace().for_each(|word| out.push((word, 1)));
    });
    let counts = pairs.reduce_by_key(Sum);
    let counts = match kept {
        Some(kept) => counts.checkpoint(kept)?,
        None => counts.cache()?,
    };
    let often = counts.filter(move |(_, count)| {
        wait(turns);
        count > 10
    });
    let written = often.write_parquet(out)?;
    let lines = session.counters().get("lines").copied().unwrap_or_default();
    println!("{} words often, digest {}, {lines} lines read", written.rows, written.digest);
    Ok(())
}

fn wait(turns: u64) {
    (0..turns).for_each(|turn| {
        black_box(turn);
    });
}

/// Three actions, each of which needs the one before, and takes its time.
fn slow(session: &Session, text: &str, out: &str) -> Result<()> {
    let words = session.read_text(text)?.flat_map::<String>(|line, out| {
        (0..TURNS).for_each(|turn| {
            black_box(turn);
        });
        line.split_ascii_whitespace().for_each(|word| out.push(word));
    });
    let counts = words.map_view::<(String, i64)>(|word| (word, 1)).reduce_by_key(Sum);
    let all = counts.clone().count()?;
    let often = counts.filter(move |(_, count)| count as u64 * all > 1_000_000);
    let count = often.clone().count()? as i64;
    let written = often.map(move |(word, times)| (word.to_owned(), times * count)).write_parquet(out)?;
    println!("{all} words, {count} of them often, digest {}", written.digest);
    Ok(())
}
