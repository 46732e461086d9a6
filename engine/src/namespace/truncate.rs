//! Truncation: all records of a set or a namespace are gone, durably, at once.
//!
//! 1. Every open block is closed at one version, the cut: what was written before lies in older blocks.
//! 2. The cut goes into the device headers. From here on a crash does not bring the records back.
//! 3. It counts for every operation: an index entry that points into a block born before the cut is gone.
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
    storage::{failed, recover::read_entries},
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
        let started = thread.spawn(move || completer.complete(Ok(namespace.truncate_blocking(set_hash))));
        if started.is_err() {
            return Err(Error::InvalidRequest("no thread could be started for the truncation"));
        }
        completion.await.unwrap_or(Err(Error::Stopping { in_doubt: true }))
    }

    fn truncate_blocking(&self, set_hash: u64) -> Result<u64, Error> {
        let _one_at_a_time = self.sets.truncating.lock();
        self.check_open()?;
        let cut = self.shared.cut();
        let truncation = Truncation { set_hash, cut };
        self.write_cut(truncation)?;
        self.sets.begin_sweep(truncation);
        let removed = self.sweep(truncation)?;
        self.sets.end_sweep(truncation);
        Ok(removed)
    }

    fn write_cut(&self, new: Truncation) -> Result<(), Error> {
        let horizon = self.shared.blocks.horizon();
        let devices = self.shared.stores.len();
        let most = truncations_max(self.shared.block_size, devices);
        let mut table = self.shared.stores[0].superblock.header().truncations;
        // A cut below the horizon guards nothing any more.
        table.retain(|old| old.cut >= horizon);
        add_cut(&mut table, new);
        if table.len() > most {
            return Err(Error::TooManyTruncations(table.len() - 1));
        }
        for store in &self.shared.stores {
            let written = store.superblock.update(&store.device, |header| {
                header.truncations.clone_from(&table);
                header.version = header.version.max(new.cut);
            });
            written.map_err(|error| failed(store, &error.to_string(), true))?;
        }
        Ok(())
    }

    fn sweep(&self, truncation: Truncation) -> Result<u64, Error> {
        self.wait_until_sealed(truncation.cut);
        let mut removed = 0;
        for store in &self.shared.stores {
            for block in store.first_block..store.first_block + store.block_count {
                let state = self.shared.blocks.get(block);
                if state.birth_sequence() >= truncation.cut.sequence || state.in_use() == 0 {
                    continue;
                }
                let entries = read_entries(&self.shared, block).map_err(|error| Error::ReadFailed {
                    device: store.device.name().into(),
                    offset: u64::from(block - store.first_block) * self.shared.block_size,
                    cause: error.to_string().into(),
                })?;
                removed += entries.iter().filter(|entry| self.sweep_entry(truncation, block, entry)).count() as u64;
            }
        }
        Ok(removed)
    }

    /// Removes one record that a footer names, if it is of the set and still the newest. Whether it was a live record.
    fn sweep_entry(&self, truncation: Truncation, block: u32, footer: &FooterEntry) -> bool {
        if !is_cut(&[truncation], footer.set_hash, footer.version) {
            return false;
        }
        let location = self.shared.blocks.location(block, footer.offset);
        self.index.with_slot(footer.digest, |slot| {
            let Some(entry) = slot.get().filter(|entry| entry.location == location) else {
                return false;
            };
            slot.remove();
            if entry.tombstone {
                self.counters.tombstones.sub(1);
            } else {
                self.sets.count_out(footer.set_hash);
            }
            self.shared.kill(entry.location, entry.size, entry.tombstone);
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
