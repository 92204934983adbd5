//! A message in the hands of a consumer.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use meridian_model::{LogId, MessageId, Offset, ProducerId, UnixMs};

use super::hold::{Epochs, Hold, Revoked};

/// A message, delivered. It stays this consumer's until it is acked, refused, or its lease ends; dropping it does none
/// of these.
#[derive(Clone)]
pub struct Delivery {
    /// The topic's resource name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The history of the partition it belongs to.
    pub log: LogId,
    /// Its position.
    pub offset: Offset,
    /// When the leader appended it.
    pub appended_at: UnixMs,
    /// Who sent it; nil: nobody in particular.
    pub producer: ProducerId,
    /// The producer's epoch.
    pub epoch: u32,
    /// Its number in the producer's sequence in this partition.
    pub sequence: u64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Small named values.
    pub properties: Vec<(String, Bytes)>,
    /// What the application sent.
    pub body: Bytes,
    /// From 1: one more than have failed.
    pub attempt: u32,
    /// When its lease ends, by the node's clock, unless it is extended.
    pub lease_until: UnixMs,
    /// When it was to be delivered; zero: it was not delayed.
    pub deliver_at: UnixMs,
    /// What it took of the credit in bytes.
    pub(super) cost_bytes: u64,
    pub(super) hold: Arc<Hold>,
}

impl Delivery {
    /// The message's name for ever.
    pub fn id(&self) -> MessageId {
        MessageId { log: self.log, offset: self.offset }
    }

    /// Whether this consumer is known not to hold it any more: settled by this consumer, lost, or given to another.
    /// `false` proves nothing: the news may be on its way.
    pub fn is_revoked(&self) -> bool {
        self.hold.revoked().is_some()
    }

    /// Why it is this consumer's no longer; [`Revoked::Settled`] also where this consumer settled it.
    pub fn revoked(&self) -> Option<Revoked> {
        self.hold.revoked()
    }

    /// Under which circumstances it was delivered.
    pub fn epochs(&self) -> Epochs {
        self.hold.epochs
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("attempt", &self.attempt)
            .field("revoked", &self.revoked())
            .finish_non_exhaustive()
    }
}
