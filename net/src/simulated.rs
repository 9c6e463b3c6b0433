//! A network that is imagined: messages between numbered hosts, with faults from a seed and a clock that the caller keeps.
//!
//! In: bytes from one host to another, the time, faults, partitions. Out: deliveries at their times, the same for the same
//! seed and calls, bit for bit. Never: a socket, a thread, a real clock, a map with a random order.
//!
//! ```text
//!   send(now, from, to, bytes) ─► partition? ─► lost? ─► delay ─► [queue by time] ─► poll(now) ─► Delivery
//!                                                  └► twice? damaged? out of order?
//! ```
//!
//! It carries what a link carries, a message at a time, but promises less than a link does: links lose nothing, and keep
//! their order, until they are down. An engine that comes through this comes through links. [`Faults::default`] is the
//! network of a good day: no faults, a short delay, and the order of each pair kept, as a link keeps it.
//!
//! The numbers are from SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). Each `send`
//! draws the same count of numbers whatever happens to it, so that a fault that is switched on changes what it should and
//! leaves the rest of the run alone.

use std::collections::{BTreeMap, BTreeSet};

/// Time since the simulation's start, microseconds.
pub type Micros = u64;

/// A host of the simulation.
pub type Host = u32;

/// Parts of a whole in which chances are given: 10,000 is always.
pub const ALWAYS: u32 = 10_000;

/// What goes wrong, and how often. Chances are in 1/10,000 of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Shortest time on the way, microseconds.
    pub delay_min: Micros,
    /// Longest time on the way, microseconds.
    pub delay_max: Micros,
    /// Chance that a message does not arrive.
    pub loss: u32,
    /// Chance that it arrives twice, the second time after a delay of its own.
    pub duplication: u32,
    /// Chance that it may overtake those sent before it between the same two hosts. Others wait for those.
    pub reordering: u32,
    /// Chance that one of its bits arrives flipped.
    pub corruption: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self { delay_min: 50, delay_max: 500, loss: 0, duplication: 0, reordering: 0, corruption: 0 }
    }
}

/// A message that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Who sent it.
    pub from: Host,
    /// Who gets it.
    pub to: Host,
    /// What was sent, unless it was damaged.
    pub bytes: Vec<u8>,
}

/// How often each thing happened. A test of a fault should see that it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    /// Messages given to [`SimulatedNetwork::send`].
    pub sent: u64,
    /// Messages given out by [`SimulatedNetwork::poll`].
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because their way was cut when they were sent or when they were due.
    pub cut: u64,
    /// Sent a second time.
    pub duplicated: u64,
    /// Let overtake, with something before them to be overtaken.
    pub reordered: u64,
    /// Damaged.
    pub corrupted: u64,
}

/// The imagined network.
#[derive(Clone, Debug)]
pub struct SimulatedNetwork {
    numbers: Numbers,
    faults: Faults,
    /// On their way, by due time and then in the order of their sending.
    under_way: BTreeMap<(Micros, u64), Delivery>,
    next: u64,
    /// When the last message that keeps its order between two hosts is due.
    in_order: BTreeMap<(Host, Host), Micros>,
    /// Ways that are cut, one direction each.
    cuts: BTreeSet<(Host, Host)>,
    fired: Fired,
}

impl SimulatedNetwork {
    /// A network that is a function of `seed`, `faults` and the calls that follow.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            numbers: Numbers { state: seed },
            faults,
            under_way: BTreeMap::new(),
            next: 0,
            in_order: BTreeMap::new(),
            cuts: BTreeSet::new(),
            fired: Fired::default(),
        }
    }

    /// Other faults from now on; what is under way keeps its fate.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Cuts the way between every host of one side and every host of the other, both directions.
    pub fn partition(&mut self, one: &[Host], other: &[Host]) {
        self.partition_one_way(one, other);
        self.partition_one_way(other, one);
    }

    /// Cuts the ways from hosts to hosts, and not back.
    pub fn partition_one_way(&mut self, from: &[Host], to: &[Host]) {
        self.cuts.extend(from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to))));
    }

    /// Mends every way. What was cut is lost.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Mends the ways between these hosts, both directions.
    pub fn heal_between(&mut self, one: &[Host], other: &[Host]) {
        let is_between = |from: &Host, to: &Host| one.contains(from) && other.contains(to);
        self.cuts.retain(|(from, to)| !is_between(from, to) && !is_between(to, from));
    }

    /// Whether a message from one host to another would be cut now.
    pub fn is_cut(&self, from: Host, to: Host) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Forgets what is under way to and from a host, as if it had died with its sockets.
    pub fn forget(&mut self, host: Host) {
        let before = self.under_way.len();
        self.under_way.retain(|_, delivery| delivery.from != host && delivery.to != host);
        self.in_order.retain(|(from, to), _| *from != host && *to != host);
        self.fired.cut += (before - self.under_way.len()) as u64;
    }

    /// Sends `bytes`, one message as a rule, at the time `now`.
    pub fn send(&mut self, now: Micros, from: Host, to: Host, bytes: Vec<u8>) {
        self.fired.sent += 1;
        let draw = self.draw();
        if self.is_cut(from, to) {
            self.fired.cut += 1;
        } else if draw.is_lost {
            self.fired.lost += 1;
        } else {
            let twice = draw.is_duplicated.then(|| bytes.clone());
            self.enqueue(now, from, to, bytes, &draw);
            if let Some(bytes) = twice {
                self.fired.duplicated += 1;
                self.put(now + draw.second_delay, Delivery { from, to, bytes });
            }
        }
    }

    /// The next message that has arrived by `now`.
    pub fn poll(&mut self, now: Micros) -> Option<Delivery> {
        loop {
            let entry = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
            let delivery = entry.remove();
            // A way that was cut while the message was on it takes the message with it.
            if self.is_cut(delivery.from, delivery.to) {
                self.fired.cut += 1;
                continue;
            }
            self.fired.delivered += 1;
            return Some(delivery);
        }
    }

    /// When the next message is due, if one is under way.
    pub fn next_time(&self) -> Option<Micros> {
        self.under_way.first_key_value().map(|((due, _), _)| *due)
    }

    /// What has happened until now.
    pub fn fired(&self) -> Fired {
        self.fired
    }

    fn enqueue(&mut self, now: Micros, from: Host, to: Host, mut bytes: Vec<u8>, draw: &Draw) {
        let last = self.in_order.get(&(from, to)).copied().unwrap_or(0);
        let mut due = now + draw.delay;
        if draw.is_reordered {
            self.fired.reordered += u64::from(due < last);
        } else {
            due = due.max(last);
            self.in_order.insert((from, to), due);
        }
        if draw.is_corrupted && !bytes.is_empty() {
            self.fired.corrupted += 1;
            let bit = draw.bit % (bytes.len() as u64 * 8);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        self.put(due, Delivery { from, to, bytes });
    }

    fn put(&mut self, due: Micros, delivery: Delivery) {
        self.under_way.insert((due, self.next), delivery);
        self.next += 1;
    }

    fn draw(&mut self) -> Draw {
        let faults = &self.faults;
        let numbers = &mut self.numbers;
        Draw {
            delay: numbers.between(faults.delay_min, faults.delay_max),
            second_delay: numbers.between(faults.delay_min, faults.delay_max),
            is_lost: numbers.chance(faults.loss),
            is_duplicated: numbers.chance(faults.duplication),
            is_reordered: numbers.chance(faults.reordering),
            is_corrupted: numbers.chance(faults.corruption),
            bit: numbers.next(),
        }
    }
}

/// What chance has in store for one message.
struct Draw {
    delay: Micros,
    second_delay: Micros,
    is_lost: bool,
    is_duplicated: bool,
    is_reordered: bool,
    is_corrupted: bool,
    bit: u64,
}

/// SplitMix64.
#[derive(Clone, Debug)]
struct Numbers {
    state: u64,
}

impl Numbers {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Both ends included; the first if they are the wrong way round.
    fn between(&mut self, from: u64, to: u64) -> u64 {
        let number = self.next();
        // The remainder's bias is below 2^-40 for spans of a simulation.
        from + number % to.saturating_sub(from).saturating_add(1)
    }

    fn chance(&mut self, of_ten_thousand: u32) -> bool {
        self.next() % u64::from(ALWAYS) < u64::from(of_ten_thousand)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Limits, MessageKind, NetError, Peer, Role,
        endpoint::{Gate, Session, SessionEvent, Side},
        network::LinkId,
    };

    const ALL: Faults =
        Faults { delay_min: 10, delay_max: 5_000, loss: 500, duplication: 500, reordering: 3_000, corruption: 500 };

    fn network(faults: Faults) -> SimulatedNetwork {
        SimulatedNetwork::new(1, faults)
    }

    /// Sends 1,000 numbered messages, one each 10 µs, and takes all that come.
    fn run(network: &mut SimulatedNetwork) -> Vec<(Micros, Delivery)> {
        for number in 0..1000u64 {
            network.send(number * 10, 1, 2, number.to_le_bytes().to_vec());
        }
        let mut came = Vec::new();
        while let Some(time) = network.next_time() {
            while let Some(delivery) = network.poll(time) {
                came.push((time, delivery));
            }
        }
        came
    }

    fn number_of(delivery: &Delivery) -> u64 {
        u64::from_le_bytes(delivery.bytes.as_slice().try_into().unwrap())
    }

    #[test]
    fn the_same_seed_is_the_same_run_and_another_is_another() {
        let with = |seed| {
            let mut network = SimulatedNetwork::new(seed, ALL);
            (run(&mut network), network.fired())
        };
        for seed in 0..20 {
            assert_eq!(with(seed), with(seed));
        }
        assert_ne!(with(1).0, with(2).0);
    }

    #[test]
    fn a_good_day_delivers_each_once_in_order_and_in_time() {
        let mut network = network(Faults::default());
        let came = run(&mut network);
        assert!(came.iter().map(|(_, delivery)| number_of(delivery)).eq(0..1000));
        for (time, delivery) in &came {
            assert!(*time >= number_of(delivery) * 10 + 50);
        }
        assert_eq!(network.fired(), Fired { sent: 1000, delivered: 1000, ..Fired::default() });
    }

    #[test]
    fn each_fault_fires_about_as_often_as_asked_and_alone() {
        let tenth = ALWAYS / 10;
        let quiet = Faults::default();
        type Count = fn(&Fired) -> u64;
        let cases: [(Faults, Count); 3] = [
            (Faults { loss: tenth, ..quiet.clone() }, |fired| fired.lost),
            (Faults { duplication: tenth, ..quiet.clone() }, |fired| fired.duplicated),
            (Faults { corruption: tenth, ..quiet.clone() }, |fired| fired.corrupted),
        ];
        for (faults, count) in cases {
            let mut network = network(faults);
            run(&mut network);
            let fired = network.fired();
            assert!((60..140).contains(&count(&fired)), "{fired:?}");
            assert_eq!(fired.lost + fired.duplicated + fired.corrupted + fired.reordered, count(&fired));
            assert_eq!(fired.delivered, fired.sent - fired.lost + fired.duplicated);
        }
        let mut network = network(Faults { delay_max: 5_000, reordering: tenth, ..quiet });
        let came = run(&mut network);
        assert!(network.fired().reordered > 30);
        assert!(!came.iter().map(|(_, delivery)| number_of(delivery)).is_sorted());
        assert_eq!(came.len(), 1000);
    }

    #[test]
    fn damage_is_one_bit() {
        let mut network = network(Faults { corruption: ALWAYS, ..Faults::default() });
        let sent = vec![0; 100];
        network.send(0, 1, 2, sent.clone());
        network.send(0, 1, 2, Vec::new());
        let came = network.poll(Micros::MAX).unwrap();
        assert_eq!(came.bytes.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        assert_eq!(network.poll(Micros::MAX).unwrap().bytes, []);
    }

    #[test]
    fn a_fault_leaves_the_others_delays_alone() {
        let mut plain = network(Faults { reordering: ALWAYS, ..Faults::default() });
        let mut lossy = network(Faults { reordering: ALWAYS, loss: 2_000, ..Faults::default() });
        let (plain, lossy) = (run(&mut plain), run(&mut lossy));
        assert!(lossy.len() < plain.len());
        assert!(lossy.iter().all(|one| plain.contains(one)));
    }

    #[test]
    fn partitions_cut_what_they_say_until_they_are_healed() {
        let mut network = network(Faults::default());
        let arrives = |network: &mut SimulatedNetwork, from, to| {
            network.send(0, from, to, vec![1]);
            network.poll(Micros::MAX).is_some()
        };
        network.partition(&[1], &[2, 3]);
        network.partition_one_way(&[4], &[1]);
        let ways = [(1, 2, false), (2, 1, false), (3, 1, false), (2, 3, true), (4, 1, false), (1, 4, true)];
        for (from, to, is_open) in ways {
            assert_eq!(arrives(&mut network, from, to), is_open, "{from} to {to}");
        }
        assert_eq!(network.fired().cut, 4);
        network.heal_between(&[2], &[1]);
        assert!(arrives(&mut network, 1, 2) && arrives(&mut network, 2, 1) && !arrives(&mut network, 1, 3));
        network.heal();
        assert!(arrives(&mut network, 1, 3) && arrives(&mut network, 4, 1));
    }

    #[test]
    fn what_is_on_its_way_when_the_way_is_cut_is_lost() {
        let mut network = network(Faults::default());
        network.send(0, 1, 2, vec![1]);
        network.partition(&[1], &[2]);
        assert_eq!(network.poll(Micros::MAX), None);
        network.heal();
        network.send(0, 1, 2, vec![2]);
        network.send(0, 2, 3, vec![3]);
        network.send(0, 3, 4, vec![4]);
        network.forget(2);
        assert_eq!(network.poll(Micros::MAX).unwrap().bytes, [4]);
        assert_eq!((network.poll(Micros::MAX), network.next_time()), (None, None));
        assert_eq!(network.fired().cut, 3);
    }

    /// Two sessions over the imagined network: what `quic/` does with streams, with chunks cut by chance.
    struct World {
        network: SimulatedNetwork,
        numbers: Numbers,
        sessions: [Session; 2],
        received: [Vec<Vec<u8>>; 2],
        downs: [Option<NetError>; 2],
        now: Micros,
    }

    const KIND: MessageKind = MessageKind(3);

    impl World {
        fn new(seed: u64) -> Self {
            let gate = Gate { cluster: "field".into(), version: 1, accepts: vec![Role::Worker] };
            let address = "127.0.0.1:1".parse().unwrap();
            let session = |side| {
                let peer = Peer { cluster: "field".into(), role: Role::Worker, name: "p".into() };
                Session::new(Duration::ZERO, LinkId(1), &gate, side, peer, address, &Limits::default())
            };
            Self {
                // A link's connection: in order and whole, until it is gone.
                network: SimulatedNetwork::new(seed, Faults { delay_max: 20_000, ..Faults::default() }),
                numbers: Numbers { state: !seed },
                sessions: [session(Side::Dialed(Role::Worker)), session(Side::Accepted)],
                received: Default::default(),
                downs: Default::default(),
                now: 0,
            }
        }

        fn time(&self) -> Duration {
            Duration::from_micros(self.now)
        }

        /// Carries everything until nothing is left to happen, or until a time.
        fn run_until(&mut self, end: Micros) {
            loop {
                self.transmit();
                self.hear();
                let timeouts = self.sessions.iter().filter_map(|session| session.poll_timeout());
                let due = timeouts.map(|due| due.as_micros() as Micros).chain(self.network.next_time()).min();
                match due {
                    Some(due) if due <= end => self.now = due.max(self.now),
                    _ => return self.now = end.min(due.unwrap_or(end)),
                }
                while let Some(delivery) = self.network.poll(self.now) {
                    self.sessions[delivery.to as usize].handle_bytes(&delivery.bytes);
                }
                let now = self.time();
                for session in &mut self.sessions {
                    session.handle_timeout(now);
                }
            }
        }

        fn transmit(&mut self) {
            let now = self.time();
            for host in 0..2 {
                while let Some(chunk) = self.sessions[host].poll_transmit(now) {
                    let mut rest = &chunk[..];
                    while !rest.is_empty() {
                        let length = self.numbers.between(1, rest.len().min(2_000) as u64) as usize;
                        self.network.send(self.now, host as Host, 1 - host as Host, rest[..length].to_vec());
                        rest = &rest[length..];
                    }
                    self.sessions[host].handle_taken();
                }
            }
        }

        fn hear(&mut self) {
            for host in 0..2 {
                while let Some(event) = self.sessions[host].poll_event() {
                    match event {
                        SessionEvent::Up(_) => assert!(self.received[host].is_empty()),
                        SessionEvent::Message(message) => self.received[host].push(message.payload),
                        SessionEvent::Down(cause) => {
                            assert!(self.downs[host].is_none(), "down twice");
                            self.downs[host] = Some(cause);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn sessions_carry_all_messages_in_order_however_they_are_cut() {
        for seed in 0..50 {
            let mut world = World::new(seed);
            world.run_until(1_000_000);
            let payloads: Vec<Vec<u8>> =
                (0..40).map(|number| vec![number; world.numbers.between(0, 5_000) as usize]).collect();
            for payload in &payloads {
                world.sessions[0].send(KIND, payload.clone()).unwrap();
                world.sessions[1].send(KIND, payload.clone()).unwrap();
            }
            world.run_until(60_000_000);
            assert!(world.received == [payloads.clone(), payloads], "seed {seed}");
            assert_eq!(world.downs, [None, None]);
        }
    }

    #[test]
    fn a_connection_that_is_lost_in_the_middle_leaves_a_beginning_and_a_cause() {
        for seed in 0..50 {
            let mut world = World::new(seed);
            world.run_until(1_000_000);
            let payloads: Vec<Vec<u8>> = (0..100).map(|number| vec![number; 3_000]).collect();
            for payload in &payloads {
                world.sessions[0].send(KIND, payload.clone()).unwrap();
            }
            let cut = world.numbers.between(0, 30_000);
            world.run_until(1_000_000 + cut);
            world.network.partition(&[0], &[1]);
            world.run_until(60_000_000);
            let address = "127.0.0.1:1".parse().unwrap();
            for session in &mut world.sessions {
                session.handle_lost(NetError::Lost { address, detail: "nothing came".into() });
            }
            world.run_until(61_000_000);
            let came = world.received[1].len();
            assert!(world.received[1] == payloads[..came], "seed {seed}");
            assert!(world.downs.iter().all(|down| matches!(down, Some(NetError::Lost { .. }))));
        }
    }

    #[test]
    fn damage_below_is_found_and_never_delivered() {
        let mut found = 0;
        for seed in 0..50 {
            let mut world = World::new(seed);
            world.run_until(1_000_000);
            world.network.set_faults(Faults { corruption: 200, ..Faults::default() });
            let payloads: Vec<Vec<u8>> = (0..40).map(|number| vec![number; 2_000]).collect();
            for payload in &payloads {
                world.sessions[0].send(KIND, payload.clone()).unwrap();
            }
            world.run_until(60_000_000);
            let came = world.received[1].len();
            assert!(world.received[1] == payloads[..came], "seed {seed}");
            // A length that grew can leave the session waiting; what is whole is whole.
            found += usize::from(matches!(world.downs[1], Some(NetError::Message { .. })));
        }
        assert!(found > 20, "{found}");
    }

    #[test]
    fn a_hello_that_is_lost_is_a_deadline() {
        let mut world = World::new(9);
        world.network.partition_one_way(&[0], &[1]);
        world.run_until(60_000_000);
        assert!(matches!(world.downs[1], Some(NetError::Deadline { .. })));
        assert_eq!(world.downs[0], None);
    }
}
