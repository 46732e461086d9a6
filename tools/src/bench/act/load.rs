//! The load of ACT, as jobs.

use std::time::Duration;

use crate::bench::job::{Engine, Job, Load, Mix, Op, Rw, Sizes};

/// Reads a second at 1x.
const READS: f64 = 2000.0;
/// Writes a second at 1x.
const WRITES: f64 = 1000.0;
/// Bytes that a record takes on the device.
const RECORD: u64 = 1536;
/// Bytes of such a record that are not its value: header, key, the bin's name and kind, rounding.
const OVERHEAD: u64 = 96;
/// Bytes of a large block.
const LARGE: u64 = 128 << 10;
/// Share of a freed block that is still live, and so is written again.
const LIVE: f64 = 0.5;

/// So long a device may stand still before starts have to wait for others to end: twice what the table tells of, so that it is the table that judges.
const STANDSTILL: Duration = Duration::from_millis(128);
/// The bounds of operations in flight of a thread that follow from it.
const DEPTH_LEAST: u32 = 1024;
const DEPTH_MOST: u32 = 65_536;

/// The jobs of a multiple.
pub fn jobs(job: &Job, multiple: f64) -> Vec<Job> {
    let runtime = job.runtime.unwrap_or(Duration::from_secs(60));
    let base = Job {
        runtime: Some(runtime),
        time_based: true,
        ops: None,
        number_ios: None,
        rw: Rw::Read,
        mix: None,
        ..job.clone()
    };
    let threads = base.threads;
    let devices = base.filenames.len().max(1) as f64;
    let part = |name: &str, op: Op, bytes: u64, rate: f64| {
        let rate = rate * multiple * devices / f64::from(threads);
        let due = (rate * STANDSTILL.as_secs_f64()) as u32;
        Job {
            name: name.into(),
            mix: Some(Mix::reads(if op == Op::Read { 100 } else { 0 })),
            sizes: Some(Sizes::Fixed(bytes)),
            rate: Some(rate),
            depths: match base.depths[..] {
                [] => vec![due.clamp(DEPTH_LEAST, DEPTH_MOST)],
                _ => base.depths.clone(),
            },
            threads,
            ..base.clone()
        }
    };
    match base.engine() {
        Engine::Raw => {
            let (reads, writes) = large_rates();
            vec![
                part("reads", Op::Read, RECORD, READS),
                part("large reads", Op::Read, LARGE, reads),
                part("large writes", Op::Write, LARGE, writes),
            ]
        }
        _ => {
            let value = RECORD - OVERHEAD;
            vec![
                part("reads", Op::Read, value, READS),
                Job { load: Load::Never, ..part("writes", Op::Write, value, WRITES) },
            ]
        }
    }
}

/// Large reads and writes a second at 1x: what is written new, and what the freed blocks still held, written once more.
fn large_rates() -> (f64, f64) {
    let new = WRITES * RECORD as f64 / LARGE as f64;
    let read = new / (1.0 - LIVE);
    (read, new + read * LIVE)
}

/// Says what the load is.
pub fn explain(job: &Job, multiple: f64) {
    match job.engine() {
        Engine::Raw => {
            let (reads, writes) = large_rates();
            println!(
                "ACT on the bare device at {multiple}x: {:.0} reads/s of {RECORD} B, {:.1} large reads/s and {:.1} large writes/s of 128 KiB; open loop",
                READS * multiple,
                reads * multiple,
                writes * multiple
            );
        }
        _ => println!(
            "ACT through {} at {multiple}x: {:.0} reads/s and {:.0} writes/s of records of {RECORD} B ({} B of value) for each device; open loop.\n\
             Writes overwrite records, so large-block writes and defragmentation are the engine's own and not a load beside it.",
            job.engine().name(),
            READS * multiple,
            WRITES * multiple,
            RECORD - OVERHEAD
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The large blocks of 1x: each record is written twice, and as much is read as is written.
    #[test]
    fn large_blocks_follow_from_the_records() {
        let (reads, writes) = large_rates();
        assert!((reads - 23.44).abs() < 0.01 && (writes - 23.44).abs() < 0.01, "{reads} {writes}");
    }

    /// Threads and devices divide and multiply the load, and do not change it otherwise.
    #[test]
    fn the_load_is_that_of_the_multiple() {
        let job = Job {
            engine: Engine::Embedded,
            threads: 2,
            filenames: vec!["a".into(), "b".into()],
            ..Job::default()
        };
        let load = jobs(&job, 6.0);
        let rates: Vec<f64> =
            load.iter().map(|job| job.rate.unwrap() * f64::from(job.threads)).collect();
        assert_eq!(rates, [2.0 * 6.0 * 2000.0, 2.0 * 6.0 * 1000.0]);
        // 128 ms of 24,000 reads a second on two threads; what the user asked for comes first.
        assert_eq!(load[0].depth(), 1536);
        assert_eq!(jobs(&Job { depths: vec![7], ..job.clone() }, 6.0)[0].depth(), 7);
        assert_eq!(load[0].mix().share(Op::Read), 100);
        assert_eq!(load[1].mix().share(Op::Write), 100);
    }
}
