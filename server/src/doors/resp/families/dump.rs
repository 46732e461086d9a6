//! `DUMP` and `RESTORE`: values that travel between servers.

use super::super::{
    command::{Command, Flags, Group},
    dump,
    expiry::{Unit, void_time},
    fail::{Fail, NOT_AN_INTEGER, SYNTAX},
    item::Content,
    number::integer,
    reply::Reply,
    request::Request,
    view::{Halt, View},
};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::on_key("dump", 2, Flags::READONLY, Group::Generic, dump)
        .about("2.6.0", "Answers a value in the form that RESTORE reads, here and in Redis"),
    Command::on_key("restore", -4, Flags::WRITE.and(Flags::DENYOOM), Group::Generic, restore)
        .about("2.6.0", "Puts a value that DUMP answered, here or in Redis"),
];

const BUSY: Fail = Fail::text("BUSYKEY Target key name already exists.");
const TTL: Fail = Fail::text("ERR Invalid TTL value, must be >= 0");
const IDLE: Fail = Fail::text("ERR Invalid IDLETIME value, must be >= 0");
const FREQ: Fail = Fail::text("ERR Invalid FREQ value, must be >= 0 and <= 255");

fn dump(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let payload = view.string(request.arg(1))?.map(dump::of_string);
    reply.bulk_or_null(payload.as_deref());
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    /// Checked and forgotten: accesses are not kept.
    idle: bool,
    frequency: bool,
}

impl Options {
    fn read(request: &Request) -> Result<Self, Fail> {
        let (mut options, mut at) = (Self::default(), 4);
        let number = |at| integer(request.arg(at)).ok_or(NOT_AN_INTEGER);
        while at < request.len() {
            let more = at + 1 < request.len();
            if request.is(at, "REPLACE") {
                options.replace = true;
            } else if request.is(at, "ABSTTL") {
                options.absolute = true;
            } else if request.is(at, "IDLETIME") && more && !options.frequency {
                at += 1;
                options.idle = true;
                if number(at)? < 0 {
                    return Err(IDLE);
                }
            } else if request.is(at, "FREQ") && more && !options.idle {
                at += 1;
                options.frequency = true;
                if !(0..=255).contains(&number(at)?) {
                    return Err(FREQ);
                }
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn restore(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let options = Options::read(request)?;
    let key = request.arg(1);
    if !options.replace && view.get(key)?.is_some() {
        return Err(BUSY.into());
    }
    let life = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    if life < 0 {
        return Err(TTL.into());
    }
    let value = dump::string_of(request.arg(3))?;
    let unit = if options.absolute { Unit::PXAT } else { Unit::PX };
    let end = match life {
        0 => Some(cairn_engine::model::NEVER),
        // As in Redis, an end that no number holds is past.
        _ => unit.instant(life, view.now_ms()).and_then(void_time),
    };
    match end {
        Some(end) => view.put(key, Content::String(value.into()), end)?,
        None => {
            view.delete(key)?;
        }
    }
    reply.ok();
    Ok(())
}
