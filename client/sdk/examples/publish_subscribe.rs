//! Publish and subscribe: each subscription gets every message, whatever the others do.
//!
//! `meridian dev --nodes 3`, then `cargo run -p meridian-sdk --example publish_subscribe`.

mod cluster;

use meridian_sdk::consumer::{Consumer, Kind};
use meridian_sdk::{Client, Error, Message};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = cluster::connect().await?;
    cluster::topic(&client, "example-news", 1).await?;
    // Subscriptions begin where the topic ends: before anything is published.
    let (mut press, mut archive) = (subscribe(&client, "press").await?, subscribe(&client, "archive").await?);
    let producer = client.producer("example-news").build().await?;
    for headline in ["rain", "sunshine", "snow"] {
        producer.send(Message::new(headline)).await?.await?;
    }
    for (name, consumer) in [("press", &mut press), ("archive", &mut archive)] {
        for _ in 0..3 {
            let Some(news) = consumer.next().await.transpose()? else { break };
            println!("{name} got {:?}", news.body);
            consumer.ack(&news).await?;
        }
    }
    press.close().await;
    archive.close().await;
    Ok(())
}

async fn subscribe(client: &Client, name: &str) -> Result<Consumer, Error> {
    client.consumer(["example-news"]).subscription(name).kind(Kind::Exclusive).create(true).open().await
}
