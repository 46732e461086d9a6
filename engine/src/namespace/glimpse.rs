//! Records as they lie in RAM, for whoever answers at once and keeps nothing of them: no wait, no copy, no count of holders.
//!
//! Three steps, so that memory is waited for once for many keys: [`Namespace::expect`], [`Namespace::find`], [`Namespace::glimpse`].
//! Whatever is not plain (a record that only the device has, or that is not durable yet, or damaged, or of another key) is not shown, and the caller
//! goes the way that can wait and can tell what is wrong.

use super::{
    Metadata, Namespace,
    read::{Expected, Presence, same_entry},
};
use crate::{
    format::{Bins, Malformed, RecordView},
    index::Entry,
    model::{KeyRef, NEVER},
};

/// The longest record that is shown, in bytes: whoever looks holds up the end of its block's time in RAM.
const SHOWN_MAX: u64 = 64 << 10;

/// What the index said of a key that was expected.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    expected: Expected,
    entry: Option<Entry>,
}

/// A live record where it lies, durable if its writer asked for that.
#[derive(Clone, Copy, Debug)]
pub struct Glimpse<'a>(RecordView<'a>);

impl<'a> Glimpse<'a> {
    /// Generation and void time.
    pub fn metadata(&self) -> Metadata {
        Metadata { generation: self.0.generation(), void_time: self.0.void_time() }
    }

    /// The record's bins, in the order they were written.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body is none.
    pub fn bins(&self) -> Result<Bins<'a>, Malformed> {
        Bins::new(self.0.body())
    }
}

impl Namespace {
    /// Looks up what is expected, and fetches the record if RAM has it; to be called some time after [`Self::fetch_entry`].
    pub fn find(&self, expected: Expected) -> Found {
        let entry = self.index.get(expected.0);
        if let Some(entry) = &entry {
            self.shared.prefetch(entry.location, entry.size);
        }
        Found { expected, entry }
    }

    /// Shows `see` what was found for `key`, as it was then: the live record, or that there is none. `None`, and nothing was shown, when that is
    /// not plain. `see` must be short, and may refuse by answering `None`.
    pub fn glimpse<R>(
        &self,
        key: KeyRef<'_>,
        found: &Found,
        see: impl FnOnce(Option<Glimpse<'_>>) -> Option<R>,
    ) -> Option<R> {
        let Expected(digest) = found.expected;
        debug_assert_eq!(digest, self.digest(key), "another key was expected");
        self.check_open().ok()?;
        let seen = match &found.entry {
            None => see(None),
            Some(entry) if self.presence(entry, || self.set_hash(key.set())) == Presence::Gone => {
                self.shared.is_settled(entry.location, entry.size).then(|| see(None))?
            }
            Some(entry) if entry.size.bytes() > SHOWN_MAX => None,
            Some(entry) => self.shared.show(entry.location, entry.size, |record| {
                let plain = !record.tombstone()
                    && same_entry(record.digest(), digest)
                    && record.is_key(key);
                (plain && self.lives(record)).then(|| see(Some(Glimpse(*record))))?
            }),
        };
        if seen.is_some() {
            self.counters.reads.add(1);
        }
        seen
    }

    fn lives(&self, record: &RecordView<'_>) -> bool {
        let void_time = record.void_time();
        void_time == NEVER || !void_time.expired(self.shared.clock.now_ms())
    }
}
