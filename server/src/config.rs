//! A node's configuration: TOML in, settings out, and every mistake told with line and column.
//!
//! `raw` is the file as serde reads it; `check` turns it into the types below; `units` reads sizes and durations;
//! `resp` is the Redis door's part; `write` turns settings back into TOML. The commented default is `default.toml`.

mod check;
mod raw;
mod resp;
mod units;
mod write;

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
};

use cairn_engine::{DeviceConfig, NamespaceConfig, device::IoChoice};

pub use crate::limits::Limits;
pub(crate) use check::check_eviction;
pub use resp::{RespConfig, Secret};
pub use units::{format_duration, format_size, parse_duration, parse_size};
pub use write::{commit_level, durability};

/// Everything a node is told before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The node itself.
    pub node: NodeConfig,
    /// The bounds of its doors.
    pub limits: Limits,
    /// The Redis door.
    pub resp: RespConfig,
    /// Its namespaces, at least one.
    pub namespaces: Vec<NamespaceSettings>,
}

/// The node itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// Its name in the cluster.
    pub name: String,
    /// The cluster its devices belong to.
    pub cluster_name: String,
    /// The address it listens on.
    pub listen: IpAddr,
    /// The host that clients are told to connect to; `None` for `listen`, or this machine's own address when that is all of them.
    pub advertise: Option<String>,
    /// Port of the gRPC door; 0 lets the operating system choose.
    pub grpc_port: u16,
    /// Port for health and metrics; 0 lets the operating system choose.
    pub http_port: u16,
    /// Worker threads; 0 for one per core.
    pub workers: usize,
    /// How to do I/O.
    pub io_engine: IoChoice,
}

/// A namespace: what the engine needs, and what the server adds.
#[derive(Clone, Debug, PartialEq)]
pub struct NamespaceSettings {
    /// The engine's part.
    pub engine: NamespaceConfig,
    /// On how many nodes a record lies. Only 1 so far.
    pub replication_factor: u32,
    /// Whether a single write may ask for weaker durability or a weaker commit level.
    pub weaker_per_request: bool,
}

/// A mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file; `None` for text that came from elsewhere.
    pub file: Option<PathBuf>,
    /// Line of the mistake, from 1; 0 when it has no place.
    pub line: usize,
    /// Column of the mistake in characters, from 1; 0 when it has no place.
    pub column: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}", file.display())?,
            None => f.write_str("configuration")?,
        }
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let in_file = |error| ConfigError { file: Some(path.into()), ..error };
        let text = std::fs::read_to_string(path).map_err(|error| {
            in_file(ConfigError { file: None, line: 0, column: 0, message: error.to_string() })
        })?;
        Self::parse(&text).map_err(in_file)
    }

    /// Reads a configuration from text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let (raw, error) = match toml::from_str::<raw::File>(text) {
            Ok(raw) => (raw, None),
            Err(error) => (raw::File::default(), Some(error)),
        };
        match error {
            Some(error) => Err(at(text, error.span(), error.message())),
            None => check::config(raw).map_err(|bad| at(text, bad.span, &bad.message)),
        }
    }

    /// One node for trying things out: loopback, namespace `test` on a file of 4 GiB in `data_dir`.
    pub fn dev(data_dir: &Path) -> Self {
        let file = DeviceConfig::File { path: data_dir.join("test.dat"), size: 4 << 30 };
        let engine = NamespaceConfig::new("test", vec![file]);
        Self {
            node: NodeConfig::default(),
            limits: Limits::default(),
            resp: RespConfig::default(),
            namespaces: vec![NamespaceSettings::new(engine)],
        }
    }

    /// The commented default configuration.
    pub fn default_toml() -> &'static str {
        include_str!("config/default.toml")
    }

    /// These settings as TOML, which [`Config::parse`] reads back.
    pub fn to_toml(&self) -> String {
        write::config(self)
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: "n1".into(),
            cluster_name: "cairn".into(),
            listen: Ipv4Addr::LOCALHOST.into(),
            advertise: None,
            grpc_port: 7400,
            http_port: 7480,
            workers: 0,
            io_engine: IoChoice::Auto,
        }
    }
}

impl NodeConfig {
    /// The host clients are told to connect to, in brackets when it is an IPv6 address.
    pub fn advertised_host(&self) -> String {
        let host = match &self.advertise {
            Some(host) => return host.clone(),
            None if self.listen.is_unspecified() => own_address(self.listen),
            None => self.listen,
        };
        match host {
            IpAddr::V4(host) => host.to_string(),
            IpAddr::V6(host) => format!("[{host}]"),
        }
    }
}

impl NamespaceSettings {
    /// The documented defaults around `engine`.
    pub fn new(engine: NamespaceConfig) -> Self {
        Self { engine, replication_factor: 1, weaker_per_request: true }
    }
}

/// The address this machine would send from. Connecting a UDP socket chooses it and sends nothing.
fn own_address(listen: IpAddr) -> IpAddr {
    let (any, far) = match listen {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let address = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(far)?;
        socket.local_addr()
    });
    address.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

fn at(text: &str, span: Option<std::ops::Range<usize>>, message: &str) -> ConfigError {
    let (line, column) = span.map_or((0, 0), |span| {
        let before = &text[..text.floor_char_boundary(span.start)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    });
    ConfigError { file: None, line, column, message: message.trim_end().replace('\n', "; ") }
}
