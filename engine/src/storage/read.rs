//! Reading a record: from its block's image in RAM, or with exactly one device read that equal concurrent reads share.
//!
//! No lock is held across I/O. What comes back may be stale, since the block can be reclaimed meanwhile; the bytes say so
//! themselves, for their checksum is tied to the block's sequence. The caller then looks at the index again.

use std::{
    collections::{HashMap, hash_map},
    future::Future,
    hash::{BuildHasherDefault, Hash, Hasher},
    mem::ManuallyDrop,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crossbeam::utils::CachePadded;
use parking_lot::Mutex;

use super::{Shared, image::Image};
use crate::{
    counter::{SHARDS, shard},
    device::AlignedBuf,
    error::Error,
    format::{PlaceSeed, RecordFault, RecordView},
    model::{Location, SizeClass},
};

/// The bytes where a record lies.
#[derive(Debug)]
pub(crate) struct RecordBytes {
    source: Source,
    start: u32,
    len: u32,
    seed: PlaceSeed,
    offset: u32,
}

#[derive(Debug)]
enum Source {
    Image(Arc<Image>),
    Device(Buffer),
    /// Copied out of an image or a buffer: no larger than the record.
    Copy(Arc<[u8]>),
}

/// What a device read brought.
#[derive(Debug)]
enum Buffer {
    /// For this reader only, as nearly always.
    Own(AlignedBuf),
    /// For several.
    Shared(Arc<AlignedBuf>),
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(buffer) => buffer,
            Self::Shared(buffer) => buffer,
        }
    }
}

impl Clone for RecordBytes {
    /// Copies what cannot be shared. The bytes are verified: nobody has others to clone.
    fn clone(&self) -> Self {
        let (source, start) = match &self.source {
            Source::Image(image) => (Source::Image(Arc::clone(image)), self.start),
            Source::Copy(bytes) => (Source::Copy(Arc::clone(bytes)), self.start),
            Source::Device(Buffer::Shared(buffer)) => {
                (Source::Device(Buffer::Shared(Arc::clone(buffer))), self.start)
            }
            Source::Device(Buffer::Own(_)) => {
                (Source::Copy(self.bytes().expect("there when it was verified").into()), 0)
            }
        };
        Self { source, start, ..*self }
    }
}

impl RecordBytes {
    /// The record, if there is one of this place. A record from a device has its body verified.
    pub(crate) fn record(&self) -> Result<RecordView<'_>, RecordFault> {
        let bytes = self.bytes().ok_or(RecordFault::Header)?;
        let view = RecordView::parse(bytes, self.seed, u64::from(self.offset))?;
        if matches!(self.source, Source::Device(_)) {
            view.verify_body()?;
        }
        Ok(view)
    }

    /// Whether the block has begun another life since these bytes were read.
    pub(crate) fn is_stale(&self, shared: &Shared, location: Location) -> bool {
        let Some((block, _)) = shared.blocks.locate(location) else { return true };
        let sequence = shared.blocks.get(block).sequence();
        PlaceSeed::new(shared.store_of(block).seed, sequence) != self.seed
    }

    /// The life of the block that these bytes were read from, if the block still lives it.
    pub(crate) fn life(&self, shared: &Shared, location: Location) -> Option<u64> {
        let (block, _) = shared.blocks.locate(location)?;
        let sequence = shared.blocks.get(block).sequence();
        (PlaceSeed::new(shared.store_of(block).seed, sequence) == self.seed).then_some(sequence)
    }

    /// The record that [`Self::record`] has verified before.
    pub(crate) fn verified(&self) -> RecordView<'_> {
        RecordView::trusted(self.bytes().expect("there when it was verified"))
    }

    /// The record's bytes; `None` when its block's image does not reach so far in this life.
    fn bytes(&self) -> Option<&[u8]> {
        let (start, len) = (self.start as usize, self.len as usize);
        match &self.source {
            Source::Image(image) => image.committed(self.start, self.len),
            Source::Device(buffer) => buffer.bytes().get(start..start + len),
            Source::Copy(bytes) => bytes.get(start..start + len),
        }
    }

    /// The same bytes in memory of their own, which holds on to no write buffer.
    pub(crate) fn detach(self) -> Self {
        if !matches!(self.source, Source::Image(_)) {
            return self;
        }
        let bytes = self.bytes().expect("there when it was verified");
        let source = Source::Copy(bytes.into());
        Self { source, start: 0, ..self }
    }
}

/// What a read waits for, and where it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It waits until what it reads is durable, if somebody was promised so.
    Settled,
    /// The same, and what was flushed it reads from the device even if RAM has it.
    Bypassing,
    /// What is there now: whoever tells of it waits first.
    AsItIs,
}

/// Why there are no bytes.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The location is not one any more: look at the index again.
    Stale,
    /// The read or the flush it depends on failed.
    Failed(Error),
}

/// Reads of devices on their way, so that equal ones share one. Each worker has a part of its own, for what all would write must
/// not be touched by every read: a record that all workers are asked for at once is read once by each.
#[derive(Debug, Default)]
pub(crate) struct SharedReads {
    shards: [CachePadded<Mutex<Reads>>; SHARDS],
}

/// Reads by place, length and life of the block: a later life's bytes are another read. With who waits for one, if anybody does.
type Reads = HashMap<ReadKey, Option<Arc<SharedRead>>, BuildHasherDefault<PlaceHasher>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReadKey {
    location: Location,
    seed: PlaceSeed,
    len: u32,
}

impl Hash for ReadKey {
    /// The place alone: reads of one place that differ in the rest are rare, and told apart all the same.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.location.units());
    }
}

/// Spreads places over a table's low and high bits. Nobody outside chooses places, so it needs no secret.
#[derive(Debug, Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a place is hashed as one number");
    }

    fn write_u64(&mut self, units: u64) {
        let wide = units.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = wide ^ wide >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What those who share a read get.
type Shareable = Result<Arc<AlignedBuf>, Error>;

/// A read that somebody waits for besides the one that does it.
#[derive(Debug, Default)]
struct SharedRead {
    state: Mutex<SharedState>,
}

#[derive(Debug, Default)]
struct SharedState {
    result: Option<Option<Shareable>>,
    waiters: Vec<Waker>,
}

impl Shared {
    /// The bytes at `location`.
    pub(crate) async fn read(
        &self,
        location: Location,
        size: SizeClass,
        how: How,
    ) -> Result<RecordBytes, ReadError> {
        let (block, offset) = self.blocks.locate(location).ok_or(ReadError::Stale)?;
        let len = size.bytes() as u32;
        let store = self.store_of(block);
        let image = self.blocks.get(block).image();
        // The sequence is read after the image: both belong to the same life of the block, or the bytes will not fit.
        let seed = PlaceSeed::new(store.seed, self.blocks.get(block).sequence());
        if let Some(image) = image {
            let end = offset + len;
            if how != How::AsItIs && image.promised(end) {
                let durable = image.durable(end).await;
                durable.map_err(|cause| ReadError::Failed(super::failed(store, &cause, false)))?;
            }
            if !(how == How::Bypassing && image.synced() >= end) {
                self.counters.buffer_hits.add(1);
                let source = Source::Image(image);
                return Ok(RecordBytes { source, start: offset, len, seed, offset });
            }
        }
        let sector = store.device.geometry().read_sector;
        let first = offset / sector * sector;
        let padded = (offset + len).next_multiple_of(sector) - first;
        let key = ReadKey { location, seed, len: padded };
        let read = self.read_shared(key, block, first);
        let source = Source::Device(read.await.map_err(ReadError::Failed)?);
        Ok(RecordBytes { source, start: offset - first, len, seed, offset })
    }

    /// The bytes at `location` as they are, if RAM has them.
    pub(crate) fn read_now(&self, location: Location, size: SizeClass) -> Option<RecordBytes> {
        let (block, offset) = self.blocks.locate(location)?;
        let image = self.blocks.get(block).image()?;
        // As in `read`: the sequence after the image.
        let seed = PlaceSeed::new(self.store_of(block).seed, self.blocks.get(block).sequence());
        self.counters.buffer_hits.add(1);
        let source = Source::Image(image);
        Some(RecordBytes { source, start: offset, len: size.bytes() as u32, seed, offset })
    }

    /// Shows `see` the record at `location` where it lies, if RAM has it, and it is durable if somebody was promised so. Its header is verified.
    pub(crate) fn show<R>(
        &self,
        location: Location,
        size: SizeClass,
        see: impl FnOnce(&RecordView<'_>) -> Option<R>,
    ) -> Option<R> {
        let (block, offset) = self.blocks.locate(location)?;
        let (len, at) = (size.bytes() as u32, self.blocks.get(block));
        let seen = at.with_image(|image| {
            if image.promised(offset + len) {
                return None;
            }
            // As in `read`: the sequence after the image.
            let seed = PlaceSeed::new(self.store_of(block).seed, at.sequence());
            let bytes = image.committed(offset, len)?;
            see(&RecordView::parse(bytes, seed, u64::from(offset)).ok()?)
        });
        let seen = seen.flatten()?;
        self.counters.buffer_hits.add(1);
        Some(seen)
    }

    /// Hints to the CPU that the bytes at `location` will be read soon, if RAM has them.
    pub(crate) fn prefetch(&self, location: Location, size: SizeClass) {
        let Some((block, offset)) = self.blocks.locate(location) else { return };
        self.blocks.get(block).with_image(|image| image.prefetch(offset, size.bytes() as u32));
    }

    /// Whether nobody was promised that the bytes at `location` are durable, or they are.
    pub(crate) fn is_settled(&self, location: Location, size: SizeClass) -> bool {
        let Some((block, offset)) = self.blocks.locate(location) else { return true };
        let end = offset + size.bytes() as u32;
        self.blocks.get(block).with_image(|image| image.promised(end)) != Some(true)
    }

    /// Waits until the bytes at `location` are durable, if somebody was promised so: what the index says of them may be told then.
    pub(crate) async fn settled(&self, location: Location, size: SizeClass) -> Result<(), Error> {
        if self.is_settled(location, size) {
            return Ok(());
        }
        let Some((block, offset)) = self.blocks.locate(location) else { return Ok(()) };
        let image = self.blocks.get(block).image();
        let end = offset + size.bytes() as u32;
        match image {
            Some(image) if image.promised(end) => image
                .durable(end)
                .await
                .map_err(|cause| super::failed(self.store_of(block), &cause, false)),
            _ => Ok(()),
        }
    }

    async fn read_shared(&self, key: ReadKey, block: u32, first: u32) -> Result<Buffer, Error> {
        let shard = &*self.reads.shards[shard()];
        loop {
            let Some(read) = join(shard, key) else {
                let lead = Lead { shard, key };
                return lead.finish(self.read_device(block, first, key.len).await);
            };
            self.counters.shared_reads.add(1);
            // `None`: the one that led was dropped before its read was done. Somebody else leads now, perhaps this one.
            if let Some(result) = (Follow { read: &read }).await {
                return result.map(Buffer::Shared);
            }
        }
    }

    async fn read_device(&self, block: u32, first: u32, len: u32) -> Result<AlignedBuf, Error> {
        self.counters.device_reads.add(1);
        let store = self.store_of(block);
        let offset = u64::from(block - store.first_block) * self.block_size + u64::from(first);
        let len = len as usize;
        match store.device.read(AlignedBuf::new(len), len, offset).await {
            Ok(buffer) => Ok(buffer),
            Err(error) => Err(Error::ReadFailed {
                device: store.device.name().into(),
                offset,
                cause: error.to_string().into(),
            }),
        }
    }
}

/// The read under way that is equal to this one; `None` when there was none, and the caller does it now.
fn join(shard: &Mutex<Reads>, key: ReadKey) -> Option<Arc<SharedRead>> {
    match shard.lock().entry(key) {
        hash_map::Entry::Occupied(mut read) => {
            Some(Arc::clone(read.get_mut().get_or_insert_default()))
        }
        hash_map::Entry::Vacant(place) => {
            place.insert(None);
            None
        }
    }
}

/// The one of several equal reads that does it. Its entry in the table goes with it.
struct Lead<'a> {
    shard: &'a Mutex<Reads>,
    key: ReadKey,
}

impl Lead<'_> {
    fn finish(self, result: Result<AlignedBuf, Error>) -> Result<Buffer, Error> {
        // Once: the entry that stands in the table after this is another read's.
        let Some(read) = ManuallyDrop::new(self).leave() else { return result.map(Buffer::Own) };
        let result = result.map(Arc::new);
        read.settle(Some(result.clone()));
        result.map(Buffer::Shared)
    }

    /// Takes the read out of the table; gives the place where the others wait, if there are any. Whoever comes later reads anew: the place may have
    /// been written since.
    fn leave(&self) -> Option<Arc<SharedRead>> {
        self.shard.lock().remove(&self.key).flatten()
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if let Some(read) = self.leave() {
            read.settle(None);
        }
    }
}

impl SharedRead {
    /// Tells those who wait: the result, or that there will be none.
    fn settle(&self, result: Option<Shareable>) {
        let waiters = {
            let mut state = self.state.lock();
            state.result = Some(result);
            std::mem::take(&mut state.waiters)
        };
        waiters.into_iter().for_each(Waker::wake);
    }
}

struct Follow<'a> {
    read: &'a SharedRead,
}

impl Future for Follow<'_> {
    type Output = Option<Shareable>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.read.state.lock();
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                state.waiters.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
