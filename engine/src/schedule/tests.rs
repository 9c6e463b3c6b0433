//! The scheduler, over operators that block, fail, panic and count.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::{JobGraph, Runnable, Threads, run};
use crate::{
    batch::{
        Batch, Morsel,
        array::{Array, Int64Array},
        datatypes::{DataType, Field, Schema},
    },
    error::{Kind, Result, bug},
    memory::Governor,
    operator::{Cancel, JobContext, Outcome, Sink, SinkThread, Source, SourceThread, Task, Wake},
    settings::Settings,
    shuffle::Runs,
};

fn context(threads: usize) -> JobContext {
    let settings = Settings { threads, memory_bytes: 1 << 30, rows_per_morsel: 1_024, ..Settings::default() };
    JobContext {
        runs: Runs::of(&settings),
        settings: Arc::new(settings),
        governor: Governor::new(1 << 30),
        cancel: Cancel::default(),
        counters: Arc::default(),
        holding: None,
    }
}

/// Gives the numbers `0..count`, one a morsel; before each of them it blocks once, and a thread of its own wakes it.
struct Numbers {
    count: usize,
    next: Arc<AtomicUsize>,
    blocks: bool,
    fails_at: Option<usize>,
    panics_at: Option<usize>,
}

impl Numbers {
    fn upto(count: usize) -> Numbers {
        Numbers { count, next: Arc::default(), blocks: false, fails_at: None, panics_at: None }
    }
}

struct NumbersThread {
    count: usize,
    next: Arc<AtomicUsize>,
    blocks: bool,
    has_blocked: bool,
    fails_at: Option<usize>,
    panics_at: Option<usize>,
}

impl Source for Numbers {
    fn thread(&self) -> Result<Box<dyn SourceThread>> {
        let (count, next, blocks) = (self.count, Arc::clone(&self.next), self.blocks);
        let (fails_at, panics_at) = (self.fails_at, self.panics_at);
        Ok(Box::new(NumbersThread { count, next, blocks, has_blocked: false, fails_at, panics_at }))
    }
}

impl SourceThread for NumbersThread {
    fn pull(&mut self) -> Result<(Option<Morsel>, Outcome)> {
        if self.blocks && !self.has_blocked {
            self.has_blocked = true;
            let wake = Wake::default();
            let rung = wake.clone();
            std::thread::spawn(move || rung.fire());
            return Ok((None, Outcome::Blocked(wake)));
        }
        self.has_blocked = false;
        let number = self.next.fetch_add(1, SeqCst);
        if number >= self.count {
            return Ok((None, Outcome::Enough));
        }
        if self.fails_at == Some(number) {
            return Err(bug("test", "asked to fail"));
        }
        assert!(self.panics_at != Some(number), "asked to panic");
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = Batch::try_new(schema, vec![Arc::new(Int64Array::from(vec![number as i64]))])?;
        Ok((Some(batch.into()), Outcome::More))
    }
}

/// Adds the numbers up; its tasks count themselves.
#[derive(Default)]
struct Total {
    sum: Arc<Mutex<i64>>,
    enough_at: Option<i64>,
    tasks: usize,
    tasks_run: Arc<AtomicUsize>,
    finalized: AtomicUsize,
}

struct TotalThread {
    own: i64,
    sum: Arc<Mutex<i64>>,
    enough_at: Option<i64>,
}

impl Sink for Total {
    fn thread(&self) -> Result<Box<dyn SinkThread>> {
        Ok(Box::new(TotalThread { own: 0, sum: Arc::clone(&self.sum), enough_at: self.enough_at }))
    }
    fn finalize(&self) -> Result<Vec<Task>> {
        assert_eq!(self.finalized.fetch_add(1, SeqCst), 0, "finalized twice");
        let task = |_| {
            let tasks_run = Arc::clone(&self.tasks_run);
            Box::new(move || {
                tasks_run.fetch_add(1, SeqCst);
                Ok(())
            }) as Task
        };
        Ok((0..self.tasks).map(task).collect())
    }
}

impl SinkThread for TotalThread {
    fn push(&mut self, morsel: Morsel) -> Result<Outcome> {
        let column = morsel.batch.column(0);
        let number = column.as_any().downcast_ref::<Int64Array>().unwrap().value(0);
        self.own += number;
        Ok(if self.enough_at.is_some_and(|at| number >= at) { Outcome::Enough } else { Outcome::More })
    }
    fn finish(self: Box<Self>) -> Result<()> {
        *self.sum.lock().unwrap() += self.own;
        Ok(())
    }
}

fn pipeline(source: Numbers, sink: usize, waits_for: &[usize]) -> Runnable {
    Runnable { source: Arc::new(source), transforms: Vec::new(), sink, waits_for: waits_for.to_vec() }
}

#[test]
fn every_morsel_arrives_once_whether_or_not_sources_block() {
    for threads in [1, 2, 3, 8] {
        for blocks in [false, true] {
            let node = Threads::start(threads).unwrap();
            let total = Arc::new(Total { tasks: 5, ..Total::default() });
            let source = Numbers { blocks, ..Numbers::upto(500) };
            let graph = JobGraph {
                pipelines: vec![pipeline(source, 0, &[])],
                sinks: vec![Arc::clone(&total) as Arc<dyn Sink>],
                profile: None,
            };
            run(&node, &context(threads), graph).unwrap();
            assert_eq!(*total.sum.lock().unwrap(), 500 * 499 / 2);
            assert_eq!(total.tasks_run.load(SeqCst), 5);
            assert_eq!(total.finalized.load(SeqCst), 1);
        }
    }
}

#[test]
fn a_pipeline_starts_when_those_it_waits_for_are_sealed() {
    struct AfterFirst(Arc<Total>);
    impl Source for AfterFirst {
        fn thread(&self) -> Result<Box<dyn SourceThread>> {
            assert_eq!(self.0.tasks_run.load(SeqCst), 3, "started before the tasks of the first sink had ended");
            Numbers::upto(0).thread()
        }
    }
    let node = Threads::start(3).unwrap();
    let first = Arc::new(Total { tasks: 3, ..Total::default() });
    let second = Arc::new(Total::default());
    let after = Runnable {
        source: Arc::new(AfterFirst(Arc::clone(&first))),
        transforms: Vec::new(),
        sink: 1,
        waits_for: vec![1],
    };
    let graph = JobGraph {
        pipelines: vec![after, pipeline(Numbers { blocks: true, ..Numbers::upto(50) }, 0, &[])],
        sinks: vec![Arc::clone(&first) as Arc<dyn Sink>, Arc::clone(&second) as Arc<dyn Sink>],
        profile: None,
    };
    run(&node, &context(3), graph).unwrap();
    assert_eq!(second.finalized.load(SeqCst), 1);
}

#[test]
fn feeders_of_one_sink_may_wait_for_each_other() {
    let node = Threads::start(2).unwrap();
    let total = Arc::new(Total::default());
    let pipelines = vec![pipeline(Numbers::upto(10), 0, &[]), pipeline(Numbers::upto(10), 0, &[0])];
    run(&node, &context(2), JobGraph { pipelines, sinks: vec![Arc::clone(&total) as Arc<dyn Sink>], profile: None })
        .unwrap();
    assert_eq!(*total.sum.lock().unwrap(), 90);
    assert_eq!(total.finalized.load(SeqCst), 1);
}

#[test]
fn a_failure_a_panic_and_a_cancel_end_the_job_and_not_the_node() {
    let node = Threads::start(2).unwrap();
    let attempt = |source: Numbers, context: &JobContext| {
        let total = Arc::new(Total::default());
        run(
            &node,
            context,
            JobGraph { pipelines: vec![pipeline(source, 0, &[])], sinks: vec![total as Arc<dyn Sink>], profile: None },
        )
    };
    let failed = attempt(Numbers { fails_at: Some(20), blocks: true, ..Numbers::upto(100) }, &context(2)).unwrap_err();
    assert_eq!(failed.kind(), Kind::Internal);
    assert!(failed.to_string().contains("asked to fail"));
    let panicked = attempt(Numbers { panics_at: Some(20), ..Numbers::upto(100) }, &context(2)).unwrap_err();
    assert!(panicked.to_string().contains("asked to panic"), "{panicked}");
    let cancelled = context(2);
    cancelled.cancel.cancel();
    assert!(attempt(Numbers::upto(100), &cancelled).unwrap_err().is_cancelled());
    attempt(Numbers::upto(100), &context(2)).unwrap();
}

#[test]
fn enough_stops_the_thread_that_hears_it() {
    let node = Threads::start(1).unwrap();
    let total = Arc::new(Total { enough_at: Some(9), ..Total::default() });
    let graph = JobGraph {
        pipelines: vec![pipeline(Numbers::upto(usize::MAX), 0, &[])],
        sinks: vec![Arc::clone(&total) as Arc<dyn Sink>],
        profile: None,
    };
    run(&node, &context(1), graph).unwrap();
    assert_eq!(*total.sum.lock().unwrap(), 45);
}

#[test]
fn a_job_whose_floors_do_not_fit_is_refused() {
    struct Greedy(Total);
    impl Sink for Greedy {
        fn thread(&self) -> Result<Box<dyn SinkThread>> {
            self.0.thread()
        }
        fn floor_bytes(&self) -> u64 {
            2 << 30
        }
    }
    let node = Threads::start(1).unwrap();
    let sinks: Vec<Arc<dyn Sink>> = vec![Arc::new(Greedy(Total::default()))];
    let refused =
        run(&node, &context(1), JobGraph { pipelines: vec![pipeline(Numbers::upto(1), 0, &[])], sinks, profile: None });
    assert_eq!(refused.unwrap_err().kind(), Kind::Limit);
}
