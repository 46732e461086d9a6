//! The first pass of a recovery: what the header of every block says, and what the links in the headers say of each other.
//!
//! Every block's header is read, whatever state the block may be in. A header that cannot be read is damage and never taken for a block that
//! was never opened.

use std::{
    collections::VecDeque,
    io,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use parking_lot::Mutex;

use super::Recovery;
use crate::{
    device::{AlignedBuf, Completion, IoResult, reactor},
    format::{BlockHeader, BlockKind, LinkState, block_header_region},
    model::Version,
    storage::blocks::BlockState,
};

/// Header reads in flight, for each thread.
const HEADS_IN_FLIGHT: usize = 32;

/// What a block's header says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) status: HeadStatus,
    pub(super) sequence: u64,
    pub(super) stream: u8,
    pub(super) birth: Version,
    pub(super) records_hint: u64,
    unreadable: bool,
    /// The latest that another block's links say of this one.
    pub(super) link: Option<(u64, LinkState)>,
}

/// What a block is, going by its header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum HeadStatus {
    /// Never opened.
    #[default]
    Void,
    /// It holds records.
    Data,
    /// It holds none: a checkpoint, or nothing any more.
    Other,
    /// The header is neither sound nor void, or older than it must be.
    Damaged,
}

impl Head {
    /// Whether another block's header says that this one, in its present life, was sealed.
    pub(super) fn is_linked_sealed(&self) -> bool {
        self.link == Some((self.sequence, LinkState::Sealed))
    }
}

impl Recovery<'_> {
    /// Reads the headers of all blocks.
    pub(super) fn read_heads(&self) -> IoResult<Vec<Head>> {
        let total: usize = self.shared.blocks.iter().count();
        let to_read = (total - self.shared.stores.len()) as u64;
        let heads: Mutex<Vec<Head>> = Mutex::new(vec![Head::default(); total]);
        let next = AtomicUsize::new(0);
        self.on_threads(|| {
            let mut window: VecDeque<(u32, Completion<AlignedBuf>)> = VecDeque::new();
            loop {
                let block = next.fetch_add(1, SeqCst);
                if block < total {
                    if self.shared.blocks.get(block as u32).state() == BlockState::Reserved {
                        continue;
                    }
                    window.push_back((block as u32, self.read_head(block as u32)));
                    if window.len() < HEADS_IN_FLIGHT {
                        continue;
                    }
                }
                let Some((block, read)) = window.pop_front() else { return Ok(()) };
                match reactor::block_on(read) {
                    Ok(bytes) => self.take_head(&heads, block, &bytes),
                    Err(_) => self.salvage_head(&heads, block),
                }
                self.step("reading block headers", to_read);
            }
        })?;
        Ok(heads.into_inner())
    }

    fn read_head(&self, block: u32) -> Completion<AlignedBuf> {
        let store = self.shared.store_of(block);
        let len = block_header_region(store.sector) as usize;
        self.tally.bytes_read.fetch_add(len as u64, SeqCst);
        store.device.read(AlignedBuf::new(len), len, self.offset(store, block))
    }

    fn salvage_head(&self, heads: &Mutex<Vec<Head>>, block: u32) {
        let len = block_header_region(self.shared.store_of(block).sector) as usize;
        match self.salvage(block, len) {
            (bytes, true) => self.take_head(heads, block, &bytes),
            // Not to be taken for a block that was never opened.
            (_, false) => {
                let head = &mut heads.lock()[block as usize];
                (head.status, head.unreadable) = (HeadStatus::Damaged, true);
            }
        }
    }

    fn take_head(&self, heads: &Mutex<Vec<Head>>, block: u32, bytes: &[u8]) {
        let store = self.shared.store_of(block);
        let region = &bytes[..block_header_region(store.sector) as usize];
        let header =
            BlockHeader::decode(region, &store.superblock.device(), block - store.first_block);
        let mut heads = heads.lock();
        let head = &mut heads[block as usize];
        let Some(header) = header else {
            if region.iter().any(|&byte| byte != 0) {
                head.status = HeadStatus::Damaged;
            }
            return;
        };
        head.status = match header.kind {
            BlockKind::Data => HeadStatus::Data,
            BlockKind::Index | BlockKind::Freed => HeadStatus::Other,
        };
        (head.sequence, head.stream, head.birth) = (header.sequence, header.stream, header.birth);
        head.records_hint = header.records_hint;
        for link in header.links {
            if link.block < store.block_count {
                let head = &mut heads[(store.first_block + link.block) as usize];
                head.link = head.link.max(Some((link.sequence, link.state)));
            }
        }
    }

    /// A block that cannot be read is damage; a device of which most cannot be read is no device to start with.
    pub(super) fn check_readable(&self, heads: &[Head]) -> IoResult<()> {
        for store in &self.shared.stores {
            let blocks = &heads[store.first_block as usize..][..store.block_count as usize];
            if blocks.iter().filter(|head| head.unreadable).count() > blocks.len() / 2 {
                let device = store.device.name();
                return Err(io::Error::other(format!(
                    "{device}: most of its blocks cannot be read"
                )));
            }
        }
        Ok(())
    }

    /// Whether the block is what other blocks say it must be.
    pub(super) fn check_link(&self, block: u32, head: &mut Head) {
        let Some((sequence, state)) = head.link else { return };
        if head.status == HeadStatus::Damaged || sequence <= head.sequence {
            return;
        }
        if state >= LinkState::Partly {
            // The device lost a write that it had said was durable. What the links know may still let the records be found.
            let older = "reads older than it was written; the device lost acknowledged writes";
            self.damage(block, older);
            head.status = HeadStatus::Damaged;
        }
    }
}
