//! `MetadataService`: where the leaders are.

use std::sync::Arc;
use std::time::Duration;

use meridian_model::TopicName;
use meridian_model::topology::Topic;
use meridian_proto::requests::topic_name;
use meridian_proto::v1::metadata_service_server::MetadataService;
use meridian_proto::v1::{
    ErrorReason, Failure, LookupTopicRequest, LookupTopicResponse, NodeLocation, PartitionLocation,
};
use meridian_publish::Leader;
use tonic::{Request, Response, Status};

use super::answers::of_control;
use crate::routes::Routing;

/// How long a quorum may take to confirm that a topic does not exist.
const CONFIRM_MAX: Duration = Duration::from_secs(3);

/// Answers from what this node knows.
#[derive(Clone)]
pub(crate) struct Metadata {
    pub(crate) routing: Arc<Routing>,
}

impl Metadata {
    fn find(&self, name: &TopicName) -> Result<(Option<Topic>, Vec<NodeLocation>), Failure> {
        let found = self.routing.control.look(|machine| {
            let nodes = machine.nodes().map(|record| NodeLocation {
                node: record.node.0,
                address: record.addresses.client.clone(),
                zone: record.zone.clone(),
            });
            (machine.topic(name).cloned(), nodes.collect())
        });
        let not_ready = || Failure::new(ErrorReason::Unavailable, "this node does not know the cluster yet");
        found.ok_or_else(not_ready)
    }
}

#[tonic::async_trait]
impl MetadataService for Metadata {
    async fn lookup_topic(
        &self,
        request: Request<LookupTopicRequest>,
    ) -> Result<Response<LookupTopicResponse>, Status> {
        let name = topic_name(&request.into_inner().topic)?;
        let (mut topic, mut nodes) = self.find(&name)?;
        if topic.is_none() {
            // "Does not exist" is for good: a node that lags behind must not say it of a topic it has not heard of.
            let confirmed = self.routing.control.linearizable(CONFIRM_MAX).await;
            confirmed.map_err(|error| of_control(&error))?;
            (topic, nodes) = self.find(&name)?;
        }
        let missing = || {
            Failure::new(ErrorReason::NotFound, format!("topic {name} does not exist")).with("field", "topic")
        };
        let topic = topic.ok_or_else(missing)?;
        let partitions = topic.partitions.iter().enumerate().map(|(number, placement)| PartitionLocation {
            partition: number as u32,
            log_id: placement.log.0.to_vec().into(),
            leader_node: match self.routing.leader_for_clients(placement) {
                Leader::Here => Some(self.routing.own.0),
                Leader::Elsewhere(node) => Some(node.0),
                Leader::Unknown => None,
            },
            replica_nodes: placement.replicas.iter().map(|replica| replica.node.0).collect(),
        });
        Ok(Response::new(LookupTopicResponse {
            topic: name.resource(),
            partitions: partitions.collect(),
            nodes,
        }))
    }
}
