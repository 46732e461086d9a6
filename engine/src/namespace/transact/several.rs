//! Changing several records as one.

use std::{borrow::Cow, cell::RefCell, sync::Arc};

use super::{Receipt, Step, Transacted, fill, new_record};
use crate::{
    error::Error,
    format::RecordBuilder,
    index::{CoarseExpiry, Entry},
    model::{Digest, Location, SizeClass},
    namespace::{
        Namespace,
        sets::Set,
        write::{NewRecord, Seen, Write, expires_sooner},
    },
    storage::{
        Appending,
        append::{Append, Appended},
        failed,
        space::Claim,
        store::Store,
    },
};

/// Builders that a thread keeps for its next transaction, and how many bytes each may keep.
const KEPT: (usize, usize) = (64, 64 << 10);

thread_local! {
    /// Where this thread puts the records of a transaction together; kept for their memory.
    static BUILDERS: RefCell<Vec<RecordBuilder>> = const { RefCell::new(Vec::new()) };
}

/// A step with what was seen of its key.
struct Part<'a> {
    step: &'a Step<'a>,
    write: Write<'a>,
    seen: Cow<'a, Seen>,
}

/// What a part writes, besides its record.
struct New {
    part: usize,
    size: SizeClass,
    generation: u16,
    expiry: CoarseExpiry,
    tombstone: bool,
    set: Option<Arc<Set>>,
}

/// What came of an attempt.
enum Attempt {
    Applied(Receipt),
    /// The key of this part is no longer as seen, or those of all may be.
    Changed(Option<usize>),
    Wait(u32, u64),
}

impl Namespace {
    pub(super) async fn transact_several(&self, steps: &[Step<'_>]) -> Result<Transacted, Error> {
        loop {
            let mut parts = Vec::with_capacity(steps.len());
            for step in steps {
                let write = self.write_of(step);
                let seen = match step.seen {
                    Some(sight) if sight.has_expired(self) => return Ok(Transacted::Changed),
                    Some(sight) => Cow::Borrowed(&sight.seen),
                    None => Cow::Owned(self.see(&write).await?),
                };
                parts.push(Part { step, write, seen });
            }
            let digests = digests(&parts)?;
            match self.attempt_several(&parts, &digests)? {
                Attempt::Applied(receipt) => return Ok(Transacted::Applied(receipt)),
                Attempt::Changed(part) => {
                    let seen_by_caller = |part: usize| steps[part].seen.is_some();
                    let any = || steps.iter().any(|step| step.seen.is_some());
                    if part.map_or_else(any, seen_by_caller) {
                        return Ok(Transacted::Changed);
                    }
                }
                Attempt::Wait(block, turn) => {
                    self.shared.store_of(block).room.changed_since(turn).await;
                }
            }
        }
    }

    fn attempt_several(&self, parts: &[Part<'_>], digests: &[Digest]) -> Result<Attempt, Error> {
        let mut wanted = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            wanted.extend(new_record(part.step, &part.seen)?.map(|new| (at, new)));
        }
        let Some((first, _)) = wanted.first() else {
            return Ok(self.check_several(parts, digests));
        };
        let store = self.shared.store_for(digests[*first])?;
        BUILDERS.with_borrow_mut(|builders| {
            builders.resize_with(wanted.len().max(builders.len()), RecordBuilder::default);
            let applied = self.build_and_apply(parts, digests, wanted, store, builders);
            builders.truncate(KEPT.0);
            builders.retain(|builder| builder.capacity() <= KEPT.1);
            applied
        })
    }

    fn build_and_apply(
        &self,
        parts: &[Part<'_>],
        digests: &[Digest],
        wanted: Vec<(usize, NewRecord)>,
        store: &Store,
        builders: &mut [RecordBuilder],
    ) -> Result<Attempt, Error> {
        let (mut records, mut news) = (Vec::new(), Vec::new());
        let mut claim = Claim::Privileged;
        for ((at, new), builder) in wanted.into_iter().zip(builders) {
            let Part { step, write, seen } = &parts[at];
            let record = self.build(builder, write, seen, new, store, |body| fill(step, body))?;
            if !record.tombstone && !seen.live.is_some_and(|old| expires_sooner(&record, &old)) {
                claim = Claim::Ordinary;
            }
            news.push(New {
                part: at,
                size: record.size,
                generation: record.generation,
                expiry: CoarseExpiry::new(record.void_time),
                tombstone: record.tombstone,
                set: match record.tombstone {
                    true => self.sets.find(write.set_hash),
                    false => Some(self.sets.get(write.key.set(), write.set_hash)?),
                },
            });
            records.push(record);
        }
        let size = records.iter().map(|record| record.size.bytes()).sum();
        let limit = store.largest_group(&self.shared, records.len());
        if size > limit {
            return Err(Error::TransactionTooBig { size, limit });
        }
        self.apply_several(parts, digests, store, claim, records, &news)
    }

    fn apply_several(
        &self,
        parts: &[Part<'_>],
        digests: &[Digest],
        store: &Store,
        claim: Claim,
        records: Vec<Appending<'_>>,
        news: &[New],
    ) -> Result<Attempt, Error> {
        let receipt = self.receipt();
        let stream = records[0].stream;
        let cuts = records[0].cuts;
        if parts.iter().any(|part| part.seen.cuts != cuts) {
            return Ok(Attempt::Changed(None));
        }
        let appended = self.index.with_joint(digests, |joint| {
            let changed = |at: &usize| !self.is_as_seen(joint.get(*at), &parts[*at].seen);
            if let Some(changed) = (0..parts.len()).find(changed) {
                return Err(changed);
            }
            let append =
                store.append_group(&self.shared, claim, receipt.is_promised(), stream, records);
            if let Append::Done(appended) = &append {
                joint.set(entries(parts, news, appended));
                for (new, (location, at)) in news.iter().zip(places(news, appended)) {
                    let old = parts[new.part].seen.raw.as_ref();
                    self.count(new.set.as_deref(), old, new.tombstone, (location, at));
                    self.shared.counters.bytes_written.add(new.size.bytes());
                }
            }
            Ok(append)
        });
        match appended {
            Err(changed) => Ok(Attempt::Changed(Some(changed))),
            Ok(Append::Cut) => Ok(Attempt::Changed(None)),
            Ok(Append::Done(appended)) => {
                let mut receipt = receipt.and(appended);
                let written = |at: usize| news.binary_search_by_key(&at, |new| new.part).is_ok();
                for (_, part) in parts.iter().enumerate().filter(|(at, _)| !written(*at)) {
                    receipt = receipt.and_seen(&part.seen);
                }
                Ok(Attempt::Applied(receipt))
            }
            Ok(Append::Wait(turn)) => Ok(Attempt::Wait(store.first_block, turn)),
            Ok(Append::Closed) => Err(Error::Stopping { in_doubt: false }),
            Ok(Append::Failed(cause)) => Err(failed(store, &cause, false)),
            Ok(Append::Full) => Err(self.refused_full(store)),
        }
    }

    /// A transaction that writes nothing.
    fn check_several(&self, parts: &[Part<'_>], digests: &[Digest]) -> Attempt {
        let changed = self.index.with_joint(digests, |joint| {
            let changed = |at: &usize| !self.is_as_seen(joint.get(*at), &parts[*at].seen);
            (0..parts.len()).find(changed)
        });
        let cuts = self.shared.cuts();
        if changed.is_some() || parts.iter().any(|part| part.seen.cuts != cuts) {
            return Attempt::Changed(changed);
        }
        let seen = parts.iter().map(|part| &*part.seen);
        Attempt::Applied(seen.fold(self.receipt(), Receipt::and_seen))
    }
}

/// The digests of all parts. No two may share an index entry.
fn digests(parts: &[Part<'_>]) -> Result<Vec<Digest>, Error> {
    let digests: Vec<Digest> = parts.iter().map(|part| part.write.digest).collect();
    let mut places: Vec<_> =
        digests.iter().map(|digest| (digest.partition(), digest.tag())).collect();
    places.sort_unstable();
    match places.is_sorted_by(|left, right| left < right) {
        true => Ok(digests),
        false => Err(Error::InvalidRequest("a transaction names each key once")),
    }
}

/// Where each record of a group was put, and at which version sequence.
fn places(news: &[New], first: &Appended) -> impl Iterator<Item = (Location, u64)> {
    let (mut offset, mut at) = (first.location.offset(), first.at);
    news.iter().map(move |new| {
        let place = (Location::from_offset(offset), at);
        (offset, at) = (offset + new.size.bytes(), at + 1);
        place
    })
}

fn entries(
    parts: &[Part<'_>],
    news: &[New],
    first: &Appended,
) -> impl Iterator<Item = (usize, Entry)> {
    news.iter().zip(places(news, first)).map(|(new, (location, _))| {
        let entry = Entry {
            location,
            size: new.size,
            generation: new.generation,
            expiry: new.expiry,
            tombstone: new.tombstone,
            older: parts[new.part].seen.raw.is_some(),
        };
        (new.part, entry)
    })
}
