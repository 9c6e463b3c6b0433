//! TPC-H on 1 to 4 workers: the bits and the order of one process, everybody takes part, what is sent arrives.
//!
//! In: tables at scale 0.1, small tasks. Out: passes, or says which query differs on how many workers. Never: a clean run in which
//! anything was tried twice.

use std::{collections::BTreeSet, path::Path, time::Instant};

use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use windrow::{Answer, Settings, cluster::protocol::AttemptState};
use windrow_bench::{QUERIES, Tpch};

use super::{
    place::{self, Cluster, cluster_view},
    watched::{Ended, Watched},
};

/// Queries whose largest input has fewer row groups than there may be workers: (query, input, its row groups). With more workers than
/// that, some may have nothing to do; the largest input of all others is `lineitem` with 5.
const FEW_ROW_GROUPS: &[(usize, &str, usize)] =
    &[(2, "partsupp", 1), (11, "partsupp", 1), (13, "orders", 2), (16, "partsupp", 1), (22, "orders", 2)];

/// What one process answers.
struct Expected {
    query: usize,
    digest: String,
    rows: Vec<String>,
}

fn expected(tables: &Path) -> Vec<Expected> {
    let tpch = Tpch::open(Settings { threads: 2, ..Settings::default() }, tables).unwrap();
    let ask = |query| {
        let answer = tpch.measure(query, 1).unwrap_or_else(|error| panic!("query {query}: {error:?}")).1;
        Expected { query, digest: answer.digest().unwrap().to_string(), rows: rows_of(&answer) }
    };
    (1..=QUERIES.len()).map(ask).collect()
}

/// Rows as text, in their order.
fn rows_of(answer: &Answer) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let text = |batch: &RecordBatch| -> Vec<String> {
        let columns = batch.columns().iter();
        let columns: Vec<_> =
            columns.map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
        let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
        (0..batch.num_rows()).map(row).collect()
    };
    answer.batches.iter().flat_map(text).collect()
}

#[test]
fn answers_are_the_same_bits_on_any_number_of_workers() {
    let _machine = place::machine();
    let tables = place::tables();
    let started = Instant::now();
    let expected = expected(tables.path());
    place::tell(&format!("22 queries in one process: {:.1} s", started.elapsed().as_secs_f64()));
    let mut wrong = Vec::new();
    for workers in 1..=4 {
        check(workers, tables.path(), &expected, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 4 * QUERIES.len(), wrong.join("\n"));
}

/// One task reads several edges.
#[test]
fn a_union_takes_from_each_edge_what_it_holds() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    let union =
        "select o_orderkey k from orders union select l_suppkey from lineitem union all select c_custkey from customer";
    let ran =
        cluster.spawn_sql(tables.path(), &format!("select count(*), count(distinct k), min(k) from ({union})")).end();
    // 150 000 orders and 1 000 suppliers, which have 255 numbers in common; 15 000 customers.
    assert_eq!((ran.code, ran.stdout.lines().last()), (Some(0), Some("165745,161249,1")), "{}", ran.stderr);
}

/// All queries on so many workers.
fn check(workers: usize, tables: &Path, expected: &[Expected], wrong: &mut Vec<String>) {
    let begun = Instant::now();
    let cluster = Cluster::start(workers);
    let (ready, asked) = (begun.elapsed(), Instant::now());
    let watched = Watched::new(&cluster, tables);
    let (mut client_bytes, mut tasks, mut idle) = (0, 0, Vec::new());
    for Expected { query, digest, rows } in expected {
        let ended = watched.run(Tpch::text(*query).unwrap());
        let how = format!("query {query} on {workers} workers");
        let answer = match &ended.answer {
            Ok(answer) => answer,
            Err(error) => {
                wrong.push(format!("{how}: {error:?}\n{:#?}", ended.view));
                continue;
            }
        };
        if ended.digest() != *digest {
            wrong.push(format!("{how}: digest {} instead of {digest}", ended.digest()));
        } else if rows_of(answer) != *rows {
            wrong.push(format!("{how}: another order of the rows"));
        }
        client_bytes += answer.report.pulled_bytes;
        tasks += ended.view.attempts.len();
        match participation(&ended, workers) {
            Part::All => {}
            Part::Excepted(who) if is_excepted(*query, workers) => idle.push(format!("q{query} by {who:?} only")),
            Part::Excepted(who) => wrong.push(format!("{how}: done by {who:?} only\n{:#?}", ended.view)),
        }
    }
    wrong.extend(tried_twice(&cluster, workers));
    wrong.extend(traffic_differs(&cluster, workers, client_bytes));
    place::tell(&format!(
        "22 queries on {workers} workers: {:.1} s, {tasks} tasks, ready in {:.1} s; excepted: {idle:?}",
        asked.elapsed().as_secs_f64(),
        ready.as_secs_f64()
    ));
}

/// Who finished a task.
enum Part {
    /// Every worker; or there is nothing to share.
    All,
    /// These only.
    Excepted(BTreeSet<String>),
}

fn participation(ended: &Ended, workers: usize) -> Part {
    let finished = ended.in_state(AttemptState::Finished);
    let who: BTreeSet<String> = finished.iter().map(|attempt| attempt.worker.as_str().to_owned()).collect();
    // A plan of one stage has no exchange.
    if who.len() == workers || ended.view.stages.len() < 2 { Part::All } else { Part::Excepted(who) }
}

fn is_excepted(query: usize, workers: usize) -> bool {
    FEW_ROW_GROUPS.iter().any(|(excepted, _, row_groups)| *excepted == query && *row_groups < workers)
}

/// Nobody died and nothing broke: each task is tried once, also after the answer was there.
fn tried_twice(cluster: &Cluster, workers: usize) -> Option<String> {
    let is_retry = |event: &serde_json::Value| {
        matches!(event["event"].as_str(), Some("attempt_failed" | "attempt_lost" | "driver_lost" | "worker_lost"))
    };
    let retries: Vec<String> = cluster.events().iter().filter(|event| is_retry(event)).map(|e| e.to_string()).collect();
    let first = retries.first()?;
    Some(format!("{workers} workers: {} attempts were lost or failed in clean runs, as {first}", retries.len()))
}

/// Bytes of frames that workers sent are those that workers and the client pulled.
fn traffic_differs(cluster: &Cluster, workers: usize, client_bytes: u64) -> Option<String> {
    let client = cluster.client();
    let (mut sent, mut pulled) = (0, 0);
    for worker in cluster_view(&client).workers {
        let traffic = client.traffic(&worker.address).unwrap();
        sent += traffic.sent_bytes;
        pulled += traffic.pulled_bytes;
    }
    place::tell(&format!("{workers} workers sent {sent} bytes, pulled {pulled}, the client pulled {client_bytes}"));
    let is_right = client_bytes > 0 && (pulled > 0) == (workers > 1) && sent == pulled + client_bytes;
    (!is_right).then(|| format!("{workers} workers: {sent} bytes sent, {pulled} pulled, {client_bytes} by the client"))
}
