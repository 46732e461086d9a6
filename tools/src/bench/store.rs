//! What has records and can be measured.

use std::future::Future;

/// Bins of a record as they are read: name and bytes.
pub type Bins<'a> = &'a [(&'a str, &'a [u8])];

/// Most bins of a record here.
pub const BINS_MAX: usize = 16;

/// A record that was read.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its bins, in no set order.
    pub bins: Bins<'a>,
    /// Its generation.
    pub generation: u32,
}

/// A bin to write: its name and bytes.
pub type NewBin = (String, Vec<u8>);

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In the place of the one there is.
    Replace,
    /// Other bins stay.
    Update,
    /// Other bins stay, and only if the record still has this generation.
    UpdateIf(u32),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It was applied.
    Done,
    /// The record has another generation, or is gone.
    Stale,
}

/// What a scan met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: usize,
}

/// Something with keys and values. A thread has one of its own; its futures stay on the thread.
pub trait Store {
    /// Reads a record and shows it to `look`: `None` when there is none.
    fn read<R>(
        &self,
        key: u64,
        look: impl FnOnce(Option<Shown<'_>>) -> R,
    ) -> impl Future<Output = Result<R, String>>;

    /// Writes bins of a record.
    fn write(
        &self,
        key: u64,
        bins: Vec<NewBin>,
        how: How,
    ) -> impl Future<Output = Result<Wrote, String>>;

    /// Deletes a record.
    fn delete(&self, key: u64) -> impl Future<Output = Result<(), String>>;

    /// Reads at most `limit` records of a partition (0 to 4095).
    fn scan(&self, partition: u16, limit: usize) -> impl Future<Output = Result<Scanned, String>>;
}

/// A store in memory, for tests of what runs on a store.
#[cfg(test)]
pub mod memory {
    use std::{collections::HashMap, sync::Mutex};

    use super::{How, NewBin, Scanned, Shown, Store, Wrote};

    type Record = (u32, Vec<NewBin>);

    /// Records in a map.
    #[derive(Debug, Default)]
    pub struct Memory(Mutex<HashMap<u64, Record>>);

    impl Memory {
        /// Flips a bit of every value.
        pub fn spoil(&self) {
            for (_, bins) in self.0.lock().unwrap().values_mut() {
                bins.iter_mut().for_each(|(_, bytes)| *bytes.last_mut().unwrap() ^= 1);
            }
        }

        /// How many records there are.
        pub fn len(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    impl Store for Memory {
        async fn read<R>(
            &self,
            key: u64,
            look: impl FnOnce(Option<Shown<'_>>) -> R,
        ) -> Result<R, String> {
            let records = self.0.lock().unwrap();
            let Some((generation, bins)) = records.get(&key) else { return Ok(look(None)) };
            let bins: Vec<_> = bins.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
            Ok(look(Some(Shown { bins: &bins, generation: *generation })))
        }

        async fn write(&self, key: u64, bins: Vec<NewBin>, how: How) -> Result<Wrote, String> {
            let mut records = self.0.lock().unwrap();
            let (generation, kept) = records.entry(key).or_default();
            if matches!(how, How::UpdateIf(wanted) if wanted != *generation) {
                return Ok(Wrote::Stale);
            }
            *generation += 1;
            match how {
                How::Replace => *kept = bins,
                How::Update | How::UpdateIf(_) => {
                    kept.retain(|(name, _)| bins.iter().all(|(new, _)| new != name));
                    kept.extend(bins);
                }
            }
            Ok(Wrote::Done)
        }

        async fn delete(&self, key: u64) -> Result<(), String> {
            self.0.lock().unwrap().remove(&key);
            Ok(())
        }

        async fn scan(&self, _: u16, limit: usize) -> Result<Scanned, String> {
            let records = self.0.lock().unwrap().len().min(limit) as u64;
            Ok(Scanned { records, bytes: 0 })
        }
    }
}
