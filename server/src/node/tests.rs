//! Redis connections that change workers, on a node of two: sent by the test in the midst of what clients do, and not by luck.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use cairn_engine::{DeviceConfig, model::Durability};
use tempfile::TempDir;

use super::{Node, Options};
use crate::{
    Config,
    config::Secret,
    doors::resp::{Client, Shared},
    state::State,
};

const LONG: Duration = Duration::from_secs(60);

/// A node of two workers, between which only the test moves connections.
struct TwoWorkers {
    node: Node,
    _dir: TempDir,
}

impl TwoWorkers {
    fn start(durability: Durability) -> Self {
        Self::with(durability, false)
    }

    fn with(durability: Durability, gather: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = Config::dev(dir.path());
        (config.node.grpc_port, config.node.http_port, config.node.workers) = (0, 0, 2);
        (config.resp.port, config.resp.gather) = (Some(0), gather);
        config.resp.password = Some(Secret::new("secret"));
        let engine = &mut config.namespaces[0].engine;
        engine.durability = durability;
        for device in &mut engine.devices {
            if let DeviceConfig::File { size, .. } = device {
                *size = 64 << 20;
            }
        }
        Self { node: Node::start(config, Options::default()).unwrap(), _dir: dir }
    }

    fn resp(&self) -> &Shared {
        self.node.state.resp.as_ref().unwrap()
    }

    /// A client that has said who it is.
    fn client(&self) -> Redis {
        let socket = TcpStream::connect(self.node.addresses.resp.unwrap()).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let mut client = Redis(socket);
        client.ask("AUTH secret", "+OK\r\n");
        client
    }

    /// Sends all connections to this worker, each when it next comes to rest.
    fn send_all_to(&self, worker: usize) {
        send_all_to(self.resp(), worker);
    }

    /// Waits until all are served there, who have done something since.
    fn all_are_at(&self, worker: usize) {
        let began = Instant::now();
        let elsewhere = |client: &Arc<Client>| client.worker.load(Relaxed) != worker;
        while self.resp().clients.list().iter().any(elsewhere) {
            assert!(began.elapsed() < LONG, "a connection did not go");
            thread::yield_now();
        }
    }

    /// Has all these, and there are no others, go to a worker.
    fn bring_all_to(&self, worker: usize, clients: &mut [&mut Redis]) {
        self.send_all_to(worker);
        clients.iter_mut().for_each(|client| client.ask("PING", "+PONG\r\n"));
        self.all_are_at(worker);
    }
}

fn send_all_to(resp: &Shared, worker: usize) {
    resp.clients.send(1 - worker, worker, usize::MAX);
}

/// A client that says lines and knows what it wants to hear.
struct Redis(TcpStream);

impl Redis {
    fn say(&mut self, lines: &str) {
        self.0.write_all(lines.as_bytes()).unwrap();
    }

    fn hear(&mut self, answer: &str) {
        let mut bytes = vec![0; answer.len()];
        self.0.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), answer);
    }

    fn ask(&mut self, line: &str, answer: &str) {
        self.say(&format!("{line}\r\n"));
        self.hear(answer);
    }

    /// Waits until the node closes the connection.
    fn is_closed(&mut self) {
        match self.0.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Connections that come to a worker that is not in use wake it for ever; and who does not want them to gather has them on all workers.
#[test]
fn new_connections_come_to_the_workers_in_use() {
    for (gather, placed) in [(true, (8, 0)), (false, (4, 4))] {
        let node = TwoWorkers::with(Durability::Buffer, gather);
        let _clients: Vec<_> = (0..8).map(|_| node.client()).collect();
        let clients = &node.resp().clients;
        assert_eq!((clients.placed(0), clients.placed(1)), placed);
        node.node.stop().unwrap();
    }
}

/// A request that is lost on the way is never answered, one that is done twice counts twice, and answers that overtake each other belong to other
/// requests: with writes that are done at once, and with writes that wait for the device.
#[test]
fn connections_that_move_under_load_lose_and_mix_up_nothing() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 100;
    const HALF: usize = 10;
    for durability in [Durability::Buffer, Durability::Device] {
        let node = TwoWorkers::start(durability);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| node.client()).collect();
        node.bring_all_to(0, &mut clients.iter_mut().collect::<Vec<_>>());
        let before = node.resp().moved();
        let half = |at: usize| format!("INCR k{at}\r\n").repeat(HALF);
        for round in 0..ROUNDS {
            for (at, client) in clients.iter_mut().enumerate() {
                client.say(&half(at));
            }
            // Some are at rest again, some have begun, some will be.
            node.send_all_to((round + 1) % 2);
            for (at, client) in clients.iter_mut().enumerate() {
                client.say(&half(at));
            }
            let from = round * 2 * HALF;
            let answers: String =
                (from + 1..=from + 2 * HALF).map(|count| format!(":{count}\r\n")).collect();
            clients.iter_mut().for_each(|client| client.hear(&answers));
            node.all_are_at((round + 1) % 2);
        }
        assert_eq!(node.resp().moved() - before, (ROUNDS * CLIENTS) as u64);
        node.node.stop().unwrap();
    }
}

/// What a client has told the node goes with it: who forgets that it is authenticated refuses everything, who forgets the database or the
/// transaction writes to the wrong place, and who forgets a watched key writes what should not be written.
#[test]
fn a_connection_takes_along_what_it_remembers() {
    let node = TwoWorkers::start(Durability::Buffer);
    let (mut mover, mut other) = (node.client(), node.client());
    mover.say("HELLO 3\r\nSELECT 3\r\nCLIENT SETNAME mover\r\nSET k 1\r\nGET none\r\n");
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"+OK\r\n+OK\r\n+OK\r\n_\r\n") {
        let mut byte = [0];
        mover.0.read_exact(&mut byte).unwrap();
        greeting.push(byte[0]);
    }
    node.send_all_to(0);
    mover.ask("WATCH k", "+OK\r\n");
    mover.ask("MULTI", "+OK\r\n");
    for (worker, name) in [(1, "a"), (0, "b"), (1, "c")] {
        node.send_all_to(worker);
        mover.ask(&format!("SET {name} {worker}"), "+QUEUED\r\n");
    }
    node.send_all_to(0);
    mover.ask("EXEC", "*3\r\n+OK\r\n+OK\r\n+OK\r\n");
    mover.ask("MGET a b c", "*3\r\n$1\r\n1\r\n$1\r\n0\r\n$1\r\n1\r\n");
    // A key that another client changes after the watching one has moved.
    mover.ask("WATCH k", "+OK\r\n");
    node.send_all_to(1);
    mover.ask("PING", "+PONG\r\n");
    mover.ask("MULTI", "+OK\r\n");
    mover.ask("SET k 2", "+QUEUED\r\n");
    other.say("SELECT 3\r\nSET k 3\r\n");
    other.hear("+OK\r\n+OK\r\n");
    node.send_all_to(0);
    mover.ask("EXEC", "_\r\n");
    mover.ask("GET k", "$1\r\n3\r\n");
    mover.ask("CLIENT GETNAME", "$5\r\nmover\r\n");
    // Answers that are switched off stay so, and the one to be skipped is skipped on the other side.
    node.send_all_to(1);
    mover.say("CLIENT REPLY SKIP\r\n");
    mover.ask("PING\r\nECHO after", "$5\r\nafter\r\n");
    let clients = node.resp().clients.list();
    let moved = &clients[0];
    assert_eq!((moved.db.load(Relaxed), moved.resp3.load(Relaxed)), (3, true));
    assert!(node.resp().moved() >= 5);
    drop(clients);
    node.node.stop().unwrap();
}

/// Who has moved is still found: by CLIENT KILL, by the look for silent ones; and gives up its place among the connections there may be.
#[test]
fn a_connection_that_moved_can_be_ended() {
    let node = TwoWorkers::start(Durability::Buffer);
    let mut clients: Vec<_> = (0..4).map(|_| node.client()).collect();
    let mut all: Vec<_> = clients.iter_mut().collect();
    node.bring_all_to(0, &mut all);
    node.bring_all_to(1, &mut all);
    let ids: Vec<_> = node.resp().clients.list().iter().map(|client| client.id).collect();
    // Told on its way: it is to go, and has not come to rest since.
    node.send_all_to(0);
    all[0].ask(&format!("CLIENT KILL ID {}", ids[1]), ":1\r\n");
    all[1].is_closed();
    all[0].ask("CONFIG SET timeout 1", "+OK\r\n");
    for at in [0, 2, 3] {
        all[at].is_closed();
    }
    let state = Arc::clone(&node.node.state);
    node.node.stop().unwrap();
    nobody_is_counted(&state);
}

/// A node that stops while connections are on their way from one worker to the other ends them too, does not wait for them, and counts none of them
/// for ever: a place that is never given back is missing for a new client.
#[test]
fn a_node_stops_while_connections_move() {
    const CLIENTS: usize = 8;
    for _ in 0..5 {
        let node = TwoWorkers::start(Durability::Buffer);
        let busy: Vec<_> = (0..CLIENTS)
            .map(|at| {
                let mut client = node.client();
                thread::spawn(move || {
                    // Until the node has gone; what was answered until then is in order.
                    for count in 1_u64.. {
                        let answer = format!(":{count}\r\n");
                        let mut bytes = vec![0; answer.len()];
                        let asked = client.0.write_all(format!("INCR k{at}\r\n").as_bytes());
                        if asked.and_then(|()| client.0.read_exact(&mut bytes)).is_err() {
                            return count;
                        }
                        assert_eq!(String::from_utf8_lossy(&bytes), answer);
                    }
                    0
                })
            })
            .collect();
        let state = Arc::clone(&node.node.state);
        let over = Arc::new(AtomicBool::new(false));
        let mover = thread::spawn({
            let (state, over) = (Arc::clone(&state), Arc::clone(&over));
            move || {
                let resp = state.resp.as_ref().unwrap();
                for round in 0.. {
                    if over.load(Relaxed) {
                        return;
                    }
                    send_all_to(resp, round % 2);
                    thread::yield_now();
                }
            }
        });
        while state.resp.as_ref().unwrap().moved() < 500 {
            thread::yield_now();
        }
        let began = Instant::now();
        node.node.stop().unwrap();
        assert!(began.elapsed() < state.limits.stop_timeout, "it waited for somebody");
        over.store(true, Relaxed);
        mover.join().unwrap();
        assert!(busy.into_iter().all(|client| client.join().unwrap() > 1));
        nobody_is_counted(&state);
    }
}

fn nobody_is_counted(state: &State) {
    let resp = state.resp.as_ref().unwrap();
    assert_eq!(resp.connections.load(Relaxed), 0);
    assert!(resp.clients.is_empty());
    assert_eq!((resp.clients.placed(0), resp.clients.placed(1)), (0, 0));
    let of_workers = state.workers.iter().map(|worker| worker.connections.load(Relaxed));
    assert_eq!(of_workers.sum::<usize>(), 0);
}
