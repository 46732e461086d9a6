//! What each key may hold: the states it went through, as far as a crash may bring one of them back.
//!
//! A key's history begins with the last state that surely survives; the states behind it were written to RAM only, or are in flight. After
//! a crash the key must show one of them, whole.

use std::{collections::BTreeMap, sync::Arc};

use cairn_engine::model::Value;

/// A record as a user sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub bins: BTreeMap<String, Value>,
    pub generation: u16,
    /// Milliseconds since 1970; 0 for never.
    pub void_ms: u64,
}

impl Content {
    pub fn expired(&self, now: u64) -> bool {
        self.void_ms != 0 && self.void_ms <= now
    }
}

pub type State = Option<Arc<Content>>;

/// Whether a key that may be in state `may` can show `found`.
fn fits(may: &State, found: &State, now: u64) -> bool {
    match (may, found) {
        (None, None) => true,
        (Some(may), None) => may.expired(now),
        (Some(may), Some(found)) => may == found && !may.expired(now),
        (None, Some(_)) => false,
    }
}

/// All keys. Key `n` belongs to set `n % SETS.len()`.
#[derive(Clone, Debug)]
pub struct Model {
    /// States with the number of the write that made them; those of a group share it.
    histories: Vec<Vec<(u64, State)>>,
    writes: u64,
    /// Groups that a crash may take away: their number, and their keys.
    groups: Vec<(u64, Vec<usize>)>,
    /// A truncation in flight: the keys it is about.
    truncation: Option<Vec<usize>>,
}

pub const SETS: [&str; 2] = ["a", "b"];

/// The keys of a set, or of all.
pub fn keys_of(keys: usize, set: Option<usize>) -> Vec<usize> {
    (0..keys).filter(|key| set.is_none_or(|set| key % SETS.len() == set)).collect()
}

impl Model {
    pub fn new(keys: usize) -> Self {
        Self {
            histories: vec![vec![(0, None)]; keys],
            writes: 0,
            groups: Vec::new(),
            truncation: None,
        }
    }

    pub fn keys(&self) -> usize {
        self.histories.len()
    }

    /// What a read must find while the node runs.
    pub fn current(&self, key: usize, now: u64) -> State {
        let (_, last) = self.histories[key].last().expect("never empty").clone();
        last.filter(|content| !content.expired(now))
    }

    /// A write of the key is on its way.
    pub fn begin(&mut self, key: usize, state: State) {
        self.writes += 1;
        self.histories[key].push((self.writes, state));
    }

    /// A group is on its way that changes these keys.
    pub fn begin_group(&mut self, states: Vec<(usize, State)>) {
        self.writes += 1;
        self.groups.push((self.writes, states.iter().map(|(key, _)| *key).collect()));
        for (key, state) in states {
            self.histories[key].push((self.writes, state));
        }
    }

    /// It was refused, surely not applied, and so were its keys.
    pub fn refuse_group(&mut self, keys: &[usize]) {
        self.groups.retain(|(_, group)| group != keys);
        keys.iter().for_each(|&key| self.refuse(key));
    }

    /// It was acknowledged.
    pub fn acknowledge(&mut self, key: usize, durable: bool) {
        if durable {
            let last = self.histories[key].pop().expect("never empty");
            self.histories[key] = vec![last];
        }
    }

    /// It was refused, surely not applied.
    pub fn refuse(&mut self, key: usize) {
        self.histories[key].pop();
    }

    pub fn begin_truncation(&mut self, keys: Vec<usize>) {
        keys.iter().for_each(|&key| self.begin(key, None));
        self.truncation = Some(keys);
    }

    /// The truncation is over: `Some(true)` acknowledged, `Some(false)` refused, `None` in doubt.
    pub fn end_truncation(&mut self, done: Option<bool>) {
        let Some(done) = done else { return };
        for key in self.truncation.take().expect("one has begun") {
            match done {
                true => self.acknowledge(key, true),
                false => self.refuse(key),
            }
        }
    }

    /// Everything acknowledged so far survives.
    pub fn all_durable(&mut self) {
        (0..self.keys()).for_each(|key| self.acknowledge(key, true));
    }

    /// Compares what every key holds after a crash with what it may hold. From then on the key has held this.
    pub fn check(&mut self, found: &[State], now: u64) -> Result<(), String> {
        self.check_truncation(found, now)?;
        self.check_groups(found, now)?;
        self.groups.clear();
        for (key, state) in found.iter().enumerate() {
            let fits = |(_, may): &(u64, State)| fits(may, state, now);
            if !self.histories[key].iter().any(fits) {
                let describe = |(write, state): &(u64, State)| match state {
                    Some(c) => {
                        format!(
                            "{write}: {:?} gen {} void {}",
                            c.bins.get("n"),
                            c.generation,
                            c.void_ms
                        )
                    }
                    None => format!("{write}: absent"),
                };
                let may: Vec<String> = self.histories[key].iter().map(describe).collect();
                return Err(format!(
                    "key {key} holds {}, may hold one of {may:?}",
                    describe(&(0, state.clone()))
                ));
            }
            // An expired record and none are one to a user; the index may still count the former.
            self.histories[key].retain(fits);
            let absent = self.histories[key].iter().any(|(_, state)| state.is_none());
            if absent || state.is_some() {
                self.histories[key] = vec![(self.writes, state.clone())];
            } else {
                self.histories[key].truncate(1);
            }
        }
        self.truncation = None;
        Ok(())
    }

    /// A group is there for all of its keys or for none: each shows what the group made of it, or a later write.
    fn check_groups(&self, found: &[State], now: u64) -> Result<(), String> {
        for (group, keys) in &self.groups {
            let writes = |key: usize| {
                let may = self.histories[key].iter();
                may.filter(move |(_, may)| fits(may, &found[key], now)).map(|(write, _)| write)
            };
            let there = keys.iter().find(|&&key| writes(key).min() >= Some(group));
            let lacks = keys.iter().find(|&&key| writes(key).max().is_some_and(|w| w < group));
            if let (Some(there), Some(lacks)) = (there, lacks) {
                return Err(format!(
                    "half a group: of {keys:?} key {there} has it, key {lacks} does not"
                ));
            }
        }
        Ok(())
    }

    /// A truncation is there for all of its keys or for none.
    fn check_truncation(&self, found: &[State], now: u64) -> Result<(), String> {
        let Some(keys) = &self.truncation else { return Ok(()) };
        let gone = |state: &State| state.as_ref().is_none_or(|content| content.expired(now));
        let kept = keys.iter().find(|&&key| found[key].is_some());
        let cut = keys.iter().find(|&&key| {
            let (_, before) = self.histories[key].split_last().expect("never empty");
            found[key].is_none() && !before.iter().any(|(_, state)| gone(state))
        });
        match (kept, cut) {
            (Some(kept), Some(cut)) => {
                Err(format!("half a truncation: key {cut} is gone, key {kept} is not"))
            }
            _ => Ok(()),
        }
    }

    /// How many records a set may have, at least and at most: expired ones may or may not be counted.
    pub fn set_counts(&self, set: usize, now: u64) -> (u64, u64) {
        let states = keys_of(self.keys(), Some(set)).into_iter();
        let states: Vec<&State> =
            states.map(|key| &self.histories[key].last().expect("never empty").1).collect();
        let live = states.iter().filter(|s| s.as_ref().is_some_and(|c| !c.expired(now))).count();
        (live as u64, states.len() as u64)
    }
}
