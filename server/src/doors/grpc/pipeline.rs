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
    time::Instant,
};

use bytes::Bytes;
use cairn_engine::device::reactor;
use futures::{Stream, channel::mpsc};
use tonic::Status;

use super::{
    answer::Outcome,
    framing::Messages,
    in_flight::InFlight,
    ready::Ready,
    status::status,
    waiting::{Next, Waiting},
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
    /// Items read and not started.
    waiting: Waiting,
    in_flight: InFlight,
    ready: Ready,
    /// Bytes of an answer, as a moving average over about 16.
    answer_bytes: usize,
}

impl Driver {
    fn new(operations: Arc<Operations>, requests: Messages) -> Self {
        Self {
            stopped: Box::pin(operations.state.stopped()),
            in_flight: InFlight::new(operations.clone()),
            operations,
            requests,
            ended: None,
            waiting: Waiting::default(),
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
            && self.waiting.is_empty()
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

    /// Whether something waits, and there is room for all that the first may be answered with. An item that does not parse ends the
    /// stream.
    fn first_fits(&mut self) -> bool {
        match self.waiting.first(&self.operations.state) {
            Ok(Some(Next { call: Ok((_, Ok(call))), .. })) => {
                self.in_flight.has_bytes(call.reservation().bytes, READ_BYTES_IN_FLIGHT)
            }
            Ok(first) => first.is_some(),
            Err(odd) => {
                self.ended = Some(Err(status(&odd.into())));
                false
            }
        }
    }

    /// Reads a message when all items of the last one are started. Whether it did.
    fn poll_read(&mut self, context: &mut Context<'_>) -> bool {
        if self.ended.is_some() || !self.waiting.is_empty() || !self.may_start() {
            return false;
        }
        let Poll::Ready(message) = self.requests.poll_next(context) else { return false };
        match message {
            Some(Ok(message)) => {
                let max = self.operations.state.limits.pipeline_items;
                if let Err(problem) = self.waiting.add(message, max) {
                    self.end(Err(status(&problem)));
                }
            }
            Some(Err(error)) => self.end(Err(error)),
            None => self.end(Ok(())),
        }
        true
    }

    /// Starts what waits, as far as there is room and `starts` allows. Whether it started any, or saw that none is left.
    fn start(&mut self, starts: &mut usize) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let before = *starts;
        let now = Instant::now();
        let stopping = self.operations.state.stopping();
        while *starts > 0 && self.may_start() && self.first_fits() {
            let Some(Next { id, arrived, deadline, call, .. }) = self.waiting.take() else { break };
            *starts -= 1;
            let (kind, call) = match call {
                Ok(call) => call,
                Err(problem) => {
                    self.keep(id, Err(problem));
                    continue;
                }
            };
            let call = match call {
                _ if stopping => Err(Problem::Stopping),
                _ if now >= deadline => Err(Problem::Deadline { in_doubt: false }),
                call => call,
            };
            let outcome = match call {
                Ok(call) => self.in_flight.start(id, kind, call, arrived, deadline),
                Err(problem) => Some(self.in_flight.refuse(kind, arrived, problem)),
            };
            if let Some(outcome) = outcome {
                self.keep(id, outcome);
            }
        }
        before != *starts || self.waiting.is_empty()
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
