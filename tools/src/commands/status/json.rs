//! A node for programs: every figure under its own name, sizes in bytes.

use cairn_sdk::admin::{Namespace, Set};
use serde_json::json;

use super::Status;

/// The node with all its namespaces.
pub fn status(status: &Status) -> serde_json::Value {
    let Status { node, namespaces } = status;
    let namespaces: Vec<_> =
        namespaces.iter().map(|(namespace, sets)| self::namespace(namespace, sets)).collect();
    json!({
        "name": node.name,
        "version": node.version,
        "uptime_ms": node.uptime.as_millis() as u64,
        "io_engine": node.io_engine,
        "io_reason": node.io_reason,
        "workers": node.workers,
        "resident_bytes": node.resident_bytes,
        "cpu_us": node.cpu_us,
        "connections": node.connections,
        "namespaces": namespaces,
    })
}

fn namespace(namespace: &Namespace, sets: &[Set]) -> serde_json::Value {
    let stats = &namespace.stats;
    let devices = namespace.devices.iter().map(|device| {
        json!({
            "path": device.path,
            "size_bytes": device.size_bytes,
            "sector_bytes": device.sector_bytes,
            "state": device.state,
            "total_blocks": device.total_blocks,
            "free_blocks": device.free_blocks,
            "in_use_bytes": device.in_use_bytes,
        })
    });
    let sets = sets.iter().map(|set| json!({ "name": set.name, "records": set.records }));
    json!({
        "name": namespace.name,
        "replication_factor": namespace.replication_factor,
        "commit_level": namespace.commit_level,
        "durability": namespace.durability,
        "start_kind": namespace.start_kind,
        "start_ms": namespace.start.as_millis() as u64,
        "records": stats.records,
        "tombstones": stats.tombstones,
        "expired": stats.expired,
        "evicted": stats.evicted,
        "index_bytes": stats.index_bytes,
        "buffer_bytes": stats.buffer_bytes,
        "capacity_bytes": stats.capacity_bytes,
        "in_use_bytes": stats.in_use_bytes,
        "used_pct": stats.used_pct(),
        "max_used_pct": namespace.max_used_pct,
        "evict_used_pct": namespace.evict_used_pct,
        "total_blocks": stats.total_blocks,
        "free_blocks": stats.free_blocks,
        "reads": stats.reads,
        "writes": stats.writes,
        "deletes": stats.deletes,
        "device_reads": stats.device_reads,
        "buffer_hits": stats.buffer_hits,
        "shared_reads": stats.shared_reads,
        "flushes": stats.flushes,
        "bytes_flushed": stats.bytes_flushed,
        "bytes_written": stats.bytes_written,
        "write_amplification": stats.write_amplification(),
        "blocks_reclaimed": stats.blocks_reclaimed,
        "records_moved": stats.records_moved,
        "bytes_moved": stats.bytes_moved,
        "blocks_discarded": stats.blocks_discarded,
        "blocks_by_fill": stats.blocks_by_fill,
        "damaged": stats.damaged,
        "digest_mismatches": stats.digest_mismatches,
        "refused_full": stats.refused_full,
        "devices": devices.collect::<Vec<_>>(),
        "sets": sets.collect::<Vec<_>>(),
    })
}
