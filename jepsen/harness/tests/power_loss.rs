//! Power lost for real: the filesystem forgets what was not synced. Everything acked must be there afterwards;
//! and the same test must fail when nothing is ever synced.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meridian_checker::{AnomalyKind, Promise};
use meridian_harness::arena::{Arena, Judged, Plan, count, large_run, power_can_be_cut, say};
use meridian_harness::disk::DiskKind;
use meridian_harness::workload::{Looked, Spec, Workload};
use meridian_sdk::Retention;

const TOPIC: &str = "events";
const PARTITIONS: u32 = 3;
const CATCH_UP: Duration = Duration::from_secs(30);

fn plan(name: &'static str, budget_s: u64, real: bool) -> Plan {
    let plan = Plan::new(name, budget_s);
    if real { plan.with_disks(DiskKind::ROOMY) } else { plan }
}

/// Ends these nodes at once and brings them back: by power loss, or, where that is missing, by kill.
async fn fell(arena: &Arena, ids: &[u64], real: bool) -> Result<()> {
    if real {
        arena.faults.cut_power(ids)?;
        return arena.faults.restore_power(ids).await;
    }
    for id in ids {
        arena.faults.kill(*id)?;
    }
    for id in ids {
        arena.faults.restart("kill", *id).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writing_node_loses_power_a_hundred_times_and_no_acked_message() -> Result<()> {
    let real = power_can_be_cut()?;
    let mut arena = Arena::open(plan("power-one", 150, real)).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let workload = arena.workload(TOPIC, PARTITIONS, &Spec { pace_ms: 12, ..Spec::default() });
    let mut chance = arena.chance("victims");
    let mut looked: BTreeMap<u64, Looked> = BTreeMap::new();
    let mut compared = 0;
    for cycle in 0..count("MERIDIAN_JEPSEN_POWER_ONE", 100) {
        workload.tally().await_acks(15, CATCH_UP).await?;
        // A leader two times out of three: it is the one that is writing most.
        let victim = match cycle % 3 {
            0 => chance.pick(&arena.cluster.ids()),
            _ => arena.cluster.await_leader(TOPIC, cycle as u32 % PARTITIONS, CATCH_UP).await?,
        };
        let since = Instant::now();
        fell(&arena, &[victim], real).await?;
        compared += workload.look_at(victim, looked.entry(victim).or_default(), CATCH_UP).await?;
        arena.recovered(&workload, since).await?;
    }
    let judged = arena.conclude(workload, &large_run().demanding(Promise::Log6)).await?;
    arena.expect_pass(&judged)?;
    eprintln!("{compared} acked messages compared on replicas that had just lost power");
    arena.finish();
    Ok(())
}

/// All nodes lose power at once, again and again. Where nothing is synced no step but the verdict may fail.
async fn all_at_once(arena: &mut Arena, cycles: u64, real: bool) -> Result<Judged> {
    let synced = !arena.cluster.setup().unsafe_no_sync && !arena.cluster.setup().may_lie;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    if !synced {
        make_durable(arena).await?;
    }
    if arena.cluster.setup().may_lie {
        arena.faults.begin_lying(&arena.cluster.ids())?;
    }
    // One attempt an operation: an SDK that is told of lost messages would rightly refuse to go on.
    let honest = if synced { 2 } else { 0 };
    let spec = Spec { sdk_producers: honest, followers: honest.min(1), wire_producers: 3, ..Spec::default() };
    let workload = arena.workload(TOPIC, PARTITIONS, &spec);
    let mut looked: BTreeMap<u64, Looked> = BTreeMap::new();
    for _ in 0..cycles {
        workload.tally().await_acks(40, CATCH_UP).await?;
        let since = Instant::now();
        fell(arena, &arena.cluster.ids(), real).await?;
        if arena.cluster.setup().may_lie {
            arena.faults.end_lying(&arena.cluster.ids())?;
        }
        if !synced {
            break;
        }
        look_at_all(arena, &workload, &mut looked).await?;
        arena.recovered(&workload, since).await?;
    }
    arena.conclude(workload, &large_run()).await
}

/// An orderly stop writes everything out, so that topic and membership are there to lose messages from.
async fn make_durable(arena: &Arena) -> Result<()> {
    for id in arena.cluster.ids() {
        arena.cluster.node(id)?.shut_down()?;
    }
    meridian_harness::shell::run("sync", &[])?;
    for id in arena.cluster.ids() {
        arena.cluster.node(id)?.start()?;
    }
    for partition in 0..PARTITIONS {
        arena.cluster.await_leader(TOPIC, partition, CATCH_UP).await?;
    }
    Ok(())
}

async fn look_at_all(arena: &Arena, workload: &Workload, looked: &mut BTreeMap<u64, Looked>) -> Result<()> {
    for id in arena.cluster.ids() {
        workload.look_at(id, looked.entry(id).or_default(), CATCH_UP).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_lose_power_at_once_and_no_acked_message() -> Result<()> {
    let real = power_can_be_cut()?;
    let mut arena = Arena::open(plan("power-all", 60, real)).await?;
    let cycles = count("MERIDIAN_JEPSEN_POWER_ALL", 20);
    let judged = all_at_once(&mut arena, cycles, real).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_xfs_loses_no_acked_message() -> Result<()> {
    if !power_can_be_cut()? {
        return Ok(());
    }
    let mut arena = Arena::open(Plan::new("power-xfs", 20).with_disks(DiskKind::ROOMY_XFS)).await?;
    let cycles = count("MERIDIAN_JEPSEN_POWER_XFS", 4);
    let judged = all_at_once(&mut arena, cycles, true).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

/// What must be found lost, or the tests above prove nothing.
async fn expect_loss(plan: Plan, how: &str) -> Result<()> {
    if !power_can_be_cut()? {
        return Ok(());
    }
    let mut arena = Arena::open(plan).await?;
    let judged = all_at_once(&mut arena, 1, true).await?;
    let lost = judged.report.totals().get(&AnomalyKind::Lost).copied().unwrap_or_default();
    say(&format!("  {how}: {} acked, {lost} found lost", judged.counts.acked));
    ensure!(judged.report.is_fail() && lost > 0, "nothing was found lost {how}:\n{judged}");
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_power_loss_without_sync_is_found_to_lose_messages() -> Result<()> {
    let plan = plan("power-control", 60, true).with_setup(|setup| setup.unsafe_no_sync = true);
    expect_loss(plan, "without sync").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_power_loss_with_syncs_that_lie_is_found_to_lose_messages() -> Result<()> {
    expect_loss(plan("power-lies", 20, true).with_lies(), "with syncs that lie").await
}
