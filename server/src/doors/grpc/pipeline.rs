//! Pipeline: many operations a message in both directions, answered in the order they become ready.
//!
//! One driver task per stream reads messages, starts their items, collects what is done and sends it in batches. It always
//! polls what is in flight, whether or not the client reads: a suspended operation may hold what others wait for. Back-pressure
//! is in what it reads: nothing new is read while too much is in flight, or too many bytes of answers are not taken.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cairn_engine::device::reactor;
use futures::{Stream, channel::mpsc};
use tonic::Status;

use super::{
    answer::Outcome,
    call::{self, Item, Opened},
    framing::Messages,
    in_flight::InFlight,
    ready::Ready,
    status::status,
    wire::Entries,
};
use crate::{
    codes::Problem,
    limits::{
        ANSWER_BYTES_HELD, ANSWERS_HELD, IN_FLIGHT_MIN, READ_BYTES_IN_FLIGHT, STARTS_PER_TURN,
    },
    operations::Operations,
};

/// Serves a pipeline.
pub fn pipeline(
    operations: Arc<Operations>,
    requests: Messages,
) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    let (answers, stream) = mpsc::channel(1);
    tokio::spawn(Driver::new(operations, requests).run(answers));
    stream
}

type Answers = mpsc::Sender<Result<Bytes, Status>>;

struct Driver {
    operations: Arc<Operations>,
    requests: Messages,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Nothing more is read: with the status that ends the stream, if it is not a good end.
    ended: Option<Result<(), Status>>,
    /// Items read and not started, and when they came. They are opened one by one: until then they take no more than their bytes.
    waiting: Option<Entries<Bytes>>,
    arrived: Instant,
    /// The first of them, opened to see how much it may be answered with.
    next: Option<Next>,
    in_flight: InFlight,
    ready: Ready,
    /// Bytes of an answer, as a moving average over about 16.
    answer_bytes: usize,
}

/// An item that is opened and not started.
struct Next {
    id: u64,
    deadline: Instant,
    call: Opened,
}

impl Driver {
    fn new(operations: Arc<Operations>, requests: Messages) -> Self {
        Self {
            stopped: Box::pin(operations.state.stopped()),
            in_flight: InFlight::new(operations.clone()),
            operations,
            requests,
            ended: None,
            waiting: None,
            arrived: Instant::now(),
            next: None,
            ready: Ready::default(),
            answer_bytes: 0,
        }
    }

    async fn run(mut self, mut answers: Answers) {
        poll_fn(|context| self.poll(context, &mut answers)).await;
        if let Some(Err(status)) = self.ended {
            // An error says that the client is gone.
            let _ = poll_fn(|context| answers.poll_ready(context)).await;
            let _ = answers.start_send(Err(status));
        }
    }

    /// Goes on until nothing can be done now. Ready when the stream is over: ended and answered, or the client gone.
    fn poll(&mut self, context: &mut Context<'_>, answers: &mut Answers) -> Poll<()> {
        if self.ended.is_none() && self.stopped.as_mut().poll(context).is_ready() {
            self.end(Err(status(&Problem::Stopping)));
        }
        let mut starts = STARTS_PER_TURN;
        loop {
            let mut progress = self.poll_read(context);
            progress |= self.start(&mut starts);
            progress |= self.poll_done(context);
            match self.poll_send(context, answers) {
                Err(_gone) => return Poll::Ready(()),
                Ok(_) if self.finished() => return Poll::Ready(()),
                Ok(sent) => progress |= sent,
            }
            if starts == 0 {
                // Others on this worker want their turn.
                context.waker().wake_by_ref();
                break;
            }
            if !progress {
                break;
            }
        }
        if !self.in_flight.is_empty() {
            // A busy worker seldom parks, and what was queued should be on its way to the device by now.
            reactor::turn();
        }
        Poll::Pending
    }

    fn finished(&self) -> bool {
        self.ended.is_some()
            && self.next.is_none()
            && self.waiting.is_none()
            && self.in_flight.is_empty()
            && self.ready.is_empty()
    }

    fn end(&mut self, how: Result<(), Status>) {
        self.ended.get_or_insert(how);
    }

    fn may_start(&self) -> bool {
        self.ready.bytes < ANSWER_BYTES_HELD
            && self.ready.answers < ANSWERS_HELD
            && self.in_flight.has_room(self.at_once())
    }

    /// How many may be in flight: fewer when answers are large, since each waits in memory.
    fn at_once(&self) -> usize {
        let by_bytes = READ_BYTES_IN_FLIGHT / self.answer_bytes.max(1);
        self.operations.state.limits.stream_in_flight.min(by_bytes.max(IN_FLIGHT_MIN))
    }

    /// Opens the first of those waiting, if it is not. Whether there is one, and room for all that it may be answered with.
    fn first_fits(&mut self) -> bool {
        if self.next.is_none() {
            self.next = self.open();
        }
        match &self.next {
            Some(Next { call: Ok((_, Ok(call))), .. }) => {
                self.in_flight.has_bytes(call.reservation().bytes, READ_BYTES_IN_FLIGHT)
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Opens the first of those waiting. An item that does not parse ends the stream.
    fn open(&mut self) -> Option<Next> {
        let Some(entry) = self.waiting.as_mut()?.next() else {
            self.waiting = None;
            return None;
        };
        let item = match Item::read(entry) {
            Ok(item) => item,
            Err(odd) => {
                self.waiting = None;
                self.ended = Some(Err(status(&odd.into())));
                return None;
            }
        };
        let state = &self.operations.state;
        let time = match item.deadline_ms {
            0 => state.limits.request_timeout,
            ms => Duration::from_millis(ms.into()),
        };
        let call = call::open(item.request, state);
        Some(Next { id: item.id, deadline: self.arrived + time, call })
    }

    /// Reads a message when all items of the last one are started. Whether it did.
    fn poll_read(&mut self, context: &mut Context<'_>) -> bool {
        let waits = self.waiting.is_some() || self.next.is_some();
        if self.ended.is_some() || waits || !self.may_start() {
            return false;
        }
        let Poll::Ready(message) = self.requests.poll_next(context) else { return false };
        match message {
            Some(Ok(message)) => {
                self.arrived = Instant::now();
                match Entries::new(message, self.operations.state.limits.pipeline_items) {
                    Ok(items) => self.waiting = Some(items),
                    Err(problem) => self.end(Err(status(&problem))),
                }
            }
            Some(Err(error)) => self.end(Err(error)),
            None => self.end(Ok(())),
        }
        true
    }

    /// Starts what waits, as far as there is room and `starts` allows. Whether it started any, or saw that none is left.
    fn start(&mut self, starts: &mut usize) -> bool {
        if self.waiting.is_none() && self.next.is_none() {
            return false;
        }
        let before = (*starts, self.waiting.is_some());
        let now = Instant::now();
        while *starts > 0 && self.may_start() && self.first_fits() {
            let Some(Next { id, deadline, call }) = self.next.take() else { break };
            *starts -= 1;
            let (kind, call) = match call {
                Ok(call) => call,
                Err(problem) => {
                    self.keep(id, Err(problem));
                    continue;
                }
            };
            let call = match call {
                _ if self.operations.state.stopping() => Err(Problem::Stopping),
                _ if now >= deadline => Err(Problem::Deadline { in_doubt: false }),
                call => call,
            };
            let outcome = match call {
                Ok(call) => self.in_flight.start(id, kind, call, self.arrived, deadline),
                Err(problem) => Some(self.in_flight.refuse(kind, self.arrived, problem)),
            };
            if let Some(outcome) = outcome {
                self.keep(id, outcome);
            }
        }
        before != (*starts, self.waiting.is_some())
    }

    /// Collects what is done. Whether anything was.
    fn poll_done(&mut self, context: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some((id, outcome))) = self.in_flight.poll_next(context) {
            self.keep(id, outcome);
            any = true;
        }
        any
    }

    fn keep(&mut self, id: u64, outcome: Outcome) {
        let bytes = self.ready.add(id, &outcome);
        self.answer_bytes = (self.answer_bytes * 15 + bytes) / 16;
    }

    /// Sends what is ready, as far as the client takes it. Whether it sent any; an error when the client is gone.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        answers: &mut Answers,
    ) -> Result<bool, Gone> {
        let mut sent = false;
        while !self.ready.is_empty() {
            match answers.poll_ready(context) {
                Poll::Pending => break,
                Poll::Ready(room) => room.map_err(|_| Gone)?,
            }
            let Some(message) = self.ready.take() else { break };
            answers.start_send(Ok(message)).map_err(|_| Gone)?;
            sent = true;
        }
        Ok(sent)
    }
}

/// The client is gone.
struct Gone;
