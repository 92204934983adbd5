//! How a consumer behaves, and what it asks for.

use std::time::Duration;

use meridian_proto::v1::subscription_backoff::Growth;
use meridian_proto::v1::subscription_start::At;
use meridian_proto::v1::{
    KeyRange, SubscribeOpen, SubscriptionBackoff, SubscriptionKind, SubscriptionSettings, SubscriptionStart,
};

use super::credit::Amount;
use crate::{Error, Start};

/// Topics, or patterns of topics, that one consumer may name.
const TOPICS_MAX: usize = 1_024;

/// Messages that a consumer may hold: nodes take no more when it comes back.
const HELD_MAX: u64 = 10_000;

/// Who of a subscription's consumers gets which message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// One consumer gets everything; a second one is refused.
    Exclusive,
    /// One consumer of each partition gets everything; the others stand by, by priority.
    Failover,
    /// Each message goes to one of the consumers.
    #[default]
    Shared,
    /// Each key goes to one of the consumers, and moves only after its earlier messages are settled.
    KeyShared,
}

impl Kind {
    /// Whether one consumer at a time owns a partition.
    pub fn is_owned(self) -> bool {
        matches!(self, Self::Exclusive | Self::Failover)
    }

    fn to_wire(self) -> i32 {
        let kind = match self {
            Self::Exclusive => SubscriptionKind::Exclusive,
            Self::Failover => SubscriptionKind::Failover,
            Self::Shared => SubscriptionKind::Shared,
            Self::KeyShared => SubscriptionKind::KeyShared,
        };
        kind.into()
    }
}

/// How long a message that was refused waits before it is delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedeliveryBackoff {
    /// After the first attempt.
    pub first: Duration,
    /// At most.
    pub most: Duration,
    /// Doubled with each attempt; otherwise `first` is added each time.
    pub doubles: bool,
}

/// The knobs of one consumer.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) topics: Vec<String>,
    pub(super) subscription: String,
    pub(super) kind: Kind,
    pub(super) create: bool,
    pub(super) start: Option<Start>,
    pub(super) lease: Option<Duration>,
    pub(super) backoff: Option<RedeliveryBackoff>,
    pub(super) attempts_max: Option<u32>,
    pub(super) dead_letter_topic: Option<String>,
    pub(super) idle_max: Option<Duration>,
    pub(super) consumer_id: Option<[u8; 16]>,
    pub(super) priority: u32,
    pub(super) key_ranges: Vec<(u16, u16)>,
    pub(super) batches: bool,
    pub(super) queue: Amount,
    pub(super) held_max: u64,
    pub(super) extends: bool,
    pub(super) patience: Duration,
}

impl Settings {
    pub(super) fn new(topics: Vec<String>) -> Self {
        Self {
            topics,
            subscription: String::new(),
            kind: Kind::Shared,
            create: false,
            start: None,
            lease: None,
            backoff: None,
            attempts_max: None,
            dead_letter_topic: None,
            idle_max: None,
            consumer_id: None,
            priority: 0,
            key_ranges: Vec::new(),
            batches: false,
            queue: Amount { messages: 1_000, bytes: 16 * 1024 * 1024 },
            held_max: 10_000,
            extends: false,
            patience: Duration::from_secs(120),
        }
    }

    /// Refuses what the cluster would refuse anyway.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !(1..=TOPICS_MAX).contains(&self.topics.len()) {
            let why = format!("name between 1 and {TOPICS_MAX} topics");
            return Err(Error::invalid("topics", why));
        }
        meridian_model::name::check("subscription", &self.subscription)
            .map_err(|error| Error::invalid("subscription", error))?;
        if self.batches && !self.kind.is_owned() {
            return Err(Error::invalid(
                "batches",
                "only exclusive and failover subscriptions have whole batches",
            ));
        }
        if !self.key_ranges.is_empty() && self.kind != Kind::KeyShared {
            return Err(Error::invalid("key_ranges", "only key-shared subscriptions divide keys"));
        }
        if self.key_ranges.iter().any(|(first, last)| first > last) {
            return Err(Error::invalid("key_ranges", "a range ends before it begins"));
        }
        if self.queue.messages == 0 || self.queue.bytes == 0 || self.held_max == 0 {
            return Err(Error::invalid("queue", "must have room for a message"));
        }
        if self.held_max > HELD_MAX {
            return Err(Error::invalid("held_max", format!("the most is {HELD_MAX}")));
        }
        if self.attempts_max == Some(0) {
            return Err(Error::invalid("attempts_max", "must be above zero"));
        }
        Ok(())
    }

    /// What a stream begins with, without what differs between streams.
    pub(super) fn open(&self, consumer_id: [u8; 16]) -> SubscribeOpen {
        let key_ranges = self.key_ranges.iter().map(|(first, last)| {
            let (first, last) = (u32::from(*first), u32::from(*last));
            KeyRange { first, last }
        });
        let settings = SubscriptionSettings {
            kind: self.kind.to_wire(),
            lease_ms: self.lease.map(millis),
            backoff: self.backoff.map(backoff_to_wire),
            attempts_max: self.attempts_max,
            dead_letter_topic: self.dead_letter_topic.clone(),
            idle_ms_max: self.idle_max.map(millis),
            ..SubscriptionSettings::default()
        };
        SubscribeOpen {
            topics: self.topics.clone(),
            subscription: self.subscription.clone(),
            kind: self.kind.to_wire(),
            create: self.create,
            settings: self.create.then_some(settings),
            start: self.start.filter(|_| self.create).map(start_to_wire),
            consumer_id: consumer_id.to_vec().into(),
            priority: self.priority,
            key_ranges: key_ranges.collect(),
            holds: Vec::new(),
            batches: self.batches,
            credit_messages: 0,
            credit_bytes: 0,
        }
    }
}

pub(super) fn start_to_wire(start: Start) -> SubscriptionStart {
    let at = match start {
        Start::Earliest => At::Earliest(true),
        Start::Latest => At::Latest(true),
        Start::Time(time) => At::TimeMs(time.0),
        Start::Offset(offset) => At::Offset(offset.0),
    };
    SubscriptionStart { at: Some(at) }
}

fn backoff_to_wire(backoff: RedeliveryBackoff) -> SubscriptionBackoff {
    let growth = if backoff.doubles { Growth::Exponential(true) } else { Growth::Linear(true) };
    let (first_ms, max_ms) = (Some(millis(backoff.first)), Some(millis(backoff.most)));
    SubscriptionBackoff { growth: Some(growth), first_ms, max_ms }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { subscription: "s".into(), ..Settings::new(vec!["t".into()]) }
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_it_is_sent() {
        settings().check().expect("the defaults make sense");
        let wrong = [
            Settings { topics: Vec::new(), ..settings() },
            Settings { subscription: String::new(), ..settings() },
            Settings { batches: true, ..settings() },
            Settings { key_ranges: vec![(0, 1)], ..settings() },
            Settings { kind: Kind::KeyShared, key_ranges: vec![(2, 1)], ..settings() },
            Settings { held_max: 0, ..settings() },
            Settings { attempts_max: Some(0), ..settings() },
        ];
        for settings in wrong {
            assert!(matches!(settings.check(), Err(Error::Invalid { .. })), "{settings:?}");
        }
    }

    #[test]
    fn rules_and_start_are_sent_only_to_create() {
        let mut settings =
            Settings { start: Some(Start::Earliest), lease: Some(Duration::from_secs(3)), ..settings() };
        let open = settings.open([7; 16]);
        assert!(open.settings.is_none() && open.start.is_none() && !open.create);
        settings.create = true;
        let open = settings.open([7; 16]);
        assert_eq!(open.settings.and_then(|settings| settings.lease_ms), Some(3_000));
        assert_eq!((open.start.and_then(|start| start.at), open.kind), (Some(At::Earliest(true)), 3));
    }
}
