//! Jobs made of a seed, and what they must give.
//!
//! In: a seed. Out: actions with random stages and edges; the rows that a task makes of its inputs; the same computed
//! directly, as the oracle. Never: anything that depends on how stages are cut into tasks.

use std::collections::BTreeMap;

use windrow::cluster::protocol::{
    EdgeEnd, EdgeId, EdgeKind, EdgeShape, ParameterNumber, Skeleton, StageKind, StageShape,
};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

pub fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A job, as its spec says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobModel {
    pub seed: u64,
    pub actions: u32,
    pub is_sql: bool,
    pub fails: bool,
}

impl JobModel {
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.seed.to_le_bytes().to_vec();
        bytes.extend([self.actions as u8, self.is_sql as u8, self.fails as u8]);
        bytes
    }
    pub fn from_bytes(bytes: &[u8]) -> JobModel {
        let seed = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        JobModel { seed, actions: bytes[8].into(), is_sql: bytes[9] != 0, fails: bytes[10] != 0 }
    }

    /// The k-th action, given the digest of the outcomes before it: a program's actions depend on them.
    pub fn action(self, number: u32, digest: u64) -> ActionModel {
        let seed = mix(self.seed ^ mix(u64::from(number) + 1) ^ digest);
        let writes = !self.is_sql && seed.is_multiple_of(3);
        ActionModel::new(seed, writes, self.fails && number + 1 == self.actions, digest)
    }

    /// What the job must give: the digest that its driver returns and the rows of its last action; or that it fails.
    pub fn oracle(self) -> Option<(u64, Vec<u64>)> {
        let (mut digest, mut rows) = (0, Vec::new());
        for number in 0..self.actions {
            rows = self.action(number, digest).oracle()?;
            digest = next_digest(digest, &rows);
        }
        Some((digest, rows))
    }
}

/// The digest of the outcomes so far, another one taken in; `rows` in any order.
pub fn next_digest(digest: u64, rows: &[u64]) -> u64 {
    let sum = rows.iter().fold(rows.len() as u64, |sum, row| sum.wrapping_add(mix(*row ^ 0x51)));
    mix(digest ^ sum)
}

/// An action: its skeleton, and what its stages do.
#[derive(Clone, Debug)]
pub struct ActionModel {
    pub seed: u64,
    pub writes: bool,
    pub fails: bool,
    /// What the driver had computed before.
    pub before: u64,
    pub skeleton: Skeleton,
    /// The split on which the user's code fails.
    pub failing: Option<(usize, u32)>,
}

/// What a stage sees of what it does not go through row by row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    pub broadcast: u64,
    pub parameters: u64,
}

impl ActionModel {
    pub fn new(seed: u64, writes: bool, fails: bool, before: u64) -> ActionModel {
        let mut random = Random::new(seed);
        let mut model = ActionModel { seed, writes, fails, before, skeleton: Skeleton::default(), failing: None };
        let count = random.between(1, 5) as usize;
        let groups = 16 << random.below(2);
        let mut open: Vec<usize> = Vec::new();
        let mut given: Vec<ParameterNumber> = Vec::new();
        for index in 0..count {
            model.add_stage(&mut random, index, index + 1 == count, groups, &mut open, &mut given);
        }
        if fails {
            let scans = model.skeleton.stages.iter().enumerate().filter(|(_, stage)| !stage.splits.is_empty());
            let scans: Vec<(usize, usize)> = scans.map(|(index, stage)| (index, stage.splits.len())).collect();
            if !scans.is_empty() {
                let (stage, splits) = scans[random.below(scans.len() as u64) as usize];
                model.failing = Some((stage, random.below(splits as u64) as u32));
            }
        }
        model
    }

    fn add_stage(
        &mut self,
        random: &mut Random,
        index: usize,
        is_last: bool,
        groups: u16,
        open: &mut Vec<usize>,
        given: &mut Vec<ParameterNumber>,
    ) {
        let mut taken = Vec::new();
        while !open.is_empty() && (is_last || (taken.len() < 2 && random.chance(600))) {
            taken.push(open.swap_remove(random.below(open.len() as u64) as usize));
        }
        taken.sort();
        let kind = match (taken.is_empty(), random.below(4)) {
            (true, 0) => StageKind::Single,
            (true, _) => StageKind::BySplits,
            (false, 0) => StageKind::BySplits,
            (false, 1) => StageKind::Single,
            (false, _) => StageKind::ByGroups,
        };
        let mut edges = Vec::new();
        if kind == StageKind::ByGroups && taken.len() >= 2 && random.chance(400) {
            edges.push((std::mem::take(&mut taken), EdgeKind::Groups { count: groups }));
        }
        for from in taken {
            let is_first = edges.is_empty();
            let edge = match (kind, random.below(3)) {
                (StageKind::BySplits, _) => EdgeKind::Broadcast,
                (StageKind::ByGroups, 0) if !is_first => EdgeKind::Broadcast,
                (StageKind::ByGroups, _) => EdgeKind::Groups { count: groups },
                (StageKind::Single, 0) => EdgeKind::Broadcast,
                (StageKind::Single, 1) => EdgeKind::Gather,
                (StageKind::Single, _) => EdgeKind::Groups { count: groups },
            };
            edges.push((vec![from], edge));
        }
        let mut inputs = Vec::new();
        for (from, kind) in edges {
            let id = EdgeId(self.skeleton.edges.len() as u16);
            for from in &from {
                self.skeleton.stages[*from].output = Some(id);
            }
            let from = from.into_iter().map(|from| from as u32).collect();
            self.skeleton.edges.push(EdgeShape { from, to: EdgeEnd::Stage(index as u32), kind });
            inputs.push(id);
        }
        let has_splits =
            kind == StageKind::BySplits || (kind == StageKind::Single && (inputs.is_empty() || random.chance(300)));
        let splits = if has_splits { random.below(10) } else { 0 };
        let splits = (0..splits).map(|_| random.below(1000)).collect();
        let needs = given.iter().copied().filter(|_| is_last || random.chance(600)).collect();
        let mut shape = StageShape { kind, splits, inputs, output: None, needs, gives: None, writes: false };
        if is_last && self.writes {
            shape.writes = true;
        } else if is_last {
            let id = EdgeId(self.skeleton.edges.len() as u16);
            self.skeleton.edges.push(EdgeShape {
                from: vec![index as u32],
                to: EdgeEnd::Result,
                kind: EdgeKind::Gather,
            });
            shape.output = Some(id);
        } else if kind == StageKind::Single && random.chance(600) {
            let parameter = ParameterNumber(given.len() as u32 + 7);
            shape.gives = Some(parameter);
            given.push(parameter);
        } else {
            open.push(index);
        }
        self.skeleton.stages.push(shape);
    }

    /// The plan's bytes: enough to make the action again; some are long.
    pub fn plan(&self) -> Vec<u8> {
        let mut bytes = self.seed.to_le_bytes().to_vec();
        bytes.extend([self.writes as u8, self.fails as u8]);
        bytes.extend(self.before.to_le_bytes());
        if self.seed.is_multiple_of(97) {
            bytes.resize(windrow::cluster::limits::PART_BYTES * 2 + 11, 0x5a);
        }
        bytes
    }

    pub fn of_plan(bytes: &[u8]) -> ActionModel {
        let seed = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let before = u64::from_le_bytes(bytes[10..18].try_into().unwrap());
        ActionModel::new(seed, bytes[8] != 0, bytes[9] != 0, before)
    }

    pub fn split_rows(&self, stage: usize, split: u32) -> Vec<u64> {
        let mut random = Random::new(self.seed ^ mix((stage as u64) << 32 | u64::from(split)));
        (0..random.below(5)).map(|_| random.next()).collect()
    }

    pub fn is_broadcast(&self, edge: EdgeId) -> bool {
        self.skeleton.edges[usize::from(edge.0)].kind == EdgeKind::Broadcast
    }

    pub fn output_kind(&self, stage: usize) -> Option<EdgeKind> {
        Some(self.skeleton.edges[usize::from(self.skeleton.stages[stage].output?.0)].kind)
    }

    /// What a stage makes of a row.
    pub fn map(&self, stage: usize, row: u64, context: Context) -> u64 {
        mix(row
            ^ mix(self.seed ^ stage as u64)
            ^ context.broadcast.wrapping_mul(3)
            ^ context.parameters.wrapping_mul(5))
    }

    /// The value of a parameter, of all rows that its stage reads.
    pub fn value(rows: &[u64], context: Context) -> u64 {
        rows.iter().fold(context.broadcast ^ context.parameters, |sum, row| sum.wrapping_add(mix(row ^ 0x77)))
    }

    pub fn broadcast_sum(rows: &[u64]) -> u64 {
        rows.iter().fold(0, |sum: u64, row| sum.wrapping_add(mix(row ^ 0x33)))
    }

    pub fn group_of(row: u64, count: usize) -> usize {
        (mix(row ^ 0x99) % count as u64) as usize
    }

    /// All rows of the action, in order of their value; none when it must fail.
    pub fn oracle(&self) -> Option<Vec<u64>> {
        if self.failing.is_some() {
            return None;
        }
        let mut made: Vec<Vec<u64>> = Vec::new();
        let mut given: BTreeMap<ParameterNumber, u64> = BTreeMap::new();
        for (index, stage) in self.skeleton.stages.iter().enumerate() {
            let mut rows: Vec<u64> = Vec::new();
            let mut context = Context::default();
            for split in 0..stage.splits.len() as u32 {
                rows.extend(self.split_rows(index, split));
            }
            for edge in &stage.inputs {
                for from in &self.skeleton.edges[usize::from(edge.0)].from {
                    let from = &made[*from as usize];
                    if self.is_broadcast(*edge) {
                        context.broadcast = context.broadcast.wrapping_add(ActionModel::broadcast_sum(from));
                    } else {
                        rows.extend(from);
                    }
                }
            }
            for need in &stage.needs {
                context.parameters = context.parameters.wrapping_add(given[need]);
            }
            if let Some(parameter) = stage.gives {
                given.insert(parameter, ActionModel::value(&rows, context));
            }
            made.push(rows.into_iter().map(|row| self.map(index, row, context)).collect());
        }
        let mut rows = made.pop()?;
        rows.sort();
        Some(rows)
    }
}
