//! A record where a block's footer says it lies, and whether the index still has it there.
//!
//! Whoever goes through a block by its footer acts on records one by one, while writers go on and the block may even begin another life. What
//! is done to a record is done under its index slot, and only if the slot names this very place in this very life.

use crate::{
    format::FooterEntry,
    index::{Entry, Slot},
    model::Location,
    storage::Shared,
};

/// A record as a footer tells of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lying<'a> {
    pub(super) footer: &'a FooterEntry,
    pub(super) block: u32,
    /// Of the life of the block that the footer belongs to.
    pub(super) sequence: u64,
}

impl Lying<'_> {
    pub(super) fn location(&self, shared: &Shared) -> Location {
        shared.blocks.location(self.block, self.footer.offset)
    }

    /// The record's index entry, if it is this record's.
    pub(super) fn entry(&self, shared: &Shared, slot: &Slot<'_>) -> Option<Entry> {
        let entry = slot.get().filter(|entry| entry.location == self.location(shared))?;
        // The slot is held: a record of a later life would have been put there before, and the life begun before that.
        (shared.blocks.get(self.block).sequence() == self.sequence).then_some(entry)
    }
}
