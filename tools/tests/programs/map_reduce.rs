//! A MapReduce job, with all that has to be the same wherever it runs: counters, records left out, outputs, lives of mappers and reducers.
//!
//! In: a text, a folder to write. Out: what was written and counted, on standard output. Never: anything of the tests around it.

use std::hint::black_box;

use windrow::{
    Result, Session,
    mapreduce::{Context, Job, Mapper, Output, Reducer, Values, failure},
};

/// Words of lines, with 1; takes its time.
#[derive(Clone, Default)]
struct Words {
    turns: u64,
    lines: i64,
}

impl Mapper for Words {
    type In = String;
    type Out = (String, i64);

    fn map(&mut self, line: &str, context: &mut Context<'_, Self::Out>) -> Result<()> {
        (0..self.turns).for_each(|turn| {
            black_box(turn);
        });
        self.lines += 1;
        context.count("lines", 1);
        if line.len() % 1_000 == 7 {
            return Err(failure("a line of such a length"));
        }
        for word in line.split_ascii_whitespace() {
            context.count("words", 1);
            context.emit((word, 1));
        }
        Ok(())
    }

    fn clean_up(&mut self, context: &mut Context<'_, Self::Out>) -> Result<()> {
        context.count("splits", 1);
        context.emit((" lines", self.lines));
        Ok(())
    }
}

#[derive(Clone)]
struct Sums;

impl Reducer for Sums {
    type Key = String;
    type Value = i64;
    type Out = (String, i64);

    fn reduce(
        &mut self,
        word: &str,
        counts: &mut Values<'_, '_, String, i64>,
        context: &mut Context<'_, Self::Out>,
    ) -> Result<()> {
        let sum = counts.fold(0, |sum, count| sum + count);
        context.emit((word, sum));
        Ok(())
    }
}

/// Sums, and the rare words to an output of their own; how many words a part has.
#[derive(Clone)]
struct Parts {
    sums: Sums,
    words: i64,
    rare: Output<String>,
}

impl Reducer for Parts {
    type Key = String;
    type Value = i64;
    type Out = (String, i64);

    fn reduce(
        &mut self,
        word: &str,
        counts: &mut Values<'_, '_, String, i64>,
        context: &mut Context<'_, Self::Out>,
    ) -> Result<()> {
        self.words += 1;
        context.count("different words", 1);
        if word.starts_with('q') {
            context.emit_to(&self.rare, word);
        }
        self.sums.reduce(word, counts, context)
    }

    fn clean_up(&mut self, context: &mut Context<'_, Self::Out>) -> Result<()> {
        context.count("parts", 1);
        let part = context.part().unwrap_or(0);
        context.emit((&format!("part {part}"), self.words));
        Ok(())
    }
}

pub fn run(session: &Session, text: &str, out: &str, turns: u64) -> Result<()> {
    let rare = Output::new("rare");
    let job = Job::new(session.read_text(text)?, Words { turns, lines: 0 });
    let job = job.combiner(Sums).skip_bad_records(1_000_000).parts(11).output(&rare);
    let finished = job.reduce(Parts { sums: Sums, words: 0, rare })?.write_parquet(out)?;
    let written = finished.written.as_ref().ok_or_else(|| failure("nothing was written"))?;
    println!("{} rows, digest {}, {} left out", written.rows, written.digest, finished.skipped);
    println!("{:?}", finished.counters);
    println!("{} rare words, digest {}", finished.outputs["rare"].rows, finished.outputs["rare"].digest);
    println!("{:?}", finished.bad_records.first());
    Ok(())
}
