//! Accepting connections, and choosing the worker for each.
//!
//! Every worker accepts on its own socket, but gives the connection to the worker with the fewest, of those that serve the door: the
//! kernel spreads few connections badly over sockets that share a port, and a gRPC client's few connections then stay where they are for
//! long. A Redis client's may move later, by the same way. The ways to the workers are bounded as connections are: each is counted.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time,
};

use crate::{doors::resp, state::State};

/// How long accepting rests when the process is out of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Through which door a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    Grpc,
    Resp,
}

/// The way to each worker.
pub type Peers = Arc<[mpsc::UnboundedSender<Connection>]>;

/// A connection on its way to its worker; counted until it is dropped.
pub struct Connection {
    pub socket: Socket,
    pub counted: Counted,
}

/// What a worker is given of a connection.
pub enum Socket {
    Grpc(std::net::TcpStream),
    Resp(resp::Arrival),
}

/// Counts a connection, of the node and of its worker, until it is dropped.
pub struct Counted {
    state: Arc<State>,
    worker: usize,
    through: Through,
}

impl Through {
    /// Counts a connection in, if there may be one more.
    fn enter(self, state: &State) -> bool {
        let (open, refused, most) = match self.open(state) {
            (open, Some(resp)) => (open, &resp.refused_connections, resp.config.max_connections),
            (open, None) => (open, &state.refused_connections, state.limits.connections),
        };
        let enters = open.fetch_add(1, Relaxed) < most;
        if !enters {
            open.fetch_sub(1, Relaxed);
            refused.fetch_add(1, Relaxed);
        }
        enters
    }

    /// The workers that serve this door are so many, those with the lowest numbers.
    fn workers(self, state: &State) -> usize {
        match (self, &state.resp) {
            (Self::Resp, Some(resp)) => resp.gathering.used(),
            _ => state.workers.len(),
        }
    }

    /// Connections open through this door.
    fn open(self, state: &State) -> (&AtomicUsize, Option<&resp::Shared>) {
        match (self, &state.resp) {
            (Self::Resp, Some(resp)) => (&resp.connections, Some(resp)),
            _ => (&state.connections, None),
        }
    }
}

impl Counted {
    /// Counts it as another worker's.
    pub fn move_to(&mut self, worker: usize) {
        self.state.workers[worker].connections.fetch_add(1, Relaxed);
        self.state.workers[self.worker].connections.fetch_sub(1, Relaxed);
        self.worker = worker;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.through.open(&self.state).0.fetch_sub(1, Relaxed);
        self.state.workers[self.worker].connections.fetch_sub(1, Relaxed);
    }
}

/// Accepts connections until the node stops, and hands each to the worker with the fewest.
pub async fn accept(listener: TcpListener, through: Through, state: Arc<State>, peers: Peers) {
    let stopped = state.stopped();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted.and_then(|(stream, _)| prepare_stream(stream)) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        if !through.enter(&state) {
            tracing::debug!(?through, "a connection was refused: there are as many as may be");
            if through == Through::Resp {
                resp::refuse(&stream);
            }
            continue;
        }
        let count = |index: &usize| state.workers[*index].connections.load(Relaxed);
        let worker = (0..through.workers(&state)).min_by_key(count).unwrap_or(0);
        state.workers[worker].connections.fetch_add(1, Relaxed);
        let counted = Counted { state: Arc::clone(&state), worker, through };
        let socket = match (through, &state.resp) {
            (Through::Resp, Some(resp)) => {
                resp.gathering.somebody_came();
                Socket::Resp(resp::Arrival::New(stream))
            }
            _ => Socket::Grpc(stream),
        };
        // An error says that the worker has stopped, and the connection is closed.
        let _ = peers[worker].send(Connection { socket, counted });
    }
}

fn prepare_stream(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    stream.into_std()
}
