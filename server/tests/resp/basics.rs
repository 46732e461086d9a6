//! What every client does first, and what it must be able to rely on.

use crate::support::{TestNode, command};

/// The session of somebody who tries it out, the values there again after a restart.
#[test]
fn a_first_session_and_a_restart() {
    let mut node = TestNode::start();
    let mut client = node.client();
    assert_eq!(client.ask(&["PING"]), "+PONG\r\n");
    assert_eq!(client.ask(&["SET", "a", "1"]), "+OK\r\n");
    assert_eq!(client.ask(&["INCR", "a"]), ":2\r\n");
    assert_eq!(client.ask(&["SET", "", "empty"]), "+OK\r\n");
    assert_eq!(client.ask(&["MSET", "x", "1", "y", "2"]), "+OK\r\n");
    assert_eq!(client.ask(&["EXPIRE", "x", "100"]), ":1\r\n");
    assert_eq!(client.ask(&["SELECT", "7"]), "+OK\r\n");
    assert_eq!(client.ask(&["SET", "a", "seven"]), "+OK\r\n");
    node.restart();
    let mut client = node.client();
    assert_eq!(client.ask(&["GET", "a"]), "$1\r\n2\r\n");
    assert_eq!(client.ask(&["GET", ""]), "$5\r\nempty\r\n");
    assert_eq!(client.ask(&["MGET", "y", "no"]), "*2\r\n$1\r\n2\r\n$-1\r\n");
    assert!([":99\r\n", ":100\r\n"].contains(&&*client.ask(&["TTL", "x"])));
    assert_eq!(client.ask(&["DBSIZE"]), ":4\r\n");
    assert_eq!(client.ask(&["DEL", "a", "a", "no", "y"]), ":2\r\n");
    assert_eq!(client.ask(&["SELECT", "7"]), "+OK\r\n");
    assert_eq!(client.ask(&["GET", "a"]), "$5\r\nseven\r\n");
    assert_eq!(client.ask(&["FLUSHALL"]), "+OK\r\n");
    assert_eq!(client.ask(&["DBSIZE"]), ":0\r\n");
}

/// Answers come in the order of the questions, each with what those before it did, however they are cut into packets.
#[test]
fn a_pipeline_is_answered_in_order() {
    let node = TestNode::start();
    let (mut sent, mut expected) = (Vec::new(), String::new());
    for number in 1..=2000 {
        sent.extend(command(&["SET", "k", &number.to_string()]));
        sent.extend(command(&["INCR", "n"]));
        sent.extend(command(&["GET", "k"]));
        let text = number.to_string();
        expected += &format!("+OK\r\n:{number}\r\n${}\r\n{text}\r\n", text.len());
    }
    sent.extend(b"QUIT\r\n");
    expected += "+OK\r\n";
    for piece in [7, 1000, sent.len()] {
        let mut client = node.client();
        client.ask(&["DEL", "n"]);
        let mut writer = client.socket.try_clone().unwrap();
        let sent = sent.clone();
        let writing = std::thread::spawn(move || {
            for part in sent.chunks(piece) {
                std::io::Write::write_all(&mut writer, part).unwrap();
            }
        });
        writing.join().unwrap();
        assert_eq!(client.rest(), expected, "in pieces of {piece}");
    }
}

/// A password keeps everybody out who does not say it, with the bounds that Redis has for strangers.
#[test]
fn a_password_is_asked_for() {
    let node = TestNode::with(|config| {
        config.resp.password = Some(cairn_server::config::Secret::new("right"));
    });
    let mut client = node.client();
    assert!(client.ask(&["GET", "a"]).starts_with("-NOAUTH "));
    assert!(client.ask(&["HELLO", "3"]).starts_with("-NOAUTH "));
    assert!(client.ask(&["AUTH", "wrong"]).starts_with("-WRONGPASS "));
    assert!(client.ask(&["AUTH", "right2"]).starts_with("-WRONGPASS "));
    assert!(client.ask(&["AUTH", "nobody", "right"]).starts_with("-WRONGPASS "));
    assert_eq!(client.ask(&["AUTH", "right"]), "+OK\r\n");
    assert_eq!(client.ask(&["SET", "a", &"x".repeat(20_000)]), "+OK\r\n");
    assert!(node.client().ask(&["HELLO", "3", "AUTH", "default", "right"]).starts_with("%7\r\n"));
    let mut stranger = node.client();
    stranger.send(b"*1\r\n$16385\r\n");
    assert!(stranger.rest().starts_with("-ERR Protocol error: "));
    let mut stranger = node.client();
    stranger.send(b"*11\r\n");
    assert!(stranger.rest().starts_with("-ERR Protocol error: "));
}

/// A password is not to be found in the log of slow commands, which more people read than know it.
#[test]
fn the_slow_log_keeps_no_password() {
    let node = TestNode::with(|config| {
        config.resp.password = Some(cairn_server::config::Secret::new("right"));
    });
    let mut client = node.client();
    assert_eq!(client.ask(&["AUTH", "right"]), "+OK\r\n");
    assert_eq!(client.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]), "+OK\r\n");
    client.ask(&["AUTH", "right"]);
    client.ask(&["auth", "default", "right"]);
    client.ask(&["AUTH", "nobody", "wrong"]);
    client.ask(&["HELLO", "3", "AUTH", "default", "right"]);
    client.ask(&["hello", "2", "AUTH", "default", "wrong"]);
    client.ask(&["GET", "key"]);
    let log = client.ask(&["SLOWLOG", "GET", "-1"]);
    assert!(log.contains("GET") && log.contains("HELLO") && !log.contains("AUTH"), "{log}");
    assert!(!log.contains("right") && !log.contains("wrong"), "{log}");
}
