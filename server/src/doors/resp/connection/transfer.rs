//! Bytes from and to the socket: what is held of them, and when no more are taken.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::{
    super::{
        buffers, counters,
        door::Door,
        fail::Fail,
        parse::Parser,
        reply::Reply,
        run::{Ended, Job},
    },
    Connection,
};

const TOO_MUCH: Fail =
    Fail::text("BUSY the node receives more at once than worker-receiving allows; try again");

impl<R, F> Connection<R, F>
where
    R: Fn(Arc<Door>, Job, Reply) -> F,
    F: Future<Output = Ended>,
{
    /// Reads no more.
    pub(super) fn hang_up(&mut self) {
        self.deaf = true;
        self.input = BytesMut::new();
        self.ahead = Vec::new();
        self.broken = None;
        self.may_hold();
        self.parser = Parser::default();
    }

    /// Reads what has come; whether something has.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.input);
        buffers::make_room(&mut buffer, self.parser.needed());
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut buffer);
        let read = match read {
            Poll::Pending => None,
            Poll::Ready(Ok(count)) => Some(count),
            Poll::Ready(Err(error)) => return Err(error),
        };
        if buffer.is_empty() {
            buffers::give_back(buffer);
        } else {
            self.input = buffer;
        }
        match read {
            None => Ok(false),
            Some(0) => {
                // What was asked before is still answered.
                self.hang_up();
                if let Some(session) = &mut self.session {
                    session.closing = true;
                }
                Ok(false)
            }
            Some(count) if !self.may_hold() => {
                tracing::debug!(count, "a request was given up: the worker receives too much");
                self.hang_up();
                if let Some(session) = &mut self.session {
                    session.closing = true;
                }
                self.fail(None, &TOO_MUCH);
                Ok(false)
            }
            Some(count) => {
                self.connected.client.touch(self.queue.now);
                counters::add(&self.door.counters.bytes_in, count as u64);
                Ok(true)
            }
        }
    }

    /// Counts what is held of an incomplete request; whether the worker has room for it.
    fn may_hold(&mut self) -> bool {
        let held = self.input.len().saturating_sub(buffers::READ);
        let grows = held > self.held.bytes();
        let all = self.held.change(held);
        !grows || all <= self.door.state.limits.worker_receiving as u64
    }

    /// Sends answers as far as the client takes them.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.sent < self.output.len() {
            let bytes = &self.output[self.sent..];
            match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Pending => {
                    buffers::forget_sent(&mut self.output, &mut self.sent);
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.sent += count;
                    counters::add(&self.door.counters.bytes_out, count as u64);
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        self.sent = 0;
        buffers::give_back_output(std::mem::take(&mut self.output));
        Ok(())
    }
}
