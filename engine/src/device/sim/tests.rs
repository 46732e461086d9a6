//! Tests of the simulated device: that it loses what a device may lose, and nothing else.

use super::*;

const SIZE: u64 = 64 << 10;

fn device() -> SimDevice {
    SimDevice::new("sim", SIZE, 512, 7)
}

fn write(device: &SimDevice, offset: u64, fill: u8, len: usize, durable: bool) -> Completion<()> {
    device.write(&Region::from_bytes(&vec![fill; len]), 0, len, offset, durable)
}

fn done<T>(mut completion: Completion<T>) -> io::Result<T> {
    completion.try_take().expect("the request is done")
}

fn write_now(device: &SimDevice, offset: u64, fill: u8, len: usize, durable: bool) {
    done(write(device, offset, fill, len, durable)).expect("the write succeeds");
}

fn units(device: &SimDevice, offset: u64, count: usize) -> Vec<u8> {
    device
        .read_raw(offset, count * 512)
        .chunks(512)
        .map(|unit| {
            assert!(
                unit.iter().all(|&byte| byte == unit[0]),
                "a unit is written whole or not at all"
            );
            unit[0]
        })
        .collect()
}

/// Shows that durable writes survive every crash, and that undurable ones do not under the harshest. A device
/// that forgot to lose data would let a missing flush pass every crash test.
#[test]
fn only_what_is_durable_survives() {
    let device = device();
    write_now(&device, 0, 1, 1024, true);
    write_now(&device, 4096, 2, 1024, false);
    assert_eq!(units(&device.crash_image(CrashPolicy::LoseAll), 4096, 2), [0, 0]);
    assert_eq!(units(&device.crash_image(CrashPolicy::KeepAll), 4096, 2), [2, 2]);
    for policy in CrashPolicy::all(3) {
        assert_eq!(units(&device.crash_image(policy), 0, 2), [1, 1], "{policy:?}");
    }
    done(device.sync()).expect("a sync");
    for policy in CrashPolicy::all(3) {
        assert_eq!(units(&device.crash_image(policy), 4096, 2), [2, 2], "{policy:?}");
    }
}

/// Shows that a newer durable write is never undone by an older cached one, and a newer cached one may be lost alone.
#[test]
fn order_at_one_place_is_kept() {
    for seed in 0..200 {
        let device = device();
        write_now(&device, 0, 1, 1024, false);
        write_now(&device, 512, 2, 512, true);
        for policy in CrashPolicy::all(seed) {
            assert_eq!(units(&device.crash_image(policy), 512, 1), [2], "{policy:?}");
        }
        write_now(&device, 512, 3, 512, false);
        for policy in CrashPolicy::all(seed) {
            assert_ne!(units(&device.crash_image(policy), 512, 1), [1], "{policy:?}");
        }
    }
}

/// Shows what each policy keeps of two writes of four units: whole ones, torn ones, fronts, ends, the later one.
#[test]
fn policies_keep_what_they_say() {
    let device = device();
    write_now(&device, 0, 1, 2048, false);
    write_now(&device, 8192, 2, 2048, false);
    let (mut torn, mut fronts, mut ends) = (false, false, false);
    for seed in 0..64 {
        let first = |policy| units(&device.crash_image(policy), 0, 4);
        let whole = first(CrashPolicy::Writes { seed });
        assert!(whole == [0; 4] || whole == [1; 4]);
        let sectors = first(CrashPolicy::Sectors { seed });
        torn |= sectors == [1, 0, 1, 0] || sectors == [0, 1, 0, 1] || sectors == [1, 0, 0, 1];
        let front = first(CrashPolicy::Prefixes { seed });
        assert!(front.is_sorted_by(|a, b| a >= b));
        fronts |= front == [1, 1, 0, 0];
        let end = first(CrashPolicy::Suffixes { seed });
        assert!(end.is_sorted());
        ends |= end == [0, 0, 1, 1];
        let reordered = device.crash_image(CrashPolicy::Reordered { seed });
        assert_eq!((units(&reordered, 0, 4), units(&reordered, 8192, 4)), (vec![0; 4], vec![2; 4]));
    }
    assert!(torn && fronts && ends);
}

/// Shows that the same seed gives the same crash, which is what makes a failing crash test debuggable.
#[test]
fn crashes_replay() {
    let run = |seed| {
        let device = SimDevice::new("sim", SIZE, 512, seed);
        device.set_stepped(true);
        let writes: Vec<_> =
            (0..20).map(|n| write(&device, n * 2048, 1, 2048, n % 3 == 0)).collect();
        for _ in 0..9 {
            device.step();
        }
        drop(writes);
        device.crash_image(CrashPolicy::from_seed(seed)).read_raw(0, SIZE as usize)
    };
    for seed in 0..50 {
        assert_eq!(run(seed), run(seed));
    }
}

/// Shows that after the cut nothing gets through, that the write at the cut is in flight and may be there in
/// part, and that a durable one is no exception. Without this a crash in the middle of an acknowledged write
/// would never be tested.
#[test]
fn a_cut_takes_the_write_it_names() {
    for durable in [false, true] {
        let device = device();
        device.cut_power_at(1);
        write_now(&device, 0, 1, 1024, true);
        let error = done(write(&device, 4096, 2, 1024, durable)).expect_err("the power went");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(device.is_dead());
        done(write(&device, 8192, 3, 1024, true)).expect_err("the power is off");
        done(device.sync()).expect_err("the power is off");
        done(device.read(AlignedBuf::new(512), 512, 0)).expect_err("the power is off");
        assert_eq!(units(&device.crash_image(CrashPolicy::LoseAll), 4096, 2), [0, 0]);
        let kept = device.crash_image(CrashPolicy::KeepAll);
        assert_eq!((units(&kept, 0, 2), units(&kept, 4096, 2)), (vec![1, 1], vec![2, 2]));
        assert_eq!(units(&kept, 8192, 2), [0, 0]);
        let torn =
            (0..64).map(|seed| units(&device.crash_image(CrashPolicy::Sectors { seed }), 4096, 2));
        assert!(torn.into_iter().any(|units| units == [2, 0]));
        assert!(!kept.is_dead());
        write_now(&kept, 0, 9, 512, true);
    }
}

/// Shows that a sync covers only what had completed when it was submitted, in stepped mode, where an engine
/// that syncs too early loses its data.
#[test]
fn a_sync_covers_what_completed_before() {
    let mut uncovered = 0;
    for seed in 0..40 {
        let device = SimDevice::new("sim", SIZE, 512, seed);
        device.set_stepped(true);
        let (write, sync) = (write(&device, 0, 1, 512, false), device.sync());
        device.run_all();
        done(write).expect("the write succeeds");
        done(sync).expect("the sync succeeds");
        uncovered += usize::from(units(&device.crash_image(CrashPolicy::LoseAll), 0, 1) == [0]);
        let sync = device.sync();
        device.run_all();
        done(sync).expect("the sync succeeds");
        assert_eq!(units(&device.crash_image(CrashPolicy::LoseAll), 0, 1), [1]);
    }
    assert_eq!(uncovered, 40);
}

/// Shows that requests are done in every order, so that nobody comes to rely on one.
#[test]
fn steps_reorder() {
    let mut orders = [false; 2];
    for seed in 0..40 {
        let device = SimDevice::new("sim", SIZE, 512, seed);
        device.set_stepped(true);
        let (mut first, mut second) =
            (write(&device, 0, 1, 512, true), write(&device, 0, 2, 512, true));
        assert_eq!((device.pending(), device.write_count()), (2, 2));
        assert!(device.step());
        orders[usize::from(first.try_take().is_some())] = true;
        device.run_all();
        assert_eq!(device.pending(), 0);
        let _ = second.try_take();
    }
    assert_eq!(orders, [true, true]);
}

/// Shows each fault once. A fault that did nothing would let its test pass without testing.
#[test]
fn faults_do_what_they_say() {
    let device = device();
    let next = |effect| device.inject(Fault::once(effect, Trigger::After(0)));

    next(Effect::WriteError(libc::EIO));
    let error = done(write(&device, 0, 1, 512, true)).expect_err("injected");
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    write_now(&device, 0, 1, 512, true);

    let range = Trigger::Range { offset: 0, len: 512 };
    device.inject(Fault::forever(Effect::ReadError(libc::EIO), range));
    for _ in 0..3 {
        done(device.read(AlignedBuf::new(512), 512, 0)).expect_err("injected for ever");
        done(device.read(AlignedBuf::new(512), 512, 512)).expect("out of the fault's range");
    }
    device.clear_faults();

    next(Effect::SyncError(libc::EIO));
    write_now(&device, 1024, 5, 512, false);
    done(device.sync()).expect_err("injected");
    assert_eq!(units(&device.crash_image(CrashPolicy::LoseAll), 1024, 1), [0]);

    next(Effect::LostWrite);
    write_now(&device, 2048, 6, 512, true);
    assert_eq!(units(&device, 2048, 1), [0]);

    next(Effect::MisdirectedWrite { to: 4096 });
    write_now(&device, 2048, 7, 512, true);
    assert_eq!((units(&device, 2048, 1), units(&device, 4096, 1)), (vec![0], vec![7]));

    device.inject(Fault::once(Effect::TornWrite { units: 1 }, Trigger::After(1)));
    write_now(&device, 8192, 8, 1024, true);
    write_now(&device, 9216, 8, 1024, true);
    assert_eq!(units(&device, 8192, 4), [8, 8, 8, 0]);

    device.flip_bit(8192, 3);
    assert_eq!(device.read_raw(8192, 2), [8 ^ 8, 8]);
    assert_eq!(device.crash_image(CrashPolicy::LoseAll).read_raw(8192, 2), [8 ^ 8, 8]);
}

/// Shows that a stuck request waits and a short one goes on by itself, with a state in between that a crash can
/// catch.
#[test]
fn stuck_and_short_requests_end() {
    let device = device();
    device.inject(Fault::once(Effect::Stuck, Trigger::After(0)));
    let mut stuck = write(&device, 0, 1, 512, true);
    assert!(stuck.try_take().is_none());
    write_now(&device, 512, 2, 512, true);
    device.unstick();
    done(stuck).expect("it went on");
    assert_eq!(units(&device, 0, 2), [1, 2]);

    device.set_stepped(true);
    device.inject(Fault::once(Effect::Short, Trigger::After(0)));
    let mut short = write(&device, 4096, 3, 2048, true);
    assert!(device.step());
    assert!(short.try_take().is_none());
    assert_eq!(units(&device, 4096, 4), [3, 3, 0, 0]);
    assert!(device.step());
    done(short).expect("it went on");
    assert_eq!(units(&device.crash_image(CrashPolicy::LoseAll), 4096, 4), [3; 4]);
}

/// Shows that a writer that changes its bytes too early is caught; on a real device it would write a torn record.
#[test]
#[should_panic(expected = "changed before the write completed")]
fn an_early_change_is_caught() {
    let device = device();
    device.set_stepped(true);
    let region = Region::new(4096);
    let _write = device.write(&region, 0, 512, 0, true);
    // SAFETY: no other thread and no slice is there; that a request is in flight is the mistake this test
    // makes, and the simulated device only reads the bytes on this thread.
    unsafe { region.write(0, &[1]) };
    device.run_all();
}

/// Shows that a discard may bring zeros or the old bytes, now and after a crash; a format that relies on either
/// is wrong.
#[test]
fn a_discard_promises_nothing() {
    let mut found = [false; 2];
    for seed in 0..40 {
        let device = SimDevice::new("sim", SIZE, 512, seed);
        write_now(&device, 0, 1, 512, true);
        done(device.discard(0, 512)).expect("a discard");
        found[usize::from(units(&device, 0, 1)[0])] = true;
        assert_eq!(units(&device.crash_image(CrashPolicy::LoseAll), 0, 1), [1]);
    }
    assert_eq!(found, [true, true]);
}

/// Shows that `drive` runs a future that needs several steps.
#[test]
fn drive_steps_the_device() {
    let device = device();
    device.set_stepped(true);
    let found = device.drive(async {
        write(&device, 512, 4, 512, true).await?;
        device.read(AlignedBuf::new(1024), 1024, 0).await
    });
    assert_eq!(found.expect("no error")[510..514], [0, 0, 4, 4]);
}
