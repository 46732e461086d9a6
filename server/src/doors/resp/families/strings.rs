//! Strings one at a time: `SET`, `GET` and their like. [`many`](super::many), [`numbers`](super::numbers), [`parts`](super::parts),
//! [`bits`](super::bits), [`bitfield`](super::bitfield) and [`lcs`](super::lcs) are about strings, too.

use cairn_engine::{
    Error,
    model::{NEVER, VoidTime},
};

use super::super::{
    command::{Command, Flags, Group, OnKeys, Plain},
    expiry::Unit,
    fail::{Fail, SYNTAX},
    item::Item,
    reply::Reply,
    request::Request,
    view::{Halt, View},
};

const FAST: Flags = Flags::WRITE.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const BLIND: Flags = WRITE.and(Flags::BLIND);

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    row("set", -3, BLIND, set)
        .plainly(Plain::Replace)
        .about("1.0.0", "Sets the string value of a key"),
    row("get", 2, Flags::READONLY.and(Flags::FAST), get)
        .plainly(Plain::Read(|string, reply| reply.bulk_or_null(string)))
        .about("1.0.0", "Returns the string value of a key"),
    row("getset", 3, WRITE.and(Flags::FAST), get_set)
        .about("1.0.0", "Sets the string value of a key and returns what it was"),
    row("getdel", 2, FAST, get_del).about("6.2.0", "Deletes a key and returns the string it held"),
    row("getex", -2, FAST, get_ex)
        .about("6.2.0", "Returns the string value of a key and says when it ends"),
    row("setex", 4, BLIND, |view, request, reply| set_ex(view, request, reply, Unit::EX, "setex"))
        .about("2.0.0", "Sets the string value of a key for so many seconds"),
    row("psetex", 4, BLIND, |view, request, reply| {
        set_ex(view, request, reply, Unit::PX, "psetex")
    })
    .about("2.6.0", "Sets the string value of a key for so many milliseconds"),
    row("setnx", 3, WRITE.and(Flags::FAST), set_nx)
        .about("1.0.0", "Sets the string value of a key that holds nothing"),
];

const fn row(name: &'static str, arity: isize, flags: Flags, handler: OnKeys) -> Command {
    Command::on_key(name, arity, flags, Group::String, handler)
}

/// When what a key holds ends; never for nothing.
pub fn end_of(item: Option<Item<'_>>) -> VoidTime {
    item.map_or(NEVER, |item| item.void_time())
}

/// The string a key holds, in memory of its own with room for `len` bytes, and when it ends; nothing for no key. For a change that
/// makes the string at least `len` bytes long: one that cannot be stored is refused before anything is allocated for it.
pub fn to_change(view: &View<'_>, key: &[u8], len: u64) -> Result<(Vec<u8>, VoidTime), Halt> {
    let item = view.get(key)?;
    let old = item.map_or(Ok(&[][..]), |item| item.string())?;
    let limit = view.door().namespace().record_max();
    if len > limit {
        return Err(Fail::from(Error::RecordTooBig { size: len, limit }).into());
    }
    let mut string = Vec::with_capacity(old.len().max(len as usize));
    string.extend_from_slice(old);
    Ok((string, end_of(item)))
}

fn get(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    reply.bulk_or_null(view.string(request.arg(1))?);
    Ok(())
}

fn get_set(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    reply.bulk_or_null(view.string(request.arg(1))?);
    view.put_string(request.arg(1), request.shared(2), NEVER)
}

fn get_del(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    reply.bulk_or_null(view.string(request.arg(1))?);
    view.delete(request.arg(1))?;
    Ok(())
}

fn set_nx(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let free = view.get(request.arg(1))?.is_none();
    if free {
        view.put_string(request.arg(1), request.shared(2), NEVER)?;
    }
    reply.int(free.into());
    Ok(())
}

fn set_ex(
    view: &mut View<'_>,
    request: &Request,
    reply: &mut Reply,
    unit: Unit,
    command: &str,
) -> Result<(), Halt> {
    let end = unit.end(request.arg(2), view.now_ms(), command)?;
    view.put_string(request.arg(1), request.shared(3), end)?;
    reply.ok();
    Ok(())
}

/// What options say about the end of a value.
#[derive(Clone, Copy, Default, PartialEq)]
enum End {
    /// Nothing.
    #[default]
    Unsaid,
    /// It is as before (`KEEPTTL`), or there is none any more (`PERSIST`): each command has one of these words.
    Word,
    /// So many of these from then on, as the argument at this place says.
    At(Unit, usize),
}

impl End {
    /// Takes the option at `at` if it is about the end, and answers where the next one is. One kind of end may be said again, but not
    /// two kinds.
    fn option(&mut self, request: &Request, at: usize, word: &str) -> Option<usize> {
        if request.is(at, word) && matches!(self, Self::Unsaid | Self::Word) {
            *self = Self::Word;
            return Some(at + 1);
        }
        let units =
            [("EX", Unit::EX), ("PX", Unit::PX), ("EXAT", Unit::EXAT), ("PXAT", Unit::PXAT)];
        let (_, unit) = units.into_iter().find(|(name, _)| request.is(at, name))?;
        let fits = match self {
            Self::Unsaid => true,
            Self::Word => false,
            Self::At(before, _) => *before == unit,
        };
        if !fits || at + 1 >= request.len() {
            return None;
        }
        *self = Self::At(unit, at + 1);
        Some(at + 2)
    }
}

/// What `SET` was asked besides key and value.
#[derive(Default)]
struct SetOptions {
    must_exist: Option<bool>,
    get: bool,
    end: End,
}

impl SetOptions {
    fn read(request: &Request) -> Result<Self, Fail> {
        let mut options = Self::default();
        let mut at = 3;
        while at < request.len() {
            if request.is(at, "NX") && options.must_exist != Some(true) {
                options.must_exist = Some(false);
            } else if request.is(at, "XX") && options.must_exist != Some(false) {
                options.must_exist = Some(true);
            } else if request.is(at, "GET") {
                options.get = true;
            } else {
                at = options.end.option(request, at, "KEEPTTL").ok_or(SYNTAX)?;
                continue;
            }
            at += 1;
        }
        Ok(options)
    }
}

fn set(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let (key, value) = (request.arg(1), request.shared(2));
    if request.len() == 3 {
        view.put_string(key, value, NEVER)?;
        reply.ok();
        return Ok(());
    }
    let options = SetOptions::read(request)?;
    let keep = options.end == End::Word;
    let mut end = match options.end {
        End::At(unit, at) => unit.end(request.arg(at), view.now_ms(), "set")?,
        End::Unsaid | End::Word => NEVER,
    };
    if options.get || keep || options.must_exist.is_some() {
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
        if keep {
            end = end_of(old);
        }
    }
    view.put_string(key, value, end)?;
    if !options.get {
        reply.ok();
    }
    Ok(())
}

fn get_ex(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let (mut said, mut at) = (End::Unsaid, 2);
    while at < request.len() {
        at = said.option(request, at, "PERSIST").ok_or(SYNTAX)?;
    }
    let key = request.arg(1);
    let Some(item) = view.get(key)? else {
        reply.null();
        return Ok(());
    };
    let (value, old) = (item.string()?, item.void_time());
    let end = match said {
        End::Unsaid => old,
        End::Word => NEVER,
        End::At(unit, at) => unit.end(request.arg(at), view.now_ms(), "getex")?,
    };
    reply.bulk(value);
    if end != old {
        view.expire(key, end)?;
    }
    Ok(())
}
