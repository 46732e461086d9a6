//! Owns the comparison of two replies to one command: equal bytes, or what the table of documented differences asks for.

use crate::{
    command::Command,
    link::Answer,
    rules::{How, rule_of},
    wire::Reply,
};

/// Compares what the reference and the subject answered to `command`. `queued` are the commands that an EXEC ran.
pub fn compare(
    command: &Command,
    queued: &[Command],
    expected: &Answer,
    found: &Answer,
) -> Result<(), String> {
    if expected.bytes == found.bytes && rule_of(command).is_none() {
        return Ok(());
    }
    replies(command, queued, &expected.reply, &found.reply)?;
    match rule_of(command) {
        None if expected.reply == found.reply => Err("the same reply in other bytes".into()),
        _ => Ok(()),
    }
}

fn replies(
    command: &Command,
    queued: &[Command],
    expected: &Reply,
    found: &Reply,
) -> Result<(), String> {
    if command.name() == "EXEC" {
        let (all, others) = (expected.members(), found.members());
        if all.len() == queued.len() && all.len() == others.len() && expected.kind() == found.kind()
        {
            for ((command, expected), found) in queued.iter().zip(all).zip(others) {
                replies(command, &[], expected, found)
                    .map_err(|difference| format!("{command}: {difference}"))?;
            }
            return Ok(());
        }
    }
    let rule = rule_of(command);
    if rule.is_some_and(|rule| rule.how == How::Newer) {
        let unknown = found.bytes().starts_with(b"ERR unknown");
        return if unknown { Err("Cairn does not know it".into()) } else { Ok(()) };
    }
    if expected == found {
        return Ok(());
    }
    let errors = [expected, found].iter().any(|reply| matches!(reply, Reply::Error(_)));
    match rule {
        Some(rule) if !errors => by_rule(rule.how, expected, found)
            .map_err(|difference| format!("{difference} (rule: {:?}, {})", rule.how, rule.why)),
        _ => Err("the replies differ".into()),
    }
}

fn by_rule(how: How, expected: &Reply, found: &Reply) -> Result<(), String> {
    if expected.kind() != found.kind() {
        return Err(format!("{} instead of {}", found.kind(), expected.kind()));
    }
    match (how, expected, found) {
        (How::Kind | How::Newer, ..) => Ok(()),
        (How::Near { apart, far }, Reply::Integer(a), Reply::Integer(b)) => {
            let near = (a - b).abs() <= apart && *a >= 0 && *b >= 0 || *a > far && *b > far;
            near.then_some(()).ok_or_else(|| format!("{b} is not near {a}"))
        }
        (How::AnyOrder, ..) => {
            let same = sorted(expected) == sorted(found);
            same.then_some(()).ok_or_else(|| "other members".into())
        }
        (How::Fields(own), ..) => fields(own, expected.members(), found.members()),
        (How::First(count), ..) => {
            let (all, others) = (expected.members(), found.members());
            if all.len() != others.len() {
                return Err(format!("{} members instead of {}", others.len(), all.len()));
            }
            all.iter().zip(others).try_for_each(|(a, b)| first(count, a, b))
        }
        _ => Err("the replies differ".into()),
    }
}

fn fields(own: &[&str], expected: &[Reply], found: &[Reply]) -> Result<(), String> {
    if expected.len() != found.len() {
        return Err("other fields".into());
    }
    for (a, b) in expected.chunks(2).zip(found.chunks(2)) {
        let name = String::from_utf8_lossy(a[0].bytes());
        let value = match own.contains(&&*name) {
            true => a[1].kind() == b[1].kind(),
            false => a[1] == b[1],
        };
        if a[0] != b[0] || !value {
            return Err(format!("field {name}"));
        }
    }
    Ok(())
}

fn first(count: usize, expected: &Reply, found: &Reply) -> Result<(), String> {
    let (all, others) = (expected.members(), found.members());
    for (n, one) in all.iter().take(count).enumerate() {
        let Some(other) = others.get(n) else { return Err(format!("no member {n}")) };
        let words = !one.members().is_empty();
        if one != other && !(words && sorted(one) == sorted(other)) {
            return Err(format!("member {n}: {other:?} instead of {one:?}"));
        }
    }
    Ok(())
}

/// The members in an order of their own; duplicates stay.
pub fn sorted(reply: &Reply) -> Vec<String> {
    let mut all: Vec<String> = reply.members().iter().map(|member| format!("{member:?}")).collect();
    all.sort_unstable();
    all
}
