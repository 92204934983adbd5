//! Subscriptions and their consumers: made, joined, left, moved to another place.

use serde::{Deserialize, Serialize};

/// The answer of an operation that says nothing but that it took effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Who gets which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionKind {
    /// One consumer gets everything; a second one is refused.
    Exclusive,
    /// One consumer of each partition gets everything; the others stand by.
    Failover,
    /// Each message goes to one of the consumers.
    Shared,
    /// Each key goes to one of the consumers.
    KeyShared,
}

impl SubscriptionKind {
    /// Whether one consumer at a time owns a partition, so that deliveries and acks carry an owner's epoch.
    pub fn is_owned(self) -> bool {
        matches!(self, Self::Exclusive | Self::Failover)
    }
}

/// A place in the log of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The oldest message that retention has left.
    Earliest,
    /// Behind the newest message.
    Latest,
    /// This offset.
    Offset(u64),
    /// The first message appended at this time or later, in Unix milliseconds.
    Time(u64),
}

/// Making a subscription.
///
/// A subscription that is deleted and made again must be given another name here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Topic it reads.
    pub topic: String,
    /// Its name.
    pub subscription: String,
    /// Who gets which message.
    pub kind: SubscriptionKind,
    /// How long a consumer may hold a message without a word, in milliseconds.
    pub lease_ms: u64,
    /// After so many failed attempts a message is dead. None: it is tried for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// Topic that dead messages go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<String>,
    /// Where it begins in each partition.
    pub start: Place,
    /// Messages of one partition that one consumer may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacked_consumer_max: Option<u64>,
    /// Messages of one partition that all consumers together may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacked_max: Option<u64>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Done>,
}

/// A consumer comes, or comes back under its own name on a new stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Topic read.
    pub topic: String,
    /// Subscription joined.
    pub subscription: String,
    /// Name of the consumer, unique within the subscription.
    pub consumer: String,
    /// The kind of subscription it believes in.
    pub kind: SubscriptionKind,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Done>,
}

/// How a consumer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parting {
    /// It said goodbye.
    Left,
    /// It was killed. Messages on their way to it are in no history.
    Crashed,
    /// Its stream broke.
    Cut,
}

/// A consumer goes.
///
/// It is invoked when the consumer can first have counted as gone. That is when it said goodbye, if that was
/// answered; else when it last heard from its node, however it ended: a node may have given up a stream long
/// before the consumer noticed, or was killed. Otherwise a message that was given to somebody else in between
/// would look as if two consumers held it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Topic read.
    pub topic: String,
    /// Subscription left.
    pub subscription: String,
    /// Name of the consumer.
    pub consumer: String,
    /// How it went.
    pub how: Parting,
    /// The answer, or the harness's own knowledge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Done>,
}

/// Moving a subscription to another place in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seek {
    /// Topic read.
    pub topic: String,
    /// Partition meant.
    pub partition: u32,
    /// Subscription moved.
    pub subscription: String,
    /// Where to.
    pub to: Place,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sought: Option<Sought>,
}

/// Where a seek has led.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// Everything below is settled, nothing from here on is.
    pub position: u64,
    /// The seek epoch that began with it: deliveries from then on carry it.
    pub epoch: u64,
}
