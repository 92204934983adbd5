//! The vigil of a node: where the node that leads a group is lost, the replica here stands for election as soon
//! as the leader's lease allows, instead of waiting for openraft's own timer, which also waits a random time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meridian_model::{GroupId, NodeId, ReplicaId};
use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use crate::group::Group;
use crate::registry::Registry;
use crate::runtime::next_random;
use crate::signs::Signs;
use crate::succession::{Candidacy, Step, place};

/// How often silence is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Candidates wake together where they would wake so close to each other.
const GRAIN: Duration = Duration::from_millis(5);

/// Watches over the groups of a node.
pub struct Vigil {
    registry: Arc<Registry>,
    signs: Arc<Signs>,
    candidacies: BTreeMap<GroupId, Candidacy>,
}

/// A group as its replica here sees it.
struct Outlook {
    term: u64,
    leader: Option<NodeId>,
    voters: BTreeMap<ReplicaId, NodeId>,
}

impl Outlook {
    fn of(group: &Group) -> Self {
        let metrics = group.raft().metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let node_of = |id: u64| membership.get_node(&id).map(|node| node.node);
        let voters = membership.voter_ids().filter_map(|id| Some((ReplicaId(id), node_of(id)?)));
        Self {
            term: metrics.current_term,
            leader: metrics.current_leader.and_then(node_of),
            voters: voters.collect(),
        }
    }
}

impl Vigil {
    /// A vigil over these groups, by these signs.
    pub fn new(registry: Arc<Registry>, signs: Arc<Signs>) -> Self {
        Self { registry, signs, candidacies: BTreeMap::new() }
    }

    /// Keeps it, for ever.
    pub async fn keep(mut self) {
        loop {
            let wake = self.look().await;
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                () = self.signs.somebody_hung_up() => {}
            }
        }
    }

    /// Lets every candidate whose time has come stand. Returns when to look again.
    async fn look(&mut self) -> Instant {
        let (now, lost) = (Instant::now(), self.signs.lost());
        let mut wake = now + LOOK_EVERY;
        if lost.is_empty() {
            self.candidacies.clear();
            return wake;
        }
        let mut standing = Vec::new();
        for group in self.registry.all() {
            match self.step(&group, now, &lost) {
                Some(Step::Stand) => standing.push(group),
                Some(Step::Wait(until)) => wake = wake.min(until),
                None => drop(self.candidacies.remove(&group.id())),
            }
        }
        for group in standing {
            // A group that has stopped is opened again by its keeper.
            let _ = group.elect().await;
            wake = wake.min(now + GRAIN);
        }
        wake.max(now + GRAIN)
    }

    /// What the replica here does about its group. `None`: it has a leader that is there, or may not stand.
    fn step(&mut self, group: &Group, now: Instant, lost: &BTreeSet<NodeId>) -> Option<Step> {
        let outlook = Outlook::of(group);
        if outlook.leader.is_some_and(|leader| !lost.contains(&leader)) {
            return None;
        }
        let place = place(group.id(), group.replica(), &outlook.voters, lost)?;
        let begin = || Candidacy::new(place, outlook.term, group.lease_ends());
        let candidacy = self.candidacies.entry(group.id()).or_insert_with(begin);
        Some(candidacy.step(now, outlook.term, next_random()))
    }
}
