//! A real node is killed in the middle of its work, again and again: whatever it acknowledged as durable is there afterwards, whatever it
//! deleted is not.
//!
//! `CAIRN_KILLS` says how often (5 unless set), `CAIRN_SEED` replays the choices (the moment of a kill is the operating system's).

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cairn_sdk::{Client, Key, Value, bins};

const WRITERS: u64 = 32;
const KEYS_EACH: u64 = 40;

/// What a key may hold: the number of its last write, or nothing.
type State = Option<i64>;

/// One key: what was acknowledged last, and what was on its way since.
#[derive(Clone, Copy, Default)]
struct Known {
    acknowledged: State,
    /// Not answered when the node was killed: it may have been applied or not.
    unanswered: Option<State>,
    /// The number of the last write tried.
    last: i64,
}

struct Node {
    child: Child,
    address: String,
}

impl Node {
    /// Starts a node on `config` and waits until it answers.
    async fn start(config: &Path, port: u16) -> (Self, Client) {
        let child = Command::new(env!("CARGO_BIN_EXE_cairn"))
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the node's program starts");
        let node = Self { child, address: format!("127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match Client::connect(&node.address).await {
                Ok(client) => return (node, client),
                Err(error) => {
                    assert!(Instant::now() < deadline, "the node does not answer: {error}")
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn kill(&mut self) {
        self.child.kill().expect("the node runs");
        self.child.wait().expect("a killed node ends");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn write_config(dir: &Path, port: u16, http: u16) -> PathBuf {
    let path = dir.join("cairn.toml");
    let data = dir.join("test.dat");
    let text = format!(
        "[node]\ngrpc-port = {port}\nhttp-port = {http}\n\n[resp]\nport = 0\n\n[[namespace]]\nname = \"test\"\n\n[namespace.storage]\n\
         files = [{{ path = {data:?}, size = \"192MiB\" }}]\nwrite-block-size = \"256KiB\"\nflush-size = \"64KiB\"\n"
    );
    std::fs::write(&path, text).expect("the configuration can be written");
    path
}

fn key(writer: u64, n: u64) -> Key {
    Key::new("test", "kill", format!("{writer}-{n}"))
}

/// A value that tells its number in every byte, so that a torn one shows.
fn content(number: i64) -> Vec<u8> {
    let len = 20 + number.unsigned_abs() as usize * 131 % 1500;
    vec![number as u8; len]
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Writes and deletes until the node is gone. Returns what is known of each key, and how many writes were acknowledged.
async fn write(client: Client, writer: u64, mut known: Vec<Known>, seed: u64) -> (Vec<Known>, u64) {
    let mut chance = Chance(seed ^ writer);
    let mut acknowledged = 0;
    loop {
        let n = chance.below(KEYS_EACH);
        let state = &mut known[n as usize];
        let key = key(writer, n);
        let deletes = state.acknowledged.is_some() && chance.below(4) == 0;
        state.last += 1;
        let next = (!deletes).then_some(state.last);
        let answer = match next {
            Some(number) => client
                .put(&key, bins! { "n" => number, "content" => Value::from(content(number)) })
                .replace()
                .await
                .map(|_| ()),
            None => client.delete(&key).await.map(|_| ()),
        };
        match answer {
            Ok(()) => {
                state.acknowledged = next;
                acknowledged += 1;
            }
            Err(_) => {
                state.unanswered = Some(next);
                return (known, acknowledged);
            }
        }
    }
}

/// Reads every key and compares. Takes over what is found as what is known.
async fn check(client: &Client, writer: u64, known: &mut [Known], seed: u64) {
    for (n, state) in (0..).zip(known.iter_mut()) {
        let record =
            client.get(&key(writer, n)).await.expect("a record that was written can be read");
        let found = record.map(|record| match (record.get("n"), record.get("content")) {
            (Some(Value::Int(number)), Some(Value::Bytes(bytes))) => {
                assert!(**bytes == *content(*number), "key {writer}-{n} is torn, seed {seed}");
                *number
            }
            other => panic!("key {writer}-{n} holds {other:?}, seed {seed}"),
        });
        let possible = [Some(state.acknowledged), state.unanswered];
        assert!(
            possible.contains(&Some(found)),
            "key {writer}-{n}: found {found:?}, acknowledged {:?}, on its way {:?}, seed {seed}",
            state.acknowledged,
            state.unanswered,
        );
        *state = Known { acknowledged: found, unanswered: None, last: state.last };
    }
}

/// What a user loses if this fails: data, after the plainest of all crashes.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_keeps_its_word() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("CAIRN_KILLS").unwrap_or(5);
    let seed = number("CAIRN_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let dir = tempfile::tempdir().expect("a folder for the node");
    let port = free_port();
    let config = write_config(dir.path(), port, free_port());
    let mut chance = Chance(seed);
    let mut known = vec![vec![Known::default(); KEYS_EACH as usize]; WRITERS as usize];
    let mut acknowledged = 0;
    for round in 0..=kills {
        let (mut node, client) = Node::start(&config, port).await;
        for (writer, known) in (0..).zip(&mut known) {
            check(&client, writer, known, seed).await;
        }
        if round == kills {
            break;
        }
        let writers: Vec<_> = (0..)
            .zip(known.drain(..))
            .map(|(writer, known)| {
                tokio::spawn(write(client.clone(), writer, known, seed ^ round << 8))
            })
            .collect();
        // The moment of the kill: the one thing here that is left to chance, and to the clock.
        tokio::time::sleep(Duration::from_millis(20 + chance.below(400))).await;
        node.kill();
        for writer in writers {
            let (state, count) = writer.await.expect("a writer ends when its node is gone");
            known.push(state);
            acknowledged += count;
        }
    }
    println!(
        "{kills} kills, {acknowledged} acknowledged writes and deletes, seed {seed}: none lost, none back"
    );
}
