//! What calls about subscriptions take and return.

use meridian_model::subscription::SubscriptionRules;
use meridian_model::{NodeId, Offset, SubscriptionId, TopicName, UnixMs};
use meridian_proto::v1::subscription_start::At;
use meridian_proto::v1::{self, SubscriptionStart};
use meridian_proto::{admin as wire, subscription};

use crate::{Error, Start};

/// A subscription to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubscription {
    /// TOPIC, NAMESPACE/TOPIC, TENANT/NAMESPACE/TOPIC or the full resource name.
    pub topic: String,
    /// Its name within the topic.
    pub name: String,
    /// Its settings.
    pub settings: SubscriptionSettings,
    /// Where it begins. An offset only in a topic of one partition.
    pub start: Start,
}

impl NewSubscription {
    /// A shared subscription that begins behind the newest message, otherwise the defaults.
    pub fn new(topic: impl Into<String>, name: impl Into<String>) -> Self {
        let settings = SubscriptionSettings::default();
        Self { topic: topic.into(), name: name.into(), settings, start: Start::Latest }
    }
}

/// Settings of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionSettings {
    /// The kind, leases, and how often a message is tried.
    pub rules: SubscriptionRules,
    /// Where messages go after their last attempt. Belongs together with `rules.attempts_max`.
    pub dead_letter_topic: Option<String>,
    /// Where messages go that are to be tried again later. `None`: they stay where they are.
    pub retry_topic: Option<String>,
    /// Whether retention waits for it.
    pub durable: bool,
    /// Deleted after so long without a consumer, in milliseconds. `None`: never.
    pub idle_ms_max: Option<u64>,
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        let rules = SubscriptionRules::default();
        Self { rules, dead_letter_topic: None, retry_topic: None, durable: true, idle_ms_max: None }
    }
}

/// A subscription as the control group has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionInfo {
    /// Of which topic.
    pub topic: TopicName,
    /// Its name within the topic.
    pub name: String,
    /// This life of the name: created again it has another id.
    pub id: SubscriptionId,
    /// Its settings.
    pub settings: SubscriptionSettings,
    /// Where it began. In partitions that were added later it began with their first message.
    pub start: Start,
    /// Its version, for [`super::Admin::update_subscription`].
    pub etag: String,
}

/// A subscription, and how it stands in each partition of its topic.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionStandings {
    /// The subscription.
    pub subscription: SubscriptionInfo,
    /// In order of the partition number.
    pub partitions: Vec<StandingInfo>,
}

/// How a subscription stands in one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct StandingInfo {
    /// The partition.
    pub partition: u32,
    /// `Err`: why its leader could not be asked. `Ok(None)`: it does not know the subscription yet.
    pub standing: Result<Option<Standing>, String>,
}

/// What a partition's leader knows of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who said this.
    pub leader: NodeId,
    /// The control index of the settings in force.
    pub control_index: u64,
    /// Messages below are settled.
    pub floor: Offset,
    /// What is settled above the floor: the first ranges, each from and to, the end excluded.
    pub settled: Vec<(Offset, Offset)>,
    /// How many ranges there are.
    pub settled_ranges: u64,
    /// The oldest offset kept.
    pub log_start: Offset,
    /// The offset the next message gets.
    pub log_end: Offset,
    /// Messages to be settled, delayed ones not counted.
    pub backlog_messages: u64,
    /// Delayed messages to be settled, due or not.
    pub delayed_messages: u64,
    /// There may be fewer delayed messages than that: retention took some.
    pub delayed_at_most: bool,
    /// Rises with each seek.
    pub seek_epoch: u64,
    /// Messages of which an attempt failed, and which are tried again.
    pub failed_messages: u64,
    /// Dead letters on their way.
    pub dead_letters: u64,
    /// Messages that expired.
    pub expired_messages: u64,
    /// Messages that retention took before they were settled.
    pub dropped_messages: u64,
}

/// A created or changed subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionCreated {
    /// The subscription after the change.
    pub subscription: SubscriptionInfo,
    /// The control index at which it took effect.
    pub control_index: u64,
    /// Partitions where it is not in force yet.
    pub pending_partitions: Vec<u32>,
}

/// A deleted subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionDeleted {
    /// The control index at which it took effect.
    pub control_index: u64,
    /// Partitions that have not dropped it yet.
    pub pending_partitions: Vec<u32>,
}

/// Where a subscription goes on in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedPartition {
    /// The partition.
    pub partition: u32,
    /// Messages below are settled.
    pub floor: Offset,
    /// The seek epoch in force.
    pub seek_epoch: u64,
    /// Messages that were skipped.
    pub skipped_messages: u64,
}

impl MovedPartition {
    pub(super) fn from_wire(moved: wire::MovedPartition) -> Self {
        let wire::MovedPartition { partition, floor, seek_epoch, skipped_messages } = moved;
        Self { partition, floor: Offset(floor), seek_epoch, skipped_messages }
    }
}

impl SubscriptionInfo {
    pub(super) fn from_wire(found: Option<wire::Subscription>) -> Result<Self, Error> {
        let found = found.ok_or_else(|| Error::nonsense("an answer lacks its subscription"))?;
        Ok(Self {
            topic: TopicName::parse(&found.topic).map_err(|error| Error::nonsense(error.to_string()))?,
            name: found.subscription,
            id: SubscriptionId(found.id),
            settings: settings_from_wire(found.settings)?,
            start: start_from_wire(found.start),
            etag: found.etag,
        })
    }
}

impl StandingInfo {
    pub(super) fn from_wire(found: wire::SubscriptionPartition) -> Self {
        let standing = match found.failure {
            Some(failure) => Err(failure.message),
            None => Ok(found.standing.map(Standing::from_wire)),
        };
        Self { partition: found.partition, standing }
    }
}

impl Standing {
    fn from_wire(found: wire::SubscriptionStanding) -> Self {
        Self {
            leader: NodeId(found.leader_node),
            control_index: found.control_index,
            floor: Offset(found.floor),
            settled: found.settled.iter().map(|range| (Offset(range.from), Offset(range.to))).collect(),
            settled_ranges: found.settled_ranges,
            log_start: Offset(found.log_start),
            log_end: Offset(found.log_end),
            backlog_messages: found.backlog_messages,
            delayed_messages: found.delayed_messages,
            delayed_at_most: found.delayed_at_most,
            seek_epoch: found.seek_epoch,
            failed_messages: found.failed_messages,
            dead_letters: found.dead_letters,
            expired_messages: found.expired_messages,
            dropped_messages: found.dropped_messages,
        }
    }
}

pub(super) fn settings_to_wire(settings: &SubscriptionSettings) -> v1::SubscriptionSettings {
    v1::SubscriptionSettings {
        dead_letter_topic: settings.dead_letter_topic.clone(),
        retry_topic: settings.retry_topic.clone(),
        durable: Some(settings.durable),
        idle_ms_max: settings.idle_ms_max,
        ..subscription::rules_to_wire(&settings.rules)
    }
}

/// One that was deleted while it was changed has none any more.
fn settings_from_wire(settings: Option<v1::SubscriptionSettings>) -> Result<SubscriptionSettings, Error> {
    let Some(settings) = settings else { return Ok(SubscriptionSettings::default()) };
    Ok(SubscriptionSettings {
        rules: subscription::rules(&settings).map_err(|why| Error::nonsense(why.message))?,
        dead_letter_topic: settings.dead_letter_topic.map(short),
        retry_topic: settings.retry_topic.map(short),
        durable: settings.durable.unwrap_or(true),
        idle_ms_max: settings.idle_ms_max,
    })
}

/// A topic as people name it: without what is `default`.
fn short(topic: String) -> String {
    TopicName::parse(&topic).map_or(topic, |name| name.to_string())
}

pub(super) fn start_to_wire(start: Start) -> SubscriptionStart {
    let at = match start {
        Start::Earliest => At::Earliest(true),
        Start::Latest => At::Latest(true),
        Start::Time(UnixMs(time)) => At::TimeMs(time),
        Start::Offset(Offset(offset)) => At::Offset(offset),
    };
    SubscriptionStart { at: Some(at) }
}

fn start_from_wire(start: Option<SubscriptionStart>) -> Start {
    match start.and_then(|start| start.at) {
        Some(At::Earliest(_)) => Start::Earliest,
        Some(At::TimeMs(time)) => Start::Time(UnixMs(time)),
        Some(At::Offset(offset)) => Start::Offset(Offset(offset)),
        Some(At::Latest(_)) | None => Start::Latest,
    }
}
