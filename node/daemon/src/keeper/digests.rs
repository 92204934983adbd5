//! Compares the tables of this node's replicas with those of other nodes, at the indexes where all of them took a
//! digest. A difference is said, and counted; nothing is repaired, since nobody knows which of them is right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_model::{GroupId, NodeId};
use meridian_proto::internal as pb;

use super::Keeper;

/// How often others are asked.
const EVERY: Duration = Duration::from_secs(10);
const ASK_MAX: Duration = Duration::from_secs(5);

pub(super) async fn keep(keeper: Keeper) {
    // What was compared with each node, by group: the highest index.
    let mut seen = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let nodes = keeper.control.look(|machine| machine.nodes().map(|record| record.node).collect());
        let nodes: BTreeSet<NodeId> = nodes.unwrap_or_default();
        let is_there =
            |group: GroupId, node: NodeId| nodes.contains(&node) && keeper.registry.get(group).is_some();
        seen.retain(|(node, group), _| is_there(*group, *node));
        keeper.comparison.forget(is_there);
        for node in nodes.into_iter().filter(|node| *node != keeper.own) {
            match keeper.digests_of(node).await {
                Ok(digests) => keeper.compare(node, &digests, &mut seen),
                Err(why) => tracing::debug!(%node, why, "no digests to compare"),
            }
        }
    }
}

impl Keeper {
    async fn digests_of(&self, node: NodeId) -> Result<Vec<pb::StateDigest>, String> {
        let mut client = self.parts.links.client(node).map_err(|error| error.to_string())?;
        let request = pb::StateDigestsRequest { from_node: self.own.0 };
        match tokio::time::timeout(ASK_MAX, client.state_digests(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner().digests),
            Ok(Err(status)) => Err(status.message().to_string()),
            Err(_) => Err("no answer".into()),
        }
    }

    fn compare(&self, node: NodeId, theirs: &[pb::StateDigest], seen: &mut BTreeMap<(NodeId, GroupId), u64>) {
        for their in theirs {
            let id = GroupId(their.group);
            let Some(group) = self.registry.get(id) else { continue };
            let ours = group.view().digests().into_iter().find(|our| our.index == their.index);
            let last = seen.entry((node, id)).or_default();
            let Some(our) = ours.filter(|our| our.index > *last) else { continue };
            *last = our.index;
            let same = our.digest[..] == their.digest[..];
            if self.comparison.note(id, node, our.index, same) {
                tracing::error!(
                    group = %id, %node, index = our.index,
                    "the tables of two replicas differ after the same entry: one of them is wrong"
                );
            }
        }
    }
}
