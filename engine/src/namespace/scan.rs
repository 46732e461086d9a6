//! Reading all records, page by page: of one partition, or of all of them from a cursor on.

use futures_util::{StreamExt, stream};

use super::{
    Namespace, Record, ScanPage, ScanStep,
    read::{Fetched, Presence},
};
use crate::{
    error::Error,
    index::Entry,
    model::{Digest, PARTITIONS},
};

/// Device reads of one page that are in flight at once.
const READS_IN_FLIGHT: usize = 32;
/// Bits of a tag in a cursor; the partition stands above them.
const TAG_BITS: u32 = 52;
/// What a cursor leaves out of a tag.
const SHIFT: u32 = 64 - TAG_BITS;
/// Entries that are taken from the index at once, at most.
const STEP_MOST: usize = 1024;

impl Namespace {
    /// One page of a partition's records, in digest order, behind `after`: at most `limit` entries are looked at, and no more than take
    /// `bytes` on the device together, but always one. `set`: only records of that set. A record that exists during the whole scan is met exactly once; one that is written or deleted meanwhile, at most once.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRequest`] for a partition that does not exist, [`Error::Stopping`].
    pub async fn scan(
        &self,
        partition: u16,
        after: Option<u64>,
        set: Option<&str>,
        limit: usize,
        bytes: u64,
    ) -> Result<ScanPage, Error> {
        self.check_open()?;
        if usize::from(partition) >= PARTITIONS {
            return Err(Error::InvalidRequest("partitions are numbered from 0 to 4095"));
        }
        let mut entries = Vec::new();
        let mut done = self.index.page(partition, after, limit.max(1), &mut entries);
        let mut room = bytes;
        let fits = entries.iter().take_while(|(_, entry)| {
            let size = entry.size.bytes();
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        });
        let fits = fits.count().max(1);
        if fits < entries.len() {
            entries.truncate(fits);
            done = false;
        }
        let next = (!done).then(|| entries.last().map(|(tag, _)| *tag)).flatten();
        let reads =
            entries.into_iter().map(|(tag, entry)| self.scan_one(partition, tag, entry, set));
        let (records, damaged) = collect(reads).await?;
        Ok(ScanPage { records, next, damaged })
    }

    /// The next records of the whole namespace from `cursor` on, which is 0 for the beginning and then what the last step gave: at most about
    /// `limit` entries are looked at, and no more than take `bytes` on the device together, but always one. `set`: only records of that set. A
    /// record that exists during the whole scan is met exactly once; one that is written or deleted meanwhile, at most once.
    ///
    /// A cursor is a place in the order of digests: 12 bits of partition, 52 of the tag. It stays good for ever, and any number is one.
    ///
    /// # Errors
    ///
    /// [`Error::Stopping`].
    pub async fn scan_from(
        &self,
        cursor: u64,
        set: Option<&str>,
        limit: usize,
        bytes: u64,
    ) -> Result<ScanStep, Error> {
        self.check_open()?;
        let (mut partition, mut from) = ((cursor >> TAG_BITS) as u16, cursor << (64 - TAG_BITS));
        let (mut entries, mut room, mut next) = (Vec::new(), bytes, None);
        'partitions: while usize::from(partition) < PARTITIONS {
            let (mut after, mut end) =
                (from.checked_sub(1), self.index.partition_len(partition) == 0);
            while !end {
                let mut page = Vec::new();
                end = self.index.page(partition, after, limit.clamp(1, STEP_MOST) + 1, &mut page);
                after = page.last().map(|(tag, _)| *tag);
                for (tag, entry) in page {
                    // Entries that a cursor cannot tell apart are of one step.
                    let begins = entries.last().is_none_or(|&(last_partition, last, _)| {
                        (last_partition, last >> SHIFT) != (partition, tag >> SHIFT)
                    });
                    let full = entries.len() >= limit.max(1) || entry.size.bytes() > room;
                    if begins && full && !entries.is_empty() {
                        next = Some(u64::from(partition) << TAG_BITS | tag >> SHIFT);
                        break 'partitions;
                    }
                    room = room.saturating_sub(entry.size.bytes());
                    entries.push((partition, tag, entry));
                }
            }
            (partition, from) = (partition + 1, 0);
        }
        let reads = entries
            .into_iter()
            .map(|(partition, tag, entry)| self.scan_one(partition, tag, entry, set));
        let (records, damaged) = collect(reads).await?;
        Ok(ScanStep { records, next, damaged })
    }

    pub(super) async fn scan_one(
        &self,
        partition: u16,
        tag: u64,
        mut entry: Entry,
        set: Option<&str>,
    ) -> Result<Option<Record>, Error> {
        // The index knows the first 76 bits of the digest: all that finding the entry and its record takes.
        let known = Digest(u128::from(partition) << 116 | u128::from(tag) << 52);
        loop {
            // The set is known once the record is read, so truncations are looked at then.
            if self.presence(&entry, || 0) == Presence::Gone {
                return Ok(None);
            }
            match self.fetch(known, &entry, false).await? {
                Fetched::Record(record) => {
                    let wanted = self.is_wanted(&record, &entry, set);
                    // A page is held while it is sent; it must not hold on to whole write buffers.
                    return Ok(wanted.then(|| Record { bytes: record.bytes.detach() }));
                }
                Fetched::Expired | Fetched::Other => return Ok(None),
                Fetched::Changed => match self.index.get(known) {
                    Some(current) => entry = current,
                    None => return Ok(None),
                },
            }
        }
    }

    fn is_wanted(&self, record: &Record, entry: &Entry, set: Option<&str>) -> bool {
        let Some(name) = record.bytes.verified().set() else { return false };
        set.is_none_or(|wanted| wanted == name)
            && self.presence(entry, || self.secret.set_hash(name)) != Presence::Gone
    }
}

/// The records of some reads, and how many are damaged.
async fn collect(
    reads: impl Iterator<Item = impl Future<Output = Result<Option<Record>, Error>>>,
) -> Result<(Vec<Record>, u32), Error> {
    let mut reads = stream::iter(reads).buffered(READS_IN_FLIGHT);
    let (mut records, mut damaged) = (Vec::new(), 0);
    while let Some(read) = reads.next().await {
        match read {
            Ok(record) => records.extend(record),
            Err(Error::Corruption { .. } | Error::ReadFailed { .. }) => damaged += 1,
            Err(error) => return Err(error),
        }
    }
    Ok((records, damaged))
}
