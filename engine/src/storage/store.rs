//! One device of a namespace: its stream of records, its free blocks, its fence.
//!
//! Writers append under the stream's lock and never wait for I/O there. The flusher is told what changed through `kick`. A device that
//! failed a write is fenced for good: what was acknowledged before stays readable, nothing more is written.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    task::Waker,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    Shared,
    blocks::BlockState,
    filling::{Appending, Filling, Opening},
    image::Image,
    superblock::Superblock,
    wait::WaitList,
};
use crate::{
    device::Device,
    format::{LINKS, Link, LinkState},
    model::{Location, Version},
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
    pub(super) stream: Mutex<Stream>,
    space: Mutex<Space>,
    /// Length of the free list, to be read without its lock.
    free_count: AtomicU32,
    next_sequence: AtomicU64,
    /// The lowest version sequence on this device that may be lost with power; `u64::MAX` for none.
    low: AtomicU64,
    failure: OnceLock<Box<str>>,
    /// The namespace is being closed: no more appends. Changed under the stream's lock.
    closed: AtomicBool,
    /// Something for the flusher to look at.
    kicked: AtomicBool,
    flusher: Mutex<Option<Waker>>,
    /// Everything must become durable soon: somebody waits for blocks to become free.
    urgent: AtomicBool,
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

/// The blocks being filled and flushed.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Where records are appended.
    pub(super) open: Option<Filling>,
    /// Complete in RAM, on their way to the device; oldest first.
    pub(super) closing: VecDeque<Filling>,
    /// Blocks opened lately, newest first, for the links in the next header.
    pub(super) recent: VecDeque<Link>,
}

impl Stream {
    pub(super) fn note(&mut self, sequence: u64, state: LinkState) {
        if let Some(link) = self.recent.iter_mut().find(|link| link.sequence == sequence) {
            link.state = link.state.max(state);
        }
    }
}

#[derive(Debug, Default)]
struct Space {
    free: VecDeque<u32>,
    /// Blocks with nothing live, and the version sequence that must be durable before they are reused.
    emptied: VecDeque<(u32, u64)>,
}

/// Where a record was put.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) location: Location,
    /// The block it is in, to wait for its durability, and where it ends there.
    pub(crate) image: Arc<Image>,
    pub(crate) end: u32,
}

/// What came of an append.
#[derive(Debug)]
pub(crate) enum Append {
    Done(Appended),
    /// No room just now: wait until something changed since this turn of [`Store::room`].
    Wait(u64),
    /// No room, and waiting cannot help.
    Full,
    /// The device is fenced, for this reason.
    Failed(Box<str>),
    /// The namespace is being closed.
    Closed,
    /// A truncation has begun since the writer looked: what it saw may be gone.
    Cut,
}

/// How much an append may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// An ordinary write: stops at the reserve.
    Ordinary,
    /// A delete, or what makes room: may use the reserve.
    Privileged,
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
            stream: Mutex::default(),
            space: Mutex::default(),
            free_count: AtomicU32::new(0),
            next_sequence: AtomicU64::new(next_sequence),
            low: AtomicU64::new(u64::MAX),
            failure: OnceLock::new(),
            closed: AtomicBool::new(false),
            kicked: AtomicBool::new(true),
            flusher: Mutex::new(None),
            urgent: AtomicBool::new(false),
            room: WaitList::default(),
        }
    }

    /// The seeded hash of a set's name.
    pub(crate) fn set_hash(&self, set: &str) -> u64 {
        self.superblock.secret().set_hash(set)
    }

    /// Puts a record into the open block. Versions are given here, under the lock, so that they grow along the stream.
    pub(crate) fn append(
        &self,
        shared: &Shared,
        claim: Claim,
        durable: bool,
        record: Appending<'_>,
    ) -> Append {
        let turn = self.room.turn();
        let mut stream = self.stream.lock();
        if let Some(cause) = self.failure.get() {
            return Append::Failed(cause.clone());
        }
        if self.closed.load(SeqCst) {
            return Append::Closed;
        }
        if record.cuts != shared.cuts() {
            return Append::Cut;
        }
        let free = self.free_blocks();
        if claim == Claim::Ordinary && free < self.reserve(shared) {
            return self.no_room(shared, &stream, free, turn);
        }
        if !stream.open.as_ref().is_some_and(|open| open.fits(record.size)) {
            if free == 0 || (claim == Claim::Ordinary && free <= self.reserve(shared)) {
                return self.no_room(shared, &stream, free, turn);
            }
            if !self.open_next(shared, &mut stream) {
                return Append::Wait(turn);
            }
        }
        let open = stream.open.as_mut().expect("a block is open");
        let begins_to_wait = open.waiting_since().is_none();
        let version = shared.next_version();
        let (size, tombstone) = (record.size, record.tombstone);
        let offset = open.append(record, version, shared.clock.monotonic());
        shared.blocks.get(open.block).add(size, tombstone);
        self.low.fetch_min(version.sequence, SeqCst);
        let end = offset + size.bytes() as u32;
        if durable {
            open.image.want(end);
            open.want_all();
        }
        let appended = Appended {
            location: shared.blocks.location(open.block, offset),
            image: Arc::clone(&open.image),
            end,
        };
        let kick = durable || begins_to_wait || open.has_full_unit(shared.flush_size);
        drop(stream);
        if kick {
            self.kick();
        }
        Append::Done(appended)
    }

    /// What a write without room is told. `free` is how many blocks it saw free.
    fn no_room(&self, shared: &Shared, stream: &Stream, free: u32, turn: u64) -> Append {
        let space = self.space.lock();
        if space.free.len() as u32 != free {
            return Append::Wait(turn);
        }
        // Blocks that are empty already become free once what emptied them is durable: worth waiting for, and worth a hurry. What a failed
        // device has not made durable, it never will.
        let any_failed = shared.stores.iter().any(|store| store.failure().is_some());
        let comes_free = |block: u32| !(any_failed && shared.blocks.get(block).is_crossed());
        // So does a block on its way to the device in which nothing is live.
        let dies_closing = self.failure.get().is_none()
            && stream.closing.iter().any(|f| shared.blocks.get(f.block).in_use() == 0);
        if !dies_closing && !space.emptied.iter().any(|&(block, _)| comes_free(block)) {
            return Append::Full;
        }
        drop(space);
        for store in &shared.stores {
            store.urgent.store(true, SeqCst);
            store.kick();
        }
        Append::Wait(turn)
    }

    /// Closes the open block and opens a free one; false when no image is free.
    fn open_next(&self, shared: &Shared, stream: &mut Stream) -> bool {
        // Images come back when a closing block is sealed. With none on its way, only readers hold them, and waiting for those could
        // last: then one more is made.
        let nothing_comes_back = stream.closing.is_empty();
        let Some(image) = shared.take_image(nothing_comes_back) else { return false };
        self.close_open(stream);
        // Blocks are taken under the stream's lock only, so the one that the caller saw is still there.
        let block = self.take_free_block().expect("the caller saw a free block");
        let sequence = self.next_sequence.fetch_add(1, SeqCst);
        let birth = shared.version_now();
        shared.blocks.get(block).open(sequence, birth, &image);
        let opening = Opening {
            block,
            number: block - self.first_block,
            sequence,
            birth,
            device: self.superblock.device(),
            device_seed: self.seed,
            sector: self.sector,
            size: shared.block_size as u32,
        };
        stream.open = Some(Filling::new(opening, image));
        true
    }

    /// Remembers the block being opened for the headers of later ones. Called when its own header is made, which does not name it.
    pub(super) fn link(stream: &mut Stream, block: u32, sequence: u64) {
        stream.recent.truncate(LINKS - 1);
        stream.recent.push_front(Link { block, sequence, state: LinkState::Opened });
    }

    /// Closes the open block: later records go to another one, born later.
    pub(super) fn close_open(&self, stream: &mut Stream) {
        if let Some(mut open) = stream.open.take_if(|open| open.has_records()) {
            open.close();
            stream.closing.push_back(open);
            self.kick();
        }
    }

    /// Takes a free block for something other than records, such as a checkpoint.
    pub(crate) fn take_free_block(&self) -> Option<u32> {
        let mut space = self.space.lock();
        let block = space.free.pop_front()?;
        self.free_count.store(space.free.len() as u32, SeqCst);
        Some(block)
    }

    /// A fresh block sequence.
    pub(crate) fn take_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, SeqCst)
    }

    /// Counts a block of the device in as free.
    pub(crate) fn add_free(&self, block: u32) {
        let mut space = self.space.lock();
        space.free.push_back(block);
        self.free_count.store(space.free.len() as u32, SeqCst);
    }

    /// Free blocks of this device.
    pub(crate) fn free_blocks(&self) -> u32 {
        self.free_count.load(SeqCst)
    }

    /// Free blocks that ordinary writes leave alone.
    pub(crate) fn reserve(&self, shared: &Shared) -> u32 {
        let usable = u64::from(self.block_count - 1);
        let percent = u64::from(100 - shared.max_used_pct());
        (usable * percent / 100).max(2) as u32
    }

    /// A block has nothing live any more: free once everything written so far is durable.
    pub(crate) fn emptied(&self, shared: &Shared, block: u32) {
        let barrier = shared.version_now().sequence;
        self.space.lock().emptied.push_back((block, barrier));
        self.kick();
    }

    /// Frees the emptied blocks whose barrier is durable, and says whether there were any.
    pub(super) fn free_emptied(&self, shared: &Shared) -> bool {
        let mut space = self.space.lock();
        let Space { free, emptied } = &mut *space;
        // Looked at only now, with the list locked: of a block in the list, what emptied it was counted in before.
        let (own, all) = (self.low(), shared.low());
        let before = free.len();
        emptied.retain(|&(block, barrier)| {
            let state = shared.blocks.get(block);
            if barrier >= if state.is_crossed() { all } else { own } {
                return true;
            }
            shared.retire_image(block, state.sequence());
            state.set_state(BlockState::Free);
            free.push_back(block);
            false
        });
        self.free_count.store(free.len() as u32, SeqCst);
        free.len() > before
    }

    /// Whether somebody has asked for a hurry since the last call.
    pub(super) fn take_urgent(&self) -> bool {
        self.urgent.swap(false, SeqCst)
    }

    /// Whether emptied blocks wait to become free.
    pub(super) fn has_emptied(&self) -> bool {
        !self.space.lock().emptied.is_empty()
    }

    /// The lowest version sequence on this device that may be lost with power.
    pub(super) fn low(&self) -> u64 {
        self.low.load(SeqCst)
    }

    /// Finds [`Self::low`] anew. Called under the stream's lock.
    pub(super) fn refresh_low(&self, stream: &Stream) {
        let fillings = stream.closing.iter().chain(&stream.open);
        let low = fillings.filter_map(Filling::low).min().unwrap_or(u64::MAX);
        self.low.store(low, SeqCst);
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
            let stream = self.stream.lock();
            let fillings = stream.closing.iter().chain(&stream.open);
            fillings.flat_map(|filling| filling.image.fail(cause)).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Tells the flusher to look.
    pub(crate) fn kick(&self) {
        if self.kicked.swap(true, SeqCst) {
            return;
        }
        if let Some(waker) = &*self.flusher.lock() {
            waker.wake_by_ref();
        }
    }

    /// Who flushes this device.
    pub(super) fn set_flusher(&self, waker: Waker) {
        *self.flusher.lock() = Some(waker);
    }

    /// Whether there was a kick since the last call.
    pub(crate) fn take_kick(&self) -> bool {
        self.kicked.swap(false, SeqCst)
    }

    /// Whether nothing is left to flush.
    pub(crate) fn is_clean(&self) -> bool {
        let stream = self.stream.lock();
        stream.closing.is_empty() && stream.open.as_ref().is_none_or(|open| open.low().is_none())
    }

    /// Takes no more records, and seals the block that is open.
    pub(crate) fn shut(&self) {
        let mut stream = self.stream.lock();
        self.closed.store(true, SeqCst);
        self.close_open(&mut stream);
        drop(stream);
        self.room.wake_all();
    }

    /// Whether every block that was opened before `cut` is sealed.
    pub(crate) fn is_sealed_below(&self, cut: Version) -> bool {
        self.stream.lock().closing.iter().all(|filling| filling.birth >= cut)
    }

    /// Remembers blocks that were sealed before this start, newest first, for the links of new ones.
    pub(crate) fn remember_sealed(&self, blocks: impl Iterator<Item = (u32, u64)>) {
        let link = |(block, sequence)| Link { block, sequence, state: LinkState::Sealed };
        self.stream.lock().recent = blocks.take(LINKS).map(link).collect();
    }

    /// When the open block's records must be flushed at the latest.
    pub(super) fn flush_deadline(stream: &Stream, flush_max: Duration) -> Option<Duration> {
        stream.open.as_ref()?.waiting_since().map(|since| since + flush_max)
    }
}
