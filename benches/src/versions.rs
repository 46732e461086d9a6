//! What a scenario knows of every key: the last acknowledged version, and whether a write of it is on its way. 4 bytes a key, in a file that
//! is mapped, so that the knowledge outlives the process that is killed.

use std::{
    fs::OpenOptions,
    io,
    path::Path,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use memmap2::MmapMut;

/// A write of the key is on its way: it may be found or not.
const IN_FLIGHT: u32 = 1 << 31;

/// The versions of all keys. Each key has at most one write in flight.
#[derive(Debug)]
pub struct Versions {
    map: MmapMut,
    keys: usize,
}

/// What is known of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The last version that was acknowledged; 0 for none.
    pub acknowledged: u32,
    /// Whether the next version may be there too.
    pub in_flight: bool,
}

impl Known {
    /// Whether a record with this version, or none, is what may be found.
    pub fn allows(self, found: Option<u64>) -> bool {
        let found = found.unwrap_or(0);
        let acknowledged = u64::from(self.acknowledged);
        found == acknowledged || (self.in_flight && found == acknowledged + 1)
    }
}

impl Versions {
    /// Opens the file, or makes it, for `keys` keys.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn open(path: &Path, keys: u64) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(keys * 4)?;
        // SAFETY: only the processes of one scenario map the file, one at a time, and they access it through atomics alone.
        let map = unsafe { MmapMut::map_mut(&file)? };
        Ok(Self { map, keys: keys as usize })
    }

    fn slot(&self, key: u64) -> &AtomicU32 {
        assert!(key < self.keys as u64);
        // SAFETY: inside the map (asserted), which is page-aligned and so aligned for words; all access is atomic.
        unsafe { AtomicU32::from_ptr(self.map.as_ptr().cast_mut().cast::<u32>().add(key as usize)) }
    }

    /// What is known of `key`.
    pub fn get(&self, key: u64) -> Known {
        let word = self.slot(key).load(SeqCst);
        Known { acknowledged: word & !IN_FLIGHT, in_flight: word & IN_FLIGHT != 0 }
    }

    /// Claims the next version of `key` for a write; `None` when another write of it is on its way.
    pub fn begin(&self, key: u64) -> Option<u32> {
        let slot = self.slot(key);
        let word = slot.load(SeqCst);
        let free = word & IN_FLIGHT == 0;
        let claimed = free && slot.compare_exchange(word, word | IN_FLIGHT, SeqCst, SeqCst).is_ok();
        claimed.then_some(word + 1)
    }

    /// The write of `version` was acknowledged.
    pub fn acknowledge(&self, key: u64, version: u32) {
        self.slot(key).store(version, SeqCst);
    }

    /// The write of `version` was surely not applied.
    pub fn refuse(&self, key: u64, version: u32) {
        self.slot(key).store(version - 1, SeqCst);
    }

    /// The key has no record any more.
    pub fn forget(&self, key: u64) {
        self.slot(key).store(0, SeqCst);
    }
}
