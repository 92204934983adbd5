//! Tenants and their namespaces.

use meridian_model::UnixMs;
use meridian_model::name::{self, DEFAULT};
use serde::{Deserialize, Serialize};

use super::row::{Stored, join_key};
use super::{ControlDone, ControlMachine, ControlRefusal};
use crate::{Effect, Table};

/// Someone who shares the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// When it was created, by the leader's stamp.
    pub created_at: UnixMs,
    /// The control index of its last change: the etag.
    pub version: u64,
}

/// A tenant's group of topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Whose it is.
    pub tenant: String,
    /// Its name within the tenant.
    pub name: String,
    /// When it was created, by the leader's stamp.
    pub created_at: UnixMs,
    /// The control index of its last change: the etag.
    pub version: u64,
}

impl Stored for Tenant {
    const TABLE: Table = Table::Tenant;

    fn key(&self) -> Vec<u8> {
        join_key(&[&self.name])
    }
}

impl Stored for Namespace {
    const TABLE: Table = Table::Namespace;

    fn key(&self) -> Vec<u8> {
        join_key(&[&self.tenant, &self.name])
    }
}

impl ControlMachine {
    pub(super) fn create_tenant(
        &mut self,
        name: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        name::check("tenant", name)?;
        if self.tenants.contains_key(name) {
            return Err(ControlRefusal::already_exists(tenant_resource(name)));
        }
        ControlRefusal::at_limit("tenants", self.tenants.len(), self.bounds.tenants_max)?;
        let (created_at, version) = (self.core.last_stamp, self.core.applied_index);
        let tenant = Tenant { name: name.into(), created_at, version };
        effects.push(tenant.put());
        self.tenants.insert(name.into(), tenant);
        Ok(ControlDone::Changed)
    }

    pub(super) fn delete_tenant(
        &mut self,
        name: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        let tenant =
            self.tenants.get(name).ok_or_else(|| ControlRefusal::not_found(tenant_resource(name)))?;
        if name == DEFAULT {
            return Err(ControlRefusal::conflict("the default tenant cannot be deleted"));
        }
        if self.namespaces(name).next().is_some() {
            return Err(ControlRefusal::conflict("the tenant has namespaces"));
        }
        effects.push(tenant.delete());
        self.tenants.remove(name);
        Ok(ControlDone::Changed)
    }

    pub(super) fn create_namespace(
        &mut self,
        tenant: &str,
        name: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        name::check("namespace", name)?;
        if !self.tenants.contains_key(tenant) {
            return Err(ControlRefusal::not_found(tenant_resource(tenant)));
        }
        let key = (tenant.to_owned(), name.to_owned());
        if self.namespaces.contains_key(&key) {
            return Err(ControlRefusal::already_exists(namespace_resource(tenant, name)));
        }
        ControlRefusal::at_limit("namespaces", self.namespaces.len(), self.bounds.namespaces_max)?;
        let (created_at, version) = (self.core.last_stamp, self.core.applied_index);
        let namespace = Namespace { tenant: tenant.into(), name: name.into(), created_at, version };
        effects.push(namespace.put());
        self.namespaces.insert(key, namespace);
        Ok(ControlDone::Changed)
    }

    pub(super) fn delete_namespace(
        &mut self,
        tenant: &str,
        name: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        let key = (tenant.to_owned(), name.to_owned());
        let not_found = || ControlRefusal::not_found(namespace_resource(tenant, name));
        let namespace = self.namespaces.get(&key).ok_or_else(not_found)?;
        if (tenant, name) == (DEFAULT, DEFAULT) {
            return Err(ControlRefusal::conflict("the default namespace cannot be deleted"));
        }
        let used = self.topics.keys().any(|t| (t.tenant(), t.namespace()) == (tenant, name));
        if used && !planted!(DropsNamespaceInUse) {
            return Err(ControlRefusal::conflict("the namespace has topics"));
        }
        effects.push(namespace.delete());
        self.namespaces.remove(&key);
        Ok(ControlDone::Changed)
    }

    pub(super) fn require_namespace(&self, tenant: &str, name: &str) -> Result<(), ControlRefusal> {
        let key = (tenant.to_owned(), name.to_owned());
        match self.namespaces.contains_key(&key) {
            true => Ok(()),
            false => Err(ControlRefusal::not_found(namespace_resource(tenant, name))),
        }
    }
}

pub(super) fn tenant_resource(tenant: &str) -> String {
    format!("tenants/{tenant}")
}

pub(super) fn namespace_resource(tenant: &str, namespace: &str) -> String {
    format!("tenants/{tenant}/namespaces/{namespace}")
}
