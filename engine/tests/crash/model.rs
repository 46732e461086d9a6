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

/// All keys. Key `n` belongs to set `n % SETS.len()`.
#[derive(Clone, Debug)]
pub struct Model {
    histories: Vec<Vec<State>>,
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
        Self { histories: vec![vec![None]; keys], truncation: None }
    }

    pub fn keys(&self) -> usize {
        self.histories.len()
    }

    /// What a read must find while the node runs.
    pub fn current(&self, key: usize, now: u64) -> State {
        let last = self.histories[key].last().expect("never empty").clone();
        last.filter(|content| !content.expired(now))
    }

    /// A write of the key is on its way.
    pub fn begin(&mut self, key: usize, state: State) {
        self.histories[key].push(state);
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
        for (key, state) in found.iter().enumerate() {
            let fits = |may: &State| match (may, state) {
                (None, None) => true,
                (Some(may), None) => may.expired(now),
                (Some(may), Some(state)) => may == state && !may.expired(now),
                (None, Some(_)) => false,
            };
            if !self.histories[key].iter().any(fits) {
                let describe = |state: &State| match state {
                    Some(c) => {
                        format!("{:?} gen {} void {}", c.bins.get("n"), c.generation, c.void_ms)
                    }
                    None => "absent".to_owned(),
                };
                let may: Vec<String> = self.histories[key].iter().map(describe).collect();
                return Err(format!(
                    "key {key} holds {}, may hold one of {may:?}",
                    describe(state)
                ));
            }
            // An expired record and none are one to a user; the index may still count the former.
            self.histories[key].retain(fits);
            if self.histories[key].contains(&None) || state.is_some() {
                self.histories[key] = vec![state.clone()];
            } else {
                self.histories[key].truncate(1);
            }
        }
        self.truncation = None;
        Ok(())
    }

    /// A truncation is there for all of its keys or for none.
    fn check_truncation(&self, found: &[State], now: u64) -> Result<(), String> {
        let Some(keys) = &self.truncation else { return Ok(()) };
        let gone = |state: &State| state.as_ref().is_none_or(|content| content.expired(now));
        let kept = keys.iter().find(|&&key| found[key].is_some());
        let cut = keys.iter().find(|&&key| {
            let (_, before) = self.histories[key].split_last().expect("never empty");
            found[key].is_none() && !before.iter().any(gone)
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
            states.map(|key| self.histories[key].last().expect("never empty")).collect();
        let live = states.iter().filter(|s| s.as_ref().is_some_and(|c| !c.expired(now))).count();
        (live as u64, states.len() as u64)
    }
}
