//! A producer that makes one attempt per operation, straight over the wire, so that unknown outcomes are really
//! had and really recorded. With a name it takes that name from its rival, and goes on sending when fenced.

use std::sync::Arc;
use std::time::Duration;

use meridian_history::{Appended, MessageId, OpenProducer, Publish, Sent, Times};
use meridian_model::batch::{BatchBuilder, FLAG_NAMED_PRODUCER};
use meridian_model::{Batch, Codec, Message, ProducerId};
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::{ErrorReason, OpenProducerRequest, PublishAck, PublishRequest};

use crate::chance::Chance;
use crate::once::{Unanswered, attempt};
use crate::oracle;
use crate::region::Region;
use crate::scene::Scene;

/// How long one attempt may take: shorter than a fault, so that faults show.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Opening fences every partition, which takes longer.
const OPENING_PATIENCE: Duration = Duration::from_secs(5);
/// Attempts to get one batch through before this identity is given up.
const ATTEMPTS_MAX: u64 = 12;

/// Who the producer is to the cluster.
struct Identity {
    producer: ProducerId,
    epoch: u32,
    opened_at_ms: u64,
    /// The name in oracle ids.
    name: String,
    sequences: Vec<u64>,
}

/// A batch and what the history says of it.
struct Parcel {
    call: Publish,
    batch: Batch,
}

enum Fate {
    Stored,
    /// Nobody knows, or it can never be stored under this identity.
    GivenUp,
}

struct Producer<R> {
    scene: Arc<Scene>,
    region: R,
    process: u64,
    label: String,
    name: Option<String>,
    chance: Chance,
    openings: u64,
}

/// Publishes until the work is over. `label` tells it from all others; with a `name` it is one of several rivals.
pub async fn produce(
    scene: Arc<Scene>,
    region: impl Region,
    label: String,
    name: Option<String>,
    chance: Chance,
) {
    let process = scene.number();
    let mut producer = Producer { scene, region, process, label, name, chance, openings: 0 };
    while !producer.scene.is_over() {
        let Some(mut identity) = producer.open().await else {
            producer.scene.pause(100).await;
            continue;
        };
        // A named producer gives its rival a turn; both go on sending under their old epochs for a while.
        let mut batches = if producer.name.is_some() { producer.chance.between(5, 60) } else { u64::MAX };
        while batches > 0 && !producer.scene.is_over() {
            batches -= 1;
            match producer.publish(&mut identity).await {
                Fate::Stored => {}
                Fate::GivenUp => break,
            }
            producer.scene.pause(producer.scene.manner.message_pause_ms).await;
        }
    }
}

impl<R: Region> Producer<R> {
    async fn open(&mut self) -> Option<Identity> {
        self.openings += 1;
        let (label, openings) = (&self.label, self.openings);
        let oracle = self.name.clone().unwrap_or_else(|| format!("{label}.{openings}"));
        let node = self.region.any_node(&mut self.chance);
        let channel = self.region.channel(node).ok()?;
        let request = OpenProducerRequest {
            topic: self.scene.topic.clone(),
            name: self.name.clone().unwrap_or_default(),
            request_id: format!("{label}-{openings}-{:016x}", self.chance.any()),
        };
        let topic = self.scene.topic.clone();
        let call = OpenProducer { topic, producer: oracle.clone(), epoch: None };
        let pending = self.name.is_some().then(|| self.scene.recorder.invoke(self.process, call));
        let mut client = PublishServiceClient::new(channel);
        let answer = attempt(OPENING_PATIENCE, client.open_producer(request)).await;
        let opened = match (answer, pending) {
            (Ok(opened), None) => opened,
            (Ok(opened), Some(pending)) => {
                pending.ok(u64::from(opened.epoch));
                self.scene.tally.opened();
                opened
            }
            (Err(unanswered), pending) => {
                match (pending, unanswered.refusal()) {
                    (Some(pending), Some(_)) => pending.fail(unanswered.why()),
                    (Some(pending), None) => pending.info(unanswered.why()),
                    (None, _) => {}
                }
                self.region.forget(node);
                return None;
            }
        };
        let producer = ProducerId(opened.producer_id.as_ref().try_into().ok()?);
        let sequences = vec![0; self.scene.partitions as usize];
        Some(Identity {
            producer,
            epoch: opened.epoch,
            opened_at_ms: opened.opened_at_ms,
            name: oracle,
            sequences,
        })
    }

    /// Tries one batch at one node after the other, always the same bytes under the same sequence.
    async fn publish(&mut self, identity: &mut Identity) -> Fate {
        let partition = self.scene.any_partition(&mut self.chance);
        let Some(parcel) = self.pack(identity, partition) else { return Fate::GivenUp };
        for _ in 0..ATTEMPTS_MAX {
            let refusal = match self.send(&parcel, identity).await {
                Ok(()) => {
                    identity.sequences[partition as usize] += parcel.call.messages.len() as u64;
                    return Fate::Stored;
                }
                Err(unanswered) => unanswered.refusal(),
            };
            use ErrorReason::{DiskFull, NotLeader, Throttled};
            match refusal {
                None | Some(NotLeader | Throttled | DiskFull) => {
                    self.scene.pause(self.chance.between(1, 80)).await
                }
                Some(_) => return Fate::GivenUp,
            }
            if self.scene.is_over() {
                return Fate::GivenUp;
            }
        }
        Fate::GivenUp
    }

    fn pack(&mut self, identity: &Identity, partition: u32) -> Option<Parcel> {
        let first = identity.sequences[partition as usize];
        let key = self.scene.key_of(partition, first);
        let codec = self.chance.pick(&[Codec::None, Codec::Lz4, Codec::Zstd]);
        let flags = if self.name.is_some() { FLAG_NAMED_PRODUCER } else { 0 };
        let builder = BatchBuilder::new(codec).producer(identity.producer, identity.epoch, first);
        let mut builder = builder.flags(flags);
        let mut messages = Vec::new();
        for sequence in first..first + self.chance.between(1, 5) {
            let id = MessageId::new(&identity.name, u64::from(identity.epoch), sequence);
            let length = self.chance.between(0, self.scene.manner.filler_bytes_max) as usize;
            let (body, crc) = oracle::seal(&id, &self.chance.text(length));
            builder.push(&Message::new(body).with_key(key.clone()));
            messages.push(Sent { id, key: Some(key.clone()), crc, times: Times::default() });
        }
        let call = Publish {
            topic: self.scene.topic.clone(),
            partition,
            producer: identity.name.clone(),
            epoch: u64::from(identity.epoch),
            first_sequence: first,
            sequenced: true,
            messages,
            appended: None,
        };
        Some(Parcel { call, batch: builder.build().ok()? })
    }

    /// One attempt, one operation.
    async fn send(&mut self, parcel: &Parcel, identity: &Identity) -> Result<(), Unanswered> {
        let node = self.region.any_node(&mut self.chance);
        let channel = self.region.channel(node).map_err(|e| Unanswered::Unknown(e.to_string()))?;
        let request = PublishRequest {
            topic: self.scene.topic.clone(),
            partition: Some(parcel.call.partition),
            payload: Some(Payload::Batch(parcel.batch.bytes().clone())),
            opened_at_ms: identity.opened_at_ms,
            accept_redirect: self.chance.percent(30),
        };
        let pending = self.scene.recorder.invoke(self.process, parcel.call.clone());
        let mut client = PublishServiceClient::new(channel);
        let answer = attempt(PATIENCE, client.publish(request)).await;
        let unanswered = match answer.map(|response| response.ack) {
            Ok(Some(ack)) => {
                pending.ok(Appended { first_offset: Some(ack.base_offset), duplicate: ack.duplicate });
                self.note(parcel, &ack);
                return Ok(());
            }
            Ok(None) => Unanswered::Unknown("an answer without an ack".into()),
            Err(unanswered) => unanswered,
        };
        self.scene.tally.attempt(unanswered.reason());
        match unanswered.refusal() {
            Some(ErrorReason::DuplicateBeyondWindow) => {
                pending.ok(Appended { first_offset: None, duplicate: true });
                return Ok(());
            }
            Some(_) => pending.fail(unanswered.why()),
            None => {
                self.region.forget(node);
                self.scene.tally.unknown();
                pending.info(unanswered.why());
            }
        }
        Err(unanswered)
    }

    fn note(&self, parcel: &Parcel, ack: &PublishAck) {
        self.scene.tally.attempt(if ack.duplicate { "duplicate" } else { "ok" });
        for (sent, offset) in parcel.call.messages.iter().zip(ack.base_offset..) {
            self.scene.tally.ack(parcel.call.partition, offset, &sent.id);
        }
    }
}
