//! Looking at keys: one or many, at once or waiting, and what of it a view holds in memory.

use std::{collections::HashSet, sync::atomic::Ordering::Relaxed};

use cairn_engine::Sight;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    super::{ahead::Known, fail::Fail, item::Item, place::Place},
    Entry, FEW, View,
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

impl View<'_> {
    /// Looks at a key.
    pub async fn look(&mut self, place: Place) -> Result<(), Fail> {
        let sight = self.door.namespace().look(&place.key).await?;
        self.saw(place, sight)
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
    pub(super) fn holds(&mut self, held: usize) {
        let holding = &self.door.counters.holding;
        holding.store(holding.load(Relaxed) + held as u64 - self.held as u64, Relaxed);
        self.held = held;
    }
}

/// Bytes of the value seen.
fn held(sight: &Sight) -> usize {
    sight.record().map_or(0, |record| Item::of(record).size())
}
