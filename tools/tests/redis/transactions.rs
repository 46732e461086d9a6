//! Owns transactions told step by step: what a watched key survives and what it does not. Each line is a connection's number and a command;
//! every reply is compared.

use crate::{
    command::{Command, quoted},
    link::Link,
    server::{Server, redis_is_here},
};

const STORIES: &[&[&str]] = &[
    &["0 WATCH k", "1 SET k v", "0 MULTI", "0 GET k", "0 EXEC", "0 GET k"],
    &["0 WATCH k", "1 SET k v", "1 DEL k", "0 MULTI", "0 GET k", "0 EXEC"],
    &["0 SET k a", "0 DEL k", "0 WATCH k", "1 SET k v", "1 DEL k", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 DEL k", "0 WATCH k", "1 DEL k", "1 GET k", "0 MULTI", "0 EXEC"],
    &["0 WATCH k", "1 FLUSHDB", "0 MULTI", "0 EXEC"],
    &["0 WATCH k", "1 SET other v", "0 MULTI", "0 SET k mine", "0 EXEC", "1 GET k"],
    &["0 SET k a", "0 WATCH k", "1 DEL k", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 SET k a", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 FLUSHDB", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 FLUSHALL", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 EXPIRE k 1000", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 RENAME k l", "1 RENAME l k", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "0 SET k mine", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "0 UNWATCH", "1 SET k b", "0 MULTI", "0 EXEC"],
    &[
        "0 SET k a",
        "0 WATCH k",
        "1 SET k b",
        "0 DISCARD",
        "0 MULTI",
        "0 DISCARD",
        "0 MULTI",
        "0 EXEC",
    ],
    &["0 SET k a", "0 WATCH k", "1 SET k b", "0 SELECT 1", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 SELECT 1", "1 SET k b", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 GET k", "1 TOUCH k", "1 TTL k", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 DEL missing", "1 SETNX k b", "1 PERSIST k", "0 MULTI", "0 EXEC"],
    &["0 SET k a", "0 WATCH k", "1 SWAPDB 0 1", "0 MULTI", "0 GET k", "0 EXEC"],
    &["0 WATCH k", "1 SELECT 1", "1 SET k b", "1 SWAPDB 0 1", "0 MULTI", "0 GET k", "0 EXEC"],
    &["0 MULTI", "0 NOTHING", "0 SET k v", "0 EXEC", "0 GET k"],
    &["0 MULTI", "0 SET k", "0 SET k v", "0 EXEC", "0 GET k"],
    &["0 MULTI", "0 SET k text", "0 INCR k", "0 APPEND k more", "0 GET k", "0 EXEC"],
    &["0 MULTI", "0 SET k 1", "1 GET k", "0 INCR k", "1 GET k", "0 EXEC", "1 GET k"],
    &["0 MULTI", "0 SELECT 1", "0 SET k v", "0 EXEC", "0 GET k", "1 GET k", "0 DBSIZE"],
    &[
        "0 MULTI",
        "0 SET k v",
        "0 FLUSHDB",
        "0 DBSIZE",
        "0 SET l v",
        "0 DBSIZE",
        "0 KEYS *",
        "0 EXEC",
        "1 DBSIZE",
    ],
    &["0 MULTI", "0 SET k v", "0 SWAPDB 0 1", "0 GET k", "0 EXEC", "1 GET k"],
    &["0 MULTI", "0 SET k v PX 100000", "0 TTL missing", "0 PERSIST k", "0 TTL k", "0 EXEC"],
    &["0 MULTI", "0 EXEC surplus", "0 EXEC"],
    &["0 MULTI", "0 MULTI", "0 EXEC"],
    &["0 MULTI", "0 WATCH k", "0 EXEC"],
    &["0 EXEC", "0 DISCARD", "0 UNWATCH", "0 MULTI", "0 RESET", "0 EXEC"],
    &["0 MULTI", "0 MSET a 1 b 2", "0 RENAME a c", "0 COPY b d", "0 MGET a b c d", "0 EXEC"],
];

fn tell(story: &[&str], server: &Server) -> Result<Vec<Vec<u8>>, String> {
    let mut links: [Link; 2] = std::array::from_fn(|_| server.link());
    let lines = std::iter::once("0 FLUSHALL").chain(story.iter().copied());
    lines
        .map(|line| {
            let (who, text) = line.split_once(' ').expect("a number and a command");
            let link = &mut links[usize::from(who == "1")];
            let mut bytes = Vec::new();
            Command::words(text).encode(&mut bytes);
            link.send(&bytes, 0)?;
            Ok(link.answer()?.bytes)
        })
        .collect()
}

/// What a user loses if this fails: a transaction that goes through although it must not, or the other way round.
#[test]
fn cairn_runs_transactions_as_redis_does() {
    if !redis_is_here() {
        return;
    }
    let (redis, cairn) = (Server::redis(&[]), Server::cairn());
    let mut differences = String::new();
    for story in STORIES {
        let (expected, found) = (tell(story, &redis), tell(story, &cairn));
        if expected == found {
            continue;
        }
        differences += &format!("{story:?}\n");
        for replies in [expected, found] {
            let shown =
                replies.map(|all| all.iter().skip(1).map(|one| quoted(one)).collect::<Vec<_>>());
            differences += &format!("  {shown:?}\n");
        }
    }
    assert!(differences.is_empty(), "reference, then subject:\n{differences}");
}
