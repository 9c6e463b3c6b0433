//! The journal's record: what the coordinator writes and syncs before it acts.
//!
//! In: events in their order, as a kind and a payload. Out: the same events, after a crash, up to the last that was whole. Never: a file, a disk
//! (whoever drives it writes, syncs, cuts); an event acted upon before it is durable; a hole; a record of another job or of an epoch that has ended.
//!
//! One file a job and epoch, `journal.<epoch>`, records one after the other, each at a multiple of 8 bytes:
//!
//! ```text
//! offset  bytes  what, little-endian
//!      0      4  magic "WNDJ"
//!      4      2  version, 3: an attempt's end tells what it cost and counted
//!      6      2  kind: 1 job, 2 plan shipped, 3 decision, 4 attempt ended, 5 edge durable, 6 action's result,
//!                7 output commit, 8 job ended, 9 driver started, 10 part of a plan, 11 stage started,
//!                12 attempt started, 13 attempt lost
//!      8      8  job
//!     16      8  index: 0 in the first file of a job, then one more each, across files
//!     24      4  epoch of the coordinator that wrote it
//!     28      4  payload length in bytes, at most PAYLOAD_BYTES_MAX
//!     32      8  checksum of the record before it in the job's journal, 0 for the first: records cannot be cut out
//!     40      p  payload: by kind its own format (a decision is `plan/decision.rs`'s record); plans are opaque bytes
//!   40+p         zeros up to a multiple of 8, less than 8
//!      …      8  checksum: XXH3-64 of all bytes of the record before it, the padding included
//! ```
//!
//! # The torn tail
//!
//! A crash may leave the last write in pieces. Reading ends at the first record that is not whole: fewer bytes than its
//! length says, another magic, another index than the next, another epoch than the file's, a checksum that differs.
//!
//! 1. If nothing that follows is a record (no magic at a multiple of 8 whose checksum agrees and whose index is
//!    higher), it is a torn tail: it was never synced, so nobody acted upon it. The file is cut there, synced, and goes
//!    on.
//! 2. If a whole record of a higher index follows, a synced record was damaged afterwards: that is a lost journal, told
//!    with its place. It is never skipped, as what follows was decided in its knowledge.
//! 3. A new epoch opens a new file; it never appends to the file of another, so an old coordinator that still writes is
//!    writing where nobody reads.
//!    Records of an older file whose index a newer file has taken are such writing, and are not read.
//!
//! Deficit: when the last record of all was synced and then damaged, nothing follows it, and it looks like a torn tail.

use twox_hash::XxHash3_64;

use crate::{
    error::{Cause, Kind},
    shuffle::{Epoch, JobId},
};

const MAGIC: [u8; 4] = *b"WNDJ";
const VERSION: u16 = 3;
const HEADER_BYTES: usize = 40;
const CHECKSUM_BYTES: usize = 8;
const ALIGNMENT_BYTES: usize = 8;

/// Longest payload: the longest message of the cluster fits.
pub const PAYLOAD_BYTES_MAX: usize = (16 << 20) + (64 << 10);

const _: () = assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(HEADER_BYTES == 4 + 2 + 2 + 8 + 8 + 4 + 4 + 8 && HEADER_BYTES.is_multiple_of(ALIGNMENT_BYTES));

/// What a record's payload is, as a number of the drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKind(pub u16);

/// Writes the records of one job and epoch, one behind the other.
#[derive(Clone, Debug)]
pub struct JournalWriter {
    job: JobId,
    epoch: Epoch,
    next: Position,
}

/// Where the next record of a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Its index.
    pub index: u64,
    /// The checksum of the record before it.
    pub previous: u64,
}

/// One record, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the payload is.
    pub kind: RecordKind,
    /// Its index in the job's journal.
    pub index: u64,
    /// The life that wrote it.
    pub epoch: Epoch,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A file of a job's journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalFile<'a> {
    /// As its name says.
    pub epoch: Epoch,
    /// All of it.
    pub bytes: &'a [u8],
}

/// A job's journal, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Every record that counts, by index.
    pub entries: Vec<Entry>,
    /// Where the next file begins.
    pub next: Position,
    /// Files that end in pieces: each is cut to so many bytes, and synced, before anything is written.
    pub cuts: Vec<Cut>,
}

/// A file that ends in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which.
    pub epoch: Epoch,
    /// What is whole of it.
    pub keep_bytes: usize,
}

/// Why a journal cannot be written or believed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A bound was reached.
    #[error("write a journal record of {found} bytes, more than {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// The payload's length.
        found: usize,
    },
    /// A record that was synced is no longer whole.
    #[error(
        "read the journal of job {job}: record {index} in the file of epoch {epoch} is damaged at byte {at}, and record {follows} follows it"
    )]
    Damaged {
        /// Whose.
        job: JobId,
        /// Which file.
        epoch: Epoch,
        /// Where.
        at: usize,
        /// Which record should stand there.
        index: u64,
        /// Which one follows.
        follows: u64,
    },
    /// A file that goes on from another end than the file before it has.
    #[error(
        "read the journal of job {job}: the file of epoch {epoch} goes on from another record {index} than is there"
    )]
    Unchained {
        /// Whose.
        job: JobId,
        /// Which file.
        epoch: Epoch,
        /// Its first record.
        index: u64,
    },
    /// Written by another version.
    #[error(
        "read the journal of job {job}: the file of epoch {epoch} has version {found}; this build reads version {VERSION}"
    )]
    Version {
        /// Whose.
        job: JobId,
        /// Which file.
        epoch: Epoch,
        /// Its version.
        found: u16,
    },
}

impl Cause for JournalError {
    fn kind(&self) -> Kind {
        match self {
            JournalError::TooLarge { .. } => Kind::Limit,
            JournalError::Damaged { .. } | JournalError::Unchained { .. } | JournalError::Version { .. } => {
                Kind::Corrupt
            }
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            JournalError::Damaged { .. } | JournalError::Unchained { .. } => {
                Some("the job cannot go on; move its folder out of the journal and submit it again".to_owned())
            }
            _ => None,
        }
    }
}

impl JournalWriter {
    /// A writer of a new file: nothing of this epoch was written before.
    pub fn new(job: JobId, epoch: Epoch, next: Position) -> JournalWriter {
        JournalWriter { job, epoch, next }
    }

    /// Appends a record to `out`, which on an error is as it was; returns its index.
    pub fn append(&mut self, kind: RecordKind, payload: &[u8], out: &mut Vec<u8>) -> Result<u64, JournalError> {
        let found = payload.len();
        if found > PAYLOAD_BYTES_MAX {
            return Err(JournalError::TooLarge { found });
        }
        let start = out.len();
        let padding_bytes = found.next_multiple_of(ALIGNMENT_BYTES) - found;
        out.reserve(HEADER_BYTES + found + padding_bytes + CHECKSUM_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&kind.0.to_le_bytes());
        out.extend_from_slice(&self.job.0.to_le_bytes());
        out.extend_from_slice(&self.next.index.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&(found as u32).to_le_bytes());
        out.extend_from_slice(&self.next.previous.to_le_bytes());
        out.extend_from_slice(payload);
        out.resize(out.len() + padding_bytes, 0);
        let checksum = XxHash3_64::oneshot(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
        let index = self.next.index;
        self.next = Position { index: index + 1, previous: checksum };
        Ok(index)
    }
}

/// Reads a job's journal: its files by rising epoch.
pub fn recover(job: JobId, files: &[JournalFile<'_>]) -> Result<Recovered, JournalError> {
    let mut recovered = Recovered::default();
    for (place, file) in files.iter().enumerate() {
        // What a newer life has written decides where this file ended when that life began.
        let newer = files[place + 1..].iter().find_map(|newer| first_of(job, newer));
        recovered.read(job, file, newer.map(|record| record.index))?;
    }
    Ok(recovered)
}

impl Recovered {
    /// Reads one file; records from index `end` on are those of a life that went on after it was over.
    fn read(&mut self, job: JobId, file: &JournalFile<'_>, end: Option<u64>) -> Result<(), JournalError> {
        let JournalFile { epoch, bytes } = *file;
        let mut at = 0;
        while at < bytes.len() {
            if end == Some(self.next.index) {
                return Ok(());
            }
            let Some(record) = RawRecord::read(&bytes[at..]).filter(|record| record.is_of(job, epoch)) else {
                return self.end_torn(job, file, at, end);
            };
            if record.version != VERSION {
                return Err(JournalError::Version { job, epoch, found: record.version });
            }
            if record.index != self.next.index {
                let (index, follows) = (self.next.index, record.index);
                return if follows > index {
                    Err(JournalError::Damaged { job, epoch, at, index, follows })
                } else {
                    self.end_torn(job, file, at, end)
                };
            }
            if record.previous != self.next.previous {
                return Err(JournalError::Unchained { job, epoch, index: record.index });
            }
            self.entries.push(Entry {
                kind: record.kind,
                index: record.index,
                epoch,
                payload: record.payload.to_vec(),
            });
            self.next = Position { index: record.index + 1, previous: record.checksum };
            at += record.bytes;
        }
        self.check_reaches(job, epoch, at, end)
    }

    /// What stands at `at` is no record: a torn tail, unless a later record says that this one had been synced.
    fn end_torn(
        &mut self,
        job: JobId,
        file: &JournalFile<'_>,
        at: usize,
        end: Option<u64>,
    ) -> Result<(), JournalError> {
        let JournalFile { epoch, bytes } = *file;
        let index = self.next.index;
        let mut later = (at + ALIGNMENT_BYTES..bytes.len()).step_by(ALIGNMENT_BYTES);
        let follows = later.find_map(|later| {
            let record = bytes[later..].starts_with(&MAGIC).then(|| RawRecord::read(&bytes[later..])).flatten()?;
            (record.is_of(job, epoch) && record.index > index).then_some(record.index)
        });
        if let Some(follows) = follows.filter(|follows| end.is_none_or(|end| *follows < end)) {
            return Err(JournalError::Damaged { job, epoch, at, index, follows });
        }
        self.cuts.push(Cut { epoch, keep_bytes: at });
        self.check_reaches(job, epoch, at, end)
    }

    /// A newer file goes on where this one ends, or records between them are gone.
    fn check_reaches(&self, job: JobId, epoch: Epoch, at: usize, end: Option<u64>) -> Result<(), JournalError> {
        match end {
            Some(follows) if follows > self.next.index => {
                Err(JournalError::Damaged { job, epoch, at, index: self.next.index, follows })
            }
            _ => Ok(()),
        }
    }
}

fn first_of<'a>(job: JobId, file: &JournalFile<'a>) -> Option<RawRecord<'a>> {
    RawRecord::read(file.bytes).filter(|record| record.is_of(job, file.epoch))
}

/// A record whose checksum agrees.
struct RawRecord<'a> {
    version: u16,
    kind: RecordKind,
    job: JobId,
    index: u64,
    epoch: Epoch,
    previous: u64,
    payload: &'a [u8],
    checksum: u64,
    /// All of it.
    bytes: usize,
}

impl<'a> RawRecord<'a> {
    /// The record that `bytes` begins with; none if it is not whole.
    fn read(bytes: &'a [u8]) -> Option<RawRecord<'a>> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        if header[..4] != MAGIC {
            return None;
        }
        let payload_bytes = u32::from_le_bytes(field(header, 28)?) as usize;
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return None;
        }
        let signed_bytes = HEADER_BYTES + payload_bytes.next_multiple_of(ALIGNMENT_BYTES);
        let (signed, rest) = bytes.split_at_checked(signed_bytes)?;
        let checksum = u64::from_le_bytes(*rest.first_chunk()?);
        if XxHash3_64::oneshot(signed) != checksum {
            return None;
        }
        Some(RawRecord {
            version: u16::from_le_bytes(field(header, 4)?),
            kind: RecordKind(u16::from_le_bytes(field(header, 6)?)),
            job: JobId(u64::from_le_bytes(field(header, 8)?)),
            index: u64::from_le_bytes(field(header, 16)?),
            epoch: Epoch(u32::from_le_bytes(field(header, 24)?)),
            previous: u64::from_le_bytes(field(header, 32)?),
            payload: signed.get(HEADER_BYTES..HEADER_BYTES + payload_bytes)?,
            checksum,
            bytes: signed_bytes + CHECKSUM_BYTES,
        })
    }

    fn is_of(&self, job: JobId, epoch: Epoch) -> bool {
        self.job == job && self.epoch == epoch
    }
}

fn field<const BYTES: usize>(header: &[u8], at: usize) -> Option<[u8; BYTES]> {
    header.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;

    const JOB: JobId = JobId(7);

    /// A life: the payloads that it writes, and how much of its file reaches the disk in pieces behind them.
    fn lives() -> impl Strategy<Value = Vec<(Vec<Vec<u8>>, Vec<u8>)>> {
        vec((vec(vec(any::<u8>(), 0..60), 0..6), vec(any::<u8>(), 0..50)), 1..5)
    }

    fn write(next: Position, epoch: u32, payloads: &[Vec<u8>]) -> (Vec<u8>, Position) {
        let mut writer = JournalWriter::new(JOB, Epoch(epoch), next);
        let mut out = Vec::new();
        for payload in payloads {
            writer.append(RecordKind(4), payload, &mut out).unwrap();
        }
        (out, writer.next)
    }

    fn files(written: &[Vec<u8>]) -> Vec<JournalFile<'_>> {
        let files = written.iter().enumerate();
        files.map(|(epoch, bytes)| JournalFile { epoch: Epoch(epoch as u32), bytes }).collect()
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn what_was_synced_is_read_and_what_was_torn_is_cut(lives in lives()) {
            let (mut next, mut written, mut expected) = (Position::default(), Vec::new(), Vec::new());
            for (epoch, (payloads, torn)) in lives.iter().enumerate() {
                let (mut bytes, after) = write(next, epoch as u32, payloads);
                let whole = bytes.len();
                bytes.extend_from_slice(torn);
                written.push(bytes);
                expected.extend(payloads.iter().cloned());
                next = after;
                let recovered = recover(JOB, &files(&written)).unwrap();
                prop_assert_eq!(&recovered.entries.iter().map(|e| e.payload.clone()).collect::<Vec<_>>(), &expected);
                prop_assert_eq!(recovered.next, next);
                let cut = recovered.cuts.iter().find(|cut| cut.epoch.0 == epoch as u32);
                prop_assert_eq!(cut.map(|cut| cut.keep_bytes), (!torn.is_empty()).then_some(whole));
            }
        }

        #[test]
        fn every_prefix_is_a_torn_tail(payloads in vec(vec(any::<u8>(), 0..40), 1..6), at: prop::sample::Index) {
            let (bytes, _) = write(Position::default(), 0, &payloads);
            let at = at.index(bytes.len());
            let recovered = recover(JOB, &files(&[bytes[..at].to_vec()])).unwrap();
            let ends: Vec<usize> = (0..=payloads.len()).map(|n| write(Position::default(), 0, &payloads[..n]).0.len()).collect();
            prop_assert_eq!(recovered.entries.len(), ends.iter().filter(|end| **end <= at).count() - 1);
        }

        #[test]
        fn a_flipped_bit_is_a_lost_journal_or_the_last_record(
            payloads in vec(vec(any::<u8>(), 0..40), 1..6),
            at: prop::sample::Index,
            bit in 0u8..8,
        ) {
            let (mut bytes, _) = write(Position::default(), 0, &payloads);
            let last = write(Position::default(), 0, &payloads[..payloads.len() - 1]).0.len();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            match recover(JOB, &files(&[bytes])) {
                Ok(recovered) => {
                    prop_assert!(at >= last);
                    prop_assert_eq!(recovered.cuts, vec![Cut { epoch: Epoch(0), keep_bytes: last }]);
                }
                Err(error) => {
                    prop_assert!(at < last);
                    prop_assert_eq!(error.kind(), Kind::Corrupt);
                }
            }
        }

        #[test]
        fn noise_is_a_torn_tail(noise: Vec<u8>) {
            prop_assert_eq!(recover(JOB, &files(&[noise])).unwrap().entries, vec![]);
        }
    }

    #[test]
    fn what_an_old_life_wrote_after_its_end_is_not_read() {
        let (mut old, next) = write(Position::default(), 0, &[vec![1]]);
        let (new, after) = write(next, 1, &[vec![2]]);
        let zombie = write(next, 0, &[vec![9], vec![9]]).0;
        old.extend(zombie);
        let recovered = recover(JOB, &files(&[old, new])).unwrap();
        assert_eq!(recovered.entries.iter().map(|entry| entry.payload[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(recovered.next, after);
    }

    #[test]
    fn a_missing_end_of_an_older_file_is_a_lost_journal() {
        let (old, next) = write(Position::default(), 0, &[vec![1], vec![2]]);
        let (new, _) = write(next, 1, &[vec![3]]);
        let first = write(Position::default(), 0, &[vec![1]]).0.len();
        let error = recover(JOB, &files(&[old[..first].to_vec(), new.clone()])).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { index: 1, follows: 2, .. }), "{error}");
        let error = recover(JOB, &files(&[vec![], new])).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { index: 0, follows: 2, .. }), "{error}");
    }

    #[test]
    fn a_replaced_record_is_seen() {
        let (old, _) = write(Position::default(), 0, &[vec![1], vec![2]]);
        let (other, next) = write(Position::default(), 0, &[vec![1], vec![8]]);
        let (new, _) = write(next, 1, &[vec![3]]);
        assert!(recover(JOB, &files(&[other, new.clone()])).is_ok());
        let error = recover(JOB, &files(&[old, new])).unwrap_err();
        assert!(matches!(error, JournalError::Unchained { .. }), "{error}");
    }

    #[test]
    fn the_bytes_are_fixed() {
        let (bytes, _) = write(Position { index: 5, previous: 6 }, 2, &[vec![0xaa]]);
        let mut expected = b"WNDJ\x03\0\x04\0".to_vec();
        for number in [7u64, 5] {
            expected.extend(number.to_le_bytes());
        }
        expected.extend([2, 0, 0, 0, 1, 0, 0, 0]);
        expected.extend(6u64.to_le_bytes());
        expected.extend([0xaa, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(XxHash3_64::oneshot(&expected).to_le_bytes());
        assert_eq!(bytes, expected);
    }

    #[test]
    fn the_cap_holds() {
        let mut writer = JournalWriter::new(JOB, Epoch(1), Position::default());
        let mut out = vec![1];
        let error = writer.append(RecordKind(1), &vec![0; PAYLOAD_BYTES_MAX + 1], &mut out).unwrap_err();
        assert_eq!((error.kind(), out), (Kind::Limit, vec![1]));
    }
}
