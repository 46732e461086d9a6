//! What one run does, whatever it is run on.

use std::time::Duration;

use super::options::Distribution;

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many different keys: 0 to `keys - 1`.
    pub keys: u64,
    /// Bytes of each value.
    pub value_size: usize,
    /// Share of reads, in per cent.
    pub read_pct: u8,
    /// Operations in flight in each job.
    pub depth: u32,
    /// Threads.
    pub jobs: u32,
    /// How long it is measured.
    pub runtime: Duration,
    /// How many operations are measured, instead of a time.
    pub ops: Option<u64>,
    /// How long it goes before it is measured.
    pub warmup: Duration,
    /// How keys are chosen.
    pub distribution: Distribution,
    /// Makes the run repeatable.
    pub seed: u64,
    /// Check every value that is read.
    pub verify: bool,
}

impl Plan {
    /// The part of `ops` that job number `job` does.
    pub fn ops_of_job(&self, job: u32) -> Option<u64> {
        let (jobs, job) = (u64::from(self.jobs), u64::from(job));
        self.ops.map(|ops| ops / jobs + u64::from(job < ops % jobs))
    }

    /// fio's name for the mix.
    pub fn rw(&self) -> &'static str {
        match self.read_pct {
            100 => "randread",
            0 => "randwrite",
            _ => "randrw",
        }
    }
}

#[cfg(test)]
pub fn sample() -> Plan {
    Plan {
        keys: 1000,
        value_size: 100,
        read_pct: 50,
        depth: 8,
        jobs: 3,
        runtime: Duration::from_secs(1),
        ops: Some(1000),
        warmup: Duration::ZERO,
        distribution: Distribution::Uniform,
        seed: 1,
        verify: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The jobs together do exactly the operations asked for.
    #[test]
    fn operations_are_divided_without_remainder() {
        let plan = sample();
        let parts: Vec<_> = (0..plan.jobs).map(|job| plan.ops_of_job(job).unwrap()).collect();
        assert_eq!(parts, [334, 333, 333]);
    }
}
