//! Tenants, namespaces, and producers that chose their name.

use meridian_model::{ProducerId, TopicName};

use super::{Model, Refused, Verdict, is_name, refuse};
use crate::control::ControlDone;
use crate::control::tests::coverage::{Coverage, Met};

impl Model {
    pub(super) fn create_tenant(&mut self, name: &str, met: &mut Coverage) -> Verdict {
        if !is_name(name) {
            return refuse(met, Met::TenantBadName, Refused::Invalid("tenant"));
        }
        if self.tenants.contains_key(name) {
            return refuse(met, Met::TenantExists, Refused::Exists(format!("tenants/{name}")));
        }
        if self.tenants.len() == self.bounds.tenants_max {
            let refused = Refused::Limit("tenants", self.bounds.tenants_max as u64);
            return refuse(met, Met::TenantsAtLimit, refused);
        }
        met.met(Met::TenantCreated);
        self.tenants.insert(name.into(), (self.stamp, self.at.index));
        Ok(ControlDone::Changed)
    }

    pub(super) fn delete_tenant(&mut self, name: &str, met: &mut Coverage) -> Verdict {
        if !self.tenants.contains_key(name) {
            return refuse(met, Met::TenantUnknown, Refused::NotFound(format!("tenants/{name}")));
        }
        if name == "default" {
            return refuse(met, Met::TenantDefaultStays, Refused::Conflict);
        }
        if self.namespaces.keys().any(|(tenant, _)| tenant == name) {
            return refuse(met, Met::TenantNotEmpty, Refused::Conflict);
        }
        met.met(Met::TenantDeleted);
        self.tenants.remove(name);
        Ok(ControlDone::Changed)
    }

    pub(super) fn create_namespace(&mut self, tenant: &str, name: &str, met: &mut Coverage) -> Verdict {
        if !is_name(name) {
            return refuse(met, Met::NamespaceBadName, Refused::Invalid("namespace"));
        }
        if !self.tenants.contains_key(tenant) {
            let refused = Refused::NotFound(format!("tenants/{tenant}"));
            return refuse(met, Met::NamespaceOfUnknownTenant, refused);
        }
        let key = (tenant.to_owned(), name.to_owned());
        if self.namespaces.contains_key(&key) {
            let refused = Refused::Exists(format!("tenants/{tenant}/namespaces/{name}"));
            return refuse(met, Met::NamespaceExists, refused);
        }
        if self.namespaces.len() == self.bounds.namespaces_max {
            let refused = Refused::Limit("namespaces", self.bounds.namespaces_max as u64);
            return refuse(met, Met::NamespacesAtLimit, refused);
        }
        met.met(Met::NamespaceCreated);
        self.namespaces.insert(key, (self.stamp, self.at.index));
        Ok(ControlDone::Changed)
    }

    pub(super) fn delete_namespace(&mut self, tenant: &str, name: &str, met: &mut Coverage) -> Verdict {
        let key = (tenant.to_owned(), name.to_owned());
        if !self.namespaces.contains_key(&key) {
            let refused = Refused::NotFound(format!("tenants/{tenant}/namespaces/{name}"));
            return refuse(met, Met::NamespaceUnknown, refused);
        }
        if tenant == "default" && name == "default" {
            return refuse(met, Met::NamespaceDefaultStays, Refused::Conflict);
        }
        if self.topics.keys().any(|topic| topic.tenant() == tenant && topic.namespace() == name) {
            return refuse(met, Met::NamespaceNotEmpty, Refused::Conflict);
        }
        met.met(Met::NamespaceDeleted);
        self.namespaces.remove(&key);
        Ok(ControlDone::Changed)
    }

    pub(super) fn open_producer(&mut self, topic: &TopicName, name: &str, met: &mut Coverage) -> Verdict {
        if !is_name(name) {
            return refuse(met, Met::ProducerBadName, Refused::Invalid("producer"));
        }
        match self.topics.get(topic) {
            None => {
                let refused = Refused::NotFound(topic.resource());
                return refuse(met, Met::ProducerUnknownTopic, refused);
            }
            Some(topic) if topic.deleting => {
                return refuse(met, Met::ProducerDeletingTopic, Refused::Conflict);
            }
            Some(_) => {}
        }
        let key = (topic.clone(), name.to_owned());
        let known = self.producers.get(&key).copied();
        if known.is_none() && self.producers.len() == self.bounds.producers_max {
            let refused = Refused::Limit("named producers", self.bounds.producers_max as u64);
            return refuse(met, Met::ProducersAtLimit, refused);
        }
        let epoch = known.unwrap_or(self.floor) + 1;
        if epoch > self.bounds.epoch_max {
            let refused = Refused::Limit("epochs of a producer", u64::from(self.bounds.epoch_max));
            return refuse(met, Met::ProducerOutOfEpochs, refused);
        }
        met.met(match known {
            Some(_) => Met::ProducerOpenedAgain,
            None if self.floor > 0 => Met::ProducerOpenedAboveFloor,
            None => Met::ProducerOpened,
        });
        self.producers.insert(key, epoch);
        let hash = blake3::hash(&[topic.resource().as_bytes(), &[0], name.as_bytes()].concat());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        Ok(ControlDone::ProducerOpened { producer: ProducerId(id), epoch })
    }
}
