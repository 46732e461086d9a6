//! I/O by a few threads that block in pread and pwrite: for machines without io_uring, and for what has no
//! ring.
//!
//! Owns: one pool per process, started at its first request, and the blocking form of every request.
//!
//! Invariants: the queue is bounded; when it is full the submitter does its request itself, which slows it down
//! instead of failing it. Concurrency: any thread submits; a request is answered on a pool thread, which then
//! unparks the submitter.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{Arc, OnceLock},
    thread,
};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::{
    reactor::{self, Parker},
    request::{Progress, Request, Work},
};

/// Threads of the pool: enough to keep a few devices busy, few enough to cost nothing when idle.
const THREADS: usize = 10;

/// Requests that may wait for a thread.
const QUEUE: usize = 1024;

/// `_IO(0x12, 119)`: discard a range of a block device.
const BLKDISCARD: libc::Ioctl = 0x1277;

/// A request and the thread that sent it, which may sleep in `reactor::park`.
struct Job {
    request: Request,
    submitter: Option<Arc<Parker>>,
}

impl Job {
    fn run(self) {
        let Job { mut request, submitter } = self;
        let result = run_blocking(&mut request);
        request.finish(result);
        if let Some(parker) = submitter {
            parker.unpark();
        }
    }
}

/// Gives a request to the pool, or does it here when the pool is full or could not be started.
pub(super) fn submit(request: Request) {
    let job = Job { request, submitter: reactor::current_parker() };
    match queue().try_send(job) {
        Ok(()) => {}
        Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job.run(),
    }
}

/// The queue of the process's pool. It lives as long as the process; its threads hold nothing that needs an end.
fn queue() -> &'static Sender<Job> {
    static QUEUE_OF_PROCESS: OnceLock<Sender<Job>> = OnceLock::new();
    QUEUE_OF_PROCESS.get_or_init(|| {
        let (sender, receiver) = bounded(QUEUE);
        for number in 0..THREADS {
            start_thread(number, receiver.clone());
        }
        sender
    })
}

fn start_thread(number: usize, jobs: Receiver<Job>) {
    let work = move || jobs.iter().for_each(Job::run);
    // A thread that cannot be started leaves its work to the others; with none, the queue is disconnected and every
    // submitter does its own requests.
    if let Err(error) = thread::Builder::new().name(format!("cairn-io-{number}")).spawn(work) {
        tracing::warn!(%error, number, "a thread of the I/O pool could not be started");
    }
}

/// Does the whole request on this thread.
fn run_blocking(request: &mut Request) -> io::Result<()> {
    loop {
        let outcome = attempt(request);
        if let Progress::Done(result) = request.advance(outcome) {
            return result;
        }
    }
}

/// One system call for what is left of the request.
fn attempt(request: &mut Request) -> io::Result<usize> {
    let fd = request.file.as_raw_fd();
    let (moved, len) = (request.moved, request.len);
    let offset = request.offset + moved as u64;
    match &mut request.work {
        Work::Read { buffer, .. } => {
            let rest = &mut buffer[moved..len];
            // SAFETY: `rest` is ours, writable, and outlives the call.
            let moved =
                unsafe { libc::pread(fd, rest.as_mut_ptr().cast(), rest.len(), signed(offset)) };
            outcome(moved)
        }
        Work::Write { source, start, durable, .. } => {
            // SAFETY: the caller of `Device::write` leaves these bytes alone until the completion is ready.
            let rest = unsafe { source.slice(*start + moved, len - moved) };
            write_at(fd, rest, offset, *durable)
        }
        Work::Sync { .. } => {
            // SAFETY: no memory is involved.
            outcome(unsafe { libc::fdatasync(fd) } as isize)
        }
        Work::Discard { .. } => discard(fd, offset, len as u64).map(|()| 0),
    }
}

fn write_at(fd: i32, bytes: &[u8], offset: u64, durable: bool) -> io::Result<usize> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let flags = if durable { libc::RWF_DSYNC } else { 0 };
    // SAFETY: the one iovec describes `bytes`, which outlives the call and is only read.
    let result = outcome(unsafe { libc::pwritev2(fd, &raw const part, 1, signed(offset), flags) });
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
            write_plain(fd, bytes, offset, durable)
        }
        other => other,
    }
}

/// For kernels and sandboxes without pwritev2: a plain write, and a flush of its own.
fn write_plain(fd: i32, bytes: &[u8], offset: u64, durable: bool) -> io::Result<usize> {
    // SAFETY: `bytes` outlives the call and is only read.
    let moved =
        outcome(unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), signed(offset)) })?;
    if durable {
        // SAFETY: no memory is involved.
        outcome(unsafe { libc::fdatasync(fd) } as isize)?;
    }
    Ok(moved)
}

/// Tells a block device that a range is not needed. A device that cannot do that is as good as one that did.
fn discard(fd: i32, offset: u64, len: u64) -> io::Result<()> {
    let range = [offset, len];
    // SAFETY: BLKDISCARD reads two u64 from the pointer.
    match outcome(unsafe { libc::ioctl(fd, BLKDISCARD, range.as_ptr()) } as isize) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOTTY)) => {
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

/// What a system call returned, as a result.
fn outcome(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// Offsets are checked against the device's size, which the kernel reported as a signed number.
fn signed(offset: u64) -> libc::off_t {
    libc::off_t::try_from(offset).expect("an offset inside a device fits the kernel's type")
}
