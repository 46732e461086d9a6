//! Reading what can be read of a block that gives errors.

use super::Recovery;
use crate::device::{AlignedBuf, reactor};

/// What is read at once where a block cannot be read as a whole, in bytes.
const PIECE: usize = 4096;

impl Recovery<'_> {
    /// The first `len` bytes of a block that could not be read as a whole: piece by piece, with zeros for what cannot be read, and
    /// whether that was nothing.
    pub(super) fn salvage(&self, block: u32, len: usize) -> (AlignedBuf, bool) {
        let store = self.shared.store_of(block);
        let (base, piece) = (self.offset(store, block), (store.sector as usize).max(PIECE));
        let (mut bytes, mut complete) = (AlignedBuf::new(len), true);
        bytes.fill(0);
        for start in (0..len).step_by(piece) {
            let part = piece.min(len - start);
            let read = store.device.read(AlignedBuf::new(part), part, base + start as u64);
            match reactor::block_on(read) {
                Ok(read) => bytes[start..start + part].copy_from_slice(&read[..part]),
                Err(error) => {
                    complete = false;
                    self.shared.blocks.get(block).be_unsure();
                    self.damage(
                        block,
                        &format!("bytes {start} to {} cannot be read: {error}", start + part),
                    );
                }
            }
        }
        (bytes, complete)
    }
}
