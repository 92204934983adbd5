//! Subscriptions of topics: what every partition of the topic is to know of them.

use meridian_model::subscription::SubscriptionRules;
use meridian_model::{SubscriptionId, TopicName, UnixMs, name};
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
}

/// Settings of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionSettings {
    /// What every partition knows.
    pub rules: SubscriptionRules,
    /// Where messages go after their last attempt. Needs `rules.attempts_max`.
    pub dead_letter: Option<TopicName>,
    /// Deleted after so long without a consumer, in milliseconds. `None`: never.
    pub idle_ms_max: Option<u64>,
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
        self.check_dead_letter(topic, settings)?;
        let key = (topic.clone(), name.to_owned());
        if self.subscriptions.contains_key(&key) {
            return Err(ControlRefusal::already_exists(resource(topic, name)));
        }
        let of_topic = self.subscriptions_of(topic).count();
        ControlRefusal::at_limit("subscriptions of a topic", of_topic, self.bounds.subscriptions_topic_max)?;
        let all = self.subscriptions.len();
        ControlRefusal::at_limit("subscriptions", all, self.bounds.subscriptions_max)?;
        let version = self.core.applied_index;
        let created = Subscription {
            topic: topic.clone(),
            name: name.to_owned(),
            id: SubscriptionId(version),
            begin,
            settings: settings.clone(),
            partitions,
            version,
        };
        effects.push(created.put());
        let id = created.id;
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
        self.check_dead_letter(topic, settings)?;
        let version = self.core.applied_index;
        let subscription = self.subscription_mut(topic, name)?;
        check_version(subscription, expected_version)?;
        if subscription.settings.rules.kind != settings.rules.kind {
            return Err(ControlRefusal::conflict("the kind of a subscription cannot be changed; delete it first"));
        }
        subscription.settings = settings.clone();
        subscription.version = version;
        effects.push(subscription.put());
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
        self.subscriptions.retain(|(of, _), subscription| {
            let stays = of != topic;
            if !stays {
                effects.push(subscription.delete());
            }
            stays
        });
    }

    fn subscription_mut(&mut self, topic: &TopicName, name: &str) -> Result<&mut Subscription, ControlRefusal> {
        let key = (topic.clone(), name.to_owned());
        self.subscriptions.get_mut(&key).ok_or_else(|| ControlRefusal::not_found(resource(topic, name)))
    }

    /// Dead letters go to another topic of the same tenant, which must be there.
    fn check_dead_letter(
        &mut self,
        topic: &TopicName,
        settings: &SubscriptionSettings,
    ) -> Result<(), ControlRefusal> {
        let Some(dead_letter) = &settings.dead_letter else { return Ok(()) };
        if dead_letter == topic {
            return Err(ControlRefusal::invalid("dead_letter", "a topic cannot take its own dead letters"));
        }
        if dead_letter.tenant() != topic.tenant() {
            return Err(ControlRefusal::not_found(dead_letter.resource()));
        }
        self.live_topic(dead_letter).map(drop)
    }
}

fn check_settings(settings: &SubscriptionSettings) -> Result<(), ControlRefusal> {
    let SubscriptionSettings { rules, dead_letter, idle_ms_max } = settings;
    if rules.lease_ms == 0 {
        return Err(ControlRefusal::invalid("lease_ms", "a consumer needs time"));
    }
    if rules.attempts_max == Some(0) {
        return Err(ControlRefusal::invalid("attempts_max", "0 delivers nothing; leave it out to try for ever"));
    }
    if dead_letter.is_some() != rules.attempts_max.is_some() {
        let why = "a dead-letter topic and a number of attempts belong together";
        return Err(ControlRefusal::invalid("dead_letter", why));
    }
    match idle_ms_max {
        Some(0) => Err(ControlRefusal::invalid("idle_ms_max", "0 would delete it at once; leave it out to keep it")),
        _ => Ok(()),
    }
}

fn check_version(subscription: &Subscription, expected: Option<u64>) -> Result<(), ControlRefusal> {
    match expected {
        Some(expected) if expected != subscription.version => {
            let why = format!("the subscription has version {}, expected was {expected}", subscription.version);
            Err(ControlRefusal::conflict(why))
        }
        _ => Ok(()),
    }
}
