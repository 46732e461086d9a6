//! Keys of any kind of value: found, renamed, copied, moved, ended, dumped.

use std::collections::{HashMap, HashSet};

use crate::support::{Client, TestNode, command};

/// The bulk strings of an array, however deep.
fn strings(answer: &str) -> Vec<String> {
    let mut lines = answer.split("\r\n");
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') && line != "$-1" {
            found.extend(lines.next().map(str::to_owned));
        }
    }
    found
}

/// All keys that a whole scan answers, and how many answers it took.
fn scanned(client: &mut Client, options: &[&str]) -> (Vec<String>, usize) {
    let (mut cursor, mut found, mut answers) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let answer = client.ask(&[&["SCAN", &cursor], options].concat());
        let mut keys = strings(&answer);
        cursor = keys.remove(0);
        found.extend(keys);
        answers += 1;
        if cursor == "0" {
            return (found, answers);
        }
    }
}

/// A renamed or copied value keeps its end, and only the names that were asked for are there afterwards.
#[test]
fn values_go_to_other_keys() {
    let node = TestNode::start();
    let mut client = node.client();
    client.ask(&["SET", "a", "1", "PX", "1000000"]);
    let end = client.ask(&["PEXPIRETIME", "a"]);
    assert_eq!(client.ask(&["RENAME", "a", "b"]), "+OK\r\n");
    assert_eq!(client.ask(&["PEXPIRETIME", "b"]), end);
    assert_eq!(client.ask(&["PEXPIRETIME", "a"]), ":-2\r\n");
    assert_eq!(client.ask(&["RENAME", "a", "b"]), "-ERR no such key\r\n");
    assert_eq!(client.ask(&["RENAME", "b", "b"]), "+OK\r\n");
    assert_eq!(client.ask(&["COPY", "b", "c"]), ":1\r\n");
    assert_eq!(client.ask(&["RENAMENX", "b", "c"]), ":0\r\n");
    assert_eq!(client.ask(&["COPY", "b", "c"]), ":0\r\n");
    client.ask(&["SET", "b", "2"]);
    assert_eq!(client.ask(&["COPY", "b", "c", "REPLACE"]), ":1\r\n");
    assert_eq!(client.ask(&["PTTL", "c"]), ":-1\r\n");
    assert_eq!(client.ask(&["COPY", "b", "b", "DB", "5"]), ":1\r\n");
    assert_eq!(client.ask(&["MOVE", "b", "5"]), ":0\r\n");
    assert_eq!(client.ask(&["MOVE", "c", "5"]), ":1\r\n");
    assert_eq!(client.ask(&["DBSIZE"]), ":1\r\n");
    client.ask(&["SELECT", "5"]);
    assert_eq!(client.ask(&["MGET", "b", "c"]), "*2\r\n$1\r\n2\r\n$1\r\n2\r\n");
}

/// What a command puts into another database is there for those behind it, though its value must come from the device first.
#[test]
fn a_pipeline_follows_a_key_to_another_database() {
    let mut node = TestNode::start();
    let mut client = node.client();
    for key in ["moved", "copied"] {
        assert_eq!(client.ask(&["SET", key, "1"]), "+OK\r\n");
    }
    // Nothing is in memory then.
    node.restart();
    let mut client = node.client();
    let pipeline: [&[&str]; 6] = [
        &["MOVE", "moved", "1"],
        &["SELECT", "1"],
        &["GET", "moved"],
        &["SELECT", "0"],
        &["COPY", "copied", "other", "DB", "1"],
        &["SELECT", "1"],
    ];
    let mut sent: Vec<u8> = pipeline.iter().flat_map(|words| command(words)).collect();
    sent.extend(command(&["EXISTS", "other"]));
    client.send(&sent);
    let expected = [":1\r\n", "+OK\r\n", "$1\r\n1\r\n", "+OK\r\n", ":1\r\n", "+OK\r\n", ":1\r\n"];
    for answer in expected {
        assert_eq!(client.answer(), answer);
    }
}

/// An end in the past is the end now; conditions compare with the end there is; what has ended is gone everywhere.
#[test]
fn ends_are_given_and_taken() {
    let node = TestNode::start();
    let mut client = node.client();
    let ends: [&[&str]; 4] = [
        &["EXPIRE", "k", "-1"],
        &["PEXPIRE", "k", "0"],
        &["EXPIREAT", "k", "1"],
        &["PEXPIREAT", "k", "1000"],
    ];
    for end in ends {
        client.ask(&["SET", "k", "v"]);
        assert_eq!(client.ask(end), ":1\r\n", "{end:?}");
        assert_eq!(client.ask(&["EXISTS", "k"]), ":0\r\n", "{end:?}");
        assert_eq!(client.ask(end), ":0\r\n", "{end:?}");
    }
    client.ask(&["SET", "k", "v"]);
    let steps = [
        ("XX", "4000000000", 0),
        ("GT", "4000000000", 0),
        ("LT", "4000000000", 1),
        ("NX", "4000000001", 0),
        ("GT", "4000000000", 0),
        ("LT", "4000000000", 0),
        ("GT", "4000000001", 1),
        ("XX", "4000000002", 1),
    ];
    for (condition, at, done) in steps {
        let answer = client.ask(&["EXPIREAT", "k", at, condition]);
        assert_eq!(answer, format!(":{done}\r\n"), "{condition} {at}");
    }
    assert_eq!(client.ask(&["EXPIRETIME", "k"]), ":4000000002\r\n");
    assert_eq!(client.ask(&["PERSIST", "k"]), ":1\r\n");
    assert_eq!(client.ask(&["PERSIST", "k"]), ":0\r\n");
    assert_eq!(client.ask(&["TTL", "k"]), ":-1\r\n");
}

/// Whoever scans meets every key of the database that is there all the time, and none of another, whatever the steps and whatever comes
/// and goes meanwhile.
#[test]
fn a_scan_meets_all_keys() {
    const KEYS: usize = 700;
    let node = TestNode::with(|config| {
        config.namespaces[0].engine.durability = cairn_engine::model::Durability::Buffer;
    });
    let (mut client, mut other) = (node.client(), node.client());
    other.ask(&["SELECT", "1"]);
    for n in 0..KEYS {
        client.ask(&["SET", &format!("key:{n}"), "v"]);
        other.ask(&["SET", &format!("other:{n}"), "v"]);
    }
    client.ask(&["SET", "", "the empty key"]);
    let all: HashSet<String> =
        (0..KEYS).map(|n| format!("key:{n}")).chain([String::new()]).collect();
    for count in ["1", "10", "100000"] {
        let (found, answers) = scanned(&mut client, &["COUNT", count]);
        assert_eq!(found.iter().cloned().collect::<HashSet<_>>(), all, "COUNT {count}");
        assert!(count == "1" || found.len() == all.len(), "COUNT {count}: a key twice");
        assert_eq!(answers > 1, count != "100000");
    }
    let (found, _) = scanned(&mut client, &["MATCH", "key:[12]?", "TYPE", "string"]);
    assert_eq!(found.len(), 20);
    assert_eq!(scanned(&mut client, &["TYPE", "hash"]).0, [""; 0]);
    assert_eq!(strings(&client.ask(&["KEYS", "key:[12]?"])).len(), 20);
    assert_eq!(client.ask(&["KEYS", "key:12"]), "*1\r\n$6\r\nkey:12\r\n");
    assert_eq!(client.ask(&["KEYS", "key"]), "*0\r\n");
    assert_eq!(strings(&client.ask(&["KEYS", "*"])).into_iter().collect::<HashSet<_>>(), all);

    let (mut cursor, mut met, mut n) = ("0".to_owned(), HashSet::new(), 0);
    loop {
        let mut keys = strings(&client.ask(&["SCAN", &cursor, "COUNT", "7"]));
        cursor = keys.remove(0);
        met.extend(keys);
        other.ask(&["SELECT", "0"]);
        other.ask(&["SET", &format!("new:{n}"), "v"]);
        other.ask(&["DEL", &format!("new:{}", n / 2)]);
        n += 1;
        if cursor == "0" {
            break;
        }
    }
    assert!(met.is_superset(&all));
    assert_eq!(client.ask(&["SELECT", "7"]), "+OK\r\n");
    assert_eq!(client.ask(&["SCAN", "0"]), "*2\r\n$1\r\n0\r\n*0\r\n");
}

/// RANDOMKEY answers any key, also when the database is small among others and all its keys share a hash tag; null when there is none.
#[test]
fn a_random_key_is_any_key() {
    let node = TestNode::with(|config| {
        config.namespaces[0].engine.durability = cairn_engine::model::Durability::Buffer;
    });
    let mut client = node.client();
    assert_eq!(client.ask(&["RANDOMKEY"]), "$-1\r\n");
    for n in 0..2000 {
        client.ask(&["SET", &format!("many:{n}"), "v"]);
    }
    client.ask(&["SELECT", "9"]);
    assert_eq!(client.ask(&["RANDOMKEY"]), "$-1\r\n");
    for n in 0..4 {
        client.ask(&["SET", &format!("{{tag}}{n}"), "v"]);
    }
    let mut met = HashMap::new();
    for _ in 0..400 {
        let key = strings(&client.ask(&["RANDOMKEY"])).remove(0);
        *met.entry(key).or_insert(0) += 1;
    }
    assert!(met.keys().all(|key| key.starts_with("{tag}")), "{met:?}");
    assert_eq!(met.len(), 4, "{met:?}");
}

/// A value travels by DUMP and RESTORE, with the end that is asked for; a damaged one does not.
#[test]
fn values_are_dumped_and_restored() {
    // What redis-server 7.0.15 dumps of 12.
    const NUMBER: &[u8] = b"\x00\xc0\x0c\n\x00<*\xf8Q\\\x04\xbc\xd5";
    let node = TestNode::start();
    let mut client = node.client();
    let restore = |key: &str, payload: &[u8], options: &[&str]| {
        let mut bytes = format!(
            "*{}\r\n$7\r\nRESTORE\r\n${}\r\n{key}\r\n$6\r\n900000\r\n${}\r\n",
            4 + options.len(),
            key.len(),
            payload.len()
        )
        .into_bytes();
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
        for option in options {
            bytes.extend(format!("${}\r\n{option}\r\n", option.len()).into_bytes());
        }
        bytes
    };
    client.send(&restore("n", NUMBER, &[]));
    assert_eq!(client.answer(), "+OK\r\n");
    assert_eq!(client.ask(&["GET", "n"]), "$2\r\n12\r\n");
    assert!([":899\r\n", ":900\r\n"].contains(&&*client.ask(&["TTL", "n"])));
    client.send(&restore("n", NUMBER, &[]));
    assert_eq!(client.answer(), "-BUSYKEY Target key name already exists.\r\n");
    client.send(&restore("n", NUMBER, &["ABSTTL", "REPLACE"]));
    assert_eq!(client.answer(), "+OK\r\n");
    assert_eq!(client.ask(&["EXISTS", "n"]), ":0\r\n");
    let mut damaged = NUMBER.to_vec();
    damaged[2] ^= 1;
    client.send(&restore("n", &damaged, &[]));
    assert_eq!(client.answer(), "-ERR DUMP payload version or checksum are wrong\r\n");
    assert_eq!(client.ask(&["DUMP", "n"]), "$-1\r\n");
}

/// What EXEC does with keys it does as one, the commands that look for keys at their place.
#[test]
fn keys_in_a_transaction() {
    let node = TestNode::start();
    let mut client = node.client();
    client.ask(&["MULTI"]);
    let queued: [&[&str]; 8] = [
        &["SET", "a", "1"],
        &["RENAME", "a", "b"],
        &["COPY", "b", "c", "DB", "3"],
        &["KEYS", "*"],
        &["OBJECT", "ENCODING", "b"],
        &["MOVE", "b", "3"],
        &["RANDOMKEY"],
        &["EXPIRE", "b", "5"],
    ];
    for words in queued {
        assert_eq!(client.ask(words), "+QUEUED\r\n");
    }
    let expected = "*8\r\n+OK\r\n+OK\r\n:1\r\n*1\r\n$1\r\nb\r\n$3\r\nint\r\n:1\r\n$-1\r\n:0\r\n";
    assert_eq!(client.ask(&["EXEC"]), expected);
    client.ask(&["SELECT", "3"]);
    assert_eq!(client.ask(&["MGET", "b", "c"]), "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
}

/// Asking for keys, and deleting them, holds none of their values: it works for more of them than a command may read.
#[test]
fn large_values_are_deleted_together() {
    let node = TestNode::with(|config| {
        config.namespaces[0].engine.durability = cairn_engine::model::Durability::Buffer;
    });
    let mut client = node.client();
    let value = "v".repeat(950_000);
    let keys: Vec<String> = (0..75).map(|n| format!("large:{n}")).collect();
    for key in &keys {
        assert_eq!(client.ask(&["SET", key, &value]), "+OK\r\n");
    }
    let words = |name| [name].into_iter().chain(keys.iter().map(|key| &**key)).collect::<Vec<_>>();
    assert!(client.ask(&words("MGET")).starts_with("-ERR "));
    assert_eq!(client.ask(&words("EXISTS")), ":75\r\n");
    client.ask(&["MULTI"]);
    client.ask(&words("EXISTS"));
    client.ask(&["STRLEN", &keys[0]]);
    assert_eq!(client.ask(&["EXEC"]), "*2\r\n:75\r\n:950000\r\n");
    assert_eq!(client.ask(&words("DEL")), ":75\r\n");
    assert_eq!(client.ask(&words("EXISTS")), ":0\r\n");
}
