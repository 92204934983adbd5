//! Setting up a consumer.

use std::sync::Arc;
use std::time::Duration;

use super::settings::{Kind, RedeliveryBackoff, Settings};
use super::{Consumer, task};
use crate::client::Shared;
use crate::{Error, Start};

/// A consumer before it is opened.
#[must_use = "a consumer is opened by `open`"]
pub struct ConsumerBuilder {
    shared: Arc<Shared>,
    settings: Settings,
}

impl ConsumerBuilder {
    pub(crate) fn new(shared: Arc<Shared>, topics: Vec<String>) -> Self {
        Self { shared, settings: Settings::new(topics) }
    }

    /// The name of the subscription, which each of the topics has one of. Required.
    pub fn subscription(mut self, name: impl Into<String>) -> Self {
        self.settings.subscription = name.into();
        self
    }

    /// Its kind; opening fails where the subscription is of another one. Default: shared.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.settings.kind = kind;
        self
    }

    /// Create the subscription where a topic has none of that name. Default: no.
    pub fn create(mut self, create: bool) -> Self {
        self.settings.create = create;
        self
    }

    /// Where one that is created begins. Default: behind the newest message.
    pub fn start(mut self, start: Start) -> Self {
        self.settings.start = Some(start);
        self
    }

    /// For one that is created: how long a consumer may hold a message without a word. Default: 30 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = Some(lease);
        self
    }

    /// For one that is created: how long a refused message waits. Default: 1 s, doubled up to 60 s.
    pub fn backoff(mut self, backoff: RedeliveryBackoff) -> Self {
        self.settings.backoff = Some(backoff);
        self
    }

    /// For one that is created: after so many failed attempts a message goes to the dead-letter topic. Default: never.
    pub fn dead_letters(mut self, attempts_max: u32, topic: impl Into<String>) -> Self {
        self.settings.attempts_max = Some(attempts_max);
        self.settings.dead_letter_topic = Some(topic.into());
        self
    }

    /// For one that is created: deleted after so long without a consumer. Default: never.
    pub fn idle_max(mut self, idle: Duration) -> Self {
        self.settings.idle_max = Some(idle);
        self
    }

    /// Who this consumer is, for nodes. Default: drawn at random.
    pub fn consumer_id(mut self, id: [u8; 16]) -> Self {
        self.settings.consumer_id = Some(id);
        self
    }

    /// Failover: the lowest of those that stand by takes over. Default: 0.
    pub fn priority(mut self, priority: u32) -> Self {
        self.settings.priority = priority;
        self
    }

    /// Key-shared: the keys that this consumer wants, by the upper 16 bits of their hash, both ends included. Default:
    /// keys are spread over all consumers.
    pub fn key_ranges(mut self, ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        self.settings.key_ranges = ranges.into_iter().collect();
        self
    }

    /// Let whole batches travel and be unpacked here, which verifies the checksum end to end. Exclusive and failover
    /// only. Default: no.
    pub fn batches(mut self, batches: bool) -> Self {
        self.settings.batches = batches;
        self
    }

    /// Messages that wait here for the application. More are asked for once half of the room is free. Default: 1,000.
    pub fn queue_messages_max(mut self, messages: u64) -> Self {
        self.settings.queue.messages = messages;
        self
    }

    /// Bytes of messages that wait here. Default: 16 MiB.
    pub fn queue_bytes_max(mut self, bytes: u64) -> Self {
        self.settings.queue.bytes = bytes;
        self
    }

    /// Messages that are held and not settled: at the bound no more are asked for. Default: 10,000.
    pub fn held_max(mut self, messages: u64) -> Self {
        self.settings.held_max = messages;
        self
    }

    /// Extend the leases of whatever is held, at half their time, for as long as it is held. An application that hangs
    /// keeps its messages then. Default: no.
    pub fn extend_leases(mut self, extend: bool) -> Self {
        self.settings.extends = extend;
        self
    }

    /// How long no node may be reachable before the consumer fails. Default: two minutes.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Opens the consumer: some node knows of it, and partitions are attached to it in turn.
    ///
    /// Errors: [`Error::Invalid`] for a wrong setting, `NOT_FOUND` for an unknown topic or subscription, `OTHER_KIND`,
    /// `CONSUMER_PRESENT`, [`Error::Connect`] or [`Error::Timeout`] when the cluster cannot be reached. Cancellation
    /// safe: what was begun counts as gone after a while.
    pub async fn open(self) -> Result<Consumer, Error> {
        self.settings.check()?;
        task::open(self.shared, self.settings).await
    }
}
