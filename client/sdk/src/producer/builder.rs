//! Setting up a producer.

use std::sync::Arc;
use std::time::Duration;

use meridian_model::Codec;

use super::Producer;
use super::settings::Settings;
use crate::Error;
use crate::client::Shared;

/// A producer before it is opened.
#[must_use = "a producer is opened by `build`"]
pub struct ProducerBuilder {
    shared: Arc<Shared>,
    topic: String,
    settings: Settings,
}

impl ProducerBuilder {
    pub(crate) fn new(shared: Arc<Shared>, topic: String) -> Self {
        Self { shared, topic, settings: Settings::default() }
    }

    /// A name of its own: opening it fences every other producer of that name on this topic. Without a name a
    /// producer is just as idempotent, but two of them never fence each other.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// The compression of batches. Default: LZ4.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.settings.codec = codec;
        self
    }

    /// The most raw bytes in a batch, before compression. Default 512 KiB.
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes_max = bytes;
        self
    }

    /// The most messages in a batch. Default 8192.
    pub fn batch_messages_max(mut self, messages: u32) -> Self {
        self.settings.batch_messages_max = messages;
        self
    }

    /// How long a message may wait for company where nothing is on its way. Default zero: what comes while a batch
    /// is on its way makes the next one, and nothing else waits.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = linger;
        self
    }

    /// Batches on their way per partition. Default 16; a node may allow fewer.
    pub fn in_flight_max(mut self, batches: usize) -> Self {
        self.settings.in_flight_max = batches;
        self
    }

    /// Bytes of messages that are sent but not resolved; beyond it [`Producer::send`] waits. Default 32 MiB.
    pub fn buffer_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.buffer_bytes_max = bytes;
        self
    }

    /// How long a message is tried before its delivery fails. Default two minutes.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.delivery_timeout = timeout;
        self
    }

    /// Opens the producer: looks the topic up and gets an identity.
    ///
    /// Errors: [`Error::Invalid`] for a wrong setting, `NOT_FOUND` for an unknown topic, [`Error::Connect`] or
    /// [`Error::Timeout`] when the cluster cannot be reached. Cancellation safe.
    pub async fn build(self) -> Result<Producer, Error> {
        Producer::open(self.shared, self.topic, self.settings).await
    }
}
