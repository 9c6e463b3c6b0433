//! `windrow demo`: a query and a word count, from nothing to tables on the screen.
//!
//! In: how large. Out: what was made, the answers, what they took, what to try next; all on standard output. Never: anything left on the
//! disk.

use std::{
    io::{self, Write},
    time::Instant,
};

use windrow::{Answer, Result as EngineResult, Session};
use windrow_bench::{QUERIES, Tpch, word_count};
use windrow_datasets::{TextOptions, write_text};

use super::{
    generate,
    sql::{Format, render},
};
use crate::{error::Failure, scratch::Scratch, settings::EngineFlags, signal::Signals, size};

/// Run a query and a word count over data made for it, in a temporary place
#[derive(clap::Args)]
pub struct Demo {
    /// TPC-H scale factor
    #[arg(long, value_name = "S", default_value_t = 0.1)]
    scale: f64,
    /// Size of the text
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "50MB")]
    text_size: u64,
    #[command(flatten)]
    engine: EngineFlags,
}

const NEXT: &str = "\
What to try next
  windrow gen tpch --scale 1 --out tpch
  windrow sql -c \"select l_shipmode, count(*) from 'tpch/lineitem.parquet' group by 1 order by 1\"
  windrow sql -c \"explain select max(o_totalprice) from 'tpch/orders.parquet'\"
  windrow bench tpch --input tpch --results answers
  windrow bench wordcount --size 1GiB";

/// TPC-H query 3: it joins three tables, groups and takes the first ten.
const QUERY: usize = 3;

impl Demo {
    pub fn run(&self, signals: &Signals) -> Result<(), Failure> {
        let settings = self.engine.settings()?;
        let threads = settings.threads;
        let scratch = Scratch::new(signals)?;
        let (tables, text) = (scratch.path().join("tpch"), scratch.path().join("words.txt"));
        let out = &mut io::stdout().lock();

        let plural = if threads == 1 { "" } else { "s" };
        say(out, &format!("windrow demo, on {threads} thread{plural}\n"))?;
        say(out, &format!("1  TPC-H at scale {} and {} of text", self.scale, size::show(self.text_size)))?;
        let started = Instant::now();
        let written = generate::tpch(self.scale, &tables, Some(threads), false)?;
        let (rows, bytes) = written.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
        let rows = size::show_rows(rows);
        say(out, &format!("   {} tables, {rows}, {}, {}", written.len(), size::show(bytes), seconds(started)))?;
        let started = Instant::now();
        let options = TextOptions { bytes: self.text_size, seed: 1, out: text.clone(), overwrite: false };
        let lines = write_text(&options).map_err(Failure::of_dataset)?.rows;
        let lines = size::show_count(lines);
        say(out, &format!("   a text of {lines} lines, {}, {}\n", size::show(self.text_size), seconds(started)))?;

        say(out, &format!("2  SQL: TPC-H query {QUERY}, what the largest unshipped orders are worth\n"))?;
        for line in QUERIES[QUERY - 1].lines() {
            say(out, &format!("   {line}"))?;
        }
        say(out, "")?;
        let tpch = Tpch::open(settings, &tables)?;
        let session = tpch.session();
        let _job = signals.job(session.cancel());
        let answer = session.query(Tpch::text(QUERY)?)?;
        show(out, &answer)?;

        say(out, "\n3  The Rust API: how often each word stands in the text\n")?;
        say(out, WORD_COUNT)?;
        let counts = scratch.path().join("words");
        let started = Instant::now();
        let written = word_count(session, &text, &counts)?;
        let elapsed = started.elapsed().as_secs_f64();
        let speed = size::show((self.text_size as f64 / elapsed.max(1e-6)) as u64);
        let (words, bytes) = (size::show_count(written.rows), size::show(written.bytes));
        say(
            out,
            &format!(
                "   {words} words in {elapsed:.3} s, {speed}/s; {bytes} of Parquet written; digest {}",
                written.digest
            ),
        )?;
        say(out, "   The ten most frequent, asked for in SQL:\n")?;
        show(out, &top_words(session, &counts.to_string_lossy())?)?;
        say(out, &format!("\n{NEXT}"))
    }
}

const WORD_COUNT: &str = "   session.read_text(\"words.txt\")?
       .flat_map::<String>(|line, out| line.split_ascii_whitespace().for_each(|word| out.push(word)))
       .map_view::<(String, i64)>(|word| (word, 1))
       .reduce_by_key(Sum)
       .write_parquet(\"words\")?;
";

/// The ten most frequent words of a word count's output.
fn top_words(session: &Session, counts: &str) -> EngineResult<Answer> {
    session.register("words", counts)?;
    let columns = session.query("select * from words limit 0")?;
    let name = |column: usize| format!("\"{}\"", columns.schema.field(column).name().replace('"', "\"\""));
    let (word, count) = (name(0), name(1));
    session.query(&format!("select {word} as word, {count} as times from words order by times desc, word limit 10"))
}

/// An answer as a table, and what it took.
fn show(out: &mut impl Write, answer: &Answer) -> Result<(), Failure> {
    render(answer, Format::Table, out)?;
    let (rows, bytes) = (size::show_rows(answer.rows() as u64), size::show(answer.report.bytes_in));
    say(out, &format!("   {rows} in {:.3} s, {bytes} read; digest {}", answer.seconds, answer.digest()?))
}

fn seconds(started: Instant) -> String {
    format!("{:.2} s", started.elapsed().as_secs_f64())
}

fn say(out: &mut impl Write, line: &str) -> Result<(), Failure> {
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failure::of_output)
}
