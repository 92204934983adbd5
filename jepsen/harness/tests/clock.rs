//! A clock that jumps a year on the leader ages nothing out.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meridian_harness::arena::{Arena, Plan, large_run, say};
use meridian_harness::wait;
use meridian_harness::workload::Spec;
use meridian_history::FaultEffect;
use meridian_sdk::{Message, Retention};

const DAY_MS: u64 = 24 * 3600 * 1000;
const KEPT: &str = "kept";
const SHORT_LIVED: &str = "short-lived";
const CATCH_UP: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_jumps_a_year_ages_nothing_out() -> Result<()> {
    let mut arena = Arena::open(Plan::new("clock", 60).with_clocks()).await?;
    arena.topic(KEPT, 1, Retention { age_ms: Some(DAY_MS), bytes: None }).await?;
    arena.topic(SHORT_LIVED, 1, Retention { age_ms: Some(2_000), bytes: None }).await?;
    let workload = arena.workload(KEPT, 1, &Spec::default());
    workload.tally().await_acks(100, CATCH_UP).await?;
    let leader = arena.cluster.await_leader(KEPT, 0, CATCH_UP).await?;
    let effect = arena.faults.move_clock(leader, "+365d", 300 * DAY_MS).await?;
    ensure!(effect == FaultEffect::Installed, "the others never saw node {leader}'s clock jump");
    // The proof that retention is at work meanwhile: what should go, goes.
    let since = Instant::now();
    publish_short_lived(&arena).await?;
    let gone = wait::until("what is too old to be trimmed", CATCH_UP, async || {
        let log = arena.cluster.any_log(SHORT_LIVED, 0).await.ok()?;
        (log.log_start > 0).then_some(log.log_start)
    });
    say(&format!("  {} short-lived messages went after {:.2} s", gone.await?, since.elapsed().as_secs_f64()));
    let another = wait::until("a leader whose clock is right", CATCH_UP, async || {
        let (leads, _) = arena.cluster.leader(KEPT, 0).await.ok()?;
        (leads != leader).then_some(leads)
    });
    say(&format!("  node {} took over", another.await?));
    workload.tally().await_acks(100, CATCH_UP).await?;
    let log = arena.cluster.any_log(KEPT, 0).await?;
    ensure!(log.log_start == 0, "{} messages of today were aged out", log.log_start);
    arena.faults.right_clock(leader)?;
    arena.recovered(&workload, Instant::now()).await?;
    let judged = arena.conclude(workload, &large_run()).await?;
    arena.expect_pass(&judged)?;
    let log = arena.cluster.any_log(KEPT, 0).await?;
    ensure!(
        log.log_start == 0,
        "{} messages of today were aged out after the clock went back",
        log.log_start
    );
    arena.finish();
    Ok(())
}

async fn publish_short_lived(arena: &Arena) -> Result<()> {
    let producer = arena.cluster.client(5)?.producer(SHORT_LIVED).build().await?;
    for n in 0..10 {
        producer.send(Message::new(format!("{n}"))).await?.await?;
    }
    Ok(producer.close().await?)
}
