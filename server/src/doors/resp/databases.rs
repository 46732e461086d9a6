//! The sixteen databases: which set each one is, and which record key a Redis key is.
//!
//! Database `n` is set `db` and a number, at first `n` itself; `SWAPDB` exchanges two numbers. All sixteen numbers are one atomic word, so that
//! whoever reads it has the table of an instant; it is kept in a record, so that it outlives the node.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cairn_engine::{
    Namespace,
    format::ValueRef,
    model::{Durability, Key, ReadPolicy, UserKey, Value, WritePolicy},
};
use tokio::sync::Mutex;

use super::fail::{Fail, NO_DATABASE};

/// How many databases there are.
pub const DATABASES: usize = 16;

/// The sets that databases are.
pub static SETS: [&str; DATABASES] = [
    "db0", "db1", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "db9", "db10", "db11", "db12",
    "db13", "db14", "db15",
];

/// Where the table is kept: a set that no database is.
const TABLE_SET: &str = "redis";
const TABLE_KEY: &str = "databases";
const TABLE_BIN: &str = "sets";

/// While this is so, nobody may guess which of two sets a database is.
const UNKNOWN: Fail = Fail::text(
    "INDOUBT whether databases were swapped cannot be read; SWAPDB or a restart of the node looks again",
);

/// Which set each database is, at one instant: a hexadecimal digit each, database 0 the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets(u64);

impl Sets {
    /// Before the first swap.
    const FIRST: Self = Self(0xfedc_ba98_7654_3210);
    /// No table: nobody knows.
    const UNKNOWN: Self = Self(0);

    /// The set of database `db`.
    ///
    /// # Errors
    ///
    /// No such database, or `INDOUBT` when it is not known which set it is.
    pub fn set(self, db: u8) -> Result<&'static str, Fail> {
        if usize::from(db) >= DATABASES {
            return Err(NO_DATABASE);
        }
        if self == Self::UNKNOWN {
            return Err(UNKNOWN);
        }
        Ok(SETS[usize::from(self.number(db))])
    }

    fn number(self, db: u8) -> u8 {
        (self.0 >> (4 * db)) as u8 & 0xf
    }

    fn swapped(self, a: u8, b: u8) -> Self {
        let differ = u64::from(self.number(a) ^ self.number(b));
        Self(self.0 ^ (differ << (4 * a)) ^ (differ << (4 * b)))
    }

    fn bytes(self) -> Vec<u8> {
        (0..DATABASES as u8).map(|db| self.number(db)).collect()
    }

    /// The table that these bytes are; `None` when they are none.
    fn of(bytes: &[u8]) -> Option<Self> {
        let all = (0..DATABASES as u8).all(|set| bytes.contains(&set));
        let word = bytes.iter().rev().fold(0, |word, set| word << 4 | u64::from(*set));
        (all && bytes.len() == DATABASES).then_some(Self(word))
    }
}

/// Which set each database is.
#[derive(Debug)]
pub struct Databases {
    sets: AtomicU64,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Default for Databases {
    fn default() -> Self {
        Self { sets: AtomicU64::new(Sets::FIRST.0), changing: Mutex::default() }
    }
}

impl Databases {
    /// Which set each database is now.
    pub fn sets(&self) -> Sets {
        Sets(self.sets.load(SeqCst))
    }

    /// Reads the table back that the last run left.
    pub async fn load(&self, namespace: &Namespace) -> Result<(), cairn_engine::Error> {
        let sets = read(namespace).await?;
        self.sets.store(sets.0, SeqCst);
        Ok(())
    }

    /// Exchanges two databases: durably first, then for everybody at once. Commands that have begun still mean what they meant then. To be
    /// run to its end: a swap that is left half way is on the device and not in memory.
    pub async fn swap(&self, namespace: &Namespace, a: u8, b: u8) -> Result<(), Fail> {
        let _one_at_a_time = self.changing.lock().await;
        if self.sets() == Sets::UNKNOWN {
            self.load(namespace).await?;
        }
        let swapped = self.sets().swapped(a, b);
        let bins = [(TABLE_BIN.into(), Value::Bytes(swapped.bytes()))];
        let policy = WritePolicy {
            durability: Some(Durability::Device),
            ttl: cairn_engine::model::Ttl::Never,
            ..WritePolicy::default()
        };
        match namespace.put(&table_key()?, &bins, &policy).await {
            Ok(_) => self.sets.store(swapped.0, SeqCst),
            Err(error) if error.in_doubt() => {
                // What a read answers is durable. If none does, memory must not contradict what the next start will find.
                let found = read(namespace).await.unwrap_or(Sets::UNKNOWN);
                self.sets.store(found.0, SeqCst);
                if found != swapped {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

async fn read(namespace: &Namespace) -> Result<Sets, cairn_engine::Error> {
    let record = namespace.get(&table_key()?, &ReadPolicy::default()).await?;
    let kept = record.as_ref().and_then(|record| match record.bin(TABLE_BIN) {
        Ok(Some(ValueRef::Bytes(table))) => Sets::of(table),
        _ => None,
    });
    Ok(kept.unwrap_or(Sets::FIRST))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A swap exchanges two sets and no others, and the record it is kept in says the same.
    #[test]
    fn tables_are_swapped_and_kept() {
        for (a, b) in [(0, 15), (3, 4), (7, 7)] {
            let swapped = Sets::FIRST.swapped(a, b);
            let at = |db: u8| {
                if db == a {
                    b
                } else if db == b {
                    a
                } else {
                    db
                }
            };
            let wanted: Vec<u8> = (0..16).map(at).collect();
            assert_eq!(swapped.bytes(), wanted, "{a} {b}");
            assert_eq!(Sets::of(&wanted), Some(swapped));
        }
        assert!(Sets::FIRST.set(16).is_err());
        assert!(Sets::UNKNOWN.set(0).is_err());
        assert_eq!(Sets::of(&[0; 16]), None);
        assert_eq!(Sets::of(&[]), None);
    }
}
