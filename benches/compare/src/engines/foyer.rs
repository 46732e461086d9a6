//! foyer: a cache with a memory and a disk part. What it cannot take in time it drops, and nothing survives by promise.

use std::{future::Future, thread};

use cairn_benches::keys::mix;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, IoEngineConfig, RecoverMode, UringIoEngineConfig,
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    engine::{Engine, Safety, Written},
    failure::{Doing, Failure, Result},
    options::Setup,
};

/// Buffers of the disk part's flusher.
const BUFFERS: u64 = 16 << 20;

/// What an entry on disk has besides its value, at most; and what it is rounded up to.
const ENTRY: u64 = 64;
const PAGE: u64 = 4096;

/// A hybrid cache, and the runtime that its own tasks run on.
pub struct Foyer {
    cache: HybridCache<u64, Vec<u8>>,
    runtime: Runtime,
}

impl Engine for Foyer {
    const BLOCKS: bool = false;
    const DURABLE: bool = false;
    const NOTES: &'static [&'static str] = &[
        "a cache, not a database: writes that come faster than its disk part takes them are dropped, reads of them miss and are \
         counted as misses; nothing is durable; loaded no faster than it takes; \
         an entry on disk takes whole pages of 4 KiB, and its folder is given the room for that; io_uring, direct I/O",
    ];

    fn open(setup: &Setup) -> Result<Self> {
        let threads = thread::available_parallelism().map_or(2, usize::from);
        let mut runtime = Builder::new_multi_thread();
        let runtime =
            runtime.worker_threads(threads).enable_all().build().doing("starting a runtime")?;
        let memory = setup.budget.saturating_sub(4 * BUFFERS).max(setup.budget / 4);
        let each = (ENTRY + setup.value_bytes as u64).next_multiple_of(PAGE);
        let device = FsDeviceBuilder::new(&setup.dir)
            .with_capacity(setup.file_bytes(each) as usize)
            .with_direct(true)
            .build()
            .doing("making foyer's device")?;
        let io: Box<dyn IoEngineConfig> = Box::new(UringIoEngineConfig::new());
        let cache = HybridCacheBuilder::new()
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(memory as usize)
            .with_weighter(|_, value: &Vec<u8>| value.len() + 64)
            .storage()
            .with_io_engine_config(io)
            .with_engine_config(
                BlockEngineConfig::new(device).with_buffer_pool_size(BUFFERS as usize),
            )
            .with_recover_mode(RecoverMode::None);
        let cache = runtime.block_on(cache.build()).doing("opening foyer")?;
        if !cache.is_hybrid() {
            return Err(Failure::new("foyer came up without its disk part"));
        }
        Ok(Self { cache, runtime })
    }

    async fn get(&self, key: u64, look: impl FnOnce(&[u8])) -> Result<bool> {
        let found = self.cache.get(&mix(key)).await.doing("reading")?;
        Ok(found.map(|entry| look(entry.value())).is_some())
    }

    async fn put(&self, key: u64, value: &[u8], safety: Safety) -> Result<Written> {
        if safety == Safety::Durable {
            return Err(Failure::new("foyer promises no durability"));
        }
        self.cache.insert(mix(key), value.to_vec());
        Ok(Written::Done)
    }

    async fn load(&self, values: &[(u64, Vec<u8>)]) -> Result<Written> {
        for (key, value) in values {
            self.cache.insert(mix(*key), value.clone());
        }
        self.cache.storage().wait().await;
        Ok(Written::Done)
    }

    fn on_thread<F: Future>(&self, work: F) -> Result<F::Output> {
        Ok(self.runtime.block_on(work))
    }

    fn settle(&self) -> Result {
        self.runtime.block_on(self.cache.storage().wait());
        Ok(())
    }

    fn cache_bytes(&self) -> u64 {
        self.cache.memory().usage() as u64
    }
}
