//! Where rows go: files written aside, then committed all at once.
//!
//! In: morsels. Out: a folder of files and `_SUCCESS`, or nothing; where an output was replaced or added to, the one or the other. Never:
//! lets anybody see a half-written output.
//!
//! ```text
//!   .NAME.windrow-JOB/          what attempts write: STAGE.TASK.ATTEMPT-N.parquet; those that failed leave theirs
//!   .NAME.windrow-JOB.new/      what is put together: the parts that count under their names, links to what is added to, _SUCCESS
//!   NAME                        one rename, or, where there is an output, one exchange of names
//! ```

mod beside; // Beside: the places beside an output, and what ended runs have left there
mod commit; // commit: what tasks have written becomes one output
mod folders; // Folders: the rows of a batch by the folder they belong to
mod in_order; // InOrder: morsels that threads encode, in one file in the order of their places
mod kept; // kept: an output that a run finds where it would write one itself
mod manifest; // Manifest: what an attempt has written
mod parts; // OpenParts: the part files that a thread has open, a folder each
mod success; // Success: what _SUCCESS says
mod target; // Target: where, in which shape, and what if something is there
mod write; // Writing: part files, encoded on the compute threads, written on the I/O threads

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests; // outputs that are interrupted at every call

pub use commit::{Written, check_place, commit_manifests, discard, prepare};
pub use kept::kept;
pub use target::{IfExists, Target};
pub use write::{Order, Writing};
