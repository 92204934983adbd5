//! A region that is changed while it works and while things break: nodes are drained, join, leave, die for good.
//! Every time nothing acked is lost (LOG-1), no application sees an error, and in the end the region is as asked.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meridian_checker::{Options, Promise};
use meridian_harness::arena::{Arena, Plan, large_run, power_can_be_cut, say};
use meridian_harness::cluster::Roster;
use meridian_harness::disk::DiskKind;
use meridian_harness::fault::isolate;
use meridian_harness::wait;
use meridian_harness::workload::{Looked, Spec, Workload};
use meridian_history::FaultEffect;
use meridian_proto::admin::NodeDuty;
use meridian_sdk::Retention;

const TOPIC: &str = "events";
const PARTITIONS: u32 = 4;
const COPIES: usize = 3;
const CATCH_UP: Duration = Duration::from_secs(30);
/// How long copies may take to be where they should be, with everything healed.
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// How long a refused node may take to say why.
const REFUSED_MAX: Duration = Duration::from_secs(20);

fn options() -> Options {
    large_run().demanding(Promise::Log6)
}

/// Clients at work in a region whose copies move.
async fn at_work(arena: &Arena, partitions: u32) -> Result<Workload> {
    arena.topic(TOPIC, partitions, Retention::default()).await?;
    let spec = Spec { copies_move: true, ..Spec::default() };
    let workload = arena.workload(TOPIC, partitions, &spec);
    workload.tally().await_acks(60, CATCH_UP).await?;
    workload.tally().await_opening(CATCH_UP).await?;
    Ok(workload)
}

fn took(effect: FaultEffect) -> Result<()> {
    ensure!(effect == FaultEffect::Installed, "a planned fault did not take effect: {effect:?}");
    Ok(())
}

/// All that the region knows are these nodes, and each of them serves.
async fn expect_serving(arena: &Arena, ids: &[u64]) -> Result<()> {
    let serves = |roster: &Roster| {
        let serve = roster.nodes.iter().all(|node| node.duty() == NodeDuty::Serving && node.reachable);
        serve && roster.nodes.iter().map(|node| node.node).eq(ids.iter().copied())
    };
    let what = format!("{ids:?} to serve, and nobody else to be known");
    arena.cluster.await_roster(&what, SETTLED_MAX, serves).await.map(drop)
}

async fn await_leads(arena: &Arena, id: u64, wanted: impl Fn(usize) -> bool) -> Result<()> {
    let what = format!("node {id} to lead as it should");
    wait::until(&what, CATCH_UP, async || arena.cluster.leads(id).await.ok().filter(|led| wanted(*led)))
        .await
        .map(drop)
}

/// A life that has left is refused for good, and the node says what to do.
async fn expect_refused(arena: &Arena, id: u64) -> Result<()> {
    arena.cluster.node(id)?.start()?;
    let what = format!("node {id} to be refused");
    wait::until(&what, REFUSED_MAX, async || {
        let mut node = arena.cluster.node(id).ok()?;
        (!node.is_running()).then_some(())
    })
    .await?;
    let said = arena.cluster.node(id)?.log_tail();
    ensure!(said.contains("give it an empty data folder"), "node {id} does not say what to do:\n{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_leads_nothing_also_when_another_is_killed_and_serves_again() -> Result<()> {
    let mut arena = Arena::open(Plan::new("drain", 20).with_links()).await?;
    let workload = at_work(&arena, PARTITIONS).await?;
    let ids = arena.cluster.ids();
    let drained = arena.chance("roles").pick(&ids);
    arena.faults.drain(drained).await?;
    let mut leaders = Vec::new();
    for partition in 0..PARTITIONS {
        leaders.push(arena.cluster.await_leader(TOPIC, partition, CATCH_UP).await?);
    }
    let other = leaders.into_iter().find(|leader| *leader != drained).context("one node leads everything")?;
    let since = Instant::now();
    took(arena.faults.kill(other)?)?;
    arena.recovered(&workload, since).await?;
    // Whoever has the newest entries is elected, drained or not; then it hands over.
    for partition in 0..PARTITIONS {
        arena.cluster.await_leader(TOPIC, partition, CATCH_UP).await?;
    }
    await_leads(&arena, drained, |led| led == 0).await?;
    say(&format!(
        "  node {drained} leads nothing {:.2} s after node {other} was killed",
        since.elapsed().as_secs_f64()
    ));
    arena.faults.restart("kill", other).await?;
    workload.tally().await_acks(60, CATCH_UP).await?;
    ensure!(arena.cluster.leads(drained).await? == 0, "a drained node leads again");
    arena.faults.undo_drain(drained).await?;
    await_leads(&arena, drained, |led| led > 0).await?;
    expect_serving(&arena, &ids).await?;
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_leaves_for_good_while_another_is_cut_off() -> Result<()> {
    let mut arena = Arena::open(Plan::new("decommission", 30).with_links().with_nodes(4)).await?;
    let workload = at_work(&arena, PARTITIONS).await?;
    let all = arena.cluster.ids();
    let mut chance = arena.chance("roles");
    let leaver = chance.pick(&all);
    let stay: Vec<u64> = all.iter().copied().filter(|id| *id != leaver).collect();
    let apart = chance.pick(&stay);
    arena.faults.decommission(leaver).await?;
    took(arena.faults.partition("partition-one", &isolate(apart, &all)).await?)?;
    workload.tally().await_acks(100, CATCH_UP).await?;
    arena.faults.mend("partition-one")?;
    let since = Instant::now();
    arena.recovered(&workload, since).await?;
    expect_serving(&arena, &stay).await?;
    arena.cluster.await_settled((TOPIC, PARTITIONS), COPIES, &stay, SETTLED_MAX).await?;
    say(&format!(
        "  node {leaver} has left {:.2} s after node {apart} was back",
        since.elapsed().as_secs_f64()
    ));
    arena.cluster.node(leaver)?.shut_down()?;
    arena.cluster.dismiss(leaver);
    expect_refused(&arena, leaver).await?;
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    expect_serving(&arena, &stay).await?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_and_gets_its_share_while_another_is_killed() -> Result<()> {
    let mut arena = Arena::open(Plan::new("join", 30).with_links().with_spares(1)).await?;
    let workload = at_work(&arena, PARTITIONS).await?;
    let victim = arena.chance("roles").pick(&arena.cluster.ids());
    let since = Instant::now();
    let killed = async { took(arena.faults.kill(victim)?) };
    tokio::try_join!(arena.faults.join(4), killed)?;
    arena.recovered(&workload, since).await?;
    arena.faults.restart("kill", victim).await?;
    await_share(&arena, 4, PARTITIONS).await?;
    say(&format!("  node 4 has its share {:.2} s after it was started", since.elapsed().as_secs_f64()));
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    expect_serving(&arena, &[1, 2, 3, 4]).await?;
    arena.finish();
    Ok(())
}

/// Nodes 1 and 4 are one zone of three, and every zone has a copy of each partition: the two share theirs.
async fn await_share(arena: &Arena, id: u64, partitions: u32) -> Result<()> {
    let half = u64::from(partitions / 2);
    let shares =
        |roster: &Roster| roster.moving() == 0 && roster.node(id).is_some_and(|node| node.copies == half);
    arena.cluster.await_roster(&format!("node {id} to have {half} copies"), SETTLED_MAX, shares).await?;
    let all = arena.cluster.ids();
    arena.cluster.await_settled((TOPIC, partitions), COPIES, &all, SETTLED_MAX).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_once_a_majority_agrees_that_it_is_silent() -> Result<()> {
    let plan = Plan::new("replace", 40).with_links().with_nodes(4);
    let mut arena = Arena::open(plan.with_setup(|setup| setup.dead_after_ms = Some(2_000))).await?;
    let workload = at_work(&arena, PARTITIONS).await?;
    let all = arena.cluster.ids();
    let mut chance = arena.chance("roles");
    let dead = chance.pick(&all);
    let stay: Vec<u64> = all.iter().copied().filter(|id| *id != dead).collect();
    let apart = chance.pick(&stay);
    took(arena.faults.partition("partition-one", &isolate(apart, &all)).await?)?;
    took(arena.faults.kill(dead)?)?;
    // Longer than it takes to be given up: two of four are no majority, and must not give anybody up.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    for id in &stay {
        let seen = arena.cluster.ask(*id).await?;
        ensure!(
            seen.nodes.iter().all(|node| node.moving == 0),
            "node {id} moves copies without a majority: {seen:#?}"
        );
    }
    arena.faults.mend("partition-one")?;
    let since = Instant::now();
    arena.recovered(&workload, since).await?;
    arena.cluster.await_settled((TOPIC, PARTITIONS), COPIES, &stay, SETTLED_MAX).await?;
    say(&format!(
        "  node {dead} is replaced {:.2} s after node {apart} was back",
        since.elapsed().as_secs_f64()
    ));
    arena.faults.decommission(dead).await?;
    expect_serving(&arena, &stay).await?;
    arena.cluster.dismiss(dead);
    expect_refused(&arena, dead).await?;
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    expect_serving(&arena, &stay).await?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_loses_power_while_it_is_drained_comes_back_whole_and_drained() -> Result<()> {
    let real = power_can_be_cut()?;
    let plan = Plan::new("drain-power", 30).with_links();
    let mut arena = Arena::open(if real { plan.with_disks(DiskKind::ROOMY) } else { plan }).await?;
    let workload = at_work(&arena, PARTITIONS).await?;
    let ids = arena.cluster.ids();
    let drained = drain_halfway(&arena).await?;
    let since = Instant::now();
    took(if real { arena.faults.cut_power(&[drained])? } else { arena.faults.kill(drained)? })?;
    arena.recovered(&workload, since).await?;
    match real {
        true => arena.faults.restore_power(&[drained]).await?,
        false => arena.faults.restart("kill", drained).await.map(drop)?,
    }
    workload.look_at(drained, &mut Looked::default(), CATCH_UP).await?;
    let drains = |roster: &Roster| roster.node(drained).is_some_and(|node| node.duty() == NodeDuty::Draining);
    arena.cluster.await_roster("the node to be drained still", CATCH_UP, drains).await?;
    await_leads(&arena, drained, |led| led == 0).await?;
    say(&format!(
        "  node {drained} is whole and leads nothing {:.2} s after it fell",
        since.elapsed().as_secs_f64()
    ));
    arena.faults.undo_drain(drained).await?;
    await_leads(&arena, drained, |led| led > 0).await?;
    expect_serving(&arena, &ids).await?;
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

/// Drains a node that leads something still when this returns.
async fn drain_halfway(arena: &Arena) -> Result<u64> {
    for partition in 0..PARTITIONS {
        let leader = arena.cluster.await_leader(TOPIC, partition, CATCH_UP).await?;
        arena.faults.drain(leader).await?;
        if arena.cluster.leads(leader).await? > 0 {
            return Ok(leader);
        }
        arena.faults.undo_drain(leader).await?;
    }
    anyhow::bail!("every node was drained before it could fall")
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_arrive_although_whoever_moves_them_is_killed_on_the_way() -> Result<()> {
    const MANY: u32 = 12;
    let mut arena = Arena::open(Plan::new("moving-kill", 40).with_links().with_spares(1)).await?;
    let workload = at_work(&arena, MANY).await?;
    arena.faults.join(4).await?;
    let moves = |roster: &Roster| roster.moving() > 0;
    let roster = arena.cluster.await_roster("copies on their way", SETTLED_MAX, moves).await?;
    let since = Instant::now();
    took(arena.faults.kill(roster.leader)?)?;
    say(&format!("  node {} killed with {} ends of moves open", roster.leader, roster.moving()));
    arena.recovered(&workload, since).await?;
    arena.faults.restart("kill", roster.leader).await?;
    await_share(&arena, 4, MANY).await?;
    say(&format!("  node 4 has its share {:.2} s later", since.elapsed().as_secs_f64()));
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    expect_serving(&arena, &[1, 2, 3, 4]).await?;
    arena.finish();
    Ok(())
}
