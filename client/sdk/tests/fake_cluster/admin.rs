//! Administering the fake cluster: just enough to call every method.

use bytes::Bytes;
use meridian_proto::admin::admin_service_server::AdminService;
use meridian_proto::admin::*;
use meridian_proto::v1::{ErrorReason, Failure};
use tonic::{Request, Response, Status};

use super::{Node, State, not_found, resource};

fn topic_of(state: &State, topic: &str) -> Result<Option<Topic>, Failure> {
    let partitions = state.topics.get(topic).ok_or_else(|| not_found(topic))?;
    let partitions = partitions.iter().zip(0..).map(|(partition, number)| Partition {
        partition: number,
        group: u64::from(number) + 1,
        log_id: Bytes::copy_from_slice(&partition.log.0),
        replica_nodes: vec![1, 2, 3],
        leader_node: Some(partition.leader),
    });
    Ok(Some(Topic {
        topic: topic.into(),
        replication: 3,
        retention: state.retentions.get(topic).copied(),
        partitions: partitions.collect(),
        etag: "7".into(),
        deleting: false,
    }))
}

fn exists(what: &str) -> Status {
    Failure::new(ErrorReason::AlreadyExists, format!("{what} exists already")).into()
}

#[tonic::async_trait]
impl AdminService for Node {
    async fn create_tenant(
        &self,
        request: Request<CreateTenantRequest>,
    ) -> Result<Response<CreateTenantResponse>, Status> {
        self.alive()?;
        self.cluster.with(|state| state.tenants.push(request.into_inner().tenant));
        Ok(Response::new(CreateTenantResponse { control_index: 1 }))
    }

    async fn delete_tenant(
        &self,
        request: Request<DeleteTenantRequest>,
    ) -> Result<Response<DeleteTenantResponse>, Status> {
        let tenant = request.into_inner().tenant;
        self.cluster.with(|state| state.tenants.retain(|t| *t != tenant));
        Ok(Response::new(DeleteTenantResponse { control_index: 2 }))
    }

    /// One a page, so that paging is tried.
    async fn list_tenants(
        &self,
        request: Request<ListTenantsRequest>,
    ) -> Result<Response<ListTenantsResponse>, Status> {
        let at: usize = request.into_inner().page_token.parse().unwrap_or(0);
        let tenants = self.cluster.with(|state| state.tenants.clone());
        let next_page_token = if at + 1 < tenants.len() { (at + 1).to_string() } else { String::new() };
        let tenants = tenants.into_iter().skip(at).take(1).collect();
        Ok(Response::new(ListTenantsResponse { tenants, next_page_token, control_index: 2 }))
    }

    async fn create_namespace(
        &self,
        request: Request<CreateNamespaceRequest>,
    ) -> Result<Response<CreateNamespaceResponse>, Status> {
        let request = request.into_inner();
        self.cluster.with(|state| state.namespaces.push((request.tenant, request.namespace)));
        Ok(Response::new(CreateNamespaceResponse { control_index: 3 }))
    }

    async fn delete_namespace(
        &self,
        request: Request<DeleteNamespaceRequest>,
    ) -> Result<Response<DeleteNamespaceResponse>, Status> {
        let request = request.into_inner();
        self.cluster.with(|state| {
            state.namespaces.retain(|n| *n != (request.tenant.clone(), request.namespace.clone()))
        });
        Ok(Response::new(DeleteNamespaceResponse { control_index: 4 }))
    }

    async fn list_namespaces(
        &self,
        request: Request<ListNamespacesRequest>,
    ) -> Result<Response<ListNamespacesResponse>, Status> {
        let tenant = request.into_inner().tenant;
        let all = self.cluster.with(|state| state.namespaces.clone());
        let namespaces = all.into_iter().filter(|(t, _)| *t == tenant).map(|(_, n)| n).collect();
        Ok(Response::new(ListNamespacesResponse {
            namespaces,
            next_page_token: String::new(),
            control_index: 4,
        }))
    }

    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        self.alive()?;
        let request = request.into_inner();
        let topic = resource(&request.topic)?;
        if self.cluster.with(|state| state.topics.contains_key(&topic)) {
            return Err(exists(&request.topic));
        }
        self.cluster.create(&request.topic, request.partitions.max(1));
        self.cluster
            .with(|state| state.retentions.insert(topic.clone(), request.retention.unwrap_or_default()));
        let topic = self.cluster.with(|state| topic_of(state, &topic))?;
        Ok(Response::new(CreateTopicResponse { topic, control_index: 5, pending_partitions: vec![] }))
    }

    async fn get_topic(
        &self,
        request: Request<GetTopicRequest>,
    ) -> Result<Response<GetTopicResponse>, Status> {
        let topic = resource(&request.into_inner().topic)?;
        let topic = self.cluster.with(|state| topic_of(state, &topic))?;
        Ok(Response::new(GetTopicResponse { topic, control_index: 5 }))
    }

    async fn list_topics(
        &self,
        _: Request<ListTopicsRequest>,
    ) -> Result<Response<ListTopicsResponse>, Status> {
        let state = self.cluster.state.lock();
        let topics = state.topics.keys().map(|topic| topic_of(&state, topic).map(|t| t.expect("found")));
        let topics = topics.collect::<Result<_, Failure>>()?;
        Ok(Response::new(ListTopicsResponse { topics, next_page_token: String::new(), control_index: 5 }))
    }

    async fn update_topic(
        &self,
        request: Request<UpdateTopicRequest>,
    ) -> Result<Response<UpdateTopicResponse>, Status> {
        let request = request.into_inner();
        if !request.etag.is_empty() && request.etag != "7" {
            return Err(Failure::new(ErrorReason::Conflict, "the topic has changed").into());
        }
        let topic = resource(&request.topic)?;
        self.cluster
            .with(|state| state.retentions.insert(topic.clone(), request.retention.unwrap_or_default()));
        let topic = self.cluster.with(|state| topic_of(state, &topic))?;
        Ok(Response::new(UpdateTopicResponse { topic, control_index: 6, pending_partitions: vec![1] }))
    }

    async fn add_partitions(
        &self,
        request: Request<AddPartitionsRequest>,
    ) -> Result<Response<AddPartitionsResponse>, Status> {
        let request = request.into_inner();
        let topic = resource(&request.topic)?;
        let topic = self.cluster.with(|state| {
            let partitions = state.topics.get_mut(&topic).ok_or_else(|| not_found(&request.topic))?;
            while partitions.len() < request.total as usize {
                partitions.push(super::Partition::new(1_000 + partitions.len() as u64, 1));
            }
            topic_of(state, &topic)
        })?;
        let warning = "keys re-route: the order of a key holds only within its new partition".into();
        Ok(Response::new(AddPartitionsResponse { topic, control_index: 7, warning }))
    }

    async fn delete_topic(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        let topic = request.into_inner().topic;
        let found = self.cluster.with(|state| state.topics.remove(&resource(&topic).unwrap_or_default()));
        match found {
            Some(_) => Ok(Response::new(DeleteTopicResponse { control_index: 8, pending: false })),
            None => Err(not_found(&topic).into()),
        }
    }

    async fn drain_node(&self, _: Request<DrainNodeRequest>) -> Result<Response<DrainNodeResponse>, Status> {
        Err(Status::unimplemented("no node leaves here"))
    }

    async fn decommission_node(
        &self,
        _: Request<DecommissionNodeRequest>,
    ) -> Result<Response<DecommissionNodeResponse>, Status> {
        Err(Status::unimplemented("no node leaves here"))
    }

    async fn get_cluster(
        &self,
        request: Request<GetClusterRequest>,
    ) -> Result<Response<GetClusterResponse>, Status> {
        self.alive()?;
        let nodes = self.cluster.addresses.iter().zip(1..).map(|(address, node)| NodeStatus {
            node,
            client_address: address.clone(),
            raft_address: address.clone(),
            zone: format!("zone-{node}"),
            reachable: node != 3,
            clock_offset_ms: (node != 3).then_some(-2),
            ..Default::default()
        });
        let group = GroupStatus {
            group: 1,
            topic: "t".into(),
            leader_node: Some(1),
            term: 4,
            log_end: 9,
            ..Default::default()
        };
        let groups = if request.into_inner().groups { vec![group] } else { vec![] };
        Ok(Response::new(GetClusterResponse {
            cluster_id: Bytes::from(vec![9; 16]),
            name: "fake".into(),
            answering_node: self.number,
            nodes: nodes.collect(),
            groups,
            version: "0.1.0".into(),
        }))
    }
}
