//! One way: messages are sent, and nobody waits for anything until the end.
//!
//! `meridian dev --nodes 3`, then `cargo run -p meridian-sdk --example one_way`.

mod cluster;

use meridian_sdk::{Error, Message};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = cluster::connect().await?;
    cluster::topic(&client, "example-measurements", 3).await?;
    let producer = client.producer("example-measurements").build().await?;
    for number in 0..1_000 {
        // What would tell the message's fate is dropped.
        drop(producer.send(Message::new(format!("measured {number}"))).await?);
    }
    // The first of the failures, if there was one.
    producer.close().await?;
    println!("1000 messages are stored");
    Ok(())
}
