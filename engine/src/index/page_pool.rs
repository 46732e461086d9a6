//! The memory of all segments: pages, handed out one by one and taken back.
//!
//! Pages lie in chunks of 2 MiB, and the chunks side by side in one range of addresses that is reserved at the start
//! (reserved addresses cost nothing) and made accessible chunk by chunk. So a page's number gives its address without
//! a table, and **a page once handed out stays readable as long as the pool lives**, even when it was taken back: a
//! reader that raced with a writer may look at a page that is no longer its own, gets nonsense, and finds out by the
//! partition's sequence. Slots are atomics for the same reason.
//!
//! The lowest chunk with a free page serves first, so that chunks at the end run empty; a chunk without any page in
//! use gives its memory back to the system. The first chunks are filled by small system pages and joined into a huge
//! page when full (a small index does not pay for a half-used huge page); later ones, and all of an index that is known to become large, are
//! huge from the start.
//!
//! Concurrency: one mutex around the lists of free pages, taken once per page handed out or taken back.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use parking_lot::Mutex;

use super::page::Page;

const PAGE_BYTES: usize = size_of::<Page>();
const CHUNK_BYTES: usize = 2 << 20;
const CHUNK_PAGES: u32 = (CHUNK_BYTES / PAGE_BYTES) as u32;
const CHUNK_WORDS: usize = CHUNK_PAGES.div_ceil(64) as usize;
/// A page's number: the chunk, then this many bits for the page in its chunk.
const IN_CHUNK_BITS: u32 = 12;
const _: () = assert!(CHUNK_PAGES <= 1 << IN_CHUNK_BITS && PAGE_BYTES == 640);

/// Addresses asked for at first (about eleven thousand million records); halved until the system agrees.
const RESERVE_BYTES: usize = 256 << 30;
const RESERVE_BYTES_MIN: usize = 64 << 20;
/// So many chunks start with small system pages in an index of unknown size: 64 MiB, above it half a chunk is less than 2 % of the whole.
const SMALL_START_CHUNKS: usize = 32;
const SYSTEM_PAGE: u64 = 4096;
/// `MADV_COLLAPSE` (Linux 6.1): join the range into huge pages now.
const MADV_COLLAPSE: libc::c_int = 25;

/// The pages of one index.
pub struct PagePool {
    base: NonNull<u8>,
    mapping: NonNull<u8>,
    mapped_bytes: usize,
    max_chunks: usize,
    /// Chunks below this number start with small system pages.
    small_start: usize,
    resident: AtomicU64,
    state: Mutex<State>,
}

// SAFETY: the pointers name memory that the pool owns alone and unmaps when dropped; all access to pages goes through atomics,
// all other state is behind the mutex.
unsafe impl Send for PagePool {}
// SAFETY: as above.
unsafe impl Sync for PagePool {}

struct State {
    chunks: Vec<Chunk>,
    /// No chunk below this one has a free page.
    lowest: usize,
    free_pages: u64,
}

struct Chunk {
    free: [u64; CHUNK_WORDS],
    free_count: u32,
    /// Pages up to here were touched since the chunk last had no memory.
    touched: u32,
    huge: bool,
}

impl PagePool {
    /// A pool without any page, of which about so many will be asked for soon; 0 when nobody knows.
    ///
    /// # Panics
    /// When the system refuses even a small range of addresses.
    pub fn expecting(pages: u64) -> Self {
        let large = pages >= SMALL_START_CHUNKS as u64 * u64::from(CHUNK_PAGES);
        let small_start = if large { 0 } else { SMALL_START_CHUNKS };
        let (mapping, mapped_bytes) = reserve_addresses();
        let skip = mapping.as_ptr().align_offset(CHUNK_BYTES);
        // SAFETY: the mapping is larger than a chunk, so the aligned start lies within it.
        let base = unsafe { mapping.add(skip) };
        let max_chunks = ((mapped_bytes - skip) / CHUNK_BYTES).min(1 << (32 - IN_CHUNK_BITS));
        let state = State { chunks: Vec::new(), lowest: 0, free_pages: 0 };
        Self {
            base,
            mapping,
            mapped_bytes,
            max_chunks,
            small_start,
            resident: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// Hands out a page; its slots hold anything.
    ///
    /// # Panics
    /// When memory or the reserved addresses are used up.
    pub fn allocate(&self) -> u32 {
        let mut state = self.state.lock();
        let number = self.chunk_with_room(&mut state);
        state.free_pages -= 1;
        let chunk = &mut state.chunks[number];
        let before = chunk.resident();
        let page = chunk.take();
        self.resident.fetch_add(chunk.resident() - before, Ordering::Relaxed);
        let join = chunk.free_count == 0 && !chunk.huge;
        chunk.huge |= join;
        drop(state);
        if join {
            self.join_chunk(number);
        }
        // Whoever reads what the caller now writes to the page must also see that its last owner has begun to change
        // (pairs with the acquire fence at the end of an optimistic read).
        fence(Ordering::Release);
        (number as u32) << IN_CHUNK_BITS | page
    }

    /// Takes a page back.
    pub fn release(&self, page: u32) {
        let number = (page >> IN_CHUNK_BITS) as usize;
        let mut state = self.state.lock();
        state.free_pages += 1;
        state.lowest = state.lowest.min(number);
        let spare = state.free_pages >= 2 * u64::from(CHUNK_PAGES);
        let chunk = &mut state.chunks[number];
        chunk.put_back(page & ((1 << IN_CHUNK_BITS) - 1));
        if chunk.free_count == CHUNK_PAGES && spare {
            self.resident.fetch_sub(chunk.resident(), Ordering::Relaxed);
            chunk.touched = 0;
            chunk.huge = number >= self.small_start;
            self.advise(number, libc::MADV_DONTNEED);
        }
    }

    /// The page with this number, which was handed out at some time.
    #[inline]
    pub fn page(&self, number: u32) -> &Page {
        let chunk = (number >> IN_CHUNK_BITS) as usize;
        let page = (number & ((1 << IN_CHUNK_BITS) - 1)) as usize;
        // SAFETY: only numbers that `allocate` returned are ever stored in segments, so the page lies in an accessible
        // chunk, aligned to 64 bytes; the mapping lives as long as `self`; any bytes are valid atomics.
        unsafe { self.base.add(chunk * CHUNK_BYTES + page * PAGE_BYTES).cast().as_ref() }
    }

    /// Bytes of memory that pages and free lists take from the system.
    pub fn memory_bytes(&self) -> u64 {
        let lists = self.state.lock().chunks.capacity() * size_of::<Chunk>();
        self.resident.load(Ordering::Relaxed) + lists as u64
    }

    /// Pages handed out and not taken back.
    #[cfg(test)]
    pub fn pages_in_use(&self) -> u64 {
        let state = self.state.lock();
        state.chunks.len() as u64 * u64::from(CHUNK_PAGES) - state.free_pages
    }

    fn chunk_with_room(&self, state: &mut State) -> usize {
        while state.chunks.get(state.lowest).is_some_and(|chunk| chunk.free_count == 0) {
            state.lowest += 1;
        }
        if state.lowest == state.chunks.len() {
            self.open_chunk(state.lowest);
            state.chunks.push(Chunk::new(state.lowest >= self.small_start));
            state.free_pages += u64::from(CHUNK_PAGES);
        }
        state.lowest
    }

    fn open_chunk(&self, number: usize) {
        assert!(
            number < self.max_chunks,
            "the index has used up its {} MiB of addresses",
            self.max_chunks * 2
        );
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the chunk lies within the mapping, which this pool owns; nobody has a reference into it yet.
        let result = unsafe {
            libc::mprotect(self.chunk_start(number).as_ptr().cast(), CHUNK_BYTES, access)
        };
        assert!(result == 0, "no memory for the index: {}", std::io::Error::last_os_error());
        if number >= self.small_start {
            self.advise(number, libc::MADV_HUGEPAGE);
        }
    }

    /// Joins a chunk's small system pages into a huge one; where the kernel cannot do it now, asks it to do it some time.
    fn join_chunk(&self, number: usize) {
        self.resident.fetch_add(CHUNK_BYTES as u64 - small_bytes(CHUNK_PAGES), Ordering::Relaxed);
        self.advise(number, libc::MADV_HUGEPAGE);
        self.advise(number, MADV_COLLAPSE);
    }

    /// Advice only: when the kernel does not take it, the memory works all the same.
    fn advise(&self, number: usize, advice: libc::c_int) {
        // SAFETY: the chunk lies within the mapping. `MADV_DONTNEED` turns it to zeros; it is given only while no page of
        // the chunk is in use, and late optimistic readers read atomics and drop what they saw.
        unsafe { libc::madvise(self.chunk_start(number).as_ptr().cast(), CHUNK_BYTES, advice) };
    }

    fn chunk_start(&self, number: usize) -> NonNull<u8> {
        // SAFETY: callers name chunks below `max_chunks`, all of which lie within the mapping.
        unsafe { self.base.add(number * CHUNK_BYTES) }
    }
}

impl Drop for PagePool {
    fn drop(&mut self) {
        // SAFETY: the mapping is this pool's own and references to pages borrow the pool, so none is left.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.mapped_bytes) };
    }
}

impl Chunk {
    fn new(huge: bool) -> Self {
        let mut free = [u64::MAX; CHUNK_WORDS];
        let last = CHUNK_PAGES % 64;
        if last != 0 {
            free[CHUNK_WORDS - 1] = (1 << last) - 1;
        }
        Self { free, free_count: CHUNK_PAGES, touched: 0, huge }
    }

    /// The lowest free page. There is one.
    fn take(&mut self) -> u32 {
        let word = self
            .free
            .iter()
            .position(|&word| word != 0)
            .expect("a chunk with room has a free page");
        let bit = self.free[word].trailing_zeros();
        self.free[word] &= !(1 << bit);
        self.free_count -= 1;
        let page = word as u32 * 64 + bit;
        self.touched = self.touched.max(page + 1);
        page
    }

    fn put_back(&mut self, page: u32) {
        let (word, bit) = (page as usize / 64, 1 << (page % 64));
        assert!(self.free[word] & bit == 0, "a page is taken back twice");
        self.free[word] |= bit;
        self.free_count += 1;
    }

    fn resident(&self) -> u64 {
        match (self.touched, self.huge) {
            (0, _) => 0,
            (_, true) => CHUNK_BYTES as u64,
            (pages, false) => small_bytes(pages),
        }
    }
}

/// Bytes that the first `pages` pages of a chunk touch in small system pages.
fn small_bytes(pages: u32) -> u64 {
    (u64::from(pages) * PAGE_BYTES as u64).next_multiple_of(SYSTEM_PAGE)
}

fn reserve_addresses() -> (NonNull<u8>, usize) {
    let mut bytes = RESERVE_BYTES;
    loop {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address the kernel chooses.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if start != libc::MAP_FAILED {
            return (
                NonNull::new(start.cast()).expect("mmap never returns null without MAP_FIXED"),
                bytes,
            );
        }
        assert!(
            bytes > RESERVE_BYTES_MIN,
            "no addresses for the index: {}",
            std::io::Error::last_os_error()
        );
        bytes /= 2;
    }
}
