//! What cannot be read at one start can be read at the next: a cable, a controller, a path that was away. What lies there was acknowledged, and what
//! was written meanwhile was too.

use std::sync::Arc;

use cairn_engine::{
    device::sim::{CrashPolicy, Effect, Fault, SimDevice, Trigger},
    model::{ExistsPolicy, Ttl, WritePolicy},
    time::ManualClock,
};

use crate::{
    base::{BLOCKS, Base, KEYS, SECTOR, policy, value},
    common::{Driven, NOW_MS, bin, key, small_config, value_of},
};

const EIO: i32 = 5;

/// Starts a node while these bytes cannot be read, does some work there, and returns what the device holds after a loss of power.
fn meanwhile(base: &Base, offset: u64, len: u64, work: impl FnOnce(&Driven)) -> Arc<SimDevice> {
    let device = base.copy();
    device.inject(Fault::forever(Effect::ReadError(EIO), Trigger::Range { offset, len }));
    let db = Driven::open(&base.config, vec![device], &ManualClock::new(NOW_MS)).unwrap();
    work(&db);
    db.devices[0].clear_faults();
    Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll))
}

/// Whole blocks and single sectors: where they begin, and how long they are.
fn places(base: &Base) -> impl Iterator<Item = (u64, u64)> {
    let size = base.config.write_block_size;
    let blocks = (1..BLOCKS).map(move |block| (block * size, size));
    let sectors = (size..BLOCKS * size).step_by(SECTOR as usize);
    blocks.chain(sectors.map(|sector| (sector, u64::from(SECTOR))))
}

/// A start that cannot read a part of a block goes on without it. Nothing that it does may make that loss one for good, nor may a clean stop.
#[test]
fn a_start_without_it_loses_nothing_for_good() {
    let base = Base::new(false);
    for (offset, len) in places(&base) {
        for clean in [false, true] {
            let device = meanwhile(&base, offset, len, |db| {
                if clean {
                    db.namespace.close().unwrap();
                }
            });
            let seen = base.look(device);
            let seen = seen.unwrap_or_else(|error| panic!("{len} at {offset}, {clean}: {error}"));
            assert_eq!((seen.stale, seen.refused), (0, 0), "{len} at {offset}, {clean}");
        }
    }
}

/// Who writes a record while its last version cannot be read writes a newer one.
#[test]
fn what_is_written_meanwhile_is_newer() {
    let base = Base::new(false);
    for (offset, len) in places(&base) {
        let device = meanwhile(&base, offset, len, |db| {
            for n in 0..KEYS {
                db.run(db.namespace.put(&key("s", n), &bin(value(n, 100)), &policy())).unwrap();
            }
        });
        let mut after = Base { config: base.config.clone(), device, history: base.history.clone() };
        (0..).zip(&mut after.history).for_each(|(n, history)| history.push(Some(value(n, 100))));
        let seen = after.look(after.copy());
        let seen = seen.unwrap_or_else(|error| panic!("{len} at {offset}: {error}"));
        assert_eq!((seen.stale, seen.refused), (0, 0), "{len} at {offset}");
    }
}

/// A record that was given an end takes the place of one that had none. It ends while that one cannot be read, and leaves: then that one must not come
/// back.
#[test]
fn what_expires_meanwhile_stays_away() {
    let config = small_config();
    let db = Driven::fresh(&config, BLOCKS * config.write_block_size, SECTOR);
    let put = |db: &Driven, set: &str, n: u64, ttl| {
        let policy = WritePolicy { exists: ExistsPolicy::Replace, ttl, ..policy() };
        db.run(db.namespace.put(&key(set, n), &bin(value(n, 1)), &policy)).unwrap();
    };
    // Old and new versions share their blocks with what stays.
    for (ttl, others) in [(Ttl::Never, 0), (Ttl::Millis(1000), KEYS)] {
        for n in 0..KEYS {
            put(&db, "ends", n, ttl);
            put(&db, "stays", others + n, Ttl::Never);
        }
    }
    let device = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
    let base = Base { config, device, history: Vec::new() };
    for (offset, len) in places(&base) {
        let device = meanwhile(&base, offset, len, |db| {
            db.clock.advance(60_000);
            db.namespace.housekeep();
            // The blocks of those that have left are used again.
            for round in 0..6 {
                (0..KEYS / 2).for_each(|n| put(db, "other", n, Ttl::Millis(3_600_000 + round)));
                db.namespace.housekeep();
            }
        });
        let clock = ManualClock::new(NOW_MS + 60_000);
        let db = Driven::open(&base.config, vec![device], &clock).unwrap();
        for n in 0..KEYS {
            let found = db.run(db.namespace.get(&key("ends", n), &Default::default())).unwrap();
            let found = found.map(|record| value_of(&record));
            assert_eq!(found, None, "record {n} is back, {len} at {offset}");
        }
    }
}
