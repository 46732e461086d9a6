//! Futures of one kind in flight together, each polled only when it was woken.
//!
//! Owns: a place for each future; the place's waker, made once and used by all that come to stand there; a bit for each place that says whether it was
//! woken. A general set of futures makes a task for each, and whoever polled one before it entered the set polls it a second time there, only to give it
//! a waker.
//!
//! There are as many places as futures were ever here at once; who starts them sets the bound. Concurrency: one thread polls; wake-ups come from any.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// Futures, each in its place.
pub struct Places<F> {
    places: Vec<Place<F>>,
    /// Places without a future.
    free: Vec<usize>,
    groups: Vec<Arc<Group>>,
    parent: Arc<AtomicWaker>,
    /// The group that is looked at.
    at: usize,
    /// Its places that were woken and not polled since.
    woken: u64,
}

struct Place<F> {
    future: Option<F>,
    waker: Waker,
}

/// Which of 64 places were woken.
struct Group {
    woken: AtomicU64,
    parent: Arc<AtomicWaker>,
}

struct PlaceWaker {
    group: Arc<Group>,
    bit: u64,
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Who finds other bits there need not wake the parent: whoever set the first one has, and it has not looked since.
        if self.group.woken.fetch_or(self.bit, AcqRel) == 0 {
            self.group.parent.wake();
        }
    }
}

impl<F: Future + Unpin> Places<F> {
    /// None yet.
    pub fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            groups: Vec::new(),
            parent: Arc::default(),
            at: 0,
            woken: 0,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that are here.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut F> {
        self.places.iter_mut().filter_map(|place| place.future.as_mut())
    }

    /// Polls a future for the first time. It stays here if it is not done; then [`Self::poll_next`] must be called before anything is waited for.
    pub fn start(&mut self, mut future: F) -> Option<F::Output> {
        if self.free.is_empty() {
            self.add();
        }
        let number = *self.free.last()?;
        let place = &mut self.places[number];
        match Pin::new(&mut future).poll(&mut Context::from_waker(&place.waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => {
                self.free.pop();
                place.future = Some(future);
                None
            }
        }
    }

    /// Makes a place.
    fn add(&mut self) {
        let number = self.places.len();
        if number.is_multiple_of(64) {
            let group = Group { woken: AtomicU64::new(0), parent: Arc::clone(&self.parent) };
            self.groups.push(Arc::new(group));
        }
        let group = Arc::clone(&self.groups[number / 64]);
        let waker = Arc::new(PlaceWaker { group, bit: 1 << (number % 64) }).into();
        self.places.push(Place { future: None, waker });
        self.free.push(number);
    }

    /// Polls those that were woken until one is done, and gives what came of it; `None` when nothing is here. Each is polled twice at most before this
    /// returns, however often it wakes itself.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        let mut registered = false;
        loop {
            if let Some(output) = self.poll_groups() {
                return Poll::Ready(Some(output));
            }
            if registered {
                return Poll::Pending;
            }
            // Only when nothing is left to do. Then comes another look: who was woken before this woke nobody else, who is woken after that look does.
            self.parent.register(context.waker());
            registered = true;
        }
    }

    /// Looks at the rest of the present group, and at each group once.
    fn poll_groups(&mut self) -> Option<F::Output> {
        for _ in 0..self.groups.len() {
            if let Some(output) = self.poll_group() {
                return Some(output);
            }
            self.at = (self.at + 1) % self.groups.len();
            let woken = &self.groups[self.at].woken;
            // Most looks find nothing, and need not write.
            if woken.load(Acquire) != 0 {
                self.woken = woken.swap(0, AcqRel);
            }
        }
        self.poll_group()
    }

    fn poll_group(&mut self) -> Option<F::Output> {
        while self.woken != 0 {
            let number = self.at * 64 + self.woken.trailing_zeros() as usize;
            self.woken &= self.woken - 1;
            let place = &mut self.places[number];
            // A future that is gone may be woken late.
            let Some(future) = &mut place.future else { continue };
            let mut context = Context::from_waker(&place.waker);
            if let Poll::Ready(output) = Pin::new(future).poll(&mut context) {
                place.future = None;
                self.free.push(number);
                return Some(output);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        thread,
    };

    use super::*;

    type Boxed = Pin<Box<dyn Future<Output = usize>>>;

    /// Done after so many polls; each one before that is woken from another thread, or by the future itself.
    fn slow(number: usize, polls: usize) -> Boxed {
        let mut left = polls;
        Box::pin(poll_fn(move |context| {
            if left == 0 {
                return Poll::Ready(number);
            }
            left -= 1;
            let waker = context.waker().clone();
            match number % 2 {
                0 => waker.wake(),
                _ => drop(thread::spawn(move || waker.wake())),
            }
            Poll::Pending
        }))
    }

    async fn next(places: &mut Places<Boxed>) -> Option<usize> {
        poll_fn(|context| places.poll_next(context)).await
    }

    /// Every future comes to its end, once, also those that others take the places of: a lost wake-up would leave a client waiting for ever.
    #[tokio::test]
    async fn all_come_to_their_end() {
        for count in [1, 64, 65, 200] {
            let mut places = Places::new();
            let mut done = BTreeSet::new();
            for number in 0..3 * count {
                if let Some(output) = places.start(slow(number, number % 4)) {
                    assert!(number % 4 == 0 && done.insert(output));
                }
                while places.len() >= count {
                    assert!(next(&mut places).await.is_some_and(|output| done.insert(output)));
                }
            }
            while let Some(output) = next(&mut places).await {
                assert!(done.insert(output));
            }
            assert_eq!(done.len(), 3 * count);
            assert!(places.is_empty() && places.iter_mut().next().is_none());
            assert!(places.places.len() <= count);
        }
    }

    /// One that wakes itself for ever lets the thread go, with another turn asked for: or one client's request would stop a worker.
    #[test]
    fn who_wakes_itself_does_not_keep_the_thread() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut places: Places<Boxed> = Places::new();
        assert!(places.start(slow(0, usize::MAX)).is_none());
        for turn in 1..4 {
            assert!(places.poll_next(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(count.0.load(Relaxed), turn);
        }
    }

    /// A late wake-up of one that is done does no harm to the one that has its place now.
    #[tokio::test]
    async fn late_wake_ups_do_no_harm() {
        let kept = Arc::new(AtomicWaker::new());
        let keep = Arc::clone(&kept);
        let mut places: Places<Boxed> = Places::new();
        let first = places.start(Box::pin(poll_fn(move |context| {
            keep.register(context.waker());
            Poll::Ready(1)
        })));
        assert_eq!(first, Some(1));
        assert!(places.start(slow(3, 1)).is_none());
        kept.wake();
        assert_eq!(next(&mut places).await, Some(3));
        kept.wake();
        assert_eq!(next(&mut places).await, None);
    }
}
