//! From the file as read to settings that can work. Every refusal names the place and what is allowed.

use std::{net::IpAddr, ops::Range, ops::RangeInclusive, time::Duration};

use cairn_engine::{
    DeviceConfig, NamespaceConfig,
    device::IoChoice,
    model::{CommitLevel, Durability, limits},
};
use toml::Spanned;

use super::{
    Config, NamespaceSettings, NodeConfig,
    raw::{self, Given},
    resp,
    units::{Size, Time, format_size},
};
use crate::limits::{Limits, MESSAGE_SIZE_MAX};

/// A mistake and where it stands.
pub struct Bad {
    pub span: Option<Range<usize>>,
    pub message: String,
}

pub type Checked<T> = Result<T, Bad>;

pub fn bad<T>(value: &Spanned<T>, message: impl Into<String>) -> Bad {
    Bad { span: Some(value.span()), message: message.into() }
}

/// The settings of a whole file.
pub fn config(file: raw::File) -> Checked<Config> {
    let node = node(file.node)?;
    let limits = limits_of(&file.limits)?;
    if file.namespace.is_empty() {
        let message = "no [[namespace]]: a node needs one at least; see `cairn config default`";
        return Err(Bad { span: None, message: message.into() });
    }
    let mut namespaces: Vec<NamespaceSettings> = Vec::new();
    for raw in file.namespace {
        let name = raw.as_ref().name.clone();
        let settings = namespace(&node.cluster_name, raw)?;
        if namespaces.iter().any(|other| other.engine.name == settings.engine.name) {
            return Err(bad(&name, format!("two namespaces are named {:?}", name.as_ref())));
        }
        for device in &settings.engine.devices {
            let used = |other: &NamespaceSettings| {
                other.engine.devices.iter().any(|d| d.path() == device.path())
            };
            if namespaces.iter().any(used) {
                let path = device.path().display();
                return Err(bad(&name, format!("{path} belongs to another namespace already")));
            }
        }
        namespaces.push(settings);
    }
    let resp = resp::settings(file.resp, &namespaces)?;
    Ok(Config { node, limits, resp, namespaces })
}

fn node(raw: raw::Node) -> Checked<NodeConfig> {
    let default = NodeConfig::default();
    let listen = match &raw.listen {
        None => default.listen,
        Some(text) => text.as_ref().parse::<IpAddr>().map_err(|_| {
            bad(text, format!("{:?} is not an IP address such as 127.0.0.1", text.as_ref()))
        })?,
    };
    let io_engine = match &raw.io_engine {
        None => default.io_engine,
        Some(text) => text.as_ref().parse::<IoChoice>().map_err(|_| {
            bad(
                text,
                format!("{:?}: \"auto\", \"io_uring\" or \"pool\" are possible", text.as_ref()),
            )
        })?,
    };
    Ok(NodeConfig {
        name: text(raw.name, default.name, 63)?,
        cluster_name: text(raw.cluster_name, default.cluster_name, 31)?,
        listen,
        advertise: raw.advertise.map(|host| text(Some(host), String::new(), 253)).transpose()?,
        grpc_port: number(&raw.grpc_port, 0..=65_535, default.grpc_port)?,
        http_port: number(&raw.http_port, 0..=65_535, default.http_port)?,
        workers: number(&raw.workers, 0..=1024, default.workers)?,
        io_engine,
    })
}

fn limits_of(raw: &raw::Limits) -> Checked<Limits> {
    let default = Limits::default();
    let second = Duration::from_secs(1);
    Ok(Limits {
        connections: number(&raw.connections, 1..=1_000_000, default.connections)?,
        streams_per_connection: number(
            &raw.streams_per_connection,
            1..=1_000_000,
            default.streams_per_connection,
        )?,
        message_size: match &raw.message_size {
            Some(given) if given.as_ref().0 == 0 => 0,
            given => size(given, 64 << 10..=MESSAGE_SIZE_MAX, default.message_size)?,
        },
        header_list_size: size(
            &raw.header_list_size,
            1 << 10..=1 << 20,
            u64::from(default.header_list_size),
        )? as u32,
        batch_requests: number(&raw.batch_requests, 1..=100_000, default.batch_requests)?,
        pipeline_items: number(&raw.pipeline_items, 1..=65_536, default.pipeline_items)?,
        stream_in_flight: number(&raw.stream_in_flight, 1..=1 << 20, default.stream_in_flight)?,
        worker_in_flight: number(&raw.worker_in_flight, 1..=1 << 20, default.worker_in_flight)?,
        worker_receiving: size(
            &raw.worker_receiving,
            1 << 20..=1 << 36,
            default.worker_receiving as u64,
        )? as usize,
        request_timeout: time(&raw.request_timeout, second / 1000, default.request_timeout)?,
        handshake_timeout: time(&raw.handshake_timeout, second / 10, default.handshake_timeout)?,
        stop_timeout: time(&raw.stop_timeout, Duration::ZERO, default.stop_timeout)?,
        keepalive_interval: time(&raw.keepalive_interval, second, default.keepalive_interval)?,
        keepalive_timeout: time(&raw.keepalive_timeout, second, default.keepalive_timeout)?,
    })
}

fn namespace(cluster: &str, raw: Spanned<raw::Namespace>) -> Checked<NamespaceSettings> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let storage_span = raw.storage.span();
    let storage = raw.storage.into_inner();
    if let Some(factor) = raw.replication_factor.filter(|factor| *factor.as_ref() != 1) {
        return Err(bad(&factor, "replication-factor: only 1 is possible so far"));
    }
    let devices = devices(storage.devices, storage.files)?;
    if devices.is_empty() {
        let message = "storage has no device: give devices = [...] or files = [{ path, size }]";
        return Err(Bad { span: Some(storage_span), message: message.into() });
    }
    let default = NamespaceConfig::new(raw.name.as_ref().as_str(), devices);
    let block = block_size(&storage.write_block_size, default.write_block_size)?;
    let flush_default = default.flush_size.min(block);
    let max_used_pct = number(&storage.max_used_pct, 1..=100, default.max_used_pct)?;
    let evict = number(&storage.evict_used_pct, 0..=100, default.evict_used_pct)?;
    if let (Err(message), Some(given)) =
        (check_eviction(evict, max_used_pct), &storage.evict_used_pct)
    {
        return Err(bad(given, message));
    }
    let engine = NamespaceConfig {
        cluster: cluster.into(),
        durability: match raw.durability.map(Spanned::into_inner) {
            None => default.durability,
            Some(raw::Durability::Device) => Durability::Device,
            Some(raw::Durability::Buffer) => Durability::Buffer,
        },
        commit_level: match raw.commit_level.map(Spanned::into_inner) {
            None => default.commit_level,
            Some(raw::CommitLevel::All) => CommitLevel::All,
            Some(raw::CommitLevel::Master) => CommitLevel::Master,
        },
        default_ttl_ms: match &raw.default_ttl {
            None => default.default_ttl_ms,
            Some(ttl) => ttl.as_ref().0.as_millis() as u64,
        },
        max_record_size: size(
            &raw.max_record_size,
            1024..=block,
            default.max_record_size.min(block),
        )?,
        write_block_size: block,
        flush_size: power_of_two(&storage.flush_size, limits::FLUSH_MIN..=block, flush_default)?,
        flush_max: Duration::from_millis(number(
            &storage.flush_max_ms,
            1..=3_600_000,
            default.flush_max.as_millis() as u64,
        )?),
        post_write_cache: size(&storage.post_write_cache, 0..=1 << 40, default.post_write_cache)?,
        max_used_pct,
        evict_used_pct: evict,
        ..default
    };
    engine.check().map_err(|message| Bad { span: Some(whole), message })?;
    Ok(NamespaceSettings {
        weaker_per_request: raw.weaker_per_request.unwrap_or(true),
        ..NamespaceSettings::new(engine)
    })
}

/// Whether records would ever be evicted above `evict` per cent: where writes are refused before that is reached, they would not.
pub fn check_eviction(evict: u8, max_used: u8) -> Result<(), String> {
    if evict > 0 && evict >= max_used {
        return Err(format!(
            "evict-used-pct {evict}: must be below max-used-pct ({max_used}), where writes are refused; 0 is off"
        ));
    }
    if evict > EVICT_USED_PCT_MAX {
        return Err(format!(
            "evict-used-pct {evict}: 0 to {EVICT_USED_PCT_MAX} are possible; the rest is kept free for the defragmenter"
        ));
    }
    Ok(())
}

/// Live records never take more than 96 per cent of a device.
const EVICT_USED_PCT_MAX: u8 = 95;

/// Smaller write blocks work, but cost write amplification; the engine takes them for its tests.
fn block_size(given: &Given<Size>, default: u64) -> Checked<u64> {
    power_of_two(given, 128 << 10..=limits::WRITE_BLOCK_MAX, default)
}

fn devices(raw: Vec<Spanned<String>>, files: Vec<raw::DataFile>) -> Checked<Vec<DeviceConfig>> {
    let mut devices: Vec<DeviceConfig> = Vec::new();
    let mut add = |path: &Spanned<String>, device: DeviceConfig| {
        if path.as_ref().is_empty() {
            return Err(bad(path, "the path is empty"));
        }
        if devices.iter().any(|other| other.path() == device.path()) {
            return Err(bad(path, format!("{} is named twice", path.as_ref())));
        }
        devices.push(device);
        Ok(())
    };
    for path in &raw {
        add(path, DeviceConfig::Raw(path.as_ref().into()))?;
    }
    for file in &files {
        let size = size(&Some(file.size.clone()), 8 << 20..=limits::ADDRESS_SPACE, 0)?;
        add(&file.path, DeviceConfig::File { path: file.path.as_ref().into(), size })?;
    }
    Ok(devices)
}

fn text(given: Given<String>, default: String, max: usize) -> Checked<String> {
    let Some(given) = given else { return Ok(default) };
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
    if given.as_ref().is_empty() || given.as_ref().len() > max || !given.as_ref().chars().all(fine)
    {
        return Err(bad(
            &given,
            format!("1 to {max} letters, digits, '-', '_' or '.' are possible"),
        ));
    }
    Ok(given.into_inner())
}

pub fn number<T: TryFrom<i64>>(
    given: &Given<i64>,
    range: RangeInclusive<i64>,
    default: T,
) -> Checked<T> {
    let Some(given) = given else { return Ok(default) };
    let fine =
        if range.contains(given.as_ref()) { T::try_from(*given.as_ref()).ok() } else { None };
    fine.ok_or_else(|| {
        bad(given, format!("{}: {} to {} are possible", given.as_ref(), range.start(), range.end()))
    })
}

pub fn size(given: &Given<Size>, range: RangeInclusive<u64>, default: u64) -> Checked<u64> {
    let Some(given) = given else { return Ok(default) };
    if !range.contains(&given.as_ref().0) {
        let (given_size, least, most) =
            (format_size(given.as_ref().0), format_size(*range.start()), format_size(*range.end()));
        return Err(bad(given, format!("{given_size}: {least} to {most} are possible")));
    }
    Ok(given.as_ref().0)
}

fn power_of_two(given: &Given<Size>, range: RangeInclusive<u64>, default: u64) -> Checked<u64> {
    let size = size(given, range, default)?;
    match given {
        Some(given) if !size.is_power_of_two() => {
            Err(bad(given, format!("{}: a power of two is needed", format_size(size))))
        }
        _ => Ok(size),
    }
}

pub fn time(given: &Given<Time>, least: Duration, default: Duration) -> Checked<Duration> {
    let most = Duration::from_secs(24 * 3600);
    match given {
        None => Ok(default),
        Some(given) if (least..=most).contains(&given.as_ref().0) => Ok(given.as_ref().0),
        Some(given) => Err(bad(given, format!("{least:?} to 24h are possible"))),
    }
}
