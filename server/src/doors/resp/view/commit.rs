//! Committing: what is staged becomes the steps of one transaction, each with what was seen of its key.

use cairn_engine::{Change, Receipt, Step, Transacted, format::ValueRef};
use smallvec::SmallVec;

use super::{super::fail::Fail, Entry, Staged, View};

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

impl View<'_> {
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
