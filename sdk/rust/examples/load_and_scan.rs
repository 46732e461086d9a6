//! Writes many records at once, then scans them: `cargo run --release -p cairn-sdk --example load_and_scan`.
//! A node must run: `cairn serve --dev`.

use std::time::Instant;

use cairn_sdk::{Client, Durability, Key, bins};
use futures::{StreamExt, TryStreamExt, stream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cairn_sdk::Error> {
    let client = Client::connect("127.0.0.1:7400").await?;
    let start = Instant::now();
    // 256 calls are in flight at any time; the client gathers them into messages.
    stream::iter(0..100_000)
        .map(|n| {
            let client = &client;
            async move {
                let key = Key::new("test", "numbers", n);
                client
                    .put(&key, bins! { "square" => i64::from(n) * i64::from(n) })
                    .durability(Durability::Buffer)
                    .await
            }
        })
        .buffer_unordered(256)
        .try_for_each(async |_| Ok(()))
        .await?;
    println!("100,000 records written in {:?}", start.elapsed());

    let mut scan = client.scan("test").set("numbers").start();
    let (mut count, mut sum) = (0, 0);
    while let Some(record) = scan.try_next().await? {
        count += 1;
        sum += record.get("square").and_then(cairn_sdk::Value::as_int).unwrap_or(0);
    }
    println!("{count} records scanned, the sum of their squares is {sum}");
    Ok(())
}
