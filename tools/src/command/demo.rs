//! `windrow demo`: a query and a word count, from nothing to tables on the screen; then both once more, on a cluster of two.
//!
//! In: how large. Out: what was made, the answers, what they took, what to try next; all on standard output. Never: anything left on the
//! disk, or running; a cluster whose digests differ passed over.

use std::{
    io::{self, Write},
    path::Path,
    time::Instant,
};

use windrow::{Answer, Result as EngineResult, Session, Settings, operator::Cancel};
use windrow_bench::{ClusterWorkloadRun, QUERIES, Tpch, WorkloadRun, word_count, workload};
use windrow_datasets::{TextOptions, write_text};

use super::{
    cluster::TemporaryCluster,
    generate,
    sql::{Format, render},
};
use crate::{
    error::{CommandError, Failure},
    progress::Progress,
    scratch::Scratch,
    settings::EngineFlags,
    signal::Signals,
    size,
};

/// Run a query and a word count over data made for it, then both on a cluster of two workers, in a temporary place
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
  windrow bench wordcount --size 1GiB
  windrow cluster start --local 2
  windrow sql --cluster local -c \"select count(*) from 'tpch/lineitem.parquet'\"";

/// TPC-H query 3: it joins three tables, groups and takes the first ten.
const QUERY: usize = 3;

/// Workers of the cluster.
const WORKERS: u32 = 2;

/// What a task on the cluster reads: little, so that little data goes to both workers.
const TASK_BYTES: u64 = 1 << 20;

/// What was done, and what both jobs answered.
struct Done<'a> {
    tables: &'a Path,
    text: &'a Path,
    query: String,
    words: String,
}

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
        let tpch = Tpch::open(settings.clone(), &tables)?;
        let session = tpch.session();
        let job = signals.job(session.cancel());
        let answer = session.query(Tpch::text(QUERY)?)?;
        show(out, &answer)?;
        let query = answer.digest()?.to_string();

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

        drop(job);
        let done = Done { tables: &tables, text: &text, query, words: written.digest.to_string() };
        on_a_cluster(out, &done, &settings, scratch.path(), signals)?;
        say(out, &format!("\n{NEXT}"))
    }
}

/// Both jobs once more, by workers that speak QUIC with each other.
fn on_a_cluster(
    out: &mut impl Write,
    done: &Done<'_>,
    settings: &Settings,
    scratch: &Path,
    signals: &Signals,
) -> Result<(), Failure> {
    say(out, &format!("\n4  The same two jobs on a cluster: a coordinator and {WORKERS} workers, each a process\n"))?;
    let started = Instant::now();
    let cluster = TemporaryCluster::start(scratch, WORKERS, settings, signals)?;
    let contact = cluster.contact()?;
    say(out, &format!("   ready, {}", seconds(started)))?;

    let nodes = contact.nodes()?;
    let tpch = Tpch::over(contact.session(settings.clone(), &Progress::default())?, nodes, done.tables)?;
    tpch.session().set_task_bytes(TASK_BYTES);
    let job = signals.job(tpch.session().cancel());
    let answer = tpch.session().query(Tpch::text(QUERY)?)?;
    let (shuffled, digest) = (size::show(answer.report.shuffled_bytes), answer.digest()?.to_string());
    say(out, &format!("   query {QUERY} in {:.3} s, {shuffled} shuffled; digest {digest}", answer.seconds))?;
    agrees("the query", &done.query, digest)?;
    drop(job);

    let (cluster, cancel) = (&contact.address(), &Cancel::default());
    let _job = signals.job(cancel.clone());
    let here = &Session::new(settings.clone())?;
    let workload = workload("wordcount")?;
    let run = WorkloadRun { workload, session: here, input: done.text, pattern: "", bytes: 0, scratch, runs: 1 };
    let run = ClusterWorkloadRun { run, cluster, nodes, cancel, seen: &|_| {} };
    for counted in run.run(|_, _| Ok::<(), Failure>(()))? {
        let words = size::show_count(counted.rows);
        say(out, &format!("   {words} words in {:.3} s; digest {}", counted.seconds, counted.digest))?;
        agrees("the word count", &done.words, counted.digest)?;
    }
    say(out, "   The digests agree: the cluster's answers are those of one process, to the bit.")
}

fn agrees(what: &'static str, here: &str, there: String) -> Result<(), Failure> {
    if here == there {
        return Ok(());
    }
    Err(CommandError::Differs { what, here: here.to_owned(), there }.into())
}

const WORD_COUNT: &str = "   session.read_text(\"words.txt\")?
       .words()
       .count_by_value()
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
