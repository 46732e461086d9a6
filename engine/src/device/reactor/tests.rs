//! Tests of waiting: no wake-up is lost, whoever wakes and however the thread sleeps.

use std::{
    sync::{
        atomic::AtomicU64,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use super::*;
use crate::device::{Completer, Completion, IoChoice, IoEngine};

/// The kinds of reactor this machine can have, and none at all.
fn kinds() -> Vec<Option<IoKind>> {
    let mut kinds = vec![None, Some(IoKind::Pool)];
    if IoEngine::choose(IoChoice::Uring).is_ok() {
        kinds.push(Some(IoKind::Uring));
    } else {
        eprintln!("skipped: io_uring does not work here");
    }
    kinds
}

/// Runs `test` on a thread of its own for each kind of reactor.
fn with_each_kind(test: fn()) {
    for install in [Reactor::install, Reactor::install_polled] {
        for kind in kinds() {
            let run = move || {
                let guard = kind.map(|kind| install(kind).expect("a fresh thread takes a reactor"));
                test();
                drop(guard);
            };
            thread::spawn(run).join().expect("the test passes");
        }
    }
}

/// A thread that answers completions as they come, at once.
fn answerer() -> (Sender<Completer<u64>>, thread::JoinHandle<()>) {
    let (sender, receiver): (_, Receiver<Completer<u64>>) = channel();
    let answer = move || {
        receiver.iter().zip(0..).for_each(|(completer, number)| completer.complete(Ok(number)))
    };
    (sender, thread::spawn(answer))
}

/// Shows that no cross-thread completion is lost in 100 000 races between falling asleep and being woken. A
/// lost one hangs this test, as it would hang a client's request for ever.
#[test]
fn block_on_loses_no_wake_up() {
    with_each_kind(|| {
        let (sender, other) = answerer();
        for number in 0..100_000_u64 {
            let (completer, completion) = Completion::pair();
            sender.send(completer).expect("the other thread lives");
            assert_eq!(block_on(completion).expect("no error"), number);
        }
        drop(sender);
        other.join().expect("the thread ends");
    });
}

/// Shows the same for a thread that parks by itself, with a flag and the thread's waker, as a flusher does.
#[test]
fn park_loses_no_wake_up() {
    with_each_kind(|| {
        let (count, waker) = (Arc::new(AtomicU64::new(0)), waker());
        let seen = Arc::clone(&count);
        let (sender, receiver) = channel();
        let other = thread::spawn(move || {
            for number in receiver {
                seen.store(number, Ordering::Release);
                waker.wake_by_ref();
            }
        });
        for number in 1..=50_000 {
            sender.send(number).expect("the other thread lives");
            while count.load(Ordering::Acquire) != number {
                park(None);
            }
        }
        drop(sender);
        other.join().expect("the thread ends");
    });
}

/// Shows that a deadline ends a wait that nothing else ends; a flush timer depends on it.
#[test]
fn a_deadline_ends_a_park() {
    with_each_kind(|| {
        let deadline = Instant::now() + Duration::from_millis(5);
        while Instant::now() < deadline {
            park(Some(deadline));
        }
        // One that is over already does not wait at all.
        park(Some(deadline));
    });
}

/// Shows that a wake-up before the wait counts: the wait does not begin.
#[test]
fn an_early_wake_up_is_kept() {
    with_each_kind(|| {
        waker().wake();
        park(None);
    });
}

/// Shows that a wait inside another one does not use up the outer one's wake-up; otherwise a task that blocks
/// briefly would make its executor hang.
#[test]
fn block_on_works_inside_itself() {
    with_each_kind(|| {
        let mut polls = 0;
        let outer = std::future::poll_fn(|context| {
            polls += 1;
            if polls == 3 {
                return Poll::Ready(polls);
            }
            context.waker().wake_by_ref();
            let (completer, completion) = Completion::pair();
            let other = thread::spawn(move || completer.complete(Ok(())));
            block_on(completion).expect("no error");
            other.join().expect("the thread ends");
            Poll::Pending
        });
        assert_eq!(block_on(outer), 3);
    });
}

/// Shows that a wake-up for the thread that comes while it blocks on a future is there for the next park: a
/// flusher that writes its header in between would else sleep over a full buffer.
#[test]
fn block_on_keeps_the_threads_wake_up() {
    with_each_kind(|| {
        for _ in 0..2000 {
            let (completer, completion) = Completion::pair();
            let waker = waker();
            let other = thread::spawn(move || {
                waker.wake();
                completer.complete(Ok(()));
            });
            block_on(completion).expect("no error");
            park(None);
            other.join().expect("the thread ends");
        }
    });
}

/// Shows that a thread has one reactor at a time and may have another afterwards; two rings would lose each
/// other's requests.
#[test]
fn a_thread_has_one_reactor() {
    for kind in kinds().into_iter().flatten() {
        let guard = Reactor::install(kind).expect("the thread has none");
        assert_eq!(installed(), Some(kind));
        assert_eq!(ring_fd(), None);
        let error = Reactor::install(kind).expect_err("the thread has one");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        drop(guard);
        assert_eq!(installed(), None);
        let guard = Reactor::install_polled(kind).expect("the first one is gone");
        assert_eq!(ring_fd().is_some(), kind == IoKind::Uring);
        drop(guard);
        assert_eq!(ring_fd(), None);
    }
}

/// Shows that a waker outlives its thread and its ring without harm: a late answer may come at any time.
#[test]
fn a_waker_outlives_its_thread() {
    for kind in kinds().into_iter().flatten() {
        let make = move || {
            let guard = Reactor::install(kind).expect("a fresh thread takes a reactor");
            park(Some(Instant::now()));
            drop(guard);
            waker()
        };
        thread::spawn(make).join().expect("the thread ends").wake();
    }
}

/// Shows that a waker may call back into the reactor, as a runtime's waker may; a held borrow would panic in
/// production only.
#[test]
fn wakers_may_use_the_reactor() {
    struct Turns;
    impl Wake for Turns {
        fn wake(self: Arc<Self>) {
            turn();
        }
    }
    with_each_kind(|| {
        let file = std::fs::File::open("/dev/zero").expect("every machine has /dev/zero");
        let file = crate::device::open_file::OpenFile::new(Arc::new(file));
        let (done, mut completion) = Completion::pair();
        let buffer = crate::device::AlignedBuf::new(4096);
        let work = crate::device::request::Work::Read { buffer, done };
        let waker = Waker::from(Arc::new(Turns));
        let pending = std::pin::Pin::new(&mut completion).poll(&mut Context::from_waker(&waker));
        assert!(pending.is_pending());
        let request = Request { file, sector: 512, offset: 0, len: 4096, moved: 0, work };
        if let Err(request) = submit(request) {
            crate::device::pool::submit(request);
        }
        let buffer = loop {
            match completion.try_take() {
                Some(result) => break result.expect("zeros can be read"),
                None => park(None),
            }
        };
        assert_eq!(buffer[..], [0; 4096]);
    });
}
