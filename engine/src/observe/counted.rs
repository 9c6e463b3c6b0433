//! What the job's own code counts: counters by name, and the records that it could not use.
//!
//! In: what mappers and reducers count, once a split or a part of groups. Out: sums, which are the same for the same rows whoever counted them.
//! Never: more of it than travels: a name too many is an error, records beyond those that are kept are only counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Cause, Kind, Result};

/// Most counters of a job: people read them.
pub const COUNTERS_MAX: usize = 512;
/// Longest name of a counter, in bytes.
pub const COUNTER_NAME_BYTES_MAX: usize = 128;
/// Records that could not be used, as far as they are shown: the others are counted.
pub const SKIPPED_SHOWN_MAX: usize = 64;
/// Longest text of such a record, its place and its error, in bytes; what is longer is cut.
pub const SKIPPED_BYTES_MAX: usize = 256;

/// Sums of what was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// By name.
    pub counters: BTreeMap<String, i64>,
    /// How many records were left out because the job's code could not use them.
    pub skipped: u64,
    /// Some of them: the first ones by place and content.
    pub shown: Vec<Skipped>,
}

/// A record that was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skipped {
    /// Where it was read.
    pub place: String,
    /// Its values.
    pub record: String,
    /// What the job's code said.
    pub error: String,
}

impl Skipped {
    /// Texts that are too long are cut.
    pub fn new(place: &str, record: &str, error: &str) -> Skipped {
        let cut = |text: &str| {
            let end = (0..=SKIPPED_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
            text[..end.unwrap_or(0)].to_owned()
        };
        Skipped { place: cut(place), record: cut(record), error: cut(error) }
    }
}

impl Counted {
    /// Counts by `name`. Fails for a name too many, or one that is too long.
    pub fn count(&mut self, name: &str, by: i64) -> Result<()> {
        if let Some(sum) = self.counters.get_mut(name) {
            *sum = sum.saturating_add(by);
            return Ok(());
        }
        if self.counters.len() >= COUNTERS_MAX {
            return Err(CountedError::Many { name: name.to_owned() }.into());
        }
        if name.len() > COUNTER_NAME_BYTES_MAX {
            return Err(CountedError::LongName { name: name.to_owned() }.into());
        }
        self.counters.insert(name.to_owned(), by);
        Ok(())
    }

    /// Counts a record that was left out.
    pub fn skip(&mut self, record: Skipped) {
        self.skipped = self.skipped.saturating_add(1);
        self.show([record]);
    }

    /// What others counted counts, too.
    pub fn merge(&mut self, other: &Counted) -> Result<()> {
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.show(other.shown.iter().cloned());
        let mut counted = Ok(());
        for (name, by) in &other.counters {
            counted = counted.and(self.count(name, *by));
        }
        counted
    }

    /// Nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.skipped == 0
    }

    /// It is as small as what travels may be.
    pub fn fits(&self) -> bool {
        let is_short = |record: &Skipped| {
            [&record.place, &record.record, &record.error].into_iter().all(|text| text.len() <= SKIPPED_BYTES_MAX)
        };
        self.counters.len() <= COUNTERS_MAX
            && self.counters.keys().all(|name| name.len() <= COUNTER_NAME_BYTES_MAX)
            && self.shown.len() <= SKIPPED_SHOWN_MAX
            && self.shown.iter().all(is_short)
    }

    /// The least ones stay, so that it is the same whoever comes first.
    fn show(&mut self, records: impl IntoIterator<Item = Skipped>) {
        for record in records {
            let place = self.shown.partition_point(|shown| *shown <= record);
            if place < SKIPPED_SHOWN_MAX {
                self.shown.truncate(SKIPPED_SHOWN_MAX - 1);
                self.shown.insert(place, record);
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum CountedError {
    #[error("counting {name:?}: the job has {COUNTERS_MAX} counters, and can have no more")]
    Many { name: String },
    #[error("counting {name:?}: the name of a counter has at most {COUNTER_NAME_BYTES_MAX} bytes")]
    LongName { name: String },
}

impl Cause for CountedError {
    fn kind(&self) -> Kind {
        Kind::Job
    }
    fn hint(&self) -> Option<String> {
        Some("count kinds of rows; what depends on a row's values is a key of the flow".to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_who_comes_first() {
        let counted = |range: std::ops::Range<usize>| {
            let mut counted = Counted::default();
            for number in range {
                counted.count(["odd", "even"][(number + 1) % 2], number as i64).unwrap();
                counted.skip(Skipped::new("a place", &format!("{number:04}"), "no"));
            }
            counted
        };
        let (first, second) = (counted(0..100), counted(100..250));
        let (mut one, mut other) = (first.clone(), second.clone());
        one.merge(&second).unwrap();
        other.merge(&first).unwrap();
        assert_eq!(one, other);
        assert_eq!(one, counted(0..250));
        assert_eq!((one.skipped, one.shown.len(), one.shown[0].record.as_str()), (250, SKIPPED_SHOWN_MAX, "0000"));
        assert!(one.fits());
    }

    #[test]
    fn what_is_too_much_is_told() {
        let mut counted = Counted::default();
        (0..COUNTERS_MAX).for_each(|number| counted.count(&number.to_string(), 1).unwrap());
        assert!(counted.count("one more", 1).is_err() && counted.count("7", 1).is_ok());
        assert!(Counted::default().count(&"x".repeat(COUNTER_NAME_BYTES_MAX + 1), 1).is_err());
        assert_eq!(Skipped::new(&"ä".repeat(200), "", "").place.len(), SKIPPED_BYTES_MAX);
    }
}
