//! Truncation: all records of a set or a namespace are gone, durably, at once.
//!
//! 1. Every open block is closed at one version, the cut: what was written before lies in older blocks.
//! 2. It counts for every operation at once: an index entry that points into a block born before the cut is gone.
//! 3. The cut goes into the device headers. From here on a crash does not bring the records back.
//! 4. The entries are swept out of the index and their space is given back. The footers of the older blocks tell which they are.
//!
//! The cut stays in the headers until no dead version older than it is left on any device.

use std::sync::Arc;

use super::{
    Namespace,
    lying::Lying,
    sets::{add_cut, takes},
};
use crate::{
    device::{Completion, reactor},
    error::Error,
    format::{Truncation, truncations_max},
    index::{CoarseExpiry, Entry},
    model::Version,
    storage::{failed, store::Store, survey},
};

/// What became of a record that was to be moved, by the cuts under way.
pub(super) enum Dropped {
    /// It is to be moved, if it is still there: an evicted one perhaps as a tombstone.
    No,
    /// It is not to be moved.
    Done,
    /// That is not decided yet: whoever decides it wakes those who wait for room.
    NotYet,
}

impl Namespace {
    /// Removes all records of `set`, or of the whole namespace, that were written before the call. Durable when it returns. Returns how
    /// many records there were.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyTruncations`], [`Error::DeviceFailed`] (in doubt), [`Error::Stopping`], [`Error::InvalidKey`] for a name that no set can have.
    pub async fn truncate(self: &Arc<Self>, set: Option<&str>) -> Result<u64, Error> {
        self.check_open()?;
        let set_hash = match set {
            Some(name) => {
                crate::model::check_set_name(name)?;
                self.secret.set_hash(name)
            }
            None => 0,
        };
        if self.driven.is_some() {
            return self.truncate_blocking(set_hash);
        }
        // It waits for flushes and reads many footers: not on a thread that serves others.
        let (completer, completion) = Completion::pair();
        let namespace = Arc::clone(self);
        let thread = std::thread::Builder::new().name("cairn-truncate".into());
        let started =
            thread.spawn(move || completer.complete(Ok(namespace.truncate_blocking(set_hash))));
        if started.is_err() {
            return Err(Error::InvalidRequest("no thread could be started for the truncation"));
        }
        completion.await.unwrap_or(Err(Error::Stopping { in_doubt: true }))
    }

    fn truncate_blocking(&self, set_hash: u64) -> Result<u64, Error> {
        let _one_at_a_time = self.sets.truncating.lock();
        self.check_open()?;
        // The cut goes into every device's header, and a fenced device takes no more writes.
        if let Some((store, cause)) =
            self.shared.stores.iter().find_map(|store| Some((store, store.failure()?)))
        {
            return Err(failed(store, cause, false));
        }
        self.check_table(set_hash, 0)?;
        let truncation = |cut| Truncation { set_hash, cut, until: 0 };
        let cut = self.shared.cut(|cut| self.sets.begin_sweep(truncation(cut)));
        let truncation = truncation(cut);
        // Half of a group is not cut off durably before the whole of it is there: a crash would leave what the other half was before.
        if self.shared.stores.iter().any(Store::binds) {
            self.wait_until_sealed(cut);
        }
        let written = self.write_cut(truncation);
        self.sets.decided(truncation, written.is_ok());
        self.shared.stores.iter().for_each(|store| store.room.wake_all());
        written?;
        let (removed, complete) = self.sweep(truncation);
        // While it is not complete, the cut hides what is left, and the next start leaves it out.
        if complete {
            self.sets.end_sweep(truncation);
        }
        Ok(removed)
    }

    /// The cuts that still guard something, with `new` among them.
    fn table_with(&self, new: Truncation) -> Vec<Truncation> {
        let horizon = self.shared.blocks.horizon();
        let mut table = self.shared.stores[0].superblock.header().truncations;
        let now = CoarseExpiry::at(self.shared.clock.now_ms()).seconds();
        // A cut up to the horizon guards nothing any more, once what it cuts off is counted as dead; nor does one of records that have all
        // expired since.
        table.retain(|old| {
            let passed = old.until != 0 && old.until < now;
            // What the eviction under way has not met yet still goes by it when it is moved.
            ((old.cut.sequence > horizon || self.sets.evicts_by(old)) && !passed)
                || self.sets.sweeps(old)
        });
        add_cut(&mut table, new);
        table
    }

    /// Whether one more cut has room in the device headers.
    pub(super) fn check_table(&self, set_hash: u64, until: u32) -> Result<(), Error> {
        let cut = Version { sequence: u64::MAX, ..self.shared.version_now() };
        let table = self.table_with(Truncation { set_hash, cut, until });
        if table.len() > truncations_max(self.shared.block_size, self.shared.stores.len()) {
            return Err(Error::TooManyTruncations(table.len() - 1));
        }
        Ok(())
    }

    pub(super) fn write_cut(&self, new: Truncation) -> Result<(), Error> {
        let table = self.table_with(new);
        for store in &self.shared.stores {
            let written = store.superblock.update(&store.device, |header| {
                header.truncations.clone_from(&table);
                header.version = header.version.max(new.cut);
            });
            written.map_err(|error| {
                self.shared.fence(store, &error.to_string());
                failed(store, &error.to_string(), true)
            })?;
        }
        Ok(())
    }

    /// Removes the truncation's entries. Returns how many records they were, and whether all blocks could be read.
    fn sweep(&self, truncation: Truncation) -> (u64, bool) {
        self.wait_until_sealed(truncation.cut);
        let (mut removed, mut complete) = (0, true);
        for store in &self.shared.stores {
            // What a failed device never got lies in RAM alone, without a footer to tell of it.
            complete &= store.is_sealed_below(truncation.cut);
            for block in store.blocks() {
                let state = self.shared.blocks.get(block);
                if state.birth_sequence() >= truncation.cut.sequence || state.in_use() == 0 {
                    continue;
                }
                let sequence = state.sequence();
                match reactor::block_on(survey::entries(&*self.shared, block)) {
                    Ok((entries, all)) => {
                        complete &= all;
                        let gone = entries.iter().filter(|footer| {
                            self.drop_by(&truncation, Lying { footer, block, sequence })
                        });
                        removed += gone.count() as u64;
                    }
                    Err(error) => {
                        let number = block - store.first_block;
                        tracing::warn!(device = store.device.name(), number, %error, "a block that a truncation is about cannot be read");
                        complete = false;
                    }
                }
            }
        }
        (removed, complete)
    }

    /// Removes a record that a footer names, if the cut takes it and it is still the newest of its key. Whether it was a live record.
    pub(super) fn drop_by(&self, cut: &Truncation, lying: Lying<'_>) -> bool {
        let footer = lying.footer;
        if !takes(cut, footer) {
            return false;
        }
        self.index.with_slot(footer.digest, |slot| {
            let Some(entry) = lying.entry(&self.shared, slot) else { return false };
            // It died of the cut: until it is overwritten, the cut has to stay.
            let at = cut.cut.sequence - 1;
            if entry.tombstone && cut.until != 0 {
                return false;
            }
            if entry.tombstone {
                self.counters.tombstones.sub(1);
            } else {
                self.sets.count_out(footer.set_hash);
            }
            if (entry.older || self.shared.hides_versions) && cut.until != 0 {
                // An eviction leaves alone what would live longer: an older version, perhaps.
                slot.set(Entry { tombstone: true, ..entry });
                self.counters.tombstones.add(1);
                self.shared.evict(entry.location, entry.size, footer.version, at);
                return true;
            }
            slot.remove();
            self.shared.kill(entry.location, entry.size, entry.tombstone, at, None);
            !entry.tombstone
        })
    }

    /// Removes a record that is about to be moved, if a cut under way takes it. What a truncation takes must not be moved to where it does not
    /// look any more. Nor may it go before the truncation is durable: its block could be freed, a crash undo the truncation, and an older
    /// version, elsewhere, be the newest.
    pub(super) fn drop_cut(&self, lying: Lying<'_>) -> Dropped {
        let Some(cut) = self.sets.under_way(|cut| takes(cut, lying.footer)) else {
            return Dropped::No;
        };
        if cut.until != 0 {
            self.drop_by(&cut, lying);
            return Dropped::No;
        }
        match self.sets.is_durable(&cut) {
            Some(true) => {
                self.drop_by(&cut, lying);
                Dropped::Done
            }
            Some(false) => Dropped::Done,
            None => Dropped::NotYet,
        }
    }

    pub(super) fn wait_until_sealed(&self, cut: Version) {
        for store in &self.shared.stores {
            loop {
                let turn = store.room.turn();
                if store.failure().is_some() || store.is_sealed_below(cut) {
                    break;
                }
                if !self.drive() {
                    reactor::block_on(store.room.changed_since(turn));
                }
            }
        }
    }
}
