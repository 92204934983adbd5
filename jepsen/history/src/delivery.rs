//! Messages handed to consumers, and what consumers say about those they hold.

use serde::{Deserialize, Serialize};

use crate::{
    message::{MessageId, Times},
    subscription::Done,
};

/// The epochs under which a message is handed out. Whatever is said about it names them again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epochs {
    /// The dispatch epoch: the index of the log entry with which the leader began to dispatch. Leases end with it.
    pub dispatch: u64,
    /// Rises with each seek.
    pub seek: u64,
    /// Exclusive and failover: rises with each owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u64>,
}

/// A consumer asks for messages: a pull, or credit for a stream.
///
/// It is invoked when the pull, or the credit that the messages use up, leaves the consumer. So the messages
/// were sent between its invocation and its completion, which is what the checker builds on. A grant of credit
/// for ten messages is ten operations; one whose credit was never used is dropped, and so `info` without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// Topic read.
    pub topic: String,
    /// Subscription asked.
    pub subscription: String,
    /// Who asks.
    pub consumer: String,
    /// What came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<Vec<Delivery>>,
}

/// One message as it was handed to a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Partition it is from.
    pub partition: u32,
    /// Log id of that partition.
    pub log: String,
    /// Its offset there.
    pub offset: u64,
    /// Oracle id found in the payload.
    pub id: MessageId,
    /// Key it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which attempt, from 1: one more than have failed and are committed.
    pub attempt: u32,
    /// The epochs it was handed out under.
    pub epochs: Epochs,
    /// When it may be delivered, as it came with it.
    #[serde(default, skip_serializing_if = "Times::is_empty")]
    pub times: Times,
    /// When its lease ends, as the server said, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until_ms: Option<u64>,
    /// When it came, by the wall clock of the recording machine, in Unix milliseconds. Belongs to the
    /// completion of the operation: the checker translates between the two clocks with it.
    pub at_ms: u64,
}

/// Who speaks about which partition of a subscription, and under which epochs it was given what it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Topic read.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Subscription.
    pub subscription: String,
    /// Name of the consumer.
    pub consumer: String,
    /// Epochs of the delivery spoken of; of a cumulative ack, those of the last one.
    pub epochs: Epochs,
}

/// What an ack means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckOf {
    /// One message.
    Single(u64),
    /// Every message this consumer was given below this offset and has not refused. Others may be meant too.
    Cumulative(u64),
    /// These, as a whole or not at all.
    Batch(Vec<u64>),
}

/// A consumer says that messages are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Who speaks.
    pub by: Holder,
    /// Which messages.
    pub of: AckOf,
    /// The confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// A settlement is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Index of its entry in the log of the partition's group, if the server told. A duplicate of an earlier
    /// settlement has no entry of its own and must not name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// A consumer refuses a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// Who speaks.
    pub by: Holder,
    /// Which message.
    pub offset: u64,
    /// The attempt that failed, as its delivery said.
    pub attempt: u32,
    /// The confirmation that the attempt counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// A consumer needs longer: the lease begins anew, and never ends earlier for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extend {
    /// Who speaks.
    pub by: Holder,
    /// Which message.
    pub offset: u64,
    /// The answer: it is still held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended: Option<Done>,
}

/// A consumer is told, or finds out, that it holds a message no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseEnd {
    /// Who held it.
    pub by: Holder,
    /// Which message.
    pub offset: u64,
    /// That it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Done>,
}
