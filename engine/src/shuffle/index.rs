//! The index of a spool: where the frames of each group stand in a file of one attempt.
//!
//! In: what the builders of an attempt have written. Out: for a pull, the range of one group's frames, and what they
//! must add up to. Never: read before its checksum has been compared; written before the frames that it names are.
//!
//! An attempt has one file for each time that its memory was full,
//! `<job>/<stage>.<round>.<task>.<attempt>.<part>.spool`: first the frames of group 0, then those of group 1, …, each
//! frame a multiple of 64 bytes (`frame.rs`), and then the index, so that one sequential write makes it all. A reader
//! begins with the last 16 bytes.
//!
//! ```text
//! frames of group 0 │ frames of group 1 │ … │ index │ tail
//!
//! index, little-endian, at a multiple of 64:
//! offset  bytes  what
//!      0      4  magic "WNDI"
//!      4      2  version, 1
//!      6      2  flags, 0
//!      8      8  job
//!     16      4  epoch of the worker that wrote it
//!     20      4  stage
//!     24      4  round
//!     28      4  task
//!     32      4  attempt
//!     36      2  hash version, of `kernel::HASH_VERSION`: which rows stand in which group
//!     38      2  group count, a power of two, at most 256
//!     40      8  frame bytes: where the index begins, a multiple of 64
//!     48         for each group, 56 bytes:
//!                     0  8  offset of its first frame in the file, a multiple of 64
//!                     8  8  bytes of its frames
//!                    16  8  frame count
//!                    24  8  rows
//!                    32  8  sum of the partition hashes of its rows (always)
//!                    40  8  sum of the row hashes over all values, 0 when not asked for
//!                    48  8  exclusive or of the same
//!  48+56g      8  checksum: XXH3-64 of all bytes of the index before it
//!
//! tail, the last 16 bytes of the file:
//!      0      8  bytes of the index
//!      8      4  magic "WNDI" again
//!     12      4  0
//! ```
//!
//! What a reader checks before it believes a word: both magics, the version, that the length in the tail is that of
//! `group count` groups and lies within the file, the checksum, that offsets begin at 0 and each group begins where the
//! one before it ends, that the last ends at `frame bytes`. A file without a tail is one whose writer died: it is
//! deleted, never repaired, and the attempt is none. The ledger of the edge has the same numbers per group; where they
//! differ the attempt is lost, not corrected. A file takes this name only when it is whole (`spool/file.rs`).

use twox_hash::XxHash3_64;

use super::numbers::{AttemptId, Epoch, GroupTotal, JobId, Round, StageId, TaskId};
use crate::{
    error::{Cause, Kind},
    kernel::{GROUPS_MAX, HASH_VERSION},
};

const MAGIC: [u8; 4] = *b"WNDI";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 48;
const GROUP_BYTES: usize = 56;
const CHECKSUM_BYTES: usize = 8;
const TAIL_BYTES: usize = 16;
const ALIGNMENT_BYTES: u64 = 64;

/// So many bytes of a file's end hold any index.
pub const END_BYTES_MAX: usize = HEAD_BYTES + GROUPS_MAX * GROUP_BYTES + CHECKSUM_BYTES + TAIL_BYTES;

/// The index of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolIndex {
    /// Whose rows.
    pub job: JobId,
    /// Which life of the worker wrote it.
    pub epoch: Epoch,
    /// Of which stage.
    pub stage: StageId,
    /// In which turn of a loop.
    pub round: Round,
    /// Of which task.
    pub task: TaskId,
    /// Which try at it.
    pub attempt: AttemptId,
    /// By group: a power of two of them, at most 256.
    pub groups: Vec<GroupIndex>,
}

/// One group's part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupIndex {
    /// Where its frames begin.
    pub offset: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many there are.
    pub frames: u64,
    /// Rows in them.
    pub rows: u64,
    /// Sum of the partition hashes of the rows.
    pub hash_sum: u64,
    /// Sum of the row hashes over all values; 0 when not asked for.
    pub digest_sum: u64,
    /// Exclusive or of the same.
    pub digest_xor: u64,
}

impl GroupIndex {
    /// What the group must add up to.
    pub fn total(&self) -> GroupTotal {
        GroupTotal { rows: self.rows, bytes: self.bytes, frames: self.frames, hash_sum: self.hash_sum }
    }
}

/// Why bytes are no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The file has no tail: its writer died.
    #[error("read the index of a spool: the file ends without one, its writer did not finish")]
    NoTail,
    /// Another format.
    #[error("read the index of a spool: it starts with {found:?}, not with {MAGIC:?}")]
    NotOurs {
        /// The first bytes.
        found: [u8; 4],
    },
    /// Another version of this program wrote it.
    #[error("read the index of a spool: version {found} instead of {VERSION}")]
    Version {
        /// What stands there.
        found: u16,
    },
    /// Groups by another hash.
    #[error("read the index of a spool: its groups are those of hash version {found}, not {HASH_VERSION}")]
    HashVersion {
        /// What stands there.
        found: u16,
    },
    /// A length or a place is not what it must be.
    #[error("read the index of a spool: {what} is {found}")]
    Malformed {
        /// Of what.
        what: &'static str,
        /// The number there.
        found: u64,
    },
    /// Some bytes changed.
    #[error("read the index of a spool: its checksum is {found:016x}, of its bytes {computed:016x}")]
    Checksum {
        /// What stands there.
        found: u64,
        /// What the bytes say.
        computed: u64,
    },
}

impl Cause for IndexError {
    fn kind(&self) -> Kind {
        match self {
            IndexError::Version { .. } | IndexError::HashVersion { .. } => Kind::Unsupported,
            _ => Kind::Corrupt,
        }
    }
}

impl SpoolIndex {
    /// Bytes of all frames: where the index begins.
    pub fn frame_bytes(&self) -> u64 {
        self.groups.last().map_or(0, |group| group.offset + group.bytes)
    }

    /// Appends the index and the tail to `out`, which holds the frames it tells of.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(&self.job.0.to_le_bytes());
        for number in [self.epoch.0, self.stage.0, self.round.0, self.task.0, self.attempt.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&HASH_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.groups.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.frame_bytes().to_le_bytes());
        for group in &self.groups {
            let GroupIndex { offset, bytes, frames, rows, hash_sum, digest_sum, digest_xor } = *group;
            for number in [offset, bytes, frames, rows, hash_sum, digest_sum, digest_xor] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        let checksum = XxHash3_64::oneshot(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
        let index_bytes = (out.len() - start) as u64;
        out.extend_from_slice(&index_bytes.to_le_bytes());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
    }

    /// The index at the end of a file: `end` is its last [`END_BYTES_MAX`] bytes, or all `file_bytes` when it has
    /// fewer.
    pub fn decode(end: &[u8], file_bytes: u64) -> Result<SpoolIndex, IndexError> {
        let (before, tail) = end.split_last_chunk::<TAIL_BYTES>().ok_or(IndexError::NoTail)?;
        let (bytes, magic) = tail.split_at(8);
        if magic != [MAGIC, [0; 4]].concat() {
            return Err(IndexError::NoTail);
        }
        let index_bytes = u64_at(bytes, 0);
        let malformed = |what, found| IndexError::Malformed { what, found };
        let start = usize::try_from(index_bytes).ok().and_then(|bytes| before.len().checked_sub(bytes));
        let start = start.filter(|_| index_bytes >= (HEAD_BYTES + CHECKSUM_BYTES) as u64);
        let start = start.ok_or_else(|| malformed("the index's length", index_bytes))?;
        let index = &before[start..];
        if index[..4] != MAGIC {
            return Err(IndexError::NotOurs { found: [index[0], index[1], index[2], index[3]] });
        }
        if u16_at(index, 4) != VERSION {
            return Err(IndexError::Version { found: u16_at(index, 4) });
        }
        let (content, checksum) = index.split_at(index.len() - CHECKSUM_BYTES);
        let (found, computed) = (u64_at(checksum, 0), XxHash3_64::oneshot(content));
        if found != computed {
            return Err(IndexError::Checksum { found, computed });
        }
        if u16_at(content, 6) != 0 {
            return Err(malformed("the flags", u64::from(u16_at(content, 6))));
        }
        if u16_at(content, 36) != HASH_VERSION {
            return Err(IndexError::HashVersion { found: u16_at(content, 36) });
        }
        let group_count = usize::from(u16_at(content, 38));
        if !group_count.is_power_of_two()
            || group_count > GROUPS_MAX
            || content.len() != HEAD_BYTES + group_count * GROUP_BYTES
        {
            return Err(malformed("the group count", group_count as u64));
        }
        let groups = content[HEAD_BYTES..].as_chunks::<GROUP_BYTES>().0.iter().map(|group| GroupIndex {
            offset: u64_at(group, 0),
            bytes: u64_at(group, 8),
            frames: u64_at(group, 16),
            rows: u64_at(group, 24),
            hash_sum: u64_at(group, 32),
            digest_sum: u64_at(group, 40),
            digest_xor: u64_at(group, 48),
        });
        let index = SpoolIndex {
            job: JobId(u64_at(content, 8)),
            epoch: Epoch(u32_at(content, 16)),
            stage: StageId(u32_at(content, 20)),
            round: Round(u32_at(content, 24)),
            task: TaskId(u32_at(content, 28)),
            attempt: AttemptId(u32_at(content, 32)),
            groups: groups.collect(),
        };
        let mut end = 0;
        for group in &index.groups {
            if group.offset != end || !group.bytes.is_multiple_of(ALIGNMENT_BYTES) {
                return Err(malformed("a group's place", group.offset));
            }
            end = end.checked_add(group.bytes).ok_or_else(|| malformed("a group's length", group.bytes))?;
        }
        let frames_end = file_bytes.checked_sub(TAIL_BYTES as u64 + index_bytes);
        if end != u64_at(content, 40) || Some(end) != frames_end {
            return Err(malformed("the end of the frames", end));
        }
        Ok(index)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;

    fn index() -> impl Strategy<Value = SpoolIndex> {
        let group = (0u64..4, any::<u64>(), any::<u64>(), any::<[u64; 3]>());
        let groups = (0u32..=4).prop_flat_map(move |bits| prop::collection::vec(group.clone(), 1 << bits));
        (any::<u64>(), any::<[u32; 5]>(), groups).prop_map(|(job, [epoch, stage, round, task, attempt], groups)| {
            let mut offset = 0;
            let groups = groups.into_iter().map(|(blocks, frames, rows, [hash_sum, digest_sum, digest_xor])| {
                let bytes = blocks * ALIGNMENT_BYTES;
                let group = GroupIndex { offset, bytes, frames, rows, hash_sum, digest_sum, digest_xor };
                offset += bytes;
                group
            });
            SpoolIndex {
                job: JobId(job),
                epoch: Epoch(epoch),
                stage: StageId(stage),
                round: Round(round),
                task: TaskId(task),
                attempt: AttemptId(attempt),
                groups: groups.collect(),
            }
        })
    }

    fn file(index: &SpoolIndex) -> Vec<u8> {
        let mut file = vec![5; index.frame_bytes() as usize];
        index.encode(&mut file);
        file
    }

    /// As if all of the file were read.
    fn decode(file: &[u8]) -> Result<SpoolIndex, IndexError> {
        SpoolIndex::decode(file, file.len() as u64)
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn what_was_written_is_read(index in index()) {
            let file = file(&index);
            prop_assert_eq!(&decode(&file).unwrap(), &index);
            // The end suffices.
            let end = &file[file.len().saturating_sub(END_BYTES_MAX)..];
            prop_assert_eq!(SpoolIndex::decode(end, file.len() as u64).unwrap(), index);
            prop_assert!(SpoolIndex::decode(end, file.len() as u64 + 64).is_err());
        }

        #[test]
        fn a_flipped_bit_or_a_shorter_file_is_refused(index in index(), place: prop::sample::Index, bit in 0u8..8) {
            let (whole, frames) = (file(&index), index.frame_bytes() as usize);
            let place = frames + place.index(whole.len() - frames);
            prop_assert!(decode(&whole[..place]).is_err());
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << bit;
            prop_assert!(decode(&flipped).is_err());
        }

        /// Changed bytes whose checksum was made right again: refused, or another index's only encoding.
        #[test]
        fn hostile_bytes_are_refused_or_canonical(index in index(), place: prop::sample::Index, byte: u8) {
            let (mut bytes, frames) = (file(&index), index.frame_bytes() as usize);
            let end = bytes.len() - TAIL_BYTES - CHECKSUM_BYTES;
            bytes[frames + place.index(end - frames)] = byte;
            let checksum = XxHash3_64::oneshot(&bytes[frames..end]);
            bytes[end..end + CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
            if let Ok(index) = decode(&bytes) {
                prop_assert_eq!(file(&index), bytes);
            }
        }

        #[test]
        fn noise_is_refused(noise: Vec<u8>) {
            prop_assert!(decode(&noise).is_err());
        }
    }
}
