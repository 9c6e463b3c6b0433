//! Places: where files are, and how their bytes come and go.
//!
//! In: paths and byte ranges. Out: bytes, on the I/O threads; or an error that names the path, the offset and the cause. Never:
//! knows a format.

mod append; // Appender: a file that grows in order, aside
mod buffers; // Buffers: what is read into again and again
mod disk; // Disk: changes to the file system, a call each
mod io; // Io: the I/O threads and their bounded queue
mod lines; // bytes that lie in memory as they do in the file
mod local; // LocalFile, OpenFile: positioned reads

pub use append::Appender;
pub use buffers::Buffers;
pub use disk::Disk;
#[cfg(test)]
pub use disk::faults;
pub use io::Io;
pub use lines::write_laid;
pub use local::{LocalFile, OpenFile, StoreError, expand, remove_all};
