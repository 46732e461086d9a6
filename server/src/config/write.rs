//! Settings as TOML: what `GetConfig` answers. `Config::parse` reads it back to the same settings.

use std::fmt::Write;

use cairn_engine::{
    DeviceConfig,
    device::IoChoice,
    model::{CommitLevel, Durability},
};

use super::{Config, NamespaceSettings, format_duration, format_size};

/// The whole configuration.
pub fn config(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = node(&mut out, config);
    let _ = limits(&mut out, config);
    let _ = super::resp::write(&mut out, &config.resp);
    for settings in &config.namespaces {
        let _ = namespace(&mut out, settings);
    }
    out
}

fn quoted(text: impl std::fmt::Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn node(out: &mut String, config: &Config) -> std::fmt::Result {
    let node = &config.node;
    let io = match node.io_engine {
        IoChoice::Auto => "auto",
        IoChoice::Uring => "io_uring",
        IoChoice::Pool => "pool",
    };
    writeln!(out, "[node]")?;
    writeln!(out, "name = {}", quoted(&node.name))?;
    writeln!(out, "cluster-name = {}", quoted(&node.cluster_name))?;
    writeln!(out, "listen = {}", quoted(node.listen))?;
    if let Some(host) = &node.advertise {
        writeln!(out, "advertise = {}", quoted(host))?;
    }
    writeln!(out, "grpc-port = {}", node.grpc_port)?;
    writeln!(out, "http-port = {}", node.http_port)?;
    writeln!(out, "workers = {}", node.workers)?;
    writeln!(out, "io-engine = {}", quoted(io))
}

fn limits(out: &mut String, config: &Config) -> std::fmt::Result {
    let limits = &config.limits;
    let time = |out: &mut String, name: &str, duration| {
        writeln!(out, "{name} = {}", quoted(format_duration(duration)))
    };
    writeln!(out, "\n[limits]")?;
    writeln!(out, "connections = {}", limits.connections)?;
    writeln!(out, "streams-per-connection = {}", limits.streams_per_connection)?;
    writeln!(out, "message-size = {}", quoted(format_size(limits.message_size)))?;
    writeln!(out, "header-list-size = {}", quoted(format_size(limits.header_list_size.into())))?;
    writeln!(out, "batch-requests = {}", limits.batch_requests)?;
    writeln!(out, "pipeline-items = {}", limits.pipeline_items)?;
    writeln!(out, "stream-in-flight = {}", limits.stream_in_flight)?;
    writeln!(out, "worker-in-flight = {}", limits.worker_in_flight)?;
    let receiving = format_size(limits.worker_receiving as u64);
    writeln!(out, "worker-receiving = {}", quoted(receiving))?;
    time(out, "request-timeout", limits.request_timeout)?;
    time(out, "handshake-timeout", limits.handshake_timeout)?;
    time(out, "stop-timeout", limits.stop_timeout)?;
    time(out, "keepalive-interval", limits.keepalive_interval)?;
    time(out, "keepalive-timeout", limits.keepalive_timeout)
}

fn namespace(out: &mut String, settings: &NamespaceSettings) -> std::fmt::Result {
    let engine = &settings.engine;
    let ttl = std::time::Duration::from_millis(engine.default_ttl_ms);
    writeln!(out, "\n[[namespace]]")?;
    writeln!(out, "name = {}", quoted(&engine.name))?;
    writeln!(out, "replication-factor = {}", settings.replication_factor)?;
    writeln!(out, "commit-level = {}", quoted(commit_level(engine.commit_level)))?;
    writeln!(out, "durability = {}", quoted(durability(engine.durability)))?;
    writeln!(out, "weaker-per-request = {}", settings.weaker_per_request)?;
    writeln!(out, "default-ttl = {}", quoted(format_duration(ttl)))?;
    writeln!(out, "max-record-size = {}", quoted(format_size(engine.max_record_size)))?;
    writeln!(out, "\n[namespace.storage]")?;
    writeln!(out, "devices = [")?;
    for device in &engine.devices {
        if let DeviceConfig::Raw(path) = device {
            writeln!(out, "  {},", quoted(path.display()))?;
        }
    }
    writeln!(out, "]\nfiles = [")?;
    for device in &engine.devices {
        if let DeviceConfig::File { path, size } = device {
            let (path, size) = (quoted(path.display()), quoted(format_size(*size)));
            writeln!(out, "  {{ path = {path}, size = {size} }},")?;
        }
    }
    writeln!(out, "]")?;
    writeln!(out, "write-block-size = {}", quoted(format_size(engine.write_block_size)))?;
    writeln!(out, "flush-size = {}", quoted(format_size(engine.flush_size)))?;
    writeln!(out, "flush-max-ms = {}", engine.flush_max.as_millis())?;
    writeln!(out, "post-write-cache = {}", quoted(format_size(engine.post_write_cache)))?;
    writeln!(out, "max-used-pct = {}", engine.max_used_pct)?;
    writeln!(out, "evict-used-pct = {}", engine.evict_used_pct)
}

/// A commit level as the configuration writes it.
pub fn commit_level(level: CommitLevel) -> &'static str {
    match level {
        CommitLevel::All => "all",
        CommitLevel::Master => "master",
    }
}

/// A durability as the configuration writes it.
pub fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Device => "device",
        Durability::Buffer => "buffer",
    }
}
