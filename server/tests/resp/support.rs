//! A node with a Redis door on a temporary file, and a client that says bytes and reads bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use cairn_engine::DeviceConfig;
use cairn_server::{Config, Node, Options};
use tempfile::TempDir;

/// A node, and the directory its data is in.
pub struct TestNode {
    node: Option<Node>,
    dir: TempDir,
    change: fn(&mut Config),
}

impl TestNode {
    /// A node with namespace `test`.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// A node whose configuration `change` has changed.
    pub fn with(change: fn(&mut Config)) -> Self {
        let dir = TempDir::new().unwrap();
        let node = Some(start(&dir, change));
        Self { node, dir, change }
    }

    /// Stops it cleanly and starts it again on the same data.
    pub fn restart(&mut self) {
        self.node.take().unwrap().stop().unwrap();
        self.node = Some(start(&self.dir, self.change));
    }

    pub fn address(&self) -> SocketAddr {
        self.node.as_ref().unwrap().addresses().resp.unwrap()
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }
}

fn start(dir: &TempDir, change: fn(&mut Config)) -> Node {
    let mut config = Config::dev(dir.path());
    config.node.grpc_port = 0;
    config.node.http_port = 0;
    config.node.workers = 2;
    config.resp.port = Some(0);
    for device in &mut config.namespaces[0].engine.devices {
        if let DeviceConfig::File { size, .. } = device {
            *size = 256 << 20;
        }
    }
    change(&mut config);
    Node::start(config, Options::default()).unwrap()
}

/// A connection.
pub struct Client {
    pub socket: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, read: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends a command and answers what comes back, as it is on the wire.
    pub fn ask(&mut self, words: &[&str]) -> String {
        self.send(&command(words));
        self.answer()
    }

    /// The next answer, as it is on the wire.
    pub fn answer(&mut self) -> String {
        loop {
            if let Some(len) = answer_len(&self.read) {
                let answer = self.read.drain(..len).collect();
                return String::from_utf8(answer).unwrap();
            }
            assert!(
                self.more(),
                "the node closed the connection: {:?}",
                self.read.escape_ascii().to_string()
            );
        }
    }

    /// Everything until the node closes the connection.
    pub fn rest(mut self) -> String {
        while self.more() {}
        String::from_utf8(self.read).unwrap()
    }

    /// The same, however the node closes it: with unread bytes of ours the kernel resets.
    pub fn until_closed(mut self) -> String {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = self.socket.read(&mut piece) {
            self.read.extend_from_slice(&piece[..count]);
        }
        String::from_utf8(self.read).unwrap()
    }

    /// The next answer; `None` if the node closes the connection instead.
    pub fn until_answered(mut self) -> Option<String> {
        let mut piece = [0; 4096];
        while answer_len(&self.read).is_none() {
            let count = self.socket.read(&mut piece).unwrap_or(0);
            self.read.extend_from_slice(&piece[..count]);
            if count == 0 {
                return None;
            }
        }
        String::from_utf8(self.read).ok()
    }

    fn more(&mut self) -> bool {
        let mut piece = [0; 64 << 10];
        let count = self.socket.read(&mut piece).unwrap();
        self.read.extend_from_slice(&piece[..count]);
        count > 0
    }
}

/// A command as clients send it.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        out += &format!("${}\r\n{word}\r\n", word.len());
    }
    out.into_bytes()
}

/// Bytes of the answer at the front; `None` while it is not complete.
fn answer_len(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut left) = (0, 1);
    while left > 0 {
        let end = at + bytes.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
        let text = std::str::from_utf8(&bytes[at + 1..end]).unwrap();
        let number = || text.parse::<i64>();
        let kind = bytes[at];
        at = end + 2;
        left -= 1;
        match kind {
            b'$' | b'=' => {
                at += number().map_or(0, |len| if len < 0 { 0 } else { len as usize + 2 })
            }
            b'*' | b'~' | b'>' => left += number().unwrap().max(0),
            b'%' => left += 2 * number().unwrap(),
            _ => {}
        }
    }
    (at <= bytes.len()).then_some(at)
}
