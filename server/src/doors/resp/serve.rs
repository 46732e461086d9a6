//! From an accepted socket to a connection, and the look after all of them.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::time;

use super::{
    clients::{Client, End},
    connection::{AtRest, Connection, Left},
    counters,
    door::Door,
    run::run,
};

/// How often idle connections are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// What a client is told that finds no place; sent if its socket takes it at once.
const FULL: &[u8] = b"-ERR max number of clients reached\r\n";

/// A connection that a worker is to serve.
#[derive(Debug)]
pub enum Arrival {
    /// It was accepted just now.
    New(std::net::TcpStream),
    /// Another worker served it until now.
    Moved(AtRest),
}

/// Serves a connection until its client leaves or is sent away, or until another worker is to go on with it: the answer is what that one needs.
pub async fn serve(arrival: Arrival, door: Arc<Door>) -> Option<AtRest> {
    match try_serve(arrival, door).await {
        Ok(moves) => moves,
        Err(error) => {
            // Mostly a client that went without saying so.
            tracing::debug!(%error, "a Redis connection ended");
            None
        }
    }
}

async fn try_serve(arrival: Arrival, door: Arc<Door>) -> io::Result<Option<AtRest>> {
    let at_rest = take_up(arrival, &door)?;
    // Who comes while the node stops may have come after all were told.
    if door.state.stopping() {
        at_rest.client().end(End::Answered);
    }
    let mut connection = Connection::new(at_rest, door, run)?;
    match (&mut connection).await? {
        Left::Over => Ok(None),
        Left::Moves => connection.into_rest().map(Some),
    }
}

fn take_up(arrival: Arrival, door: &Door) -> io::Result<AtRest> {
    match arrival {
        Arrival::New(stream) => {
            let ends = (stream.peer_addr()?, stream.local_addr()?);
            let id = door.shared.clients.number();
            let client = Client::new(id, ends, stream.as_raw_fd(), door.worker);
            let connected = door.shared.clients.add(client);
            counters::add(&door.counters.connections, 1);
            Ok(AtRest::new(stream, door, connected))
        }
        Arrival::Moved(at_rest) => {
            at_rest.client().worker.store(door.worker, Relaxed);
            door.shared.gathering.moved.fetch_add(1, Relaxed);
            Ok(at_rest)
        }
    }
}

/// Sends a client away that came when there were as many as there may be.
pub fn refuse(stream: &std::net::TcpStream) {
    // One that cannot be told is closed all the same.
    let _ = io::Write::write(&mut &*stream, FULL);
}

/// Wakes the worker's connections when what they wait for may be durable. Never ends.
pub async fn wake_together(door: Arc<Door>) {
    door.together.run().await;
}

/// Ends connections that have been idle for too long, and all of the worker's when the node stops.
pub async fn look_after(door: Arc<Door>) {
    let stopped = door.state.stopped();
    tokio::pin!(stopped);
    let mut last = Last::default();
    let mine = |client: &Arc<Client>| client.worker.load(Relaxed) == door.worker;
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => break,
            () = time::sleep(LOOK) => {}
        }
        if door.worker == 0 {
            last = rates(&door, last);
        }
        let most = door.shared.idle_ms.load(Relaxed);
        if most == 0 {
            continue;
        }
        let now = Instant::now();
        for client in door.shared.clients.list().iter().filter(|client| mine(client)) {
            if client.idle_ms(now) > most {
                client.end(End::Now);
            }
        }
    }
    for client in door.shared.clients.list().iter().filter(|client| mine(client)) {
        client.end(End::Answered);
    }
}

/// What had been done when it was looked at last.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    commands: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// Tells what was done since the last look.
fn rates(door: &Door, last: Last) -> Last {
    let shared = &door.shared;
    let now = Last {
        commands: shared.commands(),
        bytes_in: shared.sum(|counters| &counters.bytes_in),
        bytes_out: shared.sum(|counters| &counters.bytes_out),
    };
    // Counters that began anew are below what they were.
    let rates = &shared.rates;
    rates.commands.store(now.commands.saturating_sub(last.commands), Relaxed);
    rates.bytes_in.store(now.bytes_in.saturating_sub(last.bytes_in), Relaxed);
    rates.bytes_out.store(now.bytes_out.saturating_sub(last.bytes_out), Relaxed);
    now
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;
    use crate::doors::resp::{
        reply::Reply,
        run::{Ended, Job},
    };

    fn size<R, F>(_: R) -> (usize, usize)
    where
        R: Fn(Arc<Door>, Job, Reply) -> F,
        F: Future<Output = Ended>,
    {
        (size_of::<Connection<R, F>>(), size_of::<F>())
    }

    /// Ten thousand idle connections are to cost less than 200 MB: what one holds must stay far below 20 KB.
    #[test]
    fn a_connection_is_small() {
        let (connection, command) = size(run);
        println!("connection {connection} bytes, command {command} bytes");
        assert!(connection <= 1024, "{connection}");
        assert!(command <= 4096, "{command}");
    }
}
