//! Eviction: above `evict-used-pct`, records that expire go before their time, those nearest to it first.
//!
//! 1. The index tells how much space records take by when they expire: that gives an instant, up to which records have to go.
//! 2. A cut for them, with that instant, goes durably into the device headers, so that a crash does not bring them back.
//! 3. Their blocks' footers tell which they are; they leave the index and their space is given back.
//!
//! Records that never expire are never evicted.

use std::sync::atomic::Ordering::SeqCst;

use super::{Namespace, lying::Lying};
use crate::{
    device::reactor,
    format::{FooterEntry, Truncation},
    index::{CoarseExpiry, Verdict},
    model::PARTITIONS,
    storage::{
        blocks::{BlockState, cost},
        survey,
    },
};

/// Of the space, the part that is evicted at least, so that it is not done all the time.
const STEP_PART: u64 = 200;
/// Where nothing can be evicted, the next look for something comes so many milliseconds later.
const NOTHING_GOES_MS: u64 = 10_000;
/// Bits of a remaining life that are told apart: instants are chosen to within 2 per cent of it.
const BITS: u32 = 7;

impl Namespace {
    /// Evicts if more is used than is allowed. Returns how many records went.
    pub(super) fn evict(&self) -> u64 {
        let percent = u64::from(self.evict_used_pct());
        let (used, capacity) = (self.shared.in_use(), self.shared.capacity());
        let allowed = capacity * percent / 100;
        if percent == 0 || used <= allowed {
            return 0;
        }
        // Who holds it may be closing the namespace, and waiting for this thread.
        let Some(_one_at_a_time) = self.sets.truncating.try_lock() else { return 0 };
        let now = self.shared.clock.monotonic().as_millis() as u64;
        if self.stopping.load(SeqCst) || now < self.evict_again_ms.load(SeqCst) {
            return 0;
        }
        let wanted = used - allowed + capacity / STEP_PART;
        let Some(until) = self.instant_for(wanted) else {
            // It took a look at every index entry to learn that nothing expires.
            self.evict_again_ms.store(now + NOTHING_GOES_MS, SeqCst);
            return 0;
        };
        if let Err(error) = self.check_table(0, until) {
            tracing::warn!(%error, "nothing is evicted");
            self.evict_again_ms.store(now + NOTHING_GOES_MS, SeqCst);
            return 0;
        }
        // Under the streams' locks: a record that is being moved just now is there before the cut, or is looked at again. Its block is closed,
        // so that its footer tells of it.
        let cut = self.shared.cut(|_| ());
        self.wait_until_sealed(cut);
        let eviction = Truncation { set_hash: 0, cut, until };
        if let Err(error) = self.write_cut(eviction) {
            tracing::error!(%error, "nothing is evicted: the device headers cannot be written");
            return 0;
        }
        // Only now that a crash does not bring them back may others drop them too.
        self.sets.begin_eviction(eviction);
        let evicted = self.evict_by(&eviction);
        self.counters.evicted.add(evicted);
        if evicted == 0 {
            // What expires cannot be told apart, or cannot be read: trying again at once would only write headers and close blocks.
            self.evict_again_ms.store(now + NOTHING_GOES_MS, SeqCst);
        }
        tracing::info!(evicted, used, allowed, "records were evicted before their time");
        evicted
    }

    /// The second, counted as in the index, up to which the records that expire take `wanted` bytes; `None` when none expires.
    fn instant_for(&self, wanted: u64) -> Option<u32> {
        let now = CoarseExpiry::at(self.shared.clock.now_ms()).seconds();
        let mut bytes = vec![0_u64; bucket(u32::MAX) + 1];
        for partition in 0..PARTITIONS as u16 {
            self.index.sweep(partition, |_, entry| {
                if !entry.tombstone && entry.expiry != CoarseExpiry::NEVER {
                    let remaining = entry.expiry.seconds().saturating_sub(now);
                    bytes[bucket(remaining)] += u64::from(cost(entry.size, false));
                }
                Verdict::Keep
            });
        }
        let mut sum = 0;
        let mut last = None;
        for (at, bytes) in bytes.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
            sum += bytes;
            last = Some(at);
            if sum >= wanted {
                break;
            }
        }
        last.map(|at| now.saturating_add(last_of(at)).clamp(1, CoarseExpiry::FAR - 1))
    }

    fn evict_by(&self, eviction: &Truncation) -> u64 {
        let mut evicted = 0;
        for store in &self.shared.stores {
            for block in store.blocks() {
                let state = self.shared.blocks.get(block);
                let sequence = state.sequence();
                let may_hold = state.due() != u64::MAX && state.in_use() > 0;
                if state.state() != BlockState::Sealed || !may_hold {
                    continue;
                }
                match reactor::block_on(survey::entries(&*self.shared, block)) {
                    Ok((entries, _)) => {
                        let one = |footer: &&FooterEntry| {
                            self.drop_by(eviction, Lying { footer, block, sequence })
                        };
                        evicted += entries.iter().filter(one).count() as u64;
                    }
                    Err(error) => {
                        let offset = store.offset(&self.shared, block);
                        tracing::warn!(device = store.device.name(), offset, %error, "a block that holds records to evict cannot be read");
                    }
                }
            }
        }
        evicted
    }
}

/// The bucket of a remaining life in seconds: the upper [`BITS`] bits of it, and how many there are below.
fn bucket(remaining: u32) -> usize {
    let shift = (32 - remaining.leading_zeros()).saturating_sub(BITS);
    ((shift << BITS) + (remaining >> shift)) as usize
}

/// The longest remaining life of a bucket.
fn last_of(bucket: usize) -> u32 {
    let (shift, top) = (bucket as u32 >> BITS, bucket as u32 & ((1 << BITS) - 1));
    (((u64::from(top) + 1) << shift) - 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record in the wrong bucket would be evicted while one nearer to its end stays.
    #[test]
    fn buckets_keep_the_order() {
        let mut before = 0;
        for remaining in (0..100_000).chain((100_000..u32::MAX - 10_000).step_by(9973)) {
            let at = bucket(remaining);
            assert!(at >= before, "{remaining}");
            assert!(last_of(at) >= remaining, "{remaining}: {}", last_of(at));
            assert!(u64::from(last_of(at)) <= u64::from(remaining) * 102 / 100 + 1, "{remaining}");
            before = at;
        }
    }
}
