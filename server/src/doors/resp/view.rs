//! A transaction's view of keys: what was seen of them, and what is to become of them.
//!
//! A command reads and stages here; nothing is written before [`View::commit`] applies all of it as one, if every key is still as it
//! was seen. Later reads see what is staged. A key that was not looked at yet halts the command: the runner looks, and runs it again
//! from its start. A key that is written without being read is written blindly, whatever is there.

use std::{
    collections::{HashMap, HashSet},
    sync::{OnceLock, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use cairn_engine::{
    Change, Receipt, Sight, Step, Transacted,
    format::ValueRef,
    model::{Key, NEVER, VoidTime},
};
use futures::{StreamExt, TryStreamExt, stream};
use smallvec::SmallVec;

use super::{
    ahead::Known,
    counters,
    databases::Sets,
    door::Door,
    fail::Fail,
    item::{Content, Item},
};

/// Looks of one command under way at once: each may hold a record.
const LOOKS: usize = 64;
/// Bytes of values that one command, or one transaction, may read.
const HELD_MAX: usize = 64 << 20;
const TOO_MUCH: Fail = Fail::text(
    "ERR the values this command reads are more than 64 MiB together; ask for fewer keys",
);
/// Keys that are looked at for one command, or one transaction: no more can be applied as one.
pub const LOOKED_MAX: usize = 65_536;
/// The keys of a command are more than that.
pub const TOO_MANY_KEYS: Fail =
    Fail::text("ERR a command or a transaction takes at most 65,536 keys that it must look at");
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
        let key = Key::in_known_set(door.set(db).ok()?, super::databases::user_key(key)).ok()?;
        Some(Self { db, key })
    }
}

/// What came of a commit.
#[derive(Debug)]
pub enum Committed {
    /// There was nothing to write, and everything seen was there at one instant.
    Nothing,
    /// Written.
    Applied(Receipt),
    /// Somebody changed a key meanwhile; nothing was written.
    Changed,
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
        let user = super::databases::user_key(key);
        let key = Key::in_known_set(set, user).map_err(cairn_engine::Error::from)?;
        Ok(Place { db, key })
    }

    fn find(&self, db: u8, key: &[u8]) -> Option<usize> {
        let Some(table) = &self.table else {
            let same = |entry: &Entry| {
                entry.place.db == db && super::databases::is_user_key(entry.place.key.user(), key)
            };
            return self.entries.iter().position(same);
        };
        let key = Key::in_known_set("", super::databases::user_key(key)).ok()?;
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

    /// Looks at a key.
    pub async fn look(&mut self, place: Place) -> Result<(), Fail> {
        let sight = self.door.namespace().look(&place.key).await?;
        self.saw(place, sight)
    }

    /// Whether this place was made of a key of the view's database, and still is that key's.
    pub fn is_place(&self, place: &Place) -> bool {
        place.db == self.db && self.is_there_still(place)
    }

    /// Takes the place of a key that will be asked for, and with `looks` looks at it at once; `None` if that must wait.
    pub fn expect(&mut self, known: Known, looks: bool) -> Option<Result<(), Fail>> {
        let Known { place, expected } = known;
        let sight = match looks {
            false => None,
            true => match self.door.namespace().look_now(&place.key, Some(expected)) {
                Ok(sight) => Some(sight?),
                Err(error) => return Some(Err(error.into())),
            },
        };
        self.holds(self.held + sight.as_ref().map_or(0, held));
        self.add(Entry { place, sight, staged: None });
        Some(if self.held > HELD_MAX { Err(TOO_MUCH) } else { Ok(()) })
    }

    /// The same at once; `None` if it must wait.
    pub fn look_now(&mut self, place: Place) -> Option<Result<(), Fail>> {
        match self.door.namespace().look_now(&place.key, None) {
            Ok(sight) => Some(self.saw(place, sight?)),
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Looks at several keys at once, with their values or only whether they are there.
    pub async fn look_all<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
        values: bool,
    ) -> Result<(), Fail> {
        let wanted = self.unseen(keys)?.into_iter().map(|place| (place, values));
        self.look_each(wanted).await
    }

    /// Those of these keys that were not looked at, each once.
    ///
    /// # Errors
    ///
    /// A key that cannot be one; [`TOO_MANY_KEYS`].
    pub fn unseen<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Result<Vec<Place>, Fail> {
        let (mut places, mut met) = (Vec::new(), HashSet::new());
        let mut all = self.entries.len();
        for key in keys {
            let found = self.find(self.db, key);
            if found.is_some_and(|at| self.entries[at].sight.is_some()) {
                continue;
            }
            let place = self.place(self.db, key)?;
            let again = if places.len() < FEW {
                places.contains(&place)
            } else {
                if met.is_empty() {
                    met.extend(places.iter().cloned());
                }
                !met.insert(place.clone())
            };
            if again {
                continue;
            }
            all += usize::from(found.is_none());
            if all > LOOKED_MAX {
                return Err(TOO_MANY_KEYS);
            }
            places.push(place);
        }
        Ok(places)
    }

    /// Looks at several keys at once, each with its value or only whether it is there.
    pub async fn look_each(
        &mut self,
        wanted: impl Iterator<Item = (Place, bool)>,
    ) -> Result<(), Fail> {
        let namespace = self.door.namespace();
        let looks = wanted.map(|(place, values)| async move {
            let sight = namespace.look(&place.key).await?;
            let sight = if values { sight } else { sight.without_record() };
            Ok::<_, Fail>((place, sight))
        });
        let mut seen = std::pin::pin!(stream::iter(looks).buffered(LOOKS));
        while let Some((place, sight)) = seen.try_next().await? {
            self.saw(place, sight)?;
        }
        Ok(())
    }

    /// Takes a look that was made elsewhere. Refused when what was seen is more than a command may hold.
    pub fn saw(&mut self, place: Place, sight: Sight) -> Result<(), Fail> {
        self.holds(self.held + held(&sight));
        if self.held > HELD_MAX {
            return Err(TOO_MUCH);
        }
        let same = |entry: &Entry| entry.place == place;
        let at = match &self.table {
            None => self.entries.iter().position(same),
            Some(table) => table.get(&place).map(|at| *at as usize),
        };
        match at {
            Some(at) => self.entries[at].sight = Some(sight),
            None => {
                self.add(Entry { place, sight: Some(sight), staged: None });
            }
        }
        Ok(())
    }

    /// Counts what is held, for the worker too.
    fn holds(&mut self, held: usize) {
        let holding = &self.door.counters.holding;
        holding.store(holding.load(Relaxed) + held as u64 - self.held as u64, Relaxed);
        self.held = held;
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

    /// Applies what is staged, all or nothing, if all keys are still as they were seen.
    pub async fn commit(&self) -> Result<Committed, Fail> {
        let writes = self.writes();
        let seen = self.entries.iter().filter(|entry| entry.sight.is_some()).count();
        if !writes && seen < 2 {
            return Ok(Committed::Nothing);
        }
        let transacted = match &self.entries[..] {
            // Mostly: one key.
            [entry] => {
                let bins = bins(entry)?;
                self.door.namespace().transact(&[step(entry, &bins)]).await?
            }
            entries => Box::pin(self.commit_all(entries)).await?,
        };
        Ok(match transacted {
            Transacted::Applied(receipt) if writes => Committed::Applied(receipt),
            Transacted::Applied(_) => Committed::Nothing,
            Transacted::Changed => Committed::Changed,
        })
    }

    /// The same at once for at most one key; `None` if it must wait, or there are more: nothing was written then.
    pub fn commit_now(&self) -> Option<Result<Committed, Fail>> {
        let [entry] = &self.entries[..] else {
            return self.entries.is_empty().then_some(Ok(Committed::Nothing));
        };
        if entry.staged.is_none() {
            return Some(Ok(Committed::Nothing));
        }
        let transacted = match bins(entry) {
            Ok(bins) => self.door.namespace().transact_now(&step(entry, &bins)),
            Err(fail) => return Some(Err(fail)),
        };
        match transacted {
            Ok(Some(Transacted::Applied(receipt))) => Some(Ok(Committed::Applied(receipt))),
            Ok(Some(Transacted::Changed)) => Some(Ok(Committed::Changed)),
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    async fn commit_all(&self, entries: &[Entry]) -> Result<Transacted, Fail> {
        // What a failed command wanted to write blindly was neither seen nor staged.
        let counts = |entry: &&Entry| entry.sight.is_some() || entry.staged.is_some();
        let entries: SmallVec<[&Entry; 4]> = entries.iter().filter(counts).collect();
        let bins: Vec<Bins<'_>> =
            entries.iter().map(|entry| bins(entry)).collect::<Result<_, _>>()?;
        let steps: Vec<_> =
            entries.iter().zip(&bins).map(|(entry, bins)| step(entry, bins)).collect();
        Ok(self.door.namespace().transact(&steps).await?)
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        self.holds(0);
    }
}

/// Bytes of the value seen.
fn held(sight: &Sight) -> usize {
    sight.record().map_or(0, |record| Item::of(record).size())
}

type Bins<'a> = SmallVec<[(&'a str, ValueRef<'a>); 1]>;

fn step<'s>(entry: &'s Entry, bins: &'s [(&'s str, ValueRef<'s>)]) -> Step<'s> {
    let change = match &entry.staged {
        None => Change::Check,
        Some(Staged::Delete) => Change::Delete,
        Some(Staged::Put(_, void_time)) => Change::Put { bins, void_time: *void_time },
    };
    Step { key: &entry.place.key, seen: entry.sight.as_ref(), change }
}

/// What a put would write.
fn bins(entry: &Entry) -> Result<Bins<'_>, Fail> {
    match &entry.staged {
        Some(Staged::Put(content, _)) => content.bins(),
        _ => Ok(Bins::new()),
    }
}
