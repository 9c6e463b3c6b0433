//! The worker's edges: orders that come twice, late, too early, from another life.

use super::*;
use crate::cluster::limits::PART_BYTES;
use crate::cluster::protocol::{ActionOutcome, AttemptReport, JobKind, JobOptions, ShippedAction, stage_id};
use crate::observe::Counted;
use crate::shuffle::{AttemptId, TaskId};

const JOB: JobId = JobId(5);
const ACTION: ActionNumber = ActionNumber(0);

/// A worker that a coordinator of epoch 3 has welcomed.
struct Bench {
    worker: Worker,
    now: u64,
}

fn options() -> Options {
    Options {
        name: WorkerName::new("w1").unwrap(),
        incarnation: Incarnation(9),
        address: "here".to_owned(),
        build: "test".to_owned(),
        pid: 1,
        threads: 2,
        memory_bytes: 1,
        slots: 2,
        fencing: true,
    }
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench { worker: Worker::new(options(), 0), now: 0 };
        bench.hear(Event::LinkUp { link: Link(1) });
        bench.told(OrderBody::Welcome { number: 1 });
        bench
    }
    fn hear(&mut self, event: Event) -> Vec<Command> {
        self.worker.handle(self.now, event);
        std::iter::from_fn(|| self.worker.poll_command()).collect()
    }
    fn message(&mut self, epoch: u32, incarnation: u64, body: OrderBody) -> Vec<Command> {
        let message = ToWorker { epoch: Epoch(epoch), incarnation: Incarnation(incarnation), body };
        self.hear(Event::Message { link: Link(1), message: Box::new(message) })
    }
    fn told(&mut self, body: OrderBody) -> Vec<Command> {
        self.message(3, 9, body)
    }
    fn after(&mut self, micros: u64) -> Vec<Command> {
        let end = self.now + micros;
        let mut commands = Vec::new();
        while self.now < end {
            self.now = (self.now + TICK).min(end);
            commands.extend(self.hear(Event::Tick));
        }
        commands
    }
    fn with_plan(&mut self) -> &mut Bench {
        self.told(OrderBody::Run(order_of(0, 0)));
        self.told(plan_part(ACTION, None));
        let started = self.hear(Event::PlanStored { job: JOB, action: ACTION });
        assert_eq!(starts(&started), [key(0, 0)]);
        self
    }
    /// What it says it runs, ended, holds.
    fn account(&mut self) -> (Vec<AttemptKey>, Vec<AttemptKey>, Vec<AttemptKey>) {
        self.hear(Event::LinkDown { link: Link(1) });
        let said = said(&self.hear(Event::LinkUp { link: Link(2) }));
        let Some(WorkerBody::Register(registration)) = said.into_iter().next() else { panic!("no registration") };
        let running = registration.beat.running.iter().map(|running| running.key).collect();
        (running, registration.beat.ended, registration.held)
    }
}

fn key(task: u32, attempt: u32) -> AttemptKey {
    AttemptKey { job: JOB, stage: stage_id(ACTION, 0), task: TaskId(task), attempt: AttemptId(attempt) }
}

fn order_of(task: u32, attempt: u32) -> Box<Order> {
    let (key, plan_bytes) = (key(task, attempt), 1);
    Box::new(Order {
        key,
        splits: 0..1,
        groups: vec![],
        inputs: vec![],
        parameters: vec![],
        plan_hash: 0,
        plan_bytes,
        nodes: 1,
    })
}

fn plan_part(action: ActionNumber, before: Option<ActionNumber>) -> OrderBody {
    let before = before.map(|action| ShippedAction { action, plan_hash: 0, plan_bytes: 1 });
    OrderBody::PlanPart { job: JOB, action, part: 0, parts: 1, before, bytes: vec![1].into() }
}

fn finished() -> AttemptEnd {
    AttemptEnd::Finished(Box::<AttemptReport>::default())
}

fn starts(commands: &[Command]) -> Vec<AttemptKey> {
    let starts = commands.iter().filter_map(|command| match command {
        Command::StartAttempt { order } => Some(order.key),
        _ => None,
    });
    starts.collect()
}

fn said(commands: &[Command]) -> Vec<WorkerBody> {
    let said = commands.iter().filter_map(|command| match command {
        Command::Send { message, .. } => Some(message.body.clone()),
        _ => None,
    });
    said.collect()
}

fn says_end(commands: &[Command]) -> bool {
    said(commands).iter().any(|body| matches!(body, WorkerBody::Ended { .. }))
}

#[test]
fn an_order_is_begun_once_and_its_end_said_until_it_is_taken() {
    let mut bench = Bench::new();
    bench.with_plan();
    assert!(starts(&bench.told(OrderBody::Run(order_of(0, 0)))).is_empty());
    assert!(says_end(&bench.hear(Event::Ended { key: key(0, 0), end: finished() })));
    assert!(says_end(&bench.after(2 * RESEND)));
    assert_eq!(bench.account(), (vec![], vec![key(0, 0)], vec![]));
    bench.told(OrderBody::Welcome { number: 2 });
    bench.told(OrderBody::EndTaken { key: key(0, 0), keep: true });
    assert!(!says_end(&bench.after(3 * RESEND)));
    assert_eq!(bench.worker.held(), [key(0, 0)]);
    assert!(starts(&bench.told(OrderBody::Run(order_of(0, 0)))).is_empty());
}

#[test]
fn a_cancel_that_overtakes_its_order_begins_nothing() {
    let mut bench = Bench::new();
    bench.with_plan();
    bench.told(OrderBody::Cancel { keys: vec![key(1, 0)] });
    let commands = bench.told(OrderBody::Run(order_of(1, 0)));
    assert!(starts(&commands).is_empty());
    // Who ordered it learns that nothing will come.
    assert!(says_end(&commands));
    let stopped = bench.told(OrderBody::Cancel { keys: vec![key(0, 0)] });
    assert!(matches!(stopped[..], [Command::CancelAttempt { .. }]));
    // Its end was on the way.
    let commands = bench.hear(Event::Ended { key: key(0, 0), end: finished() });
    assert!(matches!(commands[..], [Command::DropAttempt { .. }]));
}

#[test]
fn a_forgotten_job_stays_forgotten() {
    let mut bench = Bench::new();
    bench.with_plan();
    let commands = bench.told(OrderBody::Forget { jobs: vec![JOB] });
    assert!(commands.iter().any(|command| matches!(command, Command::CancelAttempt { .. })));
    assert!(commands.iter().any(|command| matches!(command, Command::DropJob { job: JOB })));
    assert!(bench.told(OrderBody::Run(order_of(2, 0))).is_empty());
    assert!(bench.told(OrderBody::Forget { jobs: vec![JOB] }).is_empty());
    assert_eq!(bench.account(), (vec![], vec![], vec![]));
}

#[test]
fn other_lives_are_not_heard() {
    let mut bench = Bench::new();
    bench.with_plan();
    // An older coordinator; a newer one that has not welcomed us; what was meant for an earlier life of ours.
    for (epoch, incarnation) in [(2, 9), (4, 9), (3, 8)] {
        assert!(bench.message(epoch, incarnation, OrderBody::Run(order_of(7, 0))).is_empty());
        assert!(bench.message(epoch, incarnation, OrderBody::Forget { jobs: vec![JOB] }).is_empty());
    }
    assert_eq!(bench.worker.fenced(), 6);
    bench.message(4, 9, OrderBody::Welcome { number: 1 });
    assert_eq!(starts(&bench.message(4, 9, OrderBody::Run(order_of(7, 0)))), [key(7, 0)]);
    assert!(bench.told(OrderBody::Run(order_of(8, 0))).is_empty());
    let commands = bench.message(4, 9, OrderBody::Fenced);
    assert!(matches!(commands[..], [Command::BeginAgain]));
}

#[test]
fn a_silent_coordinator_is_registered_with_again() {
    let mut bench = Bench::new();
    let quiet = said(&bench.after(SILENCE - TICK));
    assert!(quiet.iter().all(|body| matches!(body, WorkerBody::Beat(_))) && quiet.len() >= 4, "{quiet:?}");
    assert!(said(&bench.after(2 * RESEND)).iter().any(|body| matches!(body, WorkerBody::Register(_))));
    assert_eq!(bench.worker.coordinator(), None);
    bench.told(OrderBody::Welcome { number: 3 });
    assert_eq!(bench.worker.coordinator(), Some(Epoch(3)));
}

#[test]
fn parts_of_a_plan_are_asked_for_one_after_the_other() {
    let mut bench = Bench::new();
    let mut order = order_of(0, 0);
    order.plan_bytes = 2 * PART_BYTES as u64 + 1;
    let wants = |commands: &[Command]| -> Vec<u32> {
        let wants = said(commands).into_iter().filter_map(|body| match body {
            WorkerBody::WantPlan { part, .. } => Some(part),
            _ => None,
        });
        wants.collect()
    };
    assert_eq!(wants(&bench.told(OrderBody::Run(order))), [0]);
    let part =
        |part| OrderBody::PlanPart { job: JOB, action: ACTION, part, parts: 3, before: None, bytes: vec![].into() };
    assert!(bench.told(part(2)).is_empty());
    assert_eq!(wants(&bench.told(part(0))), [1]);
    assert!(bench.told(part(0)).is_empty());
    assert_eq!(wants(&bench.after(RESEND + TICK)), [1]);
    assert_eq!(wants(&bench.told(part(1))), [2]);
    let stored = bench.told(part(2));
    assert!(matches!(stored[..], [Command::StorePlan { part: 2, parts: 3, .. }]));
    let error = RemoteError::new(crate::error::Kind::Io, "the disk is full");
    assert!(says_end(&bench.hear(Event::PlanFailed { job: JOB, action: ACTION, error })));
    // The next order asks anew.
    let mut again = order_of(0, 1);
    again.plan_bytes = 1;
    assert_eq!(wants(&bench.told(OrderBody::Run(again))), [0]);
}

#[test]
fn an_attempt_waits_for_the_plans_that_its_plan_follows() {
    let mut bench = Bench::new();
    let actions = [0, 2, 3].map(ActionNumber);
    let wants = |commands: &[Command]| -> Vec<ActionNumber> {
        let wants = said(commands).into_iter().filter_map(|body| match body {
            WorkerBody::WantPlan { action, .. } => Some(action),
            _ => None,
        });
        wants.collect()
    };
    let mut order = order_of(0, 0);
    order.key.stage = stage_id(actions[2], 0);
    let key = order.key;
    assert_eq!(wants(&bench.told(OrderBody::Run(order))), [actions[2]]);
    assert_eq!(wants(&bench.told(plan_part(actions[2], Some(actions[1])))), [actions[1]]);
    assert_eq!(starts(&bench.hear(Event::PlanStored { job: JOB, action: actions[2] })), []);
    assert_eq!(wants(&bench.told(plan_part(actions[1], Some(actions[0])))), [actions[0]]);
    assert_eq!(wants(&bench.told(plan_part(actions[0], None))), []);
    // The last to be stored is neither the first nor the last of them.
    assert_eq!(starts(&bench.hear(Event::PlanStored { job: JOB, action: actions[0] })), []);
    assert_eq!(starts(&bench.hear(Event::PlanStored { job: JOB, action: actions[1] })), [key]);
    // What follows them asks for nothing else.
    let mut next = order_of(0, 0);
    next.key.stage = stage_id(ActionNumber(4), 0);
    let key = next.key;
    assert_eq!(wants(&bench.told(OrderBody::Run(next))), [ActionNumber(4)]);
    assert_eq!(wants(&bench.told(plan_part(ActionNumber(4), Some(actions[2])))), []);
    assert_eq!(starts(&bench.hear(Event::PlanStored { job: JOB, action: ActionNumber(4) })), [key]);
}

#[test]
fn a_plan_that_cannot_be_stored_fails_those_that_wait_for_what_follows_it() {
    let mut bench = Bench::new();
    let [first, second] = [0, 1].map(ActionNumber);
    let order = |attempt| {
        let mut order = order_of(0, attempt);
        order.key.stage = stage_id(second, 0);
        order
    };
    bench.told(OrderBody::Run(order(0)));
    bench.told(plan_part(second, Some(first)));
    bench.hear(Event::PlanStored { job: JOB, action: second });
    let error = RemoteError::new(crate::error::Kind::Io, "the disk is full");
    assert!(says_end(&bench.hear(Event::PlanFailed { job: JOB, action: first, error })));
    // Both come again.
    bench.told(OrderBody::Run(order(1)));
    let stored = bench.told(plan_part(second, Some(first)));
    assert!(stored.iter().any(|command| matches!(command, Command::StorePlan { part: 0, .. })));
    bench.told(plan_part(first, None));
    assert_eq!(starts(&bench.hear(Event::PlanStored { job: JOB, action: first })), []);
    assert_eq!(starts(&bench.hear(Event::PlanStored { job: JOB, action: second })), [order(1).key]);
}

#[test]
fn a_driver_runs_once_ships_until_taken_and_hears_whole_outcomes() {
    let mut bench = Bench::new();
    let driver = DriverRun { job: JOB, run: 1 };
    let start = |run| {
        OrderBody::StartDriver(Box::new(DriverStart {
            driver: DriverRun { job: JOB, run },
            kind: JobKind::Sql,
            spec: vec![].into(),
            options: JobOptions::default(),
            nodes: 1,
            shipped: vec![],
        }))
    };
    assert_eq!(bench.told(start(1)).len(), 1);
    assert!(bench.told(start(1)).is_empty() && bench.told(start(0)).is_empty());

    let plan: Blob = vec![7; PART_BYTES + 1].into();
    let ships = |commands: &[Command]| said(commands).iter().any(|body| matches!(body, WorkerBody::DriverPlan(_)));
    let event = Event::DriverShipped { driver, action: ACTION, skeleton: Skeleton::default(), plan };
    assert!(ships(&bench.hear(event)));
    let commands = bench.told(OrderBody::WantDriverPlan { driver, action: ACTION, part: 1 });
    assert!(matches!(&said(&commands)[..], [WorkerBody::DriverPlanPart { part: 1, bytes, .. }] if bytes.len() == 1));
    assert!(ships(&bench.after(2 * RESEND)));
    bench.told(OrderBody::PlanTaken { driver, action: ACTION });
    bench.told(OrderBody::Welcome { number: 1 });
    assert!(!ships(&bench.after(2 * RESEND)));

    let page = |revision, page| {
        let outcome = ActionOutcome::Written(vec![], Counted::default());
        OrderBody::Outcome { driver, action: ACTION, revision, page, pages: 2, outcome }
    };
    let delivers = |commands: &[Command]| commands.iter().any(|c| matches!(c, Command::DeliverOutcome { .. }));
    assert!(bench.told(page(1, 1)).is_empty());
    assert!(!delivers(&bench.told(page(1, 0))));
    assert!(delivers(&bench.told(page(1, 1))));
    // Said again because the ack was lost: acked, not delivered.
    let again = bench.told(page(1, 1));
    assert!(!delivers(&again) && said(&again).len() == 1);
    assert!(bench.told(page(0, 0)).is_empty());
    bench.told(page(2, 0));
    assert!(delivers(&bench.told(page(2, 1))));

    let end = DriverEnd::Done { value: vec![].into(), result: None };
    let ends = |commands: &[Command]| said(commands).iter().any(|body| matches!(body, WorkerBody::DriverEnded { .. }));
    assert!(ends(&bench.hear(Event::DriverEnded { driver, end })));
    assert!(ends(&bench.after(2 * RESEND)));
    bench.told(OrderBody::DriverEndTaken(driver));
    assert!(!ends(&bench.after(2 * RESEND)));
    // Who asks for it again learns that it was stopped; the next run begins.
    assert!(ends(&bench.told(start(1))));
    assert_eq!(bench.told(start(2)).len(), 1);
}

#[test]
fn who_leaves_when_free_waits_to_be_released() {
    let mut bench = Bench::new();
    let exits = |commands: &[Command]| commands.iter().any(|command| matches!(command, Command::Exit { .. }));
    assert!(!exits(&bench.told(OrderBody::Released)));
    let commands = bench.hear(Event::Leave { when_free: true });
    assert!(!exits(&commands) && said(&commands).len() == 1);
    assert!(exits(&bench.told(OrderBody::Released)));
    assert!(exits(&Bench::new().hear(Event::Leave { when_free: false })));
}
