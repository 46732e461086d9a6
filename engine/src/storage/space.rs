//! A device's blocks that are free or about to be: who may take one, and what must be true before one is given.
//!
//! A block in which nothing is live any more waits until what superseded its records is durable. Then its header is written anew: it says,
//! durably, that the block is free. Only then is it given to a new life, so that nothing of the old one can be found again,
//! and what is on a device behind a sound header is always whole.
//!
//! Ordinary writes leave a few blocks to deletes and what else makes room, and these leave a few to the defragmenter, which alone can win
//! new ones. All of it is for one device; its lock is taken under the stream's and never the other way round.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
};

use parking_lot::Mutex;

/// How much an append may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// An ordinary write.
    Ordinary,
    /// A delete, or a write that lets its record expire sooner: what makes room.
    Privileged,
    /// A record on its way out of a block that is being reclaimed.
    Reclaim,
}

/// The free blocks of a device, and what it has in use.
#[derive(Debug)]
pub(super) struct Space {
    lists: Mutex<Lists>,
    /// Length of the free list, to be read without its lock.
    free: AtomicU32,
    /// Blocks that were opened for writes, ever.
    for_writes: AtomicU64,
    /// What all live records of the device cost, in bytes.
    in_use: AtomicU64,
    marks: Marks,
}

/// Numbers of free blocks at which something changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// Only the defragmenter takes the last ones.
    reclaim: u32,
    /// Only what makes room takes these.
    privileged: u32,
    /// Below this many the defragmenter works.
    start: u32,
}

impl Marks {
    /// For a device of `usable` write blocks.
    pub(super) fn new(usable: u32) -> Self {
        let reclaim = (usable / 512).clamp(2, 8);
        let privileged = reclaim + (usable / 512).clamp(1, 8);
        Self { reclaim, privileged, start: privileged + (usable / 512).clamp(1, 16) }
    }
}

#[derive(Debug, Default)]
struct Lists {
    free: VecDeque<u32>,
    /// Blocks with nothing live, and the version sequence that must be durable before they are reused.
    emptied: VecDeque<(u32, u64)>,
    /// How many are being marked as free on the device.
    freeing: u32,
}

/// Blocks, in per cent of the device, that live records never fill, whatever the configuration allows: what the defragmenter works with.
const SPARE_PCT: u64 = 4;

impl Space {
    /// For a device of `usable` write blocks.
    pub(super) fn new(usable: u32) -> Self {
        Self {
            lists: Mutex::default(),
            free: AtomicU32::new(0),
            for_writes: AtomicU64::new(0),
            in_use: AtomicU64::new(0),
            marks: Marks::new(usable),
        }
    }

    /// Free blocks.
    pub(super) fn free(&self) -> u32 {
        self.free.load(SeqCst)
    }

    /// Whether one more block may be opened for this claim.
    pub(super) fn may_open(&self, claim: Claim) -> bool {
        let kept = match claim {
            Claim::Ordinary => self.marks.privileged,
            Claim::Privileged => self.marks.reclaim,
            Claim::Reclaim => 0,
        };
        self.free() > kept
    }

    /// Whether no more than one block is free.
    pub(super) fn is_at_last_block(&self) -> bool {
        self.free() <= 1
    }

    /// Whether there are so few free blocks that the defragmenter should win more.
    pub(super) fn is_short(&self) -> bool {
        self.free() < self.marks.start
    }

    /// The same, of the blocks that are free and those that will be without anybody's doing.
    pub(super) fn stays_short(&self) -> bool {
        let lists = self.lists.lock();
        let coming = lists.emptied.len() as u32 + lists.freeing;
        lists.free.len() as u32 + coming < self.marks.start
    }

    /// Whether writers are about to wait, or do.
    pub(super) fn is_pressed(&self) -> bool {
        self.free() <= self.marks.privileged
    }

    /// How many blocks are left of those between the mark at which the defragmenter starts and the one at which writers wait, in per cent.
    pub(super) fn reserve_pct(&self) -> u32 {
        let all = self.marks.start - self.marks.privileged;
        self.free().saturating_sub(self.marks.privileged).min(all) * 100 / all
    }

    /// Whether there is more free space than anybody is going to ask for soon.
    pub(super) fn is_ample(&self) -> bool {
        self.free() > 2 * self.marks.start
    }

    /// Bytes that live records may cost at most when `max_used_pct` of the device may be used: of `usable` blocks with room for `room`
    /// bytes each. Each of `streams` streams holds a block open that is not full yet.
    pub(super) fn limit(&self, max_used_pct: u8, usable: u32, room: u64, streams: u32) -> u64 {
        let usable = u64::from(usable);
        let spare = (usable * SPARE_PCT / 100).max(u64::from(self.marks.privileged + streams));
        let allowed = usable * room * u64::from(max_used_pct) / 100;
        allowed.min(usable.saturating_sub(spare) * room)
    }

    /// What all live records cost, in bytes.
    pub(super) fn in_use(&self) -> u64 {
        self.in_use.load(SeqCst)
    }

    pub(super) fn set_in_use(&self, bytes: u64) {
        self.in_use.store(bytes, SeqCst);
    }

    pub(super) fn used(&self, bytes: u64) {
        self.in_use.fetch_add(bytes, SeqCst);
    }

    pub(super) fn unused(&self, bytes: u64) {
        self.in_use.fetch_sub(bytes, SeqCst);
    }

    /// A block is opened for this claim.
    pub(super) fn opened(&self, claim: Claim) {
        if claim != Claim::Reclaim {
            self.for_writes.fetch_add(1, SeqCst);
        }
    }

    /// Blocks that were opened for writes, ever.
    pub(super) fn opened_for_writes(&self) -> u64 {
        self.for_writes.load(SeqCst)
    }

    /// Takes a free block.
    pub(super) fn take(&self) -> Option<u32> {
        let mut lists = self.lists.lock();
        let block = lists.free.pop_front()?;
        self.free.store(lists.free.len() as u32, SeqCst);
        Some(block)
    }

    /// Counts a block in as free.
    pub(super) fn add(&self, block: u32) {
        let mut lists = self.lists.lock();
        lists.free.push_back(block);
        self.free.store(lists.free.len() as u32, SeqCst);
    }

    /// A block has nothing live any more: reusable once everything up to `barrier` is durable.
    pub(super) fn emptied(&self, block: u32, barrier: u64) {
        self.lists.lock().emptied.push_back((block, barrier));
    }

    /// Takes up to `most` emptied blocks of which `is_durable` says that their barrier is behind. They count as being freed until
    /// [`Self::freed`].
    pub(super) fn take_reusable(
        &self,
        most: usize,
        is_durable: impl Fn(u32, u64) -> bool,
    ) -> Vec<u32> {
        let mut lists = self.lists.lock();
        if lists.emptied.is_empty() || most == 0 {
            return Vec::new();
        }
        let mut taken = Vec::new();
        lists.emptied.retain(|&(block, barrier)| {
            let take = taken.len() < most && is_durable(block, barrier);
            if take {
                taken.push(block);
            }
            !take
        });
        lists.freeing += taken.len() as u32;
        taken
    }

    /// A block that was taken by [`Self::take_reusable`] is free.
    pub(super) fn freed(&self, block: u32) {
        let mut lists = self.lists.lock();
        lists.freeing -= 1;
        lists.free.push_back(block);
        self.free.store(lists.free.len() as u32, SeqCst);
    }

    /// Whether blocks wait for durability to become free.
    pub(super) fn has_emptied(&self) -> bool {
        !self.lists.lock().emptied.is_empty()
    }

    /// Whether a block is going to be free without anybody's doing, among those of which `may` says that they can.
    pub(super) fn will_grow(&self, may: impl Fn(u32) -> bool) -> bool {
        let lists = self.lists.lock();
        lists.freeing > 0 || lists.emptied.iter().any(|&(block, _)| may(block))
    }
}
