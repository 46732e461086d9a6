//! Sets that are truncated while their records, and those of others, are being moved.

use std::{
    future::Future,
    sync::Arc,
    task::{Context, Waker},
};

use cairn_engine::{
    device::{
        reactor,
        sim::{CrashPolicy, Effect, Fault, Rng, Trigger},
    },
    model::{ExistsPolicy, Ttl, Value, WritePolicy},
};

use crate::{
    common::{bin, key},
    world::{BLOCK, READ, World, config, replace, value},
};

const KEYS: u64 = 23;

/// A device at work: the defragmenter is in the middle of a block that holds records of both sets. `moment` says where.
fn at_work(moment: u64) -> World {
    let mut world = World::new(config(), 12, 1700);
    for n in 0..KEYS {
        // An older version of each would come back if the newer one alone went.
        world.put("goes", n).unwrap();
        world.put("stays", n).unwrap();
    }
    let mut rng = Rng::new(moment);
    while world.stats().records_moved < 20 + moment {
        let set = if rng.coin() { "goes" } else { "stays" };
        world.put(set, rng.below(KEYS as usize) as u64).unwrap();
    }
    // Reads are asked for and answered, records are in hand and not yet moved.
    world.device().set_stepped(true);
    for _ in 0..moment % 7 {
        world.db.namespace.drive();
        world.device().step();
    }
    world.device().set_stepped(false);
    world
}

/// Records that are moved while their set is truncated come back, or others go with it.
#[test]
fn nothing_returns_and_nothing_else_goes() {
    for moment in 0..40 {
        let mut world = at_work(moment);
        world.truncate(Some("goes")).unwrap();
        world.check();
        assert_eq!((world.records_of("goes"), world.records_of("stays")), (0, KEYS));
        world.check_crashes(moment);
        // New records under the same keys stay, through reclaims and crashes.
        let mut rng = Rng::new(moment);
        let moved = world.stats().records_moved;
        (0..KEYS / 2).for_each(|n| world.put("goes", n).unwrap());
        for step in 0..150 {
            world.put("stays", rng.below(KEYS as usize) as u64).unwrap();
            if step % 25 == 0 {
                world.db.namespace.housekeep();
                world.check();
                world.check_crashes(rng.next_u64());
            }
        }
        assert!(world.stats().records_moved > moved);
    }
}

/// Power is lost at each write of a truncation: the set is there, whole, or gone; the other one is there.
#[test]
fn all_or_nothing_wherever_the_power_goes() {
    for moment in 0..8 {
        for cut in 0.. {
            let mut world = at_work(moment);
            world.device().cut_power_at(world.device().write_count() + cut);
            let done = world.truncate(Some("goes")).is_ok();
            for policy in CrashPolicy::all(cut) {
                let after = world.crashed(policy);
                let compared = after.compare();
                compared
                    .unwrap_or_else(|e| panic!("moment {moment}, write {cut}, {policy:?}: {e}"));
                let left = after.records_of("goes");
                assert!(left == 0 || (left == KEYS && !done), "half a truncation: {left}");
                after.audit();
            }
            if done {
                break;
            }
        }
    }
}

/// A truncation has begun and is not yet durable, and meanwhile blocks with its records are reclaimed. If they went now and power were lost,
/// the truncation would not have been, but the newest versions of its records would be gone, and older ones be back.
#[test]
fn before_it_is_durable_nothing_is_freed_by_it() {
    let mut world = World::new(config(), 40, 1700);
    // Older versions lie among records that stay where they are.
    for n in 0..140 {
        if n % 7 == 0 {
            world.put("goes", n / 7).unwrap();
        }
        world.put("stays", n).unwrap();
    }
    // The newest ones lie among others that are overwritten.
    for n in 0..20 {
        world.put("goes", n).unwrap();
        world.put("hot", n).unwrap();
    }
    (0..20).for_each(|n| world.put("hot", n).unwrap());
    world.settle();
    let hangs = Trigger::Range { offset: 0, len: BLOCK };
    world.device().inject(Fault::forever(Effect::Stuck, hangs));
    let namespace = Arc::clone(&world.db.namespace);
    let before = world.device().write_count();
    (0..20).for_each(|n| world.begin("goes", n, None));
    let truncation =
        std::thread::spawn(move || reactor::block_on(namespace.truncate(Some("goes"))));
    while world.device().write_count() == before {
        std::thread::yield_now();
    }
    // Those that hold the older versions are left as they are.
    let old = Trigger::Range { offset: BLOCK, len: 18 * BLOCK };
    world.device().inject(Fault::forever(Effect::ReadError(5), old));
    assert_eq!(world.stats().blocks_reclaimed, 0, "nothing was moved before");
    let full = (0..400).find(|step| {
        let (key, bins) = (key("filler", *step), bin(value(*step, 1700)));
        let policy = replace(Ttl::Never);
        let put = world.db.namespace.put(&key, &bins, &policy);
        let waits = world.db.try_run(put).is_none();
        world.check_crashes(*step);
        waits
    });
    assert!(full.is_some(), "nobody had to wait");
    world.device().clear_faults();
    world.device().unstick();
    assert_eq!(truncation.join().unwrap().unwrap(), 20);
    (0..20).for_each(|n| world.end("goes", n, true));
    world.check();
    world.check_crashes(1);
}

/// A write has read what it adds to, and before it is applied its set is truncated: what it adds to is gone, and must not come back with it.
#[test]
fn what_a_write_has_read_before_does_not_return_with_it() {
    let mut world = World::new(config(), 12, 1700);
    world.put("goes", 1).unwrap();
    (0..20).for_each(|n| world.put("stays", n).unwrap());
    world.settle();
    world.device().set_stepped(true);
    let hangs = Trigger::Range { offset: 0, len: BLOCK };
    world.device().inject(Fault::forever(Effect::Stuck, hangs));
    let (key, bins) = (key("goes", 1), [("new".into(), Value::Int(1))]);
    let policy = WritePolicy { exists: ExistsPolicy::Update, ..replace(Ttl::Never) };
    let namespace = Arc::clone(&world.db.namespace);
    let mut put = Box::pin(namespace.put(&key, &bins, &policy));
    let mut context = Context::from_waker(Waker::noop());
    assert!(put.as_mut().poll(&mut context).is_pending(), "it reads what is there");
    let before = world.device().write_count();
    let truncating = Arc::clone(&world.db.namespace);
    let truncation =
        std::thread::spawn(move || reactor::block_on(truncating.truncate(Some("goes"))));
    while world.device().write_count() == before {
        std::thread::yield_now();
    }
    // The read is done, and the write goes on as far as it can while the truncation hangs.
    let mut done = false;
    for _ in 0..100 {
        done = done || put.as_mut().poll(&mut context).is_ready();
        world.db.turn();
    }
    world.device().clear_faults();
    world.device().unstick();
    world.device().set_stepped(false);
    truncation.join().unwrap().unwrap();
    if !done {
        world.db.run(put).unwrap();
    }
    let record = world.db.run(world.db.namespace.get(&key, &READ)).unwrap().expect("it is new");
    let names: Vec<String> = record.bins().unwrap().map(|bin| bin.unwrap().0.to_owned()).collect();
    assert_eq!(names, ["new"]);
    world.audit();
}

/// The devices know many truncations, and forget those that guard nothing any more. One whose records still lie there would let them return.
#[test]
fn a_truncation_is_remembered_while_it_guards() {
    let mut world = World::new(config(), 16, 1700);
    for n in 0..20 {
        world.put("goes", n).unwrap();
        (0..2).for_each(|more| world.put("stays", 2 * n + more).unwrap());
    }
    world.truncate(Some("goes")).unwrap();
    for round in 0..3 {
        world.put("other", round).unwrap();
        world.truncate(Some("other")).unwrap();
        world.check();
        world.check_crashes(round);
    }
}
