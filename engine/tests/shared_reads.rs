//! Equal reads under way share one read of the device, and none is left waiting when the one that does it is given up.

mod common;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use cairn_engine::{
    Error, Record,
    model::{Durability, ReadPolicy, Value, WritePolicy},
};
use common::{Driven, bin, key, small_config, value_of};

type Get<'a> = Pin<Box<dyn Future<Output = Result<Option<Record>, Error>> + 'a>>;

/// Asks for a record that lies on the device only in three operations, hands them to `meanwhile`, and returns how many reads of the
/// device it took until all that were left had the record.
fn reads_of_three(meanwhile: impl FnOnce(&mut Vec<Get<'_>>)) -> u64 {
    let driven = Driven::fresh(&small_config(), 1 << 20, 4096);
    let device = WritePolicy { durability: Some(Durability::Device), ..Default::default() };
    let key = key("set", 1);
    driven.devices[0].set_stepped(true);
    driven.run(driven.namespace.put(&key, &bin(Value::Int(7)), &device)).expect("a write");
    let before = driven.namespace.stats().device_reads;

    let past_ram = ReadPolicy { bypass_cache: true };
    let mut gets: Vec<Get<'_>> =
        (0..3).map(|_| Box::pin(driven.namespace.get(&key, &past_ram)) as _).collect();
    let mut context = Context::from_waker(Waker::noop());
    for get in &mut gets {
        assert!(get.as_mut().poll(&mut context).is_pending(), "the device has not been stepped");
    }
    meanwhile(&mut gets);
    for get in gets {
        let record = driven.run(get).expect("a sound record").expect("it was written");
        assert_eq!(value_of(&record), Value::Int(7));
    }
    let reads = driven.namespace.stats().device_reads - before;

    // Nothing is left of them: a later read is one of its own.
    driven.run(driven.namespace.get(&key, &past_ram)).expect("a sound record");
    assert_eq!(driven.namespace.stats().device_reads - before, reads + 1);
    reads
}

/// A hot record would otherwise cost the device one read for each client that asks.
#[test]
fn equal_reads_are_one() {
    assert_eq!(reads_of_three(|_| ()), 1);
}

/// A client that goes away in the middle of its read would otherwise take all with it that wait for the same record.
#[test]
fn a_read_given_up_leaves_the_others_theirs() {
    // One of those that wait for the first.
    assert_eq!(reads_of_three(|gets| drop(gets.remove(1))), 1);
    // The first itself: the others find out when they are polled, and share the next read.
    let reads = reads_of_three(|gets| {
        drop(gets.remove(0));
        let mut context = Context::from_waker(Waker::noop());
        for get in gets {
            assert!(matches!(get.as_mut().poll(&mut context), Poll::Pending));
        }
    });
    assert_eq!(reads, 2);
}
