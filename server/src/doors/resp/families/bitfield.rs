//! Whole numbers of any width in a string: `BITFIELD` and `BITFIELD_RO`.

use smallvec::SmallVec;

use super::{
    super::{
        bitwise,
        command::{Command, Flags, Group, OnKeys},
        fail::{Fail, NOT_AN_INTEGER, SYNTAX},
        number::integer,
        reply::Reply,
        request::Request,
        view::{Halt, View},
    },
    bits::{BAD_BIT_OFFSET, bit_offset},
    strings::to_change,
};

const BAD_TYPE: Fail = Fail::text(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);
const BAD_OVERFLOW: Fail = Fail::text("ERR Invalid OVERFLOW type specified");
const ONLY_GET: Fail = Fail::text("ERR BITFIELD_RO only supports the GET subcommand");

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    row("bitfield", Flags::WRITE.and(Flags::DENYOOM), bitfield)
        .about("3.2.0", "Reads and writes whole numbers of any width in a string"),
    row("bitfield_ro", Flags::READONLY.and(Flags::FAST), bitfield_ro)
        .about("6.0.0", "Reads whole numbers of any width in a string"),
];

const fn row(name: &'static str, flags: Flags, handler: OnKeys) -> Command {
    Command::on_key(name, -2, flags, Group::Bitmap, handler)
}

/// The kind of number a field holds.
#[derive(Clone, Copy, Debug)]
struct Kind {
    signed: bool,
    width: u32,
}

impl Kind {
    /// `i1` to `i64`, `u1` to `u63`.
    fn read(text: &[u8]) -> Option<Self> {
        let (signed, width) = match text {
            [b'i', width @ ..] => (true, width),
            [b'u', width @ ..] => (false, width),
            _ => return None,
        };
        let width = u32::try_from(integer(width)?).ok()?;
        let most = if signed { 64 } else { 63 };
        (1..=most).contains(&width).then_some(Self { signed, width })
    }

    fn bounds(self) -> (i128, i128) {
        match self.signed {
            true => (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1),
            false => (0, (1 << self.width) - 1),
        }
    }

    /// Whether a number that is to be set is so far below that Redis takes it for one above: its distance from the largest is no `i64`.
    fn wraps_around(self, number: i64) -> bool {
        self.signed
            && self.width < 64
            && i128::from(number) < self.bounds().1 - i128::from(i64::MAX)
    }

    /// The number that these bits are.
    fn number(self, bits: u64) -> i64 {
        let above = 64 - self.width;
        match self.signed {
            true => (bits << above) as i64 >> above,
            false => bits as i64,
        }
    }
}

/// What becomes of a number that does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Overflow {
    /// Its upper bits are lost.
    Wrap,
    /// It becomes the nearest that fits.
    Saturate,
    /// It is not stored.
    Fail,
}

impl Overflow {
    fn read(request: &Request, at: usize) -> Option<Self> {
        let words = [("WRAP", Self::Wrap), ("SAT", Self::Saturate), ("FAIL", Self::Fail)];
        words.into_iter().find(|(word, _)| request.is(at, word)).map(|(_, overflow)| overflow)
    }

    /// The bits to be stored for a number; `None` when it is not to be.
    fn fit(self, number: i128, kind: Kind) -> Option<u64> {
        let (least, most) = kind.bounds();
        match self {
            _ if (least..=most).contains(&number) => Some(number as u64),
            Self::Wrap => Some(number as u64 & (u64::MAX >> (64 - kind.width))),
            Self::Saturate => Some(number.clamp(least, most) as u64),
            Self::Fail => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum What {
    Get,
    Set(i64),
    Add(i64),
}

/// One of the things to be done.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: What,
    kind: Kind,
    offset: u64,
    overflow: Overflow,
}

impl Step {
    /// Does it on a string that is long enough, and answers; whether the string is another now.
    fn done(self, string: &mut [u8], reply: &mut Reply) -> bool {
        let Self { what, kind, offset, overflow } = self;
        let old = self.read(string);
        let (new, answers_old) = match what {
            What::Get => {
                reply.int(old);
                return false;
            }
            // An unsigned field takes a number for its bits: -1 is the largest there is.
            What::Set(number) if !kind.signed => (i128::from(number as u64), true),
            What::Set(number) => (number.into(), true),
            What::Add(number) => (i128::from(old) + i128::from(number), false),
        };
        let fitted = match what {
            What::Set(number) if kind.wraps_around(number) && overflow == Overflow::Saturate => {
                Some(kind.bounds().1 as u64)
            }
            _ => overflow.fit(new, kind),
        };
        let Some(bits) = fitted else {
            reply.null();
            return false;
        };
        bitwise::put_field(string, offset, kind.width, bits);
        let new = self.read(string);
        reply.int(if answers_old { old } else { new });
        new != old
    }

    fn read(self, string: &[u8]) -> i64 {
        self.kind.number(bitwise::field(string, self.offset, self.kind.width))
    }

    /// Bytes that a string has at least after it.
    fn len(self) -> u64 {
        (self.offset + u64::from(self.kind.width)).div_ceil(8)
    }
}

type Steps = SmallVec<[Step; 4]>;

fn steps(request: &Request) -> Result<Steps, Fail> {
    let (mut steps, mut overflow, mut at) = (Steps::new(), Overflow::Wrap, 2);
    while at < request.len() {
        let left = request.len() - at - 1;
        if request.is(at, "OVERFLOW") && left >= 1 {
            overflow = Overflow::read(request, at + 1).ok_or(BAD_OVERFLOW)?;
            at += 2;
            continue;
        }
        let takes = match () {
            () if request.is(at, "GET") => 2,
            () if request.is(at, "SET") || request.is(at, "INCRBY") => 3,
            () => return Err(SYNTAX),
        };
        if left < takes {
            return Err(SYNTAX);
        }
        let kind = Kind::read(request.arg(at + 1)).ok_or(BAD_TYPE)?;
        let offset = field_offset(request.arg(at + 2), kind)?;
        let number = || integer(request.arg(at + 3)).ok_or(NOT_AN_INTEGER);
        let what = match () {
            () if takes == 2 => What::Get,
            () if request.is(at, "SET") => What::Set(number()?),
            () => What::Add(number()?),
        };
        steps.push(Step { what, kind, offset, overflow });
        at += 1 + takes;
    }
    Ok(steps)
}

/// A place in bits, or behind a `#` in fields.
fn field_offset(text: &[u8], kind: Kind) -> Result<u64, Fail> {
    let [b'#', number @ ..] = text else { return bit_offset(text) };
    let offset = bit_offset(number)? * u64::from(kind.width);
    match offset <= u64::from(u32::MAX) {
        true => Ok(offset),
        false => Err(BAD_BIT_OFFSET),
    }
}

fn bitfield(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let steps = steps(request)?;
    let writes = steps.iter().filter(|step| !matches!(step.what, What::Get));
    let Some(len) = writes.map(|step| step.len()).max() else {
        return read_all(&steps, view, request, reply);
    };
    // The string grows for every field that is to be written, also when the number does not fit and is not.
    let key = request.arg(1);
    let (mut string, end) = to_change(view, key, len)?;
    let mut changed = string.len() < len as usize;
    string.resize(string.len().max(len as usize), 0);
    reply.array(steps.len());
    for step in steps {
        changed |= step.done(&mut string, reply);
    }
    // What is as it was is not written: EXEC of one who watches the key would notice.
    if changed { view.put_string(key, string, end) } else { Ok(()) }
}

fn bitfield_ro(view: &mut View<'_>, request: &Request, reply: &mut Reply) -> Result<(), Halt> {
    let steps = steps(request)?;
    match steps.iter().all(|step| matches!(step.what, What::Get)) {
        true => read_all(&steps, view, request, reply),
        false => Err(ONLY_GET.into()),
    }
}

fn read_all(
    steps: &[Step],
    view: &View<'_>,
    request: &Request,
    reply: &mut Reply,
) -> Result<(), Halt> {
    let string = view.string(request.arg(1))?.unwrap_or_default();
    reply.array(steps.len());
    for step in steps {
        reply.int(step.read(string));
    }
    Ok(())
}
