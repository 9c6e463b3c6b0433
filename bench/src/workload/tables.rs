//! Workloads over tables: join, aggregation.
//!
//! In: Parquet files with a key `k` and a number `v`, as `windrow gen groups` makes them. Out: folders of Parquet files. Never: SQL; the same by the
//! Rust API.

use std::path::Path;

use windrow::{Dataset, Result, Session, Sum, sink::Written};

fn pairs(session: &Session, file: &Path) -> Result<Dataset<(u64, i64)>> {
    session.read_parquet(&file.to_string_lossy())?.select(["k", "v"])?.typed()
}

/// How often each key of `input` is there, and the sum of its numbers.
pub fn aggregation(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    let counted = pairs(session, input)?.map_view::<(u64, (i64, i64))>(|(key, value)| (key, (1, value)));
    counted.reduce_by_key((Sum, Sum)).named(["k", "count", "sum"])?.write_parquet(out)
}

/// The rows of `facts.parquet` in `input`, each with the number of its key in `keys.parquet`.
pub fn join(session: &Session, input: &Path, out: &Path) -> Result<Written> {
    let (facts, keys) = (pairs(session, &input.join("facts.parquet"))?, pairs(session, &input.join("keys.parquet"))?);
    facts.join(keys).named(["k", "v", "number"])?.write_parquet(out)
}
