//! A partition's map from the top bits of a tag to the segment that holds it.
//!
//! A partition with one segment has no directory; else it has one pointer for each value of the top `depth` bits, and a
//! segment that shares fewer bits has several pointers. The directory's address and depth are one word (lines are
//! aligned to 64 bytes, the depth lies in the low six bits), so that a reader always has a pair that fits.
//!
//! Concurrency: readers take no lock. A directory that was replaced by a larger one is kept until the partition goes
//! (all old ones together are smaller than the present one), so that late readers read valid pointers.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::segment::Segment;

/// Most bits of a tag that a directory looks at: 16 384 segments, about ten million entries in one partition.
pub const MAX_DEPTH: u32 = 14;
const MIN_DEPTH: u32 = 3;
const LINE_POINTERS: usize = 8;

/// One cache line of pointers.
#[repr(align(64))]
pub struct Line([AtomicPtr<Segment>; LINE_POINTERS]);

/// The directory of one partition.
pub struct Directory {
    /// The segment of a partition that has only one; null before the first entry.
    single: AtomicPtr<Segment>,
    /// Null, or the present lines; the depth in the low six bits.
    lines: AtomicPtr<Line>,
}

/// All lines a partition has ever used, the present ones last. Behind the partition's lock.
pub type Kept = Vec<Box<[Line]>>;

impl Directory {
    /// A directory of an empty partition.
    pub fn new() -> Self {
        Self { single: AtomicPtr::new(ptr::null_mut()), lines: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The segment for `tag`; `None` before the first entry.
    #[inline]
    pub fn segment(&self, tag: u64) -> Option<NonNull<Segment>> {
        let tagged = self.lines.load(Ordering::Acquire);
        let depth = depth_of(tagged);
        if depth == 0 {
            return NonNull::new(self.single.load(Ordering::Acquire));
        }
        NonNull::new(pointer(tagged, (tag >> (64 - depth)) as usize).load(Ordering::Acquire))
    }

    /// How many bits the directory looks at.
    pub fn depth(&self) -> u32 {
        depth_of(self.lines.load(Ordering::Relaxed))
    }

    /// Makes `segment` serve all tags that share the top `depth` bits of `tag`, growing the directory where needed.
    /// Returns how many bytes it grew by.
    pub fn assign(&self, kept: &mut Kept, tag: u64, depth: u32, segment: NonNull<Segment>) -> u64 {
        if depth == 0 && self.depth() == 0 {
            self.single.store(segment.as_ptr(), Ordering::Release);
            return 0;
        }
        let grown = if depth > self.depth() { self.deepen(kept, depth.max(MIN_DEPTH)) } else { 0 };
        let tagged = self.lines.load(Ordering::Relaxed);
        let own = depth_of(tagged);
        let count = 1usize << (own - depth);
        let first = if depth == 0 { 0 } else { (tag >> (64 - depth)) as usize * count };
        for index in first..first + count {
            pointer(tagged, index).store(segment.as_ptr(), Ordering::Release);
        }
        grown
    }

    fn deepen(&self, kept: &mut Kept, depth: u32) -> u64 {
        assert!(depth <= MAX_DEPTH, "a directory of depth {depth}");
        let lines: Box<[Line]> = (0..(1usize << depth) / LINE_POINTERS)
            .map(|line| self.copied_line(line, depth))
            .collect();
        let bytes = size_of_val(&*lines) as u64;
        kept.push(lines);
        let start = kept.last_mut().expect("just pushed").as_mut_ptr();
        self.lines.store(start.map_addr(|address| address | depth as usize), Ordering::Release);
        bytes
    }

    /// Line `line` of a directory of `depth` that names the same segments as this one.
    fn copied_line(&self, line: usize, depth: u32) -> Line {
        Line(std::array::from_fn(|at| {
            let tag = ((line * LINE_POINTERS + at) as u64) << (64 - depth);
            AtomicPtr::new(self.segment(tag).map_or(ptr::null_mut(), NonNull::as_ptr))
        }))
    }
}

fn depth_of(tagged: *mut Line) -> u32 {
    (tagged.addr() % 64) as u32
}

#[inline]
fn pointer<'a>(tagged: *mut Line, index: usize) -> &'a AtomicPtr<Segment> {
    debug_assert!(index < 1 << depth_of(tagged));
    let lines = tagged.map_addr(|address| address & !63);
    // SAFETY: `tagged` was made by `deepen` from lines that are kept as long as the partition, with the depth that says
    // how many pointers there are; callers take `index` from that many top bits. Lines are only changed through atomics.
    unsafe { &(&(*lines.add(index / LINE_POINTERS)).0)[index % LINE_POINTERS] }
}
