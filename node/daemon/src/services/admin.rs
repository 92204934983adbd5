//! `AdminService`: the region's metadata and its state.

mod status;
mod subscriptions;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use meridian_machine::control::{ControlChange, ControlMachine, Duty};
use meridian_model::NodeId;
use meridian_proto::admin as pb;
use meridian_proto::admin::admin_service_server::AdminService;
use meridian_proto::v1::{ErrorReason, Failure};
use tonic::{Request, Response, Status};

pub(crate) use self::subscriptions::{Subscriptions, settings as subscription_settings};
use super::answers::of_control;
use crate::control_plane::{Changed, ControlPlane};
use crate::routes::Routing;

const PATIENCE: Duration = Duration::from_secs(10);
const PAGE_MAX: usize = 1_000;

/// Serves operators.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) routing: Arc<Routing>,
    pub(crate) cluster_name: String,
}

impl Admin {
    async fn change(&self, change: ControlChange) -> Result<Changed, Failure> {
        self.control.change(change, PATIENCE).await.map_err(|error| of_control(&error))
    }

    /// Looks at a state at least as new as everything acknowledged before, and says which index it is of.
    async fn look_now<R>(&self, look: impl FnOnce(&ControlMachine) -> R) -> Result<(R, u64), Failure> {
        self.control.linearizable(PATIENCE).await.map_err(|error| of_control(&error))?;
        // More may have been applied meanwhile: the index belongs to what is looked at, not to what was awaited.
        self.look(|machine| (look(machine), machine.last_applied().index))
    }

    /// Draining, or its end, is not meant to let a node stay that should leave.
    async fn not_leaving(&self, node: NodeId) -> Result<(), Failure> {
        let (duty, _) = self.look_now(|machine| machine.duty(node)).await?;
        if duty != Duty::Leaving {
            return Ok(());
        }
        let why = format!(
            "node {node} is being decommissioned: `meridian decommission {node} --undo` lets it stay"
        );
        Err(Failure::new(ErrorReason::Conflict, why))
    }

    fn look<R>(&self, look: impl FnOnce(&ControlMachine) -> R) -> Result<R, Failure> {
        let not_ready = || Failure::new(ErrorReason::Unavailable, "this node does not know the cluster yet");
        self.control.look(look).ok_or_else(not_ready)
    }
}

/// One page of names in order: those after the token, and the token of the next page.
fn page(mut names: Vec<String>, size: u32, token: &str) -> (Vec<String>, String) {
    names.retain(|name| name.as_str() > token);
    let size = if size == 0 { PAGE_MAX } else { (size as usize).min(PAGE_MAX) };
    let more = names.len() > size;
    names.truncate(size);
    let next = if more { names.last().cloned().unwrap_or_default() } else { String::new() };
    (names, next)
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_tenant(
        &self,
        request: Request<pb::CreateTenantRequest>,
    ) -> Result<Response<pb::CreateTenantResponse>, Status> {
        let pb::CreateTenantRequest { tenant: name, request_id } = request.into_inner();
        let changed = self.change(ControlChange::CreateTenant { name, request_id }).await?;
        Ok(Response::new(pb::CreateTenantResponse { control_index: changed.index }))
    }

    async fn delete_tenant(
        &self,
        request: Request<pb::DeleteTenantRequest>,
    ) -> Result<Response<pb::DeleteTenantResponse>, Status> {
        let pb::DeleteTenantRequest { tenant: name, request_id } = request.into_inner();
        let changed = self.change(ControlChange::DeleteTenant { name, request_id }).await?;
        Ok(Response::new(pb::DeleteTenantResponse { control_index: changed.index }))
    }

    async fn list_tenants(
        &self,
        request: Request<pb::ListTenantsRequest>,
    ) -> Result<Response<pb::ListTenantsResponse>, Status> {
        let request = request.into_inner();
        let looked = self.look_now(|machine| machine.tenants().map(|tenant| tenant.name.clone()).collect());
        let (names, control_index) = looked.await?;
        let (tenants, next_page_token) = page(names, request.page_size, &request.page_token);
        Ok(Response::new(pb::ListTenantsResponse { tenants, next_page_token, control_index }))
    }

    async fn create_namespace(
        &self,
        request: Request<pb::CreateNamespaceRequest>,
    ) -> Result<Response<pb::CreateNamespaceResponse>, Status> {
        let pb::CreateNamespaceRequest { tenant, namespace: name, request_id } = request.into_inner();
        let tenant = or_default(tenant);
        let changed = self.change(ControlChange::CreateNamespace { tenant, name, request_id }).await?;
        Ok(Response::new(pb::CreateNamespaceResponse { control_index: changed.index }))
    }

    async fn delete_namespace(
        &self,
        request: Request<pb::DeleteNamespaceRequest>,
    ) -> Result<Response<pb::DeleteNamespaceResponse>, Status> {
        let pb::DeleteNamespaceRequest { tenant, namespace: name, request_id } = request.into_inner();
        let tenant = or_default(tenant);
        let changed = self.change(ControlChange::DeleteNamespace { tenant, name, request_id }).await?;
        Ok(Response::new(pb::DeleteNamespaceResponse { control_index: changed.index }))
    }

    async fn list_namespaces(
        &self,
        request: Request<pb::ListNamespacesRequest>,
    ) -> Result<Response<pb::ListNamespacesResponse>, Status> {
        let request = request.into_inner();
        let tenant = or_default(request.tenant);
        let names = |machine: &ControlMachine| machine.namespaces(&tenant).map(|n| n.name.clone()).collect();
        let (names, control_index) = self.look_now(names).await?;
        let (namespaces, next_page_token) = page(names, request.page_size, &request.page_token);
        Ok(Response::new(pb::ListNamespacesResponse { namespaces, next_page_token, control_index }))
    }

    async fn create_topic(
        &self,
        request: Request<pb::CreateTopicRequest>,
    ) -> Result<Response<pb::CreateTopicResponse>, Status> {
        Ok(Response::new(self.create(request.into_inner()).await?))
    }

    async fn get_topic(
        &self,
        request: Request<pb::GetTopicRequest>,
    ) -> Result<Response<pb::GetTopicResponse>, Status> {
        Ok(Response::new(self.describe(&request.into_inner().topic).await?))
    }

    async fn list_topics(
        &self,
        request: Request<pb::ListTopicsRequest>,
    ) -> Result<Response<pb::ListTopicsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn update_topic(
        &self,
        request: Request<pb::UpdateTopicRequest>,
    ) -> Result<Response<pb::UpdateTopicResponse>, Status> {
        Ok(Response::new(self.update(request.into_inner()).await?))
    }

    async fn add_partitions(
        &self,
        request: Request<pb::AddPartitionsRequest>,
    ) -> Result<Response<pb::AddPartitionsResponse>, Status> {
        Ok(Response::new(self.grow(request.into_inner()).await?))
    }

    async fn delete_topic(
        &self,
        request: Request<pb::DeleteTopicRequest>,
    ) -> Result<Response<pb::DeleteTopicResponse>, Status> {
        Ok(Response::new(self.delete(request.into_inner()).await?))
    }

    async fn drain_node(
        &self,
        request: Request<pb::DrainNodeRequest>,
    ) -> Result<Response<pb::DrainNodeResponse>, Status> {
        let pb::DrainNodeRequest { node, undo } = request.into_inner();
        self.not_leaving(NodeId(node)).await?;
        let duty = if undo { Duty::Serving } else { Duty::Draining };
        let changed = self.change(ControlChange::SetDuty { node: NodeId(node), duty }).await?;
        Ok(Response::new(pb::DrainNodeResponse { control_index: changed.index }))
    }

    async fn decommission_node(
        &self,
        request: Request<pb::DecommissionNodeRequest>,
    ) -> Result<Response<pb::DecommissionNodeResponse>, Status> {
        let pb::DecommissionNodeRequest { node, undo } = request.into_inner();
        let duty = if undo { Duty::Serving } else { Duty::Leaving };
        let changed = self.change(ControlChange::SetDuty { node: NodeId(node), duty }).await?;
        Ok(Response::new(pb::DecommissionNodeResponse { control_index: changed.index }))
    }

    async fn get_cluster(
        &self,
        request: Request<pb::GetClusterRequest>,
    ) -> Result<Response<pb::GetClusterResponse>, Status> {
        Ok(Response::new(self.status(request.into_inner().groups)))
    }
}

fn or_default(name: String) -> String {
    match name.is_empty() {
        true => meridian_model::name::DEFAULT.to_string(),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_all_names_once() {
        let names: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (part, next) = page(names.clone(), 3, &token);
            seen.extend(part);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, names);
    }
}
