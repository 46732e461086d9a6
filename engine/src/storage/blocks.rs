//! What RAM knows of every write block: its state, its live bytes, the versions it may hold.
//!
//! Counters are exact at every moment: a record is counted in when it is put into a block and out when a newer version, a
//! truncation or a dropped tombstone kills it. All of it is atomics; whoever moves a block from one state to the next does so by
//! compare-and-swap, so that a block is freed once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst},
};

use parking_lot::{Mutex, RwLock};

use super::image::Image;
use crate::{
    format::checkpoint::BlockStateImage,
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
    /// Sealed, and nothing in it is live; free as soon as what superseded its records is durable.
    Emptied = 4,
    /// Its contents cannot be read; never reused in this life of the node.
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
    in_use: AtomicU32,
    records: AtomicU32,
    live: AtomicU32,
    state: AtomicU8,
    /// A record of it was superseded by one on another device.
    crossed: AtomicBool,
    /// A part of it could not be read at the start. Versions that nobody knows of may come to light there later.
    unsure: AtomicBool,
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
    /// The floor of the block's earlier life, while that one's bytes may still be found on the device.
    prior_floor: Option<Version>,
}

impl Block {
    fn new(state: BlockState) -> Self {
        Self {
            sequence: AtomicU64::new(0),
            birth: AtomicU64::new(0),
            in_use: AtomicU32::new(0),
            records: AtomicU32::new(0),
            live: AtomicU32::new(0),
            state: AtomicU8::new(state as u8),
            crossed: AtomicBool::new(false),
            unsure: AtomicBool::new(false),
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

    pub(crate) fn in_use(&self) -> u32 {
        self.in_use.load(SeqCst)
    }

    /// Live records, tombstones left out.
    pub(crate) fn live(&self) -> u32 {
        self.live.load(SeqCst)
    }

    /// Starts a new life of the block.
    pub(crate) fn open(&self, sequence: u64, birth: Version, image: &Arc<Image>) {
        let mut versions = self.versions.lock();
        let unsure = self.unsure.swap(false, SeqCst).then_some(Version::ZERO);
        let dead = (self.records.load(SeqCst) > 0).then_some(versions.floor);
        versions.prior_floor = [versions.prior_floor, dead, unsure].into_iter().flatten().min();
        versions.birth = birth;
        versions.floor = birth;
        versions.max = Version::MAX;
        self.birth.store(birth.sequence, SeqCst);
        self.sequence.store(sequence, SeqCst);
        for counter in [&self.in_use, &self.records, &self.live] {
            counter.store(0, SeqCst);
        }
        self.crossed.store(false, SeqCst);
        // Behind the sequence: see `take_image`.
        let mut place = self.image.write();
        *place = Some(Arc::clone(image));
        self.imaged.store(true, SeqCst);
        drop(place);
        self.set_state(BlockState::Open);
    }

    /// The first bytes of the new life are durable: what the block held before cannot be found any more.
    pub(crate) fn prior_life_overwritten(&self) {
        self.versions.lock().prior_floor = None;
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

    /// Fixes the versions the block holds, once no more are added.
    pub(crate) fn close(&self, floor: Version, max: Version) {
        let mut versions = self.versions.lock();
        versions.floor = floor;
        versions.max = max;
    }

    /// Counts a record in that this life of the block holds.
    pub(crate) fn add(&self, size: SizeClass, tombstone: bool) {
        self.in_use.fetch_add(size.bytes() as u32, SeqCst);
        if !tombstone {
            self.records.fetch_add(1, SeqCst);
            self.live.fetch_add(1, SeqCst);
        }
    }

    /// Counts a record in that the block holds but that was dead when it was found.
    pub(crate) fn add_dead(&self, tombstone: bool) {
        if !tombstone {
            self.records.fetch_add(1, SeqCst);
        }
    }

    /// Counts a live record out; whether the block has become empty and is sealed.
    pub(crate) fn kill(&self, size: SizeClass, tombstone: bool) -> bool {
        if !tombstone {
            self.live.fetch_sub(1, SeqCst);
        }
        let before = self.in_use.fetch_sub(size.bytes() as u32, SeqCst);
        debug_assert!(before >= size.bytes() as u32, "more bytes died than lived");
        before == size.bytes() as u32 && self.transition(BlockState::Sealed, BlockState::Emptied)
    }

    /// The lowest version that a dead record in this block can have; `None` when it holds none.
    fn dead_floor(&self) -> Option<Version> {
        let versions = self.versions.lock();
        if self.state() == BlockState::Damaged || self.unsure.load(SeqCst) {
            return Some(Version::ZERO);
        }
        let dead = self.records.load(SeqCst) > self.live.load(SeqCst);
        [dead.then_some(versions.floor), versions.prior_floor].into_iter().flatten().min()
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
        // A life that was begun and never flushed still stands for the one before it.
        let floor = versions.prior_floor.map_or(versions.floor, |prior| prior.min(versions.floor));
        BlockStateImage {
            sequence: self.sequence(),
            birth: versions.birth,
            in_use: self.in_use(),
            records: self.records.load(SeqCst) + u32::from(unsure),
            live: self.live.load(SeqCst),
            floor: if unsure { Version::ZERO } else { floor },
            max: versions.max,
            state: self.state.load(SeqCst),
        }
    }

    /// Takes up what a clean stop wrote down, or what a cold start found in the block's header.
    pub(crate) fn restore(&self, image: &BlockStateImage, state: BlockState) {
        let mut versions = self.versions.lock();
        versions.birth = image.birth;
        versions.floor = image.floor;
        versions.max = image.max;
        self.birth.store(image.birth.sequence, SeqCst);
        self.sequence.store(image.sequence, SeqCst);
        self.in_use.store(image.in_use, SeqCst);
        self.records.store(image.records, SeqCst);
        self.live.store(image.live, SeqCst);
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Block> {
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

    /// The horizon: no dead version below it is left on any device, so older tombstones have nothing to guard.
    pub(crate) fn horizon(&self) -> Version {
        self.blocks.iter().filter_map(Block::dead_floor).min().unwrap_or(Version::MAX)
    }

    /// Live bytes of all blocks.
    pub(crate) fn in_use(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.in_use())).sum()
    }
}
