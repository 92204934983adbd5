//! The control group said plainly, without any of the machine's code: what each reply must be, and what the
//! state is after it.

mod duties;
mod moves;
mod names;
mod nodes;
mod requests;
mod subscriptions;
mod topics;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meridian_model::topology::{NodeRecord, Topic};
use meridian_model::{Incarnation, LogId, TopicName};

use super::coverage::{Coverage, Met};
use crate::At;
use crate::control::{
    Bounds, ControlChange, ControlDone, ControlMachine, ControlRefusal, ControlReply, Subscription,
};

pub(super) use self::moves::Moving;
use self::requests::Request;
pub(super) use self::requests::request_id;

/// A refusal without its prose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    NotFound(String),
    Exists(String),
    Invalid(&'static str),
    Conflict,
    Limit(&'static str, u64),
    NotEnoughNodes(u32, u32),
    NotFormed,
    LastToLead,
}

impl Refused {
    fn is(&self, got: &ControlRefusal) -> bool {
        match got {
            ControlRefusal::NotFound { resource } => *self == Refused::NotFound(resource.clone()),
            ControlRefusal::AlreadyExists { resource } => *self == Refused::Exists(resource.clone()),
            ControlRefusal::Invalid { field, .. } => matches!(self, Refused::Invalid(f) if f == field),
            ControlRefusal::Conflict { .. } => *self == Refused::Conflict,
            ControlRefusal::Limit { what, max } => {
                matches!(self, Refused::Limit(w, m) if w == what && m == max)
            }
            ControlRefusal::NotEnoughNodes { need, have } => *self == Refused::NotEnoughNodes(*need, *have),
            ControlRefusal::NotFormed => *self == Refused::NotFormed,
            ControlRefusal::LastToLead { .. } => *self == Refused::LastToLead,
        }
    }
}

type Verdict = Result<ControlDone, Refused>;

/// When something was made, and the index of its last change.
pub(super) type Made = (u64, u64);

/// Everything the control group knows.
pub(super) struct Model {
    pub(super) bounds: Bounds,
    pub(super) at: At,
    pub(super) stamp: u64,
    /// Id, name, and when.
    pub(super) cluster: Option<(u128, String, u64)>,
    pub(super) nodes: BTreeMap<u64, NodeRecord>,
    pub(super) tenants: BTreeMap<String, Made>,
    pub(super) namespaces: BTreeMap<(String, String), Made>,
    pub(super) topics: BTreeMap<TopicName, Topic>,
    pub(super) producers: BTreeMap<(TopicName, String), u32>,
    pub(super) floor: u32,
    pub(super) next_group: u64,
    pub(super) next_replica: u64,
    pub(super) requests: VecDeque<Request>,
    /// Changes whose request was forgotten, and those refused before there was a cluster.
    pub(super) forgotten: VecDeque<ControlChange>,
    pub(super) unheard: Vec<ControlChange>,
    pub(super) log_start: Option<At>,
    pub(super) log_closed: Option<At>,
    pub(super) draining: BTreeSet<u64>,
    pub(super) leaving: BTreeSet<u64>,
    /// The life in which each node left that is not back.
    pub(super) gone: BTreeMap<u64, Incarnation>,
    /// By group and by the copy that goes.
    pub(super) moving: BTreeMap<(u64, u64), Moving>,
    pub(super) subscriptions: BTreeMap<(TopicName, String), Subscription>,
    /// Names of subscriptions that were deleted.
    ended: BTreeSet<(TopicName, String)>,
    /// Groups of which a copy has moved.
    moved: BTreeSet<u64>,
    finished: BTreeSet<TopicName>,
    logs: BTreeSet<LogId>,
    /// A topic with new partitions, from this one on: where they go is the machine's choice.
    placing: Option<(TopicName, usize)>,
}

impl Model {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            at: At::default(),
            stamp: 0,
            cluster: None,
            nodes: BTreeMap::new(),
            tenants: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            topics: BTreeMap::new(),
            producers: BTreeMap::new(),
            floor: 0,
            next_group: 1,
            next_replica: 1,
            requests: VecDeque::new(),
            forgotten: VecDeque::new(),
            unheard: Vec::new(),
            log_start: None,
            log_closed: None,
            draining: BTreeSet::new(),
            leaving: BTreeSet::new(),
            gone: BTreeMap::new(),
            moving: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            ended: BTreeSet::new(),
            moved: BTreeSet::new(),
            finished: BTreeSet::new(),
            logs: BTreeSet::new(),
            placing: None,
        }
    }

    pub(super) fn partitions(&self) -> u64 {
        self.topics.values().map(|t| t.partitions.len() as u64).sum()
    }

    pub(super) fn skip(&mut self, at: At) {
        self.at = at;
    }

    /// Takes a command, and judges the machine's reply to it.
    pub(super) fn apply(
        &mut self,
        at: At,
        stamp: u64,
        change: &ControlChange,
        (got, machine): (&ControlReply, &ControlMachine),
        met: &mut Coverage,
    ) -> Result<(), String> {
        if stamp < self.stamp {
            met.met(Met::StampGoesBack);
        }
        (self.at, self.stamp) = (at, self.stamp.max(stamp));
        let expected = match self.recall(change, met) {
            Some(Ok(first)) if first == *got => return Ok(()),
            Some(Ok(first)) => return Err(format!("{got:?}, the first reply was {first:?}")),
            Some(Err(refused)) => Err(refused),
            None => {
                let verdict = self.decide(change, met);
                self.remember(change, got, verdict == Err(Refused::NotFormed), met);
                verdict
            }
        };
        let agrees = match (&got.result, &expected) {
            (Ok(done), Ok(expected)) => done == expected,
            (Err(refusal), Err(refused)) => refused.is(refusal),
            _ => false,
        };
        if !agrees || got.index != at.index {
            return Err(format!("{got:?}, the model says {expected:?}"));
        }
        self.adopt_placements(machine, met)
    }

    fn decide(&mut self, change: &ControlChange, met: &mut Coverage) -> Verdict {
        if let ControlChange::Form { cluster, name, nodes } = change {
            return self.form(cluster.as_u128(), name, nodes, met);
        }
        if self.cluster.is_none() {
            met.met(Met::NotFormed);
            return Err(Refused::NotFormed);
        }
        match change {
            ControlChange::Form { .. } => Err(Refused::NotFormed),
            ControlChange::RegisterNode { record } => self.register(record, met),
            ControlChange::CreateTenant { name, .. } => self.create_tenant(name, met),
            ControlChange::DeleteTenant { name, .. } => self.delete_tenant(name, met),
            ControlChange::CreateNamespace { tenant, name, .. } => self.create_namespace(tenant, name, met),
            ControlChange::DeleteNamespace { tenant, name, .. } => self.delete_namespace(tenant, name, met),
            ControlChange::CreateTopic { .. } => self.create_topic(change, met),
            ControlChange::UpdateTopic { name, retention, expected_version, .. } => {
                self.update_topic(name, *retention, *expected_version, met)
            }
            ControlChange::AddPartitions { name, total, .. } => self.add_partitions(name, *total, met),
            ControlChange::DeleteTopic { name, .. } => self.delete_topic(name, met),
            ControlChange::FinishDelete { name, expected_version } => {
                self.finish_delete(name, *expected_version, met)
            }
            ControlChange::OpenProducer { topic, name, .. } => self.open_producer(topic, name, met),
            ControlChange::TrimLog { closed } => self.trim_log(*closed, met),
            ControlChange::SetDuty { node, duty } => self.set_duty(node.0, *duty, met),
            ControlChange::ForgetNode { node } => self.forget(node.0, met),
            ControlChange::MoveCopy { group, from, to } => self.move_copy(group.0, from.0, to.0, met),
            ControlChange::FinishMove { group, replica } => self.finish_move(group.0, replica.0, met),
            ControlChange::PreferLeader { group, node } => self.prefer_leader(group.0, node.0, met),
            ControlChange::CreateSubscription { topic, name, begin, settings, .. } => {
                self.create_subscription((topic, name), *begin, settings, met)
            }
            ControlChange::UpdateSubscription { topic, name, settings, expected_version, .. } => {
                self.update_subscription((topic, name), settings, *expected_version, met)
            }
            ControlChange::DeleteSubscription { topic, name, expected_version, .. } => {
                self.delete_subscription((topic, name), *expected_version, met)
            }
        }
    }

    fn trim_log(&mut self, closed: u64, met: &mut Coverage) -> Verdict {
        if closed != self.log_closed.map_or(0, |at| at.index) {
            met.met(Met::LogTrimmedMeanwhile);
            return Err(Refused::Conflict);
        }
        met.met(if self.log_closed.is_some() { Met::LogTrimmed } else { Met::LogFirstClosed });
        self.log_start = self.log_closed;
        self.log_closed = Some(self.at);
        Ok(ControlDone::LogTrimmed { start: self.log_start.map_or(0, |at| at.index) })
    }
}

fn refuse(met: &mut Coverage, what: Met, refused: Refused) -> Verdict {
    met.met(what);
    Err(refused)
}

/// Letters, digits, and within the name also `.`, `_` and `-`; 1 to 128 bytes.
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}
