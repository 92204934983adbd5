//! Asking other nodes who they are, and which groups have a quorum without this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meridian_model::{GroupId, Incarnation, NodeId};
use meridian_proto::internal as pb;
use meridian_raft::network::Links;

const PROBE_MAX: Duration = Duration::from_secs(2);

/// Asks in the name of this node.
#[derive(Clone)]
pub(crate) struct Prober {
    pub(crate) own: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster_name: String,
    pub(crate) links: Arc<Links>,
}

/// What the other nodes say of groups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// Those with a leader elsewhere whose quorum has just confirmed it: no vote from here is needed.
    pub(crate) led: BTreeSet<GroupId>,
    /// The groups of which this node should hold a copy.
    pub(crate) held: BTreeSet<GroupId>,
}

impl Elsewhere {
    /// Groups of which this node should hold a copy, and that nobody can serve without it.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = GroupId> {
        self.held.difference(&self.led).copied()
    }
}

impl Prober {
    /// Asks one node, or says why it does not answer.
    pub(crate) async fn ask(&self, node: NodeId) -> Result<pb::ProbeResponse, String> {
        self.ask_for(node, false).await
    }

    async fn ask_for(&self, node: NodeId, with_groups: bool) -> Result<pb::ProbeResponse, String> {
        let mut client = self.links.client(node).map_err(|error| error.to_string())?;
        let request = pb::ProbeRequest {
            from_node: self.own.0,
            cluster_name: self.cluster_name.clone(),
            incarnation: self.incarnation.0.to_vec().into(),
            with_groups,
        };
        match tokio::time::timeout(PROBE_MAX, client.probe(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status.message().to_string()),
            Err(_) => Err("no answer".into()),
        }
    }

    /// Asks these nodes and every node that they know.
    pub(crate) async fn elsewhere(&self, nodes: impl IntoIterator<Item = NodeId>) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        let mut asked = BTreeSet::from([self.own]);
        let mut next: BTreeSet<NodeId> = nodes.into_iter().collect();
        while !next.is_empty() {
            let now = std::mem::take(&mut next);
            let now: Vec<NodeId> = now.into_iter().filter(|node| asked.insert(*node)).collect();
            let answers =
                futures::future::join_all(now.into_iter().map(|node| self.ask_for(node, true))).await;
            for answer in answers.into_iter().flatten() {
                elsewhere.led.extend(answer.led_groups.into_iter().map(GroupId));
                elsewhere.held.extend(answer.held_groups.into_iter().map(GroupId));
                let known: BTreeMap<u64, String> = answer.raft_addresses.into_iter().collect();
                for (node, address) in known {
                    self.links.addresses().set(NodeId(node), &address);
                    next.insert(NodeId(node));
                }
            }
        }
        elsewhere
    }
}
