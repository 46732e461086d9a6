//! What all workers of a node share: namespaces, limits, the signal to stop.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use cairn_engine::{Namespace, device::IoEngine};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{config::Config, doors::resp, limits::Limits, metrics::WorkerMetrics};

/// A namespace that is open.
pub struct Served {
    /// Its name.
    pub name: String,
    /// The engine's side of it.
    pub engine: Arc<Namespace>,
    /// Held by the truncation under way: each takes a thread of its own.
    pub truncating: Arc<tokio::sync::Mutex<()>>,
    /// Whether a write may ask for less than the namespace promises.
    pub weaker_per_request: bool,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The gRPC door.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
    /// The Redis door, if there is one.
    pub resp: Option<SocketAddr>,
}

/// What all workers share.
#[derive(Debug)]
pub struct State {
    /// The configuration in force; settings changed at run time are changed here too.
    pub config: Mutex<Config>,
    /// The node's name.
    pub name: String,
    /// Its limits.
    pub limits: Limits,
    /// Bytes of one message at most.
    pub message_bytes: usize,
    /// When it started.
    pub started: Instant,
    /// How it does I/O, and why.
    pub io: IoEngine,
    /// The namespaces, in the order of the configuration.
    pub namespaces: Vec<Served>,
    /// The counters of each worker.
    pub workers: Vec<Arc<WorkerMetrics>>,
    /// The Redis door, if there is one.
    pub resp: Option<Arc<resp::Shared>>,
    /// Connections open now.
    pub connections: AtomicUsize,
    /// Connections refused since there were too many.
    pub refused_connections: AtomicUsize,
    /// Where it listens; set once the sockets are bound.
    pub addresses: OnceLock<Addresses>,
    /// The host that clients are told to connect to.
    pub advertise: String,
    /// Whether the node takes requests.
    pub serving: AtomicBool,
    stop: watch::Sender<bool>,
}

impl State {
    /// The state of a node that is about to start.
    pub fn new(config: Config, io: IoEngine, namespaces: Vec<Served>, workers: usize) -> Self {
        let largest = namespaces.iter().map(|served| served.engine.config().max_record_size).max();
        let names = namespaces.iter().map(|served| served.name.as_str());
        let place = config.resp.port.and_then(|_| config.resp.place(names));
        let resp = place.map(|place| resp::Shared::new(config.resp.clone(), place, workers));
        Self {
            resp: resp.map(Arc::new),
            name: config.node.name.clone(),
            limits: config.limits.clone(),
            message_bytes: config.limits.message_bytes(largest.unwrap_or(0)),
            advertise: config.node.advertised_host(),
            started: Instant::now(),
            io,
            workers: (0..workers).map(|_| Arc::new(WorkerMetrics::new(namespaces.len()))).collect(),
            namespaces,
            connections: AtomicUsize::new(0),
            refused_connections: AtomicUsize::new(0),
            addresses: OnceLock::new(),
            serving: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            config: Mutex::new(config),
        }
    }

    /// The namespace of this name.
    pub fn namespace(&self, name: &str) -> Option<&Served> {
        self.place_of(name).map(|place| &self.namespaces[place])
    }

    /// The place in [`State::namespaces`] of this name. There are few, so that a walk is the fastest look-up.
    pub fn place_of(&self, name: &str) -> Option<usize> {
        self.namespaces.iter().position(|served| served.name == name)
    }

    /// `host:port` of the gRPC door as clients are told it.
    pub fn advertised(&self) -> String {
        let port = self.addresses.get().map_or(0, |addresses| addresses.grpc.port());
        format!("{}:{port}", self.advertise)
    }

    /// Tells everything to stop. Calling it again changes nothing.
    pub fn stop(&self) {
        self.serving.store(false, Ordering::Release);
        self.stop.send_replace(true);
    }

    /// Whether the node is stopping.
    pub fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Completes when the node is told to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut signal = self.stop.subscribe();
        async move {
            // An error would mean that the state is gone, and then the node has stopped as well.
            let _ = signal.wait_for(|stop| *stop).await;
        }
    }
}
