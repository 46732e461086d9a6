//! Changes of one entry, under the partition's lock: insert, replace, remove, and the growing, splitting, shrinking and
//! merging of segments that they bring.
//!
//! Concurrency: a [`Locked`] holds the partition's lock. All that an optimistic reader might see is changed inside
//! [`Locked::change`], which keeps the sequence odd; the spill is an exception, as readers go there under the lock only.

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use parking_lot::MutexGuard;

use super::directory::MAX_DEPTH;
use super::entry::Entry;
use super::page::Item;
use super::partition::{Partition, Rare, Shared};
use super::scratch::with_scratch;
use super::segment::{MAX_PAGES, Place, Segment, pages_for};

/// Two neighbours are merged when they have at most this many entries together.
const MERGE_MAX: u32 = 450;
/// What the spill takes for an entry, roughly: its node's share.
const SPILL_BYTES: u64 = 48;

/// Where an entry is.
#[derive(Clone, Copy)]
pub(super) enum Spot<'a> {
    InSegment(&'a Segment, u32),
    InSpill,
    /// Not there; the segment and slot where it would go, if there is a segment.
    Absent(Option<(&'a Segment, u32)>),
}

/// A locked partition.
pub struct Locked<'a> {
    pub(super) partition: &'a Partition,
    pub(super) shared: &'a Shared,
    /// The sequence is odd, and stays so until the lock is let go: several changes, here and elsewhere, are one to readers. Let go before the lock.
    pub(super) joined: Option<Joined<'a>>,
    pub(super) rare: MutexGuard<'a, Option<Box<Rare>>>,
}

/// What a change inside [`Locked::update`] asks for.
pub enum Change {
    /// Leave the entry as it is.
    None,
    /// Insert or replace it.
    Set(Entry),
    /// Remove it.
    Remove,
}

/// Keeps the sequence odd. A change that panics half way leaves no partition that could be trusted: it ends the process.
struct Changing<'a>(&'a AtomicU32);

impl<'a> Changing<'a> {
    fn begin(sequence: &'a AtomicU32) -> Self {
        sequence.store(sequence.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        Self(sequence)
    }

    fn end(self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        std::mem::forget(self);
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        eprintln!(
            "the index failed in the middle of a change; the process ends rather than go on with a damaged index"
        );
        std::process::abort();
    }
}

/// A row of changes that readers see as one. See [`Locked::join`].
pub(super) struct Joined<'a>(Option<Changing<'a>>);

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        match self.0.take() {
            Some(changing) if !std::thread::panicking() => changing.end(),
            // Half of the row was made: see `Changing`.
            changing => drop(changing),
        }
    }
}

impl<'a> Locked<'a> {
    /// Calls `f` with the entry of `tag`, and does what it returns.
    pub fn update<R>(&mut self, tag: u64, f: impl FnOnce(Option<Entry>) -> (Change, R)) -> R {
        let spot = self.find(tag);
        let (change, result) = f(self.entry(tag, spot));
        match (change, spot) {
            (Change::None, _) | (Change::Remove, Spot::Absent(_)) => {}
            (Change::Remove, spot) => self.remove(tag, spot),
            (Change::Set(entry), Spot::InSegment(segment, slot)) => {
                let item = Item::new(tag, entry);
                self.change(|locked| segment.view(&locked.shared.pool).set(slot, item));
            }
            (Change::Set(entry), Spot::InSpill) => self.spill_insert(tag, entry),
            (Change::Set(entry), Spot::Absent(place)) => self.insert(tag, entry, place),
        }
        result
    }

    /// All changes from here on until the lock is let go are one to readers: until then they wait.
    pub fn join(&mut self) {
        self.joined = Some(Joined(Some(Changing::begin(&self.partition.sequence))));
    }

    pub(super) fn change<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        if self.joined.is_some() {
            return f(self);
        }
        let changing = Changing::begin(&self.partition.sequence);
        let result = f(self);
        changing.end();
        result
    }

    pub(super) fn find(&self, tag: u64) -> Spot<'a> {
        let mut place = None;
        if tag != 0
            && let Some(segment) = self.partition.segment(tag)
        {
            match segment.view(&self.shared.pool).find(tag) {
                Place::At(slot) => return Spot::InSegment(segment, slot),
                Place::Before(slot) => place = Some((segment, slot)),
            }
        }
        match self.spill().is_some_and(|spill| spill.contains_key(&tag)) {
            true => Spot::InSpill,
            false => Spot::Absent(place),
        }
    }

    pub(super) fn entry(&self, tag: u64, spot: Spot<'_>) -> Option<Entry> {
        match spot {
            Spot::InSegment(segment, slot) => segment.view(&self.shared.pool).item(slot).entry(),
            Spot::InSpill => self.spill()?.get(&tag).copied(),
            Spot::Absent(_) => None,
        }
    }

    fn insert(&mut self, tag: u64, entry: Entry, place: Option<(&Segment, u32)>) {
        let item = Item::new(tag, entry);
        self.count(1);
        if tag == 0 {
            return self.spill_insert(tag, entry);
        }
        self.change(|locked| match place {
            Some((segment, slot)) if segment.has_room() => {
                segment.insert(&locked.shared.pool, slot, item)
            }
            _ => locked.insert_growing(item, entry),
        });
    }

    fn insert_growing(&mut self, item: Item, entry: Entry) {
        loop {
            let segment = match self.partition.segment(item.tag) {
                Some(segment) => segment,
                None => self.new_segment(item.tag, 0, &[], 0),
            };
            let pool = &self.shared.pool;
            if segment.has_room() {
                let Place::Before(slot) = segment.view(pool).find(item.tag) else {
                    unreachable!("the tag was looked for before");
                };
                return segment.insert(pool, slot, item);
            }
            let pages = segment.page_count();
            if pages < MAX_PAGES {
                let more = pages_for(segment.len() + 1).max(pages + 1);
                with_scratch(|items| {
                    segment.view(pool).collect(0, items);
                    segment.rebuild(pool, items, segment.depth(), more);
                });
            } else if segment.depth() < MAX_DEPTH {
                self.split(segment, item.tag);
            } else {
                return self.spill_insert(item.tag, entry);
            }
        }
    }

    /// Parts a segment by the next bit of its tags.
    fn split(&mut self, segment: &'a Segment, tag: u64) {
        let depth = segment.depth();
        let bit = 1 << (63 - depth);
        with_scratch(|items| {
            segment.view(&self.shared.pool).collect(0, items);
            let (lower, upper) = items.split_at(items.partition_point(|item| item.tag & bit == 0));
            self.new_segment(tag | bit, depth + 1, upper, pages_for(upper.len() as u32));
            segment.rebuild(&self.shared.pool, lower, depth + 1, pages_for(lower.len() as u32));
        });
    }

    pub(super) fn new_segment(
        &mut self,
        tag: u64,
        depth: u32,
        items: &[Item],
        pages: u32,
    ) -> &'a Segment {
        let pointer = self.shared.arena.allocate();
        // SAFETY: the arena keeps every segment as long as the index, which `'a` borrows.
        let segment: &'a Segment = unsafe { pointer.as_ref() };
        segment.rebuild(&self.shared.pool, items, depth, pages);
        self.assign(tag, depth, pointer);
        segment
    }

    fn assign(&mut self, tag: u64, depth: u32, segment: NonNull<Segment>) {
        let directory = &self.partition.directory;
        let mut none = Vec::new();
        let kept = match depth {
            0 => self.rare.as_mut().map_or(&mut none, |rare| &mut rare.directories),
            _ => &mut self.rare.get_or_insert_default().directories,
        };
        let grown = directory.assign(kept, tag, depth, segment);
        self.shared.side_bytes.fetch_add(grown, Ordering::Relaxed);
    }

    fn remove(&mut self, tag: u64, spot: Spot<'a>) {
        self.count(-1);
        match spot {
            Spot::InSegment(segment, slot) => self.change(|locked| {
                segment.remove(&locked.shared.pool, slot);
                locked.shrink(segment, tag);
            }),
            Spot::InSpill => self.spill_remove(tag),
            Spot::Absent(_) => {}
        }
    }

    /// Gives back what a segment no longer needs, and merges it with its neighbour when both have become small.
    fn shrink(&mut self, segment: &'a Segment, tag: u64) {
        if !segment.is_sparse() {
            return;
        }
        let pool = &self.shared.pool;
        with_scratch(|items| {
            segment.view(pool).collect(0, items);
            segment.rebuild(pool, items, segment.depth(), pages_for(items.len() as u32));
        });
        let mut segment = segment;
        while let Some(merged) = self.merge(segment, tag) {
            segment = merged;
        }
    }

    fn merge(&mut self, segment: &'a Segment, tag: u64) -> Option<&'a Segment> {
        let depth = segment.depth();
        let bit = 1u64.checked_shl(64 - depth).filter(|_| depth > 0)?;
        let other = self.partition.segment(tag ^ bit)?;
        if other.depth() != depth || segment.len() + other.len() > MERGE_MAX {
            return None;
        }
        let (lower, upper) = if tag & bit == 0 { (segment, other) } else { (other, segment) };
        let pool = &self.shared.pool;
        with_scratch(|items| {
            lower.view(pool).collect(0, items);
            upper.view(pool).collect(0, items);
            lower.rebuild(pool, items, depth - 1, pages_for(items.len() as u32));
            upper.rebuild(pool, &[], 0, 0);
        });
        self.assign(tag, depth - 1, NonNull::from(lower));
        self.shared.arena.release(NonNull::from(upper));
        Some(lower)
    }

    pub(super) fn count(&self, by: i32) {
        let len = self.partition.len.load(Ordering::Relaxed);
        self.partition.len.store(len.wrapping_add_signed(by), Ordering::Relaxed);
    }

    pub(super) fn spill(&self) -> Option<&BTreeMap<u64, Entry>> {
        self.rare.as_deref().map(|rare| &rare.spill)
    }

    /// The spill itself is read under the lock only; readers look at the count.
    pub(super) fn spill_insert(&mut self, tag: u64, entry: Entry) {
        let spill = &mut self.rare.get_or_insert_default().spill;
        if spill.insert(tag, entry).is_none() {
            self.shared.side_bytes.fetch_add(SPILL_BYTES, Ordering::Relaxed);
        }
        self.partition.spilled.store(spill.len() as u32, Ordering::Release);
    }

    fn spill_remove(&mut self, tag: u64) {
        let spill = &mut self.rare.get_or_insert_default().spill;
        if spill.remove(&tag).is_some() {
            self.shared.side_bytes.fetch_sub(SPILL_BYTES, Ordering::Relaxed);
        }
        self.partition.spilled.store(spill.len() as u32, Ordering::Release);
    }
}
