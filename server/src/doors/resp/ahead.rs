//! Requests that are understood and not begun, and what is known of them already: which command each names, and for one on one key
//! that key's place, whose memory is on its way to the CPU meanwhile.

use cairn_engine::Expected;
use smallvec::SmallVec;

use super::{
    command::{Flags, Keys},
    door::Door,
    place::Place,
    request::Request,
    table::{self, Entry},
};

/// Requests that are understood before the first of them is begun.
pub const AHEAD: usize = 16;

/// A request that is not begun.
#[derive(Debug)]
pub struct Ahead {
    /// What is asked.
    pub request: Request,
    /// The command it names, if there is one.
    pub named: Option<Entry>,
    /// Its key, if that was fetched.
    pub known: Option<Known>,
}

/// A key that is about to be asked for, as its database was numbered then.
#[derive(Debug)]
pub struct Known {
    /// The key.
    pub place: Place,
    /// What the engine expects.
    pub expected: Expected,
}

impl Ahead {
    /// What a request says by itself.
    pub fn new(request: Request) -> Self {
        Self { named: table::named(request.arg(0)), request, known: None }
    }
}

/// Has what these requests will touch on its way to the CPU, as far as it is plain: the first key of each.
pub fn fetch(door: &Door, db: u8, requests: &mut [Ahead]) {
    let namespace = door.namespace();
    let mut fetched = SmallVec::<[(Expected, bool); AHEAD]>::new();
    for ahead in requests {
        let Some(Entry { command, .. }) = ahead.named else { continue };
        let Keys::Range { first, .. } = command.keys else { continue };
        if ahead.request.len() <= first {
            continue;
        }
        let Some(place) = Place::of(door, db, ahead.request.arg(first)) else { continue };
        let expected = namespace.expect(place.key.borrowed());
        fetched.push((expected, !command.flags.has(Flags::BLIND)));
        if command.keys.is_one() {
            ahead.known = Some(Known { place, expected });
        }
    }
    fetched.iter().for_each(|(expected, _)| namespace.fetch_entry(*expected));
    let read = fetched.iter().filter(|(_, reads)| *reads);
    read.for_each(|(expected, _)| namespace.fetch_record(*expected));
}
