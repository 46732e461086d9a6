//! When a block may be written anew: written out, one trap for each test, since random work rarely falls into them.

use std::sync::Arc;

use cairn_engine::{
    Error, NamespaceConfig,
    device::sim::{CrashPolicy, Effect, Fault, Trigger},
    model::{Durability, ExistsPolicy, ReadPolicy, Value, WritePolicy},
};

use crate::{
    common::{Driven, bin, small_config, value_of},
    run::key,
};

const BLOCK: u64 = 16 << 10;

fn fresh(config: &NamespaceConfig, blocks: u64) -> Driven {
    Driven::fresh(config, blocks * BLOCK, 512)
}

fn policy(durability: Durability) -> WritePolicy {
    WritePolicy {
        exists: ExistsPolicy::Replace,
        durability: Some(durability),
        ..WritePolicy::default()
    }
}

fn value(key: usize, round: u64) -> Value {
    Value::Bytes(vec![(key as u64 * 31 + round) as u8; 1700])
}

/// Puts a value; `None` when the writer waits.
fn put(db: &Driven, n: usize, round: u64, durability: Durability) -> Option<Result<(), Error>> {
    let (key, bins, policy) = (key(n), bin(value(n, round)), policy(durability));
    db.try_run(db.namespace.put(&key, &bins, &policy)).map(|done| done.map(drop))
}

fn get(db: &Driven, n: usize) -> Option<Value> {
    let (key, policy) = (key(n), ReadPolicy::default());
    db.run(db.namespace.get(&key, &policy)).unwrap().map(|record| value_of(&record))
}

/// What supersedes a block's records hangs on its way to the device, while everything else goes on and space runs out. The block must stay as
/// it is: its records were acknowledged, and nothing that has taken their place would survive.
#[test]
fn not_before_what_emptied_it_is_durable() {
    let config = small_config();
    let db = fresh(&config, 9);
    (0..8).for_each(|n| put(&db, n, 0, Durability::Device).expect("does not wait").unwrap());
    let hangs = Trigger::Range { offset: 2 * BLOCK, len: BLOCK };
    db.devices[0].inject(Fault::forever(Effect::Stuck, hangs));
    (0..8).for_each(|n| put(&db, n, 1, Durability::Buffer).expect("does not wait").unwrap());
    let overwrites = (0..200).map(|n| put(&db, 100 + n % 8, n as u64, Durability::Buffer));
    let count = overwrites.take_while(|done| matches!(done, Some(Ok(())))).count();
    assert!((20..100).contains(&count), "the other blocks take writes, and no more: {count}");
    let image = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
    let after = Driven::open(&config, vec![image], &db.clock).unwrap();
    for n in 0..8 {
        // The last of the new ones may have found no room in the block that hangs.
        let found = get(&after, n).unwrap_or_else(|| panic!("key {n} is lost"));
        assert!(found == value(n, 0) || found == value(n, 1), "key {n}");
    }
}

/// What frees a block may need no flush: a truncation, or a tombstone that is dropped. Who waits for room then must not wait for ever.
#[test]
fn soon_when_nothing_is_to_be_flushed() {
    let config = small_config();
    for truncates in [true, false] {
        let db = fresh(&config, 9);
        let fill = |round| {
            let written = (0..300).take_while(|&n| {
                let done = put(&db, n, round, Durability::Device).expect("a writer waits for ever");
                assert!(matches!(done, Ok(()) | Err(Error::NoSpace { .. })));
                done.is_ok()
            });
            written.count()
        };
        let most = fill(0);
        for round in 1..6 {
            if truncates {
                db.run(db.namespace.truncate(None)).unwrap();
            } else {
                for n in 0..most {
                    let (key, policy) = (key(n), policy(Durability::Device));
                    db.run(db.namespace.delete(&key, &policy)).unwrap();
                }
            }
            db.namespace.housekeep();
            // Tombstones that still guard something take room of their own.
            assert!(fill(round) == most || !truncates, "round {round}");
        }
    }
}

/// Records that are only in RAM are read from there, whatever the post-write cache forgets meanwhile of the block's earlier life.
#[test]
fn with_its_own_image() {
    for cached in 0..12 {
        let mut config = small_config();
        config.post_write_cache = cached * BLOCK;
        let db = fresh(&config, 9);
        for round in 0..200 {
            for n in 0..3 {
                put(&db, n, round, Durability::Buffer).expect("does not wait").unwrap();
                // Full blocks are sealed, and others forgotten, while this one is in RAM.
                for _ in 0..6 {
                    db.turn();
                }
                let found = get(&db, n);
                assert!(found == Some(value(n, round)), "round {round}, {cached} blocks cached");
            }
        }
    }
}
