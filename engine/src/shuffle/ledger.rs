//! The ledger of an edge at its consumer: what must come, by attempt and group, and what has.
//!
//! In: what the producers reported of their groups; frames as they come, from anywhere, in any order. Out: each frame
//! counted once, or the error that names the edge's job, stage, task, attempt and group. Never: an end while
//! something is missing; a frame of an attempt or group that was not asked for; a hash computed: a frame carries its
//! rows' sum.
//!
//! ```text
//!   reported:  (attempt, group) ─► rows, bytes, frames, hash sum        the spool counted it when the attempt wrote
//!   came:      (attempt, group) ─► the same, from the frames' heads     their checksums were compared
//!   open ──(as many frames came as were reported)──► compared: equal ─► closed; else an error
//! ```
//! What it sees: a frame that is lost, doubled, or another one of the same number, as of an earlier life of its
//! producer: its rows, bytes or hash sum differ. What it does not see: a row that its producer changed before it
//! counted; that is what a digest over all values is for (`digest.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    frame::{FrameError, FrameLimits, decode_header},
    numbers::{AttemptKey, GroupId, GroupTotal},
};
use crate::error::{Cause, Kind};

/// See above.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<(AttemptKey, GroupId), Entry>,
    /// Entries that are not closed.
    open_count: usize,
    rows: u64,
}

/// One group of one attempt.
#[derive(Debug)]
struct Entry {
    reported: GroupTotal,
    came: GroupTotal,
    /// Sequences that came: frames may overtake each other, never come twice. Empty once all did.
    sequences: BTreeSet<u64>,
}

impl Entry {
    fn is_closed(&self) -> bool {
        self.came.frames == self.reported.frames
    }
}

impl Ledger {
    /// The frames that `reported` counts must come. A group without frames is none.
    pub fn expect(&mut self, key: AttemptKey, group: GroupId, reported: GroupTotal) {
        if reported.frames > 0 {
            let entry = Entry { reported, came: GroupTotal::default(), sequences: BTreeSet::new() };
            if self.entries.insert((key, group), entry).is_none_or(|before| before.is_closed()) {
                self.open_count += 1;
            }
        }
    }

    /// Counts a whole frame by its head, if it is one that must come and did not yet.
    pub fn take(&mut self, frame: &[u8]) -> Result<(), LedgerError> {
        let head = decode_header(frame, &FrameLimits::default()).map_err(|source| LedgerError::Frame { source })?;
        let header = head.header;
        let key = AttemptKey { job: header.job, stage: header.stage, task: header.task, attempt: header.attempt };
        let (group, sequence) = (header.group, header.sequence.0);
        let unexpected = |what| LedgerError::Unexpected { key, group, sequence, what };
        let entry = self.entries.get_mut(&(key, group)).ok_or_else(|| unexpected("was not asked for"))?;
        if sequence >= entry.reported.frames {
            return Err(unexpected("is not among those that its producer reported"));
        }
        if entry.is_closed() || !entry.sequences.insert(sequence) {
            return Err(unexpected("came twice"));
        }
        let (rows, bytes) = (head.rows as u64, frame.len() as u64);
        entry.came.add(&GroupTotal { rows, bytes, frames: 1, hash_sum: header.hash_sum });
        self.rows += rows;
        if entry.is_closed() {
            entry.sequences = BTreeSet::new();
            if entry.came != entry.reported {
                return Err(LedgerError::Differs { key, group, came: entry.came, reported: entry.reported });
            }
            self.open_count -= 1;
        }
        Ok(())
    }

    /// Nothing more comes of this attempt: all that was expected of it must have come.
    pub fn close(&self, key: AttemptKey) -> Result<(), LedgerError> {
        self.entries.range((key, GroupId(0))..=(key, GroupId(u16::MAX))).try_for_each(Ledger::check)
    }

    /// Nothing more comes: everything must have come.
    pub fn close_all(&self) -> Result<(), LedgerError> {
        if self.open_count == 0 {
            return Ok(());
        }
        self.entries.iter().try_for_each(Ledger::check)
    }

    fn check(((key, group), entry): (&(AttemptKey, GroupId), &Entry)) -> Result<(), LedgerError> {
        if entry.came == entry.reported {
            return Ok(());
        }
        let (key, group) = (*key, *group);
        Err(LedgerError::Differs { key, group, came: entry.came, reported: entry.reported })
    }

    /// Rows that have come.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Those of one attempt.
    pub fn rows_of(&self, key: AttemptKey) -> u64 {
        let entries = self.entries.range((key, GroupId(0))..=(key, GroupId(u16::MAX)));
        entries.map(|(_, entry)| entry.came.rows).sum()
    }
}

/// What came over an edge is not what its producers reported.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// What came is no frame.
    #[error("count a frame of an edge")]
    Frame {
        /// Why not.
        #[source]
        source: FrameError,
    },
    /// A frame that is not missing.
    #[error(
        "take frame {sequence} of group {group} of job {}, stage {}, task {}, attempt {}: it {what}",
        key.job, key.stage, key.task, key.attempt
    )]
    Unexpected {
        /// Of which attempt.
        key: AttemptKey,
        /// Of which group.
        group: GroupId,
        /// Its number.
        sequence: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The frames add up to something else.
    #[error(
        "close group {group} of job {}, stage {}, task {}, attempt {}: there came {came}, reported were {reported}",
        key.job, key.stage, key.task, key.attempt
    )]
    Differs {
        /// Of which attempt.
        key: AttemptKey,
        /// Of which group.
        group: GroupId,
        /// What came.
        came: GroupTotal,
        /// What must have come.
        reported: GroupTotal,
    },
}

impl Cause for LedgerError {
    fn kind(&self) -> Kind {
        match self {
            LedgerError::Frame { source } => source.kind(),
            LedgerError::Unexpected { .. } | LedgerError::Differs { .. } => Kind::Corrupt,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        batch::array::{ArrayRef, RecordBatch, UInt64Array},
        kernel::testing::{Random, cases},
        shuffle::{AttemptId, FrameHeader, JobId, Sequence, StageId, TaskId, encode_frame},
    };

    fn key(task: u32, attempt: u32) -> AttemptKey {
        AttemptKey { job: JobId(7), stage: StageId(2), task: TaskId(task), attempt: AttemptId(attempt) }
    }

    /// A frame of these numbers, which are their own hashes.
    fn frame(key: AttemptKey, group: u16, sequence: u64, numbers: &[u64]) -> Vec<u8> {
        let column: ArrayRef = Arc::new(UInt64Array::from(numbers.to_vec()));
        let header = FrameHeader {
            job: key.job,
            stage: key.stage,
            task: key.task,
            attempt: key.attempt,
            group: GroupId(group),
            sequence: Sequence(sequence),
            hash_sum: numbers.iter().fold(0, |sum, number| sum.wrapping_add(*number)),
            ..FrameHeader::default()
        };
        let mut bytes = Vec::new();
        encode_frame(&header, &RecordBatch::try_from_iter([("n", column)]).unwrap(), &mut bytes).unwrap();
        bytes
    }

    fn total_of(frames: &[Vec<u8>]) -> GroupTotal {
        let mut total = GroupTotal::default();
        for frame in frames {
            let head = decode_header(frame, &FrameLimits::default()).unwrap();
            let (rows, bytes) = (head.rows as u64, frame.len() as u64);
            total.add(&GroupTotal { rows, bytes, frames: 1, hash_sum: head.header.hash_sum });
        }
        total
    }

    /// Three frames each of two groups of two attempts, and the ledger that expects them.
    fn edge() -> (Ledger, Vec<Vec<u8>>) {
        let (mut ledger, mut all) = (Ledger::default(), Vec::new());
        for task in 0..2 {
            for group in 0..2 {
                let frames: Vec<Vec<u8>> = (0..3)
                    .map(|sequence| {
                        let first = 1_000 * u64::from(task) + 100 * u64::from(group) + 10 * sequence;
                        frame(key(task, 0), group, sequence, &[first, first + 1, first + 2])
                    })
                    .collect();
                ledger.expect(key(task, 0), GroupId(group), total_of(&frames));
                all.extend(frames);
            }
        }
        ledger.expect(key(0, 0), GroupId(9), GroupTotal::default());
        (ledger, all)
    }

    fn take_all(ledger: &mut Ledger, frames: &[Vec<u8>]) -> Result<(), LedgerError> {
        frames.iter().try_for_each(|frame| ledger.take(frame))?;
        ledger.close_all()
    }

    fn names_the_edge(error: &LedgerError, task: u32, group: u16) {
        assert_eq!(error.kind(), Kind::Corrupt);
        let said = error.to_string();
        assert!(said.contains(&format!("job {}, stage 2, task {task}, attempt 0", JobId(7))), "{said}");
        assert!(said.contains(&format!("group {group}")), "{said}");
    }

    #[test]
    fn frames_may_come_in_any_order() {
        let (mut ledger, mut frames) = edge();
        frames.reverse();
        assert!(ledger.close_all().is_err());
        // The second task is complete before the first.
        frames[..6].iter().for_each(|frame| ledger.take(frame).unwrap());
        ledger.close(key(1, 0)).unwrap();
        names_the_edge(&ledger.close(key(0, 0)).unwrap_err(), 0, 0);
        take_all(&mut ledger, &frames[6..]).unwrap();
        assert_eq!(ledger.rows(), 36);
        ledger.close(key(0, 0)).unwrap();
        ledger.close(key(5, 0)).unwrap();
        Ledger::default().close_all().unwrap();
    }

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn a_lost_a_doubled_and_a_swapped_frame_are_told(seed: u64) {
            let mut random = Random::new(seed);
            let chosen = random.below(12);
            let (task, group) = ((chosen / 6) as u32, (chosen / 3 % 2) as u16);

            let (mut ledger, mut frames) = edge();
            frames.remove(chosen);
            let error = take_all(&mut ledger, &frames).unwrap_err();
            assert!(matches!(error, LedgerError::Differs { .. }));
            names_the_edge(&error, task, group);

            // Wherever it comes again, also when its group is closed.
            let (mut ledger, mut frames) = edge();
            let again = frames[chosen].clone();
            frames.insert(chosen + 1 + random.below(12 - chosen), again);
            let error = take_all(&mut ledger, &frames).unwrap_err();
            assert!(matches!(error, LedgerError::Unexpected { what: "came twice", .. }));
            names_the_edge(&error, task, group);

            // One of the same number and length with other rows: only their hashes tell it.
            let (mut ledger, mut frames) = edge();
            frames[chosen] = frame(key(task, 0), group, chosen as u64 % 3, &[1, 2, random.next() | 1 << 63]);
            let error = take_all(&mut ledger, &frames).unwrap_err();
            assert!(matches!(error, LedgerError::Differs { .. }));
            names_the_edge(&error, task, group);

            // One of the neighbour in its place.
            let (mut ledger, mut frames) = edge();
            frames[chosen] = frames[(chosen + 1) % 12].clone();
            prop_assert!(take_all(&mut ledger, &frames).is_err());
        }
    }

    #[test]
    fn a_frame_of_another_attempt_group_or_number_is_refused() {
        for (of, group, sequence) in [(key(0, 1), 0, 0), (key(2, 0), 0, 0), (key(0, 0), 2, 0), (key(0, 0), 0, 3)] {
            let (mut ledger, _) = edge();
            let error = ledger.take(&frame(of, group, sequence, &[0, 1, 2])).unwrap_err();
            assert!(matches!(error, LedgerError::Unexpected { .. }), "{error}");
        }
        let (mut ledger, frames) = edge();
        let error = ledger.take(&frames[0][..40]).unwrap_err();
        assert!(matches!(error, LedgerError::Frame { .. }), "{error}");
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
