//! A device that fills up, and everything that makes room again: without a restart, and as often as it happens.

use cairn_engine::{Error, device::sim::Rng};

use crate::world::{World, config};

/// Writes new keys until the device refuses. Returns how many there were.
fn fill(world: &mut World, set: &str, ttl_ms: u64) -> u64 {
    for n in 0..100_000 {
        match world.put_for(set, n, ttl_ms) {
            Ok(()) => {}
            Err(Error::NoSpace { .. }) => return n,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it never fills")
}

/// What makes room.
#[derive(Clone, Copy, Debug)]
enum Relief {
    Deletes,
    ShorterLives,
    Expiry,
    Truncation,
}

const RELIEFS: [Relief; 4] =
    [Relief::Deletes, Relief::ShorterLives, Relief::Expiry, Relief::Truncation];

/// Twenty times full and empty again, each time by other means: nothing is lost, and it takes about as much every time.
fn cycles(percent: u8, blocks: u64, len: usize) {
    let mut config = config();
    config.max_used_pct = percent;
    let mut world = World::new(config, blocks, len);
    let stays: Vec<u64> = (0..5).collect();
    stays.iter().for_each(|&n| world.put("stays", n).unwrap());
    let mut first = 0;
    for cycle in 0..20 {
        let relief = RELIEFS[cycle % RELIEFS.len()];
        let expires = matches!(relief, Relief::Expiry);
        let count = fill(&mut world, "s", if expires { 20_000 } else { 0 });
        first = if cycle == 0 { count } else { first };
        let what = format!("{percent} %, {blocks} blocks, {len} bytes, cycle {cycle}, {relief:?}");
        assert!(count >= first / 2, "{what}: {count} records fit, {first} did at first");
        assert!(count > 0, "{what}: nothing fits");
        world.check();
        world.check_crashes(cycle as u64);
        // Reads and overwrites of what is there may go on or be refused, but never hang.
        for n in 0..3 {
            let _ = world.put("stays", n);
        }
        match relief {
            Relief::Deletes => (0..count).for_each(|n| {
                world.delete("s", n).unwrap_or_else(|error| panic!("{what}: delete {n}: {error}"));
            }),
            Relief::ShorterLives => (0..count).for_each(|n| {
                if world.put_for("s", n, 1000).is_err() {
                    // At the brim the new versions need room too; those before have had their time.
                    world.advance(60_000);
                    world.db.namespace.housekeep();
                    let done = world.put_for("s", n, 1000);
                    done.unwrap_or_else(|error| panic!("{what}: shorter life {n}: {error}"));
                }
            }),
            Relief::Expiry => {}
            Relief::Truncation => drop(world.truncate(Some("s")).unwrap()),
        }
        world.advance(120_000);
        for _ in 0..20 {
            world.db.namespace.housekeep();
            world.settle();
        }
        assert_eq!(world.records_of("s"), 0, "{what}");
        assert_eq!(world.records_of("stays"), 5, "{what}");
        world.check();
    }
}

/// A device that was full once would be full for ever, or refuse what makes room.
#[test]
fn comes_back_twenty_times() {
    cycles(90, 10, 1700);
}

/// With everything allowed there is still room to move records and to delete.
#[test]
fn comes_back_with_all_of_it_allowed() {
    cycles(100, 10, 1700);
    cycles(100, 40, 900);
}

/// A third or a half of a block: moving such records wins nothing when each block holds as many as fit. The defragmenter must see that
/// and give up, or writers wait for ever while the device is worn out.
#[test]
fn gives_up_on_large_records() {
    for (blocks, len) in [(10, 5000), (10, 7500), (14, 3700), (40, 5000), (40, 7500)] {
        let mut config = config();
        config.max_used_pct = 100;
        let mut world = World::new(config, blocks, len);
        for cycle in 0..4 {
            let count = fill(&mut world, "s", 0);
            assert!(count >= 4, "{blocks} blocks of {len}: {count} fit");
            // Hanging on at the brim wins nothing and costs little.
            let written = world.stats().bytes_flushed;
            for n in 0..20 {
                assert!(world.put("more", n).is_err() || world.delete("more", n).is_ok());
            }
            let cost = world.stats().bytes_flushed - written;
            assert!(cost < 400 * blocks * 16384, "{blocks} of {len}, cycle {cycle}: {cost} bytes");
            world.check();
            world.check_crashes(cycle);
            // One that goes makes room for another.
            (0..count).for_each(|n| world.delete("s", n).unwrap());
            for _ in 0..20 {
                world.db.namespace.housekeep();
                world.settle();
            }
        }
    }
}

/// Records that take the place of others need no more room than is allowed: a device that is filled to its mark goes on taking them. A user
/// would be told that it is full while a part of it holds nothing but dead records.
#[test]
fn takes_overwrites_at_the_mark() {
    for (blocks, percent, len) in [(10, 100, 300), (20, 100, 300), (40, 100, 300), (270, 90, 300)] {
        let mut config = config();
        config.max_used_pct = percent;
        let mut world = World::new(config, blocks, len);
        let count = fill(&mut world, "s", 0);
        // Not over the mark.
        world.delete("s", 0).unwrap();
        world.delete("s", 1).unwrap();
        let mut rng = Rng::new(blocks);
        for step in 0..6 * count {
            let n = 2 + rng.below(count as usize - 2) as u64;
            let put = world.put("s", n);
            put.unwrap_or_else(|e| panic!("{blocks} blocks of {len}, overwrite {step}: {e}"));
        }
        assert!(world.stats().records_moved > 0);
        world.check();
        world.check_crashes(blocks);
    }
}

/// Records that were written one by one, each made durable before the next, leave gaps behind them. The gaps are won back as dead records
/// are: a device must not be full while records take a small part of it.
#[test]
fn wins_back_what_was_lost_to_flushes() {
    for (sector, block) in [(512, 16 << 10), (4096, 128 << 10)] {
        let config = cairn_engine::NamespaceConfig { write_block_size: block, ..config() };
        let mut world = World::on(config, 40, sector, 300);
        let count = fill(&mut world, "s", 0);
        let stats = world.stats();
        let percent = stats.in_use_bytes * 100 / stats.capacity_bytes;
        assert!(percent >= 75, "sectors of {sector}: full at {percent} %, {count} records");
        world.check();
        world.check_crashes(1);
    }
}
