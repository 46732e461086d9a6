//! Writing and reading the blocks of a checkpoint on one device.
//!
//! A checkpoint goes into free blocks, front to back, with several writes in flight; its first block, which lists the others, is written last. It
//! counts only when the device header names it, and no longer than until the next start.

use std::{collections::VecDeque, ops::Range};

use super::{Shared, store::Store};
use crate::{
    device::{AlignedBuf, Completion, IoResult, Region, reactor},
    format::{
        BlockHeader, BlockKind, CheckpointRef, block_header_region,
        checkpoint::{ItemKind, PayloadWriter, decode_payload},
    },
};

/// Writes in flight, and for each thread reads.
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

/// One device's part of a checkpoint, to be read: its blocks are known.
pub(crate) struct Part<'a> {
    shared: &'a Shared,
    store: &'a Store,
    id: u64,
    /// Numbers on the device of the blocks behind the first, in order.
    numbers: Vec<u32>,
}

impl<'a> Part<'a> {
    /// Reads the list of a part's blocks. `None` when it is damaged or not that checkpoint's.
    pub(crate) fn open(
        shared: &'a Shared,
        store: &'a Store,
        checkpoint: CheckpointRef,
    ) -> IoResult<Option<Self>> {
        let mut part = Self { shared, store, id: checkpoint.id, numbers: Vec::new() };
        if !part.is_block(checkpoint.first) {
            return Ok(None);
        }
        let first = reactor::block_on(part.read_block(checkpoint.first))?;
        let items = part.items(&first, 0);
        let Some([(ItemKind::Blocks, _, list)]) = items.as_deref() else {
            return Ok(None);
        };
        let (numbers, rest) = list.as_chunks::<4>();
        part.numbers = numbers.iter().map(|raw| u32::from_le_bytes(*raw)).collect();
        let sound = rest.is_empty()
            && part.numbers.len() + 1 == checkpoint.blocks as usize
            && part.numbers.iter().all(|&number| part.is_block(number));
        Ok(sound.then_some(part))
    }

    /// The device.
    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    /// How many blocks there are to read.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Reads blocks `range` of the part, hands their items to `take` in order, and calls `done` after each block. False when one is damaged,
    /// or `take` says so.
    pub(crate) fn read(
        &self,
        range: Range<usize>,
        mut take: impl FnMut(ItemKind, u32, &[u8]) -> bool,
        done: impl Fn(),
    ) -> IoResult<bool> {
        let mut window: VecDeque<Completion<AlignedBuf>> = VecDeque::new();
        let mut rest = self.numbers[range.clone()].iter();
        for at in range {
            while window.len() < IN_FLIGHT
                && let Some(&number) = rest.next()
            {
                window.push_back(self.read_block(number));
            }
            let bytes = reactor::block_on(window.pop_front().expect("one for each number"))?;
            // Blocks are numbered from 1: the first one, which lists them, is 0.
            let Some(items) = self.items(&bytes, at as u32 + 1) else { return Ok(false) };
            if !items.into_iter().all(|(kind, argument, bytes)| take(kind, argument, bytes)) {
                return Ok(false);
            }
            done();
        }
        Ok(true)
    }

    fn is_block(&self, number: u32) -> bool {
        number > 0 && number < self.store.block_count
    }

    fn read_block(&self, number: u32) -> Completion<AlignedBuf> {
        let len = self.shared.block_size as usize;
        let offset = u64::from(number) * self.shared.block_size;
        self.store.device.read(AlignedBuf::new(len), len, offset)
    }

    fn items<'b>(&self, block: &'b [u8], ordinal: u32) -> Option<Vec<(ItemKind, u32, &'b [u8])>> {
        let region = block_header_region(self.store.sector) as usize;
        decode_payload(&block[region..], self.id, ordinal)
    }
}
