//! The journal's record: what the coordinator writes and syncs before it acts. Drawn here; its code comes with the
//! cluster.
//!
//! In: events in their order. Out: the same events, after a crash, up to the last that was whole. Never: an event acted
//! upon before it is durable; a hole; a record of another job or of an epoch that has ended.
//!
//! One file a job and epoch, `journal.<epoch>`, records one after the other, each at a multiple of 8 bytes:
//!
//! ```text
//! offset  bytes  what, little-endian
//!      0      4  magic "WNDJ"
//!      4      2  version, 1
//!      6      2  kind: 1 job, 2 plan shipped, 3 decision, 4 attempt ended, 5 edge durable, 6 action's result,
//!                7 output commit, 8 job ended
//!      8      8  job
//!     16      8  index: 0 in the first file of a job, then one more each, across files
//!     24      4  epoch of the coordinator that wrote it
//!     28      4  payload length in bytes, at most PAYLOAD_BYTES_MAX
//!     32      8  checksum of the record before it in the job's journal, 0 for the first: records cannot be cut out
//!     40      p  payload: by kind its own format (a decision is `plan/decision.rs`'s record); plans are opaque bytes
//!   40+p         zeros up to a multiple of 8, less than 8
//!      …      8  checksum: XXH3-64 of all bytes of the record before it
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
