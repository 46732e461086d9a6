//! What a look at a key found, to build a change on.

use crate::{
    error::Error,
    index::Entry,
    model::{Key, NEVER, Version, VoidTime},
    namespace::{
        Namespace, Record,
        read::{Expected, Fetched, Presence},
        write::{Seen, Write},
    },
    storage::read::How,
};

use super::POLICY;
use crate::model::Digest;

/// What a look at a key found: the truth of an instant.
///
/// It holds on to its record's bytes, and by them perhaps to a whole write buffer: whoever keeps it for long calls [`Self::without_record`].
#[derive(Debug)]
pub struct Sight {
    pub(super) digest: Digest,
    pub(super) set_hash: u64,
    pub(super) seen: Seen,
    /// Version and void time of the live record, if there was one.
    found: Option<(Version, VoidTime)>,
}

impl Namespace {
    /// Reads a key for a change. Does not wait until what it saw is durable: [`Sight::settled`] does, or the receipt of a transaction that was
    /// built on it.
    ///
    /// # Errors
    ///
    /// As [`Namespace::get`], and [`Error::InvalidRequest`] when another key stands in this one's place in the index.
    pub async fn look(&self, key: &Key) -> Result<Sight, Error> {
        self.check_open()?;
        self.counters.reads.add(1);
        let key = key.borrowed();
        let (digest, set_hash) = (self.digest(key), self.set_hash(key.set()));
        let asked = Write { key, digest, set_hash, policy: &POLICY };
        loop {
            let (cuts, raw, live) = self.entry_of(&asked);
            let Some(entry) = live else { return Ok(Sight::of_nothing(&asked, cuts, raw)) };
            let fetched = self.fetch_how(asked.digest, &entry, How::AsItIs).await?;
            if let Some(sight) = self.sight(&asked, cuts, entry, fetched)? {
                return Ok(sight);
            }
        }
    }

    /// The same, if RAM has the record; `None` if a device must be read. `expected` is what [`Namespace::expect`] answered for this very key,
    /// if it was asked.
    ///
    /// # Errors
    ///
    /// As [`Self::look`].
    pub fn look_now(&self, key: &Key, expected: Option<Expected>) -> Result<Option<Sight>, Error> {
        self.check_open()?;
        let key = key.borrowed();
        let digest = expected.map_or_else(|| self.digest(key), |expected| expected.0);
        debug_assert_eq!(digest, self.digest(key), "another key was expected");
        let asked = Write { key, digest, set_hash: self.set_hash(key.set()), policy: &POLICY };
        loop {
            let (cuts, raw, live) = self.entry_of(&asked);
            let Some(entry) = live else {
                self.counters.reads.add(1);
                return Ok(Some(Sight::of_nothing(&asked, cuts, raw)));
            };
            let Some(found) = self.shared.read_now(entry.location, entry.size) else {
                return Ok(None);
            };
            let fetched = self.judge(asked.digest, &entry, found)?;
            if let Some(sight) = self.sight(&asked, cuts, entry, fetched)? {
                self.counters.reads.add(1);
                return Ok(Some(sight));
            }
        }
    }

    /// How many truncations had begun before the entry was looked up, the entry, and the same if its record is to be read.
    fn entry_of(&self, asked: &Write<'_>) -> (u64, Option<Entry>, Option<Entry>) {
        let cuts = self.shared.cuts();
        let raw = self.index.get(asked.digest);
        let lives = |entry: &Entry| self.presence(entry, || asked.set_hash) != Presence::Gone;
        (cuts, raw, raw.filter(lives))
    }

    /// What is seen where `entry` points; `None` when it must be looked at again.
    fn sight(
        &self,
        asked: &Write<'_>,
        cuts: u64,
        entry: Entry,
        fetched: Fetched,
    ) -> Result<Option<Sight>, Error> {
        let raw = Some(entry);
        match fetched {
            Fetched::Record(record) if record.bytes.verified().is_key(asked.key) => {
                // The life that the record was read from: the sight may be kept until its place holds another one.
                let Some(life) = record.bytes.life(&self.shared, entry.location) else {
                    return Ok(None);
                };
                let found = Some((record.version(), record.metadata().void_time));
                let (record, life) = (Some(record), Some(life));
                let seen = Seen { cuts, raw, live: raw, record, life };
                let (digest, set_hash) = (asked.digest, asked.set_hash);
                Ok(Some(Sight { digest, set_hash, seen, found }))
            }
            Fetched::Record(_) | Fetched::Other => Err(self.collision()),
            Fetched::Expired => Ok(Some(Sight::of_nothing(asked, cuts, raw))),
            Fetched::Changed => Ok(None),
        }
    }
}

impl Sight {
    fn of_nothing(asked: &Write<'_>, cuts: u64, raw: Option<Entry>) -> Self {
        let seen = Seen { cuts, raw, live: None, record: None, life: None };
        Self { digest: asked.digest, set_hash: asked.set_hash, seen, found: None }
    }

    /// The live record, its bytes verified; `None` when there was none, and behind [`Self::without_record`].
    pub fn record(&self) -> Option<&Record> {
        self.seen.record.as_ref()
    }

    /// Whether there was a live record.
    pub fn exists(&self) -> bool {
        self.found.is_some()
    }

    /// When the live record expires; `None` when there was none.
    pub fn void_time(&self) -> Option<VoidTime> {
        self.found.map(|(_, void_time)| void_time)
    }

    /// The live record's version; `None` when there was none.
    pub fn version(&self) -> Option<Version> {
        self.found.map(|(version, _)| version)
    }

    /// Whether the key was not written since the `earlier` look at it. A record that the defragmenter moved meanwhile is the same version.
    ///
    /// Where both found nothing, what the index keeps of a record that came and went tells, which is not for ever: such a record may be missed once
    /// it is swept, and a tombstone that was moved is taken for another.
    pub fn is_untouched_since(&self, earlier: &Self) -> bool {
        let nothing_came = || self.seen.raw.is_none() || self.seen.raw == earlier.seen.raw;
        self.digest == earlier.digest
            && self.version() == earlier.version()
            && (self.exists() || nothing_came())
    }

    /// The same without the record's bytes: to be compared, and to be a step's condition, but not to be read.
    pub fn without_record(mut self) -> Self {
        self.seen.record = None;
        self
    }

    /// Whether [`Self::settled`] would not wait.
    pub fn is_settled(&self, namespace: &Namespace) -> bool {
        let settled = |entry: &Entry| namespace.shared.is_settled(entry.location, entry.size);
        self.seen.raw.as_ref().is_none_or(settled)
    }

    /// Waits until what it saw survives power loss, if its writer asked for that.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`]: what was seen may be gone after a restart.
    pub async fn settled(&self, namespace: &Namespace) -> Result<(), Error> {
        match &self.seen.raw {
            Some(entry) => namespace.shared.settled(entry.location, entry.size).await,
            None => Ok(()),
        }
    }

    /// Whether its record has expired since.
    pub(super) fn has_expired(&self, namespace: &Namespace) -> bool {
        let void_time = self.void_time().unwrap_or(NEVER);
        void_time != NEVER && void_time.expired(namespace.shared.clock.now_ms())
    }
}
