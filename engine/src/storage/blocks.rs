//! What RAM knows of every write block: its state, its live bytes, what may be dead in it and since when.
//!
//! Counters are exact at every moment: a record is counted in when it is put into a block and out when a newer version, a copy
//! elsewhere, its expiry, a truncation or a dropped tombstone kills it. All of it is atomics; whoever moves a block from one state to
//! the next does so by compare-and-swap, so that a block is freed once.
//!
//! The horizon says which tombstones may go. A tombstone guards against older versions of its record, and each of those was killed by a
//! version not above the tombstone's own. So a block matters to a tombstone only if something in it was killed at or before the
//! tombstone's version; every block knows the sequence at which the first of its records was killed, and the horizon is the lowest of these.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use parking_lot::{Mutex, RwLock};

use super::{image::Image, streams::StreamId};
use crate::{
    format::{FOOTER_SHARE, checkpoint::BlockStateImage},
    model::{Location, SizeClass, Version},
};

/// What a write block is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BlockState {
    /// Not for records: it holds the device header.
    Reserved = 0,
    /// Free for writing.
    Free = 1,
    /// Being filled or flushed.
    Open = 2,
    /// Complete on its device, footer included.
    Sealed = 3,
    /// Sealed, and nothing in it is live; free as soon as what superseded its records is durable and its header says so.
    Emptied = 4,
    /// Its contents, or a part of them that nothing tells of, cannot be read; never reused in this life of the node.
    Damaged = 5,
}

impl BlockState {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Reserved,
            1 => Self::Free,
            2 => Self::Open,
            3 => Self::Sealed,
            4 => Self::Emptied,
            5 => Self::Damaged,
            _ => return None,
        })
    }
}

/// One write block.
#[derive(Debug)]
pub(crate) struct Block {
    sequence: AtomicU64,
    /// Sequence part of the birth version: all that is asked on hot paths.
    birth: AtomicU64,
    /// About when users wrote its records: a version sequence in their middle.
    written: AtomicU64,
    /// The version sequence at which the first of its records was killed; `u64::MAX` for none.
    first_kill: AtomicU64,
    /// The lowest version sequence of a tombstone in it, as of when it was last looked through; `u64::MAX` for none.
    guard: AtomicU64,
    /// When it is worth looking through for expired records, in milliseconds since 1970; `u64::MAX` for never.
    due: AtomicU64,
    /// What all records ever put into this life of it cost, and the gaps between them once that is known.
    filled: AtomicU32,
    /// What the live ones among them cost.
    in_use: AtomicU32,
    /// Dead records that would count if nothing else told of them: something guards against them.
    dead: AtomicU32,
    live: AtomicU32,
    state: AtomicU8,
    stream: AtomicU8,
    /// A record of it was superseded by one on another device.
    crossed: AtomicBool,
    /// A part of it could not be read at the start. Versions that nobody knows of may come to light there later.
    unsure: AtomicBool,
    /// A damaged record lies in it that the index still names: not to be reclaimed.
    pinned: AtomicBool,
    /// The block's bytes, while RAM holds them.
    image: RwLock<Option<Arc<Image>>>,
    /// Whether `image` may hold something: most blocks have none, and readers need not write the lock's cache line to learn it.
    imaged: AtomicBool,
    versions: Mutex<Versions>,
}

#[derive(Debug, Default)]
struct Versions {
    birth: Version,
    floor: Version,
    max: Version,
}

/// What a block's records are like, known when no more are added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents {
    /// No version in it is lower.
    pub(crate) floor: Version,
    /// No version in it is higher.
    pub(crate) max: Version,
    /// A version sequence in the middle of its records'.
    pub(crate) written: u64,
    /// The lowest version sequence of its tombstones; `u64::MAX` for none.
    pub(crate) guard: u64,
    /// When it is worth looking through for expired records, in milliseconds since 1970; `u64::MAX` for never.
    pub(crate) due: u64,
    /// Bytes between them, which flushes left behind, and behind them, if the block was closed early: they are won back as dead records are.
    pub(crate) gaps: u32,
}

/// What a record costs its block, in bytes: its own and its share of the footer. A dead or expired record that is kept only since it
/// guards against older versions costs what the tombstone does that the defragmenter makes of it.
pub(crate) fn cost(size: SizeClass, tombstone: bool) -> u32 {
    let bytes = size.bytes();
    (FOOTER_SHARE + if tombstone { bytes.min(GUARD_BYTES) } else { bytes }) as u32
}

/// What a tombstone costs at most, about, in bytes.
pub(crate) const TOMBSTONE_COST: u64 = FOOTER_SHARE + GUARD_BYTES;

/// What a tombstone with an ordinary key takes.
const GUARD_BYTES: u64 = 128;

impl Block {
    fn new(state: BlockState) -> Self {
        Self {
            sequence: AtomicU64::new(0),
            birth: AtomicU64::new(0),
            written: AtomicU64::new(0),
            first_kill: AtomicU64::new(u64::MAX),
            guard: AtomicU64::new(u64::MAX),
            due: AtomicU64::new(u64::MAX),
            filled: AtomicU32::new(0),
            in_use: AtomicU32::new(0),
            dead: AtomicU32::new(0),
            live: AtomicU32::new(0),
            state: AtomicU8::new(state as u8),
            stream: AtomicU8::new(0),
            crossed: AtomicBool::new(false),
            unsure: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
            image: RwLock::new(None),
            imaged: AtomicBool::new(false),
            versions: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> BlockState {
        BlockState::from_byte(self.state.load(SeqCst)).expect("only states are stored")
    }

    pub(crate) fn set_state(&self, state: BlockState) {
        self.state.store(state as u8, SeqCst);
    }

    /// Moves from one state to another; false when it was in a third.
    pub(crate) fn transition(&self, from: BlockState, to: BlockState) -> bool {
        self.state.compare_exchange(from as u8, to as u8, SeqCst, SeqCst).is_ok()
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(SeqCst)
    }

    /// The version counter when the block was opened.
    pub(crate) fn birth_sequence(&self) -> u64 {
        self.birth.load(SeqCst)
    }

    /// The version with which the block was opened.
    pub(crate) fn birth(&self) -> Version {
        self.versions.lock().birth
    }

    /// About when users wrote its records, as a version sequence.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Which of its device's streams it belongs to.
    pub(crate) fn stream(&self) -> StreamId {
        StreamId(self.stream.load(SeqCst))
    }

    /// What its live records cost, in bytes.
    pub(crate) fn in_use(&self) -> u32 {
        self.in_use.load(SeqCst)
    }

    /// What its dead records cost, in bytes, and the gaps between records: what reclaiming it wins.
    pub(crate) fn dead_bytes(&self) -> u32 {
        self.filled.load(Relaxed).saturating_sub(self.in_use.load(Relaxed))
    }

    /// Starts a new life of the block.
    pub(crate) fn open(&self, sequence: u64, birth: Version, stream: StreamId, image: &Arc<Image>) {
        let mut versions = self.versions.lock();
        *versions = Versions { birth, floor: birth, max: Version::MAX };
        self.birth.store(birth.sequence, SeqCst);
        self.sequence.store(sequence, SeqCst);
        self.stream.store(stream.0, SeqCst);
        self.written.store(birth.sequence, SeqCst);
        for none in [&self.first_kill, &self.guard, &self.due] {
            none.store(u64::MAX, SeqCst);
        }
        for counter in [&self.filled, &self.in_use, &self.dead, &self.live] {
            counter.store(0, SeqCst);
        }
        self.crossed.store(false, SeqCst);
        self.pinned.store(false, SeqCst);
        // Behind the sequence: see `take_image`.
        let mut place = self.image.write();
        *place = Some(Arc::clone(image));
        self.imaged.store(true, SeqCst);
        drop(place);
        self.set_state(BlockState::Open);
    }

    /// Nothing of the block's life can be found on its device any more.
    pub(crate) fn invalidated(&self) {
        for counter in [&self.filled, &self.dead, &self.live] {
            counter.store(0, SeqCst);
        }
        self.unsure.store(false, SeqCst);
        self.first_kill.store(u64::MAX, SeqCst);
        self.set_state(BlockState::Free);
    }

    /// Takes the image of the life with this sequence away, if the block lives it and has one.
    pub(crate) fn take_image(&self, sequence: u64) -> Option<Arc<Image>> {
        // A new life's sequence is set before its image, so what is here while the old sequence stands is the old image.
        let mut image = self.image.write();
        if self.sequence() != sequence {
            return None;
        }
        self.imaged.store(false, SeqCst);
        image.take()
    }

    /// The block's bytes, if RAM holds them. A record that lies in the block's present life is on the device when there are none: an
    /// index entry is set after the image, and images are taken away only from blocks that are durable.
    pub(crate) fn image(&self) -> Option<Arc<Image>> {
        if self.imaged.load(SeqCst) { self.image.read().clone() } else { None }
    }

    /// The same, to be asked something only: nobody holds it longer than that.
    pub(crate) fn with_image<R>(&self, ask: impl FnOnce(&Image) -> R) -> Option<R> {
        if self.imaged.load(SeqCst) { self.image.read().as_deref().map(ask) } else { None }
    }

    pub(crate) fn crossed(&self) {
        self.crossed.store(true, SeqCst);
    }

    /// Whether what superseded its records may lie on another device.
    pub(crate) fn is_crossed(&self) -> bool {
        self.crossed.load(SeqCst)
    }

    /// A part of the block cannot be read.
    pub(crate) fn be_unsure(&self) {
        self.unsure.store(true, SeqCst);
    }

    /// Whether a part of the block could not be read.
    pub(crate) fn is_unsure(&self) -> bool {
        self.unsure.load(SeqCst)
    }

    /// A record of it that the index names is damaged: the block stays as it is, for whoever may still save it.
    pub(crate) fn pin(&self) {
        self.pinned.store(true, SeqCst);
    }

    /// Whether this life of the block must not be reclaimed.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned.load(SeqCst)
    }

    /// Fixes what is known of the records, once no more are added.
    pub(crate) fn close(&self, contents: &Contents) {
        let mut versions = self.versions.lock();
        versions.floor = contents.floor;
        versions.max = contents.max;
        self.written.store(contents.written, SeqCst);
        self.guard.store(contents.guard, SeqCst);
        self.due.store(contents.due, SeqCst);
        self.filled.fetch_add(contents.gaps, SeqCst);
    }

    /// Counts a record in that this life of the block holds.
    pub(crate) fn add(&self, size: SizeClass, tombstone: bool) {
        let cost = cost(size, tombstone);
        self.filled.fetch_add(cost, SeqCst);
        self.in_use.fetch_add(cost, SeqCst);
        if !tombstone {
            self.live.fetch_add(1, SeqCst);
        }
    }

    /// Counts a live record out that was killed at version sequence `at`; whether the block has become empty and is sealed.
    pub(crate) fn kill(&self, size: SizeClass, tombstone: bool, at: u64) -> bool {
        if !tombstone {
            self.first_kill.fetch_min(at, SeqCst);
            self.dead.fetch_add(1, SeqCst);
            self.live.fetch_sub(1, SeqCst);
        }
        self.give_up(cost(size, tombstone))
    }

    /// Counts an expired record out. It needs nothing to guard against it: whoever finds it knows that it has expired.
    pub(crate) fn expire(&self, size: SizeClass) -> bool {
        self.live.fetch_sub(1, SeqCst);
        self.give_up(cost(size, false))
    }

    /// Counts an expired record as the tombstone that it stands for from now on.
    pub(crate) fn demote(&self, size: SizeClass, version: Version) {
        self.live.fetch_sub(1, SeqCst);
        self.guard.fetch_min(version.sequence, SeqCst);
        self.in_use.fetch_sub(cost(size, false) - cost(size, true), SeqCst);
    }

    /// Counts an evicted record as the tombstone that it stands for from now on. Unlike an expired one it is known for gone only by the cut at
    /// version sequence `at` that evicted it.
    pub(crate) fn evict(&self, size: SizeClass, version: Version, at: u64) {
        self.first_kill.fetch_min(at, SeqCst);
        self.dead.fetch_add(1, SeqCst);
        self.live.fetch_sub(1, SeqCst);
        self.guard.fetch_min(version.sequence, SeqCst);
        self.in_use.fetch_sub(cost(size, false) - cost(size, true), SeqCst);
    }

    fn give_up(&self, cost: u32) -> bool {
        let before = self.in_use.fetch_sub(cost, SeqCst);
        debug_assert!(before >= cost, "more bytes died than lived");
        before == cost && self.transition(BlockState::Sealed, BlockState::Emptied)
    }

    /// The sequence at which the first of the dead records that something guards against was killed; `None` when it holds none.
    pub(crate) fn first_kill(&self) -> Option<u64> {
        if self.state() == BlockState::Damaged || self.unsure.load(SeqCst) {
            return Some(0);
        }
        (self.dead.load(SeqCst) > 0).then(|| self.first_kill.load(SeqCst))
    }

    /// When it is worth looking through for expired records, in milliseconds since 1970.
    pub(crate) fn due(&self) -> u64 {
        self.due.load(Relaxed)
    }

    /// The lowest version sequence of its tombstones, as of when it was last looked through.
    pub(crate) fn guard(&self) -> u64 {
        self.guard.load(Relaxed)
    }

    /// The block was looked through: when to do so again.
    pub(crate) fn looked_through(&self, due: u64, guard: u64) {
        self.due.store(due, SeqCst);
        self.guard.store(guard, SeqCst);
    }

    /// No version in the block is below the first or above the second.
    pub(crate) fn version_range(&self) -> (Version, Version) {
        let versions = self.versions.lock();
        (versions.floor, versions.max)
    }

    /// What a clean stop writes down.
    pub(crate) fn to_image(&self) -> BlockStateImage {
        let versions = self.versions.lock();
        let unsure = self.unsure.load(SeqCst);
        BlockStateImage {
            sequence: self.sequence(),
            birth: versions.birth,
            filled: self.filled.load(SeqCst),
            in_use: self.in_use(),
            records: self.live.load(SeqCst) + self.dead.load(SeqCst) + u32::from(unsure),
            live: self.live.load(SeqCst),
            floor: versions.floor,
            max: versions.max,
            written: self.written(),
            first_kill: if unsure { 0 } else { self.first_kill.load(SeqCst) },
            guard: self.guard(),
            due: self.due(),
            state: self.state.load(SeqCst),
            stream: self.stream().0,
        }
    }

    /// Takes up what a clean stop wrote down, or what a cold start found in the block's header.
    pub(crate) fn restore(&self, image: &BlockStateImage, state: BlockState) {
        *self.versions.lock() = Versions { birth: image.birth, floor: image.floor, max: image.max };
        self.birth.store(image.birth.sequence, SeqCst);
        self.sequence.store(image.sequence, SeqCst);
        self.written.store(image.written, SeqCst);
        self.first_kill.store(image.first_kill, SeqCst);
        self.guard.store(image.guard, SeqCst);
        self.due.store(image.due, SeqCst);
        self.filled.store(image.filled, SeqCst);
        self.in_use.store(image.in_use, SeqCst);
        self.dead.store(image.records.saturating_sub(image.live), SeqCst);
        self.live.store(image.live, SeqCst);
        self.stream.store(image.stream, SeqCst);
        self.set_state(state);
    }
}

/// All blocks of a namespace's devices, one device behind the other.
#[derive(Debug)]
pub(crate) struct BlockTable {
    blocks: Box<[Block]>,
    shift: u32,
}

impl BlockTable {
    /// A table for devices of `counts` blocks each, of `block_size` bytes (a power of two).
    pub(crate) fn new(counts: &[u32], block_size: u64) -> Self {
        let state = |number| if number == 0 { BlockState::Reserved } else { BlockState::Free };
        let blocks = counts.iter().flat_map(|&count| (0..count).map(move |n| Block::new(state(n))));
        Self { blocks: blocks.collect(), shift: block_size.trailing_zeros() }
    }

    pub(crate) fn get(&self, block: u32) -> &Block {
        &self.blocks[block as usize]
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.blocks.iter()
    }

    /// The block and the offset in it of a location; `None` when there is no such block.
    pub(crate) fn locate(&self, location: Location) -> Option<(u32, u32)> {
        let block = location.offset() >> self.shift;
        let offset = location.offset() & ((1 << self.shift) - 1);
        ((block as usize) < self.blocks.len()).then_some((block as u32, offset as u32))
    }

    /// The location of byte `offset` of `block`.
    pub(crate) fn location(&self, block: u32, offset: u32) -> Location {
        Location::from_offset((u64::from(block) << self.shift) + u64::from(offset))
    }

    /// The horizon: whatever was killed at a version sequence below it is not left on any device, so tombstones with a lower one have nothing to
    /// guard.
    pub(crate) fn horizon(&self) -> u64 {
        self.blocks.iter().filter_map(Block::first_kill).min().unwrap_or(u64::MAX)
    }
}
