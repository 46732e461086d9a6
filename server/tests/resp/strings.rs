//! Commands on strings and bits: what clients of either protocol get, and what stays of a value when it is changed.

use crate::support::{Client, TestNode};

/// Sends each line's words and compares what comes back with what redis-server 7.0 says.
fn session(client: &mut Client, lines: &[(&str, &str)]) {
    for (line, answer) in lines {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(client.ask(&words), format!("{answer}\r\n"), "{line}");
    }
}

const WRONG_BIT: &str = "-ERR bit offset is not an integer or out of range";
const NO_INTEGER: &str = "-ERR value is not an integer or out of range";

/// Whoever counts, locks or caches with one of these relies on the very answer.
#[test]
fn strings_answer_as_in_redis() {
    let node = TestNode::start();
    let mut client = node.client();
    session(
        &mut client,
        &[
            ("SETNX k a", ":1"),
            ("SETNX k b", ":0"),
            ("GETSET k c", "$1\r\na"),
            ("SET k d EX 100 EX 200", "+OK"),
            ("SET k e KEEPTTL GET", "$1\r\nd"),
            ("TTL k", ":200"),
            ("SET k f EX 10 PX 10", "-ERR syntax error"),
            ("SET k f EX 0", "-ERR invalid expire time in 'set' command"),
            ("SET k f EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
            ("SETEX k -1 f", "-ERR invalid expire time in 'setex' command"),
            ("PSETEX k x f", NO_INTEGER),
            ("SETEX k 100 f", "+OK"),
            ("GETEX k", "$1\r\nf"),
            ("GETEX missing EX 0", "$-1"),
            ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command"),
            ("GETEX k EX 100 PERSIST", "-ERR syntax error"),
            ("TTL k", ":100"),
            ("GETEX k PERSIST", "$1\r\nf"),
            ("TTL k", ":-1"),
            ("GETEX k EXAT 1", "$1\r\nf"),
            ("EXISTS k", ":0"),
            ("SET k g", "+OK"),
            ("SET k h PXAT 1 GET", "$1\r\ng"),
            ("GETDEL k", "$-1"),
            ("MSETNX a 1 b 2 a 3", ":1"),
            ("MSETNX c 1 b 2", ":0"),
            ("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command"),
            ("MGET a b c", "*3\r\n$1\r\n3\r\n$1\r\n2\r\n$-1"),
            ("GETDEL a", "$1\r\n3"),
            ("APPEND a x", ":1"),
            ("APPEND a yz", ":3"),
            ("GETRANGE a -2 10", "$2\r\nyz"),
            ("SUBSTR a -100 -50", "$1\r\nx"),
            ("GETRANGE a 2 1", "$0\r\n"),
            ("SETRANGE a 5 !", ":6"),
            ("GET a", "$6\r\nxyz\0\0!"),
            ("SETRANGE missing 5 ", ":0"),
            ("EXISTS missing", ":0"),
            ("SETRANGE a -1 x", "-ERR offset is out of range"),
            (
                "SETRANGE a 536870912 x",
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
            ("STRLEN a", ":6"),
            ("DECRBY n -9223372036854775808", "-ERR decrement would overflow"),
            ("DECRBY n -9223372036854775807", ":9223372036854775807"),
            ("INCR n", "-ERR increment or decrement would overflow"),
            ("INCRBYFLOAT n 1", "$19\r\n9223372036854775808"),
            ("INCRBYFLOAT n inf", "-ERR increment would produce NaN or Infinity"),
            ("INCRBYFLOAT n 1e", "-ERR value is not a valid float"),
        ],
    );
}

/// A change keeps a value's end; only what replaces the value takes it away.
#[test]
fn a_change_keeps_the_end() {
    let node = TestNode::start();
    let mut client = node.client();
    let changes = [
        "APPEND k 1",
        "SETRANGE k 0 2",
        "SETBIT k 6 1",
        "BITFIELD k SET u8 0 49",
        "INCR k",
        "DECRBY k 3",
        "INCRBYFLOAT k 0.5",
        "SET k 7 KEEPTTL",
        "GETEX k",
    ];
    session(&mut client, &[("SET k 5 EX 1000", "+OK")]);
    for change in changes {
        let words: Vec<&str> = change.split(' ').collect();
        assert!(!client.ask(&words).starts_with('-'), "{change}");
        let left = client.ask(&["TTL", "k"]);
        assert!([":1000\r\n", ":999\r\n"].contains(&&*left), "{change}: {left}");
    }
    for change in ["GETSET k 1", "SET k 1", "MSET k 1", "BITOP OR k k", "GETEX k PERSIST"] {
        let words: Vec<&str> = change.split(' ').collect();
        session(&mut client, &[("SET k 5 EX 1000", "+OK")]);
        assert!(!client.ask(&words).starts_with('-'), "{change}");
        session(&mut client, &[("TTL k", ":-1")]);
    }
}

/// Bits: what they were, where they are, and fields that do not fit.
#[test]
fn bits_answer_as_in_redis() {
    let node = TestNode::start();
    let mut client = node.client();
    session(
        &mut client,
        &[
            ("SETBIT b 7 1", ":0"),
            ("SETBIT b 7 0", ":1"),
            ("SETBIT b 20 0", ":0"),
            ("STRLEN b", ":3"),
            ("SETBIT b 4294967296 1", WRONG_BIT),
            ("SETBIT b x 2", WRONG_BIT),
            ("SETBIT b 0 2", "-ERR bit is not an integer or out of range"),
            ("GETBIT b 4294967295", ":0"),
            ("SET s foobar", "+OK"),
            ("BITCOUNT s", ":26"),
            ("BITCOUNT s 5 30 BIT", ":17"),
            ("BITCOUNT s -4 -11 FOO", ":0"),
            ("BITCOUNT s 0", "-ERR syntax error"),
            ("BITCOUNT missing x", ":0"),
            ("BITPOS s 1 10 20 BIT", ":10"),
            ("BITPOS s 1 0 x FOO", "-ERR syntax error"),
            ("BITPOS s 2", "-ERR The bit argument must be 1 or 0."),
            ("BITPOS missing 0 5", ":0"),
            ("BITFIELD ones SET u24 0 -1", "*1\r\n:0"),
            ("BITPOS ones 0", ":24"),
            ("BITPOS ones 0 0 -1", ":-1"),
            ("BITOP NOT d s ones", "-ERR BITOP NOT must be called with a single source key."),
            ("BITOP AND d s ones", ":6"),
            ("GET d", "$6\r\nfoo\0\0\0"),
            ("BITOP OR d missing", ":0"),
            ("EXISTS d", ":0"),
            (
                "BITFIELD f SET u8 0 250 OVERFLOW SAT INCRBY u8 0 10 GET i8 0",
                "*3\r\n:0\r\n:255\r\n:-1",
            ),
            ("BITFIELD f OVERFLOW FAIL INCRBY u8 20 300", "*1\r\n$-1"),
            ("STRLEN f", ":4"),
            ("BITFIELD f SET i5 #2 7 GET i5 10", "*2\r\n:0\r\n:7"),
            ("BITFIELD f GET u8 #536870912", WRONG_BIT),
            ("BITFIELD_RO f SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
            ("BITFIELD_RO f", "*0"),
            ("HELLO 3 X", "-ERR Syntax error in HELLO option 'X'"),
        ],
    );
    client.ask(&["HELLO", "3"]);
    session(
        &mut client,
        &[
            ("BITFIELD f OVERFLOW FAIL INCRBY u8 0 300", "*1\r\n_"),
            ("GETSET new x", "_"),
            ("INCRBYFLOAT float 1.5", "$3\r\n1.5"),
        ],
    );
}

/// The one answer here whose form the protocols do not share.
#[test]
fn common_subsequences_are_a_map_in_resp3() {
    const MATCHES: &str =
        "$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:6";
    let node = TestNode::start();
    let mut client = node.client();
    session(
        &mut client,
        &[
            ("MSET a ohmytext b mynewtext", "+OK"),
            ("LCS a b", "$6\r\nmytext"),
            ("LCS a b LEN", ":6"),
            ("LCS a missing", "$0\r\n"),
            ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", &format!("*4\r\n{MATCHES}")),
            (
                "LCS a b LEN IDX",
                "-ERR If you want both the length and indexes, please just use IDX.",
            ),
            ("LCS a b IDX MINMATCHLEN", "-ERR syntax error"),
        ],
    );
    client.ask(&["HELLO", "3"]);
    session(
        &mut client,
        &[("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", &format!("%2\r\n{MATCHES}"))],
    );
}

/// A client cannot make a node allocate half a gigabyte by naming an offset, nor store what it could not read back.
#[test]
fn a_string_longer_than_a_record_is_refused() {
    let node = TestNode::start();
    let mut client = node.client();
    session(&mut client, &[("SET k v", "+OK")]);
    let changes = [
        "SETRANGE k 500000000 x",
        "SETBIT k 4294967295 1",
        "BITFIELD k SET u8 4294967280 1",
        "SETBIT new 4294967295 1",
    ];
    for change in changes {
        let words: Vec<&str> = change.split(' ').collect();
        assert!(client.ask(&words).starts_with("-ERR "), "{change}");
    }
    let half = "x".repeat(600_000);
    assert_eq!(client.ask(&["SET", "long", &half]), "+OK\r\n");
    assert!(client.ask(&["APPEND", "long", &half]).starts_with("-ERR "));
    session(
        &mut client,
        &[
            ("STRLEN long", ":600000"),
            ("GET k", "$1\r\nv"),
            ("EXISTS new", ":0"),
            (
                "LCS long long LEN",
                "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ),
        ],
    );
}
