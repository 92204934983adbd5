//! Subscriptions of each kind in a region whose leaders are killed, paused, cut off and lose power while messages are
//! consumed: nothing is lost, nothing that was settled comes again, what nobody can use is a dead letter exactly once,
//! and everything is settled in the end (SUB-1 to SUB-6).

mod consumers;
mod figures;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meridian_checker::{Options, Promise, Verdict};
use meridian_harness::arena::{Arena, Plan, count, large_run, power_can_be_cut, say};
use meridian_harness::disk::DiskKind;
use meridian_harness::fault::isolate;
use meridian_harness::workload::{Spec, Workload};
use meridian_history::{FaultEffect, SubscriptionKind};
use meridian_sdk::Retention;

use consumers::Consumers;
use figures::Figures;

const TOPIC: &str = "jobs";
/// Where messages go that failed [`ATTEMPTS`] times.
const LETTERS: &str = "dead-jobs";
const ATTEMPTS: u32 = 3;
const PARTITIONS: u32 = 3;
const CATCH_UP: Duration = Duration::from_secs(30);
/// Longer than an election: what consumers can go on with during a fault has gone on by then.
const GO_ON_MAX: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_subscription_has_one_owner_whoever_falls() -> Result<()> {
    story("queue-exclusive", SubscriptionKind::Exclusive, 2, Promise::Sub3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_subscription_has_one_owner_whoever_falls() -> Result<()> {
    story("queue-failover", SubscriptionKind::Failover, 3, Promise::Sub3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_subscription_gives_each_message_to_one_at_a_time_whoever_falls() -> Result<()> {
    story("queue-shared", SubscriptionKind::Shared, 3, Promise::Sub4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_shared_subscription_keeps_the_order_of_keys_whoever_falls() -> Result<()> {
    story("queue-key-shared", SubscriptionKind::KeyShared, 3, Promise::Sub5).await
}

/// What must be shown of a kind of subscription, beside what is promised of each.
fn options(kind: SubscriptionKind, own: Promise) -> Options {
    let options = large_run().demanding(Promise::Sub1).demanding(Promise::Sub2).demanding(own);
    if kind.is_owned() { options } else { options.demanding(Promise::Sub4).demanding(Promise::Sub6) }
}

async fn story(name: &'static str, kind: SubscriptionKind, consumers: u64, own: Promise) -> Result<()> {
    let options = options(kind, own);
    let real = power_can_be_cut()?;
    let plan = Plan::new(name, 40).with_links();
    let mut arena = Arena::open(if real { plan.with_disks(DiskKind::ROOMY) } else { plan }).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    arena.topic(LETTERS, 1, Retention::default()).await?;
    let consumers = Consumers::start(&arena, kind, consumers).await;
    // No more than one consumer alone can take.
    let producers = Spec { wire_producers: 1, rivals: 0, pagers: 1, pace_ms: 30, ..Spec::default() };
    let producers = arena.workload(TOPIC, PARTITIONS, &producers);
    let mut leaders = Vec::new();
    for round in 0..count("MERIDIAN_JEPSEN_QUEUES", 1) {
        for (fault, nth) in Fault::all(real).zip(0..) {
            goes_on(&producers, &consumers, 40).await?;
            let partition = (round as u32 + nth) % PARTITIONS;
            let leader = arena.cluster.await_leader(TOPIC, partition, CATCH_UP).await?;
            fault.install(&arena, leader).await?;
            producers.tally().await_acks(60, CATCH_UP).await?;
            let went_on = consumers.tally().await_reads(60, GO_ON_MAX).await.is_ok();
            let meanwhile = arena.cluster.await_leader(TOPIC, partition, CATCH_UP).await?;
            leaders.push((leader, meanwhile));
            fault.heal(&arena, leader).await?;
            let since = Instant::now();
            goes_on(&producers, &consumers, 20).await?;
            arena.recovered(&producers, since).await?;
            say(&format!(
                "  {fault:?}: consumers went on meanwhile: {went_on}; after heal {:.2} s",
                since.elapsed().as_secs_f64()
            ));
        }
    }
    let worked = arena.heal(producers, &options).await?;
    let consumed = consumers.finish().await?;
    let judged = arena.examine(worked, &options).await?;
    arena.expect_pass(&judged)?;
    for promise in &options.demanded {
        ensure!(judged.report.verdict(*promise) == &Verdict::Pass, "{promise}\n{}", judged.report);
    }
    ensure!(consumed.sdk_errors.is_empty(), "consumers saw {:#?}", consumed.sdk_errors);
    let figures = Figures::of(&arena.history()?, &leaders);
    say(&format!("  {figures}"));
    figures.expect_something_met(kind)?;
    arena.finish();
    Ok(())
}

/// Waits until producers and consumers make progress.
async fn goes_on(producers: &Workload, consumers: &Consumers, messages: u64) -> Result<()> {
    producers.tally().await_acks(messages, CATCH_UP).await?;
    consumers.tally().await_reads(messages, CATCH_UP).await
}

/// What befalls a leader.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Pause,
    Partition,
    Power,
}

impl Fault {
    /// Without power loss where a machine cannot have it.
    fn all(power: bool) -> impl Iterator<Item = Self> {
        let all = [Self::Kill, Self::Pause, Self::Partition, Self::Power].into_iter();
        all.filter(move |fault| power || !matches!(fault, Self::Power))
    }

    async fn install(self, arena: &Arena, node: u64) -> Result<()> {
        let effect = match self {
            Self::Kill => arena.faults.kill(node)?,
            Self::Pause => arena.faults.pause(node)?,
            Self::Partition => {
                arena.faults.partition("partition-leader", &isolate(node, &arena.cluster.ids())).await?
            }
            Self::Power => arena.faults.cut_power(&[node])?,
        };
        ensure!(effect == FaultEffect::Installed, "{self:?} did not take effect: {effect:?}");
        Ok(())
    }

    async fn heal(self, arena: &Arena, node: u64) -> Result<()> {
        match self {
            Self::Kill => arena.faults.restart("kill", node).await.map(drop),
            Self::Pause => arena.faults.resume(node).map(drop),
            Self::Partition => arena.faults.mend("partition-leader").map(drop),
            Self::Power => arena.faults.restore_power(&[node]).await,
        }
    }
}
