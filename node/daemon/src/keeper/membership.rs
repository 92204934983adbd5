//! Where this node leads a group, brings its actual members to the placed ones: learners first, then a joint
//! change. That is how a node that lost its disk gets its copies back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use meridian_machine::control::{ControlChange, Duty};
use meridian_model::topology::NodeRecord;
use meridian_model::{GroupId, NodeId, ReplicaId};
use meridian_raft::{ClockBook, Group};
use tokio::task::{AbortHandle, JoinSet};

use super::Keeper;

/// How long a change waits for a copy that learns before it is looked at anew: what is wanted may be another one then.
const LEARN_MAX: Duration = Duration::from_secs(5);
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

impl Wanted {
    fn has(&self, replica: ReplicaId) -> bool {
        self.voters.contains_key(&replica) || self.learners.contains_key(&replica)
    }
}

pub(super) async fn keep(keeper: Keeper) {
    let mut seen = None;
    let mut changes = Changes::default();
    loop {
        tokio::select! {
            moved = keeper.control_moved(seen) => seen = moved,
            () = changes.one_succeeded() => {}
        }
        changes.begin(keeper.due(), &keeper.parts.clocks);
        keeper.finish_moves().await;
        keeper.finish_deletions().await;
    }
}

/// Changes under way: a few, of one group one at the most. They end with whoever keeps them.
#[derive(Default)]
struct Changes {
    /// Each tells whether the members are the wanted ones when it ends.
    running: JoinSet<bool>,
    groups: BTreeMap<GroupId, AbortHandle>,
    /// The group whose change began last. The next are those behind it: one that cannot end holds none up for ever.
    last: GroupId,
}

impl Changes {
    /// Waits until one of them has reached its goal; for ever where none does. One that has not is begun anew, but
    /// not at once. Cancel safe.
    async fn one_succeeded(&mut self) {
        loop {
            match self.running.join_next().await {
                Some(Ok(true)) => return,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn begin(&mut self, mut due: BTreeMap<GroupId, (Arc<Group>, Wanted)>, clocks: &Arc<ClockBook>) {
        self.groups.retain(|_, change| !change.is_finished());
        due.retain(|group, _| !self.groups.contains_key(group));
        while self.groups.len() < CHANGES_MAX {
            let behind = due.range((Bound::Excluded(self.last), Bound::Unbounded)).next();
            let Some(id) = behind.or_else(|| due.iter().next()).map(|(id, _)| *id) else { return };
            let Some((group, wanted)) = due.remove(&id) else { return };
            let clocks = Arc::clone(clocks);
            let change = async move {
                bring(&group, &wanted, &clocks).await;
                !differs(&group, &wanted)
            };
            self.groups.insert(id, self.running.spawn(change));
            self.last = id;
        }
    }
}

impl Keeper {
    /// The groups that this node leads and whose members are not the placed ones.
    fn due(&self) -> BTreeMap<GroupId, (Arc<Group>, Wanted)> {
        let differing = self.wanted().into_iter().filter_map(|(id, wanted)| {
            let group = self.registry.get(id).filter(|group| group.is_leader())?;
            differs(&group, &wanted).then_some((id, (group, wanted)))
        });
        differing.collect()
    }

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
    let superfluous = learners.keys().any(|replica| !wanted.has(*replica));
    voters != wanted.voters || superfluous || !wanted.learners.keys().all(known)
}

async fn bring(group: &Group, wanted: &Wanted, clocks: &ClockBook) {
    let (voters, learners) = group.members();
    // An empty membership means that this leader has not seen its own first entry.
    if voters.is_empty() || wanted.voters.is_empty() {
        return;
    }
    // Of moves that were given another goal, and of nodes that came back with an empty disk.
    let superfluous: BTreeSet<ReplicaId> =
        learners.keys().copied().filter(|replica| !wanted.has(*replica)).collect();
    if !superfluous.is_empty() {
        match tokio::time::timeout(CHANGE_MAX, group.remove_learners(superfluous)).await {
            Ok(Ok(())) => {
                tracing::info!(group = %group.id(), "copies that only learned are not needed any more")
            }
            Ok(Err(error)) => return tracing::warn!(group = %group.id(), %error, "no copy was removed"),
            Err(_) => return tracing::warn!(group = %group.id(), "no quorum to remove a copy yet"),
        }
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
    for (replica, node) in wanted.voters.iter().filter(|(replica, _)| !voters.contains_key(replica)) {
        if clocks.clock_of(*node).is_none() {
            return tracing::debug!(group = %group.id(), %replica, %node, "the node of the new copy is silent");
        }
        match tokio::time::timeout(LEARN_MAX, group.caught_up(*replica)).await {
            Ok(true) => tracing::info!(group = %group.id(), %replica, "the copy has caught up"),
            Ok(false) => return,
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
