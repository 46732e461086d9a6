//! A clean stop writes the index to the devices; the next start reads it back.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use parking_lot::Mutex;

use super::{Namespace, OpenOptions, Progress, sets::Sets};
use crate::{
    device::{IoResult, reactor},
    error::Error,
    format::{
        CheckpointRef,
        checkpoint::{BLOCK_STATE_BYTES, BlockStateImage, ItemKind},
    },
    index::{ENTRY_BYTES, Entry, Index},
    model::PARTITIONS,
    storage::{
        Shared,
        blocks::BlockState,
        checkpoint::{CheckpointError, Writer, read},
        open::DeviceSet,
        store::Store,
    },
};

/// What a checkpoint gave back.
pub(super) struct Loaded {
    pub(super) index: Index,
    pub(super) sets: Sets,
    pub(super) tombstones: u64,
    pub(super) bytes_read: u64,
}

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

/// Reads the checkpoint that the devices' headers name. On failure says why.
pub(super) fn load(
    shared: &Shared,
    set: &DeviceSet,
    options: &OpenOptions,
) -> Result<Loaded, String> {
    let loading = Loading {
        shared,
        options,
        started: options.clock.monotonic(),
        index: Index::new(),
        sets: Sets::default(),
        tombstones: Mutex::new(0),
        states: Mutex::new(0),
        bytes_read: Mutex::new(0),
        total: set
            .members
            .iter()
            .map(|m| m.header.checkpoint.map_or(0, |c| u64::from(c.blocks)))
            .sum(),
    };
    let parts = set.members.iter().zip(&shared.stores);
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .map(|(member, store)| {
                let part = member.header.checkpoint.expect("the caller saw one on every device");
                let secret = &member.header.secret;
                let loading = &loading;
                scope.spawn(move || {
                    let _reactor = reactor::Reactor::install(loading.options.io.kind);
                    loading.part(store, part, |name| secret.set_hash(name))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            match thread.join().expect("loading does not panic") {
                Ok(true) => Ok(()),
                Ok(false) => Err("it is damaged".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    })?;
    let blocks: u64 = shared.stores.iter().map(|store| u64::from(store.block_count)).sum();
    if loading.states.into_inner() != blocks {
        return Err("it does not know all write blocks".into());
    }
    Ok(Loaded {
        index: loading.index,
        sets: loading.sets,
        tombstones: loading.tombstones.into_inner(),
        bytes_read: loading.bytes_read.into_inner(),
    })
}

struct Loading<'a> {
    shared: &'a Shared,
    options: &'a OpenOptions,
    started: Duration,
    index: Index,
    sets: Sets,
    tombstones: Mutex<u64>,
    states: Mutex<u64>,
    bytes_read: Mutex<u64>,
    total: u64,
}

impl Loading<'_> {
    fn part(
        &self,
        store: &Store,
        part: CheckpointRef,
        set_hash: impl Fn(&str) -> u64,
    ) -> IoResult<bool> {
        let mut bytes_read = 0;
        // A partition's entries may be spread over items; they are loaded when the next one begins.
        let mut gathered: (u32, Vec<(u64, Entry)>) = (0, Vec::new());
        let sound =
            read(self.shared, store, part, &mut bytes_read, |kind, argument, bytes| match kind {
                ItemKind::Blocks => true,
                ItemKind::Sets => self.take_set(bytes, &set_hash),
                ItemKind::States => self.take_states(store, argument, bytes),
                ItemKind::Entries => {
                    if gathered.0 != argument {
                        self.load(&mut gathered);
                        gathered.0 = argument;
                    }
                    (argument as usize) < PARTITIONS && take_entries(bytes, &mut gathered.1)
                }
            })?;
        self.load(&mut gathered);
        *self.bytes_read.lock() += bytes_read;
        Ok(sound)
    }

    fn load(&self, (partition, entries): &mut (u32, Vec<(u64, Entry)>)) {
        if entries.is_empty() {
            return;
        }
        let tombstones = entries.iter().filter(|(_, entry)| entry.tombstone).count();
        *self.tombstones.lock() += tombstones as u64;
        let count = entries.len();
        self.index.load_partition(*partition as u16, &mut entries.drain(..), count);
        if partition.is_multiple_of(64) {
            let done = self.total * u64::from(*partition) / PARTITIONS as u64;
            (self.options.progress)(&Progress {
                phase: "reading the saved index",
                done,
                total: self.total,
                records: self.index.len(),
                elapsed: self.options.clock.monotonic().saturating_sub(self.started),
            });
        }
    }

    fn take_set(&self, bytes: &[u8], set_hash: impl Fn(&str) -> u64) -> bool {
        let Some((records, rest)) = bytes.split_first_chunk::<8>() else { return false };
        let name = rest.split_first().map(|(len, text)| (usize::from(*len), text));
        let Some((len, text)) = name.filter(|(len, text)| *len == text.len()) else { return false };
        let Ok(name) = std::str::from_utf8(&text[..len]) else { return false };
        self.sets.restore(name, set_hash(name), i64::from_le_bytes(*records));
        true
    }

    fn take_states(&self, store: &Store, first: u32, bytes: &[u8]) -> bool {
        let states = bytes.as_chunks::<BLOCK_STATE_BYTES>().0;
        if u64::from(first) + states.len() as u64 > u64::from(store.block_count) {
            return false;
        }
        for (number, raw) in (first..).zip(states) {
            let image = BlockStateImage::decode(raw);
            let Some(state) = BlockState::from_byte(image.state) else { return false };
            self.shared.blocks.get(store.first_block + number).restore(&image, state);
            self.shared.go_on_behind(image.birth);
        }
        *self.states.lock() += states.len() as u64;
        true
    }
}

fn take_entries(bytes: &[u8], entries: &mut Vec<(u64, Entry)>) -> bool {
    let (packed, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    for raw in packed {
        let Some(entry) = Entry::unpack(raw) else { return false };
        if entries.last().is_some_and(|(tag, _)| *tag >= entry.0) {
            return false;
        }
        entries.push(entry);
    }
    rest.is_empty()
}
