//! The sockets a node listens on: one for HTTP, and for gRPC and Redis clients one per worker on the same port.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;
use crate::{config::Config, state::Addresses};

const BACKLOG: i32 = 1024;

/// Bound and listening sockets.
pub struct Sockets {
    /// One for each worker.
    pub grpc: Vec<TcpListener>,
    /// One for each worker; none when there is no Redis door.
    pub resp: Vec<TcpListener>,
    /// The HTTP door's.
    pub http: TcpListener,
    /// Where they listen: the ports the operating system chose in place of 0.
    pub addresses: Addresses,
}

impl Sockets {
    /// Binds all sockets of a node with `workers` workers.
    pub fn bind(config: &Config, workers: usize) -> Result<Self, StartError> {
        let node = &config.node;
        let http = Door { name: "HTTP", setting: "http-port" };
        let grpc = Door { name: "gRPC", setting: "grpc-port" };
        let redis = Door { name: "Redis", setting: "--resp-port or port of [resp], 0 for none" };
        let wanted = SocketAddr::new(node.listen, node.grpc_port);
        let (grpc, grpc_address) = grpc.bind_all(wanted, workers)?;
        let (mut resp, mut resp_address) = (Vec::new(), None);
        if let Some(port) = config.resp.port {
            let wanted = SocketAddr::new(config.resp.listen, port);
            let (listeners, address) = redis.bind_all(wanted, workers)?;
            (resp, resp_address) = (listeners, Some(address));
        }
        let wanted = SocketAddr::new(node.listen, node.http_port);
        let http_listener = http.bind(wanted, false)?;
        let http_address = http.address(&http_listener, wanted)?;
        let addresses = Addresses { grpc: grpc_address, http: http_address, resp: resp_address };
        Ok(Self { grpc, resp, http: http_listener, addresses })
    }
}

struct Door {
    name: &'static str,
    setting: &'static str,
}

impl Door {
    /// A socket on the same port for each worker, and where they listen.
    fn bind_all(
        &self,
        wanted: SocketAddr,
        workers: usize,
    ) -> Result<(Vec<TcpListener>, SocketAddr), StartError> {
        if wanted.port() != 0 {
            // Sockets with SO_REUSEPORT would silently share the port with another node of the same user.
            self.bind(wanted, false)?;
        }
        let first = self.bind(wanted, true)?;
        let address = self.address(&first, wanted)?;
        let mut listeners = vec![first];
        for _ in 1..workers {
            listeners.push(self.bind(address, true)?);
        }
        Ok((listeners, address))
    }

    fn bind(&self, address: SocketAddr, shared: bool) -> Result<TcpListener, StartError> {
        listen(address, shared).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => {
                StartError::PortInUse { door: self.name, address, setting: self.setting }
            }
            _ => StartError::Listen { door: self.name, address, source },
        })
    }

    fn address(&self, of: &TcpListener, wanted: SocketAddr) -> Result<SocketAddr, StartError> {
        let failed = |source| StartError::Listen { door: self.name, address: wanted, source };
        of.local_addr().map_err(failed)
    }
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
