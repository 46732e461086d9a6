//! Hints to the CPU about memory that will be used soon.

/// Hints to the CPU that the memory at `place` will be used.
#[inline]
pub(crate) fn fetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and cannot fault, whatever the address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Hints to the CPU that the `len` bytes at `place` will be used.
pub(crate) fn fetch_range(place: *const u8, len: usize) {
    // From the start of the line that the first byte lies in: ranges seldom start with one.
    let before = place.addr() % CACHE_LINE;
    for at in (0..before + len).step_by(CACHE_LINE) {
        fetch(place.wrapping_add(at).wrapping_sub(before));
    }
}

/// Bytes that the CPU fetches at once.
const CACHE_LINE: usize = 64;
