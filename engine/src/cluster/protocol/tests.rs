//! What is written is read; what was not written is refused.

use proptest::prelude::*;

use super::*;

use crate::kernel::testing::cases;
use crate::observe::{Counted, Skipped};
use crate::shuffle::{AttemptId, Epoch, GroupId, JobId, StageId, TaskId};

/// Messages of every variant, made of a seed.
struct Maker(u64);

impl Maker {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ (self.0 >> 29)
    }
    fn small(&mut self) -> u32 {
        (self.next() % 5) as u32
    }
    fn flag(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
    fn list<T>(&mut self, mut make: impl FnMut(&mut Maker) -> T) -> Vec<T> {
        (0..self.small()).map(|_| make(self)).collect()
    }
    fn option<T>(&mut self, make: impl FnOnce(&mut Maker) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }
    fn text(&mut self) -> String {
        self.list(|maker| char::from(b'a' + (maker.next() % 26) as u8)).into_iter().collect()
    }
    fn blob(&mut self) -> Blob {
        self.list(|maker| maker.next() as u8).into()
    }
    fn binary(&mut self) -> BinaryId {
        BinaryId { sha256: std::array::from_fn(|_| self.next() as u8), bytes: self.next() }
    }
    fn name(&mut self) -> WorkerName {
        WorkerName::new(format!("w{}", self.next() % 100)).unwrap()
    }
    fn job(&mut self) -> JobId {
        JobId(self.next())
    }
    fn key(&mut self) -> AttemptKey {
        AttemptKey {
            job: self.job(),
            stage: StageId(self.next() as u32),
            task: TaskId(self.small()),
            attempt: AttemptId(self.small()),
        }
    }
    fn total(&mut self) -> GroupTotal {
        GroupTotal { rows: self.next(), bytes: self.next(), frames: self.next(), hash_sum: self.next() }
    }
    fn error(&mut self) -> RemoteError {
        let kinds = [Kind::Request, Kind::Job, Kind::Io, Kind::Denied, Kind::Unreachable, Kind::Internal];
        let mut error = RemoteError::new(kinds[(self.next() % 6) as usize], self.text()).at(self.text());
        error.because = self.list(Maker::text);
        error.hint = self.option(Maker::text);
        error
    }
    fn cause(&mut self) -> FailureCause {
        use FailureCause::*;
        [Error, Panic, Process, Inputs][(self.next() % 4) as usize]
    }
    fn lost(&mut self) -> LostInput {
        LostInput {
            key: self.key(),
            worker: self.name(),
            incarnation: Incarnation(self.next()),
            is_denied: self.flag(),
        }
    }
    fn driver(&mut self) -> DriverRun {
        DriverRun { job: self.job(), run: self.small() }
    }
    fn action(&mut self) -> ActionNumber {
        ActionNumber(self.small())
    }
    fn beat(&mut self) -> Beat {
        Beat {
            running: self.list(|maker| RunningAttempt {
                key: maker.key(),
                progress: AttemptProgress { rows: maker.next(), bytes: maker.next() },
            }),
            ended: self.list(Maker::key),
            jobs: self.list(|maker| HeldJob { job: maker.job(), attempts: maker.small() }),
            drivers: self.list(Maker::driver),
        }
    }
    fn skeleton(&mut self) -> Skeleton {
        let stage = |kind, inputs, output| StageShape {
            kind,
            splits: if kind == StageKind::BySplits { vec![5, 6] } else { vec![] },
            inputs,
            output,
            needs: vec![],
            gives: None,
            writes: false,
        };
        let edge = |from, to, kind| EdgeShape { from: vec![from], to, kind };
        Skeleton {
            stages: vec![
                stage(StageKind::BySplits, vec![], Some(EdgeId(0))),
                stage(StageKind::ByGroups, vec![EdgeId(0)], Some(EdgeId(1))),
            ],
            edges: vec![
                edge(0, EdgeEnd::Stage(1), EdgeKind::Groups { count: 16 }),
                edge(1, EdgeEnd::Result, EdgeKind::Gather),
            ],
        }
    }
    fn source(&mut self) -> AttemptSource {
        AttemptSource {
            key: self.key(),
            worker: self.name(),
            incarnation: Incarnation(self.next()),
            address: self.text(),
            groups: self.list(|maker| (GroupId(maker.small() as u16), maker.total())),
        }
    }
    fn end(&mut self) -> AttemptEnd {
        if self.flag() {
            AttemptEnd::Failed(Box::new(AttemptFailure {
                error: self.error(),
                cause: self.cause(),
                lost: self.list(Maker::lost),
                counters: self.counters(),
            }))
        } else {
            AttemptEnd::Finished(Box::new(AttemptReport {
                groups: self.list(Maker::total),
                taken: self.list(|maker| EdgeTaken { edge: EdgeId(1), rows: maker.next(), is_enough: maker.flag() }),
                value: self.option(Maker::blob),
                manifest: self.option(Maker::blob),
                counters: self.counters(),
                pulled: self.list(|maker| PulledFrom { worker: maker.name(), bytes: maker.next() }),
                profile: self.option(|maker| Box::new(maker.stage_counters())),
                counted: self.counted(),
            }))
        }
    }
    fn counters(&mut self) -> AttemptCounters {
        AttemptCounters {
            rows_in: self.next(),
            bytes_in: self.next(),
            bytes_taken: self.next(),
            bytes_pulled: self.next(),
            bytes_spilled: self.next(),
            micros: self.next(),
            cpu_from: self.next(),
            cpu_until: self.next(),
            peak_bytes: self.next(),
        }
    }
    fn stage_counters(&mut self) -> StageCounters {
        let step = |maker: &mut Maker| StepCounters { nanos: maker.next(), rows: maker.next(), bytes: maker.next() };
        let pipeline = |maker: &mut Maker| PipelineCounters {
            nanos: maker.next(),
            not_all_threads_nanos: maker.next(),
            steps: maker.list(step),
            tests: maker.list(|maker| (maker.next(), maker.next())),
            peak_bytes: maker.next(),
            spilled_bytes: maker.next(),
        };
        StageCounters { threads: self.small(), pipelines: self.list(pipeline) }
    }
    fn stage_profile(&mut self) -> StageProfile {
        StageProfile {
            stage: StageId(self.small()),
            kind: StageKind::ByGroups,
            tasks: self.small(),
            attempts: self.small(),
            failed: self.small(),
            lost: self.small(),
            cancelled: self.small(),
            rows_in: self.next(),
            bytes_in: self.next(),
            rows_taken: self.next(),
            bytes_taken: self.next(),
            bytes_pulled: self.next(),
            rows_out: self.next(),
            bytes_out: self.next(),
            bytes_spilled: self.next(),
            task_micros: [self.next(), self.next(), self.next()],
            wasted: Wasted { rows_in: self.next(), bytes_in: self.next(), micros: self.next() },
            counters: self.option(Maker::stage_counters),
        }
    }
    fn worker_profile(&mut self) -> WorkerProfile {
        WorkerProfile {
            name: self.name(),
            tasks: self.small(),
            wasted: self.small(),
            cpu_micros: self.next(),
            bytes_sent: self.next(),
            bytes_pulled: self.next(),
            bytes_spilled: self.next(),
            peak_bytes: self.next(),
        }
    }
    fn cost(&mut self) -> JobCost {
        JobCost {
            rows_in: self.next(),
            bytes_in: self.next(),
            bytes_spilled: self.next(),
            cpu_micros: self.next(),
            peak_bytes: self.next(),
        }
    }
    fn driver_end(&mut self) -> DriverEnd {
        if self.flag() {
            DriverEnd::Done { value: self.blob(), result: self.option(Maker::action) }
        } else {
            DriverEnd::Failed { error: self.error(), cause: self.cause() }
        }
    }
    fn options(&mut self) -> JobOptions {
        JobOptions { task_bytes: self.next(), retention: self.next(), cancel_on_disconnect: self.flag() }
    }
    fn kind(&mut self) -> JobKind {
        if self.flag() { JobKind::Sql } else { JobKind::Program }
    }
    fn counted(&mut self) -> Counted {
        let counters = self.list(|maker| (format!("counter {}", maker.next()), maker.next() as i64));
        let mut counted = Counted { counters: counters.into_iter().collect(), ..Counted::default() };
        counted.skip(Skipped::new("a.txt, bytes 0 to 7", "record", "error"));
        counted
    }
    fn outcome(&mut self) -> ActionOutcome {
        match self.next() % 3 {
            0 => ActionOutcome::Rows(self.list(Maker::source), self.counted()),
            1 => {
                let manifests = self.list(|maker| TaskManifest { key: maker.key(), manifest: maker.blob() });
                ActionOutcome::Written(manifests, self.counted())
            }
            _ => ActionOutcome::Failed(self.error()),
        }
    }
    fn summary(&mut self) -> JobSummary {
        let states = [JobState::Queued, JobState::Done, JobState::Failed(self.error()), JobState::Cancelled];
        let state = states[(self.next() % 4) as usize].clone();
        let (job, label, kind) = (self.job(), self.text(), self.kind());
        JobSummary { job, label, kind, submitted_unix_ms: self.next(), state, micros: self.next() }
    }
    fn progress(&mut self) -> StageProgress {
        let stage = StageId(self.next() as u32);
        StageProgress { stage, tasks: self.small(), done: 1, running: 2, rows: self.next(), bytes: self.next() }
    }

    fn message_from_worker(&mut self, variant: u64) -> FromWorker {
        let body = match variant % WORKER_VARIANTS {
            0 => WorkerBody::Register(Box::new(Registration {
                version: PROTOCOL_VERSION,
                name: self.name(),
                address: self.text(),
                build: self.text(),
                pid: self.small(),
                threads: self.small(),
                memory_bytes: self.next(),
                slots: self.small(),
                beat: self.beat(),
                held: self.list(Maker::key),
            })),
            1 => WorkerBody::Beat(self.beat()),
            2 => WorkerBody::Ended { key: self.key(), end: self.end() },
            3 => WorkerBody::WantPlan { job: self.job(), action: self.action(), part: self.small() },
            4 => WorkerBody::DriverPlan(Box::new(DriverPlan {
                job: self.job(),
                run: self.small(),
                action: self.action(),
                skeleton: self.skeleton(),
                plan_hash: self.next(),
                plan_bytes: self.next() % PLAN_BYTES_MAX as u64,
                first: self.blob(),
            })),
            5 => WorkerBody::DriverPlanPart {
                job: self.job(),
                run: self.small(),
                action: self.action(),
                part: self.small(),
                bytes: self.blob(),
            },
            6 => WorkerBody::OutcomeTaken {
                job: self.job(),
                run: self.small(),
                action: self.action(),
                revision: self.next(),
                page: self.small(),
            },
            7 => WorkerBody::DriverLost { job: self.job(), run: self.small(), lost: self.list(Maker::lost) },
            8 => WorkerBody::DriverEnded { job: self.job(), run: self.small(), end: self.driver_end() },
            _ => WorkerBody::Leave { when_free: self.flag() },
        };
        FromWorker { incarnation: Incarnation(self.next()), epoch: Epoch(self.small()), number: self.next(), body }
    }

    fn shipped(&mut self) -> ShippedAction {
        ShippedAction { action: self.action(), plan_hash: self.next(), plan_bytes: self.next() }
    }

    fn message_to_worker(&mut self, variant: u64) -> ToWorker {
        let body = match variant % ORDER_VARIANTS {
            0 => OrderBody::Welcome { number: self.next() },
            1 => OrderBody::Refused { error: self.error() },
            2 => OrderBody::Fenced,
            3 => OrderBody::BeatTaken { number: self.next() },
            4 => OrderBody::Run(Box::new(Order {
                key: self.key(),
                splits: 1..self.small() + 1,
                groups: self.list(|maker| GroupId(maker.small() as u16)),
                inputs: self.list(|maker| OrderInput { edge: EdgeId(2), attempts: maker.list(Maker::source) }),
                parameters: self.list(|maker| (ParameterNumber(maker.small()), maker.blob())),
                plan_hash: self.next(),
                plan_bytes: self.next(),
                nodes: self.small(),
            })),
            5 => OrderBody::Cancel { keys: self.list(Maker::key) },
            6 => OrderBody::EndTaken { key: self.key(), keep: self.flag() },
            7 => OrderBody::Forget { jobs: self.list(Maker::job) },
            8 => OrderBody::PlanPart {
                job: self.job(),
                action: self.action(),
                part: 0,
                parts: 3,
                before: Some(self.shipped()),
                bytes: self.blob(),
            },
            9 => OrderBody::StartDriver(Box::new(DriverStart {
                driver: self.driver(),
                kind: self.kind(),
                spec: self.blob(),
                options: self.options(),
                nodes: self.small(),
                shipped: self.list(Maker::shipped),
            })),
            10 => OrderBody::StopDriver(self.driver()),
            11 => OrderBody::WantDriverPlan { driver: self.driver(), action: self.action(), part: self.small() },
            12 => OrderBody::PlanTaken { driver: self.driver(), action: self.action() },
            13 => OrderBody::Outcome {
                driver: self.driver(),
                action: self.action(),
                revision: self.next(),
                page: 1,
                pages: 2,
                outcome: self.outcome(),
            },
            14 => OrderBody::DriverEndTaken(self.driver()),
            _ => OrderBody::Released,
        };
        ToWorker { epoch: Epoch(self.small()), incarnation: Incarnation(self.next()), body }
    }

    fn message_from_client(&mut self, variant: u64) -> FromClient {
        let body = match variant % REQUEST_VARIANTS {
            0 => Request::Submit(Box::new(Submission {
                job: self.job(),
                kind: self.kind(),
                spec: self.blob(),
                label: self.text(),
                submitted_unix_ms: self.next(),
                options: self.options(),
            })),
            1 => Request::Watch { job: self.job() },
            2 => Request::Taken { job: self.job() },
            3 => Request::Lost { job: self.job(), lost: self.list(Maker::lost) },
            4 => Request::Cancel { job: self.job() },
            5 => Request::Jobs,
            6 => Request::Job { job: self.job() },
            7 => Request::Cluster,
            8 => Request::Profile { job: self.job() },
            _ => Request::Binary(match self.flag() {
                true => BinaryAsk::Held(self.binary()),
                false => BinaryAsk::Piece { binary: self.binary(), at: self.next(), bytes: self.blob() },
            }),
        };
        FromClient { request: self.next(), body }
    }

    fn message_to_client(&mut self, variant: u64) -> ToClient {
        let body = match variant % ANSWER_VARIANTS {
            0 => Answer::Submitted { job: self.job() },
            1 => Answer::Update(Box::new(JobUpdate {
                job: self.job(),
                revision: self.next(),
                state: self.summary().state,
                progress: self.list(Maker::progress),
                workers: self.small(),
                value: self.option(Maker::blob),
                result: self.option(|maker| maker.list(Maker::source)),
                cost: self.option(Maker::cost),
            })),
            2 => Answer::TakenDone { job: self.job() },
            3 => Answer::CancelDone { job: self.job() },
            4 => Answer::Jobs(self.list(Maker::summary)),
            5 => Answer::Job(Box::new(JobView {
                summary: self.summary(),
                driver: self.option(Maker::name),
                driver_runs: self.small(),
                stages: self.list(|maker| StageView {
                    progress: maker.progress(),
                    kind: StageKind::Single,
                    retried: 3,
                }),
                attempts: self.list(|maker| AttemptView {
                    stage: StageId(maker.small()),
                    task: TaskId(maker.small()),
                    attempt: AttemptId(maker.small()),
                    worker: maker.name(),
                    state: AttemptState::Lost,
                    cause: maker.option(Maker::error),
                    progress: AttemptProgress::default(),
                }),
                is_cut: self.flag(),
            })),
            6 => Answer::Cluster(ClusterView {
                epoch: Epoch(self.small()),
                pid: self.small(),
                workers: self.list(|maker| WorkerView {
                    name: maker.name(),
                    incarnation: Incarnation(maker.next()),
                    state: WorkerState::Leaving,
                    address: maker.text(),
                    build: maker.text(),
                    pid: maker.small(),
                    threads: maker.small(),
                    memory_bytes: maker.next(),
                    running: maker.small(),
                    held: maker.small(),
                    silent: maker.next(),
                }),
                running: 1,
                queued: 2,
                fenced: self.next(),
            }),
            7 => Answer::Failed(self.error()),
            8 => Answer::BinaryHeld { bytes: self.next() },
            _ => Answer::Profile(Box::new(JobProfile {
                job: self.job(),
                stages: self.list(Maker::stage_profile),
                workers: self.list(Maker::worker_profile),
                is_cut: self.flag(),
            })),
        };
        ToClient { epoch: Epoch(self.small()), request: self.next(), body }
    }
}

const WORKER_VARIANTS: u64 = 10;
const ORDER_VARIANTS: u64 = 16;
const REQUEST_VARIANTS: u64 = 10;
const ANSWER_VARIANTS: u64 = 10;

fn check_trip<M: Message + PartialEq + fmt::Debug>(message: &M, place: usize, byte: u8) -> Result<(), TestCaseError> {
    let bytes = message.to_bytes().unwrap();
    prop_assert_eq!(&M::from_bytes(&bytes).unwrap(), message);
    // Cut anywhere, or followed by anything: refused.
    prop_assert!(M::from_bytes(&bytes[..place % bytes.len()]).is_err());
    let mut longer = bytes.clone();
    longer.push(byte);
    prop_assert!(M::from_bytes(&longer).is_err());
    // Changed anywhere: refused or another message; never a panic.
    let mut changed = bytes;
    let place = place % changed.len();
    changed[place] ^= byte;
    if let Ok(other) = M::from_bytes(&changed) {
        prop_assert!(other.to_bytes().is_ok());
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn every_message_is_read_as_it_was_written(seed: u64, place: usize, byte: u8) {
        for variant in 0..16 {
            check_trip(&Maker(seed).message_from_worker(variant), place, byte)?;
            check_trip(&Maker(seed).message_to_worker(variant), place, byte)?;
            check_trip(&Maker(seed).message_from_client(variant), place, byte)?;
            check_trip(&Maker(seed).message_to_client(variant), place, byte)?;
        }
    }

    #[test]
    fn noise_is_refused_or_read_without_harm(noise: Vec<u8>) {
        let _ = FromWorker::from_bytes(&noise);
        let _ = ToWorker::from_bytes(&noise);
        let _ = FromClient::from_bytes(&noise);
        let _ = ToClient::from_bytes(&noise);
    }
}

/// Every variant has its place in the maker: the last one is read, one behind it is not.
#[test]
fn every_variant_is_made() {
    fn variants<M: Message>(make: impl Fn(u64) -> M, head_bytes: usize, count: u64) {
        let mut numbers: Vec<u8> = (0..count).map(|variant| make(variant).to_bytes().unwrap()[head_bytes]).collect();
        numbers.sort();
        assert_eq!(numbers, (0..count as u8).collect::<Vec<u8>>());
        let mut beyond = make(0).to_bytes().unwrap();
        beyond[head_bytes] = count as u8;
        assert!(M::from_bytes(&beyond).is_err());
    }
    // Of stamps that are one byte long.
    variants(
        |v| FromWorker { incarnation: Incarnation(1), epoch: Epoch(1), number: 1, ..Maker(3).message_from_worker(v) },
        3,
        WORKER_VARIANTS,
    );
    variants(
        |v| ToWorker { epoch: Epoch(1), incarnation: Incarnation(1), ..Maker(3).message_to_worker(v) },
        2,
        ORDER_VARIANTS,
    );
    variants(|v| FromClient { request: 1, ..Maker(3).message_from_client(v) }, 1, REQUEST_VARIANTS);
    variants(|v| ToClient { epoch: Epoch(1), request: 1, ..Maker(3).message_to_client(v) }, 2, ANSWER_VARIANTS);
}

#[test]
fn the_bounds_hold_on_both_sides() {
    let long = WorkerName("w".repeat(NAME_BYTES_MAX + 1));
    assert_eq!(long.check().unwrap_err().kind(), Kind::Limit);
    for name in ["", "a b", "../x", "é"] {
        assert!(matches!(WorkerName::new(name), Err(ProtocolError::Name { .. })), "{name}");
    }
    let mut submission = match Maker(1).message_from_client(0).body {
        Request::Submit(submission) => *submission,
        _ => unreachable!(),
    };
    submission.spec = vec![0; SPEC_BYTES_MAX + 1].into();
    let message = FromClient { request: 1, body: Request::Submit(Box::new(submission)) };
    assert_eq!(message.to_bytes().unwrap_err().kind(), Kind::Limit);
    let bytes = postcard::to_allocvec(&message).unwrap();
    assert_eq!(FromClient::from_bytes(&bytes).unwrap_err().kind(), Kind::Limit);
    assert_eq!(FromClient::from_bytes(&vec![0; MESSAGE_BYTES_MAX + 1]).unwrap_err().kind(), Kind::Limit);
}

#[test]
fn costs_are_bounded_on_both_sides() {
    let steps = |count| StageCounters {
        threads: 1,
        pipelines: vec![PipelineCounters {
            steps: vec![StepCounters::default(); count],
            ..PipelineCounters::default()
        }],
    };
    let ended = |report| {
        let body = WorkerBody::Ended { key: Maker(1).key(), end: AttemptEnd::Finished(Box::new(report)) };
        FromWorker { incarnation: Incarnation(1), epoch: Epoch(1), number: 1, body }
    };
    let profiled = |count| ended(AttemptReport { profile: Some(Box::new(steps(count))), ..AttemptReport::default() });
    let pulled = |count| {
        let from = |number| PulledFrom { worker: WorkerName::new(format!("w{number}")).unwrap(), bytes: 1 };
        ended(AttemptReport { pulled: (0..count).map(from).collect(), ..AttemptReport::default() })
    };
    let told = |count| {
        let stage = StageProfile { counters: Some(steps(count)), ..Maker(1).stage_profile() };
        let profile = JobProfile { stages: vec![stage], ..JobProfile::default() };
        ToClient { epoch: Epoch(1), request: 1, body: Answer::Profile(Box::new(profile)) }
    };
    check_bound(profiled(PROFILE_NUMBERS_MAX - 1), profiled(PROFILE_NUMBERS_MAX));
    check_bound(pulled(WORKERS_MAX), pulled(WORKERS_MAX + 1));
    check_bound(told(JOB_PROFILE_NUMBERS_MAX - 1), told(JOB_PROFILE_NUMBERS_MAX));
    let mut named = pulled(1);
    if let WorkerBody::Ended { end: AttemptEnd::Finished(report), .. } = &mut named.body {
        report.pulled[0].worker = WorkerName("../x".to_owned());
    }
    assert!(FromWorker::from_bytes(&postcard::to_allocvec(&named).unwrap()).is_err());
}

/// The first is written and read; the second neither.
fn check_bound<M: Message + PartialEq + fmt::Debug>(fits: M, exceeds: M) {
    assert_eq!(M::from_bytes(&fits.to_bytes().unwrap()).unwrap(), fits);
    assert_eq!(exceeds.to_bytes().unwrap_err().kind(), Kind::Limit);
    let bytes = postcard::to_allocvec(&exceeds).unwrap();
    assert_eq!(M::from_bytes(&bytes).unwrap_err().kind(), Kind::Limit);
}

#[test]
fn a_long_error_is_cut_and_travels() {
    let mut error =
        RemoteError::new(Kind::Io, "é".repeat(SENTENCE_BYTES_MAX)).at("w".repeat(1000)).hinted("h".repeat(9999));
    for _ in 0..2 * CAUSES_MAX {
        error = error.because("x".repeat(5000));
    }
    let message = ToClient { epoch: Epoch(1), request: 1, body: Answer::Failed(error.clone()) };
    assert_eq!(ToClient::from_bytes(&message.to_bytes().unwrap()).unwrap(), message);
    assert_eq!(error.kind(), Kind::Io);
    assert_eq!(error.into_error().kind(), Kind::Io);
}

#[test]
fn an_error_keeps_its_kind_and_its_chain() {
    let error = crate::error::bug("test", "two and two are five");
    let remote = RemoteError::from_error(&error, "worker w1").because("arithmetic").because("a flipped bit");
    let back = remote.clone().into_error();
    assert_eq!(back.kind(), Kind::Internal);
    assert_eq!(back.hint(), error.hint());
    assert_eq!(back.to_string(), "internal error in test: two and two are five (on worker w1)");
    let mut chain = Vec::new();
    let mut source = std::error::Error::source(&back);
    while let Some(next) = source {
        chain.push(next.to_string());
        source = next.source();
    }
    assert_eq!(chain, ["arithmetic", "a flipped bit"]);
    // A second hop keeps it all.
    let again = RemoteError::from_error(&back, "");
    assert_eq!((again.kind(), again.because), (Kind::Internal, remote.because));
}

#[test]
fn every_kind_has_its_number_and_its_verdict() {
    for (kind, retry) in [
        (Kind::Request, Retry::Never),
        (Kind::Job, Retry::Never),
        (Kind::Unsupported, Retry::Never),
        (Kind::Io, Retry::Elsewhere),
        (Kind::Corrupt, Retry::Once),
        (Kind::Limit, Retry::Never),
        (Kind::Cancelled, Retry::Elsewhere),
        (Kind::Unreachable, Retry::Elsewhere),
        (Kind::Denied, Retry::Never),
        (Kind::Internal, Retry::Once),
    ] {
        let error = RemoteError::new(kind, "x");
        assert_eq!((error.kind(), error.retry()), (kind, retry));
    }
}

#[test]
fn a_skeleton_that_cannot_run_is_refused() {
    let good = Maker(1).skeleton();
    assert!(good.check().is_ok());
    type Break = fn(&mut Skeleton);
    let broken: Vec<(&str, Break)> = vec![
        ("an edge that is not there", |s| s.stages[1].inputs = vec![EdgeId(7)]),
        ("an edge pulled twice", |s| s.stages[1].inputs = vec![EdgeId(0), EdgeId(0)]),
        ("an output elsewhere", |s| s.stages[0].output = Some(EdgeId(1))),
        ("a group count that is no power of two", |s| s.edges[0].kind = EdgeKind::Groups { count: 17 }),
        ("too many groups", |s| s.edges[0].kind = EdgeKind::Groups { count: 512 }),
        ("an edge that leads back", |s| s.edges[0].to = EdgeEnd::Stage(0)),
        ("an edge to nowhere", |s| s.edges[0].to = EdgeEnd::Stage(9)),
        ("an edge from nowhere", |s| s.edges[0].from = vec![9]),
        ("a need that nobody gives", |s| s.stages[1].needs = vec![ParameterNumber(1)]),
        ("a parameter of several tasks", |s| s.stages[1].gives = Some(ParameterNumber(1))),
        ("groups cut by splits", |s| s.stages[1].kind = StageKind::BySplits),
        ("splits cut by groups", |s| s.stages[0].kind = StageKind::ByGroups),
        ("a gather of several tasks", |s| s.edges[0].kind = EdgeKind::Gather),
        ("a result by groups", |s| s.edges[1].kind = EdgeKind::Groups { count: 16 }),
        ("rows and files", |s| s.stages[1].writes = true),
        ("nothing", |s| *s = Skeleton::default()),
        ("two results", |s| s.edges[0].to = EdgeEnd::Result),
    ];
    for (what, breaks) in broken {
        let mut skeleton = good.clone();
        breaks(&mut skeleton);
        assert!(skeleton.check().is_err(), "{what} passed");
    }
}

#[test]
fn parts_make_the_plan_again() {
    for bytes in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5] {
        let plan: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
        let count = part_count(bytes as u64);
        let parts: Vec<u8> = (0..count).flat_map(|part| part_of(&plan, part).unwrap().to_vec()).collect();
        assert_eq!(parts, plan);
        assert!(part_of(&plan, count).is_none_or(|part| part.is_empty() && count == 0));
    }
}
