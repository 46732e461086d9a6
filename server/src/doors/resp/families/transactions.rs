//! `MULTI`, `EXEC` and their like.

use std::sync::atomic::Ordering::Relaxed;

use futures::future::BoxFuture;

use super::super::{
    command::{Command, Flags, Group, Handler, Keys},
    door::Door,
    fail::{Done, Fail},
    reply::Reply,
    request::Request,
    session::{Session, Watched},
    view::View,
};

const FLAGS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST);
/// Done at once, also between MULTI and EXEC.
const AT_ONCE: Flags = FLAGS.and(Flags::NOT_QUEUED);
/// Most keys a connection watches.
const WATCHED_MAX: usize = 4096;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    new("multi", 1, AT_ONCE, Handler::Session(multi))
        .about("1.2.0", "Begins a transaction: what follows is queued"),
    new("exec", 1, AT_ONCE.and(Flags::WRITE), Handler::Exec)
        .about("1.2.0", "Does what is queued, all at one instant"),
    new("discard", 1, AT_ONCE, Handler::Session(discard)).about("2.0.0", "Forgets what is queued"),
    new("watch", -2, AT_ONCE, Handler::Alone(watch))
        .keys(Keys::ALL)
        .about("2.2.0", "Has EXEC do nothing if one of these keys changes before"),
    new("unwatch", 1, FLAGS, Handler::Session(unwatch))
        .about("2.2.0", "Forgets which keys are watched"),
];

const fn new(name: &'static str, arity: isize, flags: Flags, handler: Handler) -> Command {
    Command::new(name, arity, flags, Group::Transactions, handler)
}

fn multi(session: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    if session.multi.is_some() {
        return Err(Fail::text("ERR MULTI calls can not be nested"));
    }
    session.multi = Some(Box::default());
    session.client.queued.store(1, Relaxed);
    reply.ok();
    Ok(())
}

fn discard(session: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    if session.leave_multi().is_none() {
        return Err(Fail::text("ERR DISCARD without MULTI"));
    }
    session.unwatch();
    reply.ok();
    Ok(())
}

fn unwatch(session: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    session.unwatch();
    reply.ok();
    Ok(())
}

fn watch<'a>(
    session: &'a mut Session,
    door: &'a Door,
    request: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        if session.multi.is_some() {
            return Err(Fail::text("ERR WATCH inside MULTI is not allowed"));
        }
        if session.watched.len() + request.len() - 1 > WATCHED_MAX {
            return Err(Fail::new(format!("ERR a connection watches at most {WATCHED_MAX} keys")));
        }
        door.set(session.db)?;
        let mut view = View::new(door, session.db);
        view.look_all(request.args(1), false).await?;
        for (place, sight) in view.into_seen() {
            // What was watched first counts.
            if !session.watched.iter().any(|old| old.place == place) {
                session.watched.push(Watched { place, sight: sight.without_record() });
            }
        }
        session.client.watched.store(session.watched.len() as u32, Relaxed);
        reply.ok();
        Ok(())
    })
}
