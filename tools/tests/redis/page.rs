//! Owns the question whether the documentation's table of commands is whole: it names every command that Redis has.

use std::collections::HashSet;

use crate::{
    command::Command,
    link::Link,
    server::{Server, redis_is_here},
};

/// A user who looks for a command on the page must find what becomes of it.
#[test]
fn the_page_names_every_command_of_redis() {
    if !redis_is_here() {
        return;
    }
    let page = include_str!("../../../docs/redis.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let named: HashSet<String> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .map(|name| name.to_lowercase().replace(' ', "|"))
        .collect();
    let redis = Server::redis(&[]);
    let mut link = Link::open(redis.port()).expect("redis-server listens");
    let mut question = Vec::new();
    Command::words("COMMAND LIST").encode(&mut question);
    link.send(&question, 0).unwrap();
    let reply = link.answer().unwrap().reply;
    let all: HashSet<String> = reply
        .members()
        .iter()
        .map(|name| String::from_utf8_lossy(name.bytes()).into_owned())
        .collect();
    let is_container = |name: &str| all.iter().any(|other| other.starts_with(&format!("{name}|")));
    let mut missing: Vec<_> =
        all.iter().filter(|name| !named.contains(*name) && !is_container(name)).collect();
    missing.sort_unstable();
    assert!(all.len() > 300 && missing.is_empty(), "not on the page: {missing:?}");
}
