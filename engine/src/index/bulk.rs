//! Many entries of a partition at once, under its lock: pages of a scan, sweeps, loading, room made beforehand.
//!
//! A scan and a sweep go segment by segment, and the caller may let the lock go in between: where to go on is a tag, and
//! stays right whatever splits or merges meanwhile.

use super::change::{Change, Locked};
use super::directory::MAX_DEPTH;
use super::entry::{ENTRY_BYTES, Entry};
use super::page::Item;
use super::scratch::with_scratch;
use super::segment::{MAX_PAGES, Place, fewest_pages_for, pages_expecting, room_of};

/// A segment made in one go gets at most this many entries, so that it can take more before it splits.
const BUILD_MAX: usize = 700;

/// The last tag of those that share the top `depth` bits of `tag`.
fn last_tag(tag: u64, depth: u32) -> u64 {
    tag | u64::MAX >> depth
}

impl Locked<'_> {
    /// The items from `tag` on in the segment that serves it, spill included, and the last tag that the segment serves.
    fn items_from(&self, tag: u64, items: &mut Vec<Item>) -> u64 {
        let mut last = u64::MAX;
        if let Some(segment) = self.partition.segment(tag) {
            last = last_tag(tag, segment.depth());
            let view = segment.view(&self.shared.pool);
            let (Place::At(slot) | Place::Before(slot)) = view.find(tag.max(1));
            view.collect(slot, items);
        }
        if let Some(spill) = self.spill().filter(|spill| !spill.is_empty()) {
            items.extend(spill.range(tag..=last).map(|(&tag, &entry)| Item::new(tag, entry)));
            items.sort_unstable_by_key(|item| item.tag);
        }
        last
    }

    /// Appends up to `limit` entries from `tag` on, of one segment. Returns where to go on; `None` at the partition's end.
    pub fn page(&self, tag: u64, limit: usize, out: &mut Vec<(u64, Entry)>) -> Option<u64> {
        with_scratch(|items| {
            let last = self.items_from(tag, items);
            let next = items.get(limit).map(|item| item.tag);
            let entries = items
                .iter()
                .take(limit)
                .map(|item| (item.tag, item.entry().expect("a taken slot has an entry")));
            out.extend(entries);
            next.or(last.checked_add(1))
        })
    }

    /// Calls `f` for the entries from `tag` on in the segment that serves it, and does what it returns. Returns the first
    /// tag of the next segment; `None` at the partition's end.
    pub fn sweep(&mut self, tag: u64, f: &mut impl FnMut(u64, Entry) -> Change) -> Option<u64> {
        with_scratch(|items| {
            let last = self.items_from(tag, items);
            for item in items.iter() {
                let entry = item.entry().expect("a taken slot has an entry");
                match f(item.tag, entry) {
                    Change::None => {}
                    change => self.update(item.tag, |_| (change, ())),
                }
            }
            last.checked_add(1)
        })
    }

    /// Takes packed entries into a partition that has none. Returns how many are tombstones; `None`, and takes nothing, when they do
    /// not ascend or one of them is no entry.
    pub fn load(&mut self, packed: &[[u8; ENTRY_BYTES]]) -> Option<u64> {
        with_scratch(|items| {
            items.extend(packed.iter().map(Item::unpack));
            let sound = items.is_sorted_by(|left, right| left.tag < right.tag)
                && items.iter().all(|item| item.entry().is_some());
            if !sound {
                return None;
            }
            let entries = items.iter().filter_map(Item::entry);
            let tombstones = entries.filter(|entry| entry.tombstone).count() as u64;
            let plain = items.first().is_none_or(|item| item.tag != 0);
            if plain && self.partition.segment(0).is_none() {
                self.count(items.len() as i32);
                self.change(|locked| locked.build(items, 0, 0));
            } else {
                for item in items.iter() {
                    let change = item.entry().map_or(Change::None, Change::Set);
                    self.update(item.tag, |_| (change, ()));
                }
            }
            Some(tombstones)
        })
    }

    /// Makes the segments for `items`, which share the top `depth` bits of `tag`.
    fn build(&mut self, items: &[Item], tag: u64, depth: u32) {
        if items.len() > BUILD_MAX && depth < MAX_DEPTH {
            let bit = 1 << (63 - depth);
            let (lower, upper) = items.split_at(items.partition_point(|item| item.tag & bit == 0));
            self.build(lower, tag, depth + 1);
            return self.build(upper, tag | bit, depth + 1);
        }
        let (items, rest) = items.split_at(items.len().min(room_of(MAX_PAGES) as usize));
        self.new_segment(tag, depth, items, fewest_pages_for(items.len() as u32));
        for item in rest {
            self.spill_insert(item.tag, item.entry().expect("packed from an entry"));
        }
    }

    /// Makes room for `records` entries with evenly spread tags, if the partition has never had any.
    pub fn reserve(&mut self, records: usize) {
        if records == 0 || self.partition.segment(0).is_some() {
            return;
        }
        let depth = records.div_ceil(BUILD_MAX).next_power_of_two().trailing_zeros().min(MAX_DEPTH);
        let pages = pages_expecting((records >> depth) as u32);
        self.change(|locked| {
            for prefix in 0..1u64 << depth {
                let tag = prefix.checked_shl(64 - depth).unwrap_or(0);
                locked.new_segment(tag, depth, &[], pages);
            }
        });
    }

    /// Asserts every invariant of the partition.
    #[cfg(test)]
    pub fn check(&self) {
        let (mut tag, mut count) = (0, self.spill().map_or(0, |spill| spill.len() as u32));
        assert_eq!(self.partition.spilled.load(std::sync::atomic::Ordering::Relaxed), count);
        while let Some(segment) = self.partition.segment(tag) {
            let (view, last) = (segment.view(&self.shared.pool), last_tag(tag, segment.depth()));
            assert_eq!(tag & (last ^ tag), 0, "a segment starts in its middle");
            assert!(segment.depth() <= self.partition.directory.depth());
            let mut items = Vec::new();
            view.collect(0, &mut items);
            assert!(items.iter().all(|item| (tag..=last).contains(&item.tag)));
            assert!(segment.len() <= room_of(segment.page_count()));
            assert_eq!(view.check(), segment.len());
            count += segment.len();
            match last.checked_add(1) {
                Some(next) => tag = next,
                None => break,
            }
        }
        assert_eq!(count, self.partition.len());
    }
}
