//! Glimpses and puts without steps: as true, and as durable, as what they are the short form of.

use std::sync::Arc;

use cairn_engine::{
    Glimpse,
    device::sim::CrashPolicy,
    format::ValueRef,
    model::{Durability, Key, NEVER, VoidTime, WritePolicy},
};

use crate::{
    common::{Driven, NOW_MS, key, small_config},
    get, number,
};

fn fresh() -> Driven {
    let mut config = small_config();
    config.durability = Durability::Device;
    Driven::fresh(&config, 1 << 20, 512)
}

fn value(record: Option<Glimpse<'_>>) -> Option<i64> {
    match record?.bins().unwrap().next() {
        Some(Ok(("b", ValueRef::Int(value)))) => Some(value),
        other => panic!("{other:?}"),
    }
}

impl Driven {
    /// What is shown of a key at once: its number, or that there is none.
    fn shown(&self, key: &Key) -> Option<Option<i64>> {
        let key = key.borrowed();
        let found = self.namespace.find(self.namespace.expect(key));
        self.namespace.glimpse(key, &found, |record| Some(value(record)))
    }

    /// Puts a number in the key's place and waits until it is durable, if `waits`.
    fn replace(&self, key: &Key, to: i64, ends: VoidTime, waits: bool) {
        let (key, mut receipt) = (key.borrowed(), self.namespace.receipt());
        let at = (key, self.namespace.expect(key));
        assert!(self.namespace.replace_now(at, &number(to), ends, &mut receipt).unwrap());
        if waits {
            self.run(receipt.durable()).unwrap();
        }
    }
}

/// What is shown in passing must be what a read would answer: not what a loss of power could still take away, and nothing that is gone.
#[test]
fn only_what_may_be_told_is_shown() {
    let db = fresh();
    let one = key("s", 1);
    assert_eq!(db.shown(&one), Some(None));
    db.replace(&one, 1, NEVER, false);
    assert_eq!(db.shown(&one), None, "it is not durable yet");
    db.replace(&one, 2, NEVER, true);
    assert_eq!(db.shown(&one), Some(Some(2)));
    let policy = WritePolicy::default();
    db.run(db.namespace.delete(&one, &policy)).unwrap();
    assert_eq!(db.shown(&one), Some(None));
    db.replace(&one, 3, VoidTime(NOW_MS + 60_000), true);
    assert_eq!(db.shown(&one), Some(Some(3)));
    db.clock.advance(61_000);
    assert!(matches!(db.shown(&one), None | Some(None)), "it has ended");
    assert_eq!(db.run(get(&db.namespace, &one)), None);
}

/// One receipt stands for puts in many blocks: were it for the last alone, a loss of power would take acknowledged writes.
#[test]
fn a_receipt_stands_for_all_puts() {
    const PUTS: u64 = 600;
    let db = fresh();
    let keys: Vec<Key> = (0..PUTS).map(|n| key("s", n)).collect();
    let mut receipt = db.namespace.receipt();
    for (key, value) in keys.iter().zip(0..) {
        let key = key.borrowed();
        let at = (key, db.namespace.expect(key));
        while !db.namespace.replace_now(at, &number(value), NEVER, &mut receipt).unwrap() {
            // There is no room before a block is on the device.
            db.turn();
        }
    }
    assert!(db.namespace.stats().free_blocks + 3 < db.namespace.stats().total_blocks);
    db.run(receipt.durable()).unwrap();
    for policy in CrashPolicy::all(1) {
        let device = Arc::new(db.devices[0].crash_image(policy));
        let after = Driven::open(db.namespace.config(), vec![device], &db.clock).unwrap();
        for (key, value) in keys.iter().zip(0..) {
            assert_eq!(after.run(get(&after.namespace, key)), Some(value), "{policy:?}");
        }
    }
}
