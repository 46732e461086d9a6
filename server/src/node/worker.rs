//! A worker: one OS thread with one current-thread runtime, its own listener and its own ring.
//!
//! What a worker reads is served where it was read. A connection may change workers before anything is read from it: see
//! [`accept`](super::accept). Those of Redis clients may do so again, when everything that was read is answered.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, mpsc as std_mpsc},
    thread::{self, JoinHandle},
};

use cairn_engine::device::reactor;
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::JoinSet,
    time,
};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    StartError,
    accept::{Connection, Peers, Through, accept},
    listen::Sockets,
    take::take,
};
use crate::{
    doors::{grpc::connection::Door, http, resp},
    operations::Operations,
    state::State,
};

/// Task polls between two looks at sockets and rings.
const EVENT_INTERVAL: u32 = 31;
/// Task polls between two looks at what other threads sent.
const GLOBAL_QUEUE_INTERVAL: u32 = 31;
/// The services that health checks may name; the empty name is the node.
const HEALTH_NAMES: [&str; 4] = ["", "cairn.v1.Records", "cairn.v1.Admin", "cairn.v1.Cluster"];

struct Worker {
    index: usize,
    state: Arc<State>,
    listener: TcpListener,
    /// The Redis door's, if there is one.
    resp: Option<TcpListener>,
    /// Worker 0 serves HTTP too.
    http: Option<TcpListener>,
    health: HealthReporter,
    health_service:
        tonic_health::pb::health_server::HealthServer<tonic_health::server::HealthService>,
    /// To each worker, this one included.
    peers: Peers,
    inbox: mpsc::UnboundedReceiver<Connection>,
}

/// Starts all workers, and returns when each of them serves. If one cannot, those that do are stopped.
pub fn start(state: &Arc<State>, sockets: Sockets) -> Result<Vec<JoinHandle<()>>, StartError> {
    let (health, health_service) = health();
    let (peers, inboxes): (Vec<_>, Vec<_>) =
        sockets.grpc.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let peers: Peers = peers.into();
    let (ready, is_ready) = std_mpsc::channel();
    let mut http = Some(sockets.http);
    let mut resp = sockets.resp.into_iter();
    let mut threads = Vec::new();
    let mut failed = None;
    for (index, (listener, inbox)) in sockets.grpc.into_iter().zip(inboxes).enumerate() {
        let worker = Worker {
            index,
            state: Arc::clone(state),
            listener,
            resp: resp.next(),
            http: http.take(),
            health: health.clone(),
            health_service: health_service.clone(),
            peers: Arc::clone(&peers),
            inbox,
        };
        let ready = ready.clone();
        let thread = thread::Builder::new().name(format!("worker-{index}"));
        match thread.spawn(move || worker.run(ready)) {
            Ok(thread) => threads.push(thread),
            Err(source) => failed = Some(StartError::Worker { worker: index, source }),
        }
    }
    drop(ready);
    // Ends when every worker has told, or is gone.
    for (worker, result) in is_ready {
        if let Err(source) = result {
            failed = Some(StartError::Worker { worker, source });
        }
    }
    let Some(error) = failed else { return Ok(threads) };
    state.stop();
    for thread in threads {
        // A panic has been told on standard error.
        let _ = thread.join();
    }
    Err(error)
}

fn health() -> (
    HealthReporter,
    tonic_health::pb::health_server::HealthServer<tonic_health::server::HealthService>,
) {
    let reporter = HealthReporter::new();
    let service = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
    (reporter, tonic_health::pb::health_server::HealthServer::new(service))
}

impl Worker {
    fn run(self, ready: std_mpsc::Sender<(usize, io::Result<()>)>) {
        let index = self.index;
        // Held as long as the worker runs: its ring goes with it.
        let _ring = match reactor::Reactor::install_polled(self.state.io.kind) {
            Ok(ring) => ring,
            Err(error) => return drop(ready.send((index, Err(error)))),
        };
        if let Err(error) = reactor::register_read_buffers() {
            tracing::debug!(worker = index, %error, "reads go without registered buffers");
        }
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send((index, Err(error)))),
        };
        runtime.block_on(async {
            match self.prepare() {
                Ok(door) => {
                    // The starting thread waits for this, and is there until it has it.
                    let _ = ready.send((index, Ok(())));
                    drop(ready);
                    self.serve(door).await;
                }
                Err(error) => drop(ready.send((index, Err(error)))),
            }
        });
        // What outlived the time a stop may take is dropped here, on the thread of its ring.
        drop(runtime);
    }

    fn prepare(&self) -> io::Result<Door> {
        if let Some(fd) = reactor::ring_fd() {
            // SAFETY: the descriptor is the ring's of this thread. `run` holds the ring until the runtime is gone, and with
            // it the task that owns this registration.
            let ring = unsafe { AsyncFd::register_with_interest(RingFd(fd), Interest::READABLE) }
                .map_err(io::Error::from)?;
            tokio::spawn(reap(ring));
        }
        let metrics = Arc::clone(&self.state.workers[self.index]);
        let operations = Arc::new(Operations { state: Arc::clone(&self.state), metrics });
        Door::new(&operations, self.health_service.clone()).map_err(io::Error::other)
    }

    async fn serve(mut self, door: Door) {
        let state = Arc::clone(&self.state);
        let leads = self.http.is_some();
        if let Some(listener) = self.http.take() {
            serve_http(listener, Arc::clone(&state));
        }
        if leads {
            report(&self.health, ServingStatus::Serving).await;
        }
        let redis = resp::Door::new(&state, self.index).map(Arc::new);
        if let Some(redis) = &redis {
            tokio::spawn(resp::look_after(Arc::clone(redis)));
            tokio::spawn(resp::wake_together(Arc::clone(redis)));
            if leads {
                tokio::spawn(resp::gather(Arc::clone(redis)));
            }
        }
        let listeners = [(Through::Grpc, Some(self.listener)), (Through::Resp, self.resp)];
        for (through, listener) in listeners {
            match listener.map(tokio::net::TcpListener::from_std) {
                Some(Ok(listener)) => {
                    let (state, peers) = (Arc::clone(&state), Arc::clone(&self.peers));
                    tokio::spawn(accept(listener, through, state, peers));
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "a worker cannot accept connections");
                }
                None => {}
            }
        }
        let mut connections = JoinSet::new();
        let stopped = state.stopped();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                // Nothing is taken in once the node is told to stop, however much is waiting.
                biased;
                () = &mut stopped => break,
                Some(_) = connections.join_next() => {}
                Some(connection) = self.inbox.recv() => {
                    take(&mut connections, &door, redis.as_ref(), &self.peers, connection);
                }
            }
        }
        // Who is on the way here is at rest, and has nothing to wait for.
        drop(self.inbox);
        if leads {
            report(&self.health, ServingStatus::NotServing).await;
            // Ends the streams of those who watch, behind this last word; they would hold up the stop.
            for name in HEALTH_NAMES {
                self.health.clear_service_status(name).await;
            }
        }
        let all = async { while connections.join_next().await.is_some() {} };
        if time::timeout(state.limits.stop_timeout, all).await.is_err() {
            tracing::warn!(
                worker = self.index,
                "calls were cut off: they took longer than stop-timeout"
            );
        }
    }
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
        .on_thread_park(|| {
            reactor::turn();
        })
        .build()
}

/// The descriptor of this thread's ring, which the engine owns.
struct RingFd(RawFd);

impl AsRawFd for RingFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Takes completions from the ring whenever it has some.
async fn reap(ring: AsyncFd<RingFd>) {
    loop {
        match ring.readable().await {
            // Cleared first: what completes from here on makes it readable again.
            Ok(mut guard) => guard.clear_ready(),
            Err(error) => return tracing::error!(%error, "waiting for the ring failed"),
        }
        reactor::turn();
    }
}

fn serve_http(listener: TcpListener, state: Arc<State>) {
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => drop(tokio::spawn(http::serve(listener, state))),
        Err(error) => tracing::error!(%error, "the HTTP door cannot listen"),
    }
}
