//! The primary index: one packed entry in RAM for each record, at most 24 bytes with all slack.
//!
//! * `entry`: the 20 bytes of an entry.
//! * `page`: 32 slots, the unit of memory.
//! * `page_pool`: where pages come from.
//! * `segment`: a sorted array with gaps over a few pages; grows by pages.
//! * `arena`: the descriptions of segments.
//! * `directory`: from the top bits of a tag to its segment; segments split in two when they are full.
//! * `partition`: the segments of one partition, its lock and its optimistic reads.
//! * `joint`: entries of several partitions, read and changed as one.
//! * `change`: what is done to one entry under the lock; `bulk`: scans, sweeps and loading.
//! * `scratch`: a list for each thread.
//!
//! A digest's top 12 bits name its partition, the 64 bits behind them are its *tag*. Digests that agree in both are one
//! entry: whoever reads a record compares its full digest and key. All entries of a partition lie in the order of their
//! tags, so a scan's cursor is the last tag it saw, and stays exact whatever grows or shrinks meanwhile.
//!
//! Concurrency: lookups take no lock and write no shared memory; all changes of a partition are under its own lock.
//!
//! Knows digests, locations and void times; never a device, never a key.

mod arena;
mod bulk;
mod change;
mod directory;
mod entry;
mod joint;
mod page;
mod page_pool;
mod partition;
mod scratch;
mod segment;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

pub use entry::{CoarseExpiry, ENTRY_BYTES, Entry, Life};
pub use joint::Joint;

use crate::model::{Digest, PARTITIONS};
use arena::Arena;
use change::Change;
use page_pool::PagePool;
use partition::{Partition, Shared};

/// How many records ahead memory is asked for in a row of changes: enough to hide a cache miss behind the work on the others.
const PREFETCH_AHEAD: usize = 8;

/// The index of one namespace.
pub struct Index {
    partitions: Box<[Partition]>,
    shared: Shared,
}

/// What a sweep does with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it as it is.
    Keep,
    /// Put this one in its place.
    Set(Entry),
    /// Remove it.
    Remove,
}

/// A record's place in the index, held for the length of a call of [`Index::with_slot`].
pub struct Slot<'a> {
    current: Option<Entry>,
    changed: bool,
    /// A slot must not outlive the lock.
    lock: PhantomData<&'a mut Partition>,
}

impl Slot<'_> {
    /// The record's entry, with what was set or removed through this slot.
    pub fn get(&self) -> Option<Entry> {
        self.current
    }

    /// Inserts or replaces the entry.
    pub fn set(&mut self, entry: Entry) {
        (self.current, self.changed) = (Some(entry), true);
    }

    /// Removes the entry, if there is one.
    pub fn remove(&mut self) {
        (self.current, self.changed) = (None, true);
    }

    fn into_change(self) -> Change {
        match (self.changed, self.current) {
            (false, _) => Change::None,
            (true, Some(entry)) => Change::Set(entry),
            (true, None) => Change::Remove,
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// An empty index.
    ///
    /// # Panics
    /// When the system gives it no addresses.
    pub fn new() -> Self {
        let shared =
            Shared { pool: PagePool::new(), arena: Arena::new(), side_bytes: AtomicU64::new(0) };
        Self { partitions: (0..PARTITIONS).map(|_| Partition::new()).collect(), shared }
    }

    /// Makes room for `records` records, so that a cold start does not grow step by step. Only partitions that have
    /// never had an entry get it. As most of the work is the system's, which clears the memory, `threads` share it.
    pub fn reserve(&self, records: u64, threads: usize) {
        if records < PARTITIONS as u64 {
            // Less than a record for each partition: a page for each would be more than they will ever take.
            return;
        }
        let each = records.div_ceil(PARTITIONS as u64) as usize;
        std::thread::scope(|scope| {
            for some in self.partitions.chunks(PARTITIONS.div_ceil(threads.max(1))) {
                scope.spawn(move || {
                    some.iter().for_each(|partition| partition.lock(&self.shared).reserve(each));
                });
            }
        });
    }

    /// The record's entry.
    #[inline]
    pub fn get(&self, digest: Digest) -> Option<Entry> {
        self.partition(digest).get(&self.shared, digest.tag())
    }

    /// Hints to the CPU that the entry will be looked up soon.
    #[inline]
    pub fn prefetch(&self, digest: Digest) {
        self.partition(digest).prefetch(&self.shared, digest.tag());
    }

    /// Calls `f` with the record's slot while no other thread can change it; what `f` sets or removes takes effect when it
    /// returns, before anyone else can look. `f` must be short and must not touch the index.
    pub fn with_slot<R>(&self, digest: Digest, f: impl FnOnce(&mut Slot<'_>) -> R) -> R {
        self.partition(digest).lock(&self.shared).update(digest.tag(), |current| {
            let mut slot = Slot { current, changed: false, lock: PhantomData };
            let result = f(&mut slot);
            (slot.into_change(), result)
        })
    }

    /// Calls `f` for each of `items` with the slot of its record, as [`Self::with_slot`] does. The records are of one partition, which is locked
    /// throughout; with ascending tags its memory is gone through from front to back.
    pub fn with_slots<T>(
        &self,
        partition: u16,
        items: &[T],
        tag: impl Fn(&T) -> u64,
        mut f: impl FnMut(&T, &mut Slot<'_>),
    ) {
        let partition = &self.partitions[usize::from(partition)];
        let mut locked = partition.lock(&self.shared);
        for (at, item) in items.iter().enumerate() {
            if let Some(ahead) = items.get(at + PREFETCH_AHEAD) {
                partition.prefetch(&self.shared, tag(ahead));
            }
            locked.update(tag(item), |current| {
                let mut slot = Slot { current, changed: false, lock: PhantomData };
                f(item, &mut slot);
                (slot.into_change(), ())
            });
        }
    }

    /// Appends to `out` up to `limit` entries of `partition` with a tag above `after` (`None`: from the start), in tag
    /// order. Returns whether the end of the partition was reached.
    pub fn page(
        &self,
        partition: u16,
        after: Option<u64>,
        limit: usize,
        out: &mut Vec<(u64, Entry)>,
    ) -> bool {
        let end = out.len() + limit;
        let mut next = after.map_or(Some(0), |tag| tag.checked_add(1));
        while let Some(tag) = next {
            if out.len() >= end {
                return false;
            }
            next = self.partitions[usize::from(partition)].lock(&self.shared).page(
                tag,
                end - out.len(),
                out,
            );
        }
        true
    }

    /// Returns when every change of `partition` that was under way is done.
    pub fn barrier(&self, partition: u16) {
        drop(self.partitions[usize::from(partition)].lock(&self.shared));
    }

    /// Calls `f` for each entry of `partition`, in tag order, and does what it returns. The lock is held for a segment (up
    /// to 900 entries) at a time; `f` must be short and must not touch the index.
    pub fn sweep(&self, partition: u16, mut f: impl FnMut(u64, Entry) -> Verdict) {
        let mut judge = |tag, entry| match f(tag, entry) {
            Verdict::Keep => Change::None,
            Verdict::Set(entry) => Change::Set(entry),
            Verdict::Remove => Change::Remove,
        };
        let mut next = Some(0);
        while let Some(tag) = next {
            next =
                self.partitions[usize::from(partition)].lock(&self.shared).sweep(tag, &mut judge);
        }
    }

    /// Takes packed entries in ascending order of their tags into a partition: into one that has none, fast and without probing. Returns
    /// how many of them are tombstones; `None`, and takes nothing, when they do not ascend or one of them is no entry.
    pub fn load_partition(&self, partition: u16, packed: &[[u8; ENTRY_BYTES]]) -> Option<u64> {
        self.partitions[usize::from(partition)].lock(&self.shared).load(packed)
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.partitions.iter().map(|partition| u64::from(partition.len())).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries `partition` has.
    pub fn partition_len(&self, partition: u16) -> u32 {
        self.partitions[usize::from(partition)].len()
    }

    /// Bytes of memory that the index takes from the system: pages (free ones that were used before included, until
    /// their chunk has no page in use), segments, directories, partitions.
    pub fn memory_bytes(&self) -> u64 {
        let fixed = size_of_val(&*self.partitions) as u64;
        let side = self.shared.side_bytes.load(Ordering::Relaxed);
        fixed + side + self.shared.pool.memory_bytes() + self.shared.arena.memory_bytes()
    }

    #[inline]
    fn partition(&self, digest: Digest) -> &Partition {
        &self.partitions[usize::from(digest.partition())]
    }
}
