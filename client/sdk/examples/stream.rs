//! A stream: one consumer of each partition takes everything in order and acks from time to time, and another one stands
//! by.
//!
//! `meridian dev --nodes 3`, then `cargo run -p meridian-sdk --example stream`.

mod cluster;

use std::collections::BTreeMap;

use meridian_sdk::consumer::Kind;
use meridian_sdk::{Error, Message, Start};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = cluster::connect().await?;
    cluster::topic(&client, "example-steps", 3).await?;
    let producer = client.producer("example-steps").build().await?;
    for step in 0..100 {
        for walker in ["anna", "bruno", "carla"] {
            drop(producer.send(Message::new(step.to_string()).with_key(walker)).await?);
        }
    }
    producer.close().await?;
    let consumer = client.consumer(["example-steps"]).subscription("map").kind(Kind::Failover).batches(true);
    let mut consumer = consumer.create(true).start(Start::Earliest).open().await?;
    let mut last = BTreeMap::new();
    for seen in 1..=300 {
        let Some(step) = consumer.next().await.transpose()? else { break };
        if seen % 50 == 0 {
            println!("{seen} steps, partition {} up to {}", step.partition, step.offset);
        }
        last.insert(step.partition, step);
        if seen % 100 == 0 {
            // One request for each partition, whatever the number of messages.
            for step in last.values() {
                consumer.ack_cumulative(step).await?;
            }
        }
    }
    consumer.close().await;
    Ok(())
}
