//! The index of a spool: where the frames of each group stand in the file of one attempt. Drawn here; its code comes
//! with the cluster, as in one process nothing is spooled between nodes.
//!
//! In: what the builders of an attempt have written. Out: for a pull, the range of one group's frames, and what they
//! must add up to. Never: read before its checksum has been compared; written before the frames that it names are.
//!
//! One file an attempt, `<job>/<stage>.<round>.<task>.<attempt>.spool`: first the frames of group 0 in order of their
//! sequence, then those of group 1, …, each frame a multiple of 64 bytes (`frame.rs`), and then the index, so that one
//! sequential write makes it all. A reader begins with the last 16 bytes.
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
//!                    16  8  frame count: sequences 0 to count − 1
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
//! differ the attempt is lost, not corrected.
