//! How a stage is cut into tasks, and who should take each.
//!
//! In: bytes of splits or of groups, the workers with their threads. Out: tasks, each with a preferred worker. Never: a
//! worker left without a task while there is enough to share; a choice that a restart makes again (it is journaled).
//!
//! Groups are placed by weighted rendezvous hashing (Thaler and Ravishankar 1998; weights as in Schindelhauer and
//! Schomaker 2005): each worker scores each group, the best score wins, so a worker that comes or goes moves its own
//! groups only. Load is bounded (Mirrokni, Thorup, Zadimoghaddam 2018): who has his share is passed over, which moves a
//! few more.

use crate::{
    cluster::{
        coordinator::TaskShape,
        limits::TASKS_PER_STAGE_MAX,
        protocol::{StageKind, StageShape, WorkerName},
    },
    shuffle::GroupId,
};

/// A worker that takes part.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    pub(super) name: WorkerName,
    /// Its threads: how much of the work it should have.
    pub(super) weight: u32,
}

/// The tasks of a stage whose groups have so many bytes in its inputs. There is at least one worker.
pub(super) fn cut_stage(stage: &StageShape, groups: &[u64], task_bytes: u64, bearers: &[Bearer]) -> Vec<TaskShape> {
    match stage.kind {
        StageKind::BySplits => cut_splits(&stage.splits, task_bytes, bearers),
        StageKind::ByGroups => cut_groups(groups, task_bytes, bearers),
        StageKind::Single => {
            let key = groups.iter().fold(stage.splits.len() as u64, |key, bytes| mix(key ^ bytes));
            let best = bearers.iter().max_by_key(|bearer| mix(key ^ name_hash(&bearer.name)));
            let bytes = groups.iter().chain(&stage.splits).sum();
            let splits = (0, stage.splits.len() as u32);
            vec![TaskShape { splits, groups: Vec::new(), preferred: best.map(|best| best.name.clone()), bytes }]
        }
    }
}

/// Contiguous ranges of about equal bytes: as many as the bytes ask for, and one a worker while splits suffice.
fn cut_splits(splits: &[u64], task_bytes: u64, bearers: &[Bearer]) -> Vec<TaskShape> {
    // A split of no bytes still is one to be opened.
    let weight = |bytes: &u64| u128::from(*bytes) + 1;
    let total: u128 = splits.iter().map(weight).sum();
    let by_bytes = usize::try_from(total.div_ceil(u128::from(task_bytes.max(1)))).unwrap_or(usize::MAX);
    let most = splits.len().clamp(1, TASKS_PER_STAGE_MAX);
    let count = by_bytes.max(bearers.len()).clamp(1, most);

    let mut tasks = Vec::with_capacity(count);
    let (mut first, mut passed) = (0, 0);
    for task in 0..count {
        // The others behind it need a split each.
        let last = splits.len().saturating_sub(count - 1 - task);
        let goal = total * (task as u128 + 1) / count as u128;
        let (mut end, mut bytes) = (first, 0);
        while end < last && (end == first || passed + weight(&splits[end]) / 2 <= goal || task + 1 == count) {
            passed += weight(&splits[end]);
            bytes += splits[end];
            end += 1;
        }
        let preferred = bearers.get(task * bearers.len() / count).map(|bearer| bearer.name.clone());
        tasks.push(TaskShape { splits: (first as u32, end as u32), groups: Vec::new(), preferred, bytes });
        first = end;
    }
    tasks
}

/// Each worker's groups, cut where their bytes are enough for a task.
fn cut_groups(groups: &[u64], task_bytes: u64, bearers: &[Bearer]) -> Vec<TaskShape> {
    let owners = place_groups(groups.len(), bearers);
    let mut tasks = Vec::new();
    for (place, bearer) in bearers.iter().enumerate() {
        let new = || TaskShape { preferred: Some(bearer.name.clone()), ..TaskShape::default() };
        let mut task = new();
        for (group, bytes) in groups.iter().enumerate().filter(|(group, _)| owners[*group] == place) {
            if !task.groups.is_empty() && task.bytes + bytes > task_bytes {
                tasks.push(std::mem::replace(&mut task, new()));
            }
            task.groups.push(GroupId(group as u16));
            task.bytes += bytes;
        }
        if !task.groups.is_empty() {
            tasks.push(task);
        }
    }
    tasks
}

/// For each group the place of its worker.
pub(super) fn place_groups(count: usize, bearers: &[Bearer]) -> Vec<usize> {
    let weights: u64 = bearers.iter().map(|bearer| u64::from(bearer.weight.max(1))).sum();
    let share = |bearer: &Bearer| (count as u64 * u64::from(bearer.weight.max(1))).div_ceil(weights.max(1)).max(1);
    let mut room: Vec<u64> = bearers.iter().map(share).collect();
    let mut owners = Vec::with_capacity(count);
    for group in 0..count {
        let mut best = None;
        for (place, bearer) in bearers.iter().enumerate().filter(|(place, _)| room[*place] > 0) {
            let score = score(group, bearer);
            if best.is_none_or(|(known, _)| score > known) {
                best = Some((score, place));
            }
        }
        let place = best.map_or(0, |(_, place)| place);
        if let Some(room) = room.get_mut(place) {
            *room = room.saturating_sub(1);
        }
        owners.push(place);
    }
    fill_empty(&mut owners, bearers);
    owners
}

/// While there are groups for all, whoever has none takes the one that scores best for him from who has most.
fn fill_empty(owners: &mut [usize], bearers: &[Bearer]) {
    if owners.len() < bearers.len() {
        return;
    }
    for (place, bearer) in bearers.iter().enumerate() {
        if owners.contains(&place) {
            continue;
        }
        let load = |other: usize| owners.iter().filter(|owner| **owner == other).count();
        let Some(fullest) = (0..bearers.len()).max_by_key(|other| (load(*other), std::cmp::Reverse(*other))) else {
            return;
        };
        let theirs = (0..owners.len()).filter(|group| owners[*group] == fullest);
        if let Some(group) = theirs.max_by(|a, b| score(*a, bearer).total_cmp(&score(*b, bearer))) {
            owners[group] = place;
        }
    }
}

/// How well a worker suits a group: of two workers the one of weight w wins with a chance proportional to w.
fn score(group: usize, bearer: &Bearer) -> f64 {
    let hash = mix(mix(group as u64 + 1) ^ name_hash(&bearer.name));
    // In (0, 1), from the 53 bits that a float keeps.
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(bearer.weight.max(1)) / uniform.ln()
}

fn name_hash(name: &WorkerName) -> u64 {
    twox_hash::XxHash3_64::oneshot(name.as_str().as_bytes())
}

/// The finalizer of SplitMix64.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::testing::cases;

    fn bearers(weights: &[u32]) -> Vec<Bearer> {
        let name = |place| WorkerName::new(format!("w{place}")).unwrap();
        weights.iter().enumerate().map(|(place, weight)| Bearer { name: name(place), weight: *weight }).collect()
    }

    fn groups() -> impl Strategy<Value = usize> {
        (4u32..=8).prop_map(|bits| 1 << bits)
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn nobody_has_more_than_his_share_and_nobody_none(count in groups(), weights in vec(1u32..16, 1..40)) {
            let bearers = bearers(&weights);
            let owners = place_groups(count, &bearers);
            prop_assert_eq!(owners.len(), count);
            let total: usize = weights.iter().map(|weight| *weight as usize).sum();
            for (place, weight) in weights.iter().enumerate() {
                let load = owners.iter().filter(|owner| **owner == place).count();
                prop_assert!(load <= (count * *weight as usize).div_ceil(total).max(1));
                prop_assert!(load >= 1 || count < weights.len());
            }
        }

        #[test]
        fn splits_are_cut_without_a_gap(splits in vec(0u64..1000, 0..200), task_bytes in 1u64..5000, workers in 1usize..9) {
            let tasks = cut_splits(&splits, task_bytes, &bearers(&vec![4; workers]));
            prop_assert_eq!(tasks.first().unwrap().splits.0, 0);
            prop_assert_eq!(tasks.last().unwrap().splits.1 as usize, splits.len());
            prop_assert!(tasks.windows(2).all(|pair| pair[0].splits.1 == pair[1].splits.0));
            prop_assert!(tasks.iter().all(|task| task.splits.0 < task.splits.1) || splits.is_empty());
            prop_assert!(tasks.len() >= workers.min(splits.len()));
            let (most, largest) = (tasks.iter().map(|task| task.bytes).max().unwrap(), splits.iter().max().copied().unwrap_or(0));
            prop_assert!(most <= task_bytes + 2 * largest + 2, "{most} of {task_bytes}, a split has {largest}");
            prop_assert_eq!(tasks.iter().map(|task| task.bytes).sum::<u64>(), splits.iter().sum::<u64>());
            let wanted: std::collections::BTreeSet<_> = tasks.iter().map(|task| task.preferred.clone()).collect();
            prop_assert!(wanted.len() == workers.min(tasks.len()));
        }

        #[test]
        fn groups_are_cut_without_a_gap(bytes in vec(0u64..1000, 16..=16), task_bytes in 1u64..3000, workers in 1usize..20) {
            let tasks = cut_groups(&bytes, task_bytes, &bearers(&vec![4; workers]));
            let mut all: Vec<u16> = tasks.iter().flat_map(|task| task.groups.iter().map(|group| group.0)).collect();
            all.sort();
            prop_assert_eq!(all, (0..16).collect::<Vec<u16>>());
            prop_assert!(tasks.iter().all(|task| task.groups.len() == 1 || task.bytes <= task_bytes));
            prop_assert!(tasks.len() >= workers.min(16));
        }
    }

    /// One worker more or less: besides its own groups only those move that the bound of the load pushes on.
    #[test]
    fn few_groups_move_when_a_worker_comes_or_goes() {
        for count in [64usize, 256] {
            for workers in 3..12usize {
                let all = bearers(&vec![4; workers]);
                let before = place_groups(count, &all);
                let gone = workers / 2;
                let rest: Vec<Bearer> = all
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| *place != gone)
                    .map(|(_, bearer)| bearer.clone())
                    .collect();
                let after = place_groups(count, &rest);
                let moved = (0..count).filter(|group| all[before[*group]].name != rest[after[*group]].name).count();
                let own = before.iter().filter(|owner| **owner == gone).count();
                assert!(moved >= own);
                assert!(moved <= own + count / 4, "{moved} of {count} moved, {own} of them had to, {workers} workers");
            }
        }
    }
}
