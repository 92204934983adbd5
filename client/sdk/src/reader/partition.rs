//! The task that reads one partition and takes up where it was whenever its stream ends.

use std::sync::Arc;
use std::time::Duration;

use meridian_model::{Batch, LogId, NodeId, Offset, UnixMs, limits};
use meridian_proto::v1::read_request::Start as WireStart;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{
    ErrorReason, Failure, ReadFormat, ReadRequest, ReadResponse, StoredBatch as WireBatch, StoredMessage,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::Record;
use super::chunk::{Chunk, StoredBatch};
use crate::Error;
use crate::backoff::Backoff;
use crate::call::{is_transport, redirect};
use crate::channels::Channels;
use crate::client::Shared;
use crate::metadata::log_id;

/// What all partitions of a reader have in common.
pub(super) struct Plan {
    pub(super) shared: Arc<Shared>,
    /// The reader's own connections.
    pub(super) channels: Channels,
    pub(super) topic: Arc<str>,
    pub(super) follow: bool,
    pub(super) replica: Option<NodeId>,
    /// 0: no bound.
    pub(super) limit: u64,
    pub(super) format: ReadFormat,
    pub(super) patience: Duration,
}

/// Where the reading stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Earliest,
    Time(UnixMs),
    Offset { offset: Offset, clamp: bool },
}

/// Why a stream is over.
enum End {
    /// The end of the log, or the reader is gone.
    Done,
    /// The node ended a stream that follows.
    Closed,
    Failed(Error),
}

pub(super) struct PartitionTask {
    plan: Arc<Plan>,
    partition: u32,
    place: Place,
    /// The history, once known.
    log: Option<LogId>,
    delivered: u64,
    out: mpsc::Sender<Result<Chunk, Error>>,
    backoff: Backoff,
    /// When the stream last brought something.
    alive: Instant,
    leader: Option<String>,
}

impl PartitionTask {
    pub(super) fn new(
        plan: Arc<Plan>,
        partition: u32,
        place: Place,
        out: mpsc::Sender<Result<Chunk, Error>>,
    ) -> Self {
        let (log, backoff, alive) = (None, Backoff::default(), Instant::now());
        Self { plan, partition, place, log, delivered: 0, out, backoff, alive, leader: None }
    }

    /// Until the end of the log, an error that no retry cures, or the reader is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let address = self.address().await;
            let error = match self.read_from(&address).await {
                End::Done => return,
                End::Closed => Failure::new(ErrorReason::Unavailable, "the node ended the stream").into(),
                End::Failed(error) => error,
            };
            if !self.is_passing(&error) {
                let _ = self.out.send(Err(error)).await;
                return;
            }
            tracing::debug!(topic = %self.plan.topic, partition = self.partition, %address, %error, "reading again");
            if self.alive.elapsed() >= self.plan.patience {
                let what = format!("read {} partition {}", self.plan.topic, self.partition);
                let (after, last) = (self.plan.patience, Some(Box::new(error)));
                let _ = self.out.send(Err(Error::Timeout { what, after, last })).await;
                return;
            }
            self.plan.channels.turn();
            let known = redirect(&error).filter(|_| self.backoff.attempts() == 0);
            let pause = self.backoff.next(Duration::ZERO, &self.plan.shared.random);
            if known.is_none() {
                tokio::time::sleep(pause).await;
                // Its failure shows when the next address does not answer either.
                let _ = self.plan.shared.lookup_again(&self.plan.topic).await;
            }
            self.leader = known;
        }
    }

    /// The leader, the replica's node, or anyone: a node that is asked for what another one has forwards.
    async fn address(&mut self) -> String {
        let wanted = match self.leader.take() {
            Some(leader) => Some(leader),
            None => self.plan.shared.route(&self.plan.topic).await.ok().and_then(|route| {
                match self.plan.replica {
                    Some(node) => route.nodes.get(&node).cloned(),
                    None => route.leader_address(self.partition).map(String::from),
                }
            }),
        };
        let usable = wanted.filter(|address| !self.plan.channels.is_suspect(address));
        usable.unwrap_or_else(|| self.plan.channels.anyone())
    }

    /// Whether trying again can help. What is there when a reading begins, and what is behind for a moment on a
    /// new leader or a replica, differ: once something was read, being "out of range" passes.
    fn is_passing(&self, error: &Error) -> bool {
        let Error::Refused(refused) = error else {
            return matches!(error, Error::Connect { .. } | Error::Timeout { .. });
        };
        let begun = self.log.is_some();
        refused.retryable
            || (begun && refused.reason == ErrorReason::OutOfRange)
            || (self.backoff.attempts() < 5 && refused.reason == ErrorReason::NotFound)
    }

    async fn read_from(&mut self, address: &str) -> End {
        let mut stream = match self.open(address).await {
            Ok(stream) => stream,
            Err(error) => return End::Failed(error),
        };
        loop {
            match stream.message().await {
                Ok(Some(response)) => {
                    self.alive = Instant::now();
                    self.backoff.reset();
                    match self.take(response).await {
                        Ok(true) => {}
                        Ok(false) => return End::Done,
                        Err(error) => return End::Failed(error),
                    }
                }
                Ok(None) if self.plan.follow => return End::Closed,
                Ok(None) => return End::Done,
                Err(status) => return End::Failed(self.status(address, &status)),
            }
        }
    }

    async fn open(&self, address: &str) -> Result<Streaming<ReadResponse>, Error> {
        let (start, clamp) = match self.place {
            Place::Earliest => (WireStart::Earliest(true), true),
            Place::Time(time) => (WireStart::TimeMs(time.0), true),
            Place::Offset { offset, clamp } => (WireStart::Offset(offset.0), clamp),
        };
        let messages_max = match self.plan.limit {
            0 => 0,
            limit => limit.saturating_sub(self.delivered).max(1),
        };
        let request = ReadRequest {
            topic: self.plan.topic.to_string(),
            partition: self.partition,
            follow: self.plan.follow,
            format: self.plan.format as i32,
            replica_node: self.plan.replica.map(|node| node.0),
            messages_max,
            clamp,
            start: Some(start),
        };
        let channel = self.plan.channels.get(address).await?;
        let mut client = ReadServiceClient::new(channel).max_decoding_message_size(limits::RPC_BYTES_MAX);
        let opening = client.read(request);
        match tokio::time::timeout(self.plan.shared.config.attempt_timeout, opening).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.status(address, &status)),
            Err(_) => {
                self.plan.channels.suspect(address);
                let why = format!("{address} did not begin to answer in time");
                Err(Failure::new(ErrorReason::Unavailable, why).into())
            }
        }
    }

    fn status(&self, address: &str, status: &Status) -> Error {
        if is_transport(status) {
            self.plan.channels.suspect(address);
        }
        Failure::from_status(status).into()
    }

    /// Verifies and passes on. `false`: the reader is gone, or has all it wanted.
    async fn take(&mut self, response: ReadResponse) -> Result<bool, Error> {
        let log = self.same_log(&response.log_id)?;
        if let Some(range) = response.skipped
            && !self.skipped(Offset(range.from), Offset(range.to)).await
        {
            return Ok(false);
        }
        for batch in response.batches {
            if let Some(chunk) = self.batch(log, batch)?
                && self.out.send(Ok(chunk)).await.is_err()
            {
                return Ok(false);
            }
        }
        let records = self.records(log, response.messages)?;
        if !records.is_empty() && self.out.send(Ok(Chunk::Records(records))).await.is_err() {
            return Ok(false);
        }
        if let Place::Earliest | Place::Time(_) = self.place
            && response.next_offset > 0
        {
            self.place = Place::Offset { offset: Offset(response.next_offset), clamp: true };
        }
        Ok(self.plan.limit == 0 || self.delivered < self.plan.limit)
    }

    fn same_log(&mut self, bytes: &[u8]) -> Result<LogId, Error> {
        let now = log_id(bytes)?;
        let was = *self.log.get_or_insert(now);
        if was != now {
            let (topic, partition) = (self.plan.topic.to_string(), self.partition);
            return Err(Error::LogChanged { topic, partition, was, now });
        }
        Ok(now)
    }

    async fn skipped(&mut self, from: Offset, to: Offset) -> bool {
        let from = match self.place {
            Place::Offset { offset, .. } => offset.max(from),
            _ => from,
        };
        if to <= from {
            return true;
        }
        self.place = Place::Offset { offset: to, clamp: true };
        self.out.send(Ok(Chunk::Skipped { partition: self.partition, from, to })).await.is_ok()
    }

    /// Moves the place past offsets `base` to `base + count`. Returns where in them the new ones begin; `None`:
    /// there are none.
    fn advance(&mut self, base: Offset, count: u64) -> Result<Option<Offset>, Error> {
        let end = base.plus(count);
        let from = match self.place {
            Place::Offset { offset, .. } if base > offset => {
                let (topic, partition) = (self.plan.topic.to_string(), self.partition);
                return Err(Error::Gap { topic, partition, expected: offset, got: base });
            }
            Place::Offset { offset, .. } if end <= offset => return Ok(None),
            Place::Offset { offset, .. } => offset,
            Place::Earliest | Place::Time(_) => base,
        };
        self.place = Place::Offset { offset: end, clamp: true };
        self.delivered += end.0 - from.0;
        Ok(Some(from))
    }

    fn batch(&mut self, log: LogId, stored: WireBatch) -> Result<Option<Chunk>, Error> {
        let base = Offset(stored.base_offset);
        let (topic, partition) = (self.plan.topic.clone(), self.partition);
        let corrupt = |source| Error::Corrupt { topic: topic.to_string(), partition, offset: base, source };
        let batch = Batch::verify(stored.batch).map_err(corrupt)?;
        if batch.header().count != stored.count {
            let (expected, got) = (stored.count as usize, batch.header().count as usize);
            return Err(corrupt(meridian_model::BatchError::Length { expected, got }));
        }
        let appended_at = UnixMs(stored.appended_at_ms);
        let from = self.advance(base, u64::from(stored.count))?;
        Ok(from.map(|from| {
            Chunk::Batch(StoredBatch { topic: topic.clone(), partition, log, base, from, appended_at, batch })
        }))
    }

    fn records(&mut self, log: LogId, messages: Vec<StoredMessage>) -> Result<Vec<Record>, Error> {
        let mut records = Vec::with_capacity(messages.len());
        for message in messages {
            let offset = Offset(message.offset);
            if self.advance(offset, 1)?.is_none() {
                continue;
            }
            let mut properties: Vec<_> = message.properties.into_iter().collect();
            properties.sort_unstable();
            records.push(Record {
                topic: self.plan.topic.clone(),
                partition: self.partition,
                log,
                offset,
                appended_at: UnixMs(message.appended_at_ms),
                producer: meridian_model::ProducerId(log_id(&message.producer_id).unwrap_or_default().0),
                epoch: message.producer_epoch,
                sequence: message.sequence,
                key: message.key,
                properties,
                body: message.body,
            });
        }
        Ok(records)
    }
}
