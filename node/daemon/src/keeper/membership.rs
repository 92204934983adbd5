//! Where this node leads a group, brings its actual members to the placed ones: learners first, then a joint
//! change. That is how a node that lost its disk gets its copies back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meridian_machine::control::{ControlChange, Duty};
use meridian_model::topology::NodeRecord;
use meridian_model::{GroupId, NodeId, ReplicaId};
use meridian_raft::Group;

use super::Keeper;

const LEARN_MAX: Duration = Duration::from_secs(30);
const CHANGE_MAX: Duration = Duration::from_secs(10);
/// The control group votes on at most so many nodes; the rest learn.
const CONTROL_VOTERS_MAX: usize = 5;
/// Groups whose members change at the same time.
const CHANGES_MAX: usize = 4;

/// Who should be in a group.
struct Wanted {
    voters: BTreeMap<ReplicaId, NodeId>,
    learners: BTreeMap<ReplicaId, NodeId>,
}

pub(super) async fn keep(keeper: Keeper) {
    let mut seen = None;
    loop {
        seen = keeper.control_moved(seen).await;
        let wanted = keeper.wanted();
        let due = wanted.into_iter().filter_map(|(id, wanted)| {
            let group = keeper.registry.get(id).filter(|group| group.is_leader())?;
            differs(&group, &wanted).then_some((group, wanted))
        });
        let due: Vec<_> = due.take(CHANGES_MAX).map(|(group, wanted)| bring(group, wanted)).collect();
        futures::future::join_all(due).await;
        keeper.finish_moves().await;
        keeper.finish_deletions().await;
    }
}

impl Keeper {
    fn wanted(&self) -> BTreeMap<GroupId, Wanted> {
        let wanted = self.control.look(|machine| {
            let mut wanted = BTreeMap::new();
            for placement in machine.topics().flat_map(|topic| topic.partitions.iter()) {
                let voters =
                    placement.replicas.iter().map(|replica| (replica.replica, replica.node)).collect();
                wanted.insert(placement.group, Wanted { voters, learners: BTreeMap::new() });
            }
            // A node that leaves does not vote any more, but hears what becomes of its copies.
            let stays = |record: &&NodeRecord| machine.duty(record.node) != Duty::Leaving;
            let (stay, leave): (Vec<_>, Vec<_>) = machine.nodes().partition(stays);
            let odd = stay.len().min(CONTROL_VOTERS_MAX);
            let odd = if odd > 2 && odd.is_multiple_of(2) { odd - 1 } else { odd };
            let (voters, learners) = stay.split_at(odd);
            let learners = [learners, &leave].concat();
            let of = |part: &[&NodeRecord]| part.iter().map(|r| (r.control_replica, r.node)).collect();
            wanted.insert(GroupId::CONTROL, Wanted { voters: of(voters), learners: of(&learners) });
            wanted
        });
        wanted.unwrap_or_default()
    }

    /// Where this node leads a group that has voted an old copy out, its node may remove that copy.
    async fn finish_moves(&self) {
        let leaving = self.control.look(|machine| {
            machine.all_leaving().map(|(group, copy)| (group, copy.replica)).collect::<Vec<_>>()
        });
        for (id, replica) in leaving.unwrap_or_default() {
            let Some(group) = self.registry.get(id).filter(|group| group.is_leader()) else { continue };
            if !group.has_left(replica) {
                continue;
            }
            match self.control.change(ControlChange::FinishMove { group: id, replica }, CHANGE_MAX).await {
                Ok(_) => tracing::info!(group = %id, %replica, "the old copy is not needed any more"),
                Err(error) => tracing::debug!(group = %id, %error, "a move was not finished"),
            }
        }
    }

    /// The control leader removes deleted topics once every node had time to see the deletion.
    async fn finish_deletions(&self) {
        if !self.control.is_leader() {
            return;
        }
        let deleting = self.control.look(|machine| {
            let topics = machine.topics().filter(|topic| topic.deleting);
            topics.map(|topic| (topic.name.clone(), topic.version)).collect::<Vec<_>>()
        });
        for (name, version) in deleting.unwrap_or_default() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let change = ControlChange::FinishDelete { name, expected_version: Some(version) };
            if let Err(error) = self.control.propose_here(change).await {
                tracing::debug!(%error, "finishing a deletion");
            }
        }
    }
}

fn differs(group: &Group, wanted: &Wanted) -> bool {
    let (voters, learners) = group.members();
    let known = |replica: &ReplicaId| voters.contains_key(replica) || learners.contains_key(replica);
    voters != wanted.voters || !wanted.learners.keys().all(known)
}

async fn bring(group: Arc<Group>, wanted: Wanted) {
    let (voters, learners) = group.members();
    // An empty membership means that this leader has not seen its own first entry.
    if voters.is_empty() || wanted.voters.is_empty() {
        return;
    }
    for (replica, node) in wanted.voters.iter().chain(&wanted.learners) {
        if voters.contains_key(replica) || learners.contains_key(replica) {
            continue;
        }
        tracing::info!(group = %group.id(), %replica, %node, "adding a copy");
        match tokio::time::timeout(CHANGE_MAX, group.add_learner(*replica, *node)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return tracing::warn!(group = %group.id(), %error, "the copy was not added"),
            Err(_) => return tracing::warn!(group = %group.id(), "no quorum to add a copy yet"),
        }
    }
    // Whoever votes before it has caught up can hold commits up, or leave too few that have everything.
    for replica in wanted.voters.keys().filter(|replica| !voters.contains_key(replica)) {
        match tokio::time::timeout(LEARN_MAX, group.caught_up(*replica)).await {
            Ok(()) => tracing::info!(group = %group.id(), %replica, "the copy has caught up"),
            Err(_) => return tracing::info!(group = %group.id(), %replica, "the copy is still catching up"),
        }
    }
    let now: BTreeSet<ReplicaId> = voters.into_keys().collect();
    let then: BTreeSet<ReplicaId> = wanted.voters.keys().copied().collect();
    if now == then {
        return;
    }
    match tokio::time::timeout(CHANGE_MAX, group.change_voters(then)).await {
        Ok(Ok(())) => tracing::info!(group = %group.id(), "the members are as placed"),
        Ok(Err(error)) => tracing::warn!(group = %group.id(), %error, "the members were not changed"),
        Err(_) => tracing::warn!(group = %group.id(), "no quorum for a change of members yet"),
    }
}
