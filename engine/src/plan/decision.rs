//! A choice made while the job runs, as the record that every attempt of a task takes it from.
//!
//! In: what was chosen, from order-free facts (rows, bytes, sketches in ledgers, file footers). Out: bytes for the
//! journal, written and synced before the first task that uses the decision starts; and the same decision again, for
//! each attempt and after every restart. Never: time, threads, memory or chance as a reason; a value that two encodings
//! say.
//!
//! All numbers are little-endian.
//!
//! ```text
//! offset  bytes  what
//!      0      4  magic "WNDD"
//!      4      2  version, 1
//!      6      2  kind, as below
//!      8      8  job
//!     16      4  decision number: 0, 1, … within the job
//!     20      4  stage that uses it
//!     24      4  round
//!     28      4  payload bytes p, at most PAYLOAD_BYTES_MAX
//!     32      p  payload
//!   32+p      8  checksum: XXH3-64 of the 32 + p bytes before it
//! ```
//!
//! | kind | decision | payload |
//! |---|---|---|
//! | 1 | runtime filter | filter u32, has range u8 (then minimum bytes, maximum bytes), bloom bytes |
//! | 2 | join | join u32, build side u8 (0 left, 1 right), exchange u8 (0 shuffle, 1 broadcast) |
//! | 3 | range splitters | exchange u32, count u32, each bytes, never falling |
//! | 4 | pre-aggregation | aggregate u32, on u8 |
//! | 5 | skew splits | exchange u32, count u32, each: group u16, pieces u16; groups rising, pieces at least 2 |
//! | 6 | scalar subquery's value | subquery u32, is not null u8 (then bytes) |
//! | 7 | loop result | loop u32, goes on u8, value bytes |
//! | 8 | limit reached | limit u32, rows u64 |
//!
//! *bytes* is a length u32, at most `VALUE_BYTES_MAX` (`BLOOM_BYTES_MAX` for the filter), and so many bytes. A flag is
//! 0 or 1.

use std::fmt;

use twox_hash::XxHash3_64;

use crate::error::{Cause, Kind};
use crate::kernel::GROUPS_MAX;
use crate::shuffle::{GroupId, JobId, Round, StageId};

const MAGIC: [u8; 4] = *b"WNDD";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;

/// Longest payload: a record is synced and held by every worker of the job.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// Longest value: a key, a splitter, a subquery's answer.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Largest Bloom filter: 1.4 million keys at 12 bits. A build side with more keys has only a range.
pub const BLOOM_BYTES_MAX: usize = 2 << 20;
/// Most splitters of a range exchange: its groups, each cut at the receiver 16 times.
pub const SPLITTERS_MAX: usize = 16 * GROUPS_MAX;

const _: () = assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);
// The greatest filter fits: its number, a flag, three lengths, two keys.
const _: () = assert!(4 + 1 + 3 * 4 + 2 * VALUE_BYTES_MAX + BLOOM_BYTES_MAX <= PAYLOAD_BYTES_MAX);

/// Which decision of the job, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionNumber(pub u32);

impl fmt::Display for DecisionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A decision with its place in the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// Which job.
    pub job: JobId,
    /// Which decision of the job.
    pub number: DecisionNumber,
    /// The stage whose tasks use it: none of them starts before the record is durable.
    pub stage: StageId,
    /// The turn of a loop; 0 outside of loops.
    pub round: Round,
    /// What was chosen.
    pub decision: Decision,
}

/// What can be chosen while a job runs. The first field of each names the node of the physical plan that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// What a probe row's key must be to have a match: made of the whole build side or not at all.
    RuntimeFilter {
        /// Which filter of the plan.
        filter: u32,
        /// Smallest and largest key; none when the build side is empty and no row passes.
        range: Option<KeyRange>,
        /// A blocked Bloom filter of the key hashes; empty when none was made.
        bloom: Vec<u8>,
    },
    /// How the sides of a join meet.
    Join {
        /// Which join of the plan.
        join: u32,
        /// The side whose table is built.
        build: Side,
        /// How the build side travels.
        exchange: JoinExchange,
    },
    /// Where an ORDER BY is cut into ranges: keys in row form, which compare as bytes, never falling.
    RangeSplitters {
        /// Which exchange of the plan.
        exchange: u32,
        /// One fewer than ranges.
        splitters: Vec<Vec<u8>>,
    },
    /// Whether the tasks aggregate before the exchange.
    PreAggregate {
        /// Which aggregate of the plan.
        aggregate: u32,
        /// They do.
        is_on: bool,
    },
    /// Groups so large that several tasks share one.
    SkewSplits {
        /// Which exchange of the plan.
        exchange: u32,
        /// By rising group.
        splits: Vec<SkewSplit>,
    },
    /// The answer of a scalar subquery, as the operator that uses it encodes it.
    ScalarValue {
        /// Which subquery of the plan.
        subquery: u32,
        /// None for null.
        value: Option<Vec<u8>>,
    },
    /// What a turn of a loop gave, and whether another follows.
    LoopResult {
        /// Which loop of the plan.
        loop_index: u32,
        /// Another turn follows.
        goes_on: bool,
        /// What the driver's closure saw.
        value: Vec<u8>,
    },
    /// Enough rows are there: what is left need not run.
    LimitReached {
        /// Which limit of the plan.
        limit: u32,
        /// So many rows were there.
        rows: u64,
    },
}

/// Keys in row form, which compare as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The smallest key.
    pub minimum: Vec<u8>,
    /// The largest key, not below `minimum`.
    pub maximum: Vec<u8>,
}

/// A side of a join, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the word JOIN.
    Left,
    /// After it.
    Right,
}

/// How the build side of a join travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinExchange {
    /// Both sides go to the groups of their keys.
    Shuffle,
    /// The build side goes to every node, the probe side stays.
    Broadcast,
}

/// A group that several tasks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkewSplit {
    /// Which group.
    pub group: GroupId,
    /// How many tasks, at least 2.
    pub pieces: u16,
}

/// Why a decision is no record, or bytes are none.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// Fewer or more bytes than the record's own.
    #[error("read a decision of {expected_bytes} bytes from {found_bytes} bytes")]
    Length {
        /// What there should be.
        expected_bytes: usize,
        /// What there is.
        found_bytes: usize,
    },
    /// Something else stands there.
    #[error("read a decision where none begins: found {found:02x?}")]
    Magic {
        /// The first bytes.
        found: [u8; 4],
    },
    /// Written by another version.
    #[error("read a decision of version {found}; this build reads version {VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// A bit has flipped.
    #[error("read a decision with checksum {computed:#018x}, not {stored:#018x}")]
    Checksum {
        /// What the bytes give.
        computed: u64,
        /// What the record says.
        stored: u64,
    },
    /// A bound was reached.
    #[error("a decision with {found} {what}, more than {max}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: usize,
        /// How much may be.
        max: usize,
    },
    /// No decision has this number.
    #[error("read a decision of kind {found}, which this build does not know")]
    UnknownKind {
        /// The kind.
        found: u16,
    },
    /// The payload ends too early or too late, or a flag is neither 0 nor 1.
    #[error("read a decision of kind {kind} whose {what} is not well formed")]
    Malformed {
        /// The kind.
        kind: u16,
        /// Which part.
        what: &'static str,
    },
    /// What must rise falls.
    #[error("a decision whose {what} are out of order")]
    Disordered {
        /// Splitters, keys or groups.
        what: &'static str,
    },
}

impl Cause for DecisionError {
    fn kind(&self) -> Kind {
        match self {
            DecisionError::TooLarge { .. } => Kind::Limit,
            _ => Kind::Corrupt,
        }
    }
}

impl DecisionRecord {
    /// Appends the record to `out`, which on an error is as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), DecisionError> {
        self.decision.check()?;
        let mut payload = Vec::new();
        let kind = self.decision.write(&mut payload)?;
        check("bytes", payload.len(), PAYLOAD_BYTES_MAX)?;

        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&self.job.0.to_le_bytes());
        out.extend_from_slice(&self.number.0.to_le_bytes());
        out.extend_from_slice(&self.stage.0.to_le_bytes());
        out.extend_from_slice(&self.round.0.to_le_bytes());
        out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&payload);
        let checksum = XxHash3_64::oneshot(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
        Ok(())
    }

    /// The record that `bytes` is, all of it and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<DecisionRecord, DecisionError> {
        let expected_bytes = HEADER_BYTES + CHECKSUM_BYTES;
        let found_bytes = bytes.len();
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>().filter(|_| found_bytes >= expected_bytes) else {
            return Err(DecisionError::Length { expected_bytes, found_bytes });
        };
        let mut header = Reader { kind: 0, rest: header };
        let found = header.array("magic")?;
        if found != MAGIC {
            return Err(DecisionError::Magic { found });
        }
        let version = header.u16("version")?;
        if version != VERSION {
            return Err(DecisionError::Version { found: version });
        }
        let kind = header.u16("kind")?;
        let job = JobId(u64::from_le_bytes(header.array("job")?));
        let number = DecisionNumber(header.u32("number")?);
        let stage = StageId(header.u32("stage")?);
        let round = Round(header.u32("round")?);
        let payload_bytes = check("bytes", header.u32("payload length")? as usize, PAYLOAD_BYTES_MAX)?;

        let expected_bytes = expected_bytes + payload_bytes;
        let Some((signed, stored)) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().filter(|_| found_bytes == expected_bytes)
        else {
            return Err(DecisionError::Length { expected_bytes, found_bytes });
        };
        let (computed, stored) = (XxHash3_64::oneshot(signed), u64::from_le_bytes(*stored));
        if computed != stored {
            return Err(DecisionError::Checksum { computed, stored });
        }
        let decision = Decision::read(Reader { kind, rest: &signed[HEADER_BYTES..] })?;
        decision.check()?;
        Ok(DecisionRecord { job, number, stage, round, decision })
    }
}

fn check(what: &'static str, found: usize, max: usize) -> Result<usize, DecisionError> {
    if found > max { Err(DecisionError::TooLarge { what, found, max }) } else { Ok(found) }
}

impl Decision {
    /// What must hold of a decision, asked when it is written and when it is read.
    fn check(&self) -> Result<(), DecisionError> {
        let (is_ordered, what) = match self {
            Decision::RuntimeFilter { range: Some(range), .. } => (range.minimum <= range.maximum, "keys"),
            Decision::RangeSplitters { splitters, .. } => (splitters.is_sorted(), "splitters"),
            Decision::SkewSplits { splits, .. } => (
                splits.is_sorted_by(|a, b| a.group < b.group) && splits.iter().all(|split| split.pieces >= 2),
                "splits",
            ),
            _ => (true, ""),
        };
        if is_ordered { Ok(()) } else { Err(DecisionError::Disordered { what }) }
    }

    /// Appends the payload to `out`; returns the kind.
    fn write(&self, out: &mut Vec<u8>) -> Result<u16, DecisionError> {
        let number = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_le_bytes());
        let bytes = |out: &mut Vec<u8>, what: &'static str, value: &[u8], max: usize| {
            check(what, value.len(), max)?;
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
            Ok(())
        };
        Ok(match self {
            Decision::RuntimeFilter { filter, range, bloom } => {
                number(out, *filter);
                out.push(u8::from(range.is_some()));
                if let Some(range) = range {
                    bytes(out, "bytes of a key", &range.minimum, VALUE_BYTES_MAX)?;
                    bytes(out, "bytes of a key", &range.maximum, VALUE_BYTES_MAX)?;
                }
                bytes(out, "bytes of a filter", bloom, BLOOM_BYTES_MAX)?;
                1
            }
            Decision::Join { join, build, exchange } => {
                number(out, *join);
                out.push(u8::from(*build == Side::Right));
                out.push(u8::from(*exchange == JoinExchange::Broadcast));
                2
            }
            Decision::RangeSplitters { exchange, splitters } => {
                number(out, *exchange);
                number(out, check("splitters", splitters.len(), SPLITTERS_MAX)? as u32);
                for splitter in splitters {
                    bytes(out, "bytes of a splitter", splitter, VALUE_BYTES_MAX)?;
                }
                3
            }
            Decision::PreAggregate { aggregate, is_on } => {
                number(out, *aggregate);
                out.push(u8::from(*is_on));
                4
            }
            Decision::SkewSplits { exchange, splits } => {
                number(out, *exchange);
                number(out, check("splits", splits.len(), GROUPS_MAX)? as u32);
                for split in splits {
                    out.extend_from_slice(&split.group.0.to_le_bytes());
                    out.extend_from_slice(&split.pieces.to_le_bytes());
                }
                5
            }
            Decision::ScalarValue { subquery, value } => {
                number(out, *subquery);
                out.push(u8::from(value.is_some()));
                if let Some(value) = value {
                    bytes(out, "bytes of a value", value, VALUE_BYTES_MAX)?;
                }
                6
            }
            Decision::LoopResult { loop_index, goes_on, value } => {
                number(out, *loop_index);
                out.push(u8::from(*goes_on));
                bytes(out, "bytes of a value", value, VALUE_BYTES_MAX)?;
                7
            }
            Decision::LimitReached { limit, rows } => {
                number(out, *limit);
                out.extend_from_slice(&rows.to_le_bytes());
                8
            }
        })
    }

    /// The decision of a payload, all of it.
    fn read(mut from: Reader<'_>) -> Result<Decision, DecisionError> {
        let decision = match from.kind {
            1 => Decision::RuntimeFilter {
                filter: from.u32("filter")?,
                range: if from.flag("range")? {
                    let minimum = from.bytes("minimum", VALUE_BYTES_MAX)?;
                    Some(KeyRange { minimum, maximum: from.bytes("maximum", VALUE_BYTES_MAX)? })
                } else {
                    None
                },
                bloom: from.bytes("filter", BLOOM_BYTES_MAX)?,
            },
            2 => Decision::Join {
                join: from.u32("join")?,
                build: if from.flag("build side")? { Side::Right } else { Side::Left },
                exchange: if from.flag("exchange")? { JoinExchange::Broadcast } else { JoinExchange::Shuffle },
            },
            3 => {
                let exchange = from.u32("exchange")?;
                let count = check("splitters", from.u32("count")? as usize, SPLITTERS_MAX)?;
                let splitters =
                    (0..count).map(|_| from.bytes("splitter", VALUE_BYTES_MAX)).collect::<Result<_, _>>()?;
                Decision::RangeSplitters { exchange, splitters }
            }
            4 => Decision::PreAggregate { aggregate: from.u32("aggregate")?, is_on: from.flag("switch")? },
            5 => {
                let exchange = from.u32("exchange")?;
                let count = check("splits", from.u32("count")? as usize, GROUPS_MAX)?;
                let splits = (0..count)
                    .map(|_| Ok(SkewSplit { group: GroupId(from.u16("group")?), pieces: from.u16("pieces")? }))
                    .collect::<Result<_, DecisionError>>()?;
                Decision::SkewSplits { exchange, splits }
            }
            6 => Decision::ScalarValue {
                subquery: from.u32("subquery")?,
                value: if from.flag("value")? { Some(from.bytes("value", VALUE_BYTES_MAX)?) } else { None },
            },
            7 => Decision::LoopResult {
                loop_index: from.u32("loop")?,
                goes_on: from.flag("switch")?,
                value: from.bytes("value", VALUE_BYTES_MAX)?,
            },
            8 => Decision::LimitReached { limit: from.u32("limit")?, rows: u64::from_le_bytes(from.array("rows")?) },
            found => return Err(DecisionError::UnknownKind { found }),
        };
        if from.rest.is_empty() { Ok(decision) } else { Err(DecisionError::Malformed { kind: from.kind, what: "end" }) }
    }
}

/// Fields one after the other; each says that it ends too early by its name.
struct Reader<'a> {
    kind: u16,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn array<const BYTES: usize>(&mut self, what: &'static str) -> Result<[u8; BYTES], DecisionError> {
        let malformed = DecisionError::Malformed { kind: self.kind, what };
        let (field, rest) = self.rest.split_first_chunk().ok_or(malformed)?;
        self.rest = rest;
        Ok(*field)
    }
    fn u16(&mut self, what: &'static str) -> Result<u16, DecisionError> {
        self.array(what).map(u16::from_le_bytes)
    }
    fn u32(&mut self, what: &'static str) -> Result<u32, DecisionError> {
        self.array(what).map(u32::from_le_bytes)
    }
    fn flag(&mut self, what: &'static str) -> Result<bool, DecisionError> {
        match self.array(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DecisionError::Malformed { kind: self.kind, what }),
        }
    }
    fn bytes(&mut self, what: &'static str, max: usize) -> Result<Vec<u8>, DecisionError> {
        let length = check(what, self.u32(what)? as usize, max)?;
        let malformed = DecisionError::Malformed { kind: self.kind, what };
        let (field, rest) = self.rest.split_at_checked(length).ok_or(malformed)?;
        self.rest = rest;
        Ok(field.to_vec())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;

    fn value() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..40)
    }

    fn decision() -> impl Strategy<Value = Decision> {
        prop_oneof![
            (any::<u32>(), prop::option::of([value(), value()]), value()).prop_map(|(filter, range, bloom)| {
                let range = range.map(|mut keys| {
                    keys.sort();
                    let [minimum, maximum] = keys;
                    KeyRange { minimum, maximum }
                });
                Decision::RuntimeFilter { filter, range, bloom }
            }),
            (any::<u32>(), any::<bool>(), any::<bool>()).prop_map(|(join, is_left, is_broadcast)| Decision::Join {
                join,
                build: if is_left { Side::Left } else { Side::Right },
                exchange: if is_broadcast { JoinExchange::Broadcast } else { JoinExchange::Shuffle },
            }),
            (any::<u32>(), vec(value(), 0..20)).prop_map(|(exchange, mut splitters)| {
                splitters.sort();
                Decision::RangeSplitters { exchange, splitters }
            }),
            (any::<u32>(), any::<bool>()).prop_map(|(aggregate, is_on)| Decision::PreAggregate { aggregate, is_on }),
            (any::<u32>(), prop::collection::btree_map(0u16..256, 2u16.., 0..20)).prop_map(|(exchange, splits)| {
                let splits = splits.into_iter().map(|(group, pieces)| SkewSplit { group: GroupId(group), pieces });
                Decision::SkewSplits { exchange, splits: splits.collect() }
            }),
            (any::<u32>(), prop::option::of(value()))
                .prop_map(|(subquery, value)| Decision::ScalarValue { subquery, value }),
            (any::<u32>(), any::<bool>(), value()).prop_map(|(loop_index, goes_on, value)| Decision::LoopResult {
                loop_index,
                goes_on,
                value
            }),
            (any::<u32>(), any::<u64>()).prop_map(|(limit, rows)| Decision::LimitReached { limit, rows }),
        ]
    }

    fn record() -> impl Strategy<Value = DecisionRecord> {
        (any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>(), decision()).prop_map(
            |(job, number, stage, round, decision)| DecisionRecord {
                job: JobId(job),
                number: DecisionNumber(number),
                stage: StageId(stage),
                round: Round(round),
                decision,
            },
        )
    }

    fn encode(record: &DecisionRecord) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out).unwrap();
        out
    }

    fn of(decision: Decision) -> DecisionRecord {
        DecisionRecord { job: JobId(1), number: DecisionNumber(2), stage: StageId(3), round: Round(4), decision }
    }

    proptest! {
        #![proptest_config(cases(512))]

        #[test]
        fn what_was_written_is_read(record in record()) {
            prop_assert_eq!(DecisionRecord::decode(&encode(&record)).unwrap(), record);
        }

        #[test]
        fn a_flipped_bit_or_another_length_is_refused(record in record(), place: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = encode(&record);
            let place = place.index(bytes.len());
            prop_assert!(DecisionRecord::decode(&bytes[..place]).is_err());
            bytes[place] ^= 1 << bit;
            prop_assert!(DecisionRecord::decode(&bytes).is_err());
            bytes[place] ^= 1 << bit;
            bytes.push(0);
            let is_refused = matches!(DecisionRecord::decode(&bytes), Err(DecisionError::Length { .. }));
            prop_assert!(is_refused);
        }

        /// Changed bytes whose checksum was made right again: refused, or another decision's only encoding.
        #[test]
        fn hostile_bytes_are_refused_or_canonical(
            record in record(),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = encode(&record);
            let end = bytes.len() - CHECKSUM_BYTES;
            for (place, byte) in changes {
                bytes[place.index(end)] = byte;
            }
            let checksum = XxHash3_64::oneshot(&bytes[..end]);
            bytes[end..].copy_from_slice(&checksum.to_le_bytes());
            if let Ok(record) = DecisionRecord::decode(&bytes) {
                prop_assert_eq!(encode(&record), bytes);
            }
        }

        #[test]
        fn noise_is_refused(noise: Vec<u8>) {
            prop_assert!(DecisionRecord::decode(&noise).is_err());
        }
    }

    #[test]
    fn the_bytes_are_fixed() {
        let bytes = encode(&of(Decision::LimitReached { limit: 5, rows: 6 }));
        let mut expected = Vec::new();
        expected.extend_from_slice(b"WNDD\x01\0\x08\0");
        expected.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 12, 0, 0, 0]);
        expected.extend_from_slice(&[5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[..44], &expected);
        assert_eq!(bytes[44..], XxHash3_64::oneshot(&expected).to_le_bytes());
    }

    #[test]
    fn the_caps_hold_when_written() {
        let long = vec![0; VALUE_BYTES_MAX + 1];
        let split = SkewSplit { group: GroupId(0), pieces: 2 };
        for decision in [
            Decision::ScalarValue { subquery: 0, value: Some(long.clone()) },
            Decision::LoopResult { loop_index: 0, goes_on: true, value: long.clone() },
            Decision::RangeSplitters { exchange: 0, splitters: vec![long] },
            Decision::RangeSplitters { exchange: 0, splitters: vec![vec![]; SPLITTERS_MAX + 1] },
            // Each within its cap, all together not.
            Decision::RangeSplitters { exchange: 0, splitters: vec![vec![0; VALUE_BYTES_MAX]; 65] },
            Decision::RuntimeFilter { filter: 0, range: None, bloom: vec![0; BLOOM_BYTES_MAX + 1] },
            Decision::SkewSplits {
                exchange: 0,
                splits: (0..=GROUPS_MAX as u16).map(|group| SkewSplit { group: GroupId(group), ..split }).collect(),
            },
        ] {
            let mut out = vec![9];
            let error = of(decision).encode(&mut out).unwrap_err();
            assert!(matches!(error, DecisionError::TooLarge { .. }), "{error}");
            assert_eq!(error.kind(), Kind::Limit);
            assert_eq!(out, [9]);
        }
    }

    #[test]
    fn the_caps_hold_when_read() {
        let mut bytes = encode(&of(Decision::ScalarValue { subquery: 0, value: Some(vec![1]) }));
        bytes[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(DecisionRecord::decode(&bytes), Err(DecisionError::TooLarge { .. })));

        let mut bytes = encode(&of(Decision::RangeSplitters { exchange: 0, splitters: vec![] }));
        bytes[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
        let checksum = XxHash3_64::oneshot(&bytes[..40]);
        bytes[40..].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(DecisionRecord::decode(&bytes), Err(DecisionError::TooLarge { what: "splitters", .. })));
    }

    #[test]
    fn what_must_rise_does() {
        let split = |group, pieces| SkewSplit { group: GroupId(group), pieces };
        for decision in [
            Decision::RangeSplitters { exchange: 0, splitters: vec![vec![2], vec![1]] },
            Decision::RuntimeFilter {
                filter: 0,
                range: Some(KeyRange { minimum: vec![1], maximum: vec![0, 5] }),
                bloom: vec![],
            },
            Decision::SkewSplits { exchange: 0, splits: vec![split(1, 2), split(1, 2)] },
            Decision::SkewSplits { exchange: 0, splits: vec![split(1, 1)] },
        ] {
            assert!(matches!(of(decision).encode(&mut Vec::new()), Err(DecisionError::Disordered { .. })));
        }
    }
}
