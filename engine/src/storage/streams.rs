//! Which of a device's streams a record goes to: records that will die together share write blocks.
//!
//! A block whose records die together is reclaimed for nothing, one in which some live on costs their move. Nobody knows when a record will
//! die, but what it has just taken the place of tells (SepBIT, FAST '22): a version that was overwritten soon will be followed by one that is
//! overwritten soon. So a write is sorted by the age of what it kills, and what survives in a reclaimed block by its own age: both say about how long
//! the record may live, so both share the streams of ages. Records that expire share blocks with others of a like remaining life.
//!
//! Time is counted in versions given. Small devices have fewer streams, since every stream holds a block open.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use crate::model::{NEVER, VoidTime};

/// Streams of a device, at most.
pub(crate) const STREAMS: usize = 11;

/// A device's stream of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId(pub(crate) u8);

impl StreamId {
    /// Writes that took the place of a version that did not live long.
    pub(crate) const SHORT_LIVED: Self = Self(0);
    /// New records, of which nothing is known.
    pub(crate) const NEW: Self = Self(1);
    /// The first of [`EXPIRING`] streams for records that expire, by their remaining life.
    const FIRST_EXPIRING: u8 = 2;
    /// What survived in a block of short-lived records.
    pub(crate) const SURVIVED_SHORT: Self = Self(6);
    /// The first of [`AGES`] streams of other survivors and of writes over versions of like ages, the youngest.
    const FIRST_AGE: u8 = 7;

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Whether it is one for records that expire.
    pub(crate) fn expires(self) -> bool {
        (Self::FIRST_EXPIRING..Self::FIRST_EXPIRING + EXPIRING).contains(&self.0)
    }
}

/// Streams for records that expire.
const EXPIRING: u8 = 4;
/// Streams by age.
const AGES: u8 = 4;
/// Each of them reaches to so many times the age of the one before; the first, to so many lifespans of short-lived records.
const AGES_APART: u64 = 4;

const _: () = {
    assert!(StreamId::FIRST_EXPIRING + EXPIRING == StreamId::SURVIVED_SHORT.0);
    assert!((StreamId::FIRST_AGE + AGES) as usize == STREAMS);
};

/// Devices with fewer blocks have one stream.
const ONE_STREAM_BELOW: u32 = 32;
/// Devices with fewer blocks have one for writes, one for what expires, one for survivors.
const FEW_STREAMS_BELOW: u32 = 256;
/// So many reclaimed blocks of short-lived records tell how long these live.
const LIFESPANS: usize = 16;

/// How the records of one device are sorted.
#[derive(Debug)]
pub(crate) struct Sorting {
    blocks: u32,
    /// How long short-lived blocks live, on average, in versions given; `u64::MAX` until that is known.
    lifespan: AtomicU64,
    spans: Mutex<VecDeque<u64>>,
}

impl Sorting {
    /// For a device of `blocks` write blocks.
    pub(crate) fn new(blocks: u32) -> Self {
        Self { blocks, lifespan: AtomicU64::new(u64::MAX), spans: Mutex::default() }
    }

    /// The stream of a user's write. `killed_age` is how long the version that it takes the place of has lived.
    pub(crate) fn of_write(
        &self,
        void_time: VoidTime,
        now_ms: u64,
        killed_age: Option<u64>,
    ) -> StreamId {
        let lifespan = self.lifespan.load(Relaxed);
        let stream = match killed_age {
            _ if void_time != NEVER => by_remaining_life(void_time, now_ms),
            Some(age) if age < lifespan => StreamId::SHORT_LIVED,
            // Where streams are few, what is written stays apart from what survived.
            Some(age) if self.streams() == STREAMS as u32 => by_age(age, lifespan),
            _ => StreamId::NEW,
        };
        self.fold(stream)
    }

    /// The stream of a record that survived in a block of stream `from` and was written `age` versions ago.
    pub(crate) fn of_survivor(
        &self,
        from: StreamId,
        void_time: VoidTime,
        now_ms: u64,
        age: u64,
    ) -> StreamId {
        let stream = if void_time != NEVER {
            by_remaining_life(void_time, now_ms)
        } else if from == StreamId::SHORT_LIVED {
            StreamId::SURVIVED_SHORT
        } else {
            by_age(age, self.lifespan.load(Relaxed))
        };
        self.fold(stream)
    }

    /// A block that was opened `span` versions ago is reclaimed.
    pub(crate) fn reclaimed(&self, stream: StreamId, span: u64) {
        if stream != StreamId::SHORT_LIVED {
            return;
        }
        let mut spans = self.spans.lock();
        spans.push_back(span);
        if spans.len() > LIFESPANS {
            spans.pop_front();
        }
        if spans.len() == LIFESPANS {
            self.lifespan.store(spans.iter().sum::<u64>() / LIFESPANS as u64, Relaxed);
        }
    }

    /// How many streams the device has.
    pub(crate) fn streams(&self) -> u32 {
        match self.blocks {
            blocks if blocks < ONE_STREAM_BELOW => 1,
            blocks if blocks < FEW_STREAMS_BELOW => 3,
            _ => STREAMS as u32,
        }
    }

    fn fold(&self, stream: StreamId) -> StreamId {
        match self.streams() {
            1 => StreamId(0),
            3 if stream.0 >= StreamId::SURVIVED_SHORT.0 => StreamId::SURVIVED_SHORT,
            3 if stream.0 >= StreamId::FIRST_EXPIRING => StreamId(StreamId::FIRST_EXPIRING),
            3 => StreamId(0),
            _ => stream,
        }
    }
}

/// Up to 4, 16 and 64 lifespans, and older.
fn by_age(age: u64, lifespan: u64) -> StreamId {
    let limit = |class: u32| lifespan.saturating_mul(AGES_APART.pow(class));
    let class = (1..u32::from(AGES)).filter(|&class| age >= limit(class)).count();
    StreamId(StreamId::FIRST_AGE + class as u8)
}

/// Up to a minute, an hour, a day, and longer.
fn by_remaining_life(void_time: VoidTime, now_ms: u64) -> StreamId {
    const MINUTE: u64 = 60_000;
    let remaining = void_time.0.saturating_sub(now_ms);
    let class = [MINUTE, 60 * MINUTE, 24 * 60 * MINUTE].iter().filter(|&&most| remaining > most);
    StreamId(StreamId::FIRST_EXPIRING + class.count() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hot and cold records that share blocks are copied again and again.
    #[test]
    fn what_dies_soon_is_kept_apart() {
        let sorting = Sorting::new(10_000);
        let write = |age| sorting.of_write(NEVER, 0, age);
        assert_eq!(write(Some(50)), StreamId::SHORT_LIVED, "nothing is known yet");
        (0..LIFESPANS).for_each(|_| sorting.reclaimed(StreamId::SHORT_LIVED, 1000));
        assert_eq!(write(Some(999)), StreamId::SHORT_LIVED);
        assert_eq!(write(None), StreamId::NEW);
        let survivor = |from, age| sorting.of_survivor(from, NEVER, 0, age);
        assert_eq!(survivor(StreamId::SHORT_LIVED, 9999), StreamId::SURVIVED_SHORT);
        let ages = [1000, 3999, 4000, 15_999, 16_000, 63_999, 64_000];
        assert_eq!(ages.map(|age| survivor(StreamId::NEW, age).0), [7, 7, 8, 8, 9, 9, 10]);
        assert_eq!(ages.map(|age| write(Some(age)).0), [7, 7, 8, 8, 9, 9, 10]);
    }

    /// A record that expires in a minute must not keep the block of one that expires in a year, nor the other way round.
    #[test]
    fn what_expires_is_sorted_by_its_remaining_life() {
        let sorting = Sorting::new(10_000);
        let of = |ms: u64| sorting.of_write(VoidTime(1000 + ms), 1000, Some(1)).0;
        assert_eq!([of(1), of(60_000), of(60_001), of(3_600_001), of(90_000_000)], [2, 2, 3, 4, 5]);
    }

    /// A small device whose streams all held a block would have none left.
    #[test]
    fn small_devices_have_few_streams() {
        for (blocks, streams) in [(8, 1), (100, 3), (1000, STREAMS)] {
            let sorting = Sorting::new(blocks);
            let mut used: Vec<u8> =
                (0..STREAMS as u8).map(|s| sorting.fold(StreamId(s)).0).collect();
            used.sort_unstable();
            used.dedup();
            assert_eq!(used.len(), streams);
            (0..LIFESPANS).for_each(|_| sorting.reclaimed(StreamId::SHORT_LIVED, 1000));
            let write = sorting.of_write(NEVER, 0, Some(5000));
            let survivor = sorting.of_survivor(StreamId::NEW, NEVER, 0, 5000);
            assert_eq!(write == survivor, streams != 3, "few streams: survivors have their own");
        }
    }
}
