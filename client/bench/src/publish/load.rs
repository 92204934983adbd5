//! The load: producers that send on a schedule or as fast as they are let, and what waits for their acks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use meridian_sdk::{Delivery, Error, Message, Producer, Receipt};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::bodies::{self, Bodies};
use super::ledger::Ledger;
use crate::BenchError;
use crate::latency::Latency;
use crate::units::Rate;

/// A sender on a schedule wakes no more often than this; how late it is counts as latency.
const TICK: Duration = Duration::from_micros(100);
/// Acks looked at in one go.
const BLOCK: usize = 256;

/// What is to be sent, and when it counts.
pub(super) struct Plan {
    pub(super) bodies: Bodies,
    pub(super) rate: Rate,
    /// How many keys there are; none: messages have none.
    pub(super) keys: Option<u32>,
    pub(super) producers: u32,
    /// Messages of one producer that may be unanswered; none: what its buffer holds.
    pub(super) in_flight: Option<usize>,
    /// Bytes that go to one partition before the SDK takes another: what is collected together.
    pub(super) sticky_bytes: usize,
    pub(super) begin: Instant,
    /// From here on acks and sends count.
    pub(super) warm: Instant,
    pub(super) end: Instant,
}

/// What all producers add to.
pub(super) struct Tally {
    pub(super) latency: Mutex<Latency>,
    pub(super) window_messages: AtomicU64,
    pub(super) window_bytes: AtomicU64,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) sent: AtomicU64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            latency: Mutex::new(Latency::new()),
            window_messages: AtomicU64::new(0),
            window_bytes: AtomicU64::new(0),
            ledger: Mutex::default(),
            sent: AtomicU64::new(0),
        }
    }
}

/// A message on its way.
struct Sent {
    counter: u64,
    since: Instant,
    bytes: u32,
    delivery: Delivery,
}

/// Runs all producers to the end of the plan and waits for every answer.
pub(super) async fn run(
    plan: &Arc<Plan>,
    tally: &Arc<Tally>,
    producers: Vec<Producer>,
) -> Result<(), BenchError> {
    let mut running = JoinSet::new();
    for (number, producer) in (0..).zip(producers) {
        let lane = Lane { number, producer, plan: Arc::clone(plan), tally: Arc::clone(tally) };
        match plan.rate {
            Rate::Max => drop(running.spawn(lane.produce())),
            // A schedule finer than the runtime's timer needs a thread that sleeps by itself.
            Rate::PerSecond(_) => {
                let (done, outcome) = oneshot::channel();
                let runtime = Handle::current();
                std::thread::Builder::new()
                    .name(format!("schedule-{number}"))
                    .spawn(move || drop(done.send(runtime.block_on(lane.produce()))))
                    .map_err(crate::failure::local("start a thread"))?;
                running.spawn(async move { outcome.await.unwrap_or(Err(Error::Closed)) });
            }
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| BenchError::Local(error.to_string()))??;
    }
    Ok(())
}

/// One producer.
struct Lane {
    number: u32,
    producer: Producer,
    plan: Arc<Plan>,
    tally: Arc<Tally>,
}

impl Lane {
    async fn produce(self) -> Result<(), Error> {
        let plan = Arc::clone(&self.plan);
        let mut source = plan.bodies.of(self.number);
        let room = plan.in_flight.map(|messages| Arc::new(Semaphore::new(messages)));
        let mut collecting = JoinSet::new();
        let mut current: Option<(mpsc::UnboundedSender<Sent>, usize)> = None;
        for counter in 0.. {
            let Some(due) = self.due(counter) else { break };
            if let Some(room) = &room {
                // The semaphore is never closed.
                room.acquire().await.map_err(|_| Error::Closed)?.forget();
            }
            let since = match plan.rate {
                Rate::Max => Instant::now(),
                Rate::PerSecond(_) => due,
            };
            let body = source.take();
            let bytes = body.len();
            let message = match plan.keys {
                Some(keys) => Message::new(body).with_key(bodies::key(keys, self.number, counter)),
                None => Message::new(body),
            };
            let delivery = self.producer.send(message).await?;
            self.tally.sent.fetch_add(1, Ordering::Relaxed);
            let sent = Sent { counter, since, bytes: bytes as u32, delivery };
            if plan.in_flight == Some(1) {
                self.settle_one(sent).await;
                room.iter().for_each(|room| room.add_permits(1));
                continue;
            }
            let (queue, left) = current.get_or_insert_with(|| {
                let (queue, sent) = mpsc::unbounded_channel();
                collecting.spawn(collect(self.number, sent, room.clone(), plan.clone(), self.tally.clone()));
                (queue, plan.sticky_bytes)
            });
            // The collector ends after this sender.
            let _ = queue.send(sent);
            *left = left.saturating_sub(bytes.max(1));
            if *left == 0 {
                current = None;
                while collecting.try_join_next().is_some() {}
            }
        }
        drop(current);
        collecting.join_all().await;
        self.producer.close().await.or(Ok(()))
    }

    /// When a message is due; waits until then. None: not within the plan.
    fn due(&self, counter: u64) -> Option<Instant> {
        let now = Instant::now();
        let Rate::PerSecond(rate) = self.plan.rate else {
            return (now < self.plan.end).then_some(now);
        };
        let turn = counter * u64::from(self.plan.producers) + u64::from(self.number);
        let due = self.plan.begin + Duration::from_secs_f64(turn as f64 / rate);
        if due >= self.plan.end {
            return None;
        }
        if due > now {
            std::thread::sleep((due - now).max(TICK));
        }
        Some(due)
    }

    async fn settle_one(&self, sent: Sent) {
        let outcome = sent.delivery.await;
        let mut settled = Settled::default();
        settled.note(
            self.number,
            &self.plan,
            (sent.counter, sent.since, sent.bytes),
            Instant::now(),
            &outcome,
        );
        settled.flush(&self.tally);
        self.tally.ledger.lock().merge(settled.ledger);
    }
}

/// Waits for messages in the order of their sending. Without keys they went to one partition, where acks have that
/// order.
async fn collect(
    producer: u32,
    mut queue: mpsc::UnboundedReceiver<Sent>,
    room: Option<Arc<Semaphore>>,
    plan: Arc<Plan>,
    tally: Arc<Tally>,
) {
    let mut block = Vec::with_capacity(BLOCK);
    let mut settled = Settled::default();
    while queue.recv_many(&mut block, BLOCK).await > 0 {
        let mut now = Instant::now();
        for mut sent in block.drain(..) {
            let outcome = match (&mut sent.delivery).now_or_never() {
                Some(outcome) => outcome,
                None => {
                    let outcome = sent.delivery.await;
                    now = Instant::now();
                    outcome
                }
            };
            settled.note(producer, &plan, (sent.counter, sent.since, sent.bytes), now, &outcome);
            room.iter().for_each(|room| room.add_permits(1));
        }
        settled.flush(&tally);
    }
    tally.ledger.lock().merge(settled.ledger);
}

/// Outcomes on their way to the tally.
#[derive(Default)]
struct Settled {
    ledger: Ledger,
    latencies: Vec<Duration>,
    messages: u64,
    bytes: u64,
}

impl Settled {
    fn note(
        &mut self,
        producer: u32,
        plan: &Plan,
        (counter, since, bytes): (u64, Instant, u32),
        now: Instant,
        outcome: &Result<Receipt, Error>,
    ) {
        self.ledger.note(producer, counter, outcome);
        if outcome.is_err() {
            return;
        }
        if (plan.warm..plan.end).contains(&since) {
            self.latencies.push(now.saturating_duration_since(since));
        }
        if (plan.warm..plan.end).contains(&now) {
            self.messages += 1;
            self.bytes += u64::from(bytes);
        }
    }

    fn flush(&mut self, tally: &Tally) {
        let mut latency = tally.latency.lock();
        self.latencies.drain(..).for_each(|took| latency.record(took));
        tally.window_messages.fetch_add(std::mem::take(&mut self.messages), Ordering::Relaxed);
        tally.window_bytes.fetch_add(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}
