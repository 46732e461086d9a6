//! Items of a pipeline that are read and not started: the rest of a message as its bytes, and a few that are opened.
//!
//! They are opened some at a time, so that what they need is fetched for all of them before the first is started.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    ahead::{Need, fetch},
    call::{self, Item, Opened},
    wire::{Entries, Odd},
};
use crate::{codes::Problem, limits::OPENED_AHEAD, state::State};

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
    /// What it will need, if it can be executed.
    need: Option<Need>,
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
        fetch(self.opened.iter().filter_map(|next| next.need), state);
    }
}

impl Next {
    fn new(item: Item<'_>, arrived: Instant, state: &State) -> Self {
        let time = match item.deadline_ms {
            0 => state.limits.request_timeout,
            ms => Duration::from_millis(ms.into()),
        };
        let call = call::open(item.request, state);
        let need = match &call {
            Ok((_, Ok(call))) => Some(Need::of(call, state)),
            _ => None,
        };
        Self { id: item.id, arrived, deadline: arrived + time, call, need }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cairn_engine::device::{IoEngine, IoKind};
    use cairn_proto::v1::{
        GetRequest, Key, PipelineItem, PipelineRequest, Request, key::UserKey,
        request::Request as Kind,
    };
    use prost::Message;

    use super::*;
    use crate::config::Config;

    fn state() -> State {
        let io = IoEngine { kind: IoKind::Pool, reason: String::new() };
        State::new(Config::dev(Path::new("unused")), io, Vec::new(), 1)
    }

    fn message(ids: std::ops::Range<u64>) -> Vec<u8> {
        let user_key = Some(UserKey::Number(1));
        let key = Some(Key { namespace: "none".into(), set: String::new(), user_key });
        let get = Kind::Get(GetRequest { key, ..GetRequest::default() });
        let item = |id| {
            let request = Some(Request { request: Some(get.clone()) });
            PipelineItem { id, request, ..PipelineItem::default() }
        };
        PipelineRequest { items: ids.map(item).collect() }.encode_to_vec()
    }

    fn all(waiting: &mut Waiting, state: &State) -> (Vec<u64>, bool) {
        let mut ids = Vec::new();
        loop {
            match waiting.first(state) {
                Ok(Some(_)) => ids.extend(waiting.take().map(|next| next.id)),
                Ok(None) => return (ids, false),
                Err(Odd) => return (ids, true),
            }
        }
    }

    /// Items come out as they went in, each once, however many steps it takes to open them.
    #[test]
    fn items_keep_their_order() {
        let (mut waiting, state) = (Waiting::default(), state());
        for count in [0, 1, OPENED_AHEAD as u64, 3 * OPENED_AHEAD as u64 + 1] {
            waiting.add(message(0..count).into(), 1000).unwrap();
            assert_eq!(all(&mut waiting, &state), ((0..count).collect(), false));
            assert!(waiting.is_empty());
        }
    }

    /// An item that does not parse ends a stream, but what came before it is executed, as a client that sent it may count on; what
    /// comes behind it is not.
    #[test]
    fn what_does_not_parse_spoils_nothing_before_it() {
        let (mut waiting, state) = (Waiting::default(), state());
        for before in [0, 1, OPENED_AHEAD as u64, OPENED_AHEAD as u64 + 2] {
            let odd = [0x0a, 2, 0x08, 0xff];
            let spoiled = [message(0..before), odd.to_vec(), message(before..before + 3)].concat();
            waiting.add(spoiled.into(), 1000).unwrap();
            assert_eq!(all(&mut waiting, &state), ((0..before).collect(), true), "{before}");
            assert_eq!(all(&mut waiting, &state), (vec![], false));
            assert!(waiting.is_empty());
        }
    }
}
