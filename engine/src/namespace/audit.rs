//! Counts again what the namespace keeps count of, for tests: the index against the blocks and the counters.

use std::collections::HashMap;

use super::Namespace;
use crate::{
    model::PARTITIONS,
    storage::blocks::{BlockState, cost},
};

impl Namespace {
    /// Compares the live bytes of every block, the number of tombstones and the free blocks with what the index says. To be called while
    /// nothing else goes on.
    ///
    /// # Errors
    ///
    /// The first difference, in words.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        let (mut in_use, mut tombstones, mut entries) = (HashMap::<u32, u64>::new(), 0, Vec::new());
        for partition in 0..PARTITIONS as u16 {
            self.index.page(partition, None, usize::MAX / 2, &mut entries);
        }
        for (_, entry) in &entries {
            let Some((block, _)) = self.shared.blocks.locate(entry.location) else {
                return Err(format!("{entry:?} lies on no device"));
            };
            *in_use.entry(block).or_default() += u64::from(cost(entry.size, entry.tombstone));
            tombstones += u64::from(entry.tombstone);
        }
        if tombstones != self.counters.tombstones.get() {
            return Err(format!(
                "{tombstones} tombstones, counted {}",
                self.counters.tombstones.get()
            ));
        }
        for (number, block) in (0..).zip(self.shared.blocks.iter()) {
            let found = in_use.get(&number).copied().unwrap_or(0);
            let (counted, state) = (u64::from(block.in_use()), block.state());
            let fits = found == counted
                && (found == 0 || !matches!(state, BlockState::Free | BlockState::Emptied))
                && (found > 0 || state != BlockState::Sealed);
            if !fits {
                return Err(format!(
                    "block {number}, {state:?}: {found} live bytes, counted {counted}"
                ));
            }
        }
        let all: u64 = in_use.values().sum();
        if all != self.shared.in_use() {
            return Err(format!("{all} bytes in use, counted {}", self.shared.in_use()));
        }
        let free =
            self.shared.blocks.iter().filter(|block| block.state() == BlockState::Free).count();
        let listed: u32 = self.shared.stores.iter().map(|store| store.free_blocks()).sum();
        if free as u32 != listed {
            return Err(format!("{free} free blocks, {listed} in the lists"));
        }
        Ok(())
    }
}
