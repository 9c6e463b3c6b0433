//! Killed workers and a killed coordinator: the right answer, only what is missing again, or a typed error in time.
//!
//! In: a statement that runs for some seconds, `kill -9` at a moment that is seen. Out: passes, with how much was run again and how long
//! that took. Never: a kill that hit nobody who worked.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use windrow::{
    Kind, Settings,
    cluster::protocol::{AttemptState, AttemptView, JobState, JobView, WorkerState, stage_place},
};
use windrow_bench::Tpch;

use super::{
    place::{self, Cluster, cluster_view},
    watched::{Ended, Running, Watched},
};

/// Two stages that read, one that joins nine million pairs, one that sums: some seconds, most of them in the join. The words that are
/// replaced make reading last long enough to be seen.
pub const SECONDS: &str = "select l.l_returnflag, count(*), sum(l.l_quantity * r.l_extendedprice) from lineitem l \
     join lineitem r on l.l_partkey = r.l_partkey where l.l_orderkey < r.l_orderkey \
     and length(regexp_replace(regexp_replace(l.l_comment, '([a-z]+)', '(x)', 'g'), '([a-z()]+)', '(x)', 'g')) >= 0 \
     group by 1 order by 1";

/// The same over 180 million pairs: nobody waits for its end.
pub const LONG: &str = "select l.l_returnflag, count(*), sum(l.l_quantity * r.l_extendedprice) from lineitem l \
     join lineitem r on l.l_suppkey = r.l_suppkey where l.l_orderkey < r.l_orderkey group by 1 order by 1";

/// The stage that joins, of both.
pub const JOIN: usize = 2;

/// What one process answers.
fn digest_here(text: &str, tables: &std::path::Path) -> String {
    let tpch = Tpch::open(Settings { threads: 2, ..Settings::default() }, tables).unwrap();
    tpch.session().query(text).unwrap().digest().unwrap().to_string()
}

pub fn stage_of(attempt: &AttemptView) -> usize {
    stage_place(attempt.stage).1
}

/// Attempts by their task.
fn by_task(view: &JobView) -> BTreeMap<(usize, u32), Vec<&AttemptView>> {
    let mut tasks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for attempt in &view.attempts {
        tasks.entry((stage_of(attempt), attempt.task.0)).or_default().push(attempt);
    }
    tasks
}

/// At which moment a worker is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It reads a table.
    Reads,
    /// What it has read is there, the join has begun and needs it.
    Holds,
    /// The job is planned by it, and the join has begun.
    Drives,
}

/// Kills a worker at the moment; who it was, and the job as it was then.
fn kill_at(moment: Moment, running: &Running<'_>, cluster: &Cluster) -> (String, JobView) {
    let joins = |view: &JobView| view.attempts.iter().any(|a| stage_of(a) == JOIN && a.state == AttemptState::Running);
    let worker_where = |view: &JobView, is_it: &dyn Fn(&AttemptView) -> bool| {
        view.attempts.iter().find(|attempt| is_it(attempt)).map(|attempt| attempt.worker.as_str().to_owned())
    };
    let (victim, view) = running.until(&format!("a worker {moment:?}"), |view| {
        let victim = match moment {
            Moment::Reads => worker_where(view, &|a| stage_of(a) < JOIN && a.state == AttemptState::Running),
            Moment::Holds if joins(view) => {
                let drives = view.driver.as_ref();
                worker_where(view, &|a| {
                    stage_of(a) < JOIN && a.state == AttemptState::Finished && Some(&a.worker) != drives
                })
            }
            Moment::Drives if joins(view) => view.driver.as_ref().map(|driver| driver.as_str().to_owned()),
            _ => None,
        };
        victim.map(|victim| (victim, view.clone()))
    });
    let number: usize = victim.strip_prefix('w').unwrap().parse().unwrap();
    cluster.worker(number - 1).kill();
    (victim, view)
}

/// What was lost was the victim's, what was run again was lost, and what others had finished stayed.
fn check_attempts(victim: &str, before: &JobView, ended: &Ended) -> String {
    let lost = ended.in_state(AttemptState::Lost);
    assert!(!lost.is_empty(), "nothing was lost: the kill came too late\n{:#?}", ended.view);
    for attempt in &lost {
        assert_eq!(attempt.worker.as_str(), victim, "lost with a living worker: {attempt:#?}\n{:#?}", ended.view);
    }
    let tasks = by_task(&ended.view);
    let (mut again, mut failed) = (0, 0);
    for attempts in tasks.values() {
        again += attempts.len() - 1;
        for attempt in &attempts[..attempts.len() - 1] {
            // Who pulled from the victim when it died fails, and is tried again.
            failed += usize::from(attempt.state == AttemptState::Failed);
            assert!(matches!(attempt.state, AttemptState::Lost | AttemptState::Failed), "{attempts:#?}");
        }
        assert_eq!(attempts[attempts.len() - 1].state, AttemptState::Finished, "{attempts:#?}");
    }
    assert!(again > 0, "nothing was run again: {:#?}", ended.view);
    let kept = before.attempts.iter().filter(|a| a.state == AttemptState::Finished && a.worker.as_str() != victim);
    let mut kept_count = 0;
    for attempt in kept {
        let now = &tasks[&(stage_of(attempt), attempt.task.0)];
        let is_kept = now.len() == attempt.attempt.0 as usize + 1 && now[now.len() - 1].state == AttemptState::Finished;
        assert!(is_kept, "finished before the kill by a living worker, and run again: {now:#?}");
        kept_count += 1;
    }
    format!(
        "{} tasks, {} attempts lost, {failed} failed, {again} run again, {kept_count} kept, driver started {} times",
        tasks.len(),
        lost.len(),
        ended.view.driver_runs
    )
}

#[test]
fn a_killed_worker_changes_no_answer() {
    let _machine = place::machine();
    let tables = place::tables();
    let expected = digest_here(SECONDS, tables.path());
    let cluster = Cluster::start(3);
    let watched = Watched::new(&cluster, tables.path());
    let clean = watched.run(SECONDS);
    assert_eq!(clean.digest(), expected);
    for moment in [Moment::Reads, Moment::Holds, Moment::Drives] {
        let running = watched.begin(SECONDS);
        let (victim, before) = kill_at(moment, &running, &cluster);
        let killed_at = Instant::now();
        cluster.until_worker(&victim, WorkerState::Dead, Duration::from_secs(20));
        let seen_after = killed_at.elapsed();
        let ended = running.end();
        assert_eq!(ended.digest(), expected, "{moment:?}");
        let what = check_attempts(&victim, &before, &ended);
        if matches!(moment, Moment::Drives) {
            assert!(ended.view.driver_runs > 1, "the driver died unseen: {:#?}", ended.view);
        }
        place::tell(&format!(
            "{moment:?}: {victim} killed, seen after {:.1} s; {what}; {:.1} s, clean {:.1} s",
            seen_after.as_secs_f64(),
            ended.took.as_secs_f64(),
            clean.took.as_secs_f64()
        ));
        // Eight seconds are promised, on a machine that does nothing else.
        assert!(seen_after < Duration::from_secs(16), "{seen_after:?}");
        assert!(ended.took < clean.took * 3 + Duration::from_secs(20), "{:?}", ended.took);
        // Another life of the same name takes part.
        let number: usize = victim.strip_prefix('w').unwrap().parse().unwrap();
        cluster.revive_worker(number - 1);
        cluster.until_worker(&victim, WorkerState::Ready, Duration::from_secs(60));
        let again = watched.run(SECONDS);
        assert_eq!(again.digest(), expected);
        let did = again.in_state(AttemptState::Finished).iter().any(|attempt| attempt.worker.as_str() == victim);
        assert!(did, "{victim} came back and does nothing: {:#?}", again.view);
    }
}

#[test]
fn a_worker_that_stood_still_begins_again() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    let watched = Watched::new(&cluster, tables.path());
    let expected = watched.run(SECONDS).digest();
    let worker = cluster.worker(0);
    worker.signal(Signal::STOP);
    cluster.until_worker("w1", WorkerState::Dead, Duration::from_secs(20));
    let begun = Instant::now();
    worker.signal(Signal::CONT);
    cluster.until_worker("w1", WorkerState::Ready, Duration::from_secs(30));
    place::tell(&format!("a worker that stood still is back after {:.1} s", begun.elapsed().as_secs_f64()));
    let ended = watched.run(SECONDS);
    assert_eq!(ended.digest(), expected);
    let did = ended.in_state(AttemptState::Finished).iter().any(|attempt| attempt.worker.as_str() == "w1");
    assert!(did, "it is back and does nothing: {:#?}", ended.view);
}

#[test]
fn a_restarted_coordinator_keeps_what_was_finished() {
    let _machine = place::machine();
    let tables = place::tables();
    let expected = digest_here(SECONDS, tables.path());
    let cluster = Cluster::start(2);
    let watched = Watched::new(&cluster, tables.path());
    let clean = watched.run(SECONDS);
    assert_eq!(clean.digest(), expected);
    let (_, coordinator) = cluster.processes();
    let epoch = cluster_view(&cluster.client()).epoch;

    let running = watched.begin(SECONDS);
    let before = running.until("the join has begun", |view| {
        let joins = view.attempts.iter().any(|a| stage_of(a) == JOIN && a.state == AttemptState::Running);
        joins.then(|| view.clone())
    });
    coordinator.kill();
    let dead = Instant::now();
    let second = cluster.revive(&coordinator);
    let dead = dead.elapsed();
    // It was there while the job still ran: what follows was decided by the second life.
    let after = running.until("the second life tells of it", |view| Some(view.clone()));
    let view = cluster_view(&cluster.client());
    assert!(view.epoch > epoch, "{view:#?}");
    let ended = running.end();
    assert_eq!(ended.digest(), expected);
    assert_eq!(after.summary.state, JobState::Running, "it ended before the second life was asked: {after:#?}");

    let tasks = by_task(&ended.view);
    let finished: Vec<_> = before.attempts.iter().filter(|a| a.state == AttemptState::Finished).collect();
    assert!(!finished.is_empty(), "{before:#?}");
    for attempt in &finished {
        let now = &tasks[&(stage_of(attempt), attempt.task.0)];
        let is_kept = now.len() == 1 && now[0].state == AttemptState::Finished && now[0].worker == attempt.worker;
        assert!(is_kept, "finished before the coordinator died, and not kept: {now:#?}");
    }
    let again: usize = tasks.values().map(|attempts| attempts.len() - 1).sum();
    place::tell(&format!(
        "coordinator killed, back after {:.2} s: {} tasks, {} finished before and kept, {again} run again, driver started {} \
         times; {:.1} s, clean {:.1} s",
        dead.as_secs_f64(),
        tasks.len(),
        finished.len(),
        ended.view.driver_runs,
        ended.took.as_secs_f64(),
        clean.took.as_secs_f64()
    ));
    // Workers go on while it is away: nothing was lost, so nothing is to be made again.
    assert_eq!((again, ended.view.driver_runs), (0, 1), "{:#?}", ended.view);
    assert!(ended.took < clean.took * 3 + Duration::from_secs(20), "{:?}", ended.took);
    cluster.works(tables.path());
    // It is not the process that was written down, and is stopped all the same.
    let stopped = cluster.run(&["cluster", "stop"]);
    assert!(stopped.printed().contains(&format!("stopped the coordinator (process {})", second.pid)), "{stopped:#?}");
}

#[test]
fn without_workers_a_job_fails_in_time() {
    let _machine = place::machine();
    let tables = place::tables();
    let cluster = Cluster::start(2);
    let watched = Watched::new(&cluster, tables.path());
    let command = cluster.spawn_sql(tables.path(), LONG);
    let running = watched.begin(LONG);
    running.until("it runs", |view| view.attempts.iter().any(|a| a.state == AttemptState::Running).then_some(()));
    for worker in 0..2 {
        cluster.worker(worker).kill();
    }
    let killed_at = Instant::now();
    let ended = running.end();
    let took = killed_at.elapsed();
    assert_eq!(ended.error().kind(), Kind::Unreachable, "{ended:#?}");
    assert!(matches!(ended.view.summary.state, JobState::Failed(_)), "{ended:#?}");
    let ran = command.end();
    let command_took = killed_at.elapsed();
    ran.fails(3, &["error: ", "worker"]);
    place::tell(&format!(
        "all workers killed: told after {:.1} s, the command after {:.1} s: {}",
        took.as_secs_f64(),
        command_took.as_secs_f64(),
        ran.stderr.lines().next().unwrap_or_default()
    ));
    // Thirty are promised; five more for a machine that does other things.
    assert!(command_took < Duration::from_secs(35), "{command_took:?}");
    // A job that comes now waits for nobody for ever either; a cluster that is started again works.
    let stopped = cluster.run(&["cluster", "stop"]);
    assert_eq!(stopped.printed().lines().count(), 1, "{stopped:#?}");
    cluster.start_again(2, "512MiB", &[]);
    cluster.works(tables.path());
}
