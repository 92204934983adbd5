//! The region's metadata: tenants, namespaces, topics, subscriptions, and the state of the cluster.

mod cluster;
mod node;
mod subscription;
mod subscription_types;
mod tenant;
mod topic;
mod types;

use std::sync::Arc;

use meridian_model::limits;
use meridian_proto::admin::admin_service_client::AdminServiceClient;
use tonic::transport::Channel;

pub use subscription_types::{
    MovedPartition, NewSubscription, Standing, StandingInfo, SubscriptionCreated, SubscriptionDeleted,
    SubscriptionInfo, SubscriptionSettings, SubscriptionStandings,
};
pub use types::{
    Changed, ClusterInfo, Created, Deleted, GroupInfo, NewTopic, NodeDuty, NodeInfo, PartitionInfo,
    PartitionsAdded, TopicInfo,
};

use crate::client::Shared;

/// How many rows one page of a listing asks for.
const PAGE_ROWS: u32 = 500;

/// All calls of the admin services. Each is made at any node, retried under one request id until the operation
/// timeout, and takes effect at most once. Dropping a call's future abandons it; it may still take effect.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

impl Admin {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn request_id(&self) -> String {
        self.shared.random.request_id()
    }
}

fn service(channel: Channel) -> AdminServiceClient<Channel> {
    AdminServiceClient::new(channel).max_decoding_message_size(limits::RPC_BYTES_MAX)
}
