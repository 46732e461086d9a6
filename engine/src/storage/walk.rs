//! Walking over a write block record by record, where no footer tells what it holds.
//!
//! Behind the part that a mark says was durable, a record that is not whole was cut short by the stop, or it was damaged since: the bytes
//! look alike. A single wrong bit in a place that was surely written is told from a write that was cut short (`format::mended_at`); anything
//! else there counts as cut short.

use std::collections::HashSet;

use crate::format::{
    FooterEntry, PlaceSeed, RecordView, TEAR_BYTES, TRAILER_BYTES, Walked, block_header_region,
    claimed_head, mended_at, mends_body, walk_at,
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
    /// Units of the medium in which something sound begins: surely written.
    written: HashSet<usize>,
}

impl Walk {
    /// Walks over `block`, the bytes of a whole block; `set_hash` hashes the name of a set.
    pub(crate) fn run(
        block: &[u8],
        seed: PlaceSeed,
        sector: u32,
        set_hash: impl Fn(&str) -> u64,
    ) -> Self {
        let mut walk = Self {
            found: Vec::new(),
            records: 0,
            holes: Vec::new(),
            durable: 0,
            written: HashSet::new(),
        };
        let mut at = block_header_region(sector);
        let mut hole = None;
        while at < (block.len() - TRAILER_BYTES) as u64 {
            match walk.take(walk_at(block, seed, at), at, false, &set_hash) {
                Some(next) => {
                    if let Some(start) = hole.take() {
                        walk.holes.push((start as u32, at as u32));
                    }
                    walk.written.insert(at as usize / TEAR_BYTES);
                    at = next;
                }
                None => {
                    hole.get_or_insert(at);
                    at += 16;
                }
            }
        }
        walk.mend(block, seed, hole.map(|start| start as u32), &set_hash);
        walk
    }

    /// Looks once more where something must begin, for what lacks a single bit.
    fn mend(
        &mut self,
        block: &[u8],
        seed: PlaceSeed,
        last: Option<u32>,
        set_hash: &impl Fn(&str) -> u64,
    ) {
        let holes = std::mem::take(&mut self.holes);
        let written = std::mem::take(&mut self.written);
        let known = |unit: usize| written.contains(&unit);
        for (start, end) in holes.into_iter().chain(last.map(|start| (start, start))) {
            let at = u64::from(start);
            let next =
                mended_at(block, seed, at, known, |found| self.take(found, at, true, set_hash));
            let start = next.flatten().map_or(start, |next| next as u32);
            if start < end {
                self.holes.push((start, end));
            }
        }
        self.found.sort_by_key(|(entry, _)| entry.offset);
        self.written = written;
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
                Soundness::Broken if u64::from(end) <= self.durable => true,
                Soundness::Broken => match self.is_bit_off(block, seed, entry.offset) {
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
            match self.is_damage(block, hole) {
                true => verdict.damaged.push(hole),
                false => verdict.torn += 1,
            }
        }
        verdict
    }

    /// Whether something that was durable is missing in a hole. A record that begins in the durable part may end behind it.
    fn is_damage(&self, block: &[u8], (start, end): (u32, u32)) -> bool {
        let head = claimed_head(block, u64::from(start)).unwrap_or(u64::MAX);
        u64::from(end) <= self.durable || u64::from(start).saturating_add(head) <= self.durable
    }

    /// Whether a broken body was whole and has a wrong bit now.
    fn is_bit_off(&self, block: &[u8], seed: PlaceSeed, offset: u32) -> bool {
        mends_body(block, seed, u64::from(offset), |unit| self.written.contains(&unit))
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
