//! Operations that a seed decides, and what each of them must do.

use std::{collections::BTreeMap, sync::Arc};

use cairn_engine::{
    Operation, Outcome,
    device::sim::Rng,
    model::{Durability, ExistsPolicy, GenerationCheck, Ttl, Value, WritePolicy},
};

use crate::{
    model::{Content, SETS, State},
    rig::Shape,
};

/// What kind of work is done on what kind of devices.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub shape: Shape,
    pub keys: usize,
    /// Operations of one run.
    pub operations: usize,
    /// Operations under way at once.
    pub depth: usize,
    /// Requests complete in an order of the device's.
    pub stepped: bool,
    /// How much slower the devices are than everything else.
    pub lag: usize,
    /// Blocks of post-write cache.
    pub cached: u64,
    /// Of a hundred writes, how many ask for durability `buffer`.
    pub buffered: usize,
    pub largest: usize,
    /// Of a hundred operations, how many are on the hot tenth of the keys; with 0, writes go round the keys. Devices with hot keys are full
    /// from the beginning.
    pub hot: usize,
    /// Of a hundred operations, how many are groups, and of how many keys at most.
    pub groups: (usize, usize),
    /// The namespace promises durability, so that every write of a group hurries.
    pub promised: bool,
}

/// One operation on one key.
#[derive(Clone, Debug)]
pub enum Work {
    Get,
    Put(Vec<(Box<str>, Value)>),
    Delete,
    Touch,
    Operate(Vec<Operation>),
}

/// What a group makes of a key.
#[derive(Clone, Debug)]
pub struct Part {
    pub key: usize,
    /// `None` for a delete.
    pub bins: Option<BTreeMap<String, Value>>,
    /// Milliseconds since 1970; 0 for never.
    pub void_ms: u64,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    Key {
        key: usize,
        work: Work,
        policy: WritePolicy,
    },
    /// Several keys as one.
    Group {
        parts: Vec<Part>,
        /// Whether they are looked at before.
        looks: bool,
        /// Whether the answer waits for durability.
        durable: bool,
    },
    Truncate(Option<usize>),
    Housekeep,
    /// Time passes.
    Wait(u64),
    /// Everything comes to rest, for longer than `flush-max`.
    Settle,
    /// Stop and start again: cleanly or by losing power.
    Restart {
        clean: bool,
    },
}

/// Chooses steps.
pub struct Workload {
    pub rng: Rng,
    profile: Profile,
    /// Writes go round the keys, so that old blocks become empty.
    round: usize,
    count: i64,
}

impl Workload {
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self { rng: Rng::new(seed), profile, round: 0, count: 0 }
    }

    /// The next step; keys that `busy` says are left alone.
    pub fn next(&mut self, now: u64, busy: impl Fn(usize) -> bool) -> Step {
        match self.rng.below(400) {
            0 => return Step::Truncate(Some(self.rng.below(SETS.len()))),
            1 => return Step::Truncate(None).when(self.rng.coin()),
            2 => return Step::Restart { clean: true },
            3 => return Step::Restart { clean: false },
            4 | 5 => return Step::Settle,
            6..16 => return Step::Housekeep,
            16..24 => return Step::Wait(self.rng.below(700) as u64),
            _ => {}
        }
        self.count += 1;
        if self.profile.groups.0 > 0 && self.rng.below(100) < self.profile.groups.0 {
            return self.group(now, busy);
        }
        let first = self.first();
        let mut keys = (0..self.profile.keys).map(|step| (first + step) % self.profile.keys);
        // Groups may be busy with all of them.
        let Some(key) = keys.find(|&key| !busy(key)) else { return Step::Wait(0) };
        Step::Key { key, work: self.work(), policy: self.policy(now) }
    }

    fn group(&mut self, now: u64, busy: impl Fn(usize) -> bool) -> Step {
        let wanted = 2 + self.rng.below(self.profile.groups.1 - 1);
        // What fits into one block, with the headers and a margin for size classes.
        let mut room = self.profile.shape.block as usize - 4096 - 200 * wanted;
        room -= room / 8;
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..4 * wanted {
            let key = self.first() % self.profile.keys;
            if parts.len() == wanted || busy(key) || parts.iter().any(|part| part.key == key) {
                continue;
            }
            let len = self.len().min(room);
            room -= len;
            let value = |rest: &mut Self| {
                let n = ("n".to_owned(), Value::Int(rest.count));
                BTreeMap::from([n, ("b".to_owned(), bytes(len, rest.count))])
            };
            let deletes = self.rng.below(if self.profile.hot > 0 { 20 } else { 6 }) == 0;
            let bins = (!deletes).then(|| value(self));
            let expires = bins.is_some() && self.rng.below(10) == 0;
            let void_ms = if expires { now + 1 + self.rng.below(3000) as u64 } else { 0 };
            parts.push(Part { key, bins, void_ms });
        }
        let durable = self.rng.below(100) >= self.profile.buffered;
        Step::Group { parts, looks: self.rng.coin(), durable }
    }

    /// Which key comes next, if nobody is busy with it.
    fn first(&mut self) -> usize {
        if self.profile.hot > 0 {
            let hot = self.rng.below(100) < self.profile.hot;
            return self.rng.below(if hot { self.profile.keys / 10 } else { self.profile.keys });
        }
        self.round += 1;
        if self.rng.below(4) == 0 { self.rng.below(self.profile.keys) } else { self.round }
    }

    /// How long a value is. On a full device one is as likely as another, so that it stays as full as it is.
    fn len(&mut self) -> usize {
        match self.rng.below(12) {
            _ if self.profile.hot > 0 => self.rng.below(self.profile.largest),
            0 => self.profile.largest,
            _ => self.rng.below(self.profile.largest / 3),
        }
    }

    /// A first write of a key.
    pub fn fill(&mut self) -> (Work, WritePolicy) {
        self.count += 1;
        let (len, count) = (self.len(), self.count);
        let work =
            Work::Put(vec![("n".into(), Value::Int(count)), ("b".into(), bytes(len, count))]);
        let policy = WritePolicy { exists: ExistsPolicy::Replace, ..WritePolicy::default() };
        (work, WritePolicy { durability: Some(Durability::Buffer), ..policy })
    }

    fn work(&mut self) -> Work {
        match self.rng.below(20) {
            // What is deleted is not written again soon: a full device would not stay full.
            2..5 if self.profile.hot > 0 && self.rng.below(3) > 0 => self.put(),
            9 if self.profile.hot > 0 => self.put(),
            0 | 1 => Work::Get,
            2..5 => Work::Delete,
            5 => Work::Touch,
            6 | 7 => Work::Operate(vec![
                Operation::Write("n".into(), Value::Int(self.count)),
                Operation::Add("sum".into(), Value::Int(self.count)),
                Operation::Append("log".into(), bytes(20, self.count)),
            ]),
            8 => Work::Operate(vec![
                Operation::Delete,
                Operation::Write("n".into(), Value::Int(self.count)),
            ]),
            9 => Work::Operate(vec![Operation::Delete]),
            _ => self.put(),
        }
    }

    fn put(&mut self) -> Work {
        let (len, count) = (self.len(), self.count);
        let mut bins = vec![("n".into(), Value::Int(count)), ("b".into(), bytes(len, count))];
        if self.rng.below(8) == 0 {
            bins.push(("log".into(), Value::Nil));
        }
        Work::Put(bins)
    }

    fn policy(&mut self, now: u64) -> WritePolicy {
        use ExistsPolicy::{CreateOnly, Replace, ReplaceOnly, Update, UpdateOnly};
        let exists =
            [Update, Update, Replace, Replace, Replace, ReplaceOnly, UpdateOnly, CreateOnly];
        let generation = match self.rng.below(10) {
            0 => GenerationCheck::Equal(1 + self.rng.below(3) as u16),
            1 => GenerationCheck::Greater(1 + self.rng.below(4) as u16),
            _ => GenerationCheck::Any,
        };
        let ttl = match self.rng.below(8) {
            0 => Ttl::At(now + 1 + self.rng.below(3000) as u64),
            1 => Ttl::Keep,
            _ => Ttl::Never,
        };
        let buffered = self.rng.below(100) < self.profile.buffered;
        let durability = Some(if buffered { Durability::Buffer } else { Durability::Device });
        WritePolicy {
            exists: exists[self.rng.below(8)],
            generation,
            ttl,
            durability,
            commit_level: None,
        }
    }
}

fn bytes(len: usize, fill: i64) -> Value {
    Value::Bytes(vec![fill as u8; len])
}

impl Step {
    fn when(self, yes: bool) -> Self {
        if yes { self } else { Self::Housekeep }
    }
}

/// What an operation answers, and what the record is afterwards if it is changed.
pub fn expected(work: &Work, policy: &WritePolicy, old: &State) -> (Outcome<()>, Option<State>) {
    let exists = match work {
        Work::Delete | Work::Touch => ExistsPolicy::UpdateOnly,
        _ => policy.exists,
    };
    match (exists, old) {
        (ExistsPolicy::UpdateOnly | ExistsPolicy::ReplaceOnly, None) => {
            return (Outcome::NotFound, None);
        }
        (ExistsPolicy::CreateOnly, Some(_)) => return (Outcome::Exists, None),
        _ => {}
    }
    let generation = old.as_ref().map_or(0, |old| old.generation);
    let fits = match policy.generation {
        GenerationCheck::Any => true,
        GenerationCheck::Equal(wanted) => old.is_some() && generation == wanted,
        GenerationCheck::Greater(given) => old.is_none() || generation < given,
    };
    if !fits {
        return (Outcome::GenerationMismatch(generation), None);
    }
    let empty = BTreeMap::new();
    let old_bins = old.as_ref().map_or(&empty, |old| &old.bins);
    let merges = matches!(exists, ExistsPolicy::Update | ExistsPolicy::UpdateOnly);
    let (bins, kept) = match work {
        Work::Get => unreachable!("a read changes nothing"),
        Work::Delete => (None, false),
        Work::Touch => (Some(old_bins.clone()), true),
        Work::Put(new) => {
            let mut bins = if merges { old_bins.clone() } else { empty };
            for (name, value) in new {
                match value {
                    Value::Nil => drop(bins.remove(&**name)),
                    value => drop(bins.insert(name.to_string(), value.clone())),
                }
            }
            (Some(bins), true)
        }
        Work::Operate(operations) => operate(operations, old_bins),
    };
    let Some(bins) = bins else {
        return match old {
            Some(_) => (Outcome::Done(()), Some(None)),
            None => (Outcome::NotFound, None),
        };
    };
    let void_ms = match policy.ttl {
        Ttl::At(ms) => ms,
        Ttl::Keep if kept => old.as_ref().map_or(0, |old| old.void_ms),
        _ => 0,
    };
    let generation = generation + 1;
    (Outcome::Done(()), Some(Some(Arc::new(Content { bins, generation, void_ms }))))
}

/// The bins afterwards, if any are left, and whether the record was not deleted on the way.
fn operate(
    operations: &[Operation],
    old: &BTreeMap<String, Value>,
) -> (Option<BTreeMap<String, Value>>, bool) {
    let (mut bins, mut kept) = (old.clone(), true);
    for operation in operations {
        match operation {
            Operation::Delete => {
                bins.clear();
                kept = false;
            }
            Operation::Write(name, value) => drop(bins.insert(name.to_string(), value.clone())),
            Operation::Add(name, Value::Int(more)) => {
                let Value::Int(sum) = bins.entry(name.to_string()).or_insert(Value::Int(0)) else {
                    unreachable!()
                };
                *sum += more;
            }
            Operation::Append(name, Value::Bytes(more)) => {
                let log = bins.entry(name.to_string()).or_insert(Value::Bytes(vec![]));
                let Value::Bytes(log) = log else { unreachable!() };
                log.extend_from_slice(more);
            }
            other => unreachable!("{other:?} is not chosen"),
        }
    }
    (Some(bins).filter(|bins| !bins.is_empty()), kept)
}
