//! Damage in groups: half of one must not pass for the truth, and one that was acknowledged must not vanish by a single bit.

use std::sync::Arc;

use cairn_engine::{
    Change, Error, Step, Transacted,
    device::sim::{CrashPolicy, Rng, SimDevice},
    format::{RECORD_HEADER_BYTES, ValueRef},
    model::{Key, NEVER, ReadPolicy, Value},
    time::ManualClock,
};

use crate::{
    base::{BLOCKS, Base, SECTOR, policy},
    common::{Driven, NOW_MS, bin, key, small_config, value_of},
};

/// Keys that are always written together.
const KEYS: u64 = 6;
/// How often: the first time in a block that is sealed, then again and again, before the time before is durable.
const ROUNDS: i64 = 4;

fn value(n: u64, round: i64) -> Vec<u8> {
    let mut bytes = vec![(n as i64 * 7 + round) as u8; 300 + n as usize * 50];
    bytes[0] = round as u8;
    bytes
}

async fn write(db: &Driven, round: i64) -> cairn_engine::Receipt {
    let keys: Vec<Key> = (0..KEYS).map(|n| key("s", n)).collect();
    let values: Vec<Vec<u8>> = (0..KEYS).map(|n| value(n, round)).collect();
    let bins: Vec<_> = values.iter().map(|value| [("b", ValueRef::Bytes(value))]).collect();
    let put = |(key, bins)| {
        let change = Change::Put { bins, void_time: NEVER };
        Step { key, seen: None, change }
    };
    let bins = bins.iter().map(|bins| &bins[..]);
    let steps: Vec<Step<'_>> = keys.iter().zip(bins).map(put).collect();
    match db.namespace.transact(&steps).await.unwrap() {
        Transacted::Applied(receipt) => receipt,
        Transacted::Changed => unreachable!("nothing was looked at"),
    }
}

/// A device on which the keys were written [`ROUNDS`] times, durably at last, the last times into a block that is open.
fn base() -> Base {
    let config = small_config();
    let db = Driven::fresh(&config, BLOCKS * config.write_block_size, SECTOR);
    db.run(write(&db, 0));
    // Seals the block, in which something stays.
    db.run(db.namespace.put(&key("s", 99), &bin(Value::Int(1)), &policy())).unwrap();
    db.run(db.namespace.truncate(Some("none"))).unwrap();
    let receipts: Vec<_> = (1..ROUNDS).map(|round| db.run(write(&db, round))).collect();
    db.run(receipts.last().unwrap().durable()).unwrap();
    let bytes = |n, round| Some(Value::Bytes(value(n, round)));
    let history = |n| (0..ROUNDS).map(|round| bytes(n, round)).collect();
    let device = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
    Base { config, device, history: (0..KEYS).map(history).collect() }
}

/// Where the records of the open block lie.
fn open_block(base: &Base) -> Vec<u64> {
    let blocks = base.blocks();
    let (number, header, footer) = blocks.last().unwrap();
    assert!(footer.is_none() && blocks.len() > 1);
    let places = base.walk(*number, header.sequence);
    assert_eq!(places.len() as u64, KEYS * (ROUNDS as u64 - 1));
    places.into_iter().map(|at| number * base.config.write_block_size + at).collect()
}

/// The round that each key shows; `None` for those that read as damaged.
fn rounds(base: &Base, device: Arc<SimDevice>) -> (Vec<Option<u8>>, u64) {
    let db = Driven::open(&base.config, vec![device], &ManualClock::new(NOW_MS)).unwrap();
    let round = |n| match db.run(db.namespace.get(&key("s", n), &ReadPolicy::default())) {
        Ok(record) => match value_of(&record.expect("all keys were written")) {
            Value::Bytes(bytes) => {
                assert_eq!(bytes, value(n, i64::from(bytes[0])));
                Some(bytes[0])
            }
            other => panic!("{other:?}"),
        },
        Err(Error::Corruption { .. }) => None,
        Err(error) => panic!("{error}"),
    };
    let report = db.namespace.report();
    ((0..KEYS).map(round).collect(), report.damage_count + report.torn)
}

/// A wrong bit in one record costs that record at most, and it reads as damaged: the others of its group stay, and none shows what it was before.
#[test]
fn a_bit_of_a_record_costs_no_other() {
    let base = base();
    let places = open_block(&base);
    assert_eq!(rounds(&base, base.copy()).0, vec![Some(ROUNDS as u8 - 1); KEYS as usize]);
    for &place in &places {
        let seen = base.flip_all(place, RECORD_HEADER_BYTES as u64);
        assert_eq!((seen.stale, seen.closed), (0, false), "header at {place}: {seen:?}");
        let seen = base.flip_all(place + RECORD_HEADER_BYTES as u64 + 20, 20);
        assert_eq!((seen.stale, seen.closed), (0, false), "body at {place}: {seen:?}");
    }
    for &(number, ref header, ref footer) in &base.blocks() {
        let Some(footer) = footer.as_ref().filter(|_| header.sequence > 0) else { continue };
        for entry in &footer.entries {
            let place = number * base.config.write_block_size + u64::from(entry.offset);
            assert_eq!(base.flip_all(place, RECORD_HEADER_BYTES as u64).stale, 0);
        }
    }
}

/// More than a bit is wrong in a block that was open: it looks as if it had been cut short. Then a group is there whole or not at all, and nothing
/// that took its place without it.
#[test]
fn a_torn_piece_takes_its_group_along() {
    let base = base();
    let places = open_block(&base);
    let (first, last) = (places[0], *places.last().unwrap() + 700);
    let mut rng = Rng::new(7);
    let (mut lost, mut kept) = (0, 0);
    for round in 0..2000 {
        let device = base.copy();
        let at = first + rng.below((last - first) as usize) as u64;
        let len = 1 + rng.below(if round % 2 == 0 { 20 } else { 1500 });
        let bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        device.write_raw(at, &bytes);
        let (shown, said) = rounds(&base, device);
        let mut whole: Vec<u8> = shown.iter().copied().flatten().collect();
        whole.dedup();
        assert!(whole.len() <= 1, "{len} bytes at {at}: half a group: {shown:?}");
        if whole != [ROUNDS as u8 - 1] {
            assert!(said > 0, "{len} bytes at {at}: {shown:?}, and nothing was said");
            lost += 1;
        } else {
            kept += 1;
        }
    }
    println!("{kept} of 2000 kept the last group, {lost} did not");
    assert!(lost > 0 && kept > 0);
}
