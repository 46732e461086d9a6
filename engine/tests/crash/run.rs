//! One run of a workload on a rig: operations side by side, each compared with what the model says, until the work is done or the power
//! is gone.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use cairn_engine::{
    Error, Namespace, NamespaceConfig, OpenError, Outcome, Record,
    device::sim::{CrashPolicy, Rng, SimDevice},
    model::{Durability, Key, ReadPolicy, UserKey, WritePolicy},
    time::{Clock, ManualClock},
};

use crate::{
    common,
    model::{Content, Model, SETS, State},
    rig::Rig,
    workload::{Profile, Step, Work, Workload, expected},
};

/// Turns without any progress before a run counts as stuck.
const PATIENCE: u32 = 20_000;

/// A namespace on a rig, and what it must hold.
pub struct Run {
    pub rig: Rig,
    pub namespace: Arc<Namespace>,
    pub clock: Arc<ManualClock>,
    pub model: Model,
    pub profile: Profile,
    under_way: Vec<UnderWay>,
    /// Writes of rigs that this run has left behind.
    pub earlier_writes: u64,
    pub cut_at: Option<u64>,
    /// Records moved and writes refused by namespaces that this run has left behind.
    pub earlier_moved: (u64, u64),
}

struct UnderWay {
    key: usize,
    expected: Expected,
    durable: bool,
    future: Pin<Box<dyn Future<Output = Result<Answer, Error>>>>,
}

enum Expected {
    Read(State),
    /// The outcome, and whether it changes the record.
    Write(Outcome<()>, bool),
}

enum Answer {
    Read(State),
    Write(Outcome<()>),
}

/// The power went while the namespace was being opened.
pub struct PowerLost(pub Rig);

pub fn config(profile: &Profile) -> NamespaceConfig {
    let mut config = common::small_config();
    config.devices = (0..profile.shape.devices)
        .map(|at| cairn_engine::DeviceConfig::Raw(format!("sim{at}").into()))
        .collect();
    config.write_block_size = profile.shape.block;
    config.post_write_cache = profile.cached * profile.shape.block;
    config
}

pub fn key(number: usize) -> Key {
    Key::new(SETS[number % SETS.len()], UserKey::Str(format!("k{number}").into())).unwrap()
}

pub fn content(record: &Record) -> Content {
    let metadata = record.metadata();
    let bins = record.bins().unwrap().map(|bin| {
        let (name, value) = bin.unwrap();
        (name.to_owned(), value.to_value().unwrap())
    });
    let bins: BTreeMap<_, _> = bins.collect();
    Content { bins, generation: metadata.generation, void_ms: metadata.void_time.0 }
}

pub fn open(
    rig: &Rig,
    profile: &Profile,
    clock: &Arc<ManualClock>,
) -> Result<Arc<Namespace>, OpenError> {
    Namespace::open_driven(&config(profile), &common::options(clock), rig.devices())
}

impl Run {
    /// Opens the namespace on a rig. `Err(Ok(..))`: the power went meanwhile.
    pub fn open(
        rig: Rig,
        profile: Profile,
        clock: &Arc<ManualClock>,
        model: Model,
    ) -> Result<Self, Result<PowerLost, String>> {
        match open(&rig, &profile, clock) {
            Ok(namespace) => {
                let clock = Arc::clone(clock);
                let under_way = Vec::new();
                Ok(Self {
                    rig,
                    namespace,
                    clock,
                    model,
                    profile,
                    under_way,
                    earlier_writes: 0,
                    cut_at: None,
                    earlier_moved: (0, 0),
                })
            }
            Err(_) if rig.is_off() => Err(Ok(PowerLost(rig))),
            Err(error) => Err(Err(format!("cannot be opened: {error}"))),
        }
    }

    /// Works until the workload's operations are done or write number `cut_at` of this run takes the power away.
    pub fn work(&mut self, workload: &mut Workload, cut_at: Option<u64>) -> Result<(), String> {
        self.cut_at = cut_at;
        self.rig.set_stepped(self.profile.stepped);
        let mut left = self.profile.operations;
        while left > 0 && !self.rig.is_off() {
            let begin = self.under_way.len() < self.profile.depth && workload.rng.below(3) == 0;
            if !begin {
                self.turn(&mut workload.rng)?;
                continue;
            }
            left -= 1;
            let under_way = &self.under_way;
            let busy = |key: usize| under_way.iter().any(|other| other.key == key);
            match workload.next(self.clock.now_ms(), busy) {
                Step::Key { key, work, policy } => self.begin(key, work, policy),
                step => {
                    self.finish(&mut workload.rng)?;
                    if !self.rig.is_off() {
                        self.alone(step, &mut workload.rng)?;
                    }
                }
            }
        }
        self.finish(&mut workload.rng)?;
        self.rig.rewritten().map_or(Ok(()), |sector| Err(format!("written twice: {sector}")))
    }

    /// Writes every key once and stops cleanly. What is left is a device that is as full as the profile makes it.
    pub fn fill(&mut self, workload: &mut Workload) -> Result<Vec<Arc<SimDevice>>, String> {
        for key in 0..self.profile.keys {
            let (work, policy) = workload.fill();
            self.begin(key, work, policy);
            self.finish(&mut workload.rng)?;
        }
        self.namespace.close().map_err(|error| format!("a clean stop fails: {error}"))?;
        self.model.all_durable();
        Ok(self.rig.images(CrashPolicy::LoseAll))
    }

    /// Records that were moved in this run, and writes that found no room.
    pub fn moved(&self) -> (u64, u64) {
        let stats = self.namespace.stats();
        (self.earlier_moved.0 + stats.records_moved, self.earlier_moved.1 + stats.refused_full)
    }

    /// Writes and syncs of this run so far.
    pub fn writes(&self) -> u64 {
        self.earlier_writes + self.rig.writes()
    }

    fn begin(&mut self, key: usize, work: Work, policy: WritePolicy) {
        let (namespace, now) = (Arc::clone(&self.namespace), self.clock.now_ms());
        let old = self.model.current(key, now);
        let user_key = self::key(key);
        let durable = policy.durability != Some(Durability::Buffer);
        if matches!(work, Work::Get) {
            let future = Box::pin(async move {
                let record = namespace.get(&user_key, &ReadPolicy::default()).await?;
                Ok(Answer::Read(record.map(|record| Arc::new(content(&record)))))
            });
            return self.under_way.push(UnderWay {
                key,
                expected: Expected::Read(old),
                durable,
                future,
            });
        }
        let (outcome, new) = expected(&work, &policy, &old);
        let expected = Expected::Write(outcome, new.is_some());
        if let Some(state) = new {
            self.model.begin(key, state);
        }
        let future = Box::pin(async move {
            Ok(Answer::Write(match work {
                Work::Put(bins) => simple(namespace.put(&user_key, &bins, &policy).await?),
                Work::Delete => namespace.delete(&user_key, &policy).await?,
                Work::Touch => simple(namespace.touch(&user_key, &policy).await?),
                Work::Operate(work) => simple(namespace.operate(&user_key, &work, &policy).await?),
                Work::Get => unreachable!("done above"),
            }))
        });
        self.under_way.push(UnderWay { key, expected, durable, future });
    }

    /// One turn of something. Returns whether an operation came to its end.
    fn turn(&mut self, rng: &mut Rng) -> Result<bool, String> {
        match rng.below(3) {
            0 => drop(self.namespace.drive()),
            1 if rng.below(self.profile.lag) > 0 => {}
            1 => drop(self.rig.sims[rng.below(self.rig.sims.len())].step()),
            _ if self.under_way.is_empty() => {}
            _ => return self.poll(rng.below(self.under_way.len())),
        }
        Ok(false)
    }

    fn poll(&mut self, at: usize) -> Result<bool, String> {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(answer) = self.under_way[at].future.as_mut().poll(&mut context) else {
            return Ok(false);
        };
        let done = self.under_way.swap_remove(at);
        let key = done.key;
        match (answer, done.expected) {
            (Ok(Answer::Read(found)), Expected::Read(state)) if found == state => {}
            (Ok(Answer::Write(outcome)), Expected::Write(wanted, changes)) if outcome == wanted => {
                if changes {
                    self.model.acknowledge(key, done.durable);
                }
            }
            (Err(error), _) if self.rig.is_off() && error.in_doubt() => {}
            (Err(error), expected)
                if self.rig.is_off() || matches!(error, Error::NoSpace { .. }) =>
            {
                if matches!(expected, Expected::Write(_, true)) {
                    self.model.refuse(key);
                }
            }
            (Err(error), _) => return Err(format!("key {key}: {error}")),
            (Ok(Answer::Read(found)), _) => {
                return Err(format!("key {key}: the node answers {found:?}"));
            }
            (Ok(Answer::Write(outcome)), Expected::Write(wanted, _)) => {
                return Err(format!("key {key}: {outcome:?} instead of {wanted:?}"));
            }
            (Ok(Answer::Write(_)), Expected::Read(_)) => unreachable!("a read answers a read"),
        }
        Ok(true)
    }

    /// Brings what is under way to its end; after a loss of power, as far as it comes.
    fn finish(&mut self, rng: &mut Rng) -> Result<(), String> {
        let mut patience = PATIENCE;
        while !self.under_way.is_empty() {
            if self.rig.is_off() {
                patience = patience.min(200);
            }
            patience = if self.turn(rng)? { PATIENCE } else { patience - 1 };
            if patience == 0 {
                if self.rig.is_off() {
                    self.under_way.clear();
                    break;
                }
                let keys: Vec<usize> = self.under_way.iter().map(|other| other.key).collect();
                return Err(format!(
                    "operations on the keys {keys:?} wait for ever: {:?}",
                    self.namespace.stats()
                ));
            }
        }
        Ok(())
    }
}

fn simple<T>(outcome: Outcome<T>) -> Outcome<()> {
    match outcome {
        Outcome::Done(_) => Outcome::Done(()),
        Outcome::NotFound => Outcome::NotFound,
        Outcome::Exists => Outcome::Exists,
        Outcome::GenerationMismatch(generation) => Outcome::GenerationMismatch(generation),
    }
}
