//! A key in a database: as the client numbers it, and as the record that it is now.

use cairn_engine::model::Key;

use super::{databases, door::Door};

/// A key in a database.
#[derive(Clone, Debug)]
pub struct Place {
    /// The database, as the client numbers it.
    pub db: u8,
    /// The record's key.
    pub key: Key,
}

impl Place {
    /// The place of a client's key; `None` when there is no such database, or the key is too long.
    pub fn of(door: &Door, db: u8, key: &[u8]) -> Option<Self> {
        let key = Key::in_known_set(door.set(db).ok()?, databases::user_key(key)).ok()?;
        Some(Self { db, key })
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.db == other.db && self.key.user() == other.key.user()
    }
}

impl Eq for Place {}

impl std::hash::Hash for Place {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.db.hash(state);
        self.key.user().hash(state);
    }
}
