//! Rebuilding the index from what a recovery finds: for each record the highest version wins.
//!
//! Records are gathered in batches and brought into the index in the order of their digests: a partition's memory is gone through from front
//! to back, once for each batch, so that records do not wait for memory one by one. Each thread of the recovery fills a batch of its own.
//!
//! Every record counts as live, in its block and in its set, when it is gathered; whichever version loses is counted out then. The
//! index keeps no versions, so two versions of a record are told apart by the ranges of the blocks they lie in, and by what
//! the batch knows. Where ranges overlap, the other version is asked for on the device, for many records at once (`doubts`).

mod doubts;
mod sets;
#[cfg(test)]
mod tests;

use std::cmp::Ordering::{self, Equal, Greater, Less};

use parking_lot::Mutex;

use self::{doubts::Doubt, sets::FoundCounts};
use super::sets::cut_of;
use crate::{
    format::{FooterEntry, Truncation},
    index::{CoarseExpiry, Entry, Index, Slot},
    model::{Location, Version},
    storage::{Shared, recover::Tally},
};

/// Records of all batches together, where that leaves [`BATCH_MIN`] for each: about 80 MB.
const BATCHES_TOTAL: usize = 1 << 20;
/// Records of one batch at least: enough for several in each partition.
const BATCH_MIN: usize = 1 << 14;

/// Takes in records while a namespace starts cold.
pub(super) struct Rebuild<'a> {
    shared: &'a Shared,
    index: &'a Index,
    truncations: &'a [Truncation],
    tally: &'a Tally,
    batch_len: usize,
    /// Batches that no thread is filling just now.
    batches: Mutex<Vec<Batch>>,
    doubts: Mutex<Vec<Doubt>>,
    found: Mutex<FoundCounts>,
}

/// A record as a footer tells of it, made ready for the index.
#[derive(Clone, Copy, Debug)]
struct Found {
    version: Version,
    entry: Entry,
    set_hash: u64,
    tag: u64,
    partition: u16,
}

/// Records on their way to the index, and the order in which they go.
#[derive(Debug, Default)]
struct Batch {
    found: Vec<Found>,
    /// Partition, tag and the record's number in `found`, in one number that sorts by them.
    order: Vec<u128>,
}

/// How a record compares to what the index has.
enum Meeting {
    Won(Option<Entry>),
    Lost,
    /// The version of the record at this location must be known first.
    InDoubt(Location),
}

impl Batch {
    fn push(&mut self, found: Found) {
        let number = self.found.len() as u128;
        let key = u128::from(found.partition) << 96 | u128::from(found.tag) << 32 | number;
        self.order.push(key);
        self.found.push(found);
    }

    fn clear(&mut self) {
        self.found.clear();
        self.order.clear();
    }
}

impl<'a> Rebuild<'a> {
    /// For a recovery of so many threads.
    pub(super) fn new(
        shared: &'a Shared,
        index: &'a Index,
        truncations: &'a [Truncation],
        tally: &'a Tally,
        threads: usize,
    ) -> Self {
        Self {
            shared,
            index,
            truncations,
            tally,
            batch_len: (BATCHES_TOTAL / threads.max(1)).max(BATCH_MIN),
            batches: Mutex::default(),
            doubts: Mutex::default(),
            found: Mutex::default(),
        }
    }

    /// Takes in the records of one block, all of which the block's state counts as live.
    pub(super) fn take(&self, block: u32, footer: &[FooterEntry]) {
        let mut batch = self.batches.lock().pop().unwrap_or_default();
        let mut counts = FoundCounts::default();
        for of_set in footer.chunk_by(|left, right| left.set_hash == right.set_hash) {
            counts.of_set(of_set[0].set_hash, |set| {
                for record in of_set {
                    let location = self.shared.blocks.location(block, record.offset);
                    let cut = cut_of(self.truncations, record);
                    if cut.is_some_and(|cut| cut.until == 0) {
                        let at = record.version.sequence;
                        self.shared.kill(location, record.size, record.tombstone, at, None);
                        continue;
                    }
                    let mut found = Found::new(record, location);
                    if let Some(eviction) = cut {
                        // It may be newer than a version that the eviction left alone, which must not come back.
                        let at = eviction.cut.sequence - 1;
                        self.shared.evict(location, record.size, record.version, at);
                        found.entry.tombstone = true;
                    }
                    set.count_in(found.entry.tombstone, record.version, location);
                    batch.push(found);
                }
            });
        }
        self.found.lock().add(counts);
        if batch.found.len() >= self.batch_len {
            self.merge(&mut batch);
        }
        self.batches.lock().push(batch);
    }

    /// Brings everything that is still gathered into the index. Each thread calls it at its end; when all have returned, nothing is left.
    pub(super) fn finish(&self) {
        loop {
            let batch = self.batches.lock().pop();
            if let Some(mut batch) = batch {
                self.merge(&mut batch);
                continue;
            }
            let doubts = std::mem::take(&mut *self.doubts.lock());
            if doubts.is_empty() {
                return;
            }
            self.settle(doubts);
        }
    }

    /// Brings a batch into the index and empties it.
    fn merge(&self, batch: &mut Batch) {
        batch.order.sort_unstable();
        let (mut counts, mut doubts) = (FoundCounts::default(), Vec::new());
        let mut together: Vec<Found> = Vec::new();
        for partition in batch.order.chunk_by(|left, right| left >> 96 == right >> 96) {
            together.clear();
            together.extend(partition.iter().map(|&key| batch.found[key as u32 as usize]));
            self.merge_partition(&together, &mut counts, &mut doubts);
        }
        batch.clear();
        self.found.lock().add(counts);
        self.add_doubts(doubts);
    }

    /// Brings records of one partition, by ascending tag, into the index.
    fn merge_partition(
        &self,
        records: &[Found],
        counts: &mut FoundCounts,
        doubts: &mut Vec<Doubt>,
    ) {
        // What the index got last: for a record that comes twice in a batch, it tells the version of the one before.
        let mut last = (Location::from_units(0), Version::ZERO);
        self.index.with_slots(
            records[0].partition,
            records,
            |found| found.tag,
            |found, slot| match self.meet(found, slot, last) {
                Meeting::InDoubt(other) => doubts.push(Doubt { found: *found, other }),
                meeting => {
                    if let Meeting::Won(_) = meeting {
                        last = (found.entry.location, found.version);
                    }
                    self.count_out(found, meeting, counts);
                }
            },
        );
    }

    /// Brings one record into the index whose rival at `known.0` has version `known.1`.
    fn merge_known(
        &self,
        found: &Found,
        known: (Location, Version),
        counts: &mut FoundCounts,
        doubts: &mut Vec<Doubt>,
    ) {
        self.index.with_slots(
            found.partition,
            std::slice::from_ref(found),
            |f| f.tag,
            |found, slot| match self.meet(found, slot, known) {
                Meeting::InDoubt(other) => doubts.push(Doubt { found: *found, other }),
                meeting => self.count_out(found, meeting, counts),
            },
        );
    }

    /// Puts the record into its slot if it is the newest. `known` is the version of the record at a location.
    fn meet(&self, found: &Found, slot: &mut Slot<'_>, known: (Location, Version)) -> Meeting {
        let Some(old) = slot.get() else {
            slot.set(found.entry);
            return Meeting::Won(None);
        };
        let order = match known {
            (location, version) if location == old.location => Some(found.version.cmp(&version)),
            _ => self.compare(found, old.location),
        };
        match order {
            None => Meeting::InDoubt(old.location),
            Some(Greater) => {
                slot.set(Entry { older: true, ..found.entry });
                Meeting::Won(Some(old))
            }
            // The same version twice was moved from one place to the other, perhaps as the tombstone that stands for it.
            Some(Equal) if self.stays(&found.entry, &old) => {
                slot.set(Entry { older: old.older, ..found.entry });
                Meeting::Won(Some(old))
            }
            Some(Equal) => Meeting::Lost,
            Some(Less) => {
                slot.set(Entry { older: true, ..old });
                Meeting::Lost
            }
        }
    }

    /// Counts the version that lost out: it is dead.
    fn count_out(&self, found: &Found, meeting: Meeting, counts: &mut FoundCounts) {
        // What killed it is above this version.
        let (dead, at) = match meeting {
            Meeting::Won(Some(old)) => (old, self.floor(old.location)),
            Meeting::Lost => (found.entry, found.version.sequence),
            Meeting::Won(None) | Meeting::InDoubt(_) => return,
        };
        self.shared.kill(dead.location, dead.size, dead.tombstone, at, None);
        counts.of_set(found.set_hash, |set| set.count_out(dead.tombstone));
    }

    /// Whether of two copies the first one counts: the tombstone; else the one in the older block, so that a block into which something was
    /// being moved when the node stopped is empty again.
    fn stays(&self, copy: &Entry, other: &Entry) -> bool {
        let opened = |entry: &Entry| {
            let block = self.shared.blocks.locate(entry.location);
            block.map(|(block, _)| self.shared.blocks.get(block).sequence())
        };
        match (copy.tombstone, other.tombstone) {
            (true, false) => true,
            (false, true) => false,
            _ => opened(copy) < opened(other),
        }
    }

    /// No version in the block of this location is lower. Version 0 is given to none: a kill at 0 stands for what could not be read.
    fn floor(&self, location: Location) -> u64 {
        let block = self.shared.blocks.locate(location);
        let floor = |(block, _)| self.shared.blocks.get(block).version_range().0.sequence;
        block.map_or(1, floor).max(1)
    }

    /// How the record's version compares to that of the record at `other`, as far as the blocks' ranges tell.
    fn compare(&self, found: &Found, other: Location) -> Option<Ordering> {
        let (other_block, _) = self.shared.blocks.locate(other)?;
        let (floor, max) = self.shared.blocks.get(other_block).version_range();
        match found.version {
            version if version > max => Some(Greater),
            // The floor may be the birth of the block, that is the version before its first.
            version if version <= floor => Some(Less),
            _ => None,
        }
    }
}

impl Found {
    fn new(record: &FooterEntry, location: Location) -> Self {
        let entry = Entry {
            location,
            size: record.size,
            generation: record.generation,
            expiry: CoarseExpiry::new(record.void_time),
            tombstone: record.tombstone,
            older: false,
        };
        Self {
            version: record.version,
            entry,
            set_hash: record.set_hash,
            tag: record.digest.tag(),
            partition: record.digest.partition(),
        }
    }
}
