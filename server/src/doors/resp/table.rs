//! The table of all commands: one slice per family, found by name.

use std::{collections::HashMap, sync::LazyLock};

use super::{command::Command, fail::Fail, families, request::Request};

/// The families in the order in which `COMMAND` lists them. A new family is a line here.
static FAMILIES: [&[Command]; 16] = [
    families::connection::COMMANDS,
    families::server::COMMANDS,
    families::node::COMMANDS,
    families::strings::COMMANDS,
    families::many::COMMANDS,
    families::numbers::COMMANDS,
    families::parts::COMMANDS,
    families::lcs::COMMANDS,
    families::bits::COMMANDS,
    families::bitfield::COMMANDS,
    families::keys::COMMANDS,
    families::expire::COMMANDS,
    families::scan::COMMANDS,
    families::dump::COMMANDS,
    families::object::COMMANDS,
    families::transactions::COMMANDS,
];

/// Longest name of a command.
const NAME_MAX: usize = 24;

/// A command and its number in the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The command.
    pub command: &'static Command,
    /// Its number, from 0, subcommands counted too: where its counters are.
    pub number: usize,
}

struct Table {
    by_name: HashMap<&'static [u8], Entry, Quick>,
    all: Vec<&'static Command>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { by_name: HashMap::default(), all: Vec::new() };
    for command in FAMILIES.into_iter().flatten() {
        let entry = Entry { command, number: table.all.len() };
        assert!(command.name.len() <= NAME_MAX, "{} is too long", command.name);
        let twice = table.by_name.insert(command.name.as_bytes(), entry);
        assert!(twice.is_none(), "{} is in the table twice", command.name);
        table.all.push(command);
        table.all.extend(command.subcommands);
    }
    table
});

/// Every command and subcommand, by number.
pub fn all() -> &'static [&'static Command] {
    &TABLE.all
}

/// Every command without subcommands.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    FAMILIES.into_iter().flatten()
}

/// The command of this name, in any case.
pub fn named(name: &[u8]) -> Option<Entry> {
    let mut lower = [0; NAME_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    TABLE.by_name.get(&*lower).copied()
}

/// The command or subcommand that a request asks for whose name is `named`'s, with as many arguments as it takes.
pub fn find(named: Option<Entry>, request: &Request) -> Result<Entry, Fail> {
    let Entry { command, number } = named.ok_or_else(|| unknown(request))?;
    let found = command.subcommand(request)?;
    if !found.takes(request.len()) {
        return Err(Fail::arity(found.name));
    }
    if std::ptr::eq(found, command) {
        return Ok(Entry { command, number });
    }
    let place = command.subcommands.iter().position(|sub| std::ptr::eq(sub, found));
    Ok(Entry { command: found, number: number + 1 + place.unwrap_or(0) })
}

/// Clients decide by these words whether a command exists.
fn unknown(request: &Request) -> Fail {
    const SHOWN: usize = 128;
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(Fail::shown(request.arg(0), SHOWN));
    text.extend_from_slice(b"', with args beginning with: ");
    let begin = text.len();
    for arg in request.args(1) {
        let shown = text.len() - begin;
        if shown >= SHOWN {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(Fail::shown(arg, SHOWN - shown));
        text.extend_from_slice(b"' ");
    }
    Fail::new(text)
}

/// Names are the table's own, so that nobody can choose them to collide.
#[derive(Clone, Copy, Default)]
struct Quick;

struct QuickHasher(u64);

impl std::hash::BuildHasher for Quick {
    type Hasher = QuickHasher;

    fn build_hasher(&self) -> QuickHasher {
        QuickHasher(0)
    }
}

impl std::hash::Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 =
                (self.0 ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::command::Handler, *};

    /// Every row can be found by its own name, whatever the case it is written in.
    #[test]
    fn every_command_is_found() {
        for command in commands() {
            let entry = named(command.name.to_ascii_uppercase().as_bytes()).unwrap();
            assert!(std::ptr::eq(entry.command, command));
            assert!(std::ptr::eq(all()[entry.number], command));
        }
    }

    /// People decide by the page what they can move here: it says what the table says, and nothing else.
    #[test]
    fn the_page_says_what_there_is() {
        let page = include_str!("../../../../docs/redis.md");
        let mut said = HashMap::new();
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let Some(answer) = cells.get(1).filter(|cell| ["yes", "partly", "no"].contains(*cell))
            else {
                continue;
            };
            for name in cells[0].split('`').skip(1).step_by(2) {
                let twice = said.insert(name.to_lowercase().replace(' ', "|"), *answer != "no");
                assert_eq!(twice, None, "{name} is on the page twice");
            }
        }
        let is_one = |command: &&&Command| !matches!(command.handler, Handler::Container);
        let here: HashSet<&str> = all().iter().filter(is_one).map(|command| command.name).collect();
        let page: HashSet<&str> =
            said.iter().filter(|(_, here)| **here).map(|(name, _)| &**name).collect();
        let not_said: Vec<_> = here.difference(&page).collect();
        let not_here: Vec<_> = page.difference(&here).collect();
        assert!(not_said.is_empty(), "not on the page: {not_said:?}");
        assert!(not_here.is_empty(), "only on the page: {not_here:?}");
    }
}
