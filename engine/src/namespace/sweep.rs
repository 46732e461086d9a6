//! Looking through blocks for records that have expired, and for tombstones that guard nothing any more.
//!
//! The index alone could tell which records have expired, but not whose they were, and only by going over all of it. A block knows when
//! enough of its records have expired (`storage::due`) and its footer tells their sets, versions and exact void times: one small read for many
//! records, whose number falls with every look.

use super::{Namespace, guard::Guarding, lying::Lying};
use crate::{
    device::reactor,
    format::FooterEntry,
    model::NEVER,
    storage::{blocks::BlockState, due, survey},
};

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
        let horizon = guarding.known();
        let mut looked = 0;
        for store in &self.shared.stores {
            for block in store.blocks() {
                let state = self.shared.blocks.get(block);
                let due = state.due() <= now || state.guard() < horizon;
                if state.state() != BlockState::Sealed || !due {
                    continue;
                }
                let sequence = state.sequence();
                match reactor::block_on(survey::entries(&*self.shared, block)) {
                    Ok((entries, _)) => {
                        self.look_through((block, sequence), &entries, now, &mut guarding);
                    }
                    Err(error) => {
                        let offset = store.offset(&self.shared, block);
                        tracing::warn!(device = store.device.name(), offset, %error, "a block with expired records cannot be read");
                        state.looked_through(now + OPEN_PATIENCE_MS, u64::MAX);
                    }
                }
                looked += 1;
                if enough() {
                    return looked;
                }
            }
            for (block, sequence, entries) in store.open_due(now.saturating_sub(OPEN_PATIENCE_MS)) {
                self.look_through((block, sequence), &entries, now, &mut guarding);
                looked += 1;
            }
        }
        looked
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
        if state.sequence() == sequence {
            state.looked_through(due::when(left.into_iter(), now), guard);
        }
    }
}
