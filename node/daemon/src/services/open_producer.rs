//! Opening a producer: a name gets its next epoch, and the fence stands in every partition before we answer.

use std::sync::Arc;
use std::time::Duration;

use meridian_machine::Command;
use meridian_machine::command::PartitionCommand;
use meridian_machine::control::{ControlChange, ControlDone};
use meridian_machine::partition::PartitionReply;
use meridian_model::topology::Placement;
use meridian_model::{ProducerId, TopicName, UnixMs};
use meridian_proto::internal as pb;
use meridian_proto::requests::topic_name;
use meridian_proto::v1::{ErrorReason, Failure, OpenProducerRequest, OpenProducerResponse};
use meridian_publish::{Leader, Routes};
use meridian_raft::network::Links;
use meridian_raft::{ProposeError, Registry, Reply};
use tokio::time::Instant;

use super::answers::{of_control, of_refusal, of_route};
use crate::control_plane::ControlPlane;
use crate::routes::Routing;

const PATIENCE: Duration = Duration::from_secs(10);
const FENCE_MAX: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Opens producers.
pub(crate) struct Producers {
    pub(crate) routing: Arc<Routing>,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) links: Arc<Links>,
}

impl Producers {
    /// Opens a producer, named or not.
    pub(crate) async fn open(&self, request: OpenProducerRequest) -> Result<OpenProducerResponse, Failure> {
        let topic = topic_name(&request.topic)?;
        let partitions = self.routing.partitions(&topic).map_err(|error| of_route(&error))?;
        if request.name.is_empty() {
            return Ok(self.unnamed());
        }
        meridian_model::name::check("name", &request.name)
            .map_err(|error| Failure::invalid("name", error.to_string().trim_start_matches("name: ")))?;
        let change = ControlChange::OpenProducer {
            topic: topic.clone(),
            name: request.name,
            request_id: request.request_id,
        };
        let changed = self.control.change(change, PATIENCE).await.map_err(|error| of_control(&error))?;
        let ControlDone::ProducerOpened { producer, epoch } = changed.done else {
            return Err(Failure::new(ErrorReason::Internal, "the control group answered something else"));
        };
        let fences = (0..partitions).map(|partition| self.fence(&topic, partition, producer, epoch));
        for fenced in futures::future::join_all(fences).await {
            fenced?;
        }
        let opened_at_ms = self.links.clocks().now().0;
        Ok(OpenProducerResponse { producer_id: producer.0.to_vec().into(), epoch, opened_at_ms })
    }

    fn unnamed(&self) -> OpenProducerResponse {
        let high = u128::from(meridian_raft::runtime::next_random());
        let producer =
            ProducerId::from_u128(high << 64 | u128::from(meridian_raft::runtime::next_random()) | 1);
        let opened_at_ms = self.links.clocks().now().0;
        OpenProducerResponse { producer_id: producer.0.to_vec().into(), epoch: 1, opened_at_ms }
    }

    /// Commits the fence in one partition, wherever it is led.
    pub(super) async fn fence(
        &self,
        topic: &TopicName,
        partition: u32,
        producer: ProducerId,
        epoch: u32,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let placement = self.routing.placement(topic, partition).map_err(|error| of_route(&error))?;
            let reply = match self.routing.leader_of(&placement) {
                Leader::Here => self.fence_here(&placement, producer, epoch).await,
                Leader::Elsewhere(node) => {
                    let request = pb::FenceRequest {
                        group: placement.group.0,
                        producer_id: producer.0.to_vec().into(),
                        epoch,
                    };
                    let answer = match self.links.client(node) {
                        Ok(mut client) => tokio::time::timeout(FENCE_MAX, client.fence(request)).await.ok(),
                        Err(_) => None,
                    };
                    let reply = match answer {
                        Some(Ok(answer)) => reply_of(answer.into_inner()),
                        _ => Ok(None),
                    };
                    if matches!(reply, Ok(None)) {
                        self.routing.failed(placement.group, node);
                    }
                    reply
                }
                Leader::Unknown => Ok(None),
            };
            if let Some(done) = reply? {
                return done;
            }
            if Instant::now() >= deadline {
                let why = format!("partition {partition} has no leader; the producer is not open, try again");
                return Err(Failure::new(ErrorReason::Unavailable, why));
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn fence_here(
        &self,
        placement: &Placement,
        producer: ProducerId,
        epoch: u32,
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        reply_of(self.serve(placement.group.0, producer, epoch).await)
    }

    /// Commits a fence in a group led here.
    pub(crate) async fn serve(&self, group: u64, producer: ProducerId, epoch: u32) -> pb::FenceResponse {
        let again = pb::FenceResponse { not_leader: true, ..Default::default() };
        let Some(group) = self.registry.get(group.into()) else { return again };
        let stamp: UnixMs = group.stamp();
        let command = Command::Partition(PartitionCommand::Fence { stamp, producer, epoch });
        match group.propose(&command, FENCE_MAX).await {
            Ok((_, Reply::Partition(PartitionReply::Fenced { .. }))) => pb::FenceResponse::default(),
            Ok((_, Reply::Partition(PartitionReply::FenceStale { current }))) => {
                pb::FenceResponse { stale_current: Some(current), ..Default::default() }
            }
            Ok((_, Reply::Partition(PartitionReply::FenceRefused(refusal)))) => {
                let failure = of_refusal(&refusal);
                pb::FenceResponse {
                    refused_reason: failure.reason,
                    refused: failure.message,
                    ..Default::default()
                }
            }
            // A fence may be repeated, so an unknown outcome is asked again.
            Ok(_)
            | Err(
                ProposeError::NotLeader { .. }
                | ProposeError::Unavailable(_)
                | ProposeError::Indeterminate(_),
            ) => again,
        }
    }
}

fn reply_of(answer: pb::FenceResponse) -> Result<Option<Result<(), Failure>>, Failure> {
    if answer.not_leader {
        return Ok(None);
    }
    if let Some(current) = answer.stale_current {
        let why = format!("another producer of this name took over with epoch {current}");
        return Err(Failure::new(ErrorReason::StaleEpoch, why).with("current", current));
    }
    if !answer.refused.is_empty() {
        let reason = ErrorReason::try_from(answer.refused_reason).unwrap_or(ErrorReason::Internal);
        return Err(Failure::new(reason, answer.refused));
    }
    Ok(Some(Ok(())))
}
