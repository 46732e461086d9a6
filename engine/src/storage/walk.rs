//! Walking over a write block record by record, where no footer tells what it holds.
//!
//! Behind the part that a mark says was durable, a record that is not whole was cut short by the stop, or it was damaged since: the bytes
//! look alike. A single wrong bit in a place that was surely written is told from a write that was cut short (`format::mended_at`); anything
//! else there counts as cut short.

mod judge;

use std::collections::HashSet;

pub(crate) use self::judge::Verdict;
use self::judge::{Fate, Judge};

use crate::format::{
    FooterEntry, PlaceSeed, RecordView, TEAR_BYTES, TRAILER_BYTES, Ties, Walked,
    block_header_region, claimed_head, mended_at, mends_body, walk_at,
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

/// A record that a walk found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) entry: FooterEntry,
    pub(crate) soundness: Soundness,
    ties: Ties,
}

impl Found {
    fn end(&self) -> u32 {
        self.entry.offset + self.entry.size.bytes() as u32
    }
}

/// What a walk over a whole block found.
pub(crate) struct Walk {
    /// Records by ascending offset.
    found: Vec<Found>,
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
        self.found.sort_by_key(|found| found.entry.offset);
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
                let entry = entry(&record, at, set_hash);
                self.found.push(Found { entry, soundness, ties: record.ties() });
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
        self.found.iter().map(|found| found.entry).collect()
    }

    /// What became of a block that was open when the node stopped, of which `block` are the bytes.
    pub(crate) fn judge(&self, block: &[u8], seed: PlaceSeed) -> Verdict {
        let mut judge = Judge::new(self.durable);
        let mut holes = self.holes.iter().copied().peekable();
        for found in &self.found {
            while let Some(hole) = holes.next_if(|(start, _)| *start < found.entry.offset) {
                judge.hole(hole, self.is_damage(block, hole));
            }
            let fate = match found.soundness {
                Soundness::Whole => Fate::Sound,
                Soundness::Damaged => Fate::Damaged,
                Soundness::Broken if u64::from(found.end()) <= self.durable => Fate::Damaged,
                Soundness::Broken if self.is_bit_off(block, seed, found.entry.offset) => {
                    Fate::Damaged
                }
                Soundness::Broken => Fate::Torn,
            };
            judge.record(found, fate);
        }
        holes.for_each(|hole| judge.hole(hole, self.is_damage(block, hole)));
        judge.end()
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
    pub(crate) fn found(&self) -> &[Found] {
        &self.found
    }
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
