//! Consumers of one subscription, and the demand that they settle everything once all is healed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meridian_history::{Place, Recorder, SubscriptionKind};
use meridian_workload::queue::{Habits, Queue, consume, drain, final_state, subscribe};
use meridian_workload::{Chance, Manner, Region, Scene as Clients};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::scene::TOPIC;
use super::wires::Wires;
use crate::clock::SkewedClock;
use crate::plan::CLIENTS;

const SUBSCRIPTION: &str = "workers";
/// Logical clients of consumers are numbered from here on.
const FIRST: u64 = 500_000;
/// How long a healed region may take until everything is settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// How long consumers may take to leave after that.
const LEFT_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Consumers on each host of clients: one comes while another one goes.
const CONSUMERS_HOST: u64 = 2;

const MANNER: Manner = Manner {
    message_pause_ms: 0,
    page_pause_ms: 1,
    control_pause_ms: 0,
    filler_bytes_max: 0,
    opens_again: true,
    turn: None,
    copies_move: false,
    unconfirmed_ends: false,
};

/// The subscription of a run, and who consumes from it.
pub(crate) struct Consumers {
    clients: Arc<Clients>,
    queue: Arc<Queue>,
    hosts_done: AtomicU64,
}

impl Consumers {
    /// Leases are so short that some end in a run.
    pub(super) fn new(kind: SubscriptionKind, partitions: u32, recorder: Recorder) -> Self {
        let queue = Queue {
            subscription: SUBSCRIPTION.into(),
            kind,
            lease_ms: 2_000,
            backoff_ms: (100, 1_000),
            dead_letters: None,
            start: Place::Earliest,
            credit: 16,
            habits: Habits::default(),
            clock: Arc::new(SkewedClock::default()),
            // Theirs jump.
            clocks_agree: false,
        };
        let clients = Arc::new(Clients::new(TOPIC, partitions, recorder, MANNER, FIRST));
        Self { clients, queue: Arc::new(queue), hosts_done: AtomicU64::new(0) }
    }

    /// Makes the subscription.
    pub(super) async fn subscribe(&self, wires: &Wires, mut chance: Chance) {
        subscribe(&self.clients, wires, &self.queue, &mut chance).await;
    }

    /// Consumes on one host until everything is settled.
    pub(super) async fn work(&self, wires: &Wires, host: u64, chance: &Chance) -> turmoil::Result {
        let mut tasks = JoinSet::new();
        for nth in host * CONSUMERS_HOST..(host + 1) * CONSUMERS_HOST {
            let (clients, queue) = (Arc::clone(&self.clients), Arc::clone(&self.queue));
            let chance = chance.fork(&format!("consumer-{nth}"));
            tasks.spawn_local(consume(clients, wires.clone(), queue, nth, chance));
        }
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        self.hosts_done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until everything is settled, lets the consumers go, and writes down what is settled. To be called once
    /// everything is healed and nobody publishes any more.
    pub(super) async fn finish(&self, wires: &Wires, chance: &Chance) -> Result<()> {
        let admin = wires.client(chance.fork("unsettled").any())?.admin();
        let unsettled = async |partition: u32| {
            let told = admin.get_subscription(TOPIC, SUBSCRIPTION).await?;
            let told = told.partitions.into_iter().find(|told| told.partition == partition);
            let standing = told.and_then(|told| told.standing.ok().flatten()).context("nobody knows")?;
            Ok(standing.backlog_messages + standing.delayed_messages + standing.dead_letters)
        };
        let drained =
            drain(&self.clients, wires, &self.queue, SETTLED_WITHIN, chance.fork("drain"), unsettled).await;
        self.clients.end();
        let deadline = Instant::now() + LEFT_WITHIN;
        while self.hosts_done.load(Ordering::Relaxed) < CLIENTS as u64 {
            ensure!(Instant::now() < deadline, "consumers did not leave within {LEFT_WITHIN:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        drained?;
        final_state(&self.clients, wires, &self.queue, chance.fork("final")).await
    }

    /// Messages given to consumers so far.
    pub(super) fn delivered(&self) -> u64 {
        self.clients.tally.counts().read
    }

    /// What the SDK let through.
    pub(super) fn errors(&self) -> Vec<String> {
        self.clients.tally.counts().sdk_errors
    }
}
