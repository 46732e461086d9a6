//! Strings: `SET`, `GET` and their like.

use bytes::Bytes;
use cairn_engine::model::{NEVER, VoidTime};

use super::super::{
    command::{Command, Flags, Group, Handler, Keys, OnKeys},
    expiry::Unit,
    fail::{Fail, NOT_AN_INTEGER, OVERFLOW, SYNTAX},
    item::Item,
    number::integer,
    reply::Reply,
    request::Request,
    view::{Halt, View},
};

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const COUNT: Flags = WRITE.and(Flags::FAST);

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    on_key("set", -3, WRITE, set).about("1.0.0", "Sets the string value of a key"),
    on_key("get", 2, READ, get).about("1.0.0", "Returns the string value of a key"),
    on_key("incr", 2, COUNT, incr).about("1.0.0", "Adds one to the number a key holds"),
    on_key("decr", 2, COUNT, decr).about("1.0.0", "Takes one from the number a key holds"),
    on_key("incrby", 3, COUNT, incr_by).about("1.0.0", "Adds to the number a key holds"),
    on_key("decrby", 3, COUNT, decr_by).about("1.0.0", "Takes from the number a key holds"),
    several("mget", -2, READ.and(Flags::PREFETCH), mget, 1)
        .about("1.0.0", "Returns the string values of several keys, as they are at one instant"),
    several("mset", -3, WRITE, mset, 2)
        .about("1.0.1", "Sets the string values of several keys at one instant"),
];

const fn on_key(name: &'static str, arity: isize, flags: Flags, handler: OnKeys) -> Command {
    Command::on_key(name, arity, flags, Group::String, handler)
}

const fn several(
    name: &'static str,
    arity: isize,
    flags: Flags,
    handler: OnKeys,
    step: usize,
) -> Command {
    let keys = Keys::Range { first: 1, last: -1, step };
    Command::new(name, arity, flags, Group::String, Handler::Keys(handler)).keys(keys)
}

fn get(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    reply.bulk_or_null(view.string(request.arg(1))?);
    Ok(())
}

fn mget(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let keys = request.args(1);
    reply.array(keys.len());
    for key in keys {
        // A key that holds no string has none: MGET does not fail for one key of many.
        let item = view.get(key)?;
        reply.bulk_or_null(item.and_then(|item| item.string().ok()));
    }
    Ok(())
}

fn mset(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    if request.len().is_multiple_of(2) {
        return Err(Fail::arity("mset").into());
    }
    for at in (1..request.len()).step_by(2) {
        view.put_string(request.arg(at), request.shared(at + 1), NEVER)?;
    }
    reply.ok();
    Ok(())
}

/// What `SET` was asked besides key and value.
#[derive(Default)]
struct SetOptions {
    must_exist: Option<bool>,
    get: bool,
    keep_ttl: bool,
    end: Option<(Unit, usize)>,
}

impl SetOptions {
    fn read(request: &Request) -> Result<Self, Fail> {
        let mut options = Self::default();
        let mut at = 3;
        while at < request.len() {
            let fresh = options.end.is_none() && !options.keep_ttl;
            let units =
                [("EX", Unit::EX), ("PX", Unit::PX), ("EXAT", Unit::EXAT), ("PXAT", Unit::PXAT)];
            if request.is(at, "NX") && options.must_exist != Some(true) {
                options.must_exist = Some(false);
            } else if request.is(at, "XX") && options.must_exist != Some(false) {
                options.must_exist = Some(true);
            } else if request.is(at, "GET") {
                options.get = true;
            } else if request.is(at, "KEEPTTL") && options.end.is_none() {
                options.keep_ttl = true;
            } else if let Some((_, unit)) = units.into_iter().find(|(name, _)| request.is(at, name))
                && fresh
                && at + 1 < request.len()
            {
                options.end = Some((unit, at + 1));
                at += 1;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn set(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let key = request.arg(1);
    if request.len() == 3 {
        view.put_string(key, request.shared(2), NEVER)?;
        reply.ok();
        return Ok(());
    }
    let options = SetOptions::read(request)?;
    let mut void_time = match options.end {
        Some((unit, at)) => unit.end(request.arg(at), view.now_ms(), "set")?,
        None => NEVER,
    };
    if options.get || options.keep_ttl || options.must_exist.is_some() {
        let old = view.get(key)?;
        if options.get {
            reply.bulk_or_null(old.map(|item| item.string()).transpose()?);
        }
        if options.must_exist.is_some_and(|must| must != old.is_some()) {
            if !options.get {
                reply.null();
            }
            return Ok(());
        }
        if options.keep_ttl {
            void_time = end_of(old);
        }
    }
    view.put_string(key, request.shared(2), void_time)?;
    if !options.get {
        reply.ok();
    }
    Ok(())
}

/// When what a key holds ends; never for nothing.
fn end_of(item: Option<Item<'_>>) -> VoidTime {
    item.map_or(NEVER, |item| item.void_time())
}

fn incr(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    add(view, request, reply, 1)
}

fn decr(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    add(view, request, reply, -1)
}

fn incr_by(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let by = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    add(view, request, reply, by)
}

fn decr_by(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let by = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    let by = by.checked_neg().ok_or(Fail::text("ERR decrement would overflow"))?;
    add(view, request, reply, by)
}

fn add(view: &mut View<'_>, request: &Request, reply: &mut Reply, by: i64) -> Result<(), Halt> {
    let key = request.arg(1);
    let item = view.get(key)?;
    let old = match &item {
        Some(item) => integer(item.string()?).ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(OVERFLOW)?;
    let text = Bytes::copy_from_slice(itoa::Buffer::new().format(new).as_bytes());
    let void_time = end_of(item);
    view.put_string(key, text, void_time)?;
    reply.int(new);
    Ok(())
}
