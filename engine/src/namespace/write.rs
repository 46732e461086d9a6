//! Writing records: put, delete, touch, and the step they share: append and index entry as one.

use std::{cell::RefCell, collections::HashSet};

use super::{
    Metadata, Namespace, Outcome, Record,
    read::{Fetched, Presence},
    sets::Set,
};
use crate::{
    error::Error,
    format::{BodyWriter, RecordBuilder},
    index::{CoarseExpiry, Entry},
    model::{
        Digest, Durability, ExistsPolicy, GenerationCheck, InvalidValue, Key, KeyRef, Location,
        NEVER, SizeClass, Ttl, Value, VoidTime, WritePolicy, limits,
    },
    storage::{
        Appending,
        append::{Append, Appended},
        failed,
        space::Claim,
        store::Store,
    },
};

thread_local! {
    /// Where this thread puts records together; kept for its memory.
    static BUILDER: RefCell<RecordBuilder> = RefCell::default();
}

/// One write: what it is about.
pub(super) struct Write<'a> {
    pub(super) key: KeyRef<'a>,
    pub(super) digest: Digest,
    pub(super) set_hash: u64,
    pub(super) policy: &'a WritePolicy,
}

/// What a write found before it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// How many truncations had begun: a write that saw fewer looks again.
    pub(super) cuts: u64,
    /// The index entry as it was.
    pub(super) raw: Option<Entry>,
    /// The same, if there is a live record.
    pub(super) live: Option<Entry>,
    /// The record, if it was read.
    pub(super) record: Option<Record>,
    /// Which life of its block it was read from, where that must be the same later.
    pub(super) life: Option<u64>,
}

/// What a write wants to store.
pub(super) enum NewRecord {
    /// A record that expires then, its body already in the builder.
    Record(VoidTime),
    /// A delete.
    Tombstone,
}

/// What came of an attempt to apply a write.
pub(super) enum Attempt {
    /// Applied. `durable` waits for the promise.
    Applied(Appended, Metadata),
    /// Somebody else changed the record: look again.
    Changed,
    /// No room just now: wait until something changed on the device whose blocks begin with this one.
    Wait(u32, u64),
}

impl Namespace {
    /// Writes bins. A nil value removes its bin.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`], [`Error::InvalidRequest`] when no bin would be left, [`Error::RecordTooBig`], [`Error::NoSpace`],
    /// [`Error::DeviceFailed`] (perhaps in doubt), [`Error::Stopping`]; and those of a read where the old record is needed.
    pub async fn put(
        &self,
        key: &Key,
        bins: &[(Box<str>, Value)],
        policy: &WritePolicy,
    ) -> Result<Outcome<Metadata>, Error> {
        check_bins(bins)?;
        let write = self.begin(key, policy)?;
        loop {
            let seen = self.see(&write).await?;
            if let Some(refused) = self.refuse(&write, &seen).await? {
                return Ok(refused);
            }
            let merges = matches!(policy.exists, ExistsPolicy::Update | ExistsPolicy::UpdateOnly);
            let Some(old) = self.old(&write, &seen, merges || policy.ttl == Ttl::Keep).await?
            else {
                continue;
            };
            let void_time = self.void_time(policy.ttl, old.as_ref())?;
            let merged = old.as_ref().filter(|_| merges);
            let attempt = self.attempt(&write, &seen, NewRecord::Record(void_time), |body| {
                fill_body(body, merged, bins)
            })?;
            if let Some(metadata) = self.conclude(&write, attempt).await? {
                return Ok(Outcome::Done(metadata));
            }
        }
    }

    /// Deletes a record, durably: it does not come back.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`], [`Error::DeviceFailed`] (perhaps in doubt), [`Error::Stopping`].
    pub async fn delete(&self, key: &Key, policy: &WritePolicy) -> Result<Outcome<()>, Error> {
        let policy = WritePolicy { exists: ExistsPolicy::UpdateOnly, ..*policy };
        let write = self.begin(key, &policy)?;
        loop {
            let seen = self.see(&write).await?;
            match self.refuse::<()>(&write, &seen).await? {
                Some(Outcome::NotFound) => return Ok(Outcome::NotFound),
                Some(Outcome::GenerationMismatch(g)) => return Ok(Outcome::GenerationMismatch(g)),
                Some(Outcome::Exists | Outcome::Done(_)) => unreachable!("not with update-only"),
                None => {}
            }
            let attempt = self.attempt(&write, &seen, NewRecord::Tombstone, |_| Ok(()))?;
            if self.conclude(&write, attempt).await?.is_some() {
                return Ok(Outcome::Done(()));
            }
        }
    }

    /// Gives a record the policy's lifetime, and a new generation.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub async fn touch(&self, key: &Key, policy: &WritePolicy) -> Result<Outcome<Metadata>, Error> {
        let policy = WritePolicy { exists: ExistsPolicy::UpdateOnly, ..*policy };
        let write = self.begin(key, &policy)?;
        loop {
            let seen = self.see(&write).await?;
            if let Some(refused) = self.refuse(&write, &seen).await? {
                return Ok(refused);
            }
            let Some(old) = self.old(&write, &seen, true).await? else { continue };
            let void_time = self.void_time(policy.ttl, old.as_ref())?;
            let attempt = self.attempt(&write, &seen, NewRecord::Record(void_time), |body| {
                let old = old.as_ref().expect("a record that is touched exists");
                body.extend_from_slice(old.bytes.verified().body());
                Ok(())
            })?;
            if let Some(metadata) = self.conclude(&write, attempt).await? {
                return Ok(Outcome::Done(metadata));
            }
        }
    }

    pub(super) fn begin<'a>(
        &self,
        key: &'a Key,
        policy: &'a WritePolicy,
    ) -> Result<Write<'a>, Error> {
        self.check_open()?;
        if policy.ttl == Ttl::Millis(0) {
            return Err(Error::InvalidRequest(
                "a lifetime of 0 is no lifetime; say never, or delete the record",
            ));
        }
        let key = key.borrowed();
        Ok(Write { key, digest: self.digest(key), set_hash: self.set_hash(key.set()), policy })
    }

    /// Looks at what is there. Reads the record only if it is about to expire.
    pub(super) async fn see(&self, write: &Write<'_>) -> Result<Seen, Error> {
        loop {
            let (seen, presence) = self.see_entry(write);
            let Some(entry) = seen.raw.filter(|_| presence == Presence::AskRecord) else {
                return Ok(seen);
            };
            match self.fetch(write.digest, &entry, false).await? {
                Fetched::Record(record) => {
                    return Ok(Seen { live: seen.raw, record: Some(record), ..seen });
                }
                Fetched::Expired => return Ok(seen),
                Fetched::Changed => {}
                Fetched::Other => return Err(self.collision()),
            }
        }
    }

    /// The same without a wait; `None` if the record must be read.
    pub(super) fn see_now(&self, write: &Write<'_>) -> Option<Seen> {
        let (seen, presence) = self.see_entry(write);
        (presence != Presence::AskRecord).then_some(seen)
    }

    /// What the index says.
    fn see_entry(&self, write: &Write<'_>) -> (Seen, Presence) {
        let cuts = self.shared.cuts();
        let raw = self.index.get(write.digest);
        let presence = match &raw {
            Some(entry) => self.presence(entry, || write.set_hash),
            None => Presence::Gone,
        };
        let live = raw.filter(|_| presence == Presence::Live);
        (Seen { cuts, raw, live, record: None, life: None }, presence)
    }

    pub(super) fn collision(&self) -> Error {
        self.counters.digest_mismatches.add(1);
        Error::InvalidRequest(
            "this key and another share all bits of their index entries; it cannot be written",
        )
    }

    /// Why the policy forbids the write, if it does. Waits until what it is refused for is durable.
    pub(super) async fn refuse<T>(
        &self,
        write: &Write<'_>,
        seen: &Seen,
    ) -> Result<Option<Outcome<T>>, Error> {
        let refused = match (write.policy.exists, &seen.live) {
            (ExistsPolicy::UpdateOnly | ExistsPolicy::ReplaceOnly, None) => Outcome::NotFound,
            (ExistsPolicy::CreateOnly, Some(_)) => Outcome::Exists,
            (_, live) => {
                let generation = live.map_or(0, |entry| entry.generation);
                let fits = match write.policy.generation {
                    GenerationCheck::Any => true,
                    GenerationCheck::Equal(wanted) => live.is_some() && generation == wanted,
                    GenerationCheck::Greater(given) => live.is_none() || generation < given,
                };
                if fits {
                    return Ok(None);
                }
                Outcome::GenerationMismatch(generation)
            }
        };
        if let Some(entry) = &seen.raw {
            self.shared.settled(entry.location, entry.size).await?;
        }
        Ok(Some(refused))
    }

    /// The record before the write, if it is `needed` and there is one. `None` when it changed meanwhile.
    pub(super) async fn old(
        &self,
        write: &Write<'_>,
        seen: &Seen,
        needed: bool,
    ) -> Result<Option<Option<Record>>, Error> {
        let Some(entry) = seen.live.as_ref().filter(|_| needed) else { return Ok(Some(None)) };
        if let Some(record) = &seen.record {
            return Ok(Some(Some(record.clone())));
        }
        Ok(match self.fetch(write.digest, entry, false).await? {
            Fetched::Record(record) if record.bytes.verified().is_key(write.key) => {
                Some(Some(record))
            }
            Fetched::Record(_) | Fetched::Other => return Err(self.collision()),
            // It expired between the two looks.
            Fetched::Expired | Fetched::Changed => None,
        })
    }

    pub(super) fn void_time(&self, ttl: Ttl, old: Option<&Record>) -> Result<VoidTime, Error> {
        let now = self.shared.clock.now_ms();
        let capped = |ms: u64| VoidTime(ms.min(VoidTime::MAX_MS));
        Ok(match ttl {
            Ttl::Default => self.default_void_time(now),
            Ttl::Never => NEVER,
            Ttl::Keep => match old {
                Some(record) => record.metadata().void_time,
                None => self.default_void_time(now),
            },
            Ttl::Millis(ms) => capped(now.saturating_add(ms)),
            Ttl::At(0) => return Err(Error::InvalidRequest("a record cannot expire at instant 0")),
            Ttl::At(ms) => capped(ms),
        })
    }

    /// Puts the record together and applies it, if the index entry is still the one that was seen.
    pub(super) fn attempt(
        &self,
        write: &Write<'_>,
        seen: &Seen,
        new: NewRecord,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<Attempt, Error> {
        BUILDER.with_borrow_mut(|builder| {
            let store = self.shared.store_for(write.digest)?;
            let record = self.build(builder, write, seen, new, store, fill)?;
            self.apply(write, seen, store, record)
        })
    }

    /// Puts a record together, to be stored on `store`.
    pub(super) fn build<'b>(
        &self,
        builder: &'b mut RecordBuilder,
        write: &Write<'_>,
        seen: &Seen,
        new: NewRecord,
        store: &Store,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<Appending<'b>, Error> {
        let tombstone = matches!(new, NewRecord::Tombstone);
        builder.start(write.key, write.digest, tombstone);
        fill(builder.body())?;
        let len = builder.len() as u64;
        // A tombstone has no body: what could be written can be deleted, whatever the limit is now.
        let limit = if tombstone { self.shared.largest_record() } else { self.record_max };
        let size = if len <= limit { SizeClass::for_bytes(len).bytes() } else { len };
        if size > limit {
            return Err(Error::RecordTooBig { size, limit });
        }
        let void_time = match new {
            NewRecord::Record(void_time) => void_time,
            NewRecord::Tombstone => NEVER,
        };
        let size = builder.seal_body(void_time);
        let generation = match seen.live {
            Some(entry) if entry.generation < u16::MAX => entry.generation + 1,
            _ => 1,
        };
        let killed_age = seen.raw.and_then(|old| self.shared.age(old.location));
        let now = if void_time == NEVER { 0 } else { self.shared.clock.now_ms() };
        Ok(Appending {
            builder,
            size,
            digest: write.digest,
            set_hash: write.set_hash,
            cuts: seen.cuts,
            stream: store.sorting.of_write(void_time, now, killed_age),
            version: None,
            void_time,
            generation,
            tombstone,
        })
    }

    fn apply(
        &self,
        write: &Write<'_>,
        seen: &Seen,
        store: &Store,
        record: Appending<'_>,
    ) -> Result<Attempt, Error> {
        let (size, tombstone) = (record.size, record.tombstone);
        let metadata = Metadata { generation: record.generation, void_time: record.void_time };
        let makes_room = tombstone || seen.live.is_some_and(|old| expires_sooner(&record, &old));
        let claim = if makes_room { Claim::Privileged } else { Claim::Ordinary };
        let durable = self.is_durable(write.policy);
        let set = match tombstone {
            true => self.sets.find(write.set_hash),
            false => Some(self.sets.get(write.key.set(), write.set_hash)?),
        };
        let appended = self.index.with_slot(write.digest, |slot| {
            if !self.is_as_seen(slot.get(), seen) {
                return None;
            }
            // What is not durable as a whole yet is not left behind: see `storage::bound`.
            let after = slot.get().and_then(|old| self.shared.bound_at(old.location));
            let store = after.as_ref().map_or(store, |after| self.shared.store_of(after.block));
            let append = store.append(&self.shared, claim, durable, record, after.as_slice());
            if let Append::Done(appended) = &append {
                slot.set(Entry {
                    location: appended.location,
                    size,
                    generation: metadata.generation,
                    expiry: CoarseExpiry::new(metadata.void_time),
                    tombstone,
                    older: seen.raw.is_some(),
                });
                let place = (appended.location, appended.at);
                self.count(set.as_deref(), seen.raw.as_ref(), tombstone, place);
                self.shared.counters.bytes_written.add(size.bytes());
            }
            Some((store, append))
        });
        let Some((store, append)) = appended else { return Ok(Attempt::Changed) };
        match append {
            Append::Cut => Ok(Attempt::Changed),
            Append::Done(appended) => Ok(Attempt::Applied(appended, metadata)),
            Append::Wait(turn) => Ok(Attempt::Wait(store.first_block, turn)),
            Append::Closed => Err(Error::Stopping { in_doubt: false }),
            Append::Failed(cause) => Err(failed(store, &cause, false)),
            Append::Full => Err(self.refused_full(store)),
        }
    }

    /// Whether a record's entry is the one that was seen, of the same life of its block. Under its index slot.
    pub(super) fn is_as_seen(&self, now: Option<Entry>, seen: &Seen) -> bool {
        let same_life = |(life, entry): (u64, Entry)| {
            let block = self.shared.blocks.locate(entry.location);
            block.is_some_and(|(block, _)| self.shared.blocks.get(block).sequence() == life)
        };
        now == seen.raw && seen.life.zip(seen.raw).is_none_or(same_life)
    }

    /// There is no room on this device.
    pub(super) fn refused_full(&self, store: &Store) -> Error {
        self.counters.refused_full.add(1);
        let used_pct = store.in_use() * 100 / store.capacity(&self.shared);
        Error::NoSpace { used_pct: used_pct as u8, max_used_pct: self.max_used_pct() }
    }

    /// Counts a new version in, which was put at `location` at version sequence `at`, and the one it replaces out. Called under the index slot.
    pub(super) fn count(
        &self,
        set: Option<&Set>,
        old: Option<&Entry>,
        tombstone: bool,
        (location, at): (Location, u64),
    ) {
        use std::sync::atomic::Ordering::SeqCst;
        let counter = if tombstone { &self.counters.deletes } else { &self.counters.writes };
        counter.add(1);
        if tombstone {
            self.counters.tombstones.add(1);
        }
        let was_record = old.is_some_and(|entry| !entry.tombstone);
        if let Some(set) = set
            && was_record == tombstone
        {
            set.records.fetch_add(if tombstone { -1 } else { 1 }, SeqCst);
        }
        if let Some(old) = old {
            if old.tombstone {
                self.counters.tombstones.sub(1);
            }
            self.shared.kill(old.location, old.size, old.tombstone, at, Some(location));
        }
    }

    fn is_durable(&self, policy: &WritePolicy) -> bool {
        policy.durability.unwrap_or(self.config.durability) == Durability::Device
    }

    /// Waits for what an attempt depends on. `None`: look again.
    pub(super) async fn conclude(
        &self,
        write: &Write<'_>,
        attempt: Attempt,
    ) -> Result<Option<Metadata>, Error> {
        match attempt {
            Attempt::Changed => Ok(None),
            Attempt::Wait(block, turn) => {
                self.shared.store_of(block).room.changed_since(turn).await;
                Ok(None)
            }
            Attempt::Applied(appended, metadata) => {
                if self.is_durable(write.policy)
                    && let Err(cause) = appended.image.durable(appended.end).await
                {
                    let block =
                        self.shared.blocks.locate(appended.location).expect("just written").0;
                    return Err(failed(self.shared.store_of(block), &cause, true));
                }
                Ok(Some(metadata))
            }
        }
    }
}

/// Whether the new version takes no more room than the old one and gives it back sooner.
pub(super) fn expires_sooner(new: &Appending<'_>, old: &Entry) -> bool {
    let sooner = match (CoarseExpiry::new(new.void_time), old.expiry) {
        (CoarseExpiry::NEVER, _) => false,
        (_, CoarseExpiry::NEVER) => true,
        (new, old) => new < old,
    };
    sooner && new.size.bytes() <= old.size.bytes()
}

/// Names and number of the bins of a put.
fn check_bins(bins: &[(Box<str>, Value)]) -> Result<(), Error> {
    if bins.is_empty() {
        return Err(Error::InvalidRequest("a put needs at least one bin"));
    }
    if bins.len() > limits::BINS_MAX {
        return Err(InvalidValue::TooManyBins(bins.len()).into());
    }
    let twice = if bins.len() <= FEW_BINS {
        (1..bins.len()).any(|at| bins[..at].iter().any(|(name, _)| *name == bins[at].0))
    } else {
        let mut names = HashSet::new();
        !bins.iter().all(|(name, _)| names.insert(name))
    };
    if twice { Err(InvalidValue::BinTwice.into()) } else { Ok(()) }
}

/// So many bins are looked through one by one; more go into a table first.
const FEW_BINS: usize = 16;

/// The names of a put's bins, quickly asked.
enum Names<'a> {
    Few(&'a [(Box<str>, Value)]),
    Many(HashSet<&'a str>),
}

impl<'a> Names<'a> {
    fn of(bins: &'a [(Box<str>, Value)]) -> Self {
        match bins.len() {
            0..=FEW_BINS => Self::Few(bins),
            _ => Self::Many(bins.iter().map(|(name, _)| &**name).collect()),
        }
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Few(bins) => bins.iter().any(|(bin, _)| **bin == *name),
            Self::Many(names) => names.contains(name),
        }
    }
}

/// Encodes the bins of a put, over those of the old record if they stay.
fn fill_body(
    body: &mut Vec<u8>,
    old: Option<&Record>,
    bins: &[(Box<str>, Value)],
) -> Result<(), Error> {
    let mut writer = BodyWriter::new(body);
    if let Some(old) = old {
        let replaced = Names::of(bins);
        let malformed = |_| Error::InvalidRequest("the stored record cannot be decoded");
        for bin in old.bins().map_err(malformed)? {
            let (name, value) = bin.map_err(malformed)?;
            if !replaced.contains(name) {
                writer.bin_ref(name, value)?;
            }
        }
    }
    for (name, value) in bins {
        if *value != Value::Nil {
            writer.bin(name, value)?;
        } else {
            crate::model::check_bin_name(name)?;
        }
    }
    match writer.finish()? {
        0 => Err(Error::InvalidRequest("the record would be left without bins; delete it instead")),
        _ => Ok(()),
    }
}
