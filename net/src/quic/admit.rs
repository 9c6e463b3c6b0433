//! Who may begin a handshake: the gate before any certificate is looked at.
//!
//! In: first packets of peers, which may be forged. Out: let in, asked to prove the address, or refused. Never: work or
//! memory for an address that nobody proved, beyond a bound.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use quinn::Incoming;

use crate::{error::NetError, limits::Limits};

/// Addresses that are counted in one second; further ones must prove themselves first, as if they were too many.
const ADDRESSES_MAX: usize = 4096;

pub(super) struct Admission {
    limit: usize,
    unproven: usize,
    per_second: u32,
    accepts_nobody: bool,
    /// Handshakes under way.
    handshakes: Arc<AtomicUsize>,
    /// The second that is counted, and handshakes begun in it.
    second: u64,
    begun: BTreeMap<IpAddr, u32>,
}

/// A place among the handshakes; free when dropped.
pub(super) struct Handshake(Arc<AtomicUsize>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

pub(super) enum Verdict {
    Enter(Box<Incoming>, Handshake),
    /// The peer was told to come again with a proof of its address.
    Asked,
    /// The peer was told so.
    Refused(NetError),
}

/// What is to be done with a first packet.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Enter,
    Ask,
    Refuse(&'static str, usize),
}

impl Admission {
    pub(super) fn new(limits: &Limits, accepts_nobody: bool) -> Self {
        Self {
            limit: limits.handshakes_max,
            unproven: limits.handshakes_unproven,
            per_second: limits.handshakes_per_second,
            accepts_nobody,
            handshakes: Arc::default(),
            second: 0,
            begun: BTreeMap::new(),
        }
    }

    pub(super) fn admit(&mut self, now: Duration, incoming: Incoming) -> Verdict {
        let address = incoming.remote_address();
        match self.decide(now, address.ip(), incoming.remote_address_validated()) {
            Decision::Enter => {
                self.handshakes.fetch_add(1, Relaxed);
                Verdict::Enter(Box::new(incoming), Handshake(Arc::clone(&self.handshakes)))
            }
            Decision::Ask => {
                // Fails only for who has proved itself, and those are not asked.
                let _ = incoming.retry();
                Verdict::Asked
            }
            Decision::Refuse(what, limit) => {
                incoming.refuse();
                Verdict::Refused(NetError::TooManyHandshakes { address, limit, what })
            }
        }
    }

    fn decide(&mut self, now: Duration, address: IpAddr, is_proven: bool) -> Decision {
        if self.accepts_nobody {
            return Decision::Refuse("peers let in", 0);
        }
        let under_way = self.handshakes.load(Relaxed);
        if under_way >= self.limit {
            return Decision::Refuse("handshakes under way", self.limit);
        }
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            self.begun.clear();
        }
        let begun = self.begun.get(&address).copied().unwrap_or(0);
        let is_crowded =
            under_way >= self.unproven || begun >= self.per_second || (begun == 0 && self.begun.len() >= ADDRESSES_MAX);
        match (is_proven, is_crowded) {
            (false, true) => return Decision::Ask,
            (true, _) if begun >= self.per_second => {
                return Decision::Refuse("handshakes in this second from its address", self.per_second as usize);
            }
            _ => {}
        }
        if begun > 0 || self.begun.len() < ADDRESSES_MAX {
            self.begun.insert(address, begun + 1);
        }
        Decision::Enter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    fn admission(handshakes: usize) -> Admission {
        let limits =
            Limits { handshakes_max: 4, handshakes_unproven: 2, handshakes_per_second: 3, ..Limits::default() };
        let admission = Admission::new(&limits, false);
        admission.handshakes.store(handshakes, Relaxed);
        admission
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn a_crowd_must_prove_its_addresses() {
        assert_eq!(admission(1).decide(NOW, address(1), false), Decision::Enter);
        assert_eq!(admission(2).decide(NOW, address(1), false), Decision::Ask);
        assert_eq!(admission(2).decide(NOW, address(1), true), Decision::Enter);
        assert!(matches!(admission(4).decide(NOW, address(1), true), Decision::Refuse(_, 4)));
    }

    #[test]
    fn an_address_has_its_share_of_each_second() {
        let mut admission = admission(0);
        for _ in 0..3 {
            assert_eq!(admission.decide(NOW, address(1), false), Decision::Enter);
        }
        // A forged packet does not use up the share of who owns the address.
        assert_eq!(admission.decide(NOW, address(1), false), Decision::Ask);
        assert!(matches!(admission.decide(NOW, address(1), true), Decision::Refuse(_, 3)));
        assert_eq!(admission.decide(NOW, address(2), false), Decision::Enter);
        assert_eq!(admission.decide(NOW + Duration::from_secs(1), address(1), false), Decision::Enter);
    }

    #[test]
    fn forged_addresses_take_bounded_memory() {
        let mut admission = admission(0);
        for number in 0..2 * ADDRESSES_MAX as u32 {
            admission.decide(NOW, address(number), false);
        }
        assert_eq!(admission.begun.len(), ADDRESSES_MAX);
        assert_eq!(admission.decide(NOW, address(u32::MAX), false), Decision::Ask);
        assert_eq!(admission.decide(NOW, address(u32::MAX), true), Decision::Enter);
    }

    #[test]
    fn who_accepts_nobody_refuses_all() {
        let mut closed = Admission::new(&Limits::default(), true);
        assert!(matches!(closed.decide(NOW, address(1), true), Decision::Refuse(_, 0)));
    }
}
