//! What the connections of the Redis door share: of the node ([`Shared`]), and of one worker ([`Door`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use cairn_engine::{Namespace, model::Durability};

use super::{
    clients::Clients,
    counters::{Counted, Counters},
    databases::{Databases, Sets},
    fail::Fail,
    gathering::Gathering,
    slowlog::SlowLog,
    table,
    together::Together,
};
use crate::{
    config::RespConfig,
    state::{Served, State},
};

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The settings.
    pub config: RespConfig,
    /// The place of the namespace that is served, in the list of the node.
    pub place: usize,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// Connections open now.
    pub connections: AtomicUsize,
    /// Connections refused since there were too many.
    pub refused_connections: AtomicUsize,
    /// Which workers serve connections.
    pub gathering: Gathering,
    /// Which set each database is.
    pub databases: Databases,
    /// The counters of each worker.
    pub counters: Vec<Arc<Counters>>,
    /// Commands that took long.
    pub slow: SlowLog,
    /// Milliseconds after which a silent connection is closed; 0 for never.
    pub idle_ms: AtomicU64,
    /// What was done in the last second.
    pub rates: Rates,
    /// Names this run of the node: 40 hexadecimal digits.
    pub run_id: String,
}

/// What was done in a second.
#[derive(Debug, Default)]
pub struct Rates {
    /// Commands.
    pub commands: AtomicU64,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    /// Bytes sent.
    pub bytes_out: AtomicU64,
}

impl Shared {
    /// The door of a node that serves the namespace at `place` with so many workers.
    pub fn new(config: RespConfig, place: usize, workers: usize) -> Self {
        Self {
            slow: SlowLog::default(),
            idle_ms: AtomicU64::new(config.idle_timeout.as_millis() as u64),
            rates: Rates::default(),
            run_id: run_id(),
            gathering: Gathering::new(workers, config.gather),
            config,
            place,
            clients: Arc::default(),
            connections: AtomicUsize::new(0),
            refused_connections: AtomicUsize::new(0),
            databases: Databases::default(),
            counters: (0..workers).map(|_| Arc::default()).collect(),
        }
    }

    /// Reads back what the last run left.
    pub async fn load(&self, namespace: &Namespace) -> Result<(), cairn_engine::Error> {
        self.databases.load(namespace).await
    }

    /// A counter of all workers together.
    pub fn sum(&self, of: fn(&Counters) -> &AtomicU64) -> u64 {
        self.counters.iter().map(|counters| of(counters).load(Relaxed)).sum()
    }

    /// How often a connection went to another worker.
    pub fn moved(&self) -> u64 {
        self.gathering.moved.load(Relaxed)
    }

    /// Bytes received.
    pub fn bytes_in(&self) -> u64 {
        self.sum(|counters| &counters.bytes_in)
    }

    /// Bytes sent.
    pub fn bytes_out(&self) -> u64 {
        self.sum(|counters| &counters.bytes_out)
    }

    /// How often each command that was asked for was done, failed and was refused.
    pub fn by_command(&self) -> impl Iterator<Item = (&'static str, [(&'static str, u64); 3])> {
        let sum = |number: usize, of: fn(&Counted) -> &AtomicU64| -> u64 {
            self.counters.iter().map(|all| of(&all.commands[number]).load(Relaxed)).sum()
        };
        table::all().iter().enumerate().filter_map(move |(number, command)| {
            let (calls, failed) = (sum(number, |c| &c.calls), sum(number, |c| &c.failed));
            let rejected = sum(number, |c| &c.rejected);
            let done = calls.saturating_sub(failed);
            (calls + rejected > 0).then_some((
                command.name,
                [("done", done), ("failed", failed), ("refused", rejected)],
            ))
        })
    }

    /// Commands done.
    pub fn commands(&self) -> u64 {
        let commands = self.counters.iter().flat_map(|counters| &counters.commands);
        commands.map(|counted| counted.calls.load(Relaxed)).sum()
    }
}

/// Digits that no other run has.
fn run_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one(SystemTime::now());
    let digits: String = (0..3).map(|_| format!("{:016x}", random())).collect();
    digits[..40].into()
}

/// The Redis door of one worker.
#[derive(Debug)]
pub struct Door {
    /// The node.
    pub state: Arc<State>,
    /// The door of all workers.
    pub shared: Arc<Shared>,
    /// The worker's number.
    pub worker: usize,
    /// The worker's own counters.
    pub counters: Arc<Counters>,
    /// The worker's connections that wait for a device.
    pub together: Together,
}

impl Door {
    /// The door of the worker whose thread asks; `None` when the node has none.
    pub fn new(state: &Arc<State>, worker: usize) -> Option<Self> {
        let shared = Arc::clone(state.resp.as_ref()?);
        let counters = Arc::clone(&shared.counters[worker]);
        shared.gathering.enter(worker);
        Some(Self {
            state: Arc::clone(state),
            shared,
            worker,
            counters,
            together: Together::default(),
        })
    }

    /// The namespace it serves.
    pub fn served(&self) -> &Served {
        &self.state.namespaces[self.shared.place]
    }

    /// The engine's side of it.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.served().engine
    }

    /// Which set each database is now.
    pub fn sets(&self) -> Sets {
        self.shared.databases.sets()
    }

    /// The set that a database is now.
    pub fn set(&self, db: u8) -> Result<&'static str, Fail> {
        self.sets().set(db)
    }

    /// Waits until what was read without a look at single keys may be told: in a namespace that promises durability, when all that was applied
    /// is durable. Where nothing is under way, that is at once.
    pub async fn settled(&self) -> Result<(), Fail> {
        if self.namespace().config().durability == Durability::Device {
            self.namespace().settle_all().await?;
        }
        Ok(())
    }

    /// The time, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}
