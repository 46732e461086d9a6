//! Records on their devices: where they go, how they get there, how they are read back and found again.
//!
//! A write is appended to the open block of one of a device's `streams`, in RAM (`append`, `filling`, `image`); the device's `flusher` brings
//! it to flash; the block is sealed with a footer and stays in RAM for a while as post-write cache. A read takes the record from
//! RAM if its block is there, else with one device read (`read`). `blocks` knows what is live where, `space` which blocks are free, `victims` which
//! to reclaim, `survey` what lies in one. `bound` is what a new record must not outlive in a crash. `open`, `recover` and `checkpoint` bring a namespace back after a stop or a crash.
//!
//! Storage sees digests and locations, never a key, and does not know the index: `namespace` joins the two.

pub(crate) mod append;
pub(crate) mod blocks;
pub(crate) mod bound;
pub(crate) mod checkpoint;
pub(crate) mod due;
mod filling;
pub(crate) mod flusher;
pub(crate) mod image;
pub mod inspect;
mod kick;
pub(crate) mod layout;
pub(crate) mod open;
pub mod prepare;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod signature;
pub(crate) mod space;
pub(crate) mod store;
pub(crate) mod streams;
pub(crate) mod superblock;
pub(crate) mod survey;
pub(crate) mod victims;
mod wait;
mod walk;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;

pub(crate) use filling::Appending;

use self::{
    blocks::{BlockTable, cost},
    image::{Image, ImagePool},
    read::SharedReads,
    store::Store,
    streams::STREAMS,
};
use crate::{
    counter::Counter,
    error::Error,
    format::{FooterSize, MARK_BYTES, block_header_region},
    model::{Digest, Location, SizeClass, UNIT, Version, limits},
    time::Clock,
};

/// Write buffers beyond the post-write cache, for each device: one open in each stream, the others on their way to the device.
const WRITE_BUFFERS: usize = STREAMS + 8;

/// Everything of a namespace's storage, shared by writers, readers and flushers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) blocks: BlockTable,
    pub(crate) stores: Vec<Store>,
    pub(crate) block_size: u64,
    pub(crate) flush_size: u32,
    pub(crate) flush_max: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Counters,
    images: ImagePool,
    /// Sealed blocks whose image is kept for reads, oldest first, with the sequence of the life that was sealed.
    cached: Mutex<VecDeque<(u32, u64)>>,
    cache_limit: usize,
    max_used_pct: AtomicU8,
    epoch: AtomicU32,
    /// The last version sequence given.
    sequence: AtomicU64,
    reads: SharedReads,
    /// Truncations begun. Changed under all streams' locks.
    cuts: AtomicU64,
    /// About how many records the index has, for block headers. Whoever owns the index keeps it.
    pub(crate) records_hint: AtomicU64,
    /// Something could not be read at the start: it may hold versions that nobody knows of, which a later start finds.
    pub(crate) hides_versions: bool,
}

/// What storage counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) device_reads: Counter,
    pub(crate) buffer_hits: Counter,
    pub(crate) shared_reads: Counter,
    pub(crate) flushes: Counter,
    pub(crate) bytes_flushed: Counter,
    /// Bytes of records that users wrote, as they lie on the device.
    pub(crate) bytes_written: Counter,
    pub(crate) discards: Counter,
    /// Blocks that the defragmenter went through, and what it moved out of them.
    pub(crate) reclaimed: Counter,
    pub(crate) records_moved: Counter,
    pub(crate) bytes_moved: Counter,
    pub(crate) damaged: Counter,
}

/// Sizes of a namespace's storage.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) block: u64,
    pub(crate) flush: u64,
    pub(crate) flush_max: Duration,
    pub(crate) post_write_cache: u64,
    pub(crate) max_used_pct: u8,
}

impl Shared {
    pub(crate) fn new(stores: Vec<Store>, sizes: &Sizes, clock: Arc<dyn Clock>) -> Self {
        let counts: Vec<u32> = stores.iter().map(|store| store.block_count).collect();
        let cache_limit = (sizes.post_write_cache / sizes.block) as usize;
        let images = cache_limit + WRITE_BUFFERS * stores.len();
        Self {
            blocks: BlockTable::new(&counts, sizes.block),
            stores,
            block_size: sizes.block,
            flush_size: sizes.flush as u32,
            flush_max: sizes.flush_max,
            clock,
            counters: Counters::default(),
            images: ImagePool::new(sizes.block, images),
            cached: Mutex::default(),
            cache_limit,
            max_used_pct: AtomicU8::new(sizes.max_used_pct),
            epoch: AtomicU32::new(0),
            sequence: AtomicU64::new(0),
            reads: SharedReads::default(),
            cuts: AtomicU64::new(0),
            records_hint: AtomicU64::new(0),
            hides_versions: false,
        }
    }

    /// The largest record that fits a write block of every device, in bytes.
    pub(crate) fn largest_record(&self) -> u64 {
        let fits = |store: &Store| {
            let sector = store.sector;
            let overhead = block_header_region(sector) + FooterSize::new().bytes_with(1, sector);
            let room = self.block_size - overhead - MARK_BYTES as u64;
            // The size class rounds up, so the largest class that fits counts.
            let class = SizeClass::for_bytes(room.min(SizeClass::MAX_BYTES));
            if class.bytes() <= room { class.bytes() } else { SizeClass(class.0 - 1).bytes() }
        };
        self.stores.iter().map(fits).min().unwrap_or(0)
    }

    /// The device for a record's next version: the same one every time, unless it is fenced.
    pub(crate) fn store_for(&self, digest: Digest) -> Result<&Store, Error> {
        let count = self.stores.len();
        let first = (digest.tag() % count as u64) as usize;
        let mut candidates = (0..count).map(|step| &self.stores[(first + step) % count]);
        candidates.find(|store| store.failure().is_none()).ok_or_else(|| {
            let store = &self.stores[first];
            failed(store, store.failure().unwrap_or("fenced"), false)
        })
    }

    /// The store that block `block` of the table belongs to.
    pub(crate) fn store_of(&self, block: u32) -> &Store {
        let at = self.stores.partition_point(|store| store.first_block <= block);
        &self.stores[at - 1]
    }

    /// The next version. Called under a stream's lock.
    fn next_version(&self) -> Version {
        self.next_versions(1)
    }

    /// The first of the next `count` versions, which follow each other. Called under a stream's lock.
    fn next_versions(&self, count: u64) -> Version {
        let before = self.sequence.fetch_add(count, SeqCst);
        Version { epoch: self.epoch.load(SeqCst), sequence: before + 1 }
    }

    /// A version of its own, for tests of what comes between others.
    #[cfg(test)]
    pub(crate) fn take_version(&self) -> Version {
        self.next_version()
    }

    /// The last version given, or a later one.
    pub(crate) fn version_now(&self) -> Version {
        Version { epoch: self.epoch.load(SeqCst), sequence: self.sequence.load(SeqCst) }
    }

    /// Goes on behind `version`, which was found on a device.
    pub(crate) fn go_on_behind(&self, version: Version) {
        self.epoch.fetch_max(version.epoch, SeqCst);
        self.sequence.fetch_max(version.sequence, SeqCst);
    }

    /// What is written from now on is newer than what could not be read: that holds no more records than there are places for any.
    pub(crate) fn go_on_behind_hidden(&mut self) {
        self.hides_versions = true;
        self.sequence.fetch_add(limits::ADDRESS_SPACE / UNIT, SeqCst);
    }

    /// How many truncations have begun.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(SeqCst)
    }

    /// Closes all open blocks at one version, the cut: every record in an older block is below it, every later one above and in a block born at
    /// or after it. `begin` makes the cut count while nothing is appended, so that no writer can build on a record that it cuts off.
    pub(crate) fn cut(&self, begin: impl FnOnce(Version)) -> Version {
        let mut streams: Vec<_> = self.stores.iter().map(|store| store.streams.lock()).collect();
        for (store, streams) in self.stores.iter().zip(&mut streams) {
            store.close_open(streams);
        }
        let cut = self.next_version();
        begin(cut);
        self.cuts.fetch_add(1, SeqCst);
        cut
    }

    pub(crate) fn max_used_pct(&self) -> u8 {
        self.max_used_pct.load(SeqCst)
    }

    pub(crate) fn set_max_used_pct(&self, percent: u8) {
        self.max_used_pct.store(percent.clamp(1, 100), SeqCst);
    }

    /// Counts a record in that was just put into a block of `store`.
    fn count_in(&self, store: &Store, block: u32, size: SizeClass, tombstone: bool) {
        self.blocks.get(block).add(size, tombstone);
        store.space.used(u64::from(cost(size, tombstone)));
    }

    /// Counts a live record out that was killed at version sequence `at`: the newer version at `by`, or a truncation took its place.
    pub(crate) fn kill(
        &self,
        location: Location,
        size: SizeClass,
        tombstone: bool,
        at: u64,
        by: Option<Location>,
    ) {
        let Some((block, _)) = self.blocks.locate(location) else { return };
        let by = by.and_then(|by| self.blocks.locate(by));
        let store = self.store_of(block);
        if by.is_some_and(|(by, _)| self.store_of(by).first_block != store.first_block) {
            self.blocks.get(block).crossed();
        }
        self.count_out(store, block, size, tombstone, at);
        store.died(cost(size, tombstone));
    }

    /// Counts a live record out that was put into another block of its device at version sequence `at`.
    pub(crate) fn moved(&self, location: Location, size: SizeClass, tombstone: bool, at: u64) {
        let Some((block, _)) = self.blocks.locate(location) else { return };
        let store = self.store_of(block);
        self.count_out(store, block, size, tombstone, at);
        store.moved(cost(size, tombstone));
    }

    fn count_out(&self, store: &Store, block: u32, size: SizeClass, tombstone: bool, at: u64) {
        if self.blocks.get(block).kill(size, tombstone, at) {
            store.emptied(self, block);
        }
    }

    /// Counts an expired record out that nothing needs to guard.
    pub(crate) fn expire(&self, location: Location, size: SizeClass) {
        let Some((block, _)) = self.blocks.locate(location) else { return };
        let store = self.store_of(block);
        if self.blocks.get(block).expire(size) {
            store.emptied(self, block);
        }
        store.died(cost(size, false));
    }

    /// Counts an expired record of this version as the tombstone that it stands for from now on.
    pub(crate) fn demote(&self, location: Location, size: SizeClass, version: Version) {
        let Some((block, _)) = self.blocks.locate(location) else { return };
        self.blocks.get(block).demote(size, version);
        self.store_of(block).died(cost(size, false) - cost(size, true));
    }

    /// Counts an evicted record of this version as the tombstone that it stands for from now on; the cut is at version sequence `at`.
    pub(crate) fn evict(&self, location: Location, size: SizeClass, version: Version, at: u64) {
        let Some((block, _)) = self.blocks.locate(location) else { return };
        self.blocks.get(block).evict(size, version, at);
        self.store_of(block).died(cost(size, false) - cost(size, true));
    }

    /// How many versions ago the record at `location` was written, about.
    pub(crate) fn age(&self, location: Location) -> Option<u64> {
        let (block, _) = self.blocks.locate(location)?;
        Some(self.version_now().sequence.saturating_sub(self.blocks.get(block).written()))
    }

    /// What all live records cost, in bytes.
    pub(crate) fn in_use(&self) -> u64 {
        self.stores.iter().map(Store::in_use).sum()
    }

    /// Bytes that all devices have room for, records and their share of footers.
    pub(crate) fn capacity(&self) -> u64 {
        self.stores.iter().map(|store| store.capacity(self)).sum()
    }

    /// The lowest ticket of an append to any device that may be lost with power.
    fn low(&self) -> u64 {
        self.stores.iter().map(Store::low).min().unwrap_or(u64::MAX)
    }

    /// Fences a device that failed a write. Who waits for room anywhere looks again: it may never come now.
    pub(crate) fn fence(&self, store: &Store, cause: &str) {
        store.fence(cause);
        self.stores.iter().for_each(|store| store.room.wake_all());
    }

    /// Bytes of write buffers and post-write cache.
    pub(crate) fn image_bytes(&self) -> u64 {
        self.images.bytes()
    }

    fn take_image(&self, beyond: bool) -> Option<Arc<Image>> {
        loop {
            if let Some(image) = self.images.take(false) {
                return Some(image);
            }
            let oldest = self.cached.lock().pop_front();
            match oldest {
                Some((block, sequence)) => self.retire_image(block, sequence),
                None => return self.images.take(beyond),
            }
        }
    }

    /// Keeps a sealed block's image for reads, and lets the oldest go.
    fn cache_image(&self, block: u32, sequence: u64) {
        let mut cached = self.cached.lock();
        cached.push_back((block, sequence));
        while cached.len() > self.cache_limit {
            if let Some((oldest, sequence)) = cached.pop_front() {
                self.retire_image(oldest, sequence);
            }
        }
    }

    /// Reads of this life of the block go to the device from now on. Does nothing if the block lives another one: that one's image may
    /// be the only place where its records are.
    fn retire_image(&self, block: u32, sequence: u64) {
        if let Some(image) = self.blocks.get(block).take_image(sequence) {
            self.images.give_back(image);
        }
    }
}

/// The error of a write to a fenced device.
pub(crate) fn failed(store: &Store, cause: &str, in_doubt: bool) -> Error {
    Error::DeviceFailed { device: store.device.name().into(), cause: cause.into(), in_doubt }
}
