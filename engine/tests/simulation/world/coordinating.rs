//! What the coordinator hears and does.
//!
//! In: events for its value. Out: its commands carried out; facts that must be on the disk before anything is told are looked for there. Never: chance that is not the seed's.

use super::*;

impl World {
    pub(super) fn coordinator_hears(&mut self, event: coordinator::Event) -> Result<(), String> {
        let now = self.now;
        let is_tick = matches!(event, coordinator::Event::Tick);
        let Some(machine) = &mut self.coordinator else { return Ok(()) };
        machine.handle(now, event);
        let mut commands = Vec::new();
        while let Some(command) = machine.poll_command() {
            commands.push(command);
        }
        if is_tick {
            let (at, life) = (machine.next_tick(), self.life(COORDINATOR));
            self.at(at.max(now + 1), Happening::Tick { node: COORDINATOR, life });
        }
        for command in commands {
            self.coordinator_does(command)?;
        }
        self.start_sync();
        Ok(())
    }

    pub(super) fn start_sync(&mut self) {
        if let Some(number) = self.disk.handed_in().filter(|_| !self.is_syncing) {
            self.is_syncing = true;
            let mut delay = self.random.between(100, 4000);
            if self.slow_disk && !self.is_healed && self.random.chance(50) {
                delay = self.random.below(2 * SECOND);
                self.fire("slow sync");
            }
            let life = self.life(COORDINATOR);
            self.after(delay, Happening::Synced { life, number });
        }
    }

    pub(super) fn coordinator_does(&mut self, command: coordinator::Command) -> Result<(), String> {
        match command {
            coordinator::Command::Send { link, message } => {
                let Some(node) = self.links.get(&link).copied() else { return Ok(()) };
                let bytes = match &message {
                    Outgoing::Worker(message) => {
                        self.check_told(&message.body)?;
                        message.to_bytes()
                    }
                    Outgoing::Client(message) => {
                        self.check_answered(&message.body)?;
                        message.to_bytes()
                    }
                };
                let bytes = bytes.map_err(|error| error.to_string())?;
                self.send(COORDINATOR, node, Packet::Control { link, bytes });
                Ok(())
            }
            coordinator::Command::Append { number, job, record } => self.disk.append(number, job, &record),
            coordinator::Command::Retire { number, epitaph } => {
                self.disk.retire(number, *epitaph);
                Ok(())
            }
            coordinator::Command::Log { .. } => Ok(()),
            coordinator::Command::CloseLink { error, .. } => Err(format!("a connection was closed: {error}")),
            coordinator::Command::Stop { error } => Err(format!("the coordinator stopped: {error}")),
        }
    }

    pub(super) fn must(&self, fact: Fact) -> Result<(), String> {
        let job = match &fact {
            Fact::Job(job) | Fact::Plan(job, _) | Fact::Parameter(job, ..) | Fact::Stage(job, _) => *job,
            Fact::Action(job, _) | Fact::JobEnded(job) | Fact::Epitaph(job) => *job,
            Fact::Started(key) | Fact::Ended(key) => key.job,
            Fact::Driver(driver) => driver.job,
        };
        if self.disk.facts.contains(&fact) || self.disk.facts.contains(&Fact::Epitaph(job)) {
            Ok(())
        } else {
            Err(format!("the coordinator spoke before {fact:?} was durable"))
        }
    }

    /// Nothing is told that is not durable, and each order is whole.
    pub(super) fn check_told(&self, body: &OrderBody) -> Result<(), String> {
        match body {
            OrderBody::Run(order) => {
                self.must(Fact::Started(order.key))?;
                self.must(Fact::Stage(order.key.job, order.key.stage))?;
                self.must(Fact::Plan(order.key.job, stage_place(order.key.stage).0))?;
                for (parameter, value) in &order.parameters {
                    let action = stage_place(order.key.stage).0;
                    self.must(Fact::Parameter(order.key.job, action, *parameter, value.to_vec()))?;
                }
                self.check_order(order)
            }
            OrderBody::EndTaken { key, keep: true } => self.must(Fact::Ended(*key)),
            OrderBody::PlanPart { job, action, .. } => self.must(Fact::Plan(*job, *action)),
            OrderBody::PlanTaken { driver, action } => self.must(Fact::Plan(driver.job, *action)),
            OrderBody::StartDriver(start) => self.must(Fact::Driver(start.driver)),
            OrderBody::Outcome { driver, action, .. } => self.must(Fact::Action(driver.job, *action)),
            _ => Ok(()),
        }
    }

    pub(super) fn check_order(&self, order: &Order) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for input in &order.inputs {
            let mut stages: BTreeMap<_, usize> = BTreeMap::new();
            for source in &input.attempts {
                let key = source.key;
                if !seen.insert((input.edge, key.stage, key.task)) {
                    return Err(format!("order {} names task {}.{} twice", order.key, key.stage, key.task));
                }
                if !self.finished.contains(&(key, source.incarnation)) {
                    return Err(format!("order {} names attempt {key}, which did not finish there", order.key));
                }
                self.must(Fact::Ended(key))?;
                *stages.entry(key.stage).or_default() += 1;
            }
            for (stage, count) in stages {
                let tasks = self.disk.stages.get(&(order.key.job, stage)).copied().unwrap_or_default();
                if count != tasks {
                    return Err(format!("order {} names {count} of {tasks} tasks of stage {stage}", order.key));
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_answered(&mut self, answer: &Answer) -> Result<(), String> {
        match answer {
            Answer::Submitted { job } => self.must(Fact::Job(*job)),
            Answer::CancelDone { job } => self.must(Fact::JobEnded(*job)),
            Answer::TakenDone { job } => self.must(Fact::Epitaph(*job)),
            Answer::Update(update) if update.state.is_ended() => self.must(Fact::JobEnded(update.job)),
            _ => Ok(()),
        }
    }
}
