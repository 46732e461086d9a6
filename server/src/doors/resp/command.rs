//! What a command is: one row of the table.

use futures::future::BoxFuture;
use smallvec::SmallVec;

use super::{
    door::Door,
    fail::{Done, Fail},
    reply::Reply,
    request::Request,
    session::Session,
    view::{Halt, View},
};

/// A command on keys: reads and stages through the view, and answers. It may be run several times, from the start, until it has seen
/// all it asks for and nobody changed it meanwhile: so it must do nothing but what view and reply undo.
pub type OnKeys = fn(&mut View<'_>, &Request, &mut Reply) -> Result<(), Halt>;
/// What a command answers that only reads the string of its one key; `None` for no key.
pub type OnString = fn(Option<&[u8]>, &mut Reply);
/// A command on the connection alone. Done at its turn, without waiting.
pub type OnSession = fn(&mut Session, &Door, &Request, &mut Reply) -> Done;
/// A command that cannot be staged, or that waits: nothing else of its connection runs meanwhile.
pub type Alone =
    for<'a> fn(&'a mut Session, &'a Door, &'a Request, &'a mut Reply) -> BoxFuture<'a, Done>;

/// How a command is done.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// On keys, through a [`View`]: atomic, also together with others in `EXEC`.
    Keys(OnKeys),
    /// On the connection alone.
    Session(OnSession),
    /// By itself: in `EXEC` it is done at its place, and what stands before it is applied first.
    Alone(Alone),
    /// `EXEC`, which the runner does itself.
    Exec,
    /// Only its subcommands are commands.
    Container,
}

/// What a command is in its plain form: the same as its [`OnKeys`] does, where nothing stands in the way.
#[derive(Clone, Copy, Debug)]
pub enum Plain {
    /// Reads the string of its key, its only argument.
    Read(OnString),
    /// Puts its second argument, as a string that never ends, in the place of whatever its first one, the key, holds. Answers `OK`.
    Replace,
}

impl Plain {
    /// How many arguments it has then, its name included.
    pub fn arguments(self) -> usize {
        match self {
            Self::Read(_) => 2,
            Self::Replace => 3,
        }
    }

    /// Whether both read, or both write.
    pub fn is_like(self, other: Self) -> bool {
        matches!((self, other), (Self::Read(_), Self::Read(_)) | (Self::Replace, Self::Replace))
    }
}

/// Which arguments are keys.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// None.
    None,
    /// From argument `first` to `last` (negative: counted from the end, -1 the last), every `step`th.
    Range {
        /// The first key's argument; 0 is the command's name.
        first: usize,
        /// The last key's.
        last: isize,
        /// From one to the next.
        step: usize,
    },
}

/// Arguments that are keys.
pub type Places = SmallVec<[usize; 4]>;

impl Keys {
    /// The one key of most commands.
    pub const FIRST: Self = Self::Range { first: 1, last: 1, step: 1 };
    /// Every argument.
    pub const ALL: Self = Self::Range { first: 1, last: -1, step: 1 };

    /// Whether it is one key whatever the arguments.
    pub fn is_one(&self) -> bool {
        matches!(self, Self::Range { first, last, .. } if *last == *first as isize)
    }

    /// The arguments of `request` that are keys.
    pub fn of(&self, request: &Request) -> Places {
        match self {
            Self::None => Places::new(),
            Self::Range { first, last, step } => {
                let count = request.len() as isize;
                let last = if *last < 0 { count + last } else { *last };
                let last = last.min(count - 1);
                (*first as isize..=last).step_by(*step).map(|at| at as usize).collect()
            }
        }
    }
}

/// What is said of commands besides: a set of the constants below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// May change data.
    pub const WRITE: Self = Self(1);
    /// Only reads data.
    pub const READONLY: Self = Self(1 << 1);
    /// May need room.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For administrators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Not for scripts.
    pub const NOSCRIPT: Self = Self(1 << 4);
    /// Done also while data is loaded.
    pub const LOADING: Self = Self(1 << 5);
    /// Done also on old data.
    pub const STALE: Self = Self(1 << 6);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 7);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// Not allowed in MULTI.
    pub const NO_MULTI: Self = Self(1 << 9);
    /// Its keys are looked at all at once before it is run; for commands that read several.
    pub const PREFETCH: Self = Self(1 << 10);
    /// Only asks whether its keys are there: their values are not kept.
    pub const KEYS_ONLY: Self = Self(1 << 13);
    /// In MULTI it is done, not queued.
    pub const NOT_QUEUED: Self = Self(1 << 11);
    /// May wait for something.
    pub const BLOCKING: Self = Self(1 << 12);
    /// Has an effect beyond its connection that is not taken back: in `EXEC` it is done by itself at its place, and once.
    pub const ONCE: Self = Self(1 << 14);

    /// Mostly writes its key without a look at what is there.
    pub const BLIND: Self = Self(1 << 15);

    const NAMES: [(Self, &str); 11] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::NO_MULTI, "no_multi"),
    ];

    /// These and those.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As `COMMAND INFO` names them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// The families, as `COMMAND DOCS` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Of the connection.
    Connection,
    /// Of the node.
    Server,
    /// Strings.
    String,
    /// Bits of strings.
    Bitmap,
    /// Keys of any kind.
    Generic,
    /// `MULTI` and its like.
    Transactions,
}

impl Group {
    /// The name that `COMMAND DOCS` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Server => "server",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::Generic => "generic",
            Self::Transactions => "transactions",
        }
    }
}

/// A command: one row of the table.
#[derive(Debug)]
pub struct Command {
    /// Its name in lower case; of a subcommand with the container's in front: `client|id`.
    pub name: &'static str,
    /// How many arguments it takes, its name included; negative: at least so many.
    pub arity: isize,
    /// What else is said of it.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: Keys,
    /// Its family.
    pub group: Group,
    /// What it does.
    pub handler: Handler,
    /// What it is in its plain form, if it has one.
    pub plain: Option<Plain>,
    /// What it is for, in one sentence.
    pub summary: &'static str,
    /// The version of Redis that had it first.
    pub since: &'static str,
    /// Its subcommands.
    pub subcommands: &'static [Command],
}

impl Command {
    /// A command on one key, its first argument.
    pub const fn on_key(
        name: &'static str,
        arity: isize,
        flags: Flags,
        group: Group,
        handler: OnKeys,
    ) -> Self {
        Self::new(name, arity, flags, group, Handler::Keys(handler)).keys(Keys::FIRST)
    }

    /// A command without keys.
    pub const fn new(
        name: &'static str,
        arity: isize,
        flags: Flags,
        group: Group,
        handler: Handler,
    ) -> Self {
        Self {
            name,
            arity,
            flags,
            keys: Keys::None,
            group,
            handler,
            plain: None,
            summary: "",
            since: "1.0.0",
            subcommands: &[],
        }
    }

    /// The same with these keys.
    pub const fn keys(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    /// The same with a plain form.
    pub const fn plainly(self, plain: Plain) -> Self {
        Self { plain: Some(plain), ..self }
    }

    /// The same with these words about it.
    pub const fn about(self, since: &'static str, summary: &'static str) -> Self {
        Self { since, summary, ..self }
    }

    /// A command that only has subcommands.
    pub const fn container(
        name: &'static str,
        group: Group,
        subcommands: &'static [Command],
    ) -> Self {
        Self { subcommands, ..Self::new(name, -2, Flags::NONE, group, Handler::Container) }
    }

    /// Whether it may change data.
    pub fn writes(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }

    /// Whether it takes so many arguments.
    pub fn takes(&self, arguments: usize) -> bool {
        let arguments = arguments as isize;
        match self.arity {
            least if least < 0 => arguments >= -least,
            exactly => arguments == exactly,
        }
    }

    /// The subcommand that a request names, if this command has some.
    pub fn subcommand(&self, request: &Request) -> Result<&Self, Fail> {
        if self.subcommands.is_empty() || request.len() < 2 {
            return Ok(self);
        }
        let named = |sub: &&Self| {
            let name = sub.name.split_once('|').map_or(sub.name, |(_, name)| name);
            request.arg(1).eq_ignore_ascii_case(name.as_bytes())
        };
        self.subcommands.iter().find(named).ok_or_else(|| {
            let mut text = b"ERR unknown subcommand '".to_vec();
            text.extend_from_slice(Fail::shown(request.arg(1), 128));
            text.extend_from_slice(b"'. Try ");
            text.extend_from_slice(self.name.to_ascii_uppercase().as_bytes());
            text.extend_from_slice(b" HELP.");
            Fail::new(text)
        })
    }
}
