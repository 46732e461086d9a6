//! Optimistic transactions: look at some records, compute, and change them all or none, if they are still as they were seen.
//!
//! Nothing is locked between a look and the change. The change itself is one instant to everybody: for one record it takes its index slot, for
//! several the partitions of all of them, and their new versions go into one write block, one behind the other. It waits for room,
//! never for durability: that is for its [`Receipt`].
//!
//! A transaction of [`Change::Check`] alone says whether what was read belongs together: a reader that has looked at several records and finds them
//! all as it saw them has seen them at one instant.

mod receipt;
mod replace;
mod several;
mod sight;

pub use self::{receipt::Receipt, sight::Sight};
use super::{
    Namespace,
    write::{Attempt, NewRecord, Seen, Write},
};
use crate::{
    error::Error,
    format::{BodyWriter, ValueRef},
    model::{InvalidValue, Key, VoidTime, WritePolicy, limits},
};

/// Most steps of a transaction.
const STEPS_MAX: usize = 65_536;

/// What is done to a key.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Nothing is written; the key must still be as it was seen.
    Check,
    /// The record becomes this one, whatever it was.
    Put {
        /// Names and values, at least one, none twice, none nil at the top.
        bins: &'a [(&'a str, ValueRef<'a>)],
        /// When it expires.
        void_time: VoidTime,
    },
    /// The record goes, durably; nothing is written if there is none.
    Delete,
}

/// A key's part in a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The key.
    pub key: &'a Key,
    /// What [`Namespace::look`] found under this very key; `None` for a change that takes what it finds.
    pub seen: Option<&'a Sight>,
    /// What is done to it.
    pub change: Change<'a>,
}

/// What became of a transaction.
#[derive(Debug)]
#[must_use = "nothing was written if a key had changed"]
pub enum Transacted {
    /// It was applied, and whoever looks sees so. It survives power loss once its receipt says so.
    Applied(Receipt),
    /// A key is no longer as it was seen, or its record has been moved on the device: nothing was written. Look again.
    Changed,
}

/// What came of one attempt at a step.
enum Tried {
    Done(Transacted),
    /// Somebody else changed the key, which the caller has not looked at.
    Again,
    /// No room just now: wait until something changed on the device whose blocks begin with this one.
    Wait(u32, u64),
}

/// A transaction takes the namespace's own durability.
static POLICY: WritePolicy = WritePolicy {
    exists: crate::model::ExistsPolicy::Replace,
    generation: crate::model::GenerationCheck::Any,
    ttl: crate::model::Ttl::Default,
    durability: None,
    commit_level: None,
};

impl Namespace {
    /// Applies all steps or none, visible at one instant, and all or none after a crash. Waits for room, not for durability.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRequest`] for more than 65,536 steps or a key named twice, [`Error::InvalidValue`], [`Error::RecordTooBig`],
    /// [`Error::TransactionTooBig`] when the new versions do not fit into one write block, [`Error::NoSpace`], [`Error::DeviceFailed`],
    /// [`Error::Stopping`]. Nothing was written then.
    pub async fn transact(&self, steps: &[Step<'_>]) -> Result<Transacted, Error> {
        self.check_open()?;
        match steps {
            [] => Ok(Transacted::Applied(self.receipt())),
            [step] => self.transact_one(step).await,
            steps if steps.len() > STEPS_MAX => {
                Err(Error::InvalidRequest("a transaction has at most 65,536 steps"))
            }
            steps => self.transact_several(steps).await,
        }
    }

    /// Makes all that was applied before the call durable, whatever was asked for, and waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::DeviceFailed`] (in doubt).
    pub async fn settle_all(&self) -> Result<(), Error> {
        let wanted: Vec<_> =
            self.shared.stores.iter().map(|store| (store, store.want_all())).collect();
        for (store, images) in wanted {
            for (image, end) in images {
                let durable = image.durable(end).await;
                durable.map_err(|cause| crate::storage::failed(store, &cause, true))?;
            }
        }
        Ok(())
    }

    /// The same for one step, if nothing must be waited for; `None` if something must: nothing was written then.
    ///
    /// # Errors
    ///
    /// As [`Self::transact`].
    pub fn transact_now(&self, step: &Step<'_>) -> Result<Option<Transacted>, Error> {
        self.check_open()?;
        let write = self.write_of(step);
        loop {
            let own;
            let seen = match step.seen {
                Some(sight) => &sight.seen,
                None => match self.see_now(&write) {
                    Some(seen) => {
                        own = seen;
                        &own
                    }
                    None => return Ok(None),
                },
            };
            match self.try_one(step, &write, seen)? {
                Tried::Done(transacted) => return Ok(Some(transacted)),
                Tried::Again => {}
                Tried::Wait(..) => return Ok(None),
            }
        }
    }

    async fn transact_one(&self, step: &Step<'_>) -> Result<Transacted, Error> {
        let write = self.write_of(step);
        loop {
            let own;
            let seen = match step.seen {
                Some(sight) => &sight.seen,
                None => {
                    own = self.see(&write).await?;
                    &own
                }
            };
            match self.try_one(step, &write, seen)? {
                Tried::Done(transacted) => return Ok(transacted),
                Tried::Again => {}
                Tried::Wait(block, turn) => {
                    self.shared.store_of(block).room.changed_since(turn).await;
                }
            }
        }
    }

    /// Applies a step once, if its key is still as it was seen.
    fn try_one(&self, step: &Step<'_>, write: &Write<'_>, seen: &Seen) -> Result<Tried, Error> {
        if step.seen.is_some_and(|sight| sight.has_expired(self)) {
            return Ok(Tried::Done(Transacted::Changed));
        }
        let changed = || match step.seen {
            Some(_) => Tried::Done(Transacted::Changed),
            None => Tried::Again,
        };
        let applied = |receipt| Tried::Done(Transacted::Applied(receipt));
        let Some(new) = new_record(step, seen)? else {
            let same = self.index.with_slot(write.digest, |slot| self.is_as_seen(slot.get(), seen))
                && seen.cuts == self.shared.cuts();
            return Ok(if same { applied(self.receipt().and_seen(seen)) } else { changed() });
        };
        Ok(match self.attempt(write, seen, new, |body| fill(step, body))? {
            Attempt::Applied(appended, _) => applied(self.receipt().and(appended)),
            Attempt::Changed => changed(),
            Attempt::Wait(block, turn) => Tried::Wait(block, turn),
        })
    }

    fn write_of<'a>(&self, step: &Step<'a>) -> Write<'a> {
        let key = step.key.borrowed();
        let (digest, set_hash) = match step.seen {
            Some(sight) => (sight.digest, sight.set_hash),
            None => (self.digest(key), self.set_hash(key.set())),
        };
        debug_assert_eq!(digest, self.digest(key), "a sight of another key");
        Write { key, digest, set_hash, policy: &POLICY }
    }
}

/// What a step writes; `None` for nothing.
fn new_record(step: &Step<'_>, seen: &Seen) -> Result<Option<NewRecord>, Error> {
    Ok(match step.change {
        Change::Put { bins, void_time } => {
            check_bins(bins)?;
            Some(NewRecord::Record(void_time))
        }
        Change::Delete if seen.live.is_some() => Some(NewRecord::Tombstone),
        Change::Delete | Change::Check => None,
    })
}

fn fill(step: &Step<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
    let Change::Put { bins, .. } = step.change else { return Ok(()) };
    fill_bins(bins, body)
}

fn fill_bins(bins: &[(&str, ValueRef<'_>)], body: &mut Vec<u8>) -> Result<(), Error> {
    let mut writer = BodyWriter::new(body);
    bins.iter().try_for_each(|(name, value)| writer.bin_ref(name, *value))?;
    writer.finish()?;
    Ok(())
}

fn check_bins(bins: &[(&str, ValueRef<'_>)]) -> Result<(), Error> {
    if bins.is_empty() {
        return Err(Error::InvalidRequest("a put needs at least one bin"));
    }
    if bins.len() > limits::BINS_MAX {
        return Err(InvalidValue::TooManyBins(bins.len()).into());
    }
    if bins.iter().any(|(_, value)| *value == ValueRef::Nil) {
        return Err(Error::InvalidRequest("a record that is put as a whole has no nil bins"));
    }
    if bins.len() == 1 {
        return Ok(());
    }
    let mut names: Vec<&str> = bins.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    match names.is_sorted_by(|left, right| left < right) {
        true => Ok(()),
        false => Err(InvalidValue::BinTwice.into()),
    }
}
