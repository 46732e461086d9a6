//! Why a node did not start, or did not stop as it should.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use cairn_engine::OpenError;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Others could reach the node, and there is no authentication yet.
    #[error(
        "listen = \"{0}\" would let anyone on the network in, as there is no authentication yet; \
         listen on 127.0.0.1, or start with --insecure if the network is trusted"
    )]
    NotLoopback(IpAddr),
    /// The port is taken.
    #[error(
        "port {port} of the {door} door is in use on {listen}; stop what uses it (see `ss -ltnp 'sport = :{port}'`) \
         or set another {setting}",
        port = address.port(), listen = address.ip()
    )]
    PortInUse {
        /// Which door.
        door: &'static str,
        /// The address that is taken.
        address: SocketAddr,
        /// The setting that names the port.
        setting: &'static str,
    },
    /// The operating system does not let us listen.
    #[error("listening on {address} for the {door} door failed: {source}")]
    Listen {
        /// Which door.
        door: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A namespace could not be opened.
    #[error("namespace {namespace}: {source}")]
    Open {
        /// Its name.
        namespace: String,
        /// Why.
        source: OpenError,
    },
    /// The table of Redis databases could not be read.
    #[error("namespace {namespace}: the table of Redis databases: {source}")]
    Databases {
        /// Its name.
        namespace: String,
        /// Why.
        source: cairn_engine::Error,
    },
    /// The I/O engine asked for is not to be had.
    #[error("the I/O engine: {0}")]
    Io(io::Error),
    /// A worker thread could not be started.
    #[error("starting worker {worker}: {source}")]
    Worker {
        /// Its number.
        worker: usize,
        /// Why.
        source: io::Error,
    },
}

/// What went wrong at a stop. The data that was acknowledged is safe all the same.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A namespace could not be closed cleanly; its next start is a cold one.
    #[error("closing namespace {namespace}: {source}")]
    Close {
        /// Its name.
        namespace: String,
        /// Why.
        source: cairn_engine::Error,
    },
    /// Worker threads panicked.
    #[error("{0} worker threads panicked; see the log")]
    Panicked(usize),
}
