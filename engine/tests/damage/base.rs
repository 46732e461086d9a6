//! A small namespace with a known history on one simulated device, and what may be read from it after something was damaged.

use std::sync::Arc;

use cairn_engine::{
    Error, NamespaceConfig, OpenError, Outcome,
    device::sim::{CrashPolicy, SimDevice},
    format::{
        BlockHeader, BlockKind, DeviceHeader, Footer, HeaderSlot, PlaceSeed, Walked,
        block_header_region, header_slot_bytes, walk_at,
    },
    model::{ExistsPolicy, ReadPolicy, Value, WritePolicy},
    time::ManualClock,
};

use crate::common::{Driven, NOW_MS, bin, key, small_config, value_of};

pub const KEYS: u64 = 16;
pub const SECTOR: u32 = 512;
pub const BLOCKS: u64 = 10;

/// A device after some work, and what every key held, the newest last; `None` for deleted.
pub struct Base {
    pub config: NamespaceConfig,
    pub device: Arc<SimDevice>,
    pub history: Vec<Vec<Option<Value>>>,
}

/// What reading everything after some damage came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Keys that answered with damage.
    pub refused: u64,
    /// Keys that answered as if their newest write had never been.
    pub stale: u64,
    /// What the start said of damage.
    pub damage: u64,
    /// What the start said of writes cut short.
    pub torn: u64,
    /// The namespace was not opened at all.
    pub closed: bool,
}

/// What must not be.
#[derive(Debug)]
pub enum Trouble {
    /// So many keys have lost their newest write, and nothing said so.
    Unsaid(u64),
    /// Something else, in words.
    Wrong(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsaid(keys) => {
                write!(f, "{keys} keys have lost their newest write, and nothing was said")
            }
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

pub fn policy() -> WritePolicy {
    WritePolicy { exists: ExistsPolicy::Replace, ..WritePolicy::default() }
}

pub fn value(key: u64, round: u64) -> Value {
    Value::Bytes(vec![(key * 7 + round) as u8; 200 + ((key * 131 + round * 57) % 500) as usize])
}

impl Base {
    /// A device on which every key was written several times and some were deleted; the last block is open, and `clean` says how the node
    /// stopped.
    pub fn new(clean: bool) -> Self {
        let config = small_config();
        let db = Driven::fresh(&config, BLOCKS * config.write_block_size, SECTOR);
        let mut history = vec![vec![None]; KEYS as usize];
        for round in 0..7 {
            for n in 0..KEYS {
                let deletes = n % 5 == 4 && round == 5 || n % 5 == 3 && round == 6;
                // The last round ends in the middle, so that old blocks hold records that live.
                if n % 5 == 4 && round == 6 || n % 3 == 0 && round > 2 {
                    continue;
                }
                let new = (!deletes).then(|| value(n, round));
                match &new {
                    Some(value) => {
                        let bins = bin(value.clone());
                        db.run(db.namespace.put(&key("s", n), &bins, &policy())).unwrap();
                    }
                    None => {
                        let deleted = db.run(db.namespace.delete(&key("s", n), &policy())).unwrap();
                        assert_eq!(deleted, Outcome::Done(()));
                    }
                }
                history[n as usize].push(new);
            }
        }
        if clean {
            db.namespace.close().unwrap();
        }
        let device = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
        Self { config, device, history }
    }

    /// A copy of the device that may be damaged.
    pub fn copy(&self) -> Arc<SimDevice> {
        Arc::new(self.device.crash_image(CrashPolicy::LoseAll))
    }

    /// Opens `device`, reads everything and compares. `Err`: something came back that was never written, or less came back than was
    /// written and nothing said so.
    pub fn look(&self, device: Arc<SimDevice>) -> Result<Seen, Trouble> {
        let clock = ManualClock::new(NOW_MS);
        let db = match Driven::open(&self.config, vec![device], &clock) {
            Ok(db) => db,
            Err(
                OpenError::HeaderDamaged { .. }
                | OpenError::WrongDevice { .. }
                | OpenError::Io { .. },
            ) => {
                return Ok(Seen { closed: true, ..Seen::default() });
            }
            Err(error) => return Err(format!("cannot be opened: {error}").into()),
        };
        let report = db.namespace.report();
        let mut seen = Seen { damage: report.damage_count, torn: report.torn, ..Seen::default() };
        let mut corrupt = 0;
        for (n, history) in (0..).zip(&self.history) {
            let get = db.run(db.namespace.get(&key("s", n), &ReadPolicy::default()));
            let found = match get {
                Ok(record) => record.map(|record| value_of(&record)),
                Err(error @ (Error::Corruption { .. } | Error::ReadFailed { .. })) => {
                    corrupt += u64::from(matches!(error, Error::Corruption { .. }));
                    seen.refused += 1;
                    continue;
                }
                Err(error) => return Err(format!("key {n}: {error}").into()),
            };
            if found == *history.last().unwrap() {
                continue;
            }
            if !history.contains(&found) {
                return Err(format!("key {n} holds {found:?}, which was never written").into());
            }
            seen.stale += 1;
        }
        if seen.stale > 0 && seen.damage + seen.torn == 0 {
            return Err(Trouble::Unsaid(seen.stale));
        }
        if db.namespace.stats().damaged < corrupt {
            return Err("damage was met and not counted".to_owned().into());
        }
        Ok(seen)
    }

    /// Looks at the device with one bit flipped.
    pub fn flip(&self, offset: u64, bit: u8) -> Result<Seen, Trouble> {
        let device = self.copy();
        device.flip_bit(offset, bit);
        self.look(device).map_err(|error| format!("bit {bit} of byte {offset}: {error}").into())
    }

    /// Flips every bit of the bytes from `offset` on, one at a time, and returns what was seen, added up.
    pub fn flip_all(&self, offset: u64, len: u64) -> Seen {
        let mut sum = Seen::default();
        for byte in offset..offset + len {
            for bit in 0..8 {
                let seen = self.flip(byte, bit).unwrap_or_else(|error| panic!("{error}"));
                sum.refused += seen.refused;
                sum.stale += seen.stale;
                sum.damage += seen.damage;
                sum.torn += seen.torn;
                sum.closed |= seen.closed;
            }
        }
        sum
    }

    /// The device header, its length and where its slots begin.
    pub fn header(&self) -> (DeviceHeader, u64, [u64; 2]) {
        let slot = header_slot_bytes(self.config.write_block_size);
        let HeaderSlot::Sound(counter, header) =
            DeviceHeader::decode(&self.device.read_raw(0, slot as usize))
        else {
            panic!("the base is sound")
        };
        let len = header.encode(counter).len() as u64;
        (*header, len, [0, slot])
    }

    /// Data blocks by sequence: number, header, and footer where it has one.
    pub fn blocks(&self) -> Vec<(u64, BlockHeader, Option<Footer>)> {
        let (device, size) = (self.header().0.device, self.config.write_block_size);
        let mut blocks = Vec::new();
        for number in 1..BLOCKS {
            let bytes = self.device.read_raw(number * size, size as usize);
            let region = &bytes[..block_header_region(SECTOR) as usize];
            let Some(header) = BlockHeader::decode(region, &device, number as u32) else {
                continue;
            };
            if header.kind != BlockKind::Data {
                continue;
            }
            let footer = Footer::measure(&bytes, &device, number as u32)
                .filter(|(_, sequence)| *sequence == header.sequence)
                .and_then(|(len, _)| Footer::decode(&bytes[bytes.len() - len..], size));
            blocks.push((number, header, footer));
        }
        blocks.sort_by_key(|(_, header, _)| header.sequence);
        blocks
    }
}

impl Base {
    /// Where the records of a block without a footer lie.
    pub fn walk(&self, number: u64, sequence: u64) -> Vec<u64> {
        let (header, _, _) = self.header();
        let size = self.config.write_block_size;
        let bytes = self.device.read_raw(number * size, size as usize);
        let seed = PlaceSeed::new(header.secret.device_seed(&header.device), sequence);
        let (mut at, mut found) = (block_header_region(SECTOR), Vec::new());
        loop {
            match walk_at(&bytes, seed, at) {
                Walked::Record(record) => {
                    found.push(at);
                    at += record.size().bytes();
                }
                Walked::Mark(mark) => at += mark.skip,
                Walked::Nothing => return found,
            }
        }
    }
}
