//! Keys of any kind: `DEL`, `EXISTS`, `TTL`, `EXPIRE` and their like.

use super::super::{
    command::{Command, Flags, Group, Handler, Keys, OnKeys},
    expiry::{Unit, void_time},
    fail::{Fail, NOT_AN_INTEGER},
    number::integer,
    reply::Reply,
    request::Request,
    view::{Halt, View},
};

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::FAST);

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    several("del", Flags::WRITE.and(Flags::PREFETCH), del)
        .about("1.0.0", "Deletes keys at one instant; answers how many there were"),
    several("exists", READ.and(Flags::PREFETCH), exists)
        .about("1.0.0", "Answers how many of the keys there are"),
    on_key("type", 2, READ, kind).about("1.0.0", "Answers the kind of value a key holds"),
    on_key("ttl", 2, READ, |view, request, reply| left(view, request, reply, 1000))
        .about("1.0.0", "Answers the seconds until a key ends"),
    on_key("pttl", 2, READ, |view, request, reply| left(view, request, reply, 1))
        .about("2.6.0", "Answers the milliseconds until a key ends"),
    on_key("expire", -3, WRITE, |view, request, reply| {
        expire(view, request, reply, Unit::EX, "expire")
    })
    .about("1.0.0", "Has a key end in so many seconds"),
];

const fn on_key(name: &'static str, arity: isize, flags: Flags, handler: OnKeys) -> Command {
    Command::on_key(name, arity, flags, Group::Generic, handler)
}

const fn several(name: &'static str, flags: Flags, handler: OnKeys) -> Command {
    Command::new(name, -2, flags, Group::Generic, Handler::Keys(handler)).keys(Keys::ALL)
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
        there += i64::from(view.get(key)?.is_some());
    }
    reply.int(there);
    Ok(())
}

fn kind(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    reply.simple(view.get(request.arg(1))?.map_or("none", |item| item.kind().name()));
    Ok(())
}

/// The time until a key ends in units of so many milliseconds; -1 for never, -2 for no key.
fn left(view: &mut View<'_>, request: &Request, reply: &mut Reply, unit: u64) -> Result<(), Halt> {
    let now = view.now_ms();
    reply.int(match view.get(request.arg(1))?.map(|item| item.expires_ms()) {
        None => -2,
        Some(None) => -1,
        Some(Some(end)) => ((end.saturating_sub(now) + unit / 2) / unit) as i64,
    });
    Ok(())
}

/// Conditions on the end that a key has.
#[derive(Default)]
struct Conditions {
    none: bool,
    some: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn read(request: &Request) -> Result<Self, Fail> {
        let mut conditions = Self::default();
        for at in 3..request.len() {
            if request.is(at, "NX") {
                conditions.none = true;
            } else if request.is(at, "XX") {
                conditions.some = true;
            } else if request.is(at, "GT") {
                conditions.greater = true;
            } else if request.is(at, "LT") {
                conditions.less = true;
            } else {
                let mut text = b"ERR Unsupported option ".to_vec();
                text.extend_from_slice(request.arg(at));
                return Err(Fail::new(text));
            }
        }
        if conditions.none && (conditions.some || conditions.greater || conditions.less) {
            return Err(Fail::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.greater && conditions.less {
            return Err(Fail::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether an end at `new` may take the place of the one there is; never is later than every instant.
    fn allow(&self, old: Option<u64>, new: i64) -> bool {
        let old = old.map(|old| i64::try_from(old).unwrap_or(i64::MAX));
        !(self.none && old.is_some()
            || self.some && old.is_none()
            || self.greater && old.is_none_or(|old| new <= old)
            || self.less && old.is_some_and(|old| new >= old))
    }
}

fn expire(
    view: &mut View<'_>,
    request: &Request,
    reply: &mut Reply,
    unit: Unit,
    command: &str,
) -> Result<(), Halt> {
    let conditions = Conditions::read(request)?;
    let number = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    let now = view.now_ms();
    let end = unit.instant(number, now).ok_or_else(|| Fail::expire_time(command))?;
    let key = request.arg(1);
    let allowed = view.get(key)?.is_some_and(|item| conditions.allow(item.expires_ms(), end));
    if allowed {
        match void_time(end) {
            Some(end) => view.expire(key, end)?,
            None => view.delete(key)?,
        };
    }
    reply.int(allowed.into());
    Ok(())
}
