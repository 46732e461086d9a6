//! Results as JSON with fio's own keys, so that what reads fio's results reads these.
//!
//! fio's `clat` is the latency shown here: from the start of an operation, or in an open loop from its intended start, to its end.
//! There is no submission of its own to tell from it, so `slat` is empty and `lat` the same. What fio has no key for is under `cairn`.

mod figures;

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use super::{job::Sync, outcome::Outcome, report, tally::Side};
use crate::failure::{Doing, Result};
use figures::{Shares, depths, latency, side};

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
