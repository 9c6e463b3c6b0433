//! The parts that a thread has open: of a partitioned output several, a folder each.
//!
//! In: rows by folder. Out: part files. Never: more files open than a thread may have; more memory than its share while it can be had from a part.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::write::{HOLDER, Writing};
use crate::{
    batch::Batch,
    error::{Result, bug},
    format::Encode,
    limits,
    memory::Reservation,
    operator::{Outcome, Wake},
    store::Appender,
};

/// The parts that a thread has open.
pub(super) struct OpenParts {
    pub(super) shared: Arc<Writing>,
    /// By folder.
    open: BTreeMap<String, Part>,
    reservation: Reservation,
    /// Counts batches, to know which part was used longest ago.
    turn: u64,
}

pub(super) struct Part {
    encoder: Box<dyn Encode>,
    appender: Appender,
    folder: String,
    number: u32,
    /// The turn of its last batch.
    used: u64,
}

impl Part {
    pub(super) fn new(folder: &str, number: u32, encoder: Box<dyn Encode>, appender: Appender) -> Part {
        Part { encoder, appender, folder: folder.to_owned(), number, used: 0 }
    }
}

impl OpenParts {
    pub(super) fn new(shared: &Arc<Writing>) -> OpenParts {
        let reservation = shared.context.reservation(HOLDER);
        OpenParts { shared: Arc::clone(shared), open: BTreeMap::new(), reservation, turn: 0 }
    }

    /// Whether rows of the folder go into a part that is open, beside `others` that are about to be.
    pub(super) fn has_room(&self, folder: &str, others: &BTreeSet<String>) -> bool {
        let is_open = self.open.contains_key(folder) || others.contains(folder);
        is_open || self.open.len() + others.len() < self.shared.open_parts_max()
    }

    /// Adds rows to the parts of their folders; blocked while too much of one waits for the disk.
    pub(super) fn write(&mut self, parts: Vec<(String, Batch)>) -> Result<Outcome> {
        let mut full = None;
        for (folder, batch) in parts {
            if !self.add(&folder, &batch)? {
                full = Some(folder);
            }
        }
        self.reserve()?;
        match full.and_then(|folder| self.open.get(&folder)) {
            Some(part) => {
                let wake = Wake::default();
                let rung = wake.clone();
                part.appender.when_room(move || rung.fire());
                Ok(Outcome::Blocked(wake))
            }
            None => Ok(Outcome::More),
        }
    }

    pub(super) fn close(self) -> Result<()> {
        let OpenParts { shared, open, .. } = self;
        open.into_values().try_for_each(|part| part.close(&shared))
    }

    /// Adds rows to the part of a folder. False when too much of it waits for the disk.
    fn add(&mut self, folder: &str, batch: &Batch) -> Result<bool> {
        self.turn += 1;
        if !self.open.contains_key(folder) {
            if self.open.len() >= self.shared.open_parts_max() {
                let oldest = self.open.iter().min_by_key(|(_, part)| part.used).map(|(folder, _)| folder.clone());
                if let Some(part) = oldest.and_then(|folder| self.open.remove(&folder)) {
                    part.close(&self.shared)?;
                }
            }
            self.open.insert(folder.to_owned(), self.shared.open_part(folder)?);
        }
        let part = self.open.get_mut(folder).ok_or_else(|| bug("sink", "a part that was just opened"))?;
        part.used = self.turn;
        part.encoder.push(batch)?;
        let bytes = part.encoder.take();
        if bytes.is_empty() { Ok(true) } else { part.appender.append(bytes) }
    }

    /// Accounts for what the encoders hold; where there are several, the largest are relieved of it when it is much.
    fn reserve(&mut self) -> Result<()> {
        let share = self.shared.context.settings.memory_bytes / limits::ENCODERS_SHARE;
        let most = share / self.shared.context.settings.threads as u64;
        loop {
            let held: u64 = self.open.values().map(|part| part.encoder.held_bytes() as u64).sum();
            if held <= most || self.open.len() < 2 {
                return self.reservation.resize(held);
            }
            let largest = self.open.values_mut().max_by_key(|part| part.encoder.held_bytes());
            let part = largest.ok_or_else(|| bug("sink", "no part among several"))?;
            let bytes = part.encoder.relieve()?;
            part.appender.append(bytes)?;
        }
    }
}

impl Part {
    pub(super) fn close(self, shared: &Writing) -> Result<()> {
        self.appender.append(self.encoder.finish()?)?;
        shared.add_file(self.folder, self.number, self.appender);
        Ok(())
    }
}
