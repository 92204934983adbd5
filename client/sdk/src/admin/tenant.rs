//! Tenants and namespaces.

use futures::FutureExt;
use meridian_proto::admin as wire;

use super::{Admin, PAGE_ROWS, service};
use crate::Error;

impl Admin {
    /// Creates a tenant. Returns the control index at which it took effect.
    pub async fn create_tenant(&self, tenant: &str) -> Result<u64, Error> {
        let request = wire::CreateTenantRequest { tenant: tenant.into(), request_id: self.request_id() };
        let call = self.shared.change("create tenant", |channel| {
            let request = request.clone();
            async move { service(channel).create_tenant(request).await }.boxed()
        });
        call.await.map(|response| response.control_index)
    }

    /// Deletes an empty tenant. Returns the control index at which it took effect.
    pub async fn delete_tenant(&self, tenant: &str) -> Result<u64, Error> {
        let request = wire::DeleteTenantRequest { tenant: tenant.into(), request_id: self.request_id() };
        let call = self.shared.change("delete tenant", |channel| {
            let request = request.clone();
            async move { service(channel).delete_tenant(request).await }.boxed()
        });
        call.await.map(|response| response.control_index)
    }

    /// The names of all tenants.
    pub async fn list_tenants(&self) -> Result<Vec<String>, Error> {
        let (mut names, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = wire::ListTenantsRequest { page_size: PAGE_ROWS, page_token };
            let call = self.shared.call("list tenants", |channel| {
                let request = request.clone();
                async move { service(channel).list_tenants(request).await }.boxed()
            });
            let page = call.await?;
            names.extend(page.tenants);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(names);
            }
        }
    }

    /// Creates a namespace of a tenant. Returns the control index at which it took effect.
    pub async fn create_namespace(&self, tenant: &str, namespace: &str) -> Result<u64, Error> {
        let request = wire::CreateNamespaceRequest {
            tenant: tenant.into(),
            namespace: namespace.into(),
            request_id: self.request_id(),
        };
        let call = self.shared.change("create namespace", |channel| {
            let request = request.clone();
            async move { service(channel).create_namespace(request).await }.boxed()
        });
        call.await.map(|response| response.control_index)
    }

    /// Deletes an empty namespace. Returns the control index at which it took effect.
    pub async fn delete_namespace(&self, tenant: &str, namespace: &str) -> Result<u64, Error> {
        let request = wire::DeleteNamespaceRequest {
            tenant: tenant.into(),
            namespace: namespace.into(),
            request_id: self.request_id(),
        };
        let call = self.shared.change("delete namespace", |channel| {
            let request = request.clone();
            async move { service(channel).delete_namespace(request).await }.boxed()
        });
        call.await.map(|response| response.control_index)
    }

    /// The names of a tenant's namespaces.
    pub async fn list_namespaces(&self, tenant: &str) -> Result<Vec<String>, Error> {
        let (mut names, mut page_token) = (Vec::new(), String::new());
        loop {
            let tenant = tenant.to_string();
            let request = wire::ListNamespacesRequest { tenant, page_size: PAGE_ROWS, page_token };
            let call = self.shared.call("list namespaces", |channel| {
                let request = request.clone();
                async move { service(channel).list_namespaces(request).await }.boxed()
            });
            let page = call.await?;
            names.extend(page.namespaces);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(names);
            }
        }
    }
}
