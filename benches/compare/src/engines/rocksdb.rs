//! RocksDB with values in blob files, direct I/O and a write-ahead log.

use std::{future::Future, thread, time::Duration};

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Options, WaitForCompactOptions, WriteOptions,
};

use crate::{
    engine::{Engine, Safety, Written, at_once, key_bytes},
    failure::{Doing, Result},
    options::Setup,
};

/// A database with the default column family.
pub struct Rocks {
    db: DB,
    cache: Cache,
    durable: WriteOptions,
}

impl Engine for Rocks {
    const BLOCKS: bool = true;
    const DURABLE: bool = true;
    const NOTES: &'static [&'static str] = &[
        "BlobDB with garbage collection as it is by default, direct I/O for reads, flushes and compaction; the log goes through the page cache, as RocksDB \
         always does; durable writes with sync; no compression; one cache for blocks, filters, indexes and blobs, with what two \
         write buffers leave of the budget",
    ];

    fn open(setup: &Setup) -> Result<Self> {
        let write_buffer = (setup.budget / 8).min(64 << 20);
        let cache = Cache::new_lru_cache((setup.budget - 2 * write_buffer) as usize);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_bloom_filter(10.0, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.increase_parallelism(thread::available_parallelism().map_or(2, usize::from) as i32);
        options.set_write_buffer_size(write_buffer as usize);
        options.set_max_write_buffer_number(2);
        options.set_use_direct_reads(true);
        options.set_use_direct_io_for_flush_and_compaction(true);
        options.set_compression_type(DBCompressionType::None);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(256);
        options.set_blob_file_size((setup.data_bytes() / 32).clamp(16 << 20, 256 << 20));
        options.set_blob_compression_type(DBCompressionType::None);
        options.set_enable_blob_gc(true);
        options.set_blob_cache(&cache);
        options.set_max_open_files(-1);
        let db = DB::open(&options, &setup.dir).doing("opening RocksDB")?;
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        Ok(Self { db, cache, durable })
    }

    async fn get(&self, key: u64, look: impl FnOnce(&[u8])) -> Result<bool> {
        let found = self.db.get_pinned(key_bytes(key)).doing("reading")?;
        Ok(found.map(|value| look(&value)).is_some())
    }

    async fn put(&self, key: u64, value: &[u8], safety: Safety) -> Result<Written> {
        let key = key_bytes(key);
        match safety {
            Safety::Buffered => self.db.put(key, value),
            Safety::Durable => self.db.put_opt(key, value, &self.durable),
        }
        .doing("writing")?;
        Ok(Written::Done)
    }

    fn on_thread<F: Future>(&self, work: F) -> Result<F::Output> {
        Ok(at_once(work))
    }

    fn settle(&self) -> Result {
        let mut wait = WaitForCompactOptions::default();
        wait.set_flush(true);
        wait.set_timeout(Duration::from_secs(600).as_micros() as u64);
        self.db.wait_for_compact(&wait).doing("waiting for compactions")
    }

    fn cache_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }
}
