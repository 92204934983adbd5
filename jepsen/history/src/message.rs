//! The identity a test gives each message, and the message as it was sent and as it was read.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The oracle id of a message: who sent it, under which epoch, as which number.
///
/// It travels inside the payload, so a reader learns it from the bytes and not from the server. Where the
/// producer is sequenced, epoch and sequence are the ones on the wire, and the sequence counts per partition
/// from zero in each epoch. Written as `producer/epoch/sequence`; the producer's name may contain slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId {
    /// Name of the producer.
    pub producer: String,
    /// Epoch under which the producer sent it.
    pub epoch: u64,
    /// Number of the message within producer, epoch and partition, from zero.
    pub sequence: u64,
}

impl MessageId {
    /// The id of one message.
    pub fn new(producer: impl Into<String>, epoch: u64, sequence: u64) -> Self {
        Self { producer: producer.into(), epoch, sequence }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.producer, self.epoch, self.sequence)
    }
}

/// A text that is not `producer/epoch/sequence`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a message id of the form producer/epoch/sequence")]
pub struct BadMessageId(pub String);

impl FromStr for MessageId {
    type Err = BadMessageId;

    fn from_str(text: &str) -> Result<Self, BadMessageId> {
        let bad = || BadMessageId(text.to_owned());
        let mut parts = text.rsplitn(3, '/');
        let sequence = parts.next().and_then(|p| p.parse().ok()).ok_or_else(bad)?;
        let epoch = parts.next().and_then(|p| p.parse().ok()).ok_or_else(bad)?;
        let producer = parts.next().filter(|p| !p.is_empty()).ok_or_else(bad)?;
        Ok(Self { producer: producer.to_owned(), epoch, sequence })
    }
}

impl TryFrom<String> for MessageId {
    type Error = BadMessageId;

    fn try_from(text: String) -> Result<Self, BadMessageId> {
        text.parse()
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        id.to_string()
    }
}

/// One message of a publish, as the client handed it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its oracle id, which is in the payload too.
    pub id: MessageId,
    /// Partitioning and ordering key, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Checksum of the payload, as written into it.
    pub crc: u32,
    /// When subscriptions may deliver it.
    #[serde(default, skip_serializing_if = "Times::is_empty")]
    pub times: Times,
}

/// When subscriptions may deliver a message, in Unix milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at_ms: Option<u64>,
    /// Not after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at_ms: Option<u64>,
}

impl Times {
    /// Whether it may be delivered at any time.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One message as a reader saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Offset the server gave it.
    pub offset: u64,
    /// Oracle id found in the payload; whatever could be made of it if the checksum did not match.
    pub id: MessageId,
    /// Key it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Checksum found in the payload.
    pub crc: u32,
    /// Whether the payload matched that checksum.
    pub crc_ok: bool,
}

impl Seen {
    /// An intact message without a key.
    pub fn intact(offset: u64, id: MessageId, crc: u32) -> Self {
        Self { offset, id, key: None, crc, crc_ok: true }
    }
}
