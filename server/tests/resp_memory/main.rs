//! What clients of the Redis door may cost in memory, measured on this process: one test at a time.

#[path = "../resp/support.rs"]
#[allow(dead_code)]
mod support;

use std::{io::Write, net::TcpStream, sync::Mutex, time::Duration};

use support::{Client, TestNode, command};

/// Held by the test that measures. One that failed has measured to its end.
static ALONE: Mutex<()> = Mutex::new(());

/// Resident memory of this process, which the node is part of, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

/// A request that promises much and sends little costs what it has sent.
#[test]
fn a_promise_costs_nothing() {
    let _alone = ALONE.lock();
    let node = TestNode::start();
    let before = resident();
    let promising: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = node.client();
            client.send(b"*2\r\n$4\r\nECHO\r\n$16000000\r\nx");
            client
        })
        .collect();
    assert_eq!(node.client().ask(&["PING"]), "+PONG\r\n");
    assert!(resident() - before < 64 << 20, "{} bytes", resident() - before);
    drop(promising);
}

/// A client that asks for much and reads nothing is not answered for ever: the node stops reading it, and serves the others.
#[test]
fn a_client_that_never_reads_is_held_up() {
    let _alone = ALONE.lock();
    let node = TestNode::start();
    let mut other = node.client();
    assert_eq!(other.ask(&["SET", "big", &"x".repeat(100_000)]), "+OK\r\n");
    let before = resident();
    let deaf = node.client();
    deaf.socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let gets = command(&["GET", "big"]).repeat(1000);
    // More than all the buffers of the kernel take, and terabytes of answers.
    let stuck = (0..20_000).any(|_| (&deaf.socket).write_all(&gets).is_err());
    assert!(stuck, "the node took every command although no answer was read");
    assert_eq!(other.ask(&["PING"]), "+PONG\r\n");
    assert!(resident() - before < 100 << 20, "{} bytes", resident() - before);
}

/// An idle connection costs no more than its share of what ten thousand may.
#[test]
fn idle_connections_are_cheap() {
    let _alone = ALONE.lock();
    let node = TestNode::start();
    let mut warm: Vec<Client> = (0..100).map(|_| node.client()).collect();
    warm.iter_mut().for_each(|client| assert_eq!(client.ask(&["PING"]), "+PONG\r\n"));
    let before = resident();
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..400 {
        let mut client = node.client();
        assert_eq!(client.ask(&["SET", "a", "b"]), "+OK\r\n");
        idle.push(client.socket);
    }
    let each = resident().saturating_sub(before) / idle.len() as u64;
    assert!(each < 20_000, "{each} bytes each");
}
