//! Configuration: the default, every mistake with its place, and that what is printed is read back.

use std::{path::Path, time::Duration};

use cairn_engine::{DeviceConfig, NamespaceConfig, model::Durability};
use cairn_server::{
    Config,
    config::{NamespaceSettings, NodeConfig, RespConfig},
    limits::Limits,
};

const STORAGE: &str = "\n[namespace.storage]\nfiles = [{ path = \"a.dat\", size = \"1GiB\" }]\n";

/// A namespace with `lines` in it, its storage behind.
fn namespace(lines: &str) -> String {
    format!("[[namespace]]\nname = \"test\"\n{lines}\n{STORAGE}")
}

/// The commented default says what the defaults are: a line taken out changes nothing.
#[test]
fn the_default_file_is_the_default() {
    let file = DeviceConfig::File { path: "cairn-data/test.dat".into(), size: 4 << 30 };
    let defaults = Config {
        node: NodeConfig::default(),
        limits: Limits::default(),
        resp: RespConfig::default(),
        namespaces: vec![NamespaceSettings::new(NamespaceConfig::new("test", vec![file]))],
    };
    assert_eq!(Config::parse(Config::default_toml()).unwrap(), defaults);
    let least = namespace("").replace("a.dat", "cairn-data/test.dat").replace("1GiB", "4GiB");
    assert_eq!(Config::parse(&least).unwrap(), defaults);
    assert_eq!(Config::dev(Path::new("cairn-data")), defaults);
}

/// The design's example is taken, with the units that people write.
#[test]
fn every_setting_arrives() {
    let text = r#"
        [node]
        name = "n7"
        listen = "::1"
        workers = 3
        [limits]
        request-timeout = "250ms"
        [[namespace]]
        name = "one"
        durability = "buffer"
        default-ttl = "30d"
        max-record-size = "512KiB"
        weaker-per-request = false
        [namespace.storage]
        devices = ["/dev/nvme0n1", "/dev/nvme1n1"]
        write-block-size = "4MiB"
        flush-size = "256KiB"
        flush-max-ms = 50
        post-write-cache = "0"
        max-used-pct = 75
        evict-used-pct = 70
        [[namespace]]
        name = "two"
        [namespace.storage]
        files = [{ path = "x", size = "1GiB" }, { path = "y", size = 1073741824 }]
    "#;
    let config = Config::parse(text).unwrap();
    assert_eq!((config.node.name.as_str(), config.node.workers), ("n7", 3));
    assert_eq!(config.limits.request_timeout, Duration::from_millis(250));
    let one = &config.namespaces[0];
    assert!(!one.weaker_per_request);
    assert_eq!(
        (one.engine.durability, one.engine.default_ttl_ms),
        (Durability::Buffer, 2_592_000_000)
    );
    assert_eq!((one.engine.max_record_size, one.engine.write_block_size), (512 << 10, 4 << 20));
    assert_eq!((one.engine.flush_size, one.engine.flush_max.as_millis()), (256 << 10, 50));
    assert_eq!((one.engine.post_write_cache, one.engine.max_used_pct), (0, 75));
    assert_eq!(one.engine.evict_used_pct, 70);
    assert_eq!(one.engine.devices[1], DeviceConfig::Raw("/dev/nvme1n1".into()));
    let two = &config.namespaces[1].engine.devices;
    assert!(
        two.iter()
            .all(|device| matches!(device, DeviceConfig::File { size, .. } if *size == 1 << 30))
    );
    assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
}

/// Every mistake is told with the line and column it stands at.
#[test]
fn mistakes_have_a_place() {
    let line = |line: &str| namespace(line);
    let storage = |line: &str| format!("{}{line}\n", namespace(""));
    // The text, and what stands where the error points.
    let mistakes = [
        (line("nmae = 1"), "nmae"),
        (line("replication-factor = 2"), "2"),
        (line("commit-level = \"some\""), "\"some\""),
        (line("durability = \"ram\""), "\"ram\""),
        (line("default-ttl = \"1 week\""), "\"1 week\""),
        (line("default-ttl = 5"), "5"),
        (line("max-record-size = \"2MiB\""), "\"2MiB\""),
        (line("max-record-size = \"big\""), "\"big\""),
        (line("weaker-per-request = 1"), "1"),
        (storage("write-block-size = \"3MiB\""), "\"3MiB\""),
        (storage("write-block-size = \"64KiB\""), "\"64KiB\""),
        (storage("flush-size = \"2MiB\""), "\"2MiB\""),
        (storage("flush-max-ms = 0"), "0"),
        (storage("max-used-pct = 101"), "101"),
        (storage("evict-used-pct = 101"), "101"),
        (storage("evict-used-pct = -1"), "-1"),
        // Writes would be refused before anything is evicted.
        (storage("evict-used-pct = 91"), "91"),
        (storage("max-used-pct = 50\nevict-used-pct = 50"), "50"),
        (storage("max-used-pct = 100\nevict-used-pct = 96"), "96"),
        (storage("devices = [\"a.dat\"]"), "\"a.dat\""),
        (storage("devices = [\"\"]"), "\"\""),
        (storage("sector = 512"), "sector"),
        (format!("[node]\nlisten = \"localhost\"\n{}", namespace("")), "\"localhost\""),
        (format!("[node]\ngrpc-port = 65536\n{}", namespace("")), "65536"),
        (format!("[node]\nio-engine = \"aio\"\n{}", namespace("")), "\"aio\""),
        (format!("[node]\nname = \"a b\"\n{}", namespace("")), "\"a b\""),
        (format!("[node]\nresp-port = 6379\n{}", namespace("")), "resp-port"),
        (format!("[limits]\nconnections = 0\n{}", namespace("")), "0"),
        (format!("[limits]\nmessage-size = \"1GiB\"\n{}", namespace("")), "\"1GiB\""),
        (format!("[limits]\nrequest-timeout = \"0\"\n{}", namespace("")), "\"0\""),
        (format!("{}{}", namespace(""), namespace("")), "\"test\""),
        ("[node]\nname = \"unfinished\n".into(), "\n"),
    ];
    for (text, culprit) in mistakes {
        let error = Config::parse(&text).expect_err(&text);
        let line = text.lines().nth(error.line - 1).unwrap_or_else(|| panic!("{error}\n{text}"));
        let rest: String = line.chars().skip(error.column - 1).collect();
        assert!(rest.starts_with(culprit.trim_end()), "{error} points at {rest:?}\n{text}");
    }
}

/// Mistakes without a place of their own are refused too.
#[test]
fn something_missing_is_refused() {
    for text in
        ["", "[node]\nname = \"n1\"\n", "[[namespace]]\nname = \"test\"\n[namespace.storage]\n"]
    {
        assert!(Config::parse(text).is_err(), "{text}");
    }
}

/// A file's name is part of the error, so that it can be clicked on.
#[test]
fn the_file_is_named() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("cairn.toml");
    assert!(Config::load(&path).is_err());
    std::fs::write(&path, "[node]\n\nnoname = 1\n").unwrap();
    let error = Config::load(&path).unwrap_err();
    assert_eq!((error.file.as_deref(), error.line, error.column), (Some(path.as_path()), 3, 1));
    std::fs::write(&path, namespace("")).unwrap();
    assert!(Config::load(&path).is_ok());
}
