//! Where this node leads the control group: moves copies off nodes that leave or are gone, and keeps copies and
//! leaders even, a few at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_machine::control::balance::{Standing, Step, next_steps};
use meridian_machine::control::{ControlChange, Duty};
use meridian_model::NodeId;
use tokio::time::Instant;

use super::Keeper;

/// The shortest pause after which a node counts as silent: every node answers its leader's heartbeats, but a busy
/// one late.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// How often balance is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A node that was away gets copies and leaders again once it has been heard from for so long.
const STEADY_AFTER: Duration = Duration::from_secs(5);
/// Leaders that are named anew in one look.
const LEADERS_MAX: usize = 32;

pub(super) async fn keep(keeper: Keeper) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !keeper.control.is_leader() {
            // Whoever leads next begins to count anew: silence counts only while somebody listens.
            watch = Watch::default();
            continue;
        }
        watch.look(&keeper);
        keeper.balance(&watch).await;
        keeper.forget_those_who_left().await;
    }
}

/// Since when each node has been heard from, or silent.
#[derive(Default)]
struct Watch(BTreeMap<NodeId, (bool, Instant)>);

impl Watch {
    fn look(&mut self, keeper: &Keeper) {
        let nodes = keeper.control.look(|machine| machine.nodes().map(|record| record.node).collect());
        let nodes: Vec<NodeId> = nodes.unwrap_or_default();
        let now = Instant::now();
        let silent_after = SILENT_AFTER.max(Duration::from_millis(keeper.parts.config.election_ms_max * 2));
        self.0.retain(|node, _| nodes.contains(node));
        for node in nodes {
            let silence = keeper.parts.clocks.silence_of(node);
            let heard = silence.is_some_and(|silence| silence < silent_after);
            let entry = self.0.entry(node).or_insert((heard, now));
            if entry.0 != heard {
                let silent = silence.filter(|_| !heard).unwrap_or_default();
                *entry = (heard, now.checked_sub(silent).unwrap_or(now));
            }
        }
    }

    fn is_steady(&self, node: NodeId) -> bool {
        self.0.get(&node).is_some_and(|(heard, since)| *heard && since.elapsed() >= STEADY_AFTER)
    }

    fn is_silent(&self, node: NodeId, dead_after: Duration) -> bool {
        let silent = |(heard, since): &(bool, Instant)| !heard && since.elapsed() >= dead_after;
        !dead_after.is_zero() && self.0.get(&node).is_some_and(silent)
    }

    fn hears_a_majority(&self) -> bool {
        self.0.values().filter(|(heard, _)| *heard).count() * 2 > self.0.len()
    }
}

impl Keeper {
    async fn balance(&self, watch: &Watch) {
        // A leader that hears few may be the one that is cut off.
        if !watch.hears_a_majority() {
            return;
        }
        let dead_after = Duration::from_millis(self.membership.dead_after_ms);
        let planned = self.control.look(|machine| {
            let standing = |record: &meridian_model::topology::NodeRecord| {
                let (node, duty) = (record.node, machine.duty(record.node));
                let (steady, dead) = (watch.is_steady(node), watch.is_silent(node, dead_after));
                Standing {
                    node,
                    zone: record.zone.clone(),
                    receives: duty == Duty::Serving && steady,
                    must_be_left: duty == Duty::Leaving || dead,
                    // A node that is away for a moment keeps its leaders' names: it will be back.
                    leads: duty == Duty::Serving && !dead,
                }
            };
            let nodes: Vec<Standing> = machine.nodes().map(standing).collect();
            let board = machine.board();
            let moving = board.iter().filter(|placed| !placed.leaving.is_empty()).count();
            let copies_max = self.membership.moves_max.saturating_sub(moving);
            let leaders_max = if self.membership.rebalance_leaders { LEADERS_MAX } else { 0 };
            next_steps(&nodes, &board, copies_max, leaders_max)
        });
        for step in planned.unwrap_or_default() {
            let change = match step {
                Step::Copy { group, from, to } => {
                    tracing::info!(%group, %from, %to, "a copy moves");
                    ControlChange::MoveCopy { group, from, to }
                }
                Step::Leader { group, to } => ControlChange::PreferLeader { group, node: to },
            };
            if let Err(error) = self.control.propose_here(change).await {
                tracing::debug!(%error, "a step toward balance was not taken");
                return;
            }
        }
    }

    async fn forget_those_who_left(&self) {
        let Some(group) = self.control.group() else { return };
        let empty = self.control.look(|machine| {
            let leaving = machine.nodes().filter(|record| machine.duty(record.node) == Duty::Leaving);
            let empty = leaving.filter(|record| machine.carries(record.node) == 0);
            empty.map(|record| (record.node, record.control_replica)).collect::<Vec<_>>()
        });
        for (node, replica) in empty.unwrap_or_default() {
            // The control group must not vote with it any more, and it should have heard that its copies are
            // not needed, if it is there at all.
            let is_deaf = self.parts.clocks.clock_of(node).is_none();
            let has_heard = is_deaf || group.lag(replica) == Some(0);
            if group.members().0.contains_key(&replica) || !has_heard {
                continue;
            }
            match self.control.propose_here(ControlChange::ForgetNode { node }).await {
                Ok(_) => tracing::info!(%node, "the node has left"),
                Err(error) => tracing::debug!(%error, %node, "the node was not forgotten"),
            }
        }
    }
}
