//! Which workers serve the door's connections: as few as carry the load, those with the lowest numbers.
//!
//! Many half idle workers sleep and wake all the time, which costs more than what they do. So connections begin on worker 0. A task there
//! looks how busy the workers in use are, ten times a second while there is something to do and once a second else, and has [`Spread`]
//! decide; connections then move by themselves at their next rest. Nothing of this is on the way of a command. A node of one worker has none of it.

mod load;
mod spread;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time};

use self::{
    load::{Machine, Thread},
    spread::{Load, Seen, Spread},
};
use super::door::Door;

/// The time between two looks while there is something to do.
const LOOK: Duration = Duration::from_millis(100);
/// And while there is not.
const REST: Duration = Duration::from_secs(1);
/// There is something to do when a worker runs for this share of the time.
const BUSY: f64 = 0.3;

/// What the workers share of it.
#[derive(Debug)]
pub struct Gathering {
    /// How many workers serve connections; the others are given none.
    used: AtomicUsize,
    /// Connections that have changed workers.
    pub moved: AtomicU64,
    came: Notify,
    /// The time of each worker's thread.
    threads: Box<[OnceLock<Thread>]>,
}

impl Gathering {
    /// That of so many workers. All of them serve, if connections are not to gather.
    pub fn new(workers: usize, gathers: bool) -> Self {
        Self {
            used: AtomicUsize::new(if gathers { 1 } else { workers }),
            moved: AtomicU64::new(0),
            came: Notify::new(),
            threads: (0..workers).map(|_| OnceLock::new()).collect(),
        }
    }

    /// How many workers serve connections: those with the lowest numbers.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Says that a connection has come. Where there was nothing to do, it is looked soon what there is.
    pub fn somebody_came(&self) {
        self.came.notify_one();
    }

    /// Has the time of this thread looked at as that of a worker.
    pub fn enter(&self, worker: usize) {
        match Thread::this() {
            Ok(thread) => drop(self.threads[worker].set(thread)),
            Err(error) => tracing::debug!(worker, %error, "a worker's time cannot be told"),
        }
    }
}

/// Has the connections served by as few workers as carry them. Ends at once where there is nothing to choose, or where it cannot be told what
/// workers do: then all of them serve.
pub async fn gather(door: Arc<Door>) {
    let (gathering, clients) = (&door.shared.gathering, &door.shared.clients);
    let workers = gathering.threads.len();
    if workers == 1 || !door.shared.config.gather {
        return;
    }
    if gathering.threads[door.worker].get().is_none() {
        return gathering.used.store(workers, Relaxed);
    }
    let machine = Machine::new();
    let mut spread = Spread::new(workers.min(machine.cores));
    let mut last = Sample::take(gathering, &machine);
    let mut pause = REST;
    loop {
        tokio::select! {
            () = time::sleep(pause) => {}
            () = gathering.came.notified(), if pause == REST => {
                last = Sample::take(gathering, &machine);
                time::sleep(LOOK).await;
            }
        }
        let now = Sample::take(gathering, &machine);
        let seen = now.since(&last, &machine, |worker| clients.placed(worker));
        let gives;
        (spread, gives) = spread.decide(&seen);
        if gathering.used.swap(spread.used, Relaxed) != spread.used {
            tracing::debug!(workers = spread.used, "the Redis door uses another number of workers");
        }
        for give in gives {
            clients.send(give.from, give.to, give.count);
        }
        let busy = seen.workers.iter().any(|load| load.ran >= BUSY);
        (last, pause) = (now, if busy { LOOK } else { REST });
    }
}

/// What the clocks showed.
struct Sample {
    at: Instant,
    /// How long each worker's thread has run, and how long it has waited for a core.
    threads: Vec<(Duration, Duration)>,
    /// How long the machine's cores have been idle, together.
    idle: Option<Duration>,
}

impl Sample {
    fn take(gathering: &Gathering, machine: &Machine) -> Self {
        let times = |thread: &OnceLock<Thread>| thread.get().and_then(Thread::times);
        Self {
            at: Instant::now(),
            threads: gathering.threads.iter().map(|one| times(one).unwrap_or_default()).collect(),
            idle: machine.idle(),
        }
    }

    fn since(&self, last: &Self, machine: &Machine, placed: impl Fn(usize) -> usize) -> Seen {
        let took = self.at - last.at;
        let share = |now: Duration, then: Duration| {
            now.saturating_sub(then).as_secs_f64() / took.as_secs_f64()
        };
        let idle = self.idle.zip(last.idle);
        let idle = idle.map_or(machine.cores as f64, |(now, then)| share(now, then));
        let load = |(worker, (now, then)): (usize, (&(_, _), &(_, _)))| Load {
            ran: share(now.0, then.0),
            waited: share(now.1, then.1),
            connections: placed(worker),
        };
        let threads = self.threads.iter().zip(&last.threads).enumerate();
        let idle_error = machine.resolution().as_secs_f64();
        Seen { took, workers: threads.map(load).collect(), idle, idle_error }
    }
}
