//! The configuration file as serde reads it: names, defaults, and where each value stands.

use serde::Deserialize;
use toml::Spanned;

use super::units::{Size, Time};

/// A value that may be given, and where it stands.
pub type Given<T> = Option<Spanned<T>>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    #[serde(default)]
    pub node: Node,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub resp: Resp,
    #[serde(default)]
    pub namespace: Vec<Spanned<Namespace>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Node {
    pub name: Given<String>,
    pub cluster_name: Given<String>,
    pub listen: Given<String>,
    pub advertise: Given<String>,
    pub grpc_port: Given<i64>,
    pub http_port: Given<i64>,
    pub workers: Given<i64>,
    pub io_engine: Given<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    pub connections: Given<i64>,
    pub streams_per_connection: Given<i64>,
    pub message_size: Given<Size>,
    pub header_list_size: Given<Size>,
    pub batch_requests: Given<i64>,
    pub pipeline_items: Given<i64>,
    pub stream_in_flight: Given<i64>,
    pub worker_in_flight: Given<i64>,
    pub worker_receiving: Given<Size>,
    pub request_timeout: Given<Time>,
    pub handshake_timeout: Given<Time>,
    pub stop_timeout: Given<Time>,
    pub keepalive_interval: Given<Time>,
    pub keepalive_timeout: Given<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Resp {
    pub listen: Given<String>,
    pub port: Given<Port>,
    pub namespace: Given<String>,
    pub password: Given<String>,
    pub max_connections: Given<i64>,
    pub idle_timeout: Given<Time>,
    pub gather: Option<bool>,
    pub output_buffer: Given<Size>,
    pub request_size: Given<Size>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a port, 0 for none, or \"any\"")]
pub enum Port {
    Number(i64),
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Namespace {
    pub name: Spanned<String>,
    pub replication_factor: Given<i64>,
    pub commit_level: Given<CommitLevel>,
    pub durability: Given<Durability>,
    pub weaker_per_request: Option<bool>,
    pub default_ttl: Given<Time>,
    pub max_record_size: Given<Size>,
    pub storage: Spanned<Storage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Storage {
    #[serde(default)]
    pub devices: Vec<Spanned<String>>,
    #[serde(default)]
    pub files: Vec<DataFile>,
    pub write_block_size: Given<Size>,
    pub flush_size: Given<Size>,
    pub flush_max_ms: Given<i64>,
    pub post_write_cache: Given<Size>,
    pub max_used_pct: Given<i64>,
    pub evict_used_pct: Given<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataFile {
    pub path: Spanned<String>,
    pub size: Spanned<Size>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitLevel {
    All,
    Master,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    Device,
    Buffer,
}
