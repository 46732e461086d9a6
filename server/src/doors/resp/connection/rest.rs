//! A connection at rest: its socket and what it remembers, which is all that another worker needs to go on with it.
//!
//! What is read belongs to the thread's buffers, and what is under way to its ring and its runtime. So a connection leaves its worker
//! only when there is nothing of either; what the client has sent meanwhile is still in the socket.

use std::{future::Future, io, net::TcpStream, sync::Arc};

use super::{
    super::{
        clients::{Client, Connected},
        door::Door,
        reply::Reply,
        run::{Ended, Job},
        session::Session,
    },
    Connection,
};

/// What there is of a connection at rest.
#[derive(Debug)]
pub struct AtRest {
    /// Its socket, which no runtime watches.
    pub(super) stream: TcpStream,
    /// Its place among the clients.
    pub(super) connected: Connected,
    /// What it remembers: MULTI, WATCH, its database, whether it is authenticated.
    pub(super) session: Box<Session>,
}

impl AtRest {
    /// A connection that has just come.
    pub fn new(stream: TcpStream, door: &Door, connected: Connected) -> Self {
        let trusted = door.shared.config.password.is_none();
        let session = Box::new(Session::new(Arc::clone(&connected.client), trusted));
        Self { stream, connected, session }
    }

    /// Its line among the clients; it says which worker is to go on with it.
    pub fn client(&self) -> &Client {
        &self.connected.client
    }
}

impl<R, F> Connection<R, F>
where
    R: Fn(Arc<Door>, Job, Reply) -> F,
    F: Future<Output = Ended>,
{
    /// Whether it is to be served by another worker, and can be.
    pub(super) fn moves(&self) -> bool {
        self.connected.client.place() != self.door.worker && self.is_at_rest()
    }

    /// Whether everything that was read is answered and sent, and the client may ask for more.
    fn is_at_rest(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| !session.closing)
            && !self.deaf
            && self.broken.is_none()
            && self.input.is_empty()
            && self.ahead.is_empty()
            && self.stalled.is_none()
            && !self.queue.is_waiting()
            && self.output.is_empty()
    }

    /// What another worker needs to go on with it. A connection that is not at rest is lost by that.
    pub fn into_rest(self) -> io::Result<AtRest> {
        let Self { stream, connected, session, .. } = self;
        let session = session.ok_or(io::ErrorKind::ResourceBusy)?;
        Ok(AtRest { stream: stream.into_std()?, connected, session })
    }
}
