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
    sets::{add_cut, is_cut},
};
use crate::{
    device::Completion,
    error::Error,
    format::{FooterEntry, Truncation, truncations_max},
    model::Version,
    storage::{entries::read_entries, failed},
};

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
        self.check_table(set_hash)?;
        let cut = self.shared.cut(|cut| self.sets.begin_sweep(Truncation { set_hash, cut }));
        let truncation = Truncation { set_hash, cut };
        self.write_cut(truncation)?;
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
        // A cut below the horizon guards nothing any more, once what it cuts off is counted as dead.
        table.retain(|old| old.cut >= horizon || self.sets.sweeps(old));
        add_cut(&mut table, new);
        table
    }

    /// Whether one more cut has room in the device headers.
    fn check_table(&self, set_hash: u64) -> Result<(), Error> {
        let cut = Version { sequence: u64::MAX, ..self.shared.version_now() };
        let table = self.table_with(Truncation { set_hash, cut });
        if table.len() > truncations_max(self.shared.block_size, self.shared.stores.len()) {
            return Err(Error::TooManyTruncations(table.len() - 1));
        }
        Ok(())
    }

    fn write_cut(&self, new: Truncation) -> Result<(), Error> {
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
            for block in store.first_block..store.first_block + store.block_count {
                let state = self.shared.blocks.get(block);
                if state.birth_sequence() >= truncation.cut.sequence || state.in_use() == 0 {
                    continue;
                }
                match read_entries(&self.shared, block) {
                    Ok((entries, all)) => {
                        complete &= all;
                        let gone = entries
                            .iter()
                            .filter(|entry| self.sweep_entry(truncation, block, entry));
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

    /// Removes one record that a footer names, if it is of the set and still the newest. Whether it was a live record.
    fn sweep_entry(&self, truncation: Truncation, block: u32, footer: &FooterEntry) -> bool {
        if !is_cut(&[truncation], footer.set_hash, footer.version) {
            return false;
        }
        let location = self.shared.blocks.location(block, footer.offset);
        self.index.with_slot(footer.digest, |slot| {
            // The block may have begun another life since its footer was read, and hold the record's next version at the same place.
            let same_life =
                self.shared.blocks.get(block).birth_sequence() < truncation.cut.sequence;
            let Some(entry) = slot.get().filter(|e| same_life && e.location == location) else {
                return false;
            };
            slot.remove();
            if entry.tombstone {
                self.counters.tombstones.sub(1);
            } else {
                self.sets.count_out(footer.set_hash);
            }
            self.shared.kill(entry.location, entry.size, entry.tombstone, None);
            !entry.tombstone
        })
    }

    fn wait_until_sealed(&self, cut: Version) {
        for store in &self.shared.stores {
            loop {
                let turn = store.room.turn();
                if store.failure().is_some() || store.is_sealed_below(cut) {
                    break;
                }
                if !self.drive() {
                    crate::device::reactor::block_on(store.room.changed_since(turn));
                }
            }
        }
    }
}
