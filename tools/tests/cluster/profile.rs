//! What a statement on a cluster cost, as EXPLAIN ANALYZE and `--profile` tell it.
//!
//! In: TPC-H, statements whose counts are known. Out: passes, if every number adds up to what one process counts. Never: a number that is
//! right because it is nothing.

use std::{fs, time::Duration};

use serde_json::Value;
use windrow::{
    Settings,
    cluster::protocol::{AttemptState, WorkerState},
    observe::{ProfileReport, StageReport},
};
use windrow_bench::Tpch;

use super::{
    faults::{JOIN, SECONDS, stage_of},
    place::{self, Cluster},
    watched::Watched,
};

/// Two scans, a join, a grouping, an order: edges of all kinds.
const QUERY: &str = "select o_orderpriority, count(*), sum(l_quantity) from lineitem join orders on l_orderkey = o_orderkey \
     where l_quantity < 20 group by 1 order by 1";

/// Rows of the steps whose names begin so, of all stages.
fn rows(report: &ProfileReport, name: &str) -> u64 {
    let pipelines = report.stages.iter().flat_map(|stage| &stage.pipelines).chain(&report.pipelines);
    let steps = pipelines.flat_map(|pipeline| &pipeline.steps);
    steps.filter(|step| step.name.starts_with(name)).map(|step| step.rows).sum()
}

fn sum(report: &ProfileReport, of: impl Fn(&StageReport) -> u64) -> u64 {
    report.stages.iter().map(of).sum()
}

#[test]
fn a_profile_adds_up_over_tasks_and_workers() {
    let _machine = place::machine();
    let tables = place::tables();
    let here = Tpch::open(Settings { threads: 2, ..Settings::default() }, tables.path()).unwrap();
    let (expected, alone) = here.session().query_profiled(QUERY).unwrap();
    let cluster = Cluster::start(2);
    let session = cluster.session(tables.path());
    let (answer, report) = session.query_profiled(QUERY).unwrap();
    assert_eq!(answer.digest().unwrap(), expected.digest().unwrap());
    let scans = ["scan lineitem", "scan orders"];
    for scan in scans {
        let tests = |report: &ProfileReport| {
            let pipelines = report.stages.iter().flat_map(|stage| &stage.pipelines).chain(&report.pipelines);
            let of_scan = pipelines.filter(|pipeline| pipeline.steps[0].name.starts_with(scan));
            of_scan.map(|pipeline| pipeline.tests.clone()).collect::<Vec<_>>()
        };
        let (first, here) = (tests(&report), tests(&alone));
        assert_eq!(first[0].first(), here[0].first(), "{scan}: {report:#?}");
    }
    assert_eq!(answer.report.rows_in, sum(&report, |stage| stage.rows_in));
    assert_eq!(answer.report.bytes_in, sum(&report, |stage| stage.bytes_in));
    assert!(answer.report.bytes_in > 0 && answer.report.rows_in == expected.report.rows_in, "{answer:#?}");
    // What a stage gives is what the next one takes, but for what is sent to all; the last one's rows are the answer.
    let last = report.stages.last().unwrap();
    assert_eq!(last.rows_out, expected.rows() as u64, "{report:#?}");
    for stage in &report.stages {
        assert_eq!((stage.attempts, stage.failed + stage.lost + stage.cancelled), (stage.tasks, 0), "{stage:#?}");
        let [min, median, max] = stage.task_seconds;
        assert!(0.0 < max && min <= median && median <= max, "{stage:#?}");
        let from_edges = stage.pipelines.iter().flat_map(|pipeline| pipeline.steps.first());
        let from_edges: u64 = from_edges.filter(|step| step.name.starts_with("from edge")).map(|step| step.rows).sum();
        assert_eq!(from_edges, stage.rows_taken, "{stage:#?}");
        assert!(stage.pulled_bytes <= stage.bytes_taken && stage.bytes_taken <= 2 * answer.report.shuffled_bytes);
        let steps = stage.pipelines.iter().flat_map(|pipeline| &pipeline.steps);
        assert!(steps.clone().count() > 0 && steps.clone().all(|step| !step.name.is_empty()), "{stage:#?}");
    }
    assert_eq!(rows(&report, "into sort"), rows(&alone, "into sort"));
    let names: Vec<&str> = report.workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, ["w1", "w2"]);
    let by_workers = |of: fn(&windrow::observe::WorkerReport) -> u64| report.workers.iter().map(of).sum::<u64>();
    assert_eq!(by_workers(|worker| worker.tasks.into()), sum(&report, |stage| stage.tasks.into()));
    assert_eq!(by_workers(|worker| worker.pulled_bytes), sum(&report, |stage| stage.pulled_bytes));
    assert_eq!(by_workers(|worker| worker.sent_bytes), by_workers(|worker| worker.pulled_bytes));
    assert!(
        report.workers.iter().all(|worker| worker.cpu_seconds > 0.0 && worker.peak_bytes > 10 << 20),
        "{report:#?}"
    );
    let took = answer.report.workers.unwrap();
    let cpu: f64 = report.workers.iter().map(|worker| worker.cpu_seconds).sum();
    assert!((took.cpu_micros as f64 / 1e6 - cpu).abs() < 1e-3, "{took:?} {cpu}");
    assert!(cpu < 2.0 * report.seconds + 0.1, "one thread each, and their network: {report:#?}");
}

#[test]
fn what_is_spilled_on_a_cluster_is_told() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start_with(2, "24MiB", &[], &[]);
    let text = "select count(*), sum(n) from \
         (select l_comment, l_orderkey, l_linenumber, count(*) n from lineitem group by l_comment, l_orderkey, l_linenumber)";
    let session = cluster.session(tables.path());
    let (answer, report) = session.query_profiled(text).unwrap();
    let of_stages = sum(&report, |stage| stage.spilled_bytes);
    let of_states: u64 =
        report.stages.iter().flat_map(|stage| &stage.pipelines).map(|pipeline| pipeline.spilled_bytes).sum();
    let of_workers: u64 = report.workers.iter().map(|worker| worker.spilled_bytes).sum();
    assert!(answer.report.spilled_bytes > 1 << 20, "{:#?}", answer.report);
    assert_eq!((of_stages, of_states, of_workers), [answer.report.spilled_bytes; 3].into(), "{report:#?}");
    // The bench tells the same, and the workers' processors and memory instead of its own.
    let ran = cluster.run(&[
        "bench",
        "tpch",
        "--input",
        tables.path().to_str().unwrap(),
        "--cluster",
        "local",
        "--query",
        "1",
        "--runs",
        "1",
        "--json",
    ]);
    let line: Value = serde_json::from_str(ran.printed()).unwrap();
    assert!(line["cpu_seconds"].as_f64().unwrap() > 0.0 && line["peak_bytes"].as_u64().unwrap() > 10 << 20, "{line}");
}

#[test]
fn a_plan_that_was_run_on_a_cluster_is_drawn() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    let ran = cluster.spawn_sql(tables.path(), &format!("explain analyze {QUERY}")).end();
    let plan = ran.printed();
    for text in [
        "stage 0: ",
        " attempts",
        "  taken: ",
        " over the network",
        " s median, ",
        "scan lineitem",
        "kept ",
        "of it not on all threads",
    ] {
        assert!(plan.contains(text), "{text:?} in\n{plan}");
    }
    assert!(
        plan.contains("worker w1: ") && plan.contains("worker w2: ") && plan.contains(" on 2 workers: 5 rows out"),
        "{plan}"
    );
    assert!(!plan.contains("were not recorded") && !plan.contains("in vain"), "{plan}");

    let path = cluster.here().join("q.json");
    let lineitem = tables.path().join("lineitem.parquet");
    let table = format!("lineitem={}", lineitem.display());
    let text = "select l_returnflag, count(*) from lineitem group by 1";
    let words = ["sql", "--cluster", "local", "--table", &table, "--profile", path.to_str().unwrap(), "-c", text];
    let ran = cluster.run(&words);
    assert_eq!(ran.printed().lines().count(), 4);
    let json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let stages = json[0]["profile"]["stages"].as_array().unwrap();
    assert!(stages.len() > 1 && stages[0]["rows_in"] == 600_572 && stages[0]["tasks"].as_u64() > Some(0), "{json:#}");
    assert_eq!(json[0]["profile"]["workers"].as_array().unwrap().len(), 2);
    let svg = fs::read_to_string(cluster.here().join("q.json.svg")).unwrap();
    assert!(svg.contains("<title>stage 0") && svg.contains("scan lineitem"), "{svg}");
}

/// A worker dies with what it had finished: made again, counted once, and what was lost stands apart.
#[test]
fn work_that_was_lost_is_counted_apart() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(3);
    let watched = Watched::new(&cluster, tables.path());
    let clean = watched.run(SECONDS).answer.unwrap().report;
    let running = watched.begin(SECONDS);
    let victim = running.until("the join runs, and a worker holds what it needs", |view| {
        let mut attempts = view.attempts.iter();
        attempts.clone().find(|a| stage_of(a) == JOIN && a.state == AttemptState::Running)?;
        let holds = attempts.find(|a| {
            stage_of(a) < JOIN && a.state == AttemptState::Finished && Some(&a.worker) != view.driver.as_ref()
        })?;
        Some(holds.worker.as_str().to_owned())
    });
    let number: usize = victim.strip_prefix('w').unwrap().parse().unwrap();
    cluster.worker(number - 1).kill();
    cluster.until_worker(&victim, WorkerState::Dead, Duration::from_secs(20));
    let ended = running.end();
    let lost = ended.in_state(AttemptState::Lost).len() as u32;
    let report = ended.answer.as_ref().unwrap().report;
    assert_eq!((report.rows_in, report.bytes_in), (clean.rows_in, clean.bytes_in), "{:#?}", ended.view);
    let profile = ended.profile.as_ref().unwrap();
    let told: u32 = profile.stages.iter().map(|stage| stage.lost).sum();
    let wasted: u64 = profile.stages.iter().map(|stage| stage.wasted.rows_in).sum();
    assert!(lost > 0 && told == lost && wasted > 0, "{profile:#?}");
    assert_eq!(profile.stages.iter().map(|stage| stage.rows_in).sum::<u64>(), clean.rows_in, "{profile:#?}");
    let of_victim = profile.workers.iter().find(|worker| worker.name.as_str() == victim).unwrap();
    assert_eq!((of_victim.tasks, of_victim.wasted), (0, lost), "{profile:#?}");
    place::tell(&format!(
        "{victim} killed: {lost} attempts lost, {wasted} rows read in vain, {} counted",
        clean.rows_in
    ));
}
