//! An io_uring that belongs to one thread.
//!
//! Owns: the requests in flight, with their memory, from the moment they are given in until their last
//! completion entry is reaped; the table of registered regions; the read of the eventfd through which other
//! threads wake a parked one.
//!
//! Invariants: a slot's request stays where the kernel was told until the kernel is done with it, so the ring
//! waits for every request before it goes. At most [`MAX_IN_FLIGHT`] requests are with the kernel, fewer than
//! the completion queue holds, so it cannot overflow; up to [`MAX_BACKLOG`] more wait their turn here. No
//! waiter is woken in this file: finished requests are handed out, and answered when nothing of the ring is
//! borrowed any more.
//!
//! Concurrency: none, one thread. The submission order says nothing; a completion entry is the only order there
//! is.

use std::{
    collections::{HashMap, VecDeque},
    io,
    ops::{Range, RangeInclusive},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::{Duration, Instant},
};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::{
    AlignedBuf, Region, memory,
    request::{Progress, Request, Work},
};

/// Entries of the submission queue.
const ENTRIES: u32 = 256;

/// Requests that the kernel may have at once.
const MAX_IN_FLIGHT: usize = 4096;

/// Entries of the completion queue.
const COMPLETIONS: u32 = 8192;

/// Requests that may wait for a slot; whoever submits more than that waits for one to finish.
const MAX_BACKLOG: usize = 65_536;

/// Entries are submitted as soon as half of what is in flight is queued, but not fewer than the first of these at a time, for each call of the kernel
/// has its price, and not more than the second: at park only, operations would march in lockstep. Measured: `docs/decisions/0010-the-read-path.md`.
const SUBMIT_BATCH: RangeInclusive<usize> = 4..=16;

/// Bytes of the small read buffers that a thread has registered: 256 of them.
const READ_BUFFERS: usize = 1 << 20;

/// Regions that one ring can have registered.
const MAX_REGIONS: u32 = 1024;

/// Most bytes of one entry; the rest of a larger transfer follows as after a short one.
const MAX_TRANSFER: usize = 1 << 30;

/// The user data of the eventfd's read; every other entry carries the index of its slot.
const WAKE: u64 = u64::MAX;

const _: () = assert!(MAX_IN_FLIGHT < COMPLETIONS as usize);

/// Requests that are done, with their results, not answered yet.
pub(super) type Finished = Vec<(Request, io::Result<()>)>;

/// One thread's ring.
pub(super) struct Ring {
    ring: IoUring,
    polled: bool,
    slots: Vec<Option<Request>>,
    free: Vec<u32>,
    /// Slots whose entry is not in the submission queue yet.
    unsent: VecDeque<u32>,
    backlog: VecDeque<Request>,
    /// Registered regions by address. Holding them keeps their addresses from being used again.
    registered: HashMap<usize, (u16, Arc<Region>)>,
    /// Addresses of the read buffers that are registered, and their region's index.
    read_buffers: Option<(Range<usize>, u16)>,
    wake_fd: RawFd,
    wake_buffer: AlignedBuf,
    wake_armed: bool,
}

impl Ring {
    /// A ring for this thread, woken by `wake_fd`, an eventfd that must outlive it. Whether its own descriptor tells of completions, `polled` says.
    pub(super) fn new(wake_fd: RawFd, polled: bool) -> io::Result<Ring> {
        Ok(Ring {
            ring: set_up(polled)?,
            polled,
            slots: Vec::new(),
            free: Vec::new(),
            unsent: VecDeque::new(),
            backlog: VecDeque::new(),
            registered: HashMap::new(),
            read_buffers: None,
            wake_fd,
            wake_buffer: AlignedBuf::new(8),
            wake_armed: false,
        })
    }

    /// Readable when there are completions; none for a ring that tells of them only who waits in it.
    pub(super) fn fd(&self) -> Option<RawFd> {
        self.polled.then(|| self.ring.as_raw_fd())
    }

    /// Requests given in and not finished.
    pub(super) fn pending(&self) -> usize {
        self.in_flight() + self.backlog.len()
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a request. Enters the kernel when enough are queued; waits only when the backlog is full.
    pub(super) fn submit(&mut self, request: Request, finished: &mut Finished) {
        if self.in_flight() < MAX_IN_FLIGHT && self.backlog.is_empty() {
            self.start(request);
        } else {
            self.backlog.push_back(request);
        }
        let batch = (self.in_flight() / 2).clamp(*SUBMIT_BATCH.start(), *SUBMIT_BATCH.end());
        if self.unsent.len() >= batch {
            self.flush();
        }
        while self.backlog.len() > MAX_BACKLOG {
            self.flush();
            self.enter(1, None);
            self.reap(finished);
        }
    }

    /// Submits what is queued and takes what is done, without waiting.
    pub(super) fn turn(&mut self, finished: &mut Finished) {
        loop {
            self.flush();
            // What is unsent after that, the kernel did not take; the next turn offers it again.
            if self.reap(finished) == 0 {
                return;
            }
        }
    }

    /// Takes what is done as far as the kernel has told, without entering it.
    pub(super) fn take(&mut self, finished: &mut Finished) {
        self.reap(finished);
    }

    /// Submits what is queued and waits until something completes, the eventfd is written, or the deadline, all in one call of the kernel. May return
    /// early; what did not fit into the submission queue follows at the next turn.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) {
        self.arm_wake();
        self.fill();
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        self.enter(1, timeout);
    }

    /// Makes regions known to the kernel, so that writes from them need no page lookups.
    pub(super) fn register(&mut self, regions: &[Arc<Region>]) -> io::Result<()> {
        for region in regions {
            let key = region.start().addr();
            if self.registered.contains_key(&key) {
                continue;
            }
            if self.registered.is_empty() {
                self.make_table()?;
            }
            let index = self.registered.len();
            if index >= MAX_REGIONS as usize {
                return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
            }
            self.register_one(index, region)?;
            self.registered.insert(
                key,
                (u16::try_from(index).expect("below MAX_REGIONS"), Arc::clone(region)),
            );
        }
        Ok(())
    }

    /// Gives this thread small read buffers that the kernel knows, once.
    pub(super) fn register_reads(&mut self) -> io::Result<()> {
        if self.read_buffers.is_some() {
            return Ok(());
        }
        let region = memory::region_for_buffers(READ_BUFFERS);
        self.register(std::slice::from_ref(&region))?;
        let start = region.start().addr();
        let index = self.registered[&start].0;
        self.read_buffers = Some((start..start + region.len(), index));
        Ok(())
    }

    /// The empty table. It may be there already, if an earlier registration failed after making it.
    fn make_table(&self) -> io::Result<()> {
        match self.ring.submitter().register_buffers_sparse(MAX_REGIONS) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
            other => other,
        }
    }

    fn register_one(&self, index: usize, region: &Region) -> io::Result<()> {
        let place = libc::iovec { iov_base: region.start().cast(), iov_len: region.len() };
        let index = u32::try_from(index).expect("below MAX_REGIONS");
        // SAFETY: the ring keeps the region, and with it the mapping, until after the kernel's ring is gone.
        unsafe { self.ring.submitter().register_buffers_update(index, &[place], None) }
    }

    fn start(&mut self, request: Request) {
        let index = if let Some(index) = self.free.pop() {
            self.slots[index as usize] = Some(request);
            index
        } else {
            self.slots.push(Some(request));
            u32::try_from(self.slots.len() - 1).expect("at most MAX_IN_FLIGHT slots")
        };
        self.unsent.push_back(index);
    }

    /// Moves entries to the submission queue and the queue to the kernel, and lets the kernel post what it put off.
    fn flush(&mut self) {
        loop {
            self.fill();
            let queue = self.ring.submission();
            let idle = queue.is_empty() && !queue.taskrun() && !queue.cq_overflow();
            drop(queue);
            // A kernel that takes nothing now, for want of memory, is asked again at the next turn.
            if idle || !self.enter(0, None) || self.unsent.is_empty() {
                return;
            }
        }
    }

    fn fill(&mut self) {
        while let Some(&index) = self.unsent.front() {
            let request =
                self.slots[index as usize].as_ref().expect("an unsent slot holds a request");
            let entry = self.entry(request).user_data(u64::from(index));
            // SAFETY: the entry points into memory that the slot's request owns and keeps until it is reaped.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                return;
            }
            self.unsent.pop_front();
        }
    }

    /// The entry for what is left of a request.
    fn entry(&self, request: &Request) -> squeue::Entry {
        let fd = types::Fd(request.file.as_raw_fd());
        let rest = request.len - request.moved;
        let len = u32::try_from(rest.min(MAX_TRANSFER)).expect("below MAX_TRANSFER");
        let offset = request.offset + request.moved as u64;
        match &request.work {
            Work::Read { buffer, .. } => {
                let to = buffer.start().wrapping_add(request.moved);
                match &self.read_buffers {
                    Some((known, index)) if known.contains(&to.addr()) => {
                        opcode::ReadFixed::new(fd, to, len, *index).offset(offset).build()
                    }
                    _ => opcode::Read::new(fd, to, len).offset(offset).build(),
                }
            }
            Work::Write { source, start, durable, .. } => {
                let from = source.start().cast_const().wrapping_add(start + request.moved);
                let flags = if *durable { libc::RWF_DSYNC } else { 0 };
                match self.registered.get(&source.start().addr()) {
                    Some((index, _)) => opcode::WriteFixed::new(fd, from, len, *index)
                        .offset(offset)
                        .rw_flags(flags)
                        .build(),
                    None => {
                        opcode::Write::new(fd, from, len).offset(offset).rw_flags(flags).build()
                    }
                }
            }
            Work::Sync { .. } => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            Work::Discard { .. } => unreachable!("discards go to the pool"),
        }
    }

    /// Keeps a read of the eventfd with the kernel, so that another thread's write to it ends a wait.
    fn arm_wake(&mut self) {
        if self.wake_armed {
            return;
        }
        let entry = opcode::Read::new(types::Fd(self.wake_fd), self.wake_buffer.start(), 8);
        let entry = entry.build().user_data(WAKE);
        // SAFETY: the ring owns the buffer until the read is reaped, in `drop` at the latest.
        self.wake_armed = unsafe { self.ring.submission().push(&entry) }.is_ok();
        if !self.wake_armed {
            self.flush();
            // SAFETY: as above.
            self.wake_armed = unsafe { self.ring.submission().push(&entry) }.is_ok();
        }
    }

    /// Enters the kernel: submits, and waits for `want` completions or the timeout. False if the kernel took
    /// nothing for now.
    ///
    /// # Panics
    ///
    /// On errors that only a mistake in this file can cause: without a working ring there is no way to know
    /// what became of the requests in flight.
    fn enter(&mut self, want: usize, timeout: Option<Duration>) -> bool {
        match self.try_enter(want, timeout) {
            Ok(_) => true,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIME) => true,
                Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => false,
                _ => panic!("io_uring_enter failed: {error}"),
            },
        }
    }

    fn try_enter(&self, want: usize, timeout: Option<Duration>) -> io::Result<usize> {
        match timeout {
            None => self.ring.submitter().submit_and_wait(want),
            Some(timeout) => {
                let time = types::Timespec::from(timeout);
                let arguments = types::SubmitArgs::new().timespec(&time);
                self.ring.submitter().submit_with_args(want, &arguments)
            }
        }
    }

    /// Takes the completion entries that are there; returns how many.
    fn reap(&mut self, finished: &mut Finished) -> usize {
        let mut reaped = 0;
        while let Some(entry) = self.next_completion() {
            reaped += 1;
            if entry.user_data() == WAKE {
                self.wake_armed = false;
                continue;
            }
            let index = u32::try_from(entry.user_data()).expect("user data is a slot's index");
            self.advance(index, result_of(entry.result()), finished);
        }
        while self.in_flight() < MAX_IN_FLIGHT
            && let Some(request) = self.backlog.pop_front()
        {
            self.start(request);
        }
        reaped
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    fn advance(&mut self, index: u32, result: io::Result<usize>, finished: &mut Finished) {
        let slot = &mut self.slots[index as usize];
        let request = slot.as_mut().expect("a completion belongs to a request in flight");
        match request.advance(result) {
            Progress::More => self.unsent.push_back(index),
            Progress::Done(result) => {
                let request = slot.take().expect("it was there a line ago");
                self.free.push(index);
                finished.push((request, result));
            }
        }
    }

    /// Waits until every request is done.
    pub(super) fn drain(&mut self, finished: &mut Finished) {
        self.turn(finished);
        while self.pending() > 0 {
            self.enter(1, None);
            self.turn(finished);
        }
    }
}

impl Drop for Ring {
    /// Memory that the kernel may still write must not be freed: waits for everything, the eventfd's read included.
    fn drop(&mut self) {
        let mut finished = Finished::new();
        self.drain(&mut finished);
        let one = 1_u64;
        while self.wake_armed {
            // SAFETY: writes eight bytes of a local to a descriptor that outlives the ring.
            unsafe { libc::write(self.wake_fd, (&raw const one).cast(), 8) };
            self.enter(1, None);
            self.reap(&mut finished);
        }
        for (request, result) in finished {
            request.finish(result);
        }
    }
}

/// A completion entry's number as the result of the system call it stands for.
fn result_of(number: i32) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::Error::from_raw_os_error(-number))
}

/// A ring with as many of the flags that save interrupts as this kernel knows.
fn set_up(polled: bool) -> io::Result<IoUring> {
    // A thread that waits in its ring goes on sooner when completions are left to it altogether; but then nothing shows at the descriptor. Measured: see 0010.
    let deferred: &[fn(&mut io_uring::Builder)] = &[|builder| {
        builder.setup_defer_taskrun().setup_taskrun_flag().setup_single_issuer();
    }];
    let builds: [fn(&mut io_uring::Builder); 3] = [
        |builder| {
            builder.setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer();
        },
        |builder| {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        },
        |_| (),
    ];
    let deferred = if polled { &[] } else { deferred };
    let mut last = io::Error::from(io::ErrorKind::Unsupported);
    for add_flags in deferred.iter().chain(&builds) {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_clamp();
        add_flags(&mut builder);
        match builder.build(ENTRIES) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
            other => return other,
        }
    }
    Err(last)
}
