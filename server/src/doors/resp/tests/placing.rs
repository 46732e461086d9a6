//! Which connections go to another worker, and when one can.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use cairn_engine::model::Durability;
use futures::poll;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::timeout,
};

use super::{
    super::{
        clients::{Client, Clients, Connected},
        connection::Left,
    },
    rig::Rig,
    turns::sockets,
};

const LONG: Duration = Duration::from_secs(60);

/// A client of worker 0 that came a second ago, and did something last after so many milliseconds.
fn connected(clients: &Arc<Clients>, active_ms: u64) -> Connected {
    let nowhere = ([127, 0, 0, 1], 0).into();
    let mut client = Client::new(clients.number(), (nowhere, nowhere), -1, 0);
    client.since = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    client.active_ms.store(active_ms, Relaxed);
    clients.add(client)
}

/// If only those were sent who do nothing, the other worker would have nothing to do; and a count that is off makes a worker serve nobody, or
/// everybody.
#[test]
fn the_busy_and_the_silent_go_in_the_same_shares() {
    let clients = Arc::<Clients>::default();
    let mut all: Vec<_> = (0..100).map(|at| connected(&clients, at / 90 * 1000)).collect();
    let counts = || (clients.placed(0), clients.placed(1));
    clients.send(0, 1, 50);
    let busy_gone = all[90..].iter().filter(|one| one.client.place() == 1).count();
    assert_eq!((counts(), busy_gone), ((50, 50), 5));
    all.drain(..90);
    assert_eq!(counts(), (5, 5));
    clients.send(1, 0, 7);
    assert_eq!(counts(), (10, 0));
    drop(all);
    assert_eq!((counts(), clients.len()), ((0, 0), 0));
}

/// One that keeps a worker busy and one that hardly asks: were the first sent away, it would be sent back and forth.
#[test]
fn of_two_the_one_with_less_to_do_goes() {
    let clients = Arc::<Clients>::default();
    let (quiet, busy) = (connected(&clients, 0), connected(&clients, 1000));
    clients.send(0, 1, 1);
    assert_eq!((quiet.client.place(), busy.client.place()), (1, 0));
}

async fn read(client: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    timeout(LONG, client.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// Half a request lies in a buffer of the worker: who went without it would never be answered.
#[tokio::test]
async fn half_a_request_stays_with_its_worker() {
    let rig = Rig::new(Durability::Buffer, 1).await;
    let (mut client, served) = sockets().await;
    let mut connection = pin!(rig.connection(served, Duration::ZERO));
    client.write_all(b"*1\r\n$4\r\nPI").await.unwrap();
    let clients = &rig.door.shared.clients;
    while clients.list()[0].input.load(Relaxed) == 0 {
        assert!(poll!(&mut connection).is_pending());
        yield_now().await;
    }
    clients.send(0, 1, 1);
    assert!(poll!(&mut connection).is_pending(), "it went with half a request");
    client.write_all(b"NG\r\n").await.unwrap();
    assert_eq!(timeout(LONG, connection).await.unwrap().unwrap(), Left::Moves);
    assert_eq!(read(&mut client, 7).await, b"+PONG\r\n");
}

/// What waits for the device waits with the worker's others: an answer that leaves with another worker, or with none, is lost.
#[tokio::test]
async fn a_write_that_is_not_durable_stays_with_its_worker() {
    let rig = Rig::new(Durability::Device, 1).await;
    let (mut client, served) = sockets().await;
    let mut connection = Box::pin(rig.connection(served, Duration::ZERO));
    client.write_all(b"SET a 1\r\nPING\r\n").await.unwrap();
    while rig.door.shared.commands() < 2 {
        assert!(poll!(&mut connection).is_pending());
        yield_now().await;
    }
    rig.door.shared.clients.send(0, 1, 1);
    assert!(poll!(&mut connection).is_pending(), "it went before its write was durable");
    assert_eq!(rig.drive(connection).await.unwrap(), Left::Moves);
    assert_eq!(read(&mut client, 12).await, b"+OK\r\n+PONG\r\n");
}

/// Answers that the client has not taken are the worker's: it keeps the connection until they are sent, all of them.
#[tokio::test]
async fn answers_that_are_not_taken_stay_with_their_worker() {
    const BIG: usize = 900_000;
    const TIMES: usize = 30;
    let rig = Rig::new(Durability::Buffer, 1).await;
    assert_eq!(rig.ask(&["SET", "big", &"x".repeat(BIG)]).await, "+OK\r\n");
    let (mut client, served) = sockets().await;
    let mut connection = pin!(rig.connection(served, Duration::ZERO));
    client.write_all("GET big\r\n".repeat(TIMES).as_bytes()).await.unwrap();
    let clients = &rig.door.shared.clients;
    // More than the sockets take.
    while clients.list()[0].output.load(Relaxed) == 0 {
        assert!(poll!(&mut connection).is_pending());
        yield_now().await;
    }
    clients.send(0, 1, 1);
    assert!(poll!(&mut connection).is_pending(), "it went with answers of its client");
    let reader = tokio::spawn(async move {
        let len = TIMES * (format!("${BIG}\r\n").len() + BIG + 2);
        read(&mut client, len).await.iter().filter(|byte| **byte == b'x').count()
    });
    assert_eq!(timeout(LONG, connection).await.unwrap().unwrap(), Left::Moves);
    assert_eq!(reader.await.unwrap(), TIMES * BIG);
}
