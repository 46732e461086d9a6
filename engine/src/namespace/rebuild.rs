//! Rebuilding the index from what a recovery finds: for each record the highest version wins.
//!
//! The index keeps no versions, so two versions of a record are told apart by the ranges of the blocks they lie in, by the
//! footer at hand when both lie in one block, and, where ranges overlap, by reading the other record's header. The last is rare: blocks are
//! taken in the order of their birth.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::sets::{Sets, is_cut};
use crate::{
    device::{AlignedBuf, reactor},
    format::{FooterEntry, PlaceSeed, RECORD_HEADER_BYTES, RecordView, Truncation},
    index::{CoarseExpiry, Entry, Index},
    model::{Location, Version},
    storage::{Shared, recover::Tally, survey},
};

/// How many records ahead the index is asked for: enough to hide a cache miss behind the work on the others.
const PREFETCH_AHEAD: usize = 8;

/// Takes in records while a namespace starts cold.
pub(super) struct Rebuild<'a> {
    pub(super) shared: &'a Shared,
    pub(super) index: &'a Index,
    pub(super) truncations: &'a [Truncation],
    pub(super) tally: &'a Tally,
    pub(super) found: Mutex<FoundCounts>,
}

/// Records by set, and tombstones.
#[derive(Debug, Default)]
pub(super) struct FoundCounts {
    pub(super) tombstones: i64,
    /// By the hash of the set's name.
    sets: HashMap<u64, FoundSet>,
}

/// What is known of a set before its name is.
#[derive(Debug, Default)]
struct FoundSet {
    /// Live records.
    records: i64,
    /// The newest record or tombstone of the set: never superseded, so it is surely there and tells the name.
    newest: (Version, Option<Location>),
}

/// How a record met compares to what the index has.
enum Meeting {
    First,
    Newer(Entry),
    Older,
    /// The version of the record at this location must be known first.
    Unknown(Location),
}

impl Rebuild<'_> {
    /// Takes in the records of one block.
    pub(super) fn take(&self, block: u32, footer: &[FooterEntry]) {
        let mut counts = FoundCounts::default();
        for (at, record) in footer.iter().enumerate() {
            if let Some(ahead) = footer.get(at + PREFETCH_AHEAD) {
                self.index.prefetch(ahead.digest);
            }
            let state = self.shared.blocks.get(block);
            if is_cut(self.truncations, record) {
                state.add_dead(record.size, record.tombstone, record.version);
                continue;
            }
            let mut known = None;
            loop {
                match self.meet(block, footer, record, known) {
                    Meeting::First => counts.change(record, self.place(block, record), None),
                    Meeting::Newer(old) => {
                        counts.change(record, self.place(block, record), Some(old.tombstone));
                        self.kill(&old);
                    }
                    Meeting::Older => state.add_dead(record.size, record.tombstone, record.version),
                    Meeting::Unknown(location) => {
                        known = Some((location, self.read_version(location)));
                        continue;
                    }
                }
                break;
            }
        }
        self.found.lock().add(counts);
    }

    /// Counts a version out that was found before a newer one. Which version killed it is not known: one above its block's floor.
    fn kill(&self, old: &Entry) {
        let Some((block, _)) = self.shared.blocks.locate(old.location) else { return };
        let at = self.shared.blocks.get(block).version_range().0.sequence;
        self.shared.kill(old.location, old.size, old.tombstone, at, None);
    }

    fn place(&self, block: u32, record: &FooterEntry) -> Location {
        self.shared.blocks.location(block, record.offset)
    }

    fn meet(
        &self,
        block: u32,
        footer: &[FooterEntry],
        record: &FooterEntry,
        known: Option<(Location, Version)>,
    ) -> Meeting {
        let mut new = Entry {
            location: self.place(block, record),
            size: record.size,
            generation: record.generation,
            expiry: CoarseExpiry::new(record.void_time),
            tombstone: record.tombstone,
            older: false,
        };
        self.index.with_slot(record.digest, |slot| {
            let Some(mut old) = slot.get() else {
                slot.set(new);
                self.shared.blocks.get(block).add(record.size, record.tombstone);
                return Meeting::First;
            };
            let order = match known {
                Some((location, version)) if location == old.location => {
                    Some(record.version.cmp(&version))
                }
                _ => self.compare(block, footer, record, old.location),
            };
            match order {
                None => Meeting::Unknown(old.location),
                Some(std::cmp::Ordering::Greater) => {
                    new.older = true;
                    slot.set(new);
                    self.shared.blocks.get(block).add(record.size, record.tombstone);
                    Meeting::Newer(old)
                }
                Some(_) => {
                    old.older = true;
                    slot.set(old);
                    Meeting::Older
                }
            }
        })
    }

    /// How the record's version compares to that of the record at `other`, as far as RAM can tell.
    fn compare(
        &self,
        block: u32,
        footer: &[FooterEntry],
        record: &FooterEntry,
        other: Location,
    ) -> Option<std::cmp::Ordering> {
        use std::cmp::Ordering::{Greater, Less};
        let (other_block, offset) = self.shared.blocks.locate(other)?;
        if other_block == block {
            let at = footer.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
            return Some(record.version.cmp(&footer[at].version));
        }
        let (floor, max) = self.shared.blocks.get(other_block).version_range();
        match record.version {
            version if version > max => Some(Greater),
            // The floor may be the birth of the block, that is the version before its first.
            version if version <= floor => Some(Less),
            _ => None,
        }
    }

    /// Reads the version of the record at `location`; the footer has it too. One that nothing tells counts as the newest: a damaged
    /// record must not give way to what it may have replaced.
    fn read_version(&self, location: Location) -> Version {
        let header = self.read_header(location, |record| Some(record.version()));
        header.or_else(|| self.footer_version(location)).unwrap_or(Version::MAX)
    }

    fn footer_version(&self, location: Location) -> Option<Version> {
        let (block, offset) = self.shared.blocks.locate(location)?;
        let (entries, _) = reactor::block_on(survey::entries(self.shared, block)).ok()?;
        let at = entries.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        Some(entries[at].version)
    }

    fn read_header<T>(
        &self,
        location: Location,
        take: impl FnOnce(&RecordView<'_>) -> Option<T> + Copy,
    ) -> Option<T>
    where
        T: Sized,
    {
        let (block, offset) = self.shared.blocks.locate(location)?;
        let store = self.shared.store_of(block);
        let seed = PlaceSeed::new(store.seed, self.shared.blocks.get(block).sequence());
        // How long the record is, its size class tells, in the header's first sector.
        let mut len = RECORD_HEADER_BYTES as u32;
        loop {
            let first = offset / store.sector * store.sector;
            let padded = (offset + len).next_multiple_of(store.sector) - first;
            let base = u64::from(block - store.first_block) * self.shared.block_size;
            let read = store.device.read(
                AlignedBuf::new(padded as usize),
                padded as usize,
                base + u64::from(first),
            );
            let bytes = reactor::block_on(read).ok()?;
            let record = &bytes[(offset - first) as usize..padded as usize];
            let size = crate::model::SizeClass(record[13]).bytes() as u32;
            if size > len && u64::from(offset + size) <= self.shared.block_size {
                len = size;
                continue;
            }
            return RecordView::parse(record, seed, u64::from(offset)).ok().and_then(|r| take(&r));
        }
    }

    /// Gives the sets their names and counts.
    pub(super) fn name_sets(&self, sets: &Sets) {
        let found = self.found.lock();
        for (hash, set) in &found.sets {
            let records = set.records;
            let name = set.newest.1.and_then(|newest| {
                self.read_header(newest, |record| record.set().map(str::to_owned))
            });
            match name {
                Some(name) => sets.restore(&name, *hash, records),
                None => self.tally.damage(format!(
                    "a record that names a set of {records} records cannot be read; the set is listed when it is next written"
                )),
            }
        }
    }
}

impl FoundCounts {
    /// Counts a version in; `replaced` says whether the one it took the place of was a tombstone.
    fn change(&mut self, record: &FooterEntry, place: Location, replaced: Option<bool>) {
        let set = self.sets.entry(record.set_hash).or_default();
        set.records += i64::from(!record.tombstone) - i64::from(replaced == Some(false));
        set.newest = set.newest.max((record.version, Some(place)));
        self.tombstones += i64::from(record.tombstone) - i64::from(replaced == Some(true));
    }

    fn add(&mut self, other: Self) {
        self.tombstones += other.tombstones;
        for (hash, found) in other.sets {
            let set = self.sets.entry(hash).or_default();
            set.records += found.records;
            set.newest = set.newest.max(found.newest);
        }
    }
}
