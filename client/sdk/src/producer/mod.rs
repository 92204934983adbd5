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
mod doubt;
mod identity;
mod inbox;
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
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use meridian_model::Message;
use parking_lot::RwLock;
use tokio::sync::Semaphore;

pub use builder::ProducerBuilder;
pub use delivery::{Delivery, Receipt};

use crate::Error;
use crate::client::Shared;
use identity::Identities;
use inbox::{Inbox, Outlet};
use lane::{Lane, Trunk};
use links::Links;
use pending::Spares;
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
    lanes: RwLock<BTreeMap<u32, Arc<Inbox>>>,
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
        let (fenced, spares) = (OnceLock::new(), Spares::new(settings.codec));
        let trunk = Trunk { shared, topic, settings, identities, links, room, fenced, spares };
        let inner = Inner {
            trunk: Arc::new(trunk),
            lanes: RwLock::default(),
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
        let room = match trunk.room.try_acquire_many(bytes) {
            Ok(room) => room,
            Err(_) => trunk.room.acquire_many(bytes).await.map_err(|_| Error::Closed)?,
        };
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if let Some(error) = trunk.fenced.get() {
            return Err(error.clone());
        }
        let (partitions, settings) = (self.inner.partitions.load(Ordering::Relaxed), &trunk.settings);
        let random = &trunk.shared.random;
        let partition = self.inner.sticky.route(&message, partitions, settings.batch_bytes_max, random);
        let inbox = self.inbox(partition);
        let pushed = inbox.push(&message, bytes as usize, settings, &trunk.spares).ok_or(Error::Closed)?;
        room.forget();
        if pushed.begins {
            self.look_at_partitions();
        }
        Ok(pushed.delivery)
    }

    /// Waits until everything sent before this call is acked or has failed. `Err`: the first failure since the
    /// last flush, for those who drop their deliveries; [`Error::Indeterminate`] where the runtime in which
    /// messages were sent has ended. Cancellation safe.
    pub async fn flush(&self) -> Result<(), Error> {
        let waiting: Vec<_> = self.inner.lanes.read().values().filter_map(|inbox| inbox.flush()).collect();
        let mut outcome = Ok(());
        for flushed in waiting {
            let in_doubt = || Err(Error::Indeterminate { what: "flush".into(), last: None });
            outcome = outcome.and(flushed.await.unwrap_or_else(|_| in_doubt()));
        }
        outcome
    }

    /// Refuses further messages and waits like [`Producer::flush`]. Clones are closed too.
    pub async fn close(self) -> Result<(), Error> {
        self.inner.closed.store(true, Ordering::Release);
        let outcome = self.flush().await;
        self.inner.close_lanes();
        outcome
    }

    /// The topic as the builder was told.
    pub fn topic(&self) -> &str {
        &self.inner.trunk.topic
    }

    fn inbox(&self, partition: u32) -> Arc<Inbox> {
        if let Some(inbox) = self.inner.lanes.read().get(&partition) {
            return Arc::clone(inbox);
        }
        let mut lanes = self.inner.lanes.write();
        let inbox = lanes.entry(partition).or_insert_with(|| {
            let inbox = Arc::new(Inbox::default());
            let outlet = Outlet::new(Arc::clone(&inbox));
            let trunk = self.inner.trunk.clone();
            tokio::spawn(async move {
                let identity = trunk.identities.current().await;
                Lane::new(trunk, partition, identity, outlet).run().await;
            });
            inbox
        });
        Arc::clone(inbox)
    }

    /// Takes over how many partitions there are; asks again in the background when that was long ago.
    fn look_at_partitions(&self) {
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
    }
}

impl Inner {
    fn close_lanes(&self) {
        std::mem::take(&mut *self.lanes.write()).into_values().for_each(|inbox| inbox.close());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close_lanes();
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic()).finish_non_exhaustive()
    }
}
