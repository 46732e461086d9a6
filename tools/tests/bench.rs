//! `cairn bench` as its users have it: job files good and bad, results that programs read, refusals, an interrupted run.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

fn bench(folder: &Path, args: &[&str]) -> Output {
    Command::new(CAIRN).arg("bench").args(args).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a job file that must succeed; gives what it printed and its results.
fn run(folder: &Path, jobs: &str, args: &[&str]) -> (String, Value) {
    fs::write(folder.join("x.fio"), jobs).unwrap();
    let output = bench(folder, &[&["x.fio", "--json", "x.json"], args].concat());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let json = serde_json::from_slice(&fs::read(folder.join("x.json")).unwrap()).unwrap();
    (text(&output.stdout), json)
}

const RECORDS: &str = "[global]\nioengine=cairn-embedded\nfilename=x.dat\nsize=64m\nrecords=500\n\
                       bssplit=100/50:1k/50\ndurability=buffer\nverify\nnumber_ios=2000\n";

/// Jobs of a file run side by side or one after the other, and each one's figures are its own.
#[test]
fn a_job_file_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = format!(
        "{RECORDS}[readers]\nrw=randread\nnumjobs=2\n[writer]\nrw=randwrite\n[later]\nstonewall\nrw=randrw\nrwmixread=80\n"
    );
    let extras = ["--svg", "x.svg", "--hdr-log", "x.hlog", "--hgrm", "hgrm"];
    let (_, json) = run(folder.path(), &jobs, &extras);
    let ios = |job: usize, side: &str| json["jobs"][job][side]["total_ios"].as_u64().unwrap();
    assert_eq!((ios(0, "read"), ios(0, "write")), (4000, 0));
    assert_eq!((ios(1, "read"), ios(1, "write")), (0, 2000));
    assert_eq!(ios(2, "read") + ios(2, "write"), 2000);
    assert_eq!((&json["jobs"][1]["groupid"], &json["jobs"][2]["groupid"]), (&0.into(), &1.into()));
    assert_eq!(json["jobs"][0]["cairn"]["mismatches"], 0);
    assert!(fs::read_to_string(folder.path().join("x.svg")).unwrap().contains("readers"));
    let log = fs::read_to_string(folder.path().join("x.hlog")).unwrap();
    assert!(log.contains("Tag=readers.read,"), "{log}");
    assert_eq!(fs::read_dir(folder.path().join("hgrm")).unwrap().count(), 4);
}

/// A mistake in a job file is told with its line, before anything is opened or created.
#[test]
fn a_wrong_job_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (jobs, place) in [
        (format!("{RECORDS}iodpeth=4\n[a]\n"), "x.fio:10:"),
        (format!("{RECORDS}[a]\nrate_iops=fast\n"), "x.fio:11:"),
        (format!("{RECORDS}[a]\nsync=dsync\n"), "x.fio:10:"),
        ("bs=4k\n".to_owned(), "x.fio:1:"),
    ] {
        fs::write(folder.path().join("x.fio"), &jobs).unwrap();
        let output = bench(folder.path(), &["x.fio"]);
        assert!(!output.status.success(), "{jobs}");
        assert!(text(&output.stderr).contains(place), "{jobs}: {}", text(&output.stderr));
    }
    assert!(!folder.path().join("x.dat").exists());
}

/// A fixed rate is kept and told apart from what is possible; YCSB and a trace at its own speed run on the same file.
#[test]
fn rates_and_workloads_are_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let open = format!("{RECORDS}[open]\nrw=randread\nrate_iops=4000\nrate_process=poisson\n");
    let (_, json) = run(folder.path(), &open, &[]);
    let job = &json["jobs"][0];
    assert_eq!((&job["cairn"]["loop"], &job["read"]["total_ios"]), (&"open".into(), &2000.into()));
    assert!(job["cairn"]["start_delay_ns"]["N"].as_u64() == Some(2000));

    let ycsb = "[f]\nioengine=cairn-embedded\nfilename=y.dat\nsize=64m\nrecords=500\nycsb=F\nverify\n\
                durability=buffer\nnumber_ios=1000\n";
    let (_, json) = run(folder.path(), ycsb, &[]);
    let operations = &json["jobs"][0]["cairn"]["operations"];
    let ios = |op: &str| operations[op]["total_ios"].as_u64().unwrap();
    assert_eq!(ios("read") + ios("rmw"), 1000);
    let (out, _) = run(folder.path(), &ycsb.replace("=F\nverify", "=E"), &[]);
    assert!(out.contains("partition"), "E says what it does: {out}");

    let lines: String = (0..200).map(|n| format!("0.{n:03},put,{},100\n", n % 7)).collect();
    fs::write(folder.path().join("t.csv"), lines).unwrap();
    let target =
        ["--target", "embedded", "--filename", "t.dat", "--size", "64m", "--durability", "buffer"];
    let trace = ["--trace", "t.csv", "--trace-speed", "10", "--verify"];
    assert!(bench(folder.path(), &[&target[..], &trace].concat()).status.success());
}

/// The bare side reads a file that it made itself, and never writes over one that was there.
#[test]
fn a_raw_job_does_not_destroy() {
    let folder = tempfile::tempdir().unwrap();
    let raw = "[r]\nioengine=io_uring\nfilename=r.dat\nsize=1m\nbs=4k\n";
    fs::write(folder.path().join("x.fio"), format!("{raw}rw=randread\n")).unwrap();
    let first = bench(folder.path(), &["x.fio", "--json", "x.json"]);
    if !first.status.success() && text(&first.stderr).contains("io_uring") {
        eprintln!("skipped: this machine allows no io_uring: {}", text(&first.stderr));
        return;
    }
    let (_, json) = run(folder.path(), &format!("{raw}rw=read\n"), &[]);
    assert_eq!(json["jobs"][0]["read"]["io_bytes"], 1 << 20);
    let image = fs::read(folder.path().join("r.dat")).unwrap();
    assert!(image.chunks(4096).all(|block| block.iter().any(|byte| *byte != 0)), "laid out");
    fs::write(folder.path().join("x.fio"), format!("{raw}rw=randwrite\n")).unwrap();
    assert!(!bench(folder.path(), &["x.fio"]).status.success());
    assert_eq!(fs::read(folder.path().join("r.dat")).unwrap(), image);
    let durable = format!("{raw}rw=randwrite\nfdatasync=1\niodepth=4\n");
    let (_, json) = run(folder.path(), &durable, &["--overwrite"]);
    assert_eq!(json["jobs"][0]["write"]["total_ios"], 256);
    assert!(fs::read(folder.path().join("r.dat")).unwrap() != image);
}

/// Ctrl-C ends a run, not the results: what was measured so far is shown and written.
#[test]
fn an_interrupted_run_shows_what_it_measured() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = RECORDS.replace("number_ios=2000\n", "runtime=1h\n") + "[a]\nrw=randread\n";
    fs::write(folder.path().join("x.fio"), jobs).unwrap();
    let child = Command::new(CAIRN)
        .args(["bench", "x.fio", "--json", "x.json", "--live", "always"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let mut child = child;
    // The first live line tells that it measures.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("in flight")));
    // SAFETY: a signal to our own child, which is not waited for yet, so that its number is still its own.
    unsafe { libc::kill(pid, libc::SIGINT) };
    assert!(child.wait().unwrap().success());
    let json: Value =
        serde_json::from_slice(&fs::read(folder.path().join("x.json")).unwrap()).unwrap();
    assert!(json["jobs"][0]["read"]["total_ios"].as_u64().unwrap() > 0);
}
