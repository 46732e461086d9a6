//! When keys end: `EXPIRE`, `TTL`, `PERSIST` and their like.

use cairn_engine::model::NEVER;

use super::super::{
    command::{Command, Flags, Group, OnKeys},
    expiry::{Unit, void_time},
    fail::{Fail, NOT_AN_INTEGER},
    number::integer,
    reply::Reply,
    request::Request,
    view::{Halt, View},
};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    write("expire", -3, |view, request, reply| expire(view, request, reply, Unit::EX))
        .about("1.0.0", "Has a key end in so many seconds"),
    write("pexpire", -3, |view, request, reply| expire(view, request, reply, Unit::PX))
        .about("2.6.0", "Has a key end in so many milliseconds"),
    write("expireat", -3, |view, request, reply| expire(view, request, reply, Unit::EXAT))
        .about("1.2.0", "Has a key end so many seconds after 1970"),
    write("pexpireat", -3, |view, request, reply| expire(view, request, reply, Unit::PXAT))
        .about("2.6.0", "Has a key end so many milliseconds after 1970"),
    write("persist", 2, persist).about("2.2.0", "Has a key never end"),
    read("ttl", |view, request, reply| tell(view, request, reply, Unit::EX))
        .about("1.0.0", "Answers the seconds until a key ends"),
    read("pttl", |view, request, reply| tell(view, request, reply, Unit::PX))
        .about("2.6.0", "Answers the milliseconds until a key ends"),
    read("expiretime", |view, request, reply| tell(view, request, reply, Unit::EXAT))
        .about("7.0.0", "Answers how many seconds after 1970 a key ends"),
    read("pexpiretime", |view, request, reply| tell(view, request, reply, Unit::PXAT))
        .about("7.0.0", "Answers how many milliseconds after 1970 a key ends"),
];

const fn read(name: &'static str, handler: OnKeys) -> Command {
    Command::on_key(name, 2, Flags::READONLY.and(Flags::FAST), Group::Generic, handler)
}

const fn write(name: &'static str, arity: isize, handler: OnKeys) -> Command {
    Command::on_key(name, arity, Flags::WRITE.and(Flags::FAST), Group::Generic, handler)
}

/// When a key ends; -1 for never, -2 for no key. Seconds are rounded to the nearest.
fn tell(view: &mut View<'_>, request: &Request, reply: &mut Reply, unit: Unit) -> Result<(), Halt> {
    let begin = if unit.absolute { 0 } else { view.now_ms() };
    let step = if unit.seconds { 1000 } else { 1 };
    reply.int(match view.get(request.arg(1))?.map(|item| item.expires_ms()) {
        None => -2,
        Some(None) => -1,
        Some(Some(end)) => ((end.saturating_sub(begin) + step / 2) / step) as i64,
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
                // As Redis shows it: up to a zero.
                text.extend(request.arg(at).iter().take_while(|byte| **byte != 0));
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
) -> Result<(), Halt> {
    let conditions = Conditions::read(request)?;
    let number = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    let end = unit.instant(number, view.now_ms()).ok_or_else(|| {
        Fail::expire_time(&request.arg(0).to_ascii_lowercase().escape_ascii().to_string())
    })?;
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

fn persist(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let key = request.arg(1);
    let ends = view.get(key)?.is_some_and(|item| item.expires_ms().is_some());
    if ends {
        view.expire(key, NEVER)?;
    }
    reply.int(ends.into());
    Ok(())
}
