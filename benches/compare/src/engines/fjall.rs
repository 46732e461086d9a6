//! fjall with values in blob files. It reads and writes through the page cache.

use std::{
    future::Future,
    thread,
    time::{Duration, Instant},
};

use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    config::CompressionPolicy,
};

use crate::{
    engine::{Engine, Safety, Written, at_once, key_bytes},
    failure::{Doing, Failure, Result},
    options::Setup,
};

/// A database with one keyspace.
pub struct Fjall {
    db: Database,
    keyspace: Keyspace,
}

impl Engine for Fjall {
    const BLOCKS: bool = true;
    const DURABLE: bool = true;
    const NOTES: &'static [&'static str] = &[
        "key-value separation; no compression; no direct I/O: the page cache counts against the budget where a control group \
         bounds the process; a durable write is an insert and a sync of the journal",
    ];

    fn open(setup: &Setup) -> Result<Self> {
        // There may be five at the same time: the active one and four that wait to be flushed.
        let memtable = (setup.budget / 16).min(64 << 20);
        let threads = thread::available_parallelism().map_or(2, usize::from);
        let db = Database::builder(&setup.dir)
            .cache_size(setup.budget / 2)
            .worker_threads(threads)
            .open()
            .doing("opening fjall")?;
        let separation = KvSeparationOptions::default()
            .separation_threshold(256)
            .compression(CompressionType::None)
            .file_target_size((setup.data_bytes() / 32).clamp(16 << 20, 256 << 20));
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable)
                .data_block_compression_policy(CompressionPolicy::disabled())
                .with_kv_separation(Some(separation))
        };
        let keyspace = db.keyspace("compare", options).doing("making the keyspace")?;
        Ok(Self { db, keyspace })
    }

    async fn get(&self, key: u64, look: impl FnOnce(&[u8])) -> Result<bool> {
        let found = self.keyspace.get(key_bytes(key)).doing("reading")?;
        Ok(found.map(|value| look(&value)).is_some())
    }

    async fn put(&self, key: u64, value: &[u8], safety: Safety) -> Result<Written> {
        self.keyspace.insert(key_bytes(key), value).doing("writing")?;
        if safety == Safety::Durable {
            self.db.persist(PersistMode::SyncData).doing("syncing the journal")?;
        }
        Ok(Written::Done)
    }

    fn on_thread<F: Future>(&self, work: F) -> Result<F::Output> {
        Ok(at_once(work))
    }

    fn settle(&self) -> Result {
        self.keyspace.rotate_memtable_and_wait().doing("flushing")?;
        let limit = Instant::now() + Duration::from_secs(600);
        // Compactions follow one another with short gaps: quiet means quiet for a while.
        let mut quiet = 0;
        while quiet < 10 {
            let busy = self.db.outstanding_flushes() + self.db.active_compactions() > 0;
            quiet = if busy { 0 } else { quiet + 1 };
            if Instant::now() > limit {
                return Err(Failure::new("fjall's compactions do not end"));
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.db.persist(PersistMode::SyncAll).doing("syncing")
    }

    fn cache_bytes(&self) -> u64 {
        self.db.cache_size()
    }
}
