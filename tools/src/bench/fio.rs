//! Results as JSON with fio's own keys, so that what plots fio's results plots these.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

use super::measure::{Outcome, Side};
use crate::failure::{Doing, Result};

/// fio's default percentiles.
const PERCENTILES: [f64; 17] = [
    1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95,
    99.99,
];

/// Writes the results of all runs.
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
        "jobs": outcomes.iter().enumerate().map(|(index, outcome)| job(index, outcome)).collect::<Vec<_>>(),
    })
}

fn job(index: usize, outcome: &Outcome) -> Value {
    let plan = &outcome.plan;
    let total = &outcome.total;
    json!({
        "jobname": format!("{} depth {}", outcome.name, plan.depth),
        "groupid": index,
        "error": i32::from(total.errors > 0),
        "elapsed": outcome.took.as_secs().max(1),
        "job options": {
            "name": outcome.name,
            "rw": plan.rw(),
            "rwmixread": plan.read_pct.to_string(),
            "bs": plan.value_size.to_string(),
            "iodepth": plan.depth.to_string(),
            "numjobs": plan.jobs.to_string(),
            "runtime": plan.runtime.as_secs().to_string(),
            "ramp_time": plan.warmup.as_secs().to_string(),
            "random_distribution": plan.distribution.to_string(),
            "randseed": plan.seed.to_string(),
        },
        "read": side(outcome, &total.reads),
        "write": side(outcome, &total.writes),
        "cairn": {
            "keys": plan.keys,
            "misses": total.misses,
            "mismatches": total.mismatches,
            "errors": total.errors,
            "cpu_us_per_op": outcome.per_op(outcome.cpu),
            "server_cpu_us_per_op": outcome.server_cpu.map(|cpu| outcome.per_op(cpu)),
        },
    })
}

fn side(outcome: &Outcome, side: &Side) -> Value {
    let seconds = outcome.took.as_secs_f64().max(1e-9);
    let bandwidth = side.bytes as f64 / seconds;
    let latency = latency(side);
    json!({
        "io_bytes": side.bytes,
        "io_kbytes": side.bytes >> 10,
        "bw_bytes": bandwidth as u64,
        "bw": (bandwidth / 1024.0) as u64,
        "iops": side.latency.len() as f64 / seconds,
        "runtime": outcome.took.as_millis() as u64,
        "total_ios": side.latency.len(),
        "short_ios": 0,
        "drop_ios": 0,
        "clat_ns": latency,
        "lat_ns": latency,
    })
}

fn latency(side: &Side) -> Value {
    let latency = &side.latency;
    let percentiles: Map<String, Value> = PERCENTILES
        .iter()
        .map(|percent| (format!("{percent:.6}"), latency.value_at_quantile(percent / 100.0).into()))
        .collect();
    json!({
        "min": if latency.is_empty() { 0 } else { latency.min() },
        "max": latency.max(),
        "mean": latency.mean(),
        "stddev": latency.stdev(),
        "N": latency.len(),
        "percentile": percentiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{measure::Tally, plan};
    use std::time::Duration;

    /// Tools that plot fio's results find what they look for, under fio's names and in fio's units.
    #[test]
    fn results_have_the_shape_of_fio() {
        let mut total = Tally::default();
        for us in 1..=1000 {
            total.reads.add(Duration::from_micros(us), 4096);
        }
        let took = Duration::from_secs(2);
        let cpu = Duration::from_millis(5);
        let plan = plan::sample();
        let outcome = Outcome { name: "embedded".into(), plan, total, took, cpu, server_cpu: None };
        let document = document(&[outcome]);
        let read = &document["jobs"][0]["read"];
        assert_eq!(read["iops"], 500.0);
        assert_eq!((&read["total_ios"], &read["runtime"]), (&json!(1000), &json!(2000)));
        assert_eq!((&read["bw_bytes"], &read["bw"]), (&json!(2_048_000), &json!(2000)));
        let clat = &read["clat_ns"];
        let close =
            |value: &Value, wanted: f64| (value.as_f64().unwrap() / wanted - 1.0).abs() < 0.01;
        assert!(
            close(&clat["mean"], 500_500.0) && close(&clat["percentile"]["99.000000"], 990_000.0)
        );
        assert!(close(&clat["percentile"]["50.000000"], 500_000.0) && close(&clat["max"], 1e6));
        assert_eq!(document["jobs"][0]["write"]["total_ios"], 0);
        assert_eq!(document["jobs"][0]["job options"]["iodepth"], "8");
    }
}
