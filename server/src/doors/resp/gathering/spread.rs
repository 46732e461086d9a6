//! The decision: how many workers serve connections, and who gives how many of them to whom.
//!
//! A function of what was seen, without clocks and files. More workers are used as soon as those in use are full *and* the machine has cores to
//! give: where it has none, one more thread only takes turns with the others. The number doubles, for a load that is too much for some is mostly
//! too much for a few more. Fewer are used when fewer would have done for a while; if that proves wrong, it is tried later next time.

use std::time::Duration;

/// Workers that want to run for this share of the time, on average, are full: nothing stays for them to be idle in.
const FULL: f64 = 0.93;
/// Those that want to run for less than this are not busy, and it may be that fewer would do.
const BUSY: f64 = 0.8;
/// So many cores must be idle before another worker is used.
const SPARE: f64 = 0.25;
/// The share of the time that a worker runs at most when the number is lowered. Fewer workers need less time for the same.
const CARRIES: f64 = 0.9;
/// How long fewer workers must have been enough, and how long at most is looked back at busy ones.
const CALM: Duration = Duration::from_secs(1);
/// The same, if lowering the number has often proved wrong.
const CALM_MOST: Duration = Duration::from_secs(64);
/// Workers that are full so soon after the number was lowered are so for that reason.
const RELAPSE: Duration = Duration::from_secs(2);
/// How long what was decided is given to show, before workers in use give each other connections.
const SETTLED: Duration = Duration::from_millis(500);
/// By what share of the time a worker must be busier than another one to give it connections.
const UNEVEN: f64 = 0.3;
/// Workers that run less than this together have nothing to do.
const NOTHING: f64 = 0.3;

/// A worker since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// The share of the time that its thread ran; from 0 to 1.
    pub ran: f64,
    /// The share of the time that it could have run but had no core.
    pub waited: f64,
    /// Connections that it is to serve.
    pub connections: usize,
}

impl Load {
    /// The share of the time that it would have run on a machine of its own, or nearly: who waits meanwhile finds more to do.
    fn wanted(self) -> f64 {
        self.ran + self.waited
    }
}

/// What was seen since the last look.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// How long that is.
    pub took: Duration,
    /// All workers.
    pub workers: Vec<Load>,
    /// How many of the machine's cores had nothing to do, on average.
    pub idle: f64,
    /// By how much that may be too much over any time, in seconds of one core.
    pub idle_error: f64,
}

/// So many connections go from one worker to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Give {
    pub from: usize,
    pub to: usize,
    pub count: usize,
}

/// Several looks that followed each other, in which the workers in use were busy all the time, or never. Sums over these workers, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Window {
    took: Duration,
    ran: f64,
    wanted: f64,
    /// Of the machine's cores.
    idle: f64,
}

impl Window {
    fn of(seen: &Seen, used: usize) -> Self {
        let time = seen.took.as_secs_f64();
        let sum = |of: fn(&Load) -> f64| seen.workers[..used].iter().map(of).sum::<f64>() * time;
        Self {
            took: seen.took,
            ran: sum(|load| load.ran),
            wanted: sum(|load| load.wanted()),
            idle: seen.idle * time,
        }
    }

    fn and(self, next: Self) -> Self {
        Self {
            took: self.took + next.took,
            ran: self.ran + next.ran,
            wanted: self.wanted + next.wanted,
            idle: self.idle + next.idle,
        }
    }

    /// A sum as the share of the time.
    fn share(&self, sum: f64) -> f64 {
        sum / self.took.as_secs_f64()
    }

    fn is_busy(&self, used: usize) -> bool {
        self.share(self.wanted) >= BUSY * used as f64
    }
}

/// What is decided, and what that is to be judged by next time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many workers serve connections.
    pub used: usize,
    most: usize,
    window: Option<Window>,
    /// How long fewer must be enough before the number is lowered.
    patience: Duration,
    /// How long ago that was done last.
    lowered: Duration,
    /// How long ago connections were given away.
    given: Duration,
}

impl Spread {
    /// One worker serves, and later at most so many.
    pub fn new(most: usize) -> Self {
        Self {
            used: 1,
            most: most.max(1),
            window: None,
            patience: CALM,
            lowered: Duration::MAX,
            given: Duration::ZERO,
        }
    }

    /// What is to be done after this was seen.
    pub fn decide(mut self, seen: &Seen) -> (Self, Vec<Give>) {
        let connections: Vec<_> = seen.workers.iter().map(|load| load.connections).collect();
        self.lowered = self.lowered.saturating_add(seen.took);
        self.given = self.given.saturating_add(seen.took);
        let look = Window::of(seen, self.used);
        let window = match self.window {
            Some(before) if before.is_busy(self.used) == look.is_busy(self.used) => {
                before.and(look)
            }
            _ => look,
        };
        let spare = window.share(window.idle - seen.idle_error);
        let used = self.enough(&window, spare, connections.iter().sum());
        self.window = (used == self.used && !self.is_over(&window)).then_some(window);
        self.learn(used, &window);
        // Who came while the number was lowered may have been given to a worker that is no longer in use.
        let astray = connections.iter().skip(used).any(|count| *count > 0);
        let gives = if used != self.used || astray {
            level(connections, used)
        } else if spare >= SPARE && self.given >= SETTLED {
            relieve(&seen.workers[..used])
        } else {
            Vec::new()
        };
        if !gives.is_empty() {
            self.given = Duration::ZERO;
        }
        (Self { used, ..self }, gives)
    }

    /// How many workers are enough, as far as this window tells. So many cores were certainly idle in it.
    fn enough(&self, window: &Window, spare: f64, connections: usize) -> usize {
        if window.share(window.wanted) >= FULL * self.used as f64 && spare >= SPARE {
            let more = self.used.min(spare.round() as usize).max(1);
            // A worker without a connection would have nothing to do.
            (self.used + more).min(self.most).min(connections).max(self.used)
        } else if !window.is_busy(self.used) && window.took >= self.patience {
            ((window.share(window.ran) / CARRIES).ceil() as usize).clamp(1, self.used)
        } else {
            self.used
        }
    }

    /// Whether what comes next is judged without this window.
    fn is_over(&self, window: &Window) -> bool {
        window.took >= if window.is_busy(self.used) { CALM } else { self.patience }
    }

    /// Waits longer before the number is lowered again, if that was wrong; and forgets it when the load is gone.
    fn learn(&mut self, used: usize, window: &Window) {
        if window.share(window.ran) < NOTHING {
            self.patience = CALM;
        } else if used > self.used && self.lowered < RELAPSE {
            self.patience = (2 * self.patience).min(CALM_MOST);
        }
        if used < self.used {
            self.lowered = Duration::ZERO;
        }
    }
}

/// Has so many workers serve the same number of connections each, one more or less.
fn level(mut connections: Vec<usize>, used: usize) -> Vec<Give> {
    let all: usize = connections.iter().sum();
    let fair = |worker: usize| match worker < used {
        true => all / used + usize::from(worker < all % used),
        false => 0,
    };
    let mut gives = Vec::new();
    let mut to = 0;
    for from in 0..connections.len() {
        while connections[from] > fair(from) {
            // There is one: what some have too much, others have too little.
            while connections[to] >= fair(to) {
                to += 1;
            }
            let count = (connections[from] - fair(from)).min(fair(to) - connections[to]);
            connections[from] -= count;
            connections[to] += count;
            gives.push(Give { from, to, count });
        }
    }
    gives
}

/// Has the busiest worker give the idlest one so many connections that both are as busy, if all of its are alike.
fn relieve(workers: &[Load]) -> Vec<Give> {
    let by_time =
        |one: &usize, other: &usize| workers[*one].wanted().total_cmp(&workers[*other].wanted());
    let busiest = (0..workers.len()).max_by(by_time);
    let idlest = (0..workers.len()).min_by(by_time);
    let Some((from, to)) = busiest.zip(idlest) else { return Vec::new() };
    let (most, least) = (workers[from].wanted(), workers[to].wanted());
    let connections = workers[from].connections;
    if most < FULL || most - least < UNEVEN || connections < 2 {
        return Vec::new();
    }
    let count = connections as f64 * (most - least) / (2.0 * most);
    vec![Give { from, to, count: (count.round() as usize).clamp(1, connections - 1) }]
}

#[cfg(test)]
mod tests;
