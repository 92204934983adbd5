//! Bits that flip in the files of a node that is down: the region loses nothing acked, and the node refuses or
//! comes back empty, but never serves other bytes than were published.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meridian_checker::Promise;
use meridian_harness::arena::{Arena, Plan, count, large_run, say};
use meridian_harness::fault::{Damage, Injury};
use meridian_harness::wait;
use meridian_harness::workload::{Spec, Workload};
use meridian_sdk::Retention;

const TOPIC: &str = "events";
const PARTITIONS: u32 = 2;
const CATCH_UP: Duration = Duration::from_secs(30);
const WHOLE_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_lose_nothing_and_are_never_served() -> Result<()> {
    let mut arena = Arena::open(Plan::new("bit-flips", 90)).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let spec = Spec { pace_ms: 3, filler_bytes_max: 3_000, ..Spec::default() };
    let workload = arena.workload(TOPIC, PARTITIONS, &spec);
    let mut chance = arena.chance("flips");
    for round in 0..count("MERIDIAN_JEPSEN_FLIPS", 1) {
        for (nth, damage) in Damage::ALL.into_iter().enumerate() {
            let ids = arena.cluster.ids();
            let victim = ids[(nth + round as usize) % ids.len()];
            if matches!(damage, Damage::Table | Damage::Blob) {
                // A restart after a kill writes tables and blobs out of the write-ahead log.
                workload.tally().await_acks(150, CATCH_UP).await?;
                arena.faults.kill(victim)?;
                arena.faults.restart("kill", victim).await?;
            }
            workload.tally().await_acks(250, CATCH_UP).await?;
            arena.faults.kill(victim)?;
            let injury = arena.faults.damage(victim, damage, &mut chance)?;
            let (file, at) = (injury.file.file_name().unwrap_or_default().to_owned(), injury.at);
            let since = Instant::now();
            let started = arena.faults.restart(damage.name(), victim).await;
            let exits = arena.await_whole(&workload, victim, WHOLE_MAX).await;
            let exits = exits.with_context(|| format!("{} of node {victim}: {injury:?}", damage.name()))?;
            say(&format!(
                "  {}: {file:?} byte {at} of {} bit {}; first start {}; whole after {:.2} s and {exits} exits; {}",
                damage.name(),
                injury.bytes,
                injury.bit,
                if started.is_ok() { "ok" } else { "refused" },
                since.elapsed().as_secs_f64(),
                response(&arena, victim)?,
            ));
        }
    }
    let judged = arena.conclude(workload, &large_run().demanding(Promise::Log6)).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_bit_on_one_node_of_five_harms_nobody() -> Result<()> {
    let mut arena = Arena::open(Plan::new("bit-flip-of-five", 30).with_nodes(5)).await?;
    arena.topic(TOPIC, 4, Retention::default()).await?;
    // No probes: they ask any node for its copy, and here not every node has one.
    let spec = Spec { pace_ms: 5, filler_bytes_max: 3_000, probes: 0, ..Spec::default() };
    let workload = arena.workload(TOPIC, 4, &spec);
    workload.tally().await_acks(300, CATCH_UP).await?;
    let victim = arena.cluster.await_leader(TOPIC, 0, CATCH_UP).await?;
    let copies = arena.cluster.replicas(TOPIC, 0).await?;
    ensure!(copies.len() == 3, "a partition has the copies {copies:?}");
    arena.faults.kill(victim)?;
    let injury = arena.faults.damage(victim, Damage::WalPayload, &mut arena.chance("flip"))?;
    let since = Instant::now();
    let started = arena.faults.restart(Damage::WalPayload.name(), victim).await;
    // A node that refused its damaged disk comes back without it.
    let revived = arena.cluster.revive().await?;
    arena.recovered(&workload, since).await?;
    arena.await_voters(TOPIC, 4, 3).await?;
    say(&format!(
        "  byte {} bit {} of {} on node {victim}: first start {}, {revived} more; {}; took {:.2} s",
        injury.at,
        injury.bit,
        injury.bytes,
        if started.is_ok() { "ok" } else { "refused" },
        response(&arena, victim)?,
        since.elapsed().as_secs_f64(),
    ));
    let judged = arena.conclude(workload, &large_run()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

/// A majority is damaged at once: nothing may be thrown away then. Both nodes set their data aside and wait, until
/// somebody repairs it and puts it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_majority_waits_to_be_repaired_and_loses_nothing() -> Result<()> {
    let mut arena = Arena::open(Plan::new("majority-damaged", 60)).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let spec = Spec { pace_ms: 5, filler_bytes_max: 3_000, ..Spec::default() };
    let workload = arena.workload(TOPIC, PARTITIONS, &spec);
    workload.tally().await_acks(300, CATCH_UP).await?;
    let mut chance = arena.chance("flips");
    let mut injuries = Vec::new();
    for victim in [1, 2] {
        arena.faults.kill(victim)?;
        injuries.push((victim, arena.faults.damage(victim, Damage::WalPayload, &mut chance)?));
    }
    // From here on one of three is left: nothing more may be acked, also not while the two wait with empty disks.
    let acked = at_rest(&workload).await;
    for (victim, _) in &injuries {
        arena.faults.restart(Damage::WalPayload.name(), *victim).await?;
        let waits =
            async || arena.cluster.node(*victim).ok()?.log_tail().contains("have no quorum").then_some(());
        wait::until("the damaged node waits", CATCH_UP, waits).await?;
    }
    for (victim, injury) in &injuries {
        arena.faults.kill(*victim)?;
        let listed = arena.recover(*victim, &[])?;
        ensure!(listed.contains("quarantine-1"), "what was set aside is not listed: {listed}");
        repair(&arena, *victim, injury)?;
        arena.recover(*victim, &["--restore", "quarantine-1"])?;
    }
    ensure!(workload.tally().acked() == acked, "something was acked without a quorum");
    let since = Instant::now();
    for (victim, _) in &injuries {
        arena.faults.restart("kill", *victim).await?;
    }
    arena.recovered(&workload, since).await?;
    let judged = arena.conclude(workload, &large_run()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

/// How much is acked, once no ack is on its way any more.
async fn at_rest(workload: &Workload) -> u64 {
    loop {
        let before = workload.tally().acked();
        tokio::time::sleep(Duration::from_millis(300)).await;
        if workload.tally().acked() == before {
            return before;
        }
    }
}

/// Takes an injury back, in the folder where the node has put the damaged file.
fn repair(arena: &Arena, id: u64, injury: &Injury) -> Result<()> {
    let data = arena.cluster.node(id)?.disk().data();
    let file = data.join("quarantine-1").join(injury.file.strip_prefix(&data)?);
    let mut bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    bytes[injury.at] ^= 1 << injury.bit;
    Ok(std::fs::write(&file, bytes)?)
}

/// What the node made of the damage.
fn response(arena: &Arena, id: u64) -> Result<String> {
    let data = arena.cluster.node(id)?.disk().data();
    let entries =
        std::fs::read_dir(data)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let aside = entries.filter(|name| name.starts_with("quarantine")).count();
    Ok(format!("{aside} quarantines so far"))
}
