//! Metadata under faults is linearizable: topics are made, changed, described, listed and deleted while nodes die.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meridian_checker::Promise;
use meridian_harness::arena::{Arena, Plan, count, large_run};
use meridian_harness::fault::{Kind, Nemesis};
use meridian_harness::workload::Spec;
use meridian_sdk::Retention;

#[tokio::test(flavor = "multi_thread")]
async fn metadata_stays_linearizable_while_nodes_die_and_stop() -> Result<()> {
    let mut arena = Arena::open(Plan::new("control", 40)).await?;
    arena.topic("events", 1, Retention::default()).await?;
    let workload = arena.workload("events", 1, &Spec::control());
    workload.tally().await_acks(5, Duration::from_secs(30)).await?;
    let lasting = Duration::from_secs(count("MERIDIAN_JEPSEN_CONTROL_SECONDS", 15));
    Nemesis::new(&arena.faults, arena.chance("nemesis")).run(&[Kind::Kill, Kind::Pause], lasting).await?;
    arena.recovered(&workload, Instant::now()).await?;
    let options = large_run().demanding(Promise::Ctl1).excusing(Promise::Log8);
    let judged = arena.conclude(workload, &options).await?;
    arena.expect_pass(&judged)?;
    ensure!(judged.counts.control > 50, "only {} answers", judged.counts.control);
    arena.finish();
    Ok(())
}
