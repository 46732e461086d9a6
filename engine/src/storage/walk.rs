//! Walking over a write block record by record, where no footer tells what it holds.
//!
//! Behind the part that a mark says was durable, a record that is not whole was cut short by the stop, or it was damaged since: the bytes
//! look alike. A single wrong bit is told from a write that was cut short (`format::mended_at`); anything else there counts as cut short.

use crate::{
    format::{
        FooterEntry, PlaceSeed, RecordView, TRAILER_BYTES, Walked, block_header_region, mended_at,
        mends_body, walk_at,
    },
};

/// What is known of a record that a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Soundness {
    /// Header and body fit their checksums.
    Whole,
    /// A bit of it is wrong.
    Damaged,
    /// The body does not fit: cut short or damaged.
    Broken,
}

/// What a walk over a whole block found.
pub(crate) struct Walk {
    /// Records by ascending offset.
    found: Vec<(FooterEntry, Soundness)>,
    /// Whole records among them.
    pub(crate) records: u64,
    /// Stretches without a record or a mark, up to the last one found.
    pub(crate) holes: Vec<(u32, u32)>,
    /// The block was durable at least to here.
    pub(crate) durable: u64,
}

impl Walk {
    /// Walks over `block`, the bytes of a whole block; `set_hash` hashes the name of a set.
    pub(crate) fn run(
        block: &[u8],
        seed: PlaceSeed,
        sector: u32,
        set_hash: impl Fn(&str) -> u64,
    ) -> Self {
        let mut walk = Self { found: Vec::new(), records: 0, holes: Vec::new(), durable: 0 };
        let mut at = block_header_region(sector);
        let mut hole = None;
        while at < (block.len() - TRAILER_BYTES) as u64 {
            let mut next = walk.take(walk_at(block, seed, at), at, false, &set_hash);
            if next.is_none() && hole.is_none() {
                // Here, and nowhere else, something must begin if the block goes on.
                next = mended_at(block, seed, at, |found| walk.take(found, at, true, &set_hash)).flatten();
            }
            match next {
                Some(next) => {
                    if let Some(start) = hole.take() {
                        walk.holes.push((start as u32, at as u32));
                    }
                    at = next;
                }
                None => {
                    hole.get_or_insert(at);
                    at += 16;
                }
            }
        }
        walk
    }

    /// Takes in what lies at `at`, and returns where it ends.
    fn take(
        &mut self,
        found: Walked<'_>,
        at: u64,
        mended: bool,
        set_hash: &impl Fn(&str) -> u64,
    ) -> Option<u64> {
        match found {
            Walked::Record(record) => {
                let soundness = match record.verify_body() {
                    _ if mended => Soundness::Damaged,
                    Ok(()) => Soundness::Whole,
                    Err(_) => Soundness::Broken,
                };
                self.records += u64::from(soundness == Soundness::Whole);
                self.found.push((entry(&record, at, set_hash), soundness));
                Some(at + record.size().bytes())
            }
            Walked::Mark(mark) => {
                self.durable = self.durable.max(mark.durable);
                Some(at + mark.skip)
            }
            Walked::Nothing => None,
        }
    }

    /// All records with a known header. Those with a damaged body are among them: they must read as damaged, not as absent.
    pub(crate) fn entries_with_damaged(&self) -> Vec<FooterEntry> {
        self.found.iter().map(|(entry, _)| *entry).collect()
    }

    /// What became of a block that was open when the node stopped, of which `block` are the bytes.
    pub(crate) fn judge(&self, block: &[u8], seed: PlaceSeed) -> Verdict {
        let mut verdict = Verdict::default();
        for &(entry, soundness) in &self.found {
            let end = entry.offset + entry.size.bytes() as u32;
            let damaged = match soundness {
                Soundness::Whole => false,
                Soundness::Damaged => true,
                Soundness::Broken if u64::from(entry.offset) < self.durable => true,
                Soundness::Broken => match mends_body(block, seed, u64::from(entry.offset)) {
                    true => true,
                    false => {
                        verdict.torn += 1;
                        continue;
                    }
                },
            };
            if damaged {
                verdict.damaged.push((entry.offset, end));
            }
            verdict.entries.push(entry);
        }
        for &hole in &self.holes {
            match u64::from(hole.0) < self.durable {
                true => verdict.damaged.push(hole),
                false => verdict.torn += 1,
            }
        }
        verdict
    }

    /// All records found.
    pub(crate) fn found(&self) -> &[(FooterEntry, Soundness)] {
        &self.found
    }
}

/// What a block that was open holds.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Records that count, damaged ones among them.
    pub(crate) entries: Vec<FooterEntry>,
    /// From where to where something is damaged.
    pub(crate) damaged: Vec<(u32, u32)>,
    /// Places where a write was cut short.
    pub(crate) torn: u64,
}

fn entry(record: &RecordView<'_>, at: u64, set_hash: &impl Fn(&str) -> u64) -> FooterEntry {
    FooterEntry {
        digest: record.digest(),
        version: record.version(),
        void_time: record.void_time(),
        generation: record.generation(),
        set_hash: record.set().map_or(0, set_hash),
        offset: at as u32,
        size: record.size(),
        tombstone: record.tombstone(),
    }
}
