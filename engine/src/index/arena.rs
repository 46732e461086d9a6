//! Where the descriptions of segments live: 128 bytes each, in blocks that are never given back before the index goes.
//!
//! A description that is no longer used serves the next segment that asks. Until the index is dropped it stays a valid
//! `Segment`, so that a reader which raced with a merge reads nonsense at worst.
//!
//! Concurrency: one mutex, taken when segments split, merge or are made.

use std::ptr::NonNull;
use std::sync::atomic::{Ordering, fence};

use parking_lot::Mutex;

use super::segment::Segment;

const BLOCK_SEGMENTS: usize = 64;

/// The segments of one index.
pub struct Arena(Mutex<State>);

struct State {
    /// Boxes only so that segments do not move.
    blocks: Vec<Box<[Segment]>>,
    used_in_last: usize,
    free: Vec<NonNull<Segment>>,
}

// SAFETY: the pointers name segments in `blocks`, which are `Sync` (atomics) and owned by the same value.
unsafe impl Send for State {}

impl Arena {
    /// An arena without segments.
    pub fn new() -> Self {
        Self(Mutex::new(State {
            blocks: Vec::new(),
            used_in_last: BLOCK_SEGMENTS,
            free: Vec::new(),
        }))
    }

    /// An empty segment; it stays valid as long as the arena.
    pub fn allocate(&self) -> NonNull<Segment> {
        let mut state = self.0.lock();
        let segment = match state.free.pop() {
            Some(segment) => segment,
            None => state.fresh(),
        };
        drop(state);
        // As in the page pool: a late reader of the last owner must see that owner's sequence change.
        fence(Ordering::Release);
        segment
    }

    /// Takes back an emptied segment that no directory names any more.
    pub fn release(&self, segment: NonNull<Segment>) {
        self.0.lock().free.push(segment);
    }

    /// Bytes of all blocks.
    pub fn memory_bytes(&self) -> u64 {
        let state = self.0.lock();
        let lists = state.blocks.capacity() * 16 + state.free.capacity() * 8;
        (state.blocks.len() * BLOCK_SEGMENTS * size_of::<Segment>() + lists) as u64
    }
}

impl State {
    fn fresh(&mut self) -> NonNull<Segment> {
        if self.used_in_last == BLOCK_SEGMENTS {
            self.blocks.push((0..BLOCK_SEGMENTS).map(|_| Segment::new()).collect());
            self.used_in_last = 0;
        }
        self.used_in_last += 1;
        let block = self.blocks.last().expect("a block was just made sure of");
        NonNull::from(&block[self.used_in_last - 1])
    }
}
