//! Strings of several keys at one instant: `MGET`, `MSET`, `MSETNX`.

use cairn_engine::model::NEVER;

use super::super::{
    command::{Command, Flags, Group, Handler, Keys, OnKeys},
    fail::Fail,
    reply::Reply,
    request::Request,
    view::{Halt, View},
};

const READ: Flags = Flags::READONLY.and(Flags::FAST).and(Flags::PREFETCH);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    row("mget", -2, READ, mget, 1)
        .about("1.0.0", "Returns the string values of several keys, as they are at one instant"),
    row("mset", -3, WRITE, mset, 2)
        .about("1.0.1", "Sets the string values of several keys at one instant"),
    row("msetnx", -3, WRITE.and(Flags::PREFETCH), mset_nx, 2)
        .about("1.0.1", "Sets the string values of several keys if none of them holds anything"),
];

const fn row(
    name: &'static str,
    arity: isize,
    flags: Flags,
    handler: OnKeys,
    step: usize,
) -> Command {
    let keys = Keys::Range { first: 1, last: -1, step };
    Command::new(name, arity, flags, Group::String, Handler::Keys(handler)).keys(keys)
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
    in_pairs(request, "mset")?;
    put_all(view, request)?;
    reply.ok();
    Ok(())
}

fn mset_nx(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    in_pairs(request, "msetnx")?;
    let mut free = true;
    for at in (1..request.len()).step_by(2) {
        free &= view.get(request.arg(at))?.is_none();
    }
    if free {
        put_all(view, request)?;
    }
    reply.int(free.into());
    Ok(())
}

/// Refuses a key without a value.
fn in_pairs(request: &Request, command: &str) -> Result<(), Fail> {
    match request.len().is_multiple_of(2) {
        true => Err(Fail::arity(command)),
        false => Ok(()),
    }
}

fn put_all(view: &mut View<'_>, request: &Request) -> Result<(), Halt> {
    for at in (1..request.len()).step_by(2) {
        view.put_string(request.arg(at), request.shared(at + 1), NEVER)?;
    }
    Ok(())
}
