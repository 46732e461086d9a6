//! One connection with one `Pipeline` stream, for as long as the client lives.
//!
//! Two tasks serve a lane: `run` connects, reads answers and connects anew; `watch_deadlines` ends calls in time. The
//! sending half is no task: the connection itself polls [`Outbound`] when it can take a message, which is what gathers
//! calls without a timer. One short lock guards the calls; it is never held while a caller is woken for an answer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use cairn_proto::v1::PipelineResponse;
use futures::Stream;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tonic::{Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};

use super::{
    codec::PipelineCodec,
    connect::Target,
    retry::Backoff,
    waiting::{Call, Reply, Waiting, answer_of},
};
use crate::{Error, error::cause_of, wire::Item};

/// One connection and the calls on it.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    state: Mutex<State>,
    up: AtomicBool,
    /// Wakes the task that watches deadlines: an earlier one has come.
    earlier: Notify,
    /// Why the lane is down, for the message of a call that could not be sent.
    trouble: Mutex<Option<Arc<str>>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Waiting,
    /// The connection waits for something to send.
    sender: Option<Waker>,
    /// Counts streams; the sending half of an older one ends by it.
    stream: u64,
    /// The client is gone: no stream may send any more.
    closed: bool,
}

impl Lane {
    /// Whether a call given to this lane can be sent now.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Why the lane was last down.
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.trouble.lock().clone()
    }

    /// Queues a call; its reply comes in any case, at its deadline at the latest.
    pub fn submit(&self, call: Call) {
        let (earlier, sender) = {
            let mut state = self.state.lock();
            (state.waiting.push(call), state.sender.take())
        };
        if earlier {
            self.earlier.notify_one();
        }
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    /// Ends calls when their deadline is over. Sleeps until the earliest one, so it costs nothing per call.
    pub async fn watch_deadlines(self: Arc<Self>) {
        loop {
            let earliest = self.state.lock().waiting.earliest();
            let Some(earliest) = earliest else {
                self.earlier.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(earliest) => {
                    self.state.lock().waiting.expire(Instant::now());
                }
                () = self.earlier.notified() => {}
            }
        }
    }

    /// Keeps the lane connected. `first` is a connection that was made already. Tells `changed` whenever the lane comes up.
    pub async fn run(
        self: Arc<Self>,
        target: Target,
        max_message: usize,
        first: Option<Channel>,
        changed: Arc<Notify>,
    ) {
        let mut first = first;
        let mut backoff = Backoff::new();
        loop {
            let connected = match first.take() {
                Some(channel) => Ok(channel),
                None => target.connect().await,
            };
            match connected {
                Ok(channel) => {
                    if self.serve(channel, max_message, &changed).await {
                        backoff = Backoff::new();
                    }
                }
                // Calls that wait here may find another lane up by now.
                Err(cause) => self.lose(false, &cause),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Serves one connection until it ends. Returns whether it brought any answer.
    async fn serve(
        self: &Arc<Self>,
        channel: Channel,
        max_message: usize,
        changed: &Notify,
    ) -> bool {
        let outbound = self.open();
        changed.notify_waiters();
        let mut grpc = Grpc::new(channel).max_decoding_message_size(max_message);
        let (mut opened, mut answered) = (false, false);
        let ended = async {
            grpc.ready().await.map_err(|error| Status::unavailable(cause_of(&error)))?;
            let path = PathAndQuery::from_static("/cairn.v1.Records/Pipeline");
            let response =
                grpc.streaming(tonic::Request::new(outbound), path, PipelineCodec).await?;
            opened = true;
            let mut answers = response.into_inner();
            while let Some(message) = answers.message().await? {
                answered = true;
                self.deliver(message);
            }
            Err::<(), Status>(Status::unavailable("the server ended the stream"))
        }
        .await;
        let status = ended.expect_err("a stream only ends with a status");
        // Refused before the stream was opened: what was sent surely was not applied, and may go elsewhere.
        let refused = !opened && !Error::from_status(&status, true).in_doubt;
        let cause = format!("the connection was lost: {}", cause_of(&status));
        self.lose(!refused, &cause);
        answered
    }

    fn open(self: &Arc<Self>) -> Outbound {
        let mut state = self.state.lock();
        state.stream += 1;
        self.up.store(true, Ordering::Relaxed);
        Outbound { lane: self.clone(), stream: state.stream }
    }

    /// Ends the lane for good: its connection closes, since its sending half would keep it open for ever.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.lose(true, "the client was closed");
    }

    fn lose(&self, sent: bool, cause: &str) {
        let cause: Arc<str> = cause.into();
        *self.trouble.lock() = Some(cause.clone());
        let sender = {
            let mut state = self.state.lock();
            self.up.store(false, Ordering::Relaxed);
            state.stream += 1;
            state.waiting.lose(sent, &cause);
            state.sender.take()
        };
        // The sending half must be asked once more to learn that it has ended.
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    /// Hands the answers of one message to their callers: one lock for all, then the wake-ups.
    fn deliver(&self, message: PipelineResponse) {
        let mut ready = Vec::with_capacity(message.answers.len());
        {
            let mut state = self.state.lock();
            for answer in message.answers {
                if let Some(caller) = state.waiting.answered(answer.id) {
                    ready.push((caller, answer));
                }
            }
        }
        for (caller, answer) in ready {
            // Without an answer the sender is dropped, and the caller learns that it got none.
            if let Some(answer) = answer_of(answer) {
                caller.tell(Reply::Answer(answer));
            }
        }
    }
}

/// The sending half of a stream: gives the connection a message whenever it asks and there is something to send.
struct Outbound {
    lane: Arc<Lane>,
    stream: u64,
}

impl Stream for Outbound {
    type Item = Vec<Item>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Vec<Item>>> {
        let mut state = self.lane.state.lock();
        if state.closed || state.stream != self.stream {
            return Poll::Ready(None);
        }
        let items = state.waiting.take_message(Instant::now());
        if items.is_empty() {
            state.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Some(items))
    }
}
