//! A segment: entries sorted by tag, with gaps, over up to [`MAX_PAGES`] pages.
//!
//! The tag, without the bits that all tags of the segment share, gives an entry's *home* slot: a monotonic function, so
//! that the order of homes is the order of tags. Invariants:
//!
//! 1. tags ascend with the slots (empty slots aside);
//! 2. between an entry and its home, all slots are taken (the home too, maybe by another entry).
//!
//! So a lookup starts at the home, walks towards the tag, and ends at the first empty slot or when it has passed the tag.
//! An insert shifts the entries between its place and the nearest gap, on either side, by one; a removal closes the gap
//! from the side that has an entry which would otherwise be cut off from its home. As gaps on both sides serve, runs are
//! short up to a high load, and the ends of the segment need no spare slots.
//!
//! Concurrency: changes need the partition's lock and lie within its sequence; reads may race with them. A racing read
//! ends after at most as many steps as there are slots and returns nonsense, which the sequence tells.
//! A segment's memory belongs to the arena and stays readable until the index is dropped.

use std::sync::atomic::{AtomicU32, Ordering};

use super::page::{Item, PAGE_SLOTS, Page};
use super::page_pool::PagePool;
use crate::prefetch::fetch;

/// Most pages of a segment: with the header, the page table fills two cache lines.
pub const MAX_PAGES: u32 = 30;
/// Slots in use at most, in 1/256ths (93 %). Chosen by measurement, as the next two: `docs/decisions/0002-index.md`.
const FULL_256THS: u32 = 238;
/// Slots in use at most after the entries were spread anew.
const SPREAD_256THS: u32 = 224;
/// A removal that leaves fewer slots in use gives pages back.
const SPARSE_256THS: u32 = 200;
/// How many pages ahead a pass over a segment fetches: what one page costs in work hides what the next costs in waiting.
const FETCH_AHEAD: u32 = 2;

/// Where a tag is in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this slot.
    At(u32),
    /// Not there: all entries before this slot have smaller tags, the others larger ones.
    Before(u32),
}

/// A segment's description: two cache lines.
#[repr(C, align(64))]
pub struct Segment {
    /// Pages in the low 16 bits, depth above: one word, so that a reader sees both from the same moment.
    shape: AtomicU32,
    len: AtomicU32,
    pages: [AtomicU32; MAX_PAGES as usize],
}

const _: () = assert!(size_of::<Segment>() == 128);

/// How many pages `len` entries get when they are spread anew in a segment that grows.
pub fn pages_for(len: u32) -> u32 {
    (len * 256).div_ceil(PAGE_SLOTS * SPREAD_256THS).min(MAX_PAGES)
}

/// How many pages a segment gets that shall hold about `len` entries later: rounded down, as many segments will hold fewer.
pub fn pages_expecting(len: u32) -> u32 {
    (len * 256 / (PAGE_SLOTS * SPREAD_256THS)).clamp(1, MAX_PAGES)
}

/// How many pages `len` entries get at least: for segments made in one go, most of which will not grow any more.
pub fn fewest_pages_for(len: u32) -> u32 {
    let comfortable = len * 256 / (PAGE_SLOTS * SPREAD_256THS);
    comfortable.max((len * 256).div_ceil(PAGE_SLOTS * FULL_256THS)).min(MAX_PAGES)
}

/// How many entries fit into `pages` pages before more are due.
pub fn room_of(pages: u32) -> u32 {
    pages * PAGE_SLOTS * FULL_256THS / 256
}

impl Segment {
    /// An empty segment.
    pub fn new() -> Self {
        Self {
            shape: AtomicU32::new(0),
            len: AtomicU32::new(0),
            pages: [const { AtomicU32::new(0) }; MAX_PAGES as usize],
        }
    }

    /// Hints to the CPU that the description will be used.
    #[inline]
    pub fn fetch(&self) {
        fetch(&self.shape);
        fetch(&self.pages[MAX_PAGES as usize - 1]);
    }

    /// Entries in the segment.
    pub fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// Pages of the segment.
    pub fn page_count(&self) -> u32 {
        self.shape.load(Ordering::Relaxed) & 0xffff
    }

    /// How many top bits all tags of the segment share.
    pub fn depth(&self) -> u32 {
        self.shape.load(Ordering::Relaxed) >> 16
    }

    /// Whether one more entry may be inserted without growing.
    pub fn has_room(&self) -> bool {
        self.len() < room_of(self.page_count())
    }

    /// Whether so few slots are in use that pages should be given back.
    pub fn is_sparse(&self) -> bool {
        let (len, pages) = (self.len(), self.page_count());
        pages > pages_for(len) && len * 256 < pages * PAGE_SLOTS * SPARSE_256THS
    }

    /// The segment's slots, as they are at this moment.
    #[inline]
    pub fn view<'a>(&'a self, pool: &'a PagePool) -> View<'a> {
        let shape = self.shape.load(Ordering::Acquire);
        View { pool, segment: self, slots: (shape & 0xffff) * PAGE_SLOTS, depth: shape >> 16 }
    }

    /// Takes one more entry; there is room, and `slot` is what `find` gave for its tag.
    pub fn insert(&self, pool: &PagePool, slot: u32, item: Item) {
        self.view(pool).insert(slot, item);
        self.len.store(self.len() + 1, Ordering::Relaxed);
    }

    /// Removes the entry in `slot`.
    pub fn remove(&self, pool: &PagePool, slot: u32) {
        self.view(pool).remove(slot);
        self.len.store(self.len() - 1, Ordering::Relaxed);
    }

    /// Makes the segment hold exactly `items` (ascending, sharing their top `depth` bits), on `pages` pages.
    pub fn rebuild(&self, pool: &PagePool, items: &[Item], depth: u32, pages: u32) {
        debug_assert!(items.len() as u32 <= pages * PAGE_SLOTS && pages <= MAX_PAGES);
        let before = self.page_count();
        for slot in &self.pages[before.min(pages) as usize..pages as usize] {
            slot.store(pool.allocate(), Ordering::Relaxed);
        }
        self.shape.store(depth << 16 | pages, Ordering::Release);
        self.view(pool).spread(items);
        self.len.store(items.len() as u32, Ordering::Relaxed);
        for slot in &self.pages[pages.min(before) as usize..before as usize] {
            pool.release(slot.load(Ordering::Relaxed));
        }
    }
}

/// The slots of a segment of fixed shape.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pool: &'a PagePool,
    segment: &'a Segment,
    slots: u32,
    depth: u32,
}

impl<'a> View<'a> {
    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The slot where `tag` would lie if it were alone.
    #[inline]
    pub fn home(&self, tag: u64) -> u32 {
        ((u128::from(tag << self.depth) * u128::from(self.slots)) >> 64) as u32
    }

    /// The page that `slot` lies in.
    #[inline]
    pub fn page(&self, slot: u32) -> &'a Page {
        self.pool.page(self.segment.pages[(slot / PAGE_SLOTS) as usize].load(Ordering::Relaxed))
    }

    /// The tag in `slot`; 0 when it is empty.
    #[inline]
    pub fn tag(&self, slot: u32) -> u64 {
        self.page(slot).tag(slot).load(Ordering::Relaxed)
    }

    /// What `slot` holds.
    #[inline]
    pub fn item(&self, slot: u32) -> Item {
        self.page(slot).item(slot)
    }

    /// Puts `item` into `slot`.
    #[inline]
    pub fn set(&self, slot: u32, item: Item) {
        self.page(slot).set(slot, item);
    }

    /// Looks for `tag`, which is not 0.
    #[inline]
    pub fn find(&self, tag: u64) -> Place {
        if self.slots == 0 {
            return Place::Before(0);
        }
        let home = self.home(tag);
        // Most entries lie within a line of their home: fetched now, the body comes while the tags are compared.
        fetch(self.page(home).body(home));
        match self.tag(home) {
            there if there == tag => Place::At(home),
            0 => Place::Before(home),
            there if there < tag => self.find_right(home + 1, tag),
            _ => self.find_left(home, tag),
        }
    }

    fn find_right(&self, start: u32, tag: u64) -> Place {
        for slot in start..self.slots {
            match self.tag(slot) {
                there if there == tag => return Place::At(slot),
                there if there == 0 || there > tag => return Place::Before(slot),
                _ => {}
            }
        }
        Place::Before(self.slots)
    }

    fn find_left(&self, start: u32, tag: u64) -> Place {
        for slot in (0..start).rev() {
            match self.tag(slot) {
                there if there == tag => return Place::At(slot),
                there if there < tag => return Place::Before(slot + 1),
                _ => {}
            }
        }
        Place::Before(0)
    }

    /// Appends all items from `slot` on, in order.
    pub fn collect(&self, slot: u32, items: &mut Vec<Item>) {
        let first = slot / PAGE_SLOTS;
        let pages = self.slots / PAGE_SLOTS;
        (first..pages.min(first + FETCH_AHEAD))
            .for_each(|page| self.page(page * PAGE_SLOTS).fetch());
        for number in first..pages {
            if number + FETCH_AHEAD < pages {
                self.page((number + FETCH_AHEAD) * PAGE_SLOTS).fetch();
            }
            let page = self.page(number * PAGE_SLOTS);
            let start = if number == first { slot % PAGE_SLOTS } else { 0 };
            items.extend(
                (start..PAGE_SLOTS).map(|slot| page.item(slot)).filter(|item| item.tag != 0),
            );
        }
    }

    /// Shifts towards the nearest gap and puts `item` at its place.
    fn insert(&self, before: u32, item: Item) {
        for distance in 0..self.slots {
            let right = before + distance;
            if right < self.slots && self.tag(right) == 0 {
                (before..right).rev().for_each(|slot| self.set(slot + 1, self.item(slot)));
                return self.set(before, item);
            }
            if distance < before && self.tag(before - 1 - distance) == 0 {
                let left = before - 1 - distance;
                (left + 1..before).for_each(|slot| self.set(slot - 1, self.item(slot)));
                return self.set(before - 1, item);
            }
        }
        unreachable!("a segment with room has an empty slot");
    }

    /// Empties `slot` and closes the gap where an entry would be cut off from its home.
    fn remove(&self, slot: u32) {
        let mut gap = slot;
        while gap + 1 < self.slots && self.belongs(gap + 1, |home| home <= gap) {
            self.set(gap, self.item(gap + 1));
            gap += 1;
        }
        // Once entries came from the right, whose homes are on the left, none on the left can have its home on the right.
        if gap == slot {
            while gap > 0 && self.belongs(gap - 1, |home| home >= gap) {
                self.set(gap, self.item(gap - 1));
                gap -= 1;
            }
        }
        self.page(gap).tag(gap).store(0, Ordering::Relaxed);
    }

    fn belongs(&self, slot: u32, test: impl FnOnce(u32) -> bool) -> bool {
        let tag = self.tag(slot);
        tag != 0 && test(self.home(tag))
    }

    /// Writes all slots: each item at its home or right behind its forerunner, but early enough to leave room for the rest.
    fn spread(&self, items: &[Item]) {
        let home_of = |at: usize| items.get(at).map_or(u32::MAX, |item| self.home(item.tag));
        let (mut next, mut home, mut slot) = (0, home_of(0), 0);
        // The next item can wait until here; behind the last one, that is the end.
        let mut latest = self.slots - items.len() as u32;
        for number in 0..self.slots / PAGE_SLOTS {
            if (number + FETCH_AHEAD) * PAGE_SLOTS < self.slots {
                self.page((number + FETCH_AHEAD) * PAGE_SLOTS).fetch();
            }
            let page = self.page(slot);
            for _ in 0..PAGE_SLOTS {
                if slot >= home || slot >= latest {
                    page.set(slot, items[next]);
                    next += 1;
                    home = home_of(next);
                    latest += 1;
                } else {
                    page.tag(slot).store(0, Ordering::Relaxed);
                }
                slot += 1;
            }
        }
        debug_assert_eq!(next, items.len());
    }

    /// Asserts the invariants of the module's head; returns the number of entries.
    #[cfg(test)]
    pub fn check(&self) -> u32 {
        let (mut last, mut count, mut run_start) = (None, 0, 0);
        let mut reach = None;
        for slot in 0..self.slots {
            let tag = self.tag(slot);
            if tag == 0 {
                assert!(
                    reach.is_none_or(|home| home < slot),
                    "slot {slot} is a gap before an entry's home"
                );
                run_start = slot + 1;
                continue;
            }
            assert!(last < Some(tag), "slot {slot} is out of order");
            assert!(self.home(tag) >= run_start, "slot {slot} lies after a gap from its home");
            assert!(self.item(slot).entry().is_some(), "slot {slot} has a tag and no entry");
            reach = reach.max(Some(self.home(tag)));
            (last, count) = (Some(tag), count + 1);
        }
        count
    }
}
