//! Counts visits, with a condition: `cargo run -p cairn-sdk --example counter`. A node must run: `cairn serve --dev`.

use std::time::Duration;

use cairn_sdk::{Client, Code, Key, Op, bins};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cairn_sdk::Error> {
    let client = Client::connect("127.0.0.1:7400").await?;
    let key = Key::new("test", "pages", "/index.html");

    // Several operations on one record are applied together.
    let done = client.operate(&key, [Op::add("visits", 1), Op::read("visits")]).await?;
    println!("visits: {:?}", done.get("visits"));

    // Check-and-set: the write is refused when somebody else wrote after we read.
    if let Some(page) = client.get(&key).await? {
        let seen = bins! { "last" => "example", "visits" => page.get("visits").cloned() };
        let put =
            client.put(&key, seen).generation(page.generation()).ttl(Duration::from_secs(3600));
        match put.await {
            Ok(written) => println!("generation {}", written.generation),
            Err(error) if error.code == Code::Generation => println!("somebody was faster"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
