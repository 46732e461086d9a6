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
    Change, Error, Namespace, NamespaceConfig, OpenError, Outcome, Receipt, Record, Step,
    Transacted,
    device::sim::{CrashPolicy, Rng, SimDevice},
    format::ValueRef,
    model::{Durability, Key, ReadPolicy, UserKey, Value, VoidTime, WritePolicy},
    time::{Clock, ManualClock},
};

use crate::{
    common,
    model::{Content, Model, SETS, State},
    rig::Rig,
    workload::{self, Part, Profile, Work, Workload, expected},
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
    /// One, or those of a group.
    keys: Vec<usize>,
    /// Those that the model knows are being changed.
    changed: Vec<usize>,
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
    config.max_record_size = profile.shape.block / 2;
    config.post_write_cache = profile.cached * profile.shape.block;
    if !profile.promised {
        config.durability = Durability::Buffer;
    }
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
            let busy = |key: usize| under_way.iter().any(|other| other.keys.contains(&key));
            match workload.next(self.clock.now_ms(), busy) {
                workload::Step::Key { key, work, policy } => self.begin(key, work, policy),
                workload::Step::Group { parts, looks, durable } => {
                    self.begin_group(parts, looks, durable)
                }
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
                keys: vec![key],
                changed: Vec::new(),
                expected: Expected::Read(old),
                durable,
                future,
            });
        }
        let (outcome, new) = expected(&work, &policy, &old);
        let expected = Expected::Write(outcome, new.is_some());
        let changed = Vec::from_iter(new.is_some().then_some(key));
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
        self.under_way.push(UnderWay { keys: vec![key], changed, expected, durable, future });
    }

    fn begin_group(&mut self, parts: Vec<Part>, looks: bool, durable: bool) {
        let (namespace, now) = (Arc::clone(&self.namespace), self.clock.now_ms());
        let state = |part: &Part| {
            let old = self.model.current(part.key, now);
            let generation = old.as_ref().map_or(0, |old| old.generation) + 1;
            let void_ms = part.void_ms;
            match &part.bins {
                Some(bins) => {
                    let bins = bins.clone();
                    Some((part.key, Some(Arc::new(Content { bins, generation, void_ms }))))
                }
                // A delete of what is not there changes nothing.
                None => old.map(|_| (part.key, None)),
            }
        };
        let states: Vec<(usize, State)> = parts.iter().filter_map(state).collect();
        if states.is_empty() {
            return;
        }
        let keys = parts.iter().map(|part| part.key).collect();
        let changed = states.iter().map(|(key, _)| *key).collect();
        self.model.begin_group(states);
        let future = Box::pin(async move {
            let receipt = transact(&namespace, &parts, looks).await?;
            if durable {
                receipt.durable().await?;
            }
            Ok(Answer::Write(Outcome::Done(())))
        });
        let expected = Expected::Write(Outcome::Done(()), true);
        self.under_way.push(UnderWay { keys, changed, expected, durable, future });
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
        let keys = done.keys;
        match (answer, done.expected) {
            (Ok(Answer::Read(found)), Expected::Read(state)) if found == state => {}
            (Ok(Answer::Write(outcome)), Expected::Write(wanted, changes)) if outcome == wanted => {
                if changes {
                    for key in done.changed {
                        self.model.acknowledge(key, done.durable);
                    }
                }
            }
            (Err(error), _) if self.rig.is_off() && error.in_doubt() => {}
            (Err(error), expected)
                if self.rig.is_off() || matches!(error, Error::NoSpace { .. }) =>
            {
                if matches!(expected, Expected::Write(_, true)) {
                    self.model.refuse_group(&done.changed);
                }
            }
            (Err(error), _) => return Err(format!("keys {keys:?}: {error}")),
            (Ok(Answer::Read(found)), _) => {
                return Err(format!("keys {keys:?}: the node answers {found:?}"));
            }
            (Ok(Answer::Write(outcome)), Expected::Write(wanted, _)) => {
                return Err(format!("keys {keys:?}: {outcome:?} instead of {wanted:?}"));
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
                let keys: Vec<_> = self.under_way.iter().map(|other| &other.keys).collect();
                return Err(format!(
                    "operations on the keys {keys:?} wait for ever: {:?}",
                    self.namespace.stats()
                ));
            }
        }
        Ok(())
    }
}

/// Applies a group; looks before, and again as often as something has moved.
async fn transact(namespace: &Namespace, parts: &[Part], looks: bool) -> Result<Receipt, Error> {
    let keys: Vec<Key> = parts.iter().map(|part| key(part.key)).collect();
    let refs = |part: &Part| {
        let bins = part.bins.iter().flatten();
        bins.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    let owned: Vec<Vec<(String, Value)>> = parts.iter().map(refs).collect();
    let bins: Vec<Vec<(&str, ValueRef<'_>)>> =
        owned.iter().map(|bins| bins.iter().map(as_ref).collect()).collect();
    loop {
        let mut sights = Vec::new();
        for key in keys.iter().filter(|_| looks) {
            sights.push(namespace.look(key).await?);
        }
        let step = |at: usize| Step {
            key: &keys[at],
            seen: sights.get(at),
            change: match &parts[at].bins {
                Some(_) => Change::Put { bins: &bins[at], void_time: VoidTime(parts[at].void_ms) },
                None => Change::Delete,
            },
        };
        let steps: Vec<Step<'_>> = (0..parts.len()).map(step).collect();
        if let Transacted::Applied(receipt) = namespace.transact(&steps).await? {
            return Ok(receipt);
        }
    }
}

fn as_ref((name, value): &(String, Value)) -> (&str, ValueRef<'_>) {
    let value = match value {
        Value::Int(number) => ValueRef::Int(*number),
        Value::Bytes(bytes) => ValueRef::Bytes(bytes),
        other => unreachable!("{other:?} is not chosen"),
    };
    (name, value)
}

fn simple<T>(outcome: Outcome<T>) -> Outcome<()> {
    match outcome {
        Outcome::Done(_) => Outcome::Done(()),
        Outcome::NotFound => Outcome::NotFound,
        Outcome::Exists => Outcome::Exists,
        Outcome::GenerationMismatch(generation) => Outcome::GenerationMismatch(generation),
    }
}
