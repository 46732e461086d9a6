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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        device::{IoChoice, IoEngine, sim::SimDevice},
        index::CoarseExpiry,
        model::{Digest, NEVER, SizeClass, Version},
        namespace::{DeviceConfig, Namespace, NamespaceConfig, OpenOptions},
    };

    /// A footer was read, and the block has begun another life, in which the same key lies in the same place. Moved, what was read would take
    /// the place of a newer version.
    #[test]
    fn a_record_of_an_earlier_life_is_not_there() {
        let config = NamespaceConfig::new("test", vec![DeviceConfig::Raw("sim0".into())]);
        let options = OpenOptions::new(IoEngine::choose(IoChoice::Pool).expect("a pool"));
        let device = Arc::new(SimDevice::new("sim0", 8 << 20, 512, 1));
        let namespace = Namespace::open_driven(&config, &options, vec![device]).expect("it opens");
        let shared = &namespace.shared;
        let footer = FooterEntry {
            digest: Digest(7),
            version: Version::ZERO,
            void_time: NEVER,
            generation: 1,
            set_hash: 1,
            offset: 1024,
            size: SizeClass::for_bytes(100),
            tombstone: false,
        };
        let entry = Entry {
            location: shared.blocks.location(2, footer.offset),
            size: footer.size,
            generation: 1,
            expiry: CoarseExpiry::NEVER,
            tombstone: false,
            older: false,
        };
        let sequence = shared.blocks.get(2).sequence();
        let there = |block, offset, sequence| {
            let footer = FooterEntry { offset, ..footer };
            let lying = Lying { footer: &footer, block, sequence };
            namespace.index.with_slot(footer.digest, |slot| lying.entry(shared, slot))
        };
        assert_eq!(there(2, 1024, sequence), None, "nothing is there");
        namespace.index.with_slot(footer.digest, |slot| slot.set(entry));
        assert_eq!(there(2, 1024, sequence), Some(entry));
        assert_eq!(there(2, 1024, sequence + 1), None, "of another life");
        assert_eq!(there(2, 2048, sequence), None, "in another place");
        assert_eq!(there(3, 1024, sequence), None, "in another block");
    }
}
