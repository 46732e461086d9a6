//! What every device must do, checked against all of them.
//!
//! [`check`] is the suite. Each device is given with a way to wait for it, because a stepped simulator must be
//! stepped and a real device must be parked for. `files` has what only devices in the file system can show. No
//! device is trusted to be fresh: each check writes before it reads.

mod files;

use std::{io, sync::Arc, thread};

use super::{
    AlignedBuf, Completion, Device, IoKind, Region,
    reactor::{self, Reactor},
    sim::{Rng, SimDevice},
};

/// Bytes that a device under test has.
const SIZE: u64 = 16 << 20;

/// A device and how to wait for it. Threads that use it install `reactor` first.
#[derive(Clone)]
struct Subject {
    device: Arc<dyn Device>,
    sim: Option<Arc<SimDevice>>,
    reactor: Option<IoKind>,
    /// Whether a runtime would poll the reactor's descriptor.
    polled: bool,
}

impl Subject {
    fn real(device: Arc<dyn Device>, reactor: Option<IoKind>) -> Subject {
        Subject { device, sim: None, reactor, polled: false }
    }

    fn polled(self) -> Subject {
        Subject { polled: true, ..self }
    }

    fn simulated(sector: u32, stepped: bool) -> Subject {
        let sim = Arc::new(SimDevice::new("sim", SIZE, sector, 42));
        sim.set_stepped(stepped);
        let device: Arc<dyn Device> = Arc::clone(&sim) as _;
        Subject { device, sim: Some(sim), reactor: None, polled: false }
    }

    fn sector(&self) -> usize {
        self.device.geometry().sector as usize
    }

    /// Waits for one request, without a waker.
    fn wait<T>(&self, mut completion: Completion<T>) -> io::Result<T> {
        loop {
            match (completion.try_take(), &self.sim) {
                (Some(result), _) => return result,
                (None, None) => reactor::park(None),
                // Nothing queued means that another thread has just taken our request.
                (None, Some(sim)) if !sim.step() => thread::yield_now(),
                (None, Some(_)) => {}
            }
        }
    }

    fn write(&self, bytes: &[u8], offset: u64, durable: bool) -> io::Result<()> {
        self.wait(self.device.write(&Region::from_bytes(bytes), 0, bytes.len(), offset, durable))
    }

    fn read(&self, len: usize, offset: u64) -> io::Result<AlignedBuf> {
        self.wait(self.device.read(AlignedBuf::new(len), len, offset))
    }

    /// Runs `test` on a thread that has the subject's reactor.
    fn on_thread(&self, test: impl FnOnce(&Subject) + Send + 'static) -> thread::JoinHandle<()> {
        let subject = self.clone();
        thread::spawn(move || {
            let install = if subject.polled { Reactor::install_polled } else { Reactor::install };
            let guard =
                subject.reactor.map(|kind| install(kind).expect("a fresh thread takes a reactor"));
            test(&subject);
            drop(guard);
        })
    }
}

/// Bytes that tell where they belong.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(len).collect()
}

/// The whole suite.
fn check(subject: &Subject) {
    let checks: [fn(&Subject); 9] = [
        what_is_written_is_read,
        bad_ranges_are_refused,
        many_in_flight,
        more_in_flight_than_the_ring_holds,
        writes_from_a_region,
        dropped_completions_are_harmless,
        large_transfers,
        syncs_and_discards,
        futures_work,
    ];
    for check in checks {
        subject.on_thread(check).join().expect("the check passes");
    }
    two_threads(subject);
}

/// Write and read back at every place in a few sectors, in several lengths, durable and not.
fn what_is_written_is_read(subject: &Subject) {
    let sector = subject.sector();
    for first in 0..9 {
        for count in [1, 2, 3, 8] {
            let (offset, len) = ((first * sector) as u64, count * sector);
            let bytes = pattern(offset + len as u64, len);
            subject.write(&bytes, offset, count % 2 == 0).expect("a write");
            assert!(subject.read(len, offset).expect("a read")[..] == bytes);
        }
    }
    let last = SIZE - sector as u64;
    let bytes = pattern(9, sector);
    subject.write(&bytes, last, true).expect("a write of the last sector");
    assert!(subject.read(sector, last).expect("a read of the last sector")[..] == bytes);
}

/// What is outside or unaligned is refused, and changes nothing.
fn bad_ranges_are_refused(subject: &Subject) {
    let sector = subject.sector();
    subject.write(&vec![7; sector], 0, true).expect("a write");
    let bad = [(1, sector), (0, 100), (SIZE, sector), (SIZE - sector as u64, 2 * sector)];
    let bad = bad.into_iter().chain([(u64::MAX - sector as u64 + 1, sector)]);
    for (offset, len) in bad {
        for result in [
            subject.read(len, offset).map(drop),
            subject.write(&vec![8; len], offset, false),
            subject.wait(subject.device.discard(offset, len as u64)),
        ] {
            assert_eq!(result.expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        }
    }
    let short = subject.device.read(AlignedBuf::new(sector - 1), sector, 0);
    assert_eq!(
        subject.wait(short).expect_err("the buffer is short").kind(),
        io::ErrorKind::InvalidInput
    );
    let region = Region::new(4096);
    for (start, len) in [(4096, sector), (1, sector), (usize::MAX - sector + 1, sector)] {
        let write = subject.device.write(&region, start, len, 0, false);
        assert_eq!(
            subject.wait(write).expect_err("outside the region").kind(),
            io::ErrorKind::InvalidInput
        );
    }
    assert!(subject.read(sector, 0).expect("a read")[..] == vec![7; sector]);
}

/// Hundreds of writes at once, then as many reads, each with its own bytes.
fn many_in_flight(subject: &Subject) {
    let sector = subject.sector();
    let place = |n: usize| (n * sector) as u64;
    let writes: Vec<_> = (0..600)
        .map(|n| {
            subject.device.write(
                &Region::from_bytes(&pattern(n as u64, sector)),
                0,
                sector,
                place(n),
                false,
            )
        })
        .collect();
    for write in writes {
        subject.wait(write).expect("a write");
    }
    let reads: Vec<_> =
        (0..600).map(|n| subject.device.read(AlignedBuf::new(sector), sector, place(n))).collect();
    for (n, read) in reads.into_iter().enumerate() {
        assert!(subject.wait(read).expect("a read")[..] == pattern(n as u64, sector));
    }
}

/// More requests than slots or than the pool's queue: they wait their turn, none is lost.
fn more_in_flight_than_the_ring_holds(subject: &Subject) {
    let sector = subject.sector();
    subject.write(&pattern(1, sector), 0, false).expect("a write");
    let reads: Vec<_> =
        (0..6000).map(|_| subject.device.read(AlignedBuf::new(sector), sector, 0)).collect();
    for read in reads {
        assert!(subject.wait(read).expect("a read")[..] == pattern(1, sector));
    }
}

/// Parts of one region go to different places while the rest of it is filled, registered or not.
fn writes_from_a_region(subject: &Subject) {
    let sector = subject.sector();
    let (plain, registered) = (Region::new(64 * sector), Region::new(64 * sector));
    match reactor::register_buffers(std::slice::from_ref(&registered)) {
        Err(error) => eprintln!("skipped: registered buffers: {error}"),
        // A second time, with another one, as when a device is added later.
        Ok(()) => {
            reactor::register_buffers(&[Arc::clone(&registered), Region::new(4096)]).expect("again")
        }
    }
    for (region, seed) in [(plain, 5), (registered, 6)] {
        let mut writes = Vec::new();
        for part in 0..64 {
            // SAFETY: no request covers this part yet, and no other thread knows the region.
            unsafe { region.write(part * sector, &pattern(seed + part as u64, sector)) };
            let offset = ((63 - part) * sector) as u64;
            writes.push(subject.device.write(
                &region,
                part * sector,
                sector,
                offset,
                part % 2 == 0,
            ));
        }
        for write in writes {
            subject.wait(write).expect("a write");
        }
        let found = subject.read(64 * sector, 0).expect("a read");
        for (place, bytes) in found.chunks(sector).enumerate() {
            assert!(bytes == pattern(seed + 63 - place as u64, sector));
        }
    }
}

/// Nobody waits: the memory stays with the requests, the thread may end, and what was written is there.
fn dropped_completions_are_harmless(subject: &Subject) {
    let sector = subject.sector();
    let abandon = |subject: &Subject| {
        let sector = subject.sector();
        for n in 0..300 {
            let region = Region::from_bytes(&pattern(n, sector));
            drop(subject.device.write(&region, 0, sector, n * sector as u64, false));
            drop(subject.device.read(AlignedBuf::new(64 * sector), 64 * sector, SIZE / 2));
        }
    };
    abandon(subject);
    subject.on_thread(abandon).join().expect("the thread ends");
    // A later request to the same place may overtake the abandoned ones, so this one goes elsewhere.
    let place = SIZE - sector as u64;
    subject.write(&pattern(3, sector), place, true).expect("a write");
    assert!(subject.read(sector, place).expect("a read")[..] == pattern(3, sector));
}

/// 8 MiB at once, which no device moves in one piece.
fn large_transfers(subject: &Subject) {
    let bytes = pattern(77, 8 << 20);
    for durable in [false, true] {
        subject.write(&bytes, SIZE / 4, durable).expect("a write");
        assert!(subject.read(bytes.len(), SIZE / 4).expect("a read")[..] == bytes);
    }
}

/// A sync completes, with nothing to do too; a discard takes nothing outside its range.
fn syncs_and_discards(subject: &Subject) {
    let sector = subject.sector();
    subject.wait(subject.device.sync()).expect("a sync");
    subject.write(&pattern(4, 2 * sector), 0, false).expect("a write");
    subject.wait(subject.device.sync()).expect("a sync");
    subject.wait(subject.device.discard(sector as u64, sector as u64)).expect("a discard");
    assert!(subject.read(sector, 0).expect("a read")[..] == pattern(4, 2 * sector)[..sector]);
    subject.wait(subject.device.discard(0, 0)).expect("a discard of nothing");
}

/// The completions are futures: several in a row and in one task.
fn futures_work(subject: &Subject) {
    let sector = subject.sector();
    let region = Region::from_bytes(&pattern(8, sector));
    let task = async {
        subject.device.write(&region, 0, sector, 0, true).await?;
        subject.device.sync().await?;
        subject.device.read(AlignedBuf::new(sector), sector, 0).await
    };
    let found = match &subject.sim {
        Some(sim) => sim.drive(task),
        None => reactor::block_on(task),
    };
    assert!(found.expect("no error")[..] == pattern(8, sector));
}

/// Two threads, each with its own ring, work on two halves at once.
fn two_threads(subject: &Subject) {
    let threads = [0, SIZE / 2].map(|base| {
        subject.on_thread(move |subject| {
            let sector = subject.sector();
            for n in 0..200 {
                let offset = base + n * sector as u64;
                subject.write(&pattern(offset, sector), offset, false).expect("a write");
                assert!(
                    subject.read(sector, offset).expect("a read")[..] == pattern(offset, sector)
                );
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().expect("the thread passes"));
}

/// Shows that the simulator does what devices do; otherwise crash tests would prove nothing about flash.
#[test]
fn simulated_devices_conform() {
    for sector in [512, 4096] {
        for stepped in [false, true] {
            check(&Subject::simulated(sector, stepped));
        }
    }
}
