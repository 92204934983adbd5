//! The state of the cluster as one node sees it.

use futures::FutureExt;
use meridian_proto::admin as wire;

use super::types::cluster_from_wire;
use super::{Admin, ClusterInfo, service};
use crate::Error;
use crate::{Client, address};

impl Admin {
    /// Nodes and, where asked for, every group on the answering node. Any node answers, also without a quorum.
    pub async fn get_cluster(&self, groups: bool) -> Result<ClusterInfo, Error> {
        let call = self.shared.call("get cluster", |channel| {
            async move { service(channel).get_cluster(wire::GetClusterRequest { groups }).await }.boxed()
        });
        cluster_from_wire(call.await?)
    }

    /// The same as one certain node sees it: `server` is `host:port`, asked alone.
    pub async fn get_cluster_at(&self, server: &str, groups: bool) -> Result<ClusterInfo, Error> {
        let mut config = self.shared.config.clone();
        config.servers = vec![address::parse(server)?];
        Client::new(config)?.admin().get_cluster(groups).await
    }
}
