//! Eviction: records near their end leave before it when space is short.

use cairn_engine::{
    device::sim::{CrashPolicy, Effect, Fault, Rng, Trigger},
    model::{Durability, Ttl, Value, WritePolicy},
};

use crate::{
    common::{bin, key},
    world::{BLOCK, World, config, replace},
};

/// A device on which records take up more than may be used before eviction begins.
fn crowded(each: impl Fn(u64) -> u64) -> World {
    let mut world = World::new(config(), 16, 1700);
    for n in 0..80 {
        world.put_for("s", n, each(n)).unwrap();
    }
    world.settle();
    world
}

/// Evicts; what has gone is expected to be gone.
fn evict(world: &mut World, percent: u8) -> Vec<u64> {
    world.db.namespace.set_evict_used_pct(percent);
    let before: Vec<u64> = (0..80).filter(|&n| world.get("s", n).unwrap().is_some()).collect();
    world.db.namespace.housekeep();
    world.db.namespace.set_evict_used_pct(0);
    let gone = |n: &u64| world.get("s", *n).unwrap().is_none();
    let gone: Vec<u64> = before.iter().copied().filter(gone).collect();
    for &n in &gone {
        world.begin("s", n, None);
        world.end("s", n, true);
    }
    gone
}

/// The wrong ones would go: those that should stay for ever, or for longer.
#[test]
fn those_nearest_to_their_end_go_first() {
    // Lives from an hour to twenty, in no order; every fourth never ends.
    let life = |n: u64| if n.is_multiple_of(4) { 0 } else { (1 + n * 7 % 20) * 3_600_000 };
    let mut world = crowded(life);
    let gone = evict(&mut world, 40);
    assert!(!gone.is_empty());
    assert!(gone.iter().all(|&n| life(n) != 0), "what never expires was evicted: {gone:?}");
    let latest = gone.iter().map(|&n| life(n)).max().unwrap();
    let sooner = (0..80).filter(|&n| life(n) != 0 && life(n) < latest && !gone.contains(&n));
    // What lies in a block that is still being filled is left.
    let sooner: Vec<u64> = sooner.collect();
    assert!(sooner.len() <= 8, "of those that end sooner than {latest}, {sooner:?} stay");
    let stats = world.stats();
    assert_eq!(stats.evicted, gone.len() as u64);
    assert!(stats.in_use_bytes * 100 <= stats.capacity_bytes * 45);
    assert_eq!(world.records_of("s"), 80 - gone.len() as u64);
    world.check();
}

/// Evicted records come back after a crash, or records written since under the same keys go.
#[test]
fn the_evicted_do_not_return() {
    let mut world = crowded(|n| if n % 2 == 0 { 0 } else { 3_600_000 });
    let gone = evict(&mut world, 30);
    assert!(gone.len() > 20);
    // What was still being filled may or may not be among them after a crash.
    (1..80).step_by(2).filter(|n| !gone.contains(n)).for_each(|n| world.may_be_gone("s", n));
    world.check();
    world.check_crashes(1);
    for &n in gone.iter().step_by(2) {
        world.put_for("s", n, 1_800_000).unwrap();
    }
    let mut rng = Rng::new(1);
    for step in 0..400 {
        world.put("s", 2 * rng.below(40) as u64).unwrap();
        if step % 25 == 0 {
            world.db.namespace.housekeep();
            world.check();
            world.check_crashes(rng.next_u64());
        }
        if step == 200 {
            world = world.restarted();
        }
    }
    assert!(world.stats().records_moved > 0);
    world.check();
}

/// A record whose last version is evicted comes back as its older version, which would have lived for ever.
#[test]
fn older_versions_do_not_return() {
    let mut world = World::new(config(), 16, 1700);
    (0..40).for_each(|n| world.put("s", n).unwrap());
    (0..40).for_each(|n| world.put_for("s", n, 3_600_000).unwrap());
    (40..60).for_each(|n| world.put("s", n).unwrap());
    world.settle();
    let gone = evict(&mut world, 10);
    assert!(gone.len() > 20, "{gone:?}");
    (0..40).filter(|n| !gone.contains(n)).for_each(|n| world.may_be_gone("s", n));
    world.check();
    world.check_crashes(1);
    let mut rng = Rng::new(1);
    for step in 0..600 {
        world.put("s", 40 + rng.below(20) as u64).unwrap();
        if step % 25 == 0 {
            world.db.namespace.housekeep();
            world.check();
            world.check_crashes(rng.next_u64());
        }
        if step == 300 {
            world = world.restarted();
        }
        if step == 400 {
            world = world.crashed(CrashPolicy::LoseAll);
            (0..40).filter(|n| !gone.contains(n)).for_each(|n| {
                let found = world.get("s", n).unwrap();
                world.begin("s", n, found);
                world.end("s", n, true);
            });
        }
    }
    world.advance(7_200_000);
    for _ in 0..5 {
        world.db.namespace.housekeep();
        (40..60).for_each(|n| world.put("s", n).unwrap());
    }
    world.check();
    world.check_crashes(2);
    assert_eq!(world.records_of("s"), 20);
}

/// Power is lost at each write of an eviction: what never expires is there, what does is there or gone, and gone for good.
#[test]
fn a_crash_takes_no_more_than_the_eviction() {
    for cut in 0.. {
        let mut world = crowded(|n| if n % 2 == 0 { 0 } else { n * 3_600_000 });
        (1..80).step_by(2).for_each(|n| world.may_be_gone("s", n));
        world.db.namespace.set_evict_used_pct(30);
        world.device().cut_power_at(world.device().write_count() + cut);
        world.db.namespace.housekeep();
        let done = !world.device().is_dead();
        for policy in CrashPolicy::all(cut) {
            let mut after = world.crashed(policy);
            after.check();
            for n in (1..80).step_by(2) {
                let found = after.get("s", n).unwrap();
                after.begin("s", n, found);
                after.end("s", n, true);
            }
            (0..40).for_each(|n| after.put("s", 2 * n).unwrap());
            after.check();
            after.check_crashes(cut);
        }
        if done {
            assert!(cut >= 2 && world.stats().evicted > 20);
            break;
        }
    }
}

/// Evicted records that are as small as the tombstones that they become leave nothing to win, yet hold the horizon back. A defragmenter that chose
/// their block again and again would never come to another one, and writers would wait for ever.
#[test]
fn small_ones_do_not_catch_the_defragmenter() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let world = World::new(config(), 16, 8);
        // Buffered, so that no flush leaves a gap between them, which would be something to win.
        let policy =
            WritePolicy { durability: Some(Durability::Buffer), ..replace(Ttl::Millis(3_600_000)) };
        for n in (0..300).chain(0..300) {
            let (key, bins) = (key("s", n), bin(Value::Int(1)));
            world.db.run(world.db.namespace.put(&key, &bins, &policy)).unwrap();
        }
        world.settle();
        world.db.namespace.set_evict_used_pct(1);
        world.db.namespace.housekeep();
        world.db.namespace.set_evict_used_pct(0);
        world.settle();
        done.send(world.stats()).expect("the test waits");
    });
    let stats = finished.recv_timeout(std::time::Duration::from_secs(60));
    let stats = stats.expect("the defragmenter comes to rest");
    assert!(stats.evicted > 0 && stats.evicted <= 300);
}

/// What expires later than the index can tell is not evicted. To try again at once would write the device headers and close every open block
/// ten times a second, for nothing.
#[test]
fn nothing_is_written_again_where_nothing_goes() {
    const FIFTY_YEARS: u64 = 50 * 366 * 24 * 3_600_000;
    let world = crowded(|_| FIFTY_YEARS);
    world.db.namespace.set_evict_used_pct(10);
    world.db.namespace.housekeep();
    world.settle();
    let writes = world.device().write_count();
    world.db.namespace.housekeep();
    world.settle();
    assert_eq!(world.device().write_count(), writes);
    assert_eq!(world.stats().evicted, 0);
    world.check();
}

/// Records that an eviction could not read leave when they are moved, long after it. The devices must know of it then: without that, a crash brings
/// them back.
#[test]
fn those_that_leave_late_do_not_return() {
    const LATE: u64 = 8;
    let mut world = World::new(config(), 24, 1700);
    (0..LATE).for_each(|n| world.put_for("late", n, 3_600_000).unwrap());
    (0..40).for_each(|n| world.put_for("s", n, 3_600_000).unwrap());
    world.settle();
    let hit = Trigger::Range { offset: BLOCK, len: BLOCK };
    world.device().inject(Fault::forever(Effect::ReadError(5), hit));
    evict(&mut world, 1);
    world.device().clear_faults();
    (0..40).for_each(|n| world.may_be_gone("s", n));
    (0..LATE).for_each(|n| world.may_be_gone("late", n));
    world.settle();
    // What the eviction took is gone from the devices, and they have no need to know of it any more.
    world.truncate(Some("nothing")).unwrap();
    let late = |world: &World| {
        let there = (0..LATE).filter(|&n| world.get("late", n).unwrap().is_some());
        there.collect::<Vec<u64>>()
    };
    let mut left = late(&world);
    assert!(left.len() > 4, "{left:?}");
    world.delete("late", left[0]).unwrap();
    for n in 0..800 {
        world.put("s", 100 + n % 140).unwrap();
        for _ in 0..4 {
            world.db.namespace.drive();
            let now = late(&world);
            for &gone in left.iter().filter(|n| !now.contains(n)) {
                world.begin("late", gone, None);
                world.end("late", gone, true);
            }
            if now != left {
                left = now;
                world.check_crashes(n);
            }
        }
    }
    assert!(left.is_empty(), "{left:?} were not moved");
}
