//! A write block in RAM: while it is filled, while it is flushed, and afterwards as post-write cache.
//!
//! One stream appends to an image under its lock; anybody may read what lies below `committed`, which never changes
//! until the image is reused, and it is reused only when nobody holds it any more. `synced` says how much of it
//! survives power loss; writers and readers that must not run ahead of it wait here.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::device::{HUGE_PAGE, Region};

/// Bytes of a record that are fetched ahead at most.
const FETCH_BYTES: u32 = 512;

/// The bytes of one write block in RAM, and how far they have come.
#[derive(Debug)]
pub(crate) struct Image {
    region: Arc<Region>,
    life: Life,
}

/// What begins anew with every block that an image holds.
#[derive(Debug, Default)]
struct Life {
    /// Bytes that are complete and will not change.
    committed: AtomicU32,
    /// Bytes that survive power loss.
    synced: AtomicU32,
    /// Bytes that somebody was promised to be durable.
    wanted: AtomicU32,
    failure: OnceLock<Box<str>>,
    waiters: Mutex<Waiters>,
}

/// Who waits until a place is durable.
#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    list: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    end: u32,
    waker: Waker,
}

impl Image {
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Bytes `start..start + len`, if they are committed.
    pub(crate) fn committed(&self, start: u32, len: u32) -> Option<&[u8]> {
        let end = start.checked_add(len)?;
        if end > self.life.committed.load(SeqCst) {
            return None;
        }
        // SAFETY: bytes below `committed` are never written again in this life of the image, and a new life begins only when this
        // image has no other holder, so not while `self` is borrowed through one.
        Some(unsafe { self.region.slice(start as usize, len as usize) })
    }

    /// Hints to the CPU that these bytes will be read soon: the first of them, as it sees by itself where a longer row of reads goes.
    pub(crate) fn prefetch(&self, start: u32, len: u32) {
        self.region.fetch(start as usize, len.min(FETCH_BYTES) as usize);
    }

    /// Makes everything below `end` readable. Only the stream that fills the image calls this, under its lock.
    pub(super) fn commit(&self, end: u32) {
        self.life.committed.store(end, SeqCst);
    }

    pub(super) fn want(&self, end: u32) {
        self.life.wanted.fetch_max(end, SeqCst);
    }

    pub(crate) fn synced(&self) -> u32 {
        self.life.synced.load(SeqCst)
    }

    /// Whether somebody was promised that the bytes below `end` are durable, and they are not yet.
    pub(crate) fn promised(&self, end: u32) -> bool {
        self.synced() < end && end <= self.life.wanted.load(SeqCst)
    }

    /// Says that everything below `end` survives power loss, and returns who waits for it.
    pub(super) fn advance_synced(&self, end: u32) -> Vec<Waker> {
        self.life.synced.store(end, SeqCst);
        let list = &mut self.life.waiters.lock().list;
        list.extract_if(.., |waiter| waiter.end <= end).map(|waiter| waiter.waker).collect()
    }

    /// How many wait for durability.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.life.waiters.lock().list.len()
    }

    /// Says that the device failed, and returns everybody who waits.
    pub(super) fn fail(&self, cause: &str) -> Vec<Waker> {
        let _ = self.life.failure.set(cause.into());
        self.life.waiters.lock().list.drain(..).map(|waiter| waiter.waker).collect()
    }

    /// Completes when everything below `end` survives power loss; with the cause when the device failed.
    pub(crate) fn durable(self: &Arc<Self>, end: u32) -> Durable {
        Durable { image: Arc::clone(self), end, registered: None }
    }
}

/// The future of [`Image::durable`]. Who drops it does not wait any more.
#[derive(Debug)]
pub(crate) struct Durable {
    image: Arc<Image>,
    end: u32,
    /// The number and the waker that stand in the list, so that a second poll does not add it again.
    registered: Option<(u64, Waker)>,
}

impl Drop for Durable {
    fn drop(&mut self) {
        // Whoever made it durable has emptied the list.
        if let Some((number, _)) = &self.registered
            && self.state().is_pending()
        {
            self.image.life.waiters.lock().list.retain(|waiter| waiter.number != *number);
        }
    }
}

impl Durable {
    fn state(&self) -> Poll<Result<(), Box<str>>> {
        if self.image.synced() >= self.end {
            return Poll::Ready(Ok(()));
        }
        match self.image.life.failure.get() {
            Some(cause) => Poll::Ready(Err(cause.clone())),
            None => Poll::Pending,
        }
    }

    /// Puts a waker into the list, in place of the one that stands there for this future. Returns its number.
    fn register(&self, waker: &Waker) -> u64 {
        let waiters = &mut *self.image.life.waiters.lock();
        if let Some((number, _)) = &self.registered {
            waiters.list.retain(|waiter| waiter.number != *number);
        }
        waiters.next += 1;
        let (number, waker) = (waiters.next, waker.clone());
        waiters.list.push(Waiter { number, end: self.end, waker });
        number
    }
}

impl Future for Durable {
    type Output = Result<(), Box<str>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(ready) = self.state() {
            return Poll::Ready(ready);
        }
        if !self.registered.as_ref().is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            let number = self.register(cx.waker());
            self.registered = Some((number, cx.waker().clone()));
        }
        // The state may have changed before the waker stood in the list; whoever changes it empties the list after.
        self.state()
    }
}

/// The images of a namespace: a bounded number, made when first needed, as many at once as fill a huge page, then used again and again.
#[derive(Debug)]
pub(crate) struct ImagePool {
    block_size: usize,
    most: usize,
    state: Mutex<PoolState>,
}

#[derive(Debug, Default)]
struct PoolState {
    /// The memory of every image.
    regions: Vec<Arc<Region>>,
    /// Given back, though readers may still hold them.
    retired: Vec<Arc<Image>>,
    /// How many of the last regions no image was made of yet.
    spare: usize,
}

impl ImagePool {
    pub(crate) fn new(block_size: u64, most: usize) -> Self {
        Self { block_size: block_size as usize, most, state: Mutex::default() }
    }

    /// An image that nobody holds, at the beginning of a new life; `None` when all are in use. With `beyond` one more is made then.
    pub(crate) fn take(&self, beyond: bool) -> Option<Arc<Image>> {
        let mut state = self.state.lock();
        let free = state.retired.iter_mut().position(|image| Arc::get_mut(image).is_some());
        if let Some(at) = free {
            let mut image = state.retired.swap_remove(at);
            Arc::get_mut(&mut image).expect("nobody holds it").life = Life::default();
            return Some(image);
        }
        if state.spare == 0 {
            let allowed = self.most.saturating_sub(state.regions.len());
            if allowed == 0 && !beyond {
                return None;
            }
            // Less than a huge page of them is not worth one.
            let row = (HUGE_PAGE / self.block_size).max(1);
            let row = if row <= allowed { row } else { 1 };
            state.regions.extend(Region::row(self.block_size, row));
            state.spare = row;
        }
        let region = Arc::clone(&state.regions[state.regions.len() - state.spare]);
        state.spare -= 1;
        Some(Arc::new(Image { region, life: Life::default() }))
    }

    /// Gives an image back; it is reused when its last reader is gone.
    pub(crate) fn give_back(&self, image: Arc<Image>) {
        self.state.lock().retired.push(image);
    }

    /// How many images there is memory for.
    pub(crate) fn made(&self) -> usize {
        self.state.lock().regions.len()
    }

    /// Their memory, without that of the first `skip`.
    pub(crate) fn regions_after(&self, skip: usize) -> Vec<Arc<Region>> {
        self.state.lock().regions[skip..].to_vec()
    }

    /// Bytes of all images.
    pub(crate) fn bytes(&self) -> u64 {
        (self.made() * self.block_size) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readers that give up at their deadlines, one after the other, while a device does not answer: each would leave something behind.
    #[test]
    fn who_gives_up_leaves_nothing() {
        let image = ImagePool::new(16 << 10, 1).take(false).expect("the first one");
        let mut context = Context::from_waker(Waker::noop());
        let mut stays = image.durable(100);
        assert!(Pin::new(&mut stays).poll(&mut context).is_pending());
        for _ in 0..100 {
            assert!(Pin::new(&mut image.durable(200)).poll(&mut context).is_pending());
        }
        assert_eq!(image.waiting(), 1);
        assert_eq!(image.advance_synced(100).len(), 1);
        assert!(Pin::new(&mut stays).poll(&mut context).is_ready());
    }

    /// Images have memory of their own, also those made in one huge page, and are no more than was said: two that shared a place would mix the
    /// records of two blocks.
    #[test]
    fn images_are_apart_and_bounded() {
        const MOST: usize = 200;
        let pool = ImagePool::new(16 << 10, MOST);
        let mut images: Vec<_> = std::iter::from_fn(|| pool.take(false)).collect();
        assert_eq!(images.len(), MOST);
        images.push(pool.take(true).expect("one beyond"));
        for (image, at) in images.iter().zip(0_u64..) {
            // SAFETY: nobody else knows these images.
            unsafe { image.region().write(16 * 1023, &at.to_le_bytes()) };
        }
        for (image, at) in images.iter().zip(0_u64..) {
            // SAFETY: as above.
            assert_eq!(unsafe { image.region().slice(16 * 1023, 8) }, at.to_le_bytes());
        }
        assert_eq!(pool.regions_after(0).len(), pool.made());
        assert_eq!(pool.made(), MOST + 1);
        pool.give_back(images.pop().expect("there are some"));
        assert!(pool.take(false).is_some() && pool.take(false).is_none());
    }
}
