//! A node for people: tables, and lines for what a table has no room for.

use cairn_sdk::admin::{Namespace, Node, Set, Stats};

use super::Status;
use crate::{output, units};

/// Prints all there is to say.
pub fn print(status: &Status) {
    let Status { node, namespaces } = status;
    print_node(node);
    print_namespaces(namespaces);
    print_devices(namespaces);
    print_sets(namespaces);
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
        "space used",
        "free blocks",
        "write ampl.",
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
            output::bar(stats.used_pct(), 10),
            units::count(stats.free_blocks),
            stats.write_amplification().map_or("-".into(), |times| format!("{times:.2}")),
            format!("{}, {}", namespace.commit_level, namespace.durability),
            format!("{} in {}", namespace.start_kind, units::duration(namespace.start)),
        ]);
    }
    println!("\n{table}");
    for (namespace, _) in namespaces {
        print_traffic(&namespace.name, &namespace.stats);
        print_space(namespace);
        print_trouble(&namespace.name, &namespace.stats);
    }
}

/// The index' size, and for each record where there are enough of them to say.
fn index(stats: &Stats) -> String {
    let (bytes, records) = (stats.index_bytes, stats.records + stats.tombstones);
    match records {
        0..1_000_000 => units::size(bytes),
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
}

/// What takes the space, what wins it back, and how full the write blocks are that it must be won from.
fn print_space(namespace: &Namespace) {
    let (name, stats) = (&namespace.name, &namespace.stats);
    let evicts = match namespace.evict_used_pct {
        0 => "nothing is evicted".into(),
        percent => format!("records are evicted above {percent} %"),
    };
    println!(
        "{name}: {} of {} live, writes are refused above {} %, {evicts}; {} expired, {} evicted",
        units::size(stats.in_use_bytes),
        units::size(stats.capacity_bytes),
        namespace.max_used_pct,
        units::count(stats.expired),
        units::count(stats.evicted)
    );
    println!(
        "{name}: {} written, {} moved by the defragmenter in {} records out of {} blocks; {} blocks discarded",
        units::size(stats.bytes_written),
        units::size(stats.bytes_moved),
        units::count(stats.records_moved),
        units::count(stats.blocks_reclaimed),
        units::count(stats.blocks_discarded)
    );
    let sealed: u64 = stats.blocks_by_fill.iter().sum();
    if sealed > 0 {
        let columns = output::columns(&stats.blocks_by_fill);
        println!(
            "{name}: {} sealed blocks by how much of them is live: 0 % |{columns}| 100 %",
            units::count(sealed)
        );
    }
}

fn print_trouble(name: &str, stats: &Stats) {
    let trouble = [
        (stats.damaged, "damaged records or blocks met"),
        (stats.digest_mismatches, "index entries led to another record"),
        (stats.refused_full, "writes refused since the namespace was full"),
    ];
    for (count, what) in trouble.into_iter().filter(|(count, _)| *count > 0) {
        println!("{name}: WARNING: {} {what}", units::count(count));
    }
}

fn print_devices(namespaces: &[(Namespace, Vec<Set>)]) {
    let mut table =
        output::table(&["device", "namespace", "size", "sector", "live", "free blocks", "state"]);
    for (namespace, _) in namespaces {
        for device in &namespace.devices {
            table.add_row([
                device.path.clone(),
                namespace.name.clone(),
                units::size(device.size_bytes),
                units::size(device.sector_bytes.into()),
                output::bar(units::percent(device.in_use_bytes, device.size_bytes), 10),
                units::count(device.free_blocks),
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
