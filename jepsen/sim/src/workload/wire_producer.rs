//! A producer that makes one attempt per operation, straight over the wire, so that unknown outcomes are really
//! had and really recorded. With a name it takes that name from its rival, and goes on sending when fenced.

use std::sync::Arc;
use std::time::Duration;

use meridian_history::{Appended, MessageId, OpenProducer, Publish, Sent};
use meridian_model::batch::{BatchBuilder, FLAG_NAMED_PRODUCER};
use meridian_model::{Batch, Codec, Message, ProducerId};
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::{ErrorReason, OpenProducerRequest, PublishRequest};

use super::once::{Unanswered, attempt};
use super::oracle;
use super::scene::{Scene, TOPIC};
use super::wires::Wires;
use crate::chance::Chance;
use crate::plan::NODES;

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

#[derive(PartialEq)]
enum Fate {
    Stored,
    /// Nobody knows, or it can never be stored under this identity.
    GivenUp,
}

struct Producer {
    scene: Arc<Scene>,
    wires: Wires,
    process: u64,
    label: String,
    name: Option<String>,
    chance: Chance,
    openings: u64,
}

/// Publishes until the work is over.
pub(super) async fn produce(
    scene: Arc<Scene>,
    wires: Wires,
    label: String,
    name: Option<String>,
    chance: Chance,
) {
    let process = scene.number();
    let mut producer = Producer { scene, wires, process, label, name, chance, openings: 0 };
    while !producer.scene.is_over() {
        let Some(mut identity) = producer.open().await else {
            producer.scene.pace(100).await;
            continue;
        };
        // A named producer gives its rival a turn; both go on sending under their old epochs for a while.
        let mut batches = if producer.name.is_some() { producer.chance.between(5, 60) } else { u64::MAX };
        while batches > 0
            && !producer.scene.is_over()
            && producer.publish(&mut identity).await == Fate::Stored
        {
            batches -= 1;
            producer.scene.pace(producer.scene.plan.pace_ms).await;
        }
    }
}

impl Producer {
    fn any_node(&mut self) -> usize {
        self.chance.between(0, NODES as u64 - 1) as usize
    }

    async fn open(&mut self) -> Option<Identity> {
        self.openings += 1;
        let (label, openings) = (&self.label, self.openings);
        let oracle = self.name.clone().unwrap_or_else(|| format!("{label}.{openings}"));
        let request = OpenProducerRequest {
            topic: TOPIC.to_owned(),
            name: self.name.clone().unwrap_or_default(),
            request_id: format!("{label}-{openings}-{:016x}", self.chance.any()),
        };
        let node = self.any_node();
        let mut client = self.wires.publisher(node).ok()?;
        let call = OpenProducer { topic: TOPIC.to_owned(), producer: oracle.clone(), epoch: None };
        let pending = self.name.is_some().then(|| self.scene.recorder.invoke(self.process, call));
        let opened = match attempt(OPENING_PATIENCE, client.open_producer(request)).await {
            Ok(opened) => {
                if let Some(pending) = pending {
                    pending.ok(u64::from(opened.epoch));
                }
                opened
            }
            Err(unanswered) => {
                match (pending, &unanswered) {
                    (Some(pending), Unanswered::Refused(_)) => pending.fail(unanswered.why()),
                    (Some(pending), Unanswered::Unknown(_)) => pending.info(unanswered.why()),
                    (None, _) => {}
                }
                self.wires.forget(node);
                return None;
            }
        };
        let producer = ProducerId(opened.producer_id.as_ref().try_into().ok()?);
        let sequences = vec![0; self.scene.plan.partitions as usize];
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
            let Err(unanswered) = self.send(&parcel, identity).await else {
                identity.sequences[partition as usize] += parcel.call.messages.len() as u64;
                return Fate::Stored;
            };
            use ErrorReason::{DiskFull, NotLeader, Throttled};
            match unanswered.refusal() {
                None | Some(NotLeader | Throttled | DiskFull) => {
                    self.scene.pace(self.chance.between(1, 80)).await;
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
        let key = self.scene.key_of(partition);
        let codec = self.chance.pick(&[Codec::None, Codec::Lz4, Codec::Zstd]);
        let flags = if self.name.is_some() { FLAG_NAMED_PRODUCER } else { 0 };
        let mut builder =
            BatchBuilder::new(codec).producer(identity.producer, identity.epoch, first).flags(flags);
        let mut messages = Vec::new();
        for sequence in first..first + self.chance.between(1, 5) {
            let id = MessageId::new(&identity.name, u64::from(identity.epoch), sequence);
            let filler = self.chance.between(0, self.scene.plan.filler_bytes_max) as usize;
            let (body, crc) = oracle::seal(&id, &self.chance.text(filler));
            builder.push(&Message::new(body).with_key(key.clone()));
            messages.push(Sent { id, key: Some(key.clone()), crc });
        }
        let call = Publish {
            topic: TOPIC.to_owned(),
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
        let node = self.any_node();
        let mut client = self.wires.publisher(node).map_err(|e| Unanswered::Unknown(e.to_string()))?;
        let request = PublishRequest {
            topic: TOPIC.to_owned(),
            partition: Some(parcel.call.partition),
            payload: Some(Payload::Batch(parcel.batch.bytes().clone())),
            opened_at_ms: identity.opened_at_ms,
            accept_redirect: self.chance.percent(30),
        };
        let pending = self.scene.recorder.invoke(self.process, parcel.call.clone());
        let unanswered = match attempt(PATIENCE, client.publish(request)).await.map(|response| response.ack) {
            Ok(Some(ack)) => {
                pending.ok(Appended { first_offset: Some(ack.base_offset), duplicate: ack.duplicate });
                self.scene.acked(parcel.call.messages.len() as u64);
                return Ok(());
            }
            Ok(None) => Unanswered::Unknown("an answer without an ack".into()),
            Err(unanswered) => unanswered,
        };
        match unanswered.refusal() {
            Some(ErrorReason::DuplicateBeyondWindow) => {
                pending.ok(Appended { first_offset: None, duplicate: true });
                return Ok(());
            }
            Some(_) => pending.fail(unanswered.why()),
            None => {
                self.wires.forget(node);
                pending.info(unanswered.why());
            }
        }
        Err(unanswered)
    }
}
