//! Several producers at once. A key belongs to one producer, so its flights are sent in their order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use meridian_harness::cluster::Cluster;
use meridian_sdk::Message;

use crate::flights::Flight;
use crate::{PRODUCERS, TOPIC};

/// How far publishing is.
pub(crate) struct Progress {
    acked: AtomicU64,
    total: u64,
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(total: u64) -> Self {
        // Draws on a terminal only.
        let bar = ProgressBar::new(total);
        if let Ok(style) =
            ProgressStyle::with_template("          {bar:40} {pos}/{len} acknowledged, {per_sec}")
        {
            bar.set_style(style);
        }
        Self { acked: AtomicU64::new(0), total, bar }
    }

    fn acked(&self) {
        self.acked.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
    }

    /// The acknowledged part, from 0 to 1.
    pub(crate) fn part(&self) -> f64 {
        self.acked.load(Ordering::Relaxed) as f64 / self.total as f64
    }

    /// Prints a line above the bar.
    pub(crate) fn suspend(&self, say: impl FnOnce()) {
        self.bar.suspend(say);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// What publishing came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Published {
    /// Flights acknowledged.
    pub(crate) acked: u64,
    /// Flights whose resend was recognized.
    pub(crate) duplicates: u64,
    /// Errors the application saw.
    pub(crate) errors: u64,
}

/// Publishes every flight at about `rate` a second and waits for all acknowledgements.
pub(crate) async fn publish(
    cluster: &Arc<Cluster>,
    flights: &[Flight],
    rate: u64,
    progress: Arc<Progress>,
) -> Result<Published> {
    let mut parts: Vec<Vec<&Flight>> = (0..PRODUCERS).map(|_| Vec::new()).collect();
    let mut owner: BTreeMap<&str, usize> = BTreeMap::new();
    for flight in flights {
        let next = owner.len() % PRODUCERS;
        let producer = *owner.entry(flight.origin.as_str()).or_insert(next);
        parts[producer].push(flight);
    }
    let total = flights.len();
    let producing = parts.into_iter().enumerate().map(|(number, part)| {
        let share = rate as f64 * part.len() as f64 / total as f64;
        produce(cluster, number, part, share, Arc::clone(&progress))
    });
    let mut sum = Published::default();
    for published in futures::future::try_join_all(producing).await? {
        sum.acked += published.acked;
        sum.duplicates += published.duplicates;
        sum.errors += published.errors;
    }
    Ok(sum)
}

async fn produce(
    cluster: &Arc<Cluster>,
    number: usize,
    flights: Vec<&Flight>,
    rate: f64,
    progress: Arc<Progress>,
) -> Result<Published> {
    let client = cluster.client(100 + number as u64)?;
    let producer = client.producer(TOPIC).build().await.context("open a producer")?;
    let begin = tokio::time::Instant::now();
    let mut deliveries = Vec::with_capacity(flights.len());
    for (sent, flight) in flights.iter().enumerate() {
        tokio::time::sleep_until(begin + Duration::from_secs_f64(sent as f64 / rate.max(1.0))).await;
        let message = Message::new(flight.line.clone())
            .with_key(flight.origin.clone())
            .with_property("line", flight.number.to_string());
        let delivery = producer.send(message).await.context("send")?;
        let progress = Arc::clone(&progress);
        deliveries.push(tokio::spawn(async move {
            let receipt = delivery.await;
            progress.acked();
            receipt
        }));
    }
    let mut published = Published::default();
    for delivery in deliveries {
        match delivery.await? {
            Ok(receipt) => {
                published.acked += 1;
                published.duplicates += u64::from(receipt.duplicate);
            }
            Err(error) => {
                eprintln!("a producer saw an error: {error}");
                published.errors += 1;
            }
        }
    }
    Ok(published)
}
