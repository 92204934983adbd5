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
/// So many that moving their copies takes a while.
const MANY: u32 = 12;
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
    let arena = Arena::open(Plan::new("drain", 20).with_links()).await?;
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
    await_leads(&arena, drained, |led| led == 0).await?;
    arena.faults.undo_drain(drained).await?;
    await_leads(&arena, drained, |led| led > 0).await?;
    conclude(arena, workload, &ids).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_leaves_for_good_while_another_is_cut_off() -> Result<()> {
    let arena = Arena::open(Plan::new("decommission", 30).with_links().with_nodes(4)).await?;
    let workload = at_work(&arena, MANY).await?;
    let all = arena.cluster.ids();
    let mut chance = arena.chance("roles");
    let leaver = chance.pick(&all);
    let stay: Vec<u64> = all.iter().copied().filter(|id| *id != leaver).collect();
    let apart = chance.pick(&stay);
    arena.faults.decommission(leaver).await?;
    took(arena.faults.partition("partition-one", &isolate(apart, &all)).await?)?;
    let leaves = async || {
        let roster = arena.cluster.roster().await.ok()?;
        Some(roster.node(leaver).is_some_and(|node| node.copies > 0))
    };
    let leaves = wait::until("the region to say where copies are", CATCH_UP, leaves).await?;
    ensure!(leaves, "node {leaver} had left before node {apart} was cut off");
    workload.tally().await_acks(100, CATCH_UP).await?;
    arena.faults.mend("partition-one")?;
    let since = Instant::now();
    arena.recovered(&workload, since).await?;
    expect_serving(&arena, &stay).await?;
    arena.cluster.await_settled((TOPIC, MANY), COPIES, &stay, SETTLED_MAX).await?;
    say(&format!(
        "  node {leaver} has left {:.2} s after node {apart} was back",
        since.elapsed().as_secs_f64()
    ));
    arena.cluster.node(leaver)?.shut_down()?;
    arena.cluster.dismiss(leaver);
    expect_refused(&arena, leaver).await?;
    conclude(arena, workload, &stay).await
}

/// Nothing acked is lost, and these nodes are the region.
async fn conclude(mut arena: Arena, workload: Workload, stay: &[u64]) -> Result<()> {
    let judged = arena.conclude(workload, &options()).await?;
    arena.expect_pass(&judged)?;
    expect_serving(&arena, stay).await?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_and_gets_its_share_while_another_is_killed() -> Result<()> {
    let arena = Arena::open(Plan::new("join", 30).with_links().with_spares(1)).await?;
    let workload = at_work(&arena, PARTITIONS).await?;
    let victim = arena.chance("roles").pick(&arena.cluster.ids());
    let since = Instant::now();
    let killed = async { took(arena.faults.kill(victim)?) };
    tokio::try_join!(arena.faults.join(4), killed)?;
    arena.recovered(&workload, since).await?;
    arena.faults.restart("kill", victim).await?;
    await_share(&arena, 4, PARTITIONS).await?;
    say(&format!("  node 4 has its share {:.2} s after it was started", since.elapsed().as_secs_f64()));
    conclude(arena, workload, &[1, 2, 3, 4]).await
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

/// Who leads the control group, and who votes in it, once that is three of four nodes.
async fn control_voters(arena: &Arena) -> Result<(u64, Vec<u64>)> {
    wait::until("three nodes to vote in the control group", CATCH_UP, async || {
        let leader = arena.cluster.roster().await.ok()?.leader;
        let seen = arena.cluster.ask(leader).await.ok()?;
        let control = seen.groups.into_iter().find(|group| group.topic.is_empty())?;
        (control.voter_nodes.len() == 3).then_some((leader, control.voter_nodes))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_once_a_majority_agrees_that_it_is_silent() -> Result<()> {
    let plan = Plan::new("replace", 40).with_links().with_nodes(4);
    let arena = Arena::open(plan.with_setup(|setup| setup.dead_after_ms = Some(2_000))).await?;
    let workload = at_work(&arena, PARTITIONS).await?;
    let all = arena.cluster.ids();
    let (leader, voters) = control_voters(&arena).await?;
    let dead = *all.iter().find(|id| !voters.contains(id)).context("every node votes")?;
    let stay: Vec<u64> = all.iter().copied().filter(|id| *id != dead).collect();
    let others: Vec<u64> = stay.iter().copied().filter(|id| *id != leader).collect();
    let apart = arena.chance("roles").pick(&others);
    took(arena.faults.partition("partition-one", &isolate(apart, &all)).await?)?;
    took(arena.faults.kill(dead)?)?;
    // Longer than it takes to be given up: two of four are no majority, and must not give anybody up, though the
    // control group has a quorum still.
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
    conclude(arena, workload, &stay).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_loses_power_while_it_is_drained_comes_back_whole_and_drained() -> Result<()> {
    let real = power_can_be_cut()?;
    let plan = Plan::new("drain-power", 30).with_links();
    let arena = Arena::open(if real { plan.with_disks(DiskKind::ROOMY) } else { plan }).await?;
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
    conclude(arena, workload, &ids).await
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
    let arena = Arena::open(Plan::new("moving-kill", 40).with_links().with_spares(1)).await?;
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
    conclude(arena, workload, &[1, 2, 3, 4]).await
}

/// The move itself must find another goal: nobody else can end it.
#[tokio::test(flavor = "multi_thread")]
async fn copies_that_move_to_a_node_that_dies_go_elsewhere() -> Result<()> {
    let plan = Plan::new("target-lost", 40).with_links().with_nodes(5);
    let arena = Arena::open(plan.with_setup(|setup| setup.dead_after_ms = Some(4_000))).await?;
    let workload = at_work(&arena, MANY).await?;
    // Only nodes that have been there for 5 s get copies.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let before = arena.cluster.roster().await?;
    // Two nodes of one zone: what one gives up is the other's.
    let pair = if [1, 4].contains(&before.leader) { [2, 5] } else { [1, 4] };
    let target = arena.chance("roles").pick(&pair);
    let leaver = pair.into_iter().find(|id| *id != target).context("the other one")?;
    let had = before.node(target).context("a node of the region")?.copies;
    took(arena.faults.kill(target)?)?;
    arena.faults.decommission(leaver).await?;
    // Copies that it gives up are counted until they are gone: only new ones make it more.
    let chosen = |roster: &Roster| roster.node(target).is_some_and(|node| node.copies > had);
    arena.cluster.await_roster("a copy to move to the node that died", CATCH_UP, chosen).await?;
    let since = Instant::now();
    arena.recovered(&workload, since).await?;
    let stay: Vec<u64> =
        arena.cluster.ids().into_iter().filter(|id| ![target, leaver].contains(id)).collect();
    arena.cluster.await_settled((TOPIC, MANY), COPIES, &stay, SETTLED_MAX).await?;
    say(&format!(
        "  nodes {leaver} and {target} have no copies {:.2} s after a move to the latter began",
        since.elapsed().as_secs_f64()
    ));
    arena.faults.decommission(target).await?;
    expect_serving(&arena, &stay).await?;
    arena.cluster.node(leaver)?.shut_down()?;
    arena.cluster.dismiss(leaver);
    arena.cluster.dismiss(target);
    conclude(arena, workload, &stay).await
}

/// Two of three nodes are gone for ever. Nothing goes on until an operator says so; then what is left does, hears the
/// lost ones no more, and the region is whole again once they are there with empty disks.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_goes_on_when_an_operator_says_so() -> Result<()> {
    let arena = Arena::open(Plan::new("unsafe-recover", 40).with_links()).await?;
    let workload = at_work(&arena, PARTITIONS).await?;
    let ids = arena.cluster.ids();
    let left = arena.chance("roles").pick(&ids);
    let [first, second] = *ids.iter().copied().filter(|id| *id != left).collect::<Vec<_>>() else {
        anyhow::bail!("three nodes were asked for")
    };
    // While one of them is gone whatever is acked is on the other and on the one that will be left.
    took(arena.faults.kill(first)?)?;
    arena.recovered(&workload, Instant::now()).await?;
    arena.await_whole(&workload, left, CATCH_UP).await?;
    took(arena.faults.kill(second)?)?;
    took(arena.faults.kill(left)?)?;
    let lost = format!("{first},{second}");
    expect_unsafe_refusals(&arena, left, &lost)?;
    let said = arena.offline("unsafe-recover", left, &["--lost", &lost, CONSENT])?;
    ensure!(said.matches("goes on alone here").count() == PARTITIONS as usize + 1, "{said}");
    let since = Instant::now();
    arena.faults.restart("kill", left).await?;
    arena.recovered(&workload, since).await?;
    say(&format!("  node {left} goes on alone {:.2} s after it was told to", since.elapsed().as_secs_f64()));
    // With its data a lost node is not heard: what it knows is another region now.
    arena.cluster.start_node(first).await?;
    workload.tally().await_acks(100, CATCH_UP).await?;
    let seen = arena.cluster.ask(left).await?;
    ensure!(seen.groups.iter().all(|group| group.leader_node == Some(left)), "it was heard: {seen:#?}");
    took(arena.faults.kill(first)?)?;
    for id in [first, second] {
        took(arena.faults.wipe(id)?)?;
        arena.faults.restart("kill", id).await?;
    }
    arena.cluster.await_settled((TOPIC, PARTITIONS), COPIES, &ids, SETTLED_MAX).await?;
    say(&format!("  the region is whole {:.2} s after that", since.elapsed().as_secs_f64()));
    conclude(arena, workload, &ids).await
}

const CONSENT: &str = "--i-accept-that-acknowledged-messages-may-be-lost";

/// What makes no sense is refused, and without consent nothing is changed.
fn expect_unsafe_refusals(arena: &Arena, left: u64, lost: &str) -> Result<()> {
    let own = left.to_string();
    for (wrong, why) in [(own.as_str(), "name the nodes that are lost"), ("77", "is not known here")] {
        let Err(refused) = arena.offline("unsafe-recover", left, &["--lost", wrong, CONSENT]) else {
            anyhow::bail!("losing {wrong} was accepted")
        };
        ensure!(refused.to_string().contains(why), "{refused}");
    }
    let planned = arena.offline("unsafe-recover", left, &["--lost", lost])?;
    ensure!(planned.contains("Nothing was changed") && planned.contains("are gone"), "{planned}");
    let again = arena.offline("unsafe-recover", left, &["--lost", lost])?;
    ensure!(planned == again, "a plan changed something:\n{planned}\n{again}");
    Ok(())
}
