//! Where rows go: files written aside, then committed all at once.
//!
//! In: morsels. Out: a folder of files and `_SUCCESS`, or nothing. Never: lets anybody see a half-written output.

mod commit; // Commit: the temporary folder, the renames, _SUCCESS
mod manifest; // commit_manifests: what tasks of a cluster have written becomes one output
mod target; // Target: where and in which shape
mod write; // Writing: one part file a thread, encoded on the compute threads, written on the I/O threads

pub use commit::Written;
pub use manifest::{check_free, commit_manifests};
pub use target::Target;
pub use write::Writing;
