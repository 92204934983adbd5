//! `MetadataService`: where the leaders are.

use std::sync::Arc;

use meridian_proto::v1::metadata_service_server::MetadataService;
use meridian_proto::v1::{
    ErrorReason, Failure, LookupTopicRequest, LookupTopicResponse, NodeLocation, PartitionLocation,
};
use meridian_publish::Leader;
use tonic::{Request, Response, Status};

use super::answers::topic_name;
use crate::routes::Routing;

/// Answers from what this node knows.
#[derive(Clone)]
pub(crate) struct Metadata {
    pub(crate) routing: Arc<Routing>,
}

#[tonic::async_trait]
impl MetadataService for Metadata {
    async fn lookup_topic(
        &self,
        request: Request<LookupTopicRequest>,
    ) -> Result<Response<LookupTopicResponse>, Status> {
        let name = topic_name(&request.into_inner().topic)?;
        let found = self.routing.control.look(|machine| {
            let nodes: Vec<NodeLocation> = machine
                .nodes()
                .map(|record| NodeLocation {
                    node: record.node.0,
                    address: record.addresses.client.clone(),
                    zone: record.zone.clone(),
                })
                .collect();
            (machine.topic(&name).cloned(), nodes)
        });
        let not_ready = || Failure::new(ErrorReason::Unavailable, "this node does not know the cluster yet");
        let (topic, nodes) = found.ok_or_else(not_ready)?;
        let missing = || {
            Failure::new(ErrorReason::NotFound, format!("topic {name} does not exist")).with("field", "topic")
        };
        let topic = topic.ok_or_else(missing)?;
        let partitions = topic.partitions.iter().enumerate().map(|(number, placement)| PartitionLocation {
            partition: number as u32,
            log_id: placement.log.0.to_vec().into(),
            leader_node: match self.routing.leader_of(placement) {
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
