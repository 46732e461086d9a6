//! Writing and reading the blocks of a checkpoint on one device.
//!
//! A checkpoint goes into free blocks, front to back, with several writes in flight; its first block, which lists the others, is written last. It
//! counts only when the device header names it, and no longer than until the next start.

use std::collections::VecDeque;

use super::{Shared, store::Store};
use crate::{
    device::{AlignedBuf, Completion, IoResult, Region, reactor},
    format::{
        BlockHeader, BlockKind, CheckpointRef, block_header_region,
        checkpoint::{ItemKind, PayloadWriter, decode_payload},
    },
};

const IN_FLIGHT: usize = 8;

/// Why a checkpoint was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("no free write blocks are left for it")]
    NoRoom,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Writes one device's part of a checkpoint.
pub(crate) struct Writer<'a> {
    shared: &'a Shared,
    store: &'a Store,
    id: u64,
    first: u32,
    /// Numbers on the device of the blocks written, without the first.
    numbers: Vec<u32>,
    payload: PayloadWriter,
    window: VecDeque<Completion<()>>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        store: &'a Store,
        id: u64,
    ) -> Result<Self, CheckpointError> {
        let first = store.take_free_block().ok_or(CheckpointError::NoRoom)?;
        let payload = PayloadWriter::new(Self::capacity(shared, store));
        let (numbers, window) = (Vec::new(), VecDeque::new());
        Ok(Self { shared, store, id, first, numbers, payload, window })
    }

    fn capacity(shared: &Shared, store: &Store) -> usize {
        (shared.block_size - block_header_region(store.sector)) as usize
    }

    /// How many bytes an item may have, in a block of its own.
    pub(crate) fn item_max(&self) -> usize {
        PayloadWriter::new(Self::capacity(self.shared, self.store)).room()
    }

    /// Adds an item of at most [`Self::item_max`] bytes.
    pub(crate) fn item(
        &mut self,
        kind: ItemKind,
        argument: u32,
        bytes: &[u8],
    ) -> Result<(), CheckpointError> {
        if bytes.len() > self.payload.room() {
            self.flush()?;
        }
        self.payload.item(kind, argument, bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CheckpointError> {
        if self.payload.is_empty() {
            return Ok(());
        }
        let fresh = PayloadWriter::new(Self::capacity(self.shared, self.store));
        let payload = std::mem::replace(&mut self.payload, fresh);
        let block = self.store.take_free_block().ok_or(CheckpointError::NoRoom)?;
        let number = block - self.store.first_block;
        self.numbers.push(number);
        self.write(number, payload, self.numbers.len() as u32)
    }

    fn write(
        &mut self,
        number: u32,
        payload: PayloadWriter,
        ordinal: u32,
    ) -> Result<(), CheckpointError> {
        let region = block_header_region(self.store.sector) as usize;
        let mut bytes = vec![0; region];
        let header = BlockHeader {
            device: self.store.superblock.device(),
            block: number,
            kind: BlockKind::Index,
            stream: 0,
            sequence: self.store.take_sequence(),
            birth: self.shared.version_now(),
            links: Vec::new(),
            records_hint: 0,
        };
        header.encode(&mut bytes);
        bytes.extend_from_slice(&payload.finish(self.id, ordinal));
        bytes.resize(bytes.len().next_multiple_of(self.store.sector as usize), 0);
        let (source, len) = (Region::from_bytes(&bytes), bytes.len());
        let offset = u64::from(number) * self.shared.block_size;
        self.window.push_back(self.store.device.write(&source, 0, len, offset, false));
        self.drain(IN_FLIGHT)
    }

    fn drain(&mut self, leave: usize) -> Result<(), CheckpointError> {
        while self.window.len() > leave {
            let write = self.window.pop_front().expect("not empty");
            reactor::block_on(write)?;
        }
        Ok(())
    }

    /// Makes everything durable and says where it begins.
    pub(crate) fn finish(mut self) -> Result<CheckpointRef, CheckpointError> {
        self.flush()?;
        let mut payload = PayloadWriter::new(Self::capacity(self.shared, self.store));
        let list: Vec<u8> = self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        if list.len() > payload.room() {
            return Err(CheckpointError::NoRoom);
        }
        payload.item(ItemKind::Blocks, 0, &list);
        let first = self.first - self.store.first_block;
        self.write(first, payload, 0)?;
        self.drain(0)?;
        reactor::block_on(self.store.device.sync())?;
        Ok(CheckpointRef { id: self.id, first, blocks: self.numbers.len() as u32 + 1 })
    }
}

/// Reads a device's part of a checkpoint and hands each item to `take`. False when it is damaged or not that one. Adds the bytes read to
/// `bytes_read`.
pub(crate) fn read(
    shared: &Shared,
    store: &Store,
    checkpoint: CheckpointRef,
    bytes_read: &mut u64,
    mut take: impl FnMut(ItemKind, u32, &[u8]) -> bool,
) -> IoResult<bool> {
    let len = shared.block_size as usize;
    let region = block_header_region(store.sector) as usize;
    let mut read = |number: u32| {
        *bytes_read += len as u64;
        let offset = u64::from(number) * shared.block_size;
        store.device.read(AlignedBuf::new(len), len, offset)
    };
    if checkpoint.first == 0 || checkpoint.first >= store.block_count {
        return Ok(false);
    }
    let first = reactor::block_on(read(checkpoint.first))?;
    let numbers = match decode_payload(&first[region..], checkpoint.id, 0).as_deref() {
        Some([(ItemKind::Blocks, _, list)]) => {
            let number = |raw: &[u8]| u32::from_le_bytes(raw.try_into().expect("four bytes"));
            list.chunks_exact(4).map(number).collect::<Vec<u32>>()
        }
        _ => return Ok(false),
    };
    let sound = numbers.len() + 1 == checkpoint.blocks as usize
        && numbers.iter().all(|&number| number > 0 && number < store.block_count);
    if !sound {
        return Ok(false);
    }
    let mut window: VecDeque<Completion<AlignedBuf>> = VecDeque::new();
    let mut rest = numbers.iter();
    for ordinal in 1..=numbers.len() {
        while window.len() < IN_FLIGHT
            && let Some(&number) = rest.next()
        {
            window.push_back(read(number));
        }
        let bytes = reactor::block_on(window.pop_front().expect("one for each number"))?;
        let Some(items) = decode_payload(&bytes[region..], checkpoint.id, ordinal as u32) else {
            return Ok(false);
        };
        if !items.into_iter().all(|(kind, argument, bytes)| take(kind, argument, bytes)) {
            return Ok(false);
        }
    }
    Ok(true)
}
