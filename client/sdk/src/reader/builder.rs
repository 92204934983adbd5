//! Setting up a reader.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::SelectAll;
use meridian_model::NodeId;
use meridian_proto::v1::{GetLogRequest, ReadFormat};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use super::partition::{PartitionTask, Place, Plan};
use super::{BatchReader, Reader, Source, Start};
use crate::client::Shared;
use crate::{Client, Error};

/// Pieces that a partition may be ahead of the application. A piece is one batch.
const CHUNKS_AHEAD_MAX: usize = 8;

/// A reader before it is opened.
#[must_use = "a reader is opened by `open` or `open_batches`"]
pub struct ReaderBuilder {
    shared: Arc<Shared>,
    topic: String,
    partition: Option<u32>,
    start: Start,
    follow: bool,
    replica: Option<NodeId>,
    limit: u64,
    clamp: bool,
    format: ReadFormat,
    patience: Duration,
}

impl ReaderBuilder {
    pub(crate) fn new(shared: Arc<Shared>, topic: String) -> Self {
        Self {
            shared,
            topic,
            partition: None,
            start: Start::Earliest,
            follow: false,
            replica: None,
            limit: u64::MAX,
            clamp: true,
            format: ReadFormat::Batches,
            patience: Duration::from_secs(120),
        }
    }

    /// Only this partition. Default: all that exist when the reader is opened, in no order among each other.
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Where to begin. Default: earliest.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Wait for more at the end of the log. Default: end there.
    pub fn follow(mut self, follow: bool) -> Self {
        self.follow = follow;
        self
    }

    /// Read what the copy on this node has applied, instead of asking the leader: for checks.
    pub fn replica(mut self, node: NodeId) -> Self {
        self.replica = Some(node);
        self
    }

    /// End after so many records, over all partitions. Does not bound [`ReaderBuilder::open_batches`].
    pub fn limit(mut self, records: u64) -> Self {
        self.limit = records;
        self
    }

    /// Whether to begin at the log start, and report what is skipped, where [`Start::Offset`] lies below it.
    /// Otherwise that is the error `OUT_OF_RANGE`. Default: clamp.
    pub fn clamp(mut self, clamp: bool) -> Self {
        self.clamp = clamp;
        self
    }

    /// Let the node unpack batches. Default: unpack here, which verifies the checksum end to end.
    pub fn unpack_on_node(mut self, unpack: bool) -> Self {
        self.format = if unpack { ReadFormat::Messages } else { ReadFormat::Batches };
        self
    }

    /// How long a partition may stay unreachable before the reading of it fails. Default two minutes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Opens a reader of messages.
    ///
    /// Errors: `NOT_FOUND` for an unknown topic or partition, [`Error::Connect`] or [`Error::Timeout`] when the
    /// cluster cannot be reached. Cancellation safe.
    pub async fn open(self) -> Result<Reader, Error> {
        let limit = self.limit;
        Ok(Reader::new(self.source().await?, limit))
    }

    /// Opens a reader of whole batches; [`ReaderBuilder::limit`] does not apply.
    pub async fn open_batches(mut self) -> Result<BatchReader, Error> {
        self.format = ReadFormat::Batches;
        self.limit = u64::MAX;
        Ok(BatchReader::new(self.source().await?))
    }

    async fn source(self) -> Result<Source, Error> {
        let route = self.shared.lookup(&self.topic).await?;
        let count = route.partition_count();
        let wanted = match self.partition {
            Some(partition) if partition >= count => {
                let message = format!("{partition}: {} has partitions 0 to {}", self.topic, count - 1);
                return Err(Error::invalid("partition", message));
            }
            Some(partition) => partition..partition + 1,
            None => 0..count,
        };
        let plan = Arc::new(Plan {
            channels: self.shared.channels.separate(),
            topic: self.topic.as_str().into(),
            follow: self.follow,
            replica: self.replica,
            // Only where one partition is read does the bound hold for the node, too.
            limit: if wanted.len() == 1 && self.limit < u64::MAX { self.limit } else { 0 },
            format: self.format,
            patience: self.patience,
            shared: self.shared.clone(),
        });
        let mut chunks = SelectAll::new();
        let mut tasks = JoinSet::new();
        for partition in wanted {
            let place = self.place(partition).await?;
            let (out, ready) = mpsc::channel(CHUNKS_AHEAD_MAX);
            tasks.spawn(PartitionTask::new(plan.clone(), partition, place, out).run());
            chunks.push(ReceiverStream::new(ready));
        }
        Ok(Source { chunks, _tasks: tasks })
    }

    /// "Latest" is settled now, so that a connection lost before the first message loses none.
    async fn place(&self, partition: u32) -> Result<Place, Error> {
        Ok(match self.start {
            Start::Earliest => Place::Earliest,
            Start::Offset(offset) => Place::Offset { offset, clamp: self.clamp },
            Start::Time(time) => Place::Time(time),
            Start::Latest => {
                let replica_node = self.replica.map(|node| node.0);
                let request = GetLogRequest {
                    topic: self.topic.clone(),
                    partition,
                    linearizable: replica_node.is_none(),
                    replica_node,
                };
                let log = Client { shared: self.shared.clone() }.log_of(request).await?;
                Place::Offset { offset: log.end, clamp: true }
            }
        })
    }
}
