//! Publishing to the fake cluster, and looking topics up.

use bytes::Bytes;
use meridian_model::{BatchBuilder, Codec, Message, ProducerId, hash};
use meridian_proto::v1::metadata_service_server::MetadataService;
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::publish_service_server::PublishService;
use meridian_proto::v1::publish_stream_request::Request as Kind;
use meridian_proto::v1::publish_stream_response::Response as Answer;
use meridian_proto::v1::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Fault, Node, not_found, resource};

/// What a batch leads to.
enum Outcome {
    Answer(Result<PublishAck, Failure>),
    Silence,
    Break,
}

impl Node {
    fn publish_one(&self, topic: &str, partition: u32, batch: Bytes, redirect: bool) -> Outcome {
        let outcome = self.publish_locked(topic, partition, batch, redirect);
        self.cluster.changed();
        outcome
    }

    fn publish_locked(&self, topic: &str, number: u32, batch: Bytes, redirect: bool) -> Outcome {
        let nodes = self.cluster.addresses.len() as u64;
        let mut state = self.cluster.state.lock();
        state.batches_received += 1;
        let down = state.down.clone();
        let rolled = state.dice.as_mut().map_or(Fault::Pass, |dice| dice.roll());
        let partition = match state.partition(topic, number) {
            Ok(partition) => partition,
            Err(failure) => return Outcome::Answer(Err(failure)),
        };
        if down.contains(&partition.leader) {
            return Outcome::Answer(Err(Failure::new(ErrorReason::Unavailable, "no leader")));
        }
        if partition.leader != self.number && redirect {
            return Outcome::Answer(Err(self.not_leader(partition.leader)));
        }
        let unknown = || Outcome::Answer(Err(Failure::new(ErrorReason::Indeterminate, "proposed, unknown")));
        let store = |partition: &mut super::Partition| {
            partition.append(batch).map(|ack| PublishAck { partition: number, ..ack })
        };
        match partition.script.pop_front().unwrap_or(rolled) {
            Fault::Pass => Outcome::Answer(store(partition)),
            Fault::BreakBeforeStore => Outcome::Break,
            Fault::UnknownBeforeStore => unknown(),
            Fault::Silence => Outcome::Silence,
            Fault::Refuse(ErrorReason::NotLeader) => {
                Outcome::Answer(Err(Failure::new(ErrorReason::NotLeader, "not I")))
            }
            Fault::Refuse(reason) => {
                Outcome::Answer(Err(Failure::new(reason, format!("scripted {reason:?}"))))
            }
            Fault::Move => {
                partition.leader = 1 + partition.leader % nodes;
                Outcome::Answer(Err(self.not_leader(partition.leader)))
            }
            fault => match (store(partition), fault) {
                (Err(failure), _) => Outcome::Answer(Err(failure)),
                (Ok(_), Fault::BreakAfterStore) => Outcome::Break,
                (Ok(_), Fault::SilenceAfterStore) => Outcome::Silence,
                (Ok(_), _) => unknown(),
            },
        }
    }

    fn not_leader(&self, leader: u64) -> Failure {
        Failure::new(ErrorReason::NotLeader, "not the leader")
            .with("node", leader)
            .with("address", self.address_of(leader))
    }
}

#[tonic::async_trait]
impl PublishService for Node {
    async fn open_producer(
        &self,
        request: Request<OpenProducerRequest>,
    ) -> Result<Response<OpenProducerResponse>, Status> {
        self.alive()?;
        let request = request.into_inner();
        let topic = resource(&request.topic)?;
        let mut state = self.cluster.state.lock();
        state.opens += 1;
        state.next_id += 1;
        let id = state.next_id;
        let partitions = state.topics.get(&topic).ok_or_else(|| not_found(&request.topic))?.len();
        let (producer, epoch) = match request.name.as_str() {
            "" => (ProducerId::from_u128(u128::from(id)), 0),
            name => {
                let epoch = state.epochs.entry((topic.clone(), name.into())).or_default();
                *epoch += 1;
                let epoch = *epoch;
                let producer = ProducerId::from_u128(u128::from(hash::key_hash(name.as_bytes())) << 64);
                for number in 0..partitions {
                    state.topics.get_mut(&topic).expect("found above")[number].fence(producer, epoch);
                }
                (producer, epoch)
            }
        };
        let producer_id = Bytes::copy_from_slice(&producer.0);
        Ok(Response::new(OpenProducerResponse { producer_id, epoch, opened_at_ms: id }))
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        self.alive()?;
        let request = request.into_inner();
        let batch = match request.payload {
            Some(Payload::Batch(batch)) => batch,
            Some(Payload::Messages(plain)) => {
                let mut builder = BatchBuilder::new(Codec::None);
                for plain in plain.messages {
                    let properties = plain.properties.into_iter().collect();
                    builder.push(&Message { key: plain.key, properties, body: plain.body });
                }
                builder.build().expect("a batch").into_bytes()
            }
            None => return Err(Failure::invalid("payload", "absent").into()),
        };
        match self.publish_one(&request.topic, request.partition.unwrap_or(0), batch, request.accept_redirect)
        {
            Outcome::Answer(Ok(ack)) => Ok(Response::new(PublishResponse { ack: Some(ack) })),
            Outcome::Answer(Err(failure)) => Err(failure.into()),
            Outcome::Break => Err(Status::unavailable("connection reset")),
            Outcome::Silence => std::future::pending().await,
        }
    }

    type PublishStreamStream = UnboundedReceiverStream<Result<PublishStreamResponse, Status>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        self.alive()?;
        let mut inbound = request.into_inner();
        let (out, answers) = mpsc::unbounded_channel();
        let node = self.clone();
        tokio::spawn(async move {
            let mut changes = node.cluster.changes.subscribe();
            let Ok(Some(PublishStreamRequest { request: Some(Kind::Open(open)) })) = inbound.message().await
            else {
                return;
            };
            let credit_bytes = node.cluster.with(|state| state.credit_bytes);
            let opened = PublishOpened { credit_bytes, inflight_batches_max: 32 };
            let _ = out.send(Ok(PublishStreamResponse { response: Some(Answer::Opened(opened)) }));
            let mut unanswered_bytes = 0;
            loop {
                let next = tokio::select! {
                    next = inbound.message() => next,
                    _ = changes.changed() => match node.alive() {
                        Ok(()) => continue,
                        Err(broken) => { let _ = out.send(Err(broken)); return }
                    },
                };
                let Ok(Some(PublishStreamRequest { request: Some(Kind::Batch(sent)) })) = next else {
                    return;
                };
                let (correlation, bytes) = (sent.correlation, sent.batch.len() as u64);
                if unanswered_bytes > 0 && unanswered_bytes + bytes > credit_bytes {
                    node.cluster.with(|state| state.overdrawn += 1);
                }
                let answer =
                    match node.publish_one(&open.topic, sent.partition, sent.batch, open.accept_redirect) {
                        Outcome::Answer(Ok(ack)) => {
                            Answer::Ack(PublishBatchAck { correlation, ack: Some(ack) })
                        }
                        Outcome::Answer(Err(failure)) => {
                            Answer::Failure(PublishBatchFailure { correlation, failure: Some(failure) })
                        }
                        Outcome::Silence => {
                            unanswered_bytes += bytes;
                            continue;
                        }
                        Outcome::Break => {
                            let _ = out.send(Err(Status::unavailable("connection reset")));
                            return;
                        }
                    };
                let _ = out.send(Ok(PublishStreamResponse { response: Some(answer) }));
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(answers)))
    }
}

#[tonic::async_trait]
impl MetadataService for Node {
    async fn lookup_topic(
        &self,
        request: Request<LookupTopicRequest>,
    ) -> Result<Response<LookupTopicResponse>, Status> {
        self.alive()?;
        let asked = request.into_inner().topic;
        let topic = resource(&asked)?;
        let mut state = self.cluster.state.lock();
        state.lookups += 1;
        let addresses = self.cluster.addresses.iter().zip(1..);
        let nodes = addresses.map(|(address, node)| NodeLocation {
            node,
            address: address.clone(),
            zone: String::new(),
        });
        let nodes: Vec<NodeLocation> = nodes.collect();
        let down = state.down.clone();
        let partitions = state.topics.get(&topic).ok_or_else(|| not_found(&asked))?.iter().zip(0..);
        let partitions = partitions.map(|(partition, number)| PartitionLocation {
            partition: number,
            log_id: Bytes::copy_from_slice(&partition.log.0),
            leader_node: Some(partition.leader).filter(|leader| !down.contains(leader)),
            replica_nodes: (1..=nodes.len() as u64).collect(),
        });
        let partitions = partitions.collect();
        Ok(Response::new(LookupTopicResponse { topic, partitions, nodes }))
    }
}
