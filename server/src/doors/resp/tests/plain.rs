//! Runs of plain commands: nobody can tell from the answers that they were done together.

use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use cairn_engine::{
    device::sim::{Effect, Fault, Trigger},
    model::{Durability, Key, UserKey, Value, WritePolicy},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{rig::Rig, turns::sockets};

/// Polls of a connection in which all that it was sent is answered.
const POLLS: usize = 50;

fn command(words: &[&str]) -> String {
    words.iter().fold(format!("*{}\r\n", words.len()), |all, word| {
        all + &format!("${}\r\n{word}\r\n", word.len())
    })
}

/// What a client is answered that sends these pieces, each when the one before is answered.
async fn answers(rig: &Rig, pieces: impl Iterator<Item = &[u8]>) -> String {
    let (mut client, served) = sockets().await;
    let mut connection = Box::pin(rig.connection(served, Duration::ZERO));
    let (mut cx, mut answers) = (Context::from_waker(Waker::noop()), Vec::new());
    for piece in pieces {
        client.write_all(piece).await.unwrap();
        for _ in 0..POLLS {
            assert!(connection.as_mut().poll(&mut cx).is_pending());
            rig.door.namespace().drive();
            tokio::task::yield_now().await;
        }
        drain(&client, &mut answers);
    }
    // What is still on its way comes before the end.
    client.shutdown().await.unwrap();
    rig.drive(&mut connection).await.unwrap();
    drop(connection);
    client.read_to_end(&mut answers).await.unwrap();
    String::from_utf8(answers).unwrap()
}

fn drain(client: &TcpStream, to: &mut Vec<u8>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = client.try_read(&mut bytes) {
        to.extend_from_slice(&bytes[..count]);
    }
}

/// A read must see the write before it and not the one behind it, however much of a pipeline comes at once, and an answer that is not plain must
/// stand at its place: a client that pipelines would else take one key's value for another's.
#[tokio::test]
async fn a_pipeline_is_answered_as_its_commands_one_by_one() {
    let seed = std::env::var("CAIRN_SEED").map_or(0x91a1, |seed| seed.parse().unwrap());
    println!("CAIRN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for durability in [Durability::Buffer, Durability::Device] {
        let mut pipeline = String::new();
        for at in 0..400 {
            let key = ["a", "b", "c", "foreign", "nothing", ""][random.random_range(0..6)];
            let own = ["a", "b", "c"][random.random_range(0..3)];
            let value = format!("value {at}");
            pipeline += &match random.random_range(0..12) {
                0..4 => command(&["GET", key]),
                4 => command(&["strlen", key]),
                5..8 => command(&["SET", own, &value]),
                8 => command(&["SET", own, &value, "NX", "GET"]),
                9 => command(&["APPEND", key, "x"]),
                10 => command(&["GET", key, "too many"]),
                _ => format!("GET {key}x\r\n*0\r\nEXISTS a\r\n"),
            };
            // Once in a while, keys that come to be deleted and foreign again.
            if at % 50 == 49 {
                pipeline += &command(&["DEL", "a", "b"]);
            }
        }
        let mut told = Vec::new();
        for most in [usize::MAX, 1, 700] {
            let rig = Rig::new(durability, seed).await;
            let foreign = Key::new("db0", UserKey::Bytes(b"foreign".into())).unwrap();
            let bins = [("n".into(), Value::Int(1))];
            let policy = WritePolicy::default();
            let put = rig.door.namespace().put(&foreign, &bins, &policy);
            rig.drive(pin!(put)).await.unwrap();
            let mut rest = pipeline.as_bytes();
            let pieces = std::iter::from_fn(|| {
                let (piece, behind) = rest.split_at(random.random_range(1..=most).min(rest.len()));
                let (piece, behind) =
                    if most == usize::MAX { (rest, &[][..]) } else { (piece, behind) };
                rest = behind;
                (!piece.is_empty()).then_some(piece)
            });
            told.push(answers(&rig, pieces).await);
        }
        assert!(told.iter().all(|answers| *answers == told[0]), "{durability:?}");
        assert!(told[0].contains("-WRONGTYPE") && told[0].contains("$-1"));
    }
}

/// Each of several writes that shared a flush which failed is in doubt. Were there fewer answers than commands, all that follow would be taken for
/// those of others.
#[tokio::test]
async fn each_write_of_a_failed_flush_is_answered() {
    const WRITES: usize = 40;
    let rig = Rig::new(Durability::Device, 1).await;
    rig.device.inject(Fault::forever(Effect::WriteError(5), Trigger::After(0)));
    let mut pipeline = command(&["SET", "key", "value"]).repeat(WRITES);
    pipeline += &command(&["PING"]);
    let told = answers(&rig, [pipeline.as_bytes()].into_iter()).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), WRITES + 1, "{told}");
    assert!(lines[..WRITES].iter().all(|line| line.starts_with('-')), "{told}");
    assert_eq!(lines[WRITES], "+PONG");
}
