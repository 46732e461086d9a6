//! Owns the two servers' processes: a free port and an empty folder each; both end with the test.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::link::Link;

/// A running server that speaks RESP.
pub struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

/// Whether `redis-server` is installed. Where it is not, this says so, and what is compared with it is skipped.
pub fn redis_is_here() -> bool {
    let version = Command::new("redis-server").arg("--version").output();
    match version {
        Ok(version) if version.status.success() => true,
        _ => {
            eprintln!("SKIPPED: redis-server is not installed (apt-get install redis-server)");
            false
        }
    }
}

impl Server {
    /// A Redis that writes nothing to disk.
    pub fn redis(options: &[&str]) -> Self {
        Self::start("redis-server", |command, port, folder| {
            command.args(["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly"]);
            command.args(["no", "--loglevel", "warning", "--dir"]).arg(folder.path());
            command.args(options);
        })
    }

    /// A Cairn as a user tries it.
    pub fn cairn() -> Self {
        Self::start(env!("CARGO_BIN_EXE_cairn"), |command, port, folder| {
            command.args(["serve", "--dev", "--grpc-port", "0", "--http-port", "0"]);
            command.args(["--resp-port", port, "--data-dir"]).arg(folder.path());
        })
    }

    /// A Cairn that asks for a password.
    pub fn cairn_with_password(password: &str) -> Self {
        Self::start(env!("CARGO_BIN_EXE_cairn"), |command, port, folder| {
            let config = folder.path().join("cairn.toml");
            let text = format!(
                "[node]\ngrpc-port = 0\nhttp-port = 0\n[resp]\nport = {port}\npassword = {password:?}\n[[namespace]]\nname = \"test\"\n\
                 [namespace.storage]\nfiles = [{{ path = {:?}, size = \"64MiB\" }}]\n",
                folder.path().join("test.dat")
            );
            std::fs::write(&config, text).expect("the configuration can be written");
            command.args(["serve", "--config"]).arg(config);
        })
    }

    fn start(program: &str, prepare: impl FnOnce(&mut Command, &str, &TempDir)) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        let port = free_port();
        let mut command = Command::new(program);
        prepare(&mut command, &port.to_string(), &folder);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the server's program starts");
        let mut server = Self { child, port, _folder: folder };
        server.wait_until_up();
        server
    }

    fn wait_until_up(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let up = Link::open(self.port)
                .is_ok_and(|mut link| link.send(b"PING\r\n", 0).is_ok() && link.answer().is_ok());
            if up {
                return;
            }
            let ended = self.child.try_wait().expect("the server is ours to watch");
            assert!(ended.is_none(), "the server ended at once: {ended:?}");
            assert!(Instant::now() < deadline, "the server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn link(&self) -> Link {
        Link::open(self.port).expect("a running server takes connections")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}
