//! `cairn status`: a node and its namespaces at a glance.

use cairn_sdk::admin::{Namespace, Node, Set, Stats};
use serde_json::json;

use crate::{
    client::HostArg,
    failure::Result,
    output::{self, Output, OutputArg},
    units,
};

/// The arguments of `cairn status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

impl Args {
    /// Asks the node and prints what it says.
    pub fn run(self) -> Result {
        self.host.run(|client| async move {
            let admin = client.admin();
            let node = admin.node().await?;
            let mut namespaces = Vec::new();
            for namespace in admin.namespaces().await? {
                let sets = admin.sets(&namespace.name).await?;
                namespaces.push((namespace, sets));
            }
            match self.output.output {
                Output::Json => output::print_json(&to_json(&node, &namespaces)),
                Output::Table => {
                    print_node(&node);
                    print_namespaces(&namespaces);
                    print_devices(&namespaces);
                    print_sets(&namespaces);
                    Ok(())
                }
            }
        })
    }
}

fn print_node(node: &Node) {
    println!(
        "node {}  cairn {}  up {}  {} workers  {} connections  {} resident",
        node.name,
        node.version,
        units::duration(node.uptime),
        node.workers,
        node.connections,
        units::size(node.resident_bytes)
    );
    println!("I/O  {}: {}", node.io_engine, node.io_reason);
}

fn print_namespaces(namespaces: &[(Namespace, Vec<Set>)]) {
    let header = [
        "namespace",
        "records",
        "tombstones",
        "index",
        "in use",
        "blocks used",
        "acknowledges",
        "last start",
    ];
    let mut table = output::table(&header);
    for (namespace, _) in namespaces {
        let stats = &namespace.stats;
        table.add_row([
            namespace.name.clone(),
            units::count(stats.records),
            units::count(stats.tombstones),
            index(stats),
            units::size(stats.in_use_bytes),
            output::bar(used(stats.total_blocks, stats.free_blocks), 10),
            format!("{}, {}", namespace.commit_level, namespace.durability),
            format!("{} in {}", namespace.start_kind, units::duration(namespace.start)),
        ]);
    }
    println!("\n{table}");
    for (namespace, _) in namespaces {
        print_traffic(&namespace.name, &namespace.stats);
    }
}

/// The index' size, and for each record where there are enough of them to say.
fn index(stats: &Stats) -> String {
    let (bytes, records) = (stats.index_bytes, stats.records + stats.tombstones + stats.expired);
    match records {
        0..10_000 => units::size(bytes),
        records => {
            format!("{} ({:.1} B/record)", units::size(bytes), bytes as f64 / records as f64)
        }
    }
}

fn print_traffic(name: &str, stats: &Stats) {
    println!(
        "{name}: {} reads ({} from devices, {} from RAM, {} shared), {} writes, {} deletes, {} flushed in {} writes",
        units::count(stats.reads),
        units::count(stats.device_reads),
        units::count(stats.buffer_hits),
        units::count(stats.shared_reads),
        units::count(stats.writes),
        units::count(stats.deletes),
        units::size(stats.bytes_flushed),
        units::count(stats.flushes)
    );
    let trouble = [
        (stats.damaged, "damaged records or blocks met"),
        (stats.digest_mismatches, "index entries led to another record"),
        (stats.refused_full, "writes refused since the namespace was full"),
    ];
    for (count, what) in trouble.into_iter().filter(|(count, _)| *count > 0) {
        println!("{name}: WARNING: {} {what}", units::count(count));
    }
}

/// The share of blocks that are not free, in per cent.
fn used(total: u64, free: u64) -> f64 {
    units::percent(total.saturating_sub(free), total)
}

fn print_devices(namespaces: &[(Namespace, Vec<Set>)]) {
    let mut table =
        output::table(&["device", "namespace", "size", "sector", "blocks used", "live", "state"]);
    for (namespace, _) in namespaces {
        for device in &namespace.devices {
            table.add_row([
                device.path.clone(),
                namespace.name.clone(),
                units::size(device.size_bytes),
                units::size(device.sector_bytes.into()),
                output::bar(used(device.total_blocks, device.free_blocks), 10),
                output::bar(units::percent(device.in_use_bytes, device.size_bytes), 10),
                device.state.clone(),
            ]);
        }
    }
    println!("\n{table}");
}

fn print_sets(namespaces: &[(Namespace, Vec<Set>)]) {
    let mut table = output::table(&["set", "records"]);
    let mut any = false;
    for (namespace, sets) in namespaces {
        for set in sets {
            any = true;
            table.add_row([format!("{}/{}", namespace.name, set.name), units::count(set.records)]);
        }
    }
    if any {
        println!("\n{table}");
    }
}

fn to_json(node: &Node, namespaces: &[(Namespace, Vec<Set>)]) -> serde_json::Value {
    let namespaces: Vec<_> =
        namespaces.iter().map(|(namespace, sets)| namespace_json(namespace, sets)).collect();
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

fn namespace_json(namespace: &Namespace, sets: &[Set]) -> serde_json::Value {
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
        "index_bytes": stats.index_bytes,
        "buffer_bytes": stats.buffer_bytes,
        "capacity_bytes": stats.capacity_bytes,
        "in_use_bytes": stats.in_use_bytes,
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
        "damaged": stats.damaged,
        "digest_mismatches": stats.digest_mismatches,
        "refused_full": stats.refused_full,
        "devices": devices.collect::<Vec<_>>(),
        "sets": sets.collect::<Vec<_>>(),
    })
}
