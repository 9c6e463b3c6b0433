//! What workers hear and do.
//!
//! In: events for their values. Out: their commands carried out: processes, tasks, spools. Never: chance that is not the seed's.

use super::*;

impl World {
    pub(super) fn worker_hears(&mut self, node: usize, event: worker::Event) -> Result<(), String> {
        let now = self.now;
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        process.machine.handle(now, event);
        let mut commands = Vec::new();
        while let Some(command) = process.machine.poll_command() {
            commands.push(command);
        }
        for command in commands {
            self.worker_does(node, command)?;
        }
        Ok(())
    }

    pub(super) fn worker_does(&mut self, node: usize, command: worker::Command) -> Result<(), String> {
        let life = self.life(node);
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        match command {
            worker::Command::Send { link, message } => {
                let bytes = message.to_bytes().map_err(|error| error.to_string())?;
                self.send(node, COORDINATOR, Packet::Control { link, bytes });
            }
            worker::Command::StorePlan { job, action, part, parts, plan_hash, bytes } => {
                let stored = process.plans.entry((job, action)).or_default();
                if part == 0 {
                    stored.clear();
                }
                if part as usize != stored.len() {
                    return Err(format!("part {part} of a plan came after {}", stored.len()));
                }
                stored.push(bytes);
                if stored.len() == parts as usize {
                    let all: Vec<u8> = stored.iter().flat_map(|part| part.iter().copied()).collect();
                    if XxHash3_64::oneshot(&all) != plan_hash {
                        return Err("a stored plan has another hash".to_owned());
                    }
                    let delay = self.random.below(5000);
                    self.after(delay, Happening::PlanStored { node, life, job, action });
                }
            }
            worker::Command::StartAttempt { order } => {
                let sources = order.inputs.iter().flat_map(|input| input.attempts.clone()).collect();
                let key = order.key;
                let execution = Execution { order: *order, pull: Pull::new(sources), is_computing: false };
                if process.executing.insert(key, execution).is_some() || process.spool.contains_key(&key) {
                    return Err(format!("attempt {key} was started twice"));
                }
                return self.begin_pull(node, Puller::Attempt(key));
            }
            worker::Command::CancelAttempt { key } => {
                process.executing.remove(&key);
            }
            worker::Command::DropAttempt { key } => {
                process.spool.remove(&key);
            }
            worker::Command::DropJob { job } => {
                process.spool.retain(|key, _| key.job != job);
                process.plans.retain(|(of, _), _| *of != job);
            }
            worker::Command::StartDriver { start } => {
                let model = JobModel::from_bytes(&start.spec);
                let driver = start.driver;
                let hosted = Hosted {
                    driver: Driver::new(&start),
                    model,
                    next_action: 0,
                    digest: 0,
                    waits: None,
                    revision: 0,
                    pull: None,
                };
                process.drivers.insert(driver.job, hosted);
                let delay = self.random.between(1000, 200_000);
                self.after(delay, Happening::DriverStep { node, life, driver });
            }
            worker::Command::TeachDriver { driver, action } => {
                // What the actions before gave stands in the plans of all of them.
                let mut plan = None;
                for number in 0..=action.0 {
                    plan = process.plans.get(&(driver.job, ActionNumber(number)));
                    plan.ok_or("a driver learns from plans of which one is not here")?;
                }
                let plan = plan.ok_or("a driver learns from no plan")?;
                let plan: Vec<u8> = plan.iter().flat_map(|part| part.iter().copied()).collect();
                let hosted = process.drivers.get_mut(&driver.job).filter(|hosted| hosted.driver.run() == driver);
                if let Some(hosted) = hosted {
                    hosted.next_action = action.0;
                    hosted.digest = ActionModel::of_plan(&plan).before;
                    self.fire("action replayed");
                    self.after(0, Happening::DriverStep { node, life, driver });
                }
            }
            worker::Command::DeliverOutcome { driver, action, revision, outcome } => {
                let Some(hosted) = process.drivers.get_mut(&driver.job) else { return Ok(()) };
                if hosted.driver.run() != driver {
                    return Err(format!("an outcome for run {} came to run {}", driver.run, hosted.driver.run().run));
                }
                if hosted.driver.handle_outcome(action, revision, outcome) {
                    self.after(0, Happening::DriverStep { node, life, driver });
                }
            }
            worker::Command::StopDriver { driver } => {
                if process.drivers.get(&driver.job).is_some_and(|hosted| hosted.driver.run() == driver) {
                    process.drivers.remove(&driver.job);
                }
            }
            worker::Command::BeginAgain => {
                let link = process.link;
                self.fire("worker fenced");
                self.begin_life(node);
                if let (Some(link), Some(process)) = (link, &mut self.nodes[node - 1].process) {
                    process.link = Some(link);
                    return self.worker_hears(node, worker::Event::LinkUp { link });
                }
            }
            worker::Command::Exit { error } => {
                if let Some(error) = error {
                    return Err(format!("a worker was refused: {error}"));
                }
                self.fire("worker left");
                self.kill(node);
                self.after(SECOND, Happening::Start { node });
            }
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, node: usize) {
        *self.lives.entry(node).or_default() += 1;
        let gone: Vec<Link> = self.links.iter().filter(|(_, of)| **of == node).map(|(link, _)| *link).collect();
        for link in gone {
            self.links.remove(&link);
            let delay = self.random.below(6 * SECOND);
            self.after(delay, Happening::LinkDown { node: COORDINATOR, link });
        }
        self.nodes[node - 1].process = None;
    }

    pub(super) fn computed(&mut self, node: usize, key: AttemptKey) -> Result<(), String> {
        let incarnation = self.nodes[node - 1].incarnation;
        let fails = !self.is_healed && self.random.chance(60);
        let Some(process) = &mut self.nodes[node - 1].process else { return Ok(()) };
        let Some(execution) = process.executing.remove(&key) else { return Ok(()) };
        let tried = self.tries_failed.entry((key.job, key.stage.0, key.task.0)).or_default();
        if fails && *tried < 1 {
            *tried += 1;
            let (name, cause, kind) = match self.random.below(3) {
                0 => ("attempt panicked", FailureCause::Panic, Kind::Job),
                1 => ("child died", FailureCause::Process, Kind::Io),
                _ => ("attempt failed", FailureCause::Error, Kind::Io),
            };
            self.fire(name);
            let error = RemoteError::new(kind, "an attempt fails, because the test wants it to");
            return self.worker_hears(node, worker::Event::Ended { key, end: failed(error, cause, Vec::new()) });
        }
        let (end, rows) = process.compute(&execution);
        if matches!(end, AttemptEnd::Finished(_)) {
            process.spool.insert(key, rows);
            self.finished.insert((key, incarnation));
        }
        self.worker_hears(node, worker::Event::Ended { key, end })
    }
}
