//! The body of a call as it comes in, within the bytes that a worker may hold of messages that are not complete.
//!
//! A message is held in memory until all of it is there, so clients that send the greater part of a large message and then
//! nothing could fill a node. What all of them together hold is bounded for each worker; who would go beyond is refused and may
//! try again, and so is a message of which nothing more comes in time. Messages that come in one piece are not held at all.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::status::status;
use crate::{codes::Problem, limits::Limits, metrics::WorkerMetrics, operations::Operations};

/// Bytes in front of each message: whether it is compressed, and its length.
pub const PREFIX: usize = 5;

/// The body of a call as it comes in.
pub struct Receiving<B = Incoming> {
    body: B,
    held: Held,
    /// Runs while a message is held; kept for the next one.
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
    time: Duration,
}

impl Receiving {
    /// Around the body of a call to this worker.
    pub fn new(body: Incoming, operations: &Operations) -> Self {
        Self::of(body, &operations.state.limits, Arc::clone(&operations.metrics))
    }
}

impl<B> Receiving<B> {
    fn of(body: B, limits: &Limits, metrics: Arc<WorkerMetrics>) -> Self {
        let held =
            Held { max: limits.worker_receiving, metrics, bytes: 0, frame: Progress::default() };
        Self { body, held, timer: None, armed: false, time: limits.request_timeout }
    }

    /// Whether nothing more of the message under way came for too long; then a status that says so.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.held.bytes == 0 {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.time)));
        if !self.armed {
            timer.as_mut().reset(tokio::time::Instant::now() + self.time);
            self.armed = true;
        }
        timer.as_mut().poll(context).map(|()| status(&Problem::Deadline { in_doubt: false }))
    }
}

impl<B> Body for Receiving<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => {
                return Poll::Ready(Some(Err(Status::from_error(error.into()))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return this.poll_late(context).map(|late| Some(Err(late))),
        };
        this.armed = false;
        if let Some(data) = frame.data_ref()
            && !this.held.take(data)
        {
            return Poll::Ready(Some(Err(status(&Problem::Busy))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of a message that is not complete, counted for its worker until they are dropped.
struct Held {
    metrics: Arc<WorkerMetrics>,
    /// Bytes that all calls of the worker may hold.
    max: usize,
    bytes: usize,
    frame: Progress,
}

impl Held {
    /// Counts what came. Whether it may be held: what is alone always may.
    fn take(&mut self, data: &[u8]) -> bool {
        let bytes = self.frame.advance(data);
        let others = self.metrics.receiving.load(Relaxed) - self.bytes;
        if bytes > self.bytes && others > 0 && others + bytes > self.max {
            return false;
        }
        self.set(bytes);
        true
    }

    fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.metrics.receiving.fetch_add(bytes, Relaxed);
            self.metrics.receiving.fetch_sub(self.bytes, Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Where in its messages a body is.
#[derive(Debug, Default)]
struct Progress {
    prefix: [u8; PREFIX],
    /// Bytes of the message under way that are there, its prefix included.
    there: usize,
}

impl Progress {
    /// Goes on behind `data`, and tells how many bytes there are of the message under way.
    fn advance(&mut self, mut data: &[u8]) -> usize {
        while !data.is_empty() {
            if self.there < PREFIX {
                let taken = data.len().min(PREFIX - self.there);
                self.prefix[self.there..self.there + taken].copy_from_slice(&data[..taken]);
                self.there += taken;
                data = &data[taken..];
            }
            if self.there >= PREFIX {
                let taken = data.len().min(PREFIX + length(&self.prefix) - self.there);
                self.there += taken;
                data = &data[taken..];
                if self.there == PREFIX + length(&self.prefix) {
                    self.there = 0;
                }
            }
        }
        self.there
    }
}

/// The length of the message behind this prefix.
pub fn length(prefix: &[u8; PREFIX]) -> usize {
    u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, future::poll_fn};

    use super::*;

    /// A body in pieces, which then says nothing more.
    struct Pieces(VecDeque<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            }
        }
    }

    fn body(pieces: &[&[u8]], limits: &Limits, metrics: &Arc<WorkerMetrics>) -> Receiving<Pieces> {
        let pieces = pieces.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
        Receiving::of(Pieces(pieces), limits, Arc::clone(metrics))
    }

    async fn next(body: &mut Receiving<Pieces>) -> Result<usize, Status> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.expect("it never ends").map(|frame| frame.data_ref().map_or(0, Bytes::len))
    }

    /// However messages are cut in pieces, what is held is what is there of the last one.
    #[test]
    fn progress_follows_every_cut() {
        let messages = [&[0, 0, 0, 0, 2, 7, 7][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0]].concat();
        let all = [messages, vec![9; 300]].concat();
        // Of the last message 44 bytes belong to the next one, which is too short to be one.
        for cut in 0..all.len() {
            let mut progress = Progress::default();
            progress.advance(&all[..cut]);
            let bytes = match cut {
                0..7 => cut,
                7..12 => cut - 7,
                12..273 => cut - 12,
                _ => cut - 273,
            };
            assert_eq!(progress.there, bytes, "{cut}");
        }
    }

    /// Clients that each send a part of a message and stop cannot fill memory: beyond the bound the next one is refused, in a way
    /// that is safe to retry; one alone may be as large as any; and what is dropped is free again.
    #[tokio::test]
    async fn what_is_held_is_bounded() {
        let metrics = Arc::default();
        let limits = Limits { worker_receiving: 100, ..Limits::default() };
        let part = [&[0, 0, 0, 1, 0][..], &[1; 85]].concat();
        let mut first = body(&[&part], &limits, &metrics);
        let mut second = body(&[&part[..10], &part[10..20]], &limits, &metrics);
        assert_eq!(next(&mut first).await.unwrap(), 90);
        assert_eq!(next(&mut second).await.unwrap(), 10);
        let refused = next(&mut second).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        assert_eq!(metrics.receiving.load(Relaxed), 100);
        drop((first, second));
        assert_eq!(metrics.receiving.load(Relaxed), 0);
        let mut alone = body(&[&part, &part], &limits, &metrics);
        assert_eq!(next(&mut alone).await.unwrap(), 90);
        assert_eq!(next(&mut alone).await.unwrap(), 90);
    }

    /// A message whose end does not come is given up, and one that is complete may be followed by any silence.
    #[tokio::test]
    async fn a_message_comes_to_its_end_in_time() {
        let metrics = Arc::default();
        let time = Duration::from_millis(30);
        let limits = Limits { request_timeout: time, ..Limits::default() };
        let mut half = body(&[&[0, 0, 0, 0, 9, 1]], &limits, &metrics);
        next(&mut half).await.unwrap();
        let started = std::time::Instant::now();
        let late = next(&mut half).await.unwrap_err();
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        assert!(started.elapsed() >= time);
        let mut whole = body(&[&[0, 0, 0, 0, 1, 1]], &limits, &metrics);
        next(&mut whole).await.unwrap();
        assert!(tokio::time::timeout(3 * time, next(&mut whole)).await.is_err());
    }
}
