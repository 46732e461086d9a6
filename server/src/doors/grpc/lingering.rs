//! A socket that closes so that its last words arrive.
//!
//! Closing a socket while the client still sends makes the kernel throw away what we sent and it has not read: the last answers
//! and the status of a pipeline, say. So this one says that it will send no more, then reads and forgets until the client has
//! closed its side too, for a bounded time.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How long a client may take to close its side.
const LINGER: Duration = Duration::from_secs(1);

/// A socket that closes so that its last words arrive.
pub struct Lingering {
    stream: TcpStream,
    /// Set once we send no more.
    closing: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    /// Around `stream`.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, closing: None }
    }

    fn poll_forget(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                // The client has closed its side, or is gone.
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.closing = Some(Box::pin(sleep(LINGER)));
        }
        if self.poll_forget(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.closing {
            Some(time) => time.as_mut().poll(context).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}
