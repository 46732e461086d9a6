//! redb: a copy-on-write B-tree in one file, one writer at a time. It reads and writes through the page cache.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use crate::{
    engine::{Engine, Safety, Written, at_once, key_bytes},
    failure::{Doing, Result},
    options::Setup,
};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("compare");
/// Bytes that a buffered commit holds in memory, about, until a durable one follows.
const HELD_BY_COMMIT: u64 = 24 << 10;

/// A database with one table.
pub struct Redb {
    db: Database,
    commits: AtomicU64,
    /// After so many buffered commits one is durable: what they hold stays within an eighth of the budget.
    durable_every: u64,
}

impl Redb {
    fn write<'a>(
        &self,
        values: impl Iterator<Item = (u64, &'a [u8])>,
        durability: Durability,
    ) -> Result<Written> {
        let mut transaction = self.db.begin_write().doing("beginning to write")?;
        transaction.set_durability(durability).doing("setting the durability")?;
        {
            let mut table = transaction.open_table(TABLE).doing("opening the table")?;
            for (key, value) in values {
                table.insert(&key_bytes(key)[..], value).doing("writing")?;
            }
        }
        transaction.commit().doing("committing")?;
        Ok(Written::Done)
    }
}

impl Engine for Redb {
    const BLOCKS: bool = true;
    const DURABLE: bool = true;
    const NOTES: &'static [&'static str] = &[
        "a transaction for each write, and one writer at a time, so more threads cannot share a commit; buffered writes are commits \
         without durability, and a durable one whenever they may hold an eighth of the budget; loaded in transactions of 64; no direct I/O",
    ];

    fn open(setup: &Setup) -> Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size((setup.budget / 2) as usize);
        let db = builder.create(setup.dir.join("data")).doing("opening redb")?;
        let durable_every = (setup.budget / 8 / HELD_BY_COMMIT).max(1);
        let opened = Self { db, commits: AtomicU64::new(0), durable_every };
        // The table is made, or the first read would fail.
        opened.write(std::iter::empty(), Durability::Immediate)?;
        Ok(opened)
    }

    async fn get(&self, key: u64, look: impl FnOnce(&[u8])) -> Result<bool> {
        let transaction = self.db.begin_read().doing("beginning to read")?;
        let table = transaction.open_table(TABLE).doing("opening the table")?;
        let found = table.get(&key_bytes(key)[..]).doing("reading")?;
        Ok(found.map(|value| look(value.value())).is_some())
    }

    async fn put(&self, key: u64, value: &[u8], safety: Safety) -> Result<Written> {
        let turn = self.commits.fetch_add(1, Relaxed);
        let durable = safety == Safety::Durable || turn.is_multiple_of(self.durable_every);
        let durability = if durable { Durability::Immediate } else { Durability::None };
        self.write(std::iter::once((key, value)), durability)
    }

    async fn load(&self, values: &[(u64, Vec<u8>)]) -> Result<Written> {
        let turn = self.commits.fetch_add(1, Relaxed);
        let durable = turn.is_multiple_of((self.durable_every / 32).max(1));
        let durability = if durable { Durability::Immediate } else { Durability::None };
        self.write(values.iter().map(|(key, value)| (*key, &value[..])), durability)
    }

    fn on_thread<F: Future>(&self, work: F) -> Result<F::Output> {
        Ok(at_once(work))
    }

    fn settle(&self) -> Result {
        self.write(std::iter::empty(), Durability::Immediate)?;
        Ok(())
    }

    fn cache_bytes(&self) -> u64 {
        self.db.cache_stats().used_bytes() as u64
    }
}
