//! Records whose version cannot be told from the one in the index by the ranges of their blocks: what the device has of the other one decides.
//!
//! Doubts are gathered from all batches and settled together, block by block of the other version: one footer tells of all records of a
//! block. Where few of a block are asked for, each record's own header does.

use super::{Found, FoundCounts, Rebuild};
use crate::{
    device::{AlignedBuf, reactor},
    format::{PlaceSeed, RECORD_HEADER_BYTES, RecordView},
    model::{Location, SizeClass, Version},
    storage::survey,
};

/// Doubts that are gathered before they are settled: about 40 MB.
const DOUBTS_MAX: usize = 1 << 19;
/// So many doubts about one block are worth its footer.
const WORTH_A_FOOTER: usize = 8;

/// A record, and where the one in the index lies that may be older or newer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    pub(super) found: Found,
    pub(super) other: Location,
}

impl Rebuild<'_> {
    /// Puts doubts to the others, and settles all of them if they are too many.
    pub(super) fn add_doubts(&self, new: Vec<Doubt>) {
        let mut doubts = self.doubts.lock();
        doubts.extend(new);
        if doubts.len() < DOUBTS_MAX {
            return;
        }
        let all = std::mem::take(&mut *doubts);
        drop(doubts);
        self.settle(all);
    }

    /// Brings the records into the index, with the versions of the others from the device. Where the index has got yet another one
    /// meanwhile, that is a new doubt.
    pub(super) fn settle(&self, mut doubts: Vec<Doubt>) {
        doubts.sort_unstable_by_key(|doubt| doubt.other);
        let block_of = |doubt: &Doubt| self.shared.blocks.locate(doubt.other).map(|at| at.0);
        let (mut counts, mut again) = (FoundCounts::default(), Vec::new());
        for of_block in doubts.chunk_by(|left, right| block_of(left) == block_of(right)) {
            let footer = block_of(&of_block[0])
                .filter(|_| of_block.len() >= WORTH_A_FOOTER)
                .and_then(|block| reactor::block_on(survey::entries(self.shared, block)).ok())
                .map_or_else(Vec::new, |(entries, _)| entries);
            for doubt in of_block {
                let in_footer = self.shared.blocks.locate(doubt.other).and_then(|(_, offset)| {
                    footer.binary_search_by_key(&offset, |entry| entry.offset).ok()
                });
                let version = match in_footer {
                    Some(at) => footer[at].version,
                    None => self.read_version(doubt.other),
                };
                self.merge_known(&doubt.found, (doubt.other, version), &mut counts, &mut again);
            }
        }
        self.found.lock().add(counts);
        self.doubts.lock().extend(again);
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

    /// Reads the head of the record at `location`: header, set and key. `None` when it cannot be read or is damaged.
    pub(super) fn read_header<T>(
        &self,
        location: Location,
        take: impl FnOnce(&RecordView<'_>) -> Option<T>,
    ) -> Option<T> {
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
            let size = SizeClass(record[13]).bytes() as u32;
            if size > len && u64::from(offset + size) <= self.shared.block_size {
                len = size;
                continue;
            }
            return RecordView::parse(record, seed, u64::from(offset)).ok().and_then(|r| take(&r));
        }
    }
}
