//! One replica of one group: opened from disk, proposed to, read from, stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meridian_machine::Command;
use meridian_model::{GroupId, LogId as HistoryId, NodeId, ReplicaId, UnixMs};
use meridian_storage::{Disk, WriterHandle};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::ReadPolicy;
use openraft::{ChangeMembers, RaftMetrics};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

use crate::clock_book::ClockBook;
use crate::digest::{self, StateDigest};
use crate::log_store::{LogStore, TailBudget};
use crate::machine_store::MachineStore;
use crate::network::{GroupNetwork, Links, Standing};
use crate::proposer::{ProposeError, Proposer};
use crate::quiet::{self, Lease, QUIET_SILENCE_MAX, Quiet};
use crate::timing::GroupConfig;
use crate::types::{CommandBytes, Raft, ReplicaNode, Reply, TypeConfig};
use crate::view::{Applied, GroupView};

/// A member that lacks no more entries than this counts as caught up: they are on their way to it.
const CAUGHT_UP_ENTRIES: u64 = 64;

/// Which replica of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupIdentity {
    /// The group.
    pub group: GroupId,
    /// The history of the partition; nil for the control group.
    pub history: HistoryId,
    /// This copy.
    pub replica: ReplicaId,
}

/// What a node's groups share.
#[derive(Clone)]
pub struct GroupParts {
    /// The node's writer.
    pub writer: WriterHandle,
    /// The node's engine, for reading.
    pub disk: Disk,
    /// The memory of all log tails.
    pub budget: Arc<TailBudget>,
    /// The ways to the other nodes.
    pub links: Arc<Links>,
    /// The peers' clocks.
    pub clocks: Arc<ClockBook>,
    /// Timing.
    pub config: GroupConfig,
}

/// A running replica.
pub struct Group {
    identity: GroupIdentity,
    raft: Raft,
    view: Arc<GroupView>,
    proposer: Proposer,
    parts: GroupParts,
    snapshot_in: Arc<Mutex<()>>,
    purger: JoinHandle<()>,
    /// When a leader last sent something.
    heard: parking_lot::Mutex<tokio::time::Instant>,
    lease: Lease,
    /// Whether openraft looks at its election timer.
    ticks: AtomicBool,
}

impl Group {
    /// Opens the replica from what is stored and starts it. Joins nothing by itself: a new group begins with
    /// [`Group::initialize`] on its founders.
    pub async fn open(identity: GroupIdentity, parts: GroupParts) -> Result<Arc<Group>, io::Error> {
        let GroupIdentity { group, history, replica } = identity;
        let (writer, budget, keep) = (parts.writer.clone(), Arc::clone(&parts.budget), parts.disk.clone());
        let log = parts.disk.read(move |_| Ok(LogStore::open(group, writer, keep, budget))).await?;
        let log = log.inspect_err(|error| parts.disk.report_if_damage(group, error))?;
        let machine =
            MachineStore::open(group, history, parts.writer.clone(), parts.disk.clone(), log.clone()).await?;
        let (view, trims) = (machine.view(), machine.trims());
        let (quiet, standing) = (Quiet::default(), Standing::default());
        let network =
            GroupNetwork::new(Arc::clone(&parts.links), group, quiet.clone(), Arc::clone(&standing));
        let config = parts.config.raft(group.to_string())?;
        let raft = Raft::new(replica.0, config, network, log, machine).await.map_err(io::Error::other)?;
        // Set once: this is where the group begins.
        let _ = standing.set(raft.metrics());
        let lease = Lease { raft: raft.clone(), quiet, length: parts.config.lease() };
        let proposer = Proposer::spawn(lease.clone(), Arc::clone(&view), Arc::clone(&parts.clocks));
        let purger = tokio::spawn(purge_after_trims(raft.clone(), trims));
        let (snapshot_in, heard) = (Arc::default(), parking_lot::Mutex::new(tokio::time::Instant::now()));
        let ticks = AtomicBool::new(true);
        let group = Group { identity, raft, view, proposer, parts, snapshot_in, purger, heard, lease, ticks };
        Ok(Arc::new(group))
    }

    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.identity.group
    }

    /// Which replica runs here.
    pub fn replica(&self) -> ReplicaId {
        self.identity.replica
    }

    /// Which replica of what.
    pub fn identity(&self) -> GroupIdentity {
        self.identity
    }

    /// What is applied.
    pub fn view(&self) -> &Arc<GroupView> {
        &self.view
    }

    /// Where batches are proposed.
    pub fn proposer(&self) -> &Proposer {
        &self.proposer
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    pub(crate) fn writer(&self) -> &WriterHandle {
        &self.parts.writer
    }

    /// A leader sends something: its lease begins anew. It also says whether the group is quiet.
    pub(crate) fn heard_leader(&self, quiet: bool) {
        *self.heard.lock() = tokio::time::Instant::now();
        self.lease.quiet.set(quiet);
    }

    /// When the lease of the last leader ends, by what it sent here; in a quiet group, by what its node sent.
    pub fn lease_ends(&self) -> tokio::time::Instant {
        let heard = *self.heard.lock();
        let leader = self.leader().filter(|_| self.quiet().is_set());
        let heard =
            leader.and_then(|node| self.parts.links.signs().heard_at(node)).map_or(heard, |at| at.max(heard));
        heard + self.parts.config.lease()
    }

    /// Whether the group rests, as this replica knows it.
    pub(crate) fn quiet(&self) -> &Quiet {
        &self.lease.quiet
    }

    /// Whether nothing happens in the group, as this replica knows it: its leader beats rarely.
    pub fn is_quiet(&self) -> bool {
        self.quiet().is_set()
    }

    /// How long no quorum has answered the leader, where it is here. `None`: no quorum ever did.
    pub fn unanswered(&self) -> Option<Duration> {
        quiet::ack_age(&self.raft.metrics().borrow_watched())
    }

    /// Whether the replica here would rather keep its leader than let this one stand, although the lease that
    /// openraft knows of has run out: the group is quiet, and the leader's node is there.
    pub(crate) fn keeps_its_leader(&self, candidate: ReplicaId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (signs, lease) = (self.parts.links.signs(), self.parts.config.lease());
        self.quiet().is_set() && quiet::leader_is_there(&metrics, signs, candidate, lease)
    }

    /// Lets openraft look at its election timer, or not: in a quiet group whose leader's node is there it need not.
    pub(crate) fn look_at_timer(&self) {
        let leader = self.leader();
        let lease = self.parts.config.lease();
        let there =
            |node| leader == Some(self.own_node()) || self.parts.links.signs().is_there(node, 2 * lease);
        let leads = self.raft.metrics().borrow_watched().state == openraft::ServerState::Leader;
        if !leads && self.heard.lock().elapsed() > QUIET_SILENCE_MAX {
            self.quiet().set(false);
        }
        let ticks = !self.quiet().is_set() || !leader.is_some_and(there);
        if self.ticks.swap(ticks, Ordering::Relaxed) != ticks {
            self.raft.runtime_config().tick(ticks);
        }
    }

    fn own_node(&self) -> NodeId {
        self.parts.links.own()
    }

    pub(crate) async fn incoming_snapshot(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.snapshot_in).lock_owned().await
    }

    /// Founds the group with these voters. Harmless where it is founded already.
    pub async fn initialize(&self, voters: BTreeMap<ReplicaId, NodeId>) -> Result<(), io::Error> {
        use openraft::errors::{InitializeError, RaftError};
        let members: BTreeMap<u64, ReplicaNode> =
            voters.into_iter().map(|(replica, node)| (replica.0, ReplicaNode { node })).collect();
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Whether the log and the vote are empty: nothing ever happened here.
    pub async fn is_pristine(&self) -> bool {
        !self.raft.is_initialized().await.unwrap_or(true)
    }

    /// The node that leads, as far as this replica knows. A leader that no quorum has answered for a while
    /// knows of none: the others may have another.
    pub fn leader(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let lost = leader == self.identity.replica.0 && self.quorum_is_silent(&metrics);
        let node = metrics.membership_config.get_node(&leader).map(|node| node.node);
        node.filter(|_| !lost)
    }

    /// Whether this replica leads, and a quorum has said so lately.
    pub fn is_leader(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.current_leader == Some(self.identity.replica.0) && !self.quorum_is_silent(&metrics)
    }

    /// Twice the lease without a quorum's answer: the others may have elected another leader by now. In a quiet
    /// group nobody is asked, and the nodes of a quorum must be there.
    fn quorum_is_silent(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        let silence_max = 2 * self.parts.config.lease();
        let late = quiet::ack_age(metrics).is_some_and(|age| age > silence_max);
        let there = || quiet::majority_is_there(metrics, self.parts.links.signs(), silence_max);
        late && !quiet::is_alone(metrics) && !(self.quiet().is_set() && there())
    }

    /// Entries that a member still lacks, while this replica leads and has heard of it.
    pub fn lag(&self, replica: ReplicaId) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?.get(&replica.0)?.as_ref()?.index;
        Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matched))
    }

    /// Term, last log index and purged index, for status.
    pub fn positions(&self) -> (u64, u64, u64) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.current_term, metrics.last_log_index.unwrap_or(0), metrics.purged.map_or(0, |id| id.index))
    }

    /// Voters and learners with their nodes.
    pub fn members(&self) -> (BTreeMap<ReplicaId, NodeId>, BTreeMap<ReplicaId, NodeId>) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let all = membership.nodes().map(|(id, node)| (ReplicaId(*id), node.node));
        all.partition(|(id, _)| voters.contains(&id.0))
    }

    /// Whether a committed membership, uniform and known here, does without a replica.
    pub fn has_left(&self, replica: ReplicaId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let config = &metrics.membership_config;
        let set_at = config.log_id().as_ref().map(|id| id.index);
        let committed = set_at.is_some() && metrics.last_applied.as_ref().map(|id| id.index) >= set_at;
        let uniform = config.membership().get_joint_config().len() == 1;
        committed && uniform && config.membership().get_node(&replica.0).is_none()
    }

    /// Waits until a change of leader, term or membership, or a fatal error. Cancel safe.
    pub async fn changed(&self) {
        let before = self.standing();
        let mut metrics = self.raft.server_metrics();
        while self.standing() == before && metrics.changed().await.is_ok() {}
    }

    fn standing(&self) -> (u64, Option<u64>, bool, usize) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.nodes().count();
        (metrics.current_term, metrics.current_leader, metrics.running_state.is_ok(), members)
    }

    /// Whether the replica stopped by itself, and why.
    pub fn fatal(&self) -> Option<String> {
        self.raft.metrics().borrow_watched().running_state.as_ref().err().map(ToString::to_string)
    }

    /// Proposes a command other than an append and waits until it is applied here.
    pub async fn propose(&self, command: &Command, patience: Duration) -> Result<(u64, Reply), ProposeError> {
        if !self.is_leader() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        let write = async {
            self.lease.renew().await;
            self.raft.client_write(CommandBytes(command.encode())).await
        };
        match tokio::time::timeout(patience, write).await {
            Err(_) => Err(ProposeError::Indeterminate("no quorum answered in time".into())),
            Ok(Ok(response)) => Ok((response.log_id.index, response.data)),
            Ok(Err(error)) => Err(ProposeError::of_write(error)),
        }
    }

    /// A stamp for a command proposed now.
    pub fn stamp(&self) -> UnixMs {
        let voters: Vec<NodeId> = self.members().0.into_values().collect();
        self.parts.clocks.stamp(self.view.applied().stamp, &voters)
    }

    /// The time that may be used to destroy data, or `None` while the voters' clocks disagree or are silent.
    pub fn destructive_time(&self) -> Option<UnixMs> {
        let voters: Vec<NodeId> = self.members().0.into_values().collect();
        self.parts.clocks.quorum_time(&voters)?.destructive()
    }

    /// Confirms leadership with a quorum, waits until all that was committed before is applied, and returns
    /// the state then: nothing acked before this call is missing from it.
    pub async fn linearizable(&self, patience: Duration) -> Result<Applied, ProposeError> {
        if !self.is_leader() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        match tokio::time::timeout(patience, self.raft.ensure_linearizable(ReadPolicy::ReadIndex)).await {
            Ok(Ok(_)) => Ok(self.view.applied()),
            Ok(Err(error)) => Err(ProposeError::Unavailable(error.to_string())),
            Err(_) => Err(ProposeError::Unavailable("no quorum answered in time".into())),
        }
    }

    /// Adds a replica that only learns. [`Group::caught_up`] tells when it may vote.
    pub async fn add_learner(&self, replica: ReplicaId, node: NodeId) -> Result<(), io::Error> {
        self.lease.renew().await;
        let added = self.raft.add_learner(replica.0, ReplicaNode { node }, false).await;
        added.map(|_| ()).map_err(io::Error::other)
    }

    /// Waits until a member lacks no more than what is on its way. False where this replica stops, or leads no
    /// longer, before that. Cancel safe.
    pub async fn caught_up(&self, replica: ReplicaId) -> bool {
        let mut metrics = self.raft.metrics();
        loop {
            match self.lag(replica) {
                Some(lag) if lag <= CAUGHT_UP_ENTRIES => return true,
                _ if !self.is_leader() || metrics.changed().await.is_err() => return false,
                _ => {}
            }
        }
    }

    /// Does without these replicas, none of which votes.
    pub async fn remove_learners(&self, learners: BTreeSet<ReplicaId>) -> Result<(), io::Error> {
        let learners = learners.into_iter().map(|replica| replica.0).collect();
        self.lease.renew().await;
        let removed = self.raft.change_membership(ChangeMembers::RemoveNodes(learners), false).await;
        removed.map(|_| ()).map_err(io::Error::other)
    }

    /// Makes exactly these replicas the voters, through a joint configuration; others leave.
    pub async fn change_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<(), io::Error> {
        let voters: BTreeSet<u64> = voters.into_iter().map(|replica| replica.0).collect();
        self.lease.renew().await;
        let changed = self.raft.change_membership(voters, false).await;
        changed.map(|_| ()).map_err(io::Error::other)
    }

    /// Hands leadership to another voter.
    pub async fn transfer_leader(&self, to: ReplicaId) -> Result<(), io::Error> {
        self.lease.renew().await;
        self.raft.trigger().transfer_leader(to.0).await.map_err(io::Error::other)
    }

    /// Stands for election now: for the node that should lead a new group.
    pub async fn elect(&self) -> Result<(), io::Error> {
        self.raft.trigger().elect(true).await.map_err(io::Error::other)
    }

    /// The digest of the tables as they are now. `None` where nothing was applied yet, or while catching up.
    pub async fn state_digest(&self) -> Result<Option<StateDigest>, io::Error> {
        match self.parts.writer.freeze().await {
            Some(frozen) => digest::of(self.id(), frozen, &self.parts.disk).await,
            None => Ok(None),
        }
    }

    /// Stops the replica. What was acked stays on disk.
    pub async fn shutdown(&self) {
        self.purger.abort();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = %self.id(), %error, "the group did not stop cleanly");
        }
    }
}

/// A trim was applied: let openraft snapshot at the boundary, and purge through it.
async fn purge_after_trims(raft: Raft, mut trims: tokio::sync::watch::Receiver<u64>) {
    while trims.changed().await.is_ok() {
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}
