//! A page: 32 slots in 640 bytes.
//!
//! First the 32 tags (four cache lines), then the 32 bodies of 12 bytes (six cache lines): a probe compares tags only, so
//! it stays within one or two lines. A slot with tag 0 is empty, whatever its body holds. The slots of a page that was just
//! handed out hold anything; a segment writes all its tags before it uses it.
//!
//! Slots are atomics, read and written relaxed: a reader may look while a writer moves entries, and learns from the
//! partition's sequence that what it saw was nonsense.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::entry::{ENTRY_BYTES, Entry, split};
use crate::prefetch::fetch;

/// Slots of one page.
pub const PAGE_SLOTS: u32 = 32;
const LINE_BYTES: usize = 64;

/// 32 slots.
#[repr(C, align(64))]
pub struct Page {
    tags: [AtomicU64; PAGE_SLOTS as usize],
    bodies: [[AtomicU32; 3]; PAGE_SLOTS as usize],
}

/// A packed entry: its tag (never 0) and the other 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The 64 digest bits after the partition.
    pub tag: u64,
    /// All else.
    pub body: [u32; 3],
}

impl Item {
    /// Packs `entry`.
    ///
    /// # Panics
    /// When its location is 0, where a device has its header: such an entry could not be told from an empty one.
    #[inline]
    pub fn new(tag: u64, entry: Entry) -> Self {
        assert!(entry.location.units() != 0, "an entry cannot be at location 0");
        Self { tag, body: entry.to_words() }
    }

    /// What [`Entry::pack`] gave.
    #[inline]
    pub fn unpack(packed: &[u8; ENTRY_BYTES]) -> Self {
        let (tag, body) = split(packed);
        Self { tag, body }
    }

    /// Unpacks the entry. `None` only for nonsense that a racing read has seen.
    #[inline]
    pub fn entry(&self) -> Option<Entry> {
        Entry::from_words(self.body)
    }
}

impl Page {
    /// The tag in `slot` (its low bits count).
    #[inline]
    pub fn tag(&self, slot: u32) -> &AtomicU64 {
        &self.tags[(slot % PAGE_SLOTS) as usize]
    }

    /// The body in `slot` (its low bits count).
    #[inline]
    pub fn body(&self, slot: u32) -> &[AtomicU32; 3] {
        &self.bodies[(slot % PAGE_SLOTS) as usize]
    }

    /// What `slot` (its low bits) holds.
    #[inline]
    pub fn item(&self, slot: u32) -> Item {
        let [low, middle, high] = self.body(slot);
        let body = [
            low.load(Ordering::Relaxed),
            middle.load(Ordering::Relaxed),
            high.load(Ordering::Relaxed),
        ];
        Item { tag: self.tag(slot).load(Ordering::Relaxed), body }
    }

    /// Puts `item` into `slot` (its low bits).
    #[inline]
    pub fn set(&self, slot: u32, item: Item) {
        self.tag(slot).store(item.tag, Ordering::Relaxed);
        for (to, word) in self.body(slot).iter().zip(item.body) {
            to.store(word, Ordering::Relaxed);
        }
    }

    /// Hints to the CPU that the whole page will be used.
    #[inline]
    pub fn fetch(&self) {
        for line in 0..size_of::<Self>() / LINE_BYTES {
            // 8 tags fill a line; bodies go on where the tags end.
            fetch(std::ptr::from_ref(self).cast::<u8>().wrapping_add(line * LINE_BYTES));
        }
    }
}
