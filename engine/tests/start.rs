//! What a user sees of a start: how far it has come.

mod common;

use std::sync::{Arc, Mutex};

use cairn_engine::{
    Namespace, Progress, StartKind,
    device::{Device, sim::SimDevice},
    model::{Value, WritePolicy},
    time::ManualClock,
};
use common::{Driven, bin, key, small_config};

const RECORDS: u64 = 400;

/// Starts a namespace on the device. Returns what was told meanwhile.
fn start(device: &Arc<SimDevice>, clock: &Arc<ManualClock>) -> (Arc<Namespace>, Vec<Progress>) {
    let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let mut options = common::options(clock);
    let listener = Arc::clone(&told);
    options.progress = Arc::new(move |step| listener.lock().unwrap().push(*step));
    let devices = vec![Arc::clone(device) as Arc<dyn Device>];
    let namespace = Namespace::open_driven(&small_config(), &options, devices).unwrap();
    let told = told.lock().unwrap().clone();
    (namespace, told)
}

/// The steps of one phase: they ascend, and the last one is the whole.
fn check_phase(told: &[Progress], phase: &str, records: u64) {
    let steps: Vec<&Progress> = told.iter().filter(|step| step.phase == phase).collect();
    let last = steps.last().unwrap_or_else(|| panic!("nothing was told of {phase}"));
    assert!(steps.is_sorted_by(|one, next| one.done < next.done && one.records <= next.records));
    assert!(steps.iter().all(|step| step.total == last.total && step.total > 0));
    assert_eq!((last.done, last.records), (last.total, records), "{phase}");
}

/// A start of a large namespace takes seconds or minutes: without this, nobody can tell it from one that hangs.
#[test]
fn a_start_tells_how_far_it_has_come() {
    let db = Driven::fresh(&small_config(), 2 << 20, 512);
    for n in 0..RECORDS {
        let (key, bins, policy) = (key("s", n), bin(Value::Int(n as i64)), WritePolicy::default());
        db.run(db.namespace.put(&key, &bins, &policy)).unwrap();
    }
    let (device, clock) = (Arc::clone(&db.devices[0]), Arc::clone(&db.clock));
    // Not closed: as after a crash.
    drop(db);
    let (namespace, told) = start(&device, &clock);
    assert_eq!(namespace.report().kind, StartKind::Cold);
    check_phase(&told, "reading block headers", 0);
    check_phase(&told, "reading records", RECORDS);
    namespace.close().unwrap();
    drop(namespace);
    let (namespace, told) = start(&device, &clock);
    assert_eq!(namespace.report().kind, StartKind::Warm);
    assert_eq!(namespace.stats().records, RECORDS);
    // The last block is told of before what stands at the ends of stretches is put together: records are not counted to the end.
    let last = told.last().expect("a warm restart tells, too");
    assert_eq!((last.phase, last.done), ("reading the saved index", last.total));
}
