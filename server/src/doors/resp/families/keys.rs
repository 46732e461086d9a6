//! Keys of any kind of value: `DEL`, `EXISTS`, `TYPE`, `RENAME`, `COPY`, `MOVE` and their like.

use super::super::{
    command::{Command, Flags, Group, Handler, Keys, OnKeys},
    databases::DATABASES,
    fail::{Fail, NO_DATABASE, NO_SUCH_KEY, NOT_AN_INTEGER, SYNTAX},
    number::integer,
    reply::Reply,
    request::Request,
    view::{Halt, View},
};

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::FAST);
/// From argument 1 to argument 2.
const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };

const SAME: Fail = Fail::text("ERR source and destination objects are the same");
const NOT_SMALL: Fail =
    Fail::text("ERR value is out of range, value must between -2147483648 and 2147483647");

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    several("del", Flags::WRITE, del)
        .about("1.0.0", "Deletes keys at one instant; answers how many there were"),
    several("unlink", WRITE, del)
        .about("4.0.0", "Deletes keys as DEL does; their space is won back later"),
    several("exists", READ, exists).about("1.0.0", "Answers how many of the keys there are"),
    several("touch", READ, exists)
        .about("3.2.1", "Answers how many of the keys there are; accesses leave no trace"),
    on_key("type", 2, READ, kind).about("1.0.0", "Answers the kind of value a key holds"),
    new("rename", 3, Flags::WRITE, rename)
        .keys(TWO)
        .about("1.0.0", "Gives a value another key, with its end; what was there is lost"),
    new("renamenx", 3, WRITE.and(Flags::PREFETCH), rename_new)
        .keys(TWO)
        .about("1.0.0", "Gives a value another key if there is none"),
    new("copy", -3, Flags::WRITE.and(Flags::DENYOOM), copy)
        .keys(TWO)
        .about("6.2.0", "Copies a value with its end to another key, perhaps of another database"),
    on_key("move", 3, WRITE, move_away)
        .about("1.0.0", "Moves a key with its end to another database"),
];

const fn new(name: &'static str, arity: isize, flags: Flags, handler: OnKeys) -> Command {
    Command::new(name, arity, flags, Group::Generic, Handler::Keys(handler))
}

const fn on_key(name: &'static str, arity: isize, flags: Flags, handler: OnKeys) -> Command {
    Command::on_key(name, arity, flags, Group::Generic, handler)
}

const fn several(name: &'static str, flags: Flags, handler: OnKeys) -> Command {
    new(name, -2, flags.and(Flags::PREFETCH).and(Flags::KEYS_ONLY), handler).keys(Keys::ALL)
}

fn del(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let mut deleted = 0;
    for key in request.args(1) {
        deleted += i64::from(view.delete(key)?);
    }
    reply.int(deleted);
    Ok(())
}

fn exists(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let mut there = 0;
    for key in request.args(1) {
        there += i64::from(view.exists(key)?);
    }
    reply.int(there);
    Ok(())
}

fn kind(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    reply.simple(view.get(request.arg(1))?.map_or("none", |item| item.kind().name()));
    Ok(())
}

fn rename(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    rename_if(view, request, |_| Ok(true))?;
    reply.ok();
    Ok(())
}

fn rename_new(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let renamed = rename_if(view, request, |view| Ok(view.get(request.arg(2))?.is_none()))?;
    reply.int(renamed.into());
    Ok(())
}

/// Renames when `may` says so; whether it did.
fn rename_if(
    view: &mut View<'_>,
    request: &Request,
    may: impl FnOnce(&View<'_>) -> Result<bool, Halt>,
) -> Result<bool, Halt> {
    let (from, to) = (request.arg(1), request.arg(2));
    let item = view.get(from)?.ok_or(NO_SUCH_KEY)?;
    let (content, void_time) = (item.content(), item.void_time());
    if from == to || !may(view)? {
        return Ok(false);
    }
    view.delete(from)?;
    view.put(to, content, void_time)?;
    Ok(true)
}

fn copy(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let (mut db, mut replace, mut at) = (view.db(), false, 3);
    while at < request.len() {
        if request.is(at, "REPLACE") {
            replace = true;
            at += 1;
        } else if request.is(at, "DB") && at + 1 < request.len() {
            db = database(request.arg(at + 1))?;
            at += 2;
        } else {
            return Err(SYNTAX.into());
        }
    }
    let copied = carry(view, request.arg(1), db, request.arg(2), replace)?;
    reply.int(copied.into());
    Ok(())
}

fn move_away(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let key = request.arg(1);
    let moved = carry(view, key, database(request.arg(2))?, key, false)?;
    if moved {
        view.delete(key)?;
    }
    reply.int(moved.into());
    Ok(())
}

/// Puts what `from` holds into `to` of database `db`; whether it did.
fn carry(view: &mut View<'_>, from: &[u8], db: u8, to: &[u8], replace: bool) -> Result<bool, Halt> {
    if db == view.db() && from == to {
        return Err(SAME.into());
    }
    let Some(item) = view.get(from)? else { return Ok(false) };
    let (content, void_time) = (item.content(), item.void_time());
    if !replace && view.get_in(db, to)?.is_some() {
        return Ok(false);
    }
    view.put_in(db, to, content, void_time)?;
    Ok(true)
}

/// The database that a command on keys names.
fn database(text: &[u8]) -> Result<u8, Fail> {
    let number = integer(text).ok_or(NOT_AN_INTEGER)?;
    let number = i32::try_from(number).map_err(|_| NOT_SMALL)?;
    u8::try_from(number).ok().filter(|db| usize::from(*db) < DATABASES).ok_or(NO_DATABASE)
}
