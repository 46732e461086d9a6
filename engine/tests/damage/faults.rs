//! A device that does not do what it said: writes lost, misplaced or torn, blocks that read older, sectors that cannot be read.

use std::sync::Arc;

use cairn_engine::{
    Error, OpenError, StartKind,
    device::{
        Device,
        sim::{CrashPolicy, Effect, Fault, SimDevice, Trigger},
    },
    model::ReadPolicy,
};

use crate::{
    base::{BLOCKS, Base, KEYS, SECTOR, Seen, Trouble, policy, value},
    common::{Driven, NOW_MS, bin, key, small_config, value_of},
};

const EIO: i32 = 5;

/// Writes that do not come to pass, though the device says so: one after the other of a run is lost, torn, or done in another place.
/// What can be known afterwards is said. What nobody can know is a write with nothing behind it: the last of a block that was open.
#[test]
fn acknowledged_writes_that_were_not_done() {
    let lost = |_| Effect::LostWrite;
    let torn = |_| Effect::TornWrite { units: 1 };
    let misdirected =
        |n: u64| Effect::MisdirectedWrite { to: (16 << 10) * (1 + n % (BLOCKS - 1)) + 1024 };
    for (name, effect) in
        [("lost", &lost as &dyn Fn(u64) -> Effect), ("torn", &torn), ("misdirected", &misdirected)]
    {
        let (mut said, mut unsaid, mut number) = (0, 0, 0);
        while let Some((base, device)) = run_with(effect(number), number) {
            match base.look(device) {
                Ok(seen) => said += u64::from(seen != Seen::default()),
                Err(Trouble::Unsaid(_)) => unsaid += 1,
                Err(error) => panic!("{name}, write {number}: {error}"),
            }
            number += 1;
        }
        println!("{name}: of {number} writes {said} showed, {unsaid} were lost without a trace");
        assert!(said > unsaid * 4, "{name}: {said} {unsaid}");
    }
}

/// The run of [`Base`], in which write number `number` has a fault; `None` when there are not so many writes.
fn run_with(effect: Effect, number: u64) -> Option<(Base, Arc<SimDevice>)> {
    let config = small_config();
    let db = Driven::fresh(&config, BLOCKS * config.write_block_size, SECTOR);
    let before = db.devices[0].write_count();
    db.devices[0].inject(Fault::once(effect, Trigger::After(number)));
    let mut history = vec![vec![None]; KEYS as usize];
    for round in 0..4 {
        for n in 0..KEYS {
            db.run(db.namespace.put(&key("s", n), &bin(value(n, round)), &policy())).unwrap();
            history[n as usize].push(Some(value(n, round)));
        }
    }
    let device = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
    let base = Base { config, device: Arc::clone(&device), history };
    (number < db.devices[0].write_count() - before).then_some((base, device))
}

/// Where a block's header says what kind it is, and the kind of one that was freed.
const KIND: usize = 36;
const FREED: u8 = 3;

/// A sealed block that shows its earlier life again. Its records would be missing, and those before them would pass for present. The blocks
/// opened after it tell; of the block that was open last nobody can know.
#[test]
fn a_block_that_reads_older() {
    let config = small_config();
    let size = config.write_block_size as usize;
    let db = Driven::fresh(&config, BLOCKS * size as u64, SECTOR);
    let mut history = vec![vec![None]; KEYS as usize];
    let read = |block: u64| db.devices[0].read_raw(block * size as u64, size);
    let mut lives: Vec<Vec<Vec<u8>>> = vec![Vec::new(); BLOCKS as usize];
    let mut shown = 0;
    for round in 0..14 {
        for n in 0..KEYS {
            db.run(db.namespace.put(&key("s", n), &bin(value(n, round)), &policy())).unwrap();
            history[n as usize].push(Some(value(n, round)));
            for block in 1..BLOCKS {
                let (life, lives) = (read(block), &mut lives[block as usize]);
                if life[KIND] == FREED {
                    // Between two lives.
                    continue;
                }
                if lives.last().is_none_or(|last| last[..512] != life[..512]) {
                    lives.push(life);
                } else {
                    *lives.last_mut().unwrap() = life;
                }
            }
        }
        let device = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
        let base = Base { config: config.clone(), device, history: history.clone() };
        let newest = base.blocks().last().expect("there are blocks").0;
        for (block, lives) in (0..).zip(&lives) {
            let [.., older, _] = &lives[..] else { continue };
            if block == newest || read(block)[KIND] == FREED {
                continue;
            }
            let device = base.copy();
            device.write_raw(block * size as u64, older);
            let seen = base.look(device).unwrap_or_else(|error| panic!("block {block}: {error}"));
            shown += u64::from(seen.damage > 0);
        }
    }
    assert!(shown > 3, "{shown} blocks had an earlier life");
}

/// A sector that cannot be read, once or for good, anywhere behind the device header, at a start: it goes on without it and says so, and what
/// lies there is refused, not missing. A device that cannot be read at all is not started with.
#[test]
fn unreadable_sectors_at_the_start() {
    let base = Base::new(false);
    let size = base.config.write_block_size;
    for offset in (size..BLOCKS * size).step_by(SECTOR as usize) {
        let hit = Trigger::Range { offset, len: u64::from(SECTOR) };
        let device = base.copy();
        device.inject(Fault::once(Effect::ReadError(EIO), hit));
        // The error hits the start, or the one read of a record that the start had no need to look at.
        let seen = base.look(device).unwrap();
        assert!(
            seen.refused < 2 && seen == Seen { refused: seen.refused, ..Seen::default() },
            "once at {offset}"
        );
        let device = base.copy();
        device.inject(Fault::forever(Effect::ReadError(EIO), hit));
        base.look(device).unwrap_or_else(|error| panic!("for good at {offset}: {error}"));
    }
    let device = base.copy();
    device.inject(Fault::forever(
        Effect::ReadError(EIO),
        Trigger::Range { offset: size, len: (BLOCKS - 1) * size },
    ));
    assert!(base.look(device).unwrap().closed);
}

/// What cannot be read at one start may be readable at the next: deletes made before must still hold then.
#[test]
fn deletes_outlive_unreadable_blocks() {
    let base = Base::new(false);
    let size = base.config.write_block_size;
    for block in 1..BLOCKS {
        let device = base.copy();
        let hit = Trigger::Range { offset: block * size, len: size };
        device.inject(Fault::forever(Effect::ReadError(EIO), hit));
        let clock = cairn_engine::time::ManualClock::new(NOW_MS);
        let db = Driven::open(&base.config, vec![device], &clock).unwrap();
        for _ in 0..3 {
            db.namespace.housekeep();
        }
        // Nothing was written: whatever the tombstones were dropped for would show now.
        db.devices[0].clear_faults();
        let deleted = base.history.iter().filter(|history| history.last().unwrap().is_none());
        assert!(deleted.count() > 0);
        let device = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
        drop(db);
        let seen = base.look(device).unwrap_or_else(|error| panic!("block {block}: {error}"));
        assert_eq!(seen.stale, 0, "block {block}");
    }
}

/// A sector that cannot be read while the node serves: the read fails, is not taken for absence, and works again when the device does.
#[test]
fn a_read_that_fails_once() {
    let base = Base::new(true);
    let clock = cairn_engine::time::ManualClock::new(NOW_MS);
    let db = Driven::open(&base.config, vec![base.copy()], &clock).unwrap();
    assert_eq!(db.namespace.report().kind, StartKind::Warm);
    for (n, history) in (0..).zip(&base.history) {
        let Some(last) = history.last().unwrap() else { continue };
        db.devices[0].inject(Fault::once(Effect::ReadError(EIO), Trigger::After(0)));
        let (key, policy) = (key("s", n), ReadPolicy::default());
        assert!(matches!(db.run(db.namespace.get(&key, &policy)), Err(Error::ReadFailed { .. })));
        let record = db.run(db.namespace.get(&key, &policy)).unwrap().expect("it is there");
        assert_eq!(value_of(&record), *last);
    }
}

/// A device header that cannot be read is no reason to take the device for a new one.
#[test]
fn an_unreadable_device_header() {
    let base = Base::new(false);
    let device = base.copy();
    device.inject(Fault::forever(Effect::ReadError(EIO), Trigger::Range { offset: 0, len: 512 }));
    let before = device.write_count();
    let clock = cairn_engine::time::ManualClock::new(NOW_MS);
    let opened = Driven::open(&base.config, vec![Arc::clone(&device)], &clock);
    assert!(matches!(opened.err(), Some(OpenError::Io { .. })));
    assert_eq!(device.write_count(), before, "something was written");
    assert_eq!(device.geometry().size, BLOCKS * base.config.write_block_size);
    let both = base.copy();
    let (_, _, slots) = base.header();
    slots.iter().for_each(|slot| both.flip_bit(slot + 100, 1));
    let opened = Driven::open(&base.config, vec![both], &clock);
    assert!(matches!(opened.err(), Some(OpenError::HeaderDamaged { .. })));
}

/// The devices know as many truncations as their headers have room for. Then one is written that lets all others go, and power is lost when only one of
/// two devices has it: the truncations of both together are more than a header holds.
#[test]
fn full_headers_that_differ() {
    let mut config = small_config();
    config.devices.push(cairn_engine::DeviceConfig::Raw("sim1".into()));
    let size = 24 * config.write_block_size;
    let sim = |n| Arc::new(SimDevice::new(&format!("sim{n}"), size, SECTOR, n));
    let clock = cairn_engine::time::ManualClock::new(NOW_MS);
    let db = Driven::open(&config, vec![sim(0), sim(1)], &clock).unwrap();
    let put = |n, round| {
        db.run(db.namespace.put(&key("s", n), &bin(value(n, round)), &policy())).unwrap();
    };
    // What died before them stays where it is, among what lives.
    (0..40).for_each(|n| put(n, 0));
    (0..20).for_each(|n| put(2 * n, 1));
    let mut sets = 0;
    while db.run(db.namespace.truncate(Some(&format!("set-{sets}")))).is_ok() {
        sets += 1;
    }
    assert!(sets > 300, "{sets} truncations");
    (0..40).for_each(|n| put(n, 2));
    while db.turn() {}
    db.devices[1].cut_power_at(db.devices[1].write_count());
    let last = db.run(db.namespace.truncate(Some("last")));
    assert!(last.is_err_and(|error| error.in_doubt()));
    let mut devices = db.devices.clone();
    for start in 0..3 {
        let crashed = |device: &Arc<SimDevice>| Arc::new(device.crash_image(CrashPolicy::LoseAll));
        devices = devices.iter().map(crashed).collect();
        let opened = Driven::open(&config, devices.clone(), &clock);
        let db = opened.unwrap_or_else(|error| panic!("start {start}: {error}"));
        assert_eq!(db.namespace.report().damage_count, 0, "start {start}");
        for n in 0..40 {
            let found = db.run(db.namespace.get(&key("s", n), &ReadPolicy::default())).unwrap();
            assert_eq!(found.map(|record| value_of(&record)), Some(value(n, 2)), "start {start}");
        }
    }
}
