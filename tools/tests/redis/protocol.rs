//! Owns what no client sends: input that breaks the protocol, or that only a person at a terminal types. After each the server is asked to
//! end the connection; everything it sent until then is compared. What is left out on purpose is in `rules::AVOIDED`.

use crate::{
    command::quoted,
    server::{Server, redis_is_here},
};

fn inputs() -> Vec<Vec<u8>> {
    let short: &[&str] = &[
        "PING\r\n",
        "ping\n",
        "\r\n",
        "\n\n\r\nPING\r\n",
        "  PING  hello \r\n",
        "\tPING\tx\r\n",
        "ECHO \"a\\x41\\n\\\"b\"\r\n",
        "ECHO 'it\\'s'\r\n",
        "ECHO 'a\\x41'\r\n",
        "ECHO \"open\r\n",
        "ECHO 'open\r\n",
        "ECHO \"a\"b\r\n",
        "ECHO \"\"\r\n",
        "ECHO \"\\q\\xZZ\\x4\"\r\n",
        "ECHO a\\x41\r\n",
        "ECHO \r\n",
        "ECHO \"\\a\\b\\t\"\r\n",
        "\"\" x\r\n",
        "SET k\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*-5\r\n",
        "*abc\r\n",
        "*\r\n",
        "*1\n$4\r\nPING\r\n",
        "*01\r\n$4\r\nPING\r\n",
        "*+1\r\n$4\r\nPING\r\n",
        "*2147483648\r\n",
        "*99999999999999999999\r\n",
        "*1 \r\n",
        "*1\r\n:5\r\n",
        "*1\r\n+PING\r\n",
        "*1\r\n*1\r\n$4\r\nPING\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$abc\r\n",
        "*1\r\n$\r\n",
        "*1\r\n$9999999999\r\n",
        "*1\r\n$99999999999999999999\r\n",
        "*1\r\n\r\n",
        "*1\r\nPING\r\n",
        "*1\r\n$4\r\nPINGxx",
        "*1\r\n$0\r\n\r\n",
        "$4\r\nPING\r\n",
        "+OK\r\n",
        ":1\r\n",
        "-ERR\r\n",
        "_\r\n",
        "#t\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\n\r\n",
        "host: x\r\n",
        "*2\r\n$4\r\nECHO\r\n$3\r\nabcxy*1\r\n$4\r\nPING\r\n",
        "*1\r\n$04\r\nPING\r\n",
        "*1\r\n$4 \r\nPING\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-1\r\n",
        "QUIT\r\nPING\r\n",
        "QUIT now\r\n",
        "*2\r\n$4\r\nQUIT\r\n$1\r\nx\r\n",
        "MULTI\r\nQUIT\r\n",
        "HELLO 3\r\n*1\r\n:5\r\n",
        "MULTI\r\nECHO 'open\r\n",
        "CLIENT REPLY OFF\r\nPING\r\n*1\r\n:5\r\n",
        "*4\r\n$4\r\nMSET\r\n$1\r\na\r\n",
    ];
    let mut all: Vec<Vec<u8>> = short.iter().map(|text| text.as_bytes().to_vec()).collect();
    // Lines that have no end.
    for first in [&b"x"[..], b"*1", b"*1\r\n$1", b"ECHO "] {
        all.push([first, &[b'1'; 70_000]].concat());
    }
    all
}

fn answer(server: &Server, input: &[u8], cut: usize) -> Result<Vec<u8>, String> {
    let mut link = server.link();
    let mut bytes = input.to_vec();
    if input.ends_with(b"\n") {
        bytes.extend_from_slice(b"*1\r\n$4\r\nQUIT\r\n");
    }
    // The server may have closed before it read everything: what it answered is what counts.
    let _ = link.send(&bytes, cut);
    link.rest()
}

/// What a stranger sends to a server that asks for the password `secret`.
fn inputs_of_strangers() -> Vec<Vec<u8>> {
    let short: &[&str] = &[
        "PING\r\n",
        "GET k\r\n",
        "NOTHING\r\n",
        "GET\r\n",
        "MULTI\r\n",
        "EXEC\r\n",
        "SELECT 1\r\n",
        "COMMAND\r\n",
        "INFO\r\n",
        "AUTH\r\n",
        "AUTH wrong\r\nPING\r\n",
        "AUTH secret\r\nPING\r\n",
        "AUTH default secret\r\nGET k\r\n",
        "AUTH nobody secret\r\n",
        "AUTH default wrong\r\n",
        "AUTH a b c\r\n",
        "AUTH \"\"\r\n",
        "AUTH secret\r\nAUTH wrong\r\nPING\r\n",
        "AUTH secret\r\nRESET\r\nPING\r\n",
        "HELLO\r\n",
        "HELLO 2\r\n",
        "HELLO 3\r\n",
        "HELLO 4\r\n",
        "HELLO x\r\n",
        "HELLO 3 AUTH default wrong\r\nPING\r\n",
        "HELLO 3 AUTH default secret\r\nGET k\r\n",
        "HELLO 3 SETNAME x\r\n",
        "HELLO 3 AUTH default\r\n",
        "HELLO 3 SETNAME x AUTH nobody x\r\n",
        "RESET\r\nPING\r\n",
        "QUIT\r\n",
        "CLIENT SETNAME x\r\n",
        "CLIENT NONE\r\n",
        "ECHO x\r\n",
        "WATCH k\r\n",
        "*1048576\r\n",
        "*11\r\n$4\r\nMGET\r\n",
        "*10\r\n",
        "*2\r\n$4\r\nECHO\r\n$16385\r\n",
        "*2\r\n$4\r\nECHO\r\n$-1\r\n",
        "AUTH secret\r\n*11\r\n$4\r\nMGET\r\n",
    ];
    let mut all: Vec<Vec<u8>> = short.iter().map(|text| text.as_bytes().to_vec()).collect();
    let longest = [b"*2\r\n$4\r\nECHO\r\n$16384\r\n".as_slice(), &[b'x'; 16384], b"\r\n"].concat();
    all.push(longest.clone());
    all.push([b"AUTH secret\r\n".as_slice(), &longest.repeat(3)].concat());
    all
}

fn compare(redis: &Server, cairn: &Server, inputs: Vec<Vec<u8>>) -> String {
    let mut differences = String::new();
    for input in inputs {
        for cut in [0, 1, input.len() / 2] {
            let (expected, found) = (answer(redis, &input, cut), answer(cairn, &input, cut));
            if hidden(&expected) != hidden(&found) {
                let show = |answer: Result<Vec<u8>, String>| {
                    answer.map(|bytes| quoted(&bytes[..bytes.len().min(300)]))
                };
                let start = quoted(&input[..input.len().min(100)]);
                differences += &format!(
                    "{start}, cut at {cut}\n  reference {:?}\n  subject   {:?}\n",
                    show(expected),
                    show(found)
                );
                break;
            }
        }
    }
    differences
}

/// The answer without what HELLO says of server and connection.
fn hidden(answer: &Result<Vec<u8>, String>) -> Result<&[u8], &String> {
    answer.as_ref().map(|bytes| match bytes.starts_with(b"%7\r\n") {
        true => bytes
            .windows(6)
            .position(|six| six == b"$4\r\nmo")
            .map_or(&bytes[..], |at| &bytes[at..]),
        false => bytes,
    })
}

/// What a user loses if this fails: a broken client learns something else than from Redis, or one client's rubbish is taken for a command.
#[test]
fn cairn_takes_rubbish_as_redis_does() {
    if !redis_is_here() {
        return;
    }
    let differences = compare(&Server::redis(&[]), &Server::cairn(), inputs());
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn redis_takes_rubbish_as_redis_does() {
    if !redis_is_here() {
        return;
    }
    let differences = compare(&Server::redis(&[]), &Server::redis(&[]), inputs());
    assert!(differences.is_empty(), "{differences}");
    let secret = || Server::redis(&["--requirepass", "secret"]);
    let differences = compare(&secret(), &secret(), inputs_of_strangers());
    assert!(differences.is_empty(), "{differences}");
}

/// What a user loses if this fails: data to a stranger, or a client that cannot log in.
#[test]
fn cairn_keeps_strangers_out_as_redis_does() {
    if !redis_is_here() {
        return;
    }
    let redis = Server::redis(&["--requirepass", "secret"]);
    let differences =
        compare(&redis, &Server::cairn_with_password("secret"), inputs_of_strangers());
    assert!(differences.is_empty(), "{differences}");
}
