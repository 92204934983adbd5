//! The one writer of a node: a FIFO over all groups, drained into one synced write at a time.
//!
//! Group commit across partitions: while one write is on its way to the disk, everything that arrives waits
//! for the next. Order within the FIFO is the order on disk, so a write that was not synced itself is durable
//! as soon as a later synced one is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::{Engine, EngineError, EngineSnapshot, WriteSet};

/// Bytes that go into one engine write at the most, beyond its first set.
const WRITE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Whether a write must be on disk before its completion fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk.
    Synced,
    /// In order, durable with the next synced write.
    Ordered,
}

type Done = Box<dyn FnOnce(Result<(), EngineError>) + Send>;
type Frozen = oneshot::Sender<Arc<dyn EngineSnapshot>>;

struct Job {
    set: WriteSet,
    durability: Durability,
    done: Option<Done>,
    /// Whoever wants the engine frozen right behind this write.
    frozen: Option<Frozen>,
}

/// The end that groups hold. Cheap to clone.
#[derive(Clone)]
pub struct WriterHandle {
    jobs: mpsc::UnboundedSender<Job>,
    backlog_bytes: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    failed: watch::Receiver<Option<EngineError>>,
}

impl WriterHandle {
    /// Queues a write; `done` is called once it is as durable as asked, from the writer's own thread.
    /// Never waits: whoever takes load in must look at [`WriterHandle::backlog_bytes`] first.
    pub fn submit(
        &self,
        set: WriteSet,
        durability: Durability,
        done: impl FnOnce(Result<(), EngineError>) + Send + 'static,
    ) {
        self.send(Job { set, durability, done: Some(Box::new(done)), frozen: None });
    }

    /// Queues a write nobody waits for.
    pub fn submit_ordered(&self, set: WriteSet) {
        self.send(Job { set, durability: Durability::Ordered, done: None, frozen: None });
    }

    /// The engine as it is behind everything queued so far and before anything queued from now on. Ends a write
    /// early, so it is not for every day. `None` if the writer stopped.
    pub fn freeze(&self) -> impl Future<Output = Option<Arc<dyn EngineSnapshot>>> + Send + use<> {
        let (tx, rx) = oneshot::channel();
        let set = WriteSet::default();
        self.send(Job { set, durability: Durability::Ordered, done: None, frozen: Some(tx) });
        async move { rx.await.ok() }
    }

    /// Queues a write and waits until it is as durable as asked. Cancelling does not take it back.
    pub async fn write(&self, set: WriteSet, durability: Durability) -> Result<(), EngineError> {
        let (tx, rx) = oneshot::channel();
        self.submit(set, durability, move |result| drop(tx.send(result)));
        rx.await.unwrap_or(Err(EngineError::Closed))
    }

    /// Bytes queued and not yet written: what admission looks at.
    pub fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(Ordering::Relaxed)
    }

    /// Waits until writes have stood still for `stall_max` although some are queued: the disk hangs.
    /// Cancel safe.
    pub async fn stalled(&self, stall_max: Duration) {
        const LOOKS: u32 = 10;
        let (mut still, mut seen) = (0, 0);
        while still < LOOKS {
            tokio::time::sleep(stall_max / LOOKS).await;
            let writes = self.writes.load(Ordering::Relaxed);
            still = if self.backlog_bytes() > 0 && writes == seen { still + 1 } else { 0 };
            seen = writes;
        }
    }

    /// Waits until a write is done, or nothing waits for one; looks every so often. Cancel safe.
    pub async fn moved_on(&self, look_every: Duration) {
        let seen = self.writes.load(Ordering::Relaxed);
        while self.backlog_bytes() > 0 && self.writes.load(Ordering::Relaxed) == seen {
            tokio::time::sleep(look_every).await;
        }
    }

    /// The error that ended the writer, once there is one. The node must stop then.
    pub async fn failed(&self) -> EngineError {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(EngineError::Closed),
            Err(_) => EngineError::Closed,
        }
    }

    fn send(&self, job: Job) {
        let bytes = job.set.bytes() as u64;
        self.backlog_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(mpsc::error::SendError(job)) = self.jobs.send(job) {
            self.backlog_bytes.fetch_sub(bytes, Ordering::Relaxed);
            if let Some(done) = job.done {
                done(Err(EngineError::Closed));
            }
        }
    }
}

/// The loop itself. The daemon gives it a thread, the simulator a task.
pub struct Writer {
    engine: Arc<dyn Engine>,
    jobs: mpsc::UnboundedReceiver<Job>,
    backlog_bytes: Arc<AtomicU64>,
    writes: Arc<AtomicU64>,
    failed: watch::Sender<Option<EngineError>>,
    latency: Option<Duration>,
}

impl Writer {
    /// A writer over this engine, and the handle to it.
    pub fn new(engine: Arc<dyn Engine>) -> (Writer, WriterHandle) {
        let (tx, rx) = mpsc::unbounded_channel();
        let (failed_tx, failed_rx) = watch::channel(None);
        let backlog_bytes = Arc::new(AtomicU64::new(0));
        let writes = Arc::new(AtomicU64::new(0));
        let handle = WriterHandle {
            jobs: tx,
            backlog_bytes: Arc::clone(&backlog_bytes),
            writes: Arc::clone(&writes),
            failed: failed_rx,
        };
        (Writer { engine, jobs: rx, backlog_bytes, writes, failed: failed_tx, latency: None }, handle)
    }

    /// Lets every write take this long on the runtime's clock: for simulated disks.
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// Runs until every handle is gone or the engine fails. Blocks its thread while the disk works.
    pub async fn run(mut self) {
        while let Some(first) = self.jobs.recv().await {
            let batch = self.collect(first);
            let bytes: u64 = batch.iter().map(|job| job.set.bytes() as u64).sum();
            let sync = batch.iter().any(|job| job.durability == Durability::Synced);
            let mut frozen = None;
            let (sets, done): (Vec<WriteSet>, Vec<Option<Done>>) = batch
                .into_iter()
                .map(|job| {
                    frozen = job.frozen;
                    (job.set, job.done)
                })
                .unzip();
            if let Some(latency) = self.latency {
                tokio::time::sleep(latency).await;
            }
            let result = self.engine.write(&sets, sync);
            drop(sets);
            self.writes.fetch_add(1, Ordering::Relaxed);
            self.backlog_bytes.fetch_sub(bytes, Ordering::Relaxed);
            for done in done.into_iter().flatten() {
                done(result.clone());
            }
            if let Err(error) = result {
                tracing::error!(%error, "a write to the data folder failed; this node must stop");
                self.failed.send_replace(Some(error));
                return;
            }
            if let Some(frozen) = frozen {
                // Nobody may wait for it any more.
                drop(frozen.send(Arc::clone(&self.engine).snapshot()));
            }
        }
    }

    fn collect(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.set.bytes();
        let mut batch = vec![first];
        while bytes < WRITE_BYTES_MAX && batch.last().is_none_or(|job| job.frozen.is_none()) {
            let Ok(job) = self.jobs.try_recv() else { break };
            bytes += job.set.bytes();
            batch.push(job);
        }
        batch
    }
}
