//! The coordinator's disk: what was synced stays, what was not may be torn.
//!
//! In: records. Out: files as they are after a crash. Never: a synced byte lost.

use std::collections::{BTreeMap, BTreeSet};

use windrow::{
    checkpoint::{JournalFile, JournalWriter, Position, recover},
    cluster::{
        coordinator::{Epitaph, JournalRecord},
        protocol::{ActionNumber, AttemptEnd, AttemptKey, DriverRun, ParameterNumber, stage_place},
    },
    plan::decision::Decision,
    shuffle::{Epoch, JobId, StageId, TaskId},
};

use super::model::Random;

/// What somebody may have to rest upon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    Job(JobId),
    Driver(DriverRun),
    Plan(JobId, ActionNumber),
    Parameter(JobId, ActionNumber, ParameterNumber, Vec<u8>),
    Stage(JobId, StageId),
    Started(AttemptKey),
    Ended(AttemptKey),
    Action(JobId, ActionNumber),
    JobEnded(JobId),
    Epitaph(JobId),
}

/// Each job's records.
type Journal = Vec<(JobId, Vec<JournalRecord>)>;

#[derive(Default)]
pub struct Disk {
    pub epoch: u32,
    jobs: BTreeMap<JobId, Folder>,
    epitaphs: Vec<Epitaph>,
    /// In the order of their numbers, not yet synced.
    waiting: Vec<(u64, Write)>,
    pub facts: BTreeSet<Fact>,
    /// Which attempt of a task counts, by the records written so far in this life.
    pub counts: BTreeMap<(JobId, StageId, TaskId), AttemptKey>,
    /// The values of parameters as they were ever written.
    parameters: BTreeMap<(JobId, ActionNumber, ParameterNumber), Vec<u8>>,
    /// Tasks of each stage.
    pub stages: BTreeMap<(JobId, StageId), usize>,
}

#[derive(Default)]
struct Folder {
    files: BTreeMap<u32, Vec<u8>>,
    writer: Option<JournalWriter>,
    next: Position,
}

enum Write {
    Record { job: JobId, bytes: Vec<u8>, fact: Option<Fact> },
    Retire(Epitaph),
}

fn fact(job: JobId, record: &JournalRecord) -> Option<Fact> {
    Some(match record {
        JournalRecord::Job(_) => Fact::Job(job),
        JournalRecord::DriverStarted(record) => Fact::Driver(record.driver),
        JournalRecord::PlanPart(_) | JournalRecord::AttemptLost(_) => return None,
        JournalRecord::PlanShipped(record) => Fact::Plan(job, record.action),
        JournalRecord::Decision(record) => {
            let Decision::ScalarValue { subquery, value } = &record.decision else { return None };
            Fact::Parameter(
                job,
                stage_place(record.stage).0,
                ParameterNumber(*subquery),
                value.clone().unwrap_or_default(),
            )
        }
        JournalRecord::StageStarted(record) => Fact::Stage(job, record.stage),
        JournalRecord::AttemptStarted(record) => Fact::Started(record.key),
        JournalRecord::AttemptEnded(record) => Fact::Ended(record.key),
        JournalRecord::ActionEnded(record) => Fact::Action(job, record.action),
        JournalRecord::JobEnded(_) => Fact::JobEnded(job),
    })
}

impl Disk {
    /// What is written must agree with what was written before.
    fn note(&mut self, job: JobId, record: &JournalRecord) -> Result<(), String> {
        match record {
            JournalRecord::StageStarted(record)
                if self.stages.insert((job, record.stage), record.tasks.len()).is_some() =>
            {
                return Err(format!("stage {} of job {job} was cut twice", record.stage));
            }
            JournalRecord::Decision(record) => {
                if let Some(Fact::Parameter(job, action, parameter, value)) =
                    fact(job, &JournalRecord::Decision(record.clone()))
                {
                    let known = self.parameters.entry((job, action, parameter)).or_insert(value.clone());
                    if *known != value {
                        return Err(format!("parameter {parameter:?} of job {job} changed its value"));
                    }
                }
            }
            JournalRecord::AttemptEnded(record) => {
                let place = (job, record.key.stage, record.key.task);
                if matches!(record.end, AttemptEnd::Finished(_))
                    && let Some(other) = self.counts.insert(place, record.key)
                {
                    return Err(format!("attempts {other} and {} both count", record.key));
                }
            }
            JournalRecord::AttemptLost(record) => {
                let place = (job, record.key.stage, record.key.task);
                if self.counts.get(&place) == Some(&record.key) {
                    self.counts.remove(&place);
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub fn append(&mut self, number: u64, job: JobId, record: &JournalRecord) -> Result<(), String> {
        self.note(job, record)?;
        let (kind, payload) = record.to_payload().unwrap();
        let folder = self.jobs.entry(job).or_default();
        let writer = folder.writer.get_or_insert_with(|| JournalWriter::new(job, Epoch(self.epoch), folder.next));
        let mut bytes = Vec::new();
        writer.append(kind, &payload, &mut bytes).unwrap();
        self.waiting.push((number, Write::Record { job, bytes, fact: fact(job, record) }));
        Ok(())
    }

    pub fn retire(&mut self, number: u64, epitaph: Epitaph) {
        self.waiting.push((number, Write::Retire(epitaph)));
    }

    /// The last number that was handed in.
    pub fn handed_in(&self) -> Option<u64> {
        self.waiting.last().map(|(number, _)| *number)
    }

    /// Everything up to `number` is durable.
    pub fn sync(&mut self, number: u64) {
        let count = self.waiting.iter().filter(|(at, _)| *at <= number).count();
        let done: Vec<_> = self.waiting.drain(..count).collect();
        for (_, write) in done {
            match write {
                Write::Record { job, bytes, fact } => {
                    let file = self.jobs.entry(job).or_default().files.entry(self.epoch).or_default();
                    file.extend(bytes);
                    self.facts.extend(fact);
                }
                Write::Retire(epitaph) => {
                    self.facts.insert(Fact::Epitaph(epitaph.job));
                    self.jobs.remove(&epitaph.job);
                    self.epitaphs.retain(|known| known.job != epitaph.job);
                    self.epitaphs.push(epitaph);
                }
            }
        }
    }

    /// The machine dies: of what was not synced, each file keeps some first bytes, perhaps of noise.
    pub fn crash(&mut self, random: &mut Random) -> bool {
        let mut tails: BTreeMap<JobId, Vec<u8>> = BTreeMap::new();
        for (_, write) in self.waiting.drain(..) {
            if let Write::Record { job, bytes, .. } = write {
                tails.entry(job).or_default().extend(bytes);
            }
        }
        let mut is_torn = false;
        for (job, tail) in tails {
            let kept = if random.chance(300) { tail.len() } else { random.below(tail.len() as u64) as usize };
            let mut kept = tail[..kept].to_vec();
            if kept.len() > 48 && random.chance(200) {
                let at = random.below(kept.len() as u64) as usize;
                kept.truncate(at + 1);
                kept[at] ^= 0x10;
            }
            is_torn |= kept.len() < tail.len() && !kept.is_empty();
            if let Some(folder) = self.jobs.get_mut(&job) {
                folder.files.entry(self.epoch).or_default().extend(kept);
            }
        }
        is_torn
    }

    /// The next life reads what is there.
    pub fn recover(&mut self) -> Result<(Journal, Vec<Epitaph>), String> {
        let before = std::mem::take(&mut self.facts);
        self.counts.clear();
        self.stages.clear();
        self.facts.extend(self.epitaphs.iter().map(|epitaph| Fact::Epitaph(epitaph.job)));
        let mut journal = Vec::new();
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            let folder = self.jobs.get_mut(&job).unwrap();
            let files = folder.files.iter().map(|(epoch, bytes)| JournalFile { epoch: Epoch(*epoch), bytes });
            let recovered = recover(job, &files.collect::<Vec<_>>()).map_err(|error| format!("{error}"))?;
            for cut in &recovered.cuts {
                if let Some(file) = folder.files.get_mut(&cut.epoch.0) {
                    file.truncate(cut.keep_bytes);
                }
            }
            folder.next = recovered.next;
            folder.writer = None;
            let mut records = Vec::new();
            for entry in recovered.entries {
                let record =
                    JournalRecord::from_payload(entry.kind, &entry.payload).map_err(|error| error.to_string())?;
                self.note(job, &record)?;
                self.facts.extend(fact(job, &record));
                records.push(record);
            }
            if records.is_empty() {
                self.jobs.remove(&job);
            } else {
                journal.push((job, records));
            }
        }
        let gone = |job: &JobId| self.facts.contains(&Fact::Epitaph(*job));
        let lost = before.iter().find(|fact| {
            let job = match fact {
                Fact::Job(job) | Fact::Plan(job, _) | Fact::Stage(job, _) | Fact::Action(job, _) => job,
                Fact::Parameter(job, ..) | Fact::JobEnded(job) | Fact::Epitaph(job) => job,
                Fact::Started(key) | Fact::Ended(key) => &key.job,
                Fact::Driver(driver) => &driver.job,
            };
            !self.facts.contains(fact) && !gone(job)
        });
        if let Some(lost) = lost {
            return Err(format!("{lost:?} was durable and is gone after a restart"));
        }
        self.epoch += 1;
        Ok((journal, self.epitaphs.clone()))
    }

    /// Handed in and never lost since: the job, or what stayed of it.
    pub fn knows(&self, job: JobId) -> bool {
        self.facts.contains(&Fact::Job(job)) || self.facts.contains(&Fact::Epitaph(job))
    }
}
