//! Clients that know no restraint: as many requests as their connections take, again at once when refused.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use meridian_harness::cluster::Cluster;
use meridian_harness::wait;
use meridian_model::{BatchBuilder, Codec, Message};
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::read_request::Start;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{ErrorReason, Failure, PublishRequest, ReadFormat, ReadRequest};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::{PARTITIONS, TOPIC};

/// Requests under way on one connection.
const AT_ONCE: usize = 8;
/// Messages of a batch, and bytes of a message.
const MESSAGES: usize = 64;
const MESSAGE_BYTES: usize = 1_000;
/// Readers of each node that read as fast as they can, and those that hardly read at all.
const HASTY: u32 = 3;
const SLUGGISH: u32 = 9;
const SLUGGISH_PAUSE: Duration = Duration::from_millis(500);

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Bytes acked in a second.
    pub(crate) bytes_per_s: f64,
    /// Bytes offered in a second, refused ones included.
    pub(crate) offered_bytes_per_s: f64,
    /// Bytes read in a second.
    pub(crate) read_bytes_per_s: f64,
    /// Requests refused for want of room.
    pub(crate) refused: u64,
    /// Of these, refusals that do not say when to try again.
    pub(crate) hintless: u64,
    /// Any other failure, by what it said.
    pub(crate) other: BTreeMap<String, u64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: f64| bytes / 1e6;
        let (offered, done, read) = (self.offered_bytes_per_s, self.bytes_per_s, self.read_bytes_per_s);
        write!(f, "{:.1} MB/s acked of {:.1} offered, ", mb(done), mb(offered))?;
        write!(f, "{} refused, {:.1} MB/s read", self.refused, mb(read))
    }
}

#[derive(Default)]
struct Counters {
    over: AtomicBool,
    acked: AtomicU64,
    offered: AtomicU64,
    refused: AtomicU64,
    hintless: AtomicU64,
    other: Mutex<BTreeMap<String, u64>>,
}

/// Publishing clients at work.
pub(crate) struct Load {
    counters: Arc<Counters>,
    tasks: JoinSet<()>,
    since: Mutex<Instant>,
    batch_bytes: usize,
}

impl Load {
    /// So many connections to each node.
    pub(crate) async fn start(cluster: &Cluster, connections: usize) -> Result<Self> {
        let (counters, batch) = (Arc::new(Counters::default()), batch()?);
        let mut tasks = JoinSet::new();
        for id in cluster.ids() {
            for nth in 0..connections {
                let channel = connect(cluster, id).await?;
                for at_once in 0..AT_ONCE {
                    let partition = (nth * AT_ONCE + at_once) as u32 % PARTITIONS;
                    tasks.spawn(publish(channel.clone(), partition, batch.clone(), counters.clone()));
                }
            }
        }
        Ok(Self { counters, tasks, since: Mutex::new(Instant::now()), batch_bytes: batch.len() })
    }

    /// What was done so far does not count.
    pub(crate) fn reset(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        for counter in [&self.counters.acked, &self.counters.offered] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Ends the clients once they have their answers.
    pub(crate) async fn stop(mut self) -> Result<Figures> {
        let seconds = self.since.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64();
        let per_s =
            |count: &AtomicU64| (count.load(Ordering::Relaxed) as usize * self.batch_bytes) as f64 / seconds;
        let (acked, offered) = (per_s(&self.counters.acked), per_s(&self.counters.offered));
        self.counters.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(Figures {
            bytes_per_s: acked,
            offered_bytes_per_s: offered,
            read_bytes_per_s: 0.0,
            refused: self.counters.refused.load(Ordering::Relaxed),
            hintless: self.counters.hintless.load(Ordering::Relaxed),
            other: self.counters.other.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }
}

impl Counters {
    fn note(&self, answer: Result<(), Status>) {
        let Err(status) = answer else {
            self.acked.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let failure = Failure::from_status(&status);
        if failure.reason() == ErrorReason::Throttled {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.hintless.fetch_add(u64::from(failure.retry_after_ms == 0), Ordering::Relaxed);
            return;
        }
        let said = format!("{:?}: {}", status.code(), status.message());
        *self.other.lock().unwrap_or_else(PoisonError::into_inner).entry(said).or_default() += 1;
    }
}

fn batch() -> Result<Bytes> {
    let mut builder = BatchBuilder::new(Codec::None);
    for number in 0..MESSAGES {
        builder.push(&Message::new(vec![number as u8; MESSAGE_BYTES]));
    }
    Ok(builder.build()?.into_bytes())
}

async fn connect(cluster: &Cluster, id: u64) -> Result<Channel> {
    let address = format!("http://{}", cluster.address(id));
    Endpoint::from_shared(address)?.connect().await.with_context(|| format!("connecting to node {id}"))
}

fn request(partition: u32, batch: &Bytes) -> PublishRequest {
    PublishRequest {
        topic: TOPIC.into(),
        partition: Some(partition),
        payload: Some(Payload::Batch(batch.clone())),
        ..PublishRequest::default()
    }
}

async fn publish(channel: Channel, partition: u32, batch: Bytes, counters: Arc<Counters>) {
    let mut client = PublishServiceClient::new(channel);
    while !counters.over.load(Ordering::Relaxed) {
        counters.offered.fetch_add(1, Ordering::Relaxed);
        counters.note(client.publish(request(partition, &batch)).await.map(drop));
    }
}

/// Publishes to each partition, as often as it takes.
pub(crate) async fn publish_once(cluster: &Cluster, within: Duration) -> Result<()> {
    let batch = batch()?;
    for partition in 0..PARTITIONS {
        let what = format!("a publish to {TOPIC}[{partition}]");
        wait::until(&what, within, async || {
            let mut client = PublishServiceClient::new(cluster.channel(1).ok()?);
            client.publish(request(partition, &batch)).await.ok()
        })
        .await?;
    }
    Ok(())
}

/// Readers that begin at the earliest message, over and over: some in haste, others so slow that they never end.
pub(crate) struct Readers {
    over: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    tasks: JoinSet<Result<()>>,
}

impl Readers {
    /// Sets readers of both kinds to each node.
    pub(crate) async fn start(cluster: &Cluster) -> Result<Self> {
        let (over, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for id in cluster.ids() {
            let channel = connect(cluster, id).await?;
            for nth in 0..HASTY + SLUGGISH {
                let pause = (nth >= HASTY).then_some(SLUGGISH_PAUSE);
                tasks.spawn(read(
                    channel.clone(),
                    (id, nth % PARTITIONS),
                    pause,
                    over.clone(),
                    bytes.clone(),
                ));
            }
        }
        Ok(Self { over, bytes, tasks })
    }

    /// Ends them. Returns how many bytes they read.
    pub(crate) async fn stop(mut self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(self.bytes.load(Ordering::Relaxed))
    }
}

fn is_throttled(status: &Status) -> bool {
    Failure::from_status(status).reason() == ErrorReason::Throttled
}

async fn read(
    channel: Channel,
    (replica, partition): (u64, u32),
    pause: Option<Duration>,
    over: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
) -> Result<()> {
    let mut client = ReadServiceClient::new(channel).max_decoding_message_size(16 << 20);
    while !over.load(Ordering::Relaxed) {
        let request = ReadRequest {
            topic: TOPIC.into(),
            partition,
            format: ReadFormat::Batches as i32,
            replica_node: Some(replica),
            start: Some(Start::Earliest(true)),
            ..ReadRequest::default()
        };
        let mut stream = match client.read(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if is_throttled(&status) => continue,
            Err(status) => return Err(status.into()),
        };
        loop {
            let page = match stream.message().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(status) if is_throttled(&status) => break,
                Err(status) => return Err(status.into()),
            };
            let read: usize = page.batches.iter().map(|stored| stored.batch.len()).sum();
            bytes.fetch_add(read as u64, Ordering::Relaxed);
            if over.load(Ordering::Relaxed) {
                break;
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }
    Ok(())
}
