//! The directory of a hash join: from a hash to the build rows that may be meant, in one look for most misses.
//!
//! In: (hash, word, row) of the build rows, scattered to partitions by the threads that read them. Out: [`Candidate`]s for the
//! hashes of a probe batch, then pairs whose words are equal. Never: chains; the rows of a bucket stand side by side.
//!
//! ```text
//!   hash   63 ……… 48 │ 47 ……… 32 │ 31 …… 26 │ 25 ………… 0
//!                     │  tag      │ partition │ bucket: the upper `bucket_bits` of these
//!
//!   slots    ┌ start of bucket 0 │ ┬ start of bucket 1 │ tags of 0 ┬ start of bucket 2 │ tags of 1 ┬ …   u64 = 48 + 16 bits
//!   entries  │ word row │ word row │ …                                                                  by bucket
//! ```
//! A bucket is `entries[start of it .. start of the next]`; the 16 bits beside the end are a small Bloom filter of its hashes, so a
//! probe that misses looks at one line of slots and at no entry. Built by counting, summing up and scattering, each partition by
//! itself, so no two tasks write to the same place. After Birler, Schmidt, Fent, Neumann: Simple, Efficient, and Robust Hash
//! Tables for Join Processing (DaMoN 2024).
//!
//! The loops that wait for memory (slots, entries) do nothing else and branch on nothing they wait for, so that the processor has
//! the cache misses of many rows under way at once, without prefetch instructions.

use super::pairs::Pairs;
use crate::batch::buffer::{BooleanBuffer, NullBuffer};

const PARTITION_BITS: u32 = 6;
/// Partitions of the build side: tasks that build it, and what one thread scatters into while they stay in its L1.
pub(super) const PARTITIONS: usize = 1 << PARTITION_BITS;
const BUCKET_BITS_MAX: u32 = 32 - PARTITION_BITS;

/// A build row on its way into the directory.
#[derive(Clone, Copy)]
struct Pending {
    hash: u64,
    word: u64,
    /// Counted from the first row of the thread that read it.
    row: u32,
}

/// The build rows that one thread has read, by partition.
pub(super) struct Scattered {
    partitions: Vec<Vec<Pending>>,
}

impl Scattered {
    /// Bytes a row takes until the directory is built.
    pub(super) const BYTES_PER_ROW: usize = size_of::<Pending>();

    pub(super) fn new() -> Scattered {
        Scattered { partitions: (0..PARTITIONS).map(|_| Vec::new()).collect() }
    }

    /// Adds the valid rows of one batch, whose first row has the number `first_row`.
    pub(super) fn add(&mut self, hashes: &[u64], words: &[u64], valid: Option<&NullBuffer>, first_row: u32) {
        for (number, (hash, word)) in hashes.iter().zip(words).enumerate() {
            if valid.is_none_or(|valid| valid.is_valid(number)) {
                let pending = Pending { hash: *hash, word: *word, row: first_row + number as u32 };
                self.partitions[partition_of(*hash)].push(pending);
            }
        }
    }

    /// The rows of one partition; what follows it is empty.
    pub(super) fn take(&mut self, partition: usize) -> PendingRows {
        PendingRows(std::mem::take(&mut self.partitions[partition]))
    }

    pub(super) fn rows(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }
}

/// The rows of one thread in one partition.
pub(super) struct PendingRows(Vec<Pending>);

/// A build row in its bucket, with what tells it from others.
#[derive(Clone, Copy, Default)]
struct Entry {
    word: u64,
    row: u32,
}

/// One sixty-fourth of the directory.
#[derive(Default)]
pub(super) struct Partition {
    /// Invariant: one more than there are buckets; the starts (upper 48 bits) never fall and end with the number of entries.
    slots: Vec<u64>,
    entries: Vec<Entry>,
}

impl Partition {
    /// Bytes of a directory of `rows` rows.
    pub(super) fn bytes(rows: usize) -> usize {
        rows * size_of::<Entry>() + (PARTITIONS << bucket_bits(rows)) * size_of::<u64>()
    }

    /// `threads`: the rows of each thread in this partition, with the number of the thread's first row.
    pub(super) fn build(threads: Vec<(u32, PendingRows)>, bucket_bits: u32) -> Partition {
        let buckets = 1 << bucket_bits;
        let mut slots = vec![0_u64; buckets + 1];
        for (_, PendingRows(rows)) in &threads {
            count(rows, bucket_bits, &mut slots);
        }
        // Starts, one slot early: the scatter moves each on to its end, which is the start of the next bucket.
        let mut start = 0;
        for slot in &mut slots[1..] {
            let rows = *slot >> 16;
            *slot = (start << 16) | (*slot & 0xffff);
            start += rows;
        }
        let mut entries = vec![Entry::default(); start as usize];
        for (first_row, PendingRows(rows)) in threads {
            scatter(&rows, first_row, bucket_bits, &mut slots, &mut entries);
        }
        Partition { slots, entries }
    }
}

fn count(rows: &[Pending], bucket_bits: u32, slots: &mut [u64]) {
    for pending in rows {
        let slot = &mut slots[bucket_of(pending.hash, bucket_bits) + 1];
        *slot = (*slot + (1 << 16)) | tag_of(pending.hash);
    }
}

fn scatter(rows: &[Pending], first_row: u32, bucket_bits: u32, slots: &mut [u64], entries: &mut [Entry]) {
    for pending in rows {
        let slot = &mut slots[bucket_of(pending.hash, bucket_bits) + 1];
        entries[(*slot >> 16) as usize] = Entry { word: pending.word, row: first_row + pending.row };
        *slot += 1 << 16;
    }
}

/// The directory, built.
pub(super) struct Directory {
    partitions: Box<[Partition; PARTITIONS]>,
    bucket_bits: u32,
    rows: usize,
}

/// The entries that may match a probe row: a range in a partition, not empty.
#[derive(Clone, Copy, Default)]
struct Candidate {
    probe: u32,
    partition: u32,
    start: u32,
    end: u32,
}

/// An entry that is to be compared with a probe row.
#[derive(Clone, Copy, Default)]
struct Comparison {
    probe: u32,
    partition: u32,
    entry: u32,
}

/// What one thread needs to look things up; kept from batch to batch.
#[derive(Default)]
pub(super) struct LookUp {
    candidates: Vec<Candidate>,
    /// How far the candidates have been turned into pairs.
    cursor: Cursor,
    /// Slots as they were found: of the bucket, and of the next.
    slots: Vec<[u64; 2]>,
    comparisons: Vec<Comparison>,
    /// Entries as they were found.
    entries: Vec<Entry>,
}

#[derive(Default)]
struct Cursor {
    candidate: usize,
    /// Entries of the candidate that have been compared.
    entries: u32,
}

/// Rows whose slots, and entries that are compared, at a time: what lies between the loops stays in L1.
const AT_ONCE: usize = 1_024;

impl Directory {
    /// `partitions`: all of them, in order, built with `bucket_bits`.
    pub(super) fn new(partitions: Vec<Partition>, bucket_bits: u32) -> Option<Directory> {
        let rows = partitions.iter().map(|partition| partition.entries.len()).sum();
        Some(Directory { partitions: partitions.try_into().ok()?, bucket_bits, rows })
    }

    /// Rows that it knows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The word of each row, in no order.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.partitions.iter().flat_map(|partition| &partition.entries).map(|entry| entry.word)
    }

    /// For which hashes there may be a row: true for all for which there is one.
    pub(super) fn may_hold(&self, hashes: &[u64]) -> BooleanBuffer {
        BooleanBuffer::collect_bool(hashes.len(), |row| {
            let hash = hashes[row];
            let next = self.partitions[partition_of(hash)].slots[bucket_of(hash, self.bucket_bits) + 1];
            let tag = tag_of(hash);
            next & tag == tag
        })
    }

    /// Begins a batch of probe rows with these hashes.
    pub(super) fn look_up(&self, hashes: &[u64], valid: Option<&NullBuffer>, state: &mut LookUp) {
        let LookUp { candidates, cursor, slots, .. } = state;
        *cursor = Cursor::default();
        candidates.resize(hashes.len(), Candidate::default());
        slots.resize(AT_ONCE, [0; 2]);
        let mut found = 0;
        for (chunk, hashes) in hashes.chunks(AT_ONCE).enumerate() {
            self.fetch_slots(hashes, slots);
            let (first, slots) = (chunk * AT_ONCE, &slots[..hashes.len()]);
            found = match valid {
                None => keep_candidates(hashes, slots, first, |_| true, candidates, found),
                Some(valid) => keep_candidates(hashes, slots, first, |row| valid.is_valid(row), candidates, found),
            };
        }
        candidates.truncate(found);
    }

    fn fetch_slots(&self, hashes: &[u64], found: &mut [[u64; 2]]) {
        for (hash, found) in hashes.iter().zip(found) {
            let slots = &self.partitions[partition_of(*hash)].slots;
            let bucket = bucket_of(*hash, self.bucket_bits);
            *found = [slots[bucket], slots[bucket + 1]];
        }
    }

    /// Adds pairs of equal words to `pairs` until they are `limit`; true when all candidates have been compared. Rows for which
    /// `skip` is true are passed over.
    pub(super) fn fill(
        &self,
        words: &[u64],
        skip: Option<&[bool]>,
        limit: usize,
        state: &mut LookUp,
        pairs: &mut Pairs,
    ) -> bool {
        let LookUp { candidates, cursor, comparisons, entries, .. } = state;
        entries.resize(AT_ONCE, Entry::default());
        while cursor.candidate < candidates.len() {
            if pairs.len() >= limit {
                return false;
            }
            comparisons.clear();
            list_comparisons(candidates, skip, cursor, AT_ONCE.min(limit - pairs.len()), comparisons);
            self.fetch_entries(comparisons, entries);
            keep_pairs(comparisons, entries, words, pairs);
        }
        true
    }

    fn fetch_entries(&self, comparisons: &[Comparison], found: &mut [Entry]) {
        for (comparison, found) in comparisons.iter().zip(found) {
            *found = self.partitions[comparison.partition as usize % PARTITIONS].entries[comparison.entry as usize];
        }
    }

    /// Sets `matched` for the probe rows that have an entry of their word.
    pub(super) fn exists(&self, words: &[u64], state: &mut LookUp, matched: &mut [bool]) {
        let LookUp { candidates, cursor, comparisons, entries, .. } = state;
        entries.resize(AT_ONCE, Entry::default());
        while cursor.candidate < candidates.len() {
            comparisons.clear();
            list_comparisons(candidates, Some(matched), cursor, AT_ONCE, comparisons);
            self.fetch_entries(comparisons, entries);
            for (comparison, entry) in comparisons.iter().zip(&*entries) {
                matched[comparison.probe as usize] |= entry.word == words[comparison.probe as usize];
            }
        }
    }
}

#[inline(always)]
fn keep_candidates(
    hashes: &[u64],
    slots: &[[u64; 2]],
    first_row: usize,
    is_valid: impl Fn(usize) -> bool,
    candidates: &mut [Candidate],
    mut found: usize,
) -> usize {
    for (row, (hash, [slot, next])) in hashes.iter().zip(slots).enumerate() {
        let row = first_row + row;
        candidates[found] = Candidate {
            probe: row as u32,
            partition: partition_of(*hash) as u32,
            start: (slot >> 16) as u32,
            end: (next >> 16) as u32,
        };
        // Always written, kept by moving on: whether a row hits is as unpredictable as the data.
        let tag = tag_of(*hash);
        found += usize::from((next & tag == tag) & is_valid(row));
    }
    found
}

/// Lists the entries of the candidates from `cursor` on, at most `limit`.
fn list_comparisons(
    candidates: &[Candidate],
    skip: Option<&[bool]>,
    cursor: &mut Cursor,
    limit: usize,
    comparisons: &mut Vec<Comparison>,
) {
    for candidate in &candidates[cursor.candidate..] {
        let Candidate { probe, partition, start, end } = *candidate;
        if skip.is_none_or(|skip| !skip[probe as usize]) {
            let first = start + cursor.entries;
            let last = end.min(first.saturating_add((limit - comparisons.len()) as u32));
            comparisons.extend((first..last).map(|entry| Comparison { probe, partition, entry }));
            if last < end {
                cursor.entries += last - first;
                return;
            }
        }
        *cursor = Cursor { candidate: cursor.candidate + 1, entries: 0 };
    }
}

fn keep_pairs(comparisons: &[Comparison], entries: &[Entry], words: &[u64], pairs: &mut Pairs) {
    let first = pairs.len();
    pairs.probe.resize(first + comparisons.len(), 0);
    pairs.build.resize(first + comparisons.len(), 0);
    let (probe, build) = (&mut pairs.probe[first..], &mut pairs.build[first..]);
    let mut kept = 0;
    for (comparison, entry) in comparisons.iter().zip(entries) {
        (probe[kept], build[kept]) = (comparison.probe, entry.row);
        kept += usize::from(entry.word == words[comparison.probe as usize]);
    }
    pairs.probe.truncate(first + kept);
    pairs.build.truncate(first + kept);
}

/// Bits of the bucket number in a partition of a directory of `rows` rows: between one and two buckets a row.
pub(super) fn bucket_bits(rows: usize) -> u32 {
    rows.div_ceil(PARTITIONS).next_power_of_two().trailing_zeros().min(BUCKET_BITS_MAX)
}

#[inline(always)]
fn partition_of(hash: u64) -> usize {
    (hash as u32 >> BUCKET_BITS_MAX) as usize
}

#[inline(always)]
fn bucket_of(hash: u64, bucket_bits: u32) -> usize {
    (u64::from((hash as u32) << PARTITION_BITS) >> (32 - bucket_bits)) as usize
}

/// Up to four of 16 bits, never none.
#[inline(always)]
fn tag_of(hash: u64) -> u64 {
    let tag = hash >> 32;
    (1 << (tag & 15)) | (1 << (tag >> 4 & 15)) | (1 << (tag >> 8 & 15)) | (1 << (tag >> 12 & 15))
}
