//! `PeerService`: Raft's lanes and the few questions nodes ask each other.

use std::sync::Arc;

use meridian_model::{Incarnation, NodeId, ProducerId};
use meridian_proto::internal as pb;
use meridian_proto::internal::peer_service_server::PeerService;
use meridian_raft::network::{Links, RaftService, Speaker};
use tonic::{Request, Response, Status, Streaming};

use super::open_producer::Producers;
use crate::control_plane::ControlPlane;
use crate::entrance;
use crate::formation::Founding;

/// What other nodes may ask of this one.
pub(crate) struct Peer {
    pub(crate) own: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster_name: String,
    pub(crate) raft: RaftService,
    pub(crate) links: Arc<Links>,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) founding: Arc<Founding>,
    pub(crate) producers: Arc<Producers>,
}

/// For whom the other end may speak.
fn speaker<T>(request: &Request<T>) -> Speaker {
    match request.extensions().get::<entrance::Peer>().and_then(entrance::Peer::nodes) {
        Some(nodes) => Speaker::Proved(nodes.to_vec()),
        None => Speaker::Believed,
    }
}

#[tonic::async_trait]
impl PeerService for Peer {
    type ExchangeStream = meridian_raft::network::ExchangeStream;

    async fn exchange(
        &self,
        request: Request<Streaming<pb::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        self.raft.exchange(&speaker(&request), request.into_inner()).await
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<pb::SendSnapshotRequest>>,
    ) -> Result<Response<pb::SendSnapshotResponse>, Status> {
        self.raft.send_snapshot(&speaker(&request), request.into_inner()).await
    }

    async fn probe(&self, request: Request<pb::ProbeRequest>) -> Result<Response<pb::ProbeResponse>, Status> {
        let speaker = speaker(&request);
        let request = request.into_inner();
        speaker.check(request.from_node)?;
        if request.cluster_name != self.cluster_name {
            let why = format!("this is cluster {:?}, not {:?}", self.cluster_name, request.cluster_name);
            return Err(Status::failed_precondition(why));
        }
        let formed = self.control.look(|machine| machine.cluster_id()).flatten();
        let known = formed.unwrap_or_else(|| self.links.addresses().cluster());
        let cluster_id = if known.is_nil() { Vec::new() } else { known.0.to_vec() };
        let founders = self.founding.founders().into_iter();
        Ok(Response::new(pb::ProbeResponse {
            node: self.own.0,
            incarnation: self.incarnation.0.to_vec().into(),
            cluster_name: self.cluster_name.clone(),
            cluster_id: cluster_id.into(),
            clock_ms: self.links.clocks().now().0,
            founders: founders.map(|(node, life)| (node.0, life.0.to_vec().into())).collect(),
        }))
    }

    async fn propose_control(
        &self,
        request: Request<pb::ProposeControlRequest>,
    ) -> Result<Response<pb::ProposeControlResponse>, Status> {
        speaker(&request).check(request.get_ref().from_node)?;
        Ok(Response::new(self.control.serve(request.into_inner()).await?))
    }

    async fn read_control_index(
        &self,
        request: Request<pb::ReadControlIndexRequest>,
    ) -> Result<Response<pb::ReadControlIndexResponse>, Status> {
        speaker(&request).check(request.get_ref().from_node)?;
        Ok(Response::new(self.control.serve_read_index().await))
    }

    async fn fence(&self, request: Request<pb::FenceRequest>) -> Result<Response<pb::FenceResponse>, Status> {
        let request = request.into_inner();
        let producer: [u8; 16] =
            request.producer_id.as_ref().try_into().map_err(|_| Status::invalid_argument("producer_id"))?;
        Ok(Response::new(self.producers.serve(request.group, ProducerId(producer), request.epoch).await))
    }
}
