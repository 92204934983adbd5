//! Where this node leads a group: hands leadership to a voter whose clock agrees with the others when its own
//! does not, and back to the node that should lead, so that leaders stay spread after restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meridian_machine::control::Duty;
use meridian_model::limits::CLOCK_SKEW_MS_MAX;
use meridian_model::{GroupId, NodeId, ReplicaId};
use meridian_raft::{ClockBook, Group, Registry};
use tokio::time::Instant;

use super::Keeper;

/// How often leadership is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A node gets its groups back once it has been heard from this long without a gap.
const STEADY_AFTER: Duration = Duration::from_secs(5);
/// Groups that change hands in one look. Each is without a leader for some milliseconds.
const HANDOVERS_MAX: usize = 64;
/// How long the entries before a handover may take to reach the successor.
const HANDOVER_MAX: Duration = Duration::from_secs(1);

pub(super) async fn keep(keeper: Keeper) {
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        seen.look(&keeper);
        let led: Vec<_> = keeper.registry.all().into_iter().filter(|group| group.is_leader()).collect();
        // Whoever leads anew is looked at twice again.
        seen.off.retain(|off| led.iter().any(|group| group.id() == *off));
        let due = led.into_iter().filter_map(|group| Some((keeper.successor(&group, &mut seen)?, group)));
        let due: Vec<_> = due.take(HANDOVERS_MAX).collect();
        let handovers = due.into_iter().map(|((replica, why), group)| hand_over(group, replica, why));
        futures::future::join_all(handovers).await;
    }
}

/// What earlier looks saw.
#[derive(Default)]
struct Seen {
    /// Since when each node has been heard from without a gap.
    steady: BTreeMap<NodeId, Instant>,
    /// Groups led here among whose voters this node's clock was off.
    off: BTreeSet<GroupId>,
}

impl Seen {
    fn look(&mut self, keeper: &Keeper) {
        let nodes = keeper.control.look(|machine| machine.nodes().map(|record| record.node).collect());
        let nodes: Vec<NodeId> = nodes.unwrap_or_default();
        let heard = |node: &NodeId| keeper.parts.clocks.may_lead(*node);
        self.steady.retain(|node, _| heard(node));
        let now = Instant::now();
        for node in nodes.into_iter().filter(heard) {
            self.steady.entry(node).or_insert(now);
        }
    }

    fn is_steady(&self, node: NodeId) -> bool {
        self.steady.get(&node).is_some_and(|since| since.elapsed() >= STEADY_AFTER)
    }
}

impl Keeper {
    /// Who should lead the group instead of this node, and why; `None` if it may go on.
    fn successor(&self, group: &Group, seen: &mut Seen) -> Option<(ReplicaId, &'static str)> {
        let voters = group.members().0;
        let nodes: Vec<NodeId> = voters.values().copied().collect();
        let time = self.parts.clocks.quorum_time(&nodes)?;
        let agrees = |node: NodeId| {
            let clock = self.parts.clocks.clock_of(node);
            clock.is_some_and(|clock| clock.0.abs_diff(time.upper.0) <= CLOCK_SKEW_MS_MAX)
        };
        let fit = |node: NodeId| node != self.own && agrees(node) && self.parts.clocks.may_lead(node);
        let others = || voters.iter().filter(|(_, node)| fit(**node));
        if !agrees(self.own) {
            // Seen once, it may be that the others' clocks moved too and their word is on its way.
            if seen.off.insert(group.id()) {
                return None;
            }
            let nearest = others().min_by_key(|(replica, _)| group.lag(**replica).unwrap_or(u64::MAX))?;
            return Some((*nearest.0, "the clock of this node is off"));
        }
        seen.off.remove(&group.id());
        if let Some(successor) = self.successor_of_the_drained(group, &voters) {
            return Some((successor, "this node leads nothing, or its copy is on its way out"));
        }
        let preferred = self.preferred(group.id()).filter(|_| self.membership.rebalance_leaders)?;
        let mut waiting = others().filter(|(_, node)| **node == preferred && seen.is_steady(preferred));
        waiting.next().map(|(replica, _)| (*replica, "it should lead and is back"))
    }

    /// For a group that this node should not lead at all: the voter that should, or the one that lacks least.
    fn successor_of_the_drained(
        &self,
        group: &Group,
        voters: &BTreeMap<ReplicaId, NodeId>,
    ) -> Option<ReplicaId> {
        let serves = self.control.look(|machine| {
            let leaves = machine.leaving(group.id()).any(|copy| copy.node == self.own);
            if machine.duty(self.own) == Duty::Serving && !leaves {
                return None;
            }
            let stays = |replica| machine.leaving(group.id()).all(|copy| copy.replica != replica);
            let fit = voters.iter().filter(|(replica, node)| {
                **node != self.own && stays(**replica) && machine.duty(**node) == Duty::Serving
            });
            Some(fit.map(|(replica, node)| (*replica, *node)).collect::<Vec<_>>())
        })??;
        let preferred = self.preferred(group.id());
        let heard = serves.into_iter().filter(|(_, node)| self.parts.clocks.may_lead(*node));
        let order = |(replica, node): &(ReplicaId, NodeId)| {
            (Some(*node) != preferred, group.lag(*replica).unwrap_or(u64::MAX))
        };
        heard.min_by_key(order).map(|(replica, _)| replica)
    }

    fn preferred(&self, group: GroupId) -> Option<NodeId> {
        self.control.look(|machine| {
            let (topic, partition) = machine.group(group)?;
            topic.partitions.get(partition as usize).map(|placement| placement.preferred_leader)
        })?
    }
}

/// Hands every group over that this node leads and another can lead, all at once: for a node that is about to stop,
/// or cannot lead now. Returns once none of those is led here any more, or after `within`.
pub(crate) async fn hand_over_all(
    registry: &Registry,
    clocks: &ClockBook,
    why: &'static str,
    within: Duration,
) {
    let leave = registry.all().into_iter().filter(|group| group.is_leader()).filter_map(|group| {
        let others = group.members().0.into_iter().filter(|(_, node)| *node != clocks.own());
        let heard = others.filter(|(_, node)| clocks.may_lead(*node));
        let (successor, _) = heard.min_by_key(|(replica, _)| group.lag(*replica).unwrap_or(u64::MAX))?;
        Some(async move {
            hand_over(Arc::clone(&group), successor, why).await;
            while group.is_leader() {
                group.changed().await;
            }
        })
    });
    let all = futures::future::join_all(leave);
    if tokio::time::timeout(within, all).await.is_err() {
        tracing::warn!("not every group was handed over in time: they elect among themselves");
    }
}

async fn hand_over(group: Arc<Group>, replica: ReplicaId, why: &'static str) {
    // A successor that lacks entries refuses, and the group would wait for an election.
    if tokio::time::timeout(HANDOVER_MAX, group.caught_up(replica)).await != Ok(true) {
        return;
    }
    tracing::info!(group = %group.id(), %replica, why, "handing leadership over");
    if let Err(error) = group.transfer_leader(replica).await {
        tracing::warn!(group = %group.id(), %error, "leadership was not handed over");
    }
}
