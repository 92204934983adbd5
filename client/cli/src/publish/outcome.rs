//! What became of the messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meridian_sdk::{Delivery, Error};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::units;

/// Waits for deliveries while more are sent.
pub(super) struct Collector {
    deliveries: mpsc::UnboundedSender<(Delivery, u64)>,
    failed: Arc<AtomicBool>,
    task: JoinHandle<Delivered>,
}

/// The sum of it.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    messages: u64,
    bytes: u64,
    duplicates: u64,
    failed: u64,
    pub(super) first_error: Option<Error>,
}

impl Collector {
    pub(super) fn start() -> Self {
        let (deliveries, mut queue) = mpsc::unbounded_channel::<(Delivery, u64)>();
        let failed = Arc::new(AtomicBool::new(false));
        let flag = failed.clone();
        let task = tokio::spawn(async move {
            let mut sum = Delivered::default();
            while let Some((delivery, bytes)) = queue.recv().await {
                match delivery.await {
                    Ok(receipt) => {
                        sum.messages += 1;
                        sum.bytes += bytes;
                        sum.duplicates += u64::from(receipt.duplicate);
                    }
                    Err(error) => {
                        flag.store(true, Ordering::Relaxed);
                        sum.failed += 1;
                        sum.first_error.get_or_insert(error);
                    }
                }
            }
            sum
        });
        Self { deliveries, failed, task }
    }

    pub(super) fn add(&self, delivery: Delivery, bytes: u64) {
        // The task ends only with this sender.
        let _ = self.deliveries.send((delivery, bytes));
    }

    /// Whether a delivery has failed: there is no point in sending more.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits for the rest.
    pub(super) async fn finish(self) -> Delivered {
        drop(self.deliveries);
        self.task.await.unwrap_or_default()
    }
}

impl Delivered {
    /// The result of the command. Bytes are those of the bodies.
    pub(super) fn summary(&self, topic: &str, elapsed: Duration) -> (String, Value) {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let rate = (self.messages as f64 / seconds).round();
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let human = format!(
            "published {} messages ({}) to {topic} in {seconds:.1} s: {rate} messages/s, {} resent without effect{failed}",
            self.messages,
            units::human_bytes(self.bytes),
            self.duplicates,
        );
        let json = json!({
            "topic": topic,
            "messages": self.messages,
            "bytes": self.bytes,
            "duplicates": self.duplicates,
            "failed": self.failed,
            "seconds": seconds,
            "messages_per_second": rate,
        });
        (human, json)
    }
}
