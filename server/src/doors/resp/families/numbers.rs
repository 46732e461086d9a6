//! Strings that are numbers: `INCR` and its like.

use bytes::Bytes;

use super::{
    super::{
        command::{Command, Flags, Group, OnKeys},
        extended::Extended,
        fail::{Fail, NOT_A_FLOAT, NOT_AN_INTEGER, OVERFLOW},
        number::integer,
        reply::Reply,
        request::Request,
        view::{Halt, View},
    },
    strings::end_of,
};

/// A sum with a fraction that nothing could be added to any more.
const INFINITE: Fail = Fail::text("ERR increment would produce NaN or Infinity");
/// A number whose opposite is none.
const NO_OPPOSITE: Fail = Fail::text("ERR decrement would overflow");

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    row("incr", 2, |view, request, reply| add(view, request, reply, 1))
        .about("1.0.0", "Adds one to the number a key holds"),
    row("decr", 2, |view, request, reply| add(view, request, reply, -1))
        .about("1.0.0", "Takes one from the number a key holds"),
    row("incrby", 3, incr_by).about("1.0.0", "Adds to the number a key holds"),
    row("decrby", 3, decr_by).about("1.0.0", "Takes from the number a key holds"),
    row("incrbyfloat", 3, incr_by_float)
        .about("2.6.0", "Adds a number with a fraction to the number a key holds"),
];

const fn row(name: &'static str, arity: isize, handler: OnKeys) -> Command {
    let flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
    Command::on_key(name, arity, flags, Group::String, handler)
}

fn incr_by(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let by = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    add(view, request, reply, by)
}

fn decr_by(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let by = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    let by = by.checked_neg().ok_or(NO_OPPOSITE)?;
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
    let end = end_of(item);
    view.put_string(key, text, end)?;
    reply.int(new);
    Ok(())
}

fn incr_by_float(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let key = request.arg(1);
    let item = view.get(key)?;
    let old = match &item {
        Some(item) => Extended::parse(item.string()?).ok_or(NOT_A_FLOAT)?,
        None => Extended::ZERO,
    };
    let by = Extended::parse(request.arg(2)).ok_or(NOT_A_FLOAT)?;
    let text = old.sum(by).ok_or(INFINITE)?.text();
    let end = end_of(item);
    reply.bulk(&text);
    view.put_string(key, text, end)
}
