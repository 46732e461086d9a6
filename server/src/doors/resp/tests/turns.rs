//! What one client may take: a turn's time, and the length of what EXEC answers.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake},
};

use cairn_engine::model::Durability;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    super::{
        connection::TURN_TIME, fail::TOO_LONG_ANSWER, reply::LEN_MAX, session::Session, table,
    },
    rig::{Rig, request, text},
};

/// Counts how often a connection asks for another turn.
#[derive(Default)]
struct Asked(AtomicUsize);

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Two ends of a connection.
pub async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}

/// One client that sends many commands at once, each of which takes long, would hold up all others of its worker until the last is done:
/// after the first that took longer than a turn may, the others have their turn, and what is answered is sent.
#[tokio::test]
async fn long_commands_do_not_share_a_turn() {
    const COMMANDS: usize = 4;
    let rig = Rig::new(Durability::Buffer, 1).await;
    let (mut client, served) = sockets().await;
    client.write_all("EXISTS a b\r\n".repeat(COMMANDS).as_bytes()).await.unwrap();
    let exists = table::named(b"exists").unwrap().number;
    let done = || rig.door.counters.commands[exists].calls.load(Relaxed);
    let mut connection = pin!(rig.connection(served, 2 * TURN_TIME));
    let asked = Arc::new(Asked::default());
    let waker = Arc::clone(&asked).into();
    // The runtime tells once that something has come.
    while asked.0.load(Relaxed) == 0 {
        assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        tokio::task::yield_now().await;
    }
    for turn in 1..=COMMANDS + 1 {
        assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(done(), turn.min(COMMANDS) as u64);
        assert!(turn > COMMANDS || asked.0.load(Relaxed) > turn, "nobody will go on with it");
        // Behind each turn, when others had theirs, its answer leaves.
        if turn > 1 {
            let mut answer = [0; 4];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b":0\r\n");
        }
    }
}

/// When the answers of a transaction have no room even for the errors of its last part, the client is told that a part is done: told the same
/// as when nothing was, it would do all of it again.
#[tokio::test]
async fn an_exec_without_room_says_that_a_part_is_done() {
    const BIG: usize = 900_000;
    // What frames a bulk string of so many bytes.
    const FRAME: usize = 1 + 6 + 2 + 2;
    let rig = Rig::new(Durability::Buffer, 1).await;
    let count = LEN_MAX / (BIG + FRAME);
    let mut queued = vec![vec!["SET", "done", "1"]];
    queued.extend(vec![vec!["GET", "big"]; count]);
    queued.extend([vec!["GET", "rest"], vec!["DBSIZE"], vec!["SET", "after", "1"]]);
    // So long that behind it there is no room for anything, but for itself there is.
    let before = format!("*{}\r\n+OK\r\n", queued.len()).len() + count * (BIG + FRAME);
    let rest = LEN_MAX - before - 32;
    assert_eq!(rig.ask(&["SET", "big", &"x".repeat(BIG)]).await, "+OK\r\n");
    assert_eq!(rig.ask(&["SET", "rest", &"x".repeat(rest)]).await, "+OK\r\n");
    let mut session = Session::new(Arc::clone(&rig.client().client), true);
    session.multi = Some(Box::default());
    for words in &queued {
        let request = request(words);
        let entry = table::find(table::named(request.arg(0)), &request).unwrap();
        session.queue(entry, &request, 16 << 20).unwrap();
    }
    let ended = rig.begin_as(&["EXEC"], session).await;
    assert_eq!(rig.ask(&["EXISTS", "done"]).await, ":1\r\n");
    assert_eq!(ended.failed, Some(TOO_LONG_ANSWER.half_way()));
    assert_ne!(ended.failed, Some(TOO_LONG_ANSWER));
    let answer = text(&ended);
    assert!(answer.starts_with('-') && answer.matches("\r\n").count() == 1);
}
