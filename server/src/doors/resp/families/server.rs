//! Of the node: `DBSIZE`, `FLUSHALL`, `COMMAND` and their like.

use futures::future::BoxFuture;

use super::{
    super::{
        command::{Command, Flags, Group, Handler},
        databases::SETS,
        door::Door,
        fail::{Done, Fail, SYNTAX},
        reply::Reply,
        request::Request,
        session::Session,
    },
    commands, config, diagnosis, info,
};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    new("dbsize", 1, Flags::READONLY.and(Flags::FAST), Handler::Alone(db_size))
        .about("1.0.0", "Answers how many keys the database has"),
    new("flushdb", -1, Flags::WRITE, Handler::Alone(flush_db))
        .about("1.0.0", "Deletes all keys of the database"),
    new("flushall", -1, Flags::WRITE, Handler::Alone(flush_all))
        .about("1.0.0", "Deletes all keys of all databases"),
    Command {
        handler: Handler::Session(commands::command),
        arity: -1,
        flags: Flags::LOADING.and(Flags::STALE),
        since: "2.8.13",
        summary: "Tells of the commands there are",
        ..Command::container("command", Group::Server, commands::SUBCOMMANDS)
    },
    Command::container("config", Group::Server, config::SUBCOMMANDS)
        .about("2.0.0", "Answers and changes settings"),
    info::INFO,
    Command::container("slowlog", Group::Server, diagnosis::SLOWLOG)
        .about("2.2.12", "Tells of slow commands"),
    Command::container("latency", Group::Server, diagnosis::LATENCY)
        .about("2.8.13", "Tells of latency events: there are none"),
];

const fn new(name: &'static str, arity: isize, flags: Flags, handler: Handler) -> Command {
    Command::new(name, arity, flags, Group::Server, handler)
}

/// By itself, so that it counts what those before it wrote.
fn db_size<'a>(
    session: &'a mut Session,
    door: &'a Door,
    _: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        let set = door.set(session.db)?;
        let keys = door.namespace().set_len(set);
        door.settled().await?;
        reply.int(keys as i64);
        Ok(())
    })
}

/// `ASYNC` and `SYNC` are one here: the keys are gone at once, their space is won back later.
fn check_mode(request: &Request) -> Done {
    match request.len() {
        1 => Ok(()),
        2 if request.is(1, "ASYNC") || request.is(1, "SYNC") => Ok(()),
        _ => Err(SYNTAX),
    }
}

/// Deletes all keys of these sets, one after the other, durably.
async fn flush(door: &Door, sets: &[&str]) -> Done {
    let namespace = door.namespace();
    let mut flushed = 0;
    for set in sets {
        if namespace.set_len(set) > 0 {
            if let Err(error) = namespace.truncate(Some(set)).await {
                let fail = Fail::from(error);
                return Err(if flushed > 0 { fail.half_way() } else { fail });
            }
            flushed += 1;
        }
    }
    // What others have deleted already may not be durable yet.
    if flushed < sets.len() {
        namespace.settle_all().await?;
    }
    Ok(())
}

fn flush_db<'a>(
    session: &'a mut Session,
    door: &'a Door,
    request: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        check_mode(request)?;
        flush(door, &[door.set(session.db)?]).await?;
        reply.ok();
        Ok(())
    })
}

/// One set after the other: not one instant. Sets, not databases, so that none is left out that others swap meanwhile.
fn flush_all<'a>(
    _: &'a mut Session,
    door: &'a Door,
    request: &'a Request,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Done> {
    Box::pin(async move {
        check_mode(request)?;
        flush(door, &SETS).await?;
        reply.ok();
        Ok(())
    })
}
