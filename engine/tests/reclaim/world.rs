//! A namespace on one simulated device together with what each of its keys must hold: after every crash it is compared with that.

use std::{collections::BTreeMap, sync::Arc};

use cairn_engine::{
    Error, NamespaceConfig, Outcome, Record,
    device::sim::{CrashPolicy, SimDevice},
    model::{Durability, ExistsPolicy, Key, ReadPolicy, Ttl, Value, WritePolicy},
    time::{Clock, ManualClock},
};

use crate::common::{Driven, bin, key, small_config, value_of};

pub const BLOCK: u64 = 16 << 10;
pub const READ: ReadPolicy = ReadPolicy { bypass_cache: false };

/// One state of a key: the round in which it was written and when it expires, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub round: u64,
    pub void_ms: u64,
}

/// A namespace and what it must hold.
pub struct World {
    pub db: Driven,
    pub config: NamespaceConfig,
    /// Bytes of a value.
    pub len: usize,
    /// By set and number: what may be there, the newest last. The first was acknowledged as durable.
    may: BTreeMap<(String, u64), Vec<Option<Held>>>,
    round: u64,
}

/// Settings of these tests: nothing is answered from blocks that the device has, so that what is read is what lies there.
pub fn config() -> NamespaceConfig {
    let mut config = small_config();
    config.post_write_cache = 0;
    config
}

pub fn replace(ttl: Ttl) -> WritePolicy {
    WritePolicy {
        exists: ExistsPolicy::Replace,
        durability: Some(Durability::Device),
        ttl,
        ..WritePolicy::default()
    }
}

/// A value that tells its round.
pub fn value(round: u64, len: usize) -> Value {
    let mut bytes = vec![round as u8; len.max(8)];
    bytes[..8].copy_from_slice(&round.to_le_bytes());
    Value::Bytes(bytes)
}

fn held(record: &Record) -> Held {
    let Value::Bytes(bytes) = value_of(record) else { panic!("only bytes are written") };
    let round = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes[8..].iter().all(|&byte| byte == round as u8), "a value is whole");
    Held { round, void_ms: record.metadata().void_time.0 }
}

impl World {
    /// An empty namespace on a device of `blocks` write blocks.
    pub fn new(config: NamespaceConfig, blocks: u64, len: usize) -> Self {
        Self::on(config, blocks, 512, len)
    }

    /// The same with sectors of another size.
    pub fn on(config: NamespaceConfig, blocks: u64, sector: u32, len: usize) -> Self {
        let db = Driven::fresh(&config, blocks * config.write_block_size, sector);
        Self { db, config, len, may: BTreeMap::new(), round: 0 }
    }

    /// The same history on other devices, which are what is left of these.
    pub fn with(&self, image: SimDevice) -> Self {
        let clock = ManualClock::new(self.now());
        let db = Driven::open(&self.config, vec![Arc::new(image)], &clock).unwrap();
        Self {
            db,
            config: self.config.clone(),
            len: self.len,
            may: self.may.clone(),
            round: self.round,
        }
    }

    /// What comes up after a loss of power.
    pub fn crashed(&self, policy: CrashPolicy) -> Self {
        let world = self.with(self.device().crash_image(policy));
        let report = world.db.namespace.report();
        assert_eq!(report.damage, Vec::<String>::new(), "a loss of power passes for damage");
        world
    }

    /// Stops cleanly and starts again.
    pub fn restarted(&self) -> Self {
        self.db.namespace.close().unwrap();
        let world = self.with(self.device().crash_image(CrashPolicy::LoseAll));
        assert_eq!(world.db.namespace.report().kind, cairn_engine::StartKind::Warm);
        world
    }

    pub fn device(&self) -> &SimDevice {
        &self.db.devices[0]
    }

    pub fn now(&self) -> u64 {
        self.db.clock.now_ms()
    }

    pub fn advance(&self, ms: u64) {
        self.db.clock.advance(ms);
    }

    pub fn stats(&self) -> cairn_engine::Stats {
        self.db.namespace.stats()
    }

    /// Writes a value that never expires.
    pub fn put(&mut self, set: &str, n: u64) -> Result<(), Error> {
        self.put_for(set, n, 0)
    }

    /// Writes a value that expires after `ttl_ms`, or never.
    pub fn put_for(&mut self, set: &str, n: u64, ttl_ms: u64) -> Result<(), Error> {
        self.round += 1;
        let (round, len) = (self.round, self.len);
        let void_ms = if ttl_ms == 0 { 0 } else { self.now() + ttl_ms };
        let ttl = if ttl_ms == 0 { Ttl::Never } else { Ttl::At(void_ms) };
        let (key, bins, policy) = (key(set, n), bin(value(round, len)), replace(ttl));
        self.begin(set, n, Some(Held { round, void_ms }));
        let put = self.db.try_run(self.db.namespace.put(&key, &bins, &policy));
        let done = put.unwrap_or_else(|| panic!("a writer waits for ever: {:?}", self.stats()));
        self.end(set, n, done.is_ok());
        done.map(|outcome| assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}"))
    }

    pub fn delete(&mut self, set: &str, n: u64) -> Result<(), Error> {
        self.begin(set, n, None);
        let (key, policy) = (key(set, n), replace(Ttl::Never));
        let done = self.db.try_run(self.db.namespace.delete(&key, &policy));
        let done = done.unwrap_or_else(|| panic!("a delete waits for ever: {:?}", self.stats()));
        self.end(set, n, done.is_ok());
        done.map(drop)
    }

    /// Truncates a set, or everything; acknowledged if the power stays.
    pub fn truncate(&mut self, set: Option<&str>) -> Result<u64, Error> {
        let of: Vec<_> =
            self.may.keys().filter(|key| set.is_none_or(|s| s == key.0)).cloned().collect();
        for (set, n) in &of {
            self.begin(set, *n, None);
        }
        let done = self.db.run(self.db.namespace.truncate(set));
        if done.is_ok() {
            of.iter().for_each(|(set, n)| self.end(set, *n, true));
        }
        done
    }

    /// A state is on its way.
    pub fn begin(&mut self, set: &str, n: u64, state: Option<Held>) {
        self.may.entry((set.to_owned(), n)).or_insert_with(|| vec![None]).push(state);
    }

    /// It is there, or was refused.
    pub fn end(&mut self, set: &str, n: u64, done: bool) {
        let states = self.may.get_mut(&(set.to_owned(), n)).expect("it has begun");
        let last = states.pop().expect("never empty");
        if done {
            *states = vec![last];
        }
    }

    /// The key may be gone too: it was evicted, perhaps.
    pub fn may_be_gone(&mut self, set: &str, n: u64) {
        self.may.get_mut(&(set.to_owned(), n)).expect("it was written").push(None);
    }

    /// What is there now.
    pub fn get(&self, set: &str, n: u64) -> Result<Option<Held>, Error> {
        let key: Key = key(set, n);
        let got =
            self.db.try_run(self.db.namespace.get(&key, &READ)).expect("a read does not wait");
        got.map(|record| record.as_ref().map(held))
    }

    /// Compares every key with what it may hold. Says which of them holds what, if one does not.
    pub fn compare(&self) -> Result<(), String> {
        let now = self.now();
        for ((set, n), may) in &self.may {
            let found = self.get(set, *n).map_err(|error| format!("{set}/{n}: {error}"))?;
            let fits = |state: &Option<Held>| {
                state.filter(|held| held.void_ms == 0 || held.void_ms > now) == found
            };
            if !may.iter().any(fits) {
                return Err(format!("{set}/{n} holds {found:?}, may hold one of {may:?}"));
            }
        }
        Ok(())
    }

    /// The same, and all that is counted is counted again.
    pub fn check(&self) {
        self.compare().unwrap_or_else(|error| panic!("{error}"));
        self.audit();
    }

    /// What is counted must be what is there: of sets, at least what lives and at most what is not yet known to have expired.
    pub fn audit(&self) {
        self.db.namespace.audit().unwrap_or_else(|error| panic!("{error}"));
        let sets = self.db.namespace.sets();
        let sum: u64 = sets.iter().map(|set| set.records).sum();
        assert_eq!(sum, self.stats().records, "the sets' counts and the namespace's");
    }

    /// Loses power in several ways and looks what comes up.
    pub fn check_crashes(&self, seed: u64) {
        for policy in [CrashPolicy::LoseAll, CrashPolicy::KeepAll, CrashPolicy::from_seed(seed)] {
            let world = self.crashed(policy);
            let compared = world.compare();
            compared.unwrap_or_else(|error| panic!("{policy:?}: {error}"));
            world.audit();
        }
    }

    /// Brings everything to the device and lets the defragmenter come to rest.
    pub fn settle(&self) {
        for _ in 0..10_000 {
            self.db.clock.advance(self.config.flush_max.as_millis() as u64 / 100 + 1);
            if !self.db.turn() {
                return;
            }
        }
    }

    /// Live records of a set, as it is counted.
    pub fn records_of(&self, set: &str) -> u64 {
        let sets = self.db.namespace.sets();
        sets.iter().find(|found| found.name == set).map_or(0, |found| found.records)
    }
}
