//! Owns the script of the `redis` crate: every command of the list that the scripts of the other clients share, in RESP2 and in RESP3, with
//! what each must answer.

use std::{cell::RefCell, collections::BTreeSet, fmt::Debug};

use redis::{
    Client, Connection, ConnectionLike, FromRedisValue, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, Value, cmd,
};

use crate::{
    command::Command,
    server::{Server, redis_is_here},
};

/// What Redis 7.0 does not know.
const NEWER: &[&str] = &["CLIENT|SETINFO", "CLIENT|NO-TOUCH", "WAITAOF"];

/// A connection of the crate's, and which commands went through it.
struct User {
    connection: RefCell<Connection>,
    used: RefCell<BTreeSet<String>>,
}

impl User {
    fn connect(server: &Server, protocol: ProtocolVersion) -> Self {
        let info = format!("redis://127.0.0.1:{}", server.port()).into_connection_info();
        let settings = RedisConnectionInfo::default().set_protocol(protocol);
        let info = info.expect("a good address").set_redis_settings(settings);
        let connection = Client::open(info).and_then(|client| client.get_connection());
        let connection = connection.expect("the server takes the crate's greeting");
        Self { connection: RefCell::new(connection), used: RefCell::default() }
    }

    /// Sends words divided by spaces.
    fn ask<T: FromRedisValue>(&self, text: &str) -> Result<T, redis::RedisError> {
        self.send(&Command::words(text))
    }

    fn send<T: FromRedisValue>(&self, command: &Command) -> Result<T, redis::RedisError> {
        let mut used = self.used.borrow_mut();
        used.insert(command.name());
        used.insert(format!("{}|{}", command.name(), command.word(1)));
        let mut packed = cmd(&command.name());
        for argument in &command.0[1..] {
            packed.arg(argument);
        }
        packed.query(&mut *self.connection.borrow_mut())
    }

    /// A command that must answer this.
    #[track_caller]
    fn says<T: FromRedisValue + PartialEq + Debug>(&self, text: &str, expected: T) {
        let found: T = self.ask(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found, expected, "{text}");
    }

    /// A command that must answer something.
    #[track_caller]
    fn works(&self, text: &str) -> Value {
        self.ask(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[track_caller]
    fn refuses(&self, text: &str, code: &str) {
        match self.ask::<Value>(text) {
            Ok(value) => panic!("{text}: {value:?} instead of an error"),
            Err(error) => assert_eq!(error.code(), Some(code), "{text}: {error}"),
        }
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn connection(user: &User, number: i64, newer: bool) {
    user.says("PING", "PONG".to_owned());
    user.says("ECHO hello", "hello".to_owned());
    user.works(&format!("HELLO {number}"));
    user.refuses("AUTH nobody wrong", "WRONGPASS");
    user.says("SELECT 3", "OK".to_owned());
    user.says("SET here 1", "OK".to_owned());
    user.says("DBSIZE", 1);
    user.says("SELECT 0", "OK".to_owned());
    user.says("SWAPDB 0 3", "OK".to_owned());
    user.says("GET here", some("1"));
    assert!(user.ask::<i64>("CLIENT ID").is_ok_and(|id| id > 0));
    user.says("CLIENT SETNAME tester", "OK".to_owned());
    user.says("CLIENT GETNAME", some("tester"));
    let info: String = user.ask("CLIENT INFO").expect("about the connection");
    assert!(info.contains("name=tester") && info.contains(&format!("resp={number}")), "{info}");
    assert!(user.ask::<String>("CLIENT LIST").is_ok_and(|list| list.contains("name=tester")));
    user.says("CLIENT NO-EVICT ON", "OK".to_owned());
    user.says("CLIENT REPLY ON", "OK".to_owned());
    user.says("CLIENT KILL ID 999999", 0);
    if newer {
        user.says("CLIENT SETINFO LIB-NAME script", "OK".to_owned());
        user.says("CLIENT NO-TOUCH OFF", "OK".to_owned());
        user.says::<Value>("WAITAOF 1 0 1000", Value::Array(vec![Value::Int(1), Value::Int(0)]));
    }
    user.says("RESET", "RESET".to_owned());
}

fn server(user: &User) {
    assert!(user.ask::<i64>("COMMAND COUNT").is_ok_and(|count| count >= 75));
    assert!(user.ask::<Vec<String>>("COMMAND LIST").is_ok_and(|all| all.contains(&"get".into())));
    for text in [
        "COMMAND INFO get",
        "COMMAND DOCS get",
        "LOLWUT",
        "TIME",
        "SLOWLOG GET",
        "SLOWLOG LEN",
        "LATENCY DOCTOR",
    ] {
        user.works(text);
    }
    for text in ["SLOWLOG RESET", "CONFIG RESETSTAT", "CONFIG SET slowlog-log-slower-than 10000"] {
        user.says(text, "OK".to_owned());
    }
    user.works("CONFIG GET maxmemory");
    user.says("LATENCY RESET", 0);
    user.says::<Vec<Value>>("LATENCY LATEST", vec![]);
    user.says::<Vec<Value>>("LATENCY HISTORY command", vec![]);
    let info: redis::InfoDict = user.ask("INFO").expect("about the server");
    for field in ["redis_version", "used_memory", "connected_clients", "total_commands_processed"] {
        assert!(info.find(&field).is_some(), "INFO has no {field}");
    }
}

fn strings(user: &User) {
    user.says("SET s v", "OK".to_owned());
    user.says("GET s", some("v"));
    user.says("GET missing", None::<String>);
    user.says("SET s new NX", None::<String>);
    user.says("SET s second XX GET EX 100", some("v"));
    user.says("GETSET s x", some("second"));
    user.says("GETEX s PX 50000", some("x"));
    user.says("GETDEL s", some("x"));
    user.says("SETEX s 60 x", "OK".to_owned());
    user.says("PSETEX s 60000 y", "OK".to_owned());
    user.says("SETNX s z", false);
    user.says("MSET m1 1 m2 2", "OK".to_owned());
    user.says("MGET m1 missing m2", vec![some("1"), None, some("2")]);
    user.says("MSETNX m2 3 m3 3", false);
    user.says("APPEND m1 23", 3);
    user.says("STRLEN m1", 3);
    for (text, expected) in [("INCR n", 1), ("INCRBY n 41", 42), ("DECR n", 41), ("DECRBY n 1", 40)]
    {
        user.says(text, expected);
    }
    user.says("INCRBYFLOAT f 10.5", "10.5".to_owned());
    user.says("INCRBYFLOAT f 0.1", "10.6".to_owned());
    user.refuses("INCR s", "ERR");
    user.says("SET range HelloWorld", "OK".to_owned());
    user.says("GETRANGE range 0 4", "Hello".to_owned());
    user.says("SUBSTR range -5 -1", "World".to_owned());
    user.says("SETRANGE range 5 Redis", 10);
    user.says("MSET l1 ohmytext l2 mynewtext", "OK".to_owned());
    user.says("LCS l1 l2", "mytext".to_owned());
    user.works("LCS l1 l2 IDX WITHMATCHLEN");
    let long: Vec<u8> = (0..400_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let set = Command::words("SET long").arg(&long);
    assert_eq!(user.send::<String>(&set).expect("a long value"), "OK");
    assert!(user.ask::<Vec<u8>>("GET long").is_ok_and(|found| found == long));
}

fn bits(user: &User) {
    user.says("SET b foobar", "OK".to_owned());
    let steps = [
        ("SETBIT bit 7 1", 0),
        ("GETBIT bit 7", 1),
        ("BITCOUNT b", 26),
        ("BITCOUNT b 5 30 BIT", 17),
        ("BITPOS b 1", 1),
        ("BITPOS b 0 2", 16),
        ("BITOP NOT out b", 6),
    ];
    for (text, expected) in steps {
        user.says(text, expected);
    }
    user.says("BITFIELD bf SET u8 0 250 OVERFLOW SAT INCRBY u8 0 100", vec![Some(0), Some(255)]);
    user.says("BITFIELD bf OVERFLOW FAIL INCRBY u8 0 1", vec![None::<i64>]);
    user.says("BITFIELD_RO bf GET u8 0", vec![255]);
}

fn keys(user: &User) {
    user.says("FLUSHDB", "OK".to_owned());
    user.says("RANDOMKEY", None::<String>);
    user.says("MSET k1 1 k2 2 k3 3 k4 4", "OK".to_owned());
    user.says("DEL k3 missing", 1);
    user.says("UNLINK k4", 1);
    user.says("EXISTS k1 k1 missing", 2);
    user.says("TYPE k1", "string".to_owned());
    user.says("TOUCH k1 missing", 1);
    user.says("RENAME k1 k9", "OK".to_owned());
    user.says("RENAMENX k9 k2", false);
    user.says("COPY k9 k1", true);
    user.says("OBJECT ENCODING k1", some("int"));
    for text in ["OBJECT REFCOUNT k1", "OBJECT IDLETIME k1", "OBJECT HELP", "MEMORY USAGE k1"] {
        assert_ne!(user.works(text), Value::Nil, "{text}");
    }
    user.refuses("OBJECT FREQ k1", "ERR");
    let payload: Vec<u8> = user.ask("DUMP k1").expect("a payload");
    let restored = user.send::<String>(&Command::words("RESTORE k7 0").arg(payload));
    assert_eq!(restored.expect("its own payload"), "OK");
    user.says("GET k7", some("1"));
    let all: BTreeSet<String> = user.ask("KEYS *").expect("all keys");
    assert_eq!(all, ["k1", "k2", "k7", "k9"].map(str::to_owned).into());
    let (next, found): (String, BTreeSet<String>) = user.ask("SCAN 0 COUNT 1000").expect("a scan");
    assert_eq!((next.as_str(), found), ("0", all));
    user.says("DBSIZE", 4);
    user.says("EXPIRE k1 60", 1);
    assert!(user.ask::<i64>("TTL k1").is_ok_and(|ttl| (59..=60).contains(&ttl)));
    user.says("PEXPIRE k1 50000 LT", 1);
    assert!(user.ask::<i64>("PTTL k1").is_ok_and(|ttl| (40_000..=50_000).contains(&ttl)));
    user.says("EXPIREAT k1 4102444800", 1);
    user.says("EXPIRETIME k1", 4_102_444_800_i64);
    user.says("PEXPIREAT k1 4102444800123", 1);
    user.says("PEXPIRETIME k1", 4_102_444_800_123_i64);
    user.says("PERSIST k1", 1);
    user.says("TTL missing", -2);
    user.says("WAIT 0 100", 0);
    user.says("FLUSHALL", "OK".to_owned());
}

fn transactions(user: &User) {
    user.says("WATCH t1", "OK".to_owned());
    user.says("UNWATCH", "OK".to_owned());
    user.says("MULTI", "OK".to_owned());
    user.says("INCR t1", "QUEUED".to_owned());
    user.says("GET t1", "QUEUED".to_owned());
    user.says("EXEC", vec!["1".to_owned(), "1".to_owned()]);
    user.says("MULTI", "OK".to_owned());
    user.says("DISCARD", "OK".to_owned());
    user.says("QUIT", "OK".to_owned());
}

fn all(on: &Server, newer: bool) {
    let wanted = include_str!("../../../server/tests/redis/commands.txt").split_whitespace();
    for (protocol, number) in [(ProtocolVersion::RESP2, 2), (ProtocolVersion::RESP3, 3)] {
        let user = User::connect(on, protocol);
        user.says("FLUSHALL", "OK".to_owned());
        connection(&user, number, newer);
        if number == 3 {
            // RESET took it back to RESP2.
            user.works("HELLO 3");
        }
        for script in [server, strings, bits, keys, transactions] {
            script(&user);
        }
        let used = user.used.borrow();
        let left: Vec<_> = wanted
            .clone()
            .filter(|c| !used.contains(*c) && (newer || !NEWER.contains(c)))
            .collect();
        assert!(left.is_empty(), "not used: {left:?}");
        drop(used);
        assert!(!user.connection.borrow_mut().check_connection(), "open after QUIT");
    }
}

/// What a user loses if this fails: a Rust program that works with Redis.
#[test]
fn the_redis_crate_works_with_cairn() {
    all(&Server::cairn(), true);
}

/// Whether the script is right.
#[test]
fn the_redis_crate_works_with_redis() {
    if redis_is_here() {
        all(&Server::redis(&[]), false);
    }
}
