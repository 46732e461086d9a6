//! Serving the connections that a worker is given, new ones and those that another worker hands over; and handing over in turn.

use std::sync::Arc;

use tokio::{net::TcpStream, task::JoinSet};

use super::accept::{Connection, Counted, Peers, Socket};
use crate::doors::{grpc::connection::Door, resp};

/// Serves a connection that this worker was given, as one of `connections`; on the worker's own thread.
pub fn take(
    connections: &mut JoinSet<()>,
    door: &Door,
    redis: Option<&Arc<resp::Door>>,
    peers: &Peers,
    Connection { socket, counted }: Connection,
) {
    match (socket, redis) {
        (Socket::Resp(arrival), Some(redis)) => {
            let (redis, peers) = (Arc::clone(redis), Arc::clone(peers));
            connections.spawn(async move {
                if let Some(at_rest) = resp::serve(arrival, redis).await {
                    hand_over(&peers, at_rest, counted);
                }
            });
        }
        (Socket::Grpc(stream), _) => match TcpStream::from_std(stream) {
            Ok(stream) => {
                let door = door.clone();
                connections.spawn(async move {
                    let _counted = counted;
                    door.serve(stream).await;
                });
            }
            Err(error) => tracing::warn!(%error, "a connection was lost"),
        },
        // Without a Redis door nothing comes through it.
        (Socket::Resp(_), None) => {}
    }
}

/// Gives a connection to the worker that is to serve it from now on.
fn hand_over(peers: &Peers, at_rest: resp::AtRest, mut counted: Counted) {
    let worker = at_rest.client().place();
    counted.move_to(worker);
    let socket = Socket::Resp(resp::Arrival::Moved(at_rest));
    // An error says that the worker has stopped, and the connection is closed.
    let _ = peers[worker].send(Connection { socket, counted });
}
