//! Pipeline: many operations a message in both directions, answered in the order they become ready.
//!
//! One driver task per stream reads messages, starts their items, collects what is done and sends it in batches. It always
//! polls what is in flight, whether or not the client reads: a suspended operation may hold what others wait for. Back-pressure
//! is in what it reads: nothing new is read while too much is in flight, or too many bytes of answers are not taken.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cairn_engine::device::reactor;
use cairn_proto::v1::{PipelineAnswer, PipelineItem, PipelineRequest, PipelineResponse, Response};
use futures::{Stream, StreamExt, channel::mpsc};
use prost::Message;
use tonic::{Status, Streaming};

use super::{
    in_flight::InFlight,
    reservation,
    status::{from_protocol, status},
};
use crate::{
    codes::Problem,
    limits::{
        ANSWER_BYTES, ANSWER_BYTES_HELD, ANSWERS_HELD, ANSWERS_PER_MESSAGE, IN_FLIGHT_MIN,
        READ_BYTES_IN_FLIGHT, STARTS_PER_TURN,
    },
    operations::Operations,
};

/// Serves a pipeline.
pub fn pipeline(
    operations: Arc<Operations>,
    requests: Streaming<PipelineRequest>,
) -> impl Stream<Item = Result<PipelineResponse, Status>> + Send {
    let (answers, stream) = mpsc::channel(1);
    tokio::spawn(Driver::new(operations, requests).run(answers));
    stream
}

type Answers = mpsc::Sender<Result<PipelineResponse, Status>>;

struct Driver<R> {
    operations: Arc<Operations>,
    requests: R,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Nothing more is read: with the status that ends the stream, if it is not a good end.
    ended: Option<Result<(), Status>>,
    /// Items read and not started, and when they came.
    waiting: VecDeque<PipelineItem>,
    arrived: Instant,
    in_flight: InFlight,
    /// Bytes that the first of `waiting` may be answered with, once they have been looked for.
    first_bytes: Option<usize>,
    ready: Vec<PipelineAnswer>,
    ready_bytes: usize,
    /// Bytes of an answer, as a moving average over about 16.
    answer_bytes: usize,
}

impl<R> Driver<R>
where
    R: Stream<Item = Result<PipelineRequest, Status>> + Send + Unpin,
{
    fn new(operations: Arc<Operations>, requests: R) -> Self {
        Self {
            stopped: Box::pin(operations.state.stopped()),
            in_flight: InFlight::new(operations.clone()),
            operations,
            requests,
            ended: None,
            waiting: VecDeque::new(),
            arrived: Instant::now(),
            first_bytes: None,
            ready: Vec::new(),
            ready_bytes: 0,
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
        self.ready_bytes < ANSWER_BYTES_HELD
            && self.ready.len() < ANSWERS_HELD
            && self.in_flight.has_room(self.at_once())
    }

    /// How many may be in flight: fewer when answers are large, since each waits in memory.
    fn at_once(&self) -> usize {
        let by_bytes = READ_BYTES_IN_FLIGHT / self.answer_bytes.max(1);
        self.operations.state.limits.stream_in_flight.min(by_bytes.max(IN_FLIGHT_MIN))
    }

    /// Whether there is room for all that the first of those waiting may be answered with.
    fn first_fits(&mut self) -> bool {
        let bytes = *self.first_bytes.get_or_insert_with(|| {
            let request = self.waiting.front().and_then(|item| item.request.as_ref());
            request.map_or(0, |request| reservation::of(&self.operations.state, request).bytes)
        });
        self.in_flight.has_bytes(bytes, READ_BYTES_IN_FLIGHT)
    }

    /// Reads a message when all items of the last one are started. Whether it did.
    fn poll_read(&mut self, context: &mut Context<'_>) -> bool {
        if self.ended.is_some() || !self.waiting.is_empty() || !self.may_start() {
            return false;
        }
        let Poll::Ready(message) = self.requests.poll_next_unpin(context) else { return false };
        match message {
            Some(Ok(message)) => {
                let (count, max) =
                    (message.items.len(), self.operations.state.limits.pipeline_items);
                if count > max {
                    let what = format!("a message of {count} items; at most {max} are allowed");
                    self.end(Err(status(&Problem::Limit(what.into()))));
                } else {
                    self.waiting = message.items.into();
                    self.arrived = Instant::now();
                }
            }
            Some(Err(error)) => self.end(Err(from_protocol(&error))),
            None => self.end(Ok(())),
        }
        true
    }

    /// Starts what waits, as far as there is room and `starts` allows. Whether it started any.
    fn start(&mut self, starts: &mut usize) -> bool {
        let before = *starts;
        let now = Instant::now();
        while *starts > 0 && !self.waiting.is_empty() && self.may_start() && self.first_fits() {
            let Some(item) = self.waiting.pop_front() else { break };
            let reserved = self.first_bytes.take().unwrap_or(0);
            *starts -= 1;
            let request = item.request.unwrap_or_default();
            let deadline = match item.deadline_ms {
                0 => self.arrived + self.operations.state.limits.request_timeout,
                ms => self.arrived + Duration::from_millis(ms.into()),
            };
            let answer = if self.operations.state.stopping() {
                Some(self.in_flight.refuse(&request, self.arrived, Problem::Stopping))
            } else if now >= deadline {
                let problem = Problem::Deadline { in_doubt: false };
                Some(self.in_flight.refuse(&request, self.arrived, problem))
            } else {
                self.in_flight.start(item.id, request, reserved, self.arrived, deadline)
            };
            if let Some(answer) = answer {
                self.keep(item.id, answer);
            }
        }
        *starts < before
    }

    /// Collects what is done. Whether anything was.
    fn poll_done(&mut self, context: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some((id, answer))) = self.in_flight.poll_next(context) {
            self.keep(id, answer);
            any = true;
        }
        any
    }

    fn keep(&mut self, id: u64, answer: Response) {
        let bytes = answer.encoded_len();
        self.ready_bytes += bytes;
        self.answer_bytes = (self.answer_bytes * 15 + bytes) / 16;
        self.ready.push(PipelineAnswer { id, response: Some(answer) });
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
            let message = self.take_message();
            answers.start_send(Ok(message)).map_err(|_| Gone)?;
            sent = true;
        }
        Ok(sent)
    }

    /// As many answers as one message takes, in their order.
    fn take_message(&mut self) -> PipelineResponse {
        if self.ready.len() <= ANSWERS_PER_MESSAGE && self.ready_bytes <= ANSWER_BYTES {
            self.ready_bytes = 0;
            return PipelineResponse { answers: std::mem::take(&mut self.ready) };
        }
        let (mut count, mut bytes) = (0, 0);
        for answer in self.ready.iter().take(ANSWERS_PER_MESSAGE) {
            let size = size(answer);
            if count > 0 && bytes + size > ANSWER_BYTES {
                break;
            }
            (count, bytes) = (count + 1, bytes + size);
        }
        self.ready_bytes -= bytes;
        let rest = self.ready.split_off(count);
        PipelineResponse { answers: std::mem::replace(&mut self.ready, rest) }
    }
}

/// The client is gone.
struct Gone;

fn size(answer: &PipelineAnswer) -> usize {
    answer.response.as_ref().map_or(0, Message::encoded_len)
}
