//! `CLIENT`, `CONFIG`, `INFO` and their like: what programs and dashboards rely on.

use crate::support::TestNode;

/// A client finds itself in the list under the name it gave, and can be ended by another.
#[test]
fn clients_are_listed_and_ended() {
    let node = TestNode::start();
    let (mut one, mut other) = (node.client(), node.client());
    assert_eq!(one.ask(&["CLIENT", "GETNAME"]), "$-1\r\n");
    assert_eq!(one.ask(&["CLIENT", "SETNAME", "ada"]), "+OK\r\n");
    assert_eq!(one.ask(&["CLIENT", "SETINFO", "LIB-NAME", "lib"]), "+OK\r\n");
    assert!(one.ask(&["CLIENT", "SETNAME", "a b"]).starts_with("-ERR "));
    assert_eq!(one.ask(&["CLIENT", "GETNAME"]), "$3\r\nada\r\n");
    let id = one.ask(&["CLIENT", "ID"]).trim().trim_start_matches(':').to_owned();
    let list = other.ask(&["CLIENT", "LIST"]);
    let line = list.lines().find(|line| line.starts_with(&format!("id={id} "))).unwrap();
    assert!(line.contains(" name=ada ") && line.contains(" lib-name=lib "), "{line}");
    assert_eq!(other.ask(&["CLIENT", "KILL", "ID", &id]), ":1\r\n");
    assert_eq!(one.until_closed(), "");
    assert_eq!(other.ask(&["CLIENT", "KILL", "ID", &id]), ":0\r\n");
}

/// A client that wants no answers gets none, and the right one when it wants them again.
#[test]
fn answers_can_be_declined() {
    let node = TestNode::start();
    let mut client = node.client();
    client.send(b"CLIENT REPLY OFF\r\nSET a 1\r\nGET a\r\nNOSUCH\r\nCLIENT REPLY ON\r\n");
    assert_eq!(client.answer(), "+OK\r\n");
    client.send(b"CLIENT REPLY SKIP\r\nSET a 2\r\nGET a\r\n");
    assert_eq!(client.answer(), "$1\r\n2\r\n");
}

/// SWAPDB exchanges two databases for everybody, watched keys included, and for good.
#[test]
fn swapped_databases_stay_swapped() {
    let mut node = TestNode::start();
    let (mut client, mut watcher) = (node.client(), node.client());
    client.ask(&["SET", "a", "zero"]);
    watcher.ask(&["WATCH", "a"]);
    assert_eq!(client.ask(&["SWAPDB", "0", "5"]), "+OK\r\n");
    watcher.ask(&["MULTI"]);
    watcher.ask(&["PING"]);
    assert_eq!(watcher.ask(&["EXEC"]), "*-1\r\n");
    assert_eq!(client.ask(&["GET", "a"]), "$-1\r\n");
    node.restart();
    let mut client = node.client();
    assert_eq!(client.ask(&["DBSIZE"]), ":0\r\n");
    client.ask(&["SELECT", "5"]);
    assert_eq!(client.ask(&["GET", "a"]), "$4\r\nzero\r\n");
}

/// A MOVE beside many swaps is from one database to another one, never to itself: no key is lost or doubled.
#[test]
fn keys_move_beside_swaps() {
    let node = TestNode::with(|config| {
        config.namespaces[0].engine.durability = cairn_engine::model::Durability::Buffer;
    });
    let (mut mover, mut swapper) = (node.client(), node.client());
    mover.ask(&["SET", "k", "v"]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                assert_eq!(swapper.ask(&["SWAPDB", "0", "1"]), "+OK\r\n");
            }
        });
        let answers: Vec<String> = (0..3000).map(|_| mover.ask(&["MOVE", "k", "1"])).collect();
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        let unexpected = answers.iter().find(|a| !matches!(&***a, ":0\r\n" | ":1\r\n"));
        assert_eq!(unexpected, None);
    });
    let in_0 = mover.ask(&["DBSIZE"]);
    mover.ask(&["SELECT", "1"]);
    assert_ne!(in_0, mover.ask(&["DBSIZE"]));
}

/// INFO has the fields that dashboards read, and they count what was done.
#[test]
fn info_tells_what_was_done() {
    let node = TestNode::start();
    let mut client = node.client();
    for number in 0..10 {
        client.ask(&["SET", &format!("key{number}"), "1"]);
        client.ask(&["GET", &format!("key{number}")]);
        client.ask(&["GET", &format!("no{}", number % 5)]);
    }
    client.ask(&["INCR", "key1", "2"]);
    let info = client.ask(&["INFO", "everything"]);
    let field = |name: &str| {
        let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("no {name} in {info}")).to_owned()
    };
    let expected = [
        ("role", "master"),
        ("connected_clients", "1"),
        ("keyspace_hits", "10"),
        ("keyspace_misses", "10"),
        ("db0", "keys=10,expires=0,avg_ttl=0"),
        ("errorstat_ERR", "count=1"),
        ("cluster_enabled", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(field(name), value, "{name}");
    }
    assert!(field("cmdstat_set").starts_with("calls=10,"));
    assert!(field("cmdstat_incr").starts_with("calls=0,"));
    for name in ["used_memory", "uptime_in_seconds", "total_commands_processed", "used_cpu_user"] {
        assert!(field(name).parse::<f64>().is_ok(), "{name}");
    }
    assert_eq!(client.ask(&["CONFIG", "RESETSTAT"]), "+OK\r\n");
    assert!(client.ask(&["INFO", "stats"]).contains("keyspace_hits:0\r\n"));
}

/// Settings are answered by pattern; those that can change do, all of one CONFIG SET or none.
#[test]
fn settings_are_told_and_changed() {
    let node = TestNode::start();
    let mut client = node.client();
    assert_eq!(
        client.ask(&["CONFIG", "GET", "databases"]),
        "*2\r\n$9\r\ndatabases\r\n$2\r\n16\r\n"
    );
    let refused = ["CONFIG", "SET", "slowlog-max-len", "5", "appendonly", "no"];
    assert!(client.ask(&refused).starts_with("-ERR CONFIG SET failed"));
    // A name that is none is shown as a client's bytes are everywhere.
    assert!(client.ask(&["CONFIG", "SET", "no\0name", "1"]).ends_with("'no'\r\n"));
    let length = "*2\r\n$15\r\nslowlog-max-len\r\n$3\r\n128\r\n";
    assert_eq!(client.ask(&["CONFIG", "GET", "slowlog-m*"]), length);
    assert_eq!(client.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]), "+OK\r\n");
    client.ask(&["ECHO", "slow"]);
    let slow = client.ask(&["SLOWLOG", "GET", "1"]);
    assert!(slow.contains("*2\r\n$4\r\nECHO\r\n$4\r\nslow\r\n"), "{slow}");
}

/// WAITAOF tells the truth: written to the device, on no replica.
#[test]
fn waitaof_waits_for_the_device() {
    let node = TestNode::with(|config| {
        config.namespaces[0].engine.durability = cairn_engine::model::Durability::Buffer;
    });
    let mut client = node.client();
    client.ask(&["SET", "a", "1"]);
    assert_eq!(client.ask(&["WAITAOF", "1", "0", "0"]), "*2\r\n:1\r\n:0\r\n");
    assert_eq!(client.ask(&["WAIT", "0", "0"]), ":0\r\n");
}
