//! Pulling from nodes that lose, double, swap or damage frames: each is told with the edge that it broke, as an input
//! that is lost and must be made again.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    batch::{Batch, array::UInt64Array},
    cluster::drive::node::NodeParts,
    settings::Settings,
    shuffle::{
        AttemptId, Codec, Epoch, FrameHeader, JobId, LedgerError, Runs, Sequence, Spool, SpoolOptions, StageId, TaskId,
        encode_frame,
    },
    store::Io,
};

/// What another node sends, cut anywhere, whatever it is asked.
struct Scripted(Vec<Vec<u8>>);

impl Fetch for Scripted {
    fn ask(&self, _: &str, _: &PullRequest, _: usize) -> Result<Box<dyn Feed>> {
        let bytes: Vec<u8> = self.0.concat();
        let pieces = bytes.chunks(97).map(Bytes::copy_from_slice).collect();
        Ok(Box::new(Pieces(pieces)))
    }
}

struct Pieces(VecDeque<Bytes>);

impl Feed for Pieces {
    fn try_read(&mut self) -> Fed {
        self.0.pop_front().map_or(Fed::End, Fed::Bytes)
    }
    fn when_ready(&self, action: Box<dyn FnOnce() + Send>) {
        action();
    }
}

const HERE: Incarnation = Incarnation(1);
const THERE: Incarnation = Incarnation(2);

fn node(sends: Vec<Vec<u8>>, folders: Vec<PathBuf>) -> Arc<Node> {
    let io = Io::start().unwrap();
    let options = SpoolOptions { folders, codec: Codec::None, memory_bytes: 0, job_bytes: u64::MAX, epoch: Epoch(1) };
    let settings = Settings { threads: 1, memory_bytes: 64 << 20, ..Settings::default() };
    Node::start(NodeParts {
        name: WorkerName::new("here".to_owned()).unwrap(),
        incarnation: HERE,
        spool: Spool::open(options, &io).unwrap(),
        runs: Runs::of(&settings),
        settings,
        io,
        fetch: Arc::new(Scripted(sends)),
        counters: Arc::default(),
    })
    .unwrap()
}

fn key(task: u32) -> AttemptKey {
    AttemptKey { job: JobId(9), stage: StageId(4), task: TaskId(task), attempt: AttemptId(1) }
}

fn batch(first: u64) -> Batch {
    Batch::try_from_iter([("n", Arc::new(UInt64Array::from(vec![first, first + 1])) as _)]).unwrap()
}

/// Frame `sequence` of group `group` of a task; its rows' hashes are the numbers themselves.
fn frame(task: u32, group: u16, sequence: u64, first: u64) -> Vec<u8> {
    let AttemptKey { job, stage, task, attempt } = key(task);
    let (group, sequence, hash_sum) = (GroupId(group), Sequence(sequence), 2 * first + 1);
    let header = FrameHeader { job, stage, task, attempt, group, sequence, hash_sum, ..FrameHeader::default() };
    let mut bytes = Vec::new();
    encode_frame(&header, &batch(first), &mut bytes).unwrap();
    bytes
}

/// Two frames each of two groups of two tasks, in this order.
fn frames() -> Vec<Vec<u8>> {
    let number = |index: u64| ((index / 4) as u32, (index / 2 % 2) as u16, index % 2);
    (0..8).map(number).map(|(task, group, sequence)| frame(task, group, sequence, 10 * sequence)).collect()
}

fn source(task: u32, incarnation: Incarnation) -> AttemptSource {
    let bytes = 2 * frame(0, 0, 0, 0).len() as u64;
    let total = crate::shuffle::GroupTotal { rows: 4, bytes, frames: 2, hash_sum: 1 + 21 };
    AttemptSource {
        key: key(task),
        worker: WorkerName::new("there".to_owned()).unwrap(),
        incarnation,
        address: "127.0.0.1:1".to_owned(),
        groups: vec![(GroupId(0), total), (GroupId(1), total)],
    }
}

/// Pulls until the end; how many frames came.
fn pull_all(inlet: &PullInlet) -> Result<usize> {
    for count in 0.. {
        match inlet.pull()? {
            Arrival::Frame(_) => {}
            Arrival::Nothing(_) => panic!("a script never waits"),
            Arrival::End => return Ok(count),
        }
    }
    Ok(0)
}

fn pulled(sends: Vec<Vec<u8>>) -> Result<usize> {
    let sources = vec![source(0, THERE), source(1, THERE)];
    pull_all(&PullInlet::new(&node(sends, Vec::new()), sources))
}

#[test]
fn all_frames_come_in_any_order() {
    let mut sends = frames();
    assert_eq!(pulled(sends.clone()).unwrap(), 8);
    sends.reverse();
    assert_eq!(pulled(sends).unwrap(), 8);
}

#[test]
fn what_is_read_ahead_is_reserved_and_less_where_memory_is_short() {
    let node = node(frames(), Vec::new());
    let inlet = || PullInlet::new(&node, vec![source(0, THERE), source(1, THERE)]);
    let used = || node.governor.used_bytes();
    let (first, second) = (inlet(), inlet());
    assert_eq!(used(), 0, "nothing was asked yet");
    assert!(matches!(first.pull().unwrap(), Arrival::Frame(_)));
    assert_eq!(used(), WINDOW_BYTES as u64);
    assert_eq!(pull_all(&first).unwrap(), 7);
    assert_eq!(used(), 0, "the stream has ended");

    let mut others = node.governor.reservation("others");
    others.grow(node.governor.free_bytes() - node.governor.headroom_bytes()).unwrap();
    assert!(matches!(second.pull().unwrap(), Arrival::Frame(_)));
    assert_eq!(used() - others.bytes(), WINDOW_BYTES_MIN as u64);
    drop(second);
    assert_eq!(used(), others.bytes(), "nobody pulls any more");
    others.grow(node.governor.free_bytes()).unwrap();
    let error = inlet().pull().map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit, "{error:?}");
}

#[test]
fn bytes_that_came_are_counted_by_who_gave_them() {
    let all: u64 = frames().iter().map(|frame| frame.len() as u64).sum();
    let sources = |worker: &str| {
        let worker = WorkerName::new(worker).unwrap();
        [0, 1].map(|task| AttemptSource { worker: worker.clone(), ..source(task, THERE) }).to_vec()
    };
    for (worker, pulled) in [("there", vec![("there", all)]), ("here", vec![])] {
        let inlet = PullInlet::new(&node(frames(), Vec::new()), sources(worker));
        pull_all(&inlet).unwrap();
        let taken = inlet.taken_bytes();
        let by_worker: Vec<_> = taken.pulled.iter().map(|(worker, bytes)| (worker.as_str(), *bytes)).collect();
        assert_eq!((taken.all, by_worker), (all, pulled));
    }
}

/// The error, its chain as a text, and what it says is lost.
fn told(error: &Error) -> (String, Vec<LostInput>) {
    let mut chain = error.to_string();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.cause().source();
    while let Some(source) = cause {
        chain.push_str(&format!(": {source}"));
        cause = source.source();
    }
    let cause: &(dyn std::error::Error + 'static) = error.cause();
    (chain, cause.downcast_ref::<PullFailed>().map(|failed| failed.lost.clone()).unwrap_or_default())
}

#[test]
fn a_lost_a_doubled_and_a_swapped_frame_are_told_with_their_edge() {
    for chosen in 0..8_usize {
        let (task, group, sequence) = ((chosen / 4) as u32, (chosen / 2 % 2) as u16, chosen as u64 % 2);
        let mut lost = frames();
        lost.remove(chosen);
        let mut doubled = frames();
        doubled.push(doubled[chosen].clone());
        // Of the same length, with other rows: as an earlier try would have sent it.
        let mut swapped = frames();
        swapped[chosen] = frame(task, group, sequence, 77);
        for (sends, says) in [(lost, "there came"), (doubled, "came twice"), (swapped, "hash sum")] {
            let error = pulled(sends).unwrap_err();
            let (chain, lost) = told(&error);
            let edge = format!("group {group} of job {}, stage 4, task {task}, attempt 1", JobId(9));
            assert!(chain.contains(&edge) && chain.contains(says), "{chain}");
            assert_eq!(error.kind(), Kind::Corrupt, "{chain}");
            // When a stream has broken off, all that it had to bring is made again.
            assert!(
                lost.iter().all(|lost| lost.is_denied) && lost.iter().any(|lost| lost.key == key(task)),
                "{lost:?}"
            );
        }
    }
}

#[test]
fn a_stream_that_is_cut_or_damaged_is_told() {
    let mut cut = frames();
    cut[7].truncate(100);
    let (chain, lost) = told(&pulled(cut).unwrap_err());
    assert!(chain.contains("100 bytes into a frame") && lost.len() == 2, "{chain}");
    for bit in 0..8 * 64 {
        let mut damaged = frames();
        damaged[3][bit / 8] ^= 1 << (bit % 8);
        let (chain, lost) = told(&pulled(damaged).unwrap_err());
        assert_eq!(lost.len(), 2, "bit {bit}: {chain}");
    }
}

#[test]
fn what_our_own_spool_has_lost_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = node(Vec::new(), vec![folder.path().join("spool")]);
    let write = || {
        let writer = node.spool.begin(key(0), 2);
        for (group, first) in [(0, 0), (0, 10), (1, 0), (1, 10)] {
            writer.put(GroupId(group), &batch(first), 2 * first + 1).unwrap();
        }
        writer.finish().unwrap()
    };
    let totals = write();
    let source = source(0, HERE);
    let reported: Vec<_> = source.groups.iter().map(|(_, total)| *total).collect();
    assert_eq!(totals, reported);
    let pull = || pull_all(&PullInlet::new(&node, vec![source.clone()]));
    assert_eq!(pull().unwrap(), 4);

    let file = fs::read_dir(folder.path().join("spool").join(JobId(9).to_string())).unwrap().next().unwrap().unwrap();
    let mut bytes = fs::read(file.path()).unwrap();
    bytes[70] ^= 1;
    fs::write(file.path(), bytes).unwrap();
    let error = pull().unwrap_err();
    let (chain, lost) = told(&error);
    assert!(chain.contains(file.path().to_str().unwrap()) && chain.contains("at byte 0"), "{chain}");
    assert_eq!((error.kind(), lost.len(), lost[0].is_denied), (Kind::Corrupt, 1, true));
    // It is not there any more, and said to be lost until it was made again.
    let (_, lost) = told(&pull().unwrap_err());
    assert_eq!((lost.len(), lost[0].is_denied), (1, true));
    assert_eq!(write(), reported);
    assert_eq!(pull().unwrap(), 4);
}

#[test]
fn another_total_than_the_reported_one_is_told() {
    for change in 0..3 {
        let mut sources = [source(0, THERE), source(1, THERE)];
        let (_, total) = &mut sources[1].groups[0];
        match change {
            0 => total.rows += 1,
            1 => total.bytes -= 64,
            _ => total.hash_sum ^= 1 << 40,
        }
        let error = pull_all(&PullInlet::new(&node(frames(), Vec::new()), sources.to_vec())).unwrap_err();
        let failed: &(dyn std::error::Error + 'static) = error.cause();
        let source = failed.downcast_ref::<PullFailed>().unwrap().source.cause();
        let source: &(dyn std::error::Error + 'static) = source;
        assert!(matches!(source.downcast_ref(), Some(LedgerError::Differs { .. })), "{error:?}");
    }
}
