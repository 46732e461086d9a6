//! The sixteen databases: which set each one is, and which record key a Redis key is.
//!
//! Database `n` is set `db` and a number, at first `n` itself; `SWAPDB` exchanges two numbers. The table is read at every command and
//! changed by nobody else, so it is sixteen atomics; it is kept in a record, so that it outlives the node.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use cairn_engine::{
    Namespace,
    format::ValueRef,
    model::{Durability, Key, ReadPolicy, UserKey, Value, WritePolicy},
};
use tokio::sync::Mutex;

use super::fail::Fail;

/// How many databases there are.
pub const DATABASES: usize = 16;

static SETS: [&str; DATABASES] = [
    "db0", "db1", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "db9", "db10", "db11", "db12",
    "db13", "db14", "db15",
];

/// Where the table is kept: a set that no database is.
const TABLE_SET: &str = "redis";
const TABLE_KEY: &str = "databases";
const TABLE_BIN: &str = "sets";

/// Which set each database is.
#[derive(Debug)]
pub struct Databases {
    sets: [AtomicU8; DATABASES],
    /// One change at a time.
    changing: Mutex<()>,
}

impl Default for Databases {
    fn default() -> Self {
        Self { sets: std::array::from_fn(|at| AtomicU8::new(at as u8)), changing: Mutex::default() }
    }
}

impl Databases {
    /// The set of database `db`; `None` when there is no such database.
    pub fn set(&self, db: u8) -> Option<&'static str> {
        let set = self.sets.get(usize::from(db))?.load(SeqCst);
        Some(SETS[usize::from(set) % DATABASES])
    }

    /// Reads the table back that the last run left.
    pub async fn load(&self, namespace: &Namespace) -> Result<(), cairn_engine::Error> {
        let record = namespace.get(&table_key()?, &ReadPolicy::default()).await?;
        let Some(record) = record else { return Ok(()) };
        if let Ok(Some(ValueRef::Bytes(table))) = record.bin(TABLE_BIN)
            && (0..DATABASES as u8).all(|set| table.contains(&set))
        {
            for (place, set) in self.sets.iter().zip(table) {
                place.store(*set, SeqCst);
            }
        }
        Ok(())
    }

    /// Exchanges two databases: durably first, then for everybody. Commands that have begun still mean what they meant then.
    pub async fn swap(&self, namespace: &Namespace, a: u8, b: u8) -> Result<(), Fail> {
        let _one_at_a_time = self.changing.lock().await;
        let mut table: Vec<u8> = self.sets.iter().map(|set| set.load(SeqCst)).collect();
        table.swap(usize::from(a), usize::from(b));
        let bins = [(TABLE_BIN.into(), Value::Bytes(table.clone()))];
        let policy = WritePolicy {
            durability: Some(Durability::Device),
            ttl: cairn_engine::model::Ttl::Never,
            ..WritePolicy::default()
        };
        namespace.put(&table_key()?, &bins, &policy).await?;
        for db in [a, b] {
            self.sets[usize::from(db)].store(table[usize::from(db)], SeqCst);
        }
        Ok(())
    }
}

fn table_key() -> Result<Key, cairn_engine::Error> {
    Ok(Key::new(TABLE_SET, UserKey::Str(TABLE_KEY.into()))?)
}

/// A database's number as clients write it.
pub fn number(text: &[u8]) -> Option<u8> {
    let number = super::number::integer(text)?;
    u8::try_from(number).ok().filter(|db| usize::from(*db) < DATABASES)
}

/// The record key of a Redis key: its bytes. The empty key, which a record cannot have, is the number 0.
pub fn user_key(key: &[u8]) -> UserKey {
    match key {
        [] => UserKey::Int(0),
        _ => UserKey::Bytes(key.to_vec()),
    }
}

/// Whether a record key is that of this Redis key.
pub fn is_user_key(user: &UserKey, key: &[u8]) -> bool {
    match user {
        UserKey::Bytes(bytes) => bytes == key,
        UserKey::Int(0) => key.is_empty(),
        _ => false,
    }
}

/// The Redis key of a record key; `None` when it is another door's.
pub fn redis_key(user: &UserKey) -> Option<&[u8]> {
    match user {
        UserKey::Bytes(bytes) => Some(bytes),
        UserKey::Int(0) => Some(&[]),
        _ => None,
    }
}
