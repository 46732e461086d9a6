//! The figures in fio's tables.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::bench::{
    outcome::Outcome,
    tally::{DEPTHS, SLICE, Side, Slice},
};

/// fio's default percentiles.
const PERCENTILES: [f64; 17] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95,
    99.99,
];

/// One side of a job: reads or writes.
pub fn side(outcome: &Outcome, side: &Side) -> Value {
    let bandwidth = side.bytes as f64 / outcome.seconds();
    let latency_of = latency(&side.latency);
    let (samples, iops, bw) = samples(outcome, side);
    json!({
        "io_bytes": side.bytes,
        "io_kbytes": side.bytes >> 10,
        "bw_bytes": bandwidth as u64,
        "bw": (bandwidth / 1024.0) as u64,
        "iops": side.latency.len() as f64 / outcome.seconds(),
        "runtime": if side.latency.is_empty() { 0 } else { outcome.took.as_millis() as u64 },
        "total_ios": side.latency.len(),
        "short_ios": 0,
        "drop_ios": 0,
        "slat_ns": { "min": 0, "max": 0, "mean": 0.0, "stddev": 0.0, "N": 0 },
        "clat_ns": latency_of,
        "lat_ns": latency_of,
        "bw_min": bw.min as u64,
        "bw_max": bw.max as u64,
        "bw_agg": if side.latency.is_empty() { 0.0 } else { 100.0 },
        "bw_mean": bw.mean,
        "bw_dev": bw.deviation,
        "bw_samples": samples,
        "iops_min": iops.min as u64,
        "iops_max": iops.max as u64,
        "iops_mean": iops.mean,
        "iops_stddev": iops.deviation,
        "iops_samples": samples,
    })
}

/// Least, most, mean and spread of some numbers.
#[derive(Default)]
struct Spread {
    min: f64,
    max: f64,
    mean: f64,
    deviation: f64,
}

impl Spread {
    fn of(numbers: &[f64]) -> Self {
        if numbers.is_empty() {
            return Self::default();
        }
        let count = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        let variance = numbers.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / count;
        Self {
            min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
            max: numbers.iter().copied().fold(0.0, f64::max),
            mean,
            deviation: variance.sqrt(),
        }
    }
}

/// Rates and bandwidths (KiB/s) of the half seconds that were measured in full.
fn samples(outcome: &Outcome, side: &Side) -> (usize, Spread, Spread) {
    if side.latency.is_empty() {
        return Default::default();
    }
    let whole = (outcome.took.as_nanos() / SLICE.as_nanos()) as u32;
    let slices: Vec<Slice> =
        (0..whole).map(|index| side.slices.get(&index).copied().unwrap_or_default()).collect();
    let per_second = |number: u64| number as f64 / SLICE.as_secs_f64();
    let iops: Vec<f64> = slices.iter().map(|slice| per_second(slice.ops)).collect();
    let bw: Vec<f64> = slices.iter().map(|slice| per_second(slice.bytes) / 1024.0).collect();
    (slices.len(), Spread::of(&iops), Spread::of(&bw))
}

/// Latencies as fio shows them.
pub fn latency(latency: &Histogram<u64>) -> Value {
    if latency.is_empty() {
        return json!({ "min": 0, "max": 0, "mean": 0.0, "stddev": 0.0, "N": 0 });
    }
    let percentiles: Map<String, Value> = PERCENTILES
        .iter()
        .map(|percent| (format!("{percent:.6}"), latency.value_at_quantile(percent / 100.0).into()))
        .collect();
    json!({
        "min": latency.min(),
        "max": latency.max(),
        "mean": latency.mean(),
        "stddev": latency.stdev(),
        "N": latency.len(),
        "percentile": percentiles,
    })
}

/// In per cent: how many operations found so many in flight.
pub fn depths(counts: &[u64; DEPTHS]) -> Map<String, Value> {
    let sum: u64 = counts.iter().sum();
    let names = ["1", "2", "4", "8", "16", "32", ">=64"];
    let share = |count: &u64| *count as f64 * 100.0 / sum.max(1) as f64;
    names
        .into_iter()
        .zip(counts)
        .map(|(name, count)| (name.to_owned(), share(count).into()))
        .collect()
}

/// fio's tables of how many per cent of all latencies fell below some limits.
pub struct Shares<'a>(pub &'a Histogram<u64>);

impl Shares<'_> {
    /// In per cent: latencies above the first limit, up to the second, in nanoseconds.
    fn share(&self, above: u64, to: u64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        let below = |limit: u64| match limit {
            0 => 0,
            limit => self.0.count_between(0, limit.saturating_sub(1)),
        };
        below(to).saturating_sub(below(above)) as f64 * 100.0 / self.0.len() as f64
    }

    /// One limit after the other, in a unit of so many nanoseconds; the first counts from `from` units, or 0.
    pub fn table(&self, unit: u64, limits: &[u64], from: Option<u64>) -> Map<String, Value> {
        let mut last = from.unwrap_or(0) * unit;
        let mut table = Map::new();
        for limit in limits {
            table.insert(limit.to_string(), self.share(last, limit * unit).into());
            last = limit * unit;
        }
        table
    }

    /// Two milliseconds and more.
    pub fn milliseconds(&self) -> Map<String, Value> {
        let mut table =
            self.table(1_000_000, &[2, 4, 10, 20, 50, 100, 250, 500, 750, 1000, 2000], Some(1));
        table.insert(">=2000".into(), self.share(2_000_000_000, u64::MAX).into());
        table
    }
}
