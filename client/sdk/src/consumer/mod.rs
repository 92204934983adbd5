//! Consuming: each message of a subscription until it is acked, whatever breaks on the way.
//!
//! A consumer's stream ends at any node, which attaches it to the leaders of the partitions. When the stream breaks,
//! the consumer goes to another node and says what it holds, so that nothing is delivered to somebody else that is
//! still being worked on. Acks that were not confirmed are sent again; what was given to others meanwhile is known by
//! [`Delivery::is_revoked`] or by the refusal of its ack. A message may be delivered more than once; one whose ack was
//! confirmed is not.
//!
//! ```no_run
//! # async fn demo(client: meridian_sdk::Client) -> Result<(), meridian_sdk::Error> {
//! use meridian_sdk::consumer::Kind;
//!
//! let mut consumer =
//!     client.consumer(["orders"]).subscription("billing").kind(Kind::Shared).create(true).open().await?;
//! while let Some(delivery) = consumer.next().await {
//!     let delivery = delivery?;
//!     println!("{} {:?}", delivery.offset, delivery.body);
//!     consumer.ack(&delivery).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod book;
mod builder;
mod claims;
mod credit;
mod decode;
mod delivery;
mod fate;
mod held;
mod hold;
mod ledger;
mod link;
mod pull;
mod settings;
mod settler;
mod sources;
mod task;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use builder::ConsumerBuilder;
pub use delivery::Delivery;
pub use fate::Settling;
pub use hold::{Epochs, Revoked};
pub use pull::Pulled;
pub use settings::{Kind, RedeliveryBackoff};
pub use settler::Settler;
pub use sources::Lag;

use crate::{Error, Start};
use ledger::Desk;

/// Consumes a subscription. Also a [`Stream`].
///
/// Dropping it ends its stream as [`Consumer::close`] does, in the background, for as long as the runtime lives.
///
/// Errors: a partition that cannot go on yields one error, and the others go on; when nothing can go on, the error is
/// followed by the end.
pub struct Consumer {
    settler: Settler,
    waiting: mpsc::UnboundedReceiver<Result<Delivery, Error>>,
    task: Option<JoinHandle<()>>,
    consumer_id: [u8; 16],
    missed: u64,
}

impl Consumer {
    fn new(
        desk: Arc<Desk>,
        waiting: mpsc::UnboundedReceiver<Result<Delivery, Error>>,
        task: JoinHandle<()>,
        consumer_id: [u8; 16],
    ) -> Self {
        Self { settler: Settler::new(desk), waiting, task: Some(task), consumer_id, missed: 0 }
    }

    /// The next message; `None` after the end. Messages that were lost while they waited here are left out.
    /// Cancellation safe.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        StreamExt::next(self).await
    }

    /// The message is done. See [`Settler::ack`].
    pub fn ack(&self, delivery: &Delivery) -> Settling {
        self.settler.ack(delivery)
    }

    /// So is everything before it. See [`Settler::ack_cumulative`].
    pub fn ack_cumulative(&self, delivery: &Delivery) -> Settling {
        self.settler.ack_cumulative(delivery)
    }

    /// The message was not done. See [`Settler::nack`].
    pub fn nack(&self, delivery: &Delivery) -> Settling {
        self.settler.nack(delivery)
    }

    /// The message takes longer. See [`Settler::extend`].
    pub fn extend(&self, delivery: &Delivery) -> Settling {
        self.settler.extend(delivery)
    }

    /// What says these things from other tasks.
    pub fn settler(&self) -> Settler {
        self.settler.clone()
    }

    /// The subscription goes on elsewhere, for all its consumers, in every partition of this one. What is held is
    /// revoked. Not repeated when its answer is lost: then it is [`Error::Indeterminate`].
    pub fn seek(&self, to: Start) -> Settling {
        self.settler.seek(None, to)
    }

    /// As [`Consumer::seek`], in one partition of a topic, named as deliveries name it.
    pub fn seek_partition(&self, topic: &str, partition: u32, to: Start) -> Settling {
        self.settler.seek(Some((topic, partition)), to)
    }

    /// No more messages come; resolves when those that are held are settled, and [`Consumer::next`] ends. Messages that
    /// wait here are held: go on taking and settling them.
    pub fn drain(&self) -> Settling {
        self.settler.drain()
    }

    /// How far the subscription is behind, in each partition that a node spoke of, as it said last.
    pub fn lag(&self) -> Vec<Lag> {
        self.settler.lag()
    }

    /// When a node last said something: from then on this consumer may count as gone.
    pub fn last_heard(&self) -> Instant {
        self.settler.last_heard()
    }

    /// Messages that were lost while they waited here: delivered as far as nodes know, never seen by the application.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Who this consumer is, for nodes.
    pub fn consumer_id(&self) -> [u8; 16] {
        self.consumer_id
    }

    /// Waits, bounded, for the answers to what was said, and leaves: what is held is given to others at once, and that is
    /// no attempt.
    pub async fn close(mut self) {
        self.settler.close();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(self.waiting.poll_recv(context)) {
                Some(Ok(delivery)) if !self.settler.take(&delivery) => self.missed += 1,
                next => return Poll::Ready(next),
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.settler.close();
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("lag", &self.lag()).finish_non_exhaustive()
    }
}
