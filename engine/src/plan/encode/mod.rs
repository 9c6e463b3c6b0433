//! The physical plan as data: what the process that plans sends to those that work.
//!
//! In: a plan; or bytes, the closures that this process has named, the tables that it has opened. Out: bytes; or the same plan, its tables
//! opened here, its closures taken from here. Never: code, a file handle; bytes believed before their checksum agreed; memory by a length
//! that was not compared with the bytes that are left; a panic. One plan has one encoding, and bytes that are not it are refused.
//!
//! All numbers are little-endian.
//!
//! ```text
//! offset  bytes  what
//!      0      4  magic "WNDP"
//!      4      2  version, 6
//!      6      2  0
//!      8      8  content bytes c; with head and checksum at most PLAN_BYTES_MAX
//!     16      c  content
//!   16+c      8  checksum: XXH3-64 of the 16 + c bytes before it
//! ```
//! The content is the plan, field by field:
//!
//! | part | fields |
//! |---|---|
//! | plan | tables: list; output: schema; parameters: list of type; edges: list; stages: list |
//! | table | name: text; schema; codes: list of n; 0 Parquet, 1 CSV, 2 text, 4 JSON, 5 Arrow: list of file; 3 memory: batches; 6 lines: list of list of u64, list of file; 7 records: n bytes, list of file |
//! | file | path: long, absolute; bytes u64; modified: option of u64, whole seconds since 1970 |
//! | edge | schema; 0 groups: keys, count n; 1 broadcast; 2 gather |
//! | stage | 0 single, 1 splits, 2 groups: n; needs: list of n; states: list; pipelines: list |
//! | pipeline | source; transforms: list; state n; role; waits for: list of n |
//! | source | 0 scan: table n, columns: list of n, filters, tells ends: flag; 1 values: schema, batches; 2 state: n; 3 exchange: schema, list of n |
//! | transform | 0 filter: conjuncts, input; 1 project: expressions, input, output; 2 probe: n; 3 map batches: closure; 4 finish: aggregate |
//! | closure | number n; call site: text; output: schema |
//! | state | 0 aggregate; 1 hash join; 2 nested-loop join; 3 sort; 4 top-k; 5 limit: skip, fetch; 6 collect; 7 scalar: n; 8 write: target, schema; 9 exchange: n; 10 share: schema; 11 window; 12 map groups; 13 tee: list of n |
//! | target | path: long, absolute; shape; what if it exists; partitioned by: list of text; columns: list of (text, text) |
//! | map groups | part: option of n, count; keys; list of sort key; input: schema; closure |
//! | aggregate | phase; keys; calls: list; input, output: schema |
//! | call | function; arguments; filter: option; distinct: flag; order: list of sort key; returns: type |
//! | hash join | kind; build keys; probe keys; filter: option; output: list of join column; NULLs equal, NOT IN: flag; build, probe, output: schema |
//! | nested-loop join | kind; filter: option; output: list of join column; build, probe, output: schema |
//! | join filter | expression; list of join column |
//! | join column | 0 probe: n; 1 build: n; 2 mark |
//! | sort, top-k | list of sort key; schema; skip; fetch: option |
//! | window | keys; list of sort key; list of window call; bound: option of n, u64; input, output: schema |
//! | window call | 0 row number; 1 rank; 2 dense rank; 3 percent rank; 4 cume dist; 5 ntile: u64; 6 shifted: expression, i64, option of expression, flag; 7 nth: expression, i64, flag; 8 call; then unit, start, end: bound; returns: type |
//! | bound | 0 unbounded; 1 current row; 2 offset: i64; 3 value: expression |
//! | sort key | expression; descending, NULLs first: flag |
//! | expression | nodes: n; the nodes, children before their parent (`expression.rs`) |
//! | schema | metadata; list of field |
//! | field | name: text; flags u8: 1 nullable, 2 ordered dictionary; metadata; type |
//! | metadata | list of key, value: text; keys rising |
//! | type | tag u8 (`schema.rs`), then what it is made of |
//! | literal | type; nothing for Null, a frame of one row for nested types and dictionaries, else option of: a flag; a long; the bytes of its width |
//! | batches | list of: schema: option, where it is not that of the table or the values; frame: long |
//!
//! *n* is a u32; skip and fetch are u64; a *flag* is a u8, 0 or 1; a *tag*, as each first number above and each role, phase and kind, is a u8;
//! an *option* is a flag, and what is there after 1; a *long* is a length u32 and so many bytes, a *text* one of UTF-8; a *list* is a count u32
//! and so many items; conjuncts, filters, keys, arguments and expressions are lists of expression. A *frame* is `shuffle::frame`'s, of job 0.
//! Tables stand in the order in which scans first use them, equal ones once.
//!
//! ```text
//!   PhysicalPlan ──references──► plan ─► operator ─► expression ─► schema, values ─► writer ──► bytes
//!   PhysicalPlan ◄──references── plan ◄─ operator ◄─ expression ◄─ schema, values ◄─ reader ◄── bytes, Closures, OpenedTables
//! ```

mod expression; // expressions, sort keys
mod operator; // specs of operators, targets, tables
mod plan; // plan, edges, stages, pipelines, states
mod reader; // Reader: numbers, texts, lists within the bytes that are left
mod references; // check: what points into the plan points to something
mod schema; // types, fields, schemas
mod values; // literals, batches
mod window; // window functions and their frames
mod writer; // Writer: numbers, texts, lists within their caps

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests; // round trips of random plans, hostile bytes, the plans of statements

use std::{io, path::PathBuf};

use twox_hash::XxHash3_64;

use self::{reader::Reader, writer::Writer};
use super::{
    closures::{Closure, Closures},
    physical::PhysicalPlan,
};
use crate::{
    batch::datatypes::{DataType, SchemaRef},
    error::{Cause, Kind, Result},
    expression::Literal,
    scan::OpenedTables,
};

const MAGIC: [u8; 4] = *b"WNDP";
const VERSION: u16 = 8;
const HEADER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;

/// Longest plan, with head and checksum: rows and lists of values stand in it, but data belongs into files.
pub const PLAN_BYTES_MAX: usize = 256 << 20;
/// Longest text, value or frame of rows: what the longest frame is.
pub const TEXT_BYTES_MAX: usize = 64 << 20;
/// Most items of a list: columns, stages, files of a table.
pub const ITEMS_MAX: usize = 1 << 20;
/// Most nodes of all expressions of a plan; each becomes an [`Expression`](crate::expression::Expression) of some hundred bytes.
pub const NODES_MAX: usize = 1 << 24;
/// Deepest nesting of a type: walks over types recurse. Frames carry 32.
pub const TYPE_DEPTH_MAX: usize = 64;

const _: () = assert!(PLAN_BYTES_MAX <= u32::MAX as usize && TEXT_BYTES_MAX <= PLAN_BYTES_MAX);
const _: () = assert!(ITEMS_MAX <= NODES_MAX && NODES_MAX <= u32::MAX as usize);
const _: () = assert!(crate::limits::FILES_PER_TABLE_MAX <= ITEMS_MAX);

/// The plan as bytes. Paths become absolute.
pub fn encode(plan: &PhysicalPlan) -> Result<Vec<u8>> {
    references::check(plan)?;
    let mut writer = Writer::default();
    writer.raw(&MAGIC)?;
    writer.u16(VERSION);
    writer.u16(0);
    writer.u64(0);
    writer.plan(plan)?;
    let mut bytes = writer.bytes;
    let content_bytes = bytes.len() - HEADER_BYTES;
    within("bytes", bytes.len() + CHECKSUM_BYTES, PLAN_BYTES_MAX)?;
    bytes[8..HEADER_BYTES].copy_from_slice(&(content_bytes as u64).to_le_bytes());
    let checksum = XxHash3_64::oneshot(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// The plan that `bytes` is, all of it and nothing else.
///
/// `closures`: those that this process has named. `tables`: those of its files that it has opened already; it opens the others.
pub fn decode(bytes: &[u8], closures: &Closures, tables: &OpenedTables) -> Result<PhysicalPlan> {
    let mut reader = Reader::new(content(bytes)?, closures, tables);
    let plan = reader.plan()?;
    if !reader.rest.is_empty() {
        return Err(EncodeError::Malformed { what: "end" }.into());
    }
    references::check(&plan)?;
    Ok(plan)
}

/// A schema alone, as bytes.
pub fn schema_to_bytes(schema: &SchemaRef) -> Result<Vec<u8>> {
    let mut writer = Writer::default();
    writer.schema(schema)?;
    Ok(writer.bytes)
}

/// The schema that `schema_to_bytes` has written.
pub fn schema_from_bytes(bytes: &[u8]) -> Result<SchemaRef> {
    let (closures, tables) = (Closures::default(), OpenedTables::new(""));
    let mut reader = Reader::new(bytes, &closures, &tables);
    let schema = reader.schema()?;
    if reader.rest.is_empty() { Ok(schema) } else { Err(EncodeError::Malformed { what: "end" }.into()) }
}

/// One value alone, as bytes.
pub fn literal_to_bytes(literal: &Literal) -> Result<Vec<u8>> {
    let mut writer = Writer::default();
    writer.literal(literal)?;
    Ok(writer.bytes)
}

/// The value that `literal_to_bytes` has written.
pub fn literal_from_bytes(bytes: &[u8]) -> Result<Literal> {
    let (closures, tables) = (Closures::default(), OpenedTables::new(""));
    let mut reader = Reader::new(bytes, &closures, &tables);
    let literal = reader.literal()?;
    if reader.rest.is_empty() { Ok(literal) } else { Err(EncodeError::Malformed { what: "end" }.into()) }
}

/// What stands between head and checksum, which must agree.
fn content(bytes: &[u8]) -> Result<&[u8], EncodeError> {
    let found_bytes = within("bytes", bytes.len(), PLAN_BYTES_MAX)?;
    let least_bytes = HEADER_BYTES + CHECKSUM_BYTES;
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER_BYTES>().filter(|_| found_bytes >= least_bytes) else {
        return Err(EncodeError::Length { expected_bytes: least_bytes as u64, found_bytes });
    };
    let [m0, m1, m2, m3, v0, v1, zero_0, zero_1, length @ ..] = *head;
    let found = [m0, m1, m2, m3];
    if found != MAGIC {
        return Err(EncodeError::Magic { found });
    }
    let (version, flags) = (u16::from_le_bytes([v0, v1]), u16::from_le_bytes([zero_0, zero_1]));
    if version != VERSION || flags != 0 {
        return Err(EncodeError::Version { version, flags });
    }
    let expected_bytes = u64::from_le_bytes(length).saturating_add(least_bytes as u64);
    if expected_bytes != found_bytes as u64 {
        return Err(EncodeError::Length { expected_bytes, found_bytes });
    }
    let content_bytes = found_bytes - least_bytes;
    let (content, checksum) = rest.split_at(content_bytes);
    let computed = XxHash3_64::oneshot(&bytes[..HEADER_BYTES + content_bytes]);
    let stored = checksum.iter().rev().fold(0, |stored, byte| stored << 8 | u64::from(*byte));
    if computed == stored { Ok(content) } else { Err(EncodeError::Checksum { computed, stored }) }
}

/// What a plan says of a closure, for the fingerprint of a table of them.
pub(super) fn closure_bytes(closure: &Closure) -> Result<Vec<u8>> {
    let mut writer = Writer::default();
    writer.closure(closure)?;
    Ok(writer.bytes)
}

fn within(what: &'static str, found: usize, max: usize) -> Result<usize, EncodeError> {
    if found > max { Err(EncodeError::TooLarge { what, found, max }) } else { Ok(found) }
}

/// A choice that is nothing but its number in the bytes.
trait Tagged: Sized {
    /// As errors call it.
    const WHAT: &'static str;
    fn tag(&self) -> u8;
    fn of_tag(tag: u8) -> Option<Self>;
    /// Every one, for tests.
    #[cfg(test)]
    fn all() -> Vec<Self>;
}

/// Gives each variant its number, both ways; a variant without one does not compile.
macro_rules! tagged {
    ($name:ident, $what:literal, { $($variant:ident = $tag:literal),+ $(,)? }) => {
        impl $crate::plan::encode::Tagged for $name {
            const WHAT: &'static str = $what;
            fn tag(&self) -> u8 {
                match self {
                    $($name::$variant => $tag,)+
                }
            }
            fn of_tag(tag: u8) -> Option<$name> {
                match tag {
                    $($tag => Some($name::$variant),)+
                    _ => None,
                }
            }
            #[cfg(test)]
            fn all() -> Vec<$name> {
                vec![$($name::$variant),+]
            }
        }
    };
}
use tagged;

/// Why a plan has no bytes, or bytes are no plan.
#[derive(Debug, thiserror::Error)]
enum EncodeError {
    #[error("reading a plan of {expected_bytes} bytes from {found_bytes} bytes")]
    Length { expected_bytes: u64, found_bytes: usize },
    #[error("reading a plan where none begins: found {found:02x?}")]
    Magic { found: [u8; 4] },
    #[error(
        "reading a plan of version {version} with flags {flags:#x}; this build reads version {VERSION} without flags"
    )]
    Version { version: u16, flags: u16 },
    #[error("reading a plan with checksum {computed:#018x}, not {stored:#018x}")]
    Checksum { computed: u64, stored: u64 },
    #[error("a plan with {found} {what}, more than {max}")]
    TooLarge { what: &'static str, found: usize, max: usize },
    #[error("reading a plan that ends within its {what}")]
    Ends { what: &'static str },
    #[error("reading a plan whose {what} is not well formed")]
    Malformed { what: &'static str },
    #[error("reading a plan with a {what} of number {found}, which this build does not know")]
    UnknownTag { what: &'static str, found: u8 },
    #[error("a plan with the type {data_type}, of which there are no values")]
    UnknownType { data_type: DataType },
    #[error("a plan that names {what} {number} and has {count}")]
    Dangling { what: &'static str, number: usize, count: usize },
    #[error("a plan with {count} groups: not a power of two, or too many")]
    Groups { count: usize },
    #[error("making the path {} absolute", path.display())]
    Path { path: PathBuf, source: io::Error },
}

impl Cause for EncodeError {
    fn kind(&self) -> Kind {
        match self {
            EncodeError::TooLarge { .. } => Kind::Limit,
            EncodeError::UnknownType { .. } => Kind::Unsupported,
            EncodeError::Path { .. } => Kind::Request,
            _ => Kind::Corrupt,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            EncodeError::TooLarge { what: "bytes", .. } => {
                Some("write the rows that stand in the program to files, and read these".to_owned())
            }
            EncodeError::Version { .. } => Some("run the same version of windrow everywhere".to_owned()),
            _ => None,
        }
    }
}
