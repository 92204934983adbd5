//! Subscriptions of topics: what every partition of the topic is to know of them.
//!
//! Nothing is remembered of one that was deleted. Its id is the control index of its creation and is given once, so a
//! partition holds one that is deleted if and only if the state here is at or past its id and does not list it.

use meridian_model::subscription::{Backoff, SubscriptionRules};
use meridian_model::{Offset, SubscriptionId, TopicName, UnixMs, limits, name};
use serde::{Deserialize, Serialize};

use super::row::{Stored, join_key};
use super::{ControlDone, ControlMachine, ControlRefusal};
use crate::{Effect, Table};

/// Where a subscription begins in the partitions that exist when it is created. In partitions that are added later it
/// begins with their first message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BeginAt {
    /// At the oldest message kept.
    Earliest,
    /// Behind the newest message.
    #[default]
    Latest,
    /// At the first message appended at or after this time.
    Time(UnixMs),
    /// At this offset of each partition; at the oldest message kept, or behind the newest, where it lies beyond these.
    Offset(Offset),
}

/// Settings of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionSettings {
    /// What every partition knows.
    pub rules: SubscriptionRules,
    /// Where messages go after their last attempt. Belongs together with `rules.attempts_max`.
    pub dead_letter: Option<TopicName>,
    /// Where messages go that are to be tried again later. `None`: they stay where they are.
    pub retry: Option<TopicName>,
    /// Whether retention waits for it.
    pub durable: bool,
    /// Deleted after so long without a consumer, in milliseconds. `None`: never.
    pub idle_ms_max: Option<u64>,
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        let rules = SubscriptionRules::default();
        Self { rules, dead_letter: None, retry: None, durable: true, idle_ms_max: None }
    }
}

/// A subscription of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Of which topic.
    pub topic: TopicName,
    /// Its name within the topic.
    pub name: String,
    /// This life of the name.
    pub id: SubscriptionId,
    /// Where it began.
    pub begin: BeginAt,
    /// Its settings.
    pub settings: SubscriptionSettings,
    /// Partitions that existed when it was created: in later ones it begins at their first message.
    pub partitions: u32,
    /// The control index of its last change: the etag.
    pub version: u64,
}

impl Subscription {
    /// Its resource name.
    pub fn resource(&self) -> String {
        resource(&self.topic, &self.name)
    }
}

/// The resource name of a subscription.
pub(super) fn resource(topic: &TopicName, name: &str) -> String {
    format!("{}/subscriptions/{name}", topic.resource())
}

impl Stored for Subscription {
    const TABLE: Table = Table::TopicSubscription;

    fn key(&self) -> Vec<u8> {
        join_key(&[self.topic.tenant(), self.topic.namespace(), self.topic.topic(), &self.name])
    }
}

impl ControlMachine {
    /// Every subscription, by topic and name.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.values()
    }

    /// The subscriptions of a topic, by name.
    pub fn subscriptions_of<'a>(&'a self, topic: &'a TopicName) -> impl Iterator<Item = &'a Subscription> {
        let from = (topic.clone(), String::new());
        self.subscriptions.range(from..).map(|(_, s)| s).take_while(move |s| s.topic == *topic)
    }

    /// A subscription.
    pub fn subscription(&self, topic: &TopicName, name: &str) -> Option<&Subscription> {
        self.subscriptions.get(&(topic.clone(), name.to_owned()))
    }

    pub(super) fn create_subscription(
        &mut self,
        topic: &TopicName,
        name: &str,
        begin: BeginAt,
        settings: &SubscriptionSettings,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        name::check("subscription", name)?;
        check_settings(settings)?;
        let partitions = self.live_topic(topic)?.partitions.len() as u32;
        self.check_destinations(topic, settings)?;
        let key = (topic.clone(), name.to_owned());
        if self.subscriptions.contains_key(&key) {
            return Err(ControlRefusal::already_exists(resource(topic, name)));
        }
        let of_topic = self.subscriptions_of(topic).count();
        let topic_max = self.bounds.subscriptions_topic_max + usize::from(planted!(OneSubscriptionTooMany));
        ControlRefusal::at_limit("subscriptions of a topic", of_topic, topic_max)?;
        let all = self.subscriptions.len();
        ControlRefusal::at_limit("subscriptions", all, self.bounds.subscriptions_max)?;
        let version = self.core.applied_index;
        let id = SubscriptionId(if planted!(SubscriptionIdByCount) { all as u64 + 1 } else { version });
        let created = Subscription {
            topic: topic.clone(),
            name: name.to_owned(),
            id,
            begin,
            settings: settings.clone(),
            partitions,
            version,
        };
        effects.push(created.put());
        self.subscriptions.insert(key, created);
        Ok(ControlDone::SubscriptionCreated { id })
    }

    pub(super) fn update_subscription(
        &mut self,
        topic: &TopicName,
        name: &str,
        settings: &SubscriptionSettings,
        expected_version: Option<u64>,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        check_settings(settings)?;
        self.live_topic(topic)?;
        self.check_destinations(topic, settings)?;
        let version = self.core.applied_index;
        let subscription = self.subscription_mut(topic, name)?;
        check_version(subscription, expected_version)?;
        if subscription.settings.rules.kind != settings.rules.kind && !planted!(KindChanges) {
            return Err(ControlRefusal::conflict(
                "the kind of a subscription cannot be changed; delete it first",
            ));
        }
        subscription.settings = settings.clone();
        subscription.version = version;
        if !planted!(LosesSubscriptionRow) {
            effects.push(subscription.put());
        }
        Ok(ControlDone::Changed)
    }

    pub(super) fn delete_subscription(
        &mut self,
        topic: &TopicName,
        name: &str,
        expected_version: Option<u64>,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        let subscription = self.subscription_mut(topic, name)?;
        check_version(subscription, expected_version)?;
        effects.push(subscription.delete());
        self.subscriptions.remove(&(topic.clone(), name.to_owned()));
        Ok(ControlDone::Changed)
    }

    /// The subscriptions of a topic that is gone.
    pub(super) fn forget_subscriptions_of(&mut self, topic: &TopicName, effects: &mut Vec<Effect>) {
        let gone: Vec<Subscription> = self.subscriptions_of(topic).cloned().collect();
        for subscription in gone.into_iter().filter(|_| !planted!(KeepsSubscriptionOfDeleted)) {
            effects.push(subscription.delete());
            self.subscriptions.remove(&(subscription.topic, subscription.name));
        }
    }

    fn subscription_mut(
        &mut self,
        topic: &TopicName,
        name: &str,
    ) -> Result<&mut Subscription, ControlRefusal> {
        let key = (topic.clone(), name.to_owned());
        self.subscriptions.get_mut(&key).ok_or_else(|| ControlRefusal::not_found(resource(topic, name)))
    }

    /// What leaves the topic goes to another topic of the same tenant, which must be there.
    fn check_destinations(
        &mut self,
        topic: &TopicName,
        settings: &SubscriptionSettings,
    ) -> Result<(), ControlRefusal> {
        for (field, to) in [("dead_letter_topic", &settings.dead_letter), ("retry_topic", &settings.retry)] {
            let Some(to) = to else { continue };
            if to == topic {
                return Err(ControlRefusal::invalid(field, "it is the topic itself; name another one"));
            }
            if to.tenant() != topic.tenant() && !planted!(LettersCrossTenants) {
                return Err(ControlRefusal::not_found(to.resource()));
            }
            self.live_topic(to)?;
        }
        Ok(())
    }
}

fn check_settings(settings: &SubscriptionSettings) -> Result<(), ControlRefusal> {
    let SubscriptionSettings { rules, dead_letter, idle_ms_max, .. } = settings;
    if !(limits::LEASE_MS_MIN..=limits::LEASE_MS_MAX).contains(&rules.lease_ms) {
        let (least, most) = (limits::LEASE_MS_MIN, limits::LEASE_MS_MAX);
        let why = format!("a consumer may hold a message for {least} to {most} ms");
        return Err(ControlRefusal::invalid("lease_ms", why));
    }
    check_backoff(rules.backoff)?;
    if rules.attempts_max == Some(0) && !planted!(NoAttempts) {
        return Err(ControlRefusal::invalid(
            "attempts_max",
            "0 delivers nothing; leave it out to try for ever",
        ));
    }
    match (dead_letter.is_some(), rules.attempts_max.is_some()) {
        (false, true) => {
            let why = "after the last attempt a message needs somewhere to go: name a dead-letter topic too";
            return Err(ControlRefusal::invalid("attempts_max", why));
        }
        (true, false) => {
            let why = "nothing ever goes there without a number of attempts: say attempts_max too";
            return Err(ControlRefusal::invalid("dead_letter_topic", why));
        }
        _ => {}
    }
    match idle_ms_max {
        Some(0) => {
            Err(ControlRefusal::invalid("idle_ms_max", "0 would delete it at once; leave it out to keep it"))
        }
        _ => Ok(()),
    }
}

fn check_backoff(backoff: Backoff) -> Result<(), ControlRefusal> {
    let (first, longest) = match backoff {
        Backoff::Linear { step_ms, max_ms } => (step_ms, max_ms),
        Backoff::Exponential { first_ms, max_ms } => (first_ms, max_ms),
    };
    match first <= longest && longest <= limits::BACKOFF_MS_MAX {
        true => Ok(()),
        false => {
            let most = limits::BACKOFF_MS_MAX;
            let why = format!("the first wait is at most the longest, and that at most {most} ms");
            Err(ControlRefusal::invalid("backoff", why))
        }
    }
}

fn check_version(subscription: &Subscription, expected: Option<u64>) -> Result<(), ControlRefusal> {
    match expected {
        Some(expected) if expected != subscription.version && !planted!(SubscriptionVersionIgnored) => {
            let why =
                format!("the subscription has version {}, expected was {expected}", subscription.version);
            Err(ControlRefusal::conflict(why))
        }
        _ => Ok(()),
    }
}
