//! Accepting connections, and choosing the worker for each.
//!
//! Every worker accepts on its own socket, but gives the connection to the worker with the fewest: the kernel spreads few
//! connections badly over sockets that share a port, and a client's few connections then stay where they are for long.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time,
};

use crate::state::State;

/// How long accepting rests when the process is out of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A connection on its way to its worker; counted until it is dropped.
pub struct Connection {
    pub stream: std::net::TcpStream,
    pub counted: Counted,
}

/// Counts a connection, of the node and of its worker, until it is dropped.
pub struct Counted {
    state: Arc<State>,
    worker: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.state.connections.fetch_sub(1, Relaxed);
        self.state.workers[self.worker].connections.fetch_sub(1, Relaxed);
    }
}

/// Accepts connections until the node stops, and hands each to the worker with the fewest.
pub async fn accept(
    listener: TcpListener,
    state: Arc<State>,
    peers: Arc<[mpsc::UnboundedSender<Connection>]>,
) {
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
        if state.connections.fetch_add(1, Relaxed) >= state.limits.connections {
            state.connections.fetch_sub(1, Relaxed);
            state.refused_connections.fetch_add(1, Relaxed);
            tracing::debug!("a connection was refused: there are as many as limits.connections");
            continue;
        }
        let count = |index: &usize| state.workers[*index].connections.load(Relaxed);
        let worker = (0..peers.len()).min_by_key(count).unwrap_or(0);
        state.workers[worker].connections.fetch_add(1, Relaxed);
        let counted = Counted { state: Arc::clone(&state), worker };
        // An error says that the worker has stopped, and the connection is closed.
        let _ = peers[worker].send(Connection { stream, counted });
    }
}

fn prepare_stream(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    stream.into_std()
}
