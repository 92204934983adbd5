//! Quiet groups: nothing was proposed for a while, and every member has everything.
//!
//! A quiet group costs nearly nothing: its leader beats rarely, and its replicas look at no election timer. What
//! keeps its leader in office meanwhile is the life of the leader's node, which is watched for all groups at once.
//! A proposal ends the quiet at once, a beat that no quorum answers ends it, and so does the loss of the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meridian_model::{NodeId, ReplicaId};
use openraft::async_runtime::WatchReceiver;
use openraft::{Instant, RaftMetrics};

use crate::signs::Signs;
use crate::types::{Raft, TypeConfig};

/// How long nothing was proposed in a group before it is quiet.
pub(crate) const QUIET_AFTER: Duration = Duration::from_secs(3);
/// How often the leader of a quiet group beats.
pub(crate) const QUIET_EVERY: Duration = Duration::from_secs(3);
/// A replica that heard nothing of a quiet group for so long looks at its election timer again.
pub(crate) const QUIET_SILENCE_MAX: Duration = Duration::from_millis(7_500);

/// Whether a group is quiet, as its replica here knows it. Shared by all who speak for the replica.
#[derive(Clone, Default)]
pub(crate) struct Quiet(Arc<AtomicBool>);

impl Quiet {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, quiet: bool) {
        self.0.store(quiet, Ordering::Relaxed);
    }
}

/// The lease of a group's leader, for those who propose: openraft refuses writes without one, and the lease of a
/// quiet group has run out.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) raft: Raft,
    pub(crate) quiet: Quiet,
    pub(crate) length: Duration,
}

impl Lease {
    /// Ends the quiet, and waits until a quorum has answered lately, at most as long as a lease. What follows may
    /// still be refused. Cancel safe.
    pub(crate) async fn renew(&self) {
        self.quiet.set(false);
        let mut metrics = self.raft.metrics();
        if self.is_fresh(&metrics.borrow_watched()) || self.raft.trigger().heartbeat().await.is_err() {
            return;
        }
        let answered =
            async { while !self.is_fresh(&metrics.borrow_watched()) && metrics.changed().await.is_ok() {} };
        // Without an answer openraft says why it refuses.
        let _ = tokio::time::timeout(self.length, answered).await;
    }

    /// Whether it lasts a while yet. Only leaders have one to renew.
    fn is_fresh(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        let leads = metrics.current_leader == Some(metrics.id);
        !leads || is_alone(metrics) || ack_age(metrics).is_some_and(|age| age < self.length * 3 / 4)
    }
}

/// How long ago a quorum answered the leader. `None`: never.
pub(crate) fn ack_age(metrics: &RaftMetrics<TypeConfig>) -> Option<Duration> {
    metrics.last_quorum_acked.map(|acked| acked.into_inner().elapsed())
}

/// Whether the replica is the only voter: then it needs nobody's answer.
pub(crate) fn is_alone(metrics: &RaftMetrics<TypeConfig>) -> bool {
    metrics.membership_config.membership().voter_ids().all(|id| id == metrics.id)
}

/// Whether a majority of the voters, as the signs have it, is there: this node, and those heard of within `silence`.
pub(crate) fn majority_is_there(metrics: &RaftMetrics<TypeConfig>, signs: &Signs, silence: Duration) -> bool {
    let membership = metrics.membership_config.membership();
    let node = |id: &u64| membership.get_node(id).map(|node| node.node);
    let there = |id: &u64| *id == metrics.id || node(id).is_some_and(|node| signs.is_there(node, silence));
    let of_config = |voters: &std::collections::BTreeSet<u64>| {
        2 * voters.iter().filter(|id| there(id)).count() > voters.len()
    };
    membership.get_joint_config().iter().all(of_config)
}

/// Whether the leader of a quiet group, as a follower knows it, is in office although its lease has run out:
/// its node is there. Its own replica may stand: then it does not lead.
pub(crate) fn leader_is_there(
    metrics: &RaftMetrics<TypeConfig>,
    signs: &Signs,
    candidate: ReplicaId,
    lease: Duration,
) -> bool {
    let Some(leader) = metrics.current_leader.filter(|leader| *leader != candidate.0) else { return false };
    let node = metrics.membership_config.get_node(&leader).map(|node| node.node);
    match leader == metrics.id {
        true => majority_is_there(metrics, signs, lease),
        false => node.is_some_and(|node: NodeId| signs.is_there(node, lease)),
    }
}
