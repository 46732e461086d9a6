//! Reading all records of a partition, page by page.

use futures_util::{StreamExt, stream};

use super::{
    Namespace, Record, ScanPage,
    read::{Fetched, Presence},
};
use crate::{
    error::Error,
    index::Entry,
    model::{Digest, PARTITIONS},
};

/// Device reads of one page that are in flight at once.
const READS_IN_FLIGHT: usize = 32;

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
        let mut reads = stream::iter(reads).buffered(READS_IN_FLIGHT);
        let mut page = ScanPage { records: Vec::new(), next, damaged: 0 };
        while let Some(read) = reads.next().await {
            match read {
                Ok(record) => page.records.extend(record),
                Err(Error::Corruption { .. } | Error::ReadFailed { .. }) => page.damaged += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    async fn scan_one(
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
