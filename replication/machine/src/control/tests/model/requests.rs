//! Requests that are answered as they were the first time.

use std::mem::{Discriminant, discriminant};

use super::{Model, Refused};
use crate::control::tests::coverage::{Coverage, Met};
use crate::control::{ControlChange, ControlReply};

/// Forgotten requests that a run may ask again.
const FORGOTTEN_MAX: usize = 4;

/// A remembered request.
#[derive(Clone, Debug)]
pub(in crate::control::tests) struct Request {
    tenant: String,
    id: String,
    asked: (Discriminant<ControlChange>, String),
    /// What was proposed.
    pub(in crate::control::tests) change: ControlChange,
    reply: ControlReply,
}

/// The request id of a change that has one, to be read or set.
pub(in crate::control::tests) fn request_id(change: &mut ControlChange) -> Option<&mut String> {
    match change {
        ControlChange::CreateTenant { request_id, .. }
        | ControlChange::DeleteTenant { request_id, .. }
        | ControlChange::CreateNamespace { request_id, .. }
        | ControlChange::DeleteNamespace { request_id, .. }
        | ControlChange::CreateTopic { request_id, .. }
        | ControlChange::UpdateTopic { request_id, .. }
        | ControlChange::AddPartitions { request_id, .. }
        | ControlChange::DeleteTopic { request_id, .. }
        | ControlChange::OpenProducer { request_id, .. }
        | ControlChange::CreateSubscription { request_id, .. }
        | ControlChange::UpdateSubscription { request_id, .. }
        | ControlChange::DeleteSubscription { request_id, .. } => Some(request_id),
        ControlChange::Form { .. }
        | ControlChange::RegisterNode { .. }
        | ControlChange::FinishDelete { .. }
        | ControlChange::TrimLog { .. }
        | ControlChange::SetDuty { .. }
        | ControlChange::ForgetNode { .. }
        | ControlChange::MoveCopy { .. }
        | ControlChange::FinishMove { .. }
        | ControlChange::PreferLeader { .. } => None,
    }
}

/// The tenant that asks, and what is asked about.
fn subject(change: &ControlChange) -> (String, String) {
    match change {
        ControlChange::CreateTenant { name, .. } | ControlChange::DeleteTenant { name, .. } => {
            (name.clone(), format!("tenants/{name}"))
        }
        ControlChange::CreateNamespace { tenant, name, .. }
        | ControlChange::DeleteNamespace { tenant, name, .. } => {
            (tenant.clone(), format!("tenants/{tenant}/namespaces/{name}"))
        }
        ControlChange::CreateTopic { name, .. }
        | ControlChange::UpdateTopic { name, .. }
        | ControlChange::AddPartitions { name, .. }
        | ControlChange::DeleteTopic { name, .. } => (name.tenant().into(), name.resource()),
        ControlChange::OpenProducer { topic, name, .. } => {
            (topic.tenant().into(), format!("{}/producers/{name}", topic.resource()))
        }
        ControlChange::CreateSubscription { topic, name, .. }
        | ControlChange::UpdateSubscription { topic, name, .. }
        | ControlChange::DeleteSubscription { topic, name, .. } => {
            (topic.tenant().into(), format!("{}/subscriptions/{name}", topic.resource()))
        }
        _ => (String::new(), String::new()),
    }
}

impl Model {
    /// What a change that came before must be answered, if its id is in use.
    pub(super) fn recall(
        &mut self,
        change: &ControlChange,
        met: &mut Coverage,
    ) -> Option<Result<ControlReply, Refused>> {
        let mut copy = change.clone();
        let id = request_id(&mut copy).filter(|id| !id.is_empty())?.clone();
        let (tenant, resource) = subject(change);
        if resource.len() > 1_024 {
            met.met(Met::ResourceTooLongToRemember);
            return None;
        }
        if id.len() > 128 {
            met.met(Met::IdTooLong);
            return Some(Err(Refused::Invalid("request_id")));
        }
        let Some(first) = self.requests.iter().find(|r| r.tenant == tenant && r.id == id) else {
            if self.requests.iter().any(|r| r.id == id) {
                met.met(Met::IdOfAnotherTenant);
            }
            if self.forgotten.contains(change) {
                met.met(Met::AskedAgainOnceForgotten);
            }
            if self.cluster.is_some() && self.unheard.contains(change) {
                met.met(Met::AskedAgainOnceFormed);
            }
            return None;
        };
        if first.asked == (discriminant(change), resource) {
            met.met(if first.reply.result.is_ok() { Met::Repeated } else { Met::RepeatedRefusal });
            return Some(Ok(first.reply.clone()));
        }
        met.met(match first.asked.0 == discriminant(change) {
            true => Met::IdReusedForOtherResource,
            false => Met::IdReusedForOtherKind,
        });
        Some(Err(Refused::Conflict))
    }

    pub(super) fn remember(
        &mut self,
        change: &ControlChange,
        reply: &ControlReply,
        not_formed: bool,
        met: &mut Coverage,
    ) {
        let mut copy = change.clone();
        let Some(id) = request_id(&mut copy).filter(|id| !id.is_empty()).cloned() else { return };
        let (tenant, resource) = subject(change);
        if not_formed {
            met.met(Met::NotFormedWithId);
            self.unheard.push(copy);
            return;
        }
        if resource.len() > 1_024 {
            return;
        }
        let asked = (discriminant(change), resource);
        self.requests.push_back(Request { tenant, id, asked, change: copy, reply: reply.clone() });
        if self.requests.len() > self.bounds.requests_max {
            met.met(Met::IdForgottenAtBound);
            self.forgotten.extend(self.requests.pop_front().map(|r| r.change));
            if self.forgotten.len() > FORGOTTEN_MAX {
                self.forgotten.pop_front();
            }
        }
    }
}
