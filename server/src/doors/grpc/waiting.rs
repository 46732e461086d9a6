//! Items of a pipeline that are read and not started: the rest of a message as its bytes, and a few that are opened.
//!
//! They are opened some at a time, so that the CPU can be told of all of them before the first is started: what an operation
//! on a small record in RAM costs is mostly waiting for memory, and many such waits at once take no longer than one.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cairn_engine::{Expected, Namespace};

use super::{
    call::{self, Item, Opened},
    wire::{Entries, Odd},
};
use crate::{codes::Problem, limits::OPENED_AHEAD, metrics::Kind, state::State};

/// Items that are read and not started.
#[derive(Default)]
pub struct Waiting {
    /// Those that are not opened: they take no more than their bytes.
    entries: Option<Entries<Bytes>>,
    /// When they came.
    arrived: Option<Instant>,
    opened: VecDeque<Next>,
    /// Behind those that are opened comes one that does not parse.
    odd: Option<Odd>,
}

/// An item that is opened and not started.
pub struct Next {
    /// Comes back with the answer.
    pub id: u64,
    /// When it came.
    pub arrived: Instant,
    /// When it must be answered.
    pub deadline: Instant,
    /// What it asks for.
    pub call: Opened,
    /// Its record, if it can be executed.
    expected: Option<Expected>,
}

impl Waiting {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_none() && self.opened.is_empty() && self.odd.is_none()
    }

    /// Takes a message that has arrived now, when nothing waits. Refused when it has more than `max` items.
    pub fn add(&mut self, message: Bytes, max: usize) -> Result<(), Problem> {
        self.entries = Some(Entries::new(message, max)?);
        self.arrived = Some(Instant::now());
        Ok(())
    }

    /// The first item, if there is one; an error, once, when one that does not parse is next, and with it the last.
    pub fn first(&mut self, state: &State) -> Result<Option<&Next>, Odd> {
        if self.opened.is_empty() {
            if let Some(odd) = self.odd.take() {
                return Err(odd);
            }
            self.open(state);
        }
        match self.odd.take_if(|_| self.opened.is_empty()) {
            Some(odd) => Err(odd),
            None => Ok(self.opened.front()),
        }
    }

    /// Takes the item that [`Self::first`] shows.
    pub fn take(&mut self) -> Option<Next> {
        self.opened.pop_front()
    }

    /// Opens the next few.
    fn open(&mut self, state: &State) {
        let Some(arrived) = self.arrived else { return };
        while self.opened.len() < OPENED_AHEAD {
            let Some(entry) = self.entries.as_mut().and_then(Entries::next) else {
                self.entries = None;
                break;
            };
            match Item::read(entry) {
                Ok(item) => self.opened.push_back(Next::new(item, arrived, state)),
                Err(odd) => {
                    (self.entries, self.odd) = (None, Some(odd));
                    break;
                }
            }
        }
        self.fetch(state);
    }

    /// Tells the CPU what those that are opened will need: each step for all of them before the next one, which needs its outcome.
    fn fetch(&self, state: &State) {
        for next in &self.opened {
            if let Some((engine, expected)) = next.expected(state) {
                engine.fetch_entry(expected);
            }
        }
        for next in self.opened.iter().filter(|next| next.reads()) {
            if let Some((engine, expected)) = next.expected(state) {
                engine.fetch_record(expected);
            }
        }
    }
}

impl Next {
    fn new(item: Item<'_>, arrived: Instant, state: &State) -> Self {
        let time = match item.deadline_ms {
            0 => state.limits.request_timeout,
            ms => Duration::from_millis(ms.into()),
        };
        let call = call::open(item.request, state);
        let expected = match &call {
            Ok((_, Ok(call))) => Some(state.namespaces[call.namespace].engine.expect(&call.key)),
            _ => None,
        };
        Self { id: item.id, arrived, deadline: arrived + time, call, expected }
    }

    fn expected<'a>(&self, state: &'a State) -> Option<(&'a Namespace, Expected)> {
        let Ok((_, Ok(call))) = &self.call else { return None };
        Some((&state.namespaces[call.namespace].engine, self.expected?))
    }

    /// Whether it needs the record itself.
    fn reads(&self) -> bool {
        matches!(self.call, Ok((Kind::Get | Kind::Operate, _)))
    }
}
