//! One device of a namespace: who it is, what it has free, its fence, its flusher and its defragmenter.
//!
//! Records are put in by `append`, under the streams' lock; the free blocks are `space`. A device that failed a write is fenced for good:
//! what was acknowledged before stays readable, nothing more is written.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    task::Waker,
};

use parking_lot::Mutex;

use super::{
    Shared, append::Streams, filling::Filling, kick::Kick, space::Space, streams::Sorting,
    superblock::Superblock, wait::WaitList,
};
use crate::{
    device::Device,
    format::{LINKS, Link, LinkState, block_header_region},
    model::Version,
};

/// One device of a namespace.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) device: DeviceHandle,
    pub(crate) superblock: Superblock,
    /// Number in the block table of the device's block 0.
    pub(crate) first_block: u32,
    pub(crate) block_count: u32,
    /// The sector that the device was formatted for, in bytes.
    pub(crate) sector: u32,
    /// Seeds the checksums of everything in the device's blocks.
    pub(crate) seed: u64,
    pub(super) streams: Mutex<Streams>,
    pub(super) space: Space,
    /// Which stream a record goes to.
    pub(crate) sorting: Sorting,
    pub(super) next_sequence: AtomicU64,
    /// The lowest ticket of an append to this device that may be lost with power; `u64::MAX` for none.
    pub(super) low: AtomicU64,
    /// Places of this device that others may depend on, not durable yet. Changed under the streams' lock.
    bound: AtomicU32,
    failure: OnceLock<Box<str>>,
    /// The namespace is being closed: no more appends. Changed under the streams' lock.
    closed: AtomicBool,
    pub(crate) flusher: Kick,
    pub(crate) defragmenter: Kick,
    /// Everything must become durable soon: somebody waits for blocks to become free.
    urgent: AtomicBool,
    /// The defragmenter has looked and nothing was to be won, since when nothing has died or been sealed.
    exhausted: AtomicBool,
    /// It has moved block after block and won none, since when nothing has died.
    fruitless: AtomicBool,
    /// Wakes who waits for a block or an image.
    pub(crate) room: WaitList,
}

/// A device, printable.
#[derive(Clone)]
pub(crate) struct DeviceHandle(pub(crate) Arc<dyn Device>);

impl std::fmt::Debug for DeviceHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

impl std::ops::Deref for DeviceHandle {
    type Target = Arc<dyn Device>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Store {
    pub(crate) fn new(device: Arc<dyn Device>, superblock: Superblock, first_block: u32) -> Self {
        let header = superblock.header();
        let seed = header.secret.device_seed(&header.device);
        // The incarnation stands in front of the counter, so that a sequence given in this life was never given in an earlier one,
        // not even to a block whose header was lost.
        let next_sequence = (superblock.incarnation() << 40) + 1;
        Self {
            device: DeviceHandle(device),
            superblock,
            first_block,
            block_count: header.blocks,
            sector: header.sector,
            seed,
            streams: Mutex::default(),
            space: Space::new(header.blocks - 1),
            sorting: Sorting::new(header.blocks - 1),
            next_sequence: AtomicU64::new(next_sequence),
            low: AtomicU64::new(u64::MAX),
            bound: AtomicU32::new(0),
            failure: OnceLock::new(),
            closed: AtomicBool::new(false),
            flusher: Kick::default(),
            defragmenter: Kick::default(),
            urgent: AtomicBool::new(false),
            exhausted: AtomicBool::new(false),
            fruitless: AtomicBool::new(false),
            room: WaitList::default(),
        }
    }

    /// The seeded hash of a set's name.
    pub(crate) fn set_hash(&self, set: &str) -> u64 {
        self.superblock.secret().set_hash(set)
    }

    /// The device's blocks in the table, without the one that holds its header.
    pub(crate) fn blocks(&self) -> std::ops::Range<u32> {
        self.first_block + 1..self.first_block + self.block_count
    }

    /// Byte offset on the device of a block of the table.
    pub(crate) fn offset(&self, shared: &Shared, block: u32) -> u64 {
        u64::from(block - self.first_block) * shared.block_size
    }

    /// Takes a free block for something other than records, such as a checkpoint.
    pub(crate) fn take_free_block(&self) -> Option<u32> {
        self.space.take()
    }

    /// A fresh block sequence.
    pub(crate) fn take_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, SeqCst)
    }

    /// Counts a block of the device in as free.
    pub(crate) fn add_free(&self, block: u32) {
        self.space.add(block);
    }

    /// Free blocks of this device.
    pub(crate) fn free_blocks(&self) -> u32 {
        self.space.free()
    }

    /// Blocks of this device that were opened for writes, ever.
    pub(crate) fn opened_for_writes(&self) -> u64 {
        self.space.opened_for_writes()
    }

    /// What the device's live records cost, in bytes.
    pub(crate) fn in_use(&self) -> u64 {
        self.space.in_use()
    }

    /// Counts anew what the device's live records cost.
    pub(crate) fn count_in_use(&self, shared: &Shared) {
        let blocks = self.blocks().map(|block| u64::from(shared.blocks.get(block).in_use()));
        self.space.set_in_use(blocks.sum());
    }

    /// Bytes that live records may cost before writes are refused.
    pub(crate) fn limit(&self, shared: &Shared) -> u64 {
        let room = shared.block_size - block_header_region(self.sector);
        let (usable, streams) = (self.block_count - 1, self.sorting.streams());
        self.space.limit(shared.max_used_pct(), usable, room, streams)
    }

    /// Bytes that the device has room for, records and their share of footers.
    pub(crate) fn capacity(&self, shared: &Shared) -> u64 {
        u64::from(self.block_count - 1) * (shared.block_size - block_header_region(self.sector))
    }

    /// Whether free blocks are few.
    pub(super) fn is_short(&self) -> bool {
        self.space.is_short()
    }

    /// Whether the defragmenter should win free blocks: each that it wins before it is needed would have had less to move later. Beside a device that
    /// has failed no block is counted on that is not free yet.
    pub(crate) fn wants_blocks(&self, shared: &Shared) -> bool {
        let any_failed = || shared.stores.iter().any(|store| store.failure().is_some());
        self.space.is_short() && (self.space.stays_short() || any_failed())
    }

    /// Whether writers are about to wait for free blocks, or do.
    pub(crate) fn is_pressed(&self) -> bool {
        self.space.is_pressed()
    }

    /// How many of the free blocks are left that lie between the mark at which the defragmenter starts and the one at which writers wait, in per cent.
    pub(crate) fn reserve_pct(&self) -> u32 {
        self.space.reserve_pct()
    }

    /// Whether somebody waits for room while free blocks are few.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_pressed() && self.room.is_awaited()
    }

    /// A record has left its block, and with it so many live bytes; it lives on in another one.
    pub(super) fn moved(&self, bytes: u32) {
        self.space.unused(u64::from(bytes));
    }

    /// What live records cost has become less by `bytes`: the defragmenter has something to win.
    pub(super) fn died(&self, bytes: u32) {
        self.space.unused(u64::from(bytes));
        for given_up in [&self.exhausted, &self.fruitless] {
            if given_up.load(SeqCst) {
                given_up.store(false, SeqCst);
            }
        }
    }

    /// Whether the defragmenter has found that nothing is to be won, and nothing has died since.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(SeqCst) || self.is_fruitless()
    }

    /// Whether the defragmenter has moved block after block and won none, and nothing has died since.
    pub(crate) fn is_fruitless(&self) -> bool {
        self.fruitless.load(SeqCst)
    }

    /// The defragmenter begins to look: what dies from now on counts.
    pub(crate) fn look_again(&self) {
        self.exhausted.store(false, SeqCst);
    }

    /// Moving wins nothing: until something dies, who waits for room is told so.
    pub(crate) fn give_up_moving(&self) {
        self.fruitless.store(true, SeqCst);
        self.room.wake_all();
    }

    /// Nothing is to be won: who waits for room is told.
    pub(crate) fn give_up(&self) {
        self.exhausted.store(true, SeqCst);
        self.room.wake_all();
    }

    /// A block has nothing live any more: free once everything written so far is durable.
    pub(crate) fn emptied(&self, shared: &Shared, block: u32) {
        let now = shared.version_now().sequence;
        let state = shared.blocks.get(block);
        self.sorting.reclaimed(state.stream(), now.saturating_sub(state.birth_sequence()));
        self.emptied_by(block, now);
    }

    /// A block has nothing live any more: free once everything up to ticket `barrier` is durable.
    pub(crate) fn emptied_by(&self, block: u32, barrier: u64) {
        self.space.emptied(block, barrier);
        self.flusher.kick();
    }

    /// Up to `most` emptied blocks whose barrier is durable, now being freed.
    pub(super) fn take_reusable(&self, shared: &Shared, most: usize) -> Vec<u32> {
        if !self.space.has_emptied() {
            return Vec::new();
        }
        // Looked at only now that they are in the list: what emptied them was counted in before.
        let lows = std::cell::OnceCell::new();
        self.space.take_reusable(most, |block, barrier| {
            let &(own, all) = lows.get_or_init(|| (self.low(), shared.low()));
            barrier < if shared.blocks.get(block).is_crossed() { all } else { own }
        })
    }

    /// A block's header says durably that it is free.
    pub(super) fn freed(&self, shared: &Shared, block: u32) {
        let state = shared.blocks.get(block);
        shared.retire_image(block, state.sequence());
        state.invalidated();
        self.space.freed(block);
        self.room.wake_all();
    }

    /// Asks that everything becomes durable soon.
    pub(super) fn hurry(&self) {
        self.urgent.store(true, SeqCst);
        self.flusher.kick();
    }

    /// Whether somebody has asked for a hurry.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent.load(SeqCst)
    }

    /// What was asked for is done.
    pub(super) fn take_urgent(&self) {
        self.urgent.store(false, SeqCst);
    }

    /// Whether it pays to tell the device that a freed block's bytes are not needed: it will lie free for a while.
    pub(super) fn discards_soon(&self) -> bool {
        self.device.can_discard() && self.space.is_ample()
    }

    /// What is durable here may be what blocks of other devices wait for.
    pub(super) fn tell_others_of_low(&self, shared: &Shared) {
        let others = shared.stores.iter().filter(|store| store.first_block != self.first_block);
        others.filter(|store| store.space.has_emptied()).for_each(|store| store.flusher.kick());
    }

    /// Whether emptied blocks wait to become free.
    pub(super) fn has_emptied(&self) -> bool {
        self.space.has_emptied()
    }

    /// The lowest ticket of an append to this device that may be lost with power.
    pub(super) fn low(&self) -> u64 {
        self.low.load(SeqCst)
    }

    /// Finds [`Self::low`] anew. Called under the streams' lock.
    pub(super) fn refresh_low(&self, streams: &Streams) {
        let low = streams.fillings().filter_map(Filling::low).min().unwrap_or(u64::MAX);
        self.low.store(low, SeqCst);
    }

    /// One more place is bound: see `bound`.
    pub(super) fn bind(&self) {
        self.bound.fetch_add(1, SeqCst);
    }

    /// So many places are durable, and bind nobody any more.
    pub(super) fn unbind(&self, places: usize) {
        if places > 0 {
            self.bound.fetch_sub(places as u32, SeqCst);
        }
    }

    /// Whether a record that takes the place of another may have to stay behind it. What a failed device never got binds nobody: it is lost as
    /// a whole, and whoever waits for it was told.
    pub(crate) fn binds(&self) -> bool {
        self.bound.load(SeqCst) > 0 && self.failure().is_none()
    }

    /// Why the device takes no more writes; `None` while it does.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(AsRef::as_ref)
    }

    /// Fences the device: it takes no more writes, and all who wait are told.
    pub(super) fn fence(&self, cause: &str) {
        if self.failure.set(cause.into()).is_ok() {
            tracing::error!(
                device = self.device.name(),
                cause,
                "a write failed: the device takes no more writes"
            );
        }
        let wakers: Vec<Waker> = {
            let streams = self.streams.lock();
            streams.fillings().flat_map(|filling| filling.image.fail(cause)).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether nothing is left to flush.
    pub(crate) fn is_clean(&self) -> bool {
        let streams = self.streams.lock();
        streams.closing.is_empty() && streams.fillings().all(|filling| filling.low().is_none())
    }

    /// Whether it takes no more records.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Takes no more records, and seals the blocks that are open.
    pub(crate) fn shut(&self) {
        let mut streams = self.streams.lock();
        self.closed.store(true, SeqCst);
        self.close_open(&mut streams);
        drop(streams);
        self.room.wake_all();
    }

    /// Whether every block that was opened before `cut` is sealed.
    pub(crate) fn is_sealed_below(&self, cut: Version) -> bool {
        self.streams.lock().closing.iter().all(|filling| filling.birth >= cut)
    }

    /// Remembers blocks that were sealed before this start, newest first, for the links of new ones.
    pub(crate) fn remember_sealed(&self, blocks: impl Iterator<Item = (u32, u64)>) {
        let link = |(block, sequence)| Link { block, sequence, state: LinkState::Sealed };
        self.streams.lock().recent = blocks.take(LINKS).map(link).collect();
    }
}
