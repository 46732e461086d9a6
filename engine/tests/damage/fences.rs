//! A device that fails a write, or never answers: it takes no more writes and says so, and nothing that was acknowledged is lost.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use cairn_engine::{
    DeviceConfig, Error, NamespaceConfig, Outcome,
    device::sim::{CrashPolicy, Effect, Fault, SimDevice, Trigger},
    model::{Durability, ReadPolicy, Value, WritePolicy},
    time::ManualClock,
};

use crate::{
    base::{BLOCKS, SECTOR, policy, value},
    common::{Driven, NOW_MS, bin, key, small_config, value_of},
};

/// Errors that a system gives to writes: bad medium, no space behind a thin device, device gone, read-only.
const CODES: [i32; 4] = [5, 28, 19, 30];

/// After a write or a sync failed: the writes that waited for it are in doubt, later ones are surely refused, what was acknowledged can be read,
/// and is there after a restart.
#[test]
fn a_failed_write_fences_the_device() {
    for code in CODES {
        for effect in [Effect::WriteError(code), Effect::SyncError(code)] {
            let db = Driven::fresh(&small_config(), BLOCKS << 14, SECTOR);
            for n in 0..20 {
                db.run(db.namespace.put(&key("s", n), &bin(value(n, 0)), &policy())).unwrap();
            }
            if matches!(effect, Effect::SyncError(_)) {
                // A flush unit that nobody waits for is on its way first, so that the next durable write needs a sync.
                let buffered = WritePolicy { durability: Some(Durability::Buffer), ..policy() };
                let bins = bin(Value::Bytes(vec![2; 5000]));
                db.run(db.namespace.put(&key("s", 50), &bins, &buffered)).unwrap();
                (0..4).for_each(|_| _ = db.turn());
            }
            db.devices[0].inject(Fault::forever(effect, Trigger::After(0)));
            let bins = bin(Value::Bytes(vec![1; 300]));
            let keys: Vec<_> = (100..103).map(|n| key("s", n)).collect();
            let policy = policy();
            let waiting = keys.iter().map(|key| db.namespace.put(key, &bins, &policy));
            let answers = all(&db, waiting.collect());
            for answer in &answers {
                assert!(answer.as_ref().is_err_and(Error::in_doubt), "{effect:?}: {answer:?}");
            }
            let later = db.run(db.namespace.put(&key("s", 7), &bins, &policy));
            assert!(later.is_err_and(|error| !error.in_doubt()), "{effect:?}");
            let deleted = db.run(db.namespace.delete(&key("s", 8), &policy));
            assert!(deleted.is_err_and(|error| !error.in_doubt()), "{effect:?}");
            assert!(db.namespace.devices()[0].failed.is_some());
            let truncated = db.run(db.namespace.truncate(Some("s")));
            assert!(truncated.is_err_and(|error| !error.in_doubt()), "{effect:?}");
            holds(&db, 0..20, 0);
            assert!(db.namespace.close().is_err());
            if matches!(effect, Effect::WriteError(_)) {
                let image = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
                let db = Driven::open(&small_config(), vec![image], &db.clock).unwrap();
                holds(&db, 0..20, 0);
            }
        }
    }
}

fn holds(db: &Driven, keys: std::ops::Range<u64>, round: u64) {
    for n in keys {
        let record = db.run(db.namespace.get(&key("s", n), &ReadPolicy::default())).unwrap();
        assert_eq!(record.map(|record| value_of(&record)), Some(value(n, round)), "key {n}");
    }
}

/// Drives several operations side by side to their ends.
fn all<F: Future>(db: &Driven, futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        futures.retain_mut(|future| match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => {
                outputs.push(output);
                false
            }
            Poll::Pending => true,
        });
        db.turn();
    }
    assert!(futures.is_empty(), "{} operations wait for ever", futures.len());
    outputs
}

fn two(blocks: u64) -> (NamespaceConfig, Driven) {
    let mut config = small_config();
    config.devices.push(DeviceConfig::Raw("sim1".into()));
    let sim = |n| Arc::new(SimDevice::new(&format!("sim{n}"), blocks << 14, SECTOR, n));
    let db = Driven::open(&config, vec![sim(0), sim(1)], &ManualClock::new(NOW_MS)).unwrap();
    (config, db)
}

/// With one of two devices fenced the other takes all writes, its blocks go round, and no writer waits for the dead one for ever.
#[test]
fn the_other_device_goes_on() {
    let (_, db) = two(12);
    let put = |n: u64, round: u64| {
        let bins = bin(value(n, round));
        db.try_run(db.namespace.put(&key("s", n), &bins, &policy()))
            .expect("a writer waits for ever")
    };
    (0..40).for_each(|n| _ = put(n, 0).unwrap());
    db.devices[0].inject(Fault::forever(Effect::WriteError(5), Trigger::After(0)));
    let failed: Vec<u64> = (0..40).filter(|&n| put(n, 1).is_err()).collect();
    assert_eq!(failed.len(), 1, "those in flight at the first error, and no others");
    assert!(
        db.namespace.devices()[0].failed.is_some() && db.namespace.devices()[1].failed.is_none()
    );
    // Far more than the device holds: every block is used again several times.
    for round in 2..40 {
        for n in 0..20 {
            match put(n, round) {
                Ok(outcome) => assert!(matches!(outcome, Outcome::Done(_))),
                Err(error) => panic!("round {round}, key {n}: {error}"),
            }
        }
    }
    holds(&db, 0..20, 39);
}

/// Requests that never complete hold up what depends on them and nothing else: no write is acknowledged early, none is lost when they do
/// complete, and none that was acknowledged is lost when the power goes instead.
#[test]
fn stuck_requests() {
    let config = small_config();
    for after in 0..4 {
        let db = Driven::fresh(&config, BLOCKS << 14, SECTOR);
        for n in 0..10 {
            db.run(db.namespace.put(&key("s", n), &bin(value(n, 0)), &policy())).unwrap();
        }
        db.devices[0].inject(Fault::once(Effect::Stuck, Trigger::After(after)));
        let mut acknowledged = 0;
        let (bins, policy) = (bin(value(10, 0)), policy());
        let keys: Vec<_> = (10..16).map(|n| (n, key("s", n), bin(value(n, 0)))).collect();
        let mut stuck = None;
        for (n, key, bins) in &keys {
            let mut put = Box::pin(db.namespace.put(key, bins, &policy));
            match db.try_run(&mut put) {
                Some(done) => {
                    done.unwrap();
                    acknowledged = *n;
                }
                None => {
                    stuck = Some(put);
                    break;
                }
            }
        }
        let stuck = stuck.expect("one of the writes was stuck");
        let image = Arc::new(db.devices[0].crash_image(CrashPolicy::LoseAll));
        let crashed = Driven::open(&config, vec![image], &db.clock).unwrap();
        holds(&crashed, 0..acknowledged.max(9) + 1, 0);
        // Another write of the same record waits with it, and both are done when the device is.
        let again = db.namespace.put(&keys[5].1, &bins, &policy);
        let mut again = pin!(again);
        assert!(db.try_run(&mut again).is_none());
        db.devices[0].unstick();
        db.run(stuck).unwrap();
        db.run(again).unwrap();
        holds(&db, 0..acknowledged.max(9) + 1, 0);
    }
}
