//! Processes that die, stop and come back: nothing acked is lost or doubled, and applications notice nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meridian_checker::{Options, Promise};
use meridian_harness::arena::{Arena, Plan, count, large_run};
use meridian_harness::workload::{Looked, Spec};
use meridian_sdk::Retention;

const TOPIC: &str = "events";
const PARTITIONS: u32 = 3;
const CATCH_UP: Duration = Duration::from_secs(30);

fn fenced() -> Options {
    large_run().demanding(Promise::Log6)
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_leader_in_mid_publish_loses_and_doubles_nothing() -> Result<()> {
    let mut arena = Arena::open(Plan::new("kill-leader", 25)).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let workload = arena.workload(TOPIC, PARTITIONS, &Spec { pace_ms: 3, ..Spec::default() });
    for cycle in 0..count("MERIDIAN_JEPSEN_KILLS", 8) {
        workload.tally().await_acks(60, CATCH_UP).await?;
        let leader = arena.cluster.await_leader(TOPIC, cycle as u32 % PARTITIONS, CATCH_UP).await?;
        arena.faults.kill(leader)?;
        arena.recovered(&workload, Instant::now()).await?;
        arena.faults.restart("kill", leader).await?;
    }
    let judged = arena.conclude(workload, &fenced()).await?;
    arena.expect_pass(&judged)?;
    ensure!(judged.counts.unknown > 0, "no attempt ended unknown: the faults did not reach the clients");
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restarts_are_not_noticed() -> Result<()> {
    let mut arena = Arena::open(Plan::new("rolling-restart", 25)).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let workload = arena.workload(TOPIC, PARTITIONS, &Spec::default());
    for _ in 0..count("MERIDIAN_JEPSEN_ROLLS", 2) {
        for id in arena.cluster.ids() {
            workload.tally().await_acks(40, CATCH_UP).await?;
            let exit = arena.cluster.node(id)?.shut_down()?;
            ensure!(exit.code == Some(0), "node {id} was asked to stop and ended with {exit:?}");
            arena.recovered(&workload, Instant::now()).await?;
            arena.cluster.start_node(id).await?;
            // The next node stops only once this one has caught up.
            workload.look_at(id, &mut Looked::default(), CATCH_UP).await?;
        }
    }
    let judged = arena.conclude(workload, &fenced()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_paused_and_then_killed_takes_nothing_along() -> Result<()> {
    let mut arena = Arena::open(Plan::new("pause-kill", 25)).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let workload = arena.workload(TOPIC, PARTITIONS, &Spec::default());
    for cycle in 0..count("MERIDIAN_JEPSEN_PAUSES", 4) {
        workload.tally().await_acks(40, CATCH_UP).await?;
        let leader = arena.cluster.await_leader(TOPIC, cycle as u32 % PARTITIONS, CATCH_UP).await?;
        arena.faults.pause(leader)?;
        // Another leads now, and the paused one still believes that it does.
        arena.recovered(&workload, Instant::now()).await?;
        if cycle % 2 == 0 {
            arena.faults.resume(leader)?;
            workload.tally().await_acks(20, CATCH_UP).await?;
        }
        arena.faults.kill(leader)?;
        arena.faults.resume(leader)?;
        arena.recovered(&workload, Instant::now()).await?;
        arena.faults.restart("kill", leader).await?;
    }
    let judged = arena.conclude(workload, &fenced()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_comes_back_as_somebody_new_and_ends_with_all_data() -> Result<()> {
    let mut arena = Arena::open(Plan::new("wipe", 40)).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let workload = arena.workload(TOPIC, PARTITIONS, &Spec::default());
    for id in [1, 2] {
        workload.tally().await_acks(200, CATCH_UP).await?;
        let before = incarnation(&arena, id)?;
        arena.faults.kill(id)?;
        arena.faults.wipe(id)?;
        let since = Instant::now();
        arena.faults.restart("wipe", id).await?;
        let exits = arena.await_whole(&workload, id, Duration::from_secs(60)).await?;
        eprintln!("node {id} was whole again after {:.2} s and {exits} exits", since.elapsed().as_secs_f64());
        ensure!(incarnation(&arena, id)? != before, "a wiped node kept its incarnation");
        arena.await_voters(TOPIC, PARTITIONS, 3).await?;
        arena.recovered(&workload, since).await?;
    }
    let judged = arena.conclude(workload, &fenced()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_history_of_a_killed_leader_is_also_linearizable_by_search() -> Result<()> {
    let mut arena = Arena::open(Plan::new("second-opinion", 20)).await?;
    arena.topic(TOPIC, 1, Retention::default()).await?;
    let spec = Spec {
        sdk_producers: 0,
        wire_producers: 4,
        rivals: 0,
        followers: 0,
        pagers: 2,
        probes: 1,
        pace_ms: 20,
        ..Spec::default()
    };
    let workload = arena.workload(TOPIC, 1, &spec);
    workload.tally().await_acks(250, CATCH_UP).await?;
    let leader = arena.cluster.await_leader(TOPIC, 0, CATCH_UP).await?;
    arena.faults.kill(leader)?;
    workload.tally().await_acks(250, CATCH_UP).await?;
    arena.faults.restart("kill", leader).await?;
    let judged = arena.conclude(workload, &large_run()).await?;
    arena.expect_pass(&judged)?;
    ensure!(judged.searched() >= 200, "only {} operations were searched", judged.searched());
    arena.finish();
    Ok(())
}

fn incarnation(arena: &Arena, id: u64) -> Result<String> {
    let file = arena.cluster.node(id)?.disk().data().join("meridian.json");
    let identity: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
    Ok(identity["incarnation"].to_string())
}
