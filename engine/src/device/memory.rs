//! Memory that devices read into and write from: owned buffers and shared regions.
//!
//! Owns: the layout (every address a multiple of [`BUFFER_ALIGN`], as `O_DIRECT` wants), the per-thread free
//! list that keeps the read path away from the allocator, and the `unsafe` that lets a region be filled while
//! other parts of it are on their way to a device.
//!
//! Invariants: every byte handed out is initialised (zero at first, then whatever the last user left); a
//! buffer's address never changes while it lives, so the kernel may hold it; a free list never keeps more than
//! [`FREE_LIST_BYTES`].
//!
//! Concurrency: an [`AlignedBuf`] has one owner. A [`Region`] is shared, and who may touch which range is
//! agreed between its users, which is why its access methods are `unsafe`.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    cell::RefCell,
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
    sync::Arc,
};

use memmap2::{Advice, MmapMut, MmapRaw};

/// Alignment of the address of every buffer and region, enough for `O_DIRECT` on any device served here.
pub const BUFFER_ALIGN: usize = 4096;

/// Buffers up to this size are kept for reuse; larger ones are rare and go back to the allocator.
const LARGEST_CLASS: usize = 1 << 20;

/// What one thread may keep in its free list.
const FREE_LIST_BYTES: usize = 4 << 20;

/// Size classes are powers of two from `BUFFER_ALIGN` to `LARGEST_CLASS`.
const CLASSES: usize = (LARGEST_CLASS / BUFFER_ALIGN).ilog2() as usize + 1;

/// An owned buffer, aligned to [`BUFFER_ALIGN`]. Its contents are unspecified at first, but never uninitialised.
pub struct AlignedBuf {
    memory: Block,
    len: usize,
}

impl AlignedBuf {
    /// A buffer of `len` bytes, from this thread's free list if it has one of that class.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let size = class_size(len);
        let reused = class_of(size)
            .and_then(|class| FREE.try_with(|free| free.borrow_mut().take(class)).ok().flatten());
        AlignedBuf { memory: reused.unwrap_or_else(|| Block::allocate(size)), len }
    }

    /// How many bytes fit without another allocation.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.size
    }

    /// Changes the length, up to the capacity. Bytes that come into view are unspecified.
    ///
    /// # Panics
    ///
    /// If `len` is greater than the capacity.
    pub fn set_len(&mut self, len: usize) {
        assert!(
            len <= self.memory.size,
            "length {len} is beyond the capacity {}",
            self.memory.size
        );
        self.len = len;
    }

    /// Where the buffer starts, for the kernel to write to.
    pub(super) fn start(&self) -> *mut u8 {
        self.memory.start.as_ptr()
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the block is `size >= len` bytes long, initialised, and ours alone.
        unsafe { slice::from_raw_parts(self.memory.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.memory.start.as_ptr(), self.len) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        let Some(class) = class_of(self.memory.size) else {
            return;
        };
        let empty = Block { start: NonNull::dangling(), size: 0, home: None };
        let block = std::mem::replace(&mut self.memory, empty);
        // A thread that is going away has no list any more; the block, moved into the closure, is then simply freed.
        let _ = FREE.try_with(move |free| free.borrow_mut().put(class, block));
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).finish_non_exhaustive()
    }
}

/// One allocation, or a part of a region. Size 0 means none, so that a buffer can be emptied in its destructor.
struct Block {
    start: NonNull<u8>,
    size: usize,
    /// The region that this is a part of, kept as long as the block.
    home: Option<Arc<Region>>,
}

// SAFETY: a block is plain memory with one owner; nothing in it is tied to a thread.
unsafe impl Send for Block {}
// SAFETY: shared access only reads bytes.
unsafe impl Sync for Block {}

impl Block {
    fn allocate(size: usize) -> Block {
        let layout = Self::layout(size);
        // SAFETY: the layout is not empty, `class_size` never gives 0.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Block { start, size, home: None }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, BUFFER_ALIGN)
            .expect("a buffer is smaller than the address space")
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.size > 0 && self.home.is_none() {
            // SAFETY: allocated in `allocate` with this very layout, and freed once, here.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.size)) };
        }
    }
}

/// Blocks that this thread can use again, by class.
struct FreeList {
    classes: [Vec<Block>; CLASSES],
    bytes: usize,
}

impl FreeList {
    fn take(&mut self, class: usize) -> Option<Block> {
        let block = self.classes[class].pop()?;
        self.bytes -= block.size;
        Some(block)
    }

    fn put(&mut self, class: usize, block: Block) {
        if self.bytes + block.size <= FREE_LIST_BYTES {
            self.bytes += block.size;
            self.classes[class].push(block);
        }
    }
}

thread_local! {
    static FREE: RefCell<FreeList> = const {
        RefCell::new(FreeList { classes: [const { Vec::new() }; CLASSES], bytes: 0 })
    };
}

/// Bytes to allocate for `len`: a power of two, or whole pages for what is too large to be kept.
fn class_size(len: usize) -> usize {
    if len <= LARGEST_CLASS {
        len.max(BUFFER_ALIGN).next_power_of_two()
    } else {
        len.next_multiple_of(BUFFER_ALIGN)
    }
}

/// The free list's class for a block of `size`, none for blocks that are not kept.
fn class_of(size: usize) -> Option<usize> {
    let kept = size.is_power_of_two() && (BUFFER_ALIGN..=LARGEST_CLASS).contains(&size);
    kept.then(|| (size / BUFFER_ALIGN).ilog2() as usize)
}

/// Makes a new region of `len` bytes the memory of buffers of the smallest class, which this thread uses from now on as far as its free list has room.
/// Nothing but those buffers ever touches the region's bytes.
pub(super) fn region_for_buffers(len: usize) -> Arc<Region> {
    let region = Region::new(len);
    for offset in (0..region.len()).step_by(BUFFER_ALIGN) {
        let start =
            NonNull::new(region.start().wrapping_add(offset)).expect("a mapping is not at zero");
        let block = Block { start, size: BUFFER_ALIGN, home: Some(Arc::clone(&region)) };
        let _ = FREE.try_with(move |free| free.borrow_mut().put(0, block));
    }
    region
}

/// Bytes of a huge page, and where one begins.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// Shared memory that requests write from: filled front to back by one side while the other flushes it.
pub struct Region {
    /// The mapping that it is in, alone or beside others.
    map: Arc<MmapRaw>,
    offset: usize,
    len: usize,
}

impl Region {
    /// A zeroed region of at least `len` bytes, rounded up to whole pages of [`BUFFER_ALIGN`].
    ///
    /// # Panics
    ///
    /// If the machine has no memory left.
    #[must_use]
    pub fn new(len: usize) -> Arc<Region> {
        let len = len.max(1).next_multiple_of(BUFFER_ALIGN);
        let region = Region { map: Arc::new(map(len).into()), offset: 0, len };
        assert_eq!(region.start().addr() % BUFFER_ALIGN, 0, "mappings start on a page");
        Arc::new(region)
    }

    /// `count` zeroed regions of `len` bytes, a multiple of [`BUFFER_ALIGN`], side by side: in huge pages, if together they fill one and the kernel has
    /// any. A device takes a large write in one piece then, not in one for each small page (docs/decisions/0033-large-writes.md).
    ///
    /// # Panics
    ///
    /// If the machine has no memory left.
    #[must_use]
    pub fn row(len: usize, count: usize) -> Vec<Arc<Region>> {
        assert!(len > 0 && len.is_multiple_of(BUFFER_ALIGN), "regions lie side by side");
        let mut offset = 0;
        let map = match len * count {
            small @ ..HUGE_PAGE => map(small),
            all => {
                let map = map(all + HUGE_PAGE);
                // What lies in front and behind is address space only, advised too lest the kernel keeps a list of such pieces.
                offset = map.as_ptr().align_offset(HUGE_PAGE);
                // When the kernel does not take it, the memory works all the same.
                let _ = map.advise(Advice::HugePage);
                map
            }
        };
        let map = Arc::new(MmapRaw::from(map));
        let region = |at| Region { map: Arc::clone(&map), offset: offset + at * len, len };
        (0..count).map(|at| Arc::new(region(at))).collect()
    }

    /// A region that holds a copy of `bytes`, padded with zeros to a multiple of [`BUFFER_ALIGN`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Arc<Region> {
        let region = Region::new(bytes.len());
        // SAFETY: nobody else knows this region yet.
        unsafe { region.write(0, bytes) };
        region
    }

    /// Length in bytes, a multiple of [`BUFFER_ALIGN`].
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Hints to the CPU that the bytes `start..start + len` will be looked at soon.
    pub(crate) fn fetch(&self, start: usize, len: usize) {
        crate::prefetch::fetch_range(self.start().wrapping_add(start), len);
    }

    /// The bytes `start..start + len`.
    ///
    /// # Safety
    ///
    /// Nobody writes any of these bytes while the slice lives.
    ///
    /// # Panics
    ///
    /// If the range is not inside the region.
    #[must_use]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &[u8] {
        self.check(start, len);
        // SAFETY: inside the mapping, initialised by it; the caller keeps writers away.
        unsafe { slice::from_raw_parts(self.start().add(start), len) }
    }

    /// Copies `bytes` to `start`.
    ///
    /// # Safety
    ///
    /// The caller alone may touch `start..start + bytes.len()`: nobody else reads or writes it, no request in flight
    /// covers it, no slice of it is alive.
    ///
    /// # Panics
    ///
    /// If the range is not inside the region.
    pub unsafe fn write(&self, start: usize, bytes: &[u8]) {
        self.check(start, bytes.len());
        // SAFETY: inside the mapping; the caller has the sole right to the range, so `bytes` cannot overlap it
        // either.
        unsafe { self.start().add(start).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Where the region starts, for the kernel. A ring that registers a region knows it again by this address: it
    /// holds the region too, so that nothing else can come to lie there.
    pub(super) fn start(&self) -> *mut u8 {
        self.map.as_mut_ptr().wrapping_add(self.offset)
    }

    /// Whether `start..start + len` lies inside.
    pub(super) fn holds(&self, start: usize, len: usize) -> bool {
        start.checked_add(len).is_some_and(|end| end <= self.len())
    }

    fn check(&self, start: usize, len: usize) {
        assert!(
            self.holds(start, len),
            "{len} bytes at {start} are outside a region of {}",
            self.len()
        );
    }
}

/// Zeroed memory of `len` bytes.
fn map(len: usize) -> MmapMut {
    MmapMut::map_anon(len)
        .unwrap_or_else(|error| panic!("no memory for a region of {len} bytes: {error}"))
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows that every size is aligned and readable; O_DIRECT would refuse a read into anything else.
    #[test]
    fn buffers_are_aligned_and_initialised() {
        for len in [0, 1, 512, 4095, 4096, 4097, 100_000, LARGEST_CLASS, LARGEST_CLASS + 1, 9 << 20]
        {
            let mut buffer = AlignedBuf::new(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().addr() % BUFFER_ALIGN, 0);
            assert!(buffer.capacity() >= len);
            buffer.fill(0xab);
            assert!(buffer.iter().all(|&byte| byte == 0xab));
        }
    }

    /// Shows that the read path takes its memory from the free list: the same block comes back, without malloc.
    #[test]
    fn a_dropped_buffer_is_used_again() {
        let first = AlignedBuf::new(4096).as_ptr().addr();
        assert_eq!(AlignedBuf::new(3000).as_ptr().addr(), first);
    }

    /// Shows that a burst of buffers does not stay in memory for ever: the free list keeps its bound.
    #[test]
    fn the_free_list_is_bounded() {
        let burst: Vec<_> = (0..64).map(|_| AlignedBuf::new(LARGEST_CLASS)).collect();
        drop(burst);
        let kept = FREE.with(|free| free.borrow().bytes);
        assert_eq!(kept, FREE_LIST_BYTES);
        let counted: usize =
            FREE.with(|free| free.borrow().classes.iter().flatten().map(|block| block.size).sum());
        assert_eq!(counted, kept);
    }

    /// Shows that a buffer may be dropped on another thread than it was made on, as completions across threads do.
    #[test]
    fn buffers_move_between_threads() {
        let mut buffer = AlignedBuf::new(8192);
        buffer[8191] = 7;
        let last = std::thread::spawn(move || buffer[8191]).join().expect("the thread ends");
        assert_eq!(last, 7);
    }

    /// Shows that regions in a row are zero and apart: one that reached into the next would put one block's records into another's. The row's memory
    /// stays as long as any of them does.
    #[test]
    fn regions_in_a_row_are_apart() {
        for (len, count) in [(BUFFER_ALIGN, 3), (HUGE_PAGE / 2, 2), (HUGE_PAGE, 1), (5 << 20, 2)] {
            let mut row = Region::row(len, count);
            let align = if len * count < HUGE_PAGE { BUFFER_ALIGN } else { HUGE_PAGE };
            assert_eq!(row[0].start().addr() % align, 0);
            for (at, region) in row.iter().enumerate() {
                assert!(region.len() == len && region.holds(0, len) && !region.holds(1, len));
                // SAFETY: nobody else knows the row.
                unsafe {
                    assert!(region.slice(0, len).iter().all(|&byte| byte == 0));
                    region.write(0, &vec![at as u8 + 1; len]);
                }
            }
            let last = row.pop().expect("there is one");
            for (at, region) in row.drain(..).enumerate() {
                // SAFETY: as above.
                assert!(unsafe { region.slice(0, len) }.iter().all(|&byte| byte == at as u8 + 1));
            }
            // SAFETY: as above.
            assert!(unsafe { last.slice(0, len) }.iter().all(|&byte| byte == count as u8));
        }
    }

    /// Shows that a region is zero at first, padded to whole pages, and refuses a range outside: a wrong offset in a
    /// write buffer must stop the program, not write another record's memory.
    #[test]
    fn regions_are_padded_and_checked() {
        let region = Region::from_bytes(&[1, 2, 3]);
        assert_eq!(region.len(), BUFFER_ALIGN);
        // SAFETY: nobody writes to it.
        let bytes = unsafe { region.slice(0, region.len()) };
        assert_eq!(&bytes[..4], &[1, 2, 3, 0]);
        assert!(bytes[3..].iter().all(|&byte| byte == 0));
        assert!(region.holds(4096, 0));
        assert!(!region.holds(4096, 1));
        assert!(!region.holds(usize::MAX, 2));
    }
}
