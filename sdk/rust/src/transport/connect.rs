//! Where a client connects to, and how its connections are set up.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::{Code, Error, error::cause_of};

/// Bytes that the server may send ahead of us, per connection and per stream. Large: small windows would make the many answers
/// of a pipeline wait for window updates.
const CONNECTION_WINDOW: u32 = 16 << 20;
const STREAM_WINDOW: u32 = 8 << 20;

/// The limits and times of a client; see [`ClientBuilder`](crate::ClientBuilder), whose methods document them.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub connections: usize,
    pub in_flight: u32,
    pub deadline: Duration,
    pub connect_timeout: Duration,
    pub retries: u32,
    pub keep_alive: Duration,
    pub max_message: usize,
}

/// A node's address, and how to reach it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub address: String,
    endpoint: Endpoint,
}

impl Target {
    /// `address` is `host:port`, or a URL with the scheme `http`.
    pub fn new(address: &str, settings: &Settings) -> Result<Self, Error> {
        let bare = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
        let invalid = |why: &str| {
            let message = format!(
                "{address:?} is not an address ({why}); write it as host:port, as in 127.0.0.1:7400"
            );
            Error::new(Code::Invalid, message)
        };
        if bare.contains("://") || !bare.contains(':') {
            return Err(invalid("the port is missing, or it is no http URL"));
        }
        let endpoint = Endpoint::from_shared(format!("http://{bare}"))
            .and_then(|endpoint| {
                endpoint.user_agent(concat!("cairn-sdk/", env!("CARGO_PKG_VERSION")))
            })
            .map_err(|error| invalid(&error.to_string()))?
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .http2_keep_alive_interval(settings.keep_alive)
            .keep_alive_timeout(settings.keep_alive)
            .keep_alive_while_idle(true);
        Ok(Self { address: bare.into(), endpoint })
    }

    /// A connection that is made when it is used.
    pub fn connect_lazily(&self) -> Channel {
        self.endpoint.connect_lazy()
    }

    /// Makes a connection; the error says what the operating system said.
    pub async fn connect(&self) -> Result<Channel, String> {
        let channel = self.endpoint.connect().await;
        channel.map_err(|error| format!("cannot connect to {}: {}", self.address, cause_of(&error)))
    }
}
