//! Subscribing at the fake cluster: every node serves every consumer from one queue for each partition.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use meridian_proto::v1::subscribe_request::Request as Said;
use meridian_proto::v1::subscribe_response::Response as Heard;
use meridian_proto::v1::subscribe_service_server::SubscribeService;
use meridian_proto::v1::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{FakeCluster, Node};

/// Who holds what is pulled.
const PULLER: &[u8] = b"pull";

/// One subscription in one partition of `t`.
#[derive(Clone, Debug, Default)]
pub struct FakeQueue {
    pub settled: BTreeSet<u64>,
    /// By offset: the consumer.
    pub held: BTreeMap<u64, Bytes>,
    pub attempts: BTreeMap<u64, u32>,
    pub seek: u64,
    pub dispatch: u64,
}

/// What happened, and what shall happen.
#[derive(Debug, Default)]
pub struct Subscribing {
    pub queues: BTreeMap<u32, FakeQueue>,
    /// Partitions whose leader is looked for.
    pub away: BTreeSet<u32>,
    /// What the next requests about messages meet.
    pub script: VecDeque<SubscribeFault>,
    /// Streams are refused at their beginning.
    pub refuse_open: Option<ErrorReason>,
    pub opened: Vec<SubscribeOpen>,
    pub said: Vec<Said>,
    pub lease_ms: u64,
}

/// What a request about messages meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeFault {
    Pass,
    BreakBefore,
    BreakAfter,
    Refuse(ErrorReason),
}

impl Subscribing {
    pub fn queue(&mut self, partition: u32) -> &mut FakeQueue {
        self.queues.entry(partition).or_insert_with(|| FakeQueue { dispatch: 5, ..FakeQueue::default() })
    }

    /// Messages of a partition that wait for nobody.
    pub fn is_settled(&self, partition: u32, offset: u64) -> bool {
        self.queues.get(&partition).is_some_and(|queue| queue.settled.contains(&offset))
    }
}

impl FakeQueue {
    fn epochs(&self) -> DeliveryEpochs {
        DeliveryEpochs { dispatch: self.dispatch, owner: 0, seek: self.seek }
    }

    fn free(&self, end: u64) -> Option<u64> {
        (0..end).find(|offset| !self.settled.contains(offset) && !self.held.contains_key(offset))
    }

    /// Applies what a consumer says about messages; nothing of it, if one of them is not its own.
    fn apply(&mut self, id: &[u8], said: &Said) -> Result<(), Failure> {
        let ranges: &[DeliveredRange] = match said {
            Said::Ack(ack) => &ack.ranges,
            Said::Nack(nack) => &nack.ranges,
            Said::Extend(extend) => &extend.ranges,
            _ => &[],
        };
        let offsets: Vec<u64> = ranges.iter().flat_map(|range| range.from..range.to).collect();
        let acks = matches!(said, Said::Ack(_));
        for offset in &offsets {
            let mine = self.held.get(offset).is_some_and(|holder| holder == id);
            let done = acks && self.settled.contains(offset);
            if !mine && !done {
                return Err(Failure::new(ErrorReason::NotHeld, format!("{offset} is not held")));
            }
        }
        for offset in offsets {
            match said {
                Said::Ack(_) => {
                    self.held.remove(&offset);
                    self.settled.insert(offset);
                }
                Said::Nack(_) => {
                    self.held.remove(&offset);
                    *self.attempts.entry(offset).or_default() += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// One consumer's stream.
struct Seat {
    node: Node,
    id: Bytes,
    batches: bool,
    /// Whether each partition is attached, as the consumer was told.
    told: Vec<bool>,
    /// What it was given on this stream or named as held.
    given: BTreeSet<(u32, u64)>,
    messages: u64,
    bytes: i64,
    draining: bool,
    out: mpsc::UnboundedSender<Result<SubscribeResponse, Status>>,
}

fn one(offset: u64) -> DeliveredRange {
    DeliveredRange { from: offset, to: offset + 1, deliver_at_ms: 0 }
}

/// The stream is over.
struct Over;

impl Seat {
    fn cluster(&self) -> &FakeCluster {
        &self.node.cluster
    }

    fn hear(&self, heard: Heard) {
        let _ = self.out.send(Ok(SubscribeResponse { response: Some(heard) }));
    }

    fn open(&mut self, open: SubscribeOpen) {
        self.hear(Heard::Opened(SubscribeOpened { consumer_id: self.id.clone(), silence_ms_max: 10_000 }));
        (self.messages, self.bytes) = (open.credit_messages, open.credit_bytes as i64);
        let partitions = self.cluster().with(|state| state.topic("t").len());
        self.told = vec![false; partitions];
        let mut lost: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        self.node.cluster.with(|state| {
            for held in &open.holds {
                let queue = state.subscribing.queue(held.partition);
                for offset in held.ranges.iter().flat_map(|range| range.from..range.to) {
                    let mine = queue.held.get(&offset).is_some_and(|holder| *holder == self.id);
                    if mine && queue.seek == held.seek_epoch {
                        self.given.insert((held.partition, offset));
                    } else {
                        lost.entry(held.partition).or_default().push(offset);
                    }
                }
            }
            state.subscribing.opened.push(open);
        });
        self.attach();
        for (partition, offsets) in lost {
            let reason = RevokeReason::NotKept.into();
            let ranges = offsets.into_iter().map(one).collect();
            self.hear(Heard::Revoked(SubscribeRevoked { source: partition + 10, ranges, reason }));
        }
    }

    /// Tells of partitions that came or went.
    fn attach(&mut self) {
        let mut news = Vec::new();
        self.node.cluster.with(|state| {
            let logs: Vec<Bytes> =
                state.topic("t").iter().map(|p| Bytes::copy_from_slice(&p.log.0)).collect();
            for (partition, log_id) in (0u32..).zip(logs) {
                let here = !state.subscribing.away.contains(&partition);
                let told = &mut self.told[partition as usize];
                if *told != here {
                    *told = here;
                    let attached = if here { SourceState::Attached } else { SourceState::Detached };
                    let (topic, state) = (super::resource("t").expect("a good name"), attached.into());
                    let source = partition + 10;
                    news.push(SubscribeSource { source, topic, partition, state, log_id, failure: None });
                }
            }
        });
        news.into_iter().for_each(|source| self.hear(Heard::Source(source)));
    }

    /// Tells of messages that are this consumer's no longer.
    fn revoke(&mut self) {
        let mut lost: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        self.node.cluster.with(|state| {
            self.given.retain(|(partition, offset)| {
                let queue = state.subscribing.queue(*partition);
                let mine = queue.held.get(offset).is_some_and(|holder| *holder == self.id);
                if !mine && !queue.settled.contains(offset) && !queue.attempts.contains_key(offset) {
                    lost.entry(*partition).or_default().push(*offset);
                }
                mine
            });
        });
        for (partition, offsets) in lost {
            let reason = RevokeReason::LeaseEnded.into();
            let ranges = offsets.into_iter().map(one).collect();
            self.hear(Heard::Revoked(SubscribeRevoked { source: partition + 10, ranges, reason }));
        }
    }

    fn dispatch(&mut self) {
        while self.messages > 0 && self.bytes > 0 && !self.draining {
            let Some(heard) = self.node.cluster.with(|state| {
                let lease_until_ms = 1_000_000 + state.subscribing.lease_ms;
                let partitions = state.topic("t").clone();
                let attached = (0u32..).zip(&partitions).filter(|(p, _)| self.told[*p as usize]);
                for (partition, log) in attached {
                    let queue = state.subscribing.queue(partition);
                    let Some(offset) = queue.free(log.end()) else { continue };
                    let (source, epochs) = (partition + 10, Some(queue.epochs()));
                    let attempt = 1 + queue.attempts.get(&offset).copied().unwrap_or_default();
                    let stored = log.batches_from(offset).into_iter().next().expect("it is there");
                    let mut credit_bytes = 0;
                    let last = if self.batches {
                        stored.base + u64::from(stored.batch.header().count)
                    } else {
                        offset + 1
                    };
                    for offset in offset..last {
                        queue.held.insert(offset, self.id.clone());
                        self.given.insert((partition, offset));
                        self.messages = self.messages.saturating_sub(1);
                        credit_bytes += 1 + log.message_at(&stored, offset).size_bytes() as u64;
                    }
                    self.bytes -= credit_bytes as i64;
                    if self.batches {
                        let (base_offset, count) = (stored.base, stored.batch.header().count);
                        let batch = stored.batch.bytes().clone();
                        let appended_at_ms = stored.appended_at_ms;
                        let batches = vec![StoredBatch { base_offset, count, appended_at_ms, batch }];
                        let ranges = vec![DeliveredRange { from: offset, to: last, deliver_at_ms: 0 }];
                        let frame = DeliveredBatches {
                            source,
                            epochs,
                            batches,
                            ranges,
                            attempt,
                            lease_until_ms,
                            credit_bytes,
                        };
                        return Some(Heard::Batches(frame));
                    }
                    let message = log.message_at(&stored, offset);
                    let (key, body) = (message.key, message.body);
                    let properties = message.properties.into_iter().collect();
                    let message = Some(StoredMessage { offset, key, body, properties, ..Default::default() });
                    let messages =
                        vec![DeliveredMessage { message, attempt, lease_until_ms, ..Default::default() }];
                    return Some(Heard::Messages(DeliveredMessages {
                        source,
                        epochs,
                        messages,
                        credit_bytes,
                    }));
                }
                None
            }) else {
                return;
            };
            self.hear(heard);
        }
    }

    fn say(&mut self, said: Said) -> Result<(), Over> {
        self.node.cluster.with(|state| state.subscribing.said.push(said.clone()));
        let (request, source) = match &said {
            Said::Credit(more) => {
                self.messages += more.messages;
                self.bytes += more.bytes as i64;
                return Ok(());
            }
            Said::Drain(_) => {
                self.draining = true;
                return Ok(());
            }
            Said::Seek(seek) => {
                self.seek(seek);
                return Ok(());
            }
            Said::Ack(ack) => (ack.request, ack.source),
            Said::Nack(nack) => (nack.request, nack.source),
            Said::Extend(extend) => (extend.request, extend.source),
            Said::Open(_) | Said::Heartbeat(_) => return Ok(()),
        };
        let partition = source - 10;
        let fault = self.cluster().with(|state| state.subscribing.script.pop_front());
        let fault = fault.unwrap_or(SubscribeFault::Pass);
        if fault == SubscribeFault::BreakBefore {
            return Err(Over);
        }
        let outcome = match fault {
            SubscribeFault::Refuse(reason) => Err(Failure::new(reason, "scripted")),
            _ if !self.told[partition as usize] => Err(Failure::new(ErrorReason::Unavailable, "away")),
            _ => self.node.cluster.with(|state| state.subscribing.queue(partition).apply(&self.id, &said)),
        };
        if fault == SubscribeFault::BreakAfter {
            return Err(Over);
        }
        match outcome {
            Ok(()) => self.hear(Heard::Confirmed(SubscribeConfirmed { requests: vec![request] })),
            Err(failure) => self.hear(Heard::Refused(SubscribeRefused { request, failure: Some(failure) })),
        }
        self.cluster().changed();
        Ok(())
    }

    fn seek(&mut self, seek: &SubscribeSeek) {
        let mut lost: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        self.node.cluster.with(|state| {
            for partition in 0..self.told.len() as u32 {
                let queue = state.subscribing.queue(partition);
                (queue.settled, queue.held) = Default::default();
                queue.seek += 1;
            }
        });
        for (partition, offset) in std::mem::take(&mut self.given) {
            lost.entry(partition).or_default().push(offset);
        }
        for (partition, offsets) in lost {
            let reason = RevokeReason::Sought.into();
            let ranges = offsets.into_iter().map(one).collect();
            self.hear(Heard::Revoked(SubscribeRevoked { source: partition + 10, ranges, reason }));
        }
        self.hear(Heard::Confirmed(SubscribeConfirmed { requests: vec![seek.request] }));
    }

    /// Everything that follows from what was said or has changed.
    fn go_on(&mut self) -> Result<(), Over> {
        if self.node.alive().is_err() {
            return Err(Over);
        }
        self.attach();
        self.revoke();
        self.dispatch();
        if self.draining && self.given.is_empty() {
            self.hear(Heard::Drained(SubscribeDrained {}));
        }
        Ok(())
    }

    /// A consumer that leaves gives back what it holds; one whose stream breaks keeps it.
    async fn serve(mut self, mut inbound: Streaming<SubscribeRequest>) {
        let mut changes = self.node.cluster.changes.subscribe();
        loop {
            let said = tokio::select! {
                said = inbound.message() => match said {
                    Ok(Some(SubscribeRequest { request })) => request,
                    Ok(None) => {
                        self.node.cluster.with(|state| {
                            for queue in state.subscribing.queues.values_mut() {
                                queue.held.retain(|_, holder| *holder != self.id);
                            }
                        });
                        return self.cluster().changed();
                    }
                    Err(_) => return,
                },
                _ = changes.changed() => None,
            };
            let outcome = said.map_or(Ok(()), |said| self.say(said)).and_then(|()| self.go_on());
            if outcome.is_err() {
                let _ = self.out.send(Err(Status::unavailable("connection reset")));
                return;
            }
        }
    }
}

#[tonic::async_trait]
impl SubscribeService for Node {
    type SubscribeStream = UnboundedReceiverStream<Result<SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        self.alive()?;
        let mut inbound = request.into_inner();
        let (out, responses) = mpsc::unbounded_channel();
        let node = self.clone();
        tokio::spawn(async move {
            let Ok(Some(SubscribeRequest { request: Some(Said::Open(open)) })) = inbound.message().await
            else {
                return;
            };
            let (id, batches, told, given) =
                (open.consumer_id.clone(), open.batches, Vec::new(), BTreeSet::new());
            let mut seat =
                Seat { node, id, batches, told, given, messages: 0, bytes: 0, draining: false, out };
            if let Some(reason) = seat.cluster().with(|state| state.subscribing.refuse_open) {
                let failure = Some(Failure::new(reason, "scripted"));
                return seat.hear(Heard::Refused(SubscribeRefused { request: 0, failure }));
            }
            seat.open(open);
            if seat.go_on().is_ok() {
                seat.serve(inbound).await;
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(responses)))
    }

    async fn pull(&self, request: Request<PullRequest>) -> Result<Response<PullResponse>, Status> {
        self.alive()?;
        let request = request.into_inner();
        let mut state = self.cluster.state.lock();
        let partitions = state.topic(&request.topic).clone();
        let mut messages = Vec::new();
        for (partition, log) in (0u32..).zip(&partitions) {
            let queue = state.subscribing.queue(partition);
            while messages.len() < request.messages_max.max(1) as usize
                && request.partition.is_none_or(|only| only == partition)
                && let Some(offset) = queue.free(log.end())
            {
                queue.held.insert(offset, PULLER.into());
                let stored = log.batches_from(offset).into_iter().next().expect("it is there");
                let message = log.message_at(&stored, offset);
                let (key, body) = (message.key, message.body);
                let message = Some(StoredMessage { offset, key, body, ..Default::default() });
                let attempt = 1 + queue.attempts.get(&offset).copied().unwrap_or_default();
                let message =
                    Some(DeliveredMessage { message, attempt, lease_until_ms: 9, ..Default::default() });
                let ack_id = format!("{partition}:{offset}").into();
                messages.push(PulledMessage { ack_id, partition, message });
            }
        }
        Ok(Response::new(PullResponse { messages }))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        self.alive()?;
        let refused = self.each(&request.into_inner().ack_ids, |offset| {
            Said::Ack(SubscribeAck { ranges: vec![one(offset)], ..Default::default() })
        });
        Ok(Response::new(AcknowledgeResponse { refused }))
    }

    async fn modify_deadline(
        &self,
        request: Request<ModifyDeadlineRequest>,
    ) -> Result<Response<ModifyDeadlineResponse>, Status> {
        self.alive()?;
        let request = request.into_inner();
        let refused = self.each(&request.ack_ids, |offset| match request.nack {
            true => Said::Nack(SubscribeNack { ranges: vec![one(offset)], ..Default::default() }),
            false => Said::Extend(SubscribeExtend { ranges: vec![one(offset)], ..Default::default() }),
        });
        Ok(Response::new(ModifyDeadlineResponse { refused }))
    }
}

impl Node {
    fn each(&self, ack_ids: &[Bytes], said: impl Fn(u64) -> Said) -> BTreeMap<u32, Failure> {
        let mut refused = BTreeMap::new();
        for (ack_id, place) in ack_ids.iter().zip(0..) {
            let parsed = std::str::from_utf8(ack_id).ok().and_then(|text| text.split_once(':'));
            let parsed = parsed.and_then(|(p, o)| Some((p.parse::<u32>().ok()?, o.parse::<u64>().ok()?)));
            let outcome = match parsed {
                Some((partition, offset)) => {
                    self.cluster.with(|state| state.subscribing.queue(partition).apply(PULLER, &said(offset)))
                }
                None => Err(Failure::invalid("ack_ids", "this is none")),
            };
            if let Err(failure) = outcome {
                refused.insert(place, failure);
            }
        }
        self.cluster.changed();
        refused
    }
}
