//! `MULTI`, `EXEC`, `WATCH`: all or nothing, and nobody sees half.

use std::thread;

use crate::support::{Client, TestNode};

/// What is queued is done in order, sees what stands before it, and one that fails takes back only itself.
#[test]
fn exec_does_what_was_queued() {
    let node = TestNode::start();
    let mut client = node.client();
    assert_eq!(client.ask(&["MULTI"]), "+OK\r\n");
    let queued: [&[&str]; 6] = [
        &["SET", "a", "1"],
        &["INCR", "a"],
        &["MSET", "b", "5", "b", "6"],
        &["INCRBY", "a", "x"],
        &["MGET", "a", "b"],
        &["DBSIZE"],
    ];
    for words in queued {
        assert_eq!(client.ask(words), "+QUEUED\r\n");
    }
    let error = "-ERR value is not an integer or out of range\r\n";
    let expected = format!("*6\r\n+OK\r\n:2\r\n+OK\r\n{error}*2\r\n$1\r\n2\r\n$1\r\n6\r\n:2\r\n");
    assert_eq!(client.ask(&["EXEC"]), expected);
}

/// A command that cannot be queued spoils the transaction; what was queued before it must not be done.
#[test]
fn a_refused_command_discards_all() {
    let node = TestNode::start();
    let mut client = node.client();
    client.ask(&["MULTI"]);
    assert_eq!(client.ask(&["SET", "a", "1"]), "+QUEUED\r\n");
    assert!(client.ask(&["GET"]).starts_with("-ERR "));
    assert!(client.ask(&["EXEC"]).starts_with("-EXECABORT "));
    assert_eq!(client.ask(&["EXISTS", "a"]), ":0\r\n");
}

/// A watched key that changed, by whomever, has EXEC do nothing; one that was written and is back is changed all the same.
#[test]
fn a_watched_key_that_changed_stops_exec() {
    let node = TestNode::start();
    let (mut client, mut other) = (node.client(), node.client());
    let changes: [&[&str]; 4] =
        [&["SET", "w", "1"], &["SET", "w", "1"], &["EXPIRE", "w", "100"], &["DEL", "w"]];
    for change in changes {
        assert_eq!(client.ask(&["WATCH", "w", "v"]), "+OK\r\n");
        other.ask(change);
        client.ask(&["MULTI"]);
        client.ask(&["SET", "v", "1"]);
        assert_eq!(client.ask(&["EXEC"]), "*-1\r\n", "{change:?}");
    }
    client.ask(&["WATCH", "w"]);
    client.ask(&["MULTI"]);
    client.ask(&["SET", "v", "1"]);
    assert_eq!(client.ask(&["EXEC"]), "*1\r\n+OK\r\n");
}

/// Money goes from account to account in many connections, by WATCH and EXEC; nobody ever sees more or less of it.
#[test]
fn transfers_keep_the_sum() {
    const ACCOUNTS: usize = 4;
    let node = TestNode::with(|config| {
        config.namespaces[0].engine.durability = cairn_engine::model::Durability::Buffer;
    });
    let name = |account: usize| format!("account{account}");
    let mut client = node.client();
    for account in 0..ACCOUNTS {
        client.ask(&["SET", &name(account), "100"]);
    }
    thread::scope(|scope| {
        for worker in 0..4 {
            let mut client = node.client();
            scope.spawn(move || {
                let mut random = 0x9e37_79b9_u64 + worker;
                for _ in 0..300 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let from = (random >> 33) as usize % ACCOUNTS;
                    let to = (from + 1 + (random >> 40) as usize % (ACCOUNTS - 1)) % ACCOUNTS;
                    client.ask(&["WATCH", &name(from), &name(to)]);
                    let number =
                        |answer: String| -> i64 { answer.lines().nth(1).unwrap().parse().unwrap() };
                    let has = number(client.ask(&["GET", &name(from)]));
                    let gets = number(client.ask(&["GET", &name(to)]));
                    client.ask(&["MULTI"]);
                    client.ask(&["SET", &name(from), &(has - 1).to_string()]);
                    client.ask(&["SET", &name(to), &(gets + 1).to_string()]);
                    client.ask(&["EXEC"]);
                }
            });
        }
        let mut client = node.client();
        scope.spawn(move || {
            let names: Vec<String> = (0..ACCOUNTS).map(name).collect();
            let mut words = vec!["MGET"];
            words.extend(names.iter().map(|name| &**name));
            for _ in 0..500 {
                let answer = client.ask(&words);
                let sum: i64 =
                    answer.lines().skip(2).step_by(2).map(|n| n.parse::<i64>().unwrap()).sum();
                assert_eq!(sum, 100 * ACCOUNTS as i64, "{answer:?}");
            }
        });
    });
}

/// EXEC with arguments ends the transaction, so that what follows is not queued behind a client's mistake.
#[test]
fn a_refused_exec_ends_the_transaction() {
    let node = TestNode::start();
    let mut client = node.client();
    client.ask(&["MULTI"]);
    client.ask(&["SET", "a", "1"]);
    assert!(client.ask(&["EXEC", "now"]).starts_with("-EXECABORT "));
    assert_eq!(client.ask(&["GET", "a"]), "$-1\r\n");
}

/// A key that was not there when it was watched, and is not there again, was changed all the same: a lock that somebody took and gave back.
#[test]
fn a_watched_key_that_came_and_went_stops_exec() {
    let node = TestNode::start();
    let (mut client, mut other) = (node.client(), node.client());
    for _ in 0..2 {
        client.ask(&["WATCH", "lock"]);
        other.ask(&["SET", "lock", "mine"]);
        other.ask(&["DEL", "lock"]);
        client.ask(&["MULTI"]);
        assert_eq!(client.ask(&["EXEC"]), "*-1\r\n");
    }
    client.ask(&["WATCH", "lock"]);
    other.ask(&["DEL", "lock"]);
    client.ask(&["MULTI"]);
    assert_eq!(client.ask(&["EXEC"]), "*0\r\n");
}

/// Commands are run to learn which keys they need before they are run for good; the first must leave no trace in the second.
#[test]
fn what_commands_need_is_learnt_without_doing_it() {
    const KEYS: usize = 2000;
    let node = TestNode::start();
    let mut client = node.client();
    client.ask(&["MSET", "a", "1", "far", "x"]);
    client.ask(&["MULTI"]);
    let mut expected = format!("*{}\r\n", KEYS + 9);
    let mut queue = |words: &[&str], answer: &str| {
        assert_eq!(client.ask(words), "+QUEUED\r\n");
        expected += answer;
    };
    for key in 0..KEYS {
        queue(&["INCRBY", &format!("n{key}"), "7"], ":7\r\n");
    }
    queue(&["APPEND", "a", "2"], ":2\r\n");
    queue(&["RENAME", "a", "b"], "+OK\r\n");
    queue(&["INCR", "b"], ":13\r\n");
    queue(&["RENAMENX", "b", "a"], ":1\r\n");
    queue(&["EXISTS", "a", "b", "n0"], ":2\r\n");
    queue(&["MSETNX", "b", "1", "far", "1"], ":0\r\n");
    queue(&["SELECT", "1"], "+OK\r\n");
    queue(&["EXISTS", "a", "far"], ":0\r\n");
    queue(&["GET", "a"], "$-1\r\n");
    assert_eq!(client.ask(&["EXEC"]), expected);
    client.ask(&["SELECT", "0"]);
    assert_eq!(client.ask(&["MGET", "a", "b", "n1999"]), "*3\r\n$2\r\n13\r\n$-1\r\n$1\r\n7\r\n");
}

/// What `EXEC` answers when these commands stand between it and MULTI.
fn transaction(client: &mut Client, queued: &[&[&str]]) -> String {
    assert_eq!(client.ask(&["MULTI"]), "+OK\r\n");
    for words in queued {
        assert_eq!(client.ask(words), "+QUEUED\r\n");
    }
    client.ask(&["EXEC"])
}

/// An error that answers the whole of EXEC would have the client do again what was applied already: it stands at the places that failed.
#[test]
fn a_part_that_fails_takes_nothing_back() {
    let node = TestNode::start();
    let mut client = node.client();
    // Two of them do not fit one write block.
    let big = "x".repeat(700 << 10);
    let queued: [&[&str]; 6] = [
        &["SET", "first", "1"],
        &["DBSIZE"],
        &["SET", "a", &big],
        &["SET", "b", &big],
        &["DBSIZE"],
        &["INCR", "first"],
    ];
    let answer = transaction(&mut client, &queued);
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines.len(), 7, "{answer}");
    assert_eq!(lines[..3], ["*6", "+OK", ":1"]);
    assert!(lines[3].starts_with("-ERR ") && lines[4].starts_with("-ERR "), "{answer}");
    assert_eq!(lines[5..], [":1", ":2"]);
    assert_eq!(client.ask(&["EXISTS", "a", "b"]), ":0\r\n");
    let answer = transaction(&mut client, &queued[2..4]);
    assert!(answer.starts_with("-ERR "), "{answer}");
}

/// A transaction that did nothing has not moved the connection elsewhere either: what follows would go to the wrong database.
#[test]
fn an_exec_that_fails_leaves_the_connection_as_it_was() {
    let node = TestNode::start();
    let mut client = node.client();
    let big = "x".repeat(700 << 10);
    let queued: [&[&str]; 5] = [
        &["SELECT", "3"],
        &["HELLO", "3"],
        &["CLIENT", "REPLY", "OFF"],
        &["SET", "a", &big],
        &["SET", "b", &big],
    ];
    assert!(transaction(&mut client, &queued).starts_with("-ERR "));
    assert_eq!(client.ask(&["SET", "where", "here"]), "+OK\r\n");
    assert_eq!(client.ask(&["GET", "nothing"]), "$-1\r\n");
    client.ask(&["SELECT", "3"]);
    assert_eq!(client.ask(&["EXISTS", "where"]), ":0\r\n");
}

/// What cannot be taken back is done once, however often the keys beside it must be looked at.
#[test]
fn an_effect_of_exec_comes_once() {
    let node = TestNode::start();
    let (mut client, mut victim) = (node.client(), node.client());
    let id = victim.ask(&["CLIENT", "ID"]).trim().trim_start_matches(':').to_owned();
    // INCR has to look at its key, and so runs twice.
    let queued: [&[&str]; 3] = [&["INCR", "a"], &["CLIENT", "KILL", "ID", &id], &["INCR", "b"]];
    assert_eq!(transaction(&mut client, &queued), "*3\r\n:1\r\n:1\r\n:1\r\n");
    assert_eq!(victim.until_closed(), "");
}
