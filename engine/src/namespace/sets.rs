//! The sets of a namespace: their names, how many records each has, and which were truncated.
//!
//! Sets come into being with their first record. Their number is bounded. A truncation is a cut: records of the set with a version
//! below it are gone, at once and for good, though their bytes and index entries go only later.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
};

use parking_lot::{Mutex, RwLock};

use crate::{
    error::Error,
    format::{FooterEntry, Truncation},
    index::CoarseExpiry,
    model::Version,
    namespace::SetStats,
};

/// Most sets of a namespace.
const SETS_MAX: usize = 65_536;

/// One set.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) name: Box<str>,
    pub(crate) records: AtomicI64,
}

/// Hashes what is a hash under a secret already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a set's hash is one number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// All sets of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    by_hash: RwLock<HashMap<u64, Arc<Set>, BuildHasherDefault<AsItIs>>>,
    /// Truncations whose records have not all been removed from the index.
    sweeping: RwLock<Vec<Truncation>>,
    any_sweeping: AtomicBool,
    /// The version sequence of the truncation that is being made durable; 0 for none.
    undecided: AtomicU64,
    /// The version sequence of the last truncation that the devices know of.
    durable: AtomicU64,
    /// The last eviction, of which something may still be in the index.
    evicting: RwLock<Option<Truncation>>,
    any_evicted: AtomicBool,
    /// One truncation at a time.
    pub(crate) truncating: Mutex<()>,
}

impl Sets {
    /// The set with this name, if it has or had records.
    pub(crate) fn find(&self, hash: u64) -> Option<Arc<Set>> {
        self.by_hash.read().get(&hash).cloned()
    }

    /// The set with this name, made if it is new.
    pub(crate) fn get(&self, name: &str, hash: u64) -> Result<Arc<Set>, Error> {
        if let Some(set) = self.find(hash) {
            return Ok(set);
        }
        let mut sets = self.by_hash.write();
        if sets.len() >= SETS_MAX {
            // Sets without records that no write holds on to give their place away.
            sets.retain(|_, set| set.records.load(SeqCst) > 0 || Arc::strong_count(set) > 1);
        }
        if sets.len() >= SETS_MAX {
            return Err(Error::InvalidRequest(
                "the namespace has 65536 sets; no more are possible",
            ));
        }
        let set = || Arc::new(Set { name: name.into(), records: AtomicI64::new(0) });
        Ok(Arc::clone(sets.entry(hash).or_insert_with(set)))
    }

    /// Adds to a set's count what a start found.
    pub(crate) fn restore(&self, name: &str, hash: u64, records: i64) {
        if let Ok(set) = self.get(name, hash) {
            set.records.fetch_add(records, SeqCst);
        }
    }

    /// Counts a record of the set out, if the set is known.
    pub(crate) fn count_out(&self, hash: u64) {
        if let Some(set) = self.by_hash.read().get(&hash) {
            set.records.fetch_sub(1, SeqCst);
        }
    }

    /// All sets.
    pub(crate) fn all(&self) -> Vec<Arc<Set>> {
        self.by_hash.read().values().cloned().collect()
    }

    /// Sets with their counts, by name; sets without records are left out.
    pub(crate) fn stats(&self) -> Vec<SetStats> {
        let stats = |set: &Arc<Set>| SetStats {
            name: set.name.to_string(),
            records: set.records.load(SeqCst).max(0) as u64,
        };
        let mut all: Vec<SetStats> = self.by_hash.read().values().map(stats).collect();
        all.retain(|set| set.records > 0);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Makes a truncation count while its records are still in the index.
    pub(crate) fn begin_sweep(&self, truncation: Truncation) {
        let mut sweeping = self.sweeping.write();
        self.undecided.store(truncation.cut.sequence, SeqCst);
        sweeping.push(truncation);
        self.any_sweeping.store(true, SeqCst);
    }

    /// It has been decided whether the truncation survives a loss of power.
    pub(crate) fn decided(&self, truncation: Truncation, durable: bool) {
        if durable {
            self.durable.store(truncation.cut.sequence, SeqCst);
        }
        self.undecided.store(0, SeqCst);
    }

    /// Whether the truncation survives a loss of power; `None` while that is not known.
    pub(crate) fn is_durable(&self, truncation: &Truncation) -> Option<bool> {
        let cut = truncation.cut.sequence;
        (self.undecided.load(SeqCst) != cut).then(|| cut <= self.durable.load(SeqCst))
    }

    /// The truncation's records have left the index.
    pub(crate) fn end_sweep(&self, truncation: Truncation) {
        let mut sweeping = self.sweeping.write();
        sweeping.retain(|other| *other != truncation);
        self.any_sweeping.store(!sweeping.is_empty(), SeqCst);
    }

    /// Makes an eviction count for records that are about to be moved.
    pub(crate) fn begin_eviction(&self, eviction: Truncation) {
        *self.evicting.write() = Some(eviction);
        self.any_evicted.store(true, SeqCst);
    }

    /// Whether this is the eviction by which records still go when they are moved.
    pub(crate) fn evicts_by(&self, eviction: &Truncation) -> bool {
        self.evicting.read().as_ref() == Some(eviction)
    }

    /// A truncation or eviction that is being carried out and that `takes` what is asked about.
    pub(crate) fn under_way(&self, takes: impl Fn(&Truncation) -> bool) -> Option<Truncation> {
        if self.any_evicted.load(SeqCst)
            && let Some(eviction) = self.evicting.read().filter(|cut| takes(cut))
        {
            return Some(eviction);
        }
        if !self.any_sweeping.load(SeqCst) {
            return None;
        }
        self.sweeping.read().iter().copied().find(|cut| takes(cut))
    }

    /// Whether the records of this truncation are still in the index.
    pub(crate) fn sweeps(&self, truncation: &Truncation) -> bool {
        self.sweeping.read().contains(truncation)
    }

    /// Whether a truncation's records are still in the index.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.any_sweeping.load(SeqCst)
    }

    /// The cut below which records of the set are gone though the index still has them; `None` mostly.
    pub(crate) fn cut(&self, hash: u64) -> Option<Version> {
        if !self.any_sweeping.load(SeqCst) {
            return None;
        }
        let sweeping = self.sweeping.read();
        let counts = |t: &&Truncation| t.set_hash == 0 || t.set_hash == hash;
        sweeping.iter().filter(counts).map(|t| t.cut).max()
    }
}

/// Whether a record is gone by this cut: by its set, its version and, if the cut is an eviction, by when it expires.
pub(crate) fn takes(cut: &Truncation, record: &FooterEntry) -> bool {
    let expiry = CoarseExpiry::new(record.void_time);
    (cut.set_hash == 0 || cut.set_hash == record.set_hash)
        && record.version < cut.cut
        && (cut.until == 0 || (expiry != CoarseExpiry::NEVER && expiry.seconds() <= cut.until))
}

/// The cut by which a record is gone, if it is: a truncation before an eviction.
pub(crate) fn cut_of<'a>(cuts: &'a [Truncation], record: &FooterEntry) -> Option<&'a Truncation> {
    cuts.iter().filter(|cut| takes(cut, record)).min_by_key(|cut| cut.until)
}

/// Adds a cut to a table, in place of those that take no more than it does.
pub(crate) fn add_cut(truncations: &mut Vec<Truncation>, new: Truncation) {
    let covers = |a: &Truncation, b: &Truncation| {
        (a.set_hash == 0 || a.set_hash == b.set_hash)
            && a.cut >= b.cut
            && (a.until == 0 || (b.until != 0 && b.until <= a.until))
    };
    truncations.retain(|old| !covers(&new, old));
    if !truncations.iter().any(|old| covers(old, &new)) {
        truncations.push(new);
    }
}
