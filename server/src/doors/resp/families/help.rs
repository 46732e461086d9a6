//! `HELP` of commands that have subcommands: what the table says of them.

use super::super::{
    command::{Command, Flags, Group, Handler},
    door::Door,
    fail::Done,
    reply::Reply,
    request::Request,
    session::Session,
    table,
};

/// The row of `HELP`: `name` is `container|help`.
pub const fn row(name: &'static str, group: Group) -> Command {
    let flags = Flags::LOADING.and(Flags::STALE);
    Command::new(name, 2, flags, group, Handler::Session(help)).about("5.0.0", "Prints this help")
}

fn help(_: &mut Session, _: &Door, request: &Request, reply: &mut Reply) -> Done {
    let Some(entry) = table::named(request.arg(0)) else { return Ok(()) };
    let command = entry.command;
    reply.array(1 + 2 * command.subcommands.len());
    let name = command.name.to_ascii_uppercase();
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in command.subcommands {
        let name = sub.name.split_once('|').map_or(sub.name, |(_, name)| name);
        reply.simple(&name.to_ascii_uppercase());
        reply.simple(&format!("    {}.", sub.summary));
    }
    Ok(())
}
