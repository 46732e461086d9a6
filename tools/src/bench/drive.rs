//! The two loops that work on a store: closed, a fixed number of operations in flight, each followed by the next as soon as it is done;
//! and open, operations that start at fixed instants, however the ones before them fare.
//!
//! Both run on one thread and share its [`Thread`] through a `RefCell` that is never borrowed across an await.

use std::{cell::RefCell, future::Future, pin::pin, time::Instant};

use futures::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};

use super::{
    keys::Space,
    lanes::Lanes,
    store::Store,
    thread::{Report, Started, Thread},
    work::perform,
};

/// Waits for an instant, as exactly as the thread's executor can.
pub trait Timer {
    /// Ready at that instant or a little later.
    fn until(&self, at: Instant) -> impl Future<Output = ()>;
}

/// Runs a thread's operations on a store, to the end of the run.
pub async fn run<S: Store>(
    store: &S,
    space: &Space,
    thread: Thread<'_>,
    timer: &impl Timer,
) -> Report {
    timer.until(thread.clock.start).await;
    let (depth, open) = (thread.job.depth() as usize, thread.pace.is_some());
    let thread = RefCell::new(thread);
    if open {
        open_loop(store, space, &thread, depth, timer).await;
    } else {
        Lanes::new((0..depth).map(|_| lane(store, space, &thread))).await;
    }
    thread.into_inner().report()
}

/// Operations of a lane before the others have their turn, though it need not wait: a put into a buffer ends at once, and others who were woken would be
/// kept waiting by it, in the figures too.
const OPERATIONS_IN_A_ROW: u32 = 16;

/// One of the operations in flight of a closed loop, and those that follow it.
async fn lane<S: Store>(store: &S, space: &Space, thread: &RefCell<Thread<'_>>) {
    loop {
        let mut start = Instant::now();
        for _ in 0..OPERATIONS_IN_A_ROW {
            // One look at the clock for each operation: the end of one is the start of the next.
            let Some(started) = thread.borrow_mut().start(start) else { return };
            start = one(store, space, thread, &started).await;
        }
        tokio::task::yield_now().await;
    }
}

/// Does an operation and gives the instant of its end.
async fn one<S: Store>(
    store: &S,
    space: &Space,
    thread: &RefCell<Thread<'_>>,
    started: &Started,
) -> Instant {
    let job = thread.borrow().job;
    let done = perform(store, job, space, &started.task).await;
    let now = Instant::now();
    thread.borrow_mut().finish(started, now, done);
    now
}

async fn open_loop<S: Store>(
    store: &S,
    space: &Space,
    thread: &RefCell<Thread<'_>>,
    depth: usize,
    timer: &impl Timer,
) {
    let mut flying = FuturesUnordered::new();
    // Whether the bound was met since the last start: then the next one is late for want of room.
    let mut bound_met = false;
    loop {
        let Some(due) = thread.borrow().pace.as_ref().map(|pace| pace.due()) else { break };
        let now = Instant::now();
        if flying.len() >= depth {
            flying.next().await;
            bound_met = due <= Instant::now();
        } else if due <= now {
            let Some(started) = thread.borrow_mut().start_due(now, bound_met) else { break };
            bound_met = false;
            flying.push(async move { one(store, space, thread, &started).await });
        } else if flying.is_empty() {
            timer.until(due).await;
        } else {
            let wait = pin!(timer.until(due));
            if let Either::Left(_) = select(flying.next(), wait).await {}
        }
    }
    while flying.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cairn_engine::device::reactor::block_on;

    use super::*;
    use crate::bench::{
        job::{self, Job, Op},
        load,
        store::{How, NewBin, Scanned, Shown, Wrote, memory::Memory},
        tally::Tally,
        thread::{Clock, Mailbox},
        work::Source,
    };

    /// Sleeps the whole thread: there is nothing else on it.
    struct Sleep;

    impl Timer for Sleep {
        async fn until(&self, at: Instant) {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
        }
    }

    fn run_on(store: &impl Store, job: &Job) -> Tally {
        let space = Space::new(job.records);
        let mut total = Tally::default();
        for number in 0..job.threads {
            let mailbox = Mailbox::default();
            let source = Source::new(job, &space, number);
            let clock = Clock::new(job, Instant::now());
            let thread = Thread::new(job, number, source, clock, &mailbox);
            let report = block_on(run(store, &space, thread, &Sleep));
            mailbox.collect(|tally| total.merge(tally));
            total.merge(&report.tally);
        }
        total
    }

    /// Exactly the operations asked for are done and counted, and every value read is checked.
    #[test]
    fn operations_are_counted_and_checked() {
        let (job, store) = (job::sample(), Memory::default());
        let missed = run_on(&store, &job);
        assert_eq!(missed.ops(), 1000);
        assert!(missed.misses > 0);

        block_on(load::part(&store, &job, 0, 1, &|_| ())).unwrap();
        let job = Job { rw: job::Rw::Read, ..job };
        let mut total = run_on(&store, &job);
        assert_eq!((total.misses, total.mismatches), (0, 0));
        assert_eq!(total.side(Op::Read).bytes, 1000 * 100);

        store.spoil();
        assert_eq!(run_on(&store, &job).mismatches, 1000);
    }

    /// A store whose every read takes its time.
    struct Slow(Duration);

    impl Store for Slow {
        async fn read<R>(
            &self,
            _: u64,
            look: impl FnOnce(Option<Shown<'_>>) -> R,
        ) -> Result<R, String> {
            std::thread::sleep(self.0);
            Ok(look(None))
        }

        async fn write(&self, _: u64, _: Vec<NewBin>, _: How) -> Result<Wrote, String> {
            Err("only read".into())
        }

        async fn delete(&self, _: u64) -> Result<(), String> {
            Err("only read".into())
        }

        async fn scan(&self, _: u16, _: usize) -> Result<Scanned, String> {
            Err("only read".into())
        }
    }

    /// A store that is slower than the rate shows it in its latencies: each counts from its intended start, not from the late one.
    #[test]
    fn an_open_loop_omits_nothing() {
        let job = Job {
            rate: Some(1000.0),
            ops: Some(40),
            rw: job::Rw::Read,
            threads: 1,
            verify: false,
            ..job::sample()
        };
        let total = run_on(&Slow(Duration::from_millis(5)), &job);
        // The n-th ends at 5 n ms or later and was due at n ms.
        let all = total.all();
        assert_eq!(all.latency.len(), 40);
        let last = Duration::from_nanos(all.latency.max());
        assert!(last >= Duration::from_millis(150), "{last:?}");
        let closed =
            run_on(&Slow(Duration::from_millis(5)), &Job { rate: None, depths: vec![1], ..job });
        let shortest = closed.all().latency.min();
        assert!(shortest >= 4_900_000, "{shortest}");
    }
}
