//! Bits of strings: `SETBIT`, `GETBIT`, `BITCOUNT`, `BITPOS`, `BITOP`.

use cairn_engine::model::NEVER;

use super::{
    super::{
        bitwise::{self, Combine},
        command::{Command, Flags, Group, Handler, Keys, OnKeys},
        fail::{Fail, NOT_AN_INTEGER, SYNTAX},
        number::integer,
        range,
        reply::Reply,
        request::Request,
        view::{Halt, View},
    },
    strings::to_change,
};

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);

const NOT_A_BIT: Fail = Fail::text("ERR bit is not an integer or out of range");
const NOT_A_BIT_TO_FIND: Fail = Fail::text("ERR The bit argument must be 1 or 0.");
const NOT_ONE_SOURCE: Fail = Fail::text("ERR BITOP NOT must be called with a single source key.");
/// A bit behind the longest string of Redis, or before all.
pub const BAD_BIT_OFFSET: Fail = Fail::text("ERR bit offset is not an integer or out of range");

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    row("setbit", 4, WRITE, set_bit)
        .about("2.2.0", "Sets or clears a bit of a string and returns what it was"),
    row("getbit", 3, Flags::READONLY.and(Flags::FAST), get_bit)
        .about("2.2.0", "Returns a bit of a string"),
    row("bitcount", -2, Flags::READONLY, bit_count)
        .about("2.6.0", "Counts the bits of a string that are set"),
    row("bitpos", -3, Flags::READONLY, bit_pos)
        .about("2.8.7", "Finds the first bit of a string that is set, or clear"),
    Command::new("bitop", -4, WRITE.and(Flags::PREFETCH), Group::Bitmap, Handler::Keys(bit_op))
        .keys(Keys::Range { first: 2, last: -1, step: 1 })
        .about("2.6.0", "Combines the bits of strings and stores the result"),
];

const fn row(name: &'static str, arity: isize, flags: Flags, handler: OnKeys) -> Command {
    Command::on_key(name, arity, flags, Group::Bitmap, handler)
}

/// A place of a bit in the longest string that Redis has.
pub fn bit_offset(text: &[u8]) -> Result<u64, Fail> {
    let offset = integer(text).and_then(|offset| u32::try_from(offset).ok());
    offset.map(u64::from).ok_or(BAD_BIT_OFFSET)
}

fn set_bit(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let offset = bit_offset(request.arg(2))?;
    let bit = match integer(request.arg(3)) {
        Some(bit @ 0..=1) => bit as u64,
        _ => return Err(NOT_A_BIT.into()),
    };
    let key = request.arg(1);
    let len = offset / 8 + 1;
    let (mut string, end) = to_change(view, key, len)?;
    let grows = string.len() < len as usize;
    string.resize(string.len().max(len as usize), 0);
    let old = bitwise::field(&string, offset, 1);
    reply.int(old as i64);
    if old == bit && !grows {
        // As it is already: not a write, which EXEC of one who watches the key would notice.
        return Ok(());
    }
    bitwise::put_field(&mut string, offset, 1, bit);
    view.put_string(key, string, end)
}

fn get_bit(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let offset = bit_offset(request.arg(2))?;
    let string = view.string(request.arg(1))?.unwrap_or_default();
    reply.int(bitwise::field(string, offset, 1) as i64);
    Ok(())
}

/// Whether the argument at `at` says that places are of bits; of bytes otherwise, also when there is none.
fn counts_bits(request: &Request, at: usize) -> Result<bool, Fail> {
    match () {
        () if request.len() <= at || request.is(at, "BYTE") => Ok(false),
        () if request.is(at, "BIT") => Ok(true),
        () => Err(SYNTAX),
    }
}

/// What is asked of a string when there is one: without a key, no other argument is looked at.
fn bit_count(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let Some(string) = view.string(request.arg(1))? else {
        reply.int(0);
        return Ok(());
    };
    let bytes = string.len() as u64;
    let range = match request.len() {
        2 => range::within(0, -1, 8 * bytes),
        4 | 5 => {
            let start = integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
            let end = integer(request.arg(3)).ok_or(NOT_AN_INTEGER)?;
            match () {
                () if start < 0 && end < 0 && start > end => None,
                () if counts_bits(request, 4)? => range::within(start, end, 8 * bytes),
                () => range::within(start, end, bytes).map(bits_of),
            }
        }
        _ => return Err(SYNTAX.into()),
    };
    reply.int(range.map_or(0, |(first, last)| bitwise::ones(string, first, last)) as i64);
    Ok(())
}

/// The bits of these bytes.
fn bits_of((first, last): (u64, u64)) -> (u64, u64) {
    (8 * first, 8 * last + 7)
}

fn bit_pos(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let bit = match integer(request.arg(2)).ok_or(NOT_AN_INTEGER)? {
        0 => false,
        1 => true,
        _ => return Err(NOT_A_BIT_TO_FIND.into()),
    };
    let Some(string) = view.string(request.arg(1))? else {
        reply.int(if bit { -1 } else { 0 });
        return Ok(());
    };
    let bytes = string.len() as u64;
    let place = |at: usize, unsaid: i64| match request.len() > at {
        true => integer(request.arg(at)).ok_or(NOT_AN_INTEGER),
        false => Ok(unsaid),
    };
    if request.len() > 6 {
        return Err(SYNTAX.into());
    }
    let start = place(3, 0)?;
    let counts_bits = counts_bits(request, 5)?;
    let end = place(4, -1)?;
    let range = match counts_bits {
        true => range::within(start, end, 8 * bytes),
        false => range::within(start, end, bytes).map(bits_of),
    };
    let found = range.map(|(first, last)| bitwise::first(string, bit, first, last));
    reply.int(match found {
        Some(Some(at)) => at as i64,
        // Zeros lie behind the string, for who did not say where to end.
        Some(None) if !bit && request.len() <= 4 => 8 * bytes as i64,
        _ => -1,
    });
    Ok(())
}

fn bit_op(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let words =
        [("AND", Combine::And), ("OR", Combine::Or), ("XOR", Combine::Xor), ("NOT", Combine::Not)];
    let word = words.into_iter().find(|(word, _)| request.is(1, word));
    let (_, combine) = word.ok_or(SYNTAX)?;
    if combine == Combine::Not && request.len() != 4 {
        return Err(NOT_ONE_SOURCE.into());
    }
    let strings = request.args(3).map(|key| Ok(view.string(key)?.unwrap_or_default()));
    let result = combine.all(&strings.collect::<Result<Vec<_>, Halt>>()?);
    reply.int(result.len() as i64);
    let target = request.arg(2);
    match result.is_empty() {
        true => view.delete(target).map(|_| ()),
        false => view.put_string(target, result, NEVER),
    }
}
