//! Taking up what a namespace held when it stopped: the index, warm or cold, the counts of its sets, and the state of every block.
//!
//! The saved index is used only if every device names the same one and all of it is sound; else the records are asked. Either way the devices'
//! headers say durably that the saved index is void before anything is written.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use super::OpenOptions;
use crate::{
    device::reactor,
    error::OpenError,
    format::{LINKS, Truncation},
    index::Index,
    namespace::{Counters, StartKind, rebuild::Rebuild, reload, sets::Sets},
    storage::{
        Shared,
        blocks::BlockState,
        open::DeviceSet,
        recover::{Recovery, Tally},
    },
};

/// A namespace on its way up.
pub(super) struct Starting<'a> {
    pub(super) options: &'a OpenOptions,
    pub(super) set: &'a DeviceSet,
    pub(super) shared: Shared,
    pub(super) index: Index,
    pub(super) sets: Sets,
    pub(super) counters: Counters,
    pub(super) tally: Tally,
    pub(super) truncations: Vec<Truncation>,
    pub(super) started: Duration,
}

impl Starting<'_> {
    /// Takes everything up and says how.
    pub(super) fn run(&mut self) -> Result<StartKind, OpenError> {
        let kind = if self.set.fresh {
            StartKind::Fresh
        } else if self.load_checkpoint()? {
            StartKind::Warm
        } else {
            StartKind::Cold
        };
        // From here on the checkpoint is void, and whatever is written belongs to the new incarnation.
        for (member, store) in self.set.members.iter().zip(&self.shared.stores) {
            let truncations = &self.truncations;
            let written = store.superblock.update(&store.device, |header| {
                header.clean = false;
                header.checkpoint = None;
                header.truncations.clone_from(truncations);
            });
            written.map_err(|source| OpenError::Io {
                path: member.path.clone(),
                doing: "writing the device header",
                source,
            })?;
        }
        if kind == StartKind::Cold {
            self.recover()?;
        }
        self.settle_blocks();
        Ok(kind)
    }

    fn load_checkpoint(&mut self) -> Result<bool, OpenError> {
        let headers = || self.set.members.iter().map(|member| &member.header);
        let ids: Option<Vec<u64>> =
            headers().map(|h| h.checkpoint.filter(|_| h.clean).map(|c| c.id)).collect();
        let Some(ids) = ids.filter(|ids| ids.windows(2).all(|pair| pair[0] == pair[1])) else {
            return Ok(false);
        };
        let loaded = reload::load(&self.shared, self.set, self.options, self.started);
        match loaded {
            Ok(loaded) => {
                self.tally.bytes_read.store(loaded.bytes_read, SeqCst);
                self.counters.tombstones.add(loaded.tombstones);
                self.index = loaded.index;
                self.sets = loaded.sets;
                Ok(true)
            }
            Err(why) => {
                tracing::warn!(
                    checkpoint = ids[0],
                    why,
                    "the saved index cannot be used; it is rebuilt from the records"
                );
                // What was restored of the blocks before the damage was met must not stay.
                for block in self.shared.blocks.iter().filter(|b| b.state() != BlockState::Reserved)
                {
                    block.restore(&Default::default(), BlockState::Free);
                }
                Ok(false)
            }
        }
    }

    fn recover(&mut self) -> Result<(), OpenError> {
        for (member, store) in self.set.members.iter().zip(&self.shared.stores) {
            // What is read now is served now: it must not be lost in a device's cache afterwards.
            reactor::block_on(store.device.sync()).map_err(|source| OpenError::Io {
                path: member.path.clone(),
                doing: "flushing the device's cache",
                source,
            })?;
        }
        let threads = self.options.threads;
        let rebuild =
            Rebuild::new(&self.shared, &self.index, &self.truncations, &self.tally, threads);
        let recovery = Recovery {
            shared: &self.shared,
            kind: self.options.io.kind,
            threads,
            progress: &*self.options.progress,
            // Every record takes a header at least, so that no more than this can be there, whatever a header says.
            expect: &|records| self.index.reserve(records.min(self.capacity() / 64), threads),
            sink: &|block, entries| rebuild.take(block, entries),
            finish: &|| rebuild.finish(),
            started: self.started,
            tally: &self.tally,
        };
        recovery.run().map_err(|source| OpenError::Io {
            path: self.set.members[0].path.clone(),
            doing: "reading the records",
            source,
        })?;
        rebuild.name_sets(&self.sets);
        self.counters.tombstones.add(rebuild.tombstones());
        Ok(())
    }

    fn capacity(&self) -> u64 {
        let blocks = self.shared.stores.iter().map(|store| u64::from(store.block_count));
        blocks.sum::<u64>() * self.shared.block_size
    }

    /// Gives every block the state it serves with: sealed if anything in it is live, free otherwise.
    fn settle_blocks(&mut self) {
        for store in &self.shared.stores {
            let mut sealed = Vec::new();
            for number in 1..store.block_count {
                let block = store.first_block + number;
                let state = self.shared.blocks.get(block);
                match state.state() {
                    BlockState::Reserved | BlockState::Damaged => {}
                    BlockState::Free => store.add_free(block),
                    _ if state.in_use() > 0 => {
                        state.set_state(BlockState::Sealed);
                        sealed.push((number, state.sequence()));
                    }
                    // What supersedes its records was found on the devices, so it is durable.
                    _ => {
                        state.set_state(BlockState::Emptied);
                        store.emptied_by(block, 0);
                    }
                }
            }
            store.count_in_use(&self.shared);
            sealed.sort_by_key(|&(_, sequence)| std::cmp::Reverse(sequence));
            sealed.truncate(LINKS);
            store.remember_sealed(sealed.into_iter());
        }
        if self.shared.blocks.horizon() == 0 {
            self.shared.go_on_behind_hidden();
        }
    }
}
