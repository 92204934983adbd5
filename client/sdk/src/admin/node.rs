//! Taking nodes out, for a while or for good.

use futures::FutureExt;
use meridian_model::NodeId;
use meridian_proto::admin as wire;

use super::{Admin, service};
use crate::Error;

impl Admin {
    /// Lets a node lead nothing, or (`undo`) lead again. Returns the control index at which it took effect;
    /// leaders are handed over after that, see [`NodeInfo::leads`](super::NodeInfo). Repeating is harmless.
    pub async fn drain_node(&self, node: NodeId, undo: bool) -> Result<u64, Error> {
        let request = wire::DrainNodeRequest { node: node.0, undo };
        let call = self.shared.change("drain node", |channel| {
            async move { service(channel).drain_node(request).await }.boxed()
        });
        call.await.map(|response| response.control_index)
    }

    /// Moves every copy off a node and forgets it, or (`undo`) lets it stay. Returns the control index at which
    /// it took effect; copies move after that, see [`NodeInfo::copies`](super::NodeInfo). Repeating is harmless.
    pub async fn decommission_node(&self, node: NodeId, undo: bool) -> Result<u64, Error> {
        let request = wire::DecommissionNodeRequest { node: node.0, undo };
        let call = self.shared.change("decommission node", |channel| {
            async move { service(channel).decommission_node(request).await }.boxed()
        });
        call.await.map(|response| response.control_index)
    }
}
