//! Power is lost while devices are prepared, or added to others that hold records.

use std::sync::Arc;

use cairn_engine::{
    Outcome,
    device::{
        Device,
        sim::{CrashPolicy, SimDevice},
    },
    model::{ReadPolicy, Value, WritePolicy},
    time::ManualClock,
};

use crate::{
    common::{self, Driven, NOW_MS, bin, value_of},
    rig::{Honesty, Rig},
    run,
};

const BLOCK: u64 = 16 << 10;

fn blank(number: usize, sector: u32) -> Arc<SimDevice> {
    Arc::new(SimDevice::new(&format!("sim{number}"), 12 * BLOCK, sector, 1))
}

fn open(devices: Vec<Arc<dyn Device>>) -> Result<Driven, cairn_engine::OpenError> {
    let mut config = common::small_config();
    config.devices = (0..devices.len())
        .map(|n| cairn_engine::DeviceConfig::Raw(format!("sim{n}").into()))
        .collect();
    let clock = ManualClock::new(NOW_MS);
    let namespace =
        cairn_engine::Namespace::open_driven(&config, &common::options(&clock), devices)?;
    Ok(Driven { namespace, devices: Vec::new(), clock })
}

/// Cuts the power at every write of opening the devices that `make` makes; `check` looks at what comes up afterwards. Returns how many images.
fn cut_everywhere(make: impl Fn() -> Vec<Arc<SimDevice>>, check: impl Fn(&Driven)) -> u64 {
    let mut images = 0;
    for cut in 0.. {
        let rig = Rig::new(make(), BLOCK, Some(cut), Honesty::Honest);
        let done = open(rig.devices()).is_ok() && !rig.is_off();
        for seed in 0..4 {
            for policy in CrashPolicy::all(seed * 100 + cut) {
                images += 1;
                let devices =
                    rig.images(policy).into_iter().map(|sim| sim as Arc<dyn Device>).collect();
                let db = open(devices)
                    .unwrap_or_else(|error| panic!("write {cut}, {policy:?}: {error}"));
                assert_eq!(
                    db.namespace.report().damage,
                    Vec::<String>::new(),
                    "write {cut}, {policy:?}"
                );
                check(&db);
            }
        }
        if done {
            return images;
        }
    }
    unreachable!("opening comes to an end")
}

/// A preparation that was cut short is done again by the next start; nobody has to tell Cairn to overwrite its own half-made header.
#[test]
fn first_start() {
    for (devices, sector) in [(1, 512), (2, 512), (1, 4096), (3, 4096)] {
        let make = || (0..devices).map(|n| blank(n, sector)).collect();
        let images = cut_everywhere(make, |db| {
            let (key, bins, policy) = (run::key(1), bin(Value::Int(1)), WritePolicy::default());
            let put = db.namespace.put(&key, &bins, &policy);
            assert!(matches!(db.run(put).unwrap(), Outcome::Done(_)));
        });
        println!("first start of {devices} devices: {images} images");
    }
}

/// A device is added to one that holds records: they stay, wherever the power is lost, and the set is complete afterwards.
#[test]
fn an_added_device() {
    let first = Rig::new(vec![blank(0, 512)], BLOCK, None, Honesty::Honest);
    let db = open(first.devices()).unwrap();
    for n in 0..20 {
        let (key, bins) = (run::key(n), bin(Value::Int(n as i64)));
        db.run(db.namespace.put(&key, &bins, &WritePolicy::default())).unwrap();
    }
    let make = || {
        let mut devices = first.images(CrashPolicy::LoseAll);
        devices.push(blank(1, 512));
        devices
    };
    let images = cut_everywhere(make, |db| {
        for n in 0..20 {
            let key = run::key(n);
            let record = db.run(db.namespace.get(&key, &ReadPolicy::default())).unwrap();
            assert_eq!(record.map(|record| value_of(&record)), Some(Value::Int(n as i64)));
        }
        assert_eq!(db.namespace.devices().len(), 2);
    });
    println!("an added device: {images} images");
}
