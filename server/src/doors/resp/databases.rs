//! The sixteen databases: which set each one is, and which record key a Redis key is.
//!
//! Database `n` is set `db` and a number, at first `n` itself; `SWAPDB` exchanges two numbers. The table is read at every command and
//! changed by nobody else, so it is sixteen atomics; it is kept in a record, so that it outlives the node.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use cairn_engine::model::UserKey;

/// How many databases there are.
pub const DATABASES: usize = 16;

static SETS: [&str; DATABASES] = [
    "db0", "db1", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "db9", "db10", "db11", "db12",
    "db13", "db14", "db15",
];

/// Which set each database is.
#[derive(Debug)]
pub struct Databases([AtomicU8; DATABASES]);

impl Default for Databases {
    fn default() -> Self {
        Self(std::array::from_fn(|at| AtomicU8::new(at as u8)))
    }
}

impl Databases {
    /// The set of database `db`; `None` when there is no such database.
    pub fn set(&self, db: u8) -> Option<&'static str> {
        let set = self.0.get(usize::from(db))?.load(SeqCst);
        Some(SETS[usize::from(set) % DATABASES])
    }

    /// The table: the number of each database's set.
    pub fn table(&self) -> [u8; DATABASES] {
        std::array::from_fn(|at| self.0[at].load(SeqCst))
    }

    /// Takes a table over.
    pub fn take(&self, table: [u8; DATABASES]) {
        for (place, set) in self.0.iter().zip(table) {
            place.store(set, SeqCst);
        }
    }
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
