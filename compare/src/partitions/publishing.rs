//! A trickle to every partition: small messages on a schedule that does not wait for acks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meridian_model::hash;
use meridian_sdk::{Message, Producer};
use tokio::task::JoinHandle;

use super::board::Board;
use super::region::{Region, TOPIC};

/// Producers, each with a client of its own; each has its part of the partitions.
pub(super) const PRODUCERS: u32 = 2;
const BODY_BYTES: usize = 100;

/// The trickle. Dropping it ends it.
pub(super) struct Publishing {
    pub(super) board: Arc<Board>,
    tasks: Vec<JoinHandle<()>>,
}

impl Publishing {
    /// Sends to each partition every so many milliseconds, from now on.
    pub(super) async fn start(region: &Region, every_ms: u64) -> Result<Self> {
        let board = Arc::new(Board::new(region.partitions));
        let mut producers = Vec::new();
        for number in 0..PRODUCERS {
            let client = region.client(100 + u64::from(number))?;
            producers.push(client.producer(TOPIC).build().await.context("open a producer")?);
        }
        let every = Duration::from_millis(every_ms);
        let tasks = keys(region.partitions).into_iter().zip(0..).map(|(key, partition)| {
            let producer = producers[(partition % PRODUCERS) as usize].clone();
            // Spread over the interval, as many applications would be.
            let first = every * partition / region.partitions;
            tokio::spawn(trickle(producer, Arc::clone(&board), partition, key, first, every))
        });
        Ok(Self { tasks: tasks.collect(), board })
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A key for each partition.
fn keys(partitions: u32) -> Vec<String> {
    let mut keys = vec![String::new(); partitions as usize];
    let mut missing = partitions;
    for number in 0u64.. {
        let key = format!("key-{number}");
        let found = &mut keys[hash::partition_of(key.as_bytes(), partitions) as usize];
        if found.is_empty() {
            *found = key;
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    keys
}

async fn trickle(
    producer: Producer,
    board: Arc<Board>,
    partition: u32,
    key: String,
    first: Duration,
    every: Duration,
) {
    let mut next = tokio::time::interval_at(tokio::time::Instant::now() + first, every);
    loop {
        next.tick().await;
        let sent = Instant::now();
        let message = Message::new(vec![7; BODY_BYTES]).with_key(key.clone());
        let Ok(delivery) = producer.send(message).await else {
            board.failed();
            continue;
        };
        let board = Arc::clone(&board);
        tokio::spawn(async move {
            match delivery.await {
                Ok(_) => board.acked(partition, sent, Instant::now()),
                Err(_) => board.failed(),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_a_key_that_leads_to_it() {
        for (partition, key) in keys(500).iter().enumerate() {
            assert_eq!(hash::partition_of(key.as_bytes(), 500) as usize, partition);
        }
    }
}
