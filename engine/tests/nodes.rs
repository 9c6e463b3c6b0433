//! Plans for several nodes, run stage by stage in one process: the same answers as on one node.
//!
//! In: `tests/queries/*.slt`. Out: each query's digest on one node, and on two and four with their tasks and edges, compared. Never: a network;
//! what crosses it is the cluster's own test. Here only the planning, the edges and the frames are at stake.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fmt::Write as _,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::properties::WriterProperties,
};
use windrow::{
    Kind, Result, Settings,
    batch::{Batch, buffer::Buffer, datatypes::SchemaRef},
    expression::Literal,
    memory::Governor,
    observe::Counters,
    operator::{
        Cancel, JobContext,
        exchange::{Arrival, Inlet, Outlet},
    },
    plan::{
        logical::Logical,
        lower::lower,
        physical::{Edge, EdgeId, EdgeKind, PhysicalPlan, SourceSpec, StateSpec},
        rewrite::rewrite,
        stage::Distribution,
    },
    scan::Table,
    schedule::{self, Ends, Threads, Work, build_stage},
    shuffle::{
        AttemptId, AttemptKey, Codec, Digest, Epoch, GroupId, JobId, Runs, Spool, SpoolOptions, SpoolWriter, StageId,
        TaskId, frame::frame_bytes,
    },
    sql::{Catalog, Planned, plan},
    store::Io,
};
use windrow_datasets::{TpchOptions, write_tpch};

#[test]
fn the_same_rows_on_any_number_of_nodes() {
    let mut checked = Checked::default();
    for (threads, rows_per_morsel, revocable_bytes) in [(1, 3, None), (3, 16_384, None), (2, 16, Some(0))] {
        let cluster = Cluster::new(threads, rows_per_morsel, revocable_bytes);
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queries")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            for case in text.split("\n\n").filter(|case| !case.trim().is_empty()) {
                let query: Vec<&str> = case.split("\n----").next().unwrap().lines().collect();
                let query: Vec<&str> = query.into_iter().filter(|line| !line.starts_with('#')).collect();
                checked.check(&cluster, &Catalog::default(), &query.join("\n"));
            }
        }
    }
    checked.end();
}

/// Tables of many splits: every stage that scans has several tasks, and rows of all of them meet over edges by key.
#[test]
fn the_same_rows_of_tables_in_many_splits() {
    let folder = tempfile::tempdir().unwrap();
    write_tpch(&TpchOptions::new(0.01, folder.path())).unwrap();
    let mut catalog = Catalog::default();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let small = recut(&path);
        catalog.insert(&name, Table::open(small.to_str().unwrap()).unwrap());
    }
    let mut checked = Checked::default();
    for revocable_bytes in [None, Some(0)] {
        let cluster = Cluster::new(2, 1_000, revocable_bytes);
        for number in 1..=22 {
            let path = format!("{}/../bench/tpch/queries/q{number}.sql", env!("CARGO_MANIFEST_DIR"));
            checked.check(&cluster, &catalog, fs::read_to_string(path).unwrap().trim().trim_end_matches(';'));
        }
        for query in OVER_LINEITEM {
            checked.check(&cluster, &catalog, query);
        }
    }
    checked.end();
}

/// What TPC-H does not ask: every state of an aggregate in parts, joins that look at both sides, orders, limits, unions.
const OVER_LINEITEM: &[&str] = &[
    "select l_returnflag, count(*), count(l_comment), sum(l_quantity), avg(l_discount), min(l_shipdate), max(l_comment),
       min(l_comment), max(l_orderkey), bit_and(l_partkey), bit_or(l_partkey), bit_xor(l_suppkey),
       bool_and(l_tax > 0), bool_or(l_tax > 0.07) from lineitem group by l_returnflag",
    "select l_suppkey, sum(cast(l_extendedprice as double)), avg(cast(l_tax as double)), stddev(cast(l_quantity as double)),
       var_pop(cast(l_extendedprice as double) * 1e200), sum(cast(l_tax as double) * 1e-300), sum(l_orderkey)
       from lineitem group by l_suppkey",
    "select sum(l_orderkey * 9000000000000), avg(l_partkey), stddev_pop(l_linenumber), min(l_returnflag) from lineitem",
    "select l_shipmode, corr(l_quantity, l_extendedprice), covar_samp(l_tax, l_discount), covar_pop(l_tax * 1e200, l_tax * 1e-200),
       regr_slope(l_tax, l_suppkey), regr_intercept(l_tax, l_suppkey), regr_count(l_tax, l_suppkey), regr_r2(l_tax, l_suppkey),
       corr(distinct l_tax, l_discount) from lineitem group by l_shipmode",
    "select count(*), sum(l_quantity), min(l_comment) from lineitem where l_orderkey < 0",
    "select l_shipmode, max(l_tax) filter (where l_quantity > 49), count(*) filter (where l_tax > 1) from lineitem group by 1",
    "select l_shipmode, count(distinct l_suppkey), sum(distinct l_suppkey), count(*) from lineitem group by l_shipmode",
    "select count(distinct l_suppkey), count(distinct l_partkey) from lineitem",
    "select l_linestatus, count(distinct l_shipdate) from lineitem group by l_linestatus",
    // One set in two ways of writing it stays two sets.
    "select l_linestatus, l_shipmode, count(*), sum(l_quantity) from lineitem
       group by grouping sets ((l_linestatus, l_shipmode), (l_shipmode, l_linestatus), (l_shipmode, l_shipmode), (l_shipmode))",
    "select distinct l_shipmode, l_shipinstruct from lineitem",
    "select * from orders full join customer on o_custkey = c_custkey and c_acctbal > 5000",
    "select c_name, o_orderkey from customer left join orders on o_custkey = c_custkey and o_totalprice > 250000",
    "select c_custkey from customer where c_custkey not in (select o_custkey from orders)",
    "select c_custkey, c_custkey in (select o_custkey from orders where o_totalprice > 200000) from customer",
    "select count(*) from part p, supplier s where p.p_retailprice < s.s_acctbal",
    "select p_partkey from part where not exists (select 1 from lineitem where l_partkey = p_partkey and l_quantity > 10)",
    "select l_orderkey, l_linenumber from lineitem order by l_extendedprice desc limit 7 offset 3",
    "select o_orderkey, o_comment from orders order by o_comment",
    "select o_orderkey from orders limit 100 offset 1234",
    "select o_orderkey from orders where o_orderstatus = 'P' limit 20",
    "select k, count(*) from (select o_custkey k from orders union all select c_custkey from customer
       union all values (1), (2)) group by k",
    "select o_custkey from orders union select c_nationkey from customer",
    "select o.o_orderstatus, n, count(*) from (select l_orderkey, count(*) n from lineitem group by l_orderkey) l
       join orders o on o.o_orderkey = l.l_orderkey group by 1, 2",
    "select a.l_orderkey, sum(b.l_tax) from lineitem a join lineitem b on a.l_orderkey = b.l_orderkey group by a.l_orderkey",
    "select c_name from customer where c_acctbal > (select avg(c_acctbal) * 2 from customer)",
    "select c_name, o_orderkey, l_linenumber, s_name from customer join nation on c_nationkey = n_nationkey
       full join orders on o_custkey = c_custkey and o_totalprice < 300000 join lineitem on l_orderkey = o_orderkey
       left join supplier on s_suppkey = l_suppkey and s_acctbal > l_quantity * 200",
    "select k, p_name, n_name from (select l_partkey k, s_nationkey n from lineitem join supplier on l_suppkey = s_suppkey
       union all select ps_partkey, null from partsupp where ps_availqty > 9000
       union all select o_custkey, c_nationkey from orders right join customer on o_custkey = c_custkey) u
       join part on p_partkey = k left join nation on n_nationkey = n",
    "select s_name from supplier where s_suppkey in (select ps_suppkey from partsupp join part on ps_partkey = p_partkey
       where p_size < 10) and s_suppkey not in (select l_suppkey from lineitem join orders on l_orderkey = o_orderkey
       where o_totalprice > 400000)",
    "select l_orderkey, l_linenumber, row_number() over (partition by l_suppkey order by l_shipdate),
       sum(l_quantity) over (partition by l_suppkey order by l_shipdate rows between 3 preceding and 1 following),
       avg(cast(l_tax as double)) over (partition by l_suppkey), lag(l_comment) over (order by l_extendedprice) from lineitem",
    "select l_suppkey, median(l_extendedprice), percentile_cont(l_tax, 0.9), first_value(l_comment order by l_shipdate), count(*)
       from lineitem group by l_suppkey",
    "select o_custkey, o_totalprice from (select *, rank() over (partition by o_custkey order by o_totalprice desc) r from orders)
       where r <= 2",
    "select l_returnflag, l_shipmode, l_suppkey, grouping(l_shipmode), sum(l_quantity), avg(cast(l_tax as double)), min(l_comment),
       count(*), max(l_shipdate) filter (where l_tax > 0.05) from lineitem group by cube(l_returnflag, l_shipmode, l_suppkey)",
    "select l_suppkey, l_partkey, l_shipdate, stddev(cast(l_extendedprice as double)), sum(l_discount), corr(l_tax, l_quantity)
       from lineitem group by grouping sets ((l_suppkey), (l_partkey, l_suppkey), (l_shipdate), (), (l_suppkey), ())",
    "select o_orderstatus, o_orderpriority, count(distinct o_custkey) from orders group by rollup(o_orderstatus, o_orderpriority)",
    "select l_suppkey, count(*), sum(l_tax) from lineitem where l_orderkey < 0 group by rollup(l_suppkey)",
    "select k, n, count(*), sum(v) from (select l_suppkey k, l_linenumber n, l_tax v from lineitem union all
       select o_custkey, null, o_totalprice from orders) group by rollup(n, k)",
    "select l_orderkey, l_linenumber, r from (select *, row_number() over (partition by l_suppkey order by l_returnflag) r,
       dense_rank() over (partition by l_suppkey order by l_returnflag) d from lineitem) where 4 > r and d = 1",
    "select l_orderkey, l_comment from (select *, row_number() over (order by l_comment desc) r from lineitem) where r <= 9",
    "select count(*), sum(a.l_tax) from lineitem a join lineitem b on a.l_shipmode = b.l_shipmode and a.l_tax = b.l_discount
       and a.l_orderkey < 1000 and b.l_orderkey < 1000",
];

/// The file again, in row groups of few rows.
fn recut(path: &Path) -> PathBuf {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<Batch> = reader.map(|batch| batch.unwrap()).collect();
    let rows: usize = batches.iter().map(Batch::num_rows).sum();
    let cut = path.with_extension("small.parquet");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows.div_ceil(9))).build();
    let file = fs::File::create(&cut).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    cut
}

#[derive(Default)]
struct Checked {
    wrong: String,
    edges: usize,
    answered: usize,
}

impl Checked {
    fn check(&mut self, cluster: &Cluster, catalog: &Catalog, query: &str) {
        let logical = match plan(query, catalog, std::time::UNIX_EPOCH) {
            Ok(Planned::Query(logical)) => logical,
            Ok(_) => return,
            Err(error) if error.kind() == Kind::Unsupported => return,
            Err(error) => panic!("{query}: {error:?}"),
        };
        let logical = rewrite(logical).unwrap();
        let in_memory = Settings { revocable_bytes: None, ..cluster.settings.clone() };
        let (alone, _) = cluster.answer(&logical, 1, &in_memory);
        self.answered += usize::from(alone.is_ok());
        let spills = cluster.settings.revocable_bytes.is_some();
        for nodes in [1, 2, 4].into_iter().skip(usize::from(!spills)) {
            let (spread, edges) = cluster.answer(&logical, nodes, &cluster.settings);
            self.edges += edges;
            if spread != alone {
                let Settings { threads, rows_per_morsel, revocable_bytes, .. } = cluster.settings;
                let _ = writeln!(
                    self.wrong,
                    "{nodes} nodes, {threads} threads, {rows_per_morsel} rows, {revocable_bytes:?} revocable:\n{query}\n  one node  {alone:?}\n  {nodes} nodes  {spread:?}"
                );
            }
        }
    }

    fn end(self) {
        assert!(self.edges > 100 && self.answered > 40, "only {} edges, {} answers", self.edges, self.answered);
        assert!(self.wrong.is_empty(), "\n{}", self.wrong);
    }
}

/// Threads and a spool that stand for all nodes.
struct Cluster {
    threads: Threads,
    io: Arc<Io>,
    spool: Arc<Spool>,
    settings: Settings,
    _folder: tempfile::TempDir,
}

/// Rows, as a multiset with its digest, or what went wrong.
type Answered = std::result::Result<Digest, String>;

impl Cluster {
    fn new(threads: usize, rows_per_morsel: usize, revocable_bytes: Option<u64>) -> Cluster {
        let io = Io::start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = SpoolOptions {
            folders: vec![folder.path().join("spool")],
            codec: Codec::Lz4,
            // So little that some attempts stay in memory and others go to files.
            memory_bytes: 64 << 10,
            job_bytes: 1 << 30,
            epoch: Epoch(7),
        };
        let spool = Spool::open(options, &io).unwrap();
        let settings =
            Settings { threads, memory_bytes: 1 << 30, revocable_bytes, rows_per_morsel, ..Settings::default() };
        Cluster { threads: Threads::start(threads).unwrap(), io, spool, settings, _folder: folder }
    }

    /// The digest of the answer, and how many edges the plan has.
    fn answer(&self, logical: &Logical, nodes: usize, settings: &Settings) -> (Answered, usize) {
        let physical = match lower(logical, nodes) {
            Ok(physical) => physical,
            Err(error) => return (Err(error.to_string()), 0),
        };
        let edges = physical.edges.len();
        let answer = self.run(&physical, nodes, settings).map_err(|error| error.to_string());
        self.spool.drop_job(JobId(1));
        (answer, edges)
    }

    fn run(&self, physical: &PhysicalPlan, nodes: usize, settings: &Settings) -> Result<Digest> {
        let mut parameters: Vec<(usize, Literal)> = Vec::new();
        let mut digest = Digest::default();
        let producers = producers(physical);
        for stage in in_order(physical) {
            for (task, part) in parts(physical, stage, nodes)?.into_iter().enumerate() {
                let key = key(stage, task);
                let ends = TaskEnds {
                    cluster: self,
                    physical,
                    producers: &producers,
                    key,
                    part: &part,
                    outlet: Mutex::default(),
                };
                let context = JobContext {
                    governor: Governor::of(settings),
                    runs: Runs::of(settings),
                    settings: Arc::new(settings.clone()),
                    cancel: Cancel::default(),
                    counters: Arc::new(Counters::default()),
                    holding: None,
                };
                let needs = &physical.stages[stage].needs;
                let known = parameters.iter().filter(|(number, _)| needs.contains(number)).cloned().collect();
                let work = Work {
                    splits: part.splits.clone(),
                    attempt: Some(key),
                    parameters: known,
                    ends: Some(&ends),
                    is_profiled: false,
                };
                let running = build_stage(physical, stage, work, &self.io, &context)?;
                schedule::run(&self.threads, &context, running.graph)?;
                let writer = ends.outlet.lock().unwrap().take();
                if let Some(writer) = writer {
                    writer.finish()?;
                }
                for batch in running.collect.map(|collect| collect.take()).unwrap_or_default() {
                    digest.merge(&Digest::of(&batch)?);
                }
                for state in &physical.stages[stage].states {
                    if let StateSpec::Scalar { number } = state {
                        parameters.push((*number, running.parameters.value(*number)?.clone()));
                    }
                }
            }
        }
        Ok(digest)
    }
}

/// What a task reads.
struct Part {
    splits: Option<Range<usize>>,
    groups: Range<usize>,
}

/// Tasks of a stage: so many that every node has two.
fn parts(physical: &PhysicalPlan, stage: usize, nodes: usize) -> Result<Vec<Part>> {
    let stage = &physical.stages[stage];
    let cut = |count: usize| {
        let tasks = (2 * nodes).min(count).max(1);
        (0..tasks).map(move |task| count * task / tasks..count * (task + 1) / tasks)
    };
    Ok(match stage.distribution {
        Distribution::Single => vec![Part { splits: None, groups: 0..0 }],
        Distribution::Groups(count) => cut(count).map(|groups| Part { splits: None, groups }).collect(),
        Distribution::Splits => {
            let scans = stage.pipelines.iter().filter_map(|pipeline| match &pipeline.source {
                SourceSpec::Scan(scan, _) => Some(scan),
                _ => None,
            });
            let scans: Vec<_> = scans.collect();
            let [scan] = scans.as_slice() else { panic!("{} scans in a stage by splits", scans.len()) };
            cut(scan.splits()?.len()).map(|splits| Part { splits: Some(splits), groups: 0..0 }).collect()
        }
    })
}

/// The stages so that each stands after those it reads from, and after those that give its parameters.
fn in_order(physical: &PhysicalPlan) -> Vec<usize> {
    let (mut done, mut edges, mut parameters) = (Vec::new(), Vec::new(), Vec::new());
    while done.len() < physical.stages.len() {
        let next = (0..physical.stages.len()).find(|stage| {
            let spec = &physical.stages[*stage];
            !done.contains(stage)
                && spec.inputs().iter().all(|edge| edges.contains(edge))
                && spec.needs.iter().all(|parameter| parameters.contains(parameter))
        });
        let next = next.unwrap_or_else(|| panic!("the stages wait for each other: {physical:?}"));
        let spec = &physical.stages[next];
        edges.extend(spec.outputs());
        parameters.extend(spec.states.iter().filter_map(|state| match state {
            StateSpec::Scalar { number } => Some(*number),
            _ => None,
        }));
        done.push(next);
    }
    done
}

/// By edge: the stage that writes it.
fn producers(physical: &PhysicalPlan) -> Vec<usize> {
    let of = |edge| physical.stages.iter().position(|stage| stage.outputs().contains(&EdgeId(edge))).unwrap();
    (0..physical.edges.len()).map(of).collect()
}

fn key(stage: usize, task: usize) -> AttemptKey {
    AttemptKey { job: JobId(1), stage: StageId(stage as u32), task: TaskId(task as u32), attempt: AttemptId(0) }
}

/// The ends of a task's edges, in the spool.
struct TaskEnds<'a> {
    cluster: &'a Cluster,
    physical: &'a PhysicalPlan,
    producers: &'a [usize],
    key: AttemptKey,
    part: &'a Part,
    outlet: Mutex<Option<Arc<SpoolWriter>>>,
}

impl Ends for TaskEnds<'_> {
    fn inlet(&self, edges: &[EdgeId], _schema: &SchemaRef) -> Result<Arc<dyn Inlet>> {
        let mut frames = Vec::new();
        for edge in edges {
            let groups: Vec<GroupId> = match &self.physical.edges[edge.0].kind {
                EdgeKind::Groups { .. } => self.part.groups.clone().map(|group| GroupId(group as u16)).collect(),
                EdgeKind::Broadcast | EdgeKind::Gather => vec![GroupId(0)],
            };
            let producer = self.producers[edge.0];
            for task in 0.. {
                let Some(found) = self.cluster.spool.frames(&key(producer, task), &groups) else { break };
                for bytes in found {
                    let mut bytes = bytes?;
                    while !bytes.is_empty() {
                        let length = frame_bytes(&bytes, &Default::default())?;
                        frames.push(Buffer::from(bytes.split_to(length)));
                    }
                }
            }
        }
        Ok(Arc::new(Frames(Mutex::new(frames))))
    }

    fn outlet(&self, _number: EdgeId, edge: &Edge) -> Result<Arc<dyn Outlet>> {
        let writer = self.cluster.spool.begin(self.key, edge.kind.group_count());
        *self.outlet.lock().unwrap() = Some(Arc::clone(&writer));
        Ok(Arc::new(ToSpool(writer)))
    }
}

struct ToSpool(Arc<SpoolWriter>);

impl Outlet for ToSpool {
    fn put(&self, group: GroupId, batch: &Batch, hash_sum: u64) -> Result<()> {
        self.0.put(group, batch, hash_sum)
    }
}

struct Frames(Mutex<Vec<Buffer>>);

impl Inlet for Frames {
    fn pull(&self) -> Result<Arrival> {
        Ok(self.0.lock().unwrap().pop().map_or(Arrival::End, Arrival::Frame))
    }
}
