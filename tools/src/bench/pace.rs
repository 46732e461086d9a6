//! When the next operation is due: at once in a closed loop, at instants that were fixed beforehand in an open one.
//!
//! In an open loop the instants do not depend on how operations fare. An operation that could not be started at its instant keeps
//! it, so its latency includes the wait: what a slow answer does to those behind it is not left out.

use std::time::{Duration, Instant};

use super::{job::Job, random::Random};

/// The instants of one thread's starts.
#[derive(Clone, Debug)]
pub struct Pace {
    interval: Duration,
    poisson: bool,
    /// The next start.
    due: Instant,
}

impl Pace {
    /// The pace of thread `number` of a job, beginning at `start`; `None` for a closed loop.
    pub fn new(job: &Job, number: u32, start: Instant) -> Option<Self> {
        let interval = Duration::from_secs_f64(1.0 / job.rate?);
        // Threads of a job take turns, so that even starts stay even.
        let due = start + interval.mul_f64(f64::from(number) / f64::from(job.threads));
        Some(Self { interval, poisson: job.poisson, due })
    }

    /// The instant of the next start.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The next start is made: plans the one behind it.
    pub fn advance(&mut self, random: &mut Random) {
        self.due += match self.poisson {
            true => self.interval.mul_f64(-(1.0 - random.unit()).ln()),
            false => self.interval,
        };
    }

    /// How many starts are due from `from` (or the next one) on and before `end`.
    pub fn left_between(&self, from: Instant, end: Instant) -> u64 {
        let left = end.saturating_duration_since(self.due.max(from)).as_secs_f64();
        (left / self.interval.as_secs_f64()).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::job;

    fn pace(poisson: bool, number: u32, start: Instant) -> Pace {
        let job = Job { rate: Some(1000.0), threads: 2, poisson, ..job::sample() };
        Pace::new(&job, number, start).unwrap()
    }

    /// Even starts are even over all threads; those of a Poisson process have its mean and its spread.
    #[test]
    fn starts_have_their_rate() {
        let (start, mut random) = (Instant::now(), Random::new(1));
        let mut second = pace(false, 1, start);
        assert_eq!(second.due() - start, Duration::from_micros(500));
        assert_eq!(second.left_between(start, start + Duration::from_secs(1)), 1000);
        second.advance(&mut random);
        assert_eq!(second.due() - start, Duration::from_micros(1500));

        let mut pace = pace(true, 0, start);
        let gaps: Vec<f64> = (0..100_000)
            .map(|_| {
                let before = pace.due();
                pace.advance(&mut random);
                (pace.due() - before).as_secs_f64() * 1000.0
            })
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
