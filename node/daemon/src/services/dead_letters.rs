//! The way of dead letters: from the outbox of a partition that is led here to the topic that takes them, each once.
//!
//! A partition's machine numbers its letters for each destination, densely and for ever. They are published as the
//! batches of a producer whose name is made from the subscription and the source's history, with those numbers as
//! sequences, so that the destination knows a letter that comes twice. The producer counts as one with a name: its row
//! is never forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use meridian_commitlog::ReadError;
use meridian_machine::command::SubscriptionCommand;
use meridian_machine::control::ControlMachine;
use meridian_model::batch::{self, FLAG_NAMED_PRODUCER};
use meridian_model::{
    Batch, BatchBuilder, Codec, LogId, Message, Place, ProducerId, SubscriptionId, TopicName,
};
use meridian_proto::v1::publish_service_server::PublishService;
use meridian_proto::v1::{ErrorReason, Failure, PublishRequest, publish_request};
use meridian_raft::{Group, Registry};
use parking_lot::Mutex;

use super::open_producer::Producers;
use super::publish::Publish;
use crate::control_plane::ControlPlane;

/// How often outboxes are looked into.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Outboxes that are emptied at the same time.
const AT_ONCE: usize = 16;
/// Letters that are moved together.
const LETTERS_MAX: usize = 64;
const MOVED_MAX: Duration = Duration::from_secs(5);
/// Fences that are remembered as standing. What is forgotten is fenced again, which changes nothing.
const FENCED_MAX: usize = 100_000;

/// Moves the dead letters of the partitions led here.
pub(crate) struct DeadLetters {
    pub(crate) publish: Publish,
    pub(crate) producers: Arc<Producers>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) fenced: Mutex<BTreeSet<(ProducerId, LogId)>>,
}

/// Letters of one subscription on their way to one destination, in order.
struct Outbox {
    group: Arc<Group>,
    subscription: SubscriptionId,
    destination: LogId,
    first_sequence: u64,
    places: Vec<Place>,
}

/// Where they come from and go to.
struct Route {
    source: TopicName,
    source_partition: u32,
    subscription: String,
    to: TopicName,
    to_partition: u32,
}

impl DeadLetters {
    /// Moves letters for ever.
    pub(crate) async fn keep(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let outboxes = futures::stream::iter(self.outboxes());
            outboxes.for_each_concurrent(AT_ONCE, |outbox| self.try_to_empty(outbox)).await;
        }
    }

    async fn try_to_empty(&self, outbox: Outbox) {
        if let Err(failure) = self.empty(&outbox).await {
            let (group, id) = (outbox.group.id(), outbox.subscription);
            tracing::warn!(%group, subscription = %id, why = failure.message, "dead letters wait");
        }
    }

    fn outboxes(&self) -> Vec<Outbox> {
        let led = self.registry.all().into_iter().filter(|group| group.is_leader());
        let of = |group: Arc<Group>| {
            let found = group.view().partition(|machine| {
                let letters = machine.subscriptions().flat_map(|sub| {
                    sub.outbox().filter_map(move |(destination, letters)| {
                        let (first, _) = letters.letters.first_key_value()?;
                        let places = letters.letters.values().take(LETTERS_MAX).copied().collect();
                        Some((sub.id(), destination, *first, places))
                    })
                });
                letters.collect::<Vec<(_, _, _, Vec<Place>)>>()
            });
            found.unwrap_or_default().into_iter().map(move |(subscription, destination, first, places)| {
                let group = Arc::clone(&group);
                Outbox { group, subscription, destination, first_sequence: first, places }
            })
        };
        led.flat_map(of).collect()
    }

    async fn empty(&self, outbox: &Outbox) -> Result<(), Failure> {
        let found = self.control.look(|machine| route(machine, outbox)).flatten();
        let gone = || {
            let why = "the topic for dead letters is gone, and they wait for one of the same history";
            Failure::new(ErrorReason::NotFound, why)
        };
        let route = found.ok_or_else(gone)?;
        let producer = producer(outbox);
        self.fence(&route, producer, outbox.destination).await?;
        let batch = self.batch(outbox, &route, producer).await?;
        let letters = u64::from(batch.header().count);
        let through = match self.send(&route, batch).await {
            Ok(()) => outbox.first_sequence + letters,
            Err(failure) => self.arrived(&failure, outbox, producer).ok_or(failure)?,
        };
        let (id, destination) = (outbox.subscription, outbox.destination);
        let stamp = outbox.group.stamp();
        let moved = SubscriptionCommand::Moved { stamp, id, destination, through_sequence: through - 1 };
        let moved = outbox.group.propose_subscription(moved, MOVED_MAX).await;
        moved.map(drop).map_err(|error| Failure::new(ErrorReason::Unavailable, error.to_string()))
    }

    /// Makes the producer known at the destination. Repeated, it changes nothing.
    async fn fence(&self, route: &Route, producer: ProducerId, destination: LogId) -> Result<(), Failure> {
        if self.fenced.lock().contains(&(producer, destination)) {
            return Ok(());
        }
        self.producers.fence(&route.to, route.to_partition, producer, EPOCH).await?;
        let mut fenced = self.fenced.lock();
        if fenced.len() >= FENCED_MAX {
            fenced.clear();
        }
        fenced.insert((producer, destination));
        Ok(())
    }

    /// The letters as one batch: their bodies, keys and properties, and where they are from.
    async fn batch(&self, outbox: &Outbox, route: &Route, producer: ProducerId) -> Result<Batch, Failure> {
        let now = self.control.clocks().now();
        let builder = BatchBuilder::new(Codec::Lz4).producer(producer, EPOCH, outbox.first_sequence);
        let mut builder = builder.flags(FLAG_NAMED_PRODUCER).published_at(now);
        for place in &outbox.places {
            let message = read(&outbox.group, *place).await.map_err(|error| unreadable(&error))?;
            let message = with_origin(message, outbox, route, *place);
            if builder.count() > 0 && !builder.fits(&message) {
                break;
            }
            builder.push(&message);
        }
        builder.build().map_err(|error| Failure::new(ErrorReason::Internal, error.to_string()))
    }

    async fn send(&self, route: &Route, batch: Batch) -> Result<(), Failure> {
        let request = PublishRequest {
            topic: route.to.resource(),
            partition: Some(route.to_partition),
            payload: Some(publish_request::Payload::Batch(batch.into_bytes())),
            opened_at_ms: self.control.clocks().now().0,
            accept_redirect: false,
        };
        let sent = self.publish.publish(tonic::Request::new(request)).await;
        sent.map(drop).map_err(|status| Failure::from_status(&status))
    }

    /// What a refusal says about letters that arrived before, in other batches than these: the sequence behind them.
    fn arrived(&self, failure: &Failure, outbox: &Outbox, producer: ProducerId) -> Option<u64> {
        match failure.reason() {
            ErrorReason::PartialOverlap | ErrorReason::SequenceGap => {
                let expected: u64 = failure.metadata.get("expected")?.parse().ok()?;
                (expected > outbox.first_sequence).then_some(expected)
            }
            ErrorReason::DuplicateBeyondWindow => Some(outbox.first_sequence + outbox.places.len() as u64),
            ErrorReason::UnknownProducer => {
                self.fenced.lock().remove(&(producer, outbox.destination));
                None
            }
            _ => None,
        }
    }
}

/// The only epoch of these producers: whoever leads the source moves its letters, and the destination orders them.
const EPOCH: u32 = 1;

/// One for each subscription and source. Histories are random, so no other producer has this name.
fn producer(outbox: &Outbox) -> ProducerId {
    let mut id = outbox.group.identity().history.0;
    for (byte, of) in id[8..].iter_mut().zip(outbox.subscription.0.to_be_bytes()) {
        *byte ^= of;
    }
    ProducerId(id)
}

fn route(machine: &ControlMachine, outbox: &Outbox) -> Option<Route> {
    let (topic, source_partition) = machine.group(outbox.group.id())?;
    let subscription = machine.subscriptions_of(&topic.name).find(|known| known.id == outbox.subscription)?;
    let to = machine.topic(subscription.settings.dead_letter.as_ref()?).filter(|topic| !topic.deleting)?;
    let to_partition = to.partitions.iter().position(|placement| placement.log == outbox.destination)?;
    Some(Route {
        source: topic.name.clone(),
        source_partition,
        subscription: subscription.name.clone(),
        to: to.name.clone(),
        to_partition: to_partition as u32,
    })
}

async fn read(group: &Group, place: Place) -> Result<Message, ReadError> {
    let damaged = |why: String| ReadError::Disk(why);
    let found = group.view().read(place.offset, 1).await?;
    let stored = found.into_iter().next().ok_or_else(|| damaged("nothing is stored there".into()))?;
    let whole = Batch::verify(stored.bytes).map_err(|error| damaged(error.to_string()))?;
    let at = (place.offset.0 - stored.base.0) as u32;
    let messages = batch::decode_range(&whole, at, 1).map_err(|error| damaged(error.to_string()))?;
    messages.into_iter().next().ok_or_else(|| damaged("the batch ends before it".into()))
}

fn unreadable(error: &ReadError) -> Failure {
    Failure::new(ErrorReason::Unavailable, format!("a dead letter cannot be read: {error}"))
}

/// The same message, with where it is from beside what its publisher said.
fn with_origin(message: Message, outbox: &Outbox, route: &Route, place: Place) -> Message {
    let log: String = outbox.group.identity().history.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let origin = [
        ("meridian.dead.topic", route.source.resource()),
        ("meridian.dead.partition", route.source_partition.to_string()),
        ("meridian.dead.log", log),
        ("meridian.dead.offset", place.offset.0.to_string()),
        ("meridian.dead.subscription", route.subscription.clone()),
    ];
    // A letter that dies again keeps its last origin only.
    let mut message = message;
    message.properties.retain(|(name, _)| !origin.iter().any(|(known, _)| name == known));
    message.properties.extend(origin.map(|(name, value)| (name.to_owned(), value.into())));
    message
}
