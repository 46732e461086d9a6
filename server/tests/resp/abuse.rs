//! Clients that mean ill or work badly: they cost bounded memory and disturb nobody.

use std::{io::Write, time::Duration};

use crate::support::{TestNode, command};

/// What cannot be a request is answered with an error and the end of that connection, and of no other.
#[test]
fn nonsense_ends_its_own_connection_only() {
    let node = TestNode::start();
    let mut other = node.client();
    let nonsense: [Vec<u8>; 6] = [
        b"*1\r\n$2147483648\r\n".to_vec(),
        b"*2147483648\r\n".to_vec(),
        b"*1\r\n".repeat(10_000),
        b"GET \"a\r\n".to_vec(),
        vec![b'x'; 100_000],
        b"*2\r\n$3\r\nGET\r\n$-5\r\n".to_vec(),
    ];
    for bytes in nonsense {
        let mut client = node.client();
        // The node may close before it has read all of it.
        let _ = client.socket.write_all(&bytes);
        let told = client.until_closed();
        assert!(told.starts_with("-ERR Protocol error: "), "{told:?}");
        assert_eq!(told.matches("\r\n").count(), 1, "{told:?}");
        assert_eq!(other.ask(&["PING"]), "+PONG\r\n");
    }
}

/// More than a command may read, or a transaction answer, is refused before memory is full of it.
#[test]
fn one_command_cannot_ask_for_everything() {
    let node = TestNode::start();
    let mut client = node.client();
    let value = "x".repeat(900_000);
    let names: Vec<String> = (0..80).map(|number| format!("key{number}")).collect();
    for name in &names {
        assert_eq!(client.ask(&["SET", name, &value]), "+OK\r\n");
    }
    let mut all = vec!["MGET"];
    all.extend(names.iter().map(|name| &**name));
    assert!(client.ask(&all).starts_with("-ERR "));
    client.ask(&["MULTI"]);
    for _ in 0..80 {
        client.ask(&["GET", "key0"]);
    }
    assert!(client.ask(&["EXEC"]).starts_with("-ERR "));
    assert!(client.ask(&["GET", "key0"]).len() > 900_000);
}

/// An answer that would be longer than may be is an error, not a full memory, whatever it is made of; the connection goes on.
#[test]
fn no_answer_is_without_end() {
    let node = TestNode::start();
    let mut client = node.client();
    assert_eq!(client.ask(&["SET", "k", &"x".repeat(900_000)]), "+OK\r\n");
    let mut many = vec!["MGET"];
    many.extend(["k"; 2000]);
    assert!(client.ask(&many).starts_with("-ERR "));
    client.ask(&["MULTI"]);
    client.ask(&["SET", "a", "1"]);
    client.ask(&many);
    assert!(client.ask(&["EXEC"]).starts_with("-ERR "));
    assert_eq!(client.ask(&["EXISTS", "a"]), ":0\r\n");
    // One of the session, which is never looked up: its answers are about 300 bytes each.
    let mut many = vec!["COMMAND", "INFO"];
    many.resize(250_000, "client");
    assert!(client.ask(&many).starts_with("-ERR "));
    assert_eq!(client.ask(&["PING"]), "+PONG\r\n");
}

/// More keys than can be seen at one instant are refused before the node looks at any, in a transaction too; a key that is named often is
/// looked at once, and counts once in what a command may hold.
#[test]
fn many_keys_are_refused_and_the_same_key_is_one() {
    let node = TestNode::start();
    let mut client = node.client();
    let names: Vec<String> = (0..65_537).map(|number| format!("{number}")).collect();
    let mut many = vec!["EXISTS"];
    many.extend(names.iter().map(|name| &**name));
    assert!(client.ask(&many).starts_with("-ERR "));
    client.ask(&["MULTI"]);
    client.ask(&["SET", "a", "1"]);
    assert_eq!(client.ask(&many), "+QUEUED\r\n");
    assert!(client.ask(&["EXEC"]).starts_with("-ERR "));
    assert_eq!(client.ask(&["EXISTS", "a"]), ":0\r\n");
    many.pop();
    assert_eq!(client.ask(&many), ":0\r\n");
    assert_eq!(client.ask(&["SET", "0", &"x".repeat(900_000)]), "+OK\r\n");
    assert_eq!(client.ask(&[&["EXISTS"], &["0"; 100_000][..]].concat()), ":100000\r\n");
    // Seen a hundred times, this value would be more than a command may hold.
    let others: Vec<&str> = [&["BITOP", "AND", "and"], &["0"; 100][..]].concat();
    assert_eq!(client.ask(&others), ":900000\r\n");
}

/// A pattern that would hold up a worker at every key is refused; one that is as long as may be is tried.
#[test]
fn long_patterns_are_refused() {
    let node = TestNode::start();
    let mut client = node.client();
    client.ask(&["SET", "aaa", "1"]);
    let (fits, long) = (format!("[{}]*", "a".repeat(4093)), format!("[{}]*", "a".repeat(4094)));
    assert_eq!(client.ask(&["KEYS", &fits]), "*1\r\n$3\r\naaa\r\n");
    let answer = client.ask(&["SCAN", "0", "MATCH", &fits]);
    assert_eq!(answer, "*2\r\n$1\r\n0\r\n*1\r\n$3\r\naaa\r\n");
    let refused: [&[&str]; 4] = [
        &["KEYS", &long],
        &["SCAN", "0", "MATCH", &long],
        &["CONFIG", "GET", &long],
        &["CONFIG", "GET", &fits, "x"],
    ];
    for words in refused {
        assert!(client.ask(words).starts_with("-ERR "), "{}", words[0]);
    }
}

/// A client that sends its command byte by byte is served like any other, and the others meanwhile.
#[test]
fn a_slow_client_disturbs_nobody() {
    let node = TestNode::start();
    let (mut slow, mut other) = (node.client(), node.client());
    for byte in command(&["SET", "a", "slow"]) {
        slow.send(&[byte]);
        assert_eq!(other.ask(&["PING"]), "+PONG\r\n");
    }
    assert_eq!(slow.answer(), "+OK\r\n");
}

/// More clients than may be are told so; when one leaves, the next is served.
#[test]
fn too_many_clients_are_sent_away() {
    let node = TestNode::with(|config| config.resp.max_connections = 2);
    let (mut first, mut second) = (node.client(), node.client());
    assert_eq!(first.ask(&["PING"]), "+PONG\r\n");
    assert_eq!(second.ask(&["PING"]), "+PONG\r\n");
    assert!(node.client().until_closed().starts_with("-ERR max number of clients"));
    assert_eq!(first.ask(&["QUIT"]), "+OK\r\n");
    assert_eq!(first.until_closed(), "");
    // Its place is free once the node has seen it go.
    let served = (0..1000).any(|_| {
        let mut client = node.client();
        client.send(b"PING\r\n");
        client.until_answered().is_some_and(|answer| answer == "+PONG\r\n")
    });
    assert!(served);
}

/// A silent connection is closed after the idle timeout, one that speaks is not.
#[test]
fn idle_connections_are_closed() {
    let node = TestNode::with(|config| config.resp.idle_timeout = Duration::from_secs(1));
    let idle = node.client();
    let mut busy = node.client();
    let until = std::time::Instant::now() + Duration::from_secs(4);
    while std::time::Instant::now() < until {
        assert_eq!(busy.ask(&["PING"]), "+PONG\r\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(idle.until_closed(), "");
}

/// A browser that a web page has sent here is not listened to: a line of its request could be a command.
#[test]
fn browsers_are_hung_up_on() {
    let node = TestNode::start();
    for method in ["POST", "GET"] {
        let mut browser = node.client();
        let request = format!("{method} / HTTP/1.1\r\nHost: localhost:6379\r\n\r\nSET a 1\r\n");
        browser.send(request.as_bytes());
        assert_eq!(browser.until_closed(), "");
    }
    assert_eq!(node.client().ask(&["EXISTS", "a"]), ":0\r\n");
}
