//! The load on NATS: several connections, each with a window of messages that are not acknowledged yet.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use bytes::Bytes;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::Outcome;

/// Random bytes that messages are slices of.
const POOL_BYTES: usize = 16 * 1024 * 1024;

/// A load.
pub(crate) struct Shape {
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) streams: usize,
    pub(crate) publishers: usize,
    /// Messages of one publisher that may be unacknowledged.
    pub(crate) window: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What is published.
pub(crate) enum Bodies {
    Random { pool: Bytes, size: usize },
    Lines(Vec<Bytes>),
}

impl Bodies {
    pub(crate) fn random(size: usize) -> Self {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Bodies::Random { pool: words.take(POOL_BYTES / 8).flatten().collect::<Vec<u8>>().into(), size }
    }

    pub(crate) fn lines(path: &Path) -> Result<Self> {
        let text = Bytes::from(std::fs::read(path)?);
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(Bodies::Lines(lines.map(|line| text.slice_ref(line)).collect()))
    }

    fn get(&self, number: u64) -> Bytes {
        match self {
            Bodies::Random { pool, size } => {
                let places = (pool.len() / size) as u64;
                let from = (number % places) as usize * size;
                pool.slice(from..from + size)
            }
            Bodies::Lines(lines) => lines[(number % lines.len() as u64) as usize].clone(),
        }
    }

    fn name(&self) -> String {
        match self {
            Bodies::Random { size, .. } => format!("{size} random bytes"),
            Bodies::Lines(_) => "lines".into(),
        }
    }
}

/// What a load came to, and the bytes acknowledged in all, warm-up included.
pub(super) struct Loaded {
    pub(super) outcome: Outcome,
    pub(super) bytes_in_all: u64,
}

struct Tally {
    latency: Histogram<u64>,
    messages: u64,
    bytes: u64,
    bytes_in_all: u64,
    errors: u64,
}

#[derive(Clone)]
struct Window {
    warm: Instant,
    end: Instant,
    tally: Arc<Mutex<Tally>>,
}

struct Sent {
    since: Instant,
    bytes: u64,
    ack: PublishAckFuture,
}

pub(super) async fn run(addresses: &[String], shape: &Shape, streams: &[String]) -> Result<Loaded> {
    let latency = Histogram::new_with_bounds(1, 3_600_000_000_000, 3)?;
    let tally = Tally { latency, messages: 0, bytes: 0, bytes_in_all: 0, errors: 0 };
    let warm = Instant::now() + shape.warm_up;
    let window = Window { warm, end: warm + shape.duration, tally: Arc::new(Mutex::new(tally)) };
    let mut running = JoinSet::new();
    for number in 0..shape.publishers {
        // Each begins at another server.
        let mut addresses = addresses.to_vec();
        let servers = addresses.len();
        addresses.rotate_left(number % servers);
        let client = async_nats::connect(addresses).await?;
        let context = ContextBuilder::new().max_ack_inflight(shape.window).build(client);
        let lane = publish(context, shape.bodies.clone(), streams.to_vec(), shape.window, window.clone());
        running.spawn(lane);
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let tally = window.tally.lock();
    let seconds = shape.duration.as_secs_f64();
    let outcome = Outcome {
        messages: shape.bodies.name(),
        streams: shape.streams,
        publishers: shape.publishers,
        window: shape.window,
        messages_per_s: tally.messages as f64 / seconds,
        mb_per_s: tally.bytes as f64 / seconds / 1e6,
        p50_us: tally.latency.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: tally.latency.value_at_quantile(0.99) as f64 / 1e3,
        errors: tally.errors,
        servers_cpu_ns_per_byte: 0.0,
        client_cpu_ns_per_byte: 0.0,
    };
    Ok(Loaded { outcome, bytes_in_all: tally.bytes_in_all.max(1) })
}

async fn publish(
    context: async_nats::jetstream::Context,
    bodies: Arc<Bodies>,
    streams: Vec<String>,
    messages: usize,
    window: Window,
) -> Result<()> {
    let room = Arc::new(Semaphore::new(messages));
    let mut collecting = JoinSet::new();
    // Acks of one stream come in order, those of several do not.
    let queues: Vec<_> = streams
        .iter()
        .map(|_| {
            let (queue, sent) = mpsc::unbounded_channel();
            collecting.spawn(collect(sent, room.clone(), window.clone()));
            queue
        })
        .collect();
    for number in 0.. {
        room.acquire().await?.forget();
        let since = Instant::now();
        if since >= window.end {
            break;
        }
        let body = bodies.get(number);
        let bytes = body.len() as u64;
        let stream = (number % streams.len() as u64) as usize;
        let ack = context.publish(streams[stream].clone(), body).await?;
        let sent = Sent { since, bytes, ack };
        match messages {
            1 => {
                let (since, bytes) = (sent.since, sent.bytes);
                let outcome = sent.ack.await;
                window.note(since, bytes, outcome.is_ok());
                room.add_permits(1);
            }
            // The collector ends after this sender.
            _ => drop(queues[stream].send(sent)),
        }
    }
    drop(queues);
    collecting.join_all().await;
    Ok(())
}

async fn collect(mut queue: mpsc::UnboundedReceiver<Sent>, room: Arc<Semaphore>, window: Window) {
    while let Some(Sent { since, bytes, ack }) = queue.recv().await {
        let outcome = ack.await;
        window.note(since, bytes, outcome.is_ok());
        room.add_permits(1);
    }
}

impl Window {
    fn note(&self, since: Instant, bytes: u64, acked: bool) {
        let now = Instant::now();
        let mut tally = self.tally.lock();
        if !acked {
            tally.errors += 1;
            return;
        }
        tally.bytes_in_all += bytes;
        if (self.warm..self.end).contains(&since) {
            tally.latency.saturating_record(((now - since).as_nanos() as u64).max(1));
        }
        if (self.warm..self.end).contains(&now) {
            tally.messages += 1;
            tally.bytes += bytes;
        }
    }
}
