//! Finding out what lies in the write blocks after a crash.
//!
//! `heads` reads every block's header: which blocks hold records, and through the links in them, which blocks must be how far. `tails` then reads
//! the footers of the data blocks; `unsealed` takes the blocks that have none. `salvage` reads around what gives errors; `tally` counts.
//! What is found goes to a sink, block by block, from several threads at once; the highest version of a record wins there.
//!
//! Nothing here depends on how many blocks a device has open at a time, or in which order they were opened: each block is judged by its own
//! header, its own footer and what other headers say of it. Each block is in one of these cases. *Linked* means: the newest link in any
//! header of the device that names this block; `=` that the link is of the block's present life (its sequence is the header's), `>` of a later one.
//!
//! | header | linked | footer | what it is | what is done |
//! |---|---|---|---|---|
//! | void | no, or opened | | never written | nothing |
//! | void | `>` partly, sealed | | **damage**: a durable header is lost | as with a damaged header |
//! | freed, checkpoint | no, `=`, or `>` opened | | holds no records | nothing |
//! | freed, checkpoint | `>` partly, sealed | | **damage**: reads older than it was written | as with a damaged header |
//! | data | no, `=`, or `>` opened | own, sound | sealed | its entries are its records |
//! | data | `=` sealed | none, damaged, of another life | **damage** | walk; all records found, broken ones too, count |
//! | data | no, `=` opened or partly, `>` opened | none, damaged, of another life | open when the node stopped | walk and judge (below); then seal it |
//! | data | `>` partly, sealed | | **damage**: reads older than it was written | as with a damaged header |
//! | damaged or unreadable | no, or not above the footer | sound, and its first record is there | **damage** | the footer's entries are its records |
//! | damaged or unreadable | any | none of these, but a walk with the link's sequence finds records | **damage** | all records found count |
//! | damaged or unreadable | | nothing tells | **damage** | the block is left alone; while it is there, no tombstone goes |
//!
//! In a block that was open, what a walk meets is judged so (`walk`):
//!
//! | what | below the highest `durable` of its marks | behind it |
//! |---|---|---|
//! | a whole record | counts | counts: a write may be on the device before it is acknowledged |
//! | a record with one wrong bit, where something was surely written | counts; **damage** | counts; **damage** |
//! | a record whose body does not fit | counts, and reads as damaged; **damage** | cut short, never acknowledged: torn |
//! | a hole | **damage** | torn |
//!
//! A freed block says so durably before it is written anew. So a block that holds records by its header holds all of them, and whatever is missing
//! in it is damage.
//!
//! Bytes that cannot be read at all are **damage** wherever they are, and the block counts as holding unknown dead versions until it is overwritten. If it has
//! to be walked, records may lie there that nobody knows of: then it gets no footer and stays as it is, for a later start that can read it.

mod heads;
mod salvage;
mod tails;
mod tally;
mod unsealed;

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use self::heads::HeadStatus;
pub use self::tally::Progress;
pub(crate) use self::tally::Tally;
use super::{Shared, store::Store};
use crate::{
    device::{IoKind, IoResult, reactor},
    format::FooterEntry,
};

/// How a recovery runs.
pub(crate) struct Recovery<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) kind: IoKind,
    pub(crate) threads: usize,
    pub(crate) progress: &'a (dyn Fn(&Progress) + Send + Sync),
    /// Told about how many records there will be, once, before the first.
    pub(crate) expect: &'a (dyn Fn(u64) + Send + Sync),
    /// Takes the records of one block, which all count as live in the block's state.
    pub(crate) sink: &'a (dyn Fn(u32, &[FooterEntry]) + Send + Sync),
    /// Called by each thread when there are no more blocks for it. When all have returned, everything has been taken in.
    pub(crate) finish: &'a (dyn Fn() + Send + Sync),
    pub(crate) started: Duration,
    pub(crate) tally: &'a Tally,
}

impl Recovery<'_> {
    /// Reads everything, hands the records to the sink and leaves every block in its state.
    pub(crate) fn run(&self) -> IoResult<()> {
        let mut heads = self.read_heads()?;
        self.check_readable(&heads)?;
        let mut data = Vec::new();
        for (block, head) in heads.iter_mut().enumerate() {
            self.check_link(block as u32, head);
            match head.status {
                HeadStatus::Data | HeadStatus::Damaged => data.push(block as u32),
                HeadStatus::Void | HeadStatus::Other => {}
            }
        }
        // Blocks of a checkpoint are newer, but tell nothing.
        let with_records = heads.iter().filter(|head| head.status == HeadStatus::Data);
        let newest = with_records.max_by_key(|head| (head.birth, head.sequence));
        (self.expect)(newest.map_or(0, |head| head.records_hint));
        // In the order of their birth, so that blocks whose versions overlap come close together.
        data.sort_by_key(|&block| heads[block as usize].birth);
        self.tally.data_blocks.store(data.len() as u64, SeqCst);
        self.tally.done.store(0, SeqCst);
        let next = AtomicUsize::new(0);
        self.on_threads(|| self.read_data_blocks(&heads, &data, &next))?;
        Ok(())
    }

    /// Runs `work` on each thread of the recovery, with a ring of its own.
    fn on_threads(&self, work: impl Fn() -> IoResult<()> + Sync) -> IoResult<()> {
        if self.threads <= 1 {
            return work();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|_| {
                    scope.spawn(|| {
                        let _reactor = reactor::Reactor::install(self.kind);
                        work()
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("recovery does not panic"))
        })
    }

    /// Where `block` starts on its device, in bytes.
    fn offset(&self, store: &Store, block: u32) -> u64 {
        u64::from(block - store.first_block) * self.shared.block_size
    }
}
