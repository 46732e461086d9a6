//! A damaged record in a block that would be reclaimed.

use cairn_engine::{
    Error,
    device::sim::{CrashPolicy, Effect, Fault, Rng, Trigger},
};

use crate::world::{BLOCK, World, config};

const BLOCKS: u64 = 12;
const KEYS: u64 = 44;

/// Where the value of the only record of its round lies on the device: its first bytes tell the round.
fn place(world: &World, round: u64, blocks: u64) -> u64 {
    let bytes = world.device().read_raw(0, (blocks * BLOCK) as usize);
    let mut wanted = round.to_le_bytes().to_vec();
    wanted.extend([round as u8; 500]);
    let at = bytes.windows(wanted.len()).position(|window| window == wanted);
    at.expect("the record lies on the device") as u64
}

/// Records in several blocks, one of them with a wrong bit; and which one.
fn with_a_rotten_record() -> (World, u64) {
    let mut world = World::new(config(), BLOCKS, 1700);
    (0..KEYS).for_each(|n| world.put("s", n).unwrap());
    world.settle();
    let victim = 3;
    let round = world.get("s", victim).unwrap().expect("it was written").round;
    world.device().flip_bit(place(&world, round, BLOCKS) + 100, 3);
    (world, victim)
}

/// A record rots in a block that is reclaimed: it must not be lost silently with its block, nor take others with it; and once it is
/// overwritten, its block serves again.
#[test]
fn is_reported_and_takes_nothing_with_it() {
    let (mut world, victim) = with_a_rotten_record();
    let mut rng = Rng::new(1);
    let churn = |world: &mut World, rng: &mut Rng, from: u64| {
        let moved = world.stats().records_moved;
        while world.stats().records_moved < moved + 60 {
            let n = from + rng.below((KEYS - from) as usize) as u64;
            world.put("s", n).unwrap();
        }
    };
    // All that lies with it is overwritten or moved: the block is the best there is to reclaim.
    churn(&mut world, &mut rng, 20);
    (0..20).filter(|&n| n != victim).for_each(|n| world.put("s", n).unwrap());
    churn(&mut world, &mut rng, 20);
    assert!(world.stats().damaged > 0, "nobody has met the damage");
    let left = |world: &World| {
        assert!(matches!(world.get("s", victim), Err(Error::Corruption { .. })));
        let others = (0..KEYS).filter(|&n| n != victim);
        assert_eq!(
            others.filter(|&n| world.get("s", n).unwrap().is_some()).count() as u64,
            KEYS - 1
        );
        world.audit();
    };
    left(&world);
    // It is met once, not again and again.
    let damaged = world.stats().damaged;
    churn(&mut world, &mut rng, 20);
    assert_eq!(world.stats().damaged, damaged);
    for policy in CrashPolicy::all(1) {
        left(&world.with(world.device().crash_image(policy)));
    }
    // Its owner writes it anew; the block is free again, and a victim again.
    world.put("s", victim).unwrap();
    churn(&mut world, &mut rng, 0);
    world.check();
    world.check_crashes(2);
    let free = |world: &mut World| {
        (0..KEYS).for_each(|n| world.delete("s", n).unwrap());
        for _ in 0..200 {
            world.settle();
            world.db.namespace.housekeep();
        }
        world.stats().free_blocks
    };
    let all = free(&mut world);
    assert!(all >= BLOCKS - 4, "blocks are lost to the damage: {all} free");
}

/// A block that cannot be read just now is left as it is: its records must not be taken for dead.
#[test]
fn of_the_device_is_waited_out() {
    let mut world = World::new(config(), 12, 1700);
    (0..KEYS).for_each(|n| world.put("s", n).unwrap());
    world.settle();
    for block in 1..5 {
        let hit = Trigger::Range { offset: block * BLOCK, len: BLOCK };
        world.device().inject(Fault::forever(Effect::ReadError(5), hit));
    }
    let mut rng = Rng::new(1);
    let moved = world.stats().records_moved;
    for _ in 0..2000 {
        let n = 24 + rng.below(20) as u64;
        if world.stats().records_moved > moved + 20 || world.put("s", n).is_err() {
            break;
        }
    }
    world.device().clear_faults();
    world.check();
    world.check_crashes(1);
}

/// A block stays for the sake of a damaged record, and with it the old copies of those that were moved out of it: who deletes these must not
/// see them again when their newer copies are long gone.
#[test]
fn keeps_what_guards_against_its_block() {
    let (mut world, victim) = with_a_rotten_record();
    let mut rng = Rng::new(1);
    let churn = |world: &mut World, rng: &mut Rng| {
        for step in 0..400 {
            world.put("s", 20 + rng.below(KEYS as usize - 20) as u64).unwrap();
            if step % 20 == 0 {
                world.db.namespace.housekeep();
            }
        }
    };
    // None of the block's records dies; for the gaps between them it is worth a look, and the others are moved.
    churn(&mut world, &mut rng);
    assert!(world.stats().damaged > 0, "nobody has met the damage");
    (0..20).filter(|&n| n != victim).for_each(|n| world.delete("s", n).unwrap());
    churn(&mut world, &mut rng);
    for policy in CrashPolicy::all(1) {
        let after = world.with(world.device().crash_image(policy));
        for n in (0..20).filter(|&n| n != victim) {
            assert_eq!(after.get("s", n).unwrap(), None, "{n} is back, {policy:?}");
        }
    }
}

/// Damage that has been overwritten costs no space: blocks that held it are reclaimed in their next life as all others.
#[test]
fn is_forgotten_when_it_is_overwritten() {
    let blocks = 20;
    let mut world = World::new(config(), blocks, 1700);
    let keys = 80;
    (0..keys).for_each(|n| world.put("s", n).unwrap());
    world.settle();
    let damaged: Vec<u64> = (0..32).step_by(8).collect();
    for &n in &damaged {
        let round = world.get("s", n).unwrap().expect("it was written").round;
        world.device().flip_bit(place(&world, round, blocks) + 100, 3);
        world.put("s", n + 1).unwrap();
    }
    let mut rng = Rng::new(1);
    for _ in 0..400 {
        world.put("s", 56 + rng.below(24) as u64).unwrap();
    }
    assert!(world.stats().damaged >= 3, "{} were met", world.stats().damaged);
    damaged.iter().for_each(|&n| world.put("s", n).unwrap());
    // Room for what was never there is needed from these blocks too.
    (0..20).for_each(|n| world.put("more", n).unwrap());
    for step in 0..2000 {
        let put = world.put("s", rng.below(keys as usize) as u64);
        put.unwrap_or_else(|error| panic!("overwrite {step}: {error}"));
    }
    world.check();
}
