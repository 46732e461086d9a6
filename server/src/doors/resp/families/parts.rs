//! Parts of strings: `STRLEN`, `APPEND`, `GETRANGE` (once `SUBSTR`), `SETRANGE`.

use super::{
    super::{
        command::{Command, Flags, Group, OnKeys, Plain},
        fail::{Fail, NOT_AN_INTEGER, TOO_LONG},
        number::integer,
        range,
        reply::Reply,
        request::Request,
        view::{Halt, View},
    },
    strings::to_change,
};

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// Bytes of the longest string that Redis has.
const REDIS_MAX: u64 = 512 << 20;
/// A place before the string's beginning.
const BAD_OFFSET: Fail = Fail::text("ERR offset is out of range");

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    row("strlen", 2, Flags::READONLY.and(Flags::FAST), strlen)
        .plainly(Plain::Read(len_of))
        .about("2.2.0", "Returns how many bytes the string of a key has"),
    row("append", 3, WRITE.and(Flags::FAST), append)
        .about("2.0.0", "Puts bytes behind the string of a key"),
    row("getrange", 4, Flags::READONLY, get_range)
        .about("2.4.0", "Returns the bytes of a string from one place to another"),
    row("substr", 4, Flags::READONLY, get_range)
        .about("1.0.0", "Returns the bytes of a string from one place to another"),
    row("setrange", 4, WRITE, set_range)
        .about("2.2.0", "Overwrites the bytes of a string from a place on"),
];

const fn row(name: &'static str, arity: isize, flags: Flags, handler: OnKeys) -> Command {
    Command::on_key(name, arity, flags, Group::String, handler)
}

fn strlen(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    len_of(view.string(request.arg(1))?, reply);
    Ok(())
}

fn len_of(string: Option<&[u8]>, reply: &mut Reply) {
    reply.int(string.map_or(0, <[u8]>::len) as i64);
}

fn append(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let (key, more) = (request.arg(1), request.arg(2));
    let len = view.string(key)?.map_or(0, <[u8]>::len) + more.len();
    let (mut string, end) = to_change(view, key, len as u64)?;
    string.extend_from_slice(more);
    view.put_string(key, string, end)?;
    reply.int(len as i64);
    Ok(())
}

fn get_range(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let start = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    let end = integer(request.arg(3)).ok_or(NOT_AN_INTEGER)?;
    let string = view.string(request.arg(1))?.unwrap_or_default();
    reply.bulk(match range::within_in_order(start, end, string.len() as u64) {
        Some((first, last)) => &string[first as usize..=last as usize],
        None => &[],
    });
    Ok(())
}

fn set_range(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let offset = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    let offset = u64::try_from(offset).map_err(|_| BAD_OFFSET)?;
    let (key, part) = (request.arg(1), request.arg(3));
    if part.is_empty() {
        return strlen(view, request, reply);
    }
    view.string(key)?;
    let behind = offset.saturating_add(part.len() as u64);
    if behind > REDIS_MAX {
        return Err(TOO_LONG.into());
    }
    let (mut string, end) = to_change(view, key, behind)?;
    // They fit: room was found for that many bytes.
    let (offset, behind) = (offset as usize, behind as usize);
    string.resize(string.len().max(behind), 0);
    string[offset..behind].copy_from_slice(part);
    reply.int(string.len() as i64);
    view.put_string(key, string, end)
}
