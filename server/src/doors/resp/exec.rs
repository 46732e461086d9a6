//! `EXEC`: all queued commands on one view, applied as one.
//!
//! Watched keys are looked at again: one that is not the same version any more ends it with nothing done. A command that cannot be
//! staged is done at its place; what stands before it is applied first, and what stands behind it is a transaction of its own. So an error
//! that answers the whole of it means that nothing was done; once something is, what fails later is told of at its place.

use std::{collections::HashMap, time::Duration};

use super::{
    command::{Flags, Handler},
    door::Door,
    fail::{CONTENDED, Done, Fail},
    place::Place,
    reply::Reply,
    request::Request,
    run::{ATTEMPTS, EAGER_ATTEMPTS, Wait, seen, wait_for},
    session::{Modes, Multi, Session, Watched},
    table::Entry,
    view::{Committed, Halt, LOOKED_MAX, TOO_MANY_KEYS, View},
};

/// EXEC without MULTI.
const WITHOUT_MULTI: Fail = Fail::text("ERR EXEC without MULTI");
const TOO_LONG_ANSWERS: Fail = Fail::text(
    "ERR the answers of this transaction are more than 64 MiB together; this was not applied",
);
/// EXEC after a command that could not be queued.
const ABORTED: Fail = Fail::text("EXECABORT Transaction discarded because of previous errors.");

/// Keys to look at, and whether their values are asked for.
type Wanted = HashMap<Place, bool>;

/// Done with what was queued, however it ended.
pub async fn exec(session: &mut Session, door: &Door, reply: &mut Reply) -> Result<Wait, Fail> {
    let multi = session.leave_multi().ok_or(WITHOUT_MULTI)?;
    let watched = std::mem::take(&mut session.watched);
    session.unwatch();
    if multi.refused {
        return Err(ABORTED);
    }
    all(session, door, &multi, &watched, reply).await
}

async fn all(
    session: &mut Session,
    door: &Door,
    multi: &Multi,
    watched: &[Watched],
    reply: &mut Reply,
) -> Result<Wait, Fail> {
    let mut left = &multi.queued[..];
    let mut wait = Wait::Nothing;
    let mut watched = watched;
    let mut begun = false;
    reply.array(left.len());
    while !left.is_empty() || !watched.is_empty() {
        let together = left.iter().position(|(entry, _)| !is_staged(entry)).unwrap_or(left.len());
        let (stage, rest) = left.split_at(together);
        match staged(session, door, stage, watched, reply).await {
            Ok(Some(next)) => wait = wait.and(next),
            Ok(None) => {
                reply.truncate(0);
                reply.null_array();
                return Ok(Wait::Nothing);
            }
            Err(fail) if !begun => return Err(fail),
            Err(fail) => {
                for (entry, _) in stage {
                    reply.error(fail.bytes());
                    count(door, *entry, Some(&fail));
                }
            }
        }
        watched = &[];
        left = rest;
        begun = true;
        if let Some(((entry, request), rest)) = left.split_first() {
            let before = Before::of(session, reply);
            let done = by_itself(session, door, *entry, request, reply).await;
            let done = done.and_then(|()| reply.complete());
            if let Err(fail) = &done {
                before.back(session, reply);
                reply.error(fail.bytes());
            }
            reply.set_resp3(session.resp3);
            count(door, *entry, done.as_ref().err());
            left = rest;
        }
    }
    // Not even the errors of what failed last have room behind what others answered, and those are done.
    reply.complete().map_err(|fail| fail.half_way())?;
    Ok(wait)
}

fn is_staged(entry: &Entry) -> bool {
    match entry.command.handler {
        Handler::Keys(_) => true,
        Handler::Session(_) => !entry.command.flags.has(Flags::ONCE),
        Handler::Alone(_) | Handler::Exec | Handler::Container => false,
    }
}

/// How things were before commands ran, to be so again when they are run anew or failed.
struct Before {
    len: usize,
    modes: Modes,
}

impl Before {
    fn of(session: &Session, reply: &Reply) -> Self {
        Self { len: reply.len(), modes: session.modes() }
    }

    fn back(&self, session: &mut Session, reply: &mut Reply) {
        session.restore(self.modes);
        reply.truncate(self.len);
        reply.set_resp3(self.modes.resp3);
    }
}

async fn by_itself(
    session: &mut Session,
    door: &Door,
    entry: Entry,
    request: &Request,
    reply: &mut Reply,
) -> Done {
    reply.complete().map_err(|_| TOO_LONG_ANSWERS)?;
    match entry.command.handler {
        Handler::Alone(handler) => handler(session, door, request, reply).await,
        Handler::Session(handler) => handler(session, door, request, reply),
        _ => Err(Fail::text("ERR Command not allowed inside a transaction")),
    }
}

/// Runs commands on one view and applies them; `None` when a watched key has changed. Leaves no trace unless they are applied.
async fn staged(
    session: &mut Session,
    door: &Door,
    commands: &[(Entry, Request)],
    watched: &[Watched],
    reply: &mut Reply,
) -> Result<Option<Wait>, Fail> {
    let before = Before::of(session, reply);
    let result = attempts(session, door, commands, watched, reply, &before).await;
    if !matches!(result, Ok(Some(_))) {
        before.back(session, reply);
    }
    result
}

async fn attempts(
    session: &mut Session,
    door: &Door,
    commands: &[(Entry, Request)],
    watched: &[Watched],
    reply: &mut Reply,
    before: &Before,
) -> Result<Option<Wait>, Fail> {
    let mut view = View::new(door, before.modes.db);
    for attempt in 0..ATTEMPTS {
        for Watched { place, sight } in watched {
            let now = door.namespace().look(&place.key).await?;
            // After SWAPDB the key is another record.
            if !view.is_there_still(place) || !now.is_untouched_since(sight) {
                return Ok(None);
            }
            view.saw(place.clone(), now)?;
        }
        let failed = loop {
            let mut wanted = Wanted::new();
            let failed = attempt_all(session, door, commands, &mut view, reply, &mut wanted)?;
            if wanted.is_empty() {
                break failed;
            }
            view.look_each(wanted.into_iter()).await?;
            view.unstage();
            before.back(session, reply);
        };
        let wait = match view.commit().await? {
            Committed::Applied(receipt) => wait_for(receipt),
            Committed::Nothing => seen(door, view),
            Committed::Changed => {
                view.clear();
                before.back(session, reply);
                if attempt >= EAGER_ATTEMPTS {
                    tokio::task::yield_now().await;
                }
                continue;
            }
        };
        for ((entry, _), failed) in commands.iter().zip(failed) {
            count(door, *entry, failed.as_ref());
        }
        return Ok(Some(wait));
    }
    Err(CONTENDED)
}

/// Runs all commands from the start. Answers why each failed, if it did; or names in `wanted` the keys that must be looked at first.
///
/// A command that asks for such a key does not end it: those behind it are run to learn what they will ask for, and then all is looked at
/// at once. So what a transaction costs grows with its commands, not with their square. What they stage and answer in such a run counts for
/// nothing, and a key that is looked at in vain only makes the transaction depend on it.
fn attempt_all(
    session: &mut Session,
    door: &Door,
    commands: &[(Entry, Request)],
    view: &mut View<'_>,
    reply: &mut Reply,
    wanted: &mut Wanted,
) -> Result<Vec<Option<Fail>>, Fail> {
    let mut failed = Vec::with_capacity(commands.len());
    for (entry, request) in commands {
        let begin = reply.len();
        view.select(session.db);
        view.begin();
        let done = match entry.command.handler {
            Handler::Keys(handler) => match handler(view, request, reply) {
                Err(Halt::Look(place)) => {
                    want(*entry, request, view, place, wanted)?;
                    view.roll_back();
                    Ok(())
                }
                Err(Halt::Fail(fail)) => Err(fail),
                Ok(()) => Ok(()),
            },
            Handler::Session(handler) => handler(session, door, request, reply),
            Handler::Alone(_) | Handler::Exec | Handler::Container => Ok(()),
        };
        if let Err(fail) = &done {
            view.roll_back();
            reply.truncate(begin);
            reply.error(fail.bytes());
        }
        reply.set_resp3(session.resp3);
        failed.push(done.err());
        if !wanted.is_empty() {
            reply.truncate(begin);
        }
        reply.complete().map_err(|_| TOO_LONG_ANSWERS)?;
    }
    Ok(failed)
}

/// Notes the key that a command asks for, and, of one that asks for all of its keys, the others too. Refused when they are more than can be
/// looked at: the transaction could never be applied.
fn want(
    entry: Entry,
    request: &Request,
    view: &View<'_>,
    place: Place,
    wanted: &mut Wanted,
) -> Done {
    let flags = entry.command.flags;
    let values = !flags.has(Flags::KEYS_ONLY);
    let mut places = vec![place];
    if flags.has(Flags::PREFETCH) {
        let keys = entry.command.keys.of(request);
        match view.unseen(keys.iter().map(|at| request.arg(*at))) {
            Ok(others) => places.extend(others),
            Err(fail) if fail == TOO_MANY_KEYS => return Err(fail),
            // A key that cannot be one is told of when its command comes to it.
            Err(_) => {}
        }
    }
    for place in places {
        *wanted.entry(place).or_default() |= values;
    }
    if wanted.len() > LOOKED_MAX { Err(TOO_MANY_KEYS) } else { Ok(()) }
}

fn count(door: &Door, entry: Entry, failed: Option<&Fail>) {
    if let Some(fail) = failed {
        door.counters.error(fail);
    }
    door.counters.done(entry.number, Duration::ZERO, failed.is_some());
}
