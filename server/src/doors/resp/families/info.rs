//! `INFO`: what dashboards read, under the names that Redis has for it.
//!
//! A field that means nothing here is left out, unless programs are known to look for it; then it says what is true of a node without that
//! thing (no replicas, nothing to save).

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use cairn_engine::{StartKind, model::Durability};

use super::{
    super::{
        command::{Command, Flags, Group, Handler},
        counters::Counters,
        databases::DATABASES,
        door::Door,
        fail::Done,
        reply::Reply,
        request::Request,
        session::Session,
        table,
    },
    connection::REDIS_VERSION,
};
use crate::process;

/// The row of `INFO`.
pub const INFO: Command = Command::new(
    "info",
    -1,
    Flags::LOADING.and(Flags::STALE),
    Group::Server,
    Handler::Session(info),
)
.about("1.0.0", "Tells how the node is doing");

type Section = fn(&mut String, &Door) -> std::fmt::Result;

/// Name, whether it is told unless asked for, and writer of each section: a new one is a line here.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Modules", true, |_, _| Ok(())),
    ("Commandstats", false, command_stats),
    ("Errorstats", true, error_stats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
];

fn info(_: &mut Session, door: &Door, request: &Request, reply: &mut Reply) -> Done {
    let any =
        |words: &[&str]| (1..request.len()).any(|at| words.iter().any(|word| request.is(at, word)));
    let usual = request.len() == 1 || any(&["DEFAULT"]);
    let all = any(&["ALL", "EVERYTHING"]);
    let mut out = String::with_capacity(4096);
    for (name, common, write) in SECTIONS {
        let named =
            (1..request.len()).any(|at| request.arg(at).eq_ignore_ascii_case(name.as_bytes()));
        if all || named || (usual && *common) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            // Writing to a String cannot fail.
            let _ = write!(out, "# {name}\r\n");
            let _ = write(&mut out, door);
        }
    }
    reply.verbatim("txt", &out);
    Ok(())
}

/// Writes lines of `name:value`.
macro_rules! fields {
    ($out:expr, $($name:literal: $value:expr),+ $(,)?) => {{
        $(write!($out, concat!($name, ":{}\r\n"), $value)?;)+
        Ok(())
    }};
}

fn server(out: &mut String, door: &Door) -> std::fmt::Result {
    let state = &door.state;
    let uptime = state.started.elapsed().as_secs();
    let port = state.addresses.get().and_then(|addresses| addresses.resp);
    let executable = std::env::current_exe().unwrap_or_default();
    fields!(out,
        "redis_version": REDIS_VERSION,
        "cairn_version": crate::VERSION,
        "redis_mode": "standalone",
        "os": std::env::consts::OS,
        "arch_bits": usize::BITS,
        "multiplexing_api": state.io.kind,
        "process_id": std::process::id(),
        "run_id": door.shared.run_id,
        "tcp_port": port.map_or(0, |address| address.port()),
        "server_time_usec": door.now_ms() * 1000,
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
        "hz": 1,
        "executable": executable.display(),
        "config_file": "",
        "io_threads_active": u8::from(state.workers.len() > 1),
    )
}

fn clients(out: &mut String, door: &Door) -> std::fmt::Result {
    let all = door.shared.clients.list();
    let most = |of: fn(&super::super::clients::Client) -> usize| {
        all.iter().map(|client| of(client)).max().unwrap_or(0)
    };
    fields!(out,
        "connected_clients": all.len(),
        "cluster_connections": 0,
        "maxclients": door.shared.config.max_connections,
        "client_recent_max_input_buffer": most(|client| client.input.load(Relaxed)),
        "client_recent_max_output_buffer": most(|client| client.output.load(Relaxed)),
        "blocked_clients": 0,
        "tracking_clients": 0,
    )
}

fn memory(out: &mut String, door: &Door) -> std::fmt::Result {
    let stats = door.namespace().stats();
    let resident = process::resident_bytes();
    let peak = process::peak_bytes().max(resident);
    let total = process::machine_bytes();
    fields!(out,
        "used_memory": resident,
        "used_memory_human": human(resident),
        "used_memory_rss": resident,
        "used_memory_rss_human": human(resident),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_overhead": stats.index_bytes,
        "used_memory_dataset": stats.buffer_bytes,
        "total_system_memory": total,
        "total_system_memory_human": human(total),
        "maxmemory": 0,
        "maxmemory_human": "0B",
        "maxmemory_policy": "noeviction",
        "mem_fragmentation_ratio": "1.00",
        "mem_allocator": "libc",
        "cairn_index_bytes": stats.index_bytes,
        "cairn_buffer_bytes": stats.buffer_bytes,
        "cairn_device_capacity_bytes": stats.capacity_bytes,
        "cairn_device_in_use_bytes": stats.in_use_bytes,
    )
}

/// As Redis shows sizes to people.
fn human(bytes: u64) -> String {
    let units = [(1u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.2}{name}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
}

fn persistence(out: &mut String, door: &Door) -> std::fmt::Result {
    let namespace = door.namespace();
    let failed = namespace.devices().iter().any(|device| device.failed.is_some());
    let status = if failed { "err" } else { "ok" };
    let start = match namespace.report().kind {
        StartKind::Fresh => "fresh",
        StartKind::Warm => "warm",
        StartKind::Cold => "cold",
    };
    let durability = match namespace.config().durability {
        Durability::Device => "device",
        Durability::Buffer => "buffer",
    };
    fields!(out,
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_bgsave_status": status,
        "aof_enabled": 1,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_bgrewrite_status": status,
        "aof_last_write_status": status,
        "cairn_durability": durability,
        "cairn_start": start,
    )
}

fn stats(out: &mut String, door: &Door) -> std::fmt::Result {
    let stats = door.namespace().stats();
    let sum = |of: fn(&Counters) -> &AtomicU64| door.shared.sum(of);
    let rates = &door.shared.rates;
    let errors: u64 =
        door.shared.counters.iter().map(|c| c.errors.lock().values().sum::<u64>()).sum();
    fields!(out,
        "total_connections_received": sum(|c| &c.connections),
        "total_commands_processed": door.shared.commands(),
        "instantaneous_ops_per_sec": rates.commands.load(Relaxed),
        "total_net_input_bytes": sum(|c| &c.bytes_in),
        "total_net_output_bytes": sum(|c| &c.bytes_out),
        "instantaneous_input_kbps": format_args!("{:.2}", rates.bytes_in.load(Relaxed) as f64 / 1024.0),
        "instantaneous_output_kbps": format_args!("{:.2}", rates.bytes_out.load(Relaxed) as f64 / 1024.0),
        "rejected_connections": door.shared.refused_connections.load(Relaxed),
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": stats.expired,
        "evicted_keys": stats.evicted,
        "keyspace_hits": sum(|c| &c.hits),
        "keyspace_misses": sum(|c| &c.misses),
        "pubsub_channels": 0,
        "pubsub_patterns": 0,
        "latest_fork_usec": 0,
        "total_forks": 0,
        "total_error_replies": errors,
        "cairn_device_reads": stats.device_reads,
        "cairn_buffer_hits": stats.buffer_hits,
        "cairn_flushes": stats.flushes,
        "cairn_flushed_bytes": stats.bytes_flushed,
    )
}

fn replication(out: &mut String, door: &Door) -> std::fmt::Result {
    fields!(out,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": door.shared.run_id,
        "master_repl_offset": 0,
        "repl_backlog_active": 0,
    )
}

fn cpu(out: &mut String, _: &Door) -> std::fmt::Result {
    let (user, system) = process::cpu_split_micros();
    fields!(out,
        "used_cpu_sys": format_args!("{:.6}", system as f64 / 1e6),
        "used_cpu_user": format_args!("{:.6}", user as f64 / 1e6),
        "used_cpu_sys_children": "0.000000",
        "used_cpu_user_children": "0.000000",
    )
}

fn command_stats(out: &mut String, door: &Door) -> std::fmt::Result {
    for (number, command) in table::all().iter().enumerate() {
        let sum = |of: fn(&super::super::counters::Counted) -> &AtomicU64| -> u64 {
            door.shared.counters.iter().map(|c| of(&c.commands[number]).load(Relaxed)).sum()
        };
        let (calls, rejected) = (sum(|c| &c.calls), sum(|c| &c.rejected));
        if calls + rejected == 0 {
            continue;
        }
        let (micros, failed) = (sum(|c| &c.nanos) / 1000, sum(|c| &c.failed));
        let each = if calls == 0 { 0.0 } else { micros as f64 / calls as f64 };
        let name = command.name;
        write!(
            out,
            "cmdstat_{name}:calls={calls},usec={micros},usec_per_call={each:.2},\
             rejected_calls={rejected},failed_calls={failed}\r\n"
        )?;
    }
    Ok(())
}

fn error_stats(out: &mut String, door: &Door) -> std::fmt::Result {
    let mut all = std::collections::BTreeMap::<Box<[u8]>, u64>::new();
    for counters in &door.shared.counters {
        for (code, count) in &*counters.errors.lock() {
            *all.entry(code.clone()).or_default() += count;
        }
    }
    for (code, count) in all {
        write!(out, "errorstat_{}:count={count}\r\n", String::from_utf8_lossy(&code))?;
    }
    Ok(())
}

fn cluster(out: &mut String, _: &Door) -> std::fmt::Result {
    fields!(out, "cluster_enabled": 0)
}

/// How many keys expire is not counted, and told as 0.
fn keyspace(out: &mut String, door: &Door) -> std::fmt::Result {
    let sets = door.sets();
    for db in 0..DATABASES as u8 {
        let keys = sets.set(db).map_or(0, |set| door.namespace().set_len(set));
        if keys > 0 {
            write!(out, "db{db}:keys={keys},expires=0,avg_ttl=0\r\n")?;
        }
    }
    Ok(())
}
