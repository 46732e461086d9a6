//! Metrics in the OpenMetrics text format, gathered when they are asked for.

use std::{
    fmt::Error,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use cairn_engine::Stats;
use cairn_proto::v1::Code;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use crate::{
    metrics::{BUCKETS, CODES, Kind, KindMetrics},
    process,
    state::State,
};

/// All metrics as text.
pub fn text(state: Arc<State>) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("cairn");
    registry.register_collector(Box::new(Node(state)));
    let mut out = String::with_capacity(32 << 10);
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Node(Arc<State>);

impl Collector for Node {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.process(&mut encoder)?;
        self.resp(&mut encoder)?;
        self.operations(&mut encoder)?;
        self.latencies(&mut encoder)?;
        self.namespaces(&mut encoder)?;
        self.fill(&mut encoder)?;
        self.devices(&mut encoder)
    }
}

type Value = fn(&Stats) -> u64;

/// Name, help and value of every gauge of a namespace: a new one is a line here.
const GAUGES: &[(&str, &str, Value)] = &[
    ("records", "Records, without tombstones", |s| s.records),
    ("tombstones", "Durable deletes still kept", |s| s.tombstones),
    ("index_bytes", "Bytes the index holds in RAM", |s| s.index_bytes),
    ("buffer_bytes", "Bytes of write buffers and the post-write cache", |s| s.buffer_bytes),
    ("capacity_bytes", "Bytes there is room for", |s| s.capacity_bytes),
    ("in_use_bytes", "Bytes of live records with their share of footers", |s| s.in_use_bytes),
    ("blocks", "Write blocks there are", |s| s.total_blocks),
    ("free_blocks", "Write blocks free for writing", |s| s.free_blocks),
];

/// Name, help and value of every counter of a namespace: a new one is a line here.
const COUNTERS: &[(&str, &str, Value)] = &[
    ("reads", "Reads of records asked for", |s| s.reads),
    ("writes", "Writes applied", |s| s.writes),
    ("deletes", "Deletes applied", |s| s.deletes),
    ("device_reads", "Reads that went to a device", |s| s.device_reads),
    ("buffer_hits", "Reads answered from RAM", |s| s.buffer_hits),
    ("shared_reads", "Reads that shared another's device read", |s| s.shared_reads),
    ("flushes", "Flush writes completed", |s| s.flushes),
    ("flushed_bytes", "Bytes flushed, all together", |s| s.bytes_flushed),
    ("written_bytes", "Bytes of the records that users wrote", |s| s.bytes_written),
    ("expired", "Records that expired and left", |s| s.expired),
    ("evicted", "Records evicted before their time", |s| s.evicted),
    ("reclaimed_blocks", "Write blocks the defragmenter went through", |s| s.blocks_reclaimed),
    ("moved_records", "Records the defragmenter moved", |s| s.records_moved),
    ("moved_bytes", "Bytes of the records it moved", |s| s.bytes_moved),
    ("discarded_blocks", "Freed write blocks that were discarded", |s| s.blocks_discarded),
    ("damaged", "Records, footers and headers that failed their checksum", |s| s.damaged),
    ("digest_mismatches", "Index entries whose record was another one", |s| s.digest_mismatches),
    ("refused_full", "Writes refused since they would not fit", |s| s.refused_full),
];

/// The share of live records that the blocks of each class stay below.
const TENTHS: [&str; 10] = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"];

impl Node {
    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let state = &self.0;
        let mut gauge = |name: &str, help: &str, value: u64| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        let in_flight = state.workers.iter().map(|worker| worker.in_flight.load(Relaxed) as u64);
        gauge("connections", "Connections open now", state.connections.load(Relaxed) as u64)?;
        gauge("operations_in_flight", "Operations in flight now", in_flight.sum())?;
        let receiving = state.workers.iter().map(|worker| worker.receiving.load(Relaxed) as u64);
        gauge("receiving_bytes", "Bytes held of incomplete messages", receiving.sum())?;
        gauge("workers", "Worker threads", state.workers.len() as u64)?;
        gauge("resident_bytes", "Resident memory of the process", process::resident_bytes())?;
        gauge("uptime_seconds", "Time since the start", state.started.elapsed().as_secs())?;
        let help = "Connections refused since there were too many";
        let refused = state.refused_connections.load(Relaxed) as u64;
        encoder
            .encode_descriptor("refused_connections", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&refused, None)?;
        let cpu = process::cpu_micros() as f64 / 1e6;
        encoder
            .encode_descriptor("cpu", "CPU time used", Some(&Unit::Seconds), MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&cpu, None)
    }

    /// The Redis door, if there is one.
    fn resp(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(resp) = &self.0.resp else { return Ok(()) };
        let open = resp.connections.load(Relaxed);
        let workers = resp.gathering.used();
        for (name, help, value) in [
            ("resp_connections", "Redis clients connected", open),
            ("resp_workers", "Worker threads that serve Redis clients now", workers),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&(value as u64))?;
        }
        let refused = resp.refused_connections.load(Relaxed) as u64;
        let refused_help = "Redis clients refused since there were too many";
        let moved = resp.moved();
        let moved_help = "Times a Redis client's connection went to another worker";
        for (name, help, value) in [
            ("resp_refused_connections", refused_help, refused),
            ("resp_moved_connections", moved_help, moved),
            ("resp_received_bytes", "Bytes received from Redis clients", resp.bytes_in()),
            ("resp_sent_bytes", "Bytes sent to Redis clients", resp.bytes_out()),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let help = "Commands of Redis clients by what came of them";
        let mut family =
            encoder.encode_descriptor("resp_commands", help, None, MetricType::Counter)?;
        for (command, counts) in resp.by_command() {
            for (outcome, count) in counts {
                family
                    .encode_family(&[("command", command), ("outcome", outcome)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn operations(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Operations by namespace, kind and code; of no namespace are those that named none of this node's";
        let mut family =
            encoder.encode_descriptor("operations", help, None, MetricType::Counter)?;
        for (place, namespace) in self.places() {
            for (kind, code) in
                Kind::ALL.into_iter().flat_map(|kind| (0..CODES).map(move |code| (kind, code)))
            {
                let count = self.sum(place, kind, |metrics| metrics.codes[code].load(Relaxed));
                if count > 0 {
                    let code = Code::try_from(code as i32).unwrap_or(Code::Internal);
                    let code = code.as_str_name().trim_start_matches("CODE_");
                    let labels = [("namespace", namespace), ("kind", kind.name()), ("code", code)];
                    family
                        .encode_family(&labels)?
                        .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }

    fn latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Time from the arrival of an operation to its answer";
        let seconds = Some(&Unit::Seconds);
        let mut family =
            encoder.encode_descriptor("latency", help, seconds, MetricType::Histogram)?;
        for (place, namespace) in self.places() {
            for kind in Kind::ALL {
                let bucket = |index: usize| {
                    let bound = match index {
                        last if last == BUCKETS - 1 => f64::INFINITY,
                        index => (1u64 << index) as f64 / 1e6,
                    };
                    let count = |metrics: &KindMetrics| metrics.buckets[index].load(Relaxed);
                    (bound, self.sum(place, kind, count))
                };
                let buckets: Vec<_> = (0..BUCKETS).map(bucket).collect();
                let count = buckets.iter().map(|(_, count)| count).sum();
                // Series that never counted would be most of them.
                if count > 0 {
                    let sum = self.sum(place, kind, |metrics| metrics.nanos.load(Relaxed));
                    family
                        .encode_family(&[("namespace", namespace), ("kind", kind.name())])?
                        .encode_histogram::<NoLabelSet>(sum as f64 / 1e9, count, &buckets, None)?;
                }
            }
        }
        Ok(())
    }

    /// Every namespace with its place, and what reached none.
    fn places(&self) -> impl Iterator<Item = (Option<usize>, &str)> {
        let named = self.0.namespaces.iter().enumerate();
        named.map(|(place, served)| (Some(place), served.name.as_str())).chain([(None, "")])
    }

    fn namespaces(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats: Vec<_> =
            self.0.namespaces.iter().map(|one| (one.name.as_str(), one.engine.stats())).collect();
        for (name, help, value) in GAUGES {
            let name = format!("namespace_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            for (namespace, stats) in &stats {
                let labels = [("namespace", *namespace)];
                family.encode_family(&labels)?.encode_gauge(&value(stats))?;
            }
        }
        for (name, help, value) in COUNTERS {
            let name = format!("namespace_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (namespace, stats) in &stats {
                let labels = [("namespace", *namespace)];
                family
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&value(stats), None)?;
            }
        }
        let help = "Bytes flushed for each byte of the records that users wrote, since the start";
        let name = "namespace_write_amplification";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (namespace, stats) in stats.iter().filter(|(_, stats)| stats.bytes_written > 0) {
            let amplification = stats.bytes_flushed as f64 / stats.bytes_written as f64;
            family.encode_family(&[("namespace", *namespace)])?.encode_gauge(&amplification)?;
        }
        Ok(())
    }

    fn fill(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Sealed write blocks by the share of them that is live: below `full`, by a tenth at most";
        let name = "namespace_blocks_by_fill";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for served in &self.0.namespaces {
            for (blocks, full) in served.engine.fill_histogram().iter().zip(TENTHS) {
                let labels = [("namespace", served.name.as_str()), ("full", full)];
                family.encode_family(&labels)?.encode_gauge(blocks)?;
            }
        }
        Ok(())
    }

    fn devices(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let names = [
            ("device_failed", "1 when a device failed a write and takes no more"),
            ("device_size_bytes", "Usable bytes of a device"),
            ("device_in_use_bytes", "Bytes of a device's live records, footers' share included"),
            ("device_free_blocks", "Free write blocks of a device"),
        ];
        for (index, (name, help)) in names.into_iter().enumerate() {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for served in &self.0.namespaces {
                for device in served.engine.devices() {
                    let failed = u64::from(device.failed.is_some());
                    let values = [failed, device.size, device.in_use_bytes, device.free_blocks];
                    let labels =
                        [("namespace", served.name.as_str()), ("device", device.path.as_str())];
                    family.encode_family(&labels)?.encode_gauge(&values[index])?;
                }
            }
        }
        Ok(())
    }

    fn sum(&self, place: Option<usize>, kind: Kind, value: impl Fn(&KindMetrics) -> u64) -> u64 {
        self.0.workers.iter().map(|worker| value(worker.kind(place, kind))).sum()
    }
}
