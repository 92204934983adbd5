//! Links that are cut: in every shape, and in the orders that have broken others.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meridian_checker::{Options, Promise};
use meridian_harness::arena::{Arena, Plan, count, large_run, say};
use meridian_harness::disk::DiskKind;
use meridian_harness::fault::{bridge, isolate, isolate_from_all, majority_apart, one_way};
use meridian_harness::net::Cut;
use meridian_harness::workload::Spec;
use meridian_sdk::Retention;
use meridian_sdk::admin::NewTopic;

const TOPIC: &str = "events";
const PARTITIONS: u32 = 3;
const CATCH_UP: Duration = Duration::from_secs(30);
/// Longer than an election: what can go on without the cut links has gone on by then.
const GO_ON_MAX: Duration = Duration::from_secs(4);

fn options() -> Options {
    large_run().demanding(Promise::Log6)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_partition_heals_without_loss_and_applications_see_no_error() -> Result<()> {
    let mut arena = Arena::open(Plan::new("partitions", 60).with_links()).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let workload = arena.workload(TOPIC, PARTITIONS, &Spec::default());
    let all = arena.cluster.ids();
    for round in 0..count("MERIDIAN_JEPSEN_PARTITIONS", 1) {
        let leader = arena.cluster.await_leader(TOPIC, round as u32 % PARTITIONS, CATCH_UP).await?;
        let shapes: [(&'static str, Vec<Cut>); 6] = [
            ("partition-leader", isolate(leader, &all)),
            ("partition-leader-and-clients", isolate_from_all(leader, &all)),
            ("partition-mute-leader", one_way(leader, &all, true)),
            ("partition-deaf-leader", one_way(leader, &all, false)),
            ("partition-bridge", bridge(leader, &all)),
            ("partition-everybody", all.iter().flat_map(|id| majority_apart(&[*id], &all)).collect()),
        ];
        for (name, cuts) in shapes {
            workload.tally().await_acks(40, CATCH_UP).await?;
            arena.faults.partition(name, &cuts).await?;
            let went_on = workload.tally().await_acks(60, GO_ON_MAX).await.is_ok();
            arena.faults.mend(name)?;
            let took = arena.recovered(&workload, Instant::now()).await?;
            say(&format!("  {name}: went on meanwhile: {went_on}; after heal {:.2} s", took.as_secs_f64()));
            let stuck = name == "partition-everybody";
            ensure!(
                went_on || stuck || name.contains("mute") || name.contains("deaf"),
                "{name}: nothing went on"
            );
        }
    }
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_that_wake_in_turn_never_both_decide() -> Result<()> {
    let plan = Plan::new("split-brain", 60).with_disks(DiskKind::ROOMY).with_nodes(5);
    let mut arena = Arena::open(plan).await?;
    arena.new_topic(NewTopic { replication: 5, ..NewTopic::new(TOPIC, 2) }).await?;
    let workload = arena.workload(TOPIC, 2, &Spec::default());
    let mut chance = arena.chance("roles");
    for _ in 0..count("MERIDIAN_JEPSEN_SPLITS", 2) {
        workload.tally().await_acks(40, CATCH_UP).await?;
        let mut order = arena.cluster.ids();
        for at in (1..order.len()).rev() {
            order.swap(at, chance.between(0, at as u64) as usize);
        }
        let &[a, b, c, d, e] = order.as_slice() else { anyhow::bail!("five nodes are needed") };
        // C, D and E go on and decide; C then forgets what it did not sync.
        arena.faults.pause(a)?;
        arena.faults.pause(b)?;
        workload.tally().await_acks(20, CATCH_UP).await?;
        arena.faults.cut_power(&[c])?;
        arena.faults.resume(a)?;
        arena.faults.resume(b)?;
        // D and E hold what was decided without A and B; A, B and C must not decide anything else.
        arena.faults.pause(d)?;
        arena.faults.pause(e)?;
        arena.faults.restore_power(&[c]).await?;
        // A, B and C are a majority, and C knows all that was acked.
        workload.tally().await_acks(20, CATCH_UP).await?;
        arena.faults.resume(d)?;
        arena.faults.resume(e)?;
        arena.recovered(&workload, Instant::now()).await?;
    }
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_change_under_partition_and_kill_loses_nothing() -> Result<()> {
    let mut arena = Arena::open(Plan::new("membership", 80).with_links().with_nodes(5)).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    // No probes: a node that holds a copy today may hold none at the end.
    let workload = arena.workload(TOPIC, PARTITIONS, &Spec { probes: 0, ..Spec::default() });
    let all = arena.cluster.ids();
    for round in 0..count("MERIDIAN_JEPSEN_MEMBERSHIPS", 2) {
        workload.tally().await_acks(40, CATCH_UP).await?;
        let (leader, group) = arena.cluster.leader(TOPIC, round as u32 % PARTITIONS).await?;
        let other = group.voter_nodes.iter().copied().find(|id| *id != leader);
        let other = other.ok_or_else(|| anyhow::anyhow!("{leader} is alone"))?;
        // One copy loses its disk and is replaced while its leader is cut off and then killed.
        arena.faults.kill(other)?;
        arena.faults.wipe(other)?;
        arena.faults.restart("wipe", other).await?;
        arena.faults.partition("partition-leader", &isolate(leader, &all)).await?;
        workload.tally().await_acks(10, CATCH_UP).await.ok();
        arena.faults.kill(leader)?;
        arena.faults.mend("partition-leader")?;
        arena.faults.restart("kill", leader).await?;
        let since = Instant::now();
        arena.recovered(&workload, since).await?;
        // The next disk may be lost only when three copies are back.
        arena.await_voters(TOPIC, PARTITIONS, 3).await?;
        say(&format!("  node {other} replaced, full strength after {:.2} s", since.elapsed().as_secs_f64()));
    }
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}
