//! The coordinator's edges that a simulation meets too seldom: bounds, verdicts, who gets what.

use super::*;
use crate::cluster::limits::*;
use crate::cluster::protocol::*;
use crate::shuffle::{AttemptId, GroupId};

const JOB: JobId = JobId(5);

/// A coordinator with its journal: every append is durable at once, unless `is_held`.
struct Bench {
    machine: Coordinator,
    now: u64,
    is_held: bool,
    told: Vec<(Link, OrderBody)>,
    answered: Vec<Answer>,
    closed: Vec<Link>,
    stopped: Option<RemoteError>,
    records: Vec<(JobId, JournalRecord)>,
    numbers: BTreeMap<Link, u64>,
}

const CLIENT: Link = Link(100);

fn name(worker: u64) -> WorkerName {
    WorkerName::new(format!("w{worker}")).unwrap()
}

impl Bench {
    fn new(workers: u64) -> Bench {
        Bench::after_restart(1, vec![], workers)
    }

    fn after_restart(epoch: u32, journal: Vec<(JobId, Vec<JournalRecord>)>, workers: u64) -> Bench {
        let mut bench = Bench {
            machine: Coordinator::new(Options::new(Epoch(epoch)), journal, vec![], 0),
            now: 0,
            is_held: false,
            told: vec![],
            answered: vec![],
            closed: vec![],
            stopped: None,
            records: vec![],
            numbers: BTreeMap::new(),
        };
        bench.hear(Event::LinkUp { link: CLIENT, peer: Peer::Client });
        (1..=workers).for_each(|worker| bench.register(worker, vec![]));
        bench
    }

    fn register(&mut self, worker: u64, held: Vec<AttemptKey>) {
        let link = Link(worker);
        self.hear(Event::LinkUp { link, peer: Peer::Worker(name(worker)) });
        let registration = registration(worker, held);
        self.says(worker, WorkerBody::Register(Box::new(registration)));
    }

    fn hear(&mut self, event: Event) {
        self.machine.handle(self.now, event);
        let mut appended = None;
        while let Some(command) = self.machine.poll_command() {
            match command {
                Command::Send { link, message: Outgoing::Worker(message) } => self.told.push((link, message.body)),
                Command::Send { message: Outgoing::Client(message), .. } => self.answered.push(message.body),
                Command::Append { number, job, record } => {
                    self.records.push((job, record));
                    appended = Some(number);
                }
                Command::Retire { number, .. } => appended = Some(number),
                Command::CloseLink { link, .. } => self.closed.push(link),
                Command::Stop { error } => self.stopped = Some(error),
                Command::Log { .. } => {}
            }
        }
        if let Some(number) = appended.filter(|_| !self.is_held) {
            self.hear(Event::Synced { number });
        }
    }

    fn says(&mut self, worker: u64, body: WorkerBody) {
        let link = Link(worker);
        let number = self.numbers.entry(link).or_default();
        *number += 1;
        let epoch = if matches!(body, WorkerBody::Register(_)) { Epoch(0) } else { self.machine.options.epoch };
        let message = FromWorker { incarnation: Incarnation(worker), epoch, number: *number, body };
        self.hear(Event::FromWorker { link, message: Box::new(message) });
    }

    fn asks(&mut self, body: Request) {
        self.hear(Event::FromClient { link: CLIENT, message: Box::new(FromClient { request: 1, body }) });
    }

    fn submit(&mut self, job: JobId, options: JobOptions) {
        let label = String::new();
        let (kind, spec) = (JobKind::Sql, vec![].into());
        let submission = Submission { job, kind, spec, label, submitted_unix_ms: 0, options };
        self.asks(Request::Submit(Box::new(submission)));
    }

    /// Hands a job in, and lets its driver ship `skeleton`.
    fn ship(&mut self, skeleton: Skeleton, options: JobOptions) {
        self.submit(JOB, options);
        let start = self.told.iter().find_map(|(link, body)| match body {
            OrderBody::StartDriver(start) => Some((link.0, start.driver)),
            _ => None,
        });
        let (host, driver) = start.unwrap();
        let plan = DriverPlan {
            job: JOB,
            run: driver.run,
            action: ActionNumber(0),
            skeleton,
            plan_hash: twox_hash::XxHash3_64::oneshot(b"p"),
            plan_bytes: 1,
            first: b"p".to_vec().into(),
        };
        self.says(host, WorkerBody::DriverPlan(Box::new(plan)));
    }

    /// Time passes; the workers named say that they live.
    fn pass(&mut self, micros: u64, alive: &[u64]) {
        let end = self.now + micros;
        while self.now < end {
            self.now = (self.now + BEAT).min(end);
            for worker in alive {
                let running = self.machine.workers.get(&name(*worker)).map(|w| w.running.clone()).unwrap_or_default();
                let running =
                    running.into_iter().map(|key| RunningAttempt { key, progress: AttemptProgress::default() });
                let drivers = self.machine.jobs.values().filter_map(|job| job.run()).map(|(run, _)| run).collect();
                let beat = Beat { running: running.collect(), drivers, ..Beat::default() };
                self.says(*worker, WorkerBody::Beat(beat));
            }
            for _ in 0..5 {
                self.hear(Event::Tick);
            }
        }
    }

    /// Orders told so far, with who was told; and they are no longer news.
    fn orders(&mut self) -> Vec<(u64, Order)> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.filter_map(|(link, body)| match body {
            OrderBody::Run(order) => Some((link.0, *order)),
            _ => None,
        })
        .collect()
    }

    fn ends(&mut self, worker: u64, order: &Order, end: AttemptEnd) {
        self.says(worker, WorkerBody::Ended { key: order.key, end });
    }

    fn state(&self) -> JobState {
        self.machine.jobs.get(&JOB).map_or(JobState::Cancelled, |job| job.state.clone())
    }
}

fn registration(worker: u64, held: Vec<AttemptKey>) -> Registration {
    Registration {
        version: PROTOCOL_VERSION,
        name: name(worker),
        address: format!("at{worker}"),
        build: "test".to_owned(),
        pid: 1,
        threads: 4,
        memory_bytes: 1,
        slots: 2,
        beat: Beat::default(),
        held,
    }
}

fn stage(kind: StageKind, splits: Vec<u64>, inputs: Vec<EdgeId>, output: u16) -> StageShape {
    StageShape { kind, splits, inputs, output: Some(EdgeId(output)), needs: vec![], gives: None, writes: false }
}

fn edge(from: u32, to: EdgeEnd, kind: EdgeKind) -> EdgeShape {
    EdgeShape { from: vec![from], to, kind }
}

/// One stage of so many splits, gathered as the result.
fn scan(splits: usize) -> Skeleton {
    Skeleton {
        stages: vec![stage(StageKind::BySplits, vec![10; splits], vec![], 0)],
        edges: vec![edge(0, EdgeEnd::Result, EdgeKind::Gather)],
    }
}

/// A scan, shuffled to a stage by groups.
fn shuffle(splits: usize) -> Skeleton {
    Skeleton {
        stages: vec![
            stage(StageKind::BySplits, vec![10; splits], vec![], 0),
            stage(StageKind::ByGroups, vec![], vec![EdgeId(0)], 1),
        ],
        edges: vec![
            edge(0, EdgeEnd::Stage(1), EdgeKind::Groups { count: 16 }),
            edge(1, EdgeEnd::Result, EdgeKind::Gather),
        ],
    }
}

fn small() -> JobOptions {
    JobOptions { task_bytes: 10, ..JobOptions::default() }
}

fn finished(order: &Order, groups: usize) -> AttemptEnd {
    let taken = order.inputs.iter().map(|input| {
        let rows = input.attempts.iter().map(|source| source.rows()).sum();
        EdgeTaken { edge: input.edge, rows, is_enough: false }
    });
    let total = GroupTotal { rows: 2, bytes: 16, frames: 1, hash_sum: 1 };
    let report = AttemptReport { groups: vec![total; groups], taken: taken.collect(), ..AttemptReport::default() };
    AttemptEnd::Finished(Box::new(report))
}

fn failed(kind: Kind, cause: FailureCause, lost: Vec<LostInput>) -> AttemptEnd {
    AttemptEnd::Failed(Box::new(AttemptFailure::new(RemoteError::new(kind, "it fails"), cause, lost)))
}

#[test]
fn submitted_is_said_when_the_job_is_durable() {
    let mut bench = Bench::new(1);
    bench.is_held = true;
    bench.submit(JOB, small());
    assert!(bench.answered.is_empty());
    let number = bench.machine.out.appended;
    bench.hear(Event::Synced { number: number - 1 });
    bench.hear(Event::Synced { number });
    assert!(matches!(bench.answered[..], [Answer::Submitted { job: JOB }]));
    // Again: the same job.
    bench.submit(JOB, small());
    assert_eq!(bench.records.iter().filter(|(_, record)| matches!(record, JournalRecord::Job(_))).count(), 1);
}

#[test]
fn a_journal_that_fails_stops_everything() {
    let mut bench = Bench::new(1);
    bench.is_held = true;
    bench.submit(JOB, small());
    bench.hear(Event::JournalFailed { error: RemoteError::new(Kind::Io, "the disk is gone") });
    assert!(bench.stopped.is_some());
    bench.submit(JOB, small());
    bench.hear(Event::Tick);
    assert!(bench.answered.is_empty());
}

#[test]
fn who_does_not_belong_is_refused() {
    let mut bench = Bench::new(0);
    bench.hear(Event::LinkUp { link: Link(1), peer: Peer::Worker(name(1)) });
    let other = Registration { version: PROTOCOL_VERSION + 1, ..registration(1, vec![]) };
    bench.says(1, WorkerBody::Register(Box::new(other)));
    let other = Registration { name: name(2), ..registration(1, vec![]) };
    bench.says(1, WorkerBody::Register(Box::new(other)));
    let kinds: Vec<Kind> = bench
        .told
        .iter()
        .filter_map(|(_, body)| match body {
            OrderBody::Refused { error } => Some(error.kind()),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [Kind::Unsupported, Kind::Denied]);
    assert_eq!(bench.closed, [Link(1), Link(1)]);
}

#[test]
fn every_worker_has_a_task_at_once_and_the_idle_steal() {
    let mut bench = Bench::new(4);
    bench.ship(scan(12), small());
    let orders = bench.orders();
    // Two each, and the first round reached everybody.
    assert_eq!(orders.len(), 8);
    let first: BTreeSet<u64> = orders[..4].iter().map(|(worker, _)| *worker).collect();
    assert_eq!(first, BTreeSet::from([1, 2, 3, 4]));
    // One worker is faster than the others: it ends with most of the rest.
    let mut mine: Vec<Order> = orders.into_iter().filter(|(worker, _)| *worker == 1).map(|(_, order)| order).collect();
    let mut done = 0;
    while let Some(order) = mine.pop() {
        bench.ends(1, &order, finished(&order, 1));
        done += 1;
        mine.extend(bench.orders().into_iter().map(|(worker, order)| {
            assert_eq!(worker, 1);
            order
        }));
    }
    assert_eq!(done, 6);
}

#[test]
fn a_users_error_fails_at_once_a_panic_is_forgiven_once() {
    for (kind, cause, tries) in [
        (Kind::Job, FailureCause::Error, 1),
        (Kind::Limit, FailureCause::Error, 1),
        (Kind::Job, FailureCause::Panic, 2),
        (Kind::Internal, FailureCause::Error, 2),
        (Kind::Io, FailureCause::Error, 4),
        (Kind::Job, FailureCause::Process, 4),
    ] {
        let mut bench = Bench::new(3);
        bench.ship(scan(1), small());
        let mut workers = Vec::new();
        for number in 0.. {
            let orders = bench.orders();
            let Some((worker, order)) = orders.first() else { break };
            assert_eq!(order.key.attempt, AttemptId(number));
            workers.push(*worker);
            bench.ends(*worker, order, failed(kind, cause, vec![]));
            bench.pass(2 * SECOND, &[1, 2, 3]);
        }
        assert_eq!(workers.len(), tries, "{kind:?} {cause:?}");
        assert!(workers.windows(2).all(|pair| pair[0] != pair[1]), "tried again where it failed: {workers:?}");
        let JobState::Failed(error) = bench.state() else { panic!("{:?}", bench.state()) };
        assert_eq!(error.kind(), kind);
        assert!(error.origin.contains(&format!("w{}", workers[tries - 1])), "{error}");
    }
}

#[test]
fn a_silent_worker_is_dead_after_five_seconds_and_what_it_held_is_made_again() {
    let mut bench = Bench::new(2);
    bench.ship(scan(2), small());
    for (worker, order) in bench.orders() {
        bench.ends(worker, &order, finished(&order, 1));
    }
    let host = bench.machine.jobs[&JOB].run().map(|(_, life)| life.0.clone()).unwrap();
    let (dies, lives) = if host == name(1) { (2, 1) } else { (1, 2) };
    bench.pass(DEAD_AFTER - SECOND, &[lives]);
    assert!(bench.orders().iter().all(|(_, order)| order.key.attempt == AttemptId(0)));
    bench.pass(3 * SECOND, &[lives]);
    let again = bench.orders();
    let made: Vec<u32> = again.iter().map(|(_, order)| order.key.attempt.0).collect();
    assert_eq!(made, [1], "one task was there, it is tried once more");
    assert!(again.iter().all(|(worker, _)| *worker == lives));
    // It comes back: that life is over.
    bench.says(dies, WorkerBody::Beat(Beat::default()));
    assert!(bench.told.iter().any(|(link, body)| *link == Link(dies) && matches!(body, OrderBody::Fenced)));
    assert!(bench.machine.fenced() > 0);
}

#[test]
fn when_we_stood_still_nobody_is_dead() {
    let mut bench = Bench::new(3);
    bench.pass(SECOND, &[1, 2, 3]);
    bench.now += 3600 * SECOND;
    bench.hear(Event::Tick);
    assert!(bench.machine.workers.values().all(|worker| worker.state == WorkerState::Ready));
    bench.pass(DEAD_AFTER + SECOND, &[1]);
    let ready = bench.machine.workers.values().filter(|worker| worker.state == WorkerState::Ready).count();
    assert_eq!(ready, 1);
}

#[test]
fn without_workers_a_job_fails_within_thirty_seconds() {
    let mut bench = Bench::new(1);
    bench.ship(scan(3), small());
    bench.pass(30 * SECOND, &[]);
    let JobState::Failed(error) = bench.state() else { panic!("{:?}", bench.state()) };
    assert_eq!(error.kind(), Kind::Unreachable);
    // And one that was handed in while there was none.
    let mut bench = Bench::new(0);
    bench.pass(40 * SECOND, &[]);
    bench.submit(JOB, small());
    bench.pass(10 * SECOND, &[]);
    assert_eq!(bench.state(), JobState::Running);
    bench.pass(20 * SECOND, &[]);
    assert!(matches!(bench.state(), JobState::Failed(_)));
}

/// Two workers that see the coordinator and never each other.
#[test]
fn a_cut_between_two_workers_moves_the_work_to_one_side() {
    let mut bench = Bench::new(2);
    bench.ship(shuffle(2), small());
    let mut waiting = bench.orders();
    for _ in 0..200 {
        let Some((worker, order)) = waiting.pop() else {
            bench.pass(BEAT, &[1, 2]);
            waiting.extend(bench.orders());
            if bench.machine.jobs[&JOB].actions.values().any(|action| action.ended.is_some()) {
                return;
            }
            continue;
        };
        let sources = order.inputs.iter().flat_map(|input| &input.attempts);
        let cut = sources.into_iter().find(|source| source.worker != name(worker));
        let end = match cut {
            Some(source) => {
                let lost = LostInput {
                    key: source.key,
                    worker: source.worker.clone(),
                    incarnation: source.incarnation,
                    is_denied: false,
                };
                failed(Kind::Unreachable, FailureCause::Inputs, vec![lost])
            }
            None => finished(&order, if order.inputs.is_empty() { 16 } else { 1 }),
        };
        bench.ends(worker, &order, end);
        waiting.extend(bench.orders());
        assert_eq!(bench.state(), JobState::Running);
    }
    panic!("the job did not end");
}

#[test]
fn rows_that_do_not_add_up_are_not_believed() {
    let mut bench = Bench::new(1);
    bench.ship(shuffle(1), JobOptions::default());
    let (worker, order) = bench.orders().remove(0);
    bench.ends(worker, &order, finished(&order, 16));
    let (worker, order) = bench.orders().remove(0);
    let AttemptEnd::Finished(mut report) = finished(&order, 1) else { panic!() };
    let all = order.groups.clone();
    assert!(all.is_sorted() && !all.is_empty() && all.iter().all(|group| *group < GroupId(16)));
    report.taken[0].rows -= 1;
    bench.ends(worker, &order, AttemptEnd::Finished(report.clone()));
    bench.pass(2 * SECOND, &[1]);
    let again = bench.orders();
    let again: Vec<_> = again.into_iter().filter(|(_, again)| again.key.task == order.key.task).collect();
    assert_eq!(again[0].1.key.attempt, AttemptId(1));
    // Unless the consumer said "enough".
    report.taken[0].is_enough = true;
    bench.ends(worker, &again[0].1, AttemptEnd::Finished(report));
    let key = AttemptKey { attempt: AttemptId(1), ..order.key };
    assert!(bench.machine.accepted().contains(&key));
}

/// Accounts that were overtaken by newer ones change nothing.
#[test]
fn an_old_account_never_replaces_a_newer() {
    let mut bench = Bench::new(1);
    bench.ship(scan(1), small());
    let (worker, order) = bench.orders().remove(0);
    let running = RunningAttempt { key: order.key, progress: AttemptProgress::default() };
    let beat = WorkerBody::Beat(Beat { running: vec![running], ..Beat::default() });
    bench.ends(worker, &order, finished(&order, 1));
    bench.told.clear();
    // A beat from before the end comes after it.
    bench.says(worker, beat);
    assert!(!bench.told.iter().any(|(_, body)| matches!(body, OrderBody::Cancel { .. })));
    // So does a registration that holds nothing yet.
    bench.numbers.insert(Link(worker), 0);
    bench.says(worker, WorkerBody::Register(Box::new(registration(worker, vec![]))));
    assert_eq!(bench.machine.accepted(), [order.key]);
    // A new one that holds nothing does count.
    bench.numbers.insert(Link(worker), 100);
    bench.says(worker, WorkerBody::Register(Box::new(registration(worker, vec![]))));
    assert!(bench.machine.accepted().is_empty());
}

#[test]
fn what_an_earlier_run_of_the_driver_says_counts_for_nothing() {
    let mut bench = Bench::new(1);
    bench.submit(JOB, small());
    let end = |kind| DriverEnd::Failed { error: RemoteError::new(kind, "it dies"), cause: FailureCause::Process };
    bench.says(1, WorkerBody::DriverEnded { job: JOB, run: 0, end: end(Kind::Io) });
    bench.pass(3 * SECOND, &[1]);
    let runs = |bench: &Bench| bench.machine.jobs[&JOB].driver.runs;
    assert_eq!(runs(&bench), 2);
    bench.says(1, WorkerBody::DriverEnded { job: JOB, run: 0, end: end(Kind::Io) });
    bench.says(
        1,
        WorkerBody::DriverEnded { job: JOB, run: 0, end: DriverEnd::Done { value: vec![].into(), result: None } },
    );
    bench.pass(3 * SECOND, &[1]);
    assert_eq!((runs(&bench), bench.state()), (2, JobState::Running));
    // What was stopped is no failure, however often.
    for run in 1..6 {
        bench.says(1, WorkerBody::DriverEnded { job: JOB, run, end: end(Kind::Cancelled) });
        bench.pass(3 * SECOND, &[1]);
    }
    assert_eq!(bench.state(), JobState::Running);
    for run in 6..8 {
        bench.says(1, WorkerBody::DriverEnded { job: JOB, run, end: end(Kind::Io) });
        bench.pass(5 * SECOND, &[1]);
    }
    assert!(matches!(bench.state(), JobState::Failed(_)));
}

#[test]
fn a_job_ends_with_its_client_when_it_was_asked_to() {
    for cancel_on_disconnect in [false, true] {
        let mut bench = Bench::new(1);
        bench.submit(JOB, JobOptions { cancel_on_disconnect, ..small() });
        bench.hear(Event::LinkDown { link: CLIENT });
        bench.pass(CLIENT_GRACE + SECOND, &[1]);
        assert_eq!(bench.state() == JobState::Cancelled, cancel_on_disconnect);
    }
}

#[test]
fn too_many_jobs_are_refused_and_few_run() {
    let mut bench = Bench::new(2);
    for job in 0..JOBS_MAX as u64 {
        bench.submit(JobId(job), small());
    }
    let running = bench.machine.jobs.values().filter(|job| job.state == JobState::Running).count();
    assert_eq!(running, JOBS_RUNNING_MAX);
    bench.answered.clear();
    bench.submit(JobId(9999), small());
    assert!(matches!(&bench.answered[..], [Answer::Failed(error)] if error.kind() == Kind::Limit));
    bench.asks(Request::Cancel { job: JobId(0) });
    assert_eq!(bench.machine.jobs.values().filter(|job| job.state == JobState::Running).count(), JOBS_RUNNING_MAX);
    // One has ended: its place is free.
    bench.answered.clear();
    bench.submit(JobId(9999), small());
    assert!(matches!(bench.answered[..], [Answer::Submitted { .. }]));
}

#[test]
fn after_a_restart_finished_tasks_are_kept_and_running_ones_go_on() {
    let mut bench = Bench::new(2);
    bench.ship(shuffle(4), small());
    let orders = bench.orders();
    let (worker, order) = orders[0].clone();
    bench.ends(worker, &order, finished(&order, 16));
    let records = vec![(JOB, bench.records.iter().map(|(_, record)| record.clone()).collect())];

    let mut next = Bench::after_restart(2, records, 0);
    assert!(next.orders().is_empty());
    for worker_again in [1, 2] {
        next.register(worker_again, if worker_again == worker { vec![order.key] } else { vec![] });
    }
    next.pass(SECOND, &[1, 2]);
    assert_eq!(next.machine.accepted(), [order.key]);
    // Nothing that runs is ordered anew under another number.
    assert!(next.orders().iter().all(|(_, order)| order.key.attempt == AttemptId(0)));
    // A worker that does not come back loses what it had, one that comes without it too.
    let records = vec![(JOB, bench.records.iter().map(|(_, record)| record.clone()).collect())];
    let mut next = Bench::after_restart(3, records, 0);
    next.register(worker, vec![]);
    assert!(next.machine.accepted().is_empty());
    let records = vec![(JOB, bench.records.iter().map(|(_, record)| record.clone()).collect())];
    let mut next = Bench::after_restart(4, records, 0);
    next.register(3, vec![]);
    next.pass(RETURN_GRACE - SECOND, &[3]);
    assert_eq!(next.machine.accepted(), [order.key]);
    next.pass(2 * SECOND, &[3]);
    assert!(next.machine.accepted().is_empty());
}

#[test]
fn what_a_living_worker_denies_is_made_again_at_once() {
    let mut bench = Bench::new(2);
    bench.ship(shuffle(2), JobOptions::default());
    for (worker, order) in bench.orders() {
        bench.ends(worker, &order, finished(&order, 16));
    }
    let (worker, order) = bench.orders().remove(0);
    let source = &order.inputs[0].attempts[0];
    let (key, incarnation) = (source.key, source.incarnation);
    let lost = LostInput { key, worker: source.worker.clone(), incarnation, is_denied: true };
    bench.ends(worker, &order, failed(Kind::Unreachable, FailureCause::Inputs, vec![lost]));
    let again = bench.orders();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].1.key, AttemptKey { attempt: AttemptId(1), ..key });
}

#[test]
fn a_task_that_makes_other_rows_when_it_runs_again_is_told() {
    for (change, is_same) in [
        ((|total| total.bytes *= 2) as fn(&mut GroupTotal), true),
        (|total| total.frames += 1, true),
        (|total| total.rows += 1, false),
        (|total| total.hash_sum += 1, false),
    ] {
        let mut bench = Bench::new(2);
        bench.ship(shuffle(2), JobOptions::default());
        for (worker, order) in bench.orders() {
            bench.ends(worker, &order, finished(&order, 16));
        }
        let (worker, order) = bench.orders().remove(0);
        let source = &order.inputs[0].attempts[0];
        let lost = LostInput {
            key: source.key,
            worker: source.worker.clone(),
            incarnation: source.incarnation,
            is_denied: true,
        };
        bench.ends(worker, &order, failed(Kind::Unreachable, FailureCause::Inputs, vec![lost]));
        let (worker, again) = bench.orders().remove(0);
        let AttemptEnd::Finished(mut report) = finished(&again, 16) else { panic!("it has finished") };
        // Cut otherwise, or other rows.
        change(&mut report.groups[3]);
        bench.ends(worker, &again, AttemptEnd::Finished(report));
        let ended = bench.records.iter().rev().find_map(|(_, record)| match record {
            JournalRecord::AttemptEnded(ended) if ended.key == again.key => Some(ended.end.clone()),
            _ => None,
        });
        match ended {
            Some(AttemptEnd::Finished(_)) => assert!(is_same),
            Some(AttemptEnd::Failed(failure)) => {
                assert!(!is_same && failure.error.kind() == Kind::Job, "{failure:?}");
                assert!(failure.error.sentence.contains("other rows than before"), "{failure:?}");
                assert!(bench.records.iter().any(|(_, record)| matches!(record, JournalRecord::JobEnded(_))));
            }
            None => panic!("its end was not heard"),
        }
    }
}

/// An attempt's end that cost so much, with a profile of one step of so many rows.
fn cost(order: &Order, rows_in: u64, cpu: (u64, u64)) -> AttemptEnd {
    let AttemptEnd::Finished(mut report) = finished(order, 1) else { unreachable!() };
    report.counters = AttemptCounters {
        rows_in,
        bytes_spilled: 5,
        micros: rows_in,
        cpu_from: cpu.0,
        cpu_until: cpu.1,
        ..Default::default()
    };
    let step = StepCounters { nanos: 10, rows: rows_in, bytes: 8 * rows_in };
    let pipeline = PipelineCounters { steps: vec![step], ..PipelineCounters::default() };
    report.profile = Some(Box::new(StageCounters { threads: 2, pipelines: vec![pipeline] }));
    AttemptEnd::Finished(report)
}

fn profile(bench: &mut Bench) -> JobProfile {
    bench.answered.clear();
    bench.asks(Request::Profile { job: JOB });
    match bench.answered.pop() {
        Some(Answer::Profile(profile)) => *profile,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_lost_or_failed_is_counted_apart_and_once() {
    let mut bench = Bench::new(2);
    bench.ship(scan(3), small());
    let orders = bench.orders();
    assert_eq!(orders.len(), 3);
    let host = bench.machine.jobs[&JOB].run().map(|(_, life)| life.0.clone()).unwrap();
    let (dies, lives) = if host == name(1) { (2, 1) } else { (1, 2) };
    let rows = |order: &Order| 100 + u64::from(order.key.task.0);
    // One fails at first, of the worker that lives; the others end, and say so twice.
    let place = orders.iter().position(|(worker, _)| *worker == lives).unwrap();
    let failing = &orders[place].1;
    let failure = AttemptFailure::new(RemoteError::new(Kind::Io, "a disk"), FailureCause::Error, vec![]);
    let counters = AttemptCounters { rows_in: 40, micros: 40, cpu_from: 500, cpu_until: 2_000, ..Default::default() };
    bench.ends(lives, failing, AttemptEnd::Failed(Box::new(AttemptFailure { counters, ..failure })));
    for (worker, order) in orders.iter().filter(|(_, order)| order.key != failing.key).flat_map(|end| [end, end]) {
        bench.ends(*worker, order, cost(order, rows(order), (0, 1_000)));
    }
    let told = profile(&mut bench);
    let (stage, ended) = (&told.stages[0], 303 - rows(failing));
    assert_eq!((stage.tasks, stage.failed, stage.rows_in, stage.bytes_spilled), (3, 1, ended, 10));
    assert_eq!((stage.wasted.rows_in, stage.wasted.micros), (40, 40));
    // A worker dies with what it has finished: of that nothing counts any more until it is made again.
    let gone: Vec<u64> = orders.iter().filter(|(worker, _)| *worker == dies).map(|(_, order)| rows(order)).collect();
    assert!(!gone.is_empty(), "{orders:?}");
    let mut again = Vec::new();
    for _ in 0..10 {
        bench.pass(SECOND, &[lives]);
        again.extend(bench.orders());
    }
    let told = profile(&mut bench);
    assert_eq!(told.stages[0].rows_in, ended - gone.iter().sum::<u64>(), "{told:#?}");
    for _ in 0..3 {
        for (worker, order) in std::mem::take(&mut again) {
            bench.ends(worker, &order, cost(&order, rows(&order), (1_000, 3_000)));
        }
        again = bench.orders();
    }
    let told = profile(&mut bench);
    let stage = &told.stages[0];
    assert_eq!((stage.rows_in, stage.task_micros), (100 + 101 + 102, [100, 101, 102]), "{stage:?}");
    // The second try at the one that failed may have been lost, too, before it had done anything.
    assert!(stage.lost as usize >= gone.len(), "{stage:?}");
    assert_eq!((stage.failed, stage.cancelled, stage.attempts), (1, 0, 4 + stage.lost));
    assert_eq!(stage.wasted.rows_in, 40 + gone.iter().sum::<u64>());
    let counters = stage.counters.as_ref().unwrap();
    assert_eq!(
        (counters.threads, counters.pipelines[0].steps[0].rows, counters.pipelines[0].steps[0].nanos),
        (2, 303, 30)
    );
    let tasks: Vec<(&str, u32, u32)> =
        told.workers.iter().map(|worker| (worker.name.as_str(), worker.tasks, worker.wasted)).collect();
    assert_eq!(tasks.iter().map(|(_, tasks, _)| tasks).sum::<u32>(), 3);
    assert_eq!(tasks.iter().map(|(_, _, wasted)| wasted).sum::<u32>(), 1 + stage.lost);
    // Each worker's time of processors once, though attempts overlapped, and what was in vain too.
    let cpu: u64 = told.workers.iter().map(|worker| worker.cpu_micros).sum();
    assert!((3_000..=5_000).contains(&cpu), "{told:#?}");
    assert_eq!(bench.state(), JobState::Running);
    bench.asks(Request::Profile { job: JobId(77) });
    assert!(matches!(bench.answered.last(), Some(Answer::Failed(_))));
}
