//! `OBJECT` and `MEMORY`: what is known of a value besides the value.

use super::super::{
    command::{Command, Flags, Group, Handler, Keys, OnKeys, OnSession},
    door::Door,
    fail::{Done, Fail, NOT_AN_INTEGER, SYNTAX},
    item::Item,
    number::integer,
    reply::Reply,
    request::Request,
    session::Session,
    view::{Halt, View},
};
use super::commands::help;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::container("object", Group::Generic, OBJECT)
        .about("2.2.3", "Tells how a value is kept"),
    Command::container("memory", Group::Server, MEMORY)
        .about("4.0.0", "Tells what values and the node take"),
];

const OBJECT: &[Command] = &[
    on_key("object|encoding", 3, |view, request, reply| {
        let found = view.get(request.arg(2))?.map(encoding);
        reply.bulk_or_null(found.map(str::as_bytes));
        Ok(())
    })
    .about("2.2.3", "Answers the form that Redis would keep the value of <key> in"),
    on_key("object|freq", 3, |view, request, reply| match view.get(request.arg(2))? {
        Some(_) => Err(NO_FREQUENCY.into()),
        None => {
            reply.null();
            Ok(())
        }
    })
    .about("4.0.0", "Is refused as by a Redis that counts no accesses: here nobody does"),
    on_key("object|idletime", 3, |view, request, reply| number(view, request, reply, 0))
        .about("2.2.3", "Answers 0 for every <key> there is: accesses leave no trace"),
    on_key("object|refcount", 3, |view, request, reply| number(view, request, reply, 1))
        .about("2.2.3", "Answers 1 for every <key> there is: no value is shared"),
    Command::new("object|help", 2, HELP, Group::Generic, Handler::Session(help))
        .about("6.2.0", "Tells of these subcommands"),
];

const MEMORY: &[Command] = &[
    on_key("memory|usage", -3, usage)
        .about("4.0.0", "Answers the bytes that <key> and its value take on the device"),
    on_node("memory|stats", stats).about("4.0.0", "Answers what the node takes"),
    on_node("memory|doctor", |_, _, _, reply| {
        reply.verbatim("txt", DOCTOR);
        Ok(())
    })
    .about("4.0.0", "Says where memory is to be looked after"),
    on_node("memory|malloc-stats", |_, _, _, reply| {
        reply.verbatim("txt", "Stats not supported for the current allocator");
        Ok(())
    })
    .about("4.0.0", "Has nothing to say: the allocator keeps no statistics"),
    on_node("memory|purge", |_, _, _, reply| {
        reply.ok();
        Ok(())
    })
    .about("4.0.0", "Does nothing: freed memory goes back to the system by itself"),
    Command::new("memory|help", 2, HELP, Group::Server, Handler::Session(help))
        .about("4.0.0", "Tells of these subcommands"),
];

const HELP: Flags = Flags::LOADING.and(Flags::STALE);
const NO_FREQUENCY: Fail = Fail::text(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
     when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);
const DOCTOR: &str = "Values lie on flash; memory is taken by the index, write buffers and \
                      connections. MEMORY STATS and INFO memory say how much.\n";
/// The longest string that Redis keeps together with its header.
const EMBEDDED_MAX: usize = 44;

const fn on_key(name: &'static str, arity: isize, handler: OnKeys) -> Command {
    let keys = Keys::Range { first: 2, last: 2, step: 1 };
    Command::new(name, arity, Flags::READONLY, Group::Generic, Handler::Keys(handler)).keys(keys)
}

const fn on_node(name: &'static str, handler: OnSession) -> Command {
    Command::new(name, 2, Flags::NONE, Group::Server, Handler::Session(handler))
}

fn encoding(item: Item<'_>) -> &'static str {
    match item.string() {
        Ok(value) if integer(value).is_some() => "int",
        Ok(value) if value.len() <= EMBEDDED_MAX => "embstr",
        Ok(_) => "raw",
        Err(_) => item.kind().name(),
    }
}

/// The same number for every key there is.
fn number(
    view: &mut View<'_>,
    request: &Request,
    reply: &mut Reply,
    number: i64,
) -> Result<(), Halt> {
    match view.get(request.arg(2))? {
        Some(_) => reply.int(number),
        None => reply.null(),
    }
    Ok(())
}

fn usage(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    for at in (3..request.len()).step_by(2) {
        if !request.is(at, "SAMPLES") || at + 1 >= request.len() {
            return Err(SYNTAX.into());
        }
        if integer(request.arg(at + 1)).ok_or(NOT_AN_INTEGER)? < 0 {
            return Err(SYNTAX.into());
        }
    }
    match view.get(request.arg(2))? {
        Some(item) => reply.int(item.stored_bytes(request.arg(2).len()) as i64),
        None => reply.null(),
    }
    Ok(())
}

/// Those fields of Redis that mean something here, and Cairn's own.
fn stats(_: &mut Session, door: &Door, _: &Request, reply: &mut Reply) -> Done {
    let stats = door.namespace().stats();
    let fields = [
        ("total.allocated", stats.index_bytes + stats.buffer_bytes),
        ("keys.count", stats.records),
        ("overhead.total", stats.index_bytes),
        ("dataset.bytes", stats.in_use_bytes),
        ("cairn.index.bytes", stats.index_bytes),
        ("cairn.buffer.bytes", stats.buffer_bytes),
        ("cairn.device.capacity.bytes", stats.capacity_bytes),
        ("cairn.device.in-use.bytes", stats.in_use_bytes),
    ];
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name);
        reply.int(value as i64);
    }
    Ok(())
}
