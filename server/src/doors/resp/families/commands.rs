//! `COMMAND`: what commands there are.

use super::super::{
    command::{Command, Flags, Group, Handler, Keys, OnSession},
    door::Door,
    fail::Done,
    reply::Reply,
    request::Request,
    session::Session,
    table,
};

/// The subcommands.
pub const SUBCOMMANDS: &[Command] = &[
    new("command|count", 2, count).about("2.8.13", "Answers how many commands there are"),
    new("command|docs", -2, docs).about("7.0.0", "Describes commands"),
    new("command|info", -2, info).about("2.8.13", "Answers arity, flags and keys of commands"),
    new("command|help", 2, help).about("5.0.0", "Tells of these subcommands"),
    new("command|list", -2, list).about("7.0.0", "Answers the names of the commands"),
];

const fn new(name: &'static str, arity: isize, handler: OnSession) -> Command {
    let flags = Flags::LOADING.and(Flags::STALE);
    Command::new(name, arity, flags, Group::Server, Handler::Session(handler))
}

/// `COMMAND` alone: all of them.
pub fn command(_: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    reply.array(table::commands().count());
    table::commands().for_each(|command| tell(command, reply));
    Ok(())
}

/// `HELP` of any command that has subcommands.
pub fn help(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    let Some(entry) = table::named(request.arg(0)) else { return Ok(()) };
    let upper = |name: &str| name.rsplit('|').next().unwrap_or(name).to_ascii_uppercase();
    let subcommands = entry.command.subcommands;
    reply.array(1 + 2 * subcommands.len());
    let name = upper(entry.command.name);
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for subcommand in subcommands {
        reply.simple(&upper(subcommand.name));
        reply.simple(&format!("    {}.", subcommand.summary));
    }
    Ok(())
}

fn count(_: &mut Session, _: &Door, _: &Request, reply: &mut Reply) -> Done {
    reply.int(table::commands().count() as i64);
    Ok(())
}

fn list(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    if request.len() > 2 {
        return Err(super::super::fail::SYNTAX);
    }
    reply.array(table::commands().count());
    table::commands().for_each(|command| reply.bulk(command.name));
    Ok(())
}

fn info(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    if request.len() == 2 {
        reply.array(table::commands().count());
        table::commands().for_each(|command| tell(command, reply));
        return Ok(());
    }
    reply.array(request.len() - 2);
    for name in request.args(2) {
        match named(name) {
            Some(command) => tell(command, reply),
            None => reply.null_array(),
        }
    }
    Ok(())
}

/// A command or, as `container|subcommand`, a subcommand.
fn named(name: &[u8]) -> Option<&'static Command> {
    let front = name.split(|byte| *byte == b'|').next()?;
    let command = table::named(front)?.command;
    if front.len() == name.len() {
        return Some(command);
    }
    command.subcommands.iter().find(|sub| name.eq_ignore_ascii_case(sub.name.as_bytes()))
}

fn tell(command: &Command, reply: &mut Reply) {
    reply.array(10);
    reply.bulk(command.name);
    reply.int(command.arity as i64);
    reply.set(command.flags.names().count());
    command.flags.names().for_each(|flag| reply.simple(flag));
    let (first, last, step) = match command.keys {
        Keys::Range { first, last, step } => (first as i64, last as i64, step as i64),
        Keys::None => (0, 0, 0),
    };
    reply.int(first);
    reply.int(last);
    reply.int(step);
    let categories = categories(command);
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(category));
    // Tips, and keys in the newer form.
    reply.array(0);
    reply.array(0);
    reply.array(command.subcommands.len());
    command.subcommands.iter().for_each(|sub| tell(sub, reply));
}

fn categories(command: &Command) -> Vec<&'static str> {
    let kind = match command.group {
        Group::Connection => "@connection",
        Group::Generic => "@keyspace",
        Group::String => "@string",
        Group::Bitmap => "@bitmap",
        Group::Transactions => "@transaction",
        Group::Server => "@admin",
    };
    let has = |flag| command.flags.has(flag);
    let mut all = vec![kind, if has(Flags::FAST) { "@fast" } else { "@slow" }];
    let more = [(Flags::WRITE, "@write"), (Flags::READONLY, "@read"), (Flags::ADMIN, "@dangerous")];
    all.extend(more.into_iter().filter(|(flag, _)| has(*flag)).map(|(_, name)| name));
    all
}

fn docs(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    let wanted: Vec<&Command> = match request.len() {
        2 => table::commands().collect(),
        _ => request.args(2).filter_map(named).collect(),
    };
    reply.map(wanted.len());
    wanted.into_iter().for_each(|command| describe(command, reply));
    Ok(())
}

fn describe(command: &Command, reply: &mut Reply) {
    reply.bulk(command.name);
    reply.map(if command.subcommands.is_empty() { 3 } else { 4 });
    reply.bulk("summary");
    reply.bulk(command.summary);
    reply.bulk("since");
    reply.bulk(command.since);
    reply.bulk("group");
    reply.bulk(command.group.name());
    if !command.subcommands.is_empty() {
        reply.bulk("subcommands");
        reply.map(command.subcommands.len());
        command.subcommands.iter().for_each(|sub| describe(sub, reply));
    }
}
