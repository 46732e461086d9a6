//! What a cold start counts of each set, and how the set gets its name: footers know only its hash, a record knows the name.

use std::collections::HashMap;

use super::Rebuild;
use crate::{
    model::{Location, Version},
    namespace::sets::Sets,
};

/// Records and tombstones by the hash of their set's name.
#[derive(Debug, Default)]
pub(super) struct FoundCounts {
    sets: HashMap<u64, FoundSet>,
}

/// What is known of a set before its name is.
#[derive(Debug, Default)]
pub(super) struct FoundSet {
    /// Live records.
    records: i64,
    /// Tombstones that are the newest of their record.
    tombstones: i64,
    /// The newest record or tombstone of the set: never superseded, so it is surely there and tells the name.
    newest: (Version, Option<Location>),
}

impl FoundSet {
    /// Counts a version in.
    pub(super) fn count_in(&mut self, tombstone: bool, version: Version, location: Location) {
        *self.counter(tombstone) += 1;
        self.newest = self.newest.max((version, Some(location)));
    }

    /// Counts a version out that was counted in and lost.
    pub(super) fn count_out(&mut self, tombstone: bool) {
        *self.counter(tombstone) -= 1;
    }

    fn counter(&mut self, tombstone: bool) -> &mut i64 {
        if tombstone { &mut self.tombstones } else { &mut self.records }
    }
}

impl FoundCounts {
    /// Calls `f` with the counts of one set.
    pub(super) fn of_set(&mut self, hash: u64, f: impl FnOnce(&mut FoundSet)) {
        f(self.sets.entry(hash).or_default());
    }

    /// Live records of the set.
    #[cfg(test)]
    pub(super) fn records(&self, hash: u64) -> i64 {
        self.sets.get(&hash).map_or(0, |set| set.records)
    }

    /// Adds what a part of the recovery counted.
    pub(super) fn add(&mut self, other: Self) {
        for (hash, found) in other.sets {
            let set = self.sets.entry(hash).or_default();
            set.records += found.records;
            set.tombstones += found.tombstones;
            set.newest = set.newest.max(found.newest);
        }
    }
}

impl Rebuild<'_> {
    /// Tombstones in the index.
    pub(in crate::namespace) fn tombstones(&self) -> u64 {
        self.found.lock().sets.values().map(|set| set.tombstones).sum::<i64>().max(0) as u64
    }

    /// Gives the sets their names and counts.
    pub(in crate::namespace) fn name_sets(&self, sets: &Sets) {
        let found = self.found.lock();
        for (hash, set) in &found.sets {
            let Some(newest) = set.newest.1 else { continue };
            let records = set.records;
            match self.read_header(newest, |record| record.set().map(str::to_owned)) {
                Some(name) => sets.restore(&name, *hash, records),
                None => self.tally.damage(format!(
                    "a record that names a set of {records} records cannot be read; the set is listed when it is next written"
                )),
            }
        }
    }
}
