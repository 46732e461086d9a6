//! Reading a record, and whether it exists.

use super::{Metadata, Namespace, Record};
use crate::{
    error::Error,
    index::{CoarseExpiry, Entry, Life},
    model::{Digest, Key, KeyRef, NEVER, ReadPolicy, VoidTime},
    storage::read::{How, ReadError, RecordBytes},
};

/// What the index says of a record, as far as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// There is nothing, or a tombstone, or it expired or was truncated.
    Gone,
    /// It is there.
    Live,
    /// It is about to expire: only the record itself knows.
    AskRecord,
}

/// A key that is about to be asked for: see [`Namespace::expect`].
#[derive(Clone, Copy, Debug)]
pub struct Expected(pub(super) Digest);

/// What lies where an index entry points.
pub(super) enum Fetched {
    /// The record.
    Record(Record),
    /// The record has expired.
    Expired,
    /// The entry has changed: look again.
    Changed,
    /// A sound record, but another one: two records share an index entry's bits.
    Other,
}

impl Namespace {
    /// For callers with several operations at hand: when all of them are expected first, then all their entries fetched, then all
    /// the records that will be read, memory is waited for three times for all of them instead of three times for each. Only hints to
    /// the CPU, which change no result.
    pub fn expect(&self, key: KeyRef<'_>) -> Expected {
        Expected(self.digest(key))
    }

    /// Fetches the index entry of what is expected.
    pub fn fetch_entry(&self, expected: Expected) {
        self.index.prefetch(expected.0);
    }

    /// Fetches the record itself, if RAM has it; to be called some time after [`Self::fetch_entry`].
    pub fn fetch_record(&self, expected: Expected) {
        if let Some(entry) = self.index.get(expected.0) {
            self.shared.prefetch(entry.location, entry.size);
        }
    }

    /// Reads a record; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Corruption`] when the stored record is damaged, [`Error::ReadFailed`] when the device cannot be read,
    /// [`Error::Stopping`].
    pub async fn get(&self, key: &Key, policy: &ReadPolicy) -> Result<Option<Record>, Error> {
        self.check_open()?;
        self.counters.reads.add(1);
        let digest = self.digest(key.borrowed());
        loop {
            let Some(entry) = self.index.get(digest) else { return Ok(None) };
            if self.presence(&entry, || self.set_hash(key.set())) == Presence::Gone {
                self.shared.settled(entry.location, entry.size).await?;
                return Ok(None);
            }
            match self.fetch(digest, &entry, policy.bypass_cache).await? {
                Fetched::Record(record) if record.bytes.verified().is_key(key.borrowed()) => {
                    return Ok(Some(record));
                }
                Fetched::Record(_) | Fetched::Other => {
                    self.counters.digest_mismatches.add(1);
                    return Ok(None);
                }
                Fetched::Expired => return Ok(None),
                Fetched::Changed => {}
            }
        }
    }

    /// Whether a record exists, with its generation and void time; `None` when there is none. Costs no device read unless the record
    /// has a void time.
    ///
    /// # Errors
    ///
    /// As [`Self::get`], for records with a void time.
    pub async fn exists(&self, key: &Key, policy: &ReadPolicy) -> Result<Option<Metadata>, Error> {
        let digest = self.digest(key.borrowed());
        if let Some(entry) = self.index.get(digest)
            && entry.expiry == CoarseExpiry::NEVER
            && self.presence(&entry, || self.set_hash(key.set())) == Presence::Live
        {
            self.check_open()?;
            self.counters.reads.add(1);
            self.shared.settled(entry.location, entry.size).await?;
            return Ok(Some(Metadata { generation: entry.generation, void_time: NEVER }));
        }
        Ok(self.get(key, policy).await?.map(|record| record.metadata()))
    }

    pub(super) fn set_hash(&self, set: &str) -> u64 {
        self.secret.set_hash(set)
    }

    /// What the index alone says. `set_hash` is asked for only while a truncation is under way.
    pub(super) fn presence(&self, entry: &Entry, set_hash: impl FnOnce() -> u64) -> Presence {
        if entry.tombstone {
            return Presence::Gone;
        }
        let cut = self.sets.is_sweeping().then(|| self.sets.cut(set_hash())).flatten();
        if let Some(cut) = cut
            && let Some((block, _)) = self.shared.blocks.locate(entry.location)
            && self.shared.blocks.get(block).birth_sequence() < cut.sequence
        {
            return Presence::Gone;
        }
        if entry.expiry == CoarseExpiry::NEVER {
            return Presence::Live;
        }
        match entry.expiry.life(self.shared.clock.now_ms()) {
            Life::Alive => Presence::Live,
            Life::Expired => Presence::Gone,
            Life::AskRecord => Presence::AskRecord,
        }
    }

    /// Reads what `entry`, the index entry of `digest`, points to.
    pub(super) async fn fetch(
        &self,
        digest: Digest,
        entry: &Entry,
        bypass: bool,
    ) -> Result<Fetched, Error> {
        let how = if bypass { How::Bypassing } else { How::Settled };
        self.fetch_how(digest, entry, how).await
    }

    /// The same, in the way asked for.
    pub(super) async fn fetch_how(
        &self,
        digest: Digest,
        entry: &Entry,
        how: How,
    ) -> Result<Fetched, Error> {
        let found = match self.shared.read(entry.location, entry.size, how).await {
            Ok(bytes) => bytes,
            Err(ReadError::Failed(error)) => return Err(error),
            Err(ReadError::Stale) => {
                return self.unreadable(digest, entry, None, "it lies beyond the device");
            }
        };
        self.judge(digest, entry, found)
    }

    /// What the bytes are that lie where `entry`, the index entry of `digest`, points.
    pub(super) fn judge(
        &self,
        digest: Digest,
        entry: &Entry,
        found: RecordBytes,
    ) -> Result<Fetched, Error> {
        match found.record() {
            // The entry was of a record: a tombstone in its place is a later life of the block.
            Ok(record) if same_entry(record.digest(), digest) && !record.tombstone() => {
                // The clock is asked only by records that have an end.
                let void_time = record.void_time();
                let expired = void_time != NEVER && void_time.expired(self.shared.clock.now_ms());
                Ok(if expired {
                    Fetched::Expired
                } else {
                    Fetched::Record(Record { bytes: found })
                })
            }
            Ok(record) if !record.tombstone() && self.still(digest, entry, Some(&found)) => {
                Ok(Fetched::Other)
            }
            Ok(record) if record.tombstone() => {
                self.unreadable(digest, entry, Some(&found), "a tombstone stands in its place")
            }
            Ok(_) => Ok(Fetched::Changed),
            Err(fault) => self.unreadable(digest, entry, Some(&found), fault.what()),
        }
    }

    /// Whether the index still points here, to the same life of the block. Asks under the slot: a writer that is just putting another
    /// version in the record's place is waited for.
    fn still(&self, digest: Digest, entry: &Entry, found: Option<&RecordBytes>) -> bool {
        self.index.with_slot(digest, |slot| slot.get()) == Some(*entry)
            && !found.is_some_and(|found| found.is_stale(&self.shared, entry.location))
    }

    fn unreadable(
        &self,
        digest: Digest,
        entry: &Entry,
        found: Option<&RecordBytes>,
        what: &'static str,
    ) -> Result<Fetched, Error> {
        if !self.still(digest, entry, found) {
            return Ok(Fetched::Changed);
        }
        self.shared.counters.damaged.add(1);
        let (device, offset) = match self.shared.blocks.locate(entry.location) {
            Some((block, _)) => {
                let store = self.shared.store_of(block);
                let base = u64::from(store.first_block) * self.shared.block_size;
                (store.device.name(), entry.location.offset() - base)
            }
            None => ("?", entry.location.offset()),
        };
        tracing::error!(device, offset, what, "a damaged record was asked for");
        Err(Error::Corruption { device: device.into(), offset, what })
    }

    /// The instant a record written now with the namespace's default lifetime expires.
    pub(super) fn default_void_time(&self, now_ms: u64) -> VoidTime {
        match self.default_ttl_ms() {
            0 => NEVER,
            ttl => VoidTime(now_ms.saturating_add(ttl).min(VoidTime::MAX_MS)),
        }
    }
}

/// Whether two digests have the same index entry. Whether they are of the same key, the caller sees from the record.
pub(super) fn same_entry(a: Digest, b: Digest) -> bool {
    (a.partition(), a.tag()) == (b.partition(), b.tag())
}
