//! Remembered requests: a retry gets the first reply again, whatever has happened since.

use std::collections::BTreeMap;

use meridian_model::limits;
use serde::{Deserialize, Serialize};

use super::row::Stored;
use super::subscription;
use super::tenant::{namespace_resource, tenant_resource};
use super::{ControlChange, ControlRefusal, ControlReply};
use crate::{Effect, Table};

/// The longest name of a resource that can exist is shorter: what is longer was refused, and is not kept.
const RESOURCE_BYTES_MAX: usize = 8 * limits::NAME_BYTES_MAX;

/// A request and its reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// Counts up: the oldest is forgotten first.
    number: u64,
    /// The tenant within which the id is unique, so that no tenant learns of another's requests.
    tenant: String,
    request_id: String,
    /// What was asked, and of what: another request under the same id is a mistake.
    kind: u8,
    resource: String,
    reply: ControlReply,
}

impl Stored for Remembered {
    const TABLE: Table = Table::Request;

    fn key(&self) -> Vec<u8> {
        self.number.to_be_bytes().to_vec()
    }
}

/// The latest requests, at most [`limits::REQUEST_IDS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Requests {
    by_number: BTreeMap<u64, Remembered>,
    /// Follows from `by_number`: (tenant, request id) to number.
    by_id: BTreeMap<(String, String), u64>,
}

impl Requests {
    /// The first reply to this request. A refusal where the id cannot be used for it. `None`: a new request.
    pub(super) fn recall(&self, change: &ControlChange) -> Option<Result<ControlReply, ControlRefusal>> {
        let asked = Asked::of(change)?;
        if asked.request_id.len() > limits::NAME_BYTES_MAX {
            return Some(Err(ControlRefusal::invalid("request_id", "the id is too long")));
        }
        let number = self.by_id.get(&(asked.tenant.to_owned(), asked.request_id.to_owned()))?;
        let first = self.by_number.get(number)?;
        if (first.kind, &first.resource) != (change.kind(), &asked.resource) {
            return Some(Err(ControlRefusal::conflict("the request id was used for another request")));
        }
        Some(Ok(first.reply.clone()))
    }

    /// Remembers a reply and forgets the oldest. Whether there was anything to remember.
    pub(super) fn remember(
        &mut self,
        number: u64,
        change: &ControlChange,
        reply: &ControlReply,
        requests_max: usize,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(asked) = Asked::of(change) else { return false };
        let remembered = Remembered {
            number,
            tenant: asked.tenant.to_owned(),
            request_id: asked.request_id.to_owned(),
            kind: change.kind(),
            resource: asked.resource,
            reply: reply.clone(),
        };
        effects.push(remembered.put());
        self.insert(remembered);
        while self.by_number.len() > requests_max {
            let Some((_, oldest)) = self.by_number.pop_first() else { break };
            effects.push(oldest.delete());
            self.by_id.remove(&(oldest.tenant, oldest.request_id));
        }
        true
    }

    /// Whether every number was given before `next`, and every id once.
    pub(super) fn agree(&self, next: u64) -> bool {
        self.by_id.len() == self.by_number.len() && self.by_number.keys().all(|number| *number < next)
    }

    /// Takes up a stored request.
    pub(super) fn insert(&mut self, remembered: Remembered) {
        let id = (remembered.tenant.clone(), remembered.request_id.clone());
        self.by_id.insert(id, remembered.number);
        self.by_number.insert(remembered.number, remembered);
    }
}

/// What identifies a request.
struct Asked<'a> {
    request_id: &'a str,
    tenant: &'a str,
    resource: String,
}

impl<'a> Asked<'a> {
    /// `None` for a change that is not remembered.
    fn of(change: &'a ControlChange) -> Option<Self> {
        let (request_id, tenant, resource) = match change {
            ControlChange::Form { .. }
            | ControlChange::RegisterNode { .. }
            | ControlChange::FinishDelete { .. }
            | ControlChange::TrimLog { .. }
            | ControlChange::SetDuty { .. }
            | ControlChange::ForgetNode { .. }
            | ControlChange::MoveCopy { .. }
            | ControlChange::FinishMove { .. }
            | ControlChange::PreferLeader { .. } => return None,
            ControlChange::CreateTenant { name, request_id }
            | ControlChange::DeleteTenant { name, request_id } => {
                (request_id, name.as_str(), tenant_resource(name))
            }
            ControlChange::CreateNamespace { tenant, name, request_id }
            | ControlChange::DeleteNamespace { tenant, name, request_id } => {
                (request_id, tenant.as_str(), namespace_resource(tenant, name))
            }
            ControlChange::CreateTopic { name, request_id, .. }
            | ControlChange::UpdateTopic { name, request_id, .. }
            | ControlChange::AddPartitions { name, request_id, .. }
            | ControlChange::DeleteTopic { name, request_id } => (request_id, name.tenant(), name.resource()),
            ControlChange::OpenProducer { topic, name, request_id } => {
                (request_id, topic.tenant(), format!("{}/producers/{name}", topic.resource()))
            }
            ControlChange::CreateSubscription { topic, name, request_id, .. }
            | ControlChange::UpdateSubscription { topic, name, request_id, .. }
            | ControlChange::DeleteSubscription { topic, name, request_id, .. } => {
                (request_id, topic.tenant(), subscription::resource(topic, name))
            }
        };
        (!request_id.is_empty() && resource.len() <= RESOURCE_BYTES_MAX).then_some(Self {
            request_id,
            tenant: if planted!(RequestsCrossTenants) { "" } else { tenant },
            resource,
        })
    }
}
