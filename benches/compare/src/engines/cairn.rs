//! Cairn's engine, embedded: io_uring with direct I/O, one ring a thread.

use std::{future::Future, thread, time::Duration};

use cairn_benches::subject::{self, Subject};
use cairn_engine::{
    Error,
    model::{Durability, ReadPolicy, Ttl},
};

use crate::{
    engine::{Engine, Safety, Written},
    failure::{Doing, Result},
    options::Setup,
};

/// What the index takes for each record, slack included.
const INDEX_BYTES: u64 = 24;
/// Write buffers of one device: eight blocks of 1 MiB, and what reads need.
const BUFFERS: u64 = 12 << 20;

/// A key that no workload has.
const MARK: u64 = u64::MAX;

/// A namespace on one file.
#[derive(Debug)]
pub struct Cairn(Subject);

impl Engine for Cairn {
    const BLOCKS: bool = false;
    const DURABLE: bool = true;
    const NOTES: &'static [&'static str] = &[
        "direct I/O through io_uring; a file of fixed size, as full as --fill says; \
         the only cache is that of recently written blocks, with what the index leaves of the budget",
    ];

    fn open(setup: &Setup) -> Result<Self> {
        let path = setup.dir.join("data");
        let each = subject::record_bytes(setup.value_bytes);
        let mut config = subject::config(&path, setup.file_bytes(each));
        let others = setup.records * INDEX_BYTES + BUFFERS;
        config.post_write_cache = setup.budget.saturating_sub(others);
        config.max_used_pct = 98;
        Ok(Self(Subject::open(&config).doing("opening the namespace")?))
    }

    async fn get(&self, key: u64, look: impl FnOnce(&[u8])) -> Result<bool> {
        let found = self.0.get(key, &ReadPolicy::default(), look).await.doing("reading")?;
        Ok(found.is_some())
    }

    async fn put(&self, key: u64, value: &[u8], safety: Safety) -> Result<Written> {
        let durability = match safety {
            Safety::Buffered => Durability::Buffer,
            Safety::Durable => Durability::Device,
        };
        match self.0.put(key, value.to_vec(), durability, Ttl::Never).await {
            Ok(()) => Ok(Written::Done),
            Err(Error::NoSpace { .. }) => Ok(Written::Refused),
            Err(error) => Err(error).doing("writing"),
        }
    }

    fn on_thread<F: Future>(&self, work: F) -> Result<F::Output> {
        Ok(self.0.on_thread(work))
    }

    /// A durable write takes along what waits in the open block; blocks that were closed before it are on their way by themselves.
    fn settle(&self) -> Result {
        self.0.on_thread(self.put(MARK, &[], Safety::Durable))?;
        let flushed = || self.0.namespace.stats().bytes_flushed;
        let mut before = None;
        while before != Some(flushed()) {
            before = Some(flushed());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn cache_bytes(&self) -> u64 {
        self.0.namespace.stats().buffer_bytes
    }
}
