//! One thread's loop on a ring of its own, closed or open.
//!
//! Each operation in flight has a slot with a buffer. A slot that is free takes the next operation; everything queued goes to the
//! kernel in one call, which also waits for the first completion. No operation is left behind: the loop ends when none is in
//! flight, so no buffer is freed that the kernel still writes.

use std::{
    io,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use cairn_engine::device::AlignedBuf;
use io_uring::{IoUring, opcode, squeue, types};

use super::file::{RawFile, noise};
use crate::{
    bench::{
        job::{Job, Op, Sync},
        thread::{Report, Started, Thread},
        work::Done,
    },
    failure::{Doing, Result},
};

/// Entries of the submission queue at most; deeper jobs submit in several calls.
const ENTRIES_MAX: u32 = 4096;
/// `RWF_DSYNC`: the write is done when its data survives power loss.
const RWF_DSYNC: i32 = 2;

/// Room for one operation.
struct Slot {
    /// Made when it is first needed in an open loop, where most slots never are.
    buffer: Option<AlignedBuf>,
    flight: Option<Flight>,
}

/// An operation on its way.
#[derive(Clone, Copy)]
struct Flight {
    started: Started,
    len: u32,
    /// The write is done, its `fdatasync` is not.
    syncing: bool,
}

/// Runs a thread's operations to the end of the run. `begin` waits for the other threads; when it gives nothing there is no run.
pub fn run<'a>(
    file: &RawFile,
    job: &Job,
    begin: impl FnOnce() -> Option<Thread<'a>>,
) -> Result<Option<Report>> {
    let depth = job.depth();
    let ring = ring(depth).doing("making a ring")?;
    let longest = file.longest(job) as usize;
    let slots = (0..depth)
        .map(|_| Slot { buffer: job.rate.is_none().then(|| buffer(longest)), flight: None });
    let (slots, free) = (slots.collect(), (0..depth).rev().collect());
    let Some(thread) = begin() else { return Ok(None) };
    let mut lane = Lane { file, job, step: file.step(job), longest, slots, free, ring, thread };
    std::thread::sleep(lane.thread.clock.start.saturating_duration_since(Instant::now()));
    let outcome = if lane.thread.pace.is_some() { lane.open() } else { lane.closed() };
    if let Err(error) = outcome {
        // The kernel may still write to them: better lost than freed.
        std::mem::forget(std::mem::take(&mut lane.slots));
        return Err(error).doing("waiting for the ring");
    }
    Ok(Some(lane.thread.report()))
}

/// Memory with something in it that can be written.
fn buffer(len: usize) -> AlignedBuf {
    let mut buffer = AlignedBuf::new(len);
    noise(&mut buffer);
    buffer
}

/// A ring with what makes it cheap, as far as the kernel knows it.
fn ring(depth: u32) -> io::Result<IoUring> {
    let entries = depth.next_power_of_two().min(ENTRIES_MAX);
    let with = |flags: fn(&mut io_uring::Builder)| {
        let mut builder = IoUring::builder();
        builder.setup_clamp().setup_cqsize(depth.max(entries).next_power_of_two() * 2);
        flags(&mut builder);
        builder.build(entries)
    };
    let defer: fn(&mut io_uring::Builder) = |builder| {
        builder.setup_single_issuer().setup_defer_taskrun();
    };
    with(defer)
        .or_else(|_| {
            with(|builder| {
                builder.setup_coop_taskrun();
            })
        })
        .or_else(|_| with(|_| ()))
}

struct Lane<'a, 'b> {
    file: &'b RawFile,
    job: &'b Job,
    step: u64,
    longest: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    ring: IoUring,
    thread: Thread<'a>,
}

impl Lane<'_, '_> {
    fn closed(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut over = false;
        loop {
            while !over && let Some(slot) = self.free.pop() {
                match self.thread.start(now) {
                    Some(started) => self.begin(slot, started)?,
                    None => (over, self.free) = (true, Vec::new()),
                }
            }
            if self.thread.in_flight() == 0 {
                return Ok(());
            }
            self.wait(None)?;
            while let Some((slot, now)) = self.reap()? {
                // One look at the clock for each operation: the end of one is the start of the next.
                match self.thread.start(now) {
                    Some(started) => self.begin(slot, started)?,
                    None => over = true,
                }
            }
        }
    }

    fn open(&mut self) -> io::Result<()> {
        let mut bound_met = false;
        let mut over = false;
        loop {
            let now = Instant::now();
            let due = self.thread.pace.as_ref().map_or(now, |pace| pace.due());
            if over && self.thread.in_flight() == 0 {
                return Ok(());
            }
            let room = self.free.last().copied().filter(|_| !over);
            match room {
                Some(slot) if due <= now => match self.thread.start_due(now, bound_met) {
                    Some(started) => {
                        self.free.pop();
                        bound_met = false;
                        self.begin(slot, started)?;
                        continue;
                    }
                    None => over = true,
                },
                // Until the next one is due, and no longer.
                Some(_) => self.wait(Some(due - now))?,
                None => {
                    self.wait(None)?;
                    bound_met = !over && due <= Instant::now();
                }
            }
            while let Some((slot, _)) = self.reap()? {
                self.free.push(slot);
            }
        }
    }

    /// Queues an operation.
    fn begin(&mut self, slot: u32, started: Started) -> io::Result<()> {
        let write = started.task.op == Op::Write;
        let len = self.file.rounded(started.task.size as u64, write) as u32;
        let offset = started.task.key * self.step;
        let fd = types::Fd(self.file.file.as_raw_fd());
        let place = &mut self.slots[slot as usize];
        let memory = place.buffer.get_or_insert_with(|| buffer(self.longest));
        let entry = if write {
            memory[..8].copy_from_slice(&started.task.counter.to_le_bytes());
            let flags = if self.job.sync == Sync::Dsync { RWF_DSYNC } else { 0 };
            opcode::Write::new(fd, memory.as_ptr(), len).offset(offset).rw_flags(flags).build()
        } else {
            opcode::Read::new(fd, memory.as_mut_ptr(), len).offset(offset).build()
        };
        place.flight = Some(Flight { started, len, syncing: false });
        self.queue(&entry.user_data(slot.into()))
    }

    fn queue(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the slot's buffer is as long as the transfer, nobody touches it before the completion, and it is not freed
        // before that (`run`).
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    /// Submits what is queued and waits for a completion, or for so long.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let waited = match timeout {
            None => self.ring.submit_and_wait(1),
            Some(timeout) => {
                let spec = types::Timespec::from(timeout);
                self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&spec))
            }
        };
        match waited {
            Err(error)
                if !matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Takes a completion; gives the slot that is free now. `None` when no operation is done.
    fn reap(&mut self) -> io::Result<Option<(u32, Instant)>> {
        loop {
            let Some(entry) = self.ring.completion().next() else { return Ok(None) };
            let slot = entry.user_data() as u32;
            let Some(flight) = self.slots[slot as usize].flight else { continue };
            let done = outcome(entry.result(), &flight);
            let sync = done.is_ok() && !flight.syncing && self.job.sync == Sync::Fdatasync;
            if sync && flight.started.task.op == Op::Write {
                self.slots[slot as usize].flight = Some(Flight { syncing: true, ..flight });
                let fd = types::Fd(self.file.file.as_raw_fd());
                let entry = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
                self.queue(&entry.user_data(slot.into()))?;
                continue;
            }
            self.slots[slot as usize].flight = None;
            let now = Instant::now();
            self.thread.finish(&flight.started, now, done);
            return Ok(Some((slot, now)));
        }
    }
}

fn outcome(result: i32, flight: &Flight) -> std::result::Result<Done, String> {
    let wanted = if flight.syncing { 0 } else { flight.len };
    match u32::try_from(result) {
        Err(_) => Err(io::Error::from_raw_os_error(-result).to_string()),
        Ok(moved) if moved == wanted => Ok(Done { bytes: flight.len as usize, ..Done::default() }),
        Ok(moved) => Err(format!("{moved} bytes moved instead of {wanted}")),
    }
}
