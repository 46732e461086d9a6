//! Looking through blocks for records that have expired, and for tombstones that guard nothing any more.
//!
//! The index alone could tell which records have expired, but not whose they were, and only by going over all of it. A block knows when
//! enough of its records have expired (`storage::due`) and its footer tells their sets, versions and exact void times: one small read for many
//! records, whose number falls with every look.

use std::sync::atomic::Ordering::Relaxed;

use futures_util::{StreamExt, stream};

use super::{Namespace, guard::Guarding, lying::Lying};
use crate::{
    device::reactor,
    format::FooterEntry,
    model::NEVER,
    storage::{blocks::BlockState, due, survey},
};

/// Footers being read at once.
const FOOTERS_IN_FLIGHT: usize = 8;
/// Records in an open block that have expired are left for so long: mostly it is sealed before.
const OPEN_PATIENCE_MS: u64 = 5_000;

impl Namespace {
    /// Looks through the blocks that are due, until `enough` says so after one of them. Returns how many there were.
    pub(super) fn sweep_due(&self, enough: &mut dyn FnMut() -> bool) -> u64 {
        let now = self.shared.clock.now_ms();
        let mut guarding = match self.counters.tombstones.get() {
            // Without tombstones there is nothing that the horizon could let go.
            0 => Guarding::default(),
            _ => Guarding::now(self),
        };
        let open = self.shared.stores.iter();
        let open = open.flat_map(|store| store.open_due(now.saturating_sub(OPEN_PATIENCE_MS)));
        let mut looked = 0;
        for (block, sequence, entries) in open {
            self.look_through((block, sequence), &entries, now, &mut guarding);
            looked += 1;
        }
        let footers = self.due_blocks(now, guarding.known()).map(|block| async move {
            let sequence = self.shared.blocks.get(block).sequence();
            (block, sequence, survey::entries(&*self.shared, block).await)
        });
        let mut footers = stream::iter(footers).buffered(FOOTERS_IN_FLIGHT);
        while let Some((block, sequence, footer)) = reactor::block_on(footers.next()) {
            match footer {
                Ok((entries, _)) => {
                    self.look_through((block, sequence), &entries, now, &mut guarding);
                }
                Err(error) => {
                    let store = self.shared.store_of(block);
                    let offset = store.offset(&self.shared, block);
                    tracing::warn!(device = store.device.name(), offset, %error, "a block with expired records cannot be read");
                    let state = self.shared.blocks.get(block);
                    state.looked_through(now + OPEN_PATIENCE_MS, u64::MAX);
                }
            }
            looked += 1;
            self.sweep_from.store(block + 1, Relaxed);
            if enough() {
                break;
            }
        }
        looked
    }

    /// The blocks that are due, beginning where the last round ended: one that is cut short must not leave the same blocks out each time.
    fn due_blocks(&self, now: u64, horizon: u64) -> impl Iterator<Item = u32> {
        let count = self.shared.blocks.iter().len() as u32;
        let from = self.sweep_from.load(Relaxed) % count;
        (from..count).chain(0..from).filter(move |&block| {
            let state = self.shared.blocks.get(block);
            let due = state.due() <= now || state.guard() < horizon;
            due && state.state() == BlockState::Sealed
        })
    }

    fn look_through(
        &self,
        (block, sequence): (u32, u64),
        entries: &[FooterEntry],
        now: u64,
        guarding: &mut Guarding,
    ) {
        let mut left = Vec::new();
        let mut guard = u64::MAX;
        for entry in entries {
            let expired = entry.void_time.expired(now);
            if !expired && !entry.tombstone {
                if entry.void_time != NEVER {
                    left.push(entry.void_time);
                }
                continue;
            }
            let lying = Lying { footer: entry, block, sequence };
            if !self.let_go(lying, guarding) {
                self.demote(lying);
                guard = guard.min(entry.version.sequence);
            }
        }
        let state = self.shared.blocks.get(block);
        // An open one is not done with: what it holds is seen when it is sealed.
        if state.sequence() == sequence && state.state() == BlockState::Sealed {
            state.looked_through(due::when(left.into_iter(), now), guard);
        }
    }
}
