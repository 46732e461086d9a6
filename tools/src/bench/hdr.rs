//! Histograms in the files that HdrHistogram's own tools read: a log of intervals (V2), and percentile distributions (`.hgrm`).

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, Tag},
    },
};

use super::{outcome::Outcome, tally::Tally};
use crate::failure::{Doing, Failure, Result};

/// Percentile steps of each halving of the rest, in a distribution.
const STEPS: u32 = 5;

/// A log with a histogram for each second, job and kind of operation. Latencies in nanoseconds.
pub struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    started: Instant,
    /// The end of the last interval.
    last: Duration,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Log {
    /// Creates the file.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).doing(format_args!("creating {}", path.display()))?;
        let mut log = Self {
            path: path.into(),
            file: BufWriter::new(file),
            serializer: V2DeflateSerializer::new(),
            started: Instant::now(),
            last: Duration::ZERO,
        };
        let now = SystemTime::now();
        let mut writer = IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(concat!(
                "[cairn bench ",
                env!("CARGO_PKG_VERSION"),
                ": nanoseconds; tags are JOB.OPERATION]"
            ))
            .with_start_time(now)
            .with_base_time(now)
            .begin_log_with(&mut log.file, &mut log.serializer)
            .doing(format_args!("writing {}", path.display()))?;
        writer
            .write_comment("\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")
            .doing(format_args!("writing {}", path.display()))?;
        Ok(log)
    }

    /// Adds what a job counted since the last time.
    pub fn add(&mut self, job: &str, recent: &Tally) -> Result {
        let until = self.started.elapsed();
        let start = self.last.min(until);
        for (op, side) in recent.sides() {
            self.interval(&format!("{job}.{}", op.name()), start, until - start, &side.latency)?;
        }
        self.file.flush().doing(format_args!("writing {}", self.path.display()))
    }

    /// What was added stands for the time up to now.
    pub fn tick(&mut self) {
        self.last = self.started.elapsed();
    }

    fn interval(
        &mut self,
        tag: &str,
        start: Duration,
        length: Duration,
        histogram: &Histogram<u64>,
    ) -> Result {
        // A tag must not hold what separates the columns.
        let tag: String =
            tag.chars().map(|c| if c.is_whitespace() || c == ',' { '_' } else { c }).collect();
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(format!("writing the log: {error}"));
        let mut writer = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.file, &mut self.serializer)
            .map_err(|error| failed(&error))?;
        writer
            .write_histogram(histogram, start, length, Tag::new(&tag))
            .map_err(|error| failed(&format!("{error:?}")))
    }
}

/// Writes the distribution of each job and operation into a folder.
pub fn distributions(folder: &Path, outcomes: &[Outcome]) -> Result {
    std::fs::create_dir_all(folder).doing(format_args!("creating {}", folder.display()))?;
    for (number, outcome) in outcomes.iter().enumerate() {
        for (op, side) in outcome.total.sides() {
            let name: String = outcome
                .label()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .collect();
            let path = folder.join(format!("{:02}-{name}-{}.hgrm", number + 1, op.name()));
            std::fs::write(&path, distribution(&side.latency))
                .doing(format_args!("writing {}", path.display()))?;
        }
    }
    Ok(())
}

/// A percentile distribution in the text form of HdrHistogram: microseconds.
fn distribution(histogram: &Histogram<u64>) -> String {
    use std::fmt::Write;
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut below = 0;
    let us = |ns: f64| ns / 1e3;
    // Writing to a string does not fail.
    for step in histogram.iter_quantiles(STEPS) {
        below += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        let value = us(step.value_iterated_to() as f64);
        let _ = write!(text, "{value:12.3} {quantile:14.12} {below:10}");
        let _ = match quantile < 1.0 {
            true => writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text, " {:>14}", "inf"),
        };
    }
    let (mean, deviation) = (us(histogram.mean()), us(histogram.stdev()));
    let (max, count) = (us(histogram.max() as f64), histogram.len());
    let (buckets, sub) = (
        histogram.buckets(),
        1u32 << (32 - (2 * 10u32.pow(u32::from(histogram.sigfig())) - 1).leading_zeros()),
    );
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {sub:12}]");
    text
}
