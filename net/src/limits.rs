//! Every bound of this crate, with its unit and where it comes from.
//!
//! In: nothing. Out: constants, and compile-time proofs that they agree with each other and with the envelope drawn in
//! `message.rs`. Never: a number that a user can set; these are part of the protocol.

/// Bytes of an envelope's header: magic 4, version 2, kind 2, payload length 4, header checksum 4, payload checksum 8.
pub const HEADER_BYTES: usize = 24;

/// Bytes a whole message may have, its header included: 16 MiB + 64 KiB.
///
/// The largest thing that travels in one message is a physical plan, and a plan may have 16 MiB. What stands beside it
/// (job, stage, settings, file names of one split) has its own allowance, so that a plan of the full size fits. Rows
/// never travel in messages: frames have their own format and their own limit.
pub const MESSAGE_BYTES_MAX: usize = PLAN_BYTES_MAX + BESIDE_BYTES_MAX;

/// Bytes a payload may have: what [`MESSAGE_BYTES_MAX`] leaves after the header.
pub const PAYLOAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX - HEADER_BYTES;

/// Bytes of the largest plan that may be shipped: 16 MiB, three orders above the plan of a large SQL query (some 10
/// KiB), and the room that literals such as a long IN list take.
const PLAN_BYTES_MAX: usize = 16 << 20;

/// Bytes of what stands beside a plan in its message, header included.
const BESIDE_BYTES_MAX: usize = 64 << 10;

// The payload length is a u32 on the wire, and every platform's usize can hold a u32.
const _: () = assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(size_of::<usize>() >= size_of::<u32>());
// A plan of the full size fits with something beside it.
const _: () = assert!(PAYLOAD_BYTES_MAX > PLAN_BYTES_MAX);
const _: () = assert!(BESIDE_BYTES_MAX > HEADER_BYTES);
// The fields of the header, in the order of the drawing in `message.rs`.
const _: () = assert!(HEADER_BYTES == 4 + 2 + 2 + 4 + 4 + 8);
// The payload begins on an 8-byte boundary of the message.
const _: () = assert!(HEADER_BYTES.is_multiple_of(8));
