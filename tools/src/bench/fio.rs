//! Results as JSON with fio's own keys, so that what reads fio's results reads these.
//!
//! fio's `clat` is the latency shown here: from the start of an operation, or in an open loop from its intended start, to its end.
//! There is no submission of its own to tell from it, so `slat` is empty and `lat` the same. What fio has no key for is under `cairn`.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::{
    job::Sync,
    outcome::Outcome,
    report,
    tally::{DEPTHS, SLICE, Side, Slice},
};
use crate::failure::{Doing, Result};

/// fio's default percentiles.
const PERCENTILES: [f64; 17] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95,
    99.99,
];

/// Writes the results of all jobs.
pub fn write(file: &Path, outcomes: &[Outcome]) -> Result {
    let text = serde_json::to_string_pretty(&document(outcomes)).doing("writing JSON")?;
    std::fs::write(file, text + "\n").doing(format_args!("writing {}", file.display()))
}

fn document(outcomes: &[Outcome]) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "fio version": concat!("cairn-bench-", env!("CARGO_PKG_VERSION")),
        "timestamp": now.as_secs(),
        "timestamp_ms": now.as_millis() as u64,
        "time": date(now.as_secs()),
        "global options": global(outcomes),
        "jobs": outcomes.iter().map(job).collect::<Vec<_>>(),
        "disk_util": [],
    })
}

/// What all jobs have in common, as fio shows `[global]`.
fn global(outcomes: &[Outcome]) -> Map<String, Value> {
    let Some(first) = outcomes.first() else { return Map::new() };
    let common = |(key, value): &(&'static str, String)| {
        outcomes.iter().all(|outcome| options(outcome).iter().any(|(k, v)| k == key && v == value))
    };
    options(first)
        .into_iter()
        .filter(common)
        .filter(|(key, _)| *key != "name")
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect()
}

/// A job's keys and values, those that matter whether they were given or not.
fn options(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let job = &outcome.job;
    let mut options = vec![
        ("name", job.name.clone()),
        ("ioengine", job.engine().name().to_owned()),
        ("rw", job.rw_name().to_owned()),
        ("rwmixread", job.mix().read_share().to_string()),
        ("bs", job.sizes().to_string()),
        ("iodepth", job.depth().to_string()),
        ("numjobs", job.threads.to_string()),
        ("ramp_time", job.ramp.as_secs_f64().to_string()),
        ("random_distribution", job.distribution().to_string()),
        ("randseed", job.seed.to_string()),
        ("direct", u8::from(job.direct).to_string()),
        ("group_reporting", "1".into()),
    ];
    let files: Vec<_> = job.filenames.iter().map(|file| file.display().to_string()).collect();
    let optional = [
        ("filename", (!files.is_empty()).then(|| files.join(":"))),
        ("description", (!job.description.is_empty()).then(|| job.description.clone())),
        ("runtime", job.time().map(|time| time.as_secs_f64().to_string())),
        ("number_ios", job.number_ios.map(|number| number.to_string())),
        ("rate_iops", job.rate.map(|rate| rate.to_string())),
        ("rate_process", job.rate.map(|_| if job.poisson { "poisson" } else { "linear" }.into())),
        ("sync", (job.sync == Sync::Dsync).then(|| "dsync".into())),
        ("fdatasync", (job.sync == Sync::Fdatasync).then(|| "1".into())),
    ];
    options.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
    options
}

fn job(outcome: &Outcome) -> Value {
    let (total, seconds) = (&outcome.total, outcome.seconds());
    let all = total.all().latency;
    let shares = Shares(&all);
    let options: Map<String, Value> =
        options(outcome).into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let mut value = json!({
        "jobname": outcome.job.name,
        "groupid": outcome.group,
        "error": if total.errors > 0 { libc::EIO } else { 0 },
        "eta": 0,
        "elapsed": (outcome.took + outcome.job.ramp).as_secs().max(1),
        "job options": options,
        "read": side(outcome, &total.direction(true)),
        "write": side(outcome, &total.direction(false)),
        "trim": side(outcome, &Side::default()),
        "sync": { "total_ios": 0, "lat_ns": latency(&Side::default().latency) },
        "job_runtime": outcome.took.as_millis() as u64,
        "usr_cpu": outcome.threads.user.as_secs_f64() / seconds * 100.0,
        "sys_cpu": outcome.threads.system.as_secs_f64() / seconds * 100.0,
        "ctx": outcome.threads.switches,
        "majf": 0,
        "minf": 0,
        "iodepth_level": depths(&total.depths),
        "latency_ns": shares.table(1, &[2, 4, 10, 20, 50, 100, 250, 500, 750, 1000], None),
        "latency_us": shares.table(1000, &[2, 4, 10, 20, 50, 100, 250, 500, 750, 1000], Some(1)),
        "latency_ms": shares.milliseconds(),
        "latency_depth": outcome.job.depth(),
        "latency_target": 0,
        "latency_percentile": 100.0,
        "latency_window": 0,
    });
    value["cairn"] = cairn(outcome);
    value
}

/// What fio has no key for.
fn cairn(outcome: &Outcome) -> Value {
    let total = &outcome.total;
    let operations: Map<String, Value> = total
        .sides()
        .map(|(op, side)| {
            let iops = side.latency.len() as f64 / outcome.seconds();
            let value = json!({ "total_ios": side.latency.len(), "io_bytes": side.bytes, "iops": iops, "lat_ns": latency(&side.latency) });
            (op.name().to_owned(), value)
        })
        .collect();
    let engine = outcome.stats.as_ref().map(|(before, after)| {
        json!({
            "bytes_flushed": after.bytes_flushed - before.bytes_flushed,
            "device_reads": after.device_reads - before.device_reads,
            "free_blocks": after.free_blocks,
            "total_blocks": after.total_blocks,
            "records": after.records,
        })
    });
    json!({
        "loop": if outcome.job.rate.is_some() { "open" } else { "closed" },
        "records": outcome.job.records,
        "operations": operations,
        "misses": total.misses,
        "mismatches": total.mismatches,
        "conflicts": total.conflicts,
        "errors": total.errors,
        "late_starts": total.late,
        "unmade_starts": total.unmade,
        "start_delay_ns": total.delay.as_deref().map(latency),
        "process_cpu_us_per_op": (outcome.beside == 1).then(|| outcome.per_op(outcome.process.cpu())),
        "threads_cpu_us_per_op": outcome.per_op(outcome.threads.cpu()),
        "server_cpu_us_per_op": outcome.server_cpu.map(|cpu| outcome.per_op(cpu)),
        "engine": engine,
        "notes": report::notes(outcome),
    })
}

fn side(outcome: &Outcome, side: &Side) -> Value {
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

fn latency(latency: &Histogram<u64>) -> Value {
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
fn depths(counts: &[u64; DEPTHS]) -> Map<String, Value> {
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
struct Shares<'a>(&'a Histogram<u64>);

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
    fn table(&self, unit: u64, limits: &[u64], from: Option<u64>) -> Map<String, Value> {
        let mut last = from.unwrap_or(0) * unit;
        let mut table = Map::new();
        for limit in limits {
            table.insert(limit.to_string(), self.share(last, limit * unit).into());
            last = limit * unit;
        }
        table
    }

    fn milliseconds(&self) -> Map<String, Value> {
        let mut table =
            self.table(1_000_000, &[2, 4, 10, 20, 50, 100, 250, 500, 750, 1000, 2000], Some(1));
        table.insert(">=2000".into(), self.share(2_000_000_000, u64::MAX).into());
        table
    }
}

/// An instant as `Thu Jan  1 00:00:00 1970`, in UTC.
fn date(seconds: u64) -> String {
    let time = seconds as libc::time_t;
    // SAFETY: tm is plain data, for which zeros are valid.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both are valid places, and the call writes nothing else.
    unsafe { libc::gmtime_r(&raw const time, &raw mut parts) };
    let mut text = [0u8; 64];
    // SAFETY: the format is a C string, `parts` is filled, and at most `text.len()` bytes are written.
    let length = unsafe {
        libc::strftime(
            text.as_mut_ptr().cast(),
            text.len(),
            c"%a %b %e %H:%M:%S %Y".as_ptr(),
            &raw const parts,
        )
    };
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::{
        job::{self, Op},
        outcome,
    };

    /// Plotters find fio's keys where fio has them, with fio's units and meanings.
    #[test]
    fn results_have_the_keys_of_fio() {
        let mut outcome = outcome::sample(job::Job { name: "a".into(), ..job::sample() });
        for us in 1..=1000 {
            let slice = u32::from(us > 500);
            outcome.total.side(Op::Read).add(Duration::from_micros(us), slice, 1024);
        }
        outcome.total.depths[3] = 10;
        let document = document(&[outcome]);
        let job = &document["jobs"][0];
        let read = &job["read"];
        assert_eq!(read["total_ios"], 1000);
        assert_eq!((read["iops"].as_f64(), &read["runtime"]), (Some(500.0), &json!(2000)));
        assert_eq!((&read["iops_samples"], &read["iops_max"]), (&json!(4), &json!(1000)));
        assert_eq!(&read["iops_min"], 0);
        let clat = &read["clat_ns"];
        let close =
            |value: &Value, wanted: f64| (value.as_f64().unwrap() / wanted - 1.0).abs() < 0.01;
        assert!(
            close(&clat["mean"], 500_500.0) && close(&clat["percentile"]["99.000000"], 990_000.0)
        );
        assert!(close(&clat["percentile"]["50.000000"], 500_000.0) && close(&clat["max"], 1e6));
        let below = |unit: &str, limit: &str| job[unit][limit].as_f64().unwrap();
        assert!((below("latency_us", "500") - 25.0).abs() < 0.5, "{}", job["latency_us"]);
        let units = ["latency_ns", "latency_us", "latency_ms"];
        let shares = units.iter().flat_map(|unit| job[unit].as_object().unwrap().values());
        let sum: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
        assert!((sum - 100.0).abs() < 0.01, "{sum}");
        assert_eq!(job["iodepth_level"]["8"], 100.0);
        assert_eq!(job["write"]["total_ios"], 0);
        assert_eq!(job["job options"]["iodepth"], "8");
        assert_eq!(document["global options"]["randseed"], "1");
    }

    /// A date is a date.
    #[test]
    fn dates_are_written_as_c_does() {
        assert_eq!(date(86_400 * 31 + 3661), "Sun Feb  1 01:01:01 1970");
    }
}
