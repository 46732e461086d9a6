//! The binary as a user has it: a node, commands against it, exit statuses.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// A running `cairn serve`; killed when dropped.
struct Node {
    child: Child,
    address: SocketAddr,
}

impl Node {
    fn start(folder: &Path) -> Self {
        let config = folder.join("cairn.toml");
        let text = format!(
            "[node]\ngrpc-port = 0\nhttp-port = 0\n[resp]\nport = 0\n[[namespace]]\nname = \"test\"\n\
             [namespace.storage]\nfiles = [{{ path = {:?}, size = \"64MiB\" }}]\n",
            folder.join("test.dat")
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new(CAIRN)
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let banner = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut words = banner
            .map_while(Result::ok)
            .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let address =
            words.find_map(|word| word.parse().ok()).expect("the banner names an address");
        Self { child, address }
    }

    fn run(&self, args: &[&str]) -> Output {
        let host = self.address.to_string();
        Command::new(CAIRN).args(args).args(["--host", &host]).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed, one JSON value a line.
    fn json(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(&[args, &["--output", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn fails(&self, args: &[&str]) {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?} says nothing");
    }

    /// Stops the node as an operator does, and returns its exit status.
    fn stop(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: a signal to our own child, which is not waited for yet, so that its number is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a user writes on the command line is what the node keeps, over a restart too; failures have a status of their own.
#[test]
fn records_are_written_read_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let put = [
        "put",
        "test/users/ada",
        "name=Ada",
        "born=1815",
        "tags=[\"a\",{\"b\":null}]",
        "raw={\"$bytes\":\"AP8=\"}",
    ];
    assert_eq!(node.json(&put)[0]["generation"], 1);
    node.fails(&["put", "test/users/ada", "name=x", "--create-only"]);
    node.fails(&["put", "test/users/bob", "name=x", "--update-only"]);
    node.fails(&["get", "test/users/bob"]);
    node.fails(&["exists", "test/users/bob"]);
    node.fails(&["get", "users/bob"]);
    node.fails(&["get", "nowhere/users/bob"]);
    assert_eq!(node.json(&["touch", "test/users/ada", "--ttl", "1h"])[0]["ttl"], 3600);
    assert_eq!(node.stop(), Some(0));

    let node = Node::start(folder.path());
    let record = &node.json(&["get", "test/users/ada"])[0];
    let bins = serde_json::json!({
        "name": "Ada", "born": 1815, "tags": ["a", { "b": null }], "raw": { "$bytes": "AP8=" }
    });
    assert_eq!((&record["bins"], &record["generation"]), (&bins, &2.into()));
    let status = &node.json(&["status"])[0]["namespaces"][0];
    assert_eq!((&status["records"], &status["evicted"]), (&1.into(), &0.into()));
    assert!(status["used_pct"].as_f64().unwrap() > 0.0, "{status}");
    // Nothing was written since this start.
    assert!(status["write_amplification"].is_null(), "{status}");
    assert_eq!(status["blocks_by_fill"].as_array().map(Vec::len), Some(10));
    node.json(&["delete", "test/users/ada"]);
    node.fails(&["delete", "test/users/ada"]);
    assert_eq!(node.stop(), Some(0));
}

/// A client that goes away while the node answers it makes the kernel send SIGPIPE: that must not end the node.
#[test]
fn a_node_outlives_its_clients() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let pid = i32::try_from(node.child.id()).unwrap();
    // SAFETY: a signal to our own child, which is not waited for yet, so that its number is still its own.
    unsafe { libc::kill(pid, libc::SIGPIPE) };
    node.json(&["put", "test/users/ada", "name=Ada"]);
    assert_eq!(node.stop(), Some(0));
}

/// What a scan prints is what a load reads: records go out and come back unchanged; bad lines are told and not fatal.
#[test]
fn a_scan_can_be_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let file = folder.path().join("in.jsonl");
    let line = |n: i64| {
        format!(r#"{{"namespace":"test","set":"s","key":{n},"bins":{{"n":{n},"l":[1.5,"x"]}}}}"#)
    };
    let lines: Vec<String> = (0..1000).map(line).collect();
    fs::write(&file, lines.join("\n") + "\n\n").unwrap();
    assert!(node.run(&["load", file.to_str().unwrap()]).status.success());
    assert!(!folder.path().join("in.jsonl.cairn-load").exists());

    let scan = node.json(&["scan", "test/s"]);
    assert_eq!(scan.len(), 1000);
    let text: String = scan.iter().map(|record| format!("{record}\n")).collect();
    let out = folder.path().join("out.jsonl");
    fs::write(&out, text + "nonsense\n").unwrap();
    node.json(&["truncate", "test/s", "--yes"]);
    assert_eq!(node.json(&["scan", "test"]).len(), 0);
    node.fails(&["load", out.to_str().unwrap()]);
    let again = node.json(&["scan", "test/s"]);
    let key = |record: &Value| record["key"].as_i64();
    let sorted = |mut records: Vec<Value>| {
        records.sort_by_key(key);
        records.into_iter().map(|record| record["bins"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(sorted(again), sorted(scan));
    // The line that failed is tried again, and only that one.
    node.fails(&["load", out.to_str().unwrap(), "--resume"]);
}

/// A device is looked at offline, and damage on it is found and told by the exit status.
#[test]
fn damage_is_found_offline() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    for n in 0..20 {
        node.json(&["put", &format!("test/s/{n}"), "text=something to damage"]);
    }
    let device = folder.path().join("test.dat");
    let inspect =
        || Command::new(CAIRN).arg("inspect").arg(&device).arg("--verify").output().unwrap();
    assert!(!inspect().status.success(), "a device in use is left alone");
    assert_eq!(node.stop(), Some(0));
    assert!(inspect().status.success());
    let mut bytes = fs::read(&device).unwrap();
    let place = bytes.windows(9).position(|window| window == b"something").unwrap();
    bytes[place] ^= 1;
    fs::write(&device, bytes).unwrap();
    assert!(!inspect().status.success());
}

/// A mistake in a configuration stops the check and the start; the printed default is sound.
#[test]
fn configurations_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let check =
        || Command::new(CAIRN).args(["config", "check"]).arg(&file).output().unwrap().status;
    let default = Command::new(CAIRN).args(["config", "default"]).output().unwrap().stdout;
    fs::write(&file, &default).unwrap();
    assert!(check().success());
    fs::write(&file, [&default[..], b"\nunknown = 1\n"].concat()).unwrap();
    assert!(!check().success());
    let serve = Command::new(CAIRN).args(["serve", "--config"]).arg(&file).output().unwrap();
    assert!(!serve.status.success());
}

/// Formatting refuses what holds somebody's data, and does not touch it, unless it is named.
#[test]
fn formatting_refuses_foreign_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    let mut image = vec![0u8; 32 << 20];
    // The mark of an ext file system.
    image[1080..1082].copy_from_slice(&[0x53, 0xef]);
    fs::write(&file, &image).unwrap();
    let format = |force: bool| {
        let mut command = Command::new(CAIRN);
        command.arg("format").arg(&file).args(["--namespace", "test"]);
        if force {
            command.arg("--force").arg(&file);
        }
        command.output().unwrap().status.success()
    };
    assert!(!format(false));
    assert_eq!(fs::read(&file).unwrap(), image);
    assert!(format(true));
    assert!(Command::new(CAIRN).arg("inspect").arg(&file).output().unwrap().status.success());
}

/// The bench reads what it wrote, in process and over the network, and writes results that plotters of fio's can read.
#[test]
fn the_bench_verifies_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let json = folder.path().join("out.json");
    let common = [
        "bench",
        "--keys",
        "500",
        "--value-size",
        "100",
        "--ops",
        "2000",
        "--verify",
        "--read-pct",
        "80",
        "--jobs",
        "2",
        "--json",
    ];
    let common = [&common[..], &[json.to_str().unwrap()]].concat();
    let check = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let result: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        let ios = |side: &str| result["jobs"][0][side]["total_ios"].as_u64().unwrap();
        assert_eq!(ios("read") + ios("write"), 2000);
    };
    check(node.run(&common));
    check(node.run(&[&common[..], &["--mode", "unary"]].concat()));
    let file = folder.path().join("bench.dat");
    let embedded = ["--target", "embedded", "--size", "64MiB", "--path", file.to_str().unwrap()];
    check(Command::new(CAIRN).args(&common).args(embedded).output().unwrap());
}

/// A trace is replayed in the order of each key, and every value is checked.
#[test]
fn a_trace_is_replayed_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, file) = (folder.path().join("t.csv"), folder.path().join("t.dat"));
    let op = |n: u64| match n % 3 {
        0 => "get",
        1 => "put",
        _ => "put",
    };
    let lines: String =
        (0..2000).map(|n| format!("{n},{},{},{}\n", op(n * 7 / 5), n * n % 37, n % 5000)).collect();
    fs::write(&trace, format!("time_s,op,key,bytes\n{lines}")).unwrap();
    let run = Command::new(CAIRN)
        .args([
            "bench",
            "--target",
            "embedded",
            "--size",
            "64MiB",
            "--durability",
            "buffer",
            "--verify",
            "--depth",
            "16",
        ])
        .arg("--path")
        .arg(&file)
        .arg("--trace")
        .arg(&trace)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    fs::write(&trace, "0,frob,1,1\n").unwrap();
    let bad = Command::new(CAIRN)
        .args(["bench", "--target", "embedded", "--path"])
        .arg(&file)
        .arg("--trace")
        .arg(&trace)
        .output();
    assert!(!bad.unwrap().status.success());
}
