//! Publishing: batches, in order, each message stored once however often it must be sent.
//!
//! A producer has an identity and counts its messages per partition; the partition stores a sequence only after
//! the one before it and recognises what it has stored. So a batch can be resent, byte for byte the same, until
//! an ack arrives. What a lost batch means is decided in `queue.rs`: only batches that are certainly not stored
//! are ever sent under a new identity. Where that is unknown when the delivery timeout ends, the delivery ends
//! as [`Error::Indeterminate`]; a copy of such a batch that still lingers in the network may be stored after
//! messages that were sent later (a named producer's next epoch fences even that).

mod builder;
mod delivery;
mod identity;
mod lane;
mod link;
mod links;
mod pending;
mod queue;
#[cfg(test)]
mod queue_tests;
mod settings;
mod settle;
mod sticky;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use meridian_model::Message;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

pub use builder::ProducerBuilder;
pub use delivery::{Delivery, Receipt};

use crate::Error;
use crate::client::Shared;
use delivery::Waiter;
use identity::Identities;
use lane::{Command, Lane, Trunk};
use links::Links;
use settings::Settings;
use sticky::Sticky;

/// What a buffered message costs beside its own bytes.
const BUFFER_OVERHEAD_BYTES: usize = 128;
/// How old the number of partitions may be before somebody asks again.
const ROUTE_AGE_MAX: Duration = Duration::from_secs(30);

/// Publishes to one topic. Cheap to clone; clones share one identity and one buffer.
///
/// When the last clone is dropped, what was sent is still delivered in the background for as long as the
/// runtime lives; [`Producer::close`] waits for it.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    trunk: Arc<Trunk>,
    lanes: Mutex<BTreeMap<u32, mpsc::UnboundedSender<Command>>>,
    sticky: Sticky,
    partitions: AtomicU32,
    asking: Arc<AtomicBool>,
    closed: AtomicBool,
}

impl Producer {
    async fn open(shared: Arc<Shared>, topic: String, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let partitions = shared.lookup(&topic).await?.partition_count();
        let identities = Identities::open(shared.clone(), topic.clone(), settings.name.clone()).await?;
        let links = Links::new(shared.clone(), topic.clone());
        let room = Semaphore::new(settings.buffer_bytes_max);
        let trunk = Trunk { shared, topic, settings, identities, links, room, fenced: Mutex::new(None) };
        let inner = Inner {
            trunk: Arc::new(trunk),
            lanes: Mutex::default(),
            sticky: Sticky::default(),
            partitions: AtomicU32::new(partitions),
            asking: Arc::default(),
            closed: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes a message in, waiting while the buffer is full, and returns what will tell its fate. Messages with
    /// one key are stored in the order of these calls. Where the message goes is settled here, for good.
    ///
    /// Cancellation safe: a call that is dropped before it returns has sent nothing.
    pub async fn send(&self, message: Message) -> Result<Delivery, Error> {
        message.check().map_err(|error| Error::invalid("message", error))?;
        let trunk = &self.inner.trunk;
        let bytes =
            (message.size_bytes() + BUFFER_OVERHEAD_BYTES).min(trunk.settings.buffer_bytes_max) as u32;
        let room = trunk.room.acquire_many(bytes).await.map_err(|_| Error::Closed)?;
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if let Some(error) = trunk.fenced.lock().clone() {
            return Err(error);
        }
        let batch_bytes = trunk.settings.batch_bytes_max;
        let partition =
            self.inner.sticky.route(&message, self.partitions(), batch_bytes, &trunk.shared.random);
        let (reply, delivery) = oneshot::channel();
        let command = Command::Send { message, waiter: Waiter { reply, bytes }, queued: Instant::now() };
        self.lane(partition).send(command).map_err(|_| Error::Closed)?;
        room.forget();
        Ok(Delivery(delivery))
    }

    /// Waits until everything sent before this call is acked or has failed. `Err`: the first failure since the
    /// last flush, for those who drop their deliveries. Cancellation safe.
    pub async fn flush(&self) -> Result<(), Error> {
        let lanes: Vec<_> = self.inner.lanes.lock().values().cloned().collect();
        let mut waiting = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let (done, flushed) = oneshot::channel();
            if lane.send(Command::Flush(done)).is_ok() {
                waiting.push(flushed);
            }
        }
        let mut outcome = Ok(());
        for flushed in waiting {
            outcome = outcome.and(flushed.await.unwrap_or(Ok(())));
        }
        outcome
    }

    /// Refuses further messages and waits like [`Producer::flush`]. Clones are closed too.
    pub async fn close(self) -> Result<(), Error> {
        self.inner.closed.store(true, Ordering::Release);
        let outcome = self.flush().await;
        self.inner.lanes.lock().clear();
        outcome
    }

    /// The topic as the builder was told.
    pub fn topic(&self) -> &str {
        &self.inner.trunk.topic
    }

    fn lane(&self, partition: u32) -> mpsc::UnboundedSender<Command> {
        let mut lanes = self.inner.lanes.lock();
        let lane = lanes.entry(partition).or_insert_with(|| {
            let (commands, queue) = mpsc::unbounded_channel();
            let trunk = self.inner.trunk.clone();
            tokio::spawn(async move {
                let identity = trunk.identities.current().await;
                Lane::new(trunk, partition, identity, queue).run().await;
            });
            commands
        });
        lane.clone()
    }

    /// How many partitions there are, as last heard; asks again in the background when that is long ago.
    fn partitions(&self) -> u32 {
        let inner = &self.inner;
        let (shared, topic) = (&inner.trunk.shared, &inner.trunk.topic);
        if let Some(route) = shared.metadata.cached(topic) {
            inner.partitions.fetch_max(route.partition_count(), Ordering::Relaxed);
            if route.age() > ROUTE_AGE_MAX && !inner.asking.swap(true, Ordering::AcqRel) {
                let (trunk, asking) = (inner.trunk.clone(), inner.asking.clone());
                tokio::spawn(async move {
                    let _ = trunk.shared.lookup_again(&trunk.topic).await;
                    asking.store(false, Ordering::Release);
                });
            }
        }
        inner.partitions.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic()).finish_non_exhaustive()
    }
}
