//! What a cluster is told wrongly: each time a typed error with its exit code, and the cluster takes the next job.
//!
//! In: wrong addresses, certificates, paths, statements; a plan and rows larger than usual. Out: passes, or what was said instead.
//! Never: an error of ours without a sentence.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant, SystemTime},
};

use windrow::{
    Error, Kind,
    cluster::{
        drive::{Client, ClusterAddress},
        protocol::{PROTOCOL_VERSION, Request},
    },
};
use windrow_net::{Authority, Event, Identity, Limits, NetError, Network, Options, Role};

use super::{
    place::{self, Cluster, PATIENCE, Ran},
    watched::Watched,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOSTS: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// All that an error says.
fn sentence(error: &Error) -> String {
    format!("{error:?}")
}

fn ask(coordinator: SocketAddr, identity: &Path) -> (Error, Duration) {
    let (address, begun) = (ClusterAddress { coordinator, identity: identity.to_owned() }, Instant::now());
    let asked = Client::connect(&address).and_then(|client| client.ask(&Request::Cluster));
    (asked.expect_err("it should not be answered"), begun.elapsed())
}

#[test]
fn a_coordinator_that_is_not_there_is_told() {
    let _machine = place::machine();
    let here = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    Authority::create("local").unwrap().issue(Role::Client, "client", HOSTS, DAY).unwrap().save(here.path()).unwrap();
    // A port that somebody holds and at which nobody speaks.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (error, took) = ask(silent.local_addr().unwrap(), here.path());
    assert_eq!(error.kind(), Kind::Unreachable, "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("windrow cluster status")), "{error:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");

    let cluster = Cluster::start(1);
    cluster.processes().1.kill();
    let begun = Instant::now();
    let ran = cluster.run(&["sql", "--cluster", "local", "-c", "select 1"]);
    ran.fails(3, &["asking the coordinator", "hint: ", "windrow cluster stop"]);
    place::tell(&format!("no coordinator: told after {took:.1?} and {:.1?}", begun.elapsed()));
}

/// Puts an identity in the client's place for one command.
fn as_client(cluster: &Cluster, identity: &Identity) -> Ran {
    let (own, kept) = (cluster.identity("client"), cluster.here().join("client"));
    fs::rename(&own, &kept).unwrap();
    fs::create_dir(&own).unwrap();
    identity.save(&own).unwrap();
    let ran = cluster.run(&["sql", "--cluster", "local", "-c", "select 1"]);
    fs::remove_dir_all(&own).unwrap();
    fs::rename(&kept, &own).unwrap();
    ran
}

#[test]
fn who_does_not_belong_to_the_cluster_is_told_so() {
    let _machine = place::machine();
    let cluster = Cluster::start(1);
    let coordinator = cluster.address().coordinator;
    let (authority, now) = (Authority::load(&cluster.folder().join("authority")).unwrap(), SystemTime::now());
    let other = Authority::create("local").unwrap();
    let mut slow = Vec::new();
    let mut check = |what: &'static str, ran: Ran, begun: Instant, code: i32, says: &[&str]| {
        ran.fails(code, says);
        slow.push(format!("{what} {:.1?}", begun.elapsed()));
    };

    let begun = Instant::now();
    let stranger = other.issue(Role::Client, "client", HOSTS, DAY).unwrap();
    check("another authority", as_client(&cluster, &stranger), begun, 4, &["asking the coordinator", "certificate"]);
    let begun = Instant::now();
    let expired = authority.issue_between(Role::Client, "client", HOSTS, now - 2 * DAY, now - DAY).unwrap();
    check("expired", as_client(&cluster, &expired), begun, 4, &["asking the coordinator", "expired"]);
    let begun = Instant::now();
    let early = authority.issue_between(Role::Client, "client", HOSTS, now + DAY, now + 2 * DAY).unwrap();
    check("not yet valid", as_client(&cluster, &early), begun, 4, &["asking the coordinator", "not valid yet"]);
    let begun = Instant::now();
    let worker = Identity::load(&cluster.identity("w1")).unwrap();
    check("a worker's", as_client(&cluster, &worker), begun, 4, &["asking the coordinator", "worker's", "client"]);

    // None at all: the file that is missing is named.
    let nothing = cluster.here().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let (error, _) = ask(coordinator, &nothing);
    assert!(sentence(&error).contains("nothing/identity.pem"), "{error:?}");
    assert_eq!(error.kind(), Kind::Denied, "{error:?}");
    cluster.run(&["cluster", "status"]).printed();
    place::tell(&format!("refused clients: {}", slow.join(", ")));
}

/// A worker of this name with this identity.
fn as_worker(cluster: &Cluster, name: &str, identity: &Identity) -> Ran {
    let folder = cluster.here().join("stranger");
    fs::create_dir_all(&folder).unwrap();
    identity.save(&folder).unwrap();
    let (folder, join) = (folder.to_str().unwrap(), cluster.address().coordinator.to_string());
    let mut words = vec!["worker", "--join", &join, "--name", name, "--bind", "127.0.0.1:0", "--threads", "1"];
    words.extend(["--identity", folder, "--folder", folder]);
    cluster.run(&words)
}

#[test]
fn a_worker_that_does_not_belong_to_the_cluster_ends() {
    let _machine = place::machine();
    let cluster = Cluster::start(1);
    let (authority, now) = (Authority::load(&cluster.folder().join("authority")).unwrap(), SystemTime::now());
    let other = Authority::create("local").unwrap().issue(Role::Worker, "w2", HOSTS, DAY).unwrap();
    as_worker(&cluster, "w2", &other).fails(4, &["certificate"]);
    let expired = authority.issue_between(Role::Worker, "w2", HOSTS, now - 2 * DAY, now - DAY).unwrap();
    as_worker(&cluster, "w2", &expired).fails(4, &["expired"]);
    let named = authority.issue(Role::Worker, "w2", HOSTS, DAY).unwrap();
    as_worker(&cluster, "w3", &named).fails(4, &["w3", "w2"]);
    let client = authority.issue(Role::Client, "w2", HOSTS, DAY).unwrap();
    as_worker(&cluster, "w2", &client).fails(4, &["client"]);
    // The name of one that is there.
    let first = Identity::load(&cluster.identity("w1")).unwrap();
    as_worker(&cluster, "w1", &first).fails(4, &["a worker w1 is here already: process", "hint: "]);
    // Not one of them was taken for the cluster's.
    let status = cluster.run(&["cluster", "status"]);
    assert!(status.printed().contains("worker w1") && !status.stdout.contains("worker w2"), "{status:#?}");
}

#[test]
fn a_peer_of_another_version_is_refused_by_name() {
    let _machine = place::machine();
    let cluster = Cluster::start(1);
    let (say, heard) = mpsc::channel();
    let options = Options {
        identity: Identity::load(&cluster.identity("client")).unwrap(),
        bind: ([127, 0, 0, 1], 0).into(),
        limits: Limits::default(),
        program_version: u32::from(PROTOCOL_VERSION) + 1,
        accepts: Vec::new(),
    };
    let network = Network::start(options, move |event| drop(say.send(event))).unwrap();
    let link = network.link(cluster.address().coordinator, Role::Coordinator);
    let cause = loop {
        match heard.recv_timeout(PATIENCE).unwrap() {
            Event::Down { link: down, cause } if down == link => break cause,
            Event::Up { .. } => panic!("it was let in"),
            _ => {}
        }
    };
    let (ours, theirs) = (u32::from(PROTOCOL_VERSION) + 1, u32::from(PROTOCOL_VERSION));
    assert!(matches!(cause, NetError::Version { ours: o, theirs: t, .. } if (o, t) == (ours, theirs)), "{cause:?}");
    network.shutdown();
    cluster.run(&["cluster", "status"]).printed();
}

#[test]
fn statements_that_fail_are_told_and_the_next_one_runs() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    let fails = |text: &str, code: i32, says: &[&str]| {
        let ran = cluster.spawn_sql(tables.path(), text).end();
        ran.fails(code, says);
    };
    // In an attempt; in the driver, before anything is shipped; a file that workers cannot see.
    fails("select l_quantity / (l_linenumber - 1) from lineitem", 1, &["error: ", "nullif", "worker w"]);
    fails("select l_quantiti from lineitem", 1, &["error: ", "l_quantiti", "l_quantity", "--> -c:1:8"]);
    let missing = "select count(*) from '/no/such/folder/t.parquet'";
    fails(missing, 1, &["error: ", "/no/such/folder/t.parquet", "caused by: No such file", "worker w", host]);
    let ran = cluster.run(&["sql", "--cluster", "local", "--table", "t=/no/such/t.csv", "-c", "select * from t"]);
    ran.fails(1, &["error: ", "/no/such/t.csv", "caused by: No such file", "worker w", host]);
    // A file that is no table.
    let broken = cluster.here().join("broken.parquet");
    fs::write(&broken, "PAR1 and no more PAR1").unwrap();
    fails(&format!("select * from '{}'", broken.display()), 6, &["error: ", "broken.parquet", "worker w"]);
    // Not a statement; one that is too long.
    fails("select from where", 1, &["error: "]);
    let long = cluster.here().join("long.sql");
    fs::write(&long, format!("select '{}'", "x".repeat(5 << 20))).unwrap();
    cluster.run(&["sql", "--cluster", "local", "-f", long.to_str().unwrap()]).fails(5, &["error: "]);
    cluster.works(tables.path());
    // None of them was tried to the end of its patience.
    let retries: Vec<_> = cluster.events().into_iter().filter(|event| event["again_after"].is_number()).collect();
    assert!(retries.is_empty(), "what cannot succeed was tried again: {retries:#?}");
}

#[test]
fn a_plan_larger_than_a_message_works() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    let watched = Watched::new(&cluster, tables.path());
    // The constant is folded: it stands in the plan with all its letters.
    let text =
        "select l_returnflag, count(*) from lineitem where l_comment <> repeat('x', 20000000) group by 1 order by 1";
    let ended = watched.run(text);
    assert_eq!(ended.answer.as_ref().unwrap().rows(), 3, "{ended:#?}");
    let sizes = cluster.events().iter().filter_map(|event| event["plan_bytes"].as_u64()).collect::<Vec<_>>();
    assert!(sizes.iter().any(|bytes| *bytes > 16 << 20), "no plan was so large: {sizes:?}");
    place::tell(&format!("a plan of {sizes:?} bytes: {:.1} s", ended.took.as_secs_f64()));
}

/// What goes before a command so that it can write but 8 MiB into `folder`, and what a write beyond that says. The disk is mounted where
/// only that command and its children see it, and goes with the last of them; where nothing may be mounted, it is each file that is
/// small.
pub fn small_disk(folder: &Path) -> (Vec<String>, &'static str) {
    let mount = format!("mount -t tmpfs -o size=8m none '{}' && exec \"$@\"", folder.display());
    for space in [&["unshare", "--mount"][..], &["unshare", "--user", "--map-root-user", "--mount"]] {
        let before = [space, &["sh", "-c", &mount, "sh"]].concat();
        let tried = Command::new(before[0]).args(&before[1..]).arg("true").output();
        if tried.is_ok_and(|output| output.status.success()) {
            return (before.into_iter().map(str::to_owned).collect(), "No space left on device");
        }
    }
    let limit = ["sh", "-c", "trap '' XFSZ && ulimit -f 2048 && exec \"$@\"", "sh"];
    (limit.map(str::to_owned).to_vec(), "File too large")
}

#[test]
fn a_full_disk_under_the_spool_fails_one_job_only() {
    let _machine = place::machine();
    let tables = place::tables();
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (before, why) = small_disk(disk.path());
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let cluster = Cluster::start_with(2, "64MiB", &["--spool", disk.path().to_str().unwrap()], &before);
    // Each row of 600,000 crosses: more than the memory of the spools and the disk together.
    let text = "select count(*), min(l.l_comment), max(r.l_comment) from lineitem l \
        join (select l_orderkey, l_linenumber, max(l_comment) l_comment from lineitem group by 1, 2) r \
        on l.l_orderkey = r.l_orderkey and l.l_linenumber = r.l_linenumber";
    let ran = cluster.spawn_sql(tables.path(), text).end();
    ran.fails(5, &["error: ", "worker w", why]);
    cluster.works(tables.path());
    place::tell(&format!("a full disk: {}", ran.stderr.lines().next().unwrap_or_default()));
}
