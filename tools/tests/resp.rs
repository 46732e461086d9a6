//! `cairn bench --target resp` as its users have it, against Cairn's own door and, where it is installed, against Redis: what it measures, what it finds wrong, and
//! how it ends when the server does not play along.

#[path = "redis/link.rs"]
#[expect(dead_code, reason = "the comparison with Redis needs more of it")]
mod link;
#[path = "redis/server.rs"]
mod server;
#[path = "redis/wire.rs"]
#[expect(dead_code, reason = "the comparison with Redis needs more of it")]
mod wire;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use server::{Server, redis_is_here};
use wire::Reply;

/// Both servers, or the one that is here.
fn servers() -> Vec<Server> {
    let redis = redis_is_here().then(|| Server::redis(&[]));
    [Server::cairn()].into_iter().chain(redis).collect()
}

fn command(folder: &Path, port: u16, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    let host = format!("127.0.0.1:{port}");
    command.args(["bench", "--target", "resp", "--host", &host, "--ramp-time", "0"]);
    command.args(["--json", "x.json"]).args(args.split_whitespace());
    command.env_remove("REDISCLI_AUTH").current_dir(folder);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn results(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("x.json")).unwrap()).unwrap()
}

/// A run that must succeed; gives what it printed and its results.
fn run(folder: &Path, port: u16, args: &str) -> (String, Value) {
    let output = command(folder, port, args).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    (text(&output.stdout), results(folder))
}

/// A run that must fail; gives what it said.
fn fail(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(!status.success(), "{}", text(&stdout));
    text(&stderr)
}

fn ask(server: &Server, lines: &str) -> Reply {
    let mut link = server.link();
    let mut last = Reply::Null(b'_');
    for line in lines.lines() {
        link.send(format!("{line}\r\n").as_bytes(), 0).unwrap();
        last = link.answer().unwrap().reply;
    }
    last
}

/// Exactly what was asked for is done, verified and shown, however it is spread over connections; each database has its own records.
#[test]
fn a_server_is_measured() {
    for server in servers() {
        let folder = tempfile::tempdir().unwrap();
        for connections in [1, 4, 16] {
            let args = format!(
                "--records 500 --bs 700 --rw randrw --iodepth 16 --numjobs 2 --ops 3000 --verify --connections {connections} \
                 --svg x.svg --hdr-log x.hlog"
            );
            let (_, json) = run(folder.path(), server.port(), &args);
            let job = &json["jobs"][0];
            let ios = |side: &str| job[side]["total_ios"].as_u64().unwrap();
            assert_eq!(ios("read") + ios("write"), 3000);
            assert_eq!(job["read"]["io_bytes"].as_u64().unwrap(), 700 * ios("read"));
            let counts = ["misses", "mismatches", "errors"].map(|name| &job["cairn"][name]);
            assert_eq!(counts, [0, 0, 0], "{connections} connections");
            assert!(job["cairn"]["server_cpu_us_per_op"].is_number());
        }
        assert!(fs::read_to_string(folder.path().join("x.svg")).unwrap().contains("bench"));
        assert!(fs::read_to_string(folder.path().join("x.hlog")).unwrap().contains("Tag=bench."));
        assert_eq!(ask(&server, "EXISTS bench:0 bench:499 bench:500"), Reply::Integer(2));
        run(folder.path(), server.port(), "--db 3 --set other --records 10 --ops 100 --verify");
        assert_eq!(ask(&server, "EXISTS other:0"), Reply::Integer(0));
        assert_eq!(ask(&server, "SELECT 3\nEXISTS other:0 other:9 bench:0"), Reply::Integer(2));
    }
}

/// The named workloads, a job file at a fixed rate, and a trace whose every read is known.
#[test]
fn workloads_rates_and_traces_run() {
    for server in servers() {
        let folder = tempfile::tempdir().unwrap();
        for letter in ["A", "B", "C", "D", "F"] {
            let args = format!("--ycsb {letter} --set {letter} --records 300 --ops 600 --verify");
            let (out, json) = run(folder.path(), server.port(), &args);
            let operations = json["jobs"][0]["cairn"]["operations"].as_object().unwrap();
            let ios: u64 = operations.values().map(|op| op["total_ios"].as_u64().unwrap()).sum();
            assert_eq!(ios, 600, "{letter}");
            let (reads, bytes) =
                (&operations["read"]["total_ios"], &operations["read"]["io_bytes"]);
            assert_eq!(bytes.as_u64().unwrap(), 1000 * reads.as_u64().unwrap(), "{letter}");
            // Who compares an update of a field with one of a whole value must be told.
            assert_eq!(
                out.contains("string"),
                matches!(letter, "A" | "B" | "F"),
                "{letter}: {out}"
            );
        }
        let host = format!("host=127.0.0.1:{}", server.port());
        let jobs = format!(
            "[global]\ntarget=resp\n{host}\nrecords=100\nverify\n[open]\nrw=randrw\nrate_iops=2000\nrate_process=poisson\n\
             number_ios=500\n[beside]\nrw=randread\nnumber_ios=500\n"
        );
        fs::write(folder.path().join("x.fio"), jobs).unwrap();
        let (_, json) = run(folder.path(), server.port(), "x.fio");
        let open = &json["jobs"][0]["cairn"];
        assert_eq!((&open["loop"], &open["start_delay_ns"]["N"]), (&"open".into(), &500.into()));

        let kinds = ["put", "get", "get", "delete", "get"];
        let line = |n: usize| format!("0.{n:03},{},{},100\n", kinds[n % 5], n % 7);
        fs::write(folder.path().join("t.csv"), (0..900).map(line).collect::<String>()).unwrap();
        for speed in ["", "--trace-speed 10"] {
            let args = format!("--set t --verify --connections 2 --trace t.csv {speed}");
            let (_, json) = run(folder.path(), server.port(), &args);
            assert_eq!(json["jobs"][0]["cairn"]["mismatches"], 0);
        }
    }
}

/// A value that somebody else wrote is found, one that is gone is counted: otherwise `verify` verifies nothing.
#[test]
fn a_wrong_value_is_found() {
    for server in servers() {
        let folder = tempfile::tempdir().unwrap();
        // In order, each key exactly once.
        let args = "--records 200 --rw read --ops 200 --verify";
        run(folder.path(), server.port(), args);
        ask(&server, "SET bench:7 wrong\nDEL bench:8");
        fail(command(folder.path(), server.port(), args).arg("--no-load"));
        let cairn = &results(folder.path())["jobs"][0]["cairn"];
        assert_eq!((&cairn["mismatches"], &cairn["misses"]), (&1.into(), &1.into()));
        assert_eq!(cairn["errors"], 0);
    }
}

/// What the server refuses is counted and told in its own words, and is in no latency.
#[test]
fn errors_of_the_server_are_told() {
    let refused = |server: &Server, args: &str, words: &str| {
        let folder = tempfile::tempdir().unwrap();
        let said = fail(&mut command(folder.path(), server.port(), args));
        assert!(said.contains(words), "{said}");
        let job = &results(folder.path())["jobs"][0];
        let sides = ["read", "write"].map(|side| job[side]["total_ios"].as_u64().unwrap());
        assert_eq!(job["cairn"]["errors"].as_u64().unwrap() + sides[0] + sides[1], 50);
        assert!(job["cairn"]["errors"].as_u64().unwrap() > 0);
    };
    // A value larger than a write block holds.
    refused(&Server::cairn(), "--rw randwrite --bs 2m --iodepth 2 --ops 50 --no-load", "ERR");
    if redis_is_here() {
        let redis = Server::redis(&[]);
        // None of the keys that are looked at before the run, which would end there and then.
        ask(&redis, "RPUSH bench:7 x");
        refused(&redis, "--rw read --records 200 --ops 50 --no-load", "WRONGTYPE");
        let full = Server::redis(&["--maxmemory", "1"]);
        refused(&full, "--rw randwrite --ops 50 --no-load", "OOM");
    }
}

/// A server that goes away ends the run, with what was measured until then.
#[test]
fn a_server_that_goes_away_ends_the_run() {
    for server in servers() {
        let folder = tempfile::tempdir().unwrap();
        let args = "--records 100 --runtime 1h --connections 2 --numjobs 2 --live always";
        let mut command = command(folder.path(), server.port(), args);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // The first live line tells that it measures.
        assert!(lines.any(|line| line.unwrap().contains("in flight")));
        drop(server);
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(!child.wait().unwrap().success(), "{rest:?}");
        let job = &results(folder.path())["jobs"][0];
        assert!(job["read"]["total_ios"].as_u64().unwrap() > 0);
        assert!(job["cairn"]["errors"].as_u64().unwrap() > 0);
    }
}

/// The right password opens, from wherever it comes; a wrong one and none are told as what they are. None is ever shown.
#[test]
fn passwords_are_taken_from_outside_the_command_line() {
    const PASSWORD: &str = "no-one-guesses-this";
    let redis = redis_is_here().then(|| Server::redis(&["--requirepass", PASSWORD]));
    for server in [Server::cairn_with_password(PASSWORD)].into_iter().chain(redis) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("good"), format!("{PASSWORD}\n")).unwrap();
        fs::write(folder.path().join("bad"), "another\n").unwrap();
        let bench = |args: &str, variable: Option<&str>| {
            let mut command = command(folder.path(), server.port(), "--records 10 --ops 100");
            command.args(args.split_whitespace());
            command.envs(variable.map(|password| ("REDISCLI_AUTH", password)));
            command
        };
        assert!(fail(&mut bench("", None)).contains("NOAUTH"));
        assert!(fail(&mut bench("", Some("another"))).contains("WRONGPASS"));
        assert!(fail(&mut bench("--password-file bad", Some(PASSWORD))).contains("WRONGPASS"));
        for (args, variable) in [
            ("", Some(PASSWORD)),
            ("--password-file good", Some("another")),
            ("--password-file good --user default --connections 3", None),
        ] {
            let output = bench(args, variable).output().unwrap();
            assert!(output.status.success(), "{args}: {}", text(&output.stderr));
            let json = fs::read_to_string(folder.path().join("x.json")).unwrap();
            let said = text(&output.stdout) + &text(&output.stderr) + &json;
            assert!(!said.contains(PASSWORD), "{said}");
        }
    }
}

/// What cannot be mapped to strings is refused before anything is asked; what answers and is no such server is told as that.
#[test]
fn what_cannot_be_measured_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for args in ["--ycsb E", "--durability buffer", "--bins 4", "--mix read:50,scan:50"] {
        fail(&mut command(folder.path(), port, args));
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody was asked");

    listener.set_nonblocking(false).unwrap();
    let web = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    assert!(fail(&mut command(folder.path(), port, "")).contains("RESP"));
    web.join().unwrap();
}
