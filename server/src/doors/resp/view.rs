//! A transaction's view of keys: what was seen of them, and what is to become of them.
//!
//! A command reads and stages here; nothing is written before [`View::commit`] applies all of it as one, if every key is still as it
//! was seen. Later reads see what is staged. A key that was not looked at yet halts the command: the runner looks, and runs it again
//! from its start. A key that is written without being read is written blindly, whatever is there.

mod commit;
mod look;

use std::{collections::HashMap, sync::OnceLock};

use bytes::Bytes;
use cairn_engine::{
    Sight,
    model::{Key, NEVER, VoidTime},
};
use smallvec::SmallVec;

pub use commit::Committed;
pub use look::{LOOKED_MAX, TOO_MANY_KEYS};

use super::{
    counters,
    databases::{self, Sets},
    door::Door,
    fail::Fail,
    item::{Content, Item},
    place::Place,
};

/// Entries that are searched one by one; more get a table.
const FEW: usize = 16;

/// Why a command stopped before its end.
#[derive(Debug)]
pub enum Halt {
    /// It is refused.
    Fail(Fail),
    /// This key must be looked at first.
    Look(Place),
}

impl From<Fail> for Halt {
    fn from(fail: Fail) -> Self {
        Self::Fail(fail)
    }
}

#[derive(Debug)]
enum Staged {
    Put(Content, VoidTime),
    Delete,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    sight: Option<Sight>,
    staged: Option<Staged>,
}

/// What a transaction has seen and staged.
#[derive(Debug)]
pub struct View<'a> {
    door: &'a Door,
    db: u8,
    /// Which sets the databases are for this transaction, all of one instant.
    sets: Sets,
    /// The time it is, once somebody has asked.
    now_ms: OnceLock<u64>,
    entries: SmallVec<[Entry; 1]>,
    /// Where each key's entry is, once there are many.
    table: Option<HashMap<Place, u32>>,
    /// What the running command of several staged over, to be put back if it fails.
    undo: Option<Vec<(usize, Option<Staged>)>>,
    /// Bytes of the values seen.
    held: usize,
}

impl<'a> View<'a> {
    /// An empty view of database `db`.
    pub fn new(door: &'a Door, db: u8) -> Self {
        let (entries, table) = (SmallVec::new(), None);
        let (sets, now_ms) = (door.sets(), OnceLock::new());
        Self { door, db, sets, now_ms, entries, table, undo: None, held: 0 }
    }

    /// The node's side.
    pub fn door(&self) -> &'a Door {
        self.door
    }

    /// The database that keys are of unless another is named.
    pub fn db(&self) -> u8 {
        self.db
    }

    /// The database that the following commands mean.
    pub fn select(&mut self, db: u8) {
        self.db = db;
    }

    /// Whether this place was made of a key of the view's database, and still is that key's.
    pub fn is_place(&self, place: &Place) -> bool {
        place.db == self.db && self.is_there_still(place)
    }

    /// Whether a place is still what it was when it was named.
    pub fn is_there_still(&self, place: &Place) -> bool {
        self.sets.set(place.db).is_ok_and(|set| set == place.key.set())
    }

    /// The time it is for this transaction, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        *self.now_ms.get_or_init(|| self.door.now_ms())
    }

    /// What a key holds; `None` when there is nothing.
    pub fn get(&self, key: &[u8]) -> Result<Option<Item<'_>>, Halt> {
        self.get_in(self.db, key)
    }

    /// The same in another database.
    pub fn get_in(&self, db: u8, key: &[u8]) -> Result<Option<Item<'_>>, Halt> {
        let Some(entry) = self.find(db, key) else {
            return Err(Halt::Look(self.place(db, key)?));
        };
        self.item(&self.entries[entry])
    }

    /// Whether a key holds anything. Its value need not be known for that.
    pub fn exists(&self, key: &[u8]) -> Result<bool, Halt> {
        self.exists_in(self.db, key)
    }

    fn exists_in(&self, db: u8, key: &[u8]) -> Result<bool, Halt> {
        let Some(entry) = self.find(db, key) else {
            return Err(Halt::Look(self.place(db, key)?));
        };
        match &self.entries[entry] {
            Entry { staged: Some(staged), .. } => Ok(matches!(staged, Staged::Put(..))),
            Entry { sight: Some(sight), .. } => Ok(sight.exists()),
            Entry { place, .. } => Err(Halt::Look(place.clone())),
        }
    }

    /// The string a key holds; `None` when there is nothing.
    ///
    /// # Errors
    ///
    /// `WRONGTYPE` when it holds something else.
    pub fn string(&self, key: &[u8]) -> Result<Option<&[u8]>, Halt> {
        match self.get(key)? {
            Some(item) => Ok(Some(item.string()?)),
            None => Ok(None),
        }
    }

    /// Puts a value in a key's place. One that has expired already is a delete.
    pub fn put(&mut self, key: &[u8], content: Content, void_time: VoidTime) -> Result<(), Halt> {
        self.put_in(self.db, key, content, void_time)
    }

    /// The same in another database.
    pub fn put_in(
        &mut self,
        db: u8,
        key: &[u8],
        content: Content,
        void_time: VoidTime,
    ) -> Result<(), Halt> {
        let gone = void_time != NEVER && void_time.expired(self.now_ms());
        let staged = if gone { Staged::Delete } else { Staged::Put(content, void_time) };
        self.stage(db, key, staged)
    }

    /// Puts a string in a key's place.
    pub fn put_string(
        &mut self,
        key: &[u8],
        value: impl Into<Bytes>,
        void_time: VoidTime,
    ) -> Result<(), Halt> {
        self.put(key, Content::String(value.into()), void_time)
    }

    /// Deletes a key; whether there was anything.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Halt> {
        self.delete_in(self.db, key)
    }

    /// The same in another database.
    pub fn delete_in(&mut self, db: u8, key: &[u8]) -> Result<bool, Halt> {
        let there = self.exists_in(db, key)?;
        if there {
            self.stage(db, key, Staged::Delete)?;
        }
        Ok(there)
    }

    /// Gives what a key holds another end; whether there was anything.
    pub fn expire(&mut self, key: &[u8], void_time: VoidTime) -> Result<bool, Halt> {
        let Some(item) = self.get(key)? else { return Ok(false) };
        let content = item.content();
        self.put(key, content, void_time)?;
        Ok(true)
    }

    fn stage(&mut self, db: u8, key: &[u8], staged: Staged) -> Result<(), Halt> {
        let at = match self.find(db, key) {
            Some(at) => at,
            None => {
                let place = self.place(db, key)?;
                self.add(Entry { place, sight: None, staged: None })
            }
        };
        let before = self.entries[at].staged.replace(staged);
        if let Some(undo) = &mut self.undo {
            undo.push((at, before));
        }
        Ok(())
    }

    fn add(&mut self, entry: Entry) -> usize {
        if self.entries.len() >= FEW {
            let entries = &self.entries;
            let table = self.table.get_or_insert_with(|| {
                let places = entries.iter().enumerate();
                places.map(|(at, e)| (e.place.clone(), at as u32)).collect()
            });
            table.insert(entry.place.clone(), self.entries.len() as u32);
        }
        self.entries.push(entry);
        self.entries.len() - 1
    }

    fn place(&self, db: u8, key: &[u8]) -> Result<Place, Fail> {
        let set = self.sets.set(db)?;
        let user = databases::user_key(key);
        let key = Key::in_known_set(set, user).map_err(cairn_engine::Error::from)?;
        Ok(Place { db, key })
    }

    fn find(&self, db: u8, key: &[u8]) -> Option<usize> {
        let Some(table) = &self.table else {
            let same = |entry: &Entry| {
                entry.place.db == db && databases::is_user_key(entry.place.key.user(), key)
            };
            return self.entries.iter().position(same);
        };
        let key = Key::in_known_set("", databases::user_key(key)).ok()?;
        table.get(&Place { db, key }).map(|at| *at as usize)
    }

    fn item<'v>(&self, entry: &'v Entry) -> Result<Option<Item<'v>>, Halt> {
        Ok(match (&entry.staged, &entry.sight) {
            (Some(Staged::Delete), _) => None,
            (Some(Staged::Put(content, void_time)), _) => Some(Item::new(content, *void_time)),
            (None, Some(sight)) if sight.record().is_some() || !sight.exists() => {
                sight.record().map(Item::of)
            }
            // Not looked at, or not at its value.
            (None, _) => return Err(Halt::Look(entry.place.clone())),
        })
    }

    /// Takes back what is staged; what was seen stays.
    pub fn unstage(&mut self) {
        for entry in &mut self.entries {
            entry.staged = None;
        }
    }

    /// One of several commands begins: what it stages can be taken back.
    pub fn begin(&mut self) {
        self.undo.get_or_insert_default().clear();
    }

    /// Takes back what was staged since [`Self::begin`].
    pub fn roll_back(&mut self) {
        while let Some((at, before)) = self.undo.as_mut().and_then(Vec::pop) {
            self.entries[at].staged = before;
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.table = None;
        self.holds(0);
        self.sets = self.door.sets();
        self.now_ms = OnceLock::new();
    }

    /// What was seen, taken out.
    pub fn into_sights(mut self) -> impl Iterator<Item = Sight> {
        std::mem::take(&mut self.entries).into_iter().filter_map(|entry| entry.sight)
    }

    /// Counts what was seen as found or missed.
    pub fn count(&self) {
        for sight in self.entries.iter().filter_map(|entry| entry.sight.as_ref()) {
            let counters = &self.door.counters;
            let counter = if sight.exists() { &counters.hits } else { &counters.misses };
            counters::add(counter, 1);
        }
    }

    /// Every key that was looked at, and what was seen.
    pub fn into_seen(mut self) -> impl Iterator<Item = (Place, Sight)> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries.filter_map(|entry| Some((entry.place, entry.sight?)))
    }

    /// Whether something is staged.
    pub fn writes(&self) -> bool {
        self.entries.iter().any(|entry| entry.staged.is_some())
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        self.holds(0);
    }
}
