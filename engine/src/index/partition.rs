//! One partition: its segments, the lock of all changes and the sequence of optimistic reads.
//!
//! * **Writers** hold the partition's lock, a byte. While they change anything that a reader may see, the sequence is odd.
//! * **Readers** (`get`) take no lock: they note the sequence, look, and look again if it has changed or was odd. So
//!   readers write no shared memory at all. After a few vain tries a reader takes the lock.
//! * Everything a reader may reach stays valid memory: pages, segments and directories are never unmapped or freed
//!   before the index.
//!
//! Entries that no segment can take go to a side map, the *spill*: the tag 0 (which marks an empty slot), and tags that
//! share so many top bits that splitting does not part them. With seeded digests it is empty in practice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use parking_lot::Mutex;

use super::arena::Arena;
use super::change::Locked;
use super::directory::{Directory, Kept};
use super::entry::Entry;
use super::page::Item;
use super::page_pool::PagePool;
use super::segment::{Place, Segment};
use crate::prefetch::fetch;

/// Vain tries before a reader takes the lock.
const OPTIMISTIC_TRIES: u32 = 64;

/// What the partitions of one index have in common.
pub struct Shared {
    /// Pages of all segments.
    pub pool: PagePool,
    /// Descriptions of all segments.
    pub arena: Arena,
    /// Bytes of all directories and spills.
    pub side_bytes: AtomicU64,
}

/// One of the 4096 slices of the digest space.
#[repr(align(64))]
pub struct Partition {
    /// Odd while a writer changes something.
    pub(super) sequence: AtomicU32,
    pub(super) len: AtomicU32,
    /// Entries in the spill.
    pub(super) spilled: AtomicU32,
    pub(super) directory: Directory,
    rare: Mutex<Option<Box<Rare>>>,
}

const _: () = assert!(size_of::<Partition>() == 64);

/// What most partitions of a small index do not have.
#[derive(Default)]
pub(super) struct Rare {
    pub(super) spill: BTreeMap<u64, Entry>,
    pub(super) directories: Kept,
}

impl Partition {
    /// An empty partition.
    pub fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            len: AtomicU32::new(0),
            spilled: AtomicU32::new(0),
            directory: Directory::new(),
            rare: Mutex::new(None),
        }
    }

    /// Entries in the partition.
    pub fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// Locks the partition for changes.
    pub fn lock<'a>(&'a self, shared: &'a Shared) -> Locked<'a> {
        Locked { partition: self, shared, joined: None, rare: self.rare.lock() }
    }

    /// Looks an entry up.
    #[inline]
    pub fn get(&self, shared: &Shared, tag: u64) -> Option<Entry> {
        if tag != 0 {
            for _ in 0..OPTIMISTIC_TRIES {
                let before = self.sequence.load(Ordering::Acquire);
                if before.is_multiple_of(2) {
                    let item = self.look(shared, tag);
                    let spilled = self.spilled.load(Ordering::Relaxed);
                    fence(Ordering::Acquire);
                    if self.sequence.load(Ordering::Relaxed) == before {
                        match item {
                            Some(item) => return item.entry(),
                            None if spilled == 0 => return None,
                            None => break,
                        }
                    }
                }
                std::hint::spin_loop();
            }
        }
        self.get_locked(shared, tag)
    }

    #[cold]
    fn get_locked(&self, shared: &Shared, tag: u64) -> Option<Entry> {
        let locked = self.lock(shared);
        locked.entry(tag, locked.find(tag))
    }

    /// Hints to the CPU that `tag` will be looked up.
    #[inline]
    pub fn prefetch(&self, shared: &Shared, tag: u64) {
        if let Some(segment) = self.segment(tag) {
            let view = segment.view(&shared.pool);
            if view.slots() > 0 {
                let home = view.home(tag);
                let page = view.page(home);
                fetch(page.tag(home));
                fetch(page.body(home));
            }
        }
    }

    #[inline]
    fn look(&self, shared: &Shared, tag: u64) -> Option<Item> {
        let view = self.segment(tag)?.view(&shared.pool);
        match view.find(tag) {
            Place::At(slot) => Some(view.item(slot)),
            Place::Before(_) => None,
        }
    }

    #[inline]
    pub(super) fn segment(&self, tag: u64) -> Option<&Segment> {
        // SAFETY: directories name segments of the index's arena only, which frees them no earlier than the partitions.
        self.directory.segment(tag).map(|segment| unsafe { segment.as_ref() })
    }
}
