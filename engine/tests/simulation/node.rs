//! A worker's process: its machine, and what it drives: executor, spool, stored plans, drivers.
//!
//! In: orders, rows that were pulled. Out: rows, ends. Never: memory that survives the process.

use std::collections::BTreeMap;

use windrow::cluster::{
    driver::Driver,
    protocol::{
        ActionNumber, ActionOutcome, AttemptEnd, AttemptFailure, AttemptKey, AttemptReport, AttemptSource, Blob,
        EdgeTaken, FailureCause, GroupTotal, Incarnation, Link, LostInput, Order, RemoteError, WorkerName, stage_place,
    },
    worker::Worker,
};
use windrow::shuffle::{GroupId, JobId};

use super::model::{ActionModel, Context, JobModel};

/// Rows of an attempt by group.
pub type Rows = Vec<Vec<u64>>;

pub struct Node {
    pub name: WorkerName,
    pub process: Option<Process>,
    /// How much longer everything takes.
    pub slowness: u64,
    pub incarnation: Incarnation,
    /// It was asked to leave.
    pub is_leaving: bool,
}

/// What dies with the process.
pub struct Process {
    pub machine: Worker,
    pub link: Option<Link>,
    pub spool: BTreeMap<AttemptKey, Rows>,
    pub plans: BTreeMap<(JobId, ActionNumber), Vec<Blob>>,
    pub executing: BTreeMap<AttemptKey, Execution>,
    pub drivers: BTreeMap<JobId, Hosted>,
}

/// A driver that runs here.
pub struct Hosted {
    pub driver: Driver,
    pub next_action: u32,
    pub model: JobModel,
    pub digest: u64,
    /// The action that it waits for, with the revision whose rows it pulls.
    pub waits: Option<ActionNumber>,
    pub revision: u64,
    pub pull: Option<Pull>,
}

pub struct Execution {
    pub order: Order,
    pub pull: Pull,
    pub is_computing: bool,
}

/// What is pulled, source by source.
#[derive(Clone)]
pub struct Pull {
    pub sources: Vec<AttemptSource>,
    /// By source: the request that is out, how often it was asked, what has come.
    pub asked: Vec<(u64, u32)>,
    pub arrived: Vec<Option<Rows>>,
    /// Rows taken too often, where nothing fences.
    pub surplus: Vec<(usize, Rows)>,
}

/// A request for rows.
#[derive(Clone, Debug)]
pub struct Ask {
    pub request: u64,
    pub key: AttemptKey,
    pub incarnation: Incarnation,
    pub groups: Vec<GroupId>,
}

/// Its answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub request: u64,
    pub key: AttemptKey,
    pub rows: Option<Rows>,
}

impl Pull {
    pub fn new(sources: Vec<AttemptSource>) -> Pull {
        let count = sources.len();
        Pull { sources, asked: vec![(0, 0); count], arrived: vec![None; count], surplus: Vec::new() }
    }

    pub fn ask(&self, place: usize) -> Ask {
        let source = &self.sources[place];
        let groups = source.groups.iter().map(|(group, _)| *group).collect();
        Ask { request: self.asked[place].0, key: source.key, incarnation: source.incarnation, groups }
    }

    pub fn is_complete(&self) -> bool {
        self.arrived.iter().all(Option::is_some)
    }

    pub fn lost(&self, place: usize, is_denied: bool) -> LostInput {
        let source = &self.sources[place];
        LostInput { key: source.key, worker: source.worker.clone(), incarnation: source.incarnation, is_denied }
    }

    /// Takes rows; without fencing also those that were asked for by an earlier request, as if they were others.
    pub fn take(&mut self, reply: &Reply, fencing: bool) -> Taken {
        let place = self.asked.iter().position(|(request, _)| *request == reply.request);
        let place = match place {
            Some(place) => place,
            None if fencing => return Taken::Stale,
            None => match self
                .sources
                .iter()
                .position(|source| source.key.task == reply.key.task && source.key.stage == reply.key.stage)
            {
                Some(place) => place,
                None => return Taken::Stale,
            },
        };
        let Some(rows) = &reply.rows else { return Taken::Denied(place) };
        if self.arrived[place].is_some() {
            if !fencing {
                self.surplus.push((place, rows.clone()));
            }
            return Taken::Stale;
        }
        self.arrived[place] = Some(rows.clone());
        if self.is_complete() { Taken::All } else { Taken::Some }
    }

    /// Rows that arrived are rows that the ledger says.
    pub fn check(&self) -> Result<(), String> {
        for (source, rows) in self.sources.iter().zip(&self.arrived) {
            let arrived: usize = rows.iter().flatten().map(Vec::len).sum();
            if arrived as u64 != source.rows() {
                return Err(format!(
                    "{arrived} rows of attempt {} were taken, its ledger says {}",
                    source.key,
                    source.rows()
                ));
            }
        }
        Ok(())
    }
}

pub enum Taken {
    Stale,
    Some,
    All,
    Denied(usize),
}

impl Process {
    pub fn new(machine: Worker) -> Process {
        Process {
            machine,
            link: None,
            spool: BTreeMap::new(),
            plans: BTreeMap::new(),
            executing: BTreeMap::new(),
            drivers: BTreeMap::new(),
        }
    }

    /// Answers a pull: only for this life, and for attempts that ended.
    pub fn serve(&self, ask: &Ask, own: Incarnation, fencing: bool) -> Option<Rows> {
        if ask.incarnation != own && fencing {
            return None;
        }
        let rows = self.spool.get(&ask.key)?;
        Some(ask.groups.iter().map(|group| rows[usize::from(group.0)].clone()).collect())
    }

    pub fn plan(&self, key: AttemptKey) -> Option<Vec<u8>> {
        let parts = self.plans.get(&(key.job, stage_place(key.stage).0))?;
        Some(parts.iter().flat_map(|part| part.iter().copied()).collect())
    }

    /// What an attempt makes of what it pulled: its end, and the rows it keeps.
    pub fn compute(&self, execution: &Execution) -> (AttemptEnd, Rows) {
        let order = &execution.order;
        let model = ActionModel::of_plan(&self.plan(order.key).expect("an attempt started without its plan"));
        let index = stage_place(order.key.stage).1;
        let stage = &model.skeleton.stages[index];
        let (mut rows, mut context, mut taken) = (Vec::new(), Context::default(), Vec::new());
        for split in order.splits.clone() {
            if model.failing == Some((index, split)) {
                let error = RemoteError::new(windrow::Kind::Job, format!("split {split} divides by zero"));
                return (failed(error, FailureCause::Error, Vec::new()), Vec::new());
            }
            rows.extend(model.split_rows(index, split));
        }
        let mut place = 0;
        for input in &order.inputs {
            let mut count = 0;
            for _ in &input.attempts {
                let surplus = execution.pull.surplus.iter().filter(|(at, _)| *at == place).map(|(_, rows)| rows);
                let arrived = execution.pull.arrived[place].iter().chain(surplus).flatten().flatten().copied();
                let arrived: Vec<u64> = arrived.collect();
                count += arrived.len() as u64;
                if model.is_broadcast(input.edge) {
                    context.broadcast = context.broadcast.wrapping_add(ActionModel::broadcast_sum(&arrived));
                } else {
                    rows.extend(arrived);
                }
                place += 1;
            }
            taken.push(EdgeTaken { edge: input.edge, rows: count, is_enough: false });
        }
        for (_, value) in &order.parameters {
            let value = u64::from_le_bytes(value[..8].try_into().expect("eight bytes"));
            context.parameters = context.parameters.wrapping_add(value);
        }
        let value = stage.gives.map(|_| Blob::from(ActionModel::value(&rows, context).to_le_bytes().to_vec()));
        let made: Vec<u64> = rows.iter().map(|row| model.map(index, *row, context)).collect();
        let mut report = AttemptReport { taken, value, ..AttemptReport::default() };
        report.counters.rows_in = rows.len() as u64;
        let mut groups: Rows = Vec::new();
        if stage.writes {
            report.manifest = Some(made.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>().into());
        } else if let Some(kind) = model.output_kind(index) {
            let count = kind.group_count();
            groups = vec![Vec::new(); count];
            made.into_iter().for_each(|row| groups[ActionModel::group_of(row, count)].push(row));
            let total = |rows: &Vec<u64>| GroupTotal {
                rows: rows.len() as u64,
                bytes: 8 * rows.len() as u64,
                frames: u64::from(!rows.is_empty()),
                hash_sum: rows.iter().fold(0, |sum: u64, row| sum.wrapping_add(*row)),
            };
            report.groups = groups.iter().map(total).collect();
        }
        (AttemptEnd::Finished(Box::new(report)), groups)
    }
}

pub fn failed(error: RemoteError, cause: FailureCause, lost: Vec<LostInput>) -> AttemptEnd {
    AttemptEnd::Failed(Box::new(AttemptFailure::new(error, cause, lost)))
}

/// The rows of an outcome's manifests.
pub fn written_rows(outcome: &ActionOutcome) -> Vec<u64> {
    let ActionOutcome::Written(manifests, _) = outcome else { return Vec::new() };
    let bytes = manifests.iter().flat_map(|manifest| manifest.manifest.chunks_exact(8));
    bytes.map(|row| u64::from_le_bytes(row.try_into().expect("eight bytes"))).collect()
}
