//! gRPC's framing, both ways: messages out of a call's body, and the body of an answer.
//!
//! Every message has five bytes in front. One that comes in one piece, as most do, is handed on as it lies there. A length beyond
//! the bound is refused from those five bytes, and nothing is allocated for it.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use hyper::body::{Body as _, Frame};
use tokio::time::timeout;
use tonic::{Status, body::Body};

use super::{
    receiving::{PREFIX, Receiving, length},
    status::{CODE_KEY, status},
};
use crate::codes::Problem;

/// How long the end of a call may be behind its only message.
const END: Duration = Duration::from_secs(1);

/// The messages of a call, one by one.
pub struct Messages {
    body: Receiving,
    /// What came and was not taken, while it is one piece.
    piece: Bytes,
    /// The same, once it is several. Never used while `piece` holds anything.
    pieces: BytesMut,
    /// Bytes of one message at most.
    max: usize,
}

impl Messages {
    /// The messages in `body`, of at most `max` bytes each.
    pub fn new(body: Receiving, max: usize) -> Self {
        Self { body, piece: Bytes::new(), pieces: BytesMut::new(), max }
    }

    /// The next message, if all of it is there.
    fn take(&mut self) -> Result<Option<Bytes>, Problem> {
        let held = if self.pieces.is_empty() { &self.piece[..] } else { &self.pieces[..] };
        let Some(prefix) = held.first_chunk::<PREFIX>() else { return Ok(None) };
        if prefix[0] != 0 {
            return Err(Problem::Unsupported("compressed messages are not taken".into()));
        }
        let length = length(prefix);
        if length > self.max {
            let what = format!("a message of {length} bytes; at most {} are allowed", self.max);
            return Err(Problem::Limit(what.into()));
        }
        if held.len() < PREFIX + length {
            return Ok(None);
        }
        Ok(Some(if self.pieces.is_empty() {
            self.piece.advance(PREFIX);
            self.piece.split_to(length)
        } else {
            self.pieces.advance(PREFIX);
            self.pieces.split_to(length).freeze()
        }))
    }

    fn add(&mut self, data: Bytes) {
        if self.piece.is_empty() && self.pieces.is_empty() {
            self.piece = data;
        } else {
            self.pieces.extend_from_slice(&std::mem::take(&mut self.piece));
            self.pieces.extend_from_slice(&data);
        }
    }

    /// The next message; `None` when there is no more, or the client is gone.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.take() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(problem) => return Poll::Ready(Some(Err(status(&problem)))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                // What is not data are trailers, which mean nothing here.
                Some(Ok(frame)) => frame.into_data().into_iter().for_each(|data| self.add(data)),
                // A body that broke off has no one to answer; only our own refusals have a code of ours.
                Some(Err(error)) if !error.metadata().contains_key(CODE_KEY) => {
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if self.piece.is_empty() && self.pieces.is_empty() => {
                    return Poll::Ready(None);
                }
                None => {
                    let problem = Problem::Invalid("the call ended inside a message".into());
                    return Poll::Ready(Some(Err(status(&problem))));
                }
            }
        }
    }

    /// The message of a call that has only one.
    pub async fn only(&mut self) -> Result<Bytes, Status> {
        let invalid = |what: &'static str| Err(status(&Problem::Invalid(what.into())));
        let Some(message) = poll_fn(|context| self.poll_next(context)).await else {
            return invalid("the call has no message");
        };
        let message = message?;
        // Many clients end in a frame of its own, just behind. It is waited for, since answering before would reset the call, but
        // not for long: a client that never ends would have its message kept for ever.
        if self.piece.is_empty() && self.pieces.is_empty() && self.body.is_end_stream() {
            return Ok(message);
        }
        match timeout(END, poll_fn(|context| self.poll_next(context))).await {
            Ok(None) | Err(_) => Ok(message),
            Ok(Some(Ok(_))) => invalid("the call has more than one message"),
            Ok(Some(Err(error))) => Err(error),
        }
    }
}

/// Room for a message's prefix, to be put at the beginning of its buffer.
pub const ROOM: [u8; PREFIX] = [0; PREFIX];

/// The message in `buffer`, whose first bytes are [`ROOM`].
pub fn framed(mut buffer: Vec<u8>) -> Bytes {
    let length = (buffer.len() - PREFIX) as u32;
    buffer[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    buffer.into()
}

/// The answer of a call whose framed messages come from `messages`, up to a status or to a good end.
pub fn answer<S>(messages: S) -> Response<Body>
where
    S: Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
{
    let mut response = Response::new(Body::new(Answer { messages, ended: false }));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

struct Answer<S> {
    messages: S,
    ended: bool,
}

impl<S> hyper::body::Body for Answer<S>
where
    S: Stream<Item = Result<Bytes, Status>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let trailers = match ready!(Pin::new(&mut self.messages).poll_next(context)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(status)) => {
                let mut trailers = HeaderMap::new();
                status.add_header(&mut trailers)?;
                trailers
            }
            None => good_end(),
        };
        self.ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

fn good_end() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}
