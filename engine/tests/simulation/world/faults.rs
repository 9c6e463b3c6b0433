//! What fails, at random, and how all of it is healed.
//!
//! In: the world. Out: the world with a machine dead, a link cut, a disk broken; each fault counted. Never: chance that is not the seed's.

use super::*;

impl World {
    pub(super) fn fault(&mut self) -> Result<(), String> {
        if self.is_healed {
            return Ok(());
        }
        let next = self.random.between(200_000, 4 * SECOND);
        self.after(next, Happening::Fault);
        let workers = self.nodes.len() as u64;
        let node = self.random.between(1, workers) as usize;
        match self.random.below(14) {
            0 | 1 => {
                if self.nodes[node - 1].process.is_some() {
                    self.fire("worker crash");
                    self.kill(node);
                    let delay = self.random.between(100_000, 8 * SECOND);
                    self.after(delay, Happening::Start { node });
                }
            }
            2 | 3 => self.crash_coordinator(),
            4 => {
                let other = self.random.below(workers + 1) as usize;
                if other != node {
                    self.fire("one-way cut");
                    self.cut(node, other, false);
                }
            }
            5 => {
                let other = self.random.below(workers + 1) as usize;
                if other != node {
                    self.fire("two-way cut");
                    self.cut(node, other, true);
                }
            }
            6 => {
                self.fire("isolated worker");
                for other in 0..=workers as usize {
                    if other != node {
                        self.cut(node, other, true);
                    }
                }
            }
            7 => {
                self.fire("slow worker");
                self.nodes[node - 1].slowness = self.random.between(2, 12);
            }
            8 => {
                self.fire("coordinator paused");
                let until = self.now + self.random.between(500_000, 7 * SECOND);
                self.paused.insert(COORDINATOR, until);
            }
            9 => {
                self.fire("worker paused");
                let until = self.now + self.random.between(500_000, 9 * SECOND);
                self.paused.insert(node, until);
            }
            10 => return self.crash_driver(node),
            11 => {
                // Not the last one: then jobs would rightly fail.
                let stays = |other: &Node| other.process.is_some() && !other.is_leaving;
                if self.nodes.iter().enumerate().filter(|(place, other)| place + 1 != node && stays(other)).count() == 0
                {
                    return Ok(());
                }
                self.fire("worker asked to leave");
                self.nodes[node - 1].is_leaving = true;
                let when_free = self.random.chance(600);
                return self.worker_hears(node, worker::Event::Leave { when_free });
            }
            12 => {
                let client = FIRST_CLIENT + self.random.below(self.clients.len() as u64) as usize;
                self.fire("client cut");
                self.cut(client, COORDINATOR, true);
            }
            _ => {
                self.fire("broken connection");
                let links: Vec<(Link, usize)> = self.links.iter().map(|(link, node)| (*link, *node)).collect();
                if let Some((link, node)) = links.last().copied() {
                    self.break_link(link, node);
                }
            }
        }
        Ok(())
    }

    pub(super) fn break_link(&mut self, link: Link, node: usize) {
        let delays = [self.random.below(5 * SECOND), self.random.below(5 * SECOND)];
        self.after(delays[0], Happening::LinkDown { node, link });
        self.after(delays[1], Happening::LinkDown { node: COORDINATOR, link });
    }

    pub(super) fn cut(&mut self, from: usize, to: usize, is_symmetric: bool) {
        let until = self.now + self.random.between(200_000, 8 * SECOND);
        let ways = if is_symmetric {
            vec![(from, to), (to, from)]
        } else if self.random.chance(500) {
            vec![(from, to)]
        } else {
            vec![(to, from)]
        };
        for (from, to) in ways {
            *self.cuts.entry((from, to)).or_default() += 1;
            self.at(until, Happening::Heal { from, to });
        }
        if to == COORDINATOR && self.random.chance(500) {
            let link = match from {
                FIRST_CLIENT.. => self.clients[from - FIRST_CLIENT].link,
                _ => self.nodes[from - 1].process.as_ref().and_then(|process| process.link),
            };
            if let Some(link) = link {
                self.break_link(link, from);
            }
        }
    }

    pub(super) fn crash_coordinator(&mut self) {
        if self.coordinator.take().is_none() {
            return;
        }
        self.fire("coordinator crash");
        *self.lives.entry(COORDINATOR).or_default() += 1;
        self.paused.remove(&COORDINATOR);
        let mut random = self.random.clone();
        if self.disk.crash(&mut random) {
            self.fire("torn tail");
        }
        self.random = random;
        for (link, node) in std::mem::take(&mut self.links) {
            let delay = self.random.below(6 * SECOND);
            self.after(delay, Happening::LinkDown { node, link });
        }
        let delay = self.random.between(50_000, 6 * SECOND);
        self.after(delay, Happening::Start { node: COORDINATOR });
    }

    pub(super) fn crash_driver(&mut self, node: usize) -> Result<(), String> {
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        let Some((_, hosted)) = process.drivers.pop_first() else { return Ok(()) };
        let driver = hosted.driver.run();
        let tried = self.tries_failed.entry((driver.job, u32::MAX, 0)).or_default();
        if *tried >= 2 {
            process.drivers.insert(driver.job, hosted);
            return Ok(());
        }
        *tried += 1;
        self.fire("driver crash");
        let error = RemoteError::new(Kind::Io, "the driver's process died");
        let end = DriverEnd::Failed { error, cause: FailureCause::Process };
        self.worker_hears(node, worker::Event::DriverEnded { driver, end })
    }

    /// All faults end, everything that is down comes up again.
    pub(super) fn heal_all(&mut self) -> Result<(), String> {
        self.is_healed = true;
        self.cuts.clear();
        self.paused.clear();
        self.slow_disk = false;
        for node in &mut self.nodes {
            node.slowness = 1;
        }
        for node in 0..=self.nodes.len() {
            self.start(node)?;
        }
        Ok(())
    }
}
