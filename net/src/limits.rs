//! Every bound of this crate, with its unit and where it comes from.
//!
//! In: what an operator of a cluster sets of [`Limits`]. Out: constants of the protocol, and compile-time proofs that they
//! and the defaults agree with each other and with the envelope drawn in `message.rs`. Never: a wait without a deadline,
//! a queue without a bound.

use std::time::Duration;

use crate::error::NetError;

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

/// Bytes of the payload of a refused request: a typed error as the engine encodes it, with its texts.
pub const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Bytes of the sentence with which an answer breaks off, UTF-8; a longer one is cut.
pub const REASON_BYTES_MAX: usize = 4 << 10;

/// Bytes of one piece of an answer on the wire; a longer piece is cut into several, which a reader cannot see. Every
/// piece must make some progress within [`Limits::stall`], so it is about what a slow link carries in a second.
pub const PIECE_BYTES_MAX: usize = 1 << 20;

/// Bytes of the largest datagram that UDP over IPv4 carries: 65,535 less 20 for IP and 8 for UDP. Also the most that one
/// send of many segments may carry in all; the kernel refuses more.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Bytes of a datagram that every path must carry (RFC 9000 § 14.1); with it a connection begins.
pub const DATAGRAM_BYTES_MIN: usize = 1200;

/// What a network lets happen before it says no. The defaults are for a cluster in one data centre.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A link over which nothing came for this long is down. Three keep-alives may be lost before it.
    pub idle: Duration,
    /// A link says that it is alive after this much silence.
    pub keep_alive: Duration,
    /// From [`crate::Network::link`] to the end of the handshake; five retransmissions of a first packet fit.
    pub connect: Duration,
    /// The handshake of a peer that connects to us.
    pub handshake: Duration,
    /// From the handshake to the peer's hello.
    pub hello: Duration,
    /// From the opening of a bulk stream to its whole request.
    pub request: Duration,
    /// An answer of which no byte came for this long, although there was room for it, has failed. It holds the time in
    /// which the peer prepares the answer, and the wait for a free stream of the link.
    pub silence: Duration,
    /// A peer that takes no byte of a message or of an answer for this long is given up: the link for a message, the
    /// stream for an answer. It holds the longest pause of a consumer that spills.
    pub stall: Duration,
    /// How long [`crate::Network::close`] waits for the peer to have what was sent before.
    pub farewell: Duration,
    /// Links at once, both directions counted.
    pub links_max: usize,
    /// Handshakes of peers that connect to us, at once; more are refused at once.
    pub handshakes_max: usize,
    /// From this many handshakes at once, an address must first prove (by a retry packet) that it receives at all.
    pub handshakes_unproven: usize,
    /// Handshakes in a second from one address; more are refused. An unproven address must prove itself first, so nobody
    /// can use up the share of another.
    pub handshakes_per_second: u32,
    /// Bytes that wait for one handshake to be looked at.
    pub incoming_bytes: u64,
    /// The same over all of them.
    pub incoming_bytes_total: u64,
    /// Answers that a peer may pull over one link at once; further [`crate::Network::ask`]s wait for a free stream.
    pub bulk_streams_max: u32,
    /// Bytes of one stream that may be under way unread; at 10 Gb/s it fills a path of 3 ms. No more than `socket_bytes`, so
    /// that one stream alone cannot overrun the kernel's buffer.
    pub stream_window_bytes: u32,
    /// Bytes of one link that were written and not yet acknowledged.
    pub send_window_bytes: u64,
    /// Messages that wait to be sent over one link.
    pub queue_messages_max: usize,
    /// Their bytes. At least one message of the largest size fits.
    pub queue_bytes_max: usize,
    /// Bytes that the kernel may hold for our socket, each direction. It grants at most `net.core.rmem_max`.
    pub socket_bytes: usize,
    /// Bytes of the largest datagram that is tried on a path to another machine: what jumbo frames of 9,000 carry under
    /// IPv6. Smaller paths are found out, link by link.
    pub datagram_bytes: u16,
    /// The same on this machine: two of them fill what the kernel takes in one call (`quic/README.md`).
    pub local_datagram_bytes: u16,
}

/// [`Limits::default`] as constants, so that the proofs below can read it.
mod default {
    pub(super) const IDLE_MILLIS: u64 = 6_000;
    pub(super) const KEEP_ALIVE_MILLIS: u64 = 1_000;
    pub(super) const CONNECT_MILLIS: u64 = 5_000;
    pub(super) const HANDSHAKE_MILLIS: u64 = 3_000;
    pub(super) const HELLO_MILLIS: u64 = 3_000;
    pub(super) const SILENCE_MILLIS: u64 = 30_000;
    pub(super) const STALL_MILLIS: u64 = 120_000;
    pub(super) const HANDSHAKES_MAX: usize = 256;
    pub(super) const HANDSHAKES_UNPROVEN: usize = 32;
    pub(super) const INCOMING_BYTES: u64 = 64 << 10;
    pub(super) const INCOMING_BYTES_TOTAL: u64 = 4 << 20;
    pub(super) const LINKS_MAX: usize = 1024;
    pub(super) const BULK_STREAMS_MAX: u32 = 16;
    pub(super) const STREAM_WINDOW_BYTES: u32 = 4 << 20;
    pub(super) const SEND_WINDOW_BYTES: u64 = 8 << 20;
    pub(super) const SOCKET_BYTES: usize = 4 << 20;
    pub(super) const QUEUE_BYTES_MAX: usize = 2 * super::MESSAGE_BYTES_MAX;
    pub(super) const DATAGRAM_BYTES: u16 = 8952;
    pub(super) const LOCAL_DATAGRAM_BYTES: u16 = 32_700;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_millis(default::IDLE_MILLIS),
            keep_alive: Duration::from_millis(default::KEEP_ALIVE_MILLIS),
            connect: Duration::from_millis(default::CONNECT_MILLIS),
            handshake: Duration::from_millis(default::HANDSHAKE_MILLIS),
            hello: Duration::from_millis(default::HELLO_MILLIS),
            request: Duration::from_secs(5),
            silence: Duration::from_millis(default::SILENCE_MILLIS),
            stall: Duration::from_millis(default::STALL_MILLIS),
            farewell: Duration::from_secs(1),
            links_max: default::LINKS_MAX,
            handshakes_max: default::HANDSHAKES_MAX,
            handshakes_unproven: default::HANDSHAKES_UNPROVEN,
            handshakes_per_second: 64,
            incoming_bytes: default::INCOMING_BYTES,
            incoming_bytes_total: default::INCOMING_BYTES_TOTAL,
            bulk_streams_max: default::BULK_STREAMS_MAX,
            stream_window_bytes: default::STREAM_WINDOW_BYTES,
            send_window_bytes: default::SEND_WINDOW_BYTES,
            queue_messages_max: 4096,
            queue_bytes_max: default::QUEUE_BYTES_MAX,
            socket_bytes: default::SOCKET_BYTES,
            datagram_bytes: default::DATAGRAM_BYTES,
            local_datagram_bytes: default::LOCAL_DATAGRAM_BYTES,
        }
    }
}

impl Limits {
    /// Bytes of one link that may be under way unread: each stream's window, the control stream's among them, so that no
    /// stream whose reader is slow can take the room of another. Memory of all links is at most this times `links_max`.
    pub(crate) fn link_window_bytes(&self) -> u64 {
        (u64::from(self.bulk_streams_max) + 1) * u64::from(self.stream_window_bytes)
    }

    /// Refuses limits that contradict each other.
    pub(crate) fn check(&self) -> Result<(), NetError> {
        let is_datagram = |bytes: u16| (DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX).contains(&usize::from(bytes));
        let rules = [
            (self.keep_alive * 3 <= self.idle, "three keep-alives must fit into the idle time"),
            (self.silence < self.stall, "silence must be shorter than stall"),
            (self.queue_bytes_max >= MESSAGE_BYTES_MAX, "the queue must hold a message of the largest size"),
            (self.queue_messages_max > 0 && self.links_max > 0, "a queue and a network need room for one"),
            (self.bulk_streams_max > 0 && self.stream_window_bytes > 0, "a link needs a stream and a window"),
            (self.handshakes_unproven <= self.handshakes_max, "unproven handshakes are a part of all"),
            (
                is_datagram(self.datagram_bytes) && is_datagram(self.local_datagram_bytes),
                "a datagram has 1,200 to 65,507 bytes",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, rule)) => Err(NetError::Limits { rule }),
        }
    }
}

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
// A refusal fits into the envelope that carries it, its code before it; a reason is shorter than a piece.
const _: () = assert!(REFUSAL_BYTES_MAX + 4 <= PAYLOAD_BYTES_MAX);
const _: () = assert!(REASON_BYTES_MAX <= PIECE_BYTES_MAX);
// Bit 31 of a piece's length is free: it marks the reason of a broken answer.
const _: () = assert!(PIECE_BYTES_MAX < 1 << 31);
// Three keep-alives may be lost; a peer's death is known within the 10 s that the cluster's verdicts allow.
const _: () = assert!(default::KEEP_ALIVE_MILLIS * 3 <= default::IDLE_MILLIS && default::IDLE_MILLIS <= 10_000);
// A handshake and a hello end before the peer that waits for both gives up on an answer.
const _: () = assert!(default::HANDSHAKE_MILLIS <= default::CONNECT_MILLIS);
const _: () = assert!(default::CONNECT_MILLIS + default::HELLO_MILLIS < default::SILENCE_MILLIS);
const _: () = assert!(default::SILENCE_MILLIS < default::STALL_MILLIS);
// What waits for handshakes is bounded by its total, and the total holds every proven one's share.
const _: () = assert!(default::INCOMING_BYTES * (default::HANDSHAKES_UNPROVEN as u64) <= default::INCOMING_BYTES_TOTAL);
const _: () = assert!(default::HANDSHAKES_UNPROVEN <= default::HANDSHAKES_MAX);
const _: () = assert!(default::HANDSHAKES_MAX <= default::LINKS_MAX);
// One writer can fill two streams; one message of the largest size fits into the queue.
const _: () = assert!(default::SEND_WINDOW_BYTES >= 2 * default::STREAM_WINDOW_BYTES as u64);
const _: () = assert!(default::QUEUE_BYTES_MAX >= MESSAGE_BYTES_MAX);
// A stream's window fits into the socket's buffer.
const _: () = assert!(default::STREAM_WINDOW_BYTES as usize <= default::SOCKET_BYTES);
// A link's window is a number of QUIC (62 bits) and of memory.
const _: () = assert!(default::BULK_STREAMS_MAX as u64 * (default::STREAM_WINDOW_BYTES as u64) < 1 << 32);
const _: () = assert!(default::DATAGRAM_BYTES as usize >= DATAGRAM_BYTES_MIN);
// On this machine two datagrams fill one call.
const _: () = assert!(default::DATAGRAM_BYTES <= default::LOCAL_DATAGRAM_BYTES);
const _: () = assert!(2 * default::LOCAL_DATAGRAM_BYTES as usize <= DATAGRAM_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_and_contradictions_are_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let breaks: [fn(&mut Limits); 4] = [
            |limits| limits.keep_alive = limits.idle,
            |limits| limits.queue_bytes_max = MESSAGE_BYTES_MAX - 1,
            |limits| limits.datagram_bytes = 1199,
            |limits| limits.bulk_streams_max = 0,
        ];
        for break_one in breaks {
            let mut limits = Limits::default();
            break_one(&mut limits);
            assert!(matches!(limits.check(), Err(NetError::Limits { .. })));
        }
    }
}
