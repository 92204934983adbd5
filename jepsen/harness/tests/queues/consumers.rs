//! Consumers of one subscription at work, until everything is settled.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use meridian_harness::arena::Arena;
use meridian_harness::cluster::Cluster;
use meridian_history::{Place, SubscriptionKind};
use meridian_sdk::SystemClock;
use meridian_workload::queue::{Habits, Queue, consume, dead_letters, drain, final_state, subscribe};
use meridian_workload::{Chance, Counts, Manner, Region, Scene, Tally};
use tokio::task::JoinSet;

use super::{ATTEMPTS, LETTERS, PARTITIONS, TOPIC};

const SUBSCRIPTION: &str = "workers";
/// How long everything may take to be settled, with everything healed.
const SETTLED_MAX: Duration = Duration::from_secs(30);
/// Logical clients of consumers are numbered from here on.
const FIRST: u64 = 500_000;

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

/// Consumers at work.
pub(crate) struct Consumers {
    cluster: Arc<Cluster>,
    scene: Arc<Scene>,
    queue: Arc<Queue>,
    chance: Chance,
    tasks: JoinSet<()>,
}

impl Consumers {
    /// Makes the subscription and sets its consumers to work. Leases are so short that some end in a run.
    pub(crate) async fn start(arena: &Arena, kind: SubscriptionKind, consumers: u64) -> Self {
        let (cluster, chance) = (arena.cluster.clone(), arena.chance("consumers"));
        let scene = Arc::new(Scene::new(TOPIC, PARTITIONS, arena.recorder.clone(), MANNER, FIRST));
        let queue = Arc::new(Queue {
            subscription: SUBSCRIPTION.into(),
            kind,
            lease_ms: 2_000,
            backoff_ms: (100, 1_000),
            // Whoever owns a partition keeps its order: a message that nobody can use must not end it.
            dead_letters: (!kind.is_owned()).then(|| (ATTEMPTS, LETTERS.to_owned())),
            start: Place::Earliest,
            credit: 16,
            habits: Habits::default(),
            clock: Arc::new(SystemClock),
            clocks_agree: true,
        });
        subscribe(&scene, &cluster, &queue, &mut chance.fork("subscribe")).await;
        let mut tasks = JoinSet::new();
        for nth in 0..consumers {
            let chance = chance.fork(&format!("consumer-{nth}"));
            tasks.spawn(consume(scene.clone(), cluster.clone(), queue.clone(), nth, chance));
        }
        Self { cluster, scene, queue, chance, tasks }
    }

    /// What they have done so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.scene.tally
    }

    /// Waits until everything is settled, and writes down what is. To be called once everything is healed and nobody
    /// publishes any more.
    pub(crate) async fn finish(mut self) -> Result<Counts> {
        let Self { cluster, scene, queue, chance, .. } = &self;
        let admin = Region::client(cluster, chance.fork("unsettled").any())?.admin();
        let unsettled = async |partition: u32| {
            let told = admin.get_subscription(TOPIC, SUBSCRIPTION).await?;
            let told = told.partitions.into_iter().find(|told| told.partition == partition);
            let standing = told.and_then(|told| told.standing.ok().flatten()).context("nobody knows")?;
            Ok(standing.backlog_messages + standing.delayed_messages + standing.dead_letters)
        };
        drain(scene, cluster, queue, SETTLED_MAX, chance.fork("drain"), unsettled).await?;
        scene.end();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a consumer ended badly")?;
        }
        let Self { cluster, scene, queue, chance, .. } = &self;
        final_state(scene, cluster, queue, chance.fork("final")).await?;
        dead_letters(scene.clone(), cluster, queue, chance.fork("letters")).await?;
        Ok(scene.tally.counts())
    }
}
