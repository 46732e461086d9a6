//! A clean stop writes the index to the devices; the next start reads it back (`reload`).
//!
//! Nothing is appended any more when the index is written, and the devices' headers name the checkpoint only when all of it is durable.

use std::sync::atomic::Ordering::SeqCst;

use super::Namespace;
use crate::{
    error::Error,
    format::{
        CheckpointRef,
        checkpoint::{BLOCK_STATE_BYTES, ItemKind},
    },
    index::ENTRY_BYTES,
    model::PARTITIONS,
    storage::{
        blocks::Block,
        checkpoint::{CheckpointError, Writer},
        store::Store,
    },
};

impl Namespace {
    /// Stops cleanly: takes no more operations, brings everything to the devices and leaves the index there, so that the next start is
    /// warm. Blocks. A second call does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`] when not everything could be made durable.
    pub fn close(&self) -> Result<(), Error> {
        let _no_truncation = self.sets.truncating.lock();
        if self.stopping.swap(true, SeqCst) {
            return Ok(());
        }
        for store in &self.shared.stores {
            store.shut();
        }
        if self.driven.is_some() {
            while self.drive() && self.shared.stores.iter().all(|store| store.failure().is_none()) {
            }
        }
        self.end_threads();
        for store in &self.shared.stores {
            if let Some(cause) = store.failure() {
                return Err(crate::storage::failed(store, cause, true));
            }
        }
        if self.sets.is_sweeping() {
            tracing::warn!("a truncation was not completed; the next start rebuilds the index");
            return Ok(());
        }
        if self.shared.blocks.iter().any(Block::is_unsure) {
            tracing::warn!(
                "something could not be read at the last start; the next one rebuilds the index, in case that it can"
            );
            return Ok(());
        }
        match self.save() {
            Ok(()) => Ok(()),
            Err(CheckpointError::NoRoom) => {
                tracing::warn!(
                    "too few free write blocks for the index; the next start rebuilds it from the records"
                );
                Ok(())
            }
            Err(CheckpointError::Io(error)) => {
                let store = &self.shared.stores[0];
                Err(crate::storage::failed(store, &error.to_string(), false))
            }
        }
    }

    fn save(&self) -> Result<(), CheckpointError> {
        // A writer that appended before the streams were shut may still be counting: whoever holds a partition is waited for.
        for partition in 0..PARTITIONS as u16 {
            self.index.page(partition, None, 1, &mut Vec::new());
        }
        let id = loop {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).expect("the operating system has a random source");
            match u64::from_le_bytes(bytes) {
                0 => {}
                id => break id,
            }
        };
        let count = self.shared.stores.len();
        let mut parts: Vec<CheckpointRef> = Vec::new();
        for (at, store) in self.shared.stores.iter().enumerate() {
            let mut writer = Writer::new(&self.shared, store, id)?;
            if at == 0 {
                self.save_sets(&mut writer)?;
            }
            for partition in (PARTITIONS * at / count)..(PARTITIONS * (at + 1) / count) {
                self.save_partition(&mut writer, partition as u16)?;
            }
            self.save_states(&mut writer, store)?;
            parts.push(writer.finish()?);
        }
        let version = self.shared.version_now();
        for (store, part) in self.shared.stores.iter().zip(parts) {
            store.superblock.update(&store.device, |header| {
                header.clean = true;
                header.checkpoint = Some(part);
                header.version = version;
            })?;
        }
        Ok(())
    }

    fn save_sets(&self, writer: &mut Writer<'_>) -> Result<(), CheckpointError> {
        for set in self.sets.all().into_iter().filter(|set| set.records.load(SeqCst) > 0) {
            let mut bytes = set.records.load(SeqCst).to_le_bytes().to_vec();
            bytes.push(set.name.len() as u8);
            bytes.extend_from_slice(set.name.as_bytes());
            writer.item(ItemKind::Sets, 0, &bytes)?;
        }
        Ok(())
    }

    fn save_partition(
        &self,
        writer: &mut Writer<'_>,
        partition: u16,
    ) -> Result<(), CheckpointError> {
        let most = (writer.item_max() / ENTRY_BYTES).min(8192);
        let (mut entries, mut after, mut bytes) = (Vec::new(), None, Vec::new());
        loop {
            entries.clear();
            bytes.clear();
            let done = self.index.page(partition, after, most, &mut entries);
            after = entries.last().map(|(tag, _)| *tag);
            entries.iter().for_each(|(tag, entry)| bytes.extend_from_slice(&entry.pack(*tag)));
            if !bytes.is_empty() {
                writer.item(ItemKind::Entries, u32::from(partition), &bytes)?;
            }
            if done {
                return Ok(());
            }
        }
    }

    fn save_states(&self, writer: &mut Writer<'_>, store: &Store) -> Result<(), CheckpointError> {
        let most = (writer.item_max() / BLOCK_STATE_BYTES).min(8192);
        let numbers: Vec<u32> = (0..store.block_count).collect();
        for chunk in numbers.chunks(most) {
            let mut bytes = Vec::with_capacity(chunk.len() * BLOCK_STATE_BYTES);
            for number in chunk {
                self.shared.blocks.get(store.first_block + number).to_image().encode(&mut bytes);
            }
            writer.item(ItemKind::States, chunk[0], &bytes)?;
        }
        Ok(())
    }
}
