//! How a node comes to its control replica: kept from before, founded together, or joined.
//!
//! A new cluster is founded only when every founder answers and none has seen a cluster: then the founders'
//! copies get the numbers of their nodes, and the first node founds the group. In every other case a node
//! without data joins: the control group mints a copy for this life of its disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_config::Config;
use meridian_machine::control::{ControlChange, ControlDone, ControlRefusal};
use meridian_model::topology::{NodeAddresses, NodeRecord};
use meridian_model::{ClusterId, GroupId, Incarnation, LogId, NodeId, ReplicaId};
use meridian_raft::{Group, GroupIdentity, GroupParts, Registry};
use meridian_storage::keys::meta;
use meridian_storage::{Durability, Family, WriteSet};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::control_plane::{ControlError, ControlPlane};
use crate::folder;
use crate::probe::Prober;

const RETRY_AFTER: Duration = Duration::from_millis(150);
/// The longest pause between two questions of a node that waits for a quorum of others.
const WAITING_PAUSE_MAX: Duration = Duration::from_secs(2);
const REGISTER_MAX: Duration = Duration::from_secs(10);

/// What is stored about a replica that runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredReplica {
    pub(crate) history: LogId,
    pub(crate) replica: ReplicaId,
}

impl StoredReplica {
    /// What is stored of `group`, if it was ever opened here.
    pub(crate) async fn load(parts: &GroupParts, group: GroupId) -> Result<Option<Self>, std::io::Error> {
        let key = meta::encode(group, meta::Fact::Replica);
        let stored = parts.disk.read(move |engine| engine.get(Family::Meta, &key)).await?;
        stored.map(|bytes| postcard::from_bytes(&bytes)).transpose().map_err(std::io::Error::other)
    }

    /// Remembers it, before the replica starts.
    pub(crate) async fn save(&self, parts: &GroupParts, group: GroupId) -> Result<(), std::io::Error> {
        let mut set = WriteSet::default();
        let value = postcard::to_stdvec(self).map_err(std::io::Error::other)?;
        set.put(Family::Meta, meta::encode(group, meta::Fact::Replica), value);
        Ok(parts.writer.write(set, Durability::Synced).await?)
    }
}

/// What this node says to peers that probe it.
#[derive(Default)]
pub(crate) struct Founding {
    founders: Mutex<BTreeMap<NodeId, Incarnation>>,
}

impl Founding {
    pub(crate) fn founders(&self) -> BTreeMap<NodeId, Incarnation> {
        self.founders.lock().clone()
    }
}

/// Brings a node into its cluster.
pub(crate) struct Formation {
    pub(crate) config: Config,
    pub(crate) own: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) addresses: NodeAddresses,
    pub(crate) parts: GroupParts,
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) founding: Arc<Founding>,
    pub(crate) prober: Prober,
    pub(crate) may_only_join: bool,
    /// Where this node keeps what it set aside, if it has a disk.
    pub(crate) folder: Option<PathBuf>,
}

enum Seen {
    /// Somebody is in a cluster.
    Cluster,
    /// Every founder is new, in these lives.
    AllNew(BTreeMap<NodeId, Incarnation>),
    /// Not everybody answered, or somebody founds with another life of this node.
    Wait(String),
}

impl Formation {
    /// Runs until the control replica is open and this node is registered. Retries for ever: it says why.
    pub(crate) async fn run(self) -> Result<(), std::io::Error> {
        if let Some(stored) = StoredReplica::load(&self.parts, GroupId::CONTROL).await? {
            self.open(stored.replica).await?;
            return self.register().await;
        }
        let mut said = String::new();
        loop {
            match self.probe_all().await {
                Seen::Cluster => return self.join().await,
                Seen::AllNew(founders) => return self.found(founders).await,
                Seen::Wait(why) if why != said => {
                    tracing::info!(why, "waiting for the cluster");
                    said = why;
                }
                Seen::Wait(_) => {}
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn is_founder(&self) -> bool {
        self.config.cluster.nodes.iter().any(|node| node.id == self.own.0)
    }

    async fn probe_all(&self) -> Seen {
        let mut founders = BTreeMap::from([(self.own, self.incarnation)]);
        let mut missing = Vec::new();
        let others =
            self.config.cluster.nodes.iter().map(|node| NodeId(node.id)).filter(|node| *node != self.own);
        let answers = others.map(|node| async move { (node, self.prober.ask(node).await) });
        for (node, answer) in futures::future::join_all(answers).await {
            let answer = match answer {
                Ok(answer) => answer,
                Err(why) => {
                    missing.push(format!("{node}: {why}"));
                    continue;
                }
            };
            if !answer.cluster_id.is_empty() {
                return Seen::Cluster;
            }
            let known_as = answer.founders.get(&self.own.0).and_then(|bytes| incarnation_of(bytes));
            if known_as.is_some_and(|known| known != self.incarnation) {
                missing.push(format!("{node} founds a cluster with an earlier disk of this node"));
            }
            match incarnation_of(&answer.incarnation) {
                Some(incarnation) => drop(founders.insert(node, incarnation)),
                None => missing.push(format!("{node} has no incarnation")),
            }
        }
        if missing.is_empty() && self.may_only_join {
            let why = "damaged data was set aside here, and no node remembers the cluster: nothing is founded anew; \
                       see `meridian recover`";
            return Seen::Wait(why.into());
        }
        match missing.is_empty() && self.is_founder() {
            true => Seen::AllNew(founders),
            false if missing.is_empty() => {
                Seen::Wait("this node is no founder, and there is no cluster yet".into())
            }
            false => Seen::Wait(missing.join("; ")),
        }
    }

    /// Opens the control replica and keeps the book of addresses up to date from it.
    async fn open(&self, replica: ReplicaId) -> Result<Arc<Group>, std::io::Error> {
        let stored = StoredReplica { history: LogId::default(), replica };
        stored.save(&self.parts, GroupId::CONTROL).await?;
        let identity = GroupIdentity { group: GroupId::CONTROL, history: stored.history, replica };
        let group = Group::open(identity, self.parts.clone()).await?;
        self.registry.insert(Arc::clone(&group));
        Ok(group)
    }

    async fn found(&self, founders: BTreeMap<NodeId, Incarnation>) -> Result<(), std::io::Error> {
        *self.founding.founders.lock() = founders.clone();
        let group = self.open(ReplicaId(self.own.0)).await?;
        if founders.keys().next() == Some(&self.own) {
            tracing::info!(nodes = founders.len(), "founding the cluster");
            let voters = founders.keys().map(|node| (ReplicaId(node.0), *node)).collect();
            group.initialize(voters).await?;
        }
        let cluster = ClusterId::from_u128(
            u128::from(meridian_raft::runtime::next_random()) << 64
                | u128::from(meridian_raft::runtime::next_random()),
        );
        let records = self.config.cluster.nodes.iter().filter_map(|node| {
            let incarnation = *founders.get(&NodeId(node.id))?;
            Some(NodeRecord {
                node: NodeId(node.id),
                incarnation,
                addresses: NodeAddresses { client: node.client.clone(), raft: node.raft.clone() },
                zone: node.zone.clone(),
                control_replica: ReplicaId(node.id),
            })
        });
        let form =
            ControlChange::Form { cluster, name: self.config.cluster.name.clone(), nodes: records.collect() };
        // Whoever was elected forms the cluster; the others see it formed.
        loop {
            if self.control.look(|machine| machine.cluster_id().is_some()) == Some(true) {
                return self.register().await;
            }
            if group.is_leader()
                && let Err(error) = self.control.propose_here(form.clone()).await
            {
                tracing::debug!(%error, "forming the cluster");
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Says where this node listens now.
    async fn register(&self) -> Result<(), std::io::Error> {
        self.register_until_known().await.map(drop)
    }

    /// Retries for ever while nobody answers; a refusal is final.
    async fn register_until_known(&self) -> Result<ReplicaId, std::io::Error> {
        loop {
            let record = NodeRecord {
                node: self.own,
                incarnation: self.incarnation,
                addresses: self.addresses.clone(),
                zone: self.config.node.zone.clone(),
                control_replica: ReplicaId(0),
            };
            match self.control.change(ControlChange::RegisterNode { record }, REGISTER_MAX).await {
                Ok(changed) => {
                    if let ControlDone::NodeRegistered { control_replica, replaced } = changed.done {
                        tracing::info!(%control_replica, replaced, index = changed.index, "registered");
                        return Ok(control_replica);
                    }
                }
                // The leader has not applied the forming yet.
                Err(ControlError::Refused { refusal: ControlRefusal::NotFormed, .. }) => {}
                Err(error @ ControlError::Refused { .. }) => {
                    return Err(std::io::Error::other(format!("the cluster refuses this node: {error}")));
                }
                Err(error @ ControlError::Foreign(_)) => {
                    tracing::error!(%error, "this node is not let in where cluster.nodes says");
                }
                Err(error) => tracing::info!(%error, "cannot register yet"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// After damage: waits until every group that this node should have a copy of is served by others. Before that
    /// the data set aside may be what is missing for a quorum, and asking for new copies would make it worthless.
    async fn await_quorums(&self) -> Result<(), std::io::Error> {
        let Some(folder) = self.folder.as_deref().filter(|folder| !folder::is_rejoining(folder)) else {
            return Ok(());
        };
        let founders = || self.config.cluster.nodes.iter().map(|node| NodeId(node.id));
        let (mut said, mut pause) = (String::new(), RETRY_AFTER);
        loop {
            let elsewhere = self.prober.elsewhere(founders()).await;
            let lacking: Vec<String> = elsewhere.lacking().map(|group| group.to_string()).collect();
            if elsewhere.held.contains(&GroupId::CONTROL) && lacking.is_empty() {
                return folder::note_rejoining(folder);
            }
            let lacking = match lacking.is_empty() {
                true => "nothing is known of them".to_string(),
                false => lacking.join(", "),
            };
            if lacking != said {
                tracing::warn!(
                    lacking,
                    "damaged data was set aside here, and without it these groups have no quorum: this node waits \
                     for other nodes, or for `meridian recover`"
                );
                said = lacking;
            }
            // Each question costs the others a round of every group.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(WAITING_PAUSE_MAX);
        }
    }

    /// Asks the cluster for a control replica of this life, and opens it empty: the leader fills it.
    async fn join(&self) -> Result<(), std::io::Error> {
        if self.may_only_join {
            self.await_quorums().await?;
        }
        tracing::info!("joining the cluster with an empty disk");
        let replica = self.register_until_known().await?;
        self.open(replica).await?;
        Ok(())
    }
}

fn incarnation_of(bytes: &[u8]) -> Option<Incarnation> {
    Some(Incarnation(bytes.try_into().ok()?))
}
