//! `PeerService`: Raft's lanes and the few questions nodes ask each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meridian_dispatch::Room;
use meridian_model::{GroupId, Incarnation, NodeId};
use meridian_proto::internal as pb;
use meridian_proto::internal::peer_service_server::PeerService;
use meridian_proto::requests;
use meridian_raft::Registry;
use meridian_raft::network::{Links, RaftService, Speaker};
use tonic::{Request, Response, Status, Streaming};

use super::attach::{self, AttachStream};
use super::open_producer::Producers;
use super::standing::Standings;
use crate::control_plane::ControlPlane;
use crate::entrance;
use crate::formation::Founding;

/// How long a quorum may take to confirm a leader, for a node that asks who serves its groups.
const CONFIRM_MAX: Duration = Duration::from_secs(1);

/// What other nodes may ask of this one.
pub(crate) struct Peer {
    pub(crate) own: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) raft: RaftService,
    pub(crate) links: Arc<Links>,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) founding: Arc<Founding>,
    pub(crate) producers: Arc<Producers>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) standings: Arc<Standings>,
    pub(crate) room: Arc<Room>,
}

/// For whom the other end may speak.
fn speaker<T>(request: &Request<T>) -> Speaker {
    match request.extensions().get::<entrance::Peer>().and_then(entrance::Peer::nodes) {
        Some(nodes) => Speaker::Proved(nodes.to_vec()),
        None => Speaker::Believed,
    }
}

impl Peer {
    /// Those of the groups that this node leads, confirmed by a quorum now.
    async fn led(&self, groups: &[u64]) -> Vec<u64> {
        let here = groups.iter().filter_map(|id| self.registry.get(GroupId(*id)));
        let led = here
            .filter(|group| group.is_leader())
            .map(|group| async move { group.linearizable(CONFIRM_MAX).await.ok().map(|_| group.id().0) });
        futures::future::join_all(led).await.into_iter().flatten().collect()
    }

    fn addresses(&self) -> BTreeMap<u64, String> {
        let known = self.control.look(|machine| {
            machine.nodes().map(|record| (record.node.0, record.addresses.raft.clone())).collect()
        });
        known.unwrap_or_default()
    }

    fn held_by(&self, node: NodeId) -> Vec<u64> {
        let held = self.control.look(|machine| machine.held_by(node).map(|group| group.0).collect());
        held.unwrap_or_default()
    }
}

#[tonic::async_trait]
impl PeerService for Peer {
    type AttachStream = AttachStream;
    type ExchangeStream = meridian_raft::network::ExchangeStream;

    async fn attach(
        &self,
        request: Request<Streaming<pb::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let speaker = speaker(&request);
        let mut requests = request.into_inner();
        let open = attach::opening(&mut requests).await?;
        speaker.check(open.from_node)?;
        Ok(Response::new(attach::attach(&self.room, open, requests)?))
    }

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
        let cluster_name = request.cluster_name;
        self.control.admit(&pb::Membership { cluster_name, ..Default::default() })?;
        let pb::Membership { cluster_name, cluster_id } = self.control.membership();
        let founders = self.founding.founders().into_iter();
        let held = if request.with_groups { self.held_by(NodeId(request.from_node)) } else { Vec::new() };
        Ok(Response::new(pb::ProbeResponse {
            node: self.own.0,
            incarnation: self.incarnation.0.to_vec().into(),
            cluster_name,
            cluster_id,
            clock_ms: self.links.clocks().now().0,
            founders: founders.map(|(node, life)| (node.0, life.0.to_vec().into())).collect(),
            led_groups: self.led(&held).await,
            held_groups: held,
            raft_addresses: self.addresses(),
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
        Ok(Response::new(self.control.serve_read_index(request.into_inner()).await?))
    }

    async fn fence(&self, request: Request<pb::FenceRequest>) -> Result<Response<pb::FenceResponse>, Status> {
        let request = request.into_inner();
        let producer = requests::producer(&request.producer_id)?;
        Ok(Response::new(self.producers.serve(request.group, producer, request.epoch).await))
    }

    async fn get_standing(
        &self,
        request: Request<pb::GetStandingRequest>,
    ) -> Result<Response<pb::GetStandingResponse>, Status> {
        speaker(&request).check(request.get_ref().from_node)?;
        Ok(Response::new(self.standings.serve_standing(request.get_ref())))
    }

    async fn move_subscription(
        &self,
        request: Request<pb::MoveSubscriptionRequest>,
    ) -> Result<Response<pb::MoveSubscriptionResponse>, Status> {
        speaker(&request).check(request.get_ref().from_node)?;
        Ok(Response::new(self.standings.serve_move(request.into_inner()).await))
    }

    async fn state_digests(
        &self,
        request: Request<pb::StateDigestsRequest>,
    ) -> Result<Response<pb::StateDigestsResponse>, Status> {
        speaker(&request).check(request.get_ref().from_node)?;
        let groups = self.registry.all();
        let of = |group: &Arc<meridian_raft::Group>| {
            let id = group.id().0;
            let digests = group.view().digests().into_iter();
            digests.map(move |taken| pb::StateDigest {
                group: id,
                index: taken.index,
                digest: taken.digest.to_vec().into(),
            })
        };
        Ok(Response::new(pb::StateDigestsResponse { digests: groups.iter().flat_map(of).collect() }))
    }
}
