//! The bytes of a simulated medium, cheap to copy: chunks are shared until one copy writes to its own.
//!
//! Invariants: a chunk is never changed while another image holds it. Concurrency: none of its own.

use std::{fmt, sync::Arc};

const CHUNK: usize = 4096;

/// Bytes from 0 to a size, zero at first.
#[derive(Clone)]
pub(super) struct Image {
    chunks: Vec<Arc<[u8; CHUNK]>>,
    size: u64,
}

impl Image {
    pub(super) fn new(size: u64) -> Image {
        let count =
            usize::try_from(size.div_ceil(CHUNK as u64)).expect("a device that fits memory");
        Image { chunks: std::iter::repeat_n(Arc::new([0; CHUNK]), count).collect(), size }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) {
        self.pieces(offset, bytes.len(), |chunk, at, from, len| {
            bytes[from..from + len].copy_from_slice(&self.chunks[chunk][at..at + len]);
        });
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut chunks = std::mem::take(&mut self.chunks);
        self.pieces(offset, bytes.len(), |chunk, at, from, len| {
            let bytes = &bytes[from..from + len];
            match bytes.try_into() {
                // A whole chunk needs no copy of what was there.
                Ok(whole) => chunks[chunk] = Arc::new(whole),
                Err(_) => Arc::make_mut(&mut chunks[chunk])[at..at + len].copy_from_slice(bytes),
            }
        });
        self.chunks = chunks;
    }

    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) {
        let mut byte = [0];
        self.read(offset, &mut byte);
        self.write(offset, &[byte[0] ^ (1 << bit)]);
    }

    /// Calls `piece` with (chunk, place in the chunk, place in the range, length) for every chunk that a range
    /// touches.
    fn pieces(&self, offset: u64, len: usize, mut piece: impl FnMut(usize, usize, usize, usize)) {
        let fits = offset.checked_add(len as u64).is_some_and(|end| end <= self.size);
        assert!(fits, "{len} bytes at {offset} are outside an image of {}", self.size);
        let offset = usize::try_from(offset).expect("inside an image that fits memory");
        let mut from = 0;
        while from < len {
            let (chunk, at) = ((offset + from) / CHUNK, (offset + from) % CHUNK);
            let part = (CHUNK - at).min(len - from);
            piece(chunk, at, from, part);
            from += part;
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows that copies do not see each other's writes; a crash test would otherwise test the wrong device.
    #[test]
    fn copies_are_apart() {
        let mut first = Image::new(3 * CHUNK as u64);
        first.write(4000, &[1; 200]);
        let mut second = first.clone();
        second.write(4090, &[2; 12]);
        let (mut of_first, mut of_second) = ([0; 14], [0; 14]);
        first.read(4089, &mut of_first);
        second.read(4089, &mut of_second);
        assert_eq!(of_first, [1; 14]);
        assert_eq!(of_second, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
    }
}
