//! A node from start to stop.
//!
//! [`Node::start`] opens the namespaces, binds the sockets and starts one worker thread per core; [`Node::stop`] takes no more
//! connections, waits a bounded time for what is in flight, and closes the namespaces, which saves their indexes.

mod accept;
mod banner;
mod error;
mod listen;
mod take;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use cairn_engine::{
    Namespace, OpenOptions, Progress,
    device::{IoEngine, reactor},
};

pub use error::{StartError, StopError};

use crate::{
    config::{Config, NamespaceSettings},
    state::{Addresses, Served, State},
};
use listen::Sockets;

/// Called while a namespace opens, with its name.
pub type OpenProgress = Arc<dyn Fn(&str, &Progress) + Send + Sync>;

/// What a start is told besides the configuration.
#[derive(Clone, Default)]
pub struct Options {
    /// Listen on an address that is not loopback although there is no authentication.
    pub insecure: bool,
    /// Told how far the opening of a namespace is.
    pub progress: Option<OpenProgress>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("insecure", &self.insecure).finish_non_exhaustive()
    }
}

/// A running node. Dropping it stops it too, without telling what went wrong.
#[derive(Debug)]
pub struct Node {
    state: Arc<State>,
    addresses: Addresses,
    workers: Vec<JoinHandle<()>>,
    closed: bool,
}

impl Node {
    /// Starts a node. Blocks while the namespaces open, which may take long after a crash.
    pub fn start(config: Config, options: Options) -> Result<Self, StartError> {
        let listen = config.node.listen;
        if !listen.is_loopback() && !options.insecure {
            return Err(StartError::NotLoopback(listen));
        }
        let workers = match config.node.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            set => set,
        };
        // Ports first: that they are taken should not be told after a long cold start.
        let sockets = Sockets::bind(&config, workers)?;
        let addresses = sockets.addresses.clone();
        let io = IoEngine::choose(config.node.io_engine).map_err(StartError::Io)?;
        let namespaces = open(&config.namespaces, &io, &options)?;
        let state = Arc::new(State::new(config, io, namespaces, workers));
        state.addresses.get_or_init(|| addresses.clone());
        if let Some(resp) = &state.resp {
            let served = &state.namespaces[resp.place];
            let loaded = reactor::block_on(resp.load(&served.engine));
            loaded.map_err(|source| StartError::Databases {
                namespace: served.name.clone(),
                source,
            })?;
        }
        let mut node = Self { state, addresses, workers: Vec::new(), closed: false };
        // On a failure `node` is dropped, which stops the workers already there and closes the namespaces.
        node.workers = worker::start(&node.state, sockets)?;
        node.state.serving.store(true, Ordering::Release);
        tracing::info!(name = node.state.name, grpc = %node.addresses.grpc, "serving");
        Ok(node)
    }

    /// Where the node listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What a person at a terminal wants to know first.
    pub fn banner(&self) -> String {
        banner::banner(&self.state, &self.addresses)
    }

    /// The namespaces it serves, for programs that run a node in their own process.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.state.namespace(name).map(|served| &served.engine)
    }

    /// Stops the node: no more connections, a bounded wait for what is in flight, then the namespaces are closed.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.close()
    }

    fn close(&mut self) -> Result<(), StopError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let started = std::time::Instant::now();
        self.state.stop();
        let panicked = self.workers.drain(..).filter_map(|worker| worker.join().err()).count();
        let mut result = Ok(());
        for served in &self.state.namespaces {
            if let Err(source) = served.engine.close() {
                tracing::error!(namespace = served.name, error = %source, "closing failed");
                result = Err(StopError::Close { namespace: served.name.clone(), source });
            }
        }
        if panicked > 0 {
            result = Err(StopError::Panicked(panicked));
        }
        let took: Duration = started.elapsed();
        tracing::info!(took_ms = took.as_millis() as u64, "stopped");
        result
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What went wrong is in the log; `stop` returns it.
        let _ = self.close();
    }
}

fn open(
    settings: &[NamespaceSettings],
    io: &IoEngine,
    options: &Options,
) -> Result<Vec<Served>, StartError> {
    let mut opened: Vec<Served> = Vec::with_capacity(settings.len());
    for one in settings {
        let name = one.engine.name.clone();
        let mut open_options = OpenOptions::new(io.clone());
        if let Some(progress) = options.progress.clone() {
            let name = name.clone();
            open_options.progress = Arc::new(move |step| progress(&name, step));
        }
        match Namespace::open(&one.engine, &open_options) {
            Ok(engine) => {
                log_start(&name, &engine);
                let weaker_per_request = one.weaker_per_request;
                let truncating = Arc::default();
                opened.push(Served { name, engine, truncating, weaker_per_request });
            }
            Err(source) => {
                for served in &opened {
                    // The first failure is the one to tell.
                    let _ = served.engine.close();
                }
                return Err(StartError::Open { namespace: name, source });
            }
        }
    }
    Ok(opened)
}

fn log_start(name: &str, engine: &Namespace) {
    let report = engine.report();
    let took_ms = report.took.as_millis() as u64;
    tracing::info!(namespace = name, kind = ?report.kind, records = report.records, took_ms, "open");
    for damage in &report.damage {
        tracing::warn!(namespace = name, "damage found: {damage}");
    }
}
